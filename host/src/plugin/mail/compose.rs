//! From what a plugin hands over to a message that can be sent: addresses and grants checked, nothing that could add a
//! header or a recipient.

use lettre::Message;
use lettre::message::header::{Header, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MultiPart, SinglePart};
use sha2::{Digest, Sha256};

use super::{MailError, MailMessage};
use crate::plugin::grants::Grants;

/// The most recipients of one message.
const MOST_RECIPIENTS: usize = 50;
/// The longest subject, in characters.
const LONGEST_SUBJECT: usize = 500;
/// The most that both bodies may hold, in bytes.
const MOST_CONTENT: usize = 1024 * 1024;

pub(super) fn compose(own: &Mailbox, grants: &Grants, message: MailMessage) -> Result<Message, MailError> {
    check_content(&message)?;
    let from = sender(own, message.from.as_deref())?;
    let mut builder = Message::builder()
        .message_id(Some(message_id(&message.id, own)))
        .subject(message.subject)
        .header(AutoSubmitted)
        .from(from);
    if let Some(earlier) = message.in_reply_to.as_deref().map(|id| message_id(id, own)) {
        builder = builder.in_reply_to(earlier.clone()).references(earlier);
    }
    for recipient in recipients(grants, &message.to)? {
        builder = builder.to(recipient);
    }
    let composed = match message.html {
        Some(html) => builder.multipart(MultiPart::alternative_plain_html(message.text, html)),
        None => builder.singlepart(SinglePart::plain(message.text)),
    };
    composed.map_err(|error| MailError::Invalid(format!("the message cannot be composed: {error}")))
}

fn check_content(message: &MailMessage) -> Result<(), MailError> {
    let size = message.text.len() + message.html.as_ref().map_or(0, String::len);
    let fault = match () {
        () if message.to.is_empty() => "the message has no recipients".to_owned(),
        () if message.to.len() > MOST_RECIPIENTS => {
            format!("the message has {} recipients, more than {MOST_RECIPIENTS}", message.to.len())
        }
        () if message.subject.contains(char::is_control) => {
            "the subject holds a line break or another control character; it is one line".to_owned()
        }
        () if message.subject.chars().count() > LONGEST_SUBJECT => {
            format!("the subject is longer than {LONGEST_SUBJECT} characters")
        }
        () if size > MOST_CONTENT => format!("text and html hold {size} bytes, more than {MOST_CONTENT}"),
        () => return Ok(()),
    };
    Err(MailError::Invalid(fault))
}

/// One address, with or without a name; nothing that spans lines.
pub(super) fn mailbox(text: &str) -> Option<Mailbox> {
    if text.contains(char::is_control) { None } else { text.parse().ok() }
}

fn address(text: &str) -> Result<Mailbox, MailError> {
    mailbox(text).ok_or_else(|| {
        let shown: String = text.chars().take(100).collect();
        MailError::Invalid(format!(
            "{shown:?} is not one address such as ops@example.com or Ops <ops@example.com>"
        ))
    })
}

/// The plugin's own choice of a sender, within the domain that the operator sends from.
fn sender(own: &Mailbox, asked: Option<&str>) -> Result<Mailbox, MailError> {
    let Some(asked) = asked else { return Ok(own.clone()) };
    let asked = address(asked)?;
    if asked.email.domain().eq_ignore_ascii_case(own.email.domain()) {
        return Ok(asked);
    }
    let domain = own.email.domain();
    Err(MailError::Denied(format!(
        "mail from {} is not allowed; senders are of the domain {domain}",
        asked.email
    )))
}

fn recipients(grants: &Grants, to: &[String]) -> Result<Vec<Mailbox>, MailError> {
    let mailboxes = to.iter().map(|text| address(text)).collect::<Result<Vec<_>, _>>()?;
    let mut refused = mailboxes.iter().map(|mailbox| mailbox.email.as_ref());
    match refused.find(|address: &&str| !grants.allows_recipient(address)) {
        None => Ok(mailboxes),
        Some(address) => Err(MailError::Denied(format!(
            "mail to {address} is not granted; to allow it, add to [grants]: mail = [\"{address}\"]"
        ))),
    }
}

/// The same for every repeat of a message, and unlike any other's.
fn message_id(id: &str, own: &Mailbox) -> String {
    format!("<{}@{}>", hex::encode(&Sha256::digest(id)[..16]), own.email.domain())
}

/// `Auto-Submitted: auto-generated` (RFC 3834): keeps holiday notices from answering.
#[derive(Clone)]
struct AutoSubmitted;

impl Header for AutoSubmitted {
    fn name() -> HeaderName {
        HeaderName::new_from_ascii_str("Auto-Submitted")
    }

    fn parse(_: &str) -> Result<Self, Box<dyn std::error::Error + Send + Sync>> {
        Ok(Self)
    }

    fn display(&self) -> HeaderValue {
        HeaderValue::new(Self::name(), "auto-generated".to_owned())
    }
}
