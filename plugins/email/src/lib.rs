//! Notifier: sends every alert as an e-mail. The host holds the mail server's address and credentials.

mod address;
mod message;

use bindings::campanile::mail::sender;
use campanile_guest::failure::{passing, permanent};
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document, config};

campanile_guest::notifier! {
    name: "email",
    summary: "Sends every alert as an e-mail with text and HTML.",
    config: include_str!("../config.schema.json"),
    http: [],
    secrets: [],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    let to = address::list(&config::required("to", "ops@example.com")?)?;
    let document = Document::parse(&delivery.alert.document)?;
    let composed = message::compose(&delivery.alert, &document);
    let message = sender::Message {
        id: delivery.delivery_id.clone(),
        from: config::get("from")?,
        to,
        subject: composed.subject,
        text: composed.text,
        html: Some(composed.html),
    };
    sender::send(&message).map(|answer| Receipt { id: None, message: answer }).map_err(failure)
}

fn failure(error: sender::Error) -> Failure {
    match error {
        sender::Error::Denied(why) => permanent("mail-denied", why),
        sender::Error::Invalid(why) => permanent("mail-invalid", why),
        sender::Error::Rejected(why) => permanent("mail-rejected", why),
        sender::Error::Unavailable(why) => passing("mail-unavailable", why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use campanile_guest::types::Retry;

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let why = || "why".to_owned();
        for error in
            [sender::Error::Denied(why()), sender::Error::Invalid(why()), sender::Error::Rejected(why())]
        {
            assert!(matches!(failure(error).retry, Retry::Never));
        }
        assert!(matches!(failure(sender::Error::Unavailable(why())).retry, Retry::Backoff));
    }
}
