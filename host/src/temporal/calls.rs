//! The calls of plugins that run in this process. Each is a task of the process, not of the activity that began it: a local
//! activity waits for it for a short time and then leaves it to a durable one, which joins it (`continued.rs`).

mod recording;
mod tasks;

use std::sync::Arc;
use std::time::Duration;

use temporalio_sdk::activities::{ActivityContext, ActivityError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::recording::Recordings;
pub(super) use self::tasks::{CallId, Final, Task, Tasks};
use super::activities::{HEARTBEAT, Processed};
use super::continued::{Answer, Continuation};
use super::failure;
use super::input::Local;
use super::json::Json;
use crate::alert::size;
use crate::ledger::{Attempt, Step, StepError, StepResult};

/// How long local activities wait for a call from its beginning: their own timeout is 2 s (`scheduling::LOCAL_TIMEOUT`), and they answer
/// before that.
pub(super) const PATIENCE: Duration = Duration::from_millis(1_800);

/// How long a call whose activity was cancelled goes on, for the activity that follows: Temporal may have taken the first one for
/// dead.
const SUCCESSION: Duration = Duration::from_millis(500);

/// How often a process that stops looks whether its calls have ended.
const DRAIN_INTERVAL: Duration = Duration::from_millis(50);

/// One attempt of a call, as its activity reports it.
#[derive(Clone, Debug)]
pub(super) struct Attempted {
    /// What it came to.
    pub(super) step: Step,
    /// The time until the next attempt, if there is to be one.
    pub(super) delay: Option<Duration>,
}

impl Final for Attempted {
    fn is_final(&self) -> bool {
        self.step.result == StepResult::Ok
    }

    fn was_made(&self) -> bool {
        self.step.at.is_some()
    }

    fn weight(&self) -> usize {
        size(&self.step)
    }
}

/// What the processors made of an alert, or why they have to be asked again.
pub(super) type Processing = Result<Processed, StepError>;

impl Final for Processing {
    fn is_final(&self) -> bool {
        self.as_ref().is_ok_and(|processed| !processed.waits)
    }

    fn weight(&self) -> usize {
        self.as_ref().map_or_else(size, size)
    }
}

/// The calls of this process. Cheap to clone.
#[derive(Clone)]
pub struct Calls(Arc<Shared>);

struct Shared {
    host: String,
    incarnation: String,
    queue: String,
    attempts: Tasks<Attempted>,
    processings: Tasks<Processing>,
    recordings: Recordings,
    /// Cancelled when the process is to stop.
    stops: CancellationToken,
    /// Cancelled when nothing waits for a call any more.
    ends: CancellationToken,
}

/// An activity that waits for a call.
pub(super) struct Waiting<'a> {
    pub(super) ctx: &'a ActivityContext,
    pub(super) alert: &'a str,
    pub(super) receiver: Option<&'a str>,
    /// The attempts before this one, for the next one to know.
    pub(super) before: &'a [Attempt],
    /// What a local activity knows besides.
    pub(super) local: &'a Local,
}

impl Calls {
    /// The calls of a process that works on this task queue.
    pub fn new(task_queue: &str) -> Self {
        let incarnation = Uuid::new_v4().to_string();
        Self(Arc::new(Shared {
            host: gethostname::gethostname().to_string_lossy().into_owned(),
            queue: format!("{task_queue}/{incarnation}"),
            incarnation,
            attempts: Tasks::default(),
            processings: Tasks::default(),
            recordings: Recordings::default(),
            stops: CancellationToken::new(),
            ends: CancellationToken::new(),
        }))
    }

    /// The task queue that this process alone serves.
    pub(super) fn queue(&self) -> &str {
        &self.0.queue
    }

    /// The attempts of deliveries and updates.
    pub(super) fn attempts(&self) -> &Tasks<Attempted> {
        &self.0.attempts
    }

    /// The runs of the processors.
    pub(super) fn processings(&self) -> &Tasks<Processing> {
        &self.0.processings
    }

    /// Where a call goes on that was begun by another process; a local activity cannot wait for it.
    pub(super) fn elsewhere<T>(&self, local: &Local) -> Option<Answer<T>> {
        let there = local.there.as_ref().filter(|there| there.incarnation != self.0.incarnation)?;
        Some(Answer::Continues(there.clone()))
    }

    /// Waits for a call: a local activity until its patience ends, or the answers of its workflow task are due to be recorded.
    pub(super) async fn answer<T: Clone>(
        &self,
        waiting: &Waiting<'_>,
        task: &Task<T>,
        is_recorded_soon: bool,
    ) -> Result<Answer<T>, ActivityError> {
        if !waiting.ctx.info().is_local {
            return self.attend(waiting, task).await.map(Answer::Ended);
        }
        let recording = self.0.recordings.of(task.run(), waiting.local.workflow_task);
        tokio::select! {
            biased;
            ended = task.ended() => {
                let ended = ended.ok_or_else(without_answer)?;
                task.join();
                if is_recorded_soon {
                    recording.answered(ended.at);
                }
                Ok(Answer::Ended(ended.value))
            }
            () = waiting.ctx.cancelled() => Err(ActivityError::cancelled()),
            () = tokio::time::sleep_until(task.begun() + PATIENCE) => {
                Ok(Answer::Continues(self.continuation(waiting, task)))
            }
            () = recording.is_over() => Ok(match self.is_soon_durable(task) {
                true => Answer::Continues(self.continuation(waiting, task)),
                false => Answer::Later(self.continuation(waiting, task)),
            }),
        }
    }

    /// Whether another workflow task would only put off that the call goes on durably. A process that stops takes none.
    fn is_soon_durable<T: Clone>(&self, task: &Task<T>) -> bool {
        self.0.stops.is_cancelled() || task.begun().elapsed() > PATIENCE * 2 / 3
    }

    /// Leaves a call to a later activity.
    fn continuation<T: Clone>(&self, waiting: &Waiting<'_>, task: &Task<T>) -> Continuation {
        task.leave();
        let Shared { host, incarnation, queue, .. } = &*self.0;
        Continuation {
            host: host.clone(),
            incarnation: incarnation.clone(),
            queue: queue.clone(),
            alert: waiting.alert.to_owned(),
            receiver: waiting.receiver.map(str::to_owned),
            call: task.call().to_owned(),
            at: task.begun_at(),
        }
    }

    /// Waits for a call to its end, with heartbeats, and ends it if Temporal cancels the activity, unless another one waits for it:
    /// Temporal says so in answer to a heartbeat. The worker does the same when it stops and the call did not end in time.
    pub(super) async fn attend<T: Clone>(
        &self,
        waiting: &Waiting<'_>,
        task: &Task<T>,
    ) -> Result<T, ActivityError> {
        let &Waiting { ctx, alert, receiver, before, .. } = waiting;
        let wait = task.wait();
        let heart = async {
            loop {
                tokio::time::sleep(HEARTBEAT).await;
                if let Err(error) = ctx.record_heartbeat(Json(before.to_vec())).await {
                    tracing::debug!(%error, "no heartbeat");
                }
            }
        };
        tokio::select! {
            biased;
            ended = task.ended() => return ended.map(|ended| ended.value).ok_or_else(without_answer),
            () = ctx.cancelled() => {}
            () = self.0.ends.cancelled() => {
                task.end();
                return Err(failure::later("the process stops, and the call did not end in time", Duration::ZERO));
            }
            () = heart => {}
        }
        if let Ok(Some(ended)) = tokio::time::timeout(SUCCESSION, task.ended()).await {
            return Ok(ended.value);
        }
        drop(wait);
        if task.is_awaited() {
            return Err(ActivityError::cancelled());
        }
        tracing::info!(alert, receiver, "call ended: temporal cancelled the attempt");
        task.end();
        Err(ActivityError::cancelled())
    }

    /// Until the answers of this workflow task are due to be recorded.
    pub(super) async fn recording_is_due(&self, run: &str, workflow_task: u32) {
        self.0.recordings.of(run, workflow_task).is_due().await;
    }

    /// The process is to stop.
    pub(super) fn stop(&self) {
        self.0.stops.cancel();
    }

    /// Ends the calls that still run: another process makes them again.
    pub(super) fn end(&self) {
        self.0.ends.cancel();
    }

    /// Returns once every call has ended and was reported, at the latest at `deadline`.
    pub(super) async fn drained(&self, deadline: Instant) {
        let busy = || self.0.attempts.is_busy() || self.0.processings.is_busy();
        while busy() && Instant::now() < deadline {
            tokio::time::sleep(DRAIN_INTERVAL).await;
        }
    }
}

/// The call panicked, or was ended by another activity that waited for it.
fn without_answer() -> ActivityError {
    failure::later("the call ended without an answer: the host's log says why", Duration::ZERO)
}
