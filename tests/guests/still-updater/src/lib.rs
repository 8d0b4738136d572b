//! A status updater that does nothing: what the benchmark has as the third step of an alert.

use exports::campanile::status_updater::status_updater::{Change, Description, Failure, Guest, Receipt};

wit_bindgen::generate!({
    path: "../../../wit",
    world: "campanile:status-updater/plugin@0.1.0",
    generate_all,
});

struct StillUpdater;

impl Guest for StillUpdater {
    fn describe() -> Description {
        Description {
            name: "still-updater".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Does nothing.".to_owned(),
            config_schema: String::new(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn update_status(_change: Change) -> Result<Receipt, Failure> {
        Ok(Receipt { id: None, message: "still".to_owned() })
    }
}

export!(StillUpdater);
