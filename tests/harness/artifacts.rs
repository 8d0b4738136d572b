//! The components that tests drop into plugin directories: built from source, or spoiled on purpose.

use std::fs;
use std::path::Path;

use crate::project;

/// A guest of the tests, by the name of its directory in `tests/guests`.
pub fn guest(name: &str) -> Vec<u8> {
    read(&Path::new(env!("TESTS_GUESTS")).join(format!("guest_{}.wasm", name.replace('-', "_"))))
}

/// A shipped plugin, by the name of its directory in `plugins`, built by `cargo build --target wasm32-wasip2`.
pub fn shipped(name: &str) -> Vec<u8> {
    read(&Path::new(env!("TESTS_PLUGINS")).join(format!("{}.wasm", name.replace('-', "_"))))
}

/// The names of the shipped plugins: the directories of `plugins/` that hold a component, not a library.
pub fn shipped_names() -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(project::root().join("plugins")).expect("plugins/ is readable").flatten() {
        let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).unwrap_or_default();
        if manifest.contains("cdylib") {
            names.push(entry.file_name().into_string().expect("a plugin's directory has an ASCII name"));
        }
    }
    names.sort();
    names
}

/// The bytes of a file that a build made.
pub fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The same component with another digest: a custom section that nobody reads is added.
pub fn version(mut component: Vec<u8>, version: u8) -> Vec<u8> {
    component.extend([0, 9, 7, b'v', b'e', b'r', b's', b'i', b'o', b'n', version]);
    component
}

/// The first half of a component, as if a copy had been cut off.
pub fn truncated(mut component: Vec<u8>) -> Vec<u8> {
    component.truncate(component.len() / 2);
    component
}

/// An empty core module: WebAssembly, but no component.
pub fn core_module() -> Vec<u8> {
    b"\0asm\x01\0\0\0".to_vec()
}
