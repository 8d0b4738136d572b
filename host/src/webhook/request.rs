//! What is posted: read, checked against the schema that the API publishes, and turned into what is submitted.

use std::error::Error;
use std::iter;
use std::net::IpAddr;
use std::sync::{Arc, LazyLock};

use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use campanile_lenient::key;
use jiff::Timestamp;
use jsonschema::Validator;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tower_http::timeout::TimeoutError;
use utoipa::ToSchema;
use uuid::Uuid;

use super::error::ApiError;
use super::mend::{FIELDS, mend};
use super::weight::Weight;
use crate::alert::{self, Alert, Sender};
use crate::fault::{self, Fault, MOST_FAULTS};
use crate::shown;

/// The most alerts of one request to `/webhook/alerts`, and of one to a source, whose sender does not choose how many it sends.
pub(super) const MOST_ALERTS: usize = 1_000;
pub(super) const MOST_OF_SOURCE: usize = 10_000;
/// The largest `metadata`, in bytes of JSON: every alert of the request carries it.
pub(super) const MOST_METADATA: usize = 16 << 10;
/// The most JSON values of an alert that is larger than it may be, and is cut: each takes memory many times its text.
const MOST_VALUES: usize = 100_000;
/// The headers that hold a request's id, and how long one is in ids of ours.
const REQUEST_IDS: [&str; 2] = ["webhook-id", "idempotency-key"];
const MOST_ID: usize = 200;
/// The fields of an alert that may be absent.
pub(super) const OPTIONAL: [&str; 13] = [
    "id",
    "status",
    "dedup_key",
    "starts_at",
    "ends_at",
    "momentary",
    "vendor_level",
    "secret_scope",
    "context",
    "labels",
    "links",
    "data",
    "metrics",
];

/// A request: one alert or many.
#[derive(Clone, Debug, Deserialize, ToSchema)]
pub(super) struct WebhookRequest {
    /// The alerts, 1 to 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    pub(super) alerts: Vec<Alert>,
    /// The sender's own identifier of the request: a repeat with the same alerts is recognised, one with others refused. One of
    /// more than 200 characters ends in a hash of the whole.
    #[serde(default)]
    #[schema(nullable = false, min_length = 1, max_length = 200, example = "nightly-42")]
    pub(super) batch_id: Option<String>,
    /// Facts about the request, of any shape, cut to 16 KiB; plugins and ledgers get them with each alert.
    #[serde(default)]
    #[schema(value_type = Object, example = json!({"region": "eu-west-1"}))]
    pub(super) metadata: Map<String, Value>,
}

impl WebhookRequest {
    /// Reads a request. Beside it, what was odd about it.
    pub(super) fn read(headers: &HeaderMap, body: &[u8]) -> Result<(Self, Vec<String>), ApiError> {
        require_json(headers)?;
        let (mut document, mut odd) = campanile_lenient::read(body).map_err(|error| {
            ApiError::invalid(vec![Fault::whole(format!("the body is not JSON: {error}"))])
        })?;
        forget_nulls(&mut document);
        odd.extend(mend(&mut document));
        let alerts = document.get("alerts").and_then(Value::as_array).map_or(0, Vec::len);
        let request = parse(&document).map_err(|faults| ApiError::invalid(faults).with_alerts(alerts))?;
        Ok((request, shown::warnings(odd)))
    }

    /// The same request with an id, unless it brought one.
    pub(super) fn known_by(mut self, known: Known) -> Self {
        let digest = known.digest.filter(|_| self.alerts.iter().any(|alert| alert.identity().is_none()));
        self.batch_id = self.batch_id.or(digest).or(known.id);
        self
    }
}

/// The sender's own id of a request, in a header: `webhook-id` of Standard Webhooks, or `Idempotency-Key`.
pub(super) fn request_id(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let given = |name: &'static str| Some((name, headers.get(name)?));
    let Some((name, value)) = REQUEST_IDS.into_iter().find_map(given) else { return Ok(None) };
    let text = value.to_str().ok().map(str::trim).filter(|text| !text.is_empty());
    match text {
        Some(text) if is_numbered(text) => {
            Err(ApiError::invalid(vec![fault_at(name, Some(&text.into()), NUMBERED.to_owned())]))
        }
        // One that is too long ends in a hash of the whole.
        Some(text) => Ok(Some(key(text, MOST_ID))),
        None => {
            let message = "is empty, or not plain ASCII such as nightly-42".to_owned();
            let value = Value::String(String::from_utf8_lossy(value.as_bytes()).into_owned());
            Err(ApiError::invalid(vec![fault_at(name, Some(&value), message)]))
        }
    }
}

/// By what a repeat of a request is recognised, among those to the same source by the same key.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// The id that the sender gave it, or, to what is spooled, the host.
    pub(super) id: Option<String>,
    /// A digest of what was signed, where no id is: it counts only if there are alerts that do not say themselves who they
    /// are, for two honest requests may be the same.
    pub(super) digest: Option<String>,
}

/// When and how a request came.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Arrival {
    /// When.
    #[serde(with = "crate::time::required")]
    pub(super) received_at: Timestamp,
    /// The trace that it belongs to.
    pub(super) traceparent: String,
    /// The source that it was posted to.
    pub(super) via: Option<Arc<str>>,
    /// By what it was let in.
    pub(super) key: Option<Arc<str>>,
    /// The scope of that key.
    #[serde(default)]
    pub(super) scope: Option<Arc<str>>,
    /// The address that it was posted from.
    #[serde(default)]
    pub(super) from: Option<IpAddr>,
    /// What was odd about it.
    pub(super) warnings: Vec<String>,
}

impl Arrival {
    /// Who posted.
    pub(super) fn sender(&self) -> Sender {
        Sender::new(self.key.as_deref(), self.via.as_deref(), self.from)
    }

    /// A request with these headers, now.
    pub(super) fn now(headers: &HeaderMap) -> Self {
        Self { received_at: Timestamp::now(), traceparent: traceparent(headers), ..Self::default() }
    }
}

/// Reads one alert from JSON, as sources give it, and what was odd about it, each with its path; `at` is where the alert
/// stands.
///
/// # Errors
///
/// Everything that the webhook would refuse it for; paths are within it.
pub fn read_alert(text: &str, at: &str) -> Result<(Alert, Vec<String>), Vec<Fault>> {
    let whole = |message: String| vec![Fault::whole(message)];
    let values = if text.len() > 2 * alert::MOST_BYTES { Weight::of(text.as_bytes()).values } else { 0 };
    if values > MOST_VALUES {
        let message =
            format!("has {} bytes as JSON with {values} values, more than {MOST_VALUES}", text.len());
        return Err(whole(message));
    }
    let (mut document, odd) =
        campanile_lenient::read(text.as_bytes()).map_err(|error| whole(error.to_string()))?;
    let dot = if at.is_empty() { "" } else { "." };
    let mut odd: Vec<_> = odd.into_iter().map(|line| format!("{at}{dot}{line}")).collect();
    forget_nulls_of_alert(&mut document);
    odd.extend(alert::mend(&mut document, at));
    match alert_faults(&document) {
        faults if faults.is_empty() => Ok((alert::parse(&document)?, odd)),
        faults => Err(faults),
    }
}

fn parse(document: &Value) -> Result<WebhookRequest, Vec<Fault>> {
    let alerts = document.get("alerts").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    if alerts.len() > MOST_ALERTS {
        let message = format!("has {} entries, more than {MOST_ALERTS}", alerts.len());
        return Err(vec![fault_at("alerts", None, message)]);
    }
    let mut faults = envelope_faults(document);
    for (index, alert) in alerts.iter().enumerate() {
        // Each takes memory until it is told: enough is enough.
        if faults.len() >= MOST_FAULTS {
            break;
        }
        faults.extend(alert_faults(alert).into_iter().map(|fault| of_alert(index, fault)));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    WebhookRequest::deserialize(document).map_err(|error| vec![Fault::whole(error.to_string())])
}

/// A fault of one alert as one of the request.
pub(super) fn of_alert(index: usize, fault: Fault) -> Fault {
    let dot = if fault.path.is_empty() { "" } else { "." };
    Fault { path: format!("alerts[{index}]{dot}{}", fault.path), ..fault }
}

/// What is wrong with a request but for its alerts.
fn envelope_faults(document: &Value) -> Vec<Fault> {
    static SCHEMA: LazyLock<Validator> = LazyLock::new(fault::validator::<WebhookRequest>);
    let mut faults = Vec::from_iter(id_fault(document, "batch_id"));
    faults.extend(numbered_fault(document));
    let found = match document {
        Value::Object(fields) => fault::faults(&SCHEMA, &envelope(fields)),
        other => fault::faults(&SCHEMA, other),
    };
    faults.extend(found.into_iter().filter(|fault| !fault.path.starts_with("alerts[")));
    faults
}

/// The fields of a request that are ours, with the first alert to stand for all.
fn envelope(fields: &Map<String, Value>) -> Value {
    let ours = FIELDS.into_iter().filter_map(|name| {
        let value = match fields.get(name)? {
            Value::Array(items) if name == "alerts" => items.iter().take(1).cloned().collect(),
            other => other.clone(),
        };
        Some((name.to_owned(), value))
    });
    Value::Object(ours.collect())
}

/// What is wrong with an alert: what the schema says, and what it cannot say of texts that have to work as parts of an id.
fn alert_faults(alert: &Value) -> Vec<Fault> {
    let ids = ["id", "dedup_key"].into_iter().filter_map(|key| id_fault(alert, key));
    ids.chain(alert::schema_faults(alert)).collect()
}

fn fault_at(path: &str, value: Option<&Value>, message: String) -> Fault {
    Fault { path: path.to_owned(), value: value.map(fault::excerpt), message }
}

/// Databases, logs and URLs do without control characters.
fn id_fault(parent: &Value, key: &str) -> Option<Fault> {
    let value = parent.get(key)?;
    let has_control = value.as_str()?.chars().any(char::is_control);
    has_control
        .then(|| fault_at(key, Some(value), format!("{} has control characters", fault::excerpt(value))))
}

/// `batch-<batch_id>` with such an end is how the host numbers the parts of a batch (`~2`) and the alerts in it (`#0`).
fn numbered_fault(document: &Value) -> Option<Fault> {
    let value = document.get("batch_id")?;
    is_numbered(value.as_str()?)
        .then(|| fault_at("batch_id", Some(value), format!("{} {NUMBERED}", fault::excerpt(value))))
}

const NUMBERED: &str = "ends in ~ or # and a number, which has a meaning in ids: use - instead";

fn is_numbered(id: &str) -> bool {
    let end = id.rsplit_once(['~', '#']).map(|(_, end)| end);
    end.is_some_and(|end| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Many senders write `null` for what they do not have: as good as leaving it out. What is not ours stays as it is.
fn forget_nulls(document: &mut Value) {
    let Value::Object(request) = document else { return };
    forget(request, &["batch_id", "metadata"]);
    let Some(Value::Array(alerts)) = request.get_mut("alerts") else { return };
    alerts.iter_mut().for_each(forget_nulls_of_alert);
}

fn forget_nulls_of_alert(alert: &mut Value) {
    let Value::Object(alert) = alert else { return };
    forget(alert, &OPTIONAL);
    if let Some(Value::Object(context)) = alert.get_mut("context") {
        forget(context, &["environment", "service"]);
    }
}

fn forget(object: &mut Map<String, Value>, optional: &[&str]) {
    object.retain(|key, value| !(value.is_null() && optional.contains(&key.as_str())));
}

/// The refusal of a request whose body did not come to its end.
pub(super) fn cut_off(error: &axum::Error) -> ApiError {
    match is_timeout(error) {
        true => ApiError::body_timeout(),
        false => ApiError::invalid(vec![Fault::whole(format!("the body did not come to its end: {error}"))]),
    }
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    iter::successors(Some(error), |&error| error.source()).any(|error| error.is::<TimeoutError>())
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
fn traceparent(headers: &HeaderMap) -> String {
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
        let read = WebhookRequest::read(&headers, document.to_string().as_bytes());
        read.map(|(request, _)| request)
            .map_err(|error| error.faults().iter().map(ToString::to_string).collect())
    }

    fn faults(document: &Value) -> Vec<String> {
        read(document).unwrap_err()
    }

    #[test]
    fn every_fault_has_its_path_and_what_is_allowed() {
        let document =
            json!({"alerts": [alert(json!({})), {"title": 7}, alert(json!({"severity": "urgent"}))]});
        let said = faults(&document);
        let expected = [
            "alerts[1].title: 7 is a number, not a string",
            "alerts[1].description: is required",
            "alerts[2].severity: \"urgent\" is not one of low, medium, high, critical",
        ];
        for line in expected {
            assert!(said.iter().any(|fault| fault == line), "{line} is missing in {said:#?}");
        }
    }

    #[test]
    fn an_empty_list_and_a_list_too_long_are_refused() {
        assert_eq!(faults(&json!({"alerts": []})), ["alerts: is empty: at least 1 entry is needed"]);
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
        let theirs = json!({"x_vendor": null, "context": {"service": null, "region": null}});
        let kept = &read(&json!({"alerts": [alert(theirs)]})).unwrap().alerts[0];
        assert_eq!(kept.extra.get("x_vendor"), Some(&Value::Null));
        assert_eq!(kept.context.as_ref().unwrap().extra.get("region"), Some(&Value::Null));
    }

    #[test]
    fn what_an_id_could_not_carry_is_refused() {
        let document = json!({"alerts": [alert(json!({"id": "a\u{0}b"}))], "batch_id": "nightly#7"});
        let said = faults(&document);
        for expected in
            ["alerts[0].id: \"a\\u0000b\" has control characters", "batch_id: \"nightly#7\" ends in ~ or #"]
        {
            assert!(
                said.iter().any(|fault| fault.starts_with(expected)),
                "{expected} is missing in {said:#?}"
            );
        }
    }

    #[test]
    fn one_bad_value_costs_itself() {
        let alert =
            alert(json!({"data": {"note": "half"}, "ends_at": "9999-12-31T23:59:59.9999999Z"})).to_string();
        let alert = alert.replace("half", "half \\ud83d").replace(r#""low""#, r#""Warning""#);
        let alert = alert.replace(r#""data":{"#, r#""data":{"wei":19876543210987654321000,"#);
        let (read, odd) = read_alert(&alert, "alerts[3]").unwrap();
        assert_eq!(
            (&read.data["wei"], &read.data["note"]),
            (&json!("19876543210987654321000"), &json!("half \u{fffd}"))
        );
        let paths: Vec<_> =
            odd.iter().filter_map(|line| line.split_once(": ")).map(|(path, _)| path).collect();
        assert_eq!(
            paths,
            ["alerts[3].data.wei", "alerts[3].data.note", "alerts[3].severity", "alerts[3].ends_at"]
        );
    }

    #[test]
    fn ids_of_requests_that_are_too_long_stay_apart() {
        let id = |text: String| {
            request_id(&HeaderMap::from_iter([("idempotency-key".parse().unwrap(), text.parse().unwrap())]))
        };
        let long = |end: &str| id(format!("{}{end}", "x".repeat(300))).unwrap().unwrap();
        assert_eq!((long("a").len(), long("a") == long("b")), (MOST_ID, false));
        assert_eq!(id("nightly-42".to_owned()).unwrap().as_deref(), Some("nightly-42"));
        assert!(id(" ".to_owned()).is_err());
    }

    #[test]
    fn a_large_alert_of_a_source_is_cut_unless_it_holds_too_many_values() {
        let large = alert(json!({"data": {"text": "x".repeat(3 << 20)}})).to_string();
        let (_, odd) = read_alert(&large, "").unwrap();
        assert!(odd[0].starts_with("data.text: the text was cut from 3145730"), "{odd:?}");
        let many = alert(json!({"data": {"list": vec![[0; 2]; 400_000]}})).to_string();
        let faults = read_alert(&many, "").unwrap_err();
        assert!(faults[0].message.contains("values, more than 100000"), "{faults:?}");
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
