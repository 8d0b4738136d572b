//! Where a store is, as a host finds it.

use std::path::{Path, PathBuf};

use campanile_store::Location;
use clap::Args;

use crate::config::{Config, Flags};

/// How a host would find its store.
#[derive(Args, Debug)]
pub(super) struct Place {
    /// Configuration file
    #[arg(long, env = "CAMPANILE_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Data directory, where the store is without --store-url [default: data]
    #[arg(long, env = "CAMPANILE_DATA_DIR", value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// A PostgreSQL database for the store, postgres://USER@HOST/NAME
    #[arg(long, env = "CAMPANILE_STORE_URL", hide_env_values = true, value_name = "URL")]
    store_url: Option<String>,
}

impl Place {
    /// The configuration of a host that is started with these flags and others.
    pub(super) fn load(self, others: Flags) -> anyhow::Result<Config> {
        let Self { config, data_dir, store_url } = self;
        Ok(Config::load(Flags { config, data_dir, store_url, ..others })?)
    }
}

/// The store of a configuration.
pub(super) fn location(config: &Config) -> anyhow::Result<Location> {
    Ok(config.file.store.location(&config.data_dir)?)
}

/// What a data directory and a backup of it hold.
pub(super) struct Layout<'a>(pub(super) &'a Path);

impl Layout<'_> {
    /// The store.
    pub(super) fn store(&self) -> PathBuf {
        self.0.join(crate::store::FILE)
    }

    /// The directory of the embedded Temporal server.
    pub(super) fn temporal(&self) -> PathBuf {
        self.0.join("temporal")
    }

    /// Its database.
    pub(super) fn temporal_database(&self) -> PathBuf {
        self.temporal().join("temporal.db")
    }

    /// Small files beside that: which version wrote it, and how.
    pub(super) fn temporal_marks(&self) -> [PathBuf; 3] {
        ["version", "starting", "partitions"].map(|name| self.temporal().join(name))
    }
}
