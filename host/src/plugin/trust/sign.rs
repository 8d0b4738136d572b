//! Making keys and signatures in minisign's form: for the commands, never for the host that runs.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minisign::{KeyPair, PError, SecretKey, SecretKeyBox};

use super::key::KeyId;
use super::signature::ALONE;
use crate::operator_file;
use crate::plugin::files::{LARGEST_COMPONENT, write_whole};
use crate::plugin::load::digest;

/// The environment variable with the password of a secret key.
pub const PASSWORD_VARIABLE: &str = "CAMPANILE_KEY_PASSWORD";
/// Where in a secret key the way it is encrypted stands, and what stands there if it is not.
const NOT_ENCRYPTED: (usize, [u8; 2]) = (2, [0, 0]);

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// A file cannot be read or written.
    #[error("{} cannot be {what}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `written`.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// There is a key already.
    #[error("{} is there already: a key is not overwritten; choose another file with --key", .0.display())]
    Exists(PathBuf),
    /// The file holds no secret key.
    #[error("{} does not hold a secret key of minisign: `campanile plugin keygen` makes one", .0.display())]
    NoKey(PathBuf),
    /// The key has a password that was not given.
    #[error("{} has a password: set it in {PASSWORD_VARIABLE}", .0.display())]
    Locked(PathBuf),
    /// minisign's own word, such as for a wrong password.
    #[error("{} cannot be used", .0.display())]
    Minisign(PathBuf, #[source] PError),
}

/// A secret key.
pub struct SigningKey {
    pair: KeyPair,
    path: PathBuf,
}

impl SigningKey {
    /// Makes a key and writes its secret half to a new file that only its owner may read, protected by `password` if one
    /// is given.
    ///
    /// # Errors
    ///
    /// The file exists or cannot be written.
    pub fn generate(path: &Path, password: Option<String>) -> Result<Self, SigningError> {
        let failed = |error| SigningError::Minisign(path.to_owned(), error);
        let pair = match password {
            Some(password) => KeyPair::generate_encrypted_keypair(Some(password)),
            None => KeyPair::generate_unencrypted_keypair(),
        };
        let pair = pair.map_err(failed)?;
        let text = pair.sk.to_box(Some("campanile secret key")).map_err(failed)?.into_string();
        write_secret(path, &text)?;
        Ok(Self { pair, path: path.to_owned() })
    }

    /// Reads a secret key, made here or by minisign, and opens it with `password` if it has one.
    ///
    /// # Errors
    ///
    /// The file cannot be read, holds no secret key, or the password is missing or wrong.
    pub fn read(path: &Path, password: Option<String>) -> Result<Self, SigningError> {
        let unreadable = |source| SigningError::File { path: path.to_owned(), what: "read", source };
        let text = operator_file::read_text(path, operator_file::VALUE).map_err(unreadable)?;
        let failed = |error| SigningError::Minisign(path.to_owned(), error);
        let line = text.lines().nth(1).unwrap_or_default();
        let bytes = BASE64_STANDARD.decode(line.trim_end()).unwrap_or_default();
        let raw = SecretKey::from_bytes(&bytes).map_err(|_| SigningError::NoKey(path.to_owned()))?;
        let (start, none) = NOT_ENCRYPTED;
        let sk = match password {
            // Some versions of minisign write no checksum into keys without a password, so none is asked for: that the
            // halves of the key fit is seen when it signs.
            _ if bytes[start..].starts_with(&none) => raw,
            None => return Err(SigningError::Locked(path.to_owned())),
            password => SecretKeyBox::from(text).into_secret_key(password).map_err(failed)?,
        };
        let pk = minisign::PublicKey::from_secret_key(&sk).map_err(failed)?;
        Ok(Self { pair: KeyPair { pk, sk }, path: path.to_owned() })
    }

    /// The public key's line, for `trusted-keys`.
    pub fn public_line(&self) -> String {
        BASE64_STANDARD.encode(self.pair.pk.to_bytes())
    }

    /// The number of the key, sixteen hexadecimal digits.
    pub fn id(&self) -> String {
        KeyId::of(&self.pair.pk.to_bytes()).map(|id| id.to_string()).unwrap_or_default()
    }

    fn sign(&self, bytes: &[u8], comment: &str) -> Result<String, SigningError> {
        let untrusted = "signature of a campanile plugin";
        let signature =
            minisign::sign(Some(&self.pair.pk), &self.pair.sk, bytes, Some(comment), Some(untrusted));
        signature.map(String::from).map_err(|error| SigningError::Minisign(self.path.clone(), error))
    }
}

/// Signs a component or a sidecar under its name, and writes the signature beside it. Returns what the signature says;
/// that of a component says whether it is to run without a sidecar, which is so if there is none beside it now.
///
/// # Errors
///
/// A file cannot be read or written, or the key is damaged.
pub fn sign_file(path: &Path, key: &SigningKey) -> Result<String, SigningError> {
    let failed = |what| move |source| SigningError::File { path: path.to_owned(), what, source };
    let bytes = operator_file::read(path, LARGEST_COMPONENT).map_err(failed("read"))?;
    let comment = comment(path, &bytes);
    let text = key.sign(&bytes, &comment)?;
    let mut target = path.as_os_str().to_owned();
    target.push(".minisig");
    write_whole(Path::new(&target), text.as_bytes())
        .map_err(failed("signed: the signature cannot be written"))?;
    Ok(comment)
}

/// In the form that minisign gives it, with our own words behind.
fn comment(path: &Path, bytes: &[u8]) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let time = jiff::Timestamp::now().as_second();
    let is_component = path.extension().is_some_and(|extension| extension == "wasm");
    let alone = is_component && !path.with_extension("toml").exists();
    let alone = if alone { format!("\t{ALONE}") } else { String::new() };
    format!("timestamp:{time}\tfile:{name}\thashed\t{}{alone}", digest(bytes))
}

fn write_secret(path: &Path, text: &str) -> Result<(), SigningError> {
    let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = opened.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists => SigningError::Exists(path.to_owned()),
        _ => SigningError::File { path: path.to_owned(), what: "written", source },
    })
}
