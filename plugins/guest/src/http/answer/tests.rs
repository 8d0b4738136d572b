//! What answers amount to, by their status and by what is known of the service.

use std::time::Duration;

use super::*;

const SERVICE: Service = Service {
    id: &["/channel", "/n"],
    error: &["/code", "/error"],
    success: Some("/ok"),
    wait: Some("/retry_after"),
    rules: &[
        Rule::never("no_channel", "no-channel", "check `channel`"),
        Rule::backoff("busy", "busy"),
        Rule::done("not modified"),
    ],
};

fn judged(status: u16, retry_after: Option<&str>, text: &str) -> Result<Receipt, Failure> {
    let answer = Answer { retry_after: retry_after.map(str::to_owned), ..Answer::of(status, text) };
    judge(&answer, &Service::PLAIN, SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_717))
}

fn answered(status: u16, text: &str) -> Result<Receipt, Failure> {
    Answer::of(status, text).receipt(&SERVICE)
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
    assert_eq!(failure.message, "service.example answered 404: no service");
    let failure = judged(500, None, &"x".repeat(10_000)).unwrap_err();
    assert!(failure.message.chars().count() < 400);
}

#[test]
fn the_receipts_id_is_taken_from_the_answer() {
    let receipt = answered(200, r#"{"ok": true, "channel": "C0", "n": 7}"#).unwrap();
    assert_eq!((receipt.id.as_deref(), receipt.message.as_str()), (Some("C0/7"), "200"));
    assert_eq!(answered(200, r#"{"ok": true, "channel": "C0"}"#).unwrap().id, None);
    assert_eq!(answered(200, "ok").unwrap().id, None);
}

#[test]
fn a_refusal_counts_whatever_its_status_is() {
    let failure = answered(200, r#"{"ok": false, "error": "no_channel"}"#).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retry), ("no-channel", Retry::Never));
    assert_eq!(failure.message, "service.example answered 200: no_channel: check `channel`");
    let failure = answered(200, r#"{"ok": false, "error": "other"}"#).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retry), ("refused", Retry::Never));
    assert_eq!(answered(200, r#"{"ok": 0}"#).unwrap_err().code, "refused");
    let failure = answered(400, r#"{"code": 5, "error": "busy"}"#).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retry), ("busy", Retry::Backoff));
    assert_eq!(failure.message, "service.example answered 400: 5: busy");
}

#[test]
fn what_was_done_before_is_done() {
    assert!(answered(400, r#"{"error": "not modified"}"#).is_ok());
}

#[test]
fn the_wait_in_the_body_counts_too() {
    let failure = answered(429, r#"{"retry_after": 1.2345}"#).unwrap_err();
    assert_eq!((failure.code.as_str(), failure.retry), ("rate-limited", Retry::After(1235)));
    let failure = answered(429, r#"{"retry_after": -1}"#).unwrap_err();
    assert_eq!(failure.retry, Retry::Backoff);
}
