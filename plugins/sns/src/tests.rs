//! What SNS gets, and what becomes of its answers.

use campanile_guest::is_blank;
use campanile_guest::testing::{BLANKS, blank, exchange, firing, largest, resolved};
use campanile_guest::types::Retry;
use serde_json::{Value, json};

use super::*;
use crate::message::SUBJECT;
use crate::settings::{KEY, endpoint};

const TOPIC: &str = "arn:aws:sns:eu-central-1:123456789012:alerts";

/// From the reference of `Publish`.
const PUBLISHED: &str = r#"<PublishResponse xmlns="https://sns.amazonaws.com/doc/2010-03-31/">
    <PublishResult>
        <MessageId>567910cd-659e-55d4-8ccb-5aaf14679dc0</MessageId>
    </PublishResult>
    <ResponseMetadata>
        <RequestId>d74b8436-ae13-5ab4-a9ff-ce54dfea72a0</RequestId>
    </ResponseMetadata>
</PublishResponse>"#;

fn settings(topic_arn: &str) -> Settings {
    Settings {
        url: endpoint(topic_arn).unwrap(),
        topic_arn: topic_arn.to_owned(),
        authorization: KEY.to_owned(),
        subject: None,
        text: None,
    }
}

fn published(settings: &Settings, delivery: &Delivery) -> (Request, Receipt) {
    let (requests, receipt) = exchange(&[(200, PUBLISHED)], |send| deliver(delivery, settings, send));
    (requests[0].clone(), receipt.unwrap())
}

/// A field of the form, decoded.
fn field(request: &Request, name: &str) -> Option<String> {
    let pairs = request.body.split('&').map(|pair| pair.split_once('=').unwrap());
    pairs.filter(|(given, _)| *given == name).map(|(_, value)| decoded(value)).next()
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.as_bytes());
    while let [first, tail @ ..] = rest {
        let hex = (*first == b'%').then(|| std::str::from_utf8(&tail[..2]).unwrap());
        bytes.push(hex.map_or(*first, |hex| u8::from_str_radix(hex, 16).unwrap()));
        rest = if hex.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8(bytes).unwrap()
}

fn failed(status: u16, code: &str, message: &str) -> Failure {
    let text = format!(
        "<ErrorResponse xmlns=\"http://sns.amazonaws.com/doc/2010-03-31/\"><Error><Type>Sender</Type>\
         <Code>{code}</Code><Message>{message}</Message></Error><RequestId>9d1</RequestId></ErrorResponse>"
    );
    answered(status, &text)
}

fn answered(status: u16, text: &str) -> Failure {
    let result = exchange(&[(status, text)], |send| deliver(&firing(&json!({})), &settings(TOPIC), send)).1;
    result.unwrap_err()
}

#[test]
fn the_request_is_the_documented_one() {
    let document = json!({
        "title": "Pool exhausted", "type": "database", "description": "All in use", "labels": { "team": "db" },
        "source": { "name": "Monitoring" }, "context": { "environment": "production", "service": "payments" },
        "links": [{ "href": "https://run.example/db", "text": "Runbook" }],
    });
    let (request, receipt) = published(&settings(TOPIC), &firing(&document));
    assert_eq!(request.url, "https://sns.eu-central-1.amazonaws.com/");
    assert!(request.headers.contains(&("authorization", "${secret:SNS_KEY}".to_owned())));
    let start = "Action=Publish&Version=2010-03-31\
                 &TopicArn=arn%3Aaws%3Asns%3Aeu-central-1%3A123456789012%3Aalerts\
                 &Subject=%5BCritical%5D%20Pool%20exhausted&Message=";
    let end = "&MessageAttributes.entry.1.Name=severity&MessageAttributes.entry.1.Value.DataType=String\
               &MessageAttributes.entry.1.Value.StringValue=critical\
               &MessageAttributes.entry.2.Name=status&MessageAttributes.entry.2.Value.DataType=String\
               &MessageAttributes.entry.2.Value.StringValue=firing\
               &MessageAttributes.entry.3.Name=type&MessageAttributes.entry.3.Value.DataType=String\
               &MessageAttributes.entry.3.Value.StringValue=database";
    assert!(request.body.starts_with(start) && request.body.ends_with(end), "{}", request.body);
    assert_eq!(
        field(&request, "Message").unwrap(),
        "🔴 Critical: Pool exhausted\n\nAll in use\n\nWhere: production/payments\nSource: Monitoring\n\
         Labels: team=db\nRunbook: https://run.example/db\nAlert: alert-1"
    );
    assert_eq!(receipt.id.as_deref(), Some("567910cd-659e-55d4-8ccb-5aaf14679dc0"));
    assert_eq!(receipt.message, "200");
}

#[test]
fn a_fifo_topic_gets_a_group_and_an_idempotency_key() {
    let fifo = settings("arn:aws:sns:eu-central-1:123456789012:alerts.fifo");
    let fields = |delivery: &Delivery| {
        let (request, _) = published(&fifo, delivery);
        ["MessageGroupId", "MessageDeduplicationId"].map(|name| field(&request, name).unwrap())
    };
    let (fired, over) = (fields(&firing(&json!({}))), fields(&resolved(&json!({}), None)));
    assert_eq!(fired, fields(&firing(&json!({}))));
    assert_eq!(fired[0], over[0]);
    assert_ne!(fired[1], over[1]);
    let (standard, _) = published(&settings(TOPIC), &firing(&json!({})));
    assert_eq!(field(&standard, "MessageGroupId"), None);
}

#[test]
fn a_subject_is_ascii() {
    let subject = |title: &str| {
        let (request, _) = published(&settings(TOPIC), &firing(&json!({ "title": title })));
        field(&request, "Subject").unwrap()
    };
    assert_eq!(subject("a\r\nb\u{1b} 🔥ü"), "[Critical] a b ??");
    let long = subject(&"x".repeat(200));
    assert!(long.len() == SUBJECT && long.ends_with("x..."), "{long}");
}

#[test]
fn the_limits_of_sns_hold_for_the_largest_alert() {
    for character in ['x', '\u{1}', '字', '🔥'] {
        let (request, _) = published(&settings(TOPIC), &firing(&largest(character)));
        let [message, subject, kind] = ["Message", "Subject", "MessageAttributes.entry.3.Value.StringValue"]
            .map(|name| field(&request, name).unwrap());
        assert!(message.len() + kind.len() + 100 <= 262_144, "{character:?}: {}", message.len());
        assert!(subject.len() <= SUBJECT && request.body.len() < 1024 * 1024, "{character:?}");
    }
}

#[test]
fn an_alert_cannot_add_fields() {
    let document = json!({ "title": "${secret:A}&TopicArn=x&y=${secret:B}", "type": "a&Subject=b" });
    let bare = Settings { text: Some("{{ title }}".to_owned()), ..settings(TOPIC) };
    let (request, _) = published(&bare, &firing(&document));
    assert_eq!(request.body.split('&').count(), 5 + 9);
    assert_eq!(field(&request, "Message").as_deref(), Some("${secret:A}&TopicArn=x&y=${secret:B}"));
    assert_eq!(field(&request, "TopicArn").as_deref(), Some(TOPIC));
}

#[test]
fn the_errors_of_sns_say_whether_to_try_again() {
    for (status, said, code, retry) in [
        (403, "AuthorizationError", "authorization-error", Retry::Never),
        (400, "InvalidParameter", "invalid-parameter", Retry::Never),
        (400, "ParameterValueInvalid", "invalid-parameter", Retry::Never),
        (404, "NotFound", "not-found", Retry::Never),
        (403, "InvalidSecurity", "invalid-security", Retry::Never),
        (403, "InvalidClientTokenId", "invalid-key", Retry::Never),
        (403, "SignatureDoesNotMatch", "signature-does-not-match", Retry::Never),
        (403, "ExpiredToken", "expired-token", Retry::Never),
        (400, "KMSAccessDenied", "kms", Retry::Never),
        (400, "KMSNotFound", "kms", Retry::Never),
        (400, "KMSThrottling", "throttling", Retry::Backoff),
        (400, "Throttling", "throttling", Retry::Backoff),
        (429, "Throttled", "throttling", Retry::Backoff),
        (400, "RequestExpired", "request-expired", Retry::Backoff),
        (500, "InternalError", "internal-error", Retry::Backoff),
        (503, "ServiceUnavailable", "service-unavailable", Retry::Backoff),
        (400, "SomethingNew", "http-400", Retry::Never),
    ] {
        let failure = failed(status, said, "why");
        assert_eq!((failure.code.as_str(), failure.retry), (code, retry), "{said}");
        assert!(failure.message.contains(&format!("{status}: {said}: why")), "{}", failure.message);
    }
    assert_eq!(answered(502, "<html>bad").retry, Retry::Backoff);
    let late =
        failed(403, "SignatureDoesNotMatch", "Signature expired: 20261126T000000Z is now earlier than");
    assert_eq!(late.retry, Retry::Backoff);
}

#[test]
fn the_region_is_the_topics() {
    assert_eq!(
        endpoint("arn:aws-cn:sns:cn-north-1:1:t").unwrap(),
        "https://sns.cn-north-1.amazonaws.com.cn/"
    );
    for odd in ["alerts", "arn:aws:sqs:eu-central-1:1:t", "arn:aws:sns:eu-central-1:1:t:subscription"] {
        assert!(endpoint(odd).unwrap_err().message.contains(odd));
    }
}

#[test]
fn the_configuration_schema_names_the_defaults() {
    let schema: Value = serde_json::from_str(include_str!("../config.schema.json")).unwrap();
    assert_eq!(schema["properties"]["authorization"]["default"], KEY);
    assert_eq!(schema["required"], json!(["topic-arn"]));
}

#[test]
fn no_field_is_blank() {
    for text in BLANKS {
        for subject in [None, Some("{{ title }}".to_owned())] {
            let (request, _) = published(&Settings { subject, ..settings(TOPIC) }, &firing(&blank(text)));
            let fields: Vec<_> =
                request.body.split('&').map(|field| field.split_once('=').unwrap().1).collect();
            assert!(fields.iter().all(|value| !is_blank(&decoded(value))), "{text:?}: {}", request.body);
        }
    }
}

#[test]
fn advice_names_the_topic_only_where_the_topic_is_wrong() {
    let topic = failed(400, "InvalidParameter", "Invalid parameter: TopicArn Reason: no such");
    assert!(topic.message.contains("check `topic-arn`"), "{topic:?}");
    let other = failed(400, "InvalidParameter", "Invalid parameter: Empty message");
    assert!(other.message.contains("Empty message") && !other.message.contains("topic-arn"), "{other:?}");
}
