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

/// The files of a Debian package, of the version that this machine's Debian has: unpacked into the cache on first use, not
/// installed. `None`, said aloud, where it cannot be had.
pub fn debian_package(name: &str) -> Option<PathBuf> {
    let unpacked = try_package("debian", name, |directory| {
        let mut unpack = Command::new("sh");
        unpack.args(["-c", UNPACK, "unpack"]).arg(directory).arg(name);
        unpack
    });
    unpacked.inspect_err(|error| skipped(&format!("{name}, a Debian package: {error}"))).ok()
}

/// Downloads the Debian package `$2` and unpacks it into `$1`: by the lists of packages that the machine has, else, as if
/// they were old, by new ones that are nobody else's. Its programs find what Debian has them look for in `/usr/share` if
/// they are started in their own directory: the path in them becomes one from there, as long as it was.
const UNPACK: &str = r#"
cd "$1" || exit
own="-o Dir::State::Lists=$1/lists -o Dir::Cache=$1/cache"
get="apt-get -qq -o APT::Sandbox::User=root"
$get download "$2" || {
    mkdir -p lists/partial cache/archives/partial
    $get $own update && $get $own download "$2"
} || exit
dpkg-deb -x ./*.deb . && { [ ! -d usr/bin ] || LC_ALL=C sed -i 's|/usr/share/|./../share/|g' usr/bin/*; } && rm -rf ./*.deb lists cache
"#;

/// As [`try_package`], of what the tests cannot do without.
fn package(kind: &str, name: &str, install: impl FnOnce(&Path) -> Command) -> PathBuf {
    try_package(kind, name, install).unwrap_or_else(|error| panic!("{name} could not be installed: {error}"))
}

/// Installs beside the final place and renames, so that a run that was interrupted leaves nothing half done there.
fn try_package(kind: &str, name: &str, install: impl FnOnce(&Path) -> Command) -> Result<PathBuf, String> {
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = INSTALLING.lock();
    let directory = project::cache().join(kind).join(name);
    if !directory.exists() {
        let parent = directory.parent().expect("the cache has a parent");
        std::fs::create_dir_all(parent).expect("the cache is writable");
        let scratch = tempfile::tempdir_in(parent).expect("the cache is writable");
        let status = install(scratch.path()).status().map_err(|error| error.to_string())?;
        if !status.success() {
            return Err(status.to_string());
        }
        std::fs::rename(scratch.keep(), &directory).expect("a rename within one directory");
    }
    Ok(directory)
}

fn on_path(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(name)).find(|file| file.is_file())
}
