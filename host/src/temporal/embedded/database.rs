//! The embedded server's database before it is opened: who wrote it, and whether it is whole. Only what shows at once: a
//! database that is damaged deeper inside is named by the server that opens it.

mod log;

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use self::log::Log;
use super::{EmbeddedError, io};
use crate::operator_file;

/// The file that says which version wrote the database.
const VERSION: &str = "version";
/// The same until the server has answered for the first time: there may be no database yet.
const STARTING: &str = "starting";
/// The file that says in how many partitions the database keeps each task queue. A database without it has four, the server's
/// default: with fewer, the server would not read what waits in the others.
const PARTITIONS: &str = "partitions";
/// How a database of SQLite begins.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// The length of its header.
const HEADER: usize = 100;

/// The database in the server's directory.
#[derive(Clone)]
pub(super) struct Database {
    directory: PathBuf,
    /// The file.
    pub(super) file: PathBuf,
}

impl Database {
    pub(super) fn of(directory: &Path) -> Self {
        Self { directory: directory.to_owned(), file: directory.join("temporal.db") }
    }

    /// Lets a server of `version` open the database, if that is whole and was written by the same version; one of another
    /// version if an `upgrade` is asked for, after a backup.
    pub(super) fn prepare(&self, version: &str, upgrade: bool) -> Result<(), EmbeddedError> {
        let (settled, starting) = (self.mark(VERSION)?, self.mark(STARTING)?);
        let state = operator_file::state(&self.file).map_err(io(&self.file))?;
        // A server that was ended just after it had made the file had nothing in it.
        let is_there = state.is_some_and(|file| file.len() > 0 || settled.is_some());
        match (is_there, settled.or(starting.clone())) {
            (false, Some(_)) if starting.is_none() => Err(self.missing()),
            (false, _) => self.begin(version),
            (true, None) if !upgrade => Err(self.unmarked(version)),
            (true, found) => {
                self.check()?;
                self.take_over(found.as_deref(), version, upgrade)
            }
        }
    }

    /// Whether each task queue has one partition: then the server keeps the limit of a queue as one, instead of a quarter in each of
    /// four.
    pub(super) fn has_one_partition(&self) -> bool {
        self.directory.join(PARTITIONS).exists()
    }

    /// From now on there is a database: the server has answered.
    pub(super) fn settle(&self) {
        let (starting, version) = (self.directory.join(STARTING), self.directory.join(VERSION));
        if starting.exists()
            && let Err(error) = fs::rename(&starting, &version).and_then(|()| self.sync())
        {
            tracing::warn!(%error, "{} cannot be written", version.display());
        }
    }

    /// Notes what a new database is to be.
    fn begin(&self, version: &str) -> Result<(), EmbeddedError> {
        let database = self.file.display();
        tracing::info!(%database, "no temporal database is there yet: a new one begins, and the store keeps the alerts");
        self.write(PARTITIONS, "1")?;
        self.write(STARTING, version)
    }

    fn take_over(&self, found: Option<&str>, version: &str, upgrade: bool) -> Result<(), EmbeddedError> {
        match found {
            Some(found) if found == version => Ok(()),
            Some(found) if !upgrade => Err(EmbeddedError::OtherVersion {
                path: self.file.clone(),
                found: found.to_owned(),
                this: version.to_owned(),
            }),
            _ => {
                self.back_up()?;
                self.write(VERSION, version)?;
                // What an interrupted first start of the other version left.
                let _ = fs::remove_file(self.directory.join(STARTING));
                Ok(())
            }
        }
    }

    fn mark(&self, name: &str) -> Result<Option<String>, EmbeddedError> {
        let path = self.directory.join(name);
        match operator_file::read_text(&path, operator_file::VALUE) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(source) => Err(EmbeddedError::Io { path, source }),
        }
    }

    /// Writes a small file that is whole or not there, also after a power loss.
    fn write(&self, name: &str, text: &str) -> Result<(), EmbeddedError> {
        let (path, part) = (self.directory.join(name), self.directory.join(format!("{name}.part")));
        let written = || {
            let mut file = File::create(&part)?;
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::rename(&part, &path)?;
            self.sync()
        };
        written().map_err(io(&path))
    }

    fn sync(&self) -> io::Result<()> {
        File::open(&self.directory)?.sync_all()
    }

    /// Copies the database files into a directory of their own beside them.
    fn back_up(&self) -> Result<(), EmbeddedError> {
        let to = self.directory.join(format!("backup-{}", crate::alert::stamp(jiff::Timestamp::now())));
        fs::create_dir_all(&to).map_err(io(&to))?;
        for name in ["temporal.db", "temporal.db-wal", "temporal.db-shm", VERSION, PARTITIONS] {
            let from = self.directory.join(name);
            if from.exists() {
                fs::copy(&from, to.join(name)).map_err(io(&from))?;
            }
        }
        tracing::warn!(backup = %to.display(), "temporal database backed up before the upgrade");
        Ok(())
    }

    fn check(&self) -> Result<(), EmbeddedError> {
        let file = self.file.clone();
        let examined = operator_file::within(operator_file::READ_LIMIT, &self.file, move || examine(&file));
        match examined.map_err(io(&self.file))? {
            None => Ok(()),
            Some(what) => {
                Err(EmbeddedError::Damaged { path: self.file.clone(), what, way_out: self.way_out() })
            }
        }
    }

    fn missing(&self) -> EmbeddedError {
        let marker = self.directory.join(VERSION);
        EmbeddedError::Missing { path: self.file.clone(), marker, way_out: self.way_out() }
    }

    fn unmarked(&self, version: &str) -> EmbeddedError {
        let marker = self.directory.join(VERSION);
        EmbeddedError::Unmarked { path: self.file.clone(), marker, this: version.to_owned() }
    }

    /// What an operator can do about a database that cannot be used.
    pub(super) fn way_out(&self) -> String {
        let directory = self.directory.display();
        format!(
            "restore the directory {directory} from its backup, or move it away to begin with an empty database: alerts that \
             have not come to their end are then started again from the host's store"
        )
    }
}

/// What is wrong with a database, if that shows. Pages that only the write-ahead log has are not missing.
fn examine(path: &Path) -> io::Result<Option<String>> {
    let file = File::open(path)?;
    let size = file.metadata()?.len();
    let mut head = [0; HEADER];
    match file.read_exact_at(&mut head, 0) {
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => {
            return Ok(Some(format!("it has {size} bytes, fewer than the header of a SQLite database")));
        }
        read => read?,
    }
    if !head.starts_with(MAGIC) {
        return Ok(Some("it does not begin as a SQLite database does".to_owned()));
    }
    let Some(page) = page_size(&head) else {
        return Ok(Some("its header says a page size that SQLite does not have".to_owned()));
    };
    let log = Log::read(&path.with_file_name(log_name(path)))?;
    let pages = log.pages().or_else(|| page_count(&head));
    Ok(pages.and_then(|pages| {
        let whole = u32::try_from(size / page).unwrap_or(u32::MAX);
        let missing = (whole.saturating_add(1)..=pages)
            .find(|number| !log.has(*number) && !is_lock_page(*number, page))?;
        Some(format!(
            "it has {size} bytes, and page {missing} of its {pages} pages of {page} bytes is missing"
        ))
    }))
}

fn log_name(path: &Path) -> String {
    format!("{}-wal", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Whether this is the page at 1 GiB, which SQLite locks and never writes (SQLite's file format, "The Lock-Byte Page").
fn is_lock_page(number: u32, size: u64) -> bool {
    u64::from(number) == 0x4000_0000 / size + 1
}

/// The size of a page: a power of two from 512 to 65,536, which is written as 1.
fn page_size(head: &[u8; HEADER]) -> Option<u64> {
    match u16::from_be_bytes([head[16], head[17]]) {
        1 => Some(65_536),
        size if size >= 512 && size.is_power_of_two() => Some(size.into()),
        _ => None,
    }
}

/// How many pages the header says that there are; `None` if a version of SQLite wrote it that does not keep the number.
fn page_count(head: &[u8; HEADER]) -> Option<u32> {
    let number = |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
    let (count, changes, valid_for) = (number(28), number(24), number(92));
    (count > 0 && changes == valid_for).then_some(count)
}

#[cfg(test)]
mod tests;
