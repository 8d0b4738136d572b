//! What Pushover gets, and what becomes of its answers.

use campanile_guest::is_blank;
use campanile_guest::testing::{BLANKS, blank, exchange, firing, largest, resolved};
use campanile_guest::text::width;
use serde_json::{Value, json};

use super::*;
use crate::message::{MESSAGE, TITLE, URL, URL_TITLE};
use crate::settings::{EXPIRE, RETRY};

const SENT: &str = r#"{"status":1,"request":"647d2300-702c-4b38-8b2f-d56326ae460b"}"#;
const RINGING: &str = r#"{"receipt":"rLqVuqTRh62UzxtmqiaLzQmVcPgiCy","status":1,"request":"647d2300"}"#;
const RECEIPT: &str = "rLqVuqTRh62UzxtmqiaLzQmVcPgiCy";

fn settings() -> Settings {
    Settings {
        url: crate::settings::URL.to_owned(),
        token: "${secret:PUSHOVER_TOKEN.m1}".to_owned(),
        user: "${secret:PUSHOVER_USER.m1}".to_owned(),
        device: None,
        sound: None,
        emergency: true,
        retry: RETRY.to_owned(),
        expire: EXPIRE.to_owned(),
        title: None,
        text: None,
        html: false,
    }
}

fn told(delivery: &Delivery, answers: &[(u16, &str)]) -> (Vec<Request>, Result<Receipt, Failure>) {
    exchange(answers, |send| deliver(delivery, &settings(), send))
}

/// The form's fields, decoded.
fn fields(settings: &Settings, delivery: &Delivery) -> Vec<(String, String)> {
    let (requests, _) = exchange(&[(200, SENT)], |send| deliver(delivery, settings, send));
    let pairs = requests[0].body.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), decoded(value))).collect()
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let hex = (*first == b'%').then(|| std::str::from_utf8(&tail[..2]).unwrap());
        bytes.push(hex.map_or(*first, |hex| u8::from_str_radix(hex, 16).unwrap()));
        rest = if hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap()
}

fn field(settings: &Settings, document: &Value, name: &str) -> Option<String> {
    let found = fields(settings, &firing(document)).into_iter().find(|(given, _)| given == name);
    found.map(|(_, value)| value)
}

fn failed(status: u16, text: &str) -> Failure {
    told(&firing(&json!({})), &[(status, text)]).1.unwrap_err()
}

#[test]
fn the_request_is_the_documented_one() {
    let document = json!({
        "title": "Pool exhausted", "description": "All in use", "severity": "high",
        "context": { "service": "payments" }, "labels": { "team": "db" },
        "links": [{ "href": "https://run.example/db?a=1&b=2", "text": "Runbook" }],
    });
    let (requests, receipt) = told(&firing(&document), &[(200, SENT)]);
    assert_eq!(requests[0].url, "https://api.pushover.net/1/messages.json");
    assert_eq!(requests[0].headers, [("content-type", "application/x-www-form-urlencoded".to_owned())]);
    assert_eq!(
        requests[0].body,
        "token=${secret:PUSHOVER_TOKEN.m1}&user=${secret:PUSHOVER_USER.m1}\
         &title=%F0%9F%9F%A0%20Pool%20exhausted\
         &message=All%20in%20use%0A%0AHigh%20%C2%B7%20payments%0Ateam%3Ddb&priority=1\
         &url=https%3A%2F%2Frun.example%2Fdb%3Fa%3D1%26b%3D2&url_title=Runbook"
    );
    let receipt = receipt.unwrap();
    assert_eq!((receipt.id, receipt.message.as_str()), (None, "200"));
}

#[test]
fn what_is_critical_rings_until_it_is_over() {
    let (requests, receipt) = told(&firing(&json!({})), &[(200, RINGING)]);
    assert!(requests[0].body.ends_with("&priority=2&retry=60&expire=3600"), "{}", requests[0].body);
    assert_eq!(receipt.unwrap().id.as_deref(), Some(RECEIPT));

    let over = resolved(&json!({}), Some(RECEIPT));
    let (requests, receipt) = told(&over, &[(200, SENT), (200, SENT)]);
    assert_eq!(
        requests[0].url,
        "https://api.pushover.net/1/receipts/rLqVuqTRh62UzxtmqiaLzQmVcPgiCy/cancel.json"
    );
    assert_eq!(requests[0].body, "token=${secret:PUSHOVER_TOKEN.m1}");
    assert!(requests[1].body.contains("title=%E2%9C%85%20t&") && requests[1].body.ends_with("&priority=0"));
    assert_eq!(receipt.unwrap().message, "200");
}

#[test]
fn a_resolve_is_told_even_if_the_ringing_cannot_be_ended() {
    let over = resolved(&json!({}), Some(RECEIPT));
    let refused = (
        404,
        r#"{"receipt":"not found","errors":["receipt not found; may be invalid or expired"],"status":0}"#,
    );
    let (_, receipt) = told(&over, &[refused, (200, SENT)]);
    assert!(receipt.unwrap().message.contains("200; the firing still rings: service.example answered 404"));
    let (requests, failure) = told(&over, &[(503, "")]);
    assert_eq!((requests.len(), failure.unwrap_err().retry), (1, Retry::Backoff));
    for earlier in [None, Some("../apps/limits"), Some("")] {
        assert_eq!(told(&resolved(&json!({}), earlier), &[(200, SENT)]).0.len(), 1, "{earlier:?}");
    }
}

#[test]
fn severity_is_priority() {
    let priority = |settings: &Settings, severity: &str| {
        field(settings, &json!({ "severity": severity }), "priority").unwrap()
    };
    let found = ["critical", "high", "medium", "low"].map(|severity| priority(&settings(), severity));
    assert_eq!(found, ["2", "1", "0", "-1"]);
    assert_eq!(priority(&Settings { emergency: false, ..settings() }, "critical"), "1");
}

#[test]
fn pushovers_limits_hold_for_the_largest_alert() {
    for (character, html) in [('x', false), ('<', true), ('🔥', false), ('\n', false)] {
        let mut document = largest(character);
        document["links"] = json!([
            format!("https://long.example/{}", "x".repeat(URL)),
            { "href": format!("https://r.example/{}", "x".repeat(494)), "text": character.to_string().repeat(200) },
        ]);
        let fields = fields(&Settings { html, ..settings() }, &firing(&document));
        let width = |name: &str| width(&fields.iter().find(|(given, _)| given == name).unwrap().1);
        assert!(width("title") <= TITLE && width("message") <= MESSAGE, "{character:?}");
        let message = &fields.iter().find(|(name, _)| name == "message").unwrap().1;
        assert!(message.ends_with("\n\nLinks: … and 1 more"), "the longer one is left out");
        assert!(width("url") == URL && width("url_title") <= URL_TITLE, "{character:?}");
    }
}

#[test]
fn an_alert_cannot_add_fields_or_markup() {
    let document = json!({
        "title": "${secret:A}&priority=2&x=${secret:B}", "description": "<a href=\"https://evil.example\">x</a>&y",
    });
    let names = |settings: &Settings| {
        fields(settings, &firing(&document)).into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    let (plain, html) = (settings(), Settings { html: true, ..settings() });
    assert_eq!(names(&plain), ["token", "user", "title", "message", "priority", "retry", "expire"]);
    assert_eq!(names(&html), ["token", "user", "title", "message", "html", "priority", "retry", "expire"]);
    let message = |settings: &Settings| field(settings, &document, "message").unwrap();
    assert!(message(&plain).starts_with("<a href="));
    assert!(message(&html).starts_with("&lt;a href=&quot;https://evil.example&quot;&gt;x&lt;/a&gt;&amp;y"));
    let bare = Settings { title: Some("{{ title }}".to_owned()), ..settings() };
    assert_eq!(field(&bare, &document, "title").as_deref(), Some("${secret:A}&priority=2&x=${secret:B}"));
}

#[test]
fn pushovers_errors_say_whether_to_try_again() {
    for (status, text, code, retry) in [
        (
            400,
            r#"{"user":"invalid","errors":["user identifier is invalid"],"status":0,"request":"5042853c"}"#,
            "invalid-user",
            Retry::Never,
        ),
        (
            400,
            r#"{"token":"invalid","errors":["application token is invalid"],"status":0}"#,
            "invalid-token",
            Retry::Never,
        ),
        (400, r#"{"errors":["message cannot be blank"],"status":0}"#, "empty-message", Retry::Never),
        (200, r#"{"errors":["something new"],"status":0}"#, "refused", Retry::Never),
        (429, r#"{"errors":["application is over its quota"],"status":0}"#, "rate-limited", Retry::Backoff),
        (500, "", "http-500", Retry::Backoff),
    ] {
        let failure = failed(status, text);
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry), "{text}");
    }
    assert!(
        failed(400, r#"{"errors":["user identifier is invalid"]}"#)
            .message
            .contains("check the secret behind `user`")
    );
}

#[test]
fn the_configuration_schema_names_the_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    let default = |key: &str| &schema["properties"][key]["default"];
    assert_eq!(default("url"), crate::settings::URL);
    assert_eq!(default("retry").to_string(), RETRY);
    assert_eq!(default("expire").to_string(), EXPIRE);
}

#[test]
fn no_field_is_blank() {
    for text in BLANKS {
        for settings in [settings(), Settings { title: Some("{{ title }}".to_owned()), ..settings() }] {
            let form = fields(&settings, &firing(&blank(text)));
            assert!(
                form.iter().all(|(name, value)| !is_blank(name) && !is_blank(value)),
                "{text:?}: {form:?}"
            );
        }
    }
}

#[test]
fn a_blank_message_is_named_as_the_cause() {
    let failure =
        failed(400, r#"{"message": "cannot be blank", "errors": ["message cannot be blank"], "status": 0}"#);
    assert_eq!(failure.code, "empty-message");
    assert!(
        failure.message.contains("message cannot be blank: see to it that the template `text`"),
        "{failure:?}"
    );
}
