//! What the shipped sources share: from a vendor's fields to the alerts that the host takes.

mod draft;
mod labelled;
mod severity;
mod time;

use std::io;

use serde_json::Value;

use crate::failure::permanent;
use crate::types::Failure;

pub use draft::Draft;
pub use labelled::{fingerprint, labelled};
pub use severity::Severity;
pub use time::{is_past, rfc3339};

/// The longest excerpt of an odd value in a warning, in characters.
const EXCERPT: usize = 80;
/// The most entries of a list that are read: one more than the host takes, so that it can say so.
const MOST_ENTRIES: usize = 1_001;
/// The most that the alerts of a request may have together, in bytes: the host takes 8 MiB with all else.
const MOST_BYTES: usize = 7 << 20;
/// How many warnings are kept; the host shows fewer.
const MOST_WARNINGS: usize = 100;

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
    /// The size of the alerts.
    size: usize,
}

impl Sheet {
    /// Takes an alert, if there is room for it.
    pub fn add(&mut self, draft: Draft) {
        if self.size > MOST_BYTES {
            return;
        }
        let (alert, warnings) = draft.finish();
        self.size += alert.len();
        self.alerts.push(alert);
        self.warnings.extend(warnings);
        self.warnings.truncate(MOST_WARNINGS);
    }

    /// Notes what was odd: where, what stands there, and what was made of it.
    pub fn odd(&mut self, at: &str, value: &Value, what: &str) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(odd(at, value, what));
        }
    }

    /// The sheet, unless its alerts are more than the host takes.
    pub fn complete(self) -> Result<Self, Failure> {
        if self.size <= MOST_BYTES {
            return Ok(self);
        }
        let message = format!(
            "the alerts of this request have more than {MOST_BYTES} bytes together: send fewer in one"
        );
        Err(permanent("too-large", message))
    }
}

fn odd(at: &str, value: &Value, what: &str) -> String {
    format!("{at}: {} {what}", crate::cut(&excerpt(value), EXCERPT))
}

/// The beginning of a value as JSON: of a large one no more is written.
fn excerpt(value: &Value) -> String {
    struct Beginning(Vec<u8>);
    impl io::Write for Beginning {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // A character has four bytes at most.
            let room = (4 * EXCERPT + 4).saturating_sub(self.0.len());
            if room == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let taken = &bytes[..bytes.len().min(room)];
            self.0.extend(taken);
            Ok(taken.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut beginning = Beginning(Vec::new());
    // It ends with an error where there is no room for more.
    let _ = serde_json::to_writer(&mut beginning, value);
    let text = String::from_utf8_lossy(&beginning.0);
    text.trim_end_matches(char::REPLACEMENT_CHARACTER).to_owned()
}

/// The body as JSON.
pub fn json(body: &[u8]) -> Result<Value, Failure> {
    serde_json::from_slice(body)
        .map_err(|error| permanent("not-json", format!("the body is not JSON: {error}")))
}

/// The entries of the list at `key`, which the payload cannot do without; of too many, one more than the host takes.
pub fn entries<'a>(payload: &'a Value, key: &str, example: &str) -> Result<&'a [Value], Failure> {
    payload
        .get(key)
        .and_then(Value::as_array)
        .map(|list| few(list))
        .ok_or_else(|| permanent("invalid-payload", format!("the body has no list `{key}`, as in {example}")))
}

/// The entries of a list that are read.
pub fn few(list: &[Value]) -> &[Value] {
    &list[..list.len().min(MOST_ENTRIES)]
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
    use crate::types::Status;
    use serde_json::json;

    #[test]
    fn alerts_that_the_host_would_refuse_are_not_made() {
        let settings = Settings::of("vendor", "Vendor", "custom");
        let (mut sheet, large) = (Sheet::default(), json!("x".repeat(1 << 20)));
        for _ in 0..1_000 {
            sheet.add(Draft::new("", &settings, Status::Firing, None).data("large", &large));
        }
        assert_eq!(sheet.alerts.len(), 7);
        let failure = sheet.complete().unwrap_err();
        assert!(failure.message.contains("send fewer in one"), "{}", failure.message);
        assert!(Sheet::default().complete().is_ok());
    }

    #[test]
    fn of_many_odd_values_the_first_are_shown_and_their_beginnings() {
        let mut sheet = Sheet::default();
        for _ in 0..1_000 {
            sheet.odd("a", &json!("ä".repeat(1_000)), "is odd");
        }
        assert_eq!(sheet.warnings.len(), MOST_WARNINGS);
        assert_eq!(sheet.warnings[0], format!("a: \"{}… is odd", "ä".repeat(EXCERPT - 2)));
        assert_eq!(odd("b", &json!([1, "c"]), "is odd"), "b: [1,\"c\"] is odd");
    }

    #[test]
    fn headers_are_found_by_name() {
        let headers = [("a".to_owned(), b" x ".to_vec()), ("b".to_owned(), vec![0xff])];
        assert_eq!(header(&headers, "a"), Some("x"));
        assert_eq!(header(&headers, "b"), None);
        assert_eq!(header(&headers, "c"), None);
    }

    #[test]
    fn a_missing_list_is_told_with_an_example() {
        let failure = entries(&json!({"alerts": 7}), "alerts", "{\"alerts\": []}").unwrap_err();
        assert_eq!(failure.message, "the body has no list `alerts`, as in {\"alerts\": []}");
    }
}
