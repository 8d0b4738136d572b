//! From one entry to an alert. A field that cannot be had costs itself, with a warning that names it.

use std::collections::BTreeMap;

use campanile_guest::source::{Draft, Settings, Sheet, number};
use campanile_guest::template::Names;
use campanile_guest::types::Status;
use serde_json::Value;

use crate::field::written;
use crate::mapping::Mapping;

/// What an alert misses most: a mapping that reads one of these and finds nothing is likely wrong.
const NEEDED: [&str; 4] = ["title", "key", "status", "severity"];

/// The values that a mapping finds in one entry, by the names of its fields.
struct Found<'a>(BTreeMap<&'a str, Value>);

impl Found<'_> {
    fn value(&self, name: &str) -> &Value {
        self.0.get(name).unwrap_or(&Value::Null)
    }

    fn text(&self, name: &str) -> Option<String> {
        written(self.value(name))
    }

    /// Those of the table `table`, such as `labels`.
    fn table(&self, table: &str) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().filter_map(move |(name, value)| {
            Some((name.strip_prefix(table)?.strip_prefix('.')?, value)).filter(|_| !value.is_null())
        })
    }
}

impl Mapping {
    /// Adds the alert that one entry is.
    pub(crate) fn add_alert(
        &self,
        at: &str,
        entry: &Value,
        names: &Names,
        settings: &Settings,
        sheet: &mut Sheet,
    ) {
        if !entry.is_object() {
            return sheet.odd(at, entry, "is not an object: left out");
        }
        let found = self.find_values(at, entry, names, sheet);
        for name in NEEDED.into_iter().filter(|name| self.fields.contains_key(*name)) {
            if found.text(name).is_none() {
                sheet.odd(at, entry, &format!("has no `{name}` by this mapping"));
            }
        }
        let title = found.text("title");
        let draft = Draft::new(at, settings, self.status(&found), title.as_deref())
            .description(found.text("description").as_deref())
            .starts_at("starts-at", found.value("starts-at"))
            .ends_at("ends-at", found.value("ends-at"))
            .context("environment", found.text("environment").as_deref())
            .context("service", found.text("service").as_deref())
            .link("Source", found.text("link").as_deref());
        let draft = self.with_severity(draft, found.value("severity"));
        // Keys count within the source: two systems may have the same.
        let draft = match found.text("key") {
            Some(key) => draft.dedup_key(&format!("{}/{key}", self.name)),
            None => draft,
        };
        let draft = self.with_level(draft, at, found.value("vendor-level"), sheet);
        let draft = if self.is_momentary { draft.momentary() } else { draft };
        let draft = found.table("labels").fold(draft, |draft, (name, value)| draft.label(name, value));
        let draft = found.table("data").fold(draft, |draft, (name, value)| draft.data(name, value));
        sheet.add(
            found.table("metrics").fold(draft, |draft, (name, value)| draft.metric(name, &number(value))),
        );
    }

    fn find_values(&self, at: &str, entry: &Value, names: &Names, sheet: &mut Sheet) -> Found<'_> {
        let mut found = BTreeMap::new();
        for (name, field) in &self.fields {
            match field.value(entry, names) {
                Ok(value) => _ = found.insert(name.as_str(), value),
                Err(why) => sheet.odd(at, entry, &format!("has no `{name}`: its template failed: {why}")),
            }
        }
        Found(found)
    }

    fn status(&self, found: &Found<'_>) -> Status {
        let word = found.text("status").unwrap_or_default().to_lowercase();
        if self.resolved.contains(&word) { Status::Resolved } else { Status::Firing }
    }

    /// The system's own scale.
    fn with_level(&self, draft: Draft, at: &str, level: &Value, sheet: &mut Sheet) -> Draft {
        match number(level).as_i64() {
            Some(level) => draft.level(level),
            None => {
                if !level.is_null() {
                    sheet.odd(at, level, "is not an integer for `vendor-level`, such as 2: left out");
                }
                draft
            }
        }
    }

    /// The mapping's own words first, then those of every source.
    fn with_severity(&self, draft: Draft, word: &Value) -> Draft {
        let text = written(word);
        match text.as_ref().and_then(|text| self.severities.get(&text.to_lowercase())) {
            Some(severity) => draft.known_severity(*severity),
            None => draft.severity("severity", &text.map_or(Value::Null, Value::String)),
        }
    }
}

#[cfg(test)]
mod tests;
