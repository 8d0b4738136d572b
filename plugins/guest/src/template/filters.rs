//! The filters of templates: what alerts want, and of Jinja's own those that messages need most; each of those adds some
//! KiB to every plugin. Not `safe`: only what stands in the template is markup.

use std::fmt::{self, Write};

use minijinja::value::{Kwargs, StringInput, ValueKind};
use minijinja::{Environment, Error, ErrorKind, State, UndefinedBehavior, Value, filters, tests};
use serde_json::Value as Json;

use crate::text;

/// As many bytes are one step of the fuel, as in the engine.
const BYTES_A_STEP: u64 = 64;

/// Adds them.
pub(super) fn add(environment: &mut Environment) {
    environment.add_filter("one_line", one_line);
    environment.add_filter("cut", cut);
    environment.add_filter("pairs", pairs);
    environment.add_filter("upper", upper);
    environment.add_filter("lower", lower);
    environment.add_filter("trim", trim);
    environment.add_filter("default", filters::default);
    environment.add_filter("items", filters::items);
    environment.add_filter("join", join);
    environment.add_filter("length", length);
    environment.add_filter("replace", filters::replace);
    environment.add_filter("round", filters::round);
    environment.add_test("defined", tests::is_defined);
}

/// Adds what templates of JSON have besides: what it writes is JSON, and markup anywhere else.
pub(super) fn add_json(environment: &mut Environment) {
    environment.add_filter("json", json);
}

/// `{{ labels | json }}`: the value as JSON, `{"host":"db-1"}`, texts in quotes; `null` if it is absent.
fn json(state: &State, value: &Value) -> Result<Value, Error> {
    Ok(Value::from_safe_string(plain(state, value)?.to_string()))
}

fn plain(state: &State, value: &Value) -> Result<Json, Error> {
    let items = || value.try_iter().into_iter().flatten();
    Ok(match value.kind() {
        ValueKind::Undefined | ValueKind::None => Json::Null,
        ValueKind::Bool => value.is_true().into(),
        ValueKind::Number => serde_json::from_str(&value.to_string()).unwrap_or_default(),
        ValueKind::Seq | ValueKind::Iterable => {
            Json::Array(items().map(|item| plain(state, &item)).collect::<Result<_, _>>()?)
        }
        ValueKind::Map => {
            let entry = |key: Value| {
                let value = value.get_item(&key).unwrap_or_default();
                Ok((shown(state, &key)?, plain(state, &value)?))
            };
            Json::Object(items().map(entry).collect::<Result<_, Error>>()?)
        }
        _ => shown(state, value)?.into(),
    })
}

/// `{{ title | one_line }}`: without line breaks and control characters.
fn one_line(state: &State, value: &Value) -> Result<String, Error> {
    Ok(text::one_line(&shown(state, value)?))
}

/// `{{ description | cut(500) }}`: at most that long.
fn cut(state: &State, value: &Value, limit: usize) -> Result<String, Error> {
    Ok(text::escaped(&shown(state, value)?, limit, text::plain))
}

/// `{{ labels | pairs }}`: `host=db-1, team=payments`.
fn pairs(state: &State, value: &Value) -> Result<String, Error> {
    there(state, value)?;
    let keys = value.try_iter().into_iter().flatten();
    let pairs = keys.map(|key| {
        let entry = value.get_item(&key).unwrap_or_default();
        Ok(format!("{}={}", shown(state, &key)?, shown(state, &entry)?))
    });
    Ok(pairs.collect::<Result<Vec<_>, Error>>()?.join(", "))
}

/// `{{ tags | join(", ") }}`: `urgent, eu`. The engine counts what it gives, once it is made of the items.
fn join(
    state: &mut State,
    value: &Value,
    between: Option<StringInput<'_>>,
    attribute: Option<&str>,
    more: Kwargs,
) -> Result<Value, Error> {
    shown(state, value)?;
    value.try_iter().into_iter().flatten().try_for_each(|item| there(state, &item))?;
    filters::join(state, value, between, attribute, more)
}

fn upper(state: &State, value: &Value) -> Result<String, Error> {
    Ok(shown(state, value)?.to_uppercase())
}

fn lower(state: &State, value: &Value) -> Result<String, Error> {
    Ok(shown(state, value)?.to_lowercase())
}

fn trim(state: &State, value: &Value) -> Result<String, Error> {
    Ok(shown(state, value)?.trim().to_owned())
}

fn length(state: &State, value: &Value) -> Result<usize, Error> {
    read(state, value.as_str().map_or(0, str::len))?;
    filters::length(value)
}

/// That a value is not absent, where the template must be whole.
fn there(state: &State, value: &Value) -> Result<(), Error> {
    match state.undefined_behavior() {
        UndefinedBehavior::SemiStrict if value.is_undefined() => Err(ErrorKind::UndefinedError.into()),
        _ => Ok(()),
    }
}

/// What is absent shows as nothing, unless the template must be whole.
pub(super) fn shown(state: &State, value: &Value) -> Result<String, Error> {
    there(state, value)?;
    if value.is_undefined() || value.is_none() {
        return Ok(String::new());
    }
    if let Some(text) = value.as_str() {
        read(state, text.len())?;
        return Ok(text.to_owned());
    }
    let count = |bytes| read(state, bytes);
    let mut text = Counted { count: &count, text: String::new(), uncounted: 0, error: None };
    let written = write!(text, "{value}");
    match (written, text.error) {
        (Ok(()), _) => read(state, text.uncounted).map(|()| text.text),
        (Err(_), Some(error)) => Err(error),
        (Err(_), None) => Err(Error::new(ErrorKind::InvalidOperation, "the value cannot be written")),
    }
}

/// A text that is counted while it is written: a list of lists of one long text can be longer than the memory.
struct Counted<'a> {
    count: &'a dyn Fn(usize) -> Result<(), Error>,
    text: String,
    uncounted: usize,
    error: Option<Error>,
}

impl Write for Counted<'_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.uncounted += part.len();
        let steps = self.uncounted / BYTES_A_STEP as usize;
        if steps > 0 {
            (self.count)(steps * BYTES_A_STEP as usize).map_err(|error| {
                self.error = Some(error);
                fmt::Error
            })?;
            self.uncounted %= BYTES_A_STEP as usize;
        }
        self.text.push_str(part);
        Ok(())
    }
}

/// Counts the bytes that a filter reads: the engine counts what it returns alone.
pub(super) fn read(state: &State, bytes: usize) -> Result<(), Error> {
    state.consume_fuel(bytes as u64 / BYTES_A_STEP)
}
