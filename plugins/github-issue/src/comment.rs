//! The comment: what became of the alert, in a block that GitHub reads nothing in, neither markup nor mentions nor
//! references. Its last line is the mark by which a repeat finds it.

use campanile_guest::http::Method;
use campanile_guest::types::Failure;
use serde_json::{Value, json};

use crate::github::GitHub;

/// How many comments a page holds, and how many pages a repeat looks at, from the end: the list has the oldest first.
const PAGE: u64 = 50;
const PAGES: u64 = 2;

/// Comments, unless that was done.
pub(crate) fn once(github: &mut GitHub, issue: &Value, mark: &str, body: &str) -> Result<String, Failure> {
    if is_there(github, issue["comments"].as_u64().unwrap_or_default(), mark)? {
        return Ok("commented before".to_owned());
    }
    github.tell(Method::Post, "/comments", &json!({ "body": body }))?;
    Ok("commented".to_owned())
}

fn is_there(github: &mut GitHub, comments: u64, mark: &str) -> Result<bool, Failure> {
    let last = comments.div_ceil(PAGE).max(1);
    for page in (1..=last).rev().take(PAGES as usize) {
        let query = [("per_page", PAGE.to_string()), ("page", page.to_string())];
        let query = query.each_ref().map(|(name, value)| (*name, value.as_str()));
        let list = github.get("/comments", &query, Value::is_array)?;
        if list.as_array().into_iter().flatten().any(|comment| is_marked(comment, mark)) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_marked(comment: &Value, mark: &str) -> bool {
    comment["body"].as_str().unwrap_or_default().lines().any(|line| line.trim() == mark)
}

/// A fence that is longer than any within cannot be closed from within.
pub(crate) fn body(state: &str, lines: &[String]) -> String {
    let text = lines.join("\n");
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or_default();
    let fence = "`".repeat(longest.max(2) + 1);
    format!("**Campanile: {state}**\n\n{fence}text\n{text}\n{fence}")
}
