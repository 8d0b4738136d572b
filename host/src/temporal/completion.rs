//! Keeps what a workflow task sends to Temporal below the limit of one message. Temporal ends a workflow whose task was
//! completed with more than 4 MiB, and all that was to be retried with it. What a workflow schedules or records first asks for
//! room here; when a task has no room left, a short timer ends it, and what waits goes into the next one.

use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;
use temporalio_sdk::{ActivityExecutionError, WorkflowContext};

use super::continued::Answer;
use crate::alert::size;

/// What one task may schedule and record, in bytes of JSON: half of the 4 MiB that Temporal's frontend takes in one message
/// (gRPC's default). The other half is for the result of the workflow, and for what is around the JSON.
const MOST_BYTES: usize = 2 << 20;

/// What the record of a notification or an update may have: a step with its message and the failure that repeats it, in bytes.
pub(super) const STEP_BYTES: usize = 12 << 10;

/// What the record of a processing may have besides the alert: what processors may add to it, the plan, and why.
pub(super) const PROCESSING_BYTES: usize = 64 << 10;

/// What surrounds each record and command, in bytes: ids, time-outs, retry policy, search attributes.
const ENVELOPE_BYTES: usize = 1 << 10;

/// The time until the task that is full has ended.
const PAUSE: Duration = Duration::from_millis(1);

/// What the current workflow task has taken on. Behind a lock, so that asking for room wakes no other part of the workflow; nothing
/// ever waits for it, since a workflow runs on one thread.
#[derive(Debug, Default)]
pub(super) struct CompletionBudget(Mutex<Taken>);

#[derive(Debug, Default)]
struct Taken {
    used: usize,
    /// For local activities that are under way.
    reserved: usize,
    /// How many wait for room.
    waiting: usize,
    is_ending: bool,
}

/// A workflow that keeps such a budget.
pub(super) trait Budgeted {
    /// Its budget.
    fn budget(&self) -> &CompletionBudget;
}

impl Taken {
    fn has_room(&self, bytes: usize) -> bool {
        let taken = self.used + self.reserved;
        !self.is_ending && (taken == 0 || taken + bytes <= MOST_BYTES)
    }

    /// Whether only another workflow task has room.
    fn is_full(&self) -> bool {
        !self.is_ending && self.reserved == 0
    }
}

fn taken<W: Budgeted, T>(ctx: &WorkflowContext<W>, with: impl FnOnce(&mut Taken) -> T) -> T {
    ctx.state(|workflow| with(&mut workflow.budget().0.lock()))
}

/// Waits until the current workflow task has room for a command with this content.
pub(super) async fn room<W: Budgeted>(ctx: &WorkflowContext<W>, content: &impl Serialize) {
    let bytes = size(content) + ENVELOPE_BYTES;
    wait(ctx, bytes).await;
    taken(ctx, |taken| taken.used += bytes);
}

/// Runs a local activity whose record has at most `most` bytes, once there is room for that.
pub(super) async fn recorded<W: Budgeted, T: Serialize>(
    ctx: &WorkflowContext<W>,
    most: usize,
    call: impl Future<Output = Result<Answer<T>, ActivityExecutionError>>,
) -> Result<Answer<T>, ActivityExecutionError> {
    wait(ctx, most).await;
    taken(ctx, |taken| taken.reserved += most);
    let result = call.await;
    let record = match &result {
        Ok(answer) => answer.size(),
        // What is recorded of a failure is not always what the workflow sees: a replay would count another length.
        Err(_) => most,
    };
    let is_waited_for = taken(ctx, |taken| {
        taken.reserved -= most;
        taken.used += record + ENVELOPE_BYTES;
        taken.waiting > 0
    });
    if is_waited_for {
        wake(ctx);
    }
    result
}

async fn wait<W: Budgeted>(ctx: &WorkflowContext<W>, bytes: usize) {
    while !taken(ctx, |taken| taken.has_room(bytes)) {
        if taken(ctx, |taken| taken.is_full()) {
            end_task(ctx).await;
            continue;
        }
        taken(ctx, |taken| taken.waiting += 1);
        let changed = ctx.wait_condition(|workflow| {
            let taken = workflow.budget().0.lock();
            taken.has_room(bytes) || taken.is_full()
        });
        let changed = changed.await;
        taken(ctx, |taken| taken.waiting -= 1);
        // The workflow is cancelled, and with it what asked for room.
        if changed.is_err() {
            return;
        }
    }
}

/// Waits for the next workflow task: what local activities have answered has to be recorded.
pub(super) async fn next_task<W: Budgeted>(ctx: &WorkflowContext<W>) {
    if !taken(ctx, |taken| taken.is_ending) {
        return end_task(ctx).await;
    }
    let _ = ctx.wait_condition(|workflow| !workflow.budget().0.lock().is_ending).await;
}

/// Ends the current workflow task: Temporal gets what it holds, and the next one starts empty.
async fn end_task<W: Budgeted>(ctx: &WorkflowContext<W>) {
    taken(ctx, |taken| taken.is_ending = true);
    ctx.timer(PAUSE).await;
    taken(ctx, |taken| {
        taken.is_ending = false;
        taken.used = 0;
    });
    wake(ctx);
}

/// A change of the workflow's state is what wakes those who wait for a condition.
fn wake<W>(ctx: &WorkflowContext<W>) {
    ctx.state_mut(|_| ());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_takes_what_fits_and_at_least_one() {
        let mut taken = Taken::default();
        assert!(taken.has_room(5 * MOST_BYTES), "the first one, however large");
        taken.used = MOST_BYTES - 10;
        assert!(taken.has_room(10) && !taken.has_room(11));
    }

    #[test]
    fn a_task_is_not_ended_while_local_activities_run() {
        let mut taken = Taken { reserved: MOST_BYTES, ..Taken::default() };
        assert!(!taken.has_room(1) && !taken.is_full());
        taken = Taken { used: 100, ..Taken::default() };
        assert!(taken.has_room(1) && taken.is_full());
        taken.is_ending = true;
        assert!(!taken.has_room(1) && !taken.is_full(), "what comes after goes into the next task");
    }
}
