//! A value as it is repeated to its sender: JSON of the same kind, of a bounded size.

use serde_json::{Map, Value};

/// How many characters of texts, numbers and names are repeated; what is longer is cut.
const MOST: usize = 100;
/// What stands for the rest.
const REST: &str = "…";

/// The value itself if it is short, else its beginning.
pub fn excerpt(value: &Value) -> Value {
    cut(value, &mut { MOST })
}

fn cut(value: &Value, room: &mut usize) -> Value {
    match value {
        Value::String(text) => Value::String(cut_text(text, room)),
        Value::Array(items) => cut_array(items, room),
        Value::Object(fields) => cut_object(fields, room),
        scalar => {
            spend(room, scalar.to_string().len());
            scalar.clone()
        }
    }
}

fn cut_array(items: &[Value], room: &mut usize) -> Value {
    let mut kept = Vec::new();
    for item in items {
        spend(room, 1);
        if *room == 0 {
            kept.push(REST.into());
            break;
        }
        kept.push(cut(item, room));
    }
    Value::Array(kept)
}

fn cut_object(fields: &Map<String, Value>, room: &mut usize) -> Value {
    let mut kept = Map::new();
    for (name, value) in fields {
        spend(room, 1);
        if *room == 0 {
            kept.insert(REST.to_owned(), REST.into());
            break;
        }
        kept.insert(cut_text(name, room), cut(value, room));
    }
    Value::Object(kept)
}

fn cut_text(text: &str, room: &mut usize) -> String {
    let end = text.char_indices().nth(*room).map(|(end, _)| end);
    spend(room, end.unwrap_or(text.len()));
    match end {
        Some(end) => format!("{}{REST}", &text[..end]),
        None => text.to_owned(),
    }
}

fn spend(room: &mut usize, characters: usize) {
    *room = room.saturating_sub(characters);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_short_is_repeated_as_it_is() {
        for value in [
            json!(null),
            json!([]),
            json!({}),
            json!(""),
            json!(-0.5),
            json!({"a": [1, {"b": null}], "c": "d"}),
        ] {
            assert_eq!(excerpt(&value), value);
        }
    }

    #[test]
    fn what_is_long_is_cut_and_of_the_same_kind() {
        let mut deep = json!("x".repeat(500));
        for level in 0..60 {
            deep = if level % 2 == 0 { json!([deep]) } else { json!({"a": deep}) };
        }
        let many: Map<String, Value> = (0..500).map(|number| (number.to_string(), json!(number))).collect();
        for value in [
            json!("ä".repeat(500)),
            json!(vec!["x".repeat(90); 500]),
            json!(vec![0; 500]),
            json!({"x".repeat(500): 1}),
            json!([vec![Value::Array(Vec::new()); 500], {"y": "z".repeat(500)}]),
            Value::Object(many),
            deep,
        ] {
            let cut = excerpt(&value);
            assert_eq!(std::mem::discriminant(&cut), std::mem::discriminant(&value));
            let text = cut.to_string();
            assert!(text.contains(REST) && text.chars().count() < 6 * MOST, "{text}");
        }
        assert_eq!(excerpt(&json!("x".repeat(MOST + 1))), json!(format!("{}{REST}", "x".repeat(MOST))));
    }
}
