//! Whatever a package manager, a wrangler config or a TypeScript config follows counts in `affected`, in the content key and in the pipeline's
//! `rules:changes`, wherever the manager reads it.

use std::collections::BTreeMap;

use camino::Utf8Path;
use workspace::key::content_key;
use workspace::{Workspace, inputs};

use crate::affected::{affected_json, names};
use crate::support::TestEnv;

/// The files of a repository beside the project `app`, the path that changes, and whether `app` is made
/// from it.
type Case<'c> = (&'c [(&'c str, &'c str)], &'c str, bool);

/// A project that depends on nothing but what `files` add.
fn repository(files: &[(&str, &str)]) -> TestEnv {
    let env = TestEnv::new();
    env.site("projects/app", "app");
    for (path, text) in files {
        env.write(path, text);
    }
    env.commit("tree");
    env.git(&["checkout", "--quiet", "-b", "change"]);
    env
}

fn key(env: &TestEnv) -> String {
    let workspace = Workspace::load(&env.root).expect("a workspace");
    let app = workspace.project("app").expect("the project");
    let inputs = inputs::read(&workspace, &[app], &[], None).expect("inputs");
    content_key(&inputs[0].blobs, &BTreeMap::new())
}

/// Changes one file and compares every answer about it.
#[track_caller]
fn check((files, path, is_input): Case) {
    let env = repository(files);
    let before = key(&env);
    let text = std::fs::read_to_string(env.root.join(path)).unwrap_or_default();
    env.write(path, &format!("{text}\n "));
    let expected = if is_input { &["app"][..] } else { &[] };
    let json = affected_json(&env, &[]);
    assert_eq!(names(&json), expected, "in the working tree: {json:#}");
    assert_eq!(key(&env) != before, is_input, "the content key");
    env.commit("change");
    let json = affected_json(&env, &["--head", "HEAD"]);
    assert_eq!(names(&json), expected, "in a commit: {json:#}");
    let pipeline = env.xtask(&["ci", "generate", "--dry-run"]).exits(0).stdout;
    let folders = Utf8Path::new(path).ancestors().skip(1);
    let patterns: Vec<String> =
        folders.map(|dir| format!("\"{dir}/**/*\"")).chain([format!("\"{path}\"")]).collect();
    let has = |pattern: &String| {
        let plain = pattern.trim_matches('"');
        pipeline
            .lines()
            .any(|line| line.trim().trim_start_matches("- ").trim_matches(['"', '\'']) == plain)
    };
    if is_input {
        assert!(patterns.iter().any(has), "{patterns:?} in rules:changes:\n{pipeline}");
    }
}

macro_rules! cases {
    ($($name:ident: $case:expr;)*) => {
        $(#[test] fn $name() { check($case); })*
    };
}

const NPM: (&str, &str) = ("package-lock.json", r#"{ "lockfileVersion": 3, "packages": {} }"#);
const PNPM: (&str, &str) = ("pnpm-lock.yaml", "lockfileVersion: '9.0'\n");
const YARN: (&str, &str) = ("yarn.lock", "__metadata:\n  version: 8\n");
const BUN: (&str, &str) = ("bun.lock", "{ \"lockfileVersion\": 1 }");
const ALL: &str = r#"{ "name": "root", "workspaces": ["projects/*", "packages/*"] }"#;
const ROOT: (&str, &str) = ("package.json", ALL);
const PNPM_ALL: (&str, &str) = ("pnpm-workspace.yaml", "packages: ['projects/*', 'packages/*']\n");
const UI: (&str, &str) = ("packages/ui/package.json", r#"{ "name": "ui", "version": "1.2.0" }"#);
const APP_UI: (&str, &str) =
    ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "ui": "^1.0.0" } }"#);
const CODE: &str = "packages/ui/index.ts";

cases! {
    npm_s_lock_beside_a_pnpm_workspace_follows_versions: (&[NPM, ROOT, PNPM_ALL, UI, APP_UI], CODE, true);
    pnpm_s_lock_beside_npm_s_workspaces_does_not: (&[PNPM, ROOT, PNPM_ALL, UI, APP_UI], CODE, false);
    without_a_lock_the_union_counts: (&[ROOT, PNPM_ALL, UI, APP_UI], CODE, true);
    two_locks_and_a_package_manager: (&[
        NPM, PNPM, PNPM_ALL, UI, APP_UI,
        ("package.json", r#"{ "workspaces": ["projects/*", "packages/*"], "packageManager": "npm@10.0.0" }"#),
    ], CODE, true);
    a_peer_by_workspace_protocol: (&[PNPM, PNPM_ALL, UI,
        ("projects/app/package.json", r#"{ "name": "app", "peerDependencies": { "ui": "workspace:^" } }"#),
    ], CODE, true);
    a_peer_by_range: (&[NPM, ROOT, UI,
        ("projects/app/package.json", r#"{ "name": "app", "peerDependencies": { "ui": "^1" } }"#),
    ], CODE, true);
    a_peer_of_another_member: (&[PNPM, PNPM_ALL, UI,
        ("packages/kit/package.json", r#"{ "name": "kit", "peerDependencies": { "ui": "1.x" } }"#),
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "kit": "workspace:*" } }"#),
    ], CODE, true);
    a_peer_that_no_member_satisfies_comes_from_the_registry: (&[BUN, ROOT, UI,
        ("projects/app/package.json", r#"{ "name": "app", "peerDependencies": { "ui": "^2" } }"#),
    ], CODE, false);
    patches_of_bun: (&[BUN,
        ("package.json", r#"{ "workspaces": ["projects/*"], "patchedDependencies": { "a@1.0.0": "patches/a.patch" } }"#),
        ("patches/a.patch", "1\n"),
    ], "patches/a.patch", true);
    patches_of_pnpm_s_section: (&[PNPM, PNPM_ALL,
        ("package.json", r#"{ "pnpm": { "patchedDependencies": { "a": "patches/a.patch" } } }"#),
        ("patches/a.patch", "1\n"),
    ], "patches/a.patch", true);
    patches_of_pnpm_s_workspace_file: (&[PNPM,
        ("pnpm-workspace.yaml", "packages: ['projects/*']\npatchedDependencies:\n  a@1.0.0: \"patches/a.patch\"\n"),
        ("patches/a.patch", "1\n"),
    ], "patches/a.patch", true);
    patches_in_a_repository_without_a_workspace: (&[NPM,
        ("package.json", r#"{ "patchedDependencies": { "a@1.0.0": "patches/a.patch" } }"#),
        ("patches/a.patch", "1\n"),
    ], "patches/a.patch", true);
    patches_of_yarn: (&[YARN,
        ("package.json", r#"{ "workspaces": ["projects/*"], "resolutions": { "a@npm:1.0.0": "patch:a@npm%3A1.0.0#~/.yarn/patches/a.patch" } }"#),
        (".yarn/patches/a.patch", "1\n"),
    ], ".yarn/patches/a.patch", true);
    a_patched_dependency_of_yarn: (&[YARN, ROOT,
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "a": "patch:a@npm%3A1.0.0#~/fixes/a.patch" } }"#),
        ("fixes/a.patch", "1\n"),
    ], "fixes/a.patch", true);
    patches_of_patch_package: (&[NPM,
        ("package.json", r#"{ "workspaces": ["projects/*"], "devDependencies": { "patch-package": "8.0.0" } }"#),
        ("patches/a+1.0.0.patch", "1\n"),
    ], "patches/a+1.0.0.patch", true);
    npm_s_overrides: (&[NPM,
        ("package.json", r#"{ "workspaces": ["projects/*"], "overrides": { "b": { "a": "file:./vendor/a" } } }"#),
        ("vendor/a/package.json", r#"{ "name": "a" }"#),
    ], "vendor/a/index.js", true);
    npm_s_references_to_its_own_dependencies: (&[NPM,
        ("package.json", r#"{ "workspaces": ["projects/*"], "dependencies": { "a": "file:vendor/a" }, "overrides": { "a": "$a" } }"#),
        ("vendor/a/package.json", r#"{ "name": "a" }"#),
    ], "vendor/a/index.js", true);
    bun_s_overrides: (&[BUN,
        ("package.json", r#"{ "workspaces": ["projects/*"], "overrides": { "a": "file:./vendor/a.tgz" } }"#),
        ("vendor/a.tgz", "1\n"),
    ], "vendor/a.tgz", true);
    pnpm_s_overrides: (&[PNPM, PNPM_ALL,
        ("package.json", r#"{ "pnpm": { "overrides": { "b@1>a": "link:./vendor/a" } } }"#),
        ("vendor/a/index.js", "1\n"),
    ], "vendor/a/index.js", true);
    pnpm_s_overrides_in_the_workspace_file: (&[PNPM,
        ("pnpm-workspace.yaml", "packages: ['projects/*', 'packages/*']\noverrides:\n  a: 'workspace:*'\n"),
        ("packages/a/package.json", r#"{ "name": "a" }"#),
    ], "packages/a/index.js", true);
    yarn_s_resolutions: (&[YARN,
        ("package.json", r#"{ "workspaces": ["projects/*"], "resolutions": { "**/a": "portal:./vendor/a" } }"#),
        ("vendor/a/package.json", r#"{ "name": "a" }"#),
    ], "vendor/a/index.js", true);
    an_override_s_own_dependencies: (&[YARN,
        ("package.json", r#"{ "workspaces": ["projects/*"], "resolutions": { "a": "link:./vendor/a" } }"#),
        ("vendor/a/package.json", r#"{ "name": "a", "dependencies": { "b": "file:../b" } }"#),
        ("vendor/b/package.json", r#"{ "name": "b" }"#),
    ], "vendor/b/index.js", true);
    an_override_by_a_version_that_a_member_satisfies: (&[NPM, UI,
        ("package.json", r#"{ "workspaces": ["projects/*", "packages/*"], "overrides": { "ui": "1.2.0" } }"#),
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "ui": "^3" } }"#),
    ], CODE, true);
    a_catalog_of_pnpm: (&[PNPM, UI,
        ("pnpm-workspace.yaml", "packages: ['projects/*', 'packages/*']\nlinkWorkspacePackages: true\ncatalog:\n  ui: ^1.0.0\n"),
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "ui": "catalog:" } }"#),
    ], CODE, true);
    a_catalog_of_bun: (&[BUN, UI,
        ("package.json", r#"{ "workspaces": { "packages": ["projects/*", "packages/*"], "catalogs": { "x": { "ui": "^1" } } } }"#),
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "ui": "catalog:x" } }"#),
    ], CODE, true);
    a_catalog_with_another_version: (&[BUN, UI,
        ("package.json", r#"{ "workspaces": { "packages": ["projects/*", "packages/*"], "catalog": { "ui": "^2" } } }"#),
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "ui": "catalog:" } }"#),
    ], CODE, false);
    an_injected_member: (&[PNPM, PNPM_ALL, UI,
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "ui": "workspace:*" }, "dependenciesMeta": { "ui": { "injected": true } } }"#),
    ], CODE, true);
    package_extensions_of_pnpm: (&[PNPM, PNPM_ALL,
        ("package.json", r#"{ "pnpm": { "packageExtensions": { "a": { "dependencies": { "b": "file:./vendor/b" } } } } }"#),
        ("vendor/b/index.js", "1\n"),
    ], "vendor/b/index.js", true);
    package_extensions_of_yarn: (&[YARN, ROOT,
        (".yarnrc.yml", "packageExtensions:\n  a@*:\n    dependencies:\n      b: 'portal:./vendor/b'\n"),
        ("vendor/b/index.js", "1\n"),
    ], "vendor/b/index.js", true);
    yarn_s_plugins_and_releases: (&[YARN, ROOT,
        (".yarnrc.yml", "yarnPath: tools/yarn.cjs\nplugins:\n  - path: tools/plugin.cjs\n"),
        ("tools/plugin.cjs", "1\n"),
    ], "tools/plugin.cjs", true);
    yarn_s_release: (&[("yarn.lock", "# yarn lockfile v1\n"), ROOT,
        (".yarnrc", "yarn-path \"./tools/yarn.js\"\n"),
        ("tools/yarn.js", "1\n"),
    ], "tools/yarn.js", true);
    hooks_of_pnpm: (&[PNPM, PNPM_ALL, (".pnpmfile.cjs", "1\n")], ".pnpmfile.cjs", true);
    hooks_that_hooks_require: (&[PNPM, PNPM_ALL,
        (".pnpmfile.cjs", "module.exports = require('./tools/hooks')\n"),
        ("tools/hooks.cjs", "require(\"./more.json\")\n"),
        ("tools/more.json", "{}\n"),
    ], "tools/more.json", true);
    hooks_that_a_setting_names: (&[PNPM, PNPM_ALL,
        (".npmrc", "pnpmfile = tools.cjs\n"),
        ("tools.cjs", "1\n"),
    ], "tools.cjs", true);
    a_certificate_that_npmrc_names: (&[NPM, ROOT, (".npmrc", "cafile=certs/ca.pem\n"), ("certs/ca.pem", "1\n")], "certs/ca.pem", true);
    settings_of_npm: (&[NPM, ROOT, (".npmrc", "engine-strict=true\n")], ".npmrc", true);
    settings_of_bun: (&[BUN, ROOT, ("bunfig.toml", "[install]\nlinker = \"hoisted\"\n")], "bunfig.toml", true);
    preloads_of_bun: (&[BUN, ROOT, ("bunfig.toml", "preload = [\"./tools/preload.ts\"]\n"), ("tools/preload.ts", "1\n")], "tools/preload.ts", true);
    a_path_without_a_protocol: (&[NPM, ROOT,
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "a": "../../vendor/a" } }"#),
        ("vendor/a/package.json", r#"{ "name": "a" }"#),
    ], "vendor/a/index.js", true);
    an_archive: (&[NPM, ROOT,
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "a": "file:../../vendor/a.tgz" } }"#),
        ("vendor/a.tgz", "1\n"),
    ], "vendor/a.tgz", true);
    an_alias_of_a_member: (&[NPM, ROOT, UI,
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "other": "npm:ui@^1" } }"#),
    ], CODE, true);
    a_member_by_its_path: (&[YARN, ROOT, UI,
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "ui": "workspace:packages/ui" } }"#),
    ], CODE, true);
    members_of_a_member: (&[YARN, UI,
        ("package.json", r#"{ "workspaces": ["projects/*", "packages/*"] }"#),
        ("packages/ui/package.json", r#"{ "name": "ui", "version": "1.0.0", "workspaces": ["parts/*"] }"#),
        ("packages/ui/parts/x/package.json", r#"{ "name": "x", "version": "1.0.0" }"#),
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "x": "^1" } }"#),
    ], "packages/ui/parts/x/index.ts", true);
    an_entry_point_outside: (&[NPM, ROOT,
        ("projects/app/wrangler.jsonc", r#"{ "name": "app", "main": "../../worker/src/index.ts" }"#),
        ("worker/src/index.ts", "1\n"),
    ], "worker/src/helper.ts", true);
    assets_of_another_package: (&[NPM, ROOT, UI,
        ("projects/app/wrangler.jsonc", r#"{ "name": "app", "assets": { "directory": "../../packages/ui/dist" } }"#),
    ], CODE, true);
    assets_of_one_environment: (&[NPM, ROOT,
        ("projects/app/wrangler.jsonc", r#"{ "name": "app", "main": "a.ts", "env": { "production": { "site": { "bucket": "../../public" } } } }"#),
        ("public/index.html", "1\n"),
    ], "public/index.html", true);
    an_image_outside: (&[NPM, ROOT,
        ("projects/app/wrangler.jsonc", r#"{ "name": "app", "main": "a.ts", "containers": [{ "image": "../../images/api/Dockerfile" }] }"#),
        ("images/api/Dockerfile", "FROM scratch\n"),
    ], "images/api/server.go", true);
    a_tsconfig_that_wrangler_names: (&[NPM, ROOT,
        ("projects/app/wrangler.jsonc", r#"{ "name": "app", "main": "a.ts", "tsconfig": "../../tsconfig.worker.json" }"#),
        ("tsconfig.worker.json", "{}\n"),
    ], "tsconfig.worker.json", true);
    a_tsconfig_that_is_extended: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", "{ // ours\n \"extends\": \"../../config/app\", }"),
        ("config/app.json", r#"{ "extends": ["./base.json"] }"#),
        ("config/base.json", "{}\n"),
    ], "config/base.json", true);
    paths_of_a_tsconfig: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "@lib/*": ["../../lib/*"], "x": ["./node_modules/x"] } } }"#),
        ("projects/app/src/a.ts", "import '@lib/a';\n"),
        ("lib/a.ts", "1\n"),
    ], "lib/b.ts", true);
    paths_of_a_tsconfig_in_a_style: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "@lib/*": ["../../lib/*"] } } }"#),
        ("projects/app/src/a.css", "a { background: url(@lib/a.svg) }\n"),
        ("lib/a.svg", "<svg/>\n"),
    ], "lib/a.svg", true);
    paths_of_a_tsconfig_that_nothing_imports: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "@lib/*": ["../../lib/*"], "@lib": ["../../lib"] } } }"#),
        ("projects/app/src/a.ts", "import '@library/a';\n"),
        ("lib/a.ts", "1\n"),
    ], "lib/a.ts", false);
    a_name_of_a_whole_folder: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "@lib": ["../../lib"] } } }"#),
        ("projects/app/src/a.ts", "export * from '@lib';\n"),
        ("lib/index.ts", "1\n"),
    ], "lib/index.ts", true);
    names_in_a_package_that_the_code_imports: (&[NPM, ROOT, UI,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "@ui": ["../../packages/ui/index.ts"], "@icons": ["../../icons/index.ts"] } } }"#),
        ("projects/app/src/a.ts", "import '@ui';\n"),
        (CODE, "import '@icons';\n"),
        ("icons/index.ts", "1\n"),
    ], "icons/index.ts", true);
    a_relative_import_of_code_that_a_name_means: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "@lib": ["../../libs/lib/index.ts"] } } }"#),
        ("projects/app/src/a.ts", "import '@lib';\n"),
        ("libs/lib/index.ts", "export * from '../other/index';\n"),
        ("libs/lib/project.json", "{}\n"),
        ("libs/other/index.ts", "1\n"),
        ("libs/other/project.json", "{}\n"),
    ], "libs/other/index.ts", true);
    a_project_of_nx_beside_the_imported_one: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "@lib": ["../../libs/lib/index.ts"], "@other": ["../../libs/other/index.ts"] } } }"#),
        ("projects/app/src/a.ts", "import '@lib';\n"),
        ("libs/lib/index.ts", "1\n"),
        ("libs/lib/project.json", "{}\n"),
        ("libs/other/index.ts", "1\n"),
        ("libs/other/project.json", "{}\n"),
        ("nx.json", "{}\n"),
    ], "libs/other/index.ts", false);
    paths_of_a_tsconfig_from_its_base_url: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "extends": "../../tsconfig.base.json" }"#),
        ("tsconfig.base.json", r#"{ "compilerOptions": { "baseUrl": "./libs", "paths": { "shared": ["shared/src/index.ts"] } } }"#),
        ("projects/app/src/a.ts", "import 'shared';\n"),
        ("libs/shared/src/index.ts", "1\n"),
    ], "libs/shared/src/other.ts", true);
    paths_of_a_tsconfig_to_its_own_folder_and_above: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "@/*": ["./src/*"], "~/*": ["../../*"] } } }"#),
        ("projects/app/src/a.ts", "1\n"),
    ], "lib/a.ts", false);
    paths_above_that_the_code_imports: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "extends": "../../tsconfig.base.json" }"#),
        ("tsconfig.base.json", r#"{ "compilerOptions": { "paths": { "~/*": ["./*"] } } }"#),
        ("projects/app/src/a.ts", "import { b } from \"~/lib/deep/b.js\";\n"),
        ("lib/deep/b.ts", "1\n"),
    ], "lib/other.ts", true);
    paths_above_that_imported_code_imports: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "~/*": ["../../*"] } } }"#),
        ("projects/app/src/a.vue", "<script>\nimport b from '~/lib/b'\n</script>\n"),
        ("lib/b.ts", "export * from '~/text';\n"),
        ("text.ts", "1\n"),
    ], "text.ts", true);
    paths_above_beside_the_project: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "~/*": ["../../*"] } } }"#),
        ("projects/app/src/a.ts", "import b from '~/projects/shared/b';\n"),
        ("projects/shared/b.ts", "1\n"),
    ], "projects/shared/c.ts", true);
    paths_above_to_a_package_that_no_manifest_names: (&[NPM, ROOT, UI,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "~/*": ["../../*"] } } }"#),
        ("projects/app/src/a.ts", "const b = await import(`~/packages/ui/src/b`);\n"),
        ("packages/ui/src/b.ts", "1\n"),
    ], CODE, true);
    paths_above_to_a_pattern: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "~/*": ["../../*"] } } }"#),
        ("projects/app/src/a.ts", "const b = import.meta.glob('~/content/posts/*.md');\n"),
        ("content/posts/one.md", "1\n"),
    ], "content/posts/two.md", true);
    a_path_to_one_file_above: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "paths": { "settings": ["../../settings"] } } }"#),
        ("projects/app/src/a.ts", "import 'settings';\n"),
        ("settings.ts", "1\n"),
    ], "settings.ts", true);
    a_base_url_alone: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "baseUrl": "../.." } }"#),
        ("projects/app/src/a.ts", "import b from \"lib/b\";\n"),
        ("lib/b.ts", "1\n"),
    ], "lib/b.ts", true);
    a_base_url_and_code_that_nothing_imports: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "baseUrl": "../.." } }"#),
        ("projects/app/src/a.ts", "import b from \"lib/b\";\n"),
        ("lib/b.ts", "1\n"),
        ("other/b.ts", "1\n"),
    ], "other/b.ts", false);
    a_base_url_and_a_text_that_is_the_name_of_a_folder: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "baseUrl": "../.." } }"#),
        ("projects/app/src/a.ts", "const page = 'docs';\n"),
        ("docs/a.md", "1\n"),
    ], "docs/a.md", false);
    a_base_url_and_a_folder_with_an_index: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "compilerOptions": { "baseUrl": "../.." } }"#),
        ("projects/app/src/a.ts", "import * as lib from 'lib';\n"),
        ("lib/index.ts", "1\n"),
    ], "lib/index.ts", true);
    a_base_url_of_a_base_for_the_paths_of_a_config: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "extends": "../../tsconfig.base.json", "compilerOptions": { "paths": { "@/*": ["code/*"] } } }"#),
        ("tsconfig.base.json", r#"{ "compilerOptions": { "baseUrl": "libs" } }"#),
        ("projects/app/src/a.ts", "import '@/a';\n"),
        ("libs/code/a.ts", "1\n"),
    ], "libs/code/a.ts", true);
    a_base_that_means_the_folder_of_the_config: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "extends": "../../tsconfig.base.json" }"#),
        ("tsconfig.base.json", r#"{ "compilerOptions": { "paths": { "@/*": ["${configDir}/../../libs/*"] } } }"#),
        ("projects/app/src/a.ts", "import '@/a';\n"),
        ("libs/a.ts", "1\n"),
    ], "libs/a.ts", true);
    the_nearest_tsconfig_above: (&[NPM, ROOT,
        ("tsconfig.json", r#"{ "compilerOptions": { "baseUrl": ".", "paths": { "@/*": ["code/*"] } } }"#),
        ("projects/app/src/a.ts", "import b from '@/b';\n"),
        ("code/b.ts", "1\n"),
    ], "code/b.ts", true);
    the_nearest_tsconfig_above_itself: (&[NPM, ROOT, ("tsconfig.json", "{}\n")], "tsconfig.json", true);
    a_git_repository_in_the_repository: (&[NPM, ROOT,
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "ui": "git+file:../../vendor/ui#v1" } }"#),
        ("vendor/ui/index.js", "1\n"),
    ], "vendor/ui/index.js", true);
    a_git_repository_elsewhere: (&[NPM, ROOT,
        ("projects/app/package.json", r#"{ "name": "app", "dependencies": { "ui": "git+file:///srv/vendor/ui#v1" } }"#),
        ("vendor/ui/index.js", "1\n"),
    ], "vendor/ui/index.js", false);
    a_tsconfig_of_a_member: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "extends": "@acme/tsconfig/base.json" }"#),
        ("packages/tsconfig/package.json", r#"{ "name": "@acme/tsconfig" }"#),
    ], "packages/tsconfig/base.json", true);
    a_tsconfig_of_a_dependency: (&[NPM, ROOT, UI, APP_UI,
        ("packages/ui/tsconfig.json", r#"{ "extends": "../../tsconfig.base" }"#),
        ("tsconfig.base.json", "{}\n"),
    ], "tsconfig.base.json", true);
    a_relative_import: (&[NPM, ROOT,
        ("projects/app/src/a.ts", "import b from \"../../../lib/deep/b\";\n"),
        ("lib/deep/b.ts", "1\n"),
    ], "lib/other.ts", true);
    a_relative_import_of_imported_code: (&[NPM, ROOT,
        ("projects/app/src/a.vue", "<script>\nimport b from './../../../lib/b.js'\n</script>\n"),
        ("lib/b.ts", "export * from '../text';\n"),
        ("text.ts", "1\n"),
    ], "text.ts", true);
    a_relative_import_of_a_package_that_no_manifest_names: (&[NPM, ROOT, UI,
        ("projects/app/src/a.js", "const b = require(`../../../packages/ui/src/b`);\n"),
        ("packages/ui/src/b.ts", "1\n"),
    ], CODE, true);
    a_relative_import_of_a_dependency: (&[NPM, ROOT, UI, APP_UI,
        ("packages/ui/src/a.ts", "import b from '../../../lib/b';\n"),
        ("lib/b.ts", "1\n"),
    ], "lib/b.ts", true);
    a_relative_import_of_a_style: (&[NPM, ROOT,
        ("projects/app/a.css", "a { src: url(../../fonts/a.woff2#iefix) }\n"),
        ("fonts/a.woff2", "1\n"),
    ], "fonts/a.woff2", true);
    a_relative_pattern: (&[NPM, ROOT,
        ("projects/app/src/a.ts", "const b = import.meta.glob('../../../content/posts/*.md');\n"),
        ("content/posts/one.md", "1\n"),
    ], "content/posts/two.md", true);
    a_relative_pattern_of_the_root: (&[NPM, ROOT,
        ("projects/app/src/a.ts", "const b = import.meta.glob('../../../*.md');\n"),
    ], "content/two.md", false);
    a_relative_import_in_a_nested_package: (&[NPM, ROOT,
        ("projects/app/web/package.json", r#"{ "name": "web" }"#),
        ("projects/app/web/src/a.ts", "import b from '../../../../lib/b';\n"),
        ("lib/b.ts", "1\n"),
    ], "lib/b.ts", true);
    a_file_that_rust_includes: (&[NPM, ROOT,
        ("projects/app/src/lib.rs", "const A: &str = include_str!(\"../../../lib/a.txt\");\n"),
        ("lib/a.txt", "1\n"),
    ], "lib/a.txt", true);
    a_relative_import_of_a_test: (&[NPM, ROOT,
        ("projects/app/src/a.test.ts", "import b from '../../../lib/b';\n"),
        ("lib/b.ts", "1\n"),
    ], "lib/b.ts", false);
    a_relative_import_of_what_is_missing: (&[NPM, ROOT,
        ("projects/app/src/a.ts", "import b from '../../../lib/b';\n"),
    ], "lib/c.ts", false);
    a_relative_import_of_another_project_s_code: (&[NPM, ROOT,
        ("projects/app/src/a.ts", "import b from '../../shared/b';\n"),
        ("projects/shared/b.ts", "1\n"),
    ], "projects/shared/c.ts", true);
    a_script_above_that_builds: (&[NPM, ROOT,
        ("projects/app/package.json", r#"{ "name": "app", "scripts": { "build": "npm run site", "site": "node ../../scripts/build.mjs" } }"#),
        ("scripts/build.mjs", "import '../lib/a.mjs';\n"),
        ("lib/a.mjs", "1\n"),
    ], "lib/a.mjs", true);
    a_script_above_that_checks: (&[NPM, ROOT,
        ("projects/app/package.json", r#"{ "name": "app", "scripts": { "build": "x", "lint": "node ../../scripts/lint.mjs" } }"#),
        ("scripts/lint.mjs", "1\n"),
    ], "scripts/lint.mjs", false);
    a_config_that_a_build_looks_for_above: (&[NPM, ROOT,
        ("projects/app/package.json", r#"{ "name": "app", "scripts": { "build": "vite build" } }"#),
        ("postcss.config.mjs", "export default {};\n"),
    ], "postcss.config.mjs", true);
    a_reference: (&[NPM, ROOT,
        ("projects/app/tsconfig.json", r#"{ "references": [{ "path": "../../lib" }] }"#),
        ("lib/tsconfig.json", "{}\n"),
    ], "lib/index.ts", true);
    what_nobody_names: (&[NPM, ROOT, UI, ("vendor/a/index.js", "1\n")], "vendor/a/index.js", false);
}

#[test]
fn deleted_settings_count() {
    for path in [".npmrc", "bunfig.toml", "bun.lock"] {
        let env = repository(&[BUN, ROOT, (".npmrc", "a=1\n"), ("bunfig.toml", "a = 1\n")]);
        let before = key(&env);
        std::fs::remove_file(env.root.join(path)).expect("removed");
        assert_eq!(names(&affected_json(&env, &[])), ["app"], "{path}");
        assert_ne!(key(&env), before, "{path}");
    }
}

#[test]
fn a_refusal_by_the_package_manager_is_that_project_s_row() {
    let env = repository(&[
        ("other/package.json", r#"{ "workspaces": ["*"] }"#),
        ("other/pnpm-workspace.yaml", "packages: [\n"),
        ("other/site/package.json", r#"{ "name": "site" }"#),
    ]);
    env.site("projects/twin", "twin");
    let exponential = format!("packages:\n  - '{}'\n", "{a,b}".repeat(1000));
    env.write("projects/twin/pnpm-workspace.yaml", &exponential);
    let json = env.xtask(&["projects", "--json"]).exits(0).json();
    assert_eq!(names(&json), ["app"]);
    let message = json["broken"][0]["failure"]["message"].as_str().expect("text");
    assert_eq!(
        message,
        format!(
            "projects/twin/pnpm-workspace.yaml: the pattern `{}…` has more than 4096 characters",
            "{a,b}".repeat(8)
        )
    );
    env.write("projects/twin/pnpm-workspace.yaml", &"- [".repeat(300));
    let json = env.xtask(&["projects", "--json"]).exits(0).json();
    let message = json["broken"][0]["failure"]["message"].as_str().expect("text");
    assert!(message.starts_with("projects/twin/pnpm-workspace.yaml: "), "{message}");
}
