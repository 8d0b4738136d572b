//! The functions that conditions can call: the standard ones of CEL that make sense of an alert.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, Zoned};

use super::evaluate::{Error, Evaluation, Result};
use super::value::Value;

/// The types that can be named, as in `type(alert.data.count) == int`.
pub(super) const TYPES: [&str; 9] =
    ["bool", "double", "duration", "int", "list", "map", "string", "timestamp", "uint"];

/// How many steps it takes to find a date, and the time zone that it is in.
const STEPS_OF_A_DATE: u64 = 10;

/// A function: its name, how it is called, and what it does.
pub(super) struct Function {
    name: &'static str,
    how: How,
    run: Run,
}

/// With how many arguments it is called; that it is called on counts as one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    /// `name(a)`
    Global,
    /// `a.name(b)`
    On,
    /// `a.name()` and `name(a)`
    Either,
    /// `a.name()` and `a.name("Europe/Berlin")`
    Zoned,
}

/// What compares two texts.
type Comparison = fn(&str, &str) -> bool;

/// What a function does.
#[derive(Clone, Copy)]
enum Run {
    Size,
    /// Compares two texts.
    Texts(Comparison),
    /// Makes a value of another type of one.
    Convert(for<'a> fn(&mut Evaluation<'a>, &Value<'a>) -> Result<Value<'a>>),
    /// A part of a point in time, and of a duration if it has one.
    Part(fn(&Zoned) -> i64, Option<fn(&SignedDuration) -> i64>),
}

static FUNCTIONS: [Function; 23] = [
    of("size", How::Either, Run::Size),
    of("contains", How::On, Run::Texts(|text, part| text.contains(part))),
    of("startsWith", How::On, Run::Texts(|text, start| text.starts_with(start))),
    of("endsWith", How::On, Run::Texts(|text, end| text.ends_with(end))),
    of("bool", How::Global, Run::Convert(to_bool)),
    of("double", How::Global, Run::Convert(to_double)),
    of("duration", How::Global, Run::Convert(to_duration)),
    of("dyn", How::Global, Run::Convert(|_, value| Ok(value.clone()))),
    of("int", How::Global, Run::Convert(to_int)),
    of("string", How::Global, Run::Convert(to_string)),
    of("timestamp", How::Global, Run::Convert(to_timestamp)),
    of("type", How::Global, Run::Convert(|_, value| Ok(Value::Type(value.kind())))),
    of("uint", How::Global, Run::Convert(to_uint)),
    of("getFullYear", How::Zoned, Run::Part(|at| at.year().into(), None)),
    of("getMonth", How::Zoned, Run::Part(|at| i64::from(at.month()) - 1, None)),
    of("getDate", How::Zoned, Run::Part(|at| at.day().into(), None)),
    of("getDayOfMonth", How::Zoned, Run::Part(|at| i64::from(at.day()) - 1, None)),
    of("getDayOfWeek", How::Zoned, Run::Part(|at| at.weekday().to_sunday_zero_offset().into(), None)),
    of("getDayOfYear", How::Zoned, Run::Part(|at| i64::from(at.day_of_year()) - 1, None)),
    of("getHours", How::Zoned, Run::Part(|at| at.hour().into(), Some(SignedDuration::as_hours))),
    of("getMinutes", How::Zoned, Run::Part(|at| at.minute().into(), Some(SignedDuration::as_mins))),
    of("getSeconds", How::Zoned, Run::Part(|at| at.second().into(), Some(|time| time.as_secs()))),
    of(
        "getMilliseconds",
        How::Zoned,
        Run::Part(
            |at| at.millisecond().into(),
            Some(|time| time.as_secs().saturating_mul(1000).saturating_add(time.subsec_millis().into())),
        ),
    ),
];

const fn of(name: &'static str, how: How, run: Run) -> Function {
    Function { name, how, run }
}

impl Function {
    /// Its name and what it does, if it compares two texts.
    pub(super) fn of_texts(&self) -> Option<(&'static str, Comparison)> {
        match self.run {
            Run::Texts(holds) => Some((self.name, holds)),
            _ => None,
        }
    }
}

/// The function of a name that takes so many arguments; what a method is called on is the first.
pub(super) fn find(
    name: &str,
    is_method: bool,
    arguments: usize,
) -> std::result::Result<&'static Function, String> {
    let function = FUNCTIONS.iter().find(|function| function.name == name);
    let function = function.ok_or_else(|| format!("Undeclared reference to '{name}'"))?;
    let fits = match function.how {
        How::Global => !is_method && arguments == 1,
        How::On => is_method && arguments == 2,
        How::Either => arguments == 1,
        How::Zoned => is_method && (1..=2).contains(&arguments),
    };
    let usage = match function.how {
        How::Global => format!("{name}(…)"),
        How::On => format!("text.{name}(\"…\")"),
        How::Either => format!("{name}(…)"),
        How::Zoned => format!("timestamp(…).{name}() or timestamp(…).{name}(\"Europe/Berlin\")"),
    };
    if fits { Ok(function) } else { Err(format!("{name} is called as {usage}")) }
}

/// Calls a function with as many arguments as [`find`] said.
pub(super) fn call<'a>(
    run: &mut Evaluation<'a>,
    function: &Function,
    arguments: &[Value<'a>],
) -> Result<Value<'a>> {
    let [first, more @ ..] = arguments else { return Err(does_not_take(function.name, arguments)) };
    match function.run {
        Run::Convert(convert) => {
            run.look_at(first.text().map_or(0, str::len).saturating_mul(16))?;
            convert(run, first)
        }
        Run::Size => {
            run.look_at(first.text().map_or(0, str::len))?;
            let count = first.count().or_else(|| first.text().map(|text| text.chars().count()));
            let count = count.ok_or_else(|| does_not_take(function.name, arguments))?;
            Ok(Value::Int(i64::try_from(count).unwrap_or(i64::MAX)))
        }
        Run::Texts(holds) => match (first.text(), more.first().and_then(Value::text)) {
            (Some(text), Some(part)) => {
                run.look_at((text.len() + part.len()).saturating_mul(2))?;
                Ok(Value::Bool(holds(text, part)))
            }
            _ => Err(does_not_take(function.name, arguments)),
        },
        Run::Part(part, of_duration) => {
            run.step(STEPS_OF_A_DATE)?;
            match (first, of_duration, more) {
                (Value::Timestamp(at), _, zone) => {
                    Ok(Value::Int(part(&at.to_zoned(time_zone(zone.first())?))))
                }
                (Value::Duration(time), Some(part), []) => Ok(Value::Int(part(time))),
                _ => Err(does_not_take(function.name, arguments)),
            }
        }
    }
}

fn does_not_take(name: &str, arguments: &[Value<'_>]) -> Error {
    let kinds: Vec<_> = arguments.iter().map(Value::kind).collect();
    Error::OfTypes(format!("{name} does not take {}", kinds.join(" and ")))
}

fn time_zone(name: Option<&Value<'_>>) -> Result<TimeZone> {
    let Some(name) = name else { return Ok(TimeZone::UTC) };
    let name = name.text().ok_or_else(|| does_not_take("a time zone", std::slice::from_ref(name)))?;
    TimeZone::get(name).map_err(|_| no_value("a time zone, such as Europe/Berlin"))
}

/// A text that is not what a function reads from it.
fn no_value(what: &str) -> Error {
    Error::OfValues(format!("the value is not {what}"))
}

fn to_bool<'a>(_: &mut Evaluation<'a>, value: &Value<'a>) -> Result<Value<'a>> {
    match (value, value.text()) {
        (Value::Bool(value), _) => Ok(Value::Bool(*value)),
        (_, Some("1" | "t" | "true" | "TRUE" | "True")) => Ok(Value::Bool(true)),
        (_, Some("0" | "f" | "false" | "FALSE" | "False")) => Ok(Value::Bool(false)),
        (_, Some(_)) => Err(no_value("true or false")),
        _ => Err(does_not_take("bool", std::slice::from_ref(value))),
    }
}

fn to_int<'a>(_: &mut Evaluation<'a>, value: &Value<'a>) -> Result<Value<'a>> {
    let number = match (value, value.text()) {
        (Value::Int(number), _) => Some(*number),
        (Value::UInt(number), _) => i64::try_from(*number).ok(),
        // Neither end of the range is exact as a fraction.
        (Value::Double(number), _) => {
            (*number > i64::MIN as f64 && *number < i64::MAX as f64).then_some(*number as i64)
        }
        (Value::Timestamp(at), _) => Some(at.as_second()),
        (_, Some(text)) => text.parse().ok(),
        _ => return Err(does_not_take("int", std::slice::from_ref(value))),
    };
    number.map(Value::Int).ok_or_else(|| no_value("an int"))
}

fn to_uint<'a>(_: &mut Evaluation<'a>, value: &Value<'a>) -> Result<Value<'a>> {
    let number = match (value, value.text()) {
        (Value::Int(number), _) => u64::try_from(*number).ok(),
        (Value::UInt(number), _) => Some(*number),
        (Value::Double(number), _) => (*number >= 0.0 && *number < u64::MAX as f64).then_some(*number as u64),
        (_, Some(text)) => text.parse().ok(),
        _ => return Err(does_not_take("uint", std::slice::from_ref(value))),
    };
    number.map(Value::UInt).ok_or_else(|| no_value("a uint"))
}

fn to_double<'a>(_: &mut Evaluation<'a>, value: &Value<'a>) -> Result<Value<'a>> {
    let number = match (value, value.text()) {
        (Value::Int(number), _) => Some(*number as f64),
        (Value::UInt(number), _) => Some(*number as f64),
        (Value::Double(number), _) => Some(*number),
        (_, Some(text)) => text.parse().ok(),
        _ => return Err(does_not_take("double", std::slice::from_ref(value))),
    };
    number.map(Value::Double).ok_or_else(|| no_value("a double"))
}

fn to_string<'a>(run: &mut Evaluation<'a>, value: &Value<'a>) -> Result<Value<'a>> {
    let text = match value {
        Value::Text(_) | Value::Made(_) => return Ok(value.clone()),
        Value::Bool(value) => value.to_string(),
        Value::Int(number) => number.to_string(),
        Value::UInt(number) => number.to_string(),
        Value::Double(number) => number.to_string(),
        Value::Timestamp(at) => at.to_string(),
        Value::Duration(time) => format!("{}s", time.as_secs_f64()),
        other => return Err(does_not_take("string", std::slice::from_ref(other))),
    };
    run.text(&[&text])
}

fn to_timestamp<'a>(_: &mut Evaluation<'a>, value: &Value<'a>) -> Result<Value<'a>> {
    let at = match (value, value.text()) {
        (Value::Timestamp(at), _) => Some(*at),
        (Value::Int(seconds), _) => Timestamp::from_second(*seconds).ok(),
        (_, Some(text)) => text.parse().ok(),
        _ => return Err(does_not_take("timestamp", std::slice::from_ref(value))),
    };
    at.map(Value::Timestamp).ok_or_else(|| no_value("a timestamp, such as 2023-12-01T14:30:22Z"))
}

fn to_duration<'a>(_: &mut Evaluation<'a>, value: &Value<'a>) -> Result<Value<'a>> {
    let time = match (value, value.text()) {
        (Value::Duration(time), _) => Some(*time),
        (_, Some(text)) => text.parse().ok(),
        _ => return Err(does_not_take("duration", std::slice::from_ref(value))),
    };
    time.map(Value::Duration).ok_or_else(|| no_value("a duration, such as 1h30m"))
}
