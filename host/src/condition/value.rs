//! Values that a condition computes with. They borrow from the alert and from the condition, so that reading a field
//! copies nothing, and cloning any value costs the same.

use std::rc::Rc;
use std::sync::LazyLock;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value as Json};

/// A value. `'a` is the alert and the condition, whichever is shorter.
#[derive(Clone)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(&'a str),
    /// A text that the condition made.
    Made(Rc<str>),
    /// A list of the alert.
    Array(&'a [Json]),
    List(Rc<[Value<'a>]>),
    /// An object of the alert.
    Object(&'a Map<String, Json>),
    Map(Rc<[(Value<'a>, Value<'a>)]>),
    /// The alert itself: some of its objects are never absent.
    Alert(&'a Json),
    Timestamp(Timestamp),
    Duration(SignedDuration),
    /// The type of a value, such as `type(1)`.
    Type(&'static str),
}

/// What an alert may lack and conditions need not ask for.
const NEVER_ABSENT: [&str; 4] = ["labels", "data", "metrics", "context"];

impl<'a> Value<'a> {
    /// A value of the alert.
    #[inline]
    pub(super) fn of(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Self::Int(number),
                (None, Some(number)) => Self::UInt(number),
                (None, None) => Self::Double(number.as_f64().unwrap_or(f64::NAN)),
            },
            Json::String(text) => Self::Text(text),
            Json::Array(elements) => Self::Array(elements),
            Json::Object(fields) => Self::Object(fields),
        }
    }

    /// What CEL calls the type of this value.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::UInt(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) | Self::Made(_) => "string",
            Self::Array(_) | Self::List(_) => "list",
            Self::Object(_) | Self::Map(_) | Self::Alert(_) => "map",
            Self::Timestamp(_) => "timestamp",
            Self::Duration(_) => "duration",
            Self::Type(_) => "type",
        }
    }

    /// The text, if it is one.
    #[inline]
    pub(super) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Made(text) => Some(text),
            _ => None,
        }
    }

    /// How many elements or entries it has, if it is a list or a map.
    pub(super) fn count(&self) -> Option<usize> {
        Some(match self {
            Self::Array(elements) => elements.len(),
            Self::List(elements) => elements.len(),
            Self::Object(fields) => fields.len(),
            Self::Map(entries) => entries.len(),
            Self::Alert(alert) => alert.as_object().map_or(0, Map::len),
            _ => return None,
        })
    }

    /// The elements of a list, or the keys of a map.
    pub(super) fn elements(&self) -> Option<Box<dyn Iterator<Item = Value<'a>> + 'a>> {
        fn keys(fields: &Map<String, Json>) -> Box<dyn Iterator<Item = Value<'_>> + '_> {
            Box::new(fields.keys().map(|key| Value::Text(key)))
        }
        Some(match self {
            Self::Array(elements) => Box::new(elements.iter().map(Value::of)),
            Self::List(elements) => {
                let elements = elements.clone();
                Box::new((0..elements.len()).map(move |index| elements[index].clone()))
            }
            Self::Object(fields) => keys(fields),
            Self::Alert(alert) => keys(alert.as_object()?),
            Self::Map(entries) => {
                let entries = entries.clone();
                Box::new((0..entries.len()).map(move |index| entries[index].0.clone()))
            }
            _ => return None,
        })
    }

    /// The field of an object of the alert: `Err` if it is something else.
    #[inline]
    pub(super) fn field(&self, name: &str) -> Result<Option<Value<'a>>, ()> {
        static EMPTY: LazyLock<Json> = LazyLock::new(|| Json::Object(Map::new()));
        match self {
            Self::Object(fields) => Ok(fields.get(name).map(Value::of)),
            Self::Alert(alert) => {
                let found = alert.get(name).or_else(|| NEVER_ABSENT.contains(&name).then_some(&*EMPTY));
                Ok(found.map(Value::of))
            }
            _ => Err(()),
        }
    }

    /// As the number that both an integer and a fraction can be compared as.
    #[inline]
    pub(super) fn number(&self) -> Option<Number> {
        match self {
            Self::Int(number) => Some(Number::Whole(i128::from(*number))),
            Self::UInt(number) => Some(Number::Whole(i128::from(*number))),
            Self::Double(number) => Some(Number::Fraction(*number)),
            _ => None,
        }
    }
}

/// A number of any type: CEL compares them by what they are worth.
#[derive(Clone, Copy)]
pub(super) enum Number {
    Whole(i128),
    Fraction(f64),
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.partial_cmp(other) == Some(std::cmp::Ordering::Equal)
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        match (*self, *other) {
            (Self::Whole(left), Self::Whole(right)) => Some(left.cmp(&right)),
            (left, right) => left.as_fraction().partial_cmp(&right.as_fraction()),
        }
    }
}

impl Number {
    fn as_fraction(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Fraction(number) => number,
        }
    }
}
