//! Processor: gives every alert a priority, tags and tidy labels. Needs no grants and no configuration.

mod labels;
mod patch;
mod score;

use bindings::exports::campanile::processor::processor::{Decision, Guest};
use campanile_guest::Document;
use campanile_guest::types::{Alert, Description, Failure};

mod bindings {
    #![allow(unsafe_code, reason = "the boundary of the component, generated from `wit/`")]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "campanile:processor/plugin@0.1.0",
        with: { "campanile:types/types@0.1.0": campanile_guest::types },
        generate_all,
    });
    #[cfg(target_family = "wasm")]
    use super::Triage;
    #[cfg(target_family = "wasm")]
    export!(Triage);
}

struct Triage;

impl Guest for Triage {
    fn describe() -> Description {
        Description {
            name: "triage".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Adds a priority score and tags, and normalises the labels.".to_owned(),
            config_schema: String::new(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn process(alert: Alert) -> Result<Decision, Failure> {
        let document = Document::parse(&alert.document)?;
        Ok(Decision::Change(patch::patch(&alert, &document)))
    }
}
