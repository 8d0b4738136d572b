//! The disk under the host: whether what has to be written can be written now. A full disk, a file system that became
//! read-only or a database that is gone takes no alerts, whatever the processes that use it answer meanwhile.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};
use utoipa::ToSchema;

use crate::operator_file::within;
use crate::telemetry::metric;

/// How often the host looks, and how often at most when it is asked.
const INTERVAL: Duration = Duration::from_secs(5);
const LEAST: Duration = Duration::from_millis(100);
/// How long one waits who asks.
const PATIENCE: Duration = Duration::from_millis(300);
/// How long a look may take: the disk syncs a small file.
const LIMIT: Duration = Duration::from_secs(10);
/// With less free space than this, in bytes, a database is about to fail.
const RESERVE: u64 = 16 << 20;
/// The file that is written for the test, and removed.
const PROBE: &str = ".probe";

/// What is in a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The embedded Temporal server's database.
    Temporal,
    /// The store.
    Store,
}

/// A directory that the host has to write to.
#[derive(Clone, Debug)]
pub struct Place {
    /// What is in it.
    pub content: Content,
    /// The directory.
    pub directory: PathBuf,
    /// The file in it that matters, once it is there.
    pub file: PathBuf,
}

/// A directory that the host has to write to, as it was at the last look.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Disk {
    /// What is in it.
    #[serde(skip)]
    content: Content,
    /// The directory.
    directory: String,
    /// The free space there, in bytes; absent if the file system does not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    free_bytes: Option<u64>,
    /// Which file cannot be written, why, and what to do about it; absent if all is well.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    fault: Option<String>,
}

/// All of them. Cheap to clone.
#[derive(Clone, Default)]
pub struct Disks(Arc<Shared>);

#[derive(Default)]
struct Shared {
    seen: Mutex<Vec<Disk>>,
    /// A caller asks for a look now.
    asked: Notify,
    /// Changes with each look.
    looks: watch::Sender<()>,
}

impl Disks {
    /// What was seen last.
    pub fn seen(&self) -> Vec<Disk> {
        self.0.seen.lock().clone()
    }

    /// What cannot be written now, one line each.
    pub fn faults(&self) -> Vec<String> {
        self.0.seen.lock().iter().filter_map(|disk| disk.fault.clone()).collect()
    }

    /// The same of the directories with this in them.
    pub fn faults_of(&self, content: Content) -> Vec<String> {
        let disks = self.0.seen.lock();
        disks.iter().filter(|disk| disk.content == content).filter_map(|disk| disk.fault.clone()).collect()
    }

    /// Waits for another look, but not for a disk that takes long: what failed just now may have failed for the disk.
    pub async fn look_again(&self) {
        if self.0.seen.lock().is_empty() {
            return;
        }
        let mut looks = self.0.looks.subscribe();
        self.0.asked.notify_one();
        let _ = timeout(PATIENCE, looks.changed()).await;
    }

    /// Looks again and again, as long as the process runs.
    pub async fn watch(self, places: Vec<Place>) {
        self.watch_every(INTERVAL, places).await;
    }

    async fn watch_every(self, interval: Duration, places: Vec<Place>) {
        let mut places: Vec<_> = places.into_iter().map(|place| (place, false)).collect();
        while !places.is_empty() {
            let looked = tokio::task::spawn_blocking(move || {
                let disks = places.iter_mut().map(|(place, was_there)| look(place, was_there)).collect();
                (places, disks)
            });
            let Ok((same, disks)) = looked.await else {
                return tracing::error!("the disk is no longer watched");
            };
            self.note(disks);
            self.0.looks.send_replace(());
            places = same;
            sleep(LEAST).await;
            let _ = timeout(interval, self.0.asked.notified()).await;
        }
    }

    fn note(&self, disks: Vec<Disk>) {
        for disk in &disks {
            let before = self.0.seen.lock().iter().find(|known| known.directory == disk.directory).cloned();
            let before = before.and_then(|known| known.fault);
            match &disk.fault {
                Some(fault) if before.as_ref() != Some(fault) => tracing::error!("not ready: {fault}"),
                None if before.is_some() => tracing::info!("{} can be written again", disk.directory),
                _ => {}
            }
            metric::disk(&disk.directory, disk.free_bytes, disk.fault.is_none());
        }
        *self.0.seen.lock() = disks;
    }
}

/// Looks at one directory; `was_there` remembers that its file was.
fn look(place: &Place, was_there: &mut bool) -> Disk {
    let Place { content, directory, file } = place;
    let (asked, probed) = (directory.clone(), directory.clone());
    let free = within(LIMIT, directory, move || free_bytes(&asked)).ok();
    let written = within(LIMIT, directory, move || probe(&probed));
    let written = written.map_err(|error| (directory.as_path(), error));
    let fault = written.and_then(|()| open(file, was_there).map_err(|error| (file.as_path(), error))).err();
    let fault = fault.map(|(path, error)| {
        format!("{} cannot be written: {error}{}", path.display(), advice(error.kind()))
    });
    Disk {
        content: *content,
        directory: directory.display().to_string(),
        free_bytes: free,
        fault: fault.or_else(|| low(directory, free?)),
    }
}

/// The free space of a file system that the host may use.
///
/// # Errors
///
/// The directory is not there.
pub fn free_bytes(directory: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(directory)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

fn low(directory: &Path, free: u64) -> Option<String> {
    // Without the number, which changes all the time: each change of a fault is logged.
    let least = RESERVE >> 20;
    let text = || format!("{} has less than {least} MiB of free space{FREE_SPACE}", directory.display());
    (free < RESERVE).then(text)
}

const FREE_SPACE: &str = ": free space there";

/// What to do about it.
fn advice(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => FREE_SPACE,
        ErrorKind::ReadOnlyFilesystem => ": mount it for writing",
        ErrorKind::PermissionDenied => ": let the host's user write there",
        _ => "",
    }
}

/// Writes a new file as a database would, and has the disk keep it.
fn probe(directory: &Path) -> io::Result<()> {
    let path = directory.join(PROBE);
    let written = File::create(&path).and_then(|mut file| {
        file.write_all(&[0; 4096])?;
        file.sync_all()
    });
    let removed = fs::remove_file(&path);
    written.and(removed)
}

/// Opens the file for writing, and writes nothing: it is another process's.
fn open(file: &Path, was_there: &mut bool) -> io::Result<()> {
    let path = file.to_owned();
    let opened = within(LIMIT, file, move || File::options().write(true).open(&path).map(drop));
    match opened {
        Err(error) if error.kind() == ErrorKind::NotFound && !*was_there => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Err(io::Error::new(ErrorKind::NotFound, "it was removed while it was in use"))
        }
        opened => {
            *was_there = true;
            opened
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(directory: &Path) -> Place {
        Place {
            content: Content::Temporal,
            directory: directory.to_owned(),
            file: directory.join("temporal.db"),
        }
    }

    #[test]
    fn a_directory_that_can_be_written_has_no_fault() {
        let directory = tempfile::tempdir().unwrap();
        let disk = look(&place(directory.path()), &mut false);
        assert_eq!(disk.fault, None);
        assert!(disk.free_bytes.is_some_and(|free| free > RESERVE), "{disk:?}");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "the probe is gone");
    }

    #[test]
    fn what_cannot_be_written_is_named_until_it_can() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("temporal");
        // A file in the directory's place: it holds for root, too.
        fs::write(&directory, "").unwrap();
        let disk = look(&place(&directory), &mut false);
        let fault = disk.fault.unwrap();
        assert!(
            fault.starts_with(&format!("{} cannot be written: Not a directory", directory.display())),
            "{fault}"
        );
        fs::remove_file(&directory).unwrap();
        fs::create_dir(&directory).unwrap();
        assert_eq!(look(&place(&directory), &mut false).fault, None);
    }

    #[test]
    fn a_database_that_is_removed_is_missed() {
        let directory = tempfile::tempdir().unwrap();
        let (place, mut was_there) = (place(directory.path()), false);
        assert_eq!(look(&place, &mut was_there).fault, None, "it is not there yet");
        fs::write(&place.file, "").unwrap();
        assert_eq!(look(&place, &mut was_there).fault, None);
        fs::remove_file(&place.file).unwrap();
        let fault = look(&place, &mut was_there).fault.unwrap();
        assert!(fault.contains("temporal.db") && fault.contains("removed"), "{fault}");
        fs::create_dir(&place.file).unwrap();
        assert!(look(&place, &mut was_there).fault.unwrap().contains("Is a directory"));
    }

    #[test]
    fn little_free_space_is_a_fault() {
        let directory = Path::new("/data/temporal");
        assert_eq!(low(directory, RESERVE), None);
        let text = low(directory, RESERVE - 1).unwrap();
        assert_eq!(text, format!("/data/temporal has less than 16 MiB of free space{FREE_SPACE}"));
        assert_eq!(low(directory, 0), Some(text), "one fault, however little there is");
    }

    #[tokio::test]
    async fn who_asks_has_a_new_look() {
        let parent = tempfile::tempdir().unwrap();
        let directory = parent.path().join("temporal");
        fs::create_dir(&directory).unwrap();
        let disks = Disks::default();
        disks.look_again().await;
        let never = Duration::from_secs(1 << 20);
        tokio::spawn(disks.clone().watch_every(never, vec![place(&directory)]));
        while disks.seen().is_empty() {
            sleep(LEAST).await;
        }
        assert_eq!(disks.faults(), [""; 0]);
        fs::remove_dir(&directory).unwrap();
        for _ in 0..100 {
            disks.look_again().await;
            if !disks.faults().is_empty() {
                break;
            }
        }
        assert_eq!(disks.faults().len(), 1);
    }

    #[test]
    fn faults_are_listed_and_forgotten() {
        let disk = |fault: Option<&str>| Disk {
            content: Content::Store,
            directory: "/data".to_owned(),
            free_bytes: None,
            fault: fault.map(str::to_owned),
        };
        let disks = Disks::default();
        disks.note(vec![disk(Some("/data cannot be written: full"))]);
        assert_eq!(disks.faults(), ["/data cannot be written: full"]);
        assert_eq!([Content::Store, Content::Temporal].map(|of| disks.faults_of(of).len()), [1, 0]);
        disks.note(vec![disk(None)]);
        assert!(disks.faults().is_empty() && disks.seen().len() == 1);
    }
}
