//! Whom Opsgenie notifies beside the team of the integration, as the operator writes it: `team:ops, user:ada@example.com`.

use campanile_guest::failure::permanent;
use campanile_guest::types::Failure;
use serde_json::{Value, json};

/// The responders in the form of the Alert API, which calls a user's name `username`.
pub(crate) fn parse(parts: &[String]) -> Result<Vec<Value>, Failure> {
    parts.iter().map(|part| responder(part).ok_or_else(|| invalid(part))).collect()
}

fn responder(part: &str) -> Option<Value> {
    let (kind, name) = part.split_once(':')?;
    match (kind.trim(), name.trim()) {
        (_, "") => None,
        ("user", name) => Some(json!({ "type": "user", "username": name })),
        (kind @ ("team" | "escalation" | "schedule"), name) => Some(json!({ "type": kind, "name": name })),
        _ => None,
    }
}

fn invalid(part: &str) -> Failure {
    let message = format!(
        "the configuration's `responders` has {part:?}, which is none of team:NAME, user:ADDRESS, escalation:NAME, \
         schedule:NAME; such as responders = \"team:ops, user:ada@example.com\""
    );
    permanent("config-invalid", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responders_have_a_kind_and_a_name() {
        let parts =
            ["team:NOC", "user:trinity@opsgenie.com", "escalation: Nightwatch", "schedule:First:Line"];
        let read = parse(&parts.map(str::to_owned)).unwrap();
        assert_eq!(
            read,
            [
                json!({ "type": "team", "name": "NOC" }),
                json!({ "type": "user", "username": "trinity@opsgenie.com" }),
                json!({ "type": "escalation", "name": "Nightwatch" }),
                json!({ "type": "schedule", "name": "First:Line" }),
            ]
        );
    }

    #[test]
    fn what_is_none_is_named() {
        for part in ["ops", "team:", "group:ops", ":ops"] {
            let failure = parse(&["team:a".to_owned(), part.to_owned()]).unwrap_err();
            assert!(failure.code == "config-invalid" && failure.message.contains(part), "{failure:?}");
        }
    }
}
