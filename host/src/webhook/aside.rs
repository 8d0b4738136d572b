//! Work that takes long for a large body, beside the threads that others are served on. Each sender has a few such threads of
//! its own, so that however much one posts, another's body is read at once.

use std::collections::HashMap;
use std::num::NonZero;
use std::sync::{Arc, LazyLock};
use std::thread::available_parallelism;

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::error::ApiError;
use crate::alert::Sender;

/// Work on so many bytes is done where it stands.
const QUICK: usize = 32 << 10;

/// By sender, the turns of those that have work under way.
static TURNS: LazyLock<Mutex<HashMap<Sender, Arc<Semaphore>>>> = LazyLock::new(Mutex::default);

/// Does `work` on a body of so many bytes for a sender.
pub(super) async fn aside<T: Send + 'static>(
    sender: &Sender,
    bytes: usize,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, ApiError> {
    Turn::of(sender, bytes).await.run(work).await
}

/// A sender's turn to have work done.
pub(super) struct Turn(Option<Held>);

struct Held {
    sender: Sender,
    turns: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// Waits for the sender's turn, if the work is on so many bytes that it needs one.
    pub(super) async fn of(sender: &Sender, bytes: usize) -> Self {
        if bytes <= QUICK {
            return Self(None);
        }
        let cores = || available_parallelism().map_or(1, NonZero::get);
        let turns = || Arc::new(Semaphore::new(cores().div_ceil(2)));
        let turns = TURNS.lock().entry(sender.clone()).or_insert_with(turns).clone();
        let mut held = Held { sender: sender.clone(), turns, turn: None };
        held.turn = held.turns.clone().acquire_owned().await.ok();
        Self(Some(held))
    }

    /// Does the work.
    pub(super) async fn run<T: Send + 'static>(
        self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, ApiError> {
        let Some(held) = self.0 else { return Ok(work()) };
        let done = tokio::task::spawn_blocking(move || {
            let _held = held;
            work()
        });
        done.await.map_err(|error| ApiError::internal(format!("reading the body failed: {error}")))
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.turn = None;
        let mut all = TURNS.lock();
        // One is the list's, one is this one's.
        if Arc::strong_count(&self.turns) <= 2 {
            all.remove(&self.sender);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;
    use std::time::Duration;

    #[tokio::test]
    async fn one_senders_work_does_not_hold_up_anothers() {
        let greedy = Sender::new(Some("greedy"), None, None);
        let (release, held) = mpsc::channel::<()>();
        let held = Arc::new(Mutex::new(held));
        let mut busy = Vec::new();
        for _ in 0..50 {
            let (greedy, held) = (greedy.clone(), held.clone());
            busy.push(tokio::spawn(
                async move { aside(&greedy, QUICK + 1, move || held.lock().recv()).await },
            ));
        }
        tokio::task::yield_now().await;
        let other = Sender::new(Some("other"), None, None);
        let done = tokio::time::timeout(Duration::from_secs(10), aside(&other, QUICK + 1, || 7)).await;
        assert_eq!(done.expect("it does not wait").expect("it is done"), 7);
        drop(release);
        for work in busy {
            work.await.unwrap().unwrap().unwrap_err();
        }
        assert!(!TURNS.lock().contains_key(&greedy));
    }
}
