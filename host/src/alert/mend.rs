//! What a sender means, where that is plain: words in any case, times without an offset, and as much of a text, a list or a
//! document as there is room for. What else the schema has to say stays as it came.

use campanile_lenient::{LAST, fit_alert, flatten, key, severity, shorten, time};
use jiff::Timestamp;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error;
use serde_json::Value;

use super::{AlertType, MOST_BYTES, MOST_DEPTH, Status};

/// How many characters texts may have, by their JSON pointers.
const LENGTHS: [(&str, usize); 4] =
    [("/title", 1_024), ("/description", 65_536), ("/source/name", 200), ("/source/type", 200)];
/// How many characters a key may have.
pub(super) const MOST_KEY: usize = 200;
/// The largest level that is written as a number with a fraction: what is larger may have lost digits.
const MOST_LEVEL: f64 = 9_007_199_254_740_992.0;
/// The fields of an alert.
const FIELDS: [&str; 18] = [
    "id",
    "title",
    "description",
    "type",
    "severity",
    "source",
    "status",
    "dedup_key",
    "starts_at",
    "ends_at",
    "momentary",
    "vendor_level",
    "secret_scope",
    "context",
    "labels",
    "links",
    "data",
    "metrics",
];
/// How long a field's name is, without what separates its words, for one letter of it to be mistyped, and for two.
const ONE_TYPO: usize = 5;
const TWO_TYPOS: usize = 8;
/// How many mistyped fields are named, and how long one may be.
const MOST_TYPOS: usize = 16;
const LONGEST_TYPO: usize = 32;

/// Makes of an alert what the schema takes. Gives a line for each place where that is not what was posted, with its path;
/// `at` is where the alert stands.
pub fn mend(alert: &mut Value, at: &str) -> Vec<String> {
    let mut odd = misspelt(alert).into_iter().map(|line| inside(at, &line)).collect();
    mend_words(alert, at, &mut odd);
    for name in ["id", "dedup_key"] {
        odd.extend(remove_blank_key(alert, name).map(|line| inside(at, &line)));
        odd.extend(mend_key(alert, name).map(|line| inside(at, &line)));
    }
    for name in ["starts_at", "ends_at"] {
        odd.extend(mend_time(alert, name).map(|line| inside(at, &line)));
    }
    mend_level(alert);
    for (pointer, most) in LENGTHS {
        odd.extend(mend_length(alert, pointer, most).map(|line| inside(at, &line)));
    }
    flatten(alert, MOST_DEPTH, at, &mut odd);
    fit_alert(alert, MOST_BYTES, at, &mut odd);
    odd
}

fn inside(at: &str, line: &str) -> String {
    if at.is_empty() { line.to_owned() } else { format!("{at}.{line}") }
}

/// Any field is kept, and one with a typo would be missed in silence.
fn misspelt(alert: &Value) -> Vec<String> {
    let Some(fields) = alert.as_object() else { return Vec::new() };
    let unknown = fields.keys().filter(|key| !FIELDS.contains(&key.as_str()));
    let meant =
        unknown.filter_map(|key| Some((key, meant(key).filter(|field| !fields.contains_key(*field))?)));
    let line = |(key, field)| format!("{key}: is kept as a field of its own: did you mean `{field}`?");
    meant.take(MOST_TYPOS).map(line).collect()
}

/// The field that a key is near to.
fn meant(key: &str) -> Option<&'static str> {
    let joined = |text: &str| text.to_lowercase().replace(['_', '-', ' ', '.'], "");
    let is_near = |field: &&str| {
        let field = joined(field);
        let most = usize::from(field.len() >= ONE_TYPO) + usize::from(field.len() >= TWO_TYPOS);
        strsim::osa_distance(&joined(key), &field) <= most
    };
    FIELDS.into_iter().filter(|_| key.len() <= LONGEST_TYPO).find(is_near)
}

fn mend_words(alert: &mut Value, at: &str, odd: &mut Vec<String>) {
    set(alert, "type", |word| named::<AlertType>(word).map(|kind| kind.to_string()));
    set(alert, "status", |word| named::<Status>(word).map(|status| status.to_string()));
    set(alert, "severity", |word| {
        let meant = severity(word)?;
        if !word.trim().eq_ignore_ascii_case(meant) {
            odd.push(inside(at, &format!("severity: {word:?} was read as {meant}")));
        }
        Some(meant.to_owned())
    });
}

/// Sets a text to what `meant` makes of it, if anything.
fn set(alert: &mut Value, name: &str, meant: impl FnOnce(&str) -> Option<String>) {
    if let Some(Value::String(text)) = alert.get_mut(name)
        && let Some(meant) = meant(text)
    {
        *text = meant;
    }
}

fn named<'de, T: Deserialize<'de>>(word: &str) -> Option<T> {
    T::deserialize(IntoDeserializer::<Error>::into_deserializer(word.trim().to_ascii_lowercase())).ok()
}

/// A key of which nothing can be seen would make one alert of all that have such a one.
fn remove_blank_key(alert: &mut Value, name: &str) -> Option<String> {
    let text = alert.get(name)?.as_str()?;
    let is_unseen =
        |c: char| c.is_whitespace() || matches!(c, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}');
    // The schema refuses an empty one.
    if text.is_empty() || !text.chars().all(is_unseen) {
        return None;
    }
    let line = format!(
        "{name}: {text:?} is blank and was left out: without it and without another key, each post is another alert"
    );
    alert.as_object_mut()?.remove(name);
    Some(line)
}

/// A key that is too long ends in a hash of the whole, so that no two become one.
pub fn mend_key(parent: &mut Value, name: &str) -> Option<String> {
    let Some(Value::String(text)) = parent.get_mut(name) else { return None };
    let characters = text.chars().count();
    if characters <= MOST_KEY {
        return None;
    }
    *text = key(text, MOST_KEY);
    Some(format!(
        "{name}: has {characters} characters, more than {MOST_KEY}: it was cut, with a hash of the whole at its end"
    ))
}

/// A whole number is one, also if it is written `2.0`.
fn mend_level(alert: &mut Value) {
    let Some(level) = alert.get_mut("vendor_level") else { return };
    let whole =
        level.as_f64().filter(|given| level.is_f64() && given.fract() == 0.0 && given.abs() < MOST_LEVEL);
    if let Some(whole) = whole {
        *level = Value::from(whole as i64);
    }
}

fn mend_time(alert: &mut Value, name: &str) -> Option<String> {
    let mut late = None;
    set(alert, name, |text| {
        let read = time(text)?;
        let is_late = read == LAST && text.parse::<Timestamp>().is_err();
        late = is_late.then(|| format!("{name}: {text:?} is later than {LAST}, which was taken"));
        Some(read.to_string())
    });
    late
}

fn mend_length(alert: &mut Value, pointer: &str, most: usize) -> Option<String> {
    let Some(Value::String(text)) = alert.pointer_mut(pointer) else { return None };
    let characters = text.chars().count();
    let path = pointer.trim_start_matches('/').replace('/', ".");
    shorten(text, most).then(|| format!("{path}: has {characters} characters, more than {most}: it was cut"))
}

#[cfg(test)]
mod tests {
    use super::super::schema_faults;
    use super::*;
    use serde_json::json;

    fn mended(extra: Value) -> (Value, Vec<String>) {
        let mut alert = json!({
            "title": "t", "description": "d", "type": "custom", "severity": "low",
            "source": {"name": "n", "type": "t"},
        });
        alert.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let odd = mend(&mut alert, "alerts[2]");
        let faults = schema_faults(&alert);
        assert!(faults.is_empty(), "{faults:?}");
        (alert, odd)
    }

    #[test]
    fn words_are_read_in_any_case() {
        let (alert, odd) = mended(json!({"type": "DataBase", "status": "RESOLVED", "severity": "High"}));
        assert_eq!((&alert["type"], &alert["status"]), (&json!("database"), &json!("resolved")));
        assert_eq!((&alert["severity"], odd), (&json!("high"), Vec::new()));
    }

    #[test]
    fn a_mistyped_field_is_named_with_the_one_that_is_meant() {
        for (key, field) in [
            ("dedupkey", "dedup_key"),
            ("dedupKey", "dedup_key"),
            ("start_at", "starts_at"),
            ("startsAt", "starts_at"),
            ("label", "labels"),
            ("ID", "id"),
        ] {
            let (alert, odd) = mended(json!({key: {}}));
            assert_eq!(
                odd,
                [format!("alerts[2].{key}: is kept as a field of its own: did you mean `{field}`?")]
            );
            assert!(alert.get(key).is_some());
        }
        let theirs = json!({"date": 1, "time": 1, "tags": [], "state": "x", "host": "h", "url": "u", "name": "n", "Title": "t"});
        assert_eq!(mended(theirs).1, Vec::<String>::new());
        let mut short = json!({"desciption": "d", "sevrity": "low"});
        assert_eq!(mend(&mut short, "").len(), 2);
    }

    #[test]
    fn a_blank_key_is_no_key() {
        let (alert, odd) = mended(json!({"id": " ", "dedup_key": "\u{200b}\t"}));
        assert_eq!((alert.get("id"), alert.get("dedup_key"), odd.len()), (None, None, 2));
        assert!(odd[0].starts_with("alerts[2].id: \" \" is blank and was left out"), "{odd:?}");
    }

    #[test]
    fn words_of_sources_are_severities_with_a_warning() {
        for (word, meant) in
            [("page", "critical"), ("Error", "high"), ("sev1", "high"), ("P2", "high"), ("warning", "medium")]
        {
            let (alert, odd) = mended(json!({"severity": word}));
            assert_eq!(alert["severity"], meant);
            assert_eq!(odd, [format!("alerts[2].severity: {word:?} was read as {meant}")]);
        }
    }

    #[test]
    fn a_time_without_a_zone_is_utc_and_one_beyond_the_last_is_the_last() {
        let (alert, odd) =
            mended(json!({"starts_at": "2026-11-29 15:00:00", "ends_at": "9999-12-31T23:59:59.9999999Z"}));
        assert_eq!(alert["starts_at"], "2026-11-29T15:00:00Z");
        assert_eq!(alert["ends_at"], "9999-12-30T22:00:00Z");
        let late = "alerts[2].ends_at: \"9999-12-31T23:59:59.9999999Z\" is later than 9999-12-30T22:00:00Z, which was taken";
        assert_eq!(odd, [late]);
        assert!(super::super::parse(&alert).is_ok());
    }

    #[test]
    fn texts_that_are_too_long_are_cut_to_what_the_schema_takes() {
        let long = "ä".repeat(70_000);
        let (alert, odd) =
            mended(json!({"title": long, "description": long, "source": {"name": long, "type": long}}));
        for pointer in ["/title", "/description", "/source/name", "/source/type"] {
            let text = alert.pointer(pointer).and_then(Value::as_str).unwrap();
            assert!(text.ends_with(" bytes more)"), "{pointer}: {text}");
        }
        assert_eq!(odd.len(), 4, "{odd:?}");
        assert_eq!(odd[2], "alerts[2].source.name: has 70000 characters, more than 200: it was cut");
    }

    #[test]
    fn keys_that_are_too_long_stay_apart() {
        let ids = |id: &str| {
            let (alert, odd) = mended(json!({"id": id, "dedup_key": id}));
            assert_eq!((&alert["id"], odd.len()), (&alert["dedup_key"], 2), "{odd:?}");
            alert["id"].clone()
        };
        assert_ne!(ids(&format!("{}a", "x".repeat(300))), ids(&format!("{}b", "x".repeat(300))));
        let (alert, odd) = mended(json!({"id": "x".repeat(200)}));
        assert_eq!((alert["id"].as_str().unwrap().len(), odd), (200, Vec::new()));
    }

    #[test]
    fn what_is_too_large_or_too_deep_is_cut_until_it_fits() {
        let deep = (0..70).fold(json!("end"), |below, _| json!([below]));
        let (alert, odd) = mended(
            json!({"data": {"annotation": "x".repeat(600 << 10), "deep": deep}, "labels": {"long": "y".repeat(600 << 10)}}),
        );
        assert_eq!(super::super::bounds_fault(&alert, MOST_BYTES), None);
        for (name, text) in
            [("data.annotation", &alert["data"]["annotation"]), ("labels.long", &alert["labels"]["long"])]
        {
            assert!(text.as_str().unwrap().contains("… (cut, "), "{name}");
            let line = format!("alerts[2].{name}: the text was cut from 614402 to ");
            assert!(
                odd.iter().any(|said| said.starts_with(&line) && said.contains("at most 524288 bytes")),
                "{odd:?}"
            );
        }
        assert!(odd[0].contains("].deep") || odd[0].contains("data.deep"), "{odd:?}");
        let flat = super::super::parse(&alert).unwrap();
        assert_eq!(flat.title, "t");
    }

    #[test]
    fn what_is_not_meant_plainly_stays_as_it_came() {
        let given =
            json!({"severity": "urgent", "type": 7, "status": "open", "starts_at": "yesterday", "title": []});
        let mut alert = given.clone();
        assert_eq!(mend(&mut alert, ""), Vec::<String>::new());
        assert_eq!(alert, given);
        assert_eq!(mend(&mut json!(7), ""), Vec::<String>::new());
    }
}
