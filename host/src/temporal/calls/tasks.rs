//! Tasks by the call that they make. An activity that asks for a call that runs, or that has succeeded, joins it instead of making
//! another one: a local activity that is run again since its workflow task was lost, a durable attempt beside one that Temporal took
//! for dead.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::temporal::continued::SCHEDULE_TO_START;

/// How many answers are kept, for a workflow task that is run again.
const MOST_ENDED: usize = 20_000;
/// For how long they are kept while others come. A task that Temporal did not get in time is run again after 10 s.
const KEPT: Duration = Duration::from_secs(60);
/// How long a pause between two answers counts at most: while Temporal is away, none come, and its tasks are run again once it is
/// back.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How much they may have together, in bytes of JSON; in memory it is some three times as much. A processed alert can have half a
/// megabyte: processors may be asked again, so that those that make room for others cost no delivery.
const MOST_BYTES: usize = 16 << 20;

/// A call: which one of which run of a workflow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(in crate::temporal) struct CallId {
    /// The run of the workflow.
    pub(in crate::temporal) run: Arc<str>,
    /// The activity and its delivery id, or what identifies the call otherwise.
    pub(in crate::temporal) call: Arc<str>,
}

/// How long a call that a local activity has left may wait for a durable one to join it: as long as the activity may be in the
/// queue of the process.
const LEFT: Duration = SCHEDULE_TO_START;

/// What is to be known of an answer: whether it is the last one that a call can have, and what it costs to keep.
pub(in crate::temporal) trait Final {
    /// Whether no further attempt is made after it.
    fn is_final(&self) -> bool;

    /// Whether the plugin was asked at all. An answer that was given without that does not count as an attempt.
    fn was_made(&self) -> bool {
        true
    }

    /// How large it is, in bytes, about.
    fn weight(&self) -> usize;
}

/// An answer, and when it came.
#[derive(Clone, Debug)]
pub(in crate::temporal) struct Ended<T> {
    pub(in crate::temporal) value: T,
    pub(in crate::temporal) at: Instant,
}

/// A call that was begun.
#[derive(Clone)]
pub(in crate::temporal) struct Task<T> {
    id: CallId,
    attempt: u32,
    serial: u64,
    begun: Instant,
    begun_at: Timestamp,
    answer: watch::Receiver<Option<Ended<T>>>,
    ends: CancellationToken,
    /// When a local activity has left it, if no other one has joined it yet.
    left: Arc<Mutex<Option<Instant>>>,
    /// How many durable activities wait for it.
    waiting: Arc<AtomicUsize>,
}

/// A durable activity that waits for a call.
pub(in crate::temporal) struct Wait(Arc<AtomicUsize>);

impl Drop for Wait {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The calls of this process, those that ended a short while ago included. Cheap to clone.
pub(in crate::temporal) struct Tasks<T>(Arc<Mutex<Table<T>>>);

struct Table<T> {
    tasks: HashMap<CallId, Task<T>>,
    /// Those that have ended, the oldest first.
    ended: VecDeque<Past>,
    /// What their answers have together.
    weight: usize,
    /// When the latest answer came, and how much time that is without long pauses.
    latest: Option<Instant>,
    passed: Duration,
    begun: u64,
}

/// A call that has ended.
struct Past {
    /// In the time without long pauses.
    at: Duration,
    id: CallId,
    serial: u64,
    /// What its answer has.
    weight: usize,
}

impl<T> Default for Tasks<T> {
    fn default() -> Self {
        let table = Table {
            tasks: HashMap::new(),
            ended: VecDeque::new(),
            weight: 0,
            latest: None,
            passed: Duration::ZERO,
            begun: 0,
        };
        Self(Arc::new(Mutex::new(table)))
    }
}

impl<T> Clone for Tasks<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Clone + Final + Send + Sync + 'static> Tasks<T> {
    /// The task that makes this attempt of a call: one that runs or has the answer, or else a new one.
    pub(in crate::temporal) fn join_or_begin<F>(
        &self,
        id: CallId,
        attempt: u32,
        call: impl FnOnce() -> F,
    ) -> Task<T>
    where
        F: Future<Output = T> + Send + 'static,
    {
        let (sender, answer) = watch::channel(None);
        let mut table = self.0.lock();
        if let Some(task) = table.tasks.get(&id).filter(|task| task.is_for(attempt)) {
            return task.clone();
        }
        table.begun += 1;
        let (serial, ends, left) = (table.begun, CancellationToken::new(), Arc::default());
        let (begun, begun_at) = (Instant::now(), Timestamp::now());
        let waiting = Arc::default();
        let task = Task { id: id.clone(), attempt, serial, begun, begun_at, answer, ends, left, waiting };
        table.tasks.insert(id, task.clone());
        drop(table);
        let (tasks, running, call) = (self.clone(), task.clone(), call());
        tokio::spawn(async move {
            let mut at_the_end = AtTheEnd { tasks, id: running.id, serial, weight: 0 };
            tokio::select! {
                biased;
                value = call => {
                    at_the_end.weight = value.weight();
                    sender.send_replace(Some(Ended { value, at: Instant::now() }));
                }
                () = running.ends.cancelled() => {}
            }
        });
        task
    }

    /// A call that was left to whoever asks for it.
    pub(in crate::temporal) fn get(&self, id: &CallId) -> Option<Task<T>> {
        self.0.lock().tasks.get(id).cloned()
    }

    /// Whether a call runs, or one that was left may still be asked for.
    pub(in crate::temporal) fn is_busy(&self) -> bool {
        let table = self.0.lock();
        table.tasks.values().any(|task| task.runs() || task.is_left(Instant::now()))
    }
}

impl<T> Table<T> {
    /// Notes a call that has ended now.
    fn note(&mut self, id: CallId, serial: u64, weight: usize, now: Instant) {
        let pause = self.latest.map_or(Duration::ZERO, |latest| now.duration_since(latest));
        self.passed += pause.min(LONGEST_PAUSE);
        self.latest = Some(now);
        self.weight += weight;
        self.ended.push_back(Past { at: self.passed, id, serial, weight });
    }

    /// Forgets answers that are too old, too many, or too large together, the oldest first.
    fn forget(&mut self) {
        while self.ended.front().is_some_and(|oldest| self.is_beyond(oldest)) {
            let Some(Past { id, serial, weight, .. }) = self.ended.pop_front() else { return };
            self.weight -= weight;
            if self.tasks.get(&id).is_some_and(|task| task.serial == serial) {
                self.tasks.remove(&id);
            }
        }
    }

    fn is_beyond(&self, oldest: &Past) -> bool {
        self.ended.len() > MOST_ENDED || self.weight > MOST_BYTES || self.passed - oldest.at > KEPT
    }
}

impl<T: Clone> Task<T> {
    /// The run of the workflow that it belongs to.
    pub(in crate::temporal) fn run(&self) -> &str {
        &self.id.run
    }

    /// Which call of that run it is.
    pub(in crate::temporal) fn call(&self) -> &str {
        &self.id.call
    }

    /// When it was begun.
    pub(in crate::temporal) fn begun(&self) -> Instant {
        self.begun
    }

    /// The same, for people.
    pub(in crate::temporal) fn begun_at(&self) -> Timestamp {
        self.begun_at
    }

    /// The answer, as soon as it is there; none if the call panicked or was ended.
    pub(in crate::temporal) async fn ended(&self) -> Option<Ended<T>> {
        let mut answer = self.answer.clone();
        answer.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone())
    }

    /// A durable activity waits for it, as long as it keeps what this gives.
    pub(in crate::temporal) fn wait(&self) -> Wait {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Wait(self.waiting.clone())
    }

    /// Whether a durable activity waits for it.
    pub(in crate::temporal) fn is_awaited(&self) -> bool {
        self.waiting.load(Ordering::Relaxed) > 0
    }

    /// Ends the call where it stands, if it still runs.
    pub(in crate::temporal) fn end(&self) {
        self.ends.cancel();
    }

    /// Leaves the call to another activity.
    pub(in crate::temporal) fn leave(&self) {
        *self.left.lock() = Some(Instant::now());
    }

    /// An activity has joined it, and has reported it or is about to.
    pub(in crate::temporal) fn join(&self) {
        *self.left.lock() = None;
    }

    fn is_left(&self, now: Instant) -> bool {
        self.left.lock().is_some_and(|left| now.duration_since(left) < LEFT)
    }

    fn runs(&self) -> bool {
        // The sender goes with the task.
        self.answer.borrow().is_none() && self.answer.has_changed().is_ok()
    }
}

impl<T: Clone + Final> Task<T> {
    /// Whether it is, or ended as, the attempt of this number.
    fn is_for(&self, attempt: u32) -> bool {
        let is_known =
            |Ended { value, .. }: &Ended<T>| value.is_final() || value.was_made() && self.attempt >= attempt;
        let has_answer = self.answer.borrow().as_ref().map(is_known);
        has_answer.unwrap_or_else(|| self.runs())
    }
}

/// Notes the end of a call, also of one that panicked.
struct AtTheEnd<T> {
    tasks: Tasks<T>,
    id: CallId,
    serial: u64,
    weight: usize,
}

impl<T> Drop for AtTheEnd<T> {
    fn drop(&mut self) {
        let mut table = self.tasks.0.lock();
        table.note(self.id.clone(), self.serial, self.weight, Instant::now());
        table.forget();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Final for Result<u32, u32> {
        fn is_final(&self) -> bool {
            self.is_ok()
        }

        fn was_made(&self) -> bool {
            *self != Err(UNTRIED)
        }

        fn weight(&self) -> usize {
            self.map_or(0, |bytes| bytes as usize)
        }
    }

    type Numbers = Tasks<Result<u32, u32>>;

    /// What stands for an answer that was given without an attempt.
    const UNTRIED: u32 = u32::MAX;

    fn id(call: &str) -> CallId {
        CallId { run: "run".into(), call: call.into() }
    }

    async fn answered(tasks: &Numbers, attempt: u32, answer: Result<u32, u32>) -> Result<u32, u32> {
        let task = tasks.join_or_begin(id("a"), attempt, || std::future::ready(answer));
        task.ended().await.expect("it does not panic").value
    }

    /// One activity that asks for a call.
    #[derive(Clone, Copy, Debug, bolero::TypeGenerator)]
    struct Asking {
        attempt: u8,
        pauses: u8,
        succeeds: bool,
        others_run: bool,
    }

    /// Whatever activities ask for, in whatever order: at most one call runs at a time, none is made after one that succeeded,
    /// and an attempt that has an answer is not made again.
    #[test]
    fn no_attempt_is_made_twice_and_none_after_a_success() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        bolero::check!()
            .with_iterations(2_000)
            .with_type::<Vec<Asking>>()
            .for_each(|asking| runtime.block_on(asked(asking)));
    }

    async fn asked(asking: &[Asking]) {
        let tasks = Numbers::default();
        let (runs, made) = (Arc::new(AtomicUsize::new(0)), Arc::new(Mutex::new(Vec::new())));
        let mut joined = Vec::new();
        for &Asking { attempt, pauses, succeeds, others_run } in asking {
            let (runs, made, number) = (runs.clone(), made.clone(), u32::from(attempt % 8));
            joined.push(tasks.join_or_begin(id("a"), number, move || async move {
                assert_eq!(runs.fetch_add(1, Ordering::SeqCst), 0, "two at once");
                for _ in 0..pauses % 4 {
                    tokio::task::yield_now().await;
                }
                runs.fetch_sub(1, Ordering::SeqCst);
                made.lock().push((number, succeeds));
                if succeeds { Ok(number) } else { Err(number) }
            }));
            if others_run {
                tokio::task::yield_now().await;
            }
        }
        for task in joined {
            assert!(task.ended().await.is_some(), "{asking:?}");
        }
        let made = made.lock();
        assert!(made.windows(2).all(|pair| pair[0].0 < pair[1].0 && !pair[0].1), "{made:?}");
    }

    #[tokio::test]
    async fn a_failed_attempt_is_answered_again_and_the_next_one_is_made() {
        let tasks = Numbers::default();
        assert_eq!(answered(&tasks, 1, Err(1)).await, Err(1));
        assert_eq!(answered(&tasks, 1, Ok(9)).await, Err(1), "it was made already");
        assert_eq!(answered(&tasks, 2, Ok(2)).await, Ok(2));
        assert_eq!(answered(&tasks, 3, Err(9)).await, Ok(2), "nothing follows a success");
    }

    #[tokio::test]
    async fn what_panicked_or_was_ended_is_made_anew() {
        let tasks = Numbers::default();
        let task = tasks.join_or_begin(id("a"), 1, std::future::pending);
        assert!(tasks.is_busy());
        task.end();
        assert!(task.ended().await.is_none());
        let task = tasks.join_or_begin(id("a"), 1, || async { panic!("as tested") });
        assert!(task.ended().await.is_none());
        assert_eq!(answered(&tasks, 1, Ok(1)).await, Ok(1));
    }

    #[tokio::test]
    async fn a_call_knows_whether_an_activity_waits_for_it() {
        let tasks = Numbers::default();
        let task = tasks.join_or_begin(id("a"), 1, std::future::pending);
        let first = task.wait();
        let second = tasks.join_or_begin(id("a"), 2, std::future::pending).wait();
        drop(first);
        assert!(task.is_awaited());
        drop(second);
        assert!(!task.is_awaited());
    }

    #[tokio::test]
    async fn what_was_left_keeps_the_process_until_it_is_joined() {
        let tasks = Numbers::default();
        let task = tasks.join_or_begin(id("a"), 1, || std::future::ready(Ok(1)));
        task.leave();
        task.ended().await.expect("an answer");
        assert!(tasks.is_busy());
        assert!(!task.is_left(Instant::now() + LEFT), "nothing joins it any more");
        tasks.get(&id("a")).expect("it is kept").join();
        assert!(!tasks.is_busy());
    }

    #[tokio::test]
    async fn an_answer_without_an_attempt_is_not_given_again() {
        let tasks = Numbers::default();
        assert_eq!(answered(&tasks, 1, Err(UNTRIED)).await, Err(UNTRIED));
        assert_eq!(answered(&tasks, 1, Ok(1)).await, Ok(1));
    }

    #[tokio::test]
    async fn answers_are_kept_for_a_while_in_which_others_come() {
        let tasks = Numbers::default();
        assert_eq!(answered(&tasks, 1, Ok(1)).await, Ok(1));
        tokio::task::yield_now().await;
        let answer = |at: Instant| {
            let mut table = tasks.0.lock();
            table.note(id("another"), 0, 0, at);
            table.forget();
        };
        let mut at = Instant::now() + 60 * KEPT;
        answer(at);
        assert_eq!(answered(&tasks, 1, Ok(2)).await, Ok(1), "while nothing came, nothing is forgotten");
        while at < Instant::now() + 61 * KEPT + 2 * LONGEST_PAUSE {
            at += LONGEST_PAUSE;
            answer(at);
        }
        assert!(tasks.get(&id("a")).is_none(), "others came for that long");
        assert_eq!(answered(&tasks, 1, Ok(3)).await, Ok(3));
    }

    #[tokio::test]
    async fn answers_are_not_kept_without_bound() {
        let tasks = Numbers::default();
        assert_eq!(answered(&tasks, 1, Ok(1)).await, Ok(1));
        for number in 0..MOST_ENDED + 10 {
            tasks.join_or_begin(id(&number.to_string()), 1, || std::future::ready(Ok(0))).ended().await;
            tokio::task::yield_now().await;
        }
        assert!(tasks.get(&id("a")).is_none());
        assert!(tasks.0.lock().tasks.len() <= MOST_ENDED + 10);
    }

    #[tokio::test]
    async fn large_answers_are_kept_up_to_a_sum_and_the_oldest_go_first() {
        let tasks = Numbers::default();
        let large = u32::try_from(MOST_BYTES / 4).expect("a number");
        for number in 0..6 {
            let call = || std::future::ready(Ok(large));
            tasks.join_or_begin(id(&number.to_string()), 1, call).ended().await.expect("an answer");
            tokio::task::yield_now().await;
        }
        let is_kept = |number: u32| tasks.get(&id(&number.to_string())).is_some();
        assert_eq!([0, 1, 2, 3, 4, 5].map(is_kept), [false, false, true, true, true, true]);
        assert_eq!(tasks.0.lock().weight, MOST_BYTES);
    }
}
