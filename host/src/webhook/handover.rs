//! Hands what was spooled to Temporal, in the order in which it came, for as long as the host runs. What fails by its content
//! holds up nothing: it is set aside as soon as its source can read another request.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Surroundings;
use super::code::Code;
use super::error::ApiError;
use super::sources;
use super::spool::{Spool, Spooled};

/// How many requests are read at once.
const CHUNK: usize = 16;
/// The delay after an attempt that failed.
const PAUSE: Duration = Duration::from_secs(1);
/// A request on which its source failed so often is set aside, if the source can read others.
const MOST_FAILURES: u32 = 3;

/// Runs until the host stops.
pub(super) async fn run(surroundings: Surroundings, spool: Spool) {
    let mut handover = Handover { surroundings, spool, suspects: BTreeMap::new() };
    loop {
        handover.spool.filled().await;
        match handover.pass().await {
            Ok(true) => {}
            Ok(false) => tokio::time::sleep(PAUSE).await,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

struct Handover {
    surroundings: Surroundings,
    spool: Spool,
    /// Requests on which their source failed, by number.
    suspects: BTreeMap<u64, Suspect>,
}

struct Suspect {
    spooled: Spooled,
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
    async fn pass(&mut self) -> Result<bool, redb::Error> {
        let link = &self.surroundings.link;
        if link.client().is_none() || !link.is_reachable().await {
            return Ok(false);
        }
        let (mut last, mut waiting) = (None, BTreeSet::new());
        loop {
            let chunk = aside(&self.spool, move |spool| spool.behind(last, CHUNK)).await?;
            let Some((end, _)) = chunk.last() else { break };
            last = Some(*end);
            for (number, bytes) in chunk {
                let Ok(spooled) = serde_json::from_slice::<Spooled>(&bytes) else {
                    tracing::error!(number, "a spooled request cannot be read");
                    aside(&self.spool, move |spool| spool.move_aside(number, &bytes)).await?;
                    continue;
                };
                // What is behind one that has to wait must not overtake it.
                if waiting.contains(&spooled.source) {
                    continue;
                }
                let source = spooled.source.clone();
                match self.attempt(number, spooled).await? {
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
    async fn attempt(&mut self, number: u64, mut spooled: Spooled) -> Result<Verdict, redb::Error> {
        loop {
            let before = self.spool.decoded(&spooled.source);
            let verdict = hand_over(&self.surroundings, &self.spool, &spooled).await;
            match &verdict {
                Verdict::Done => {
                    self.suspects.remove(&number);
                    aside(&self.spool, move |spool| spool.remove(number)).await?;
                }
                Verdict::Never(error) => self.set_aside(number, spooled, error.clone()).await?,
                Verdict::Failed(error) => {
                    spooled.error = Some(error.clone());
                    let is_known = spooled.failures >= MOST_FAILURES;
                    if !is_known {
                        let Spooled { source, id, failures, .. } = &spooled;
                        tracing::warn!(source, id, failures, "a source failed on a spooled request: {error}");
                        spooled.failures += 1;
                        let noted = spooled.clone();
                        aside(&self.spool, move |spool| spool.note(number, &noted)).await?;
                    }
                    if spooled.failures < MOST_FAILURES {
                        continue;
                    }
                    let decoded = self.suspects.get(&number).map_or(before, |suspect| suspect.decoded);
                    self.suspects.insert(number, Suspect { spooled, decoded });
                }
                Verdict::Later | Verdict::NothingNow => {}
            }
            return Ok(verdict);
        }
    }

    /// Sets those aside whose source could read another request since.
    async fn set_aside_suspects(&mut self) -> Result<(), redb::Error> {
        let is_alone = |suspect: &Suspect| self.spool.decoded(&suspect.spooled.source) > suspect.decoded;
        let alone: Vec<u64> = self
            .suspects
            .iter()
            .filter(|(_, suspect)| is_alone(suspect))
            .map(|(number, _)| *number)
            .collect();
        for number in alone {
            if let Some(Suspect { spooled, .. }) = self.suspects.remove(&number) {
                let error = spooled.error.clone().unwrap_or_default();
                self.set_aside(number, spooled, error).await?;
            }
        }
        Ok(())
    }

    async fn set_aside(&mut self, number: u64, spooled: Spooled, error: String) -> Result<(), redb::Error> {
        let Spooled { source, id, failures, .. } = &spooled;
        tracing::error!(
            source,
            id,
            failures,
            "a spooled request is set aside, see `campanile spool list`: {error}"
        );
        self.suspects.remove(&number);
        let kept = Spooled { error: Some(error), ..spooled };
        aside(&self.spool, move |spool| spool.set_aside(number, kept)).await
    }
}

/// Does what waits for the disk beside the threads that others are served on.
async fn aside<T: Send + 'static>(
    spool: &Spool,
    work: impl FnOnce(&Spool) -> Result<T, redb::Error> + Send + 'static,
) -> Result<T, redb::Error> {
    let spool = spool.clone();
    let done = tokio::task::spawn_blocking(move || work(&spool)).await;
    done.unwrap_or_else(|error| Err(redb::Error::Io(std::io::Error::other(error))))
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
        Code::TemporalUnavailable | Code::Overloaded | Code::DiskNotWritable => Verdict::NothingNow,
        _ if error.is_failure_of_source() => Verdict::Failed(text()),
        Code::TemporalRefused => Verdict::Never(text()),
        Code::UnknownSource => Verdict::Later,
        // What is the host's fault may pass.
        code if code.status().is_server_error() => Verdict::Later,
        _ => Verdict::Never(text()),
    }
}
