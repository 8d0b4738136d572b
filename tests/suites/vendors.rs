//! Identity as vendors scope it: what each shipped source makes of an alert that comes, gets worse, goes and comes back, and
//! that no sender's key is another's.

mod cases;
mod momentary;
mod table;

use harness::wait::until;
use harness::web::client;
use harness::{Host, Plugin, Receiver, Settings};
use serde_json::Value;

/// The shipped sources.
const SOURCES: [&str; 14] = [
    "alertmanager",
    "azure-monitor",
    "cloudwatch-sns",
    "datadog",
    "gcp-monitoring",
    "github",
    "grafana",
    "json",
    "opsgenie-api",
    "pagerduty-events",
    "prometheus",
    "sentry",
    "uptime-kuma",
    "zabbix",
];

/// A mapping of the source `json`, with a scale of its own.
const MAPPING: &str = r#"
[config.mappings.acme]
title = "{{ entry.host }}"
key = "/id"
status = "/state"
severity = "high"
vendor-level = "/level"

[config.mappings.shop]
title = "{{ entry.host }}"
key = "/id"
status = "/state"
"#;

/// The name by which a test posts to a source of this kind as another sender.
fn second(source: &str) -> String {
    format!("{source}-b")
}

/// A host with these sources, each of them twice, that notifies `/pager` of the receiver.
async fn host(receiver: &Receiver, sources: &[&str]) -> Host {
    let with = |settings: Settings, source: &&str| {
        let plugin = Plugin::shipped(source);
        let plugin = if *source == "json" { plugin.sidecar(MAPPING) } else { plugin };
        // A resolve ends the life at once, also of a sender that has replicas by default.
        let tables = format!(
            "\n[sources.{source}]\nreplicas = \"0s\"\n\n[sources.{}]\nplugin = \"{source}\"\n",
            second(source)
        );
        settings.plugin(plugin).and_config(&tables)
    };
    let settings = sources.iter().fold(Settings::new(), with);
    settings.plugin(Plugin::recorder("pager", receiver, "")).start().await
}

/// What the host has accepted so far: the id and the disposition of each alert, in order.
fn accepted(host: &Host) -> Vec<(String, String)> {
    let text = |event: &Value, name: &str| event[name].as_str().unwrap_or_default().to_owned();
    let events = host.log().events().into_iter();
    let accepted = events.filter(|event| event["message"] == "accepted");
    accepted.map(|event| (text(&event, "alert"), text(&event, "disposition"))).collect()
}

/// Posts what becomes one alert. Returns its id and its disposition, which not every vendor's answer has.
async fn post(host: &Host, path: &str, body: &Value, headers: &[(&str, &str)]) -> (String, String) {
    let before = accepted(host).len();
    let request = client().post(host.at(&format!("/webhook/{path}"))).json(body);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let reply = host.request(request).await;
    assert!((200..203).contains(&reply.status), "{path}: {reply:?}");
    until("the log names the alert", async || accepted(host).get(before).cloned()).await
}

/// What `/pager` got so far once it has so many: of each the title, the status and the thread.
async fn notified(receiver: &Receiver, count: usize) -> Vec<(String, String, String)> {
    let received = receiver.wait_for("/pager", count).await;
    assert_eq!(received.len(), count, "{received:?}");
    let line = |body: Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&body["alert"]["title"]), text(&body["alert"]["status"]), text(&body["thread_id"]))
    };
    received.iter().map(|request| line(request.json())).collect()
}

/// How many alerts are open.
async fn open(host: &Host) -> usize {
    host.get("/alerts?open=true&limit=100").await.ok()["alerts"].as_array().expect("a list").len()
}
