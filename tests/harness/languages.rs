//! A notifier in other languages than Rust (`tests/languages`), each built once by the toolchain that its authors would
//! use. What goes into a component names its file in the cache.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use crate::{artifacts, project, tools};

const COMPONENTIZE_PY: &str = "componentize-py==0.25.1";
const COMPONENTIZE_JS: &str = "@bytecodealliance/componentize-js@0.23.0";
const WORLD: &str = "campanile:notifier/plugin";

/// The one in Python.
pub fn python() -> Vec<u8> {
    built("python", COMPONENTIZE_PY, |source, component| {
        let package = tools::python_package(COMPONENTIZE_PY);
        let mut build = Command::new(package.join("bin/componentize-py"));
        build.env("PYTHONPATH", package).args(["--wit-path", "wit", "--world", WORLD, "componentize"]);
        build.arg("--python-path").arg(source).args(["app", "--output"]).arg(component);
        build
    })
}

/// The one in JavaScript; `None`, said aloud, where there is no npm.
pub fn javascript() -> Option<Vec<u8>> {
    if tools::npm().is_none() {
        tools::skipped("the notifier in JavaScript: no npm on the PATH");
        return None;
    }
    Some(built("javascript", COMPONENTIZE_JS, |source, component| {
        let package = tools::node_package(COMPONENTIZE_JS);
        let mut build = Command::new(package.join("node_modules/.bin/componentize-js"));
        build.args(["--wit", "wit", "--world-name", WORLD, "--out"]).arg(component);
        build.arg(source.join("notifier.js"));
        build
    }))
}

/// The component that `build` makes of `tests/languages/<name>`, from the cache if nothing has changed.
fn built(name: &str, toolchain: &str, build: impl FnOnce(&Path, &Path) -> Command) -> Vec<u8> {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one_at_a_time = BUILDING.lock();
    let source = project::root().join("tests/languages").join(name);
    let mut hasher = DefaultHasher::new();
    toolchain.hash(&mut hasher);
    [&source, &project::root().join("wit")].into_iter().for_each(|tree| hash(tree, &mut hasher));
    let cache = project::cache().join("languages");
    let component = cache.join(format!("{name}-{:016x}.wasm", hasher.finish()));
    if !component.exists() {
        fs::create_dir_all(&cache).expect("the cache is writable");
        let half_done = component.with_extension("part");
        let output =
            build(&source, &half_done).current_dir(project::root()).output().expect("it can be started");
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "{toolchain} failed: {}", String::from_utf8_lossy(&said));
        fs::rename(half_done, &component).expect("a rename within one directory");
    }
    artifacts::read(&component)
}

/// Every file below, in order, but for what Python keeps beside its sources.
fn hash(path: &Path, hasher: &mut DefaultHasher) {
    if path.ends_with("__pycache__") {
        return;
    }
    if path.is_file() {
        return artifacts::read(path).hash(hasher);
    }
    let entries =
        fs::read_dir(path).expect("it is readable").map(|entry| entry.expect("it is readable").path());
    let mut entries: Vec<PathBuf> = entries.collect();
    entries.sort();
    entries.iter().for_each(|entry| hash(entry, hasher));
}
