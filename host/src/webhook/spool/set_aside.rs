//! What failed by its content: kept apart from what waits, listed, and handed over again or dropped when a person says so.

use jiff::Timestamp;
use redb::{ReadableDatabase, ReadableTable};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{SET_ASIDE, Spool, Spooled, State, WAITING};
use crate::alert::Sender;

/// How much of a body is shown, in characters.
const EXCERPT: usize = 200;

/// A request that failed by its content.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SetAside {
    /// Its id, which `retry` and `discard` take.
    #[schema(example = "grafana-0d9a7f3e5a0c4c0f9b392f3c1d1f6a55")]
    pub id: String,
    /// The source that it was posted to.
    #[schema(example = "grafana")]
    pub source: String,
    /// When it came.
    #[serde(with = "crate::time::required")]
    #[schema(value_type = String, format = DateTime)]
    pub received_at: Timestamp,
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

impl From<Spooled> for SetAside {
    fn from(spooled: Spooled) -> Self {
        let Spooled { source, id, arrival, body, failures, error, .. } = spooled;
        let sender = Sender::new(arrival.key.as_deref(), arrival.via.as_deref(), arrival.from);
        Self {
            id,
            source,
            received_at: arrival.received_at,
            sender: sender.to_string(),
            failures,
            error: error.unwrap_or_default(),
            bytes: body.len() as u64,
            body: String::from_utf8_lossy(&body[..body.len().min(4 * EXCERPT)])
                .chars()
                .take(EXCERPT)
                .collect(),
        }
    }
}

impl Spool {
    /// Writes down what is known of a request that waits, such as how often it failed.
    pub(in crate::webhook) fn note(&self, number: u64, spooled: &Spooled) -> Result<(), redb::Error> {
        self.write(number, &bytes(spooled)?)
    }

    /// Keeps a request that waits apart, with why.
    pub(in crate::webhook) fn set_aside(&self, number: u64, spooled: Spooled) -> Result<(), redb::Error> {
        let kept = bytes(&spooled)?;
        self.move_aside(number, &kept)
    }

    /// The same of what cannot be read itself.
    pub(in crate::webhook) fn move_aside(&self, number: u64, kept: &[u8]) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        transaction.open_table(WAITING)?.remove(number)?;
        transaction.open_table(SET_ASIDE)?.insert(number, kept)?;
        transaction.commit()?;
        {
            let mut state = self.state.lock();
            state.status.set_aside += 1;
            state.set_aside_bytes += kept.len() as u64;
        }
        self.forget(number);
        Ok(())
    }

    /// What is set aside, the latest first.
    pub(in crate::webhook) fn listed(&self) -> Result<Vec<SetAside>, redb::Error> {
        let transaction = self.database.begin_read()?;
        let kept = transaction.open_table(SET_ASIDE)?;
        let mut listed = Vec::new();
        for entry in kept.iter()?.rev() {
            if let Ok(spooled) = serde_json::from_slice::<Spooled>(entry?.1.value()) {
                listed.push(spooled.into());
            }
        }
        Ok(listed)
    }

    /// Takes out what `is_meant`: to be handed over behind all that waits, or to be dropped. Their ids.
    pub(in crate::webhook) fn take_back(
        &self,
        is_meant: impl Fn(&Spooled) -> bool,
        again: bool,
    ) -> Result<Vec<String>, redb::Error> {
        let transaction = self.database.begin_write()?;
        let mut taken = Vec::new();
        {
            let (mut kept, mut waiting) =
                (transaction.open_table(SET_ASIDE)?, transaction.open_table(WAITING)?);
            let mut found = Vec::new();
            for entry in kept.iter()? {
                let (number, bytes) = entry?;
                let read = serde_json::from_slice::<Spooled>(bytes.value());
                found.extend(
                    read.ok().filter(&is_meant).map(|one| (number.value(), bytes.value().len(), one)),
                );
            }
            for (number, size, spooled) in found {
                kept.remove(number)?;
                let spooled = Spooled { failures: 0, error: None, ..spooled };
                let new = bytes(&spooled)?;
                let number = again.then(|| self.next());
                if let Some(number) = number {
                    waiting.insert(number, &*new)?;
                }
                let waiting = number.map(|number| (number, new.len() as u64));
                taken.push(TakenBack { spooled, kept: size as u64, waiting });
            }
        }
        // Held until it is counted, so that what is handed over meanwhile is not counted off before.
        let mut state = self.state.lock();
        transaction.commit()?;
        state.take_back(&taken);
        drop(state);
        self.filled.notify_one();
        Ok(taken.into_iter().map(|one| one.spooled.id).collect())
    }

    fn next(&self) -> u64 {
        let mut state = self.state.lock();
        state.next += 1;
        state.next - 1
    }
}

/// A request that was set aside and is not any more.
struct TakenBack {
    spooled: Spooled,
    /// Its bytes as it was kept.
    kept: u64,
    /// Its number and bytes where it waits to be handed over again.
    waiting: Option<(u64, u64)>,
}

impl State {
    /// Counts what was taken back.
    fn take_back(&mut self, taken: &[TakenBack]) {
        for TakenBack { spooled, kept, waiting } in taken {
            self.status.set_aside = self.status.set_aside.saturating_sub(1);
            self.set_aside_bytes = self.set_aside_bytes.saturating_sub(*kept);
            if let Some((number, size)) = waiting {
                self.add(*number, Some(spooled), *size);
            }
        }
        self.measure();
    }
}

fn bytes(spooled: &Spooled) -> Result<Vec<u8>, redb::Error> {
    serde_json::to_vec(spooled).map_err(|error| redb::Error::Io(error.into()))
}
