//! Keeps the catalogue true to the plugin directory: looks when the system reports a change and every few seconds
//! besides (not every file system reports), waits for files that are being written, and loads what changed. What cannot
//! be looked at keeps what runs; what was refused for a reason that can pass is tried again.

mod bell;
mod retry;

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;

use self::bell::Bell;
use self::retry::Retries;
use super::catalog::Catalog;
use super::files::{self, Scan, Stamps};
use super::load::{Loader, Refusal};
use super::loaded::Plugin;
use super::trust::Trust;
use super::{PluginSettings, doors, intake};
use crate::operator_file;

/// How long files must have stayed as they are before they are read.
const SETTLE: Duration = Duration::from_millis(200);
/// How long a sidecar must be gone before its component runs without: it is usually deleted just before its component, or
/// before it is written anew.
const SIDECAR_SETTLE: Duration = Duration::from_secs(5);
/// How long the first pass waits for files that are still being written.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// How many plugins are loaded at once.
const LOADED_AT_ONCE: usize = 4;

/// What was last seen of the directory, and what is being done about it.
pub(super) struct Watcher {
    loader: Arc<Loader>,
    trust: Trust,
    poll: Duration,
    settings: watch::Receiver<PluginSettings>,
    /// The files as they were when they were last loaded or refused.
    seen: BTreeMap<String, Stamps>,
    /// Files that have changed too recently, and since when they are as they are.
    settling: BTreeMap<String, (Stamps, Instant)>,
    /// Files that are being loaded.
    under_way: BTreeMap<String, Stamps>,
    loads: JoinSet<Loaded>,
    places: Arc<Semaphore>,
    retries: Retries,
    /// Names that are loaded again once they are found, though nothing about their files changed.
    again: BTreeSet<String>,
    /// How often each name was loaded.
    generations: BTreeMap<String, u64>,
    /// When it was first known what is in the directory.
    first_look: Option<Instant>,
    first_pass: watch::Sender<bool>,
}

/// What came of loading a plugin's files.
struct Loaded {
    name: String,
    stamps: Stamps,
    result: Result<Outcome, Refusal>,
}

enum Outcome {
    New(Box<Plugin>),
    /// What runs is made of these files already.
    Same,
    /// Other processes load plugins of its role.
    ForOthers,
}

impl Watcher {
    /// `first_pass` becomes true once everything that was there at the start is loaded or refused.
    pub(super) fn new(loader: Loader, trust: Trust, poll: Duration, first_pass: watch::Sender<bool>) -> Self {
        Self {
            settings: loader.settings.clone(),
            loader: Arc::new(loader),
            trust,
            poll,
            seen: BTreeMap::new(),
            settling: BTreeMap::new(),
            under_way: BTreeMap::new(),
            loads: JoinSet::new(),
            places: Arc::new(Semaphore::new(LOADED_AT_ONCE)),
            retries: Retries::default(),
            again: BTreeSet::new(),
            generations: BTreeMap::new(),
            first_look: None,
            first_pass,
        }
    }

    /// Watches for as long as there is a handle to the catalogue.
    pub(super) async fn run(mut self, weak: Weak<Catalog>) {
        let mut bell = Bell::default();
        if let Some(catalog) = weak.upgrade() {
            warn_of_open_doors(catalog.directory.clone()).await;
        }
        while let Some(catalog) = weak.upgrade() {
            // First the bell, then the look: what changes in between rings.
            bell.hang(&catalog.directory).await;
            self.look(&catalog).await;
            self.end_first_pass(&catalog);
            drop(catalog);
            let longest = self.longest_wait();
            tokio::select! {
                () = bell.wait(longest) => {}
                Some(loaded) = self.loads.join_next() => {
                    // Panics are caught where there is a name to them.
                    if let (Some(catalog), Ok(loaded)) = (weak.upgrade(), loaded) {
                        self.finish(&catalog, loaded);
                    }
                }
                changed = self.settings.changed() => {
                    if let (Some(catalog), Ok(())) = (weak.upgrade(), changed) {
                        self.look_again(&catalog);
                    }
                }
            }
        }
    }

    /// Has those loaded once more for whom the host's settings may make a difference: what was refused, what is being loaded, and
    /// what has other limits now.
    fn look_again(&mut self, catalog: &Catalog) {
        let limits = self.settings.borrow().limits.clone();
        let plugins = catalog.plugins();
        let other = plugins.iter().filter(|plugin| !plugin.is_bounded_by(&limits));
        self.again.extend(other.map(|plugin| plugin.name().to_owned()));
        self.again.extend(catalog.refused_names());
        self.again.extend(self.under_way.keys().cloned());
    }

    fn longest_wait(&self) -> Duration {
        let longest = if self.settling.is_empty() { self.poll } else { SETTLE };
        // What is due may have to wait for the directory.
        self.retries.next_due().map_or(longest, |due| longest.min(due.max(SETTLE)))
    }

    /// Compares the directory with what was seen of it, and starts to load what changed.
    async fn look(&mut self, catalog: &Catalog) {
        let Some(scan) = self.scan(catalog).await else { return };
        catalog.ignore(scan.ignored);
        let found = self.without_deleted(catalog, scan.plugins);
        for (name, stamps, retry) in self.due(found) {
            self.start(catalog, name, stamps, retry);
        }
        catalog.expect(self.settling.keys().chain(self.under_way.keys()).cloned().collect());
    }

    /// What is in the directory. One that cannot be looked at changes nothing: a volume that went away is not a decision to
    /// stop alerting.
    async fn scan(&mut self, catalog: &Catalog) -> Option<Scan> {
        let (path, lock) = (catalog.directory.clone(), self.trust.lock().map(Path::to_owned));
        let seen = self.seen.clone();
        let scan =
            tokio::task::spawn_blocking(move || files::scan(&path, lock.as_deref(), &seen)).await.ok()?;
        let is_missing = scan.as_ref().is_err_and(|error| error.kind() == ErrorKind::NotFound);
        if is_missing {
            catalog.expect(BTreeSet::new());
        }
        if is_missing || scan.is_ok() {
            self.first_look.get_or_insert_with(Instant::now);
        }
        catalog.reach_directory(scan.as_ref().err());
        scan.ok()
    }

    /// Unloads what was deleted. The rest of what was found, without that which is only known from before.
    fn without_deleted(
        &mut self,
        catalog: &Catalog,
        mut found: BTreeMap<String, Stamps>,
    ) -> BTreeMap<String, Stamps> {
        found.retain(|name, now| {
            let Some(before) = self.seen.get(name) else { return true };
            if let Some(refusal) = moved(catalog, name, now, before) {
                catalog.refuse(name, refusal, None);
                self.again.insert(name.clone());
                return false;
            }
            if now.is_empty() || now.is_deletion(before) {
                catalog.unload(name);
                self.retries.forget(name);
                self.under_way.remove(name);
                self.settling.remove(name);
                self.seen.remove(name);
            }
            !now.is_empty()
        });
        found
    }

    /// What is to be loaded now, with its place if it is only time for another attempt.
    fn due(
        &mut self,
        found: BTreeMap<String, Stamps>,
    ) -> Vec<(String, Stamps, Option<OwnedSemaphorePermit>)> {
        let before = std::mem::take(&mut self.settling);
        let mut due = Vec::new();
        for (name, stamps) in found {
            if self.under_way.contains_key(&name) {
                continue;
            }
            if self.seen.get(&name) == Some(&stamps) {
                if self.again.remove(&name) {
                    due.push((name, stamps, None));
                } else if let Some(place) = self.retries.begin(&name) {
                    due.push((name, stamps, Some(place)));
                }
                continue;
            }
            let known = before.get(&name).filter(|(known, _)| *known == stamps);
            let since = known.map_or_else(Instant::now, |(_, since)| *since);
            if self.is_settled(&name, &stamps, since) {
                self.again.remove(&name);
                self.retries.forget(&name);
                due.push((name, stamps, None));
            } else {
                self.settling.insert(name, (stamps, since));
            }
        }
        due
    }

    /// Whether files that are as they are `since` then are no longer being written or replaced.
    fn is_settled(&self, name: &str, stamps: &Stamps, since: Instant) -> bool {
        match self.seen.get(name) {
            Some(before) if stamps.lost_sidecar(before) => since.elapsed() >= SIDECAR_SETTLE,
            _ => is_old(stamps) || since.elapsed() >= SETTLE,
        }
    }

    fn start(
        &mut self,
        catalog: &Catalog,
        name: String,
        stamps: Stamps,
        retry: Option<OwnedSemaphorePermit>,
    ) {
        self.under_way.insert(name.clone(), stamps.clone());
        let generation = self.generations.get(&name).copied().unwrap_or_default() + 1;
        let (loader, trust, places) = (self.loader.clone(), self.trust.clone(), self.places.clone());
        let (directory, previous) = (catalog.directory.clone(), catalog.find(&name));
        self.loads.spawn(async move {
            let _retry = retry;
            let _place = places.acquire().await;
            // What reads a plugin's texts may have faults of its own; they must not end the watch.
            let load = load(&loader, &trust, &directory, &name, &stamps, generation, previous.as_deref());
            let result = AssertUnwindSafe(load).catch_unwind().await.unwrap_or_else(|_| {
                let reason = "the host panicked while loading it: its log says where";
                Err(Refusal::component(&name, reason))
            });
            Loaded { name, stamps, result }
        });
    }

    /// Takes over what came of a load, unless its files were deleted meanwhile.
    fn finish(&mut self, catalog: &Catalog, Loaded { name, stamps, result }: Loaded) {
        if self.under_way.get(&name) != Some(&stamps) {
            return;
        }
        self.under_way.remove(&name);
        match result {
            Ok(outcome) => {
                self.retries.forget(&name);
                match outcome {
                    Outcome::New(plugin) => {
                        *self.generations.entry(name.clone()).or_default() += 1;
                        catalog.publish(*plugin);
                    }
                    Outcome::Same => catalog.accept(&name),
                    Outcome::ForOthers => catalog.unload(&name),
                }
            }
            Err(refusal) => {
                let next = refusal.can_pass.then(|| self.retries.put_off(&name));
                catalog.refuse(&name, refusal, next);
            }
        }
        self.seen.insert(name, stamps);
    }

    /// Says that the first pass is over, if it is: not before it is known what there is to load.
    fn end_first_pass(&self, catalog: &Catalog) {
        let Some(first_look) = self.first_look else { return };
        let is_settled = self.settling.is_empty() || first_look.elapsed() >= START_PATIENCE;
        let is_over = is_settled && self.under_way.is_empty();
        if is_over && !self.first_pass.send_replace(true) {
            let plugins = catalog.plugins();
            let (secrets, settings) = (self.loader.secrets.current(), self.settings.borrow());
            let grants = plugins.iter().map(|plugin| plugin.egress.grants());
            for name in secrets.unused(grants, &settings.secrets_in_use) {
                tracing::info!("secret {name} is declared, but granted to no plugin, receiver or updater");
            }
        }
    }
}

/// Reads a plugin's files and makes a plugin of them.
async fn load(
    loader: &Loader,
    trust: &Trust,
    directory: &Path,
    name: &str,
    stamps: &Stamps,
    generation: u64,
    previous: Option<&Plugin>,
) -> Result<Outcome, Refusal> {
    let file = intake::take(directory, name, stamps, trust).await?;
    if previous.is_none() && loader.is_for_others(&file) {
        return Ok(Outcome::ForOthers);
    }
    let plugin = loader.load(file, generation, previous).await?;
    Ok(plugin.map_or(Outcome::Same, |plugin| Outcome::New(Box::new(plugin))))
}

async fn warn_of_open_doors(directory: PathBuf) {
    let look = move || {
        let path = directory.clone();
        operator_file::within(operator_file::LOOK_LIMIT, &directory, move || Ok(doors::open_doors(&path)))
    };
    // A directory that does not answer is reported by the look at it.
    let doors = tokio::task::spawn_blocking(look).await.ok().and_then(Result::ok).unwrap_or_default();
    doors.iter().for_each(|door| tracing::warn!("{door}"));
}

/// What is listed for a plugin whose directory was replaced by one that lacks a file of it.
fn moved(catalog: &Catalog, name: &str, now: &Stamps, before: &Stamps) -> Option<Refusal> {
    let runs = catalog.find(name).is_some();
    let refusal = |file: &str, what: &str| {
        let reason = format!(
            "another directory is there now, without this file, so it was not deleted: what runs goes on. {what}, or \
             restart the host"
        );
        Some(Refusal::of(file, reason))
    };
    let (component, sidecar) = (format!("{name}.wasm"), format!("{name}.toml"));
    if now.is_elsewhere(before) && runs {
        return refusal(&component, &format!("To end it, put its files there and delete {component}"));
    }
    // Settings that were refused are not done without either.
    if now.left_sidecar(before) && (runs || catalog.has_refused(name)) {
        return refusal(&sidecar, &format!("To do without it, put {sidecar} there and delete it later"));
    }
    None
}

/// Whether nothing was written for so long that there is nothing to wait for.
fn is_old(stamps: &Stamps) -> bool {
    let age = stamps.modified().and_then(|modified| SystemTime::now().duration_since(modified).ok());
    age.is_some_and(|age| age >= 2 * SETTLE)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn refused_settings_are_not_done_without_in_another_directory() {
        let parent = tempfile::tempdir().unwrap();
        let [directory, other] = ["plugins.d", "other"].map(|name| parent.path().join(name));
        for directory in [&directory, &other] {
            fs::create_dir(directory).unwrap();
            fs::write(directory.join("pager.wasm"), "").unwrap();
        }
        fs::write(directory.join("pager.toml"), "").unwrap();
        let before = files::scan(&directory, None, &BTreeMap::new()).unwrap().plugins;
        let now = files::scan(&other, None, &before).unwrap().plugins;
        let catalog = Catalog::new(directory, Duration::ZERO);
        let moved = || moved(&catalog, "pager", &now["pager"], &before["pager"]);
        assert!(moved().is_none(), "nothing runs, and nothing was refused");
        catalog.refuse("pager", Refusal::of("pager.toml", "it is no TOML"), None);
        assert_eq!(moved().unwrap().file, "pager.toml");
    }
}
