//! The vocabulary: what an alert is, and how its identity is formed. No I/O.

mod mend;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use jsonschema::Validator;
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::fault::{self, Fault};
use crate::scope::Scope;

pub use campanile_lenient::size;
pub use mend::{mend, mend_key};

/// The largest alert, in bytes of JSON: Temporal takes 2 MB per payload, and a ledger repeats the alert.
pub const MOST_BYTES: usize = 512 << 10;
/// The deepest alert, in levels: readers of JSON stop at 128, and what carries an alert adds some.
pub const MOST_DEPTH: usize = 64;

/// The field that says who has taken an alert over. The host alone writes it.
pub const ACKNOWLEDGEMENT: &str = "acknowledgement";

/// One alert as it is posted, and as plugins see it (`alert.document`). Fields that are not listed are kept.
///
/// At most 512 KiB of JSON, at most 64 levels deep: of what is larger, the longest texts are cut, and what is deeper is left
/// out, each with a mark and a warning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AlertPayload)]
pub struct Alert {
    /// The sender's own identifier of this occurrence. With `starts_at` it makes a repeated post harmless. One of more than
    /// 200 characters ends in a hash of the whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 1, max_length = 200, example = "123")]
    pub id: Option<String>,
    /// The headline, one line; cut to 1,024 characters.
    #[schema(min_length = 1, max_length = 1024, example = "High CPU Usage")]
    pub title: String,
    /// What happened, in full; cut to 65,536 characters.
    #[schema(max_length = 65536, example = "CPU usage exceeded 90%")]
    pub description: String,
    /// The area it belongs to, in any case.
    #[serde(rename = "type")]
    pub kind: AlertType,
    /// How bad it is, in any case. The words that sources know, such as `warning` or `P2`, are taken with a warning.
    pub severity: Severity,
    /// Who raised it.
    pub source: Source,
    /// Whether the condition holds (`firing`, the default) or has ended (`resolved`).
    #[serde(default)]
    #[schema(default = "firing")]
    pub status: Status,
    /// What the sender deduplicates by; the identity when there is no `id`. Cut as `id` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_length = 1, max_length = 200, example = "web-1/cpu")]
    pub dedup_key: Option<String>,
    /// When the condition began, RFC 3339; without an offset, in UTC.
    #[serde(default, with = "crate::time::optional", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime, example = "2023-12-01T14:30:22Z")]
    pub starts_at: Option<Timestamp>,
    /// When it ended or is expected to end, likewise. What is later than 9999-12-30T22:00:00Z is taken as that.
    #[serde(default, with = "crate::time::optional", skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, value_type = Option<String>, format = DateTime, example = "2023-12-01T14:45:00Z")]
    pub ends_at: Option<Timestamp>,
    /// Where it happened.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub context: Option<Context>,
    /// Key-value pairs to route and group by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(example = json!({"team": "payments"}))]
    pub labels: BTreeMap<String, String>,
    /// Runbooks, dashboards: each a URL, or an object with `href` and `text`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<Value>,
    /// Facts of any shape.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object)]
    pub data: Map<String, Value>,
    /// Measured values by name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    #[schema(value_type = Object, example = json!({"cpu_usage": 95.2}))]
    pub metrics: Map<String, Value>,
    /// Every field that is not listed above.
    #[serde(flatten)]
    #[schema(value_type = HashMap<String, Value>)]
    pub extra: Map<String, Value>,
}

/// How bad it is, in ascending order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AlertSeverity)]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Worth looking at today.
    Medium,
    /// Worth looking at now.
    High,
    /// Worth waking somebody.
    Critical,
}

/// The area an alert belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names say it")]
pub enum AlertType {
    Security,
    Performance,
    Infrastructure,
    Application,
    Network,
    Database,
    Availability,
    Custom,
}

/// Who raised an alert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AlertSource)]
pub struct Source {
    /// The system's name.
    #[schema(min_length = 1, max_length = 200, example = "CloudWatch")]
    pub name: String,
    /// What kind of system it is.
    #[serde(rename = "type")]
    #[schema(min_length = 1, max_length = 200, example = "aws")]
    pub kind: String,
    /// Every other field.
    #[serde(flatten)]
    #[schema(value_type = HashMap<String, Value>)]
    pub extra: Map<String, Value>,
}

/// Where an alert happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = AlertContext)]
pub struct Context {
    /// Such as `production`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "production")]
    pub environment: Option<String>,
    /// The service concerned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = "user-authentication")]
    pub service: Option<String>,
    /// Every other field.
    #[serde(flatten)]
    #[schema(value_type = HashMap<String, Value>)]
    pub extra: Map<String, Value>,
}

/// Whether the condition holds or has ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AlertStatus)]
pub enum Status {
    /// It holds.
    #[default]
    Firing,
    /// It has ended.
    Resolved,
}

macro_rules! display_as_json_text {
    ($($kind:ty),*) => {$(
        impl fmt::Display for $kind {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.serialize(f)
            }
        }
    )*};
}
display_as_json_text!(Severity, AlertType, Status);

impl Alert {
    /// What identifies the alert over repeated posts: its `id`, else its `dedup_key`.
    pub fn identity(&self) -> Option<&str> {
        self.id.as_deref().or(self.dedup_key.as_deref())
    }

    /// The id of the workflow that carries this alert alone: `alert-<identity>-<yyyymmdd>-<hhmmss>`, in UTC, of
    /// `starts_at`, else of `received_at`; a `resolved` has `-resolved` behind the id of its firing. The identity counts
    /// within `scope`.
    pub fn workflow_id(
        &self,
        scope: Scope<'_>,
        received_at: Timestamp,
        generated: impl FnOnce() -> String,
    ) -> String {
        let identity = self.identity().map_or_else(generated, str::to_owned);
        let firing = timed_id(scope, &identity, self.starts_at.unwrap_or(received_at));
        match self.status {
            Status::Firing => firing,
            Status::Resolved => resolve_id(&firing),
        }
    }
}

/// The id of the workflow of an alert with this identity that began then.
pub fn timed_id(scope: Scope<'_>, identity: &str, at: Timestamp) -> String {
    format!("{}{}", untimed_id(scope, identity), stamp(at))
}

/// What the ids of all workflows of an identity begin with, before the time.
pub fn untimed_id(scope: Scope<'_>, identity: &str) -> String {
    format!("alert-{}-", scope.id(identity))
}

/// The id of the workflow that ends the one of this id.
pub fn resolve_id(firing: &str) -> String {
    format!("{firing}-resolved")
}

/// The id of the firing that this id is of, or that it ends.
pub fn firing_id(id: &str) -> &str {
    id.strip_suffix("-resolved").unwrap_or(id)
}

/// Reads an alert from JSON.
///
/// # Errors
/// Every fault, with its path within the alert.
pub fn parse(document: &Value) -> Result<Alert, Vec<Fault>> {
    let faults = schema_faults(document);
    if !faults.is_empty() {
        return Err(faults);
    }
    Alert::deserialize(document).map_err(|error| vec![unreadable(document, &error)])
}

/// What the schema takes and no type of ours: a time that there is not.
fn unreadable(document: &Value, error: &serde_json::Error) -> Fault {
    let value = |name: &&str| document.get(name).filter(|value| Timestamp::deserialize(*value).is_err());
    match ["starts_at", "ends_at"].into_iter().find_map(|name| Some((name, value(&name)?))) {
        Some((name, value)) => {
            let message = format!(
                "{value} is not a time up to {}, such as 2023-12-01T14:30:22Z",
                campanile_lenient::LAST
            );
            Fault { path: name.to_owned(), value: Some(value.clone()), message }
        }
        None => Fault::whole(error.to_string()),
    }
}

/// Reads one of a few words, in any case.
///
/// # Errors
///
/// It is none of them.
pub fn any_case<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    let word = String::deserialize(deserializer)?;
    T::deserialize(word.trim().to_ascii_lowercase().into_deserializer()).map(Some)
}

/// Reads a severity by any word for it.
///
/// # Errors
///
/// It is no word for one.
pub fn any_severity<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Severity>, D::Error> {
    let word = String::deserialize(deserializer)?;
    Severity::deserialize(campanile_lenient::severity(&word).unwrap_or(&word).into_deserializer()).map(Some)
}

/// What the published schema has to say against an alert.
pub fn schema_faults(document: &Value) -> Vec<Fault> {
    static SCHEMA: LazyLock<Validator> = LazyLock::new(fault::validator::<Alert>);
    fault::faults(&SCHEMA, document)
}

/// Why a document is too large or too deep to be carried; `most` is in bytes of JSON.
pub fn bounds_fault(document: &Value, most: usize) -> Option<String> {
    let (bytes, depth) = (size(document), campanile_lenient::depth(document).unwrap_or(0));
    if bytes > most {
        return Some(format!("has {bytes} bytes as JSON, more than {most}"));
    }
    (depth > MOST_DEPTH).then(|| format!("is nested {depth} levels deep, more than {MOST_DEPTH}"))
}

/// `20231201-143022`, in UTC: how ids carry a time.
pub fn stamp(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%Y%m%d-%H%M%S").to_string()
}

/// Whether a text is what [`stamp`] makes.
pub fn is_stamp(text: &str) -> bool {
    let is_digits = |part: &str, count| part.len() == count && part.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-').is_some_and(|(day, time)| is_digits(day, 8) && is_digits(time, 6))
}

/// One alert on its way: what workflows carry and activities take.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AlertItem {
    /// The alert's identity in this host: its workflow's id, with `#<index>` behind it when a batch carries it inline.
    pub id: String,
    /// The alert.
    pub alert: Alert,
    /// Where it comes from.
    pub origin: Arc<Origin>,
}

/// What the alerts of one request have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// The request's `metadata`.
    #[serde(default, skip_serializing_if = "is_empty")]
    pub metadata: Arc<Map<String, Value>>,
    /// When the webhook accepted it.
    #[serde(with = "crate::time::required")]
    pub received_at: Timestamp,
    /// The W3C `traceparent` that plugins pass on.
    pub traceparent: String,
    /// The source that it was posted to: `grafana` of `/webhook/grafana`; absent for `/webhook/alerts`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Arc<str>>,
    /// The name of the key, or of what else it was let in by; absent where nothing is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Arc<str>>,
    /// The address that it was posted from: a proxy's, where one is in front; absent for a socket file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<IpAddr>,
    /// What Temporal stores of it is encrypted, so that its headline is not to be among what alerts are found by.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    /// What was odd about the request.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Who posted: the key, or without keys the peer's address. Shares of the host are counted by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sender(Arc<str>);

impl Sender {
    /// The host itself.
    pub fn host() -> Self {
        Self("the host".into())
    }

    /// The sender of a request to the source `via`. A signature counts as the key of that source alone. Of an IPv6 address
    /// the network counts: whoever has one has all of its addresses.
    pub fn new(key: Option<&str>, via: Option<&str>, from: Option<IpAddr>) -> Self {
        let text = match (key, from) {
            (Some(key @ ("signature" | "sns")), _) => format!("{key} of {}", via.unwrap_or("alerts")),
            (Some(key), _) => format!("key {key}"),
            (None, Some(IpAddr::V6(address))) => {
                let network = u128::from(address) >> 64 << 64;
                format!("{}/64", Ipv6Addr::from(network))
            }
            (None, Some(address)) => address.to_string(),
            (None, None) => "a local socket".to_owned(),
        };
        Self(text.into())
    }
}

impl fmt::Display for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Origin {
    /// Who posted.
    pub fn sender(&self) -> Sender {
        Sender::new(self.key.as_deref(), self.via.as_deref(), self.from)
    }
}

impl AlertItem {
    /// The same item with another alert in it.
    pub fn with(&self, alert: Alert) -> Self {
        Self { id: self.id.clone(), alert, origin: self.origin.clone() }
    }
}

pub(crate) fn is_empty(metadata: &Arc<Map<String, Value>>) -> bool {
    metadata.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(extra: Value) -> Alert {
        let mut document = serde_json::json!({
            "title": "t", "description": "d", "type": "custom", "severity": "low",
            "source": {"name": "n", "type": "t"},
        });
        document.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        serde_json::from_value(document).unwrap()
    }

    fn id(extra: Value) -> String {
        let received: Timestamp = "2024-02-03T04:05:06Z".parse().unwrap();
        alert(extra).workflow_id(Scope::default(), received, || "generated".to_owned())
    }

    #[test]
    fn the_workflow_id_is_made_of_identity_and_start() {
        let starts = "2023-12-01T15:30:22+01:00";
        assert_eq!(id(serde_json::json!({"id": "123", "starts_at": starts})), "alert-123-20231201-143022");
        assert_eq!(id(serde_json::json!({"dedup_key": "k", "starts_at": starts})), "alert-k-20231201-143022");
        assert_eq!(id(serde_json::json!({"id": "123"})), "alert-123-20240203-040506");
        assert_eq!(id(serde_json::json!({})), "alert-generated-20240203-040506");
    }

    #[test]
    fn a_resolve_has_the_id_of_its_firing_and_a_suffix() {
        let resolved =
            serde_json::json!({"id": "123", "status": "resolved", "starts_at": "2023-12-01T14:30:22Z"});
        assert_eq!(id(resolved), "alert-123-20231201-143022-resolved");
    }

    #[test]
    fn a_sender_is_a_key_or_a_network() {
        let sender = |key, via, from: Option<&str>| {
            Sender::new(key, via, from.map(|from| from.parse().unwrap())).to_string()
        };
        assert_eq!(sender(Some("ci"), Some("grafana"), Some("192.0.2.7")), "key ci");
        assert_eq!(sender(Some("signature"), Some("sentry"), Some("192.0.2.7")), "signature of sentry");
        assert_eq!(sender(None, None, Some("192.0.2.7")), "192.0.2.7");
        assert_eq!(sender(None, None, Some("2001:db8:1:2:3:4:5:6")), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_time_that_there_is_not_is_named_by_its_path() {
        let mut document = serde_json::to_value(alert(serde_json::json!({}))).unwrap();
        document["ends_at"] = "9999-12-31T23:59:59Z".into();
        let faults = parse(&document).unwrap_err();
        assert_eq!(
            faults[0].to_string(),
            "ends_at: \"9999-12-31T23:59:59Z\" is not a time up to 9999-12-30T22:00:00Z, such as 2023-12-01T14:30:22Z"
        );
    }

    #[test]
    fn unknown_fields_survive_a_round_trip() {
        let given = serde_json::json!({"x_vendor": {"a": [1, 2.5]}, "context": {"region": "eu"}});
        let back = serde_json::to_value(alert(given)).unwrap();
        assert_eq!(back["x_vendor"], serde_json::json!({"a": [1, 2.5]}));
        assert_eq!(back["context"]["region"], "eu");
    }

    #[test]
    fn what_is_too_large_or_too_deep_is_told() {
        let mut deep = serde_json::json!(1);
        for _ in 0..MOST_DEPTH {
            deep = serde_json::json!([deep]);
        }
        assert_eq!(bounds_fault(&deep, 1_000), None);
        assert_eq!(
            bounds_fault(&serde_json::json!({ "a": deep }), 1_000).unwrap(),
            "is nested 65 levels deep, more than 64"
        );
        assert_eq!(bounds_fault(&serde_json::json!("abcd"), 5).unwrap(), "has 6 bytes as JSON, more than 5");
    }
}
