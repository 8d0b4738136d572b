//! What an answer means for the host's retries. By its status: 2xx done; 408, 425, 429 and 5xx may pass; the rest would
//! repeat itself. What is known of the service comes first.

use std::time::SystemTime;

use serde_json::Value;

use super::{Rule, Service, wait};
use crate::types::{Failure, Receipt, Retry};
use crate::{cut, one_line};

/// The most of an answer's text that goes into a receipt or failure.
const TEXT_LIMIT: usize = 300;

/// What came back.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The start of the body.
    pub text: String,
    pub(super) authority: String,
    pub(super) retry_after: Option<String>,
}

impl Answer {
    /// An answer of `service.example`, as for a test.
    pub fn of(status: u16, text: impl Into<String>) -> Self {
        Self { status, text: text.into(), authority: "service.example".to_owned(), retry_after: None }
    }

    /// The body; `null` if it is not JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_default()
    }

    /// The receipt or the failure that it amounts to.
    pub fn receipt(&self, service: &Service) -> Result<Receipt, Failure> {
        judge(self, service, SystemTime::now())
    }
}

fn judge(answer: &Answer, service: &Service, now: SystemTime) -> Result<Receipt, Failure> {
    let json = answer.json();
    let error = service.error(&json);
    let good = matches!(answer.status, 200..=299) && !service.refuses(&json);
    if good {
        let said = if service.error.is_empty() { said(&answer.text) } else { String::new() };
        return Ok(Receipt { id: service.id(&json), message: format!("{}{said}", answer.status) });
    }
    let wait = || service.wait(&json).or_else(|| wait::asked(answer.retry_after.as_deref()?, now));
    let said = said(if error.is_empty() { &answer.text } else { &error });
    match service.rule(&error).filter(|_| !error.is_empty()) {
        Some(rule) => known(rule, answer, &said, wait),
        None => Err(unknown(answer, &said, wait)),
    }
}

fn known(
    rule: &Rule,
    answer: &Answer,
    said: &str,
    wait: impl FnOnce() -> Option<u64>,
) -> Result<Receipt, Failure> {
    let Answer { status, authority, .. } = answer;
    let Some(retry) = rule.retry else {
        return Ok(Receipt { id: None, message: format!("{status}{said}") });
    };
    let advice = if rule.advice.is_empty() { String::new() } else { format!(": {}", rule.advice) };
    Err(Failure {
        code: rule.code.to_owned(),
        message: format!("{authority} answered {status}{said}{advice}"),
        retry: patient(retry, wait),
    })
}

fn unknown(answer: &Answer, said: &str, wait: impl FnOnce() -> Option<u64>) -> Failure {
    let Answer { status, authority, .. } = answer;
    let (code, retry, said) = match status {
        200..=299 => ("refused".to_owned(), Retry::Never, said),
        300..=399 => {
            (code(*status), Retry::Never, ": redirects are not followed; set `url` to where it leads")
        }
        408 | 425 | 429 | 500.. => (code(*status), Retry::Backoff, said),
        _ => (code(*status), Retry::Never, said),
    };
    Failure { code, message: format!("{authority} answered {status}{said}"), retry: patient(retry, wait) }
}

fn code(status: u16) -> String {
    if status == 429 { "rate-limited".to_owned() } else { format!("http-{status}") }
}

fn said(text: &str) -> String {
    match cut(&one_line(text), TEXT_LIMIT) {
        text if text.is_empty() => text,
        text => format!(": {text}"),
    }
}

/// What is tried again waits as long as the service asked.
fn patient(retry: Retry, wait: impl FnOnce() -> Option<u64>) -> Retry {
    match retry {
        Retry::Backoff => wait().map_or(Retry::Backoff, Retry::After),
        other => other,
    }
}

#[cfg(test)]
mod tests;
