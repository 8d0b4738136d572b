//! `campanile store backup`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use campanile_store::{Location, copy_database};
use clap::Args;

use super::place::{Layout, Place, location};
use crate::cli::output::say;
use crate::config::Flags;

#[derive(Args, Debug)]
pub(super) struct Backup {
    /// A directory that is not there yet, or is empty
    directory: PathBuf,
    #[command(flatten)]
    place: Place,
}

impl Backup {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let Self { directory, place } = self;
        let config = place.load(Flags::default())?;
        let Location::File(store) = location(&config)? else {
            bail!(
                "the store is in PostgreSQL: back it up by that database's own tools, such as pg_dump --format=custom; before that, \
                 Temporal's by its own"
            );
        };
        if !store.exists() {
            bail!(
                "there is no store at {}: name the data directory of a host with --data-dir",
                store.display()
            );
        }
        make_empty(&directory)?;
        let (from, to) = (Layout(&config.data_dir), Layout(&directory));
        // The store is the last: it knows all that Temporal does.
        if from.temporal_database().exists() {
            copy_temporal(&from, &to).await?;
        } else {
            say!("no database of an embedded Temporal server: back up your own server by its tools");
        }
        copy(&store, &to.store()).await?;
        sync(&directory)?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn copy_temporal(from: &Layout<'_>, to: &Layout<'_>) -> anyhow::Result<()> {
    fs::create_dir(to.temporal()).with_context(|| to.temporal().display().to_string())?;
    copy(&from.temporal_database(), &to.temporal_database()).await?;
    for (from, to) in from.temporal_marks().iter().zip(to.temporal_marks()).filter(|(from, _)| from.exists())
    {
        let copied = fs::copy(from, &to).and_then(|_| File::open(&to)?.sync_all());
        copied.with_context(|| to.display().to_string())?;
    }
    sync(&to.temporal())
}

async fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    copy_database(from, to).await.with_context(|| format!("{} cannot be backed up", from.display()))?;
    let bytes = to.metadata().map_or(0, |file| file.len());
    say!("{} ({} KiB)", to.display(), bytes.div_ceil(1024));
    Ok(())
}

/// Makes a directory that only its owner can look into.
pub(super) fn make_empty(directory: &Path) -> anyhow::Result<()> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
    made.with_context(|| directory.display().to_string())?;
    let private = fs::set_permissions(directory, fs::Permissions::from_mode(0o700));
    private.with_context(|| directory.display().to_string())?;
    let mut entries = fs::read_dir(directory).with_context(|| directory.display().to_string())?;
    if entries.next().is_some() {
        bail!("{} is not empty: name a directory that is not there yet", directory.display());
    }
    Ok(())
}

/// Has the names of new files be there after a power loss, too.
pub(super) fn sync(directory: &Path) -> anyhow::Result<()> {
    let synced = File::open(directory).and_then(|directory| directory.sync_all());
    synced.with_context(|| directory.display().to_string())
}
