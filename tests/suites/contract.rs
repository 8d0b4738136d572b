//! The HTTP contract: shapes, ids, times, and the one shape of every error.

use std::time::Duration;

use harness::alerts::{alert, identified, unique, with};
use harness::web::{Reply, client};
use harness::{Host, Plugin, Receiver, Settings, host};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A host without plugins.
async fn bare() -> Host {
    Settings::new().start().await
}

fn assert_refused(reply: &Reply, status: u16, code: &str) -> Value {
    assert_eq!(reply.status, status, "{reply:?}");
    let body = reply.json();
    assert_eq!(body["success"], false, "{body}");
    assert_eq!(body["code"], code, "{body}");
    assert_eq!(body["processed_count"], 0, "{body}");
    assert_eq!(body["workflow_ids"], json!([]), "{body}");
    assert_eq!(body["request_id"], reply.header("x-request-id"), "{body}");
    assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    assert_microseconds(&body["timestamp"]);
    body
}

/// `2023-12-01T14:30:22.123456Z`.
fn assert_microseconds(timestamp: &Value) {
    let text = timestamp.as_str().unwrap_or_default();
    let fraction = text.strip_suffix('Z').and_then(|text| text.rsplit_once('.')).map(|(_, digits)| digits);
    assert!(fraction.is_some_and(|digits| digits.len() == 6), "{timestamp} has no microseconds in UTC");
    text.parse::<jiff::Timestamp>().unwrap_or_else(|error| panic!("{timestamp}: {error}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_has_all_its_fields_in_their_shapes() {
    let host = bare().await;
    let answer = host.post("/webhook/alerts", &json!({"alerts": [alert("shape")]})).await.ok();
    assert_microseconds(&answer["timestamp"]);
    let fields: Vec<_> = answer.as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(
        fields,
        ["success", "message", "processed_count", "workflow_ids", "alerts", "errors", "timestamp"]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_leads_to_what_there_is() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let (host, worker) = (bare().await, settings.role("worker").start().await);
    let plain = host.get("/").await;
    assert!(plain.header("content-type").starts_with("text/plain"), "{plain:?}");
    let browser = client().get(host.at("/")).header("accept", "text/html,application/xhtml+xml,*/*;q=0.8");
    let page = host.request(browser).await;
    assert!(page.header("content-type").starts_with("text/html"), "{page:?}");
    for path in ["/docs", "/openapi.json", "/health", "/metrics"] {
        assert!(plain.text.contains(path), "{plain:?}");
        assert!(page.text.contains(&format!("href=\"{}\"", &path[1..])), "{page:?}");
        assert!(host.get(path).await.status < 400, "{path}");
    }
    let of_worker = worker.get("/").await;
    assert!(of_worker.text.contains("/health") && !of_worker.text.contains("/docs"), "{of_worker:?}");
}

/// Every time in a document, with its place.
fn times<'a>(at: &str, value: &'a Value, found: &mut Vec<(String, &'a Value)>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| times(&format!("{at}.{name}"), value, found))
        }
        Value::Array(items) => items.iter().for_each(|item| times(at, item, found)),
        Value::String(text) if text.parse::<jiff::Timestamp>().is_ok() => found.push((at.to_owned(), value)),
        _ => {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_time_has_microseconds() {
    let receiver = Receiver::start().await;
    let patch = r#"{"ends_at": "2023-12-01T15:00:00Z"}"#;
    let patch = Plugin::guest("echo").sidecar(&format!("[config]\npatch = '{patch}'\n"));
    let host = Settings::new().plugin(patch).plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let exact = with(identified("exact"), json!({"starts_at": "2023-12-01T14:30:22.123456789Z"}));
    let post = async || host.post("/webhook/alerts/sync", &json!({"alerts": [exact]})).await.ok();
    let first = post().await;
    assert_eq!(host::ids(&first), host::ids(&post().await), "a repeat is equal to what is held");
    let id = host::ids(&first).remove(0);
    let told = receiver.wait_for("/pager", 1).await[0].json();
    assert_eq!(told["alert"]["document"]["starts_at"], "2023-12-01T14:30:22.123456Z");
    assert_eq!(told["alert"]["document"]["ends_at"], "2023-12-01T15:00:00.000000Z");
    let acked = host.post(&format!("/alerts/{id}/ack"), &json!({"by": "alice"})).await.ok();
    let shown = host.get(&format!("/alerts/{id}")).await.ok();
    let listed = host.get("/alerts").await.ok();
    let (health, plugins) = (host.get("/health").await.ok(), host.get("/plugins").await.ok());
    let mut found = Vec::new();
    for document in [&first, &told, &acked, &shown, &listed, &health, &plugins] {
        times("", document, &mut found);
    }
    for place in ["received_at", "starts_at", "ends_at", ".at", "accepted_at", "since", "timestamp"] {
        assert!(found.iter().any(|(at, _)| at.ends_with(place)), "{place} is not among {found:?}");
    }
    found.iter().for_each(|(_, time)| assert_microseconds(time));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_alert_of_a_request_has_an_id_and_a_workflow_of_an_alert() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let post = async |body: Value, key: Option<&str>| {
        let request = client().post(host.at("/webhook/alerts")).json(&body);
        let keyed = key.iter().fold(request, |request, key| request.header("idempotency-key", *key));
        host::ids(&host.request(keyed).await.ok()).remove(0)
    };
    let (batch, key) = (unique("only-"), unique("only-"));
    let named = json!({"alerts": [alert("in a batch")], "batch_id": batch});
    let keyed = json!({"alerts": [alert("by a key")]});
    let dated = json!({"alerts": [identified("dated")], "batch_id": unique("dated-")});
    let undated =
        json!({"alerts": [with(alert("undated"), json!({"id": unique("u-")}))], "batch_id": unique("u-")});
    for (body, key) in [(named, None), (keyed, Some(key.as_str())), (dated, None), (undated, None)] {
        let id = post(body.clone(), key).await;
        let parts: Vec<&str> = id.rsplitn(3, '-').collect();
        assert_eq!((id.starts_with("alert-"), parts[0].len(), parts[1].len()), (true, 6, 8), "{id}");
        assert_eq!(post(body, key).await, id, "the same request again");
        let held = host.completed(&id).await;
        assert_eq!((&held["workflow_id"], &held["outcome"]), (&json!(id), &json!("delivered")), "{held}");
    }
    assert_eq!(receiver.received("/pager").len(), 4, "each was told once");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_value_in_errors_is_the_json_that_was_posted() {
    let host = bare().await;
    let wrong = [json!([]), json!(null), json!({"a": [1, null]}), json!(7), json!("")];
    let alerts: Vec<_> = wrong.iter().map(|value| with(alert("x"), json!({"severity": value}))).collect();
    let reply = host.post("/webhook/alerts", &json!({"alerts": alerts})).await;
    let body = assert_refused(&reply, 400, "invalid-request");
    let values: Vec<_> =
        body["errors"].as_array().expect("a list").iter().map(|fault| fault["value"].clone()).collect();
    assert_eq!(values, wrong, "{body}");
    assert_eq!(body["errors"][0]["message"], "[] is not one of low, medium, high, critical");
}

#[tokio::test(flavor = "multi_thread")]
async fn ids_are_made_of_identity_and_start_in_utc() {
    let host = bare().await;
    let (id, key) = (unique("id"), unique("key"));
    let at = |extra| with(with(alert("ids"), json!({"starts_at": "2023-12-01T15:30:22+01:00"})), extra);
    let ids = host
        .submit(&[
            at(json!({"id": id})),
            at(json!({"dedup_key": key})),
            at(json!({"id": id, "dedup_key": "other", "status": "resolved"})),
        ])
        .await;
    assert_eq!(
        ids,
        [
            format!("alert-{id}-20231201-143022"),
            format!("alert-{key}-20231201-143022"),
            format!("alert-{id}-20231201-143022-resolved"),
        ]
    );
    let generated = host.submit(&[alert("no identity")]).await.remove(0);
    let parts: Vec<_> = generated.rsplitn(3, '-').collect();
    assert_eq!((parts[0].len(), parts[1].len()), (6, 8), "{generated}");
    assert!(generated.starts_with("alert-"), "{generated}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_of_a_request_is_listed_with_its_path_value_and_what_is_allowed() {
    let host = bare().await;
    let bad = [
        alert("fine"),
        with(alert("wrong type"), json!({"type": "weather", "labels": {"n": 1}})),
        with(alert("urgent"), json!({"severity": "urgent", "starts_at": "yesterday"})),
        json!({"title": "bare"}),
    ];
    let reply = host.post("/webhook/alerts", &json!({"alerts": bad})).await;
    let body = assert_refused(&reply, 400, "invalid-request");
    let faults = body["errors"].as_array().expect("errors are a list");
    let fault = |path: &str| {
        let found = faults.iter().find(|fault| fault["path"] == path);
        found.unwrap_or_else(|| panic!("no fault at {path}: {body}"))
    };
    let severity = fault("alerts[2].severity");
    assert_eq!(severity["value"], "urgent");
    assert_eq!(severity["message"], "\"urgent\" is not one of low, medium, high, critical");
    for path in ["alerts[1].type", "alerts[1].labels.n", "alerts[2].starts_at"] {
        fault(path);
    }
    for field in ["description", "type", "severity", "source"] {
        assert!(
            fault(&format!("alerts[3].{field}"))["message"].as_str().is_some_and(|m| m.contains("required"))
        );
    }
    assert!(
        faults.iter().all(|fault| !fault["path"].as_str().unwrap_or_default().starts_with("alerts[0]")),
        "{body}"
    );
}

/// One bad value costs itself, a size no alert, and a typo is said.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_meant_plainly_is_taken_with_a_warning() {
    let host = bare().await;
    let large = with(alert("large"), json!({"severity": "PAGE", "data": {"text": "x".repeat(600 << 10)}}));
    let endless =
        with(alert("endless"), json!({"ends_at": "9999-12-31T23:59:59.9999999Z", "metrics": {"wei": 1}}));
    let body = json!({"alerts": [large, endless], "batchid": "b"}).to_string();
    let body = body.replace(r#""wei":1"#, r#""wei":19876543210987654321000"#);
    let post = client().post(host.at("/webhook/alerts/sync")).header("content-type", "application/json");
    let answer = host.request(post.body(body)).await.ok();
    let warnings = answer["warnings"].as_array().expect("warnings");
    let expected = [
        "alerts[1].metrics.wei: 19876543210987654321000 does not fit an integer of 64 bits",
        "batchid: is not a known key and was left out: did you mean `batch_id`?",
        "alerts[0].severity: \"PAGE\" was read as critical",
        "alerts[0].data.text: the text was cut from 614402 to ",
        "alerts[1].ends_at: \"9999-12-31T23:59:59.9999999Z\" is later than 9999-12-30T22:00:00Z",
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.as_str().is_some_and(|warning| warning.starts_with(expected)), "{warning}");
    }
    let alert = |index: usize| &answer["results"][index]["ledger"]["alert"];
    assert_eq!(
        (&alert(0)["severity"], &alert(1)["metrics"]["wei"]),
        (&json!("critical"), &json!("19876543210987654321000"))
    );
    assert_eq!(answer["results"][0]["ledger"]["warnings"], answer["warnings"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_with_one_bad_alert_starts_nothing() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let good = identified("good");
    let bad = with(alert("bad"), json!({"severity": "urgent"}));
    let reply = host.post("/webhook/alerts", &json!({"alerts": [good, bad]})).await;
    assert_refused(&reply, 400, "invalid-request");
    let id = format!("alert-{}-20231201-143022", good["id"].as_str().expect("identified"));
    assert_eq!(host.get(&format!("/alerts/{id}")).await.status, 404);
    host.submit_sync(&[alert("the only one")]).await;
    let titles: Vec<_> =
        receiver.received("/pager").iter().map(|r| r.json()["alert"]["title"].clone()).collect();
    assert_eq!(titles, ["the only one"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_hold_no_alerts_are_refused() {
    let host = bare().await;
    for body in
        [json!({"alerts": []}), json!({}), json!([]), json!({"alerts": {}}), json!(null), json!("alert")]
    {
        let reply = host.post("/webhook/alerts", &body).await;
        let refused = assert_refused(&reply, 400, "invalid-request");
        assert!(refused["errors"].as_array().is_some_and(|errors| !errors.is_empty()), "{body}: {refused}");
    }
    let thousand_and_one = vec![alert("many"); 1001];
    let reply = host.post("/webhook/alerts", &json!({"alerts": thousand_and_one})).await;
    assert_refused(&reply, 400, "invalid-request");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_refusal_has_the_same_shape() {
    let host = Settings::new().and_config("\n[webhook]\nbody-limit = 4096\n").start().await;
    assert_refused(&host.get("/no/such/page").await, 404, "not-found");
    assert_refused(&host.get("/webhook/alerts").await, 405, "method-not-allowed");
    assert_refused(&host.get("/alerts/alert-nobody-20231201-143022").await, 404, "not-found");
    let post = || client().post(host.at("/webhook/alerts"));
    let text = post().header("content-type", "text/plain").body(json!({"alerts": [alert("t")]}).to_string());
    assert_refused(&host.request(text).await, 415, "unsupported-media-type");
    let broken = post().header("content-type", "application/json").body("{\"alerts\": [");
    assert_refused(&host.request(broken).await, 400, "invalid-request");
    let large = with(alert("large"), json!({"data": {"filler": "x".repeat(5000)}}));
    assert_refused(&host.post("/webhook/alerts", &json!({"alerts": [large]})).await, 413, "body-too-large");
    assert_refused(
        &host.post("/webhook/alerts/sync?timeout=soon", &json!({"alerts": [alert("t")]})).await,
        400,
        "invalid-request",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_the_id_that_its_sender_gave_it() {
    let host = bare().await;
    let given =
        host.request(client().get(host.at("/no/such/page")).header("x-request-id", "from-the-sender")).await;
    assert_eq!(given.header("x-request-id"), "from-the-sender");
    assert_eq!(given.json()["request_id"], "from-the-sender");
    let (one, other) = (host.get("/health").await, host.get("/health").await);
    assert!(!one.header("x-request-id").is_empty());
    assert_ne!(one.header("x-request-id"), other.header("x-request-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_want_to_wait_any_longer_gets_the_ids_to_ask_again() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", harness::Answer::status(503));
    let retry = "[retry]\ninitial-interval = \"1s\"\nmaximum-interval = \"1s\"\nmaximum-attempts = 0\n";
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "").and(retry)).start().await;
    let answer =
        host.post("/webhook/alerts/sync?timeout=500ms", &json!({"alerts": [alert("slow")]})).await.ok();
    assert_eq!(answer["success"], true);
    assert_eq!(answer["results"][0]["completed"], false, "{answer}");
    assert!(answer["results"][0].get("ledger").is_none(), "{answer}");
    let id = &host::ids(&answer)[0];
    let state = host.get(&format!("/alerts/{id}")).await.ok();
    assert_eq!(state["state"], "running", "{state}");
    assert_eq!(state["alert"]["title"], "slow", "{state}");
    receiver.wait_for("/pager", 2).await;
    receiver.always("/pager", harness::Answer::status(200));
    let state = host.completed(id).await;
    assert_eq!(state["state"], "completed", "{state}");
    assert_eq!(state["outcome"], "delivered", "{state}");
    assert_eq!(state["ledger"]["alert"]["title"], "slow", "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_fields_and_metadata_reach_the_plugins_and_the_ledger() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let extra =
        json!({"x_vendor": {"deep": [1, 2.5, null]}, "context": {"environment": "test", "region": "eu"}});
    let request =
        json!({"alerts": [with(alert("extra"), extra.clone())], "metadata": {"sent_by": "probe-7"}});
    let answer = host.post("/webhook/alerts/sync", &request).await.ok();
    let seen = receiver.wait_for("/pager", 1).await[0].json();
    let ledger = &answer["results"][0]["ledger"];
    for (field, value) in extra.as_object().expect("an object") {
        assert_eq!(&seen["alert"]["document"][field], value);
        assert_eq!(&ledger["alert"][field], value);
    }
    assert_eq!(seen["alert"]["metadata"], request["metadata"]);
    assert_eq!(ledger["metadata"], request["metadata"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_that_pauses_within_a_body_is_not_waited_for() {
    let host = bare().await;
    let address = host.url().strip_prefix("http://").expect("plain HTTP");
    let mut connection = TcpStream::connect(address).await.expect("it listens");
    let head = "POST /webhook/alerts HTTP/1.1\r\nhost: campanile\r\ncontent-type: application/json\r\ncontent-length: 99\r\n\r\n";
    connection.write_all(format!("{head}{{\"alerts\":[").as_bytes()).await.expect("it reads");
    let mut answer = vec![0; 4096];
    let read =
        timeout(Duration::from_secs(40), connection.read(&mut answer)).await.expect("an answer in time");
    let answer = String::from_utf8_lossy(&answer[..read.expect("an answer")]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    assert!(answer.contains(r#""code":"body-timeout""#), "{answer}");
}
