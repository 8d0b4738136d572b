//! What a condition reads of an alert, for people: `alert.severity is "low"`.

use serde_json::Value as Json;

use super::tree::Node;

/// How much of a value is shown, in characters.
const SHOWN: usize = 60;

/// One text for each place of the alert that it reads, in the order of the condition.
pub(super) fn values(condition: &Node, alert: &Json) -> Vec<String> {
    let mut found = Vec::new();
    reads(condition, &mut |path| {
        let value = path.iter().try_fold(alert, |value, name| value.get(name));
        let text = format!("{} {}", place(path), shown(value));
        if !found.contains(&text) {
            found.push(text);
        }
    });
    found
}

/// Calls `found` with the names on the way to each place that it reads.
fn reads<'a>(node: &'a Node, found: &mut dyn FnMut(&[&'a str])) {
    match path(node) {
        Some(path) if !path.is_empty() => found(&path),
        _ => node.parts().into_iter().for_each(|part| reads(part, found)),
    }
}

/// The names on the way from the alert to what this reads; `None` if it computes something else.
fn path(node: &Node) -> Option<Vec<&str>> {
    let (of, name) = match node {
        Node::Alert => return Some(Vec::new()),
        Node::Field(of, name) | Node::Has(of, name) => (&**of, name),
        Node::Index(pair) => match &**pair {
            [of, Node::Text(name)] => (of, name),
            _ => return None,
        },
        _ => return None,
    };
    let mut names = path(of)?;
    names.push(name);
    Some(names)
}

/// As a condition names it.
fn place(path: &[&str]) -> String {
    let is_name = |name: &str| {
        name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with(|c: char| c.is_ascii_digit())
    };
    path.iter().fold("alert".to_owned(), |place, name| match is_name(name) {
        true => format!("{place}.{name}"),
        false => format!("{place}[{name:?}]"),
    })
}

fn shown(value: Option<&Json>) -> String {
    let Some(value) = value else { return "is absent".to_owned() };
    let text = value.to_string();
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("is {}…", &text[..end]),
        None => format!("is {text}"),
    }
}
