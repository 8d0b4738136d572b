//! Pushover, which wants its keys in a form. Its answers: pushover.net/api and pushover.net/api/receipts.

use harness::receiver::Received;

use super::service::{Pause, Refusal, Service};
use super::stage::{Stage, fields, receipt};

const RECEIPT: &str = "rLqVuqTRh62UzxtmqiaLzQmVcPgiCy";
const TOKEN: &str = "azGDORePK8gMaC0QOYAMyEELhush01";
const USER: &str = "uQiRzpo4DXghDmr9QzzfQu27hush02";

pub(super) const PUSHOVER: Service = Service {
    plugin: "pushover",
    home: "https://api.pushover.net",
    config: "url = \"{home}/1\"",
    grants: "",
    secrets: &[("PUSHOVER_TOKEN", TOKEN, ""), ("PUSHOVER_USER", USER, "")],
    answers: &[
        (
            "POST /1/messages.json",
            200,
            r#"{"receipt": "rLqVuqTRh62UzxtmqiaLzQmVcPgiCy", "status": 1,
                "request": "e460545a8b333d0da2f3602aff3133d6"}"#,
        ),
        (
            "POST /1/receipts/rLqVuqTRh62UzxtmqiaLzQmVcPgiCy/cancel.json",
            200,
            r#"{"status": 1, "request": "92d1ed1ea3a0d6e5a8d0b5e0d2a5a9a7"}"#,
        ),
    ],
    pause: Pause {
        status: 429,
        retry_after: None,
        body: r#"{"errors": ["application is over its quota"], "status": 0,
            "request": "6e1ac4ae-4f4c-4a8c-9b2e-0f0a3e0f7b11"}"#,
        seconds: 5,
    },
    refusal: Refusal {
        at: "POST /1/messages.json",
        status: 400,
        body: r#"{"user": "invalid", "errors": ["user identifier is invalid"], "status": 0,
            "request": "5042853c-402d-4a18-abcb-168734a801de"}"#,
        code: "invalid-user",
        words: "user identifier is invalid",
    },
};

fn assert_form(request: &Received, place: &str, expected: &[(&str, &str)]) {
    assert_eq!(request.line(), place);
    assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
    let fields = fields(request);
    let fields: Vec<_> = fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(fields, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn pushover_rings_until_the_end_which_is_a_message_of_its_own() {
    let stage = Stage::of(&[PUSHOVER]).await;
    let [fired, ended] = stage.life().await;
    assert_eq!([receipt(&fired, "pushover"), receipt(&ended, "pushover")], [Some(RECEIPT); 2]);
    let [ringing, cancel, over] = stage.requests("pushover");
    let keys = [("token", TOKEN), ("user", USER)];
    let link = [("url", "https://run.example/db"), ("url_title", "Runbook")];
    let text = "All connections in use\n\nCritical · production/payments · Monitoring\nteam=db";
    let urgent = [
        ("title", "🔴 Pool \"db\" is full"),
        ("message", text),
        ("priority", "2"),
        ("retry", "60"),
        ("expire", "3600"),
    ];
    assert_form(&ringing, "POST /1/messages.json", &[&keys[..], &urgent, &link].concat());
    assert_form(&cancel, &format!("POST /1/receipts/{RECEIPT}/cancel.json"), &keys[..1]);
    let text = text.replace("Critical", "Resolved");
    let calm = [("title", "✅ Pool \"db\" is full"), ("message", &text), ("priority", "0")];
    assert_form(&over, "POST /1/messages.json", &[&keys[..], &calm, &link].concat());
}
