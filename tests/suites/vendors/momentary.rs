//! What has no end: each kind of it is notified, deduplicated by its key if it has one, and never open.

use harness::Receiver;
use harness::alerts::unique;
use harness::project;
use serde_json::{Value, json};

use super::{SOURCES, host, notified, open, post};

/// A source, what it is sent twice, and what becomes of the second one.
const KINDS: [(&str, &str, &str); 11] = [
    ("azure-monitor", "activity-log", "duplicate"),
    ("azure-monitor", "budget", "duplicate"),
    ("azure-monitor", "service-health", "duplicate"),
    ("cloudwatch-sns", "plain-text", "new"),
    ("gcp-monitoring", "test-of-a-channel", "new"),
    ("grafana", "test", "new"),
    ("sentry", "error-created", "duplicate"),
    ("sentry", "event-alert", "duplicate"),
    ("uptime-kuma", "certificate", "duplicate"),
    ("uptime-kuma", "test", "new"),
    ("zabbix", "discovery", "duplicate"),
];

/// A vendor's documented request, as another delivery each time.
fn payload(source: &str, name: &str) -> Value {
    let text = project::text(&format!("plugins/{source}/payloads/{name}.json"));
    let mut payload: Value = serde_json::from_str(&text).expect("a payload is JSON");
    if source == "cloudwatch-sns" {
        payload["MessageId"] = unique("message-").into();
    }
    payload
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_no_end_is_notified_and_never_open() {
    let receiver = Receiver::start().await;
    let host = host(&receiver, &SOURCES).await;
    let mut count = 0;
    for (source, name, second) in KINDS {
        let first = post(&host, source, &payload(source, name), &[]).await;
        let again = post(&host, source, &payload(source, name), &[]).await;
        assert_eq!((first.1.as_str(), again.1.as_str()), ("new", second), "{source}: {name}");
        count += 1 + usize::from(second == "new");
    }
    let event = |id: &str| json!({"id": id, "title": "Deployed", "body": "by ada", "aggreg": "deploys"});
    let unnamed = json!({"message": "No alias", "priority": "P3"});
    let native = json!({"alerts": [{
        "title": "t", "description": "", "type": "custom", "severity": "low", "source": {"name": "n", "type": "t"},
        "dedup_key": "momentary/1", "momentary": true,
    }]});
    for (path, bodies, second) in [
        ("datadog", [event("1"), event("2")], "new"),
        ("opsgenie-api/v2/alerts", [unnamed.clone(), unnamed], "new"),
        ("alerts", [native.clone(), native], "duplicate"),
    ] {
        let [first, again] = &bodies;
        let (first, again) = (post(&host, path, first, &[]).await, post(&host, path, again, &[]).await);
        assert_eq!((first.1.as_str(), again.1.as_str()), ("new", second), "{path}");
        count += 1 + usize::from(second == "new");
    }
    notified(&receiver, count).await;
    assert_eq!(open(&host).await, 0);
}
