//! What failed by its content: kept apart from what waits, listed, and handed over again or dropped when a person says so.

use campanile_store::{KeptRequest, SetAsideFilter, StoreError};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Spool, Spooled};
use crate::records::{RecordError, Records};

/// How much of a body is shown, in characters.
const EXCERPT: usize = 200;
/// How many are read at once to be listed.
const PAGE: usize = 64;

/// A request that failed by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetAside {
    /// Its id, which `retry` and `discard` take.
    #[schema(example = "grafana-0d9a7f3e5a0c4c0f9b392f3c1d1f6a55")]
    pub id: String,
    /// The source that it was posted to.
    #[schema(example = "grafana")]
    pub source: String,
    /// When it came; absent if what is kept of it cannot be read.
    #[serde(default, with = "crate::time::optional", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime)]
    pub received_at: Option<Timestamp>,
    /// Who sent it: a key, or an address.
    #[schema(example = "key grafana")]
    pub sender: String,
    /// How often the source crashed or hit a limit on it; 0 if the source says that it cannot read it.
    pub failures: u32,
    /// Why it cannot be handed over.
    pub error: String,
    /// The size of its body.
    pub bytes: u64,
    /// The beginning of its body.
    pub body: String,
}

impl SetAside {
    fn new(records: &Records, kept: KeptRequest) -> Self {
        let request = records.read::<Spooled>(&kept.spooled.request).ok();
        let error = kept.error.and_then(|error| records.read(&error).ok());
        let body = request.as_ref().map_or(&[][..], |request| &request.body);
        Self {
            received_at: request.as_ref().map(|request| request.arrival.received_at),
            bytes: body.len() as u64,
            body: String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT)])
                .chars()
                .take(EXCERPT)
                .collect(),
            id: kept.spooled.id,
            source: kept.spooled.source,
            sender: kept.spooled.sender,
            failures: kept.spooled.failures,
            error: error.unwrap_or_default(),
        }
    }
}

impl Spool {
    /// Writes down how often a request that waits failed, and why.
    pub(in crate::webhook) async fn note(
        &self,
        number: i64,
        failures: u32,
        error: &str,
    ) -> Result<(), RecordError> {
        let error = self.records.write(&error)?;
        Ok(self.records.store()?.note_spool_failure(number, failures, &error, false).await?)
    }

    /// Keeps a request that waits apart, with why.
    pub(in crate::webhook) async fn set_aside(
        &self,
        number: i64,
        failures: u32,
        error: &str,
    ) -> Result<(), RecordError> {
        let error = self.records.write(&error)?;
        self.records.store()?.note_spool_failure(number, failures, &error, true).await?;
        self.measure();
        Ok(())
    }

    /// What is set aside, the latest first.
    pub(in crate::webhook) async fn listed(&self) -> Result<Vec<SetAside>, StoreError> {
        let (store, mut listed, mut before) = (self.records.store()?, Vec::new(), i64::MAX);
        loop {
            let page = store.set_aside_before(before, PAGE).await?;
            let Some(last) = page.last() else { return Ok(listed) };
            before = last.number;
            listed.extend(page.into_iter().map(|kept| SetAside::new(&self.records, kept)));
        }
    }

    /// Has requests that are set aside handed over again, behind all that waits. Their ids.
    pub(in crate::webhook) async fn retry(&self, filter: &SetAsideFilter) -> Result<Vec<String>, StoreError> {
        let ids = self.records.store()?.retry_set_aside(filter).await?;
        self.measure();
        self.filled.notify_one();
        Ok(ids)
    }

    /// Drops requests that are set aside. Their ids.
    pub(in crate::webhook) async fn discard(
        &self,
        filter: &SetAsideFilter,
    ) -> Result<Vec<String>, StoreError> {
        let ids = self.records.store()?.discard_set_aside(filter).await?;
        self.measure();
        Ok(ids)
    }
}
