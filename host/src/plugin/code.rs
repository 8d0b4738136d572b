//! Machine code of plugins, and the only place where it becomes something that runs. That is `unsafe`
//! (docs/adr/0015-machine-code-with-a-seal.md): wasmtime runs serialised code without looking at it, so a [`Code`] is made only of
//! what this program's own compiling process wrote.

use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::{Entry, Key};

/// How much machine code one component may become, in bytes.
pub(super) const MOST_CODE: u64 = 256 << 20;

/// Serialised machine code that a compiling process of this program wrote.
pub(super) struct Code(Vec<u8>);

impl Code {
    /// What a compiling process wrote to its pipe. To be called with nothing else.
    pub(super) fn of_compiler(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// The code of a cache entry whose seal shows that this host wrote it, for this engine and this component.
    pub(super) fn of_entry(mut bytes: Vec<u8>, entry: &Entry, key: &Key) -> Option<Self> {
        let length = key.verified_length(&bytes, entry)?;
        bytes.truncate(length);
        Some(Self(bytes))
    }

    /// The bytes, to be written into the cache.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The component, ready to be linked. The code is copied into memory of the engine's own: no file is mapped.
    ///
    /// # Errors
    ///
    /// It was compiled for another engine or another processor.
    #[expect(
        unsafe_code,
        clippy::disallowed_methods,
        reason = "wasmtime cannot check it, and the SAFETY text says who does"
    )]
    pub(super) fn load(&self, engine: &Engine) -> wasmtime::Result<Component> {
        // SAFETY: `Component::deserialize` demands bytes that `Engine::precompile_component` made and that nobody has changed.
        // Both constructors see to that: one takes the output of this program's own compiling process, the other bytes whose
        // HMAC, under a key that only this user can read, covers them, their engine and their component. They are owned by
        // this value, so nobody can change them between that check and this call, and wasmtime copies them.
        unsafe { Component::deserialize(engine, &self.0) }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    fn sources(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let all = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
        all.filter(|path| path.extension().is_some_and(|extension| extension == "rs")).collect()
    }

    #[test]
    fn no_other_file_may_be_unsafe_but_the_one_that_forks() {
        // `deny` can only be lifted by an attribute that names it.
        let lint = concat!("unsafe", "_code");
        let lifted = |path: &PathBuf| fs::read_to_string(path).unwrap().contains(lint);
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found: Vec<_> = sources(&root).into_iter().filter(lifted).collect();
        found.sort();
        assert_eq!(found, ["plugin/code.rs", "temporal/embedded.rs"].map(|file| root.join(file)));
    }
}
