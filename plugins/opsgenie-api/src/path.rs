//! What a request asks for, by its path: `/v2/alerts`, or `/v2/alerts/IDENTIFIER/ACTION?identifierType=alias`. Clients that have
//! the whole address of `/v2/alerts` in their settings may leave that out.

use campanile_guest::failure::permanent;
use campanile_guest::types::Failure;

/// Where alerts are created.
const ALERTS: &str = "/v2/alerts";

/// What may be done with an alert besides closing it.
const ACTIONS: [&str; 13] = [
    "acknowledge",
    "unacknowledge",
    "notes",
    "snooze",
    "escalate",
    "assign",
    "responders",
    "teams",
    "tags",
    "details",
    "message",
    "description",
    "priority",
];

/// What a request asks for.
#[derive(Debug, PartialEq)]
pub(crate) enum Asked<'a> {
    /// A new alert, or one more of those with its alias.
    Create,
    /// An end of the alert with this alias.
    Close(&'a str),
    /// An end of an alert by an id that Opsgenie would have given.
    CloseById(&'a str),
    /// Something else with an alert.
    Other { action: &'a str, alert: &'a str },
}

/// Reads path and query, as the host hands them over: the path decoded, the query not.
pub(crate) fn read(given: &str) -> Result<Asked<'_>, Failure> {
    let (path, query) = split(given);
    let below = below(path.trim_end_matches('/')).ok_or_else(|| unknown(path))?;
    let Some(below) = below.strip_prefix('/') else { return Ok(Asked::Create) };
    match below.rsplit_once('/') {
        Some((alert, "close")) if is_alias(query) => Ok(Asked::Close(alert)),
        Some((alert, "close")) => Ok(Asked::CloseById(alert)),
        Some((alert, action)) if ACTIONS.contains(&action) => Ok(Asked::Other { action, alert }),
        Some((rest, _)) if rest.ends_with("/actions") => Ok(Asked::Other { action: "actions", alert: rest }),
        _ => Err(unknown(path)),
    }
}

/// The query is what is behind the last `?`, unless a `/` is in there, which queries have encoded: an alias may have both.
fn split(given: &str) -> (&str, &str) {
    match given.rsplit_once('?') {
        Some((path, query)) if !query.contains('/') => (path, query),
        _ => (given, ""),
    }
}

/// What is below the address of alerts: nothing, or `/IDENTIFIER/ACTION`.
fn below(path: &str) -> Option<&str> {
    match path.strip_prefix(ALERTS) {
        Some(below) if below.is_empty() || below.starts_with('/') => Some(below),
        _ if path.starts_with("/v1/") || path.starts_with("/v2/") => None,
        _ => Some(path),
    }
}

fn is_alias(query: &str) -> bool {
    query.split('&').any(|pair| pair == "identifierType=alias")
}

fn unknown(path: &str) -> Failure {
    let message = format!(
        "there is nothing at {path}: alerts are created at /webhook/opsgenie-api/v2/alerts and closed at \
         /webhook/opsgenie-api/v2/alerts/ALIAS/close?identifierType=alias, as Opsgenie's clients do if their address \
         is that of this host with /webhook/opsgenie-api"
    );
    permanent("unknown-path", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_of_the_alert_api_is_known() {
        let other = |action, alert| Asked::Other { action, alert };
        for (path, asked) in [
            ("/v2/alerts", Asked::Create),
            ("/v2/alerts/", Asked::Create),
            ("/", Asked::Create),
            ("", Asked::Create),
            ("/v2/alerts?x=y", Asked::Create),
            ("/v2/alerts/disk-1/close?identifierType=alias", Asked::Close("disk-1")),
            ("/v2/alerts/disk-1/close/?a=b&identifierType=alias", Asked::Close("disk-1")),
            ("/disk-1/close?identifierType=alias", Asked::Close("disk-1")),
            ("/v2/alerts/host/disk?/close?identifierType=alias", Asked::Close("host/disk?")),
            ("/v2/alerts/what?/close", Asked::CloseById("what?")),
            ("/v2/alerts/8418d193/close", Asked::CloseById("8418d193")),
            ("/v2/alerts/12/close?identifierType=tiny", Asked::CloseById("12")),
            ("/v2/alerts/disk-1/acknowledge?identifierType=alias", other("acknowledge", "disk-1")),
            ("/v2/alerts/disk-1/notes?identifierType=alias", other("notes", "disk-1")),
            ("/v2/alerts/disk-1/message?identifierType=alias", other("message", "disk-1")),
            ("/v2/alerts/disk-1/actions/restart", other("actions", "disk-1/actions")),
        ] {
            assert_eq!(read(path).unwrap(), asked, "{path}");
        }
    }

    #[test]
    fn other_paths_are_refused_with_the_right_ones() {
        for path in [
            "/v1/json/alert",
            "/v2/incidents/create",
            "/v2/incidents/7/close",
            "/v2/heartbeats/nightly/ping",
            "/v2/alerts/disk-1",
            "/v2/alertsX",
            "/disk-1",
            "/v2/alerts/disk-1/explode",
        ] {
            let failure = read(path).unwrap_err();
            assert_eq!(failure.code, "unknown-path", "{path}");
            assert!(failure.message.contains("/webhook/opsgenie-api/v2/alerts/ALIAS/close"), "{failure:?}");
        }
    }
}
