//! `campanile store restore` and `campanile store suspend`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use campanile_store::{Location, Restored, StoreReader, lock, suspend_restored};
use clap::Args;
use jiff::SignedDuration;

use super::backup::{make_empty, sync};
use super::place::{Layout, Place, location};
use crate::cli::output::say;
use crate::config::Flags;
use crate::store::RESTORING;

#[derive(Args, Debug)]
pub(super) struct Restore {
    /// The directory of a backup
    backup: PathBuf,
    #[command(flatten)]
    age: Age,
    #[command(flatten)]
    place: Place,
}

#[derive(Args, Debug)]
pub(super) struct Suspend {
    #[command(flatten)]
    age: Age,
    #[command(flatten)]
    place: Place,
}

/// What is old.
#[derive(Args, Debug)]
struct Age {
    /// Suspend alerts under way that were accepted so long ago or earlier: they may have been delivered since
    #[arg(long, value_name = "AGE", default_value = "1h")]
    older_than: SignedDuration,
}

impl Restore {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { backup, age, place } = self;
        let config = place.load(Flags::default())?;
        let Location::File(store) = location(&config)? else {
            bail!(
                "the store is in PostgreSQL: restore it by that database's own tools, such as pg_restore, and run `campanile store \
                 suspend` before a host starts"
            );
        };
        let from = Layout(&backup);
        check(&from).await?;
        let data = &config.data_dir;
        make_empty(data)?;
        // No host takes the directory for its own meanwhile, nor what an interrupted restore leaves.
        let lock = lock(&store)?;
        let part = data.join(RESTORING);
        fs::create_dir(&part).with_context(|| part.display().to_string())?;
        let to = Layout(&part);
        let has_temporal = copy_temporal(&from, &to)?;
        copy(&from.store(), &to.store())?;
        let restored = age.suspend(Location::File(to.store())).await?;
        has_no_log(&to.store())?;
        sync(&part)?;
        if has_temporal {
            move_to(&to.temporal(), &Layout(data).temporal())?;
        }
        move_to(&to.store(), &store)?;
        sync(data)?;
        fs::remove_dir_all(&part).with_context(|| part.display().to_string())?;
        drop(lock);
        say!("restored to {}", data.display());
        report(&restored, &age);
        Ok(ExitCode::SUCCESS)
    }
}

impl Suspend {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let config = self.place.load(Flags::default())?;
        let restored = self.age.suspend(location(&config)?).await?;
        report(&restored, &self.age);
        Ok(ExitCode::SUCCESS)
    }
}

impl Age {
    async fn suspend(&self, location: Location) -> anyhow::Result<Restored> {
        let age = i64::try_from(self.older_than.as_micros()).unwrap_or(i64::MAX / 2);
        Ok(suspend_restored(location, age).await?)
    }
}

/// Whether a backup is whole.
async fn check(from: &Layout<'_>) -> anyhow::Result<()> {
    let store = from.store();
    let reader = StoreReader::open(&Location::File(store.clone())).await?;
    let Some(mut reader) = reader else { bail!("no whole backup: there is no store in {}", store.display()) };
    let faults = reader.check().await?.faults;
    if !faults.is_empty() {
        bail!("no whole backup: {} is damaged: {}", store.display(), faults.join("; "));
    }
    Ok(())
}

/// Copies the database of the Temporal server, if there is one.
fn copy_temporal(from: &Layout<'_>, to: &Layout<'_>) -> anyhow::Result<bool> {
    if !from.temporal_database().exists() {
        return Ok(false);
    }
    fs::create_dir(to.temporal()).with_context(|| to.temporal().display().to_string())?;
    copy(&from.temporal_database(), &to.temporal_database())?;
    for (from, to) in from.temporal_marks().iter().zip(to.temporal_marks()).filter(|(from, _)| from.exists())
    {
        copy(from, &to)?;
    }
    sync(&to.temporal())?;
    Ok(true)
}

fn move_to(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::rename(from, to).with_context(|| format!("{} cannot be moved to {}", from.display(), to.display()))
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    let copied = fs::copy(from, to).and_then(|_| File::open(to)?.sync_all());
    copied.with_context(|| format!("{} cannot be copied to {}", from.display(), to.display()))
}

/// Makes sure that all is in the file: SQLite writes its log back as it closes it.
fn has_no_log(file: &Path) -> anyhow::Result<()> {
    let log = file.with_extension("sqlite-wal");
    if log.metadata().is_ok_and(|log| log.len() > 0) {
        bail!("{} could not be closed: {} is left", file.display(), log.display());
    }
    Ok(())
}

fn report(restored: &Restored, age: &Age) {
    let Restored { suspended, going_on, set_aside, exhausted } = restored;
    say!("{going_on} alerts under way go on, as soon as a host runs");
    say!("{suspended} alerts under way are older than {:#} and are suspended", age.older_than);
    if *suspended > 0 {
        say!("  list them: campanile alerts list --outcome suspended");
        say!("  have them go on: campanile store resume --all; end them: campanile store discard --all");
    }
    if *set_aside > 0 {
        say!("{set_aside} spooled requests are set aside: campanile spool list");
    }
    if *exhausted > 0 {
        say!("{exhausted} dead letters that were tried again wait as before: campanile deliveries list");
    }
}
