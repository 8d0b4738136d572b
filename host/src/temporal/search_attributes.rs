//! The search attributes by which Temporal's UI can filter alerts.

use temporalio_common::search_attributes::{SearchAttributeKey, SearchAttributes};

use crate::alert::Alert;

/// `delivered`, `partial`, `failed`, `dropped` or `unrouted`; set when the workflow completes.
pub(super) const OUTCOME: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertOutcome");
/// `low`, `medium`, `high` or `critical`, as posted.
pub(super) const SEVERITY: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertSeverity");
/// The alert's type, such as `security`.
pub(super) const TYPE: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertType");
/// The name of the alert's source.
pub(super) const SOURCE: SearchAttributeKey<String> = SearchAttributeKey::keyword("AlertSource");

/// All of them, to be registered with a namespace.
pub(super) const ALL: [SearchAttributeKey<String>; 4] = [OUTCOME, SEVERITY, TYPE, SOURCE];

/// The search attributes that a workflow carrying `alert` starts with.
pub(super) fn of(alert: &Alert) -> SearchAttributes {
    SearchAttributes::new([
        SEVERITY.value_set(alert.severity.to_string()),
        TYPE.value_set(alert.kind.to_string()),
        SOURCE.value_set(alert.source.name.clone()),
    ])
}
