//! Files beside a project, which could steer wrangler past every check of its config.

use crate::support::TestEnv;

#[test]
fn files_beside_the_project_do_not_affect_wrangler() {
    let env = TestEnv::with_tools();
    env.site("projects/a", "site-a");
    for file in [".env", ".env.local", ".env.production", ".env.staging"] {
        env.write(&format!("projects/a/{file}"), "WRANGLER_CI_OVERRIDE_NAME=taken\n");
    }
    env.write("projects/a/bunfig.toml", "preload = [\"./preload.ts\"]\n");
    env.write(
        "projects/a/preload.ts",
        "if (process.env.CLOUDFLARE_API_TOKEN) await Bun.write('seen.txt', 'the token');\n",
    );
    env.commit("site");
    let first = env.xtask(&["deploy", "a", "--json"]).exits(0);
    assert_eq!(env.fetch("site-a.localhost", "/").0, 200);
    assert_eq!(env.fetch("taken.localhost", "/").0, 404, "another Worker was made");
    assert!(!env.root.join("projects/a/seen.txt").exists(), "code ran with the token");
    // A config that the build left is followed only where it is about the same Worker.
    env.write(
        "projects/a/build.ts",
        "await Bun.write('dist/index.html', 'two');\n\
         await Bun.write('dist/wrangler.json', JSON.stringify({ name: 'taken', compatibility_date: '2026-10-01', assets: { directory: '.' } }));\n\
         await Bun.write('.wrangler/deploy/config.json', JSON.stringify({ configPath: '../../dist/wrangler.json' }));\n",
    );
    let second = env.xtask(&["deploy", "a", "--json"]).exits(3);
    let error = second.error("a");
    assert!(error.contains("deploys the Worker `taken`"), "{error}");
    assert_eq!(env.fetch("taken.localhost", "/").0, 404);
    env.assert_no_canary(&[&first, &second]);
}
