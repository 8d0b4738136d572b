//! Seen from outside: health, logs, metrics, and an API description that is true.

use std::collections::{BTreeMap, BTreeSet};

use harness::alerts::{alert, identified, labelled, unique};
use harness::{Plugin, Receiver, Settings, artifacts, project, until};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn health_tells_of_temporal_the_worker_and_the_plugins() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    settings.place("core.wasm", &artifacts::core_module());
    let host = settings.start().await;
    let health = host.get("/health").await.ok();
    assert_eq!(health["status"], "ok");
    assert_eq!(health["version"], env!("CARGO_PKG_VERSION"));
    assert!(health["uptime_seconds"].is_u64(), "{health}");
    assert_eq!(health["temporal"]["reachable"], true);
    assert_eq!(health["temporal"]["worker_polling"], true);
    let queue = health["temporal"]["task_queue"].as_str().unwrap_or_default();
    assert!(queue.starts_with("queue-"), "{health}");
    assert_eq!(health["plugins"]["loaded"], json!(["pager"]));
    assert_eq!(health["plugins"]["refused"], json!(["core.wasm"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugins_own_output_is_logged_with_its_name_and_the_alerts_id() {
    let host = Settings::new().plugin(Plugin::guest("echo")).start().await;
    let title = unique("hear me ");
    let results = host.submit_sync(&[identified(&title)]).await;
    let id = results[0]["workflow_id"].as_str().expect("an id");
    for words in ["echo heard", "echo printed"] {
        let line = format!("{words} {title}");
        let event = host.log().wait_for(&line, |event| event.to_string().contains(&line)).await;
        let text = event.to_string();
        assert_eq!(event["target"], "plugin", "{text}");
        assert!(text.contains("\"echo\"") && text.contains(id), "plugin and alert are named: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_about_an_alert_carry_its_id() {
    let receiver = Receiver::start().await;
    receiver.fail("/pager", 1, 503);
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let results = host.submit_sync(&[identified("follow me")]).await;
    let id = results[0]["workflow_id"].as_str().expect("an id");
    let about = |words: &str| {
        let like = |event: &Value| event.to_string().contains(words) && event.to_string().contains(id);
        assert!(host.log().has(like), "no line about {words} carries {id}:\n{}", host.log().tail());
    };
    about("http-503");
    about("\"message\":\"done\"");
}

/// Metric samples by name and labels, as written.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .filter_map(|line| line.rsplit_once(' '))
        .filter_map(|(key, value)| Some((key, value.parse().ok()?)))
        .collect()
}

fn sum(samples: &BTreeMap<&str, f64>, name: &str, label: &str) -> f64 {
    let wanted = |key: &str| key.split('{').next() == Some(name) && key.contains(label);
    samples.iter().filter(|(key, _)| wanted(key)).map(|(_, value)| value).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_what_happened() {
    let receiver = Receiver::start().await;
    receiver.fail("/pager", 1, 503);
    let settings =
        Settings::new().plugin(Plugin::guest("misbehave")).plugin(Plugin::recorder("pager", &receiver, ""));
    settings.place("core.wasm", &artifacts::core_module());
    let host = settings.start().await;
    host.submit_sync(&[alert("one")]).await;
    host.submit_sync(&[labelled(alert("two"), "do", "trap"), alert("three")]).await;
    host.post("/webhook/alerts", &json!({"alerts": []})).await;
    let text = host.get("/metrics").await.text;
    let samples = samples(&text);
    let expected = [
        ("campanile_alerts_received_total", "", 3.0),
        ("campanile_alerts_accepted_total", "", 3.0),
        ("campanile_requests_refused_total", "invalid-request", 1.0),
        ("campanile_activity_duration_seconds_count", "process_alert", 3.0),
        ("campanile_activity_duration_seconds_count", "send_notification", 4.0),
        ("campanile_plugin_call_duration_seconds_count", "plugin=\"pager\"", 4.0),
        ("campanile_plugin_failures_total", "reason=\"trap\"", 1.0),
        ("campanile_plugin_failures_total", "plugin=\"pager\"", 1.0),
        ("campanile_plugins_loaded", "notifier", 1.0),
        ("campanile_plugins_refused", "", 1.0),
        ("campanile_delivery_latency_seconds_count", "pager", 3.0),
    ];
    for (name, label, value) in expected {
        assert_eq!(sum(&samples, name, label), value, "{name} {label}\n{text}");
    }
    assert!(samples.keys().any(|key| key.starts_with("temporal_")), "the SDK's own metrics are missing");
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_keep_prometheus_conventions() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    host.submit_sync(&[alert("seen")]).await;
    host.post("/webhook/alerts", &json!({"alerts": []})).await;
    let reply = host.get("/metrics").await;
    assert!(reply.header("content-type").starts_with("text/plain"), "{}", reply.header("content-type"));
    let kinds = comments(&reply.text, "TYPE");
    let helps = comments(&reply.text, "HELP");
    for (name, kind) in kinds.iter().filter(|(name, _)| name.starts_with("campanile_")) {
        assert!(helps.get(name).is_some_and(|help| help.len() > 10), "{name} has no help text");
        let well_named = match *kind {
            "counter" => name.ends_with("_total"),
            "histogram" => name.ends_with("_seconds") || name.ends_with("_bytes"),
            _ => !name.ends_with("_total"),
        };
        assert!(well_named, "{name} is no name for a {kind}");
    }
    let families = reply.text.lines().filter(|line| line.starts_with("# TYPE ")).count();
    assert_eq!(families, kinds.len(), "each family is described once");
}

/// The names of metrics in a text: of the host, of its process and of the SDK.
pub(crate) fn metric_names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let is_name =
        |word: &&str| ["campanile_", "process_", "temporal_"].iter().any(|prefix| word.starts_with(prefix));
    words.filter(is_name).map(str::to_owned).collect()
}

/// The names in the tables of `docs/metrics.md`.
pub(crate) fn documented() -> BTreeSet<String> {
    let text = project::text("docs/metrics.md");
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
    rows.flat_map(metric_names).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_metric_that_is_exposed_is_documented() {
    let receiver = Receiver::start().await;
    receiver.always("/gone", harness::Answer::status(410));
    let settings = Settings::new().plugin(Plugin::guest("misbehave")).plugin(Plugin::shipped("grafana"));
    let settings = settings.and_config("\n[sources.grafana]\nspool = true\n");
    let settings = settings.plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.plugin(Plugin::recorder("gone", &receiver, "")).start().await;
    host.submit_sync(&[labelled(alert("two"), "do", "trap"), identified("three")]).await;
    let documented = documented();
    let page = until("dead letters are counted", async || {
        let page = host.get("/metrics").await.text;
        page.contains("\ncampanile_deliveries_parked_total{").then_some(page)
    })
    .await;
    let exposed: BTreeSet<_> = comments(&page, "TYPE").into_keys().collect();
    let missing: Vec<_> = exposed.iter().filter(|name| !documented.contains(**name)).collect();
    assert!(missing.is_empty(), "docs/metrics.md lacks {missing:#?}");
    // That nothing is in the document that a host does not have, a test of the host's own checks.
    let process = exposed.iter().filter(|name| name.starts_with("process_")).count();
    assert!(process >= 6, "{exposed:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_timed_by_their_route_and_status() {
    let (id, path) = (unique("secret-"), "campanile_http_request_duration_seconds_count");
    let host = Settings::new().start().await;
    host.submit(&[alert("timed")]).await;
    host.post("/webhook/alerts", &json!({"alerts": []})).await;
    host.get(&format!("/alerts/{id}")).await;
    host.get(&format!("/{id}")).await;
    host.get("/docs/").await;
    let page = host.get("/metrics").await.text;
    let samples = samples(&page);
    for (labels, least) in [
        ("method=\"POST\",route=\"/webhook/alerts\",status=\"200\"", 1.0),
        ("method=\"POST\",route=\"/webhook/alerts\",status=\"400\"", 1.0),
        ("method=\"GET\",route=\"/alerts/{*workflow_id}\",status=\"404\"", 1.0),
        ("method=\"GET\",route=\"none\",status=\"404\"", 1.0),
        ("method=\"GET\",route=\"/readyz\",status=\"200\"", 1.0),
    ] {
        let key = format!("{path}{{{labels}}}");
        assert!(samples.get(key.as_str()).is_some_and(|count| *count >= least), "{key}\n{page}");
    }
    assert!(!page.contains(&id), "what is in a path became a label:\n{page}");
}

#[tokio::test(flavor = "multi_thread")]
async fn series_of_single_plugins_can_be_left_out() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let series = |page: &str| page.contains("plugin=\"pager\"") || page.contains("receiver=\"pager\"");
    let calls = "campanile_plugin_call_duration_seconds";
    assert!(!host.get("/metrics").await.text.contains(calls), "a plugin that was not called has no series");
    host.submit_sync(&[alert("seen")]).await;
    let (all, few) = (host.get("/metrics").await.text, host.get("/metrics?plugins=false").await.text);
    assert!(series(&all) && all.contains(calls), "{all}");
    assert!(!series(&few) && few.contains("\ncampanile_alerts_accepted_total 1"), "{few}");
    assert_eq!(host.get("/metrics?plugins=perhaps").await.status, 400);
}

fn comments<'a>(text: &'a str, kind: &str) -> BTreeMap<&'a str, &'a str> {
    let start = format!("# {kind} ");
    text.lines().filter_map(|line| line.strip_prefix(&start)?.split_once(' ')).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_comes_from_the_host_alone() {
    let host = Settings::new().start().await;
    let mut page = host.get("/docs").await;
    if (300..400).contains(&page.status) {
        page = host.get(page.header("location")).await;
    }
    assert_eq!(page.status, 200);
    assert!(page.header("content-type").starts_with("text/html"));
    assert!(!page.text.contains("src=\"http") && !page.text.contains("href=\"http"), "{}", page.text);
    let names = [
        "AlertPayload",
        "AlertSeverity",
        "AlertType",
        "AlertSource",
        "AlertContext",
        "WebhookRequest",
        "WebhookResponse",
    ];
    let api = host.get("/openapi.json").await.ok();
    for name in names {
        assert!(api["components"]["schemas"][name].is_object(), "no schema {name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_as_the_api_description_says() {
    let receiver = Receiver::start().await;
    receiver.always("/gone", harness::Answer::status(410));
    let settings =
        Settings::new().plugin(Plugin::guest("echo")).plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.plugin(Plugin::recorder("gone", &receiver, "")).start().await;
    let api = host.get("/openapi.json").await.ok();
    let request = json!({"alerts": [identified("true"), alert("to the code")], "batch_id": unique("api-")});
    let answer = host.post("/webhook/alerts/sync", &request).await;
    let id = answer.json()["results"][0]["workflow_id"].as_str().expect("an id").to_owned();
    let replies = [
        ("post", "/webhook/alerts", host.post("/webhook/alerts", &request).await),
        ("post", "/webhook/alerts", host.post("/webhook/alerts", &json!({"alerts": [{}]})).await),
        ("post", "/webhook/alerts/sync", answer),
        ("get", "/alerts/{workflow_id}", host.get(&format!("/alerts/{id}")).await),
        ("get", "/alerts/{workflow_id}", host.get("/alerts/alert-nobody").await),
        ("get", "/health", host.get("/health").await),
        ("get", "/plugins", host.get("/plugins").await),
    ];
    for (method, path, reply) in replies {
        let described = &api["paths"][path][method]["responses"][reply.status.to_string()];
        let mut schema = described["content"]["application/json"]["schema"].clone();
        assert!(schema.is_object(), "{method} {path} does not describe a {}: {described}", reply.status);
        schema["components"] = api["components"].clone();
        let validator = jsonschema::validator_for(&schema).expect("a schema of the API is a schema");
        let faults: Vec<_> = validator
            .iter_errors(&reply.json())
            .map(|fault| format!("{}: {fault}", fault.instance_path()))
            .collect();
        assert!(faults.is_empty(), "{method} {path}: {faults:#?}\n{}", reply.text);
    }
    let request_schema =
        json!({"$ref": "#/components/schemas/WebhookRequest", "components": api["components"]});
    assert!(jsonschema::is_valid(&request_schema, &request), "the example request is not as described");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_log_says_who_is_loaded_and_replaced() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let digest = host.loaded("pager", |_| true).await["digest"].as_str().expect("a digest").to_owned();
    assert!(host.log().has(|event| event["level"] == "INFO" && event.to_string().contains(&digest)));
    let mut next = Plugin::recorder("pager", &receiver, "");
    next.component = artifacts::version(next.component, 2);
    host.drop_plugin(&next);
    let digest = host.loaded("pager", |entry| entry["generation"] == 2).await["digest"].clone();
    let digest = digest.as_str().expect("a digest").to_owned();
    until("the log names the new digest", async || {
        host.log().has(|event| event.to_string().contains(&digest)).then_some(())
    })
    .await;
}
