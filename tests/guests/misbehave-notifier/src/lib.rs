//! A notifier that does what the label `do` says: trap, spin, eat memory, recurse, chatter, fail for good, fail for
//! now, or answer with a receipt of many megabytes.

use exports::campanile::notifier::notifier::{Delivery, Description, Failure, Guest, Receipt};
use guest_support::{label, misdeed};

use campanile::types::types::Retry;

wit_bindgen::generate!({
    path: "../../../wit",
    world: "campanile:notifier/plugin@0.1.0",
    generate_all,
});

struct Misbehave;

impl Guest for Misbehave {
    fn describe() -> Description {
        Description {
            name: "misbehave-notifier".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            summary: "Does what the label `do` says.".to_owned(),
            config_schema: String::new(),
            http: Vec::new(),
            secrets: Vec::new(),
        }
    }

    fn notify(delivery: Delivery) -> Result<Receipt, Failure> {
        let what = label(&delivery.alert.labels, "do").unwrap_or_default();
        misdeed::commit(what);
        match what {
            "never" => Err(failure(Retry::Never)),
            "backoff" => Err(failure(Retry::Backoff)),
            "big" => Ok(receipt("x".repeat(8 << 20))),
            _ => Ok(receipt("behaved for once".to_owned())),
        }
    }
}

fn failure(retry: Retry) -> Failure {
    Failure { code: "as-asked".to_owned(), message: "failing as asked".to_owned(), retry }
}

fn receipt(message: String) -> Receipt {
    Receipt { id: None, message }
}

export!(Misbehave);
