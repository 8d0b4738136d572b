//! Waiting for the end of notifications: what this process ends wakes who waits for it.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

/// Who waits, by the number of the notification: a channel that changes with its end.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<HashMap<i64, watch::Sender<()>>>);

impl Waiters {
    /// Wakes who waits for the end of this one.
    pub(crate) fn wake(&self, number: i64) {
        // Its receivers are woken as the sender goes.
        self.0.lock().remove(&number);
    }

    /// Waits for the end of this one from now on.
    pub(crate) fn waiter(self: &Arc<Self>, number: i64) -> Waiter {
        let mut all = self.0.lock();
        let ended = all.entry(number).or_insert_with(|| watch::channel(()).0).subscribe();
        Waiter { all: self.clone(), number, ended: Some(ended) }
    }
}

/// One that waits.
pub(crate) struct Waiter {
    all: Arc<Waiters>,
    number: i64,
    /// Until this is dropped.
    ended: Option<watch::Receiver<()>>,
}

impl Waiter {
    /// Returns once the end was noted in this process.
    pub(crate) async fn ended(&mut self) {
        if let Some(ended) = &mut self.ended {
            // It ends with an error, as the sender goes.
            _ = ended.changed().await;
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.ended = None;
        let mut all = self.all.0.lock();
        if all.get(&self.number).is_some_and(|sender| sender.receiver_count() == 0) {
            all.remove(&self.number);
        }
    }
}
