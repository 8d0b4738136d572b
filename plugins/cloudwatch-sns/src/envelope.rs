//! What SNS posts: an envelope around a message or, with raw message delivery, the message alone.

use std::borrow::Cow;

use campanile_guest::failure::permanent;
use campanile_guest::source::{Draft, Settings, Sheet, header, json, read, text};
use campanile_guest::types::{Failure, Status};
use serde_json::Value;

use crate::alarm;

/// What a body looks like, for those who sent another.
const EXAMPLE: &str =
    r#"{"Type": "Notification", "TopicArn": "arn:aws:sns:…", "MessageId": "…", "Message": "…"}"#;
/// The header that names the topic, also of a raw message.
const TOPIC: &str = "x-amz-sns-topic-arn";
/// The largest message that SNS sends, in bytes.
const MOST_BYTES: usize = 256 << 10;

/// The alert in a request, and the id of the message, which SNS keeps when it posts it again.
pub(crate) fn decode(
    headers: &[(String, Vec<u8>)],
    body: &[u8],
    settings: &Settings,
) -> Result<(Sheet, Option<String>), Failure> {
    let raw = header(headers, "x-amz-sns-rawdelivery") == Some("true");
    let id = header(headers, "x-amz-sns-message-id").map(str::to_owned);
    let mut sheet = Sheet::default();
    match json(body) {
        Ok(envelope) if is_envelope(&envelope) => {
            unpack(&envelope, settings, &mut sheet);
            return Ok((sheet, text(&envelope, "/MessageId").map(Cow::into_owned).or(id)));
        }
        Ok(message) if raw || alarm::is_alarm(&message) => {}
        Err(_) if raw => {}
        Ok(_) => {
            return Err(permanent(
                "invalid-payload",
                format!("the body is no message of SNS, as in {EXAMPLE}"),
            ));
        }
        Err(failure) => return Err(failure),
    }
    let message =
        Message { text: &String::from_utf8_lossy(body), subject: None, topic: header(headers, TOPIC) };
    message.read(settings, &mut sheet);
    Ok((sheet, id))
}

fn is_envelope(body: &Value) -> bool {
    text(body, "/Type").is_some() && text(body, "/TopicArn").is_some()
}

fn unpack(envelope: &Value, settings: &Settings, sheet: &mut Sheet) {
    let topic = text(envelope, "/TopicArn");
    let topic = topic.as_deref();
    let what = match text(envelope, "/Type").unwrap_or_default().as_ref() {
        "SubscriptionConfirmation" => "it is the host that confirms the subscription",
        "UnsubscribeConfirmation" => "the topic's messages no longer come here",
        kind => {
            if kind != "Notification" {
                sheet.odd("Type", &envelope["Type"], "is not known: Notification was taken");
            }
            let (text, subject) = (written(&envelope["Message"]), sheet.text("", envelope, "/Subject"));
            Message { text: &text, subject: subject.as_deref(), topic }.read(settings, sheet);
            return;
        }
    };
    sheet.odd("Type", &envelope["Type"], &format!("of {} is no alert: {what}", topic.unwrap_or_default()));
}

/// The message: a text, which may hold JSON, or the JSON itself.
fn written(message: &Value) -> Cow<'_, str> {
    match message {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text.trim()),
        other => Cow::Owned(other.to_string()),
    }
}

/// One published message.
struct Message<'a> {
    text: &'a str,
    subject: Option<&'a str>,
    topic: Option<&'a str>,
}

impl Message<'_> {
    fn read(&self, settings: &Settings, sheet: &mut Sheet) {
        let draft = match self.document(sheet) {
            Some(alarm) if alarm::is_alarm(&alarm) => alarm::draft(&alarm, self.subject, settings, sheet),
            Some(other) => self.other(text(&other, "/detail-type").as_deref().unwrap_or(self.text), settings),
            None => self.other(self.text.trim().lines().next().unwrap_or_default(), settings),
        };
        sheet.add(draft.data("topic", &self.topic.into()));
    }

    /// The message as JSON, if it is JSON. What is larger than SNS sends is not read: it may hold millions of values.
    fn document(&self, sheet: &mut Sheet) -> Option<Value> {
        let size = self.text.len();
        if size > MOST_BYTES {
            let what = format!("bytes are more than SNS sends ({MOST_BYTES}): taken as plain text");
            sheet.odd("Message", &size.into(), &what);
            return None;
        }
        read("Message", self.text.as_bytes()).ok()
    }

    /// Whatever else is published: EventBridge events (which name their kind), budgets, people's own texts.
    fn other(&self, title: &str, settings: &Settings) -> Draft {
        let title = self.subject.unwrap_or(title);
        Draft::new("Message", settings, Status::Firing, Some(title)).description(Some(self.text)).single()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use campanile_guest::source::Settings;
    use serde_json::json;

    type Decoded = (Vec<Value>, Vec<String>, Option<String>);

    fn decoded(headers: &str, body: &str) -> Decoded {
        let headers: Vec<(String, Vec<u8>)> = headers
            .lines()
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
            .collect();
        let settings = Settings::of("cloudwatch-sns", "CloudWatch", "infrastructure");
        let (sheet, id) = decode(&headers, body.as_bytes(), &settings).unwrap();
        (sheet.alerts.iter().map(|alert| serde_json::from_str(alert).unwrap()).collect(), sheet.warnings, id)
    }

    #[test]
    fn an_envelope_gives_the_alarm_and_the_id_of_the_message() {
        let (alerts, warnings, id) = decoded("", include_str!("../payloads/alarm.json"));
        assert_eq!(alerts.len(), 1);
        assert_eq!(alerts[0]["title"], "ALARM: \"Production-EC2-HighCPU\" in US East (N. Virginia)");
        assert_eq!(alerts[0]["data"]["topic"], "arn:aws:sns:us-east-1:123456789012:alarms");
        assert_eq!(id.as_deref(), Some("2d3aa9bf-3b37-5f6e-a7a7-f01c6a8b8c6d"));
        assert!(warnings.is_empty());
    }

    #[test]
    fn a_raw_message_is_the_alarm_itself_and_its_id_is_in_the_header() {
        let headers = include_str!("../payloads/raw-delivery.headers");
        let (alerts, warnings, id) = decoded(headers, include_str!("../payloads/raw-delivery.json"));
        assert_eq!(alerts[0]["title"], "OK: \"RDS Prod - CPU Util\" in US West (N. California)");
        assert_eq!(alerts[0]["status"], "resolved");
        assert_eq!(alerts[0]["data"]["topic"], "arn:aws:sns:us-west-1:123456789012:ops");
        assert_eq!((id.as_deref(), warnings.len()), (Some("4f45581d-5636-56c4-a9c1-067cd57ebd6d"), 0));
        let (alerts, _, _) = decoded(headers, "disk is full\non web-1");
        assert_eq!(
            (&alerts[0]["title"], &alerts[0]["description"]),
            (&json!("disk is full"), &json!("disk is full\non web-1"))
        );
    }

    #[test]
    fn a_message_that_is_no_alarm_is_an_alert_without_an_identity() {
        let (alerts, warnings, id) = decoded("", include_str!("../payloads/plain-text.json"));
        assert_eq!(alerts[0]["title"], "AWS Budgets: Monthly has exceeded your alert threshold");
        assert!(alerts[0]["description"].as_str().unwrap().starts_with("AWS Budget Notification"));
        assert_eq!((&alerts[0]["severity"], &alerts[0]["status"]), (&json!("medium"), &json!("firing")));
        assert_eq!((alerts[0].get("dedup_key"), alerts[0].get("starts_at")), (None, None));
        assert_eq!(alerts[0]["momentary"], true);
        assert_eq!((warnings.len(), id.is_some()), (0, true));
    }

    #[test]
    fn an_event_of_eventbridge_is_titled_by_its_kind() {
        let (alerts, _, _) = decoded("", include_str!("../payloads/eventbridge.json"));
        assert_eq!(alerts[0]["title"], "EC2 Instance State-change Notification");
        assert!(alerts[0]["description"].as_str().unwrap().contains("i-abcd1111"));
    }

    #[test]
    fn confirmations_are_no_alerts() {
        let (alerts, warnings, id) = decoded("", include_str!("../payloads/subscription-confirmation.json"));
        assert_eq!((alerts.len(), id.is_some()), (0, true));
        assert_eq!(
            warnings,
            [
                "Type: \"SubscriptionConfirmation\" of arn:aws:sns:us-west-2:123456789012:MyTopic is no alert: \
              it is the host that confirms the subscription"
            ]
        );
        let (alerts, warnings, _) = decoded("", include_str!("../payloads/unsubscribe-confirmation.json"));
        assert_eq!((alerts.len(), warnings.len()), (0, 1));
    }

    #[test]
    fn an_unknown_type_is_taken_for_a_notification() {
        let (alerts, warnings, _) = decoded("", r#"{"Type": "Note", "TopicArn": "arn", "Message": "hi"}"#);
        assert_eq!(alerts[0]["title"], "hi");
        assert_eq!(warnings, ["Type: \"Note\" is not known: Notification was taken"]);
    }

    #[test]
    fn a_message_that_is_no_text_is_read_all_the_same() {
        let alarm = r#"{"Type": "Notification", "TopicArn": "arn", "Subject": ["s"], "MessageId": 7,
            "Message": {"AlarmName": "a", "NewStateValue": "OK"}}"#;
        let (alerts, warnings, id) = decoded("", alarm);
        assert_eq!((&alerts[0]["title"], &alerts[0]["status"]), (&json!("OK: \"a\""), &json!("resolved")));
        assert_eq!(
            (warnings, id.as_deref()),
            (vec!["Subject: [\"s\"] is not a text: left out".to_owned()], Some("7"))
        );
        let (alerts, _, _) = decoded("", r#"{"Type": "Notification", "TopicArn": "arn", "Message": 503}"#);
        assert_eq!(alerts[0]["title"], "503");
    }

    #[test]
    fn a_message_larger_than_sns_sends_is_plain_text() {
        let alarm = |room: usize| {
            let (name, state) = ("a".repeat(room), "ALARM");
            let message = json!({"AlarmName": name, "NewStateValue": state}).to_string();
            (
                json!({"Type": "Notification", "TopicArn": "arn", "Message": message}).to_string(),
                message.len(),
            )
        };
        let (_, frame) = alarm(0);
        let (alerts, _, _) = decoded("", &alarm(MOST_BYTES - frame).0);
        assert!(alerts[0]["title"].as_str().unwrap().starts_with("ALARM"), "{}", alerts[0]["title"]);
        let (alerts, warnings, _) = decoded("", &alarm(MOST_BYTES - frame + 1).0);
        assert!(alerts[0]["title"].as_str().unwrap().starts_with('{'), "{}", alerts[0]["title"]);
        assert!(alerts[0]["description"].as_str().unwrap().len() < MOST_BYTES);
        assert_eq!(
            warnings,
            [
                "Message: 262145 bytes are more than SNS sends (262144): taken as plain text",
                "Message.title: was cut to 1024 characters",
            ]
        );
    }

    #[test]
    fn a_body_of_another_shape_is_refused() {
        let settings = Settings::of("cloudwatch-sns", "CloudWatch", "infrastructure");
        for (body, code) in [("{}", "invalid-payload"), ("[]", "invalid-payload"), ("hello", "not-json")] {
            assert_eq!(decode(&[], body.as_bytes(), &settings).unwrap_err().code, code, "{body}");
        }
    }
}
