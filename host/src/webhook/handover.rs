//! Hands what was spooled to Temporal, in the order in which it came, for as long as the host runs.

use std::collections::BTreeSet;
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

/// Runs until the host stops.
pub(super) async fn run(surroundings: Surroundings, spool: Spool) {
    loop {
        spool.filled().await;
        match pass(&surroundings, &spool).await {
            Ok(true) => {}
            Ok(false) => tokio::time::sleep(PAUSE).await,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Goes through all that waits, once. Whether all of it could be handed over.
async fn pass(surroundings: &Surroundings, spool: &Spool) -> Result<bool, redb::Error> {
    if surroundings.link.client().is_none() || !surroundings.link.is_reachable().await {
        return Ok(false);
    }
    let (mut last, mut waiting) = (None, BTreeSet::new());
    loop {
        let chunk = aside(spool, move |spool| spool.behind(last, CHUNK)).await?;
        let Some((end, _)) = chunk.last() else { return Ok(waiting.is_empty()) };
        last = Some(*end);
        for (number, bytes) in chunk {
            let Ok(spooled) = serde_json::from_slice::<Spooled>(&bytes) else {
                tracing::error!(number, "a spooled request cannot be read");
                aside(spool, move |spool| spool.remove(number, "", true)).await?;
                continue;
            };
            // What is behind one that has to wait must not overtake it.
            if waiting.contains(&spooled.source) {
                continue;
            }
            let has_failed = match hand_over(surroundings, &spooled).await {
                Verdict::Done => false,
                Verdict::Never => true,
                Verdict::Later => {
                    waiting.insert(spooled.source);
                    continue;
                }
                Verdict::NothingNow => return Ok(false),
            };
            aside(spool, move |spool| spool.remove(number, &spooled.source, has_failed)).await?;
        }
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

enum Verdict {
    Done,
    /// Its source will not be able to read it at another time either.
    Never,
    /// Its source cannot be called now.
    Later,
    /// Temporal cannot be reached.
    NothingNow,
}

async fn hand_over(surroundings: &Surroundings, spooled: &Spooled) -> Verdict {
    let (source, id) = (spooled.source.as_str(), spooled.id.as_str());
    let found = sources::read(surroundings, source, spooled.post()).await;
    let handed = match found {
        Ok(found) => found.hand_over(surroundings).await,
        Err(error) => Err(error),
    };
    match handed {
        Ok(_) => {
            tracing::info!(source, id, "spooled request handed over");
            Verdict::Done
        }
        Err(error) => verdict(source, id, &error),
    }
}

fn verdict(source: &str, id: &str, error: &ApiError) -> Verdict {
    match error.code() {
        Code::TemporalUnavailable => Verdict::NothingNow,
        Code::Internal | Code::SourceUnavailable | Code::UnknownSource => Verdict::Later,
        code => {
            let code = code.as_str();
            tracing::error!(source, id, code, "a spooled request cannot be handed over: {}", error.message());
            Verdict::Never
        }
    }
}
