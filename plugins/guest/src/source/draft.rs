//! One alert in the making. Whatever a vendor sends, what comes out is an alert that the host takes, and what is odd becomes
//! a warning.

use std::borrow::Cow;

use campanile_lenient::{LAST, grouped, shorten};
use serde_json::{Map, Value, json};

use super::{Settings, Severity, odd, rfc3339};
use crate::types::Status;
use crate::{digest, key, one_line, short_line};

/// What the host takes at most, in characters.
const TITLE: usize = 1_024;
const DESCRIPTION: usize = 65_536;
const NAME: usize = 200;
const KEY: usize = 200;
/// How much of a longer description stays; the rest is a fact.
const BEGINNING: usize = 4_000;
/// How much of a text stays that a whole request has in common, in bytes as JSON: a thousand alerts with a few of them stay
/// below what the host takes.
const SHARED: usize = 1 << 10;
/// That fact.
const REST: &str = "description_rest";
/// What of a key identifies an alert, in bytes.
const LONGEST_KEY: usize = 64 << 10;

/// One alert in the making.
pub struct Draft {
    at: String,
    fields: Map<String, Value>,
    warnings: Vec<String>,
    /// The description as it was given, where the alert has it in two parts.
    whole: Option<String>,
}

impl Draft {
    /// An alert with the settings' severity, type and source. `at` is where it stands in the payload, such as `alerts[2]`.
    pub fn new(at: &str, settings: &Settings, status: Status, title: Option<&str>) -> Self {
        let (mut title, mut warnings) = (one_line(title.unwrap_or_default()), Vec::new());
        if shorten(&mut title, TITLE) {
            warnings.push(format!("{}: was cut to {TITLE} characters", inside(at, "title")));
        }
        let name = match short_line(&settings.name, NAME) {
            name if name.is_empty() => settings.vendor.to_owned(),
            name => name,
        };
        let fields = json!({
            "title": if title.is_empty() { format!("{name}: alert without a title") } else { title },
            "description": "",
            "type": settings.kind,
            "severity": settings.severity.as_str(),
            "source": { "name": name, "type": settings.vendor },
            "status": match status { Status::Firing => "firing", Status::Resolved => "resolved" },
        });
        let Value::Object(fields) = fields else { unreachable!("it is an object") };
        Self { at: at.to_owned(), fields, warnings, whole: None }
    }

    /// What happened, in full, unless the title says it already. Of what is longer than the host takes, this is the beginning, and
    /// the rest is the fact `description_rest`.
    pub fn description(mut self, text: Option<&str>) -> Self {
        let text = text.unwrap_or_default();
        if self.fields["title"] == text.trim() {
            return self.set("description", json!(""));
        }
        if text.char_indices().nth(DESCRIPTION).is_none() {
            return self.set("description", json!(text));
        }
        let end = text.char_indices().nth(BEGINNING).map_or(text.len(), |(end, _)| end);
        let (beginning, rest) = text.split_at(end);
        let more = grouped(rest.chars().count());
        self.whole = Some(text.trim().to_owned());
        let beginning = format!("{beginning}… (goes on in data.{REST}, {more} characters more)");
        self.set("description", json!(beginning)).data(REST, &json!(rest))
    }

    /// How bad it is in the vendor's word; the settings' severity stays, with a warning, if the word is not known, and
    /// without one if there is none.
    pub fn severity(mut self, field: &str, word: &Value) -> Self {
        let known = word.as_str().and_then(Severity::named);
        match (known, word) {
            (Some(severity), _) => return self.set("severity", json!(severity.as_str())),
            (None, Value::Null) => {}
            (None, Value::String(text)) if text.trim().is_empty() => {}
            (None, _) => {
                let default = self.fields["severity"].as_str().unwrap_or_default();
                let what = format!("is no known severity: {default} was taken");
                self.warnings.push(odd(&self.inside(field), word, &what));
            }
        }
        self
    }

    /// The severity that the source knows by itself.
    pub fn known_severity(self, severity: Severity) -> Self {
        self.set("severity", json!(severity.as_str()))
    }

    /// What identifies the alert over its firing, its repeats and its resolve. Never empty; what is longer than the host
    /// takes ends in a hash of the whole, of which no more than the beginning counts.
    pub fn dedup_key(self, given: &str) -> Self {
        let end = given.floor_char_boundary(LONGEST_KEY.min(given.len()));
        match one_line(&given[..end]) {
            given if given.is_empty() => self,
            given => self.set("dedup_key", json!(key(&given, KEY))),
        }
    }

    /// Its key counts within this alone, such as the vendor's organisation.
    pub fn within(self, scope: Option<&str>) -> Self {
        match (scope, self.fields.get("dedup_key").and_then(Value::as_str)) {
            (Some(scope), Some(key)) => {
                let key = format!("{key}/{scope}");
                self.dedup_key(&key)
            }
            _ => self,
        }
    }

    /// Its key counts within this credential alone. No more than a hash of it leaves the plugin, of which the host keeps another.
    pub fn within_secret(self, credential: &str) -> Self {
        self.set("secret_scope", json!(digest(credential)))
    }

    /// It has no end, if it fires: nothing will resolve it, and it is never open.
    pub fn momentary(self) -> Self {
        let is_firing = self.fields["status"] == "firing";
        if is_firing { self.set("momentary", json!(true)) } else { self }
    }

    /// It has no end, and no key: each post is another one.
    pub fn single(mut self) -> Self {
        self.fields.remove("dedup_key");
        self.momentary()
    }

    /// How bad it is on the vendor's own scale, of which higher is worse.
    pub fn level(self, level: i64) -> Self {
        self.set("vendor_level", json!(level))
    }

    /// When it began.
    pub fn starts_at(self, field: &str, time: &Value) -> Self {
        self.time("starts_at", field, time)
    }

    /// When it ended or is expected to end.
    pub fn ends_at(self, field: &str, time: &Value) -> Self {
        self.time("ends_at", field, time)
    }

    fn time(mut self, name: &str, field: &str, time: &Value) -> Self {
        match rfc3339(time) {
            Some(read) => {
                if read == LAST.to_string() {
                    self.warnings.push(odd(
                        &self.inside(field),
                        time,
                        &format!("is read as {read}, the last time"),
                    ));
                }
                return self.set(name, json!(read));
            }
            None if time.is_null() || is_zero(time) => {}
            None => self.warnings.push(odd(&self.inside(field), time, "is no time: left out")),
        }
        self
    }

    /// A label; a value that is no text is written as JSON.
    pub fn label(self, name: &str, value: &Value) -> Self {
        self.labels(std::iter::once((&name.to_owned(), value)))
    }

    /// Many labels at once, which is quicker where they come in order.
    pub fn labels<'a>(mut self, labels: impl Iterator<Item = (&'a String, &'a Value)>) -> Self {
        let given = labels.filter(|(_, value)| !value.is_null());
        let labels: Map<_, _> = given.map(|(name, value)| (name.clone(), json!(label_text(value)))).collect();
        if labels.is_empty() {
            return self;
        }
        // The few go into the many.
        let known = self.object("labels");
        if known.len() >= labels.len() {
            known.extend(labels);
        } else {
            let before = std::mem::replace(known, labels);
            for (name, value) in before {
                known.entry(name).or_insert(value);
            }
        }
        self
    }

    /// Where it happened: `environment` or `service`.
    pub fn context(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.object("context").insert(name.to_owned(), json!(value));
        }
        self
    }

    /// A link, if there is one with a web address.
    pub fn link(mut self, text: &str, href: Option<&str>) -> Self {
        let Some(href) = href.map(str::trim) else { return self };
        if href.starts_with("https://") || href.starts_with("http://") {
            let links = self.fields.entry("links").or_insert_with(|| json!([]));
            if let Value::Array(links) = links {
                links.push(json!({ "href": href, "text": text }));
            }
        }
        self
    }

    /// A fact, unless it is null or empty.
    pub fn data(mut self, name: &str, value: &Value) -> Self {
        if !is_empty(value) {
            self.object("data").insert(name.to_owned(), value.clone());
        }
        self
    }

    /// A fact that all alerts of a request have in common. Of a long text it is the beginning: a body with a thousand alerts would
    /// become a thousand such texts. A list or an object is left out.
    pub fn shared(self, name: &str, value: &Value) -> Self {
        if value.is_array() || value.is_object() {
            return self;
        }
        let Some(text) = value.as_str() else { return self.data(name, value) };
        match beginning(text) {
            kept if kept.len() == text.len() => self.data(name, value),
            kept => {
                let mark = campanile_lenient::mark(text.len() - kept.len(), "bytes");
                self.data(name, &json!(format!("{kept}{mark}")))
            }
        }
    }

    /// A link that all alerts of a request have in common; a long one is left out, as half of an address leads nowhere.
    pub fn shared_link(self, text: &str, href: Option<&str>) -> Self {
        let is_short = |href: &&str| beginning(href).len() == href.len();
        self.link(text, href.filter(is_short))
    }

    /// A fact without the texts in it that the title or the description is already: no text is kept twice.
    pub fn rest(self, name: &str, value: &Value) -> Self {
        match self.says(value) {
            true => self,
            false => {
                let rest = self.unsaid(value);
                self.data(name, &rest)
            }
        }
    }

    fn unsaid(&self, value: &Value) -> Value {
        let Value::Object(fields) = value else { return value.clone() };
        let unsaid = fields.iter().filter(|(_, value)| !self.says(value));
        Value::Object(unsaid.map(|(name, value)| (name.clone(), self.unsaid(value))).collect())
    }

    /// Whether this is a text that the alert has as a whole.
    fn says(&self, value: &Value) -> bool {
        let Some(text) = value.as_str().map(str::trim) else { return false };
        let said = [&self.fields["title"], &self.fields["description"]];
        said.into_iter().any(|said| said == text) || self.whole.as_deref() == Some(text)
    }

    /// A measured value, unless there is none.
    pub fn metric(mut self, name: &str, value: &Value) -> Self {
        if !is_empty(value) {
            self.object("metrics").insert(name.to_owned(), value.clone());
        }
        self
    }

    /// The alert, and its warnings.
    pub(super) fn finish(self) -> (Value, Vec<String>) {
        (self.fields.into(), self.warnings)
    }

    fn set(mut self, name: &str, value: Value) -> Self {
        self.fields.insert(name.to_owned(), value);
        self
    }

    fn object(&mut self, name: &str) -> &mut Map<String, Value> {
        let entry = self.fields.entry(name).or_insert_with(|| json!({}));
        match entry {
            Value::Object(object) => object,
            _ => unreachable!("only this function sets {name}"),
        }
    }

    fn inside(&self, field: &str) -> String {
        inside(&self.at, field)
    }
}

/// What is kept of a text that a whole request has in common. No more than that is looked at, as each alert asks for it.
fn beginning(text: &str) -> &str {
    let mut room = SHARED;
    for (at, character) in text.char_indices() {
        // Quotes are not counted.
        let size = campanile_lenient::size(&character) - 2;
        if size > room {
            return &text[..at];
        }
        room -= size;
    }
    text
}

pub(super) fn inside(at: &str, field: &str) -> String {
    if at.is_empty() { field.to_owned() } else { format!("{at}.{field}") }
}

/// A label's value: what is no text is written as JSON.
pub(super) fn label_text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => Cow::Borrowed(""),
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// Go's zero time, an empty text and the number 0 say that there is none.
fn is_zero(time: &Value) -> bool {
    match time {
        Value::String(text) => text.trim().is_empty() || text.starts_with("0001-01-01"),
        other => other.as_f64() == Some(0.0),
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> Settings {
        Settings::of("vendor", "Vendor", "custom")
    }

    #[test]
    fn an_alert_has_what_the_host_asks_for_even_if_the_vendor_sends_nothing() {
        let (alert, warnings) = Draft::new("", &settings(), Status::Firing, None).finish();
        assert_eq!(
            alert,
            json!({
                "title": "Vendor: alert without a title", "description": "", "type": "custom",
                "severity": "medium", "source": {"name": "Vendor", "type": "vendor"}, "status": "firing",
            })
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn what_is_odd_becomes_a_warning_with_its_place_and_value() {
        let draft = Draft::new("alerts[2]", &settings(), Status::Firing, Some("t"))
            .severity("labels.severity", &json!("bogus"))
            .starts_at("startsAt", &json!("soon"))
            .ends_at("endsAt", &json!("0001-01-01T00:00:00Z"));
        let (alert, warnings) = draft.finish();
        assert_eq!(
            warnings,
            [
                "alerts[2].labels.severity: \"bogus\" is no known severity: medium was taken",
                "alerts[2].startsAt: \"soon\" is no time: left out",
            ]
        );
        assert_eq!((&alert["severity"], alert.get("starts_at")), (&json!("medium"), None));
    }

    #[test]
    fn no_text_is_kept_twice() {
        let draft = Draft::new("", &settings(), Status::Firing, Some("503")).description(Some("all of it"));
        let facts = json!({ "summary": "503", "description": " all of it", "note": "503 of lb-1", "in": { "a": "503" } });
        let (alert, _) = draft.rest("annotations", &facts).rest("reason", &json!("all of it")).finish();
        assert_eq!(alert["data"], json!({ "annotations": { "note": "503 of lb-1", "in": {} } }));
        let draft = Draft::new("", &settings(), Status::Firing, Some("503")).description(Some(" 503\n"));
        assert_eq!(draft.finish().0["description"], "", "the title says it");
    }

    #[test]
    fn of_a_long_text_that_all_alerts_share_each_has_the_beginning() {
        let draft = Draft::new("", &settings(), Status::Firing, None);
        let (long, whole) = (json!("ä".repeat(5_000)), json!("g".repeat(SHARED)));
        let (alert, _) = draft
            .shared("long", &long)
            .shared("whole", &whole)
            .shared("number", &json!(7))
            .shared("list", &json!(["g"]))
            .finish();
        assert_eq!((&alert["data"]["whole"], &alert["data"]["number"]), (&whole, &json!(7)));
        assert_eq!(alert["data"].get("list"), None);
        let kept = format!("{}… (cut, 8,976 bytes more)", "ä".repeat(SHARED / 2));
        assert_eq!(alert["data"]["long"], kept);
    }

    #[test]
    fn what_all_alerts_share_is_measured_as_json() {
        let (escaped, long) = ("\u{1}".repeat(5_000), format!("https://a.example/{}", "x".repeat(SHARED)));
        let draft = Draft::new("", &settings(), Status::Firing, None).shared("escaped", &json!(escaped));
        let draft = draft.shared_link("Short", Some("https://a.example")).shared_link("Long", Some(&long));
        let (alert, _) = draft.finish();
        assert_eq!(
            alert["data"]["escaped"],
            format!("{}… (cut, 4,830 bytes more)", "\u{1}".repeat(SHARED / 6))
        );
        assert_eq!(alert["links"], json!([{ "href": "https://a.example", "text": "Short" }]));
    }

    #[test]
    fn of_a_description_that_is_too_long_the_rest_is_a_fact() {
        let long = "ä".repeat(DESCRIPTION + 1);
        let draft = Draft::new("", &settings(), Status::Firing, None).description(Some(&long));
        let (alert, _) = draft.rest("details", &json!(long)).rest("more", &json!({ "a": long })).finish();
        let shown = alert["description"].as_str().unwrap();
        let (beginning, more) = shown.split_at("ä".len() * BEGINNING);
        assert_eq!(more, "… (goes on in data.description_rest, 61,537 characters more)");
        let rest = alert["data"]["description_rest"].as_str().unwrap();
        assert!(format!("{beginning}{rest}") == long, "each part of it is there once");
        assert_eq!(alert["data"].as_object().unwrap().len(), 1, "neither `details` nor `more`");
        let whole = "ä".repeat(DESCRIPTION);
        let draft = Draft::new("", &settings(), Status::Firing, None).description(Some(&whole));
        let (alert, _) = draft.finish();
        assert_eq!((&alert["description"], alert.get("data")), (&json!(whole), None));
    }

    #[test]
    fn what_is_too_long_or_too_late_is_taken_with_a_warning() {
        let draft = Draft::new("alerts[0]", &settings(), Status::Firing, Some(&"t".repeat(1_500)))
            .ends_at("endsAt", &json!("9999-12-31T23:59:59Z"));
        let (alert, warnings) = draft.finish();
        let title = alert["title"].as_str().unwrap();
        assert!(title.chars().count() <= 1_024 && title.ends_with("t… (cut, 501 bytes more)"), "{title}");
        assert_eq!(alert["ends_at"], "9999-12-30T22:00:00Z");
        let late =
            "alerts[0].endsAt: \"9999-12-31T23:59:59Z\" is read as 9999-12-30T22:00:00Z, the last time";
        assert_eq!(warnings, ["alerts[0].title: was cut to 1024 characters", late]);
    }

    #[test]
    fn keys_are_never_empty_and_never_too_long() {
        let key = |key: &str| Draft::new("", &settings(), Status::Firing, None).dedup_key(key).finish().0;
        assert_eq!(key(" \n").get("dedup_key"), None);
        let (one, other) = (key(&"x".repeat(250)), key(&format!("{}y", "x".repeat(249))));
        assert_eq!(one["dedup_key"].as_str().unwrap().chars().count(), 200);
        assert_ne!(one["dedup_key"], other["dedup_key"]);
    }

    #[test]
    fn a_key_counts_within_what_the_vendor_scopes_it_by() {
        let draft = |key| Draft::new("", &settings(), Status::Firing, None).dedup_key(key);
        let key = |draft: Draft| draft.finish().0["dedup_key"].clone();
        assert_eq!(key(draft("k").within(Some("7"))), "k/7");
        assert_eq!(
            (key(draft("k").within(None)), key(draft("").within(Some("7")))),
            (json!("k"), Value::Null)
        );
        let long = "x".repeat(200);
        assert_ne!(key(draft(&long).within(Some("7"))), key(draft(&long).within(Some("8"))));
    }

    #[test]
    fn a_credential_does_not_leave_the_plugin() {
        let (alert, _) = Draft::new("", &settings(), Status::Firing, None).within_secret("R0TEAMA").finish();
        assert_eq!(alert["secret_scope"].as_str().map(str::len), Some(32));
        assert!(!alert.to_string().contains("R0TEAMA"));
    }

    #[test]
    fn what_has_no_end_says_so() {
        let draft = || Draft::new("", &settings(), Status::Firing, None).dedup_key("k").level(2);
        let (momentary, _) = draft().momentary().finish();
        assert_eq!((&momentary["momentary"], &momentary["dedup_key"]), (&json!(true), &json!("k")));
        let (single, _) = draft().single().finish();
        assert_eq!((&single["momentary"], single.get("dedup_key")), (&json!(true), None));
        assert_eq!(single["vendor_level"], 2);
        let (end, _) = Draft::new("", &settings(), Status::Resolved, None).momentary().finish();
        assert_eq!(end.get("momentary"), None);
    }
}
