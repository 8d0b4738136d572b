//! A well-behaved processor. It answers with the merge patch in the label `patch`, else the one in the setting
//! `patch`, else keeps the alert as it is. It says what it saw on its log and on its standard output.

use exports::campanile::processor::processor::{Alert, Decision, Description, Failure, Guest};
use guest_support::{config, label};
use wasi::logging::logging::{Level, log};

wit_bindgen::generate!({
    path: "../../../wit",
    world: "campanile:processor/plugin@0.1.0",
    generate_all,
});

struct Echo;

impl Guest for Echo {
    fn describe() -> Description {
        Description {
            name: "echo".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Answers with the patch it was given.".to_owned(),
            config_schema: r#"{"type": "object", "additionalProperties": false, "properties":
                {"patch": {"type": "string"}, "number": {"type": "integer", "minimum": 1}}}"#
                .to_owned(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn process(alert: Alert) -> Result<Decision, Failure> {
        log(Level::Info, "echo", &format!("echo heard {}", alert.title));
        println!("echo printed {}", alert.title);
        let patch = label(&alert.labels, "patch").map_or_else(|| config("patch"), str::to_owned);
        Ok(if patch.is_empty() { Decision::Keep } else { Decision::Change(patch) })
    }
}

export!(Echo);
