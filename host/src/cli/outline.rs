//! A document as people read it: a line for each field, what is within one below its name.

use serde_json::Value;

/// How much further in what is within another stands.
const STEP: usize = 2;

/// The lines of a field.
pub(super) fn field(name: &str, value: &Value) -> Vec<String> {
    let below = match value {
        Value::Object(fields) => fields.iter().flat_map(|(name, value)| field(name, value)).collect(),
        Value::Array(items) => items.iter().flat_map(item).collect(),
        Value::String(text) if text.contains('\n') => text.lines().map(|line| format!("| {line}")).collect(),
        _ => Vec::new(),
    };
    if below.is_empty() {
        return vec![format!("{name}: {}", scalar(value))];
    }
    [format!("{name}:")]
        .into_iter()
        .chain(below.into_iter().map(|line| format!("{:STEP$}{line}", "")))
        .collect()
}

/// The lines of an entry of a list.
fn item(value: &Value) -> Vec<String> {
    let lines = match value {
        Value::Object(fields) => fields.iter().flat_map(|(name, value)| field(name, value)).collect(),
        other => vec![scalar(other)],
    };
    let begin = |index| if index == 0 { "- " } else { "  " };
    lines.iter().enumerate().map(|(index, line)| format!("{}{line}", begin(index))).collect()
}

/// A text without quotes, everything else as JSON.
fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_within_a_field_is_below_its_name() {
        let document = json!({
            "none": {}, "labels": {"team": "payments", "on": "2"}, "links": ["https://a", {"href": "https://b", "text": "b"}],
            "data": {"deep": {"list": [1, [2]]}, "note": "one\n- two"},
        });
        assert_eq!(
            field("alert", &document),
            [
                "alert:",
                "  none: {}",
                "  labels:",
                "    team: payments",
                "    on: 2",
                "  links:",
                "    - https://a",
                "    - href: https://b",
                "      text: b",
                "  data:",
                "    deep:",
                "      list:",
                "        - 1",
                "        - [2]",
                "    note:",
                "      | one",
                "      | - two",
            ]
        );
    }
}
