//! Tools that tests need beside cargo: taken from where `cargo xtask test` puts them, or installed there.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::project;

/// The Temporal command line, pinned: from `CAMPANILE_TEMPORAL_CLI`, else the cache, else the `PATH`.
pub fn temporal_cli() -> PathBuf {
    let named = std::env::var_os("CAMPANILE_TEMPORAL_CLI").map(PathBuf::from);
    let cached = || project::cache().join("temporal-1.9.1/bin/temporal");
    named
        .or_else(|| Some(cached()).filter(|path| path.exists()))
        .or_else(|| on_path("temporal"))
        .expect("no Temporal CLI: `cargo xtask test` fetches it, or name one in CAMPANILE_TEMPORAL_CLI")
}

/// `cargo-component`, pinned: from the cache, else the `PATH`.
pub fn cargo_component() -> PathBuf {
    let cached = project::cache().join("tools/bin/cargo-component");
    Some(cached)
        .filter(|path| path.exists())
        .or_else(|| on_path("cargo-component"))
        .expect("no cargo-component: `cargo xtask test` installs it")
}

/// Chromium, if this machine has one.
pub fn browser() -> Option<PathBuf> {
    ["chromium", "chromium-browser", "google-chrome"].into_iter().find_map(on_path)
}

/// Says what is not tested here and why. Not captured, unlike what the macros print: whoever runs the tests is to know.
pub fn skipped(what: &str) {
    let text = format!("SKIPPED: {what}\n");
    std::io::stderr().write_all(text.as_bytes()).expect("stderr is open");
}

/// npm, if this machine has it.
pub fn npm() -> Option<PathBuf> {
    on_path("npm")
}

/// A directory for `PYTHONPATH` with one pinned package from PyPI, installed on first use.
pub fn python_package(requirement: &str) -> PathBuf {
    package("python", &requirement.replace("==", "-"), |directory| {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
        pip.arg(directory).arg(requirement);
        pip
    })
}

/// A directory with one pinned package from npm in its `node_modules`, installed on first use.
pub fn node_package(package_and_version: &str) -> PathBuf {
    package("node", &package_and_version.replace(['@', '/'], "-"), |directory| {
        let mut npm = Command::new("npm");
        npm.args(["install", "--silent", "--no-fund", "--no-audit", "--prefix"]).arg(directory);
        npm.arg(package_and_version);
        npm
    })
}

/// Installs beside the final place and renames, so that a run that was interrupted leaves nothing half done there.
fn package(kind: &str, name: &str, install: impl FnOnce(&Path) -> Command) -> PathBuf {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock();
    let directory = project::cache().join(kind).join(name);
    if !directory.exists() {
        let parent = directory.parent().expect("the cache has a parent");
        std::fs::create_dir_all(parent).expect("the cache is writable");
        let scratch = tempfile::tempdir_in(parent).expect("the cache is writable");
        let status = install(scratch.path()).status().expect("python3 and npm are installed");
        assert!(status.success(), "{name} could not be installed: {status}");
        std::fs::rename(scratch.keep(), &directory).expect("a rename within one directory");
    }
    directory
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}
