//! What commands ask of a store that a host may have open: nothing is written, and the host is not kept from its file.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use sqlx::any::{AnyConnectOptions, install_default_drivers};
use sqlx::{AnyConnection, ConnectOptions, Connection, Row};

use crate::StoreError;
use crate::check::{self, Check};
use crate::database::{Kind, Location, file_address, known_schema};
use crate::notification::STARTED;
use crate::sql::{execute, rows};

/// A store that is looked at beside the host that has it open.
pub struct StoreReader {
    kind: Kind,
    connection: AnyConnection,
}

impl StoreReader {
    /// Opens it. `None` if there is no store yet.
    ///
    /// # Errors
    ///
    /// It cannot be read, or its schema is a newer host's.
    pub async fn open(location: &Location) -> Result<Option<Self>, StoreError> {
        let (kind, address, table) = match location {
            Location::File(file) if !file.exists() => return Ok(None),
            Location::File(file) => {
                (Kind::Sqlite, file_address(file, "ro")?, "sqlite_master WHERE name = '_sqlx_migrations'")
            }
            Location::Postgres(url) => {
                (Kind::Postgres, url.to_string(), "pg_class WHERE oid = to_regclass('_sqlx_migrations')")
            }
        };
        let mut connection = connect(&address).await?;
        if rows(&mut connection, &format!("SELECT 1 FROM {table}"), []).await?.is_empty() {
            return Ok(None);
        }
        let found = rows(&mut connection, "SELECT max(version) FROM _sqlx_migrations", []).await?;
        let found: Option<i64> = found.first().map(|row| row.try_get(0)).transpose()?.flatten();
        match (found, known_schema()) {
            (None, _) => Ok(None),
            (Some(found), known) if found > known => Err(StoreError::NewerSchema { found, known }),
            _ => Ok(Some(Self { kind, connection })),
        }
    }

    /// How many lives are open in each scope.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn open_scopes(&mut self) -> Result<BTreeMap<String, u64>, StoreError> {
        let sql = "SELECT scope, count(*) FROM lives WHERE state = 0 GROUP BY scope";
        let found = rows(&mut self.connection, sql, []).await?;
        found.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)?.unsigned_abs()))).collect()
    }

    /// Looks the store over, and counts what is in it.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn check(&mut self) -> Result<Check, StoreError> {
        check::check(self.kind, &mut self.connection).await
    }

    /// The workflows that carry what was started and is not at its end, each with how many alerts it carries.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub async fn carriers(&mut self) -> Result<BTreeMap<String, u64>, StoreError> {
        let sql = format!(
            "SELECT carried_by, count(*) FROM notifications WHERE state = {STARTED} AND carried_by IS NOT NULL \
             GROUP BY carried_by"
        );
        let found = rows(&mut self.connection, &sql, []).await?;
        found.iter().map(|row| Ok((row.try_get(0)?, row.try_get::<i64, _>(1)?.unsigned_abs()))).collect()
    }
}

/// Copies a database of SQLite to a new file, whole and synced, while others write to it. It has another name until it is whole.
///
/// # Errors
///
/// The database cannot be read, or the file is there already or cannot be written.
pub async fn copy_database(file: &Path, to: &Path) -> Result<(), StoreError> {
    if to.exists() {
        return Err(StoreError::Address(format!("{} is there already: name a new file", to.display())));
    }
    let part = to.with_extension("part");
    let name = part.to_str().ok_or_else(|| StoreError::Address(format!("{} is not UTF-8", to.display())))?;
    let mut connection = connect(&file_address(file, "rw")?).await?;
    execute(&mut connection, "PRAGMA busy_timeout = 5000", []).await?;
    execute(&mut connection, "VACUUM INTO $1", [name.into()]).await?;
    connection.close().await?;
    let synced = std::fs::File::open(&part).and_then(|copy| copy.sync_all());
    let placed = synced.and_then(|()| std::fs::rename(&part, to));
    placed.map_err(|error| StoreError::NotWritable(format!("{}: {error}", to.display())))
}

async fn connect(address: &str) -> Result<AnyConnection, StoreError> {
    install_default_drivers();
    let options = AnyConnectOptions::from_str(address)?.disable_statement_logging();
    Ok(options.connect().await?)
}
