//! The updaters of one alert. While receivers are pending, each updater hears of their states as these change: the newest state, at
//! most every five seconds, by local attempts alone, which leave the alert out of the history. The last state is reported durably.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use temporalio_sdk::workflows::{join_all, select};
use temporalio_sdk::{WorkflowContext, WorkflowResult};

use super::activities::{AlertActivities, StatusUpdate};
use super::board::Board;
use super::carry::{First, Inbox, judged};
use super::completion::{Budgeted, STEP_BYTES, room};
use super::continued::{Answer, continue_updating, ended};
use super::failure;
use super::outcome::outcome;
use super::scheduling::{durable, first_call};
use crate::alert::AlertItem;
use crate::ledger::{Activity, DeliveryResult, DeliveryState, Outcome, Step};
use crate::plan::{Plan, Target};

const ACTIVITY: Activity = Activity::UpdateAlertStatus;

/// The least time between two calls of an updater before the last one. It grows fourfold from call to call once there were
/// [`PROMPT_CALLS`], up to [`LONGEST_PAUSE`].
const PAUSE: Duration = Duration::from_secs(5);
const LONGEST_PAUSE: Duration = Duration::from_secs(4 * 60 * 60);

/// The calls of an updater that have only [`PAUSE`] between them.
const PROMPT_CALLS: u32 = 8;

/// The most calls of an updater before the last one. With the pauses they span fourteen hours; without a bound, an updater that
/// fails while a receiver waits for days would fill the workflow's history.
const MOST_CALLS: u32 = 16;

/// What an updater has heard of an alert.
#[derive(Default)]
pub(super) struct Heard {
    /// The states of the receivers that it has, or whose report has exhausted its retries.
    settled: Option<Vec<DeliveryState>>,
    /// The states whose report is to be tried again, and the attempts that failed.
    failed: Option<(Vec<DeliveryState>, Step)>,
    steps: Vec<Step>,
}

impl Heard {
    /// Whether an updater lacks these states.
    fn is_behind(&self, results: &[DeliveryResult]) -> bool {
        self.settled.as_ref() != Some(&states(results))
    }

    /// Takes the attempts that failed for these states. Those for others are over: a newer state has replaced them.
    fn take_failed(&mut self, results: &[DeliveryResult]) -> Option<Step> {
        let (of, step) = self.failed.take()?;
        if of == states(results) {
            return Some(step);
        }
        self.steps.push(step);
        None
    }

    /// Notes how an attempt ended. Gives the time that the next one has to wait.
    fn note(&mut self, results: &[DeliveryResult], first: First) -> Duration {
        match first {
            First::Done(step) => {
                self.settled = Some(states(results));
                self.steps.push(step);
                Duration::ZERO
            }
            First::Again(step, delay) => {
                self.failed = Some((states(results), step));
                delay
            }
        }
    }
}

fn states(results: &[DeliveryResult]) -> Vec<DeliveryState> {
    results.iter().map(|result| result.state).collect()
}

/// Keeps an updater up to date until no receiver is pending any more. The last state is left to [`report_end`].
pub(super) async fn follow<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    target: &Target,
    plan: &Plan,
    board: &Board,
) -> WorkflowResult<Heard> {
    let mut heard = Heard::default();
    for call in 0..MOST_CALLS {
        let is_due = || board.is_over() || board.has_news() && heard.is_behind(&board.results());
        let _ = ctx.wait_condition(|_| is_due()).await;
        if board.is_over() {
            break;
        }
        let results = board.results();
        let before = heard.take_failed(&results);
        let call_of = StatusUpdate {
            item: item.clone(),
            target: target.clone(),
            attempts_before: before.as_ref().map_or(0, |step| step.attempts),
            outcome: outcome(plan, &results),
            deliveries: results.clone(),
            is_interim: true,
        };
        let first = Box::pin(update_first(ctx, target, call_of)).await?.after(before);
        let delay = heard.note(&results, first);
        pause(ctx, board, delay.max(least_pause(call))).await;
    }
    Ok(heard)
}

/// The least time between a call, counted from 0, and the next one.
fn least_pause(call: u32) -> Duration {
    let grown = 4_u32.saturating_pow((call + 1).saturating_sub(PROMPT_CALLS));
    PAUSE.saturating_mul(grown).min(LONGEST_PAUSE)
}

/// Waits, at most until no receiver is pending any more.
async fn pause<W: Inbox>(ctx: &WorkflowContext<W>, board: &Board, time: Duration) {
    let over = async {
        let _ = ctx.wait_condition(|_| board.is_over()).await;
    };
    let mut over = pin!(over.fuse());
    let mut timer = ctx.timer(time);
    select! {
        () = over => {}
        _ = timer => {}
    }
}

/// Reports to the updaters how the alert ended, unless they know, and who has acknowledged it, if a person has: before, meanwhile,
/// or while the batch that carries it still goes on.
pub(super) async fn report_end<W: Inbox>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    updaters: &[Target],
    outcome: Option<Outcome>,
    results: &[DeliveryResult],
    mut heard: Vec<Heard>,
) -> WorkflowResult<Vec<Step>> {
    let acknowledged =
        || ctx.state(|workflow| workflow.acknowledgement(&item.id).map(|one| one.noted_in(item)));
    let mut steps: Vec<Step> = heard.iter_mut().flat_map(|heard| std::mem::take(&mut heard.steps)).collect();
    let mut noted = acknowledged();
    if noted.is_none() {
        let last = updaters.iter().zip(heard).map(|(target, heard)| {
            let call = status_update(item, target, outcome, results);
            report_last(ctx, target, call, heard)
        });
        let last = join_all(last).await.into_iter().collect::<WorkflowResult<Vec<Vec<Step>>>>()?;
        steps.extend(last.into_iter().flatten());
        noted = acknowledged();
    } else {
        steps.extend(heard.into_iter().filter_map(|heard| Some(heard.failed?.1)));
    }
    if let Some(item) = &noted {
        steps.extend(update_all(ctx, item, updaters, outcome, results).await?);
    }
    Ok(steps)
}

/// Reports the last state to an updater, unless it has that.
async fn report_last<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    target: &Target,
    call: StatusUpdate,
    mut heard: Heard,
) -> WorkflowResult<Vec<Step>> {
    if heard.is_behind(&call.deliveries) {
        let before = heard.take_failed(&call.deliveries);
        heard.steps.push(update(ctx, target, call, before).await?);
    }
    Ok(heard.steps)
}

fn status_update(
    item: &Arc<AlertItem>,
    target: &Target,
    outcome: Option<Outcome>,
    deliveries: &[DeliveryResult],
) -> StatusUpdate {
    let (item, target, deliveries) = (item.clone(), target.clone(), deliveries.to_vec());
    StatusUpdate { item, target, attempts_before: 0, outcome, deliveries, is_interim: false }
}

/// Reports to every updater what has become of the alert.
pub(super) async fn update_all<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    item: &Arc<AlertItem>,
    updaters: &[Target],
    outcome: Option<Outcome>,
    deliveries: &[DeliveryResult],
) -> WorkflowResult<Vec<Step>> {
    let updates = updaters
        .iter()
        .map(|target| update(ctx, target, status_update(item, target, outcome, deliveries), None));
    join_all(updates).await.into_iter().collect()
}

/// Reports a state to an updater until that succeeds, or its policy ends it; `before` are the attempts that failed.
async fn update<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    target: &Target,
    call: StatusUpdate,
    before: Option<Step>,
) -> WorkflowResult<Step> {
    let attempts_before = before.as_ref().map_or(0, |step| step.attempts);
    let call = StatusUpdate { attempts_before, ..call };
    let (before, delay) = match target.slow {
        true => (before, Duration::ZERO),
        false => match update_first(ctx, target, call.clone()).await?.after(before) {
            First::Done(step) => return Ok(step),
            First::Again(step, delay) => (Some(step), delay),
        },
    };
    if !delay.is_zero() {
        ctx.timer(delay).await;
    }
    let attempts_before = before.as_ref().map_or(0, |step| step.attempts);
    let options = durable(&call.item, &target.name, &target.retry, attempts_before, None);
    let call = StatusUpdate { attempts_before, ..call };
    room(ctx, &call).await;
    let result = ctx.execute_activity(AlertActivities::update_alert_status, call, options).await;
    let most = target.retry.maximum_attempts;
    Ok(failure::into_step(ACTIVITY, target, most, result.and_then(ended))?.after(before))
}

/// A local attempt, and the rest of it where it takes longer.
async fn update_first<W: Budgeted>(
    ctx: &WorkflowContext<W>,
    target: &Target,
    call: StatusUpdate,
) -> WorkflowResult<First> {
    let item = call.item.clone();
    match first_call(ctx, STEP_BYTES, || AlertActivities::update_alert_status, call).await {
        Ok(Answer::Continues(there) | Answer::Later(there)) => {
            continue_updating(ctx, &item, target, there).await
        }
        Ok(Answer::Ended(step)) => judged(ctx, ACTIVITY, target, Ok(step)),
        Err(error) => judged(ctx, ACTIVITY, target, Err(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeliveryState::{Delivered, Pending};

    fn results(states: &[DeliveryState]) -> Vec<DeliveryResult> {
        let result = |state: &DeliveryState| {
            let (receiver, message) = (String::new(), String::new());
            DeliveryResult { receiver, state: *state, message }
        };
        states.iter().map(result).collect()
    }

    fn step(attempts: u32) -> Step {
        Step { attempts, ..Step::untried(ACTIVITY, "status") }
    }

    #[test]
    fn an_updater_is_behind_until_it_has_heard_the_newest_state() {
        let (early, last) = (results(&[Delivered, Pending]), results(&[Delivered, Delivered]));
        let mut heard = Heard::default();
        assert!(heard.is_behind(&early));
        assert_eq!(heard.note(&early, First::Done(step(1))), Duration::ZERO);
        assert!(!heard.is_behind(&early) && heard.is_behind(&last));
    }

    #[test]
    fn an_updater_is_called_every_five_seconds_before_the_pauses_grow() {
        let pauses: Vec<u64> = (0..MOST_CALLS).map(|call| least_pause(call).as_secs()).collect();
        assert_eq!(pauses[..10], [5, 5, 5, 5, 5, 5, 5, 5, 20, 80]);
        assert_eq!((pauses[15], pauses.iter().sum::<u64>() / 3_600), (LONGEST_PAUSE.as_secs(), 13));
    }

    #[test]
    fn attempts_count_on_for_the_same_state_and_end_with_it() {
        let (early, last) = (results(&[Pending]), results(&[Delivered]));
        let mut heard = Heard::default();
        assert_eq!(heard.note(&early, First::Again(step(1), PAUSE)), PAUSE);
        assert!(heard.is_behind(&early));
        assert_eq!(heard.take_failed(&early).map(|step| step.attempts), Some(1));
        heard.note(&early, First::Again(step(2), PAUSE));
        assert_eq!(heard.take_failed(&last), None, "another state begins anew");
        assert_eq!(heard.steps, [step(2)], "and the ledger keeps what was tried");
    }
}
