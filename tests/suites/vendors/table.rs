//! The life of an alert, for each shipped source in its vendor's own words.

use harness::alerts::{unique, with};
use harness::{Host, Receiver};
use serde_json::{Value, json};

use super::{SOURCES, host, post, second};

/// What one sender posts about one thing. What its vendor has no words for is null.
struct Sender {
    source: &'static str,
    /// Where its clients post, and where they post a resolve.
    below: [&'static str; 2],
    /// Where the body has the id of the delivery, which is another one each time.
    delivery: &'static str,
    fires: Value,
    is_worse: Value,
    resolves: Value,
    /// The same key of a sender that the body distinguishes.
    of_another: Value,
}

impl Sender {
    fn new(source: &'static str, fires: Value, resolves: Value) -> Self {
        let (below, delivery) = (["", ""], "");
        Self { source, below, delivery, fires, is_worse: Value::Null, resolves, of_another: Value::Null }
    }

    fn at(self, below: [&'static str; 2]) -> Self {
        Self { below, ..self }
    }

    fn delivered_by(self, delivery: &'static str) -> Self {
        Self { delivery, ..self }
    }

    fn worse(self, is_worse: Value) -> Self {
        Self { is_worse, ..self }
    }

    fn another(self, of_another: Value) -> Self {
        Self { of_another, ..self }
    }

    /// Posts one of its bodies to a source of this name. Returns what became of it.
    async fn post(&self, host: &Host, source: &str, body: &Value) -> String {
        let below = self.below[usize::from(*body == self.resolves)];
        let mut body = body.clone();
        if !self.delivery.is_empty() {
            body[self.delivery] = unique("delivery-").into();
        }
        post(host, &format!("{source}{below}"), &body, &[]).await.1
    }
}

/// An entry as Alertmanager and Grafana post it. Its severity is a label and so part of the fingerprint: what gets worse has
/// another key.
fn entry(status: &str) -> Value {
    let end = if status == "resolved" { "2020-11-29T11:20:10Z" } else { "0001-01-01T00:00:00Z" };
    json!({
        "status": status, "labels": {"alertname": "ApiDown", "severity": "high"}, "annotations": {"summary": "API is down"},
        "startsAt": "2020-11-29T11:00:10Z", "endsAt": end, "fingerprint": "77aa77aa77aa77aa",
    })
}

fn alertmanager() -> Sender {
    let group = |status: &str| json!({"version": "4", "status": status, "alerts": [entry(status)]});
    Sender::new("alertmanager", group("firing"), group("resolved"))
}

fn grafana() -> Sender {
    let of = |organisation: i64, status: &str| json!({"version": "1", "orgId": organisation, "alerts": [entry(status)]});
    Sender::new("grafana", of(1, "firing"), of(1, "resolved")).another(of(2, "firing"))
}

fn prometheus() -> Sender {
    let batch = |end: &str| {
        json!([{
            "labels": {"alertname": "ApiDown", "severity": "high"}, "annotations": {"summary": "API is down"},
            "startsAt": "2020-11-29T11:00:10Z", "endsAt": end,
        }])
    };
    let sender = Sender::new("prometheus", batch("2099-11-29T11:00:10Z"), batch("2020-11-29T11:20:10Z"));
    sender.at(["/api/v2/alerts"; 2])
}

fn azure_monitor() -> Sender {
    let alert = |condition: &str| {
        json!({"schemaId": "azureMonitorCommonAlertSchema", "data": {"essentials": {
            "alertId": "/subscriptions/s-1/providers/Microsoft.AlertsManagement/alerts/a-1", "alertRule": "API is down",
            "severity": "Sev3", "signalType": "Metric", "monitorCondition": condition, "monitoringService": "Platform",
            "firedDateTime": "2020-11-29T11:00:10Z",
        }}})
    };
    Sender::new("azure-monitor", alert("Fired"), alert("Resolved"))
}

fn cloudwatch_sns() -> Sender {
    let message = |state: &str| {
        let arn = "arn:aws:cloudwatch:eu-west-1:111122223333:alarm:api";
        let alarm = json!({"AlarmName": "api", "NewStateValue": state, "AlarmArn": arn});
        json!({"Type": "Notification", "TopicArn": "arn:aws:sns:eu-west-1:1:t", "Message": alarm.to_string()})
    };
    let sender = Sender::new("cloudwatch-sns", message("INSUFFICIENT_DATA"), message("OK"));
    sender.worse(message("ALARM")).delivered_by("MessageId")
}

fn datadog() -> Sender {
    let event = |transition: &str, organisation: &str| {
        json!({
            "cycle": "880071", "title": "API", "body": "b", "transition": transition, "priority": "P2", "type": "error",
            "org": {"id": organisation},
        })
    };
    let sender = Sender::new("datadog", event("Warn", "1"), event("Recovered", "1"));
    sender.worse(event("Triggered", "1")).another(event("Warn", "2")).delivered_by("id")
}

fn gcp_monitoring() -> Sender {
    let incident = |state: &str, project: &str| {
        json!({"version": "1.2", "incident": {
            "incident_id": "0.abc", "scoping_project_id": project, "state": state, "policy_name": "API",
            "started_at": 1_606_647_610, "ended_at": if state == "closed" { json!(1_606_648_810) } else { json!(null) },
        }})
    };
    Sender::new("gcp-monitoring", incident("open", "acme"), incident("closed", "acme"))
        .another(incident("open", "shop"))
}

/// A secret that was found, then is known to work, and is public in the end.
fn github() -> Sender {
    let alert = |action: &str, validity: &str, is_public: bool, repository: i64| {
        json!({
            "action": action, "repository": {"id": repository, "full_name": "acme/shop", "html_url": "https://github.com/acme/shop"},
            "alert": {"number": 191, "secret_type": "key", "validity": validity, "publicly_leaked": is_public, "secret": "x"},
        })
    };
    let sender =
        Sender::new("github", alert("created", "active", false, 1), alert("resolved", "inactive", true, 1));
    sender.worse(alert("publicly_leaked", "active", true, 1)).another(alert("created", "active", false, 2))
}

fn mapped() -> Sender {
    let entry = |state: &str, level: i64| json!({"id": 7, "host": "db-1", "state": state, "level": level});
    Sender::new("json", entry("DOWN", 2), entry("OK", 0)).worse(entry("DOWN", 3)).at(["/acme"; 2])
}

fn opsgenie_api() -> Sender {
    let alert = |priority: &str| json!({"message": "API is down", "alias": "api", "priority": priority});
    let sender = Sender::new("opsgenie-api", alert("P5"), json!({"note": "up"}));
    sender.worse(alert("P4")).at(["/v2/alerts", "/v2/alerts/api/close?identifierType=alias"])
}

fn pagerduty_events() -> Sender {
    let event = |routing_key: &str, severity: &str| {
        let payload = json!({"summary": "API is down", "source": "api", "severity": severity});
        json!({"routing_key": routing_key, "event_action": "trigger", "dedup_key": "48211", "payload": payload})
    };
    let resolve = json!({"routing_key": "R0TEAMA", "event_action": "resolve", "dedup_key": "48211"});
    let sender = Sender::new("pagerduty-events", event("R0TEAMA", "warning"), resolve).at(["/v2/enqueue"; 2]);
    sender.worse(event("R0TEAMA", "critical")).another(event("R0TEAMB", "warning"))
}

fn sentry() -> Sender {
    let hook = |action: &str, installation: &str| {
        json!({"action": action, "installation": {"uuid": installation}, "data": {
            "description_title": "Too many errors", "metric_alert": {"id": "4", "title": "Too many errors"},
        }})
    };
    let sender = Sender::new("sentry", hook("warning", "i-1"), hook("resolved", "i-1"));
    sender.worse(hook("critical", "i-1")).another(hook("warning", "i-2"))
}

fn uptime_kuma() -> Sender {
    let beat = |status: i64, severity: &str| {
        let tags = json!([{"name": "severity", "value": severity}]);
        json!({
            "heartbeat": {"monitorID": 7, "status": status, "msg": "timeout"}, "monitor": {"id": 7, "name": "API", "tags": tags},
            "msg": "[API]",
        })
    };
    Sender::new("uptime-kuma", beat(0, "p2"), beat(1, "p2")).worse(beat(0, "p1"))
}

/// An average problem that was a warning: both are medium here.
fn zabbix() -> Sender {
    let problem = json!({
        "event_id": "5021944", "event_name": "API is down", "event_source": "0", "event_value": "1",
        "event_nseverity": "2", "event_update_status": "0", "zabbix_url": "https://zabbix-eu.example/",
    });
    let changed = json!({
        "event_nseverity": "3", "event_update_status": "1",
        "event_update_action": "changed severity from Warning to Average",
    });
    let sender = Sender::new("zabbix", problem.clone(), with(problem.clone(), json!({"event_value": "0"})));
    let elsewhere = with(problem.clone(), json!({"zabbix_url": "https://zabbix-us.example/"}));
    sender.worse(with(problem, changed)).another(elsewhere)
}

/// The steps of a life, each with what it becomes.
async fn live(host: &Host, sender: &Sender) {
    let Sender { source, fires, is_worse, resolves, of_another, .. } = sender;
    let elsewhere = second(source);
    let steps = [
        ("resolves early", *source, resolves, "nothing-open"),
        ("fires", source, fires, "new"),
        ("fires again", source, fires, "duplicate"),
        ("gets worse", source, is_worse, "escalated"),
        ("fires as before", source, fires, "duplicate"),
        ("fires for another sender", source, of_another, "new"),
        ("fires at another source", &elsewhere, fires, "new"),
        ("resolves", source, resolves, "resolves"),
        ("resolves again", source, resolves, "nothing-open"),
        ("fires for the other sender again", source, of_another, "duplicate"),
        ("fires at the other source again", &elsewhere, fires, "duplicate"),
        ("fires after its resolve", source, fires, "new"),
    ];
    for (what, name, body, becomes) in steps {
        if !body.is_null() {
            assert_eq!(sender.post(host, name, body).await, becomes, "{source}: it {what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_has_one_life_in_every_source() {
    let senders = [
        alertmanager(),
        azure_monitor(),
        cloudwatch_sns(),
        datadog(),
        gcp_monitoring(),
        github(),
        grafana(),
        mapped(),
        opsgenie_api(),
        pagerduty_events(),
        prometheus(),
        sentry(),
        uptime_kuma(),
        zabbix(),
    ];
    assert_eq!(senders.each_ref().map(|sender| sender.source), SOURCES);
    let receiver = Receiver::start().await;
    let host = host(&receiver, &SOURCES).await;
    for sender in &senders {
        live(&host, sender).await;
    }
}

/// One system's mapping is another sender than the next one's.
#[tokio::test(flavor = "multi_thread")]
async fn two_mappings_with_one_key_are_two_alerts() {
    let receiver = Receiver::start().await;
    let host = host(&receiver, &["json"]).await;
    let body = json!({"id": 7, "host": "db-1", "state": "DOWN"});
    for mapping in ["json/acme", "json/shop"] {
        assert_eq!(post(&host, mapping, &body, &[]).await.1, "new", "{mapping}");
    }
}
