//! The comment: what became of the alert, in a block that Jira reads no markup in. Its last line is the mark by which a
//! repeat finds it.

use campanile_guest::types::Failure;
use serde_json::{Value, json};

use crate::jira::Jira;
use crate::settings::Api;

/// How many comments a repeat looks at, the latest first: as many as Jira gives at once.
const LATEST: &str = "100";

/// Comments, unless that was done.
pub(crate) fn once(jira: &mut Jira, mark: &str, body: &Value) -> Result<&'static str, Failure> {
    let query = [("orderBy", "-created"), ("maxResults", LATEST)];
    let there = jira.get("/comment", &query, "comments")?;
    let comments = there["comments"].as_array().into_iter().flatten();
    if comments.into_iter().any(|comment| is_marked(&comment["body"], mark)) {
        return Ok("commented before");
    }
    jira.post("/comment", &json!({ "body": body }))?;
    Ok("commented")
}

/// The text as this version of the API writes it.
pub(crate) fn body(api: Api, state: &str, lines: &[String]) -> Value {
    let headline = format!("Campanile: {state}");
    match api {
        Api::V2 => {
            let lines: Vec<_> = lines.iter().map(|line| literal(line)).collect();
            json!(format!("{headline}\n{{noformat}}\n{}\n{{noformat}}", lines.join("\n")))
        }
        Api::V3 => json!({
            "type": "doc", "version": 1,
            "content": [
                { "type": "paragraph", "content": [{ "type": "text", "text": headline }] },
                { "type": "codeBlock", "content": [{ "type": "text", "text": lines.join("\n") }] },
            ],
        }),
    }
}

/// A line that does not end the block.
fn literal(line: &str) -> String {
    match line.to_ascii_lowercase().contains("{noformat") {
        true => line.replace('{', "{ "),
        false => line.to_owned(),
    }
}

/// Whether a line of the text is the mark, in whichever form the text is.
fn is_marked(body: &Value, mark: &str) -> bool {
    match body {
        Value::String(text) => text.lines().any(|line| line.trim() == mark),
        Value::Array(nodes) => nodes.iter().any(|node| is_marked(node, mark)),
        Value::Object(node) => {
            ["text", "content"].iter().filter_map(|key| node.get(*key)).any(|part| is_marked(part, mark))
        }
        _ => false,
    }
}
