//! The Atlassian Document Format, in which version 3 takes text. Text in it is text: no markup is read from it.
//!
//! Source: developer.atlassian.com/cloud/jira/platform/apis/document/structure (a text node is never empty).

use serde_json::{Value, json};

use crate::description::Description;

/// How many lines stay lines; what follows is one, since each takes room of its own.
const LINES: usize = 120;

/// For text in a document, which cannot hold control characters.
pub(crate) use campanile_guest::text::printable as escape;

/// A document of this text.
pub(crate) fn text(said: &str) -> Value {
    document(vec![lines(said)])
}

/// The description of an issue.
pub(crate) fn description(description: &Description) -> Value {
    let facts = description
        .facts
        .iter()
        .map(|(name, value)| vec![marked(name, json!({ "type": "strong" })), leaf(&format!(": {value}"))]);
    let links = description
        .links
        .iter()
        .map(|(href, text)| vec![marked(text, json!({ "type": "link", "attrs": { "href": href } }))]);
    let links = links.chain(description.more.as_deref().map(|more| vec![leaf(more)]));
    document(vec![lines(&description.text), broken(facts), broken(links)])
}

fn document(paragraphs: Vec<Vec<Value>>) -> Value {
    let filled = paragraphs.into_iter().filter(|content| !content.is_empty());
    let content: Vec<_> = filled.map(|content| json!({ "type": "paragraph", "content": content })).collect();
    json!({ "type": "doc", "version": 1, "content": content })
}

fn lines(text: &str) -> Vec<Value> {
    if text.is_empty() {
        return Vec::new();
    }
    broken(text.splitn(LINES, '\n').map(|line| match line.replace('\n', " ") {
        line if line.is_empty() => Vec::new(),
        line => vec![leaf(&line)],
    }))
}

/// The lines, with breaks between them.
fn broken(lines: impl Iterator<Item = Vec<Value>>) -> Vec<Value> {
    let lines: Vec<_> = lines.collect();
    lines.join(&json!({ "type": "hardBreak" }))
}

fn leaf(text: &str) -> Value {
    json!({ "type": "text", "text": text })
}

fn marked(text: &str, mark: Value) -> Value {
    let text = if text.is_empty() { "–" } else { text };
    json!({ "type": "text", "text": text, "marks": [mark] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_and_never_empty() {
        let line = json!({ "type": "hardBreak" });
        assert_eq!(text("a\n\nb")["content"][0]["content"], json!([leaf("a"), line, line, leaf("b")]));
        assert_eq!(text("")["content"], json!([]));
    }

    #[test]
    fn many_lines_end_in_one() {
        let many = text(&"x\n".repeat(1000));
        assert_eq!(many["content"][0]["content"].as_array().unwrap().len(), 2 * LINES - 1);
    }
}
