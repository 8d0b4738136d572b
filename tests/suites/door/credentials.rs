//! Credentials over the wire: right, wrong, old, changed and used again.

use harness::alerts::{alert, unique, with};
use harness::{Host, Plugin, Settings};
use jiff::Timestamp;
use serde_json::json;
use standardwebhooks::Webhook;

use super::{Said, connect, hear, title};

const NEW: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";

/// A host whose alerts are signed with either of two secrets, and a body.
struct Signed {
    host: Host,
    body: String,
    title: String,
}

impl Signed {
    async fn start() -> Self {
        let settings = Settings::new();
        let (new, old) = (settings.write("new", NEW), settings.write("old", OLD));
        let config = format!(
            "\n[sources.alerts.signature]\nscheme = \"standard-webhooks\"\nsecrets = [{{ file = \"{}\" }}, {{ file = \"{}\" }}]\n",
            new.display(),
            old.display()
        );
        let host = settings.and_config(&config).plugin(Plugin::shipped("log")).start().await;
        let title = title();
        let alert = with(alert(&title), json!({"source": {"name": "signer", "type": "test"}}));
        Self { host, body: json!({"alerts": [alert]}).to_string(), title }
    }

    /// Posts the body with a signature over `signed`, and more lines.
    async fn post(&self, secret: &str, id: &str, age: i64, signed: &str, lines: &str) -> Said {
        let time = Timestamp::now().as_second() - age;
        let signature =
            Webhook::new(secret).expect("a secret").sign(id, time, signed.as_bytes()).expect("a signature");
        let lines = format!(
            "webhook-id: {id}\r\nwebhook-timestamp: {time}\r\nwebhook-signature: {signature}\r\n{lines}"
        );
        self.send(&lines).await
    }

    async fn send(&self, lines: &str) -> Said {
        let head = "POST /webhook/alerts/sync HTTP/1.1\r\nhost: c\r\ncontent-type: application/json\r\n";
        let text = format!("{head}{lines}content-length: {}\r\n\r\n{}", self.body.len(), self.body);
        let mut connection = connect(&self.host).await;
        tokio::io::AsyncWriteExt::write_all(&mut connection, text.as_bytes()).await.expect("it reads");
        hear(&mut connection, "200").await
    }

    /// How often the plugin was told.
    fn runs(&self) -> usize {
        let is_told = |text: &str| text.contains(&self.title);
        let events = self.host.log().events();
        events
            .iter()
            .filter(|event| event["plugin"] == "log" && event["message"].as_str().is_some_and(is_told))
            .count()
    }
}

fn ids(said: &Said) -> String {
    let rest = said.text.split_once("\"workflow_ids\":[").map(|(_, rest)| rest).unwrap_or_default();
    rest.split(']').next().unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_right_whole_recent_and_made_with_a_secret_of_now() {
    let signed = Signed::start().await;
    let body = signed.body.as_str();
    let other = body.replace("high", "low");
    let twice = |name: &str| format!("{name}: v1,x\r\n");
    let table = [
        ("right", signed.post(NEW, "a", 0, body, "").await, "200"),
        ("the secret of before", signed.post(OLD, "b", 0, body, "").await, "200"),
        ("another secret", signed.post("whsec_AAAA", "c", 0, body, "").await, "401"),
        ("another body", signed.post(NEW, "d", 0, &other, "").await, "401"),
        ("too old", signed.post(NEW, "e", 310, body, "").await, "401"),
        ("of the future", signed.post(NEW, "f", -320, body, "").await, "401"),
        ("two signatures", signed.post(NEW, "g", 0, body, &twice("webhook-signature")).await, "401"),
        ("two times", signed.post(NEW, "h", 0, body, &twice("webhook-timestamp")).await, "401"),
        ("two ids", signed.post(NEW, "i", 0, body, &twice("webhook-id")).await, "401"),
        ("no signature", signed.send("").await, "401"),
        ("an empty one", signed.send("webhook-signature:\r\n").await, "401"),
        ("one that is none", signed.send("webhook-signature: v1,\u{7e}\r\n").await, "401"),
    ];
    for (what, said, outcome) in table {
        assert_eq!(said.outcome(), outcome, "{what}: {}", said.text);
    }
    assert_eq!(signed.runs(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_is_played_back_is_the_one_that_was_there() {
    let (signed, id) = (Signed::start().await, unique("m-"));
    let first = signed.post(NEW, &id, 0, &signed.body, "").await;
    let again = signed.post(OLD, &id, 0, &signed.body, "").await;
    assert_eq!((first.outcome(), again.outcome()), ("200".to_owned(), "200".to_owned()), "{}", again.text);
    assert_eq!(ids(&first), ids(&again));
    let late = signed.post(NEW, &id, 310, &signed.body, "").await;
    assert_eq!(late.outcome(), "401", "{}", late.text);
    assert_eq!(signed.runs(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_signed_makes_no_new_delivery_of_one_that_is() {
    let (signed, id) = (Signed::start().await, unique("m-"));
    let first = signed.post(NEW, &id, 0, &signed.body, "").await;
    let renamed = signed.post(NEW, &id, 0, &signed.body, "idempotency-key: another\r\n").await;
    assert_eq!((ids(&renamed), signed.runs()), (ids(&first), 1), "{}", renamed.text);
}
