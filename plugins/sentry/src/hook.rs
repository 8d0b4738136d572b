//! What Sentry posts: a resource (named in a header) of which something became of (`action`). Events, issues and metric
//! alerts become alerts; comments, installations and the like do not.

use std::borrow::Cow;

use campanile_guest::failure::permanent;
use campanile_guest::source::{Settings, Sheet};
use campanile_guest::types::Failure;
use serde_json::Value;

use crate::{event, issue, metric_alert};

/// What a body looks like, for those who sent another.
const EXAMPLE: &str =
    r#"{"action": "triggered", "data": {"event": {"event_id": "…", "title": "…", "level": "error"}}}"#;

/// Resources that become alerts, and where in `data` they stand.
const RESOURCES: [(&str, &str); 4] =
    [("event_alert", "event"), ("metric_alert", "metric_alert"), ("issue", "issue"), ("error", "error")];

/// The alert in a hook. Without a header, the body's shape says what the resource is.
pub(crate) fn decode(resource: Option<&str>, hook: &Value, settings: &Settings) -> Result<Sheet, Failure> {
    let data = &hook["data"];
    let given = RESOURCES.iter().find(|(name, field)| match resource {
        Some(resource) => resource == *name,
        None => data[field].is_object(),
    });
    let mut sheet = Sheet::default();
    match given {
        Some((resource, field)) if data[field].is_object() => read(resource, hook, settings, &mut sheet),
        None if data.is_object() => {
            let resource = resource.map_or(Value::Null, Value::from);
            sheet.odd("sentry-hook-resource", &resource, "is nothing to alert about: no alert");
        }
        _ => {
            return Err(permanent(
                "invalid-payload",
                format!("the body is no hook of Sentry, as in {EXAMPLE}"),
            ));
        }
    }
    Ok(sheet)
}

/// Where Sentry is installed: issues and incidents are counted in each of its regions and by each server of one's own.
pub(crate) fn installation<'a>(hook: &'a Value, sheet: &mut Sheet) -> Option<Cow<'a, str>> {
    sheet.text("", hook, "/installation/uuid")
}

fn read(resource: &str, hook: &Value, settings: &Settings, sheet: &mut Sheet) {
    let data = &hook["data"];
    match resource {
        "event_alert" => event::read("data.event", &data["event"], data, settings, sheet),
        "error" => event::read("data.error", &data["error"], data, settings, sheet),
        "metric_alert" => metric_alert::read(hook, settings, sheet),
        _ => issue::read(hook, settings, sheet),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    pub(crate) fn decoded(resource: Option<&str>, hook: &str) -> (Vec<Value>, Vec<String>) {
        let hook = serde_json::from_str(hook).unwrap();
        let sheet = decode(resource, &hook, &Settings::of("sentry", "Sentry", "application")).unwrap();
        (sheet.alerts.iter().map(|alert| serde_json::from_str(alert).unwrap()).collect(), sheet.warnings)
    }

    pub(crate) fn alert(hook: &str) -> Value {
        let (mut alerts, warnings) = decoded(None, hook);
        assert_eq!((alerts.len(), warnings.len()), (1, 0), "{warnings:?}");
        alerts.remove(0)
    }

    #[test]
    fn what_is_nothing_to_alert_about_is_said() {
        for (resource, hook, warning) in [
            (
                None,
                include_str!("../payloads/issue-assigned.json"),
                "action: \"assigned\" of an issue is nothing to alert about: no alert",
            ),
            (
                Some("issue"),
                include_str!("../payloads/issue-archived.json"),
                "action: \"archived\" of an issue is nothing to alert about: no alert",
            ),
            (
                Some("comment"),
                include_str!("../payloads/comment-created.json"),
                "sentry-hook-resource: \"comment\" is nothing to alert about: no alert",
            ),
            (
                None,
                include_str!("../payloads/installation-created.json"),
                "sentry-hook-resource: null is nothing to alert about: no alert",
            ),
        ] {
            let (alerts, warnings) = decoded(resource, hook);
            assert_eq!((alerts.len(), warnings), (0, vec![warning.to_owned()]));
        }
    }

    #[test]
    fn the_header_decides() {
        let hook = include_str!("../payloads/issue-created.json");
        assert_eq!(decoded(Some("issue"), hook).0.len(), 1);
        assert_eq!(decoded(Some("seer"), hook).0.len(), 0);
    }

    #[test]
    fn a_body_of_another_shape_is_refused() {
        let settings = Settings::of("sentry", "Sentry", "application");
        for (resource, hook) in [(None, json!({})), (None, json!([])), (Some("issue"), json!({"data": {}}))] {
            let failure = decode(resource, &hook, &settings).unwrap_err();
            assert_eq!(failure.code, "invalid-payload", "{hook}");
        }
    }
}
