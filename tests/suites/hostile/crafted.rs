//! Components that no compiler makes: written by hand, instruction by instruction, each with one thing wrong.

use std::fs;
use std::path::Path;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

use harness::project;

/// A processor that keeps every alert: what it answers lies at 1024 and 2048 and is all zeroes. The words in capitals are
/// places for something wrong.
const PROCESSOR: &str = r#"(module
    TOP
    (type $nothing (func))
    (table $table 1 funcref)
    (memory $memory (export "memory") PAGES)
    (global $next (mut i32) (i32.const 65536))
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
        (local $at i32)
        REALLOC
        (local.set $at (global.get $next))
        (global.set $next
            (i32.and (i32.add (i32.add (local.get $at) (local.get 3)) (i32.const 7)) (i32.const -8)))
        (local.get $at))
    (func (export "campanile:processor/processor@0.1.0#describe") (result i32)
        DESCRIBE
        (i32.const 1024))
    (func (export "campanile:processor/processor@0.1.0#process")
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
        PROCESS
        (i32.const 2048))
    (func (export "cabi_post_campanile:processor/processor@0.1.0#process") (param i32)
        POST)
    BOTTOM)"#;
/// What stands at these places if nothing is wrong.
const NOTHING_WRONG: [(&str, &str); 7] = [
    ("TOP", ""),
    ("PAGES", "2"),
    ("REALLOC", ""),
    ("DESCRIBE", ""),
    ("PROCESS", ""),
    ("POST", ""),
    ("BOTTOM", ""),
];

/// The processor with these texts at these places, as a component.
pub(super) fn processor(parts: &[(&str, String)]) -> Vec<u8> {
    let wrong = parts.iter().map(|(place, text)| (*place, text.as_str()));
    let text = wrong
        .chain(NOTHING_WRONG)
        .fold(PROCESSOR.to_owned(), |text, (place, what)| text.replace(place, what));
    component(&text, &project::root().join("wit"), "0.1.0")
}

/// The processor as it would be for another version of the contract.
pub(crate) fn processor_for(version: &str) -> Vec<u8> {
    let wit = tempfile::tempdir().expect("a temporary directory");
    copy_as(version, &project::root().join("wit"), wit.path());
    let text =
        NOTHING_WRONG.iter().fold(PROCESSOR.to_owned(), |text, (place, what)| text.replace(place, what));
    component(&text.replace("@0.1.0", &format!("@{version}")), wit.path(), version)
}

/// Copies `wit/` with another version of its own packages.
fn copy_as(version: &str, from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a temporary directory");
    for entry in fs::read_dir(from).expect("wit/ is readable").flatten() {
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_as(version, &path, &copy);
        } else {
            let text = fs::read_to_string(&path).expect("wit/ is text");
            // The draft of logging has the same number.
            let text = text.replace("@0.1.0-draft", "@draft").replace("@0.1.0", &format!("@{version}"));
            fs::write(copy, text.replace("@draft", "@0.1.0-draft")).expect("a temporary directory");
        }
    }
}

fn component(module: &str, wit: &Path, version: &str) -> Vec<u8> {
    let mut module = wat::parse_str(module).unwrap_or_else(|error| panic!("{error}"));
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_dir(wit).unwrap_or_else(|error| panic!("{error:#}"));
    let world = resolve.select_world(&[package], Some(&format!("campanile:processor/plugin@{version}")));
    let world = world.expect("wit/ has processors");
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).expect("it is a module");
    let encoder = ComponentEncoder::default().validate(false).module(&module);
    encoder.expect("it fits the world").encode().expect("it can be a component")
}

/// An answer that changes the alert by the text of `length` bytes at `start`.
pub(super) fn change(start: i32, length: i32) -> String {
    format!(
        "(i32.store8 (i32.const 2056) (i32.const 1)) (i32.store (i32.const 2060) (i32.const {start})) \
         (i32.store (i32.const 2064) (i32.const {length}))"
    )
}

/// An answer that changes the alert by these four bytes.
pub(super) fn change_of(bytes: u32) -> String {
    format!("(i32.store (i32.const 4096) (i32.const {bytes})) {}", change(4096, 4))
}

/// A component with this many more instances of its first core module.
pub(super) fn with_instances(mut component: Vec<u8>, count: u32) -> Vec<u8> {
    let mut content = leb128(count);
    content.extend([0, 0, 0].repeat(count as usize));
    section(&mut component, 2, &content);
    component
}

/// A component that holds another, and that one another, this deep.
pub(super) fn with_nested(mut component: Vec<u8>, depth: u32) -> Vec<u8> {
    let header = [0, b'a', b's', b'm', 13, 0, 1, 0];
    let inner = (1..depth).fold(header.to_vec(), |inner, _| {
        let mut outer = header.to_vec();
        section(&mut outer, 4, &inner);
        outer
    });
    section(&mut component, 4, &inner);
    component
}

/// A component with this many imports that nobody offers, each with a long name.
pub(super) fn with_imports(count: u32) -> Vec<u8> {
    let mut text =
        "(component (instance $i) (export \"campanile:processor/processor@0.1.0\" (instance $i))".to_owned();
    let long = "x".repeat(100);
    text.extend((0..count).map(|number| format!("(import \"acme:{long}/i{number}@1.0.0\" (instance))")));
    wat::parse_str(text + ")").unwrap_or_else(|error| panic!("{error}"))
}

fn section(component: &mut Vec<u8>, id: u8, content: &[u8]) {
    component.push(id);
    component.extend(leb128(u32::try_from(content.len()).expect("a small section")));
    component.extend(content);
}

fn leb128(mut number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 0x80 {
        bytes.push((number as u8 & 0x7f) | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    bytes
}
