//! A lenient view of `alert.document`: what is absent or of another type reads as absent.

use serde_json::Value;

use crate::failure::permanent;
use crate::text::is_blank;
use crate::types::Failure;

/// The whole alert as JSON.
pub struct Document(Value);

impl Document {
    /// Parses `alert.document`.
    pub fn parse(document: &str) -> Result<Self, Failure> {
        serde_json::from_str(document).map(Self).map_err(|error| {
            permanent("invalid-document", format!("the alert's document is not JSON: {error}"))
        })
    }

    /// The text at a JSON pointer such as `/source/name`, without white space around it; never blank.
    pub fn text(&self, pointer: &str) -> Option<&str> {
        self.0.pointer(pointer).and_then(Value::as_str).map(str::trim).filter(|text| !is_blank(text))
    }

    /// The area the alert belongs to, such as `security`.
    pub fn kind(&self) -> &str {
        self.text("/type").unwrap_or("custom")
    }

    /// What happened, in full; may be empty.
    pub fn description(&self) -> &str {
        self.text("/description").unwrap_or_default()
    }

    /// The name of the system that raised it.
    pub fn source(&self) -> &str {
        self.text("/source/name").unwrap_or("unknown source")
    }

    /// Where it happened, `environment/service`, or the one of the two that is known.
    pub fn place(&self) -> Option<String> {
        let parts = ["/context/environment", "/context/service"].map(|pointer| self.text(pointer));
        let known: Vec<&str> = parts.into_iter().flatten().collect();
        (!known.is_empty()).then(|| known.join("/"))
    }

    /// What triage made of it, `P1` to `P4`, if it ran.
    pub fn priority(&self) -> Option<&str> {
        self.text("/data/triage/priority")
    }

    /// The links with an `http` or `https` address, each with its text (the address itself if it has none).
    pub fn links(&self) -> Vec<(&str, &str)> {
        let links = self.0.get("links").and_then(Value::as_array);
        links.into_iter().flatten().filter_map(link).collect()
    }

    /// The whole document, to look at.
    pub fn value(&self) -> &Value {
        &self.0
    }

    /// The whole document.
    pub fn into_value(self) -> Value {
        self.0
    }
}

fn link(value: &Value) -> Option<(&str, &str)> {
    let href = value.as_str().or_else(|| value.get("href")?.as_str())?.trim();
    let text = value.get("text").and_then(Value::as_str).map(str::trim).filter(|text| !is_blank(text));
    let web = href.starts_with("https://") || href.starts_with("http://");
    web.then(|| (href, text.unwrap_or(href)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_or_odd_reads_as_absent() {
        let document =
            Document::parse(r#"{"type": 7, "context": {"service": " payments "}, "data": []}"#).unwrap();
        assert_eq!(document.kind(), "custom");
        assert_eq!(document.source(), "unknown source");
        assert_eq!(document.place().as_deref(), Some("payments"));
        assert_eq!(document.priority(), None);
        assert!(document.links().is_empty());
    }

    #[test]
    fn links_are_web_addresses_with_a_text() {
        let text = r#"{"links": ["https://a.example", {"href": "http://b.example", "text": "B"}, "javascript:x", 3,
            {"href": "http://c.example", "text": "\u200b"}]}"#;
        let document = Document::parse(text).unwrap();
        assert_eq!(
            document.links(),
            [
                ("https://a.example", "https://a.example"),
                ("http://b.example", "B"),
                ("http://c.example", "http://c.example"),
            ]
        );
    }

    #[test]
    fn what_is_not_json_is_a_permanent_failure() {
        let failure = Document::parse("{").err().unwrap();
        assert_eq!(failure.code, "invalid-document");
    }
}
