//! Who may put code into the plugin directory. With `[trust]`, being able to write there is not enough: a component and
//! its sidecar need signatures of a key that the host's configuration trusts, or digests that a lock file outside the
//! directory lists, or both.

mod key;
mod lock;
mod sign;
mod signature;

use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use key::PublicKey;
pub use lock::{LockChange, LockError, write_lock};
pub use sign::{PASSWORD_VARIABLE, SigningError, SigningKey, sign_file};
pub use signature::{Signed, verify_file};

use self::key::Wanted;
use self::lock::LockFile;
use super::files::{self, PluginFile};
use super::load::Refusal;
use crate::fault::Fault;
use crate::operator_file;

/// The table `[trust]` of the host's configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TrustConfig {
    /// Load only what one of the trusted keys signed: `slack.wasm` by `slack.wasm.minisig`, `slack.toml` by
    /// `slack.toml.minisig`.
    pub require_signature: bool,
    /// Public keys in minisign's form, such as those that `campanile plugin keygen` prints.
    pub trusted_keys: Vec<String>,
    /// Files with one such key each.
    pub trusted_key_files: Vec<PathBuf>,
    /// Load only what the lock file lists.
    pub require_lock: bool,
    /// The lock file; `campanile.lock` beside the configuration file, or in the working directory, if absent.
    pub lock: Option<PathBuf>,
}

impl TrustConfig {
    /// Where the lock file is, for a host with this configuration file.
    pub fn lock_file(&self, config: Option<&Path>) -> PathBuf {
        let beside = || config.map_or("campanile.lock".into(), |file| file.with_file_name("campanile.lock"));
        self.lock.clone().unwrap_or_else(beside)
    }

    /// The trusted keys, whether signatures are required or not.
    ///
    /// # Errors
    ///
    /// All that cannot be read, with paths such as `trust.trusted-keys[0]`.
    pub fn keys(&self) -> Result<Vec<PublicKey>, Vec<Fault>> {
        match self.read_keys() {
            (keys, faults) if faults.is_empty() => Ok(keys),
            (_, faults) => Err(faults),
        }
    }

    fn read_keys(&self) -> (Vec<PublicKey>, Vec<Fault>) {
        let lines = self.trusted_keys.iter().map(|text| PublicKey::parse(text)).enumerate();
        let lines = lines.map(|(index, key)| (format!("trusted-keys[{index}]"), key));
        let files = self.trusted_key_files.iter().map(|file| PublicKey::read(file)).enumerate();
        let files = files.map(|(index, key)| (format!("trusted-key-files[{index}]"), key));
        let (mut keys, mut faults) = (Vec::new(), Vec::new());
        for (path, key) in lines.chain(files) {
            match key {
                Ok(key) => keys.push(key),
                Err(message) => faults.push(fault(&path, message)),
            }
        }
        (keys, faults)
    }
}

/// What is asked of a plugin's files before anything looks into them; nothing by default.
#[derive(Clone, Debug, Default)]
pub struct Trust {
    keys: Option<Vec<PublicKey>>,
    lock: Option<PathBuf>,
}

impl Trust {
    /// Reads the keys. `lock` is where the lock file is, `plugins` the plugin directory.
    ///
    /// # Errors
    ///
    /// All that is wrong with the table, with paths such as `trust.trusted-keys[0]`.
    pub fn open(config: &TrustConfig, lock: PathBuf, plugins: &Path) -> Result<Self, Vec<Fault>> {
        let (keys, mut faults) = config.read_keys();
        if config.require_signature && keys.is_empty() && faults.is_empty() {
            faults.push(fault(
                "trusted-keys",
                "is empty, and require-signature = true: `campanile plugin keygen` makes a key and prints what to put \
                 here",
            ));
        }
        if config.require_lock && lock::is_inside(&lock, plugins) {
            let path = lock.display();
            faults.push(fault("lock", format!("{path}: {}; choose another place", lock::INSIDE)));
        }
        let trust = Self {
            keys: config.require_signature.then_some(keys),
            lock: config.require_lock.then_some(lock),
        };
        if faults.is_empty() { Ok(trust) } else { Err(faults) }
    }

    /// The lock file, if there has to be one.
    pub(super) fn lock(&self) -> Option<&Path> {
        self.lock.as_deref()
    }

    /// Whether files need signatures.
    pub(super) fn wants_signatures(&self) -> bool {
        self.keys.is_some()
    }

    /// Says whether files of `directory` may be loaded.
    pub(super) fn admit(&self, directory: &Path, file: &PluginFile) -> Result<(), Refusal> {
        if let Some(keys) = &self.keys {
            check_signatures(keys, directory, file)?;
        }
        match &self.lock {
            Some(lock) => LockFile::admit(lock, directory, file),
            None => Ok(()),
        }
    }
}

fn fault(key: &str, message: impl Into<String>) -> Fault {
    Fault { path: format!("trust.{key}"), value: None, message: message.into() }
}

/// Both files need their signatures. A component that was signed to run alone says so; any other needs its sidecar,
/// since without it a plugin that was switched off, limited or kept to some alerts would run for all of them.
fn check_signatures(keys: &[PublicKey], directory: &Path, file: &PluginFile) -> Result<(), Refusal> {
    let component = format!("{}.wasm", file.name);
    let sidecar = format!("{}.toml", file.name);
    let signed = check(keys, directory, &component, &file.component)?;
    match (&file.sidecar, signed.is_alone) {
        (None, true) => Ok(()),
        (Some(text), false) => check(keys, directory, &sidecar, text.as_bytes()).map(drop),
        (None, false) => Err(Refusal::of(
            &component,
            format!(
                "there is no {sidecar} beside it, and its signature does not say `{}`: put {sidecar} back (an empty \
                 one will do, signed), or, if it is to run without, sign it again: {}",
                signature::ALONE,
                command(directory, &component)
            ),
        )),
        (Some(_), true) => Err(Refusal::of(
            &sidecar,
            format!(
                "{component} was signed to run without it (`{}`): remove it, or sign both again: {} {}",
                signature::ALONE,
                command(directory, &component),
                directory.join(&sidecar).display()
            ),
        )),
    }
}

fn check(keys: &[PublicKey], directory: &Path, file: &str, bytes: &[u8]) -> Result<Signed, Refusal> {
    let refused = |why: String| {
        let (keys, command) = (Wanted(keys), command(directory, file));
        Refusal::of(file, format!("{why}; wanted is a signature of {keys}, such as from {command}"))
    };
    match files::read_signature(directory, file) {
        Err(error) => {
            let can_pass = operator_file::can_pass(&error.source);
            Err(Refusal { can_pass, ..refused(error.to_string()) })
        }
        Ok(None) => Err(refused(format!("it is not signed: there is no {file}.minisig beside it"))),
        Ok(Some(text)) => {
            signature::verify(file, bytes, &text, keys).map_err(|error| refused(error.to_string()))
        }
    }
}

/// The command that signs a file.
fn command(directory: &Path, file: &str) -> String {
    format!("`campanile plugin sign --key campanile.key {}`", directory.join(file).display())
}

#[cfg(test)]
mod tests;
