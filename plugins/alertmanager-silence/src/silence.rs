//! The silence: whom it is for, how long, and the mark in its comment by which it is found again.
//!
//! Source: prometheus/alertmanager, api/v2/openapi.yaml (`postableSilence`, `matcher`). A matcher with an empty value is
//! for alerts without that label; one of a silence must have a value (silence/silence.go, "at least one matcher must not
//! match the empty string").

use campanile_guest::failure::permanent;
use campanile_guest::http::plain_id;
use campanile_guest::types::{Alert, Failure};
use campanile_guest::{Acknowledgement, Change, cut, one_line};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::settings::Settings;

/// The most of a name and of a comment's text, in characters.
const NAME: usize = 200;
const COMMENT: usize = 2_000;

/// A label that must have this value, or must not be there if the value is empty.
pub(crate) type Matcher<'a> = (&'a str, &'a str);

/// The labels that the operator listed, or all of them. One that the alert lacks stays: without it, the silence would be
/// for more than this alert.
pub(crate) fn matchers<'a>(alert: &'a Alert, settings: &'a Settings) -> Result<Vec<Matcher<'a>>, Failure> {
    let labels = || alert.labels.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let value = |name: &str| labels().find(|(given, _)| *given == name).map_or("", |(_, value)| value);
    let matchers: Vec<_> = match &settings.labels {
        Some(names) => names.iter().map(|name| (name.as_str(), value(name))).collect(),
        None => labels().collect(),
    };
    if matchers.iter().any(|(_, value)| !value.is_empty()) {
        return Ok(matchers);
    }
    let message = match &settings.labels {
        Some(names) => {
            format!("the alert has none of the labels {}: set `labels` to some that it has", names.join(", "))
        }
        None => "the alert has no labels, and a silence for none would be for all alerts".to_owned(),
    };
    Err(permanent("no-labels", message))
}

/// The start of the last line of our comments: on the alert of this life, and on this acknowledgement of it.
pub(crate) fn mark(life: &str, taken: Option<Acknowledgement>) -> String {
    let at = taken.map(|taken| format!("at={} ", plain_id(taken.at))).unwrap_or_default();
    format!("campanile: alert={} {at}", plain_id(life))
}

/// Whether a comment has this mark. What others write stands on the lines before.
pub(crate) fn is_marked(comment: &str, mark: &str) -> bool {
    comment.lines().next_back().is_some_and(|line| line.starts_with(mark))
}

/// The silence as the Alertmanager takes it.
pub(crate) fn silence(
    change: &Change,
    life: &str,
    taken: Acknowledgement,
    matchers: &[Matcher],
    now: Timestamp,
    duration: SignedDuration,
) -> Value {
    let starts = Timestamp::from_second(now.as_second()).unwrap_or(now);
    let matchers = matchers
        .iter()
        .map(|(name, value)| json!({ "name": name, "value": value, "isRegex": false, "isEqual": true }));
    json!({
        "matchers": matchers.collect::<Vec<_>>(),
        "startsAt": starts.to_string(),
        "endsAt": starts.saturating_add(duration).unwrap_or(Timestamp::MAX).to_string(),
        "createdBy": cut(&one_line(taken.by), NAME),
        "comment": comment(change, life, taken),
    })
}

fn comment(change: &Change, life: &str, taken: Acknowledgement) -> String {
    let note = if taken.note.is_empty() { &change.alert.title } else { taken.note };
    let said = cut(&one_line(&format!("Acknowledged by {}: {note}", taken.by)), COMMENT);
    format!("{said}\n{}change={}", mark(life, Some(taken)), plain_id(&change.change_id))
}
