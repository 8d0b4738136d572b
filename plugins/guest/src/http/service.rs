//! What a service's answers mean, as a table: where to find what it says, and which of that is worth another attempt.

use serde_json::Value;

use crate::types::Retry;

/// What is particular to a service. Places in its JSON are given as pointers, such as `/result/message_id`.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The parts of the receipt's id, joined by `/`.
    pub id: &'static [&'static str],
    /// What it says went wrong: a code, a text, or both.
    pub error: &'static [&'static str],
    /// What is `false` or 0 where a 2xx is a refusal.
    pub success: Option<&'static str>,
    /// How many seconds to wait, as a number.
    pub wait: Option<&'static str>,
    /// What is known of its errors; the first that fits counts. The others mean what their status means.
    pub rules: &'static [Rule],
}

impl Service {
    /// A service that says everything by its status.
    pub const PLAIN: Self = Self { id: &[], error: &[], success: None, wait: None, rules: &[] };

    /// The id of what was made or changed, if all its parts are there.
    pub(crate) fn id(&self, json: &Value) -> Option<String> {
        let parts: Option<Vec<_>> = self.id.iter().map(|pointer| scalar(json, pointer)).collect();
        parts.filter(|parts| !parts.is_empty()).map(|parts| parts.join("/"))
    }

    /// What it says went wrong; empty if it says nothing.
    pub(crate) fn error(&self, json: &Value) -> String {
        let said: Vec<_> = self.error.iter().filter_map(|pointer| scalar(json, pointer)).collect();
        said.join(": ")
    }

    /// Whether a 2xx is a refusal all the same.
    pub(crate) fn refuses(&self, json: &Value) -> bool {
        let said = self.success.and_then(|pointer| json.pointer(pointer));
        said.is_some_and(|said| *said == Value::Bool(false) || *said == 0)
    }

    /// How long it asks to wait, in milliseconds.
    pub(crate) fn wait(&self, json: &Value) -> Option<u64> {
        let seconds = json.pointer(self.wait?)?.as_f64().filter(|seconds| *seconds >= 0.0)?;
        Some((seconds * 1000.0).ceil() as u64)
    }

    /// What is known of this error.
    pub(crate) fn rule(&self, error: &str) -> Option<&'static Rule> {
        self.rules.iter().find(|rule| error.contains(rule.said))
    }
}

fn scalar(json: &Value, pointer: &str) -> Option<String> {
    match json.pointer(pointer)? {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// What one of a service's errors means.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    said: &'static str,
    /// The failure's code.
    pub(crate) code: &'static str,
    /// What would help, for the person on call.
    pub(crate) advice: &'static str,
    /// Whether to try again; `None` if it was done before, and so is done.
    pub(crate) retry: Option<Retry>,
}

impl Rule {
    /// An error with `said` in it would repeat itself; `advice` says what would help.
    pub const fn never(said: &'static str, code: &'static str, advice: &'static str) -> Self {
        Self { said, code, advice, retry: Some(Retry::Never) }
    }

    /// An error with `said` in it may pass.
    pub const fn backoff(said: &'static str, code: &'static str) -> Self {
        Self { said, code, advice: "", retry: Some(Retry::Backoff) }
    }

    /// An error with `said` in it says that it is done already.
    pub const fn done(said: &'static str) -> Self {
        Self { said, code: "", advice: "", retry: None }
    }
}
