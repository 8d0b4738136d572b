//! Where things are: the work tree, the build directory, the tool cache and what `up` keeps.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The directories that the commands work in.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    /// The work tree.
    pub(crate) root: PathBuf,
    /// Cargo's build directory, whether it is the default or set by `CARGO_TARGET_DIR` or a cargo config.
    pub(crate) target: PathBuf,
    /// Tools that were downloaded or built once, shared by all work trees of this user.
    pub(crate) cache: PathBuf,
}

impl Layout {
    /// Reads the layout from where this program lies and from the environment.
    pub(crate) fn find() -> Result<Self> {
        let program = env::current_exe().context("cannot tell where this program lies")?;
        // <target>/<profile>/xtask
        let target = program.ancestors().nth(2).context("this program does not lie in a build directory")?;
        Ok(Self { root: work_tree()?, target: target.to_owned(), cache: cache()? })
    }

    /// The host as built for development.
    pub(crate) fn host(&self) -> PathBuf {
        self.target.join("debug/campanile")
    }

    /// A shipped plugin as built by `cargo build --release --target wasm32-wasip2`.
    pub(crate) fn plugin(&self, name: &str) -> PathBuf {
        self.target.join("wasm32-wasip2/release").join(name.replace('-', "_")).with_extension("wasm")
    }

    /// What `up` keeps between runs: data, plugins, nothing that is not ours.
    pub(crate) fn kept(&self) -> PathBuf {
        self.root.join(".campanile")
    }

    /// The host's data directory under `up`.
    pub(crate) fn data(&self) -> PathBuf {
        self.kept().join("data")
    }

    /// The plugin directory under `up`.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.kept().join("plugins.d")
    }
}

/// The checkout that `cargo xtask` was called in. Asked when it runs: two checkouts that share a target directory share
/// this binary too.
fn work_tree() -> Result<PathBuf> {
    let here = env::var_os("CARGO_MANIFEST_DIR").context("call this as `cargo xtask`, in a checkout")?;
    Ok(Path::new(&here).parent().context("xtask is at the root of the file system")?.to_owned())
}

/// `$XDG_CACHE_HOME/campanile`, by default `~/.cache/campanile`.
fn cache() -> Result<PathBuf> {
    let base = match env::var_os("XDG_CACHE_HOME").filter(|path| !path.is_empty()) {
        Some(path) => PathBuf::from(path),
        None => env::home_dir().context("no home directory: set HOME or XDG_CACHE_HOME")?.join(".cache"),
    };
    Ok(base.join("campanile"))
}
