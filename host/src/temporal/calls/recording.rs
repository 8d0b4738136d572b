//! When the answers of a workflow task have to be recorded. Temporal records what local activities answered when none of them
//! runs any more. So the first answer of a workflow task limits all others: those without an answer by then ask again in the
//! next workflow task, and a crash repeats only what was answered within that time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;

/// How long after the first answer the workflow task is to end. With [`LINGER`] and the time that Temporal has to record it, this is
/// N of ADR 0016.
pub(super) const RECORD_WITHIN: Duration = Duration::from_secs(1);

/// How much longer a call may take that was begun before that: most are over then, and need not be asked for again.
const LINGER: Duration = Duration::from_millis(250);

/// The least time that a workflow task has, if what it is to record was answered before.
const LEAST: Duration = Duration::from_millis(100);

/// What counts as at once.
const MOMENT: Duration = Duration::from_millis(2);

/// How long a workflow task is remembered: longer than one can last.
const KEPT: Duration = Duration::from_secs(60);

/// The answers of one workflow task.
pub(super) struct Recording {
    workflow_task: u32,
    begun: Instant,
    first: watch::Sender<Option<Instant>>,
}

impl Recording {
    fn new(workflow_task: u32) -> Self {
        Self { workflow_task, begun: Instant::now(), first: watch::Sender::new(None) }
    }

    /// A receiver has answered.
    pub(super) fn answered(&self, at: Instant) {
        self.first.send_if_modified(|first| {
            let is_earlier = first.is_none_or(|first| at < first);
            is_earlier.then(|| *first = Some(at)).is_some()
        });
    }

    /// Returns when who waits from now on is to give way to the recording.
    pub(super) async fn is_over(&self) {
        let begun = Instant::now();
        self.is_due().await;
        // What begins only now cannot be over soon.
        if begun.elapsed() > MOMENT {
            tokio::time::sleep(LINGER).await;
        }
    }

    /// Returns when the answers are due to be recorded; never, as long as there is none.
    pub(super) async fn is_due(&self) {
        let mut first = self.first.subscribe();
        // The sender is in `self`.
        let at = first.wait_for(Option::is_some).await.ok().and_then(|first| *first);
        let due = at.unwrap_or_else(Instant::now) + RECORD_WITHIN;
        tokio::time::sleep_until(due.max(self.begun + LEAST)).await;
    }
}

/// The latest workflow task of each run of a workflow.
#[derive(Default)]
pub(super) struct Recordings(Mutex<Latest>);

#[derive(Default)]
struct Latest {
    by_run: HashMap<Arc<str>, Arc<Recording>>,
    begun: VecDeque<(Instant, Arc<str>, u32)>,
}

impl Recordings {
    /// The recording of a workflow task of this run: a history that has grown is the next workflow task.
    pub(super) fn of(&self, run: &str, workflow_task: u32) -> Arc<Recording> {
        let mut latest = self.0.lock();
        latest.forget(Instant::now());
        if let Some(recording) = latest.by_run.get(run).filter(|known| known.workflow_task == workflow_task) {
            return recording.clone();
        }
        let (run, recording) = (Arc::<str>::from(run), Arc::new(Recording::new(workflow_task)));
        latest.begun.push_back((Instant::now(), run.clone(), workflow_task));
        latest.by_run.insert(run, recording.clone());
        recording
    }
}

impl Latest {
    fn forget(&mut self, now: Instant) {
        while let Some((at, ..)) = self.begun.front()
            && now.duration_since(*at) > KEPT
        {
            let Some((_, run, workflow_task)) = self.begun.pop_front() else { return };
            if self.by_run.get(&run).is_some_and(|known| known.workflow_task == workflow_task) {
                self.by_run.remove(&run);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const LONG_AGO: Duration = Duration::from_secs(2);

    fn is_due(recording: &Recording) -> bool {
        recording.is_due().now_or_never().is_some()
    }

    #[tokio::test]
    async fn the_first_answer_limits_the_workflow_task() {
        let recordings = Recordings::default();
        let slow = recordings.of("run", 5);
        assert!(!is_due(&slow), "nothing has been answered");
        let answered = Instant::now();
        recordings.of("run", 5).answered(answered);
        assert!(!is_due(&slow));
        recordings.of("run", 5).answered(answered + LONG_AGO);
        slow.is_due().await;
        assert!(answered.elapsed() < LONG_AGO, "a later answer does not put it off");
        assert!(slow.is_over().now_or_never().is_some(), "what begins now gives way at once");
        assert!(is_due(&recordings.of("run", 5)), "what begins now is due at once");
        assert!(!is_due(&recordings.of("run", 9)), "another workflow task");
        assert!(!is_due(&recordings.of("other", 5)), "another run");
    }

    /// An answer that was given before the workflow task was run again is overdue.
    #[tokio::test]
    async fn an_earlier_answer_counts_from_its_own_time() {
        let recording = Recordings::default().of("run", 5);
        recording.answered(Instant::now());
        assert!(!is_due(&recording));
        recording.answered(Instant::now() - LONG_AGO);
        recording.is_due().await;
        assert!(recording.begun.elapsed() < RECORD_WITHIN);
    }

    #[tokio::test]
    async fn workflow_tasks_are_forgotten() {
        let recordings = Recordings::default();
        recordings.of("a", 5);
        recordings.of("a", 9);
        recordings.0.lock().forget(Instant::now() + KEPT + LONG_AGO);
        let latest = recordings.0.lock();
        assert_eq!((latest.by_run.len(), latest.begun.len()), (0, 0));
    }
}
