//! A CloudWatch alarm as it changes its state: of one metric, of a formula, of other alarms, or of logs.

use campanile_guest::source::{Draft, Settings, Severity, Sheet, fact_time, text};
use campanile_guest::types::Status;
use serde_json::{Value, json};

/// Fields that are facts, and what they are called.
const FACTS: [(&str, &str); 8] = [
    ("NewStateValue", "state"),
    ("OldStateValue", "old_state"),
    ("NewStateReason", "reason"),
    ("Trigger", "trigger"),
    ("AlarmRule", "alarm_rule"),
    ("TriggeringChildren", "triggering_children"),
    ("AlarmContributorId", "contributor"),
    ("AlarmContributorAttributes", "contributor_attributes"),
];

/// Where the alarm stands in the envelope.
const AT: &str = "Message";

/// Whether a message is an alarm of CloudWatch.
pub(crate) fn is_alarm(message: &Value) -> bool {
    text(message, "/AlarmName").is_some() && text(message, "/NewStateValue").is_some()
}

/// The alarm as an alert in the making.
pub(crate) fn draft(alarm: &Value, subject: Option<&str>, settings: &Settings, sheet: &mut Sheet) -> Draft {
    let (status, severity, level) = state(alarm, settings, sheet);
    let changed = changed_at(alarm, sheet);
    let title = subject.map_or_else(|| title(alarm), str::to_owned);
    let mut draft = Draft::new(AT, settings, status, Some(&title))
        .description(sheet.first(AT, alarm, &["/AlarmDescription", "/NewStateReason"]).as_deref())
        .known_severity(severity)
        .level(level)
        .dedup_key(&identity(alarm))
        .data("state_changed_at", &changed);
    if status == Status::Resolved {
        draft = draft.ends_at("StateChangeTime", &changed);
    }
    for (field, name) in FACTS {
        draft = draft.rest(name, &alarm[field]);
    }
    labelled(draft, alarm, sheet)
}

/// Too little data is no alarm, but nothing to be silent about either. An alarm is worse, whatever severity the operator has set.
fn state(alarm: &Value, settings: &Settings, sheet: &mut Sheet) -> (Status, Severity, i64) {
    match text(alarm, "/NewStateValue").as_deref() {
        Some("ALARM") => (Status::Firing, settings.severity, 1),
        Some("OK") => (Status::Resolved, settings.severity, 0),
        Some("INSUFFICIENT_DATA") => (Status::Firing, Severity::Low, 0),
        _ => {
            sheet.odd("Message.NewStateValue", &alarm["NewStateValue"], "is no known state: ALARM was taken");
            (Status::Firing, settings.severity, 1)
        }
    }
}

/// When the state changed: no `starts_at`, since a resolve does not say when the alarm began.
fn changed_at(alarm: &Value, sheet: &mut Sheet) -> Value {
    let time = &alarm["StateChangeTime"];
    let read = fact_time(time);
    if read.is_none() && !time.is_null() {
        sheet.odd("Message.StateChangeTime", time, "is no time: left out");
    }
    json!(read)
}

/// The title that SNS has as the subject, which raw message delivery leaves out.
fn title(alarm: &Value) -> String {
    let given = |pointer| text(alarm, pointer).unwrap_or_default();
    let title = format!("{}: \"{}\"", given("/NewStateValue"), given("/AlarmName"));
    match text(alarm, "/Region") {
        Some(region) => format!("{title} in {region}"),
        None => title,
    }
}

/// The alarm, and which of its time series if it watches several: each of them fires and ends by itself.
fn identity(alarm: &Value) -> String {
    let parts: &[&str] = match text(alarm, "/AlarmArn") {
        Some(_) => &["/AlarmArn", "/AlarmContributorId"],
        None => &["/AWSAccountId", "/Region", "/AlarmName", "/AlarmContributorId"],
    };
    parts.iter().filter_map(|part| text(alarm, part)).collect::<Vec<_>>().join("/")
}

/// What to route by. Of several metrics the first wins, and what is the alarm's own wins over any metric's.
fn labelled(mut draft: Draft, alarm: &Value, sheet: &mut Sheet) -> Draft {
    for (at, metric) in metrics(alarm).into_iter().rev() {
        for dimension in sheet.list(&format!("{at}.Dimensions"), &metric["Dimensions"]) {
            if let Some(name) = text(dimension, "/name") {
                draft = draft.label(&name, &dimension["value"]);
            }
        }
        draft = draft.label("Namespace", &metric["Namespace"]).label("MetricName", &metric["MetricName"]);
    }
    let attributes = sheet.fields("Message.AlarmContributorAttributes", &alarm["AlarmContributorAttributes"]);
    draft = draft.labels(attributes);
    ["AlarmName", "AWSAccountId", "Region"]
        .into_iter()
        .fold(draft, |draft, name| draft.label(name, &alarm[name]))
}

/// The metrics watched, and where they stand: the trigger's own, or those of its formula.
fn metrics(alarm: &Value) -> Vec<(String, &Value)> {
    let trigger = &alarm["Trigger"];
    let queries = trigger["Metrics"].as_array().into_iter().flatten().enumerate();
    let queried = queries.filter_map(|(index, query)| {
        Some((
            format!("{AT}.Trigger.Metrics[{index}].MetricStat.Metric"),
            query.pointer("/MetricStat/Metric")?,
        ))
    });
    std::iter::once((format!("{AT}.Trigger"), trigger)).chain(queried).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(alarm: &Value) -> (Value, Vec<String>) {
        let settings = Settings::of("cloudwatch-sns", "CloudWatch", "infrastructure");
        let mut sheet = Sheet::default();
        let draft = draft(alarm, None, &settings, &mut sheet);
        sheet.add(draft);
        (serde_json::from_str(&sheet.alerts[0]).unwrap(), sheet.warnings)
    }

    fn message(envelope: &str) -> Value {
        let envelope: Value = serde_json::from_str(envelope).unwrap();
        serde_json::from_str(envelope["Message"].as_str().unwrap()).unwrap()
    }

    fn alarm(envelope: &str) -> Value {
        let (alert, warnings) = read(&message(envelope));
        assert!(warnings.is_empty(), "{warnings:?}");
        alert
    }

    #[test]
    fn an_alarm_keeps_what_people_and_routes_need() {
        let alert = alarm(include_str!("../payloads/alarm.json"));
        let trigger = &message(include_str!("../payloads/alarm.json"))["Trigger"];
        let reason = "Threshold Crossed: 2 datapoints [85.0 (01/07/25 10:00:00), 90.0 (01/07/25 10:05:00)] were \
                      greater than the threshold (80.0).";
        assert_eq!(
            alert,
            json!({
                "title": "ALARM: \"Production-EC2-HighCPU\" in US East (N. Virginia)",
                "description": "EC2 instance CPU usage above 80%", "type": "infrastructure", "severity": "medium",
                "source": {"name": "CloudWatch", "type": "cloudwatch-sns"}, "status": "firing", "vendor_level": 1,
                "dedup_key": "arn:aws:cloudwatch:us-east-1:123456789012:alarm:Production-EC2-HighCPU",
                "labels": {
                    "AlarmName": "Production-EC2-HighCPU", "AWSAccountId": "123456789012",
                    "Region": "US East (N. Virginia)", "InstanceId": "i-1234567890abcdef0",
                    "Namespace": "AWS/EC2", "MetricName": "CPUUtilization",
                },
                "data": {
                    "state": "ALARM", "old_state": "OK", "reason": reason, "trigger": trigger,
                    "state_changed_at": "2025-07-01T10:10:00.123000Z",
                },
            })
        );
    }

    #[test]
    fn an_alarm_that_is_ok_ends_what_it_began() {
        let (firing, ok) =
            (alarm(include_str!("../payloads/alarm.json")), alarm(include_str!("../payloads/ok.json")));
        assert_eq!((&ok["status"], &ok["ends_at"]), (&json!("resolved"), &json!("2025-07-01T10:25:00.456Z")));
        assert_eq!((&ok["dedup_key"], ok.get("starts_at")), (&firing["dedup_key"], None));
    }

    #[test]
    fn too_little_data_is_of_low_severity_and_an_alarm_without_an_arn_has_a_key() {
        let alert = alarm(include_str!("../payloads/insufficient-data.json"));
        assert_eq!((&alert["status"], &alert["severity"]), (&json!("firing"), &json!("low")));
        assert_eq!(alert["vendor_level"], 0);
        assert_eq!(alert["dedup_key"], "1234567890/EU (Ireland)/notificationCountAlarm");
    }

    #[test]
    fn an_alarm_without_a_description_is_described_by_its_reason() {
        let alert = alarm(include_str!("../payloads/null-description.json"));
        assert!(alert["description"].as_str().unwrap().starts_with("Threshold Crossed: 1 datapoint [8.0"));
    }

    #[test]
    fn alarms_of_alarms_and_of_formulas_are_read() {
        let alert = alarm(include_str!("../payloads/composite.json"));
        assert!(
            alert["description"]
                .as_str()
                .unwrap()
                .contains("metric_emitting_node_failure transitioned to ALARM")
        );
        assert!(alert["data"]["alarm_rule"].as_str().unwrap().starts_with("ALARM(arn:aws:cloudwatch:"));
        assert_eq!(alert["data"]["triggering_children"][0]["State"]["Value"], "ALARM");

        let alert = alarm(include_str!("../payloads/metric-math.json"));
        assert_eq!(
            (&alert["labels"]["MetricName"], &alert["labels"]["Resource"]),
            (&json!("CallCount"), &json!("DescribeAlarms"))
        );
        assert_eq!(alert["data"]["trigger"]["Metrics"][0]["Expression"], "FILL(m1, 0)");
    }

    #[test]
    fn each_time_series_of_an_alarm_has_an_identity_of_its_own() {
        let alert = alarm(include_str!("../payloads/contributor.json"));
        assert_eq!(
            alert["dedup_key"],
            "arn:aws:cloudwatch:us-east-1:123456789012:alarm:EndpointLatency/a1b2c3d4e5f6g7h8"
        );
        assert_eq!(alert["labels"]["endpoint"], "/api/orders");
    }

    #[test]
    fn one_bad_field_costs_itself_and_no_text_is_kept_twice() {
        let (alert, warnings) = read(&json!({
            "AlarmName": 7, "NewStateValue": "ALARM", "AlarmDescription": {"a": 1}, "NewStateReason": "too hot",
            "AlarmContributorAttributes": "none", "AlarmArn": true,
            "Trigger": {"Namespace": 1, "Dimensions": [{"name": 8, "value": 9}, "x"],
                "Metrics": [{"MetricStat": {"Metric": {"Dimensions": "d"}}}]},
        }));
        assert_eq!((&alert["title"], &alert["description"]), (&json!("ALARM: \"7\""), &json!("too hot")));
        assert_eq!((&alert["dedup_key"], &alert["labels"]["8"]), (&json!("true"), &json!("9")));
        assert_eq!(alert["data"].get("reason"), None);
        assert_eq!(
            warnings,
            [
                "Message.AlarmDescription: {\"a\":1} is not a text: left out",
                "Message.Trigger.Metrics[0].MetricStat.Metric.Dimensions: \"d\" is not a list: left out",
                "Message.AlarmContributorAttributes: \"none\" is not an object: left out",
            ]
        );
    }

    #[test]
    fn what_is_odd_is_said() {
        let (alert, warnings) = read(
            &json!({"AlarmName": "a", "NewStateValue": "MAYBE", "StateChangeTime": "soon", "Trigger": 7}),
        );
        assert_eq!((&alert["title"], &alert["dedup_key"]), (&json!("MAYBE: \"a\""), &json!("a")));
        assert_eq!(
            warnings,
            [
                "Message.NewStateValue: \"MAYBE\" is no known state: ALARM was taken",
                "Message.StateChangeTime: \"soon\" is no time: left out",
            ]
        );
    }
}
