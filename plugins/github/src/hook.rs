//! One delivery of a webhook: which event it is of, and who reads that.

use campanile_guest::failure::permanent;
use campanile_guest::source::{Settings, Sheet, json};
use campanile_guest::types::Failure;
use serde_json::Value;

use crate::{dependabot, deployment, ping, secret_scanning, workflow_run};

/// What a body looks like, for those who sent another.
const EXAMPLE: &str =
    r#"{"action": "completed", "workflow_run": {"conclusion": "failure"}, "repository": {}}"#;

/// An event that is read.
struct Event {
    name: &'static str,
    /// The object that it is about.
    object: &'static str,
    /// What only its payload has, by which it is known without a header.
    sign: &'static str,
    /// The alerts' `type`, unless the operator sets one.
    kind: &'static str,
}

/// A status of a deployment may bring the workflow run along, so it comes first.
const EVENTS: [Event; 5] = [
    Event {
        name: "deployment_status",
        object: "deployment_status",
        sign: "/deployment_status",
        kind: "application",
    },
    Event { name: "workflow_run", object: "workflow_run", sign: "/workflow_run", kind: "application" },
    Event { name: "dependabot_alert", object: "alert", sign: "/alert/security_advisory", kind: "security" },
    Event { name: "secret_scanning_alert", object: "alert", sign: "/alert/secret_type", kind: "security" },
    Event { name: "ping", object: "hook", sign: "/zen", kind: "application" },
];

/// One delivery.
pub(crate) struct Hook<'a> {
    /// The header `x-github-event`.
    pub(crate) event: Option<&'a str>,
    pub(crate) content_type: Option<&'a str>,
    pub(crate) body: &'a [u8],
    /// Whether runs of branches other than the default one count.
    pub(crate) all_branches: bool,
}

impl Hook<'_> {
    /// The alert in the delivery, if its event is one to alert about.
    pub(crate) fn decode(&self, settings: &Settings) -> Result<Sheet, Failure> {
        let payload = self.payload()?;
        let mut sheet = Sheet::default();
        match (self.known(&payload), self.event) {
            (Some(event), _) if payload[event.object].is_object() => {
                self.read(event, &payload, settings, &mut sheet);
            }
            (None, Some(event)) if payload.is_object() => {
                sheet.odd("x-github-event", &event.into(), "is nothing to alert about: no alert");
            }
            _ => {
                let message = format!("the body is no webhook of GitHub, as in {EXAMPLE}");
                return Err(permanent("invalid-payload", message));
            }
        }
        Ok(sheet)
    }

    fn payload(&self) -> Result<Value, Failure> {
        if self.content_type.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded")) {
            let message = "the webhook sends a form: in its settings on GitHub, choose the content type application/json";
            return Err(permanent("invalid-payload", message));
        }
        json(self.body)
    }

    /// The event by the header, else by what the payload has.
    fn known(&self, payload: &Value) -> Option<&'static Event> {
        EVENTS.iter().find(|known| match self.event {
            Some(event) => event == known.name,
            None => payload.pointer(known.sign).is_some(),
        })
    }

    fn read(&self, event: &Event, payload: &Value, settings: &Settings, sheet: &mut Sheet) {
        let settings = &of_kind(settings, event.kind);
        match event.name {
            "deployment_status" => deployment::read(payload, settings, sheet),
            "workflow_run" => workflow_run::read(payload, self.all_branches, settings, sheet),
            "dependabot_alert" => dependabot::read(payload, settings, sheet),
            "secret_scanning_alert" => secret_scanning::read(payload, settings, sheet),
            _ => ping::read(payload, sheet),
        }
    }
}

fn of_kind(settings: &Settings, kind: &str) -> Settings {
    let kind = if settings.kind.is_empty() { kind } else { &settings.kind };
    Settings { severity: settings.severity, ..Settings::of(settings.vendor, &settings.name, kind) }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::json;

    type Found = (Vec<Value>, Vec<String>);

    pub(crate) fn found(event: Option<&str>, body: &str, all_branches: bool) -> Found {
        let hook = Hook { event, content_type: None, body: body.as_bytes(), all_branches };
        let sheet = hook.decode(&Settings::of("github", "GitHub", "")).unwrap();
        (sheet.alerts.iter().map(|alert| serde_json::from_str(alert).unwrap()).collect(), sheet.warnings)
    }

    /// The one alert of a payload at which nothing is odd.
    pub(crate) fn alert(body: &str) -> Value {
        let (mut alerts, warnings) = found(None, body, false);
        assert_eq!((alerts.len(), warnings.len()), (1, 0), "{warnings:?}");
        alerts.remove(0)
    }

    /// The warnings of a payload that makes no alert.
    pub(crate) fn none(event: &str, body: &str) -> Vec<String> {
        let (alerts, warnings) = found(Some(event), body, false);
        assert!(alerts.is_empty(), "{alerts:?}");
        warnings
    }

    /// A payload with some values, by their JSON pointers, replaced.
    pub(crate) fn with(body: &str, values: &[(&str, Value)]) -> String {
        let mut payload: Value = serde_json::from_str(body).unwrap();
        for (pointer, value) in values {
            *payload.pointer_mut(pointer).unwrap() = value.clone();
        }
        payload.to_string()
    }

    #[test]
    fn other_events_are_acknowledged_without_alerts() {
        assert_eq!(
            none("push", include_str!("../payloads/push.json")),
            ["x-github-event: \"push\" is nothing to alert about: no alert"]
        );
    }

    #[test]
    fn the_header_decides_over_the_payload() {
        let failed = include_str!("../payloads/workflow-run-failed.json");
        assert_eq!(found(Some("workflow_run"), failed, false).0.len(), 1);
        assert_eq!(none("workflow_job", failed).len(), 1);
    }

    #[test]
    fn a_deployment_that_brings_its_run_along_is_a_deployment() {
        let mut payload: Value =
            serde_json::from_str(include_str!("../payloads/deployment-failed.json")).unwrap();
        payload["workflow_run"] = json!({"id": 7, "conclusion": null});
        assert_eq!(alert(&payload.to_string())["dedup_key"], "deployment/300029405/production/deploy");
    }

    #[test]
    fn the_type_is_that_of_the_event_unless_the_operator_sets_one() {
        let kind = |kind: &str, body: &str| {
            let hook = Hook { event: None, content_type: None, body: body.as_bytes(), all_branches: true };
            let sheet = hook.decode(&Settings::of("github", "GitHub", kind)).unwrap();
            serde_json::from_str::<Value>(&sheet.alerts[0]).unwrap()["type"].clone()
        };
        let (run, leak) = (
            include_str!("../payloads/workflow-run-failed.json"),
            include_str!("../payloads/secret-scanning-created.json"),
        );
        assert_eq!((kind("", run), kind("", leak)), (json!("application"), json!("security")));
        assert_eq!((kind("custom", run), kind("custom", leak)), (json!("custom"), json!("custom")));
    }

    #[test]
    fn a_form_is_refused_with_what_to_choose() {
        let hook = Hook {
            event: Some("ping"),
            content_type: Some("application/x-www-form-urlencoded"),
            body: b"payload=%7B%7D",
            all_branches: false,
        };
        let failure = hook.decode(&Settings::of("github", "GitHub", "")).unwrap_err();
        assert!(failure.message.ends_with("choose the content type application/json"), "{failure:?}");
    }

    #[test]
    fn a_body_of_another_shape_is_refused() {
        let invalid = include_str!("../payloads/invalid-without-run.json");
        for (event, body, code) in [
            (Some("workflow_run"), invalid, "invalid-payload"),
            (None, "{}", "invalid-payload"),
            (Some("push"), "[]", "invalid-payload"),
            (Some("push"), "{", "not-json"),
        ] {
            let hook = Hook { event, content_type: None, body: body.as_bytes(), all_branches: false };
            let failure = hook.decode(&Settings::of("github", "GitHub", "")).unwrap_err();
            assert_eq!(failure.code, code, "{body}");
        }
    }
}
