//! Keeps the catalogue true to the plugin directory: looks when the system reports a change and every few seconds
//! besides (not every file system reports), waits for files that are being written, and loads what changed.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use futures::stream;
use futures::{FutureExt, StreamExt};
use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::files::{self, Stamps};
use super::intake;
use super::load::{Loader, Refusal};
use super::loaded::Plugin;
use super::registry::Catalog;
use super::trust::Trust;

/// How long files must have stayed as they are before they are read.
const SETTLE: Duration = Duration::from_millis(200);
/// How long changes are gathered before the directory is looked at.
const GATHER: Duration = Duration::from_millis(20);
/// How long the start waits for files that are still being written.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How many plugins are loaded at once.
const LOADED_AT_ONCE: usize = 4;

/// What was last seen of the directory.
pub(super) struct Watcher {
    loader: Loader,
    trust: Trust,
    poll: Duration,
    /// The files as they were when they were last loaded or refused.
    seen: BTreeMap<String, Stamps>,
    /// Files that have changed too recently, and since when they are as they are.
    settling: BTreeMap<String, (Stamps, Instant)>,
    /// How often each name was loaded.
    generations: BTreeMap<String, u64>,
    is_missing: bool,
}

impl Watcher {
    pub(super) fn new(loader: Loader, trust: Trust, poll: Duration) -> Self {
        Self {
            loader,
            trust,
            poll,
            seen: BTreeMap::new(),
            settling: BTreeMap::new(),
            generations: BTreeMap::new(),
            is_missing: false,
        }
    }

    /// Loads what is there, files included that were written just now.
    pub(super) async fn load_all(&mut self, catalog: &Catalog) {
        let started = Instant::now();
        self.look(catalog).await;
        while !self.settling.is_empty() && started.elapsed() < START_PATIENCE {
            tokio::time::sleep(SETTLE).await;
            self.look(catalog).await;
        }
    }

    /// Watches for as long as somebody holds the catalogue.
    pub(super) async fn run(mut self, weak: Weak<Catalog>) {
        let mut bell = Bell::default();
        while let Some(catalog) = weak.upgrade() {
            // First the bell, then the look: what changes in between rings.
            bell.hang(&catalog.directory);
            self.look(&catalog).await;
            drop(catalog);
            let longest = if self.settling.is_empty() { self.poll } else { SETTLE };
            let is_set_up_anew = tokio::select! {
                () = bell.wait(longest) => false,
                said = self.loader.set_up_elsewhere.changed() => said.is_ok(),
            };
            if is_set_up_anew {
                self.look_again_at_refused(&weak);
            }
        }
    }

    /// Has what was refused looked at as if it had changed.
    fn look_again_at_refused(&mut self, catalog: &Weak<Catalog>) {
        let Some(catalog) = catalog.upgrade() else { return };
        for (name, stamps) in &mut self.seen {
            if catalog.has_refused(name) {
                *stamps = Stamps::default();
            }
        }
    }

    /// Compares the directory with what was seen of it and loads what changed.
    async fn look(&mut self, catalog: &Catalog) {
        let Some(found) = self.scan(&catalog.directory).await else { return };
        for name in self.gone(&found) {
            self.seen.remove(&name);
            catalog.unload(&name);
        }
        let settled = self.settled(found);
        let mut loads = Vec::new();
        for (name, stamps) in &settled {
            loads.push(self.load(catalog, name, *stamps));
        }
        let mut loads = stream::iter(loads).buffer_unordered(LOADED_AT_ONCE);
        let mut loaded = Vec::new();
        while let Some((name, result)) = loads.next().await {
            match result {
                Ok(Some(plugin)) => {
                    loaded.push(name.to_owned());
                    catalog.publish(plugin);
                }
                Ok(None) => catalog.accept(name),
                Err(refusal) => catalog.refuse(name, refusal),
            }
        }
        drop(loads);
        for name in loaded {
            *self.generations.entry(name).or_default() += 1;
        }
        self.seen.extend(settled);
    }

    async fn scan(&mut self, directory: &Path) -> Option<BTreeMap<String, Stamps>> {
        let (path, lock) = (directory.to_owned(), self.trust.lock().map(Path::to_owned));
        let found = tokio::task::spawn_blocking(move || files::scan(&path, lock.as_deref())).await.ok()?;
        match found {
            Ok(found) => {
                self.is_missing = false;
                Some(found)
            }
            Err(error) => {
                // Said once. What is loaded stays: a volume that went away is not a decision to stop alerting.
                if !std::mem::replace(&mut self.is_missing, true) {
                    let path = directory.display();
                    tracing::warn!(
                        "the plugin directory {path} cannot be read ({error}); it is used once it can"
                    );
                }
                None
            }
        }
    }

    fn gone(&self, found: &BTreeMap<String, Stamps>) -> Vec<String> {
        self.seen.keys().filter(|name| !found.contains_key(*name)).cloned().collect()
    }

    /// Those of the changed files that are no longer being written.
    fn settled(&mut self, found: BTreeMap<String, Stamps>) -> BTreeMap<String, Stamps> {
        let before = std::mem::take(&mut self.settling);
        let mut settled = BTreeMap::new();
        for (name, stamps) in found {
            if self.seen.get(&name) == Some(&stamps) {
                continue;
            }
            let known = before.get(&name).filter(|(known, _)| *known == stamps);
            let since = known.map_or_else(Instant::now, |(_, since)| *since);
            if is_old(&stamps) || since.elapsed() >= SETTLE {
                settled.insert(name, stamps);
            } else {
                self.settling.insert(name, (stamps, since));
            }
        }
        settled
    }

    async fn load<'a>(
        &self,
        catalog: &Catalog,
        name: &'a str,
        stamps: Stamps,
    ) -> (&'a str, Result<Option<Plugin>, Refusal>) {
        // What reads a plugin's texts may have faults of its own; they must not end the watch.
        let loaded = AssertUnwindSafe(self.try_load(catalog, name, stamps)).catch_unwind().await;
        let panicked = |_| {
            let reason = "the host panicked while loading it: its log says where".to_owned();
            Err(Refusal::component(name, reason))
        };
        (name, loaded.unwrap_or_else(panicked))
    }

    async fn try_load(
        &self,
        catalog: &Catalog,
        name: &str,
        stamps: Stamps,
    ) -> Result<Option<Plugin>, Refusal> {
        if !stamps.has_component() {
            catalog.unload(name);
        }
        let file = intake::take(&catalog.directory, name, stamps, &self.trust).await?;
        if self.loader.is_for_others(&file) {
            catalog.unload(name);
            return Ok(None);
        }
        let generation = self.generations.get(name).copied().unwrap_or_default() + 1;
        self.loader.load(file, generation, catalog.find(name).as_deref()).await
    }
}

/// Whether nothing was written for so long that there is nothing to wait for.
fn is_old(stamps: &Stamps) -> bool {
    let age = stamps.modified().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age >= 2 * SETTLE)
}

/// Rings when the system reports a change in the directory.
#[derive(Default)]
struct Bell {
    rung: Arc<Notify>,
    watched: Option<(PathBuf, u64, RecommendedWatcher)>,
}

impl Bell {
    /// Watches the directory, also when it was replaced by another of the same name. If the system cannot, looking
    /// every few seconds has to do.
    fn hang(&mut self, directory: &Path) {
        let inode =
            std::fs::metadata(directory).ok().map(|metadata| std::os::unix::fs::MetadataExt::ino(&metadata));
        let watched = self.watched.as_ref().map(|(_, inode, _)| *inode);
        if inode == watched {
            return;
        }
        self.watched = inode.and_then(|inode| Some((directory.to_owned(), inode, self.watch(directory)?)));
    }

    fn watch(&self, directory: &Path) -> Option<RecommendedWatcher> {
        let rung = self.rung.clone();
        let ring = move |event: notify::Result<notify::Event>| {
            if event.is_ok_and(|event| is_change(event.kind)) {
                rung.notify_one();
            }
        };
        let mut watcher = notify::recommended_watcher(ring).ok()?;
        watcher.watch(directory, RecursiveMode::NonRecursive).ok()?;
        Some(watcher)
    }

    async fn wait(&self, longest: Duration) {
        if tokio::time::timeout(longest, self.rung.notified()).await.is_ok() {
            tokio::time::sleep(GATHER).await;
        }
    }
}

/// Reading the directory is an event too, and would ring without end.
fn is_change(kind: EventKind) -> bool {
    match kind {
        EventKind::Access(access) => access == AccessKind::Close(AccessMode::Write),
        _ => true,
    }
}
