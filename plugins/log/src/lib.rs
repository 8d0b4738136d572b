//! Notifier: writes every alert as one readable line to the host's log. Needs no grants and no configuration.

mod line;

use bindings::exports::campanile::notifier::notifier::{Delivery, Guest};
use campanile_guest::Document;
use campanile_guest::types::{Description, Failure, Receipt};

mod bindings {
    #![allow(unsafe_code, reason = "the boundary of the component, generated from `wit/`")]

    wit_bindgen::generate!({
        path: "../../wit",
        world: "campanile:notifier/plugin@0.1.0",
        with: { "campanile:types/types@0.1.0": campanile_guest::types },
        generate_all,
    });
    #[cfg(target_family = "wasm")]
    use super::Log;
    #[cfg(target_family = "wasm")]
    export!(Log);
}

struct Log;

impl Guest for Log {
    fn describe() -> Description {
        Description {
            name: "log".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Writes every alert as one readable line to the host's log.".to_owned(),
            config_schema: String::new(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn notify(delivery: Delivery) -> Result<Receipt, Failure> {
        let document = Document::parse(&delivery.alert.document)?;
        campanile_guest::log::info(&line::line(&delivery.alert, &document));
        Ok(Receipt { id: None, message: "logged".to_owned() })
    }
}
