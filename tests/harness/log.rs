//! A host's log, read as it comes: what a test waits for, and what a failed test shows.

use std::io::{BufRead, BufReader, Read};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::wait::PATIENCE;

/// The events so far, each a flat JSON object. A line that is no JSON is an event with that line as its `message`.
#[derive(Clone)]
pub struct Log {
    events: watch::Receiver<Vec<Value>>,
}

impl Log {
    /// Reads `pipe` to its end on a thread of its own.
    pub fn follow(pipe: impl Read + Send + 'static) -> Self {
        let (tell, events) = watch::channel(Vec::new());
        thread::spawn(move || {
            for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line);
                let event = serde_json::from_str(&line).unwrap_or_else(|_| json!({"message": line}));
                tell.send_modify(|events| events.push(event));
            }
        });
        Self { events }
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Value> {
        self.events.borrow().clone()
    }

    /// Whether an event like this was logged so far.
    pub fn has(&self, like: impl FnMut(&Value) -> bool) -> bool {
        self.events.borrow().iter().any(like)
    }

    /// The first event like this, once it is logged; panics with `what` past the usual patience.
    pub async fn wait_for(&self, what: &str, mut like: impl FnMut(&Value) -> bool) -> Value {
        self.find_within(PATIENCE, &mut like).await.unwrap_or_else(|| panic!("no log event in time: {what}"))
    }

    /// The first event with this message; panics past the usual patience.
    pub async fn message(&self, message: &str) -> Value {
        self.wait_for(message, |event| event["message"] == message).await
    }

    /// The first event like this, once it is logged; nothing past `limit` or when the process has ended without.
    pub async fn find_within(&self, limit: Duration, mut like: impl FnMut(&Value) -> bool) -> Option<Value> {
        let mut events = self.events.clone();
        let mut seen = 0;
        let found = events.wait_for(|events| {
            let new = &events[seen..];
            match new.iter().position(&mut like) {
                Some(index) => {
                    seen += index;
                    true
                }
                None => {
                    seen = events.len();
                    false
                }
            }
        });
        let found = timeout(limit, found).await.ok()?.ok()?.clone();
        found.into_iter().nth(seen)
    }

    /// Waits until nothing more can come: the process has closed its end.
    pub async fn finished(&self) {
        let mut events = self.events.clone();
        let closed = timeout(PATIENCE, events.wait_for(|_| false)).await;
        assert!(closed.is_ok(), "the log does not end");
    }

    /// The last lines, for the message of a test that fails.
    pub fn tail(&self) -> String {
        let events = self.events.borrow();
        let start = events.len().saturating_sub(80);
        events[start..].iter().map(|event| format!("    {event}\n")).collect()
    }
}
