//! Sources: every shipped one takes its vendor's own documented requests, and what it says of them reaches the ledger.

use std::fs;
use std::path::{Path, PathBuf};

use harness::cli::campanile;
use harness::host::ids;
use harness::senders::new_key;
use harness::wait::until;
use harness::web::{Reply, client};
use harness::{Answer, Host, Plugin, Receiver, Server, Settings, Temporal, artifacts, project};
use serde_json::{Value, json};

/// The shipped sources and where their clients post.
const SOURCES: [(&str, &str); 13] = [
    ("alertmanager", ""),
    ("azure-monitor", ""),
    ("cloudwatch-sns", ""),
    ("datadog", ""),
    ("gcp-monitoring", ""),
    ("github", ""),
    ("grafana", ""),
    ("opsgenie-api", "/v2/alerts"),
    ("pagerduty-events", "/v2/enqueue"),
    ("prometheus", "/api/v2/alerts"),
    ("sentry", ""),
    ("uptime-kuma", ""),
    ("zabbix", ""),
];
/// Those that answer in their vendor's way, which has no count of alerts.
const VENDORS_ANSWER: [&str; 2] = ["opsgenie-api", "pagerduty-events"];
/// What a request is answered with that cannot be read, or not be taken by its vendor.
const INVALID: [u16; 2] = [400, 422];

/// What Alertmanager posts.
fn group(entries: &[Value]) -> Value {
    json!({"version": "4", "status": "firing", "receiver": "campanile", "externalURL": "http://am:9093", "alerts": entries})
}

fn entry(name: &str, status: &str) -> Value {
    json!({
        "status": status, "labels": {"alertname": name, "severity": "critical"},
        "annotations": {"summary": format!("{name} happens")}, "startsAt": "2026-01-22T11:47:17.11Z",
    })
}

async fn host(sources: &[&str]) -> Host {
    let settings = Settings::new().plugin(Plugin::shipped("log"));
    sources.iter().fold(settings, |settings, name| settings.plugin(Plugin::shipped(name))).start().await
}

/// The vendor's documented requests: `plugins/<name>/payloads/*.json`.
fn payloads(source: &str) -> Vec<PathBuf> {
    let directory = project::root().join("plugins").join(source).join("payloads");
    let mut files: Vec<PathBuf> = fs::read_dir(directory)
        .expect("every source has payloads")
        .map(|entry| entry.expect("it is readable").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .collect();
    files.sort();
    files
}

/// Where a request goes below its source: where the file `.path` beside it says, else where all of its source go.
fn below(file: &Path, usual: &str) -> String {
    let own = fs::read_to_string(file.with_extension("path"));
    own.map_or_else(|_| usual.to_owned(), |path| path.trim().to_owned())
}

/// Posts as its sender does, who posts again after a 503.
async fn post(host: &Host, path: &str, file: &PathBuf) -> Reply {
    until("an answer that is final", async || {
        let reply = post_once(host, path, file).await;
        (reply.status != 503).then_some(reply)
    })
    .await
}

async fn post_once(host: &Host, path: &str, file: &PathBuf) -> Reply {
    let mut request = client().post(host.at(path)).body(fs::read(file).expect("a payload"));
    let headers = fs::read_to_string(file.with_extension("headers")).unwrap_or_default();
    for (name, value) in headers.lines().filter_map(|line| line.split_once(':')) {
        request = request.header(name.trim(), value.trim());
    }
    host.request(request).await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_request_of_every_vendor_is_taken() {
    let host = host(&SOURCES.map(|(name, _)| name)).await;
    for (source, usual) in SOURCES {
        let files = payloads(source);
        assert!(files.len() >= 5, "{source} has {} payloads", files.len());
        let mut alerts = 0;
        for file in files {
            let path = format!("/webhook/{source}{}", below(&file, usual));
            let reply = post(&host, &path, &file).await;
            let is_invalid =
                file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("invalid-"));
            let is_expected =
                if is_invalid { INVALID.contains(&reply.status) } else { (200..203).contains(&reply.status) };
            assert!(is_expected, "{}: {reply:?}", file.display());
            if !VENDORS_ANSWER.contains(&source) {
                alerts += reply.json()["processed_count"].as_u64().expect("a count");
            }
        }
        assert!(alerts >= 3 || VENDORS_ANSWER.contains(&source), "{source} gave {alerts} alerts");
    }
}

/// Three alerts of a group, of which one has a cut emoji in its summary and one no end that a clock has.
#[tokio::test(flavor = "multi_thread")]
async fn one_bad_value_of_a_group_costs_itself() {
    let host = host(&["alertmanager"]).await;
    let mut odd = entry("Odd", "firing");
    odd["annotations"]["summary"] = json!("great product half");
    odd["annotations"]["wei"] = json!(1);
    let mut endless = entry("Endless", "firing");
    endless["endsAt"] = json!("9999-12-31T23:59:59Z");
    let body = group(&[entry("Good", "firing"), odd, endless]).to_string();
    let body = body.replace("half", r"\ud83d").replace(r#""wei":1"#, r#""wei":19876543210987654321000"#);
    let request = client().post(host.at("/webhook/alertmanager")).body(body);
    let answer = host.request(request).await.ok();
    assert_eq!(answer["processed_count"], 3, "{answer}");
    let mut warnings: Vec<_> =
        answer["warnings"].as_array().expect("warnings").iter().map(Value::to_string).collect();
    warnings.sort();
    let expected = [
        "\"alerts[1].annotations.summary: half a character",
        "\"alerts[1].annotations.wei: 19876543210987654321000 does not fit",
        "\"alerts[2].endsAt: \\\"9999-12-31T23:59:59Z\\\" is read as 9999-12-30T22:00:00Z",
    ];
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    for (warning, expected) in warnings.iter().zip(expected) {
        assert!(warning.starts_with(expected), "{warning}");
    }
    let path = format!("/alerts/{}", ids(&answer)[1]);
    let ledger =
        until("the alert is done", async || host.get(&path).await.json().get("ledger").cloned()).await;
    assert_eq!(ledger["alert"]["title"], "great product \u{fffd}");
    assert_eq!(ledger["alert"]["data"]["annotations"]["wei"], "19876543210987654321000");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_source_finds_odd_is_in_the_answer_and_in_the_ledger() {
    let host = host(&["alertmanager"]).await;
    let mut odd = entry("Odd", "firing");
    odd["labels"]["severity"] = json!("bogus");
    let answer =
        host.post("/webhook/alertmanager", &group(&[odd, json!(7), entry("Good", "firing")])).await.ok();
    let warnings = json!([
        "alerts[0].labels.severity: \"bogus\" is no known severity: medium was taken",
        "alerts[1]: 7 is no alert: left out",
    ]);
    assert_eq!((&answer["processed_count"], &answer["warnings"]), (&json!(2), &warnings));
    let path = format!("/alerts/{}", ids(&answer)[0]);
    let ledger = until("the alert is done", async || {
        let reply = host.get(&path).await;
        reply.json().get("ledger").cloned()
    })
    .await;
    assert_eq!((&ledger["via"], &ledger["warnings"]), (&json!("alertmanager"), &warnings));
    assert_eq!((&ledger["alert"]["severity"], &ledger["outcome"]), (&json!("medium"), &json!("delivered")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_is_one_run_and_a_resolve_reaches_what_it_resolves() {
    let host = host(&["alertmanager"]).await;
    let name = harness::alerts::unique("Disk");
    let first = ids(&host.post("/webhook/alertmanager", &group(&[entry(&name, "firing")])).await.ok());
    host.completed(&first[0]).await;
    let again = ids(&host.post("/webhook/alertmanager", &group(&[entry(&name, "firing")])).await.ok());
    assert_eq!(first, again);
    let both = group(&[entry(&name, "firing"), entry(&harness::alerts::unique("Other"), "firing")]);
    host.post("/webhook/alertmanager", &both).await.ok();
    until("alone and in company, it is counted", async || {
        let metrics = host.get("/metrics").await.text;
        let counted =
            metrics.lines().find_map(|line| line.strip_prefix("campanile_workflows_repeated_total "))?;
        // A workflow task that Temporal has run again counts again.
        (counted.parse::<u64>().ok()? >= 2).then_some(())
    })
    .await;
    let resolved = ids(&host.post("/webhook/alertmanager", &group(&[entry(&name, "resolved")])).await.ok());
    assert_eq!(resolved, [format!("{}-resolved", first[0])]);
    let found = host.completed(&resolved[0]).await;
    assert_eq!(found["alert"]["status"], "resolved", "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_answers_in_its_vendors_way_gets_that_answer() {
    let host = host(&["pagerduty-events"]).await;
    let key = harness::alerts::unique("pd-");
    let event = json!({
        "routing_key": "0123456789abcdef0123456789abcdef", "event_action": "trigger", "dedup_key": key,
        "payload": {"summary": "Disk is full", "source": "web-1", "severity": "critical"},
    });
    let reply = host.post("/webhook/pagerduty-events/v2/enqueue", &event).await;
    assert_eq!((reply.status, reply.header("content-type")), (202, "application/json"));
    assert_eq!(
        reply.header("content-security-policy"),
        "sandbox; default-src 'none'",
        "it is no page of this host"
    );
    assert_eq!(reply.json(), json!({"status": "success", "message": "Event processed", "dedup_key": key}));
    let bad = host.post("/webhook/pagerduty-events/v2/enqueue", &json!({"event_action": "explode"})).await;
    assert_eq!((bad.status, &bad.json()["status"]), (400, &json!("invalid event")), "{bad:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_of_an_opsgenie_client_is_closed_by_its_alias() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(200));
    let recorder = Plugin::recorder("pager", &receiver, "");
    let host = Settings::new().plugin(recorder).plugin(Plugin::shipped("opsgenie-api")).start().await;
    let alias = harness::alerts::unique("disk/web-1 ");
    let alert = json!({"message": "Disk is full", "alias": alias, "priority": "P1"});
    let created = host.post("/webhook/opsgenie-api/v2/alerts", &alert).await;
    assert_eq!((created.status, created.header("content-type")), (202, "application/json"));
    let answer = created.json();
    assert_eq!(answer["result"], "Request will be processed", "{answer}");
    assert_eq!(
        (answer["requestId"].as_str().map(str::len), answer["took"].is_f64()),
        (Some(36), true),
        "{answer}"
    );
    receiver.wait_for("/pager", 1).await;
    let path = alias.replace('/', "%2F").replace(' ', "%20");
    let path = format!("/webhook/opsgenie-api/v2/alerts/{path}/close?identifierType=alias");
    let closed = host.post(&path, &json!({"note": "cleaned up"})).await;
    assert_eq!(closed.status, 202, "{closed:?}");
    let told: Vec<Value> =
        receiver.wait_for("/pager", 2).await.iter().map(|request| request.json()).collect();
    assert_eq!(
        (&told[0]["alert"]["status"], &told[1]["alert"]["status"]),
        (&json!("firing"), &json!("resolved"))
    );
    assert_eq!(told[0]["alert"]["document"]["dedup_key"], alias);
    assert_eq!(told[1]["thread_id"], told[0]["thread_id"], "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_is_not_there_is_told_from_one_that_is_broken() {
    let host = host(&[]).await;
    let unknown = host.post("/webhook/acme", &json!({})).await;
    assert_eq!((unknown.status, &unknown.json()["code"]), (404, &json!("unknown-source")), "{unknown:?}");
    let alerts = host.post("/webhook/alerts/api", &json!({})).await;
    assert_eq!((alerts.status, &alerts.json()["code"]), (404, &json!("not-found")), "{alerts:?}");

    host.drop_plugin(&Plugin::new("acme", artifacts::truncated(artifacts::shipped("grafana"))));
    host.refused("acme.wasm").await;
    let broken = host.post("/webhook/acme", &json!({})).await;
    assert_eq!((broken.status, &broken.json()["code"]), (503, &json!("source-unavailable")), "{broken:?}");
    assert!(broken.json()["message"].as_str().unwrap_or_default().contains("was refused"), "{broken:?}");
    assert_eq!(broken.header("retry-after"), "5");

    // A team adds a format by dropping a file.
    host.drop_plugin(&Plugin::new("acme", artifacts::shipped("alertmanager")));
    host.loaded("acme", |_| true).await;
    host.post("/webhook/acme", &group(&[entry("Acme", "firing")])).await.ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_refused_with_the_reason() {
    let host = host(&["alertmanager"]).await;
    for (body, part) in [("{", "the body is not JSON"), ("{}", "no list `alerts`"), ("\u{0}", "not JSON")] {
        let reply = host.request(client().post(host.at("/webhook/alertmanager")).body(body)).await;
        assert_eq!((reply.status, &reply.json()["code"]), (400, &json!("undecodable")), "{reply:?}");
        assert!(reply.text.contains(part), "{reply:?}");
    }
    let empty = host.post("/webhook/alertmanager", &group(&[])).await.ok();
    assert_eq!((&empty["success"], &empty["processed_count"]), (&json!(true), &json!(0)));
}

/// As `EventsAPIV2Error` of go-pagerduty and Alertmanager read it: a list of anything but texts is no error of PagerDuty's to them.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_host_refuses_to_clients_of_pagerduty_has_its_shape() {
    let (key, lines) = new_key("pd", &["--sources", "pagerduty-events", "--in-url"]);
    let settings = Settings::new().and_config(&lines).plugin(Plugin::shipped("pagerduty-events"));
    let host = settings.plugin(Plugin::shipped("grafana")).start().await;
    let post = async |source: &str, key: &str, packed: bool| {
        let request = client().post(host.at(&format!("/webhook/{source}/{key}/v2/enqueue"))).body("no gzip");
        host.request(if packed { request.header("content-encoding", "gzip") } else { request }).await
    };
    let unknown = new_key("other", &["--sources", "*"]).0;
    for (reply, status) in [
        (post("pagerduty-events", &unknown, false).await, 401),
        (post("pagerduty-events", &key, true).await, 400),
        (post("pagerduty-events", &key, false).await, 400),
    ] {
        let body = reply.json();
        assert_eq!((reply.status, &body["status"]), (status, &json!("invalid event")), "{reply:?}");
        assert!(body["message"].as_str().is_some_and(|message| !message.is_empty()), "{reply:?}");
        assert!(body["errors"].as_array().expect("a list").iter().all(Value::is_string), "{reply:?}");
    }
    let packed = post("pagerduty-events", &key, true).await.json();
    assert!(packed["errors"][0].as_str().is_some_and(|error| error.contains("not gzip")), "{packed}");
    let ours = post("grafana", &unknown, false).await.json();
    assert_eq!((&ours["status"], &ours["code"]), (&Value::Null, &json!("unauthenticated")), "{ours}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_takes_alerts_until_temporal_has_been_away_for_seconds() {
    let temporal = Temporal::start().await;
    let settings = Settings::new().server(Server::At(temporal.address()));
    let host = settings.plugin(Plugin::shipped("grafana")).start().await;
    drop(temporal);
    let reply = host.post("/webhook/grafana", &group(&[entry("Kept", "firing")])).await.ok();
    assert_eq!(reply["alerts"][0]["disposition"], "new", "{reply}");
    let id = reply["alerts"][0]["workflow_id"].as_str().expect("an id").to_owned();
    let reply = until("it takes no more", async || {
        let reply = host.post("/webhook/grafana", &group(&[entry("Gone", "firing")])).await;
        (reply.status != 200).then_some(reply)
    })
    .await;
    assert_eq!((reply.status, &reply.json()["code"]), (503, &json!("temporal-unavailable")), "{reply:?}");
    assert!(!reply.header("retry-after").is_empty());
    let kept = host.get(&format!("/alerts/{id}")).await.ok();
    assert_eq!(kept["state"], "waiting", "{kept}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_gets_no_network_and_a_webhook_loads_sources_alone() {
    let settings = Settings::new().role("webhook");
    let grafana = Plugin::shipped("grafana").sidecar("[grants]\nhttp = [\"GET https://example.com/\"]\n");
    let host = settings.plugin(grafana).plugin(Plugin::shipped("log")).start().await;
    let refused = host.refused("grafana.toml").await;
    assert!(refused["reason"].as_str().unwrap_or_default().contains("a source reaches nothing"), "{refused}");
    host.drop_plugin(&Plugin::shipped("alertmanager"));
    host.loaded("alertmanager", |_| true).await;
    let loaded = host.plugins().await["loaded"].clone();
    assert_eq!(loaded.as_array().map(Vec::len), Some(1), "{loaded}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rule_of_identity_of_a_source_can_be_asked_for() {
    let settings =
        Settings::new().plugin(Plugin::shipped("alertmanager")).plugin(Plugin::shipped("pagerduty-events"));
    let plugins = settings.plugins().display().to_string();
    let explain = async |source: &str, payload: &str| {
        let file = project::root().join("plugins").join(payload).display().to_string();
        campanile(&[
            "explain-alert",
            &file,
            "--source",
            source,
            "--plugins",
            &plugins,
            "--path",
            "/v2/enqueue",
        ])
        .await
    };
    let odd = explain("alertmanager", "alertmanager/payloads/odd.json").await;
    for part in [
        "warning: alerts[1]: 7 is no alert: left out",
        "\nalert 1 of ",
        "\n  labels:\n    ",
        "is known by dedup_key \"8a07086b74f3ba78\" of alertmanager, and becomes\n    new: if nothing is open\n",
        "\n    duplicate: if it is open and began at ",
    ] {
        assert!(odd.stdout.contains(part), "{part}: {odd:?}");
    }
    let trigger = explain("pagerduty-events", "pagerduty-events/payloads/trigger.json").await;
    assert!(
        trigger.stdout.contains("duplicate: if it is open and was notified within the last 10m"),
        "{trigger:?}"
    );
    let resolve = explain("pagerduty-events", "pagerduty-events/payloads/resolve.json").await;
    assert!(resolve.stdout.contains("resolves: if it is open\n"), "{resolve:?}");
    let refused = explain("pagerduty-events", "pagerduty-events/payloads/invalid-action.json").await;
    let said = refused.stderr.contains("pagerduty-events refuses it: 400 Bad Request: ");
    assert!(refused.code == Some(1) && said && !refused.stdout.contains("alerts:"), "{refused:?}");
    let unknown = explain("acme", "alertmanager/payloads/odd.json").await;
    assert!(unknown.stderr.contains("drop acme.wasm into"), "{unknown:?}");
}
