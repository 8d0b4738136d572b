//! The largest inputs that the host admits: what a sender posts, grown at one to three places until the body, the number of
//! its values, its depth or the alert is at its limit.

use std::fs;
use std::path::PathBuf;

use campanile::alert::{MOST_BYTES, MOST_DEPTH};
use campanile::webhook::read_alert;
use fastrand::Rng;
use harness::project;
use serde_json::{Map, Value, json};

use super::engine::{Input, headers};

/// The default limits on a body (`docs/api.md`).
const BODY_BYTES: usize = 8 << 20;
const BODY_VALUES: usize = 100_000;
const BODY_DEPTH: usize = 64;
/// The most alerts of a request to a source.
const MOST_ALERTS: usize = 10_000;

/// What texts are made of: plain, escaped in JSON and in markup, wide, blank, and what plugins split or read.
const PIECES: [&str; 14] =
    ["x", "\"", "<", "&", "🔥", "\u{1}", " ", "\n", "a b\t", "a:b, ", "[a] ", "[[],", "{\"a\":", "İ"];

/// What is there to be grown.
#[derive(Clone, Copy)]
struct Room {
    bytes: usize,
    values: usize,
    depth: usize,
}

/// The payloads of a source, by file; none for any other plugin.
pub(super) fn payloads(name: &str) -> Vec<PathBuf> {
    let directory = project::root().join("plugins").join(name).join("payloads");
    let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<_> = files.filter(|file| file.extension().is_some_and(|end| end == "json")).collect();
    files.sort();
    files
}

/// Bodies at the limits, as a source sees them.
pub(super) fn requests(payloads: &[PathBuf], random: &mut Rng, count: usize) -> Vec<(String, Input)> {
    let room = Room { bytes: BODY_BYTES, values: BODY_VALUES, depth: BODY_DEPTH };
    let mut requests = Vec::new();
    while requests.len() < count {
        let payload = &payloads[random.usize(..payloads.len())];
        let text = fs::read_to_string(payload).expect("a payload");
        let Ok(mut body) = serde_json::from_str::<Value>(&text) else { continue };
        let inner = random.bool() && grow_inside(&mut body, room, random);
        let how = if inner { "a document in it".to_owned() } else { grow_some(&mut body, room, random) };
        let body = body.to_string().into_bytes();
        if body.len() > BODY_BYTES {
            continue;
        }
        let what = format!("{} with {how}", payload.file_name().unwrap_or_default().display());
        let input = Input::Decode { path: "/".to_owned(), headers: headers(payload), body };
        requests.push((what, input));
    }
    requests
}

/// Grows the document that is a text in an envelope, such as the message of SNS. Whether there is one.
fn grow_inside(envelope: &mut Value, room: Room, random: &mut Rng) -> bool {
    let Some(Value::String(text)) = envelope.get_mut("Message") else { return false };
    let Ok(mut inner) = serde_json::from_str::<Value>(text) else { return false };
    // Quotes are escaped once more.
    grow_some(&mut inner, Room { bytes: room.bytes / 4, values: room.values * 10, ..room }, random);
    *text = inner.to_string();
    true
}

/// Bodies of Datadog: as many tags as it reads of one, which all become one label, and the largest with each tag another.
pub(super) fn many_tags() -> [(String, Input); 2] {
    let payload = project::root().join("plugins/datadog/payloads/triggered.json");
    let text = fs::read_to_string(&payload).expect("a payload");
    let body: Value = serde_json::from_str(&text).expect("a payload that is JSON");
    let one = "a:b,".repeat((512 << 10) / 4);
    let mut others = String::new();
    for number in 0.. {
        others.push_str(&format!("{number:x},"));
        if others.len() > BODY_BYTES - text.len() - 16 {
            break;
        }
    }
    [("one tag", one), ("many tags", others)].map(|(what, tags)| {
        let mut body = body.clone();
        body["tags"] = tags.into();
        let input = Input::Decode {
            path: "/".to_owned(),
            headers: headers(&payload),
            body: body.to_string().into_bytes(),
        };
        (format!("{what} of Datadog"), input)
    })
}

/// The most labels that an alert can have, each with a name that is not in order.
pub(super) fn many_labels() -> (String, Value) {
    let mut alert = alert();
    // Each takes as much as `"Afedc":"",`, or less.
    let count = (MOST_BYTES - alert.to_string().len()) / 11;
    let labels: Map<_, _> = (0..count).map(|number| (format!("A{number:x}"), json!(""))).collect();
    alert["labels"] = labels.into();
    assert!(fits(&alert), "{count} labels are more than an alert can have");
    (format!("{count} labels"), alert)
}

/// Alerts at the limits that the host takes.
pub(super) fn alerts(random: &mut Rng, count: usize) -> impl Iterator<Item = (String, Value)> {
    std::iter::repeat_with(|| grown_alert(random)).take(count)
}

fn grown_alert(random: &mut Rng) -> (String, Value) {
    let room = Room { bytes: MOST_BYTES - 4_096, values: MOST_BYTES, depth: MOST_DEPTH };
    loop {
        let mut alert = alert();
        let how = grow_some(&mut alert, room, random);
        if fits(&alert) {
            return (how, alert);
        }
    }
}

/// Whether the host takes all of it.
fn fits(alert: &Value) -> bool {
    read_alert(&alert.to_string(), "").is_ok_and(|(_, odd)| odd.is_empty())
}

/// An alert with something in every field.
fn alert() -> Value {
    json!({
        "id": "1", "title": "Pool exhausted", "description": "No connection is free.", "type": "database",
        "severity": "high", "status": "firing", "dedup_key": "pool", "starts_at": "2026-01-02T03:04:05Z",
        "source": {"name": "Monitoring", "type": "monitoring", "team": "core"},
        "context": {"environment": "production", "service": "payments", "region": "eu"},
        "labels": {"host": "db-1", " Team Name ": " Core ", "TEAM": "core"},
        "links": ["https://run.example/1", {"href": "https://run.example/2", "text": "Run"}],
        "data": {"triage": {"priority": "P1"}, "list": [1, {"a": [2]}], "jira": {"issue": "OPS-7"}},
        "metrics": {"cpu": 0.93}, "x_vendor": {"deep": [{"a": "b"}]},
    })
}

/// Grows one to three places, which share the room.
fn grow_some(document: &mut Value, room: Room, random: &mut Rng) -> String {
    let places = random.usize(1..=3);
    let share = Room { bytes: room.bytes / places, values: room.values / places, ..room };
    let how: Vec<_> = (0..places).map(|_| grow(document, share, random)).collect();
    how.join(" and ")
}

/// Grows one place.
fn grow(document: &mut Value, room: Room, random: &mut Rng) -> String {
    let mut places = Vec::new();
    pointers(document, String::new(), &mut places);
    let place = places.swap_remove(random.usize(..places.len()));
    let depth = place.matches('/').count();
    // Some of the room is taken already, and the place's own name and marks need some.
    let room =
        Room { bytes: room.bytes * 9 / 10, values: room.values * 9 / 10, depth: room.depth - depth - 2 };
    let node = document.pointer_mut(&place).expect("a place in the document");
    let (how, grown) = grown(node, room, random);
    *node = grown;
    format!("{how} at {place:?}")
}

/// All places of a document, but for what was grown already.
fn pointers(value: &Value, here: String, places: &mut Vec<String>) {
    let inside = |name: &str| format!("{here}/{}", name.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Array(items) if items.len() < 100 => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| pointers(item, inside(&index.to_string()), places));
        }
        Value::Object(fields) if fields.len() < 100 => {
            fields.iter().for_each(|(name, field)| pointers(field, inside(name), places));
        }
        _ => {}
    }
    places.push(here);
}

fn grown(node: &Value, room: Room, random: &mut Rng) -> (String, Value) {
    let piece = PIECES[random.usize(..PIECES.len())];
    match (node, random.u8(..8)) {
        (Value::Array(items), 0..6) if !items.is_empty() => repeated(items, room, random),
        (Value::Object(fields), 0..6) => filled(fields, room, piece, random),
        (Value::String(_), 0..6) | (_, 6) => {
            let count = room.bytes / (json!(piece).to_string().len() - 2);
            (format!("{count} times {piece:?}"), piece.repeat(count).into())
        }
        _ => nested(room, random),
    }
}

/// A list with its own entries again and again: as many as a request may have alerts, or as there is room for.
fn repeated(items: &[Value], room: Room, random: &mut Rng) -> (String, Value) {
    let bytes = json!(items).to_string().len();
    let most = (room.bytes / bytes).min(room.values / values(&json!(items))).max(1) * items.len();
    let count = if random.bool() { most.min(MOST_ALERTS) } else { most };
    (format!("{count} entries"), items.iter().cycle().take(count).cloned().collect())
}

/// An object with more fields: many short ones, or few long ones, each with a name of its own that begins or ends in `piece`.
fn filled(fields: &Map<String, Value>, room: Room, piece: &str, random: &mut Rng) -> (String, Value) {
    let mut fields = fields.clone();
    let long = piece.repeat([1, 1, 100, 10_000][random.usize(..4)] / piece.len().max(1) + 1);
    let value: Value = if random.bool() { long.clone().into() } else { " v ".into() };
    let bytes = json!([long, value]).to_string().len() + 8;
    let count = (room.bytes / bytes).min(room.values);
    let is_first = random.bool();
    for number in 0..count {
        let name = if is_first { format!("{long}{number}") } else { format!("{number} {long}") };
        fields.insert(name, value.clone());
    }
    (format!("{count} fields of {} characters", long.len()), Value::Object(fields))
}

/// Lists and objects in each other, or many that are empty.
fn nested(room: Room, random: &mut Rng) -> (String, Value) {
    let leaf =
        [json!([]), json!({}), json!(1), json!(""), json!(null), json!(1e300)][random.usize(..6)].clone();
    let depth = [0, 1, room.depth][random.usize(..3)];
    let tower = (0..depth).fold(leaf, |inner, level| match level % 2 {
        0 => json!([inner]),
        _ => json!({"a": inner}),
    });
    let count = (room.values / (depth + 1)).min(room.bytes / (tower.to_string().len() + 1)).max(1);
    (format!("{count} times {depth} levels"), Value::Array(vec![tower; count]))
}

/// How many values a document has.
fn values(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(values).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(values).sum::<usize>(),
        _ => 1,
    }
}
