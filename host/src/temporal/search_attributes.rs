//! The search attributes by which Temporal's UI can filter alerts.

use temporalio_common::search_attributes::{SearchAttributeKey, SearchAttributeUpdate, SearchAttributes};

use crate::alert::{Alert, AlertItem};

/// `delivered`, `partial`, `failed`, `dropped` or `unrouted`; of a batch the worst. Set when the workflow completes.
pub(super) const OUTCOME: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertOutcome");
/// `low`, `medium`, `high` or `critical`, as posted; of a batch the highest.
pub(super) const SEVERITY: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertSeverity");
/// The alert's type, such as `security`.
pub(super) const TYPE: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertType");
/// `firing` or `resolved`.
pub(super) const STATUS: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertStatus");
/// The alert's `id`, or `dedup_key`.
pub(super) const KEY: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertKey");
/// The headline, cut.
pub(super) const TITLE: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertTitle");
/// The name of the alert's source.
pub(super) const SOURCE: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertSource");

/// Of a parked delivery: its receiver.
pub(super) const RECEIVER: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertReceiver");
/// Of a parked delivery: the code of its last error.
pub(super) const ERROR: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertError");

/// All of them, to be registered with a namespace.
pub(super) const ALL: [SearchAttributeKey<String>; 9] =
    [OUTCOME, SEVERITY, TYPE, SOURCE, STATUS, KEY, TITLE, RECEIVER, ERROR];

/// The longest value, in characters: databases hold 255.
const LONGEST: usize = 200;

/// The search attributes that a workflow carrying these alerts starts with: the highest severity, and the others if all
/// have the same. What is sealed has no headline.
pub(super) fn of<'a>(alerts: impl IntoIterator<Item = &'a Alert>, sealed: bool) -> SearchAttributes {
    SearchAttributes::new(values(alerts, sealed))
}

/// Those of a parked delivery: its alert's, its receiver, and the code of its error.
pub(super) fn of_delivery(item: &AlertItem, receiver: &str, error: &str) -> SearchAttributes {
    let own = [RECEIVER.value_set(stored(receiver)), ERROR.value_set(stored(error))];
    SearchAttributes::new(values([&item.alert], item.origin.sealed).chain(own))
}

fn values<'a>(
    alerts: impl IntoIterator<Item = &'a Alert>,
    sealed: bool,
) -> impl Iterator<Item = SearchAttributeUpdate> {
    let alerts: Vec<&Alert> = alerts.into_iter().collect();
    let severity = alerts.iter().map(|alert| alert.severity).max();
    let kind = common(alerts.iter().map(|alert| alert.kind));
    let source = common(alerts.iter().map(|alert| &alert.source.name));
    let status = common(alerts.iter().map(|alert| alert.status));
    let key = common(alerts.iter().map(|alert| alert.identity())).flatten();
    let title = common(alerts.iter().map(|alert| &alert.title)).filter(|_| !sealed);
    let attributes = [
        severity.map(|severity| SEVERITY.value_set(severity.to_string())),
        kind.map(|kind| TYPE.value_set(kind.to_string())),
        source.map(|source| SOURCE.value_set(stored(source))),
        status.map(|status| STATUS.value_set(status.to_string())),
        key.map(|key| KEY.value_set(key.to_owned())),
        title.map(|title| TITLE.value_set(stored(title))),
    ];
    attributes.into_iter().flatten()
}

/// A text as databases take it: not too long, and without NUL.
fn stored(text: &str) -> String {
    text.chars().filter(|c| *c != '\0').take(LONGEST).collect()
}

/// The value that all of them have.
fn common<T: PartialEq>(mut values: impl Iterator<Item = T>) -> Option<T> {
    let first = values.next()?;
    values.all(|value| value == first).then_some(first)
}
