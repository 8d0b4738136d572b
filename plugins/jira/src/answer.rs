//! An answer with what Jira says went wrong in one place.
//!
//! Source: `ErrorCollection` of developer.atlassian.com/cloud/jira/platform/rest/v3: `{"errorMessages": ["…"], "errors":
//! {"summary": "…"}}`.

use campanile_guest::http::Answer;
use serde_json::{Value, json};

/// The answer; if it is a refusal in JSON, with `{"error": "…; priority: …"}` for its text.
pub(crate) fn read(mut answer: Answer) -> Answer {
    let said = said(&answer.json());
    if answer.status >= 300 && !said.is_empty() {
        answer.text = json!({ "error": said.join("; ") }).to_string();
    }
    answer
}

fn said(json: &Value) -> Vec<String> {
    let messages = json["errorMessages"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let fields = json["errors"].as_object().into_iter().flatten();
    let fields = fields.filter_map(|(name, said)| Some(format!("{name}: {}", said.as_str()?)));
    messages.map(str::to_owned).chain(fields).collect()
}
