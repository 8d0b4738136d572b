//! Settings that are one of a few words are taken in any case, wherever the schema has them: as the schema writes them.

use serde_json::{Map, Value};

/// Settles the words in an object.
pub(super) fn settle_members(members: &mut Map<String, Value>, schema: &Value) {
    for (name, value) in members.iter_mut() {
        let own = schema["properties"].get(name).unwrap_or(&schema["additionalProperties"]);
        settle(value, own);
    }
    if let Some(part) = part(schema) {
        settle_members(members, part);
    }
}

fn settle(value: &mut Value, schema: &Value) {
    match value {
        Value::String(text) => settle_case(text, schema),
        Value::Array(items) => settle_items(items, schema),
        Value::Object(members) => settle_members(members, schema),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn settle_items(items: &mut [Value], schema: &Value) {
    items.iter_mut().for_each(|item| settle(item, &schema["items"]));
    if let Some(part) = part(schema) {
        settle_items(items, part);
    }
}

/// Where only one of the words is the same but for its case.
fn settle_case(text: &mut String, schema: &Value) {
    let words = schema["enum"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let same: Vec<_> = words.filter(|word| word.eq_ignore_ascii_case(text)).collect();
    if let [word] = same.as_slice() {
        *text = (*word).to_owned();
    }
    if let Some(part) = part(schema) {
        settle_case(text, part);
    }
}

/// What else holds: the only one of `allOf`, as each `$ref` is written out, or the only form of what may be left out.
fn part(schema: &Value) -> Option<&Value> {
    ["allOf", "anyOf", "oneOf"].into_iter().find_map(|key| {
        let mut parts = schema[key].as_array()?.iter().filter(|part| part["type"] != "null");
        parts.next().filter(|_| parts.next().is_none())
    })
}

#[cfg(test)]
mod tests {
    use super::super::Schema;
    use serde_json::{Value, json};

    fn settled(schema: &Value, config: &Value) -> Value {
        let schema = Schema::read(&schema.to_string()).unwrap();
        let mut config = config.as_object().unwrap().clone();
        schema.settle_words(&mut config);
        assert_eq!(schema.faults(&config), [], "{config:?}");
        config.into()
    }

    #[test]
    fn words_are_settled_wherever_the_schema_has_them() {
        let level = json!({"$ref": "#/$defs/Level"});
        let schema = json!({
            "properties": {
                "direct": level, "optional": {"anyOf": [level, {"type": "null"}]}, "list": {"items": level},
                "table": {"$ref": "#/$defs/Table"}, "free": {"type": "string"},
            },
            "additionalProperties": level,
            "$defs": {
                "Level": {"enum": ["low", "high", "x", "X"]},
                "Table": {"properties": {"own": {"type": "string"}}, "additionalProperties": level},
            },
        });
        let given = json!({
            "direct": "High", "optional": "LOW", "list": ["Low", "x"], "table": {"own": "High", "any": "HIGH"},
            "free": "High", "more": "Low",
        });
        let settled = settled(&schema, &given);
        assert_eq!(
            settled,
            json!({
                "direct": "high", "optional": "low", "list": ["low", "x"], "table": {"own": "High", "any": "high"},
                "free": "High", "more": "low",
            })
        );
    }

    #[test]
    fn a_schema_that_is_a_reference_has_words_too() {
        let schema =
            json!({"$ref": "#/$defs/All", "$defs": {"All": {"properties": {"level": {"enum": ["low"]}}}}});
        assert_eq!(settled(&schema, &json!({"level": "LOW"})), json!({"level": "low"}));
    }

    #[test]
    fn the_mapping_of_a_source_may_have_severities_in_any_case() {
        let schema = include_str!("../../../../plugins/json/config.schema.json");
        let given = json!({"mappings": {"acme": {"title": "/t", "severities": {"5": "Critical"}}}});
        let settled = settled(&serde_json::from_str(schema).unwrap(), &given);
        assert_eq!(settled["mappings"]["acme"]["severities"]["5"], "critical");
    }
}
