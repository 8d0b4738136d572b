//! Where the value of one field comes from: a JSON pointer into the entry, or a template.

use campanile_guest::template::Names;
use serde_json::Value;

/// The longest text that a template gives, in UTF-16 code units: the longest field of an alert.
const LONGEST: usize = 65_536;

/// Where the value of one field comes from.
pub(crate) enum Field {
    /// A JSON pointer (RFC 6901): it begins with `/`.
    Pointer(String),
    /// A template in the form of Jinja, in which what is absent shows as nothing.
    Template(String),
    /// One that fails where something is absent: of what is left, two alerts could have the same.
    Whole(String),
}

impl Field {
    /// What the operator wrote for the field `name`.
    pub(crate) fn new(name: &str, written: String) -> Self {
        match name {
            _ if written.starts_with('/') => Self::Pointer(written),
            "key" => Self::Whole(written),
            _ => Self::Template(written),
        }
    }

    /// The template, if it is one.
    pub(crate) fn template(&self) -> Option<&str> {
        match self {
            Self::Pointer(_) => None,
            Self::Template(source) | Self::Whole(source) => Some(source),
        }
    }

    /// The value in this entry, which templates know by `names`; null if it is absent or empty.
    pub(crate) fn value(&self, entry: &Value, names: &Names) -> Result<Value, String> {
        let text = match self {
            Self::Pointer(pointer) => return Ok(entry.pointer(pointer).cloned().unwrap_or_default()),
            Self::Template(source) => names.render(source, LONGEST)?,
            Self::Whole(source) => names.render_whole(source, LONGEST)?,
        };
        Ok(if text.is_empty() { Value::Null } else { Value::String(text) })
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
