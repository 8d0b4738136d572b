//! What Zabbix fills into the parameters of the media type. Every value is a text, and one that Zabbix does not know is still
//! `{MACRO}`, or `*UNKNOWN*`.

use std::collections::BTreeMap;

use campanile_guest::source::Sheet;
use serde_json::Value;

/// The one parameter that is posted as a list.
pub(crate) const TAGS: &str = "event_tags";

/// The values of an event that Zabbix has filled in.
pub(crate) struct Event(BTreeMap<String, String>);

impl Event {
    /// Reads each parameter once, so that what is odd is said once.
    pub(crate) fn read(body: &Value, sheet: &mut Sheet) -> Self {
        let names = body.as_object().into_iter().flatten().map(|(name, _)| name).filter(|name| *name != TAGS);
        let known = names.filter_map(|name| {
            let text = sheet.text(name, &body[name], "").filter(|text| !is_unknown(text))?;
            Some((name.clone(), text.into_owned()))
        });
        Self(known.collect())
    }

    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The first of these that is there.
    pub(crate) fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.given(name))
    }
}

/// What Zabbix has left as it is, or does not know.
pub(crate) fn is_unknown(text: &str) -> bool {
    text == "*UNKNOWN*" || is_left(text)
}

/// Whether this is a macro that Zabbix has left as it is.
pub(crate) fn is_macro(value: &Value) -> bool {
    value.as_str().is_some_and(|text| is_left(text.trim()))
}

/// `{EVENT.OPDATA}`, `{$ZABBIX.URL}` and the like.
fn is_left(text: &str) -> bool {
    let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).unwrap_or_default();
    let is_part = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '$');
    !name.is_empty() && name.chars().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_zabbix_has_not_filled_in_is_absent() {
        let body = json!({
            "a": "{EVENT.OPDATA}", "b": "*UNKNOWN*", "c": "{$ZABBIX.URL}", "d": "", "e": " x ", "f": 5, "g": "{a}", "h": "{}",
            "i": [],
        });
        let mut sheet = Sheet::default();
        let event = Event::read(&body, &mut sheet);
        let read = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"].map(|name| event.given(name));
        assert_eq!(read, [None, None, None, None, Some("x"), Some("5"), Some("{a}"), Some("{}"), None, None]);
        assert_eq!(event.first(&["a", "e", "f"]), Some("x"));
        assert_eq!(sheet.warnings, ["i: [] is not a text: left out"]);
    }
}
