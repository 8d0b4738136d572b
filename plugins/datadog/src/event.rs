//! The alert of an event, which has the shape of `template.json`.

use std::collections::BTreeMap;

use campanile_guest::failure::permanent;
use campanile_guest::source::{Draft, Settings, Severity, Sheet, fact_time};
use campanile_guest::types::{Failure, Status};
use serde_json::{Value, json};

use crate::template::{check, given, marks, tags, unmarked};

/// Facts, as the template and the alert both call them.
const FACTS: [&str; 9] =
    ["cycle", "monitor_id", "transition", "type", "metric", "query", "scope", "aggreg", "id"];

/// The most bytes of tags that are read: as many as an alert may have. A million of them would not fit the memory.
const MOST_TAGS: usize = 512 << 10;

/// The alert of an event.
pub(crate) fn decode(event: &Value, settings: &Settings) -> Result<Sheet, Failure> {
    if ["/title", "/body", "/transition"].iter().all(|field| given(event, field).is_none()) {
        let message = "the body has no `title`, `body` or `transition`: as the payload of the webhook in Datadog, paste \
                       the template from the README of the plugin, and leave \"Encode as form\" off";
        return Err(permanent("invalid-payload", message));
    }
    let mut sheet = Sheet::default();
    check(event, &mut sheet);
    let (title, body) = (given(event, "/title"), given(event, "/body"));
    let draft = Draft::new("", settings, status(event, &mut sheet), title.as_deref())
        .description(body.as_deref().map(unmarked))
        .link("Datadog", given(event, "/link").as_deref())
        .data("timestamp", &timestamp(event, &mut sheet))
        .data("org", &organisation(event));
    let draft = FACTS
        .into_iter()
        .fold(draft, |draft, name| draft.data(name, &json!(given(event, &format!("/{name}")))));
    let draft = tagged(levelled(graded(draft, event, &mut sheet), event), event, &mut sheet);
    let draft = identified(draft, event, &mut sheet).within(given(event, "/org/id").as_deref());
    sheet.add(draft);
    Ok(sheet)
}

/// Datadog's id of the event, the same when it posts again.
pub(crate) fn delivery_id(event: &Value) -> Option<String> {
    given(event, "/id")
}

/// Whether the monitor's condition holds. Without the template's `transition`, the title says it, as in
/// `[P2] [Recovered] Disk is full`.
fn status(event: &Value, sheet: &mut Sheet) -> Status {
    let transition = given(event, "/transition");
    let recovered = match &transition {
        Some(transition) => transition.starts_with("Recovered"),
        None => marks(event).iter().any(|mark| mark.starts_with("Recovered")),
    };
    if recovered {
        return Status::Resolved;
    }
    if !transition.as_deref().is_some_and(is_firing) {
        sheet.odd("transition", &event["transition"], "is no known transition: firing was taken");
    }
    Status::Firing
}

fn is_firing(transition: &str) -> bool {
    let kind = transition.strip_prefix("Re-").unwrap_or(transition);
    ["Triggered", "No Data", "Warn", "Renotify"].contains(&kind)
}

/// How bad it is: the monitor's priority, else whether it only warns, else the event's type. A recovery is of type
/// `success`, which says nothing of what has ended.
fn graded(draft: Draft, event: &Value, sheet: &mut Sheet) -> Draft {
    let kind = given(event, "/type").filter(|kind| kind != "success");
    let draft = draft.severity("type", &json!(kind));
    let draft = match given(event, "/transition").as_deref() {
        Some("Warn" | "Re-Warn") => draft.known_severity(Severity::Medium),
        _ => draft,
    };
    match given(event, "/priority") {
        None => draft,
        Some(word) if ["P1", "P2", "P3", "P4", "P5"].contains(&word.as_str()) => {
            draft.severity("priority", &json!(word))
        }
        Some(_) => {
            sheet.odd("priority", &event["priority"], "is not P1 to P5: left out");
            draft
        }
    }
}

/// How bad it is on the scale of monitors, which may all have one priority: no data, a warning, an alert.
fn levelled(draft: Draft, event: &Value) -> Draft {
    let transition = given(event, "/transition").unwrap_or_default();
    let level =
        match (transition.strip_prefix("Re-").unwrap_or(&transition), given(event, "/type").as_deref()) {
            ("Triggered", _) => Some(2),
            ("Warn", _) => Some(1),
            ("No Data", _) => Some(0),
            (_, Some("error")) => Some(2),
            (_, Some("warning")) => Some(1),
            _ => None,
        };
    match level {
        Some(level) => draft.level(level),
        None => draft,
    }
}

/// The tags as labels, and where the alert belongs by them.
fn tagged(draft: Draft, event: &Value, sheet: &mut Sheet) -> Draft {
    let list = given(event, "/tags").unwrap_or_default();
    if list.len() > MOST_TAGS {
        sheet.odd(
            "tags",
            &event["tags"],
            &format!("has {} bytes, more than {MOST_TAGS}: left out", list.len()),
        );
        return draft;
    }
    let tags = tags(&list);
    let draft = draft
        .context("environment", tags.get("env").map(String::as_str))
        .context("service", tags.get("service").map(String::as_str));
    tags.iter().fold(draft, |draft, (name, value)| draft.label(name, &json!(value)))
}

/// What all events from the trigger to the recovery have in common. A test of a monitor gets a key of its own, lest it
/// resolve what really fires.
fn identified(draft: Draft, event: &Value, sheet: &mut Sheet) -> Draft {
    let monitor = || {
        let scope = given(event, "/scope").unwrap_or_default();
        given(event, "/monitor_id").map(|monitor| format!("{monitor}/{scope}"))
    };
    let Some(key) = given(event, "/cycle").or_else(|| given(event, "/aggreg")).or_else(monitor) else {
        let what = "is missing, as are `aggreg` and `monitor_id`: no recovery will find the alert";
        sheet.warnings.push(format!("cycle: {what}"));
        return draft.momentary();
    };
    if ["/cycle", "/monitor_id", "/transition"].iter().all(|field| given(event, field).is_none()) {
        // An event of no monitor: Datadog groups those that have one aggregation key, and ends none.
        return draft.single();
    }
    let is_test = marks(event).iter().any(|mark| mark.eq_ignore_ascii_case("test"));
    draft.dedup_key(&if is_test { format!("test-{key}") } else { key })
}

/// When it happened. No part of the identity: the recovery has another time.
fn timestamp(event: &Value, sheet: &mut Sheet) -> Value {
    let Some(date) = given(event, "/date").map(Value::from) else { return Value::Null };
    let time = fact_time(&date);
    if time.is_none() {
        sheet.odd("date", &date, "is no time: left out");
    }
    json!(time)
}

fn organisation(event: &Value) -> Value {
    let fields =
        ["id", "name"].into_iter().filter_map(|name| Some((name, given(event, &format!("/org/{name}"))?)));
    json!(fields.collect::<BTreeMap<_, _>>())
}

#[cfg(test)]
mod tests;
