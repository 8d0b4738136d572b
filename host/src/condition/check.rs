//! What can be said of a condition before there is an alert.

use std::collections::BTreeSet;

use cel::common::ast::{Expr, IdedExpr, operators};
use cel::{Context, ExecutionError, Value as CelValue};
use regex::Regex;
use serde_json::Value;

use super::not_a_verdict;
use super::quick::text;

/// Tries each part by itself: CEL does not look at the right of `&&` where the left has decided. What depends on the values of an
/// alert, and not on their types, is left to the alert.
pub(super) fn parts(expression: &IdedExpr, context: &Context<'_, '_>) -> Result<(), String> {
    if let Expr::Call(call) = &expression.expr
        && let operators::LOGICAL_AND
        | operators::LOGICAL_OR
        | operators::LOGICAL_NOT
        | operators::CONDITIONAL = call.func_name.as_str()
    {
        return call.args.iter().try_for_each(|part| parts(part, context));
    }
    if let Expr::Call(call) = &expression.expr
        && let ("matches", Some(pattern)) = (call.func_name.as_str(), call.args.first())
        && let Some(Err(error)) = text(&pattern.expr).map(|text| Regex::new(&text))
    {
        return Err(format!("cannot work: {error}"));
    }
    use ExecutionError as Error;
    match CelValue::resolve(expression, context) {
        Ok(CelValue::Bool(_)) => Ok(()),
        Ok(other) => Err(not_a_verdict(&other)),
        Err(
            Error::NoSuchKey(_)
            | Error::IndexOutOfBounds(_)
            | Error::FunctionError { .. }
            | Error::DivisionByZero(_)
            | Error::RemainderByZero(_)
            | Error::Overflow(..),
        ) => Ok(()),
        Err(error) => Err(format!("cannot work: {error}")),
    }
}

/// The fields of `alert` that it reads, that `sample` lacks, and that it does not ask for by `has`.
pub(super) fn unknown_fields(expression: &Expr, sample: &Value) -> Vec<String> {
    let (mut read, mut asked_for) = (BTreeSet::new(), BTreeSet::new());
    fields(expression, &mut |name, is_asked_for| {
        _ = if is_asked_for { asked_for.insert(name.to_owned()) } else { read.insert(name.to_owned()) };
    });
    let is_unknown = |name: &String| sample.get(name).is_none() && !asked_for.contains(name);
    read.into_iter().filter(is_unknown).collect()
}

/// Every `alert.x` in it, and whether that is inside of `has()`.
fn fields(expression: &Expr, found: &mut dyn FnMut(&str, bool)) {
    match expression {
        Expr::Select(select) => match &select.operand.expr {
            Expr::Ident(name) if name == "alert" => found(&select.field, select.test),
            below => fields(below, found),
        },
        Expr::Call(call) => {
            call.target.iter().for_each(|target| fields(&target.expr, found));
            call.args.iter().for_each(|part| fields(&part.expr, found));
        }
        Expr::List(list) => list.elements.iter().for_each(|part| fields(&part.expr, found)),
        Expr::Comprehension(all) => {
            [&all.iter_range, &all.loop_cond, &all.loop_step]
                .iter()
                .for_each(|part| fields(&part.expr, found));
        }
        _ => {}
    }
}
