//! What is wrong with a document (an alert, a configuration file, a plugin's settings), fault by fault, each with its
//! path, the value and what is allowed. One shape for all of them, made from a JSON Schema's verdict. No I/O.

use std::collections::BTreeMap;
use std::fmt;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{ValidationError, Validator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

/// The longest text of an offending value that is repeated to its sender, in characters.
const SHOWN_VALUE: usize = 100;
/// How many faults are listed; a document with more is not worth a longer list.
pub(crate) const MOST_FAULTS: usize = 100;

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// Where, such as `alerts[2].severity`; empty for the document as a whole.
    #[schema(example = "alerts[2].severity")]
    pub path: String,
    /// What stands there, `null` if nothing does. Long values are cut.
    #[serde(default)]
    #[schema(value_type = Value, example = "urgent")]
    pub value: Option<Value>,
    /// What is wrong with it and what is allowed.
    #[schema(example = "\"urgent\" is not one of low, medium, high, critical")]
    pub message: String,
}

/// What is said of a value that is not there.
const MISSING: &str = "is required";

impl Fault {
    /// Whether it is that a value is not there.
    pub fn is_missing(&self) -> bool {
        self.message == MISSING
    }

    /// A fault of the document as a whole.
    pub fn whole(message: impl Into<String>) -> Self {
        Self { path: String::new(), value: None, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// A validator for the schema that the API's own description gives for `T`, so that what is documented is what is
/// checked.
pub fn validator<T: ToSchema>() -> Validator {
    let mut schemas = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut schemas);
    let schemas: BTreeMap<_, _> = schemas.into_iter().collect();
    let root = format!("#/components/schemas/{}", T::name());
    let document = json!({"$ref": root, "components": {"schemas": schemas}});
    // The schema is derived from our own types: it does not depend on input.
    jsonschema::options().should_validate_formats(true).build(&document).expect("derived schemas are valid")
}

/// Everything that `schema` has to say against `document`.
pub fn faults(schema: &Validator, document: &Value) -> Vec<Fault> {
    // Nearly all documents are valid, and to know just that is much quicker.
    if schema.is_valid(document) {
        return Vec::new();
    }
    let mut found = schema.iter_errors(document).flat_map(|error| describe(&error));
    let mut faults: Vec<Fault> = found.by_ref().take(MOST_FAULTS).collect();
    if found.next().is_some() {
        faults.push(Fault::whole("more faults are not listed"));
    }
    faults
}

fn describe(error: &ValidationError<'_>) -> Vec<Fault> {
    let instance = error.instance();
    let at = dotted(error.instance_path());
    let inside = |name: &str| if at.is_empty() { name.to_owned() } else { format!("{at}.{name}") };
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().unwrap_or_default();
            vec![Fault { path: inside(name), value: None, message: MISSING.to_owned() }]
        }
        ValidationErrorKind::AdditionalProperties { unexpected } => unexpected
            .iter()
            .map(|name| Fault {
                path: inside(name),
                value: instance.get(name).map(shown),
                message: "is not a known key".to_owned(),
            })
            .collect(),
        kind => {
            vec![Fault { path: at, value: Some(shown(instance)), message: message(kind, instance, error) }]
        }
    }
}

fn message(kind: &ValidationErrorKind, instance: &Value, error: &ValidationError<'_>) -> String {
    let value = shown(instance);
    match kind {
        ValidationErrorKind::Enum { options } => format!("{value} is not one of {}", listed(options)),
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            match alternatives(context) {
                Some(options) => format!("{value} is not one of {}", listed(&Value::Array(options))),
                None => error.to_string(),
            }
        }
        ValidationErrorKind::Type { kind } => {
            format!("{value} is {}, not {}", named(instance), expected(kind))
        }
        ValidationErrorKind::MinItems { limit } => {
            format!("has {} entries, fewer than {limit}", length(instance))
        }
        ValidationErrorKind::MaxItems { limit } => {
            format!("has {} entries, more than {limit}", length(instance))
        }
        ValidationErrorKind::MinLength { limit: 1 } => "is empty".to_owned(),
        ValidationErrorKind::MinLength { limit } => format!("is shorter than {limit} characters"),
        ValidationErrorKind::MaxLength { limit } => {
            format!("has {} characters, more than {limit}", length(instance))
        }
        ValidationErrorKind::Format { format } if format == "date-time" => {
            format!("{value} is not an RFC 3339 time such as 2023-12-01T14:30:22Z")
        }
        _ => error.to_string(),
    }
}

/// The values that are allowed, if each alternative is one of them or nothing: an enumeration whose values are described,
/// which may be left out.
fn alternatives(context: &[Vec<ValidationError<'static>>]) -> Option<Vec<Value>> {
    let options: Option<Vec<_>> = context.iter().map(|errors| errors.iter().find_map(allowed)).collect();
    options.map(|options| options.concat()).filter(|options| !options.is_empty())
}

fn allowed(error: &ValidationError<'static>) -> Option<Vec<Value>> {
    match error.kind() {
        ValidationErrorKind::Constant { expected_value } => Some(vec![Value::clone(expected_value)]),
        ValidationErrorKind::Enum { options } => options.as_array().cloned(),
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            alternatives(context)
        }
        ValidationErrorKind::Type { kind: TypeKind::Single(single) } if single.to_string() == "null" => {
            Some(Vec::new())
        }
        _ => None,
    }
}

fn listed(options: &Value) -> String {
    let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
    let texts =
        options.iter().map(|option| option.as_str().map_or_else(|| option.to_string(), str::to_owned));
    texts.collect::<Vec<_>>().join(", ")
}

fn length(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::String(text) => text.chars().count(),
        _ => 0,
    }
}

fn named(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

fn expected(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(single) => format!("of type {single}"),
        TypeKind::Multiple(several) => {
            let names: Vec<_> = several.iter().map(|single| single.to_string()).collect();
            format!("of type {}", names.join(" or "))
        }
    }
}

/// The value as it is shown to its sender: a short text for what is large.
fn shown(value: &Value) -> Value {
    match value {
        Value::Array(_) | Value::Object(_) => Value::String(cut(&value.to_string())),
        Value::String(text) => Value::String(cut(text)),
        scalar => scalar.clone(),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(SHOWN_VALUE) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// `alerts[2].severity` for the JSON pointer `/alerts/2/severity`.
fn dotted(location: &Location) -> String {
    let mut path = String::new();
    for segment in location {
        match segment {
            LocationSegment::Index(index) => path.push_str(&format!("[{index}]")),
            LocationSegment::Property(name) if path.is_empty() => path.push_str(&name),
            LocationSegment::Property(name) => path.push_str(&format!(".{name}")),
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(schema: Value, document: Value) -> Vec<String> {
        let schema = jsonschema::validator_for(&schema).unwrap();
        let mut said: Vec<String> = faults(&schema, &document).iter().map(Fault::to_string).collect();
        // The validator's order is its own.
        said.sort();
        said
    }

    #[test]
    fn each_fault_says_where_what_and_what_is_allowed() {
        let schema = json!({"type": "object", "additionalProperties": false, "required": ["title"], "properties": {
            "title": {"type": "string"},
            "alerts": {"type": "array", "items": {"properties": {"severity": {"enum": ["low", "high"]}}}},
        }});
        assert_eq!(
            said(schema, json!({"alerts": [{}, {"severity": "urgent"}], "colour": 1})),
            [
                "alerts[1].severity: \"urgent\" is not one of low, high",
                "colour: is not a known key",
                "title: is required",
            ]
        );
    }

    #[test]
    fn described_values_are_listed_as_others_are() {
        let described = json!({ "oneOf": [{ "enum": ["a", "b"] }, { "const": "c", "description": "…" }] });
        assert_eq!(said(described, json!("x")), ["\"x\" is not one of a, b, c"]);
        let optional =
            json!({ "anyOf": [{ "oneOf": [{ "const": "c" }, { "const": "d" }] }, { "type": "null" }] });
        assert_eq!(said(optional, json!(7)), ["7 is not one of c, d"]);
    }

    #[test]
    fn long_values_are_cut() {
        let long = "x".repeat(500);
        let message = &said(json!({"type": "integer"}), json!(long))[0];
        assert!(message.chars().count() < 200, "{message}");
    }
}
