//! `cargo xtask test`: what CI runs, in the order in which it is quickest to fail.

use std::path::Path;
use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::command::{cargo, run};
use crate::layout::Layout;
use crate::plugins::{self, cargo_for_plugins};
use crate::step::Steps;
use crate::tools;

/// The guests of the test package: a workspace of their own, for wasm only.
const GUESTS: &str = "tests/guests/Cargo.toml";
/// The end-to-end suites that run on a PostgreSQL store, too.
const ON_BOTH_STORES: [&str; 3] = ["identity::", "lives::", "delivery::"];

#[derive(Args)]
pub(crate) struct Test {
    /// Only tests whose names contain this, in every suite
    filter: Option<String>,
}

impl Test {
    /// Runs every check and every test; the first one that fails ends it.
    pub(crate) fn run(&self) -> Result<()> {
        let layout = Layout::find()?;
        let root = layout.root.as_path();
        let mut steps = Steps::new(8);
        steps.quiet("wasm targets", tools::wasm_targets)?;
        steps.loud("tools", || tools::for_tests(&layout))?;
        steps.loud("format", || format(root))?;
        steps.loud("lints of plugins and guests", || guest_lints(&layout))?;
        steps.loud("lints of all that runs here", || host_lints(root))?;
        steps.loud("plugins as components", || plugins::build(&layout))?;
        steps.loud("unit tests", || self.unit_tests(root))?;
        steps.loud("end-to-end tests", || self.end_to_end(root))
    }

    fn unit_tests(&self, root: &Path) -> Result<&'static str> {
        run(cargo()
            .args(["test", "--workspace", "--exclude", "tests"])
            .args(&self.filter)
            .current_dir(root))?;
        Ok("passed")
    }

    fn end_to_end(&self, root: &Path) -> Result<&'static str> {
        // The suites start the host's program, which cargo does not build for another package's tests.
        run(cargo().args(["build", "-p", "campanile"]).current_dir(root))?;
        run(cargo().args(["test", "-p", "tests"]).args(&self.filter).current_dir(root))?;
        if self.filter.is_none() {
            let mut on_postgres = cargo();
            on_postgres.args(["test", "-p", "tests", "--test", "suites", "--"]).args(ON_BOTH_STORES);
            run(on_postgres.env("TESTS_STORE", "postgres").current_dir(root))?;
        }
        Ok("passed")
    }
}

fn format(root: &Path) -> Result<&'static str> {
    run(cargo().args(["fmt", "--all", "--check"]).current_dir(root))?;
    run(cargo().args(["fmt", "--all", "--check", "--manifest-path", GUESTS]).current_dir(root))?;
    Ok("as rustfmt has it")
}

fn guest_lints(layout: &Layout) -> Result<&'static str> {
    run(strict(&mut cargo_for_plugins("clippy")).current_dir(&layout.root))?;
    let mut guests = cargo();
    guests.args(["clippy", "--workspace", "--target", "wasm32-wasip2", "--manifest-path", GUESTS]);
    guests.arg("--target-dir").arg(layout.target.join("guests"));
    run(strict(&mut guests).current_dir(&layout.root))?;
    Ok("clean")
}

fn host_lints(root: &Path) -> Result<&'static str> {
    run(strict(cargo().args(["clippy", "--workspace", "--all-targets"])).current_dir(root))?;
    Ok("clean")
}

fn strict(clippy: &mut Command) -> &mut Command {
    clippy.args(["--", "-D", "warnings"])
}
