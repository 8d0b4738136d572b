//! Answers that no host should take as they are, by name.

use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;

/// What a guest is to answer.
pub enum Answer {
    /// As it would have.
    Ordinary,
    /// This, as its message or change.
    Text(String),
    /// A receipt with this identifier.
    Id(String),
    /// That the alert be dropped.
    Drop,
    /// A failure with this code, and whether to try again.
    Failure(String, bool),
}

/// Their names.
pub const NAMES: [&str; 22] = [
    "backoff",
    "big",
    "code-flood",
    "deep",
    "drop",
    "fail",
    "garbage",
    "huge",
    "identity",
    "invalid",
    "long",
    "long-id",
    "many",
    "never",
    "scalar",
    "schema-deep",
    "schema-flood",
    "schema-large",
    "schema-loud",
    "schema-pattern",
    "shout",
    "strip",
];

/// The answer of that name.
pub fn answer(what: &str) -> Answer {
    let fail = |code: &str, again| Answer::Failure(code.to_owned(), again);
    match what {
        "never" => fail("as-asked", false),
        "backoff" => fail("as-asked", true),
        "fail" => fail("no-mood", false),
        "shout" => fail("NOT A CODE\n\u{1b}[31m", false),
        "code-flood" => fail(&format!("code-{}", nanoseconds()), false),
        "long-id" => Answer::Id("i".repeat(1 << 19)),
        "drop" => Answer::Drop,
        _ => text(what).map_or(Answer::Ordinary, Answer::Text),
    }
}

/// The text that is to stand where a guest says something.
pub fn text(what: &str) -> Option<String> {
    Some(match what {
        "garbage" => "{ this is not JSON\n\u{1b}[31m".to_owned(),
        "scalar" => "42".to_owned(),
        "invalid" => r#"{"severity": "urgent"}"#.to_owned(),
        "strip" => r#"{"title": null}"#.to_owned(),
        "identity" => r#"{"id": "somebody-else"}"#.to_owned(),
        "huge" => json!({"data": {"filler": "x".repeat(1 << 20)}}).to_string(),
        "deep" => format!("{{\"data\": {}1{}}}", "[".repeat(6_000), "]".repeat(6_000)),
        "long" => "x".repeat(2 << 20),
        "big" => "x".repeat(8 << 20),
        _ => return None,
    })
}

/// The list that is to stand where a guest says what it would like.
pub fn wishes(what: &str) -> Vec<String> {
    if what == "many" { vec![String::new(); 1 << 20] } else { Vec::new() }
}

/// The JSON Schema that is to stand where a guest says which settings it takes.
pub fn schema(what: &str) -> String {
    match what {
        "schema-deep" => format!("{}true{}", r#"{"not":"#.repeat(100_000), "}".repeat(100_000)),
        "schema-flood" => flood(),
        "schema-large" => json!({"type": "x".repeat(1 << 20)}).to_string(),
        "schema-loud" => json!({"type": "\u{1b}[31m\n".repeat(1 << 10)}).to_string(),
        "schema-pattern" => {
            json!({"properties": {"script": {"pattern": "((((a{100}){100}){100}){100})"}}}).to_string()
        }
        _ => r#"{"type": "object", "properties": {"script": {"type": "string"}, "url": {"type": "string"}, "token": {"type": "string"}}}"#.to_owned(),
    }
}

/// A small schema that takes more steps to check than there is time: each level asks twice for the one below.
fn flood() -> String {
    let twice = |level: u32| json!({"allOf": [{"$ref": format!("#/$defs/l{level}")}, {"$ref": format!("#/$defs/l{level}")}]});
    let mut levels = json!({"l0": {"type": "object"}});
    (1..64).for_each(|level| levels[format!("l{level}")] = twice(level - 1));
    json!({"$ref": "#/$defs/l63", "$defs": levels}).to_string()
}

fn nanoseconds() -> u128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos())
}
