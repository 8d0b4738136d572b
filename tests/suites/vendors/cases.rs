//! What public bug reports describe, posted in their order.

use std::collections::BTreeSet;
use std::fs;

use harness::alerts::{unique, with};
use harness::cli::campanile;
use harness::{Plugin, Receiver, Settings, host};
use serde_json::{Value, json};

use super::{accepted, host, notified, open, post};

const ALERTMANAGER: &str = "alertmanager";
const PAGERDUTY: &str = "pagerduty-events/v2/enqueue";

fn link_down(status: &str, ended: &str) -> Value {
    let labels = json!({"alertname": "LinkDown", "severity": "critical", "instance": "edge-sw-7:9116"});
    json!({"version": "4", "status": status, "receiver": "campanile", "groupKey": "{}:{}", "alerts": [{
        "status": status, "labels": labels, "annotations": {"summary": "Uplink of edge-sw-7 is down"},
        "startsAt": "2026-11-29T09:55:56.318Z", "endsAt": ended, "fingerprint": "5f2c9a10d3e4b7a6",
    }]})
}

/// Alertmanager keeps the start of what fires again soon after it was resolved.
#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_fires_again_with_the_same_start_is_two_lives() {
    let receiver = Receiver::start().await;
    let host = host(&receiver, &["alertmanager"]).await;
    let never = "0001-01-01T00:00:00Z";
    let mut dispositions = Vec::new();
    for (count, (status, ended)) in [
        ("firing", never),
        ("resolved", "2026-11-29T10:01:56.318Z"),
        ("firing", never),
        ("resolved", "2026-11-29T10:20:56.318Z"),
    ]
    .into_iter()
    .enumerate()
    {
        dispositions.push(post(&host, ALERTMANAGER, &link_down(status, ended), &[]).await.1);
        notified(&receiver, count + 1).await;
    }
    assert_eq!(dispositions, ["new", "resolves", "new", "resolves"]);
    let notified = notified(&receiver, 4).await;
    let statuses: Vec<_> = notified.iter().map(|(_, status, _)| status.as_str()).collect();
    assert_eq!(statuses, ["firing", "resolved", "firing", "resolved"]);
    let threads: Vec<_> = notified.iter().map(|(.., thread)| thread).collect();
    assert!(threads[0] == threads[1] && threads[2] == threads[3] && threads[0] != threads[2], "{threads:?}");
    assert_eq!(open(&host).await, 0);
}

fn event(action: &str, key: &str, routing_key: &str, summary: &str, severity: &str) -> Value {
    json!({
        "routing_key": routing_key, "event_action": action, "dedup_key": key,
        "payload": {"summary": summary, "source": "mailer-2", "severity": severity},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn one_resolve_ends_a_warning_that_became_critical() {
    let receiver = Receiver::start().await;
    let host = host(&receiver, &["pagerduty-events"]).await;
    let event =
        |summary: &str, severity: &str| event("trigger", "mailer-2/queue", "R0AAAA", summary, severity);
    let resolve = json!({"routing_key": "R0AAAA", "event_action": "resolve", "dedup_key": "mailer-2/queue"});
    let posts = [
        event("Queue of mailer-2 grows", "warning"),
        event("Queue of mailer-2 is full", "critical"),
        resolve,
    ];
    let mut dispositions = Vec::new();
    for (count, body) in posts.iter().enumerate() {
        dispositions.push(post(&host, PAGERDUTY, body, &[]).await.1);
        notified(&receiver, count + 1).await;
    }
    assert_eq!(dispositions, ["new", "escalated", "resolves"]);
    let notified = notified(&receiver, 3).await;
    assert_eq!(
        (notified[0].1.as_str(), notified[1].1.as_str(), notified[2].1.as_str()),
        ("firing", "firing", "resolved")
    );
    assert_eq!(notified[1].0, "Queue of mailer-2 is full");
    assert!(notified.iter().all(|(.., thread)| *thread == notified[0].2), "in one thread: {notified:?}");
    assert_eq!(open(&host).await, 0);
}

fn alarm(number: usize, state: &str, before: &str) -> Value {
    let alarm = json!({
        "AlarmName": "orders-5xx", "AlarmDescription": "5xx of the order API", "AWSAccountId": "111122223333",
        "NewStateValue": state, "OldStateValue": before, "NewStateReason": "Threshold Crossed",
        "StateChangeTime": format!("2026-11-29T10:0{number}:02.101+0000"), "Region": "EU (Ireland)",
        "AlarmArn": "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:orders-5xx",
    });
    json!({
        "Type": "Notification", "MessageId": format!("11111111-aaaa-4bbb-8ccc-00000000000{number}"),
        "TopicArn": "arn:aws:sns:eu-west-1:111122223333:alarms",
        "Subject": format!("{state}: \"orders-5xx\" in EU (Ireland)"), "Message": alarm.to_string(),
    })
}

/// An alarm that is made is `OK` at once, before it has ever fired.
#[tokio::test(flavor = "multi_thread")]
async fn an_ok_before_the_first_alarm_uses_up_nothing() {
    let receiver = Receiver::start().await;
    let host = host(&receiver, &["cloudwatch-sns"]).await;
    let early = post(&host, "cloudwatch-sns", &alarm(1, "OK", "INSUFFICIENT_DATA"), &[]).await;
    let fired = post(&host, "cloudwatch-sns", &alarm(2, "ALARM", "OK"), &[]).await;
    notified(&receiver, 1).await;
    let ended = post(&host, "cloudwatch-sns", &alarm(3, "OK", "ALARM"), &[]).await;
    assert_eq!([&early.1, &fired.1, &ended.1], ["nothing-open", "new", "resolves"]);
    assert_eq!(BTreeSet::from([early.0, fired.0, ended.0]).len(), 3, "each has an id of its own");
    let notified = notified(&receiver, 2).await;
    assert_eq!((notified[0].1.as_str(), notified[1].1.as_str()), ("firing", "resolved"));
}

fn api_down(organisation: i64, status: &str) -> Value {
    let labels =
        json!({"alertname": "API is down", "grafana_folder": "Ops", "severity": "critical", "host": "api"});
    json!({"version": "1", "orgId": organisation, "status": status, "receiver": "campanile", "alerts": [{
        "status": status, "labels": labels, "annotations": {"summary": "API is down on api"},
        "startsAt": "2026-11-29T11:00:10Z", "endsAt": "0001-01-01T00:00:00Z", "fingerprint": "77aa77aa77aa77aa",
    }]})
}

#[tokio::test(flavor = "multi_thread")]
async fn one_key_of_several_senders_is_several_alerts() {
    let receiver = Receiver::start().await;
    let host = host(&receiver, &["grafana", "pagerduty-events"]).await;
    let oven = event("trigger", "48211", "R0TEAMA", "Team A: oven 3 is cold", "critical");
    let lift = event("trigger", "48211", "R0TEAMB", "Team B: lift 9 is stuck", "critical");
    let elsewhere = "pagerduty-events-b/v2/enqueue";
    let posts = [
        ("grafana", api_down(1, "firing")),
        ("grafana", api_down(2, "firing")),
        ("grafana-b", api_down(1, "firing")),
        (PAGERDUTY, oven.clone()),
        (PAGERDUTY, lift.clone()),
        (elsewhere, lift.clone()),
    ];
    let mut ids = BTreeSet::new();
    for (path, body) in &posts {
        let (id, disposition) = post(&host, path, body, &[]).await;
        assert_eq!(disposition, "new", "{path}: {body}");
        ids.insert(id);
    }
    assert_eq!((ids.len(), notified(&receiver, 6).await.len(), open(&host).await), (6, 6, 6));
    let resolve = |event: &Value| with(event.clone(), json!({"event_action": "resolve"}));
    for (path, body) in [("grafana", api_down(1, "resolved")), (PAGERDUTY, resolve(&oven))] {
        assert_eq!(post(&host, path, &body, &[]).await.1, "resolves");
    }
    notified(&receiver, 8).await;
    for (path, body) in [
        ("grafana", api_down(2, "firing")),
        ("grafana-b", api_down(1, "firing")),
        (PAGERDUTY, lift.clone()),
        (elsewhere, lift),
    ] {
        assert_eq!(post(&host, path, &body, &[]).await.1, "duplicate", "{path}: it is open still");
    }
    assert_eq!(open(&host).await, 4);
}

fn disk(number: usize, transition: &str, kind: &str) -> Value {
    json!({
        "id": format!("920{number}"), "cycle": "880071234567890888", "monitor_id": "700123",
        "title": format!("[P2] [{transition} on {{host:db-4}}] Disk of db-4"), "body": "used is 91 %",
        "transition": transition, "type": kind, "priority": "P2", "scope": "host:db-4",
        "tags": "env:prod,service:db,host:db-4", "org": {"id": "1", "name": "Example"},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_that_becomes_an_alert_of_the_same_priority_is_notified() {
    let receiver = Receiver::start().await;
    let host = host(&receiver, &["datadog"]).await;
    let posts = [disk(1, "Warn", "warning"), disk(2, "Triggered", "error"), disk(3, "Recovered", "success")];
    let mut dispositions = Vec::new();
    for (count, body) in posts.iter().enumerate() {
        dispositions.push(post(&host, "datadog", body, &[]).await.1);
        notified(&receiver, count + 1).await;
    }
    assert_eq!(dispositions, ["new", "escalated", "resolves"]);
    let severities: BTreeSet<_> = receiver
        .received("/pager")
        .iter()
        .map(|request| request.json()["alert"]["severity"].to_string())
        .collect();
    assert_eq!(severities.len(), 1, "the priority makes one severity of all: {severities:?}");
}

fn rule(name: &str) -> Value {
    json!({"action": "triggered", "installation": {"uuid": "00000000-0000-4000-8000-000000000001"}, "data": {
        "event": {
            "event_id": "0f0e0d0c0b0a09080706050403020100", "issue_id": "4411", "level": "error",
            "title": "PaymentError: card declined twice", "datetime": "2026-11-29T10:30:00.000000Z",
        },
        "triggered_rule": name,
    }})
}

#[tokio::test(flavor = "multi_thread")]
async fn two_rules_about_one_event_notify_twice() {
    let receiver = Receiver::start().await;
    let host = host(&receiver, &["sentry"]).await;
    let headers = [("sentry-hook-resource", "event_alert")];
    let mut dispositions = Vec::new();
    for name in ["New issue: open a ticket", "Payments failing: page on-call", "New issue: open a ticket"] {
        dispositions.push(post(&host, "sentry", &rule(name), &headers).await.1);
    }
    assert_eq!(dispositions, ["new", "new", "duplicate"]);
    notified(&receiver, 2).await;
    assert_eq!(open(&host).await, 0, "nothing resolves an event");
}

/// The store, the log and what is notified know no more of a routing key than a hash, which is the same on all hosts of a store.
#[tokio::test(flavor = "multi_thread")]
async fn a_routing_key_is_kept_nowhere() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::shipped("pagerduty-events"));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let routing_key = unique("R0SECRET");
    let body = event("trigger", "48211", &routing_key, "Team A: oven 3 is cold", "critical");
    let (id, _) = post(&host, PAGERDUTY, &body, &[]).await;
    assert!(id.starts_with("alert-48211/"), "{id}");
    host.completed(&id).await;
    let found = host.get(&format!("/alerts/{id}")).await.text;
    let log: String = host.log().events().iter().map(Value::to_string).collect();
    let sent: String = receiver.all().iter().map(|request| format!("{request:?}")).collect();
    for (place, text) in [("the answer", found), ("the log", log), ("what is notified", sent)] {
        assert!(!text.contains(&routing_key), "{place} has it: {text}");
    }
    let data = host.settings().data();
    let files: Vec<_> =
        fs::read_dir(data).expect("a directory").flatten().map(|entry| entry.path()).collect();
    let kept = |file: &std::path::PathBuf| fs::read(file).unwrap_or_default();
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(files.iter().any(|file| holds(&kept(file), "oven 3 is cold")), "the alert is in {files:?}");
    for file in &files {
        assert!(!holds(&kept(file), &routing_key), "{} has it", file.display());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_routing_key_is_hashed_alike_by_all_hosts_of_a_store() {
    let settings = Settings::new().shared_store().plugin(Plugin::shipped("pagerduty-events"));
    let one = settings.plugin(Plugin::shipped("log"));
    let other = one.clone().role("webhook");
    let (one, other) = (one.start().await, other.start().await);
    let body = event("trigger", &unique("k"), "R0TEAMA", "Team A: oven 3 is cold", "critical");
    let (first, again) = (post(&one, PAGERDUTY, &body, &[]).await, post(&other, PAGERDUTY, &body, &[]).await);
    assert_eq!((again.0, again.1.as_str()), (first.0, "duplicate"));
    assert_eq!(accepted(&one).len(), 1);
}

/// It needs no store.
#[tokio::test(flavor = "multi_thread")]
async fn the_identity_within_a_routing_key_can_be_asked_for() {
    let settings = Settings::new().plugin(Plugin::shipped("pagerduty-events"));
    let body = event("trigger", "48211", "R0TEAMA", "Team A: oven 3 is cold", "critical");
    let file = settings.write("event.json", &body.to_string()).display().to_string();
    let plugins = settings.plugins().display().to_string();
    let arguments = [
        "explain-alert",
        &file,
        "--source",
        "pagerduty-events",
        "--path",
        "/v2/enqueue",
        "--plugins",
        &plugins,
    ];
    let ran = campanile(&arguments).await;
    let expected =
        "is known by dedup_key \"48211\" of pagerduty-events, within a credential of the sender, and becomes";
    assert!(ran.code == Some(0) && ran.stdout.contains(expected), "{ran:?}");
    assert!(!ran.stdout.contains("R0TEAMA"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_decides_where_the_severity_is_the_same() {
    let host = Settings::new().plugin(Plugin::shipped("log")).start().await;
    let alert = |level: Value| {
        let source = json!({"name": "n", "type": "t"});
        let fields = json!({"dedup_key": "level/1", "vendor_level": level, "severity": "high"});
        with(json!({"title": "t", "description": "", "type": "custom", "source": source}), fields)
    };
    let levels = [json!(1), json!(2.0), json!(1), json!(2), json!(null), json!(3)].map(alert);
    let answer = host.post("/webhook/alerts", &json!({"alerts": levels})).await.ok();
    let dispositions: Vec<_> =
        answer["alerts"].as_array().expect("a list").iter().map(|one| one["disposition"].clone()).collect();
    assert_eq!(dispositions, ["new", "escalated", "duplicate", "duplicate", "duplicate", "escalated"]);
    let id = host::ids(&answer)[5].clone();
    assert_eq!(host.completed(&id).await["ledger"]["alert"]["vendor_level"], 3);
    let wrong = host.post("/webhook/alerts", &json!({"alerts": [alert(json!("much"))]})).await;
    assert_eq!(wrong.status, 400);
    assert_eq!(wrong.json()["errors"][0]["path"], "alerts[0].vendor_level", "{wrong:?}");
}
