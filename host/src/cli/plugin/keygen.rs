//! `campanile plugin keygen`: a key to sign plugins with.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::cli::output::say;
use crate::plugin::{PASSWORD_VARIABLE, SigningKey};

/// The key protects who may run code: with a password in CAMPANILE_KEY_PASSWORD it is encrypted, otherwise keep it as you
/// keep any secret. It has minisign's form.
#[derive(Args, Debug)]
pub(super) struct Keygen {
    /// File for the secret key; must not exist
    #[arg(long, value_name = "FILE", default_value = "campanile.key")]
    key: PathBuf,
}

impl Keygen {
    pub(super) fn run(self) -> anyhow::Result<ExitCode> {
        let password = super::password();
        let protection = match password {
            Some(_) => format!("encrypted with the password in {PASSWORD_VARIABLE}"),
            None => format!("not encrypted, since {PASSWORD_VARIABLE} is not set: keep it off the hosts"),
        };
        let key = SigningKey::generate(&self.key, password)?;
        say!("key {} is in {}, {protection}", key.id(), self.key.display());
        say!();
        say!("hosts that are to run only what it signed need in their configuration:");
        say!();
        say!("[trust]");
        say!("require-signature = true");
        say!("trusted-keys = [\"{}\"]", key.public_line());
        Ok(ExitCode::SUCCESS)
    }
}
