//! `bench`: measures what the product promises.

use camino::Utf8Path;
use clap::Args;

use crate::benchmarks::Benchmarks;
use crate::test::{reject_unknown, set_up, with_tools};
use base::error::{ErrorContext as _, Exit, Result, failed};
use base::files::write_whole;
use delivery::Ctx;
use deployment::tools::cargo;

/// The file with the last run of all benchmarks. The reference page is made from it.
pub const SAVED: &str = "docs/reference/benchmarks.json";

/// The page.
pub const PAGE: &str = "docs/reference/benchmarks.md";

/// The names of the benchmarks.
pub const NAMES: [&str; 5] = ["affected", "deploy", "dagger", "many", "start"];

/// Measure what the product promises, beside the tools it is compared with.
#[derive(Debug, Args)]
pub struct Bench {
    /// Only these benchmarks; `--list` prints their names [default: all, which takes several minutes]
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Print the names of the benchmarks, and run none
    #[arg(long)]
    list: bool,
    /// Tiny sizes: shows that everything works, and measures nothing
    #[arg(long)]
    quick: bool,
    /// Keep the figures, and write the reference page from them
    #[arg(long, conflicts_with_all = ["names", "quick"])]
    save: bool,
}

impl Bench {
    /// Runs the benchmarks in their own program, and reports what it found. A goal that is missed
    /// is a row of the report; a wrong answer is an error.
    pub fn run(self, ctx: &Ctx) -> Result<Exit> {
        if self.list {
            ctx.ui.out(&NAMES.join("\n"));
            return Ok(Exit::Done);
        }
        // Before the setup, which waits for the lock of another run.
        reject_unknown("benchmark", &self.names, &NAMES)?;
        let found = self.measure(ctx)?;
        if self.save {
            write_whole(&ctx.root.join(SAVED), &(serde_json::to_string_pretty(&found)? + "\n"))?;
            write_whole(&ctx.root.join(PAGE), &found.page())?;
        }
        ctx.ui.report(&found, &found.text());
        Ok(Exit::Done)
    }

    fn measure(&self, ctx: &Ctx) -> Result<Benchmarks> {
        let places = set_up(ctx)?;
        let root = &ctx.root;
        let output = root.join(".xtask/tmp/bench.json");
        std::fs::create_dir_all(root.join(".xtask/tmp")).context("cannot create .xtask/tmp")?;
        // What the sandbox and the tests' repositories start.
        let build = cargo::command(root, &["build", "--locked", "--workspace"]);
        // The development profile, since that is what `cargo xtask` runs.
        let mut arguments = vec!["bench", "--locked", "--profile", "dev", "--package", "dev"];
        arguments.extend(["--bench", "bench", "--", "--output", output.as_str()]);
        arguments.extend(self.quick.then_some("--quick"));
        arguments.extend(self.names.iter().map(String::as_str));
        let bench = with_tools(&places, cargo::command(root, &arguments));
        for command in [build, bench] {
            ctx.run("bench", &command, &|line| ctx.ui.note(line))?.success()?;
        }
        read(&output)?.ok_or_else(|| failed(format!("the benchmarks left no {output}")))
    }
}

/// Reads the benchmarks in the file at `path`. `None` if there is none.
pub fn read(path: &Utf8Path) -> Result<Option<Benchmarks>> {
    let Ok(text) = std::fs::read_to_string(path) else { return Ok(None) };
    let found = serde_json::from_str(&text).with_context(|| format!("cannot read {path}"))?;
    Ok(Some(found))
}
