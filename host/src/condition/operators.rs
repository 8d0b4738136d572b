//! What the operators of CEL do with values. What goes over a text, a list or a map counts its steps first.

use std::cmp::Ordering;

use super::evaluate::{Error, Evaluation, Result};
use super::tree::Operator;
use super::value::Value;

/// The longest part of a key that an error shows, in bytes: the alert may have said it.
const LONGEST_KEY: usize = 64;

/// `left operator right`.
pub(super) fn binary<'a>(
    run: &mut Evaluation<'a>,
    operator: Operator,
    left: &Value<'a>,
    right: &Value<'a>,
) -> Result<Value<'a>> {
    let compared = |run: &mut Evaluation<'a>, wanted: fn(Ordering) -> bool| {
        compare(run, operator, left, right).map(|order| Value::Bool(wanted(order)))
    };
    match operator {
        Operator::Equal => equal(run, left, right).map(Value::Bool),
        Operator::NotEqual => equal(run, left, right).map(|is_equal| Value::Bool(!is_equal)),
        Operator::Less => compared(run, Ordering::is_lt),
        Operator::LessOrEqual => compared(run, Ordering::is_le),
        Operator::Greater => compared(run, Ordering::is_gt),
        Operator::GreaterOrEqual => compared(run, Ordering::is_ge),
        Operator::Add => add(run, left, right),
        _ => computed(operator, left, right),
    }
}

/// Whether two values are the same: numbers by what they are worth, lists and maps by what is in them.
#[inline]
pub(super) fn equal<'a>(run: &mut Evaluation<'a>, left: &Value<'a>, right: &Value<'a>) -> Result<bool> {
    run.step(1)?;
    if let (Some(left), Some(right)) = (left.text(), right.text()) {
        run.look_at(left.len().min(right.len()))?;
        return Ok(left == right);
    }
    if let (Some(left), Some(right)) = (left.number(), right.number()) {
        return Ok(left == right);
    }
    match (left, right) {
        (Value::Null, Value::Null) => Ok(true),
        (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
        (Value::Timestamp(left), Value::Timestamp(right)) => Ok(left == right),
        (Value::Duration(left), Value::Duration(right)) => Ok(left == right),
        (Value::Type(left), Value::Type(right)) => Ok(left == right),
        _ if left.kind() == right.kind() && left.count() == right.count() => all_equal(run, left, right),
        _ => Ok(false),
    }
}

/// Whether two lists, or two maps, of one size have the same in them.
fn all_equal<'a>(run: &mut Evaluation<'a>, left: &Value<'a>, right: &Value<'a>) -> Result<bool> {
    let (Some(elements), Some(others)) = (left.elements(), right.elements()) else { return Ok(false) };
    if left.kind() == "list" {
        for (element, other) in elements.zip(others) {
            if !equal(run, &element, &other)? {
                return Ok(false);
            }
        }
        return Ok(true);
    }
    for key in elements {
        let (Some(value), Some(other)) = (entry(run, left, &key)?, entry(run, right, &key)?) else {
            return Ok(false);
        };
        if !equal(run, &value, &other)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn compare(
    run: &mut Evaluation<'_>,
    operator: Operator,
    left: &Value<'_>,
    right: &Value<'_>,
) -> Result<Ordering> {
    if let (Some(left), Some(right)) = (left.text(), right.text()) {
        run.look_at(left.len().min(right.len()))?;
        return Ok(left.cmp(right));
    }
    if let (Some(left), Some(right)) = (left.number(), right.number()) {
        let order = left.partial_cmp(&right);
        return order
            .ok_or_else(|| Error::OfValues("NaN is neither less nor greater than a number".to_owned()));
    }
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Ok(left.cmp(right)),
        (Value::Timestamp(left), Value::Timestamp(right)) => Ok(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Ok(left.cmp(right)),
        _ => Err(does_not_take(operator.sign(), left, right)),
    }
}

fn add<'a>(run: &mut Evaluation<'a>, left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>> {
    if let (Some(left), Some(right)) = (left.text(), right.text()) {
        return run.text(&[left, right]);
    }
    if left.kind() == "list" && right.kind() == "list" {
        run.elements(left.count().unwrap_or(0) + right.count().unwrap_or(0))?;
        let elements = [left, right].into_iter().filter_map(Value::elements).flatten();
        return Ok(Value::List(elements.collect()));
    }
    computed(Operator::Add, left, right)
}

/// Numbers, points in time and durations.
fn computed<'a>(operator: Operator, left: &Value<'a>, right: &Value<'a>) -> Result<Value<'a>> {
    let sign = operator.sign();
    let value = match (left, right) {
        (Value::Int(left), Value::Int(right)) => int(operator, *left, *right).map(Value::Int),
        (Value::UInt(left), Value::UInt(right)) => uint(operator, *left, *right).map(Value::UInt),
        (Value::Double(left), Value::Double(right)) => match operator {
            Operator::Add => Some(Value::Double(left + right)),
            Operator::Subtract => Some(Value::Double(left - right)),
            Operator::Multiply => Some(Value::Double(left * right)),
            Operator::Divide => Some(Value::Double(left / right)),
            _ => return Err(does_not_take(sign, &Value::Double(*left), &Value::Double(*right))),
        },
        (Value::Timestamp(at), Value::Duration(time)) | (Value::Duration(time), Value::Timestamp(at))
            if operator == Operator::Add =>
        {
            at.checked_add(*time).ok().map(Value::Timestamp)
        }
        (Value::Timestamp(at), Value::Duration(time)) if operator == Operator::Subtract => {
            at.checked_sub(*time).ok().map(Value::Timestamp)
        }
        (Value::Timestamp(at), Value::Timestamp(from)) if operator == Operator::Subtract => {
            Some(Value::Duration(at.duration_since(*from)))
        }
        (Value::Duration(left), Value::Duration(right)) if operator == Operator::Add => {
            left.checked_add(*right).map(Value::Duration)
        }
        (Value::Duration(left), Value::Duration(right)) if operator == Operator::Subtract => {
            left.checked_sub(*right).map(Value::Duration)
        }
        _ => return Err(does_not_take(sign, left, right)),
    };
    value.ok_or_else(|| {
        Error::OfValues(format!("{sign} divides by zero, or gives more than {} holds", left.kind()))
    })
}

fn int(operator: Operator, left: i64, right: i64) -> Option<i64> {
    match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => left.checked_div(right),
        _ => left.checked_rem(right),
    }
}

fn uint(operator: Operator, left: u64, right: u64) -> Option<u64> {
    match operator {
        Operator::Add => left.checked_add(right),
        Operator::Subtract => left.checked_sub(right),
        Operator::Multiply => left.checked_mul(right),
        Operator::Divide => left.checked_div(right),
        _ => left.checked_rem(right),
    }
}

/// `-value`.
pub(super) fn negated<'a>(value: &Value<'a>) -> Result<Value<'a>> {
    let too_small = || Error::OfValues("- gives more than int holds".to_owned());
    match value {
        Value::Int(number) => number.checked_neg().map(Value::Int).ok_or_else(too_small),
        Value::Double(number) => Ok(Value::Double(-number)),
        other => Err(Error::OfTypes(format!("- does not take {}", other.kind()))),
    }
}

/// `of.name`: `None` if a map lacks it.
#[inline]
pub(super) fn field<'a>(run: &mut Evaluation<'a>, of: &Value<'a>, name: &str) -> Result<Option<Value<'a>>> {
    if let Ok(found) = of.field(name) {
        return Ok(found);
    }
    let Value::Map(entries) = of else {
        return Err(Error::OfTypes(format!("a {} has no fields: .{name} takes a map", of.kind())));
    };
    run.step(entries.len() as u64)?;
    let found = entries.iter().find(|(key, _)| key.text() == Some(name));
    Ok(found.map(|(_, value)| value.clone()))
}

/// The value under a key: `None` if the map lacks it, or is none.
fn entry<'a>(run: &mut Evaluation<'a>, map: &Value<'a>, key: &Value<'a>) -> Result<Option<Value<'a>>> {
    if let Some(name) = key.text() {
        run.look_at(name.len())?;
        if let Ok(found) = map.field(name) {
            return Ok(found);
        }
    }
    let Value::Map(entries) = map else { return Ok(None) };
    for (other, value) in entries.iter() {
        if equal(run, key, other)? {
            return Ok(Some(value.clone()));
        }
    }
    Ok(None)
}

/// `of[at]`.
pub(super) fn index<'a>(run: &mut Evaluation<'a>, of: &Value<'a>, at: &Value<'a>) -> Result<Value<'a>> {
    match of.kind() {
        "list" => element(of, at),
        "map" => {
            check_lookup(at)?;
            let key = || at.text().map_or_else(|| format!("of type {}", at.kind()), str::to_owned);
            entry(run, of, at)?.ok_or_else(|| no_such_key(&key()))
        }
        _ => Err(does_not_take("[]", of, at)),
    }
}

fn element<'a>(list: &Value<'a>, at: &Value<'a>) -> Result<Value<'a>> {
    let position = match at {
        Value::Int(number) => usize::try_from(*number).ok(),
        Value::UInt(number) => usize::try_from(*number).ok(),
        Value::Double(number) => (*number >= 0.0 && number.fract() == 0.0).then_some(*number as usize),
        _ => return Err(does_not_take("[]", list, at)),
    };
    let found = position.and_then(|position| match list {
        Value::Array(elements) => elements.get(position).map(Value::of),
        Value::List(elements) => elements.get(position).cloned(),
        _ => None,
    });
    let count = list.count().unwrap_or(0);
    found.ok_or_else(|| Error::OfValues(format!("Index out of bounds: the list has {count} elements")))
}

/// `element in container`.
pub(super) fn contains<'a>(
    run: &mut Evaluation<'a>,
    container: &Value<'a>,
    element: &Value<'a>,
) -> Result<bool> {
    match container.kind() {
        "list" => {
            for other in container.elements().into_iter().flatten() {
                if equal(run, element, &other)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        "map" => {
            check_lookup(element)?;
            entry(run, container, element).map(|found| found.is_some())
        }
        _ => Err(does_not_take("in", element, container)),
    }
}

/// Whether a value can be a key of a map.
pub(super) fn check_key(key: &Value<'_>) -> Result<()> {
    match key.kind() {
        "bool" | "int" | "uint" | "string" => Ok(()),
        kind => {
            Err(Error::OfTypes(format!("{kind} is not a key: a map has texts, whole numbers and booleans")))
        }
    }
}

/// Whether a value can be looked up in a map: a fraction is as good as the whole number that it equals.
fn check_lookup(key: &Value<'_>) -> Result<()> {
    if matches!(key, Value::Double(_)) { Ok(()) } else { check_key(key) }
}

/// A field or key that is not there.
pub(super) fn no_such_key(name: &str) -> Error {
    let end = name.floor_char_boundary(LONGEST_KEY);
    Error::OfValues(format!("No such key: {}{}", &name[..end], if end < name.len() { "…" } else { "" }))
}

fn does_not_take(sign: &str, left: &Value<'_>, right: &Value<'_>) -> Error {
    Error::OfTypes(format!("{sign} does not take {} and {}", left.kind(), right.kind()))
}
