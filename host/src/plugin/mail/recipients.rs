//! Recipients of one message that the server does not all take: each gets it by itself, and has a result of its own.

use std::collections::VecDeque;

use lettre::Address;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use super::{MailError, MailMessage};

/// Of how many messages is known who has them already.
const MOST_MESSAGES: usize = 256;

/// What tells a message from every other, whatever plugin sends it and calls it: what is in it.
pub(super) fn fingerprint(message: &MailMessage) -> String {
    let MailMessage { id, in_reply_to, from, to: _, subject, text, html } = message;
    // Texts, which go into JSON.
    let whole = serde_json::json!([id, in_reply_to, from, subject, text, html]).to_string();
    hex::encode(Sha256::digest(whole))
}

/// Who has messages that others are still to get, so that a repeat goes to those alone. In this process only: after a
/// restart, a repeat has the same `Message-ID`.
#[derive(Default)]
pub(super) struct Served(Mutex<VecDeque<(String, Vec<Address>)>>);

impl Served {
    /// Who has a message.
    pub(super) fn of(&self, id: &str) -> Vec<Address> {
        let served = self.0.lock();
        served.iter().find(|(known, _)| known == id).map(|(_, who)| who.clone()).unwrap_or_default()
    }

    /// Remembers who has a message.
    pub(super) fn remember(&self, id: &str, who: Vec<Address>) {
        let mut served = self.0.lock();
        served.retain(|(known, _)| known != id);
        served.push_back((id.to_owned(), who));
        if served.len() > MOST_MESSAGES {
            served.pop_front();
        }
    }
}

/// What became of a message, recipient by recipient.
#[derive(Default)]
pub(super) struct Results {
    /// Who has it.
    pub(super) accepted: Vec<Address>,
    /// Who never will, and why.
    refused: Vec<(Address, String)>,
    /// Who may have it later, and why not now.
    later: Vec<(Address, String)>,
    answer: String,
}

impl Results {
    /// These have it already.
    pub(super) fn of(accepted: Vec<Address>) -> Self {
        Self { accepted, ..Self::default() }
    }

    /// Adds one.
    pub(super) fn add(&mut self, to: Address, result: Result<String, MailError>) {
        match result {
            Ok(answer) => {
                self.answer = answer;
                self.accepted.push(to);
            }
            Err(MailError::Rejected(text)) => self.refused.push((to, text)),
            Err(error) => self.later.push((to, error.to_string())),
        }
    }

    /// The result of the whole message: worth a repeat while somebody may still get it, and a failure if nobody did.
    pub(super) fn whole(self) -> Result<String, MailError> {
        let told = |list: &[(Address, String)]| {
            list.iter().map(|(to, text)| format!("{to}: {text}")).collect::<Vec<_>>().join("; ")
        };
        let accepted: Vec<String> = self.accepted.iter().map(ToString::to_string).collect();
        let accepted = accepted.join(", ");
        match (self.accepted.is_empty(), self.later.is_empty(), self.refused.is_empty()) {
            (true, false, _) => Err(MailError::Unavailable(told(&[self.later, self.refused].concat()))),
            (false, false, _) => Err(MailError::Unavailable(format!(
                "{accepted} have it, others do not: {}",
                told(&[self.later, self.refused].concat())
            ))),
            (true, true, _) => Err(MailError::Rejected(told(&self.refused))),
            (false, true, true) => Ok(self.answer),
            (false, true, false) => {
                Ok(format!("{} for {accepted}; not for {}", self.answer, told(&self.refused)))
            }
        }
    }
}
