//! An alert of Dependabot: a dependency with a known vulnerability, until it is updated or the alert is dismissed.

use campanile_guest::source::{Draft, Settings, Sheet};
use campanile_guest::types::Status;
use serde_json::Value;

use crate::repository::Repository;

/// The alert as an alert of ours.
pub(crate) fn read(payload: &Value, settings: &Settings, sheet: &mut Sheet) {
    let alert = &payload["alert"];
    let status = match payload["action"].as_str() {
        Some("created" | "reopened" | "reintroduced" | "auto_reopened") => Status::Firing,
        Some("fixed" | "dismissed" | "auto_dismissed") => Status::Resolved,
        _ => {
            let what = "of a Dependabot alert is nothing to alert about: no alert";
            return sheet.odd("action", &payload["action"], what);
        }
    };
    let repository = Repository::of(payload, sheet);
    let title = sheet.text("alert", alert, "/security_advisory/summary");
    let description = sheet.text("alert", alert, "/security_advisory/description");
    let draft = Draft::new("alert", settings, status, title.as_deref())
        .description(description.as_deref())
        .severity("security_advisory.severity", &alert["security_advisory"]["severity"])
        .link("Dependabot", alert["html_url"].as_str());
    let draft = repository.locate(told(draft, alert));
    let draft = match status {
        Status::Firing => draft,
        Status::Resolved => ended(draft, alert),
    };
    let number = sheet.text("alert", alert, "/number");
    // No `starts_at`: an alert that comes back has the `created_at` of its first time.
    let draft = repository.identify(draft, "dependabot", &[("alert.number", number.as_deref())], sheet);
    sheet.add(draft);
}

fn told(draft: Draft, alert: &Value) -> Draft {
    let (dependency, vulnerability) = (&alert["dependency"], &alert["security_vulnerability"]);
    draft
        .label("package", &dependency["package"]["name"])
        .label("ecosystem", &dependency["package"]["ecosystem"])
        .label("manifest", &dependency["manifest_path"])
        .label("scope", &dependency["scope"])
        .label("ghsa", &alert["security_advisory"]["ghsa_id"])
        .label("cve", &alert["security_advisory"]["cve_id"])
        .metric("cvss", &alert["security_advisory"]["cvss"]["score"])
        .data("number", &alert["number"])
        .data("created_at", &alert["created_at"])
        .data("vulnerable_version_range", &vulnerability["vulnerable_version_range"])
        .data("first_patched_version", &vulnerability["first_patched_version"]["identifier"])
}

/// When and why it ended: fixed, or dismissed by a person or a rule.
fn ended(draft: Draft, alert: &Value) -> Draft {
    let times = ["fixed_at", "dismissed_at", "auto_dismissed_at"];
    let draft = match times.into_iter().find(|name| !alert[*name].is_null()) {
        Some(name) => draft.ends_at(name, &alert[name]),
        None => draft,
    };
    draft
        .data("dismissed_reason", &alert["dismissed_reason"])
        .data("dismissed_by", &alert["dismissed_by"]["login"])
}

#[cfg(test)]
mod tests {
    use crate::hook::tests::{alert, found, none, with};
    use serde_json::json;

    const CREATED: &str = include_str!("../payloads/dependabot-created.json");

    #[test]
    fn an_alert_of_dependabot_keeps_what_people_and_routes_need() {
        assert_eq!(
            alert(CREATED),
            json!({
                "title": "tarball-tools writes files outside of the directory that it unpacks into",
                "description": "An archive with `..` in its names is unpacked beside the target.",
                "type": "security", "severity": "high", "source": {"name": "GitHub", "type": "github"},
                "status": "firing", "dedup_key": "dependabot/300029405/20", "context": {"service": "shop"},
                "labels": {
                    "repository": "acme/shop", "package": "tarball-tools", "ecosystem": "npm",
                    "manifest": "web/package-lock.json", "scope": "runtime", "ghsa": "GHSA-xxxx-yyyy-zzzz",
                    "cve": "CVE-2026-10001",
                },
                "metrics": {"cvss": 8.1},
                "links": [{"href": "https://github.com/acme/shop/security/dependabot/20", "text": "Dependabot"}],
                "data": {
                    "number": 20, "created_at": "2026-03-01T13:57:12Z",
                    "vulnerable_version_range": "< 4.2.1", "first_patched_version": "4.2.1",
                },
            })
        );
    }

    #[test]
    fn a_fix_and_a_dismissal_end_the_alert() {
        let created = alert(CREATED);
        for (body, at, reason) in [
            (include_str!("../payloads/dependabot-fixed.json"), "2026-03-03T08:00:41Z", None),
            (
                include_str!("../payloads/dependabot-dismissed.json"),
                "2026-03-02T16:20:00Z",
                Some("tolerable_risk"),
            ),
        ] {
            let ended = alert(body);
            assert_eq!((&ended["status"], &ended["dedup_key"]), (&json!("resolved"), &created["dedup_key"]));
            assert_eq!((&ended["ends_at"], ended.get("starts_at")), (&json!(at), None));
            assert_eq!(ended["data"].get("dismissed_reason"), reason.map(|reason| json!(reason)).as_ref());
        }
    }

    #[test]
    fn every_action_is_known() {
        for (action, status) in [
            ("reopened", "firing"),
            ("reintroduced", "firing"),
            ("auto_reopened", "firing"),
            ("auto_dismissed", "resolved"),
        ] {
            assert_eq!(alert(&with(CREATED, &[("/action", json!(action))]))["status"], status, "{action}");
        }
        let assigned = with(CREATED, &[("/action", json!("assignees_changed"))]);
        assert_eq!(
            none("dependabot_alert", &assigned),
            ["action: \"assignees_changed\" of a Dependabot alert is nothing to alert about: no alert"]
        );
    }

    #[test]
    fn what_is_odd_costs_itself() {
        let body = with(
            CREATED,
            &[
                ("/alert/number", json!("20")),
                ("/alert/security_advisory/severity", json!("dreadful")),
                ("/alert/security_advisory/summary", json!({"text": "x"})),
                ("/alert/dependency", json!([])),
            ],
        );
        let (alerts, warnings) = found(None, &body, false);
        assert_eq!(alerts[0]["title"], "GitHub: alert without a title");
        assert_eq!(
            (&alerts[0]["dedup_key"], &alerts[0]["severity"]),
            (&json!("dependabot/300029405/20"), &json!("medium"))
        );
        assert_eq!(
            warnings,
            [
                "alert.security_advisory.summary: {\"text\":\"x\"} is not a text: left out",
                "alert.security_advisory.severity: \"dreadful\" is no known severity: medium was taken",
            ]
        );
    }
}
