//! The last step of an alert: what became of it goes to the store. By a local activity at first; where the store does not answer,
//! durably, until it does.

use std::sync::Arc;
use std::time::Duration;

use temporalio_common::RetryPolicy;
use temporalio_sdk::{
    ActivityCloseTimeouts, ActivityExecutionError, ActivityOptions, WorkflowContext, WorkflowResult,
};

use super::activities::{AlertActivities, Recorded};
use super::completion::{Budgeted, room};
use super::late_delivery::Undelivered;
use super::scheduling::locally;

/// How long a durable attempt may take.
const TIME: Duration = Duration::from_secs(30);
/// The pauses between such attempts.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Writes to the store what became of these alerts.
pub(super) async fn record<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    recorded: Vec<Recorded>,
) -> WorkflowResult<()> {
    let recorded: Vec<_> = recorded.into_iter().map(Arc::new).collect();
    match locally(ctx, AlertActivities::record_outcome, recorded.clone(), None).await {
        Err(ActivityExecutionError::Failed(_)) => {}
        done => return Ok(done?),
    }
    for one in recorded {
        let options = durable(format!("{}/record", one.ledger.id));
        room(ctx, &one).await;
        ctx.execute_activity(AlertActivities::record_outcome, vec![one], options).await?;
    }
    Ok(())
}

/// Writes to the store that a delivery exhausted its retries.
pub(super) async fn record_dead_letter<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    undelivered: Undelivered,
) -> WorkflowResult<()> {
    match locally(ctx, AlertActivities::record_dead_letter, undelivered.clone(), None).await {
        Err(ActivityExecutionError::Failed(_)) => record_late_delivery(ctx, undelivered).await,
        done => Ok(done?),
    }
}

/// Writes to the store what became of a delivery that was tried again.
pub(super) async fn record_late_delivery<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    undelivered: Undelivered,
) -> WorkflowResult<()> {
    let options = durable(format!("{}/record", undelivered.id()));
    room(ctx, &undelivered).await;
    Ok(ctx.execute_activity(AlertActivities::record_dead_letter, undelivered, options).await?)
}

/// Tried again until it succeeds.
fn durable(id: String) -> ActivityOptions {
    let retry = RetryPolicy::builder()
        .initial_interval(FIRST_PAUSE)
        .backoff_coefficient(2.0)
        .maximum_interval(LONGEST_PAUSE)
        .maximum_attempts(0)
        .build();
    ActivityOptions::with_close_timeouts(ActivityCloseTimeouts::StartToClose(TIME))
        .activity_id(id)
        .retry_policy(retry)
        .build()
}
