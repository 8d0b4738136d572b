//! `campanile plugin sign`: signatures beside components and sidecars.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::output::say;
use crate::plugin::{SigningKey, sign_file};

/// A component is signed to run with its sidecar, or, if there is none beside it now, to run without. A signature counts
/// for the file's name, too.
#[derive(Args, Debug)]
pub(super) struct Sign {
    /// Components and sidecars; FILE.minisig is written beside each
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The secret key, made by `campanile plugin keygen` or minisign; CAMPANILE_KEY_PASSWORD has its password
    #[arg(long, value_name = "FILE", default_value = "campanile.key")]
    key: PathBuf,
}

impl Sign {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let key = SigningKey::read(&self.key, super::password())?;
        for file in &self.files {
            let comment = sign_file(file, &key)?;
            say!("{}.minisig: key {}, {}", file.display(), key.id(), comment.replace('\t', " "));
        }
        for unsigned in self.files.iter().filter_map(|file| unsigned_neighbour(file)) {
            say!("{} is beside it and has no signature: sign it, too", unsigned.display());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// The sidecar of a component, or the component of a sidecar, if it is there and has no signature.
fn unsigned_neighbour(file: &Path) -> Option<PathBuf> {
    let other = match file.extension()?.to_str()? {
        "wasm" => file.with_extension("toml"),
        "toml" => file.with_extension("wasm"),
        _ => return None,
    };
    let mut signature = other.clone().into_os_string();
    signature.push(".minisig");
    (other.exists() && !Path::new(&signature).exists()).then_some(other)
}
