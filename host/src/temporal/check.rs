//! What Temporal does not know of what a store takes for started, asked without a host.

use futures::{StreamExt, stream};

use super::dispatch::{Carrier, carrier};
use super::link::LinkConfig;

/// How many workflows are asked for at a time.
const ASKED_AT_ONCE: usize = 16;

/// Those of these workflows that Temporal does not know.
///
/// # Errors
///
/// Temporal does not answer.
pub async fn unknown_workflows(
    config: &LinkConfig,
    workflows: impl IntoIterator<Item = String>,
) -> Result<Vec<String>, String> {
    let client = config.client().await?;
    let asking = workflows.into_iter().map(async |id| {
        let found = carrier(&client, &id).await?;
        Ok::<_, String>(matches!(found, Carrier::Unknown).then_some(id))
    });
    let asked: Vec<_> = stream::iter(asking).buffered(ASKED_AT_ONCE).collect().await;
    Ok(asked.into_iter().collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}
