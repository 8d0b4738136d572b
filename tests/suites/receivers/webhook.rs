//! A receiver of webhooks, signed in the form of Standard Webhooks, that wants JSON of its own.

use serde_json::{Value, json};

use super::alerts::raised;
use super::service::{Pause, Refusal, Service, answer};
use super::stage::{Stage, receipt, step};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2Lahush";
const PLACE: &str = "POST /hooks/campanile";
const TAKEN: &str = r#"{"id": "INC-7"}"#;

pub(super) const WEBHOOK: Service = Service {
    plugin: "webhook",
    home: "https://alerts.example.com",
    config: r#"
        secret = "WEBHOOK_SECRET"
        body = '{"text": "{{ state }}: {{ title }}", "of": {{ earlier | json }}, "labels": {{ labels | json }}}'
    "#,
    grants: "secrets = [\"WEBHOOK_SECRET\"]",
    secrets: &[("WEBHOOK_SECRET", KEY, "kind = \"standard-webhooks\"")],
    answers: &[(PLACE, 200, TAKEN)],
    pause: Pause { status: 429, retry_after: Some("1"), body: "", seconds: 1 },
    refusal: Refusal {
        at: PLACE,
        status: 404,
        body: "no such hook",
        code: "http-404",
        words: "answered 404: no such hook",
    },
};

/// The same for an operator who leaves the body as it is.
const UNWORDED: Service = Service { config: "secret = \"WEBHOOK_SECRET\"", ..WEBHOOK };

#[tokio::test(flavor = "multi_thread")]
async fn webhook_gets_the_operators_json_signed_as_it_is() {
    let stage = Stage::of(&[WEBHOOK]).await;
    let [fired, ended] = stage.life().await;
    assert_eq!([receipt(&fired, "webhook"), receipt(&ended, "webhook")], [Some("INC-7"); 2]);
    let verifier = standardwebhooks::Webhook::new(KEY).expect("a key");
    let requests = stage.requests::<2>("webhook");
    for request in &requests {
        assert_eq!(request.line(), PLACE);
        assert_eq!(request.header("content-type"), "application/json");
        verifier.verify(&request.body, &request.headers).expect("the signature is good");
    }
    assert_eq!(
        requests.map(|request| String::from_utf8_lossy(&request.body).into_owned()),
        [
            r#"{"text": "Critical: Pool \"db\" is full", "of": null, "labels": {"team":"db"}}"#,
            r#"{"text": "Resolved: Pool \"db\" is full", "of": {"id":"INC-7","message":"200: {\"id\": \"INC-7\"}"}, "labels": {"team":"db"}}"#,
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_pairs_an_end_with_its_firing_and_tries_again_in_trouble() {
    let stage = Stage::of(&[UNWORDED]).await;
    stage.server("webhook").script(PLACE, [answer(503, "")], answer(200, TAKEN));
    stage.life().await;
    let [first, second, end] = stage.requests("webhook").map(|request| request.json());
    assert_eq!([&first["attempt"], &second["attempt"], &end["attempt"]], [1, 2, 1]);
    assert!(first["thread_id"].is_string(), "{first}");
    assert_eq!([&second["thread_id"], &end["thread_id"]], [&first["thread_id"]; 2]);
    assert_eq!(
        [&first["earlier"], &end["earlier"]],
        [&Value::Null, &json!({"id": "INC-7", "message": "200: {\"id\": \"INC-7\"}"})]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_sends_nothing_that_is_no_json() {
    let stage = Stage::of(&[Service { config: "body = '{\"text\": {{ title }}}'", ..WEBHOOK }]).await;
    let ledger = stage.ledger(raised()).await;
    let step = step(&ledger, "webhook");
    assert_eq!([&step["error"]["code"], &step["error"]["retry"]], ["config-invalid", "never"], "{step}");
    let message = step["error"]["message"].as_str().expect("a message");
    assert!(
        message.contains("template `body` gives no JSON: expected value at line 1 column 10"),
        "{message}"
    );
    stage.requests::<0>("webhook");
}
