//! Where the value of one field comes from: a JSON pointer into the entry, or a template.

use campanile_guest::template::Names;
use serde_json::{Number, Value};

/// The longest text that a template gives, in UTF-16 code units: the longest field of an alert.
const LONGEST: usize = 65_536;

/// Where the value of one field comes from.
pub(crate) enum Field {
    /// A JSON pointer (RFC 6901): it begins with `/`.
    Pointer(String),
    /// A template in the form of Jinja.
    Template(String),
}

impl Field {
    /// What the operator wrote.
    pub(crate) fn new(written: String) -> Self {
        if written.starts_with('/') { Self::Pointer(written) } else { Self::Template(written) }
    }

    /// The value in this entry, which templates know by `names`; null if it is absent or empty.
    pub(crate) fn value(&self, entry: &Value, names: &Names) -> Result<Value, String> {
        match self {
            Self::Pointer(pointer) => Ok(entry.pointer(pointer).cloned().unwrap_or_default()),
            Self::Template(source) => names.render(source, LONGEST).map(|text| match text.is_empty() {
                true => Value::Null,
                false => Value::String(text),
            }),
        }
    }
}

/// A value as a text without white space around it; a list or an object as JSON. Absent if nothing is left.
pub(crate) fn written(value: &Value) -> Option<String> {
    let text = match value {
        Value::Null => return None,
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    Some(text).filter(|text| !text.is_empty())
}

/// A value as a number, if it is one or is written like one.
pub(crate) fn number(value: &Value) -> Value {
    let read = |text: &str| serde_json::from_str::<Number>(text.trim()).ok().map(Value::Number);
    value.as_str().and_then(read).unwrap_or_else(|| value.clone())
}
