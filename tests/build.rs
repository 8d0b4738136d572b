//! Builds the guests of the tests and the shipped plugins to WebAssembly components, with one nested cargo each, into
//! `<target>/guests`: a directory of their own, since the outer cargo holds the lock of its own one.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip2";

fn main() {
    let here = PathBuf::from(variable("CARGO_MANIFEST_DIR"));
    let root = here.parent().expect("the tests are in the workspace").to_owned();
    let target = target_directory();
    let guests = target.join("guests");
    let plugins = target.join("guests-plugins");
    for watched in ["tests/build.rs", "tests/guests", "plugins", "wit", "Cargo.toml"] {
        println!("cargo::rerun-if-changed={}", root.join(watched).display());
    }
    build(&here.join("guests"), &guests, &[]);
    build(&root, &plugins, &shipped(&root.join("plugins")));
    let components = |directory: PathBuf| directory.join(TARGET).join("release").display().to_string();
    println!("cargo::rustc-env=TESTS_TARGET={}", target.display());
    println!("cargo::rustc-env=TESTS_GUESTS={}", components(guests));
    println!("cargo::rustc-env=TESTS_PLUGINS={}", components(plugins));
}

/// The outer cargo's target directory: `OUT_DIR` is `<target>/<profile>/build/<package>/out`.
fn target_directory() -> PathBuf {
    let out = PathBuf::from(variable("OUT_DIR"));
    out.ancestors().nth(4).expect("cargo's OUT_DIR is five levels deep").to_owned()
}

/// `-p plugin-NAME` for each directory of `plugins/` that holds a plugin, not a library.
fn shipped(directory: &Path) -> Vec<String> {
    let mut arguments = Vec::new();
    for entry in fs::read_dir(directory).expect("plugins/ is readable").flatten() {
        let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).unwrap_or_default();
        if manifest.contains("cdylib") {
            let name = entry.file_name().into_string().expect("a plugin's directory has an ASCII name");
            arguments.extend(["-p".to_owned(), format!("plugin-{name}")]);
        }
    }
    arguments
}

fn build(workspace: &Path, target: &Path, packages: &[String]) {
    let status = Command::new(variable("CARGO"))
        .args(["build", "--release", "--target", TARGET, "--target-dir"])
        .arg(target)
        .args(packages)
        .current_dir(workspace)
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CLIPPY_ARGS")
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "building {} for {TARGET} failed: {status}", workspace.display());
}

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("cargo sets {name} for build scripts: {error}"))
}
