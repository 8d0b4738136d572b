//! The JSON Schema that a plugin gives for its settings. It comes from the plugin, so that what would take the host much
//! time or space is refused: its size, its patterns, and what its references come to.

mod words;

use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

use super::error::one_line;
use crate::fault::{self, Fault};

/// The largest schema, in bytes.
const LARGEST: usize = 64 << 10;
/// The largest pattern in it, in bytes when it is compiled.
const LARGEST_PATTERN: usize = 1 << 20;
/// How many values it may have once every `$ref` is replaced by what it refers to.
const MOST_VALUES: usize = 20_000;
/// How many bytes its texts and the names of its members may have then: texts are values of one each, and they may be long.
const MOST_TEXT: usize = 1 << 20;
/// How many levels may be nested in one another then: the validator goes down them one by one, on a stack that ends.
const MOST_LEVELS: usize = 64;
/// How many references may lead from one to the next.
const DEEPEST: usize = 32;
/// The longest text about what is wrong with it, in characters: the schema's own words may be in it.
const LONGEST_REASON: usize = 512;

/// What a plugin's settings must be.
pub(super) struct Schema {
    /// Absent where the plugin takes no settings.
    validator: Option<Validator>,
    /// The schema without references.
    inlined: Value,
}

impl Schema {
    /// Reads what a plugin gives; an empty text takes no settings.
    ///
    /// # Errors
    ///
    /// Why it cannot be used: the plugin is at fault, not the operator's file.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self { validator: None, inlined: Value::Null });
        }
        Self::inlined(text).map_err(|error| {
            let error = one_line(&error, LONGEST_REASON);
            format!("the JSON Schema that the plugin gives for its settings cannot be used: {error}")
        })
    }

    fn inlined(text: &str) -> Result<Self, String> {
        if text.len() > LARGEST {
            return Err(format!("it has {} bytes, more than {LARGEST}", text.len()));
        }
        let schema: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let given = schema;
        let schema = Inliner { root: &given, size: Size::default(), at: String::new() }
            .inline(&given, &mut Vec::new())?;
        // They go over a text once: no look-around, and no search that turns back.
        let patterns = PatternOptions::regex().size_limit(LARGEST_PATTERN).dfa_size_limit(LARGEST_PATTERN);
        let validator = jsonschema::options().with_pattern_options(patterns).build(&schema);
        let validator = Some(validator.map_err(|error| unusable(&given, &schema, &error))?);
        Ok(Self { validator, inlined: schema })
    }

    /// Makes of each setting that is one of a few words the word as the schema writes it: `High` is `high`.
    pub(super) fn settle_words(&self, config: &mut Map<String, Value>) {
        words::settle_members(config, &self.inlined);
    }

    /// What is wrong with settings, each with its path, which begins with `config`.
    pub(super) fn faults(&self, config: &Map<String, Value>) -> Vec<Fault> {
        match &self.validator {
            Some(validator) => {
                below_config(fault::faults_by(validator, &self.inlined, &Value::Object(config.clone())))
            }
            None if config.is_empty() => Vec::new(),
            None => vec![Fault {
                path: "config".to_owned(),
                value: None,
                message: "the plugin takes none".to_owned(),
            }],
        }
    }
}

/// What is wrong with a schema, and where. `inlined` is what it was made of `given`.
fn unusable(given: &Value, inlined: &Value, error: &ValidationError<'_>) -> String {
    // A pattern that does not compile is found by its place in the schema, what else is wrong by that in the document.
    let places = [error.instance_path().as_str(), error.schema_path().as_str()];
    let is_it = |place: &&&str| inlined.pointer(place) == Some(&**error.instance());
    match places.iter().find(is_it) {
        Some(place) if given.pointer(place).is_some() => format!("{}: {error}", at(place)),
        Some(place) => format!("{}, once each `$ref` is written out: {error}", at(place)),
        None => error.to_string(),
    }
}

/// A place in the schema, as a JSON Pointer.
fn at(pointer: &str) -> String {
    if pointer.is_empty() { "at its root".to_owned() } else { format!("at {pointer}") }
}

/// Replaces each `$ref` by what it refers to, as derived schemas have them for their types. If each refers twice to the
/// next, sixty come to more than any machine checks: so what they come to is counted while it is made.
struct Inliner<'a> {
    root: &'a Value,
    size: Size,
    /// Where it is, as a JSON Pointer.
    at: String,
}

/// What is made so far, and how deep it is where it is made.
#[derive(Default)]
struct Size {
    values: usize,
    text: usize,
    levels: usize,
}

impl Size {
    /// Counts a value before it is copied; its members and entries come later.
    fn count(&mut self, value: &Value) -> Result<(), String> {
        self.values += 1;
        self.text += match value {
            Value::String(text) => text.len(),
            Value::Object(members) => members.keys().map(String::len).sum(),
            _ => 0,
        };
        let over = |what: &str| Err(format!("it has more than {what} once each `$ref` is written out"));
        match self {
            Self { values, .. } if *values > MOST_VALUES => over(&format!("{MOST_VALUES} values")),
            Self { text, .. } if *text > MOST_TEXT => over(&format!("{MOST_TEXT} bytes of texts and names")),
            Self { levels, .. } if *levels >= MOST_LEVELS => over(&format!("{MOST_LEVELS} levels")),
            _ => Ok(()),
        }
    }
}

impl<'a> Inliner<'a> {
    /// The schema without references; `within` are those that led to it.
    fn inline(&mut self, schema: &'a Value, within: &mut Vec<&'a str>) -> Result<Value, String> {
        self.size.count(schema)?;
        self.size.levels += 1;
        let inlined = match schema {
            Value::Array(parts) => {
                let parts = parts.iter().enumerate();
                parts.map(|(index, part)| self.below(&index.to_string(), part, within)).collect()
            }
            Value::Object(members) => self.inline_members(members, within),
            other => Ok(other.clone()),
        };
        self.size.levels -= 1;
        inlined
    }

    fn below(&mut self, name: &str, part: &'a Value, within: &mut Vec<&'a str>) -> Result<Value, String> {
        let before = self.at.len();
        self.at += &format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let inlined = self.inline(part, within);
        self.at.truncate(before);
        inlined
    }

    fn here(&self, what: &str) -> String {
        format!("{}: {what}", at(&self.at))
    }

    fn inline_members(
        &mut self,
        members: &'a Map<String, Value>,
        within: &mut Vec<&'a str>,
    ) -> Result<Value, String> {
        let mut inlined = Map::new();
        for (key, part) in members {
            match (key.as_str(), part) {
                ("$ref", Value::String(reference)) => {
                    let target = self.follow(reference, within)?;
                    // What stands beside a reference holds as well.
                    push_all_of(&mut inlined, target);
                }
                ("$dynamicRef" | "$recursiveRef", Value::String(_)) => {
                    return Err(self.here(&format!(
                        "it has a `{key}`: use a `$ref` within the schema, such as #/$defs/name"
                    )));
                }
                // Only references lead there; below the root it is a setting of that name.
                ("$defs" | "definitions", Value::Object(_)) if self.is_root(members) => {}
                ("allOf", part) => {
                    let part = self.below(key, part, within)?;
                    match part {
                        Value::Array(parts) => {
                            parts.into_iter().for_each(|part| push_all_of(&mut inlined, part))
                        }
                        other => _ = inlined.insert(key.clone(), other),
                    }
                }
                (_, part) => _ = inlined.insert(key.clone(), self.below(key, part, within)?),
            }
        }
        Ok(Value::Object(inlined))
    }

    fn is_root(&self, members: &Map<String, Value>) -> bool {
        self.root.as_object().is_some_and(|root| std::ptr::eq(root, members))
    }

    fn follow(&mut self, reference: &'a str, within: &mut Vec<&'a str>) -> Result<Value, String> {
        if within.contains(&reference) {
            return Err(self.here(&format!(
                "its `$ref` {reference} refers to itself: settings cannot be nested without end"
            )));
        }
        if within.len() >= DEEPEST {
            return Err(self.here(&format!("more than {DEEPEST} of its `$ref` lead from one to the next")));
        }
        let target = reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer));
        let target = target.ok_or_else(|| {
            self.here(&format!(
                "its `$ref` {reference} leads to nothing in the schema: it must be such as #/$defs/name"
            ))
        })?;
        within.push(reference);
        let before = std::mem::replace(&mut self.at, reference.trim_start_matches('#').to_owned());
        let inlined = self.inline(target, within);
        self.at = before;
        within.pop();
        inlined
    }
}

fn push_all_of(members: &mut Map<String, Value>, part: Value) {
    // If the schema's own is not a list, the validator says so.
    if let Value::Array(parts) = members.entry("allOf").or_insert_with(|| Value::Array(Vec::new())) {
        parts.push(part);
    }
}

fn below_config(faults: Vec<Fault>) -> Vec<Fault> {
    let path = |path: &str| if path.is_empty() { "config".to_owned() } else { format!("config.{path}") };
    faults.into_iter().map(|fault| Fault { path: path(&fault.path), ..fault }).collect()
}

#[cfg(test)]
mod bounds;

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(schema: &Value) -> String {
        Schema::read(&schema.to_string()).err().unwrap_or_default()
    }

    fn faults(schema: &Value, config: Value) -> Vec<String> {
        let schema = Schema::read(&schema.to_string()).unwrap();
        let mut faults: Vec<_> =
            schema.faults(config.as_object().unwrap()).iter().map(Fault::to_string).collect();
        faults.sort();
        faults
    }

    #[test]
    fn settings_are_checked_against_the_schema() {
        let schema = json!({"type": "object", "properties": {"url": {"type": "string"}}, "additionalProperties": false});
        let found = faults(&schema, json!({"url": 3, "extra": "x"}));
        assert_eq!(found[0], "config.extra: is not a known key");
        assert!(found[1].starts_with("config.url: 3 is a number"), "{found:?}");
        let none = Schema::read(" ").unwrap();
        assert_eq!(none.faults(&Map::new()), []);
        assert_eq!(none.faults(json!({"url": 3}).as_object().unwrap())[0].message, "the plugin takes none");
        assert!(Schema::read("{").err().unwrap().contains("JSON Schema"));
    }

    /// As schemars and utoipa derive them.
    #[test]
    fn references_hold_with_what_stands_beside_them() {
        let schema = json!({
            "type": "object",
            "properties": {
                "mode": {"$ref": "#/$defs/Mode", "description": "How."},
                "$ref": {"type": "integer"},
                "definitions": {"type": "integer"},
                "both": {"allOf": [{"$ref": "#/$defs/Mode"}], "$ref": "#/$defs/Short"},
            },
            "$defs": {
                "Mode": {"anyOf": [{"$ref": "#/$defs/Fast"}, {"const": "slow"}]},
                "Fast": {"const": "fast"},
                "Short": {"maxLength": 4},
            },
        });
        assert!(faults(&schema, json!({"mode": "fast", "$ref": 1, "both": "slow"})).is_empty());
        assert_eq!(faults(&schema, json!({"mode": "odd"})).len(), 1);
        assert_eq!(faults(&schema, json!({"$ref": "x", "definitions": "x"})).len(), 2);
        assert_eq!(faults(&schema, json!({"both": "mighty"})).len(), 2);
    }

    #[test]
    fn what_is_wrong_with_a_schema_has_its_place() {
        for (schema, words) in [
            (json!({"properties": {"url": {"type": "strin"}}}), "at /properties/url/type: \"strin\" is not"),
            (
                json!({"properties": {"a/b": {"pattern": "("}}}),
                "at /properties/a~1b/pattern: \"(\" is not a \"regex\"",
            ),
            (json!({"properties": {"url": {"minLength": -1}}}), "at /properties/url/minLength: -1 is less"),
            (json!({"properties": []}), "at /properties: [] is not of type"),
            (json!([]), "at its root: [] is not of type"),
            (
                json!({"properties": {"url": {"$ref": "#/$defs/Url"}}, "$defs": {"Url": {"type": "strin"}}}),
                "at /properties/url/allOf/0/type, once each `$ref` is written out: \"strin\" is not",
            ),
            (
                json!({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"items": [{"$ref": "#/$defs/No"}]}}}),
                "at /$defs/A/items/0: its `$ref` #/$defs/No leads to nothing",
            ),
            (json!({"properties": {"a": {"$dynamicRef": "#a"}}}), "at /properties/a: it has a `$dynamicRef`"),
        ] {
            let refused = refused(&schema);
            let said = refused.split_once("cannot be used: ").map_or("", |(_, said)| said);
            assert!(said.starts_with(words), "{schema}: {refused}");
        }
    }

    #[test]
    fn a_schema_that_could_keep_the_host_busy_is_refused() {
        let twice = |level: u32| json!({"allOf": vec![json!({"$ref": format!("#/$defs/l{level}")}); 2]});
        let mut levels = json!({"l0": {"type": "object"}});
        (1..20).for_each(|level| levels[format!("l{level}")] = twice(level - 1));
        let flood = refused(&json!({"$ref": "#/$defs/l19", "$defs": levels}));
        assert!(flood.contains("more than 20000 values"), "{flood}");
        let mut row = json!({"l0": {"type": "object"}});
        (1..64)
            .for_each(|level| row[format!("l{level}")] = json!({"$ref": format!("#/$defs/l{}", level - 1)}));
        assert!(
            refused(&json!({"$ref": "#/$defs/l63", "$defs": row})).contains("more than 32 of its `$ref`")
        );
        let ring = json!({"$ref": "#/$defs/a", "$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}});
        assert!(refused(&ring).contains("#/$defs/a refers to itself"));
        for elsewhere in ["#/$defs/b", "https://json-schema.org/draft/2020-12/schema", "other.json#/a"] {
            assert!(refused(&json!({"$ref": elsewhere})).contains("leads to nothing"), "{elsewhere}");
        }
        assert!(refused(&json!({"$dynamicRef": "#a"})).contains("`$dynamicRef`"));
        assert!(refused(&json!({"title": "x".repeat(LARGEST)})).contains("more than 65536"));
        assert!(refused(&json!({"type": "x".repeat(9_000)})).len() < 1_000);
        for pattern in ["^(?=x)(x+x+)+y$", "^((x+)+)\\1y$", "x{1000}{1000}"] {
            let refused = refused(&json!({"properties": {"url": {"pattern": pattern}}}));
            assert!(refused.contains("is not a \"regex\""), "{pattern}: {refused}");
        }
    }
}
