//! Notifier: writes every alert as one readable line to the host's log. Needs no grants and no configuration.

mod line;

use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document};

campanile_guest::notifier! {
    name: "log",
    summary: "Writes every alert as one readable line to the host's log.",
    config: "",
    http: [],
    secrets: [],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    campanile_guest::log::info(&line::line(&delivery.alert, &document));
    Ok(Receipt { id: None, message: "logged".to_owned() })
}
