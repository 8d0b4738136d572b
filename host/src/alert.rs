//! The vocabulary: what an alert is, and how its identity is formed. No I/O.

mod mend;

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, LazyLock};

use campanile_store::Disposition;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use jsonschema::Validator;
use serde::de::IntoDeserializer;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::fault::{self, Fault};
use crate::ledger::Acknowledgement;
use crate::scope::Scope;

pub use campanile_lenient::size;
use mend::MOST_KEY;
pub use mend::{mend, mend_key};

/// The largest alert, in bytes of JSON: Temporal takes 2 MB per payload, and a ledger repeats the alert.
pub const MOST_BYTES: usize = 512 << 10;
/// The deepest alert, in levels: readers of JSON stop at 128, and what carries an alert adds some.
pub const MOST_DEPTH: usize = 64;

/// The field that says who has taken an alert over. The host alone writes it.
pub const ACKNOWLEDGEMENT: &str = "acknowledgement";
/// Where the document for an updater says to which life the alert belongs.
pub const THREAD_ID: &str = "thread_id";

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
    /// It has no end: no resolve follows, and it is never open. Posts with the same key within `webhook.repeat-window` are
    /// duplicates.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[schema(default = false)]
    pub momentary: bool,
    /// How bad it is on the sender's own scale, of which higher is worse: compared with what was notified before where the severity
    /// is the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, example = 2)]
    pub vendor_level: Option<i64>,
    /// A credential of the sender within which the key counts, such as PagerDuty's routing key. The host appends a keyed hash of it
    /// to the key, and keeps nothing else of it.
    #[serde(default, skip_serializing_if = "is_secret")]
    #[schema(nullable = false, write_only)]
    pub secret_scope: Option<String>,
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

impl Severity {
    /// Its place in ascending order, as the store has it.
    pub fn rank(self) -> i16 {
        self as i16
    }

    /// The severity at this place.
    pub fn from_rank(rank: i16) -> Self {
        match rank {
            ..=0 => Self::Low,
            1 => Self::Medium,
            2 => Self::High,
            3.. => Self::Critical,
        }
    }
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

    /// Appends to the key a hash of the credential within which it counts, and forgets that.
    pub fn scope_key(&mut self, hash: impl FnOnce(&str) -> String) {
        let key = self.id.as_mut().or(self.dedup_key.as_mut());
        if let Some((scope, key)) = self.secret_scope.take().zip(key) {
            *key = campanile_lenient::key(&format!("{key}/{}", hash(&scope)), MOST_KEY);
        }
    }
}

/// What the ids of all alerts of an identity begin with, before the time.
pub fn untimed_id(scope: Scope<'_>, identity: &str) -> String {
    format!("alert-{}-", scope.id(identity))
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

/// One alert on its way: what workflows carry and activities take.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AlertItem {
    /// Its id in this host, which the store has given it.
    pub id: String,
    /// The id of its life, the same for all notifications of that.
    pub thread_id: String,
    /// What its post became.
    pub disposition: Disposition,
    /// Whether it is worse than what was notified of its life before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_worse: bool,
    /// Who had acknowledged it before it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acknowledged: Option<Acknowledgement>,
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
        Self {
            id: self.id.clone(),
            thread_id: self.thread_id.clone(),
            disposition: self.disposition,
            is_worse: self.is_worse,
            acknowledged: self.acknowledged.clone(),
            alert,
            origin: self.origin.clone(),
        }
    }
}

/// What is never written: `skip_serializing` would leave the field out of the published schema, too.
fn is_secret(_: &Option<String>) -> bool {
    true
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
    fn a_key_within_a_credential_has_its_hash_alone() {
        let mut scoped = alert(serde_json::json!({"dedup_key": "48211", "secret_scope": "R0TEAMA"}));
        assert!(!serde_json::to_string(&scoped).unwrap().contains("R0TEAMA"));
        scoped.scope_key(|scope| format!("h{}", scope.len()));
        assert_eq!((scoped.identity(), &scoped.secret_scope), (Some("48211/h7"), &None));
        scoped.scope_key(|_| unreachable!("it is scoped already"));
        let faults = parse(&serde_json::json!({"secret_scope": false})).unwrap_err();
        assert!(faults.iter().any(|fault| fault.path == "secret_scope"), "{faults:?}");
        let mut own = alert(serde_json::json!({"id": "x".repeat(200), "dedup_key": "k", "secret_scope": ""}));
        own.scope_key(|_| "h".to_owned());
        assert_eq!((own.identity().unwrap().len(), own.dedup_key.as_deref()), (200, Some("k")));
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
