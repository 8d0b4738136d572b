//! Whatever is posted: no 5xx, no hang, and every refusal in the one shape.

use std::time::Duration;

use fastrand::Rng;
use harness::alerts::alert;
use harness::web::{client, send};
use harness::{Host, Settings};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

const BODIES: usize = 400;
const SEED: u64 = 20_231_201;

#[tokio::test(flavor = "multi_thread")]
async fn garbage_bodies_never_give_a_5xx_or_a_hang() {
    let host = Settings::new().start().await;
    let mut random = Rng::with_seed(SEED);
    let mut accepted = Vec::new();
    for number in 0..BODIES {
        let body = garbage(&mut random, number);
        let path = if random.u8(..) < 40 { "/webhook/alerts/sync?timeout=1s" } else { "/webhook/alerts" };
        let request =
            client().post(host.at(path)).header("content-type", "application/json").body(body.clone());
        let shown = || {
            format!("body {number} (seed {SEED}): {}", String::from_utf8_lossy(&body[..body.len().min(300)]))
        };
        let reply = send(request.timeout(Duration::from_secs(20))).await;
        let reply = reply.unwrap_or_else(|error| panic!("{}: {error:?}", shown()));
        assert!(reply.status < 500, "{}: {reply:?}", shown());
        assert_eq!(reply.json()["success"], reply.status == 200, "{}: {reply:?}", shown());
        accepted.extend(reply.json()["workflow_ids"].as_array().into_iter().flatten().cloned());
    }
    assert!(accepted.len() >= 20, "only {} odd alerts were accepted", accepted.len());
    for id in accepted {
        let id = id.as_str().expect("an id is a text");
        let done = host.completed(&utf8_percent_encode(id, NON_ALPHANUMERIC).to_string()).await;
        assert_eq!(done["state"], "completed", "{id}: what is accepted can be worked on: {done}");
    }
    still_works(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_queries_paths_and_headers_are_refused_politely() {
    let host = Settings::new().start().await;
    let long = "a".repeat(3000);
    let paths = [
        "/alerts/%00".to_owned(),
        "/alerts/%ff%fe".to_owned(),
        "/alerts/..%2f..%2fetc%2fpasswd".to_owned(),
        format!("/alerts/{long}"),
        "/alerts/a%0d%0ab".to_owned(),
        "/alerts/%20".to_owned(),
        "/alerts/batch-x%230".to_owned(),
        "/webhook/alerts/../../health/x".to_owned(),
    ];
    for path in paths {
        let reply = host.get(&path).await;
        assert!((400..500).contains(&reply.status), "{path}: {reply:?}");
        assert_eq!(reply.json()["success"], false, "{path}: {reply:?}");
    }
    for timeout in ["-1s", "99999999999999999999s", "%00", "1", "NaN", "1e400s", ""] {
        let path = format!("/webhook/alerts/sync?timeout={timeout}");
        let reply = host.post(&path, &json!({"alerts": [alert("timeout")]})).await;
        assert!(reply.status < 500, "{timeout}: {reply:?}");
    }
    still_works(&host).await;
}

async fn still_works(host: &Host) {
    assert_eq!(host.get("/health").await.status, 200);
    assert_eq!(host.ledger(alert("after the storm")).await["outcome"], "unrouted");
}

fn garbage(random: &mut Rng, number: usize) -> Vec<u8> {
    match random.u8(..10) {
        0 => (0..random.usize(..200)).map(|_| random.u8(..)).collect(),
        1 => nested(random),
        2..6 => spoiled_text(random, number),
        _ => spoiled_document(random, number).to_string().into_bytes(),
    }
}

fn nested(random: &mut Rng) -> Vec<u8> {
    let depth = random.usize(1..3000);
    let (open, close) = if random.bool() { ("[", "]") } else { ("{\"alerts\":", "}") };
    format!("{}1{}", open.repeat(depth), close.repeat(depth)).into_bytes()
}

/// A valid request with a few bytes changed, lost, doubled, or cut off.
fn spoiled_text(random: &mut Rng, number: usize) -> Vec<u8> {
    let batch = format!("text {number}");
    let mut bytes = json!({"alerts": [alert("spoiled")], "batch_id": batch}).to_string().into_bytes();
    for _ in 0..random.usize(1..6) {
        let at = random.usize(..bytes.len());
        match random.u8(..4) {
            0 => bytes[at] = random.u8(..),
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, bytes[at]),
            _ => bytes.truncate(at.max(1)),
        }
    }
    bytes
}

/// A request that is JSON, with odd values in odd places.
fn spoiled_document(random: &mut Rng, number: usize) -> Value {
    let batch = format!("document {number}");
    let mut request = json!({"alerts": [alert("odd"), alert("odder")], "batch_id": batch, "metadata": {}});
    if random.bool() {
        request["alerts"].as_array_mut().expect("a list").truncate(1);
    }
    for _ in 0..random.usize(1..4) {
        let value = odd(random);
        let fields = [
            "id",
            "title",
            "type",
            "severity",
            "source",
            "labels",
            "links",
            "data",
            "status",
            "starts_at",
            "dedup_key",
            "context",
            "metrics",
            "ends_at",
            "x",
        ];
        let field = fields[random.usize(..fields.len())];
        match random.u8(..8) {
            0 => request["alerts"] = value,
            1 => request["batch_id"] = value,
            2 => request["metadata"] = value,
            3 => request["alerts"] = json!([value]),
            _ => spoil(&mut request["alerts"], field, value),
        }
    }
    request
}

fn spoil(alerts: &mut Value, field: &str, value: Value) {
    if let Some(alert) = alerts.get_mut(0).and_then(Value::as_object_mut) {
        alert.insert(field.to_owned(), value);
    }
}

fn odd(random: &mut Rng) -> Value {
    match random.u8(..15) {
        13 => json!({"filler": "x".repeat(random.usize(100_000..1_200_000))}),
        14 => (0..random.usize(40..110)).fold(json!(1), |below, _| json!({"d": below})),
        0 => Value::Null,
        1 => json!(true),
        2 => json!(-1),
        3 => json!(1.0e308),
        4 => json!(u64::MAX),
        5 => json!(""),
        6 => json!("\u{0}\u{1}\u{202e}\r\n"),
        7 => json!("x".repeat(70_000)),
        8 => json!([]),
        9 => json!({"": {"a": []}}),
        10 => json!("9999-99-99T99:99:99Z"),
        11 => json!("../../etc/passwd#1%00"),
        _ => json!({"name": 1, "type": []}),
    }
}
