//! Messages from templates in the form of Jinja, written by operators.
//!
//! A template can neither lose an alert nor eat the deadline: what does not parse, fails, works too long or renders
//! more than fits is replaced by the built-in text, with a warning in the log and a note in the receipt. What comes
//! from the alert is escaped wherever it is written; the template's own markup stays, and is never cut.

mod bounds;
mod context;
mod engine;
mod filters;

use minijinja::Value;

use crate::document::Document;
use crate::log;
use crate::notifier::Delivery;
use crate::status_updater::Change;
use crate::text::{Escape, escaped, one_line};
use crate::types::Receipt;

/// One text of a message.
pub struct Template {
    /// The key under `[config]` by which the operator replaces it.
    pub key: &'static str,
    /// The built-in template.
    pub default: &'static str,
    /// How long the text may become, in UTF-16 code units.
    pub limit: usize,
    /// Whether the message cannot do without.
    pub required: bool,
    /// How the service's markup is kept out of what comes from the alert.
    pub escape: Escape,
}

/// The texts of one message.
pub struct Texts {
    context: Value,
    title: String,
    notes: Vec<String>,
}

impl Texts {
    /// What templates can say about this delivery.
    pub fn of(delivery: &Delivery, document: &Document) -> Self {
        let title = one_line(&delivery.alert.title);
        Self { context: context::of(delivery, document), title, notes: Vec::new() }
    }

    /// What templates can say about this change.
    pub fn of_change(change: &Change, document: &Document) -> Self {
        let title = one_line(&change.alert.title);
        Self { context: context::of_change(change, document), title, notes: Vec::new() }
    }

    /// The text that `written`, the operator's template, gives; the built-in one if there is none, or if it fails.
    pub fn render(&mut self, template: &Template, written: Option<&str>) -> String {
        match written.map(|source| self.attempt(template, source)) {
            Some(Ok(text)) => text,
            Some(Err(why)) => self.built_in(template, &why),
            None => self.default(template),
        }
    }

    /// The built-in text, since the operator's template failed; perhaps only at the service, by its markup.
    pub fn built_in(&mut self, template: &Template, why: &str) -> String {
        self.note(format!("the built-in text was sent, since the template `{}` failed: {why}", template.key));
        self.default(template)
    }

    fn default(&mut self, template: &Template) -> String {
        self.attempt(template, template.default).unwrap_or_else(|why| {
            self.note(format!("the title alone was sent as `{}`: {why}", template.key));
            escaped(&self.title, template.limit, template.escape)
        })
    }

    /// The receipt, with what went less well in it.
    pub fn noted(self, mut receipt: Receipt) -> Receipt {
        for note in self.notes {
            receipt.message = format!("{}; {note}", receipt.message);
        }
        receipt
    }

    /// The text that a template gives, or why it fails: for what has no built-in text to fall back to.
    pub fn attempt(&self, template: &Template, source: &str) -> Result<String, String> {
        let text = engine::fitted(source, &self.context, template.escape, template.limit)?;
        if template.required && text.is_empty() {
            return Err("it renders nothing".to_owned());
        }
        Ok(text)
    }

    fn note(&mut self, note: String) {
        log::warn(&note);
        self.notes.push(note);
    }
}

#[cfg(test)]
mod tests;
