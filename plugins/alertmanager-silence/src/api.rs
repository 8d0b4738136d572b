//! The three requests to the Alertmanager, and what its answers mean.
//!
//! Sources: prometheus/alertmanager, api/v2/openapi.yaml (paths, answers) and api/v2/api.go (`filter` finds silences that
//! have this very matcher); that a silence which is gone or has expired can be deleted again: its pull requests 3352
//! (404) and 2817 (200; older versions say 500, "already expired").

use campanile_guest::failure::permanent;
use campanile_guest::http::{Answer, Method, Request, Rule, Send, Service};
use campanile_guest::types::{Failure, Receipt};
use serde_json::Value;

use crate::settings::Settings;
use crate::silence::{Matcher, is_marked};

const ALERTMANAGER: Service = Service {
    id: &["/silenceID"],
    // A text as a whole, or an object of the checks that come first.
    error: &["", "/message"],
    success: None,
    wait: None,
    rules: &[Rule::done("already expired")],
};

/// The most of the list of silences that is read, in bytes: what the host lets through.
const LIST: usize = 4 * 1024 * 1024;

/// A silence that is there.
pub(crate) struct Found {
    pub(crate) id: String,
    /// `active`, `pending` or `expired`.
    pub(crate) state: String,
}

/// The Alertmanager.
pub(crate) struct Alertmanager<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) send: Send<'a>,
}

impl Alertmanager<'_> {
    /// The silences with this mark, in any state; of those with the same `alertname`, if there is one.
    pub(crate) fn marked(&mut self, matchers: &[Matcher], mark: &str) -> Result<Vec<Found>, Failure> {
        let mut request = self.request(Method::Get, "silences").answer_limit(LIST);
        if let Some((name, value)) =
            matchers.iter().find(|(name, value)| *name == "alertname" && !value.is_empty())
        {
            request = request.query("filter", &format!("{name}={}", quoted(value)));
        }
        let answer = (self.send)(&request)?;
        answer.receipt(&ALERTMANAGER)?;
        let Value::Array(silences) = answer.json() else { return Err(not_a_list(&answer)) };
        Ok(silences.iter().filter_map(|silence| found(silence, mark)).collect())
    }

    /// Creates a silence.
    pub(crate) fn create(&mut self, silence: &Value) -> Result<Receipt, Failure> {
        let request = self.request(Method::Post, "silences").json(silence);
        let receipt = (self.send)(&request)?.receipt(&ALERTMANAGER)?;
        let until = silence["endsAt"].as_str().unwrap_or_default();
        Ok(Receipt { message: format!("silenced until {until}"), ..receipt })
    }

    /// Ends a silence. One that is gone has ended.
    pub(crate) fn expire(&mut self, id: &str) -> Result<(), Failure> {
        let request = self.request(Method::Delete, &format!("silence/{id}"));
        let answer = (self.send)(&request)?;
        if answer.status == 404 { Ok(()) } else { answer.receipt(&ALERTMANAGER).map(drop) }
    }

    fn request(&self, method: Method, path: &str) -> Request {
        let url = format!("{}/api/v2/{path}", self.settings.url);
        Request::new(method, url).header("authorization", &self.settings.authorization)
    }
}

/// As the Alertmanager writes values of matchers.
fn quoted(value: &str) -> String {
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// An id goes into an address, so it has to look like one.
fn found(silence: &Value, mark: &str) -> Option<Found> {
    let text = |pointer: &str| silence.pointer(pointer).and_then(Value::as_str);
    let id = text("/id").filter(|id| id.chars().all(|c| c.is_ascii_alphanumeric() || c == '-'))?;
    is_marked(text("/comment")?, mark)
        .then(|| Found { id: id.to_owned(), state: text("/status/state").unwrap_or("active").to_owned() })
}

fn not_a_list(answer: &Answer) -> Failure {
    let message = format!(
        "the Alertmanager answered {} without a list of silences, or with more than {LIST} bytes of it: check `url`, \
         which ends before /api/v2",
        answer.status
    );
    permanent("unexpected-answer", message)
}
