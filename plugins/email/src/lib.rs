//! Notifier: sends every alert as an e-mail. The host holds the mail server's address and credentials.

mod address;
mod message;
mod settings;

use bindings::campanile::mail::sender;
use campanile_guest::failure::{passing, permanent};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Delivery, Document};

use settings::Settings;

campanile_guest::notifier! {
    name: "email",
    summary: "Sends every alert as an e-mail with text and HTML.",
    config: include_str!("../config.schema.json"),
    http: [],
    secrets: [],
    notify: notify,
}

fn notify(delivery: &Delivery) -> Result<Receipt, Failure> {
    let document = Document::parse(&delivery.alert.document)?;
    let mut texts = Texts::of(delivery, &document);
    let message = mail(delivery, &document, Settings::read()?, &mut texts);
    let answer = sender::send(&message).map_err(failure)?;
    Ok(texts.noted(Receipt { id: Some(message.id), message: answer }))
}

/// The mail. A resolve follows the one of its firing, whose id was the receipt's.
fn mail(delivery: &Delivery, document: &Document, settings: Settings, texts: &mut Texts) -> sender::Message {
    let composed = message::compose(&delivery.alert, document, &settings, texts);
    sender::Message {
        id: delivery.delivery_id.clone(),
        in_reply_to: delivery.earlier_id().map(str::to_owned),
        from: settings.from,
        to: settings.to,
        subject: composed.subject,
        text: composed.text,
        html: Some(composed.html),
    }
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
    use campanile_guest::testing::{firing, resolved};
    use campanile_guest::types::Retry;
    use serde_json::json;

    fn sent(delivery: &Delivery) -> sender::Message {
        let document = Document::parse(&delivery.alert.document).unwrap();
        mail(delivery, &document, Settings::of("ops@example.com"), &mut Texts::of(delivery, &document))
    }

    #[test]
    fn a_resolve_follows_its_firing() {
        let firing = sent(&firing(&json!({})));
        assert_eq!((firing.id.as_str(), firing.in_reply_to), ("alert-1/receiver", None));
        let resolve = sent(&resolved(&json!({}), Some(&firing.id)));
        assert_eq!(resolve.in_reply_to.as_deref(), Some("alert-1/receiver"));
        assert_ne!(resolve.id, firing.id);
    }

    #[test]
    fn a_resolve_whose_firing_was_not_sent_follows_nothing() {
        assert_eq!(sent(&resolved(&json!({}), None)).in_reply_to, None);
    }

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
