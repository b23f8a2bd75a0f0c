//! Sites to deploy, and plain wrangler beside us.

use std::process::Command;

use cloudflare::wrangler;

use crate::support::{CANARY, TestEnv};

/// A repository with tools, and how many pages its sites have.
pub struct Sites {
    /// The repository.
    pub env: TestEnv,
    pages: usize,
}

impl Sites {
    /// Without a site yet, and a sandbox that runs.
    pub fn new(pages: usize) -> Sites {
        let env = TestEnv::with_tools();
        env.xtask(&["sandbox", "up"]).exits(0);
        Sites { env, pages }
    }

    /// A site of files in `projects/<worker>`, whose build makes a page of each file in `content`.
    pub fn add(&self, worker: &str) {
        self.env.site(&format!("projects/{worker}"), worker);
        for page in 0..self.pages {
            self.page(worker, page, "as it was");
        }
        let build = "import { readdirSync } from 'node:fs';\n\
            const frame = (text: string) => `<!doctype html><title>site</title><main>${text}</main>`;\n\
            for (const name of readdirSync('content')) {\n\
            \tconst text = await Bun.file(`content/${name}`).text();\n\
            \tawait Bun.write(`dist/${name}`, frame(text));\n\
            \tif (name === 'page-0.html') await Bun.write('dist/index.html', frame(text));\n}\n";
        self.env.write(&format!("projects/{worker}/build.ts"), build);
    }

    /// Writes a page's text.
    pub fn page(&self, worker: &str, page: usize, text: &str) {
        let path = format!("projects/{worker}/content/page-{page}.html");
        self.env.write(
            &path,
            &format!("<h1>{worker} {page}</h1>{}", format!("<p>{text}</p>").repeat(80)),
        );
    }

    /// xtask with `arguments` on this machine's tools.
    pub fn xtask(&self, arguments: &[&str]) -> Command {
        self.env.command(&[arguments, &["--engine", "host", "--json"]].concat(), &[])
    }

    /// The build that a person would type.
    pub fn build(&self, worker: &str) -> Command {
        self.bun(worker, &["--bun", "run", "build"])
    }

    /// The upload that a person would type, into the same sandbox and on the same Bun.
    pub fn wrangler(&self, worker: &str, port: u16) -> Command {
        let launcher =
            self.env.root.join(workspace::modules::WRANGLER_TOOLCHAIN).join(wrangler::LAUNCHER);
        let mut command = self.bun(worker, &["--bun", launcher.as_str(), "deploy"]);
        let config = std::fs::read_to_string(self.env.root.join("dagger/config/config.json"));
        let config: serde_json::Value =
            serde_json::from_str(&config.expect("a config")).expect("JSON");
        command.envs(wrangler::WRANGLER_ENV).env("CLOUDFLARE_API_TOKEN", CANARY);
        let account = config["cloudflare"]["accountId"].as_str().expect("an account");
        command.env("CLOUDFLARE_ACCOUNT_ID", account);
        command.env("CLOUDFLARE_API_BASE_URL", format!("http://127.0.0.1:{port}/client/v4"));
        command
    }

    fn bun(&self, worker: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.env.folder.join("bin/bun"));
        self.env.environment(&mut command);
        command.args(arguments).current_dir(self.env.root.join("projects").join(worker));
        command
    }
}
