//! The store: which alerts were accepted, which of them are open, and what became of each. In a file of SQLite, or in a database of
//! PostgreSQL that several hosts share.
//!
//! It decides about the life of an alert in the transaction that accepts it ([`life`]), and commits once for all requests that
//! wait. It never calls a plugin and never retries a delivery: Temporal does.

mod accept;
mod batch;
mod database;
mod error;
mod id;
mod known;
pub mod life;
mod numbers;
mod record;
mod request;
mod sql;
mod writer;

use std::sync::Arc;

use sqlx::Row;

use database::Database;
use writer::Writer;

pub use database::Location;
pub use error::StoreError;
pub use life::{Disposition, Micros};
pub use request::{Accepted, Digest, Incoming, Placed, Request, RequestId, digest};

/// An open store. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    id: Arc<str>,
    database: Arc<Database>,
    writer: Writer,
}

impl Store {
    /// Opens a store, and makes it if it is not there.
    ///
    /// # Errors
    ///
    /// It cannot be reached or written, another process uses its file, or its schema is a newer host's.
    pub async fn open(location: Location) -> Result<Self, StoreError> {
        let database = Arc::new(Database::open(location).await?);
        let id = identify(&database).await?.into();
        let writer = Writer::start(database.clone()).await?;
        Ok(Self { id, database, writer })
    }

    /// The random id that the store has had since it was made.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where it is, without a password.
    pub fn location(&self) -> String {
        self.database.location.to_string()
    }

    /// Accepts a request: all of its alerts, or none. When this returns, they are committed and synced.
    ///
    /// # Errors
    ///
    /// The request's id was used for other content, or the store cannot take it now ([`StoreError::is_transient`]).
    pub async fn accept(&self, request: Request) -> Result<Accepted, StoreError> {
        self.writer.accept(request).await
    }

    /// Closes its connections. What still waits to be accepted is refused.
    pub async fn close(&self) {
        self.database.close().await;
    }
}

/// The id of the store, which the first process that opens it chooses.
async fn identify(database: &Database) -> Result<String, StoreError> {
    let mut connection = database.writer.acquire().await?;
    let sql = format!(
        "INSERT INTO store (only_row, id, created_at) VALUES (1, $1, {}) ON CONFLICT (only_row) DO NOTHING",
        database.kind.clock()
    );
    let id = uuid::Uuid::new_v4().to_string();
    sql::execute(&mut connection, &sql, [id.as_str().into()]).await?;
    let found = sql::rows(&mut connection, "SELECT id FROM store", []).await?;
    Ok(found.first().ok_or(sqlx::Error::RowNotFound)?.try_get(0)?)
}
