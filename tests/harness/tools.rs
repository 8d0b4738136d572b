//! Tools that tests need beside cargo: taken from where `cargo xtask test` puts them, or installed there.

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

/// A directory for `PYTHONPATH` with one pinned package from PyPI, installed on first use.
pub fn python_package(requirement: &str) -> PathBuf {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock();
    let directory = project::cache().join("python").join(requirement.replace("==", "-"));
    if !directory.exists() {
        install(requirement, &directory);
    }
    directory
}

/// Installs beside the final place and renames, so that a run that was interrupted leaves nothing half done there.
fn install(requirement: &str, directory: &Path) {
    let parent = directory.parent().expect("the cache has a parent");
    std::fs::create_dir_all(parent).expect("the cache is writable");
    let scratch = tempfile::tempdir_in(parent).expect("the cache is writable");
    let status = Command::new("python3")
        .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"])
        .arg(scratch.path())
        .arg(requirement)
        .status()
        .expect("python3 is installed");
    assert!(status.success(), "pip could not install {requirement}: {status}");
    std::fs::rename(scratch.keep(), directory).expect("a rename within one directory");
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}
