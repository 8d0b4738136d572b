//! Schemas that are small as they are given and large once each `$ref` is written out.

use serde_json::{Value, json};

use super::Schema;

/// What is said against a schema after its beginning.
fn refused(schema: &Value) -> String {
    let text = schema.to_string();
    assert!(text.len() < super::LARGEST, "{} bytes", text.len());
    Schema::read(&text).err().unwrap_or_default()
}

/// What is nested so deep would take the stack of the host's process.
#[test]
fn a_schema_is_not_deep_by_references() {
    let nested = |levels: usize, inmost: Value| (0..levels).fold(inmost, |inner, _| json!({"not": inner}));
    let mut rows = json!({"l0": {"type": "object"}});
    for row in 1..32 {
        rows[format!("l{row}")] = nested(118, json!({"$ref": format!("#/$defs/l{}", row - 1)}));
    }
    let deep = refused(&json!({"$ref": "#/$defs/l31", "$defs": rows}));
    assert!(deep.contains("more than 64 levels once each `$ref` is written out"), "{deep}");
    assert_eq!(refused(&nested(63, json!({}))), "");
    assert!(refused(&nested(64, json!({}))).contains("more than 64 levels"));
}

#[test]
fn a_schema_has_no_endless_texts_by_references() {
    let all = |name: &str| json!({"allOf": vec![json!({"$ref": format!("#/$defs/{name}")}); 70]});
    let text = "x".repeat(50_000);
    for long in [json!({"description": text}), json!({"properties": {text: true}})] {
        let large =
            refused(&json!({"$ref": "#/$defs/c", "$defs": {"a": long, "b": all("a"), "c": all("b")}}));
        assert!(large.contains("more than 1048576 bytes of texts and names once each `$ref`"), "{large}");
    }
}

/// What a type of a few levels derives stays far below.
#[test]
fn settings_within_settings_within_settings_are_taken() {
    let mut types = json!({"t0": {"enum": ["low", "high"]}});
    for level in 1..8 {
        let inner = json!({"anyOf": [{"$ref": format!("#/$defs/t{}", level - 1)}, {"type": "null"}]});
        types[format!("t{level}")] = json!({"type": "object", "properties": {"inner": inner}});
    }
    assert_eq!(refused(&json!({"$ref": "#/$defs/t7", "$defs": types})), "");
}

/// A pattern alone says little to operators.
#[test]
fn a_pattern_is_shown_with_an_example_of_its_schema() {
    let schema = include_str!("../../../../plugins/json/config.schema.json");
    let schema = Schema::read(schema).unwrap();
    let faults = |key: &str, value: &str| {
        let config = json!({"mappings": {"acme": {"title": "/t", key: value}}});
        schema.faults(config.as_object().unwrap()).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    for (key, examples) in [
        ("key", r#""/id" or "{{ entry.host }}/{{ entry.check }}""#),
        ("status", r#""/state" or "{{ entry.state }}""#),
    ] {
        let said = faults(key, "id");
        assert!(
            said[0].starts_with(&format!("config.mappings.acme.{key}: \"id\" does not match")),
            "{said:?}"
        );
        assert!(said[0].ends_with(&format!(": write such as {examples}")), "{said:?}");
        for good in ["/id", "{{ entry.id }}", "acme/{{ entry.id }}", "{% if entry.id %}7{% endif %}"] {
            assert_eq!(faults(key, good), [""; 0], "{key} = {good}");
        }
    }
    assert_eq!(faults("resolved", "ok, up,"), [""; 0]);
    assert!(faults("resolved", " , ")[0].ends_with(": write such as \"ok, up\""));
}
