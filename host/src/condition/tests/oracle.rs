//! Conditions mean what the interpreter of the `cel` crate makes of them.

use std::collections::HashMap;
use std::sync::Arc;

use arbitrary::Unstructured;
use cel::{Context, Program, Value as Cel};
use serde_json::Value as Json;

use super::super::evaluate::{Error, Evaluation};
use super::super::value::Value;
use super::random;

/// A value as the interpreter has it.
fn value(json: &Json) -> Cel {
    match json {
        Json::Null => Cel::Null,
        Json::Bool(value) => Cel::Bool(*value),
        Json::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Cel::Int(number),
            (None, Some(number)) => Cel::UInt(number),
            (None, None) => Cel::Float(number.as_f64().unwrap()),
        },
        Json::String(text) => Cel::String(Arc::new(text.clone())),
        Json::Array(elements) => Cel::List(elements.iter().map(value).collect::<Vec<_>>().into()),
        Json::Object(fields) => {
            let fields = fields.iter().map(|(name, field)| (name.clone(), value(field)));
            Cel::Map(fields.collect::<HashMap<_, _>>().into())
        }
    }
}

/// What the interpreter says of an alert whose objects that are never absent are there.
fn expected(text: &str, alert: &Json) -> Option<bool> {
    let mut alert = alert.clone();
    for name in ["labels", "data", "metrics", "context"] {
        alert.as_object_mut().unwrap().entry(name).or_insert_with(|| Json::Object(serde_json::Map::new()));
    }
    let mut context = Context::default();
    context.add_variable_from_value("alert", value(&alert));
    match Program::compile(text).unwrap_or_else(|error| panic!("{text}: {error}")).execute(&context) {
        Ok(Cel::Bool(holds)) => Some(holds),
        _ => None,
    }
}

#[test]
fn conditions_mean_what_cel_says() {
    let compared = std::sync::atomic::AtomicUsize::new(0);
    bolero::check!(name = "oracle").with_iterations(2_000).with_max_len(300).for_each(|bytes: &[u8]| {
        let mut random = Unstructured::new(bytes);
        let (alert, text) = (random::alert(&mut random), random::condition(&mut random, 3));
        let Ok(expression) = super::super::parse::parse(&text) else { return };
        let actual = match Evaluation::of(&alert).value(&expression) {
            Ok(Value::Bool(holds)) => Some(holds),
            Err(Error::TooMuch(_)) => return,
            _ => None,
        };
        assert_eq!(actual, expected(&text, &alert), "{text} of {alert}");
        compared.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    assert!(compared.into_inner() > 1_000);
}
