//! How urgent an alert is to Temporal: what waits in a task queue is taken in this order, and sources take turns.

use temporalio_client::Priority;

use crate::alert::{Alert, Severity};

/// The longest key of a turn, in bytes: Temporal takes no longer ones.
const LONGEST_KEY: usize = 64;

/// The priority of a workflow that carries these alerts: that of the worst one. Its activities have the same.
pub(super) fn of<'a>(alerts: impl IntoIterator<Item = &'a Alert>) -> Priority {
    let worst = alerts.into_iter().max_by_key(|alert| alert.severity);
    // 1 comes first, and 3 is what workflows without one have.
    let key = worst.map(|alert| match alert.severity {
        Severity::Critical => 1,
        Severity::High => 2,
        Severity::Medium => 3,
        Severity::Low => 4,
    });
    let turn = worst
        .map(|Alert { source, .. }| source.name[..source.name.floor_char_boundary(LONGEST_KEY)].to_owned());
    Priority::builder().maybe_priority_key(key).maybe_fairness_key(turn).build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_as_urgent_as_its_worst_alert() {
        let alert = |severity: &str, source: &str| {
            let alert = serde_json::json!({
                "title": "t", "description": "d", "type": "custom", "severity": severity,
                "source": {"name": source, "type": "t"},
            });
            serde_json::from_value::<Alert>(alert).unwrap()
        };
        let priority = of(&[alert("low", "a"), alert("high", &"ü".repeat(40)), alert("medium", "c")]);
        assert_eq!(priority.priority_key, Some(2));
        assert_eq!(priority.fairness_key, Some("ü".repeat(32)));
        assert_eq!(of(&[]), Priority::default());
    }
}
