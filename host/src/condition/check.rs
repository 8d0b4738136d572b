//! What can be said of a condition before there is an alert.

use std::collections::BTreeSet;

use serde_json::Value as Json;

use super::evaluate::{Error, Evaluation};
use super::not_a_verdict;
use super::tree::Node;
use super::value::Value;

/// Tries each part by itself: CEL does not look at the right of `&&` where the left has decided. What depends on the values of an
/// alert, and not on their types, is left to the alert. All parts together have the budget of one evaluation.
pub(super) fn parts(condition: &Node, sample: &Json) -> Result<(), String> {
    each(condition, &mut Evaluation::of(sample))
}

fn each<'a>(node: &'a Node, run: &mut Evaluation<'a>) -> Result<(), String> {
    match node {
        Node::And(parts) | Node::Or(parts) => parts.iter().try_for_each(|part| each(part, run)),
        Node::Conditional(parts) => parts.iter().try_for_each(|part| each(part, run)),
        Node::Not(part) => each(part, run),
        _ => match run.value(node) {
            Ok(Value::Bool(_)) | Err(Error::OfValues(_)) => Ok(()),
            Ok(other) => Err(not_a_verdict(&other)),
            Err(error @ Error::TooMuch(_)) => Err(format!("{error}, even for an alert with few words")),
            Err(error) => Err(format!("cannot work: {error}")),
        },
    }
}

/// The fields of `alert` that it reads, that `sample` lacks, and that it does not ask for by `has`.
pub(super) fn unknown_fields(condition: &Node, sample: &Json) -> Vec<String> {
    let (mut read, mut asked_for) = (BTreeSet::new(), BTreeSet::new());
    fields(condition, &mut |name, is_asked_for| {
        _ = if is_asked_for { asked_for.insert(name.to_owned()) } else { read.insert(name.to_owned()) };
    });
    let is_unknown = |name: &String| sample.get(name).is_none() && !asked_for.contains(name);
    read.into_iter().filter(is_unknown).collect()
}

/// Every `alert.x` in it, and whether that is inside of `has()`.
fn fields(node: &Node, found: &mut dyn FnMut(&str, bool)) {
    match node {
        Node::Field(of, name) if matches!(**of, Node::Alert) => found(name, false),
        Node::Has(of, name) if matches!(**of, Node::Alert) => found(name, true),
        _ => node.parts().into_iter().for_each(|part| fields(part, found)),
    }
}
