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
    components("plugins")
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

/// The same guest with a script: what it does at instantiation or in `describe`, such as `describe:spin`.
pub fn scripted(mut component: Vec<u8>, script: &str) -> Vec<u8> {
    let blank = format!("@script@{}", ".".repeat(88)).into_bytes();
    let mut places = component.windows(blank.len()).enumerate().filter(|(_, bytes)| *bytes == blank);
    let at = places.next().expect("the guest takes a script").0 + "@script@".len();
    assert!(places.next().is_none(), "the guest takes one script");
    component[at..at + script.len()].copy_from_slice(script.as_bytes());
    component
}

/// The names of the guests: the directories of `tests/guests` that hold a component, not a library.
pub fn guest_names() -> Vec<String> {
    components("tests/guests")
}

/// The directories of `place` that hold a component, not a library.
fn components(place: &str) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(project::root().join(place)).expect("it is readable").flatten() {
        let manifest = fs::read_to_string(entry.path().join("Cargo.toml")).unwrap_or_default();
        if manifest.contains("cdylib") {
            names.push(entry.file_name().into_string().expect("a component's directory has an ASCII name"));
        }
    }
    names.sort();
    names
}
