//! What is posted: read, checked against the schema that the API publishes, and turned into what is submitted.

use std::sync::LazyLock;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use jsonschema::Validator;
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::ApiError;
use crate::alert::{Alert, AlertItem, stamp};
use crate::fault::{self, Fault};
use crate::temporal::Submission;

/// A request: one alert or many.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(super) struct WebhookRequest {
    /// The alerts, 1 to 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    pub(super) alerts: Vec<Alert>,
    /// The sender's own identifier of the request: a repeat with the same one is recognised.
    #[serde(default)]
    #[schema(nullable = false, min_length = 1, max_length = 200, example = "nightly-42")]
    pub(super) batch_id: Option<String>,
    /// Facts about the request, of any shape; plugins and ledgers get them with each alert.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"region": "eu-west-1"}))]
    pub(super) metadata: Map<String, Value>,
}

impl WebhookRequest {
    /// Reads a request.
    pub(super) fn read(headers: &HeaderMap, body: Result<Bytes, BytesRejection>) -> Result<Self, ApiError> {
        require_json(headers)?;
        let body = body.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => ApiError::body_too_large(),
            _ => ApiError::invalid(vec![Fault::whole(rejection.body_text())]),
        })?;
        let mut document: Value = serde_json::from_slice(&body).map_err(|error| {
            ApiError::invalid(vec![Fault::whole(format!("the body is not JSON: {error}"))])
        })?;
        forget_nulls(&mut document);
        parse(&document).map_err(ApiError::invalid)
    }

    /// What Temporal is to hold.
    pub(super) fn into_submission(self, traceparent: &str) -> Submission {
        let received_at = Timestamp::now();
        let Self { alerts, batch_id, metadata } = self;
        let several = alerts.len() > 1;
        let named = batch_id.map(|id| format!("batch-{id}"));
        let item = |alert: Alert| {
            let id = match (alert.identity(), several, &named) {
                (None, true, _) => String::new(),
                (None, false, Some(batch)) => batch.clone(),
                _ => alert.workflow_id(received_at, || Uuid::new_v4().simple().to_string()),
            };
            let metadata = metadata.clone();
            AlertItem { id, alert, metadata, received_at, traceparent: traceparent.to_owned() }
        };
        let mut items: Vec<AlertItem> = alerts.into_iter().map(item).collect();
        match items.pop() {
            Some(only) if items.is_empty() => Submission::One(Box::new(only)),
            last => {
                items.extend(last);
                let generated = || format!("batch-{}-{}", stamp(received_at), Uuid::new_v4().simple());
                Submission::Many { batch_id: named.unwrap_or_else(generated), items }
            }
        }
    }
}

fn parse(document: &Value) -> Result<WebhookRequest, Vec<Fault>> {
    static SCHEMA: LazyLock<Validator> = LazyLock::new(fault::validator::<WebhookRequest>);
    let faults = fault::faults(&SCHEMA, document);
    if !faults.is_empty() {
        return Err(faults);
    }
    WebhookRequest::deserialize(document).map_err(|error| vec![Fault::whole(error.to_string())])
}

/// Many senders write `null` for what they do not have: as good as leaving it out.
fn forget_nulls(document: &mut Value) {
    let Value::Object(request) = document else { return };
    request.retain(|_, value| !value.is_null());
    let Some(Value::Array(alerts)) = request.get_mut("alerts") else { return };
    for alert in alerts.iter_mut().filter_map(Value::as_object_mut) {
        alert.retain(|_, value| !value.is_null());
    }
}

fn require_json(headers: &HeaderMap) -> Result<(), ApiError> {
    let given = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let essence = given.as_deref().unwrap_or("").split(';').next().unwrap_or("").trim().to_ascii_lowercase();
    match essence.as_str() {
        "application/json" => Ok(()),
        other if other.starts_with("application/") && other.ends_with("+json") => Ok(()),
        _ => Err(ApiError::unsupported_media_type(given.as_deref())),
    }
}

/// The trace that a request belongs to: the sender's if it names one, else a new one.
pub(super) fn traceparent(headers: &HeaderMap) -> String {
    let given =
        headers.get("traceparent").and_then(|value| value.to_str().ok()).filter(|text| is_trace(text));
    given.map_or_else(
        || {
            let span = Uuid::new_v4().as_u64_pair().0;
            format!("00-{}-{span:016x}-01", Uuid::new_v4().simple())
        },
        str::to_owned,
    )
}

/// Whether a text is a version 00 `traceparent` (W3C Trace Context, section 3.2).
fn is_trace(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let is_hex = |part: &str, length| {
        part.len() == length
            && part.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
    };
    let [version, trace, span, flags] = parts[..] else { return false };
    let lengths = version == "00" && is_hex(trace, 32) && is_hex(span, 16) && is_hex(flags, 2);
    lengths && trace.bytes().any(|byte| byte != b'0') && span.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn alert(extra: Value) -> Value {
        let mut alert = json!({
            "title": "t", "description": "d", "type": "custom", "severity": "low",
            "source": {"name": "n", "type": "t"},
        });
        alert.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        alert
    }

    fn read(document: &Value) -> Result<WebhookRequest, Vec<String>> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, "application/json".parse().unwrap());
        let read = WebhookRequest::read(&headers, Ok(Bytes::from(document.to_string())));
        read.map_err(|error| error.faults().iter().map(ToString::to_string).collect())
    }

    fn faults(document: &Value) -> Vec<String> {
        read(document).unwrap_err()
    }

    fn ids(document: &Value) -> (Option<String>, Vec<String>) {
        match read(document).unwrap().into_submission("trace") {
            Submission::One(item) => (None, vec![item.id.clone()]),
            Submission::Many { batch_id, items } => {
                (Some(batch_id), items.into_iter().map(|item| item.id).collect())
            }
        }
    }

    #[test]
    fn every_fault_has_its_path_and_what_is_allowed() {
        let document =
            json!({"alerts": [alert(json!({})), {"title": 7}, alert(json!({"severity": "urgent"}))]});
        let said = faults(&document);
        let expected = [
            "alerts[1].title: 7 is a number, not of type string",
            "alerts[1].description: is required",
            "alerts[2].severity: \"urgent\" is not one of low, medium, high, critical",
        ];
        for line in expected {
            assert!(said.iter().any(|fault| fault == line), "{line} is missing in {said:#?}");
        }
    }

    #[test]
    fn an_empty_list_and_a_list_too_long_are_refused() {
        assert_eq!(faults(&json!({"alerts": []})), ["alerts: has 0 entries, fewer than 1"]);
        let many: Vec<Value> = (0..1001).map(|_| alert(json!({}))).collect();
        assert_eq!(faults(&json!({"alerts": many})), ["alerts: has 1001 entries, more than 1000"]);
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        let said = faults(&json!({"alerts": [alert(json!({"starts_at": "yesterday"}))]}));
        assert_eq!(
            said,
            ["alerts[0].starts_at: \"yesterday\" is not an RFC 3339 time such as 2023-12-01T14:30:22Z"]
        );
    }

    #[test]
    fn null_is_as_good_as_absent() {
        assert!(
            read(&json!({"alerts": [alert(json!({"id": null, "context": null}))], "batch_id": null})).is_ok()
        );
    }

    #[test]
    fn identity_decides_who_runs_alone() {
        let known = alert(json!({"id": "a", "starts_at": "2023-12-01T14:30:22Z"}));
        let unknown = alert(json!({}));
        let (batch, several) = ids(&json!({"alerts": [known, unknown], "batch_id": "b"}));
        assert_eq!(batch.as_deref(), Some("batch-b"));
        assert_eq!(several, ["alert-a-20231201-143022", ""]);
        assert_eq!(ids(&json!({"alerts": [unknown], "batch_id": "b"})), (None, vec!["batch-b".to_owned()]));
        assert_eq!(
            ids(&json!({"alerts": [known], "batch_id": "b"})),
            (None, vec!["alert-a-20231201-143022".to_owned()])
        );
    }

    #[test]
    fn a_trace_is_taken_over_if_it_is_one() {
        let good = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert!(is_trace(good));
        assert!(!is_trace("00-00000000000000000000000000000000-b7ad6b7169203331-01"));
        assert!(!is_trace("hello"));
        let mut headers = HeaderMap::new();
        assert!(is_trace(&traceparent(&headers)));
        headers.insert("traceparent", good.parse().unwrap());
        assert_eq!(traceparent(&headers), good);
    }
}
