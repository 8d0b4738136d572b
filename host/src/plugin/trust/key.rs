//! Public keys in minisign's form, and the numbers by which people tell keys apart.

use std::fmt;
use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use crate::operator_file;

/// How a secret key of minisign begins: its kinds with and without a password.
const SECRET: [&[u8]; 2] = [b"EdScB2", b"Ed\0\0B2"];

/// The number of a key pair, as minisign shows it: sixteen hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KeyId([u8; 8]);

impl KeyId {
    /// From the bytes of a public key or a signature: two for the algorithm, then these.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        bytes.get(2..10)?.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

/// A key that signatures are checked with.
#[derive(Clone, Debug)]
pub struct PublicKey {
    pub(super) key: minisign_verify::PublicKey,
    pub(super) id: KeyId,
}

impl PublicKey {
    /// Reads a key's line, or the text of a file that ends with it.
    ///
    /// # Errors
    ///
    /// It is no public key; the text says what it is instead, without repeating it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let line = text.lines().map(str::trim).rfind(|line| !line.is_empty()).unwrap_or_default();
        let bytes = BASE64_STANDARD.decode(line).unwrap_or_default();
        if SECRET.iter().any(|secret| bytes.starts_with(secret)) {
            return Err("this is a secret key, which belongs to who signs and to nobody else: \
                        `campanile plugin keygen` prints the public one beside it"
                .to_owned());
        }
        let key = minisign_verify::PublicKey::from_base64(line).ok();
        key.zip(KeyId::of(&bytes)).map(|(key, id)| Self { key, id }).ok_or_else(|| {
            "is not a public key in minisign's form, such as \
             \"RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3\""
                .to_owned()
        })
    }

    /// Reads a file such as minisign's `minisign.pub`.
    ///
    /// # Errors
    ///
    /// The file cannot be read or holds no public key; the text names it.
    pub fn read(file: &Path) -> Result<Self, String> {
        let text = operator_file::read_text(file, operator_file::VALUE);
        let text = text.map_err(|error| format!("{} cannot be read: {error}", file.display()))?;
        Self::parse(&text).map_err(|why| format!("{}: {why}", file.display()))
    }
}

/// The keys of which one must have signed, for a text.
pub(super) struct Wanted<'a>(pub &'a [PublicKey]);

impl fmt::Display for Wanted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ids: Vec<_> = self.0.iter().map(|key| key.id.to_string()).collect();
        write!(f, "{} {}", if ids.len() == 1 { "key" } else { "one of the keys" }, ids.join(", "))
    }
}
