//! What Datadog fills into `template.json`. It has no shape of its own but writes out what its customer wrote, so that every
//! value is a text, and one that Datadog does not know is empty or still `$NAME`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use campanile_guest::source::{Sheet, text};
use serde_json::Value;

/// The values of the template.
const VALUES: [&str; 17] = [
    "/id",
    "/cycle",
    "/aggreg",
    "/monitor_id",
    "/title",
    "/body",
    "/transition",
    "/type",
    "/priority",
    "/metric",
    "/query",
    "/scope",
    "/tags",
    "/date",
    "/link",
    "/org/id",
    "/org/name",
];

/// A value that Datadog has filled in.
pub(crate) fn given(event: &Value, pointer: &str) -> Option<String> {
    text(event, pointer).filter(|text| !is_variable(text)).map(Cow::into_owned)
}

/// Says which values of the template are none that can be read.
pub(crate) fn check(event: &Value, sheet: &mut Sheet) {
    for pointer in VALUES {
        sheet.text("", event, pointer);
    }
}

fn is_variable(text: &str) -> bool {
    let name = text.strip_prefix('$').unwrap_or_default();
    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// What stands in brackets before the title proper.
pub(crate) fn marks(event: &Value) -> Vec<String> {
    let title = given(event, "/title").unwrap_or_default();
    let mut rest = title.as_str();
    let mut marks = Vec::new();
    while let Some((mark, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        marks.push(mark.to_owned());
        rest = after.trim_start();
    }
    marks
}

/// `env:prod, host:a, host:b, urgent`: a name may come twice, and a tag may be a name alone.
pub(crate) fn tags(list: &str) -> BTreeMap<String, String> {
    let mut tags: BTreeMap<String, String> = BTreeMap::new();
    for tag in list.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
        let (name, value) = tag.split_once(':').unwrap_or((tag, "true"));
        tags.entry(name.to_owned())
            .and_modify(|known| known.extend([",", value]))
            .or_insert_with(|| value.to_owned());
    }
    tags
}

/// The text without the marks by which Datadog tells Markdown from plain text.
pub(crate) fn unmarked(body: &str) -> &str {
    body.strip_prefix("%%%").and_then(|body| body.strip_suffix("%%%")).unwrap_or(body).trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_datadog_has_not_filled_in_is_absent() {
        let event = json!({
            "a": "$ALERT_PRIORITY", "b": " ", "c": null, "d": " P1 ", "e": 1234, "i": true, "f": "$5 too much", "g": ["P1"], "h": "$",
        });
        let found: Vec<Option<String>> =
            ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/i", "/j"].map(|at| given(&event, at)).into();
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            found,
            [
                None,
                None,
                None,
                some("P1"),
                some("1234"),
                some("$5 too much"),
                None,
                some("$"),
                some("true"),
                None
            ]
        );
    }

    #[test]
    fn a_value_of_the_template_that_is_not_a_text_is_said() {
        let template: Value = serde_json::from_str(include_str!("../template.json")).unwrap();
        assert!(VALUES.iter().all(|pointer| template.pointer(pointer).is_some_and(Value::is_string)));
        assert_eq!(VALUES.len(), template.as_object().unwrap().len() + 1, "`org` has two");
        let (mut sheet, event) =
            (Sheet::default(), json!({"title": ["a"], "tags": {"a": 1}, "org": {"id": []}, "id": 7}));
        check(&event, &mut sheet);
        assert_eq!(
            sheet.warnings,
            [
                "title: [\"a\"] is not a text: left out",
                "tags: {\"a\":1} is not a text: left out",
                "org.id: [] is not a text: left out",
            ]
        );
    }

    #[test]
    fn tags_are_names_with_values() {
        let read: Vec<(String, String)> =
            tags("env:prod, host:a,host:b ,urgent,, url:http://x").into_iter().collect();
        let expected = [("env", "prod"), ("host", "a,b"), ("urgent", "true"), ("url", "http://x")];
        assert_eq!(read, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_marks_of_a_title_end_where_it_begins() {
        let marks = |title: &str| marks(&json!({ "title": title }));
        assert_eq!(marks("[P2] [Recovered on {host:a}] Disk [sda] is full"), ["P2", "Recovered on {host:a}"]);
        assert!(marks("Disk [sda] is full").is_empty());
        assert!(marks("[unfinished").is_empty());
    }

    #[test]
    fn a_body_may_be_marked_as_markdown() {
        assert_eq!(unmarked("%%%\nDisk is **full**\n%%%"), "Disk is **full**");
        assert_eq!(unmarked("Disk is full: 100%%%"), "Disk is full: 100%%%");
    }
}
