//! The key of the cache, and the seal that it makes: HMAC-SHA256 over the engine, the component and the code.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use hmac::{Hmac, Mac};
use sha2::Sha256;
use tempfile::NamedTempFile;

use super::read_file;

/// The bytes of a key.
const KEY_BYTES: usize = 32;
/// The bytes of a seal, which is the end of an entry.
pub(super) const SEAL_BYTES: usize = 32;
/// What is sealed first: what the rest is, and in which version.
const PURPOSE: &[u8] = b"campanile machine code 1\0";

/// A secret of this host alone.
pub(in crate::plugin) struct Key([u8; KEY_BYTES]);

/// What an entry is for.
pub(in crate::plugin) struct Entry<'a> {
    /// The fingerprint of the engine.
    pub(super) engine: &'a [u8; 32],
    /// `sha256:<hex>` of the component.
    pub(super) component: &'a str,
}

impl Key {
    /// Reads the key, or makes one where there is none that is this user's alone: then all entries are useless.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        if let Some(bytes) = private(path)? {
            return Ok(Self(bytes));
        }
        let bytes: [u8; KEY_BYTES] = rand::random();
        let directory = path.parent().unwrap_or(Path::new("."));
        // Its mode is 0600 from the beginning.
        let mut file = NamedTempFile::new_in(directory)?;
        file.write_all(&bytes)?;
        file.persist(path).map_err(|error| error.error)?;
        Ok(Self(bytes))
    }

    /// What makes an entry of code.
    pub(super) fn seal(&self, code: &[u8], entry: &Entry) -> [u8; SEAL_BYTES] {
        self.mac(code, entry).finalize().into_bytes().into()
    }

    /// The length of the code in an entry, if its seal is whole.
    pub(in crate::plugin) fn verified_length(&self, bytes: &[u8], entry: &Entry) -> Option<usize> {
        let (code, seal) = bytes.split_last_chunk::<SEAL_BYTES>()?;
        self.mac(code, entry).verify_slice(seal).ok()?;
        Some(code.len())
    }

    fn mac(&self, code: &[u8], entry: &Entry) -> Hmac<Sha256> {
        let mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        // All but the last are of a fixed length, so no two entries have the same bytes.
        let parts = [PURPOSE, entry.engine, entry.component.as_bytes(), code];
        parts.into_iter().fold(mac, |mac, part| mac.chain_update(part))
    }
}

/// The bytes of a key that nobody but this user can have read or written.
fn private(path: &Path) -> io::Result<Option<[u8; KEY_BYTES]>> {
    let metadata = match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata?,
    };
    let is_private = metadata.permissions().mode() & 0o077 == 0;
    let is_own = metadata.uid() == rustix::process::geteuid().as_raw();
    let bytes = match metadata.is_file() && is_private && is_own && metadata.len() == KEY_BYTES as u64 {
        true => read_file(path, KEY_BYTES as u64)?.try_into().ok(),
        false => None,
    };
    if bytes.is_none() {
        tracing::warn!("{} is not a key that only this user can read: it is replaced", path.display());
    }
    Ok(bytes)
}
