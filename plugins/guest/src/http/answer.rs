//! What a status means for the host's retries: 2xx done; 408, 425, 429 and 5xx may pass; the rest would repeat itself.

use std::time::{Duration, SystemTime};

use super::Answer;
use crate::types::{Failure, Receipt, Retry};
use crate::{cut, one_line};

/// The most of an answer's text that goes into a receipt or failure, in characters.
const TEXT_LIMIT: usize = 300;

/// The receipt or the failure that an answer from `authority` amounts to.
pub(crate) fn judge(answer: &Answer, authority: &str, now: SystemTime) -> Result<Receipt, Failure> {
    let status = answer.status;
    let said = said(answer);
    match status {
        200..=299 => Ok(Receipt { id: None, message: format!("{status}{said}") }),
        300..=399 => Err(Failure {
            code: code(status),
            message: format!(
                "{authority} answered {status}: redirects are not followed; set `url` to where it leads"
            ),
            retry: Retry::Never,
        }),
        _ => Err(Failure {
            code: code(status),
            message: format!("{authority} answered {status}{said}"),
            retry: retry(answer, now),
        }),
    }
}

fn code(status: u16) -> String {
    if status == 429 { "rate-limited".to_owned() } else { format!("http-{status}") }
}

fn said(answer: &Answer) -> String {
    match cut(&one_line(&answer.text), TEXT_LIMIT) {
        text if text.is_empty() => text,
        text => format!(": {text}"),
    }
}

fn retry(answer: &Answer, now: SystemTime) -> Retry {
    match answer.status {
        408 | 425 | 429 | 500.. => match answer.retry_after.as_deref().and_then(|value| wait(value, now)) {
            Some(wait) => Retry::After(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            None => Retry::Backoff,
        },
        _ => Retry::Never,
    }
}

/// How long a `Retry-After` asks to wait: seconds, or an HTTP date (RFC 9110, section 10.2.3).
fn wait(value: &str, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let at = httpdate::parse_http_date(value).ok()?;
    Some(at.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, retry_after: Option<&str>, text: &str) -> Result<Receipt, Failure> {
        let answer = Answer { status, retry_after: retry_after.map(str::to_owned), text: text.to_owned() };
        judge(&answer, "a.example", SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_717))
    }

    #[test]
    fn success_is_a_receipt_with_what_was_said() {
        assert_eq!(judged(200, None, "ok\n").unwrap().message, "200: ok");
        assert_eq!(judged(204, None, "").unwrap().message, "204");
    }

    #[test]
    fn every_status_says_whether_to_retry() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT"; // one minute after now
        let cases = [
            (301, None, "http-301", "Never"),
            (400, None, "http-400", "Never"),
            (404, Some("5"), "http-404", "Never"),
            (408, None, "http-408", "Backoff"),
            (429, None, "rate-limited", "Backoff"),
            (429, Some("3"), "rate-limited", "After(3000)"),
            (429, Some("soon"), "rate-limited", "Backoff"),
            (500, None, "http-500", "Backoff"),
            (503, Some(date), "http-503", "After(60000)"),
            (503, Some("Sun, 06 Nov 1994 00:00:00 GMT"), "http-503", "After(0)"),
        ];
        for (status, retry_after, code, retry) in cases {
            let failure = judged(status, retry_after, "").unwrap_err();
            let seen = format!("{:?}", failure.retry);
            assert_eq!(failure.code, code);
            assert!(seen.ends_with(retry), "{status} {retry_after:?}: {seen}");
        }
    }

    #[test]
    fn a_failure_tells_what_the_service_said_in_one_line() {
        let failure = judged(404, None, "no\nservice").unwrap_err();
        assert_eq!(failure.message, "a.example answered 404: no service");
        let failure = judged(500, None, &"x".repeat(10_000)).unwrap_err();
        assert!(failure.message.chars().count() < 400);
    }
}
