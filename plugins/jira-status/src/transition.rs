//! The transition: from the status that the issue has to the one that it should have.

use campanile_guest::failure::permanent;
use campanile_guest::types::Failure;
use serde_json::{Value, json};

use crate::jira::Jira;

/// Moves the issue to the status of this name, or by the transition of this name, unless it is there.
pub(crate) fn once(jira: &mut Jira, wanted: &str) -> Result<String, Failure> {
    let issue = jira.get("", &[("fields", "status"), ("expand", "transitions")], "transitions")?;
    let status = text(&issue, "/fields/status/name");
    if same(status, wanted) {
        return Ok(format!("is {status} already"));
    }
    let offered = issue["transitions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let named = |pointer| offered.iter().find(move |transition| same(text(transition, pointer), wanted));
    let Some(transition) = named("/to/name").or_else(|| named("/name")) else {
        return Err(not_offered(jira.key, status, wanted, offered));
    };
    let target = text(transition, "/to/name");
    if same(status, target) {
        return Ok(format!("is {status} already"));
    }
    jira.post("/transitions", &json!({ "transition": { "id": transition["id"] } }))?;
    Ok(format!("moved from {status} to {target}"))
}

fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

fn not_offered(key: &str, status: &str, wanted: &str, offered: &[Value]) -> Failure {
    let offered: Vec<_> =
        offered.iter().map(|one| format!("{} (to {})", text(one, "/name"), text(one, "/to/name"))).collect();
    let offered = if offered.is_empty() { "none".to_owned() } else { offered.join(", ") };
    let message = format!(
        "{key} is {status}, and nothing there is called {wanted:?}; Jira offers this account: {offered}"
    );
    permanent("transition-not-offered", message)
}
