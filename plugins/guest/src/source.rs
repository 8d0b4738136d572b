//! What the shipped sources share: from a vendor's fields to the alerts that the host takes.

mod draft;
mod labelled;
mod severity;
mod time;

use serde_json::Value;

use crate::failure::permanent;
use crate::types::Failure;

pub use draft::Draft;
pub use labelled::{fingerprint, labelled};
pub use severity::Severity;
pub use time::{is_past, rfc3339};

/// The longest excerpt of an odd value in a warning, in characters.
const EXCERPT: usize = 80;

/// What the operator can set of every shipped source.
pub struct Settings {
    /// `name`: the alert's `source.name`.
    pub name: String,
    /// The alert's `source.type`, which is the vendor's.
    pub vendor: &'static str,
    /// `type`: the alert's `type` where the payload gives none.
    pub kind: String,
    /// `severity`: where the payload gives none that is known.
    pub severity: Severity,
}

impl Settings {
    /// The settings of a source that nobody has set.
    pub fn of(vendor: &'static str, name: &str, kind: &str) -> Self {
        Self { name: name.to_owned(), vendor, kind: kind.to_owned(), severity: Severity::Medium }
    }

    /// With what the operator wrote under `[config]`. The plugin's schema has seen to it that the values are known.
    pub fn read(self) -> Result<Self, Failure> {
        let set = |key: &str| crate::config::get(key);
        Ok(Self {
            name: set("name")?.unwrap_or(self.name),
            kind: set("type")?.unwrap_or(self.kind),
            severity: set("severity")?.and_then(|word| Severity::named(&word)).unwrap_or(self.severity),
            vendor: self.vendor,
        })
    }
}

/// What a request held, in the making: the fields of `decoded` that every source fills.
#[derive(Debug, Default)]
pub struct Sheet {
    /// The alerts as JSON.
    pub alerts: Vec<String>,
    /// What was odd.
    pub warnings: Vec<String>,
}

impl Sheet {
    /// Takes an alert.
    pub fn add(&mut self, draft: Draft) {
        self.alerts.push(draft.finish(&mut self.warnings));
    }

    /// Notes what was odd: where, what stands there, and what was made of it.
    pub fn odd(&mut self, at: &str, value: &Value, what: &str) {
        self.warnings.push(odd(at, value, what));
    }
}

fn odd(at: &str, value: &Value, what: &str) -> String {
    format!("{at}: {} {what}", crate::cut(&value.to_string(), EXCERPT))
}

/// The body as JSON.
pub fn json(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| permanent("not-json", format!("the body is not JSON: {error}")))
}

/// The entries of the list at `key`, which the payload cannot do without.
pub fn entries<'a>(payload: &'a Value, key: &str, example: &str) -> Result<&'a Vec<Value>, Failure> {
    payload
        .get(key)
        .and_then(Value::as_array)
        .ok_or_else(|| permanent("invalid-payload", format!("the body has no list `{key}`, as in {example}")))
}

/// The text at a JSON pointer, without white space around it; never empty.
pub fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str).map(str::trim).filter(|text| !text.is_empty())
}

/// A header's text, by its name in lower case.
pub fn header<'a>(headers: &'a [(String, Vec<u8>)], name: &str) -> Option<&'a str> {
    let (_, value) = headers.iter().find(|(given, _)| given == name)?;
    std::str::from_utf8(value).ok().map(str::trim).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_found_by_name() {
        let headers = [("a".to_owned(), b" x ".to_vec()), ("b".to_owned(), vec![0xff])];
        assert_eq!(header(&headers, "a"), Some("x"));
        assert_eq!(header(&headers, "b"), None);
        assert_eq!(header(&headers, "c"), None);
    }

    #[test]
    fn a_missing_list_is_told_with_an_example() {
        let failure = entries(&serde_json::json!({"alerts": 7}), "alerts", "{\"alerts\": []}").unwrap_err();
        assert_eq!(failure.message, "the body has no list `alerts`, as in {\"alerts\": []}");
    }
}
