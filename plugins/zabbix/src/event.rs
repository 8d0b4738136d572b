//! An event of Zabbix, which the script of the media type posts as it was filled in: a problem, its recovery, or an update.

use campanile_guest::failure::permanent;
use campanile_guest::source::{Draft, Settings, Severity, Sheet};
use campanile_guest::types::{Failure, Status};
use serde_json::{Value, json};

use crate::macros::{Event, is_macro};
use crate::tags;

/// Facts, as the media type and the alert both call them.
const FACTS: [&str; 11] = [
    "event_id",
    "event_date",
    "event_time",
    "event_recovery_date",
    "event_recovery_time",
    "event_opdata",
    "event_update_action",
    "event_update_message",
    "event_update_user",
    "host_ip",
    "trigger_id",
];

/// What to route by besides.
const LABELS: [(&str, &[&str]); 3] =
    [("host", &["host_host"]), ("hostgroups", &["host_groups"]), ("severity", &SEVERITIES)];

/// The names of the severity, the current one first: an update of a service leaves that of its event as it was.
const SEVERITIES: [&str; 2] = ["event_update_severity", "event_severity"];

/// The same as numbers.
const NUMBERS: [&str; 2] = ["event_update_nseverity", "event_nseverity"];

/// What every event has one of.
const NAMES: [&str; 3] = ["event_id", "event_name", "alert_subject"];

/// The alert of an event.
pub(crate) fn decode(body: &Value, settings: &Settings) -> Result<Sheet, Failure> {
    let mut sheet = Sheet::default();
    let event = Event::read(body, &mut sheet);
    if event.first(&NAMES).is_none() {
        if let Some(name) = NAMES.into_iter().find(|name| is_macro(&body[*name])) {
            let what = "is a macro, as the test of a media type posts it: the connection works, no alert";
            sheet.odd(name, &body[name], what);
            return Ok(sheet);
        }
        let message = "the body has no `event_id`, `event_name` or `alert_subject`: import media_campanile.yaml, which is \
                       beside the plugin, as a media type into Zabbix";
        return Err(permanent("invalid-payload", message));
    }
    if let Some(status) = status(&event, &mut sheet) {
        let draft = draft(body, &event, status, settings, &mut sheet);
        sheet.add(draft);
    }
    Ok(sheet)
}

/// Whether it is a problem. Discovery and autoregistration (sources 1 and 2) know no recovery, and an update is news only if
/// the severity is another.
fn status(event: &Event, sheet: &mut Sheet) -> Option<Status> {
    let (value, action) =
        (event.given("event_value"), event.given("event_update_action").unwrap_or_default());
    let is_update = event.given("event_update_status") == Some("1");
    if is_update && (value == Some("0") || !action.contains("changed severity")) {
        sheet.odd("event_update_action", &json!(action), "is an update that is not acted on: no alert");
        return None;
    }
    match (event.given("event_source"), value) {
        (Some("1" | "2"), _) | (_, Some("1")) => Some(Status::Firing),
        (_, Some("0")) => Some(Status::Resolved),
        _ => {
            sheet.odd(
                "event_value",
                &json!(value),
                "is not 1 (problem) or 0 (recovery): a problem was taken",
            );
            Some(Status::Firing)
        }
    }
}

fn draft(body: &Value, event: &Event, status: Status, settings: &Settings, sheet: &mut Sheet) -> Draft {
    let description = event.first(&["alert_message", "trigger_description", "event_opdata"]);
    let draft = Draft::new("", settings, status, event.first(&["event_name", "alert_subject"]))
        .description(description)
        .link("Zabbix", page(event).as_deref())
        .link("Trigger", event.given("trigger_url"));
    let draft = tags::tagged(graded(draft, event, sheet), body, event, sheet);
    let label = |draft: Draft, (label, names)| draft.label(label, &json!(event.first(names)));
    let draft = LABELS.into_iter().fold(draft, label);
    let draft = FACTS.into_iter().fold(draft, |draft, name| draft.rest(name, &json!(event.given(name))));
    // What Zabbix discovers or registers has no recovery.
    let draft = match event.given("event_source") {
        Some("1" | "2") => draft.momentary(),
        _ => draft,
    };
    match event.given("event_id") {
        // Each server counts its events.
        Some(id) => draft.dedup_key(id).within(server(event)),
        None => {
            sheet.warnings.push("event_id: is missing: no recovery will find the alert".to_owned());
            draft
        }
    }
}

/// The address of the server's frontend.
fn server(event: &Event) -> Option<&str> {
    event.given("zabbix_url").map(|address| address.trim_end_matches('/'))
}

/// By the number, since the names of severities can be changed; without one by the name.
fn graded(draft: Draft, event: &Event, sheet: &mut Sheet) -> Draft {
    let number = event.first(&NUMBERS);
    let draft = match number.and_then(|number| number.parse().ok()) {
        Some(level @ 0..=5) => draft.level(level),
        _ => draft,
    };
    let severity = match number {
        Some("0") => return draft,
        Some("1") => Severity::Low,
        Some("2" | "3") => Severity::Medium,
        Some("4") => Severity::High,
        Some("5") => Severity::Critical,
        Some(other) => {
            sheet.odd("event_nseverity", &json!(other), "is not 0 to 5: left out");
            return draft;
        }
        None => return draft.severity("event_severity", &json!(event.first(&SEVERITIES))),
    };
    draft.known_severity(severity)
}

/// The problem's page in Zabbix.
fn page(event: &Event) -> Option<String> {
    let address = server(event)?;
    let (trigger, id) = (event.given("trigger_id")?, event.given("event_id")?);
    Some(format!("{address}/tr_events.php?triggerid={trigger}&eventid={id}"))
}

#[cfg(test)]
mod tests;
