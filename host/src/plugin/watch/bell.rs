//! Rings when the system reports a change in the plugin directory.

use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use crate::operator_file;

/// How long changes are gathered before the directory is looked at.
const GATHER: Duration = Duration::from_millis(20);

/// Rings when the system reports a change in the directory.
#[derive(Default)]
pub(super) struct Bell {
    rung: Arc<Notify>,
    /// The inode that is watched.
    watched: Option<(u64, RecommendedWatcher)>,
}

impl Bell {
    /// Watches the directory, also when it was replaced by another of the same name. If the system cannot, looking
    /// every few seconds has to do.
    pub(super) async fn hang(&mut self, directory: &Path) {
        let (directory, rung) = (directory.to_owned(), self.rung.clone());
        let watched = self.watched.as_ref().map(|(inode, _)| *inode);
        let hang = move || {
            let path = directory.clone();
            operator_file::within(operator_file::LOOK_LIMIT, &directory, move || {
                let inode = std::fs::metadata(&path)?.ino();
                Ok((watched != Some(inode)).then(|| Some((inode, watch(&path, rung)?))))
            })
        };
        match tokio::task::spawn_blocking(hang).await {
            Ok(Ok(Some(anew))) => self.watched = anew,
            Ok(Ok(None)) => {}
            _ => self.watched = None,
        }
    }

    pub(super) async fn wait(&self, longest: Duration) {
        if tokio::time::timeout(longest, self.rung.notified()).await.is_ok() {
            tokio::time::sleep(GATHER).await;
        }
    }
}

fn watch(directory: &Path, rung: Arc<Notify>) -> Option<RecommendedWatcher> {
    let ring = move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| is_change(event.kind)) {
            rung.notify_one();
        }
    };
    let mut watcher = notify::recommended_watcher(ring).ok()?;
    watcher.watch(directory, RecursiveMode::NonRecursive).ok()?;
    Some(watcher)
}

/// Reading the directory is an event too, and would ring without end.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
