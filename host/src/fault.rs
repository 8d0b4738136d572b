//! What is wrong with a document (an alert, a configuration file, a plugin's settings), fault by fault, each with its
//! path, the value and what is allowed. One shape for all of them, made from a JSON Schema's verdict. No I/O.

mod excerpt;

use std::collections::BTreeMap;
use std::fmt;

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::paths::{Location, LocationSegment};
use jsonschema::{ValidationError, Validator};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;

pub use excerpt::excerpt;

/// How many faults are listed; a document with more is not worth a longer list.
pub(crate) const MOST_FAULTS: usize = 100;

/// How many examples of a schema are shown.
const MOST_EXAMPLES: usize = 3;

/// One thing that is wrong with a document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Fault {
    /// Where, such as `alerts[2].severity`; empty for the document as a whole.
    #[schema(example = "alerts[2].severity")]
    pub path: String,
    /// What stands there, as it was posted; `null` if nothing does. Of what is long, the beginning.
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
    let mut document = json!({"$ref": root, "components": {"schemas": schemas}});
    untype_words(&mut document);
    // The schema is derived from our own types: it does not depend on input.
    jsonschema::options().should_validate_formats(true).build(&document).expect("derived schemas are valid")
}

/// Takes the type from schemas that list their words: a value of another type is none of these, which is all to be said of it.
fn untype_words(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            if members.get("enum").is_some_and(Value::is_array) {
                members.remove("type");
            }
            members.values_mut().for_each(untype_words);
        }
        Value::Array(parts) => parts.iter_mut().for_each(untype_words),
        _ => {}
    }
}

/// Everything that `schema` has to say against `document`.
pub fn faults(schema: &Validator, document: &Value) -> Vec<Fault> {
    faults_by(schema, &Value::Null, document)
}

/// The same by the schema as it is written, whose `examples` are shown with what matches no `pattern`.
pub(crate) fn faults_by(schema: &Validator, written: &Value, document: &Value) -> Vec<Fault> {
    // Nearly all documents are valid, and to know just that is much quicker.
    if schema.is_valid(document) {
        return Vec::new();
    }
    let mut found = schema.iter_errors(document).flat_map(|error| describe(&error, written));
    let mut faults: Vec<Fault> = found.by_ref().take(MOST_FAULTS).collect();
    if found.next().is_some() {
        faults.push(Fault::whole("more faults are not listed"));
    }
    faults
}

fn describe(error: &ValidationError<'_>, written: &Value) -> Vec<Fault> {
    if let Some(errors) = only_form(error) {
        return errors.iter().flat_map(|error| describe(error, written)).collect();
    }
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
                value: instance.get(name).map(excerpt),
                message: "is not a known key".to_owned(),
            })
            .collect(),
        kind => {
            let message = message(kind, instance, error) + &example(error, written);
            vec![Fault { path: at, value: Some(excerpt(instance)), message }]
        }
    }
}

fn message(kind: &ValidationErrorKind, instance: &Value, error: &ValidationError<'_>) -> String {
    let value = excerpt(instance);
    match kind {
        ValidationErrorKind::Enum { options } => format!("{value} is not one of {}", listed(options)),
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            match alternatives(context, error.instance_path()) {
                Some(options) => format!("{value} is not one of {}", listed(&Value::Array(options))),
                None => "fits none of the forms that are allowed here".to_owned(),
            }
        }
        ValidationErrorKind::Type { kind } => not_of_type(&value, kind),
        ValidationErrorKind::MinItems { limit } if length(instance) == 0 => {
            format!(
                "is empty: at least {limit} {} needed",
                if *limit == 1 { "entry is" } else { "entries are" }
            )
        }
        ValidationErrorKind::MinItems { limit } => {
            format!("has {} entries, fewer than {limit}", length(instance))
        }
        ValidationErrorKind::MaxItems { limit } => {
            format!("has {} entries, more than {limit}", length(instance))
        }
        ValidationErrorKind::MinLength { limit: 1 } => "is empty: at least 1 character is needed".to_owned(),
        ValidationErrorKind::MinLength { limit } => {
            format!("{value} has {} characters, fewer than {limit}", length(instance))
        }
        ValidationErrorKind::MaxLength { limit } => {
            format!("has {} characters, more than {limit}", length(instance))
        }
        ValidationErrorKind::Format { format } if format == "date-time" => {
            format!("{value} is not an RFC 3339 time such as 2023-12-01T14:30:22Z")
        }
        _ => error.masked_with(value.to_string()).to_string(),
    }
}

/// The examples beside a `pattern` in the schema, for what does not match it.
fn example(error: &ValidationError<'_>, written: &Value) -> String {
    let pattern = error.schema_path().as_str().strip_suffix("/pattern");
    let beside = pattern.and_then(|at| written.pointer(at)).unwrap_or(&Value::Null);
    let examples = beside["examples"].as_array().into_iter().flatten().take(MOST_EXAMPLES);
    let examples: Vec<_> = examples.map(|example| excerpt(example).to_string()).collect();
    if examples.is_empty() { String::new() } else { format!(": write such as {}", examples.join(" or ")) }
}

fn not_of_type(value: &Value, expected: &TypeKind) -> String {
    let expected = match expected {
        TypeKind::Single(single) => with_article(&single.to_string()),
        TypeKind::Multiple(several) => {
            let names: Vec<_> = several.iter().map(|single| with_article(&single.to_string())).collect();
            names.join(" or ")
        }
    };
    match value {
        Value::Null => format!("null is not {expected}"),
        // Perhaps a secret, in place of a table that says where it is.
        Value::String(_) if ["an object", "an array"].contains(&expected.as_str()) => {
            format!("is a string, not {expected}")
        }
        other => format!("{other} is {}, not {expected}", with_article(named(other))),
    }
}

fn with_article(kind: &str) -> String {
    match kind {
        "null" => kind.to_owned(),
        "array" | "integer" | "object" => format!("an {kind}"),
        other => format!("a {other}"),
    }
}

/// The values that are allowed, if each alternative is one of them or nothing: an enumeration whose values are described,
/// which may be left out. What lies below `at` is no alternative.
fn alternatives(context: &[Vec<ValidationError<'static>>], at: &Location) -> Option<Vec<Value>> {
    let allowed = |errors: &Vec<ValidationError<'static>>| {
        errors.iter().filter(|error| error.instance_path() == at).find_map(|error| allowed(error, at))
    };
    let options: Option<Vec<_>> = context.iter().map(allowed).collect();
    options.map(|options| options.concat()).filter(|options| !options.is_empty())
}

fn allowed(error: &ValidationError<'static>, at: &Location) -> Option<Vec<Value>> {
    match error.kind() {
        ValidationErrorKind::Constant { expected_value } => Some(vec![Value::clone(expected_value)]),
        ValidationErrorKind::Enum { options } => options.as_array().cloned(),
        ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context } => {
            alternatives(context, at)
        }
        _ => is_null_wanted(error).then(Vec::new),
    }
}

fn is_null_wanted(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Type { kind: TypeKind::Single(single) } if single.to_string() == "null")
}

/// What is wrong by the only form that something may have which may also be left out: a table that is optional.
fn only_form<'a>(error: &'a ValidationError<'_>) -> Option<&'a [ValidationError<'static>]> {
    let (ValidationErrorKind::OneOfNotValid { context } | ValidationErrorKind::AnyOf { context }) =
        error.kind()
    else {
        return None;
    };
    if alternatives(context, error.instance_path()).is_some() {
        return None;
    }
    let mut forms = context.iter().filter(|errors| !errors.iter().any(is_null_wanted));
    let form = forms.next()?;
    forms.next().is_none().then_some(form.as_slice())
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
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
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
    fn what_is_wrong_in_an_optional_table_is_named_there() {
        let table = json!({
            "type": "object", "additionalProperties": false, "required": ["host"],
            "properties": { "host": { "type": "string" }, "tls": { "oneOf": [{ "const": "tls" }, { "const": "none" }] } },
        });
        let schema = json!({ "properties": { "mail": { "anyOf": [table, { "type": "null" }] } } });
        let schema = jsonschema::validator_for(&schema).unwrap();
        let found = faults(&schema, &json!({ "mail": { "password": "p", "tls": "ssl" } }));
        let mut found: Vec<_> = found.iter().map(ToString::to_string).collect();
        found.sort();
        assert_eq!(
            found,
            [
                "mail.host: is required",
                "mail.password: is not a known key",
                "mail.tls: \"ssl\" is not one of tls, none"
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
    fn a_value_is_the_json_that_was_posted() {
        let schema = json!({"properties": {
            "a": {"type": "string"}, "b": {"enum": ["low", "high"]}, "c": {"type": ["integer", "null"]},
            "d": {"type": "array", "minItems": 1}, "e": {"minLength": 1}, "f": {"pattern": "^x$"},
        }});
        let posted = json!({"a": null, "b": [], "c": {"d": [1]}, "d": [], "e": "", "f": "y".repeat(300)});
        let schema = jsonschema::validator_for(&schema).unwrap();
        let mut found = faults(&schema, &posted);
        found.sort_by(|one, other| one.path.cmp(&other.path));
        let cut = found.pop().unwrap();
        assert_eq!(cut.value.as_ref().and_then(Value::as_str).map(|text| text.chars().count()), Some(101));
        assert!(cut.message.contains("does not match \"^x$\"") && cut.message.len() < 200, "{cut}");
        let said: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "a: null is not a string",
                "b: [] is not one of low, high",
                "c: {\"d\":[1]} is an object, not null or an integer",
                "d: is empty: at least 1 entry is needed",
                "e: is empty: at least 1 character is needed",
            ]
        );
        for fault in found {
            assert_eq!(fault.value.as_ref(), Some(&posted[&fault.path]), "{fault}");
        }
    }

    #[test]
    fn what_is_no_word_of_a_list_is_one_fault() {
        let schema = validator::<crate::alert::Severity>();
        let said: Vec<_> = faults(&schema, &json!([])).iter().map(Fault::to_string).collect();
        assert_eq!(said, ["[] is not one of low, medium, high, critical"]);
        assert!(faults(&schema, &json!("high")).is_empty());
    }

    #[test]
    fn long_values_are_cut() {
        let long = "x".repeat(500);
        let message = &said(json!({"type": "integer"}), json!(long))[0];
        assert!(message.chars().count() < 200, "{message}");
    }
}
