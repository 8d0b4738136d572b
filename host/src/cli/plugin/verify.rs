//! `campanile plugin verify`: are the signatures beside these files good?

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use crate::cli::output::say;
use crate::config::{Config, Flags, list};
use crate::plugin::{PublicKey, verify_file};

#[derive(Args, Debug)]
pub(super) struct Verify {
    /// Components and sidecars, each with FILE.minisig beside it
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// A public key, or a file with one; can be repeated
    #[arg(long, value_name = "KEY")]
    public_key: Vec<String>,
    /// Configuration file, of which the trusted keys are taken unless --public-key is given
    #[arg(long, env = "CAMPANILE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Verify {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let keys = self.keys()?;
        let mut code = ExitCode::SUCCESS;
        for file in &self.files {
            match verify_file(file, &keys) {
                Ok(signed) => {
                    say!("{}: key {}, {}", file.display(), signed.key, signed.comment.replace('\t', " "));
                }
                Err(why) => {
                    say!("{}: {why}", file.display());
                    code = ExitCode::FAILURE;
                }
            }
        }
        Ok(code)
    }

    fn keys(&self) -> anyhow::Result<Vec<PublicKey>> {
        if !self.public_key.is_empty() {
            let keys = self.public_key.iter().map(|key| read(key)).collect::<Result<_, _>>();
            return keys.map_err(anyhow::Error::msg);
        }
        let Some(config) = &self.config else {
            bail!("no key to verify with: name one with --public-key, or a configuration file with --config");
        };
        let config = Config::load(Flags { config: Some(config.clone()), ..Flags::default() })?;
        match config.file.trust.keys() {
            Ok(keys) if keys.is_empty() => {
                bail!("the configuration trusts no key: name one with --public-key")
            }
            Ok(keys) => Ok(keys),
            Err(faults) => bail!("the configuration is not usable:\n{}", list(&faults)),
        }
    }
}

/// The key itself, or the file that holds it.
fn read(key: &str) -> Result<PublicKey, String> {
    match std::fs::exists(key) {
        Ok(true) => PublicKey::read(key.as_ref()),
        _ => PublicKey::parse(key).map_err(|why| format!("\"{key}\" is no file, and {why}")),
    }
}
