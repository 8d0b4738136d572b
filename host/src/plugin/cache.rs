//! The cache of machine code in the data directory, so that a host that starts again compiles nothing. An entry is the code
//! and a seal over the engine, the component and the code: what was damaged, cut off, swapped or written by anybody else is not
//! used, and the plugin is compiled again. A cache that cannot be used costs time and nothing else.

mod key;

use std::cmp::Reverse;
use std::fs::{self, DirEntry, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use self::key::SEAL_BYTES;
pub(super) use self::key::{Entry, Key};
use super::code::{Code, MOST_CODE};
use super::limits::ByteSize;

/// How the names of entries end.
const EXTENSION: &str = "code";
/// How the names of entries begin that are being written.
const UNFINISHED: &str = "unfinished-";
/// The key's file, in the directory of the cache.
const KEY_FILE: &str = "key";
/// Above this many bytes, the entries that were not used for the longest time go.
const MOST_BYTES: u64 = 1 << 30;
/// Entries go that were not used for this long before the host started.
const LONGEST_IDLE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The cache of one engine.
pub(super) struct CodeCache {
    directory: PathBuf,
    key: Key,
    engine: [u8; 32],
    opened: SystemTime,
    most_bytes: u64,
}

impl CodeCache {
    /// Opens the cache for the engine with this fingerprint; makes directory and key if they are not there.
    ///
    /// # Errors
    ///
    /// The directory or the key cannot be read or written.
    pub(super) fn open(directory: &Path, engine: [u8; 32]) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        fs::set_permissions(directory, Permissions::from_mode(0o700))?;
        let key = Key::open(&directory.join(KEY_FILE))?;
        let directory = directory.to_owned();
        Ok(Self { directory, key, engine, opened: SystemTime::now(), most_bytes: MOST_BYTES })
    }

    /// The code of the component with this digest, `sha256:<hex>`, if there is an entry and its seal is whole.
    pub(super) fn get(&self, digest: &str) -> Option<Code> {
        let entry = Entry { engine: &self.engine, component: digest };
        let path = self.path(&entry);
        let bytes = match read_file(&path, MOST_CODE + SEAL_BYTES as u64) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, "a plugin is compiled again: {} cannot be read", path.display());
                return None;
            }
        };
        let code = Code::of_entry(bytes, &entry, &self.key);
        match code {
            Some(_) => touch(&path),
            None => {
                tracing::warn!(
                    "a plugin is compiled again: {} was damaged, or written by another host",
                    path.display()
                );
                _ = fs::remove_file(&path);
            }
        }
        code
    }

    /// Keeps the code of the component with this digest, and drops entries that nobody uses. A cache that cannot be written
    /// is warned of.
    pub(super) fn put(&self, digest: &str, code: &Code) {
        let entry = Entry { engine: &self.engine, component: digest };
        if let Err(error) = self.write(&entry, code).and_then(|()| self.prune()) {
            tracing::warn!(%error, "the next start compiles a plugin again: {} cannot be written", self.directory.display());
        }
    }

    fn path(&self, entry: &Entry) -> PathBuf {
        let hex = entry.component.trim_start_matches("sha256:");
        self.directory.join(format!("{}-{hex}.{EXTENSION}", self.engine_name()))
    }

    fn engine_name(&self) -> String {
        hex::encode(&self.engine[..8])
    }

    fn write(&self, entry: &Entry, code: &Code) -> io::Result<()> {
        let mut file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(&self.directory)?;
        file.write_all(code.bytes())?;
        file.write_all(&self.key.seal(code.bytes(), entry))?;
        file.persist(self.path(entry)).map(drop).map_err(|error| error.error)
    }

    /// Drops what other engines compiled, what was not used for long, what was never finished, and, above the bound on all
    /// together, what was used least recently.
    fn prune(&self) -> io::Result<()> {
        let mut files: Vec<_> =
            fs::read_dir(&self.directory)?.filter_map(|file| Found::new(file.ok()?)).collect();
        files.sort_by_key(|file| Reverse(file.used));
        let mut kept = 0;
        for file in files {
            if self.is_useless(&file) || kept + file.bytes > self.most_bytes {
                _ = fs::remove_file(&file.path);
            } else {
                kept += file.bytes;
            }
        }
        Ok(())
    }

    fn is_useless(&self, file: &Found) -> bool {
        let is_idle = file.used + LONGEST_IDLE < self.opened;
        let was_interrupted = file.name.starts_with(UNFINISHED) && file.used < self.opened;
        was_interrupted || is_idle || (file.is_entry() && !file.name.starts_with(&self.engine_name()))
    }
}

/// A file in the directory that the cache made.
struct Found {
    used: SystemTime,
    bytes: u64,
    path: PathBuf,
    name: String,
}

impl Found {
    fn new(file: DirEntry) -> Option<Self> {
        let (metadata, name) = (file.metadata().ok()?, file.file_name().into_string().ok()?);
        let (used, bytes, path) = (metadata.modified().ok()?, metadata.len(), file.path());
        let found = Self { used, bytes, path, name };
        (found.is_entry() || found.name.starts_with(UNFINISHED)).then_some(found)
    }

    fn is_entry(&self) -> bool {
        self.path.extension().is_some_and(|extension| extension == EXTENSION)
    }
}

/// The bytes of a regular file, read once.
fn read_file(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.is_file() || metadata.len() > most {
        return Err(io::Error::other(format!("it is not a regular file of at most {}", ByteSize(most))));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len()).unwrap_or_default());
    File::open(path)?.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Remembers that an entry was used, for [`CodeCache::prune`].
fn touch(path: &Path) {
    let touched =
        File::options().write(true).open(path).and_then(|file| file.set_modified(SystemTime::now()));
    if let Err(error) = touched {
        tracing::debug!(%error, "{} cannot be touched", path.display());
    }
}

#[cfg(test)]
mod tests;
