//! What a processor changed of an alert, in one line.

use serde_json::Value;

/// The most changes that are told one by one.
const MOST: usize = 8;
/// How many characters of a value are shown.
const SHOWN: usize = 60;

/// What a merge patch (RFC 7396) changes of a document, such as `severity: "low" → "high", labels.team: "core"`.
pub fn changes(before: &Value, patch: &Value) -> String {
    let mut found = Vec::new();
    collect("", Some(before), patch, &mut found);
    let more = found.len().saturating_sub(MOST);
    found.truncate(MOST);
    match (found.is_empty(), more) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => found.join(", "),
        (false, more) => format!("{} and {more} more", found.join(", ")),
    }
}

fn collect(path: &str, before: Option<&Value>, patch: &Value, found: &mut Vec<String>) {
    if let (Value::Object(members), None | Some(Value::Object(_))) = (patch, before) {
        for (name, value) in members {
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            collect(&path, before.and_then(|before| before.get(name)), value, found);
        }
        return;
    }
    match (before, patch) {
        (before, after) if before == Some(after) => {}
        (None, Value::Null) => {}
        (Some(before), Value::Null) => found.push(format!("{path}: {} removed", shown(before))),
        (Some(before), after) => found.push(format!("{path}: {} → {}", shown(before), shown(after))),
        (None, after) => found.push(format!("{path}: {}", shown(after))),
    }
}

fn shown(value: &Value) -> String {
    let mut text = value.to_string();
    if let Some((end, _)) = text.char_indices().nth(SHOWN) {
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_patch_is_told_by_its_leaves() {
        let before = json!({"severity": "low", "labels": {"team": "core", "zone": "a"}, "title": "t"});
        let patch =
            json!({"severity": "high", "labels": {"zone": null, "team": "core", "tier": "1"}, "gone": null});
        assert_eq!(
            changes(&before, &patch),
            r#"severity: "low" → "high", labels.zone: "a" removed, labels.tier: "1""#
        );
        assert_eq!(changes(&before, &json!({"title": "t"})), "nothing");
    }

    #[test]
    fn what_is_long_is_cut() {
        let long = changes(&json!({}), &json!({"description": "x".repeat(1_000)}));
        assert!(long.chars().count() < 80, "{long}");
        let many: serde_json::Map<_, _> =
            (0..20).map(|number| (format!("label{number:02}"), json!(1))).collect();
        assert!(changes(&json!({}), &json!({"labels": many})).ends_with(" and 12 more"));
    }
}
