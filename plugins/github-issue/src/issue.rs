//! The issue itself: its number, its labels, and that it is closed.

use campanile_guest::failure::permanent;
use campanile_guest::http::Method;
use campanile_guest::types::Failure;
use campanile_guest::{Document, cut};
use serde_json::{Value, json};

use crate::github::GitHub;

/// The number at a JSON pointer, or the digits; none if there is nothing.
pub(crate) fn number(document: &Document, pointer: &str) -> Result<Option<u64>, Failure> {
    let found = match document.value().pointer(pointer) {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(text)) if text.trim().is_empty() => return Ok(None),
        Some(found) => found,
    };
    let digits = || found.as_str()?.trim().trim_start_matches('#').parse().ok();
    found.as_u64().or_else(digits).map(Some).ok_or_else(|| {
        let shown = cut(&found.to_string(), 80);
        permanent(
            "issue-invalid",
            format!("the alert's issue at {pointer} is {shown}; the number of one is such as 42"),
        )
    })
}

/// Gives it the labels that it lacks.
pub(crate) fn label(github: &mut GitHub, issue: &Value) -> Result<Option<String>, Failure> {
    let names = issue["labels"].as_array().into_iter().flatten().filter_map(|label| label["name"].as_str());
    let there: Vec<_> = names.map(str::to_lowercase).collect();
    let wanted = &github.settings.labels;
    let lacking: Vec<_> = wanted.iter().filter(|name| !there.contains(&name.to_lowercase())).collect();
    if lacking.is_empty() {
        return Ok((!wanted.is_empty()).then(|| "labelled before".to_owned()));
    }
    github.tell(Method::Post, "/labels", &json!({ "labels": lacking }))?;
    Ok(Some("labelled".to_owned()))
}

/// Closes it, if that is wanted.
pub(crate) fn close(github: &mut GitHub, issue: &Value) -> Result<Option<String>, Failure> {
    if !github.settings.close {
        return Ok(None);
    }
    if issue["state"] == "closed" {
        return Ok(Some("closed before".to_owned()));
    }
    github.tell(Method::Patch, "", &json!({ "state": "closed", "state_reason": "completed" }))?;
    Ok(Some("closed".to_owned()))
}
