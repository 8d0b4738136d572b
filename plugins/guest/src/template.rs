//! Messages from templates in the form of Jinja, written by operators.
//!
//! A template can neither lose an alert nor eat the deadline: what does not parse, fails, works too long or renders
//! more than fits is replaced by the built-in text, with a warning in the log and a note in the receipt. What comes
//! from the alert is escaped wherever it is written; the template's own markup stays, and is never cut. A template of
//! JSON has nothing to be replaced by: it fails, and says where.

mod bounds;
mod context;
mod engine;
mod filters;

use minijinja::Value;
use serde_json::Value as Json;

use crate::document::Document;
use crate::failure::permanent;
use crate::log;
use crate::notifier::Delivery;
use crate::status_updater::Change;
use crate::text::{self, Escape, escaped, is_blank, one_line};
use crate::types::{Alert, Failure, Receipt};

use engine::Form;

/// The longest JSON, in UTF-16 code units: each has up to three bytes, and a request may have a MiB.
const JSON: usize = 333_000;

/// How much of what is no JSON is shown, in characters: what stands before the fault.
const SHOWN: usize = 40;

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
        Self { context: context::of(delivery, document), title: title(&delivery.alert), notes: Vec::new() }
    }

    /// What templates can say about this change.
    pub fn of_change(change: &Change, document: &Document) -> Self {
        Self { context: context::of_change(change, document), title: title(&change.alert), notes: Vec::new() }
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

    /// The text that a template gives, or why it fails: for what has no built-in text to fall back to. A blank text is an
    /// empty one.
    pub fn attempt(&self, template: &Template, source: &str) -> Result<String, String> {
        let text = engine::fitted(source, &self.context, Form::Text(template.escape), template.limit)?;
        match (is_blank(&text), template.required) {
            (true, true) => Err("it renders nothing".to_owned()),
            (true, false) => Ok(String::new()),
            (false, _) => Ok(text),
        }
    }

    /// The JSON that the operator's template under this key gives, as it is written there. Whoever wants JSON in a form
    /// of its own has no use for the built-in one, so a template that fails is a failure.
    pub fn json(&self, key: &str, source: &str) -> Result<String, Failure> {
        let failed =
            |why: &str| permanent("config-invalid", format!("the configuration's template `{key}` {why}"));
        let text = engine::fitted(source, &self.context, Form::Json, JSON)
            .map_err(|why| failed(&format!("failed: {why}")))?;
        match serde_json::from_str::<Json>(&text) {
            Ok(_) => Ok(text),
            Err(error) => Err(failed(&no_json(&text, &error))),
        }
    }

    fn note(&mut self, note: String) {
        log::warn(&note);
        self.notes.push(note);
    }
}

/// What the templates of a mapping can name, each a part of a request.
#[derive(Clone, Default)]
pub struct Names(Vec<(&'static str, Value)>);

impl Names {
    /// With one more name.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: &Json) -> Self {
        self.0.push((name, context::plain(value)));
        self
    }

    /// The text that a template gives, at most `limit` long, or why it fails.
    pub fn render(&self, source: &str, limit: usize) -> Result<String, String> {
        engine::fitted(source, &self.context(), Form::Text(text::plain), limit)
    }

    /// The same of a template that fails where a value is absent, unless it asks whether it is there.
    pub fn render_whole(&self, source: &str, limit: usize) -> Result<String, String> {
        engine::fitted(source, &self.context(), Form::Whole, limit)
    }

    fn context(&self) -> Value {
        Value::from_pairs(self.0.iter().map(|(name, value)| (*name, value.clone())))
    }
}

/// The title on one line, or the id in place of a blank one.
fn title(alert: &Alert) -> String {
    if is_blank(&alert.title) { alert.id.clone() } else { one_line(&alert.title) }
}

/// What is wrong with a text that should be JSON, and where.
fn no_json(text: &str, error: &serde_json::Error) -> String {
    let line = text.lines().nth(error.line().saturating_sub(1)).unwrap_or_default();
    let before: Vec<_> = line[..line.floor_char_boundary(error.column())].chars().collect();
    let shown: String = before[before.len().saturating_sub(SHOWN)..].iter().collect();
    format!(
        "gives no JSON: {error}, behind `{}`; a text stands in quotes, such as \"{{{{ title }}}}\", and whatever else \
         has the filter json, such as {{{{ labels | json }}}}",
        one_line(&shown)
    )
}

#[cfg(test)]
mod tests;
