//! Accepts what was spooled, in the order in which it came, for as long as the host runs. What fails by its content
//! holds up nothing: it is set aside as soon as its source can read another request.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use campanile_store::KeptRequest;

use super::Surroundings;
use super::code::Code;
use super::error::ApiError;
use super::sources;
use super::spool::{Spool, Spooled};
use crate::records::RecordError;

/// How many requests are read at once.
const CHUNK: usize = 16;
/// The delay after an attempt that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// A request on which its source failed so often is set aside, if the source can read others.
const MOST_FAILURES: u32 = 3;

/// Runs until the host stops.
pub(super) async fn run(surroundings: Surroundings, spool: Spool) {
    let mut handover = Handover { surroundings, spool, suspects: BTreeMap::new() };
    let mut said = String::new();
    loop {
        handover.spool.filled().await;
        match handover.pass().await {
            Ok(true) => said.clear(),
            Ok(false) => tokio::time::sleep(PAUSE).await,
            Err(error) => {
                let text = error.to_string();
                if text != said {
                    tracing::error!(%error, "the spool cannot be read: tried again");
                    said = text;
                }
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

struct Handover {
    surroundings: Surroundings,
    spool: Spool,
    /// Requests on which their source failed, by number.
    suspects: BTreeMap<i64, Suspect>,
}

/// A request on which its source failed.
struct Suspect {
    source: String,
    id: String,
    failures: u32,
    error: String,
    /// How many requests its source had read when it first failed.
    decoded: u64,
}

enum Verdict {
    Done,
    /// Its source will not be able to read it at another time either.
    Never(String),
    /// Its source crashed or hit a limit on it.
    Failed(String),
    /// Its source cannot be called now.
    Later,
    /// Temporal cannot be reached, or is overloaded.
    NothingNow,
}

impl Handover {
    /// Goes through all that waits, once. Whether all of it could be handed over.
    async fn pass(&mut self) -> Result<bool, RecordError> {
        let link = &self.surroundings.link;
        if link.client().is_none() || !link.is_reachable().await {
            return Ok(false);
        }
        let (mut last, mut waiting) = (i64::MIN, BTreeSet::new());
        loop {
            // Another host has it, or has taken it after this one was held up.
            if !self.spool.lease().await? {
                return Ok(false);
            }
            let chunk = self.spool.behind(last, CHUNK).await?;
            let Some(end) = chunk.last() else { break };
            last = end.number;
            for kept in chunk {
                // What is behind one that has to wait must not overtake it.
                if waiting.contains(&kept.spooled.source) {
                    continue;
                }
                let source = kept.spooled.source.clone();
                match self.attempt(kept).await? {
                    Verdict::Later => _ = waiting.insert(source),
                    Verdict::NothingNow => return Ok(false),
                    _ => {}
                }
            }
            // More may come for as long as this pass goes on.
            self.set_aside_suspects().await?;
        }
        Ok(waiting.is_empty() && self.suspects.is_empty())
    }

    /// Tries to hand a request over: again at once if its source fails on it, for those behind it wait.
    async fn attempt(&mut self, kept: KeptRequest) -> Result<Verdict, RecordError> {
        let KeptRequest { number, spooled: row, .. } = kept;
        let Ok(spooled) = self.spool.read(&row) else {
            tracing::error!(number, "a spooled request cannot be read");
            self.spool.set_aside(number, row.failures, "what is kept of it cannot be read").await?;
            return Ok(Verdict::Done);
        };
        let Spooled { source, id, .. } = &spooled;
        let mut failures = row.failures;
        loop {
            let before = self.spool.decoded(source);
            let verdict = hand_over(&self.surroundings, &self.spool, &spooled).await;
            match &verdict {
                Verdict::Done => {
                    self.suspects.remove(&number);
                    self.spool.remove(number).await?;
                }
                Verdict::Never(error) => self.set_aside(number, source, id, failures, error).await?,
                Verdict::Failed(error) => {
                    if failures < MOST_FAILURES {
                        tracing::warn!(source, id, failures, "a source failed on a spooled request: {error}");
                        failures += 1;
                        self.spool.note(number, failures, error).await?;
                    }
                    if failures < MOST_FAILURES {
                        continue;
                    }
                    let decoded = self.suspects.get(&number).map_or(before, |suspect| suspect.decoded);
                    let (source, id, error) = (source.clone(), id.clone(), error.clone());
                    self.suspects.insert(number, Suspect { source, id, failures, error, decoded });
                }
                Verdict::Later | Verdict::NothingNow => {}
            }
            return Ok(verdict);
        }
    }

    /// Sets those aside whose source could read another request since.
    async fn set_aside_suspects(&mut self) -> Result<(), RecordError> {
        let is_alone = |suspect: &Suspect| self.spool.decoded(&suspect.source) > suspect.decoded;
        let alone: Vec<i64> = self
            .suspects
            .iter()
            .filter(|(_, suspect)| is_alone(suspect))
            .map(|(number, _)| *number)
            .collect();
        for number in alone {
            if let Some(Suspect { source, id, failures, error, .. }) = self.suspects.remove(&number) {
                self.set_aside(number, &source, &id, failures, &error).await?;
            }
        }
        Ok(())
    }

    async fn set_aside(
        &mut self,
        number: i64,
        source: &str,
        id: &str,
        failures: u32,
        error: &str,
    ) -> Result<(), RecordError> {
        tracing::error!(
            source,
            id,
            failures,
            "a spooled request is set aside, see `campanile spool list`: {error}"
        );
        self.suspects.remove(&number);
        self.spool.set_aside(number, failures, error).await
    }
}

async fn hand_over(surroundings: &Surroundings, spool: &Spool, spooled: &Spooled) -> Verdict {
    let (source, id) = (spooled.source.as_str(), spooled.id.as_str());
    let found = match sources::read(surroundings, source, spooled.post()).await {
        Ok(found) => found,
        Err(error) => return verdict(&error),
    };
    spool.note_decoded(source);
    match found.hand_over(surroundings).await {
        Ok(_) => {
            tracing::info!(source, id, "spooled request handed over");
            Verdict::Done
        }
        Err(error) => verdict(&error),
    }
}

fn verdict(error: &ApiError) -> Verdict {
    let text = || format!("{}: {}", error.code().as_str(), error.message());
    match error.code() {
        Code::TemporalUnavailable
        | Code::Overloaded
        | Code::DiskNotWritable
        | Code::StoreUnavailable
        | Code::StoreFull => Verdict::NothingNow,
        _ if error.is_failure_of_source() => Verdict::Failed(text()),
        Code::UnknownSource => Verdict::Later,
        // What is the host's fault may pass.
        code if code.status().is_server_error() => Verdict::Later,
        _ => Verdict::Never(text()),
    }
}
