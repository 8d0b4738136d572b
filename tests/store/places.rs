//! Where a test has its store.

use campanile_store::{Check, Limits, Location, Store, StoreReader};
use harness::Postgres;
use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection};
use tempfile::TempDir;

/// A place for one store, empty at first.
pub(crate) struct Place {
    pub(crate) location: Location,
    /// Where several processes can use it.
    pub(crate) is_shared: bool,
    address: String,
    _directory: Option<TempDir>,
}

impl Place {
    /// A file.
    pub(crate) fn file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("store.sqlite");
        let address = format!("sqlite://{}", file.display());
        Self { location: Location::File(file), is_shared: false, address, _directory: Some(directory) }
    }

    /// A database of the shared server.
    pub(crate) async fn postgres() -> Self {
        let address = Postgres::shared().await.database();
        Self { location: address.parse().unwrap(), is_shared: true, address, _directory: None }
    }

    pub(crate) async fn open(&self) -> Store {
        Store::open(self.location.clone(), Limits::default()).await.unwrap()
    }

    /// A connection of the test's own.
    pub(crate) async fn connection(&self) -> AnyConnection {
        install_default_drivers();
        AnyConnection::connect(&self.address).await.unwrap()
    }

    /// Runs a statement beside the store.
    pub(crate) async fn execute(&self, sql: &str) {
        let mut connection = self.connection().await;
        sqlx::query(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// What is in the store.
    pub(crate) async fn check(&self) -> Check {
        check(&self.location).await
    }

    /// How many notifications are not at their end.
    pub(crate) async fn pending(&self) -> u64 {
        pending(&self.location).await
    }

    /// The one number that a query gives.
    pub(crate) async fn number(&self, sql: &str) -> i64 {
        let mut connection = self.connection().await;
        let number = sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&mut connection).await;
        connection.close().await.unwrap();
        number.unwrap()
    }
}

async fn check(location: &Location) -> Check {
    let mut reader = StoreReader::open(location).await.unwrap().unwrap();
    reader.check().await.unwrap()
}

/// How many notifications of a store are not at their end.
pub(crate) async fn pending(location: &Location) -> u64 {
    check(location).await.notifications[..5].iter().sum()
}
