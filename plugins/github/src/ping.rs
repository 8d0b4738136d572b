//! The first delivery of a webhook, which says what it is set up for.

use campanile_guest::source::Sheet;
use serde_json::Value;

/// The events that become alerts, `*` for all.
const WANTED: [&str; 5] =
    ["*", "workflow_run", "deployment_status", "dependabot_alert", "secret_scanning_alert"];

/// Says so if nothing that the webhook sends will become an alert.
pub(crate) fn read(payload: &Value, sheet: &mut Sheet) {
    let events = &payload["hook"]["events"];
    let is_wanted = |event: &Value| event.as_str().is_some_and(|event| WANTED.contains(&event));
    if !events.as_array().into_iter().flatten().any(is_wanted) {
        let what = "has nothing to alert about: choose Workflow runs, Deployment statuses, Dependabot alerts or \
                    Secret scanning alerts";
        sheet.odd("hook.events", events, what);
    }
}

#[cfg(test)]
mod tests {
    use crate::hook::tests::{none, with};
    use serde_json::json;

    const PING: &str = include_str!("../payloads/ping.json");

    #[test]
    fn a_ping_is_welcome_and_no_alert() {
        assert!(none("ping", PING).is_empty());
        assert!(none("ping", &with(PING, &[("/hook/events", json!(["*"]))])).is_empty());
    }

    #[test]
    fn a_webhook_without_an_event_to_alert_about_is_told() {
        assert_eq!(
            none("ping", include_str!("../payloads/ping-of-pushes.json")),
            [
                "hook.events: [\"push\"] has nothing to alert about: choose Workflow runs, Deployment statuses, \
                 Dependabot alerts or Secret scanning alerts"
            ]
        );
        assert_eq!(none("ping", &with(PING, &[("/hook/events", json!(7))])).len(), 1);
    }
}
