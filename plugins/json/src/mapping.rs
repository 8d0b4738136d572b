//! A mapping: from the fields of one system's JSON to those of an alert, as the operator wrote it.

use std::collections::BTreeMap;

use campanile_guest::failure::permanent;
use campanile_guest::source::{Settings, Severity, Sheet, few};
use campanile_guest::template::Names;
use campanile_guest::types::Failure;
use serde_json::Value;

use crate::field::Field;

/// The words of `status` that mean that the condition has ended, unless the mapping lists its own.
const RESOLVED: &str = "resolved, closed, ok, okay, recovered, recovery, up, normal, inactive, cleared";

/// A mapping that works, for operators who have none.
const EXAMPLE: &str = r#"[config.mappings.acme] with title = "/name" and key = "/id""#;

/// How one system's JSON becomes alerts.
pub(crate) struct Mapping {
    /// Its name, which is in the address.
    pub(crate) name: String,
    /// The alerts' `source.name`.
    pub(crate) source: String,
    /// Where the list of entries is; without one, the body is the entry, or a list of them.
    list: Option<String>,
    /// The fields of an alert by their names, and those within `labels`, `data` and `metrics` as `labels.team`.
    pub(crate) fields: BTreeMap<String, Field>,
    /// The system's own words for severities, in lower case.
    pub(crate) severities: BTreeMap<String, Severity>,
    /// Whether its alerts have no end.
    pub(crate) is_momentary: bool,
    /// The words of `status` that mean that the condition has ended, in lower case.
    pub(crate) resolved: Vec<String>,
}

impl Mapping {
    /// The mapping that the path names; at `/`, the only one.
    pub(crate) fn choose(
        path: &str,
        mut mappings: BTreeMap<String, BTreeMap<String, String>>,
    ) -> Result<Self, Failure> {
        let asked = path.split('?').next().unwrap_or_default().trim_matches('/');
        if let Some(settings) = mappings.remove(asked) {
            return Ok(Self::new(asked, settings));
        }
        if mappings.is_empty() {
            let message = format!("the plugin's file has no mapping: add one, such as {EXAMPLE}");
            return Err(permanent("no-mapping", message));
        }
        if asked.is_empty()
            && mappings.len() == 1
            && let Some((name, settings)) = mappings.pop_first()
        {
            return Ok(Self::new(&name, settings));
        }
        let names: Vec<_> = mappings.into_keys().collect();
        let asked = campanile_guest::cut(asked, 80);
        let message = format!(
            "the path behind the source is \"/{asked}\", and the mappings are {}: post to /{}, or add [config.mappings.{}] to the plugin's file",
            names.join(", "),
            names[0],
            if asked.is_empty() { "NAME" } else { &asked },
        );
        Err(permanent("no-mapping", message))
    }

    /// The mapping with these settings. The plugin's schema has seen to it that they are known.
    pub(crate) fn new(name: &str, mut settings: BTreeMap<String, String>) -> Self {
        let resolved = words(settings.remove("resolved").as_deref().unwrap_or(RESOLVED));
        let source = settings.remove("name").unwrap_or_else(|| name.to_owned());
        let list = settings.remove("list");
        let is_momentary = settings.remove("momentary").is_some_and(|set| set == "true");
        let mut severities = BTreeMap::new();
        let mut fields = BTreeMap::new();
        for (key, value) in settings {
            match key.strip_prefix("severities.") {
                Some(word) => {
                    severities.extend(Severity::named(&value).map(|known| (word.to_lowercase(), known)))
                }
                None => {
                    let field = Field::new(&key, value);
                    fields.insert(key, field);
                }
            }
        }
        Self { name: name.to_owned(), source, list, fields, severities, is_momentary, resolved }
    }

    /// The alerts in a body.
    pub(crate) fn decode(&self, body: &Value, settings: Settings) -> Result<Sheet, Failure> {
        let settings = Settings { name: self.source.clone(), ..settings };
        let mut sheet = Sheet::default();
        // What no template names is not made ready for them.
        let names = match self.uses("body") {
            true => Names::default().with("body", body),
            false => Names::default(),
        };
        for (at, entry) in self.entries(body)? {
            let names = if self.uses("entry") { names.clone().with("entry", entry) } else { names.clone() };
            self.add_alert(&at, entry, &names, &settings, &mut sheet);
        }
        Ok(sheet)
    }

    fn uses(&self, name: &str) -> bool {
        self.fields.values().any(|field| field.template().is_some_and(|source| source.contains(name)))
    }

    /// The entries with their places; of too many, one more than the host takes.
    fn entries<'a>(&self, body: &'a Value) -> Result<Vec<(String, &'a Value)>, Failure> {
        let (at, found) = match &self.list {
            Some(pointer) => (pointer.as_str(), body.pointer(pointer)),
            None => ("", Some(body)),
        };
        match found {
            Some(Value::Array(list)) => Ok(few(list)
                .iter()
                .enumerate()
                .map(|(index, entry)| (format!("{at}/{index}"), entry))
                .collect()),
            Some(entry @ Value::Object(_)) => Ok(vec![(at.to_owned(), entry)]),
            _ => {
                let message = format!(
                    "the mapping {} reads a list or an object at {at:?} (`list`), and the body has none there",
                    self.name
                );
                Err(permanent("invalid-payload", message))
            }
        }
    }
}

/// The words between commas, in lower case. None is empty: an entry without a status has not ended.
fn words(text: &str) -> Vec<String> {
    text.split(',').map(|word| word.trim().to_lowercase()).filter(|word| !word.is_empty()).collect()
}
