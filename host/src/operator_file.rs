//! Opening files that an operator names or places: configuration, secrets, keys, certificates, plugins. Whatever lies at
//! the path (a named pipe, a device, a link into a network file system that hangs), the host gets an answer in time.
//!
//! Each look at a file runs on a thread of its own, which is abandoned when it takes too long: a system call that hangs
//! cannot be cancelled. A path whose thread still hangs gets no second one.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use rustix::fs::OFlags;
use rustix::io::Errno;

/// How long a look at a file or directory may take.
pub const LOOK_LIMIT: Duration = Duration::from_secs(2);
/// How long reading a file may take.
pub const READ_LIMIT: Duration = Duration::from_secs(30);
/// The stack of the threads, in bytes.
const STACK: usize = 256 << 10;

/// The size limit of files with one value in them, such as a secret or a key, in bytes.
pub const VALUE: u64 = 64 << 10;
/// The size limit of files with many entries, such as a configuration or a list of certificates, in bytes.
pub const LIST: u64 = 4 << 20;

/// Paths with a thread that was abandoned and still hangs.
static HUNG: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Reads a regular file of at most `limit` bytes.
///
/// # Errors
///
/// It is not a regular file, is larger, or cannot be read in time. The text fits behind `PATH cannot be read:`.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = path.to_owned();
    within(READ_LIMIT, path, move || {
        let mut bytes = Vec::new();
        open(&file)?.take(limit + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > limit {
            true => Err(unfit(format!("it is larger than {}", size(limit)))),
            false => Ok(bytes),
        }
    })
}

/// Reads a regular file of UTF-8 text, of at most `limit` bytes.
///
/// # Errors
///
/// As [`read`], or it is not UTF-8.
pub fn read_text(path: &Path, limit: u64) -> io::Result<String> {
    String::from_utf8(read(path, limit)?).map_err(|error| unfit(format!("it is not UTF-8: {error}")))
}

/// The state of the regular file at `path`, behind any links; `None` if the directory has no entry of this name.
///
/// # Errors
///
/// There is an entry, but not a regular file, or nothing can be learned about it in time: its link leads to nothing, the
/// directory cannot be searched, the file system fails.
pub fn state(path: &Path) -> io::Result<Option<Metadata>> {
    let file = path.to_owned();
    within(LOOK_LIMIT, path, move || {
        let Some(metadata) = behind_links(&file)? else { return Ok(None) };
        check_regular(&metadata).map(|()| Some(metadata))
    })
}

/// Does `work` with the file or directory at `path` on a thread of its own, and waits for it up to `limit`.
///
/// # Errors
///
/// The work's own; or it takes longer, or an earlier one on this path still hangs.
pub fn within<T: Send + 'static>(
    limit: Duration,
    path: &Path,
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let hangs = |text: String| io::Error::new(ErrorKind::TimedOut, text);
    if HUNG.lock().contains(path) {
        return Err(hangs("an earlier attempt still waits for its file system".to_owned()));
    }
    let (answer, answered) = mpsc::sync_channel(1);
    let key = path.to_owned();
    thread::Builder::new().name("operator-file".to_owned()).stack_size(STACK).spawn(move || {
        let result = work();
        let mut hung = HUNG.lock();
        // Fails if the attempt was abandoned; then the path can be tried again.
        let _ = answer.send(result);
        hung.remove(&key);
    })?;
    match answered.recv_timeout(limit) {
        Ok(result) => result,
        Err(RecvTimeoutError::Disconnected) => Err(io::Error::other("the host panicked over it")),
        Err(RecvTimeoutError::Timeout) => {
            let mut hung = HUNG.lock();
            // It may have answered just now.
            answered.try_recv().unwrap_or_else(|_| {
                hung.insert(path.to_owned());
                Err(hangs(format!("its file system does not answer within {limit:?}")))
            })
        }
    }
}

/// Whether the same attempt can succeed later without a change of the file: the system failed, not the content.
pub fn can_pass(error: &io::Error) -> bool {
    error.kind() != ErrorKind::InvalidData
}

/// What the links at `path` lead to; `None` if the directory has no entry of this name.
fn behind_links(path: &Path) -> io::Result<Option<Metadata>> {
    let is_missing = |error: &io::Error| error.kind() == ErrorKind::NotFound;
    match fs::metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if !is_missing(&error) => Err(error),
        Err(_) => match fs::symlink_metadata(path) {
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error),
            Ok(_) => Err(io::Error::other("it is a link that leads to nothing")),
        },
    }
}

/// Opens without waiting for the other end of a pipe, and only what is a regular file before and after: opening a device
/// can have effects.
fn open(path: &Path) -> io::Result<File> {
    check_regular(&behind_links(path)?.ok_or(Errno::NOENT)?)?;
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options().read(true).custom_flags(flags.bits().cast_signed()).open(path)?;
    check_regular(&file.metadata()?)?;
    Ok(file)
}

fn check_regular(metadata: &Metadata) -> io::Result<()> {
    let kind = metadata.file_type();
    let what = match () {
        () if kind.is_file() => return Ok(()),
        () if kind.is_dir() => "a directory",
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () if kind.is_block_device() || kind.is_char_device() => "a device",
        () => "something else",
    };
    Err(unfit(format!("it is {what}, not a regular file")))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..=0x3ff => format!("{bytes} bytes"),
        0x400..=0xf_ffff => format!("{} KiB", bytes >> 10),
        _ => format!("{} MiB", bytes >> 20),
    }
}

/// An error of the file itself, which only a change of the file mends.
fn unfit(text: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, text)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::time::Instant;

    use rustix::fs::{CWD, FileType, Mode, mknodat};

    /// Puts something at `path` that is not a regular file, and says what the host calls it.
    pub(crate) type Place = fn(&Path) -> &'static str;

    /// Everything that is not a regular file, or leads to none.
    pub(crate) const ODD_FILES: [Place; 6] = [
        |path| {
            mknodat(CWD, path, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
            "a named pipe"
        },
        |path| {
            drop(UnixListener::bind(path).unwrap());
            "a socket"
        },
        |path| {
            symlink("/dev/zero", path).unwrap();
            "a device"
        },
        |path| {
            fs::create_dir(path).unwrap();
            "a directory"
        },
        |path| {
            symlink("nowhere", path).unwrap();
            "a link that leads to nothing"
        },
        |path| {
            symlink(path, path).unwrap();
            "symbolic links"
        },
    ];

    /// Has `read` meet each odd file, and checks that it is refused within a second, with a text that says what it is.
    pub(crate) fn are_refused_in_time(file: &str, read: fn(&Path) -> String) {
        for place in ODD_FILES {
            let directory = tempfile::tempdir().unwrap();
            let path = directory.path().join(file);
            let what = place(&path);
            let (answer, answered) = mpsc::channel();
            thread::spawn(move || answer.send(read(&path)));
            let text = answered.recv_timeout(Duration::from_secs(1));
            let text = text.unwrap_or_else(|_| panic!("{what} holds the host up"));
            assert!(text.contains(what), "{what} is refused as: {text}");
        }
    }

    #[test]
    fn odd_files_are_refused_in_time() {
        are_refused_in_time("file", |path| read(path, 10).unwrap_err().to_string());
        are_refused_in_time("file", |path| state(path).unwrap_err().to_string());
    }

    #[test]
    fn files_are_read_up_to_the_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "0123456789").unwrap();
        assert_eq!(read_text(file.path(), 10).unwrap(), "0123456789");
        let error = read(file.path(), 9).unwrap_err();
        assert!(error.to_string().contains("larger than 9 bytes") && !can_pass(&error), "{error}");
        fs::write(file.path(), [0xff]).unwrap();
        assert!(read_text(file.path(), 10).unwrap_err().to_string().contains("not UTF-8"));
    }

    #[test]
    fn only_a_missing_entry_has_no_state() {
        let directory = tempfile::tempdir().unwrap();
        assert!(state(&directory.path().join("missing")).unwrap().is_none());
        let file = directory.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(state(&file).unwrap().is_some());
        assert_eq!(state(&file.join("below")).unwrap_err().kind(), ErrorKind::NotADirectory);
    }

    #[test]
    fn a_path_that_hangs_is_abandoned_once() {
        let path = Path::new("/hangs");
        let (release, released) = mpsc::channel::<()>();
        let limit = Duration::from_millis(50);
        let error = within(limit, path, move || Ok(released.recv().is_ok())).unwrap_err();
        assert!(error.to_string().contains("does not answer within 50ms") && can_pass(&error), "{error}");
        // No second thread hangs there, and other paths are not affected.
        let error = within(LOOK_LIMIT, path, || Ok(())).unwrap_err();
        assert!(error.to_string().contains("still waits"), "{error}");
        within(LOOK_LIMIT, Path::new("/answers"), || Ok(())).unwrap();
        release.send(()).unwrap();
        let started = Instant::now();
        while within(LOOK_LIMIT, path, || Ok(())).is_err() {
            assert!(started.elapsed() < LOOK_LIMIT, "the path stays closed");
            thread::yield_now();
        }
    }
}
