//! A processor that does what the label `do` says: trap, spin, eat memory, recurse, chatter, answer with garbage, with
//! a patch that no alert survives, with another identity, fail with a code of its own, or drop the alert.

use exports::campanile::processor::processor::{Alert, Decision, Description, Failure, Guest};
use guest_support::{label, misdeed};

use campanile::types::types::Retry;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "campanile:processor/plugin@0.1.0",
    generate_all,
});

struct Misbehave;

impl Guest for Misbehave {
    fn describe() -> Description {
        Description {
            name: "misbehave".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Does what the label `do` says.".to_owned(),
            config_schema: String::new(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn process(alert: Alert) -> Result<Decision, Failure> {
        let what = label(&alert.labels, "do").unwrap_or_default();
        misdeed::commit(what);
        match what {
            "garbage" => change("{ this is not JSON"),
            "scalar" => change("42"),
            "invalid" => change(r#"{"severity": "urgent"}"#),
            "strip" => change(r#"{"title": null}"#),
            "identity" => change(r#"{"id": "somebody-else"}"#),
            "huge" => change(&serde_json::json!({"data": {"filler": "x".repeat(1 << 20)}}).to_string()),
            "fail" => Err(refusal("no-mood")),
            "shout" => Err(refusal("NOT A CODE\n\u{1b}[31m")),
            "drop" => Ok(Decision::Drop("the label asked for it".to_owned())),
            _ => Ok(Decision::Keep),
        }
    }
}

fn change(patch: &str) -> Result<Decision, Failure> {
    Ok(Decision::Change(patch.to_owned()))
}

fn refusal(code: &str) -> Failure {
    Failure { code: code.to_owned(), message: "failing as asked".to_owned(), retry: Retry::Never }
}

export!(Misbehave);
