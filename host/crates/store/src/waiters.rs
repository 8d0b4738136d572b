//! Waiting for the end of notifications: what this process ends wakes who waits for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

/// How often it is looked for what another host has ended.
pub(crate) const LOOK: Duration = Duration::from_millis(250);

/// Who waits, by the number of the notification.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<HashMap<i64, Arc<Notify>>>);

impl Waiters {
    /// Wakes who waits for the end of this one.
    pub(crate) fn wake(&self, number: i64) {
        if let Some(waiting) = self.0.lock().remove(&number) {
            waiting.notify_waiters();
        }
    }

    /// Waits until the end of this one is noted here, or it is time to look for it.
    pub(crate) async fn wait(&self, number: i64, until: Instant) {
        let waiting = self.0.lock().entry(number).or_default().clone();
        let ended = waiting.notified();
        let until = until.min(Instant::now() + LOOK);
        if timeout_at(until, ended).await.is_err() {
            let mut all = self.0.lock();
            // The map and this task have it: no one else waits.
            if all.get(&number).is_some_and(|waiting| Arc::strong_count(waiting) <= 2) {
                all.remove(&number);
            }
        }
    }
}
