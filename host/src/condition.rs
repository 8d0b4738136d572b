//! Conditions: CEL expressions over `alert`. What an operator writes as `when`.
//!
//! A condition is bounded before it is parsed (`bounds`), parsed once (`parse`), tried on a sample (`check`), and evaluated
//! within a budget of steps and bytes (`evaluate`): neither what an operator writes nor what an alert says can hold up the
//! host. One that goes over its budget has failed, like one that names a field that the alert lacks.

mod bounds;
mod check;
mod evaluate;
mod functions;
mod number;
mod operators;
mod parse;
mod pattern;
mod tree;
mod value;
mod values;
mod words;

use std::sync::LazyLock;

use serde_json::{Value as Json, json};

use evaluate::Evaluation;
use tree::Node;
use value::Value;

/// A condition, understood.
pub struct Condition {
    expression: Node,
    /// What it reads of an alert that no alert is known to have.
    unknown_fields: Vec<String>,
    /// What it compares with words that an alert never has, one text each.
    wrong_words: Vec<String>,
}

/// An alert as conditions see it.
pub struct Facts<'a> {
    alert: &'a Json,
}

impl<'a> Facts<'a> {
    /// `alert` is the whole document; some objects that it lacks are empty.
    pub fn of(alert: &'a Json) -> Self {
        Self { alert }
    }
}

impl Condition {
    /// Reads an expression, and tries it on an alert that has every field, to see that it fits together and gives true
    /// or false. Fields that only some alerts have, such as labels, may be missing.
    ///
    /// # Errors
    ///
    /// What is wrong with it, as the rest of a sentence.
    pub fn parse(text: &str) -> Result<Self, String> {
        static SAMPLE: LazyLock<Json> = LazyLock::new(sample);
        let expression = parse::parse(text)?;
        check::parts(&expression, &SAMPLE)?;
        let unknown_fields = check::unknown_fields(&expression, &SAMPLE);
        let wrong_words = words::doubts(&expression);
        Ok(Self { expression, unknown_fields, wrong_words })
    }

    /// One line for each field that it reads without asking for it by `has`, although the alerts that are documented have none:
    /// mistyped, unless the senders or processors add it. And one for each comparison with a word that its field never has.
    pub fn doubts(&self) -> impl Iterator<Item = String> {
        let unknown = self.unknown_fields.iter().map(|field| {
            format!(
                "reads alert.{field}, which alerts do not have by themselves, and cannot be evaluated without. \
                 Mistyped? If it is added on the way, ask for it: has(alert.{field}) && …"
            )
        });
        unknown.chain(self.wrong_words.iter().cloned())
    }

    /// Whether it holds for an alert.
    ///
    /// # Errors
    ///
    /// It names a field that the alert lacks, compares what cannot be compared, or takes more than its budget. The text
    /// says which.
    pub fn holds(&self, facts: &Facts<'_>) -> Result<bool, String> {
        match Evaluation::of(facts.alert).value(&self.expression) {
            Ok(Value::Bool(holds)) => Ok(holds),
            Ok(other) => Err(not_a_verdict(&other)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// What it reads of an alert: `alert.severity is "low", alert.labels.team is absent`.
    pub fn values(&self, facts: &Facts<'_>) -> String {
        values::values(&self.expression, facts.alert).join(", ")
    }
}

fn not_a_verdict(value: &Value<'_>) -> String {
    format!("gives {}, not true or false", value.kind())
}

/// An alert with every field that the webhook documents.
fn sample() -> Json {
    json!({
        "id": "a", "dedup_key": "a", "title": "t", "description": "d", "type": "custom", "severity": "low",
        "status": "firing", "starts_at": "2023-12-01T14:30:22Z", "ends_at": "2023-12-01T14:45:00Z",
        "momentary": true, "vendor_level": 1,
        "source": {"name": "n", "type": "t"}, "context": {"environment": "e", "service": "s"},
        "labels": {}, "links": [], "data": {}, "metrics": {},
    })
}

#[cfg(test)]
mod tests;
