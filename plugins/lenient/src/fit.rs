//! Cuts a document to a size: its longest texts first, each with a mark that says how much is missing, and of lists and
//! objects with too many entries the last ones.

use std::io;

use serde::Serialize;
use serde_json::{Map, Value};

use super::{MOST_LINES, inside};

/// No value is cut to fewer bytes than that: there is room for the mark.
const LEAST: usize = 64;
/// What the mark of entries that were cut takes at most, in bytes, its name and a comma included.
const MARK: usize = 64;
/// The name of that mark in an object.
const CUT: &str = "…";

/// What of an alert is never cut: it would be another one, or not be one.
const WHOLE: [&str; 11] = [
    "id",
    "dedup_key",
    "title",
    "type",
    "severity",
    "status",
    "starts_at",
    "ends_at",
    "momentary",
    "vendor_level",
    "source",
];

/// What an alert may be short of, but not without.
const NEEDED: [&str; 1] = ["description"];

/// Cuts an alert that has more than `most` bytes as JSON, as [`fit`] does.
pub fn fit_alert(alert: &mut Value, most: usize, at: &str, odd: &mut Vec<String>) {
    if size(alert) <= most {
        return;
    }
    if let Some(source) = alert.get_mut("source") {
        fit(source, most / 4, &["name", "type"], &inside(at, "source"), odd);
    }
    fit(alert, most, &WHOLE, at, odd);
}

/// Cuts a document that has more than `most` bytes as JSON. The fields `whole` are left alone. Adds a line to `odd` for each
/// place that was cut; `at` is where the document stands.
pub fn fit(value: &mut Value, most: usize, whole: &[&str], at: &str, odd: &mut Vec<String>) {
    let bytes = size(value);
    Fitting { most, odd }.shrink(value, bytes, most, whole, at);
}

/// Replaces what is nested deeper than `levels` by a mark.
pub fn flatten(value: &mut Value, levels: usize, at: &str, odd: &mut Vec<String>) {
    let Some(deep) = depth(value).filter(|deep| *deep > levels) else { return };
    if levels == 0 {
        *value = Value::String(mark(deep, "levels"));
        return note(odd, format!("{at}: {deep} levels were cut, which are more than the host takes"));
    }
    for (at, child) in children(value, at) {
        flatten(child, levels - 1, &at, odd);
    }
}

/// Cuts a text to so many characters, the mark included. Returns whether it was longer.
pub fn shorten(text: &mut String, most: usize) -> bool {
    if text.char_indices().nth(most).is_none() {
        return false;
    }
    let kept = most.saturating_sub(bytes_more(text.len()).chars().count());
    let end = text.char_indices().nth(kept).map_or(text.len(), |(end, _)| end);
    *text = format!("{}{}", &text[..end], bytes_more(text.len() - end));
    true
}

/// How many bytes a value has as JSON.
pub fn size(value: &(impl Serialize + ?Sized)) -> usize {
    struct Counter(usize);
    impl io::Write for Counter {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut counter = Counter(0);
    // Fails only for maps whose keys are not texts, which ours are.
    let _ = serde_json::to_writer(&mut counter, value);
    counter.0
}

/// How many levels of lists and objects a value has; `None` for one that is neither.
pub fn depth(value: &Value) -> Option<usize> {
    let deepest = match value {
        Value::Array(items) => items.iter().filter_map(depth).max(),
        Value::Object(fields) => fields.values().filter_map(depth).max(),
        _ => return None,
    };
    Some(deepest.unwrap_or(0) + 1)
}

/// The lists and objects in a value, each with its path.
fn children<'v>(value: &'v mut Value, at: &str) -> Vec<(String, &'v mut Value)> {
    let is_nested = |value: &Value| value.is_array() || value.is_object();
    match value {
        Value::Array(items) => {
            let items = items.iter_mut().enumerate().filter(|(_, item)| is_nested(item));
            items.map(|(index, item)| (format!("{at}[{index}]"), item)).collect()
        }
        Value::Object(fields) => {
            let fields = fields.iter_mut().filter(|(_, field)| is_nested(field));
            fields.map(|(key, field)| (inside(at, key), field)).collect()
        }
        _ => Vec::new(),
    }
}

struct Fitting<'a> {
    most: usize,
    odd: &'a mut Vec<String>,
}

impl Fitting<'_> {
    /// Cuts a value of so many bytes to `room` bytes, which is [`LEAST`] or more.
    fn shrink(&mut self, value: &mut Value, bytes: usize, room: usize, whole: &[&str], at: &str) {
        if bytes <= room {
            return;
        }
        match value {
            Value::String(text) => {
                *text = cut(text, room);
                self.note(format!("{at}: the text was cut from {bytes} to {} bytes", size(text)));
            }
            Value::Array(items) => {
                let plan = Plan::of(items.iter().map(|item| (None, item)), room, whole);
                let kept = self.drop_entries(&plan, at);
                let mut keeps = plan.keeps.iter();
                items.retain(|_| keeps.next() != Some(&false));
                for (index, (item, bytes)) in items.iter_mut().zip(plan.kept_sizes()).enumerate() {
                    self.shrink(item, bytes, plan.share, &[], &format!("{at}[{index}]"));
                }
                items.extend(kept.map(Value::String));
            }
            Value::Object(fields) => {
                let plan = Plan::of(fields.iter().map(|(key, field)| (Some(key), field)), room, whole);
                let kept = self.drop_entries(&plan, at);
                let mut keeps = plan.keeps.iter();
                fields.retain(|_, _| keeps.next() != Some(&false));
                self.shrink_fields(fields, &plan, whole, at);
                fields.extend(kept.map(|mark| (CUT.to_owned(), Value::String(mark))));
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }

    fn shrink_fields(&mut self, fields: &mut Map<String, Value>, plan: &Plan, whole: &[&str], at: &str) {
        let fields = fields.iter_mut().zip(plan.kept_sizes());
        for ((key, field), bytes) in fields.filter(|((key, _), _)| !whole.contains(&key.as_str())) {
            self.shrink(field, bytes, plan.share, &[], &inside(at, key));
        }
    }

    /// What stands for the entries that there is no room for.
    fn drop_entries(&mut self, plan: &Plan, at: &str) -> Option<String> {
        let dropped = plan.keeps.iter().filter(|is_kept| !**is_kept).count();
        if dropped == 0 {
            return None;
        }
        self.note(format!("{at}: {dropped} of {} entries were cut", plan.keeps.len()));
        Some(format!("(cut, {} entries more)", grouped(dropped)))
    }

    fn note(&mut self, line: String) {
        note(self.odd, format!("{line}, for all to have at most {} bytes as JSON", self.most));
    }
}

fn note(odd: &mut Vec<String>, line: String) {
    if odd.len() < MOST_LINES {
        odd.push(line.trim_start_matches(": ").to_owned());
    }
}

/// How the entries of a list or an object share its room.
struct Plan {
    /// Which of them stay.
    keeps: Vec<bool>,
    /// What their values take now.
    sizes: Vec<usize>,
    /// What each of those may have.
    share: usize,
}

impl Plan {
    fn of<'v>(
        entries: impl Iterator<Item = (Option<&'v String>, &'v Value)>,
        room: usize,
        whole: &[&str],
    ) -> Self {
        let entries = entries.map(|(key, value)| Entry::of(key, value, whole)).collect::<Vec<_>>();
        let least = entries.iter().map(|entry| entry.around + entry.least()).sum::<usize>();
        let mark = if least + 2 > room { MARK } else { 0 };
        // Those that are whole come before all others.
        let mut free = entries
            .iter()
            .filter(|entry| entry.is_whole)
            .fold(room, |free, entry| free.saturating_sub(entry.around + entry.size));
        free = free.saturating_sub(2 + mark);
        let mut keeps: Vec<bool> = entries.iter().map(|entry| entry.is_whole).collect();
        let mut sizes = Vec::new();
        let mut order: Vec<usize> = (0..entries.len()).collect();
        order.sort_by_key(|index| !entries[*index].is_needed);
        for index in order {
            let entry = &entries[index];
            let rest = free.checked_sub(entry.around + entry.least());
            if let Some(rest) = rest.filter(|_| !entry.is_whole) {
                free = rest;
                sizes.push(entry.size);
                keeps[index] = true;
            }
        }
        let least = sizes.iter().map(|size| size.min(&LEAST)).sum::<usize>();
        let share = share(sizes, free + least);
        Self { keeps, sizes: entries.iter().map(|entry| entry.size).collect(), share }
    }

    /// What the values of those that stay take now.
    fn kept_sizes(&self) -> impl Iterator<Item = usize> {
        self.keeps.iter().zip(&self.sizes).filter(|(keeps, _)| **keeps).map(|(_, size)| *size)
    }
}

/// One entry of a list or an object.
struct Entry {
    /// What its name and the marks around it take.
    around: usize,
    /// What its value takes.
    size: usize,
    is_whole: bool,
    is_needed: bool,
}

impl Entry {
    fn of(key: Option<&String>, value: &Value, whole: &[&str]) -> Self {
        // A comma, and a colon.
        let around = key.map_or(1, |key| size(key) + 2);
        let is_of = |names: &[&str]| key.is_some_and(|key| names.contains(&key.as_str()));
        Self { around, size: size(value), is_whole: is_of(whole), is_needed: is_of(&NEEDED) }
    }

    fn least(&self) -> usize {
        if self.is_whole { self.size } else { self.size.min(LEAST) }
    }
}

/// The largest share that each of these sizes may have for all to fit into `room`: those that need less leave the rest to the
/// others.
pub fn share(mut sizes: Vec<usize>, room: usize) -> usize {
    sizes.sort_unstable();
    let (mut left, count) = (room, sizes.len());
    for (index, size) in sizes.into_iter().enumerate() {
        let share = left / (count - index);
        if size > share {
            return share;
        }
        left -= size;
    }
    usize::MAX
}

/// A text cut to so many bytes of JSON, quotes and mark included.
fn cut(text: &str, room: usize) -> String {
    let mut left = room.saturating_sub(2 + bytes_more(text.len()).len());
    let end = text.char_indices().find(|(_, c)| match left.checked_sub(written(*c)) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    let end = end.map_or(text.len(), |(end, _)| end);
    format!("{}{}", &text[..end], bytes_more(text.len() - end))
}

fn bytes_more(bytes: usize) -> String {
    mark(bytes, "bytes")
}

/// What stands for so much that was cut, such as `… (cut, 3,430 characters more)`: the same wherever something is.
pub fn mark(count: usize, unit: &str) -> String {
    format!("… (cut, {} {unit} more)", grouped(count))
}

/// The number with a comma between thousands.
pub fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// How many bytes a character takes within a text of JSON.
fn written(c: char) -> usize {
    match c {
        '"' | '\\' | '\n' | '\r' | '\t' | '\u{8}' | '\u{c}' => 2,
        control if control < ' ' => 6,
        other => other.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fitted(mut value: Value, most: usize) -> (Value, Vec<String>) {
        let mut odd = Vec::new();
        fit_alert(&mut value, most, "a", &mut odd);
        (value, odd)
    }

    #[test]
    fn the_longest_text_is_cut_and_named() {
        let value = json!({"id": "1", "data": {"short": "s".repeat(200), "long": "l".repeat(5_000)}});
        let (fitted, odd) = fitted(value.clone(), 1_000);
        assert!(size(&fitted) <= 1_000 && size(&fitted) > 990, "{fitted}");
        assert_eq!(fitted["data"]["short"], value["data"]["short"]);
        let long = fitted["data"]["long"].as_str().unwrap();
        let kept = long.chars().take_while(|c| *c == 'l').count();
        assert_eq!(long, format!("{}… (cut, {} bytes more)", "l".repeat(kept), grouped(5_000 - kept)));
        let line = format!(
            "a.data.long: the text was cut from 5002 to {} bytes, for all to have at most 1000 bytes as JSON",
            size(long)
        );
        assert_eq!(odd, [line]);
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let value = json!({"id": "1", "data": ["x".repeat(900)]});
        assert_eq!(fitted(value.clone(), size(&value)), (value, Vec::new()));
    }

    #[test]
    fn of_too_many_entries_the_last_are_cut_and_counted() {
        let labels: Map<_, _> = (0..1_000).map(|number| (format!("l{number:04}"), json!("v"))).collect();
        let (fitted, odd) = fitted(json!({"title": "t".repeat(300), "labels": labels, "id": "i"}), 1_000);
        let labels = fitted["labels"].as_object().unwrap();
        assert_eq!(labels[CUT], format!("(cut, {} entries more)", 1_001 - labels.len()));
        assert_eq!((&labels["l0000"], fitted["title"].as_str().unwrap().len()), (&json!("v"), 300));
        assert!(odd[0].starts_with("a.labels: 9") && odd[0].contains(" of 1000 entries were cut"), "{odd:?}");
    }

    #[test]
    fn the_description_is_cut_and_never_left_out() {
        let mut alert = Map::from_iter((0..7_500).map(|number| (format!("{number:070}"), json!("v"))));
        alert.insert("description".to_owned(), json!("d".repeat(5_000)));
        let (fitted, _) = fitted(alert.into(), 524_288);
        let description = fitted["description"].as_str().unwrap();
        assert!(description.starts_with('d') && description.ends_with(" bytes more)"), "{description}");
    }

    #[test]
    fn any_document_fits_and_keeps_what_is_to_stay_whole() {
        for seed in 0..2_000 {
            let random = &mut fastrand::Rng::with_seed(seed);
            let mut value =
                json!({"id": "i".repeat(random.usize(..100)), "title": "t".repeat(random.usize(..100))});
            for number in 0..random.usize(..6) {
                value[format!("{number}{}", text(random))] = any(random, 3);
            }
            value["source"] = json!({"name": "n", "type": "t", "more": any(random, 3)});
            let most = random.usize(900..4_000);
            let (fitted, odd) = fitted(value.clone(), most);
            assert!(size(&fitted) <= most, "seed {seed}: {} bytes, not {most}: {fitted}", size(&fitted));
            assert_eq!(odd.is_empty(), fitted == value, "seed {seed}: {odd:?}");
            assert_eq!((&fitted["id"], &fitted["title"]), (&value["id"], &value["title"]), "seed {seed}");
            assert_eq!(
                (&fitted["source"]["name"], &fitted["source"]["type"]),
                (&json!("n"), &json!("t")),
                "seed {seed}"
            );
        }
    }

    fn text(random: &mut fastrand::Rng) -> String {
        let letters = ["a", "\"", "\\", "\u{1}", "ä", "🔥", "\n"];
        let letter = letters[random.usize(..letters.len())];
        letter.repeat(if random.u8(..8) == 0 { random.usize(..2_000) } else { random.usize(..20) })
    }

    fn any(random: &mut fastrand::Rng, levels: usize) -> Value {
        match random.u8(..if levels == 0 { 3 } else { 5 }) {
            0 => random.i64(..).into(),
            1 | 2 => text(random).into(),
            3 => (0..random.usize(..12)).map(|_| any(random, levels - 1)).collect(),
            _ => (0..random.usize(..12))
                .map(|number| (format!("{number}{}", text(random)), any(random, levels - 1)))
                .collect::<Map<_, _>>()
                .into(),
        }
    }

    #[test]
    fn what_is_too_deep_is_cut_and_named() {
        let deep = (0..5).fold(json!("end"), |below, _| json!({"d": [below]}));
        let (mut value, mut odd) = (json!({"data": deep, "flat": 1}), Vec::new());
        flatten(&mut value, 4, "a", &mut odd);
        assert_eq!(value, json!({"data": {"d": [{"d": "… (cut, 7 levels more)"}]}, "flat": 1}));
        assert_eq!(odd, ["a.data.d[0].d: 7 levels were cut, which are more than the host takes"]);
    }

    #[test]
    fn a_mark_counts_what_is_missing() {
        assert_eq!(mark(3_430, "characters"), "… (cut, 3,430 characters more)");
        assert_eq!([999, 1_000, 1_234_567].map(grouped), ["999", "1,000", "1,234,567"]);
    }

    #[test]
    fn a_long_text_is_cut_to_characters() {
        let mut text = "ä".repeat(1_030);
        assert!(shorten(&mut text, 1_024));
        assert!((1_020..=1_024).contains(&text.chars().count()), "{text}");
        assert!(text.ends_with("ä… (cut, 62 bytes more)"), "{text}");
        let mut fits = "ä".repeat(1_024);
        assert!(!shorten(&mut fits, 1_024) && fits.chars().count() == 1_024);
    }
}
