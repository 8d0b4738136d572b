//! The parameters behind `?`: each that is wrong is a fault with its name, its value, what is allowed and an example.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::value::{MapDeserializer, StringDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::error::ApiError;
use super::mend::meant;
use crate::fault::{Fault, excerpt};

/// What a query asks for.
pub(super) struct Asked<T>(pub(super) T);

impl<S: Sync, T: DeserializeOwned> FromRequestParts<S> for Asked<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        read(parts.uri.query().unwrap_or_default()).map(Self).map_err(ApiError::invalid)
    }
}

/// Reads a query of which every parameter may be absent.
fn read<T: DeserializeOwned>(query: &str) -> Result<T, Vec<Fault>> {
    let pairs: Vec<_> = url::form_urlencoded::parse(query.as_bytes()).collect();
    let mut names = BTreeSet::new();
    let mut faults = Vec::new();
    for (name, value) in &pairs {
        // One at a time, so that each fault has its place.
        let read = match names.insert(name) {
            true => parsed::<T>(std::slice::from_ref(&(name.clone(), value.clone()))).map(drop),
            false => Err(Wrong::Said("is there twice: give it once".to_owned())),
        };
        faults.extend(read.err().map(|wrong| wrong.fault(name, value)));
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    parsed(&pairs).map_err(|wrong| vec![Fault::whole(wrong.to_string())])
}

fn parsed<T: DeserializeOwned>(pairs: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<T, Wrong> {
    let pairs = pairs.iter().map(|(name, value)| (name.as_ref(), Text(value)));
    T::deserialize(MapDeserializer::new(pairs))
}

/// What is wrong with a parameter.
#[derive(Debug)]
enum Wrong {
    /// In words.
    Said(String),
    /// It is none of these words.
    NoneOf(&'static [&'static str]),
    /// There is no such parameter, but these.
    Unknown(&'static [&'static str]),
}

impl Wrong {
    fn fault(&self, name: &str, value: &str) -> Fault {
        let (value, known) = (excerpt(&value.into()), |names: &[&str]| names.join(", "));
        let message = match self {
            Self::Said(message) => message.clone(),
            Self::NoneOf(words) => {
                let first = words.first().copied().unwrap_or_default();
                format!("{value} is not one of {}, such as {name}={first}", known(words))
            }
            Self::Unknown(names) => match meant(name, names) {
                Some(other) => format!("is not a parameter here: did you mean `{other}`?"),
                None => format!("is not a parameter here: known are {}", known(names)),
            },
        };
        Fault { path: name.to_owned(), value: Some(value), message }
    }
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fault("", "").message)
    }
}

impl std::error::Error for Wrong {}

impl de::Error for Wrong {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::Said(message.to_string())
    }

    fn unknown_variant(_: &str, expected: &'static [&'static str]) -> Self {
        Self::NoneOf(expected)
    }

    fn unknown_field(_: &str, expected: &'static [&'static str]) -> Self {
        Self::Unknown(expected)
    }
}

/// The text of a parameter, read as what is expected.
struct Text<'a>(&'a str);

impl<'de> IntoDeserializer<'de, Wrong> for Text<'de> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl Text<'_> {
    fn said(&self, what: &str) -> Wrong {
        Wrong::Said(format!("{} is not {what}", excerpt(&self.0.into())))
    }
}

impl<'de> Deserializer<'de> for Text<'_> {
    type Error = Wrong;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_str(self.0)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_some(self)
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_u16(self.0.parse().map_err(|_| self.said("a whole number such as 50"))?)
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Wrong> {
        visitor.visit_bool(self.0.parse().map_err(|_| self.said("true or false"))?)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Wrong> {
        let word = self.0.trim().to_ascii_lowercase().replace([' ', '-'], "_");
        StringDeserializer::<Wrong>::new(word).deserialize_enum(name, variants, visitor)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct seq
        tuple tuple_struct map struct identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::temporal::{AlertFilter, DeliveryFilter};

    fn faults<T: DeserializeOwned>(query: &str) -> Vec<String> {
        read::<T>(query).err().unwrap_or_default().iter().map(Fault::to_string).collect()
    }

    #[test]
    fn every_parameter_that_is_wrong_is_named_with_what_is_allowed() {
        for (query, said) in [
            (
                "severity=bogus",
                "severity: \"bogus\" is not one of low, medium, high, critical, such as severity=low",
            ),
            (
                "outcome=lost",
                "outcome: \"lost\" is not one of delivered, partial, failed, dropped, unrouted, ",
            ),
            (
                "since=yesterday",
                "since: \"yesterday\" is neither an RFC 3339 time such as 2023-12-01T14:30:22Z nor how long ago, such as 2h",
            ),
            ("until=", "until: \"\" is neither an RFC 3339 time"),
            ("limit=many", "limit: \"many\" is not a whole number such as 50"),
            ("limit=70000", "limit: \"70000\" is not a whole number"),
            ("serverity=high", "serverity: is not a parameter here: did you mean `severity`?"),
            ("colour=red", "colour: is not a parameter here: known are open, stale, acknowledged, "),
            ("limit=1&limit=2", "limit: is there twice: give it once"),
        ] {
            let found = faults::<AlertFilter>(query);
            assert!(found.len() == 1 && found[0].starts_with(said), "{query}: {found:?}");
        }
        let all = read::<AlertFilter>("severity=x&since=y&z=1").err().unwrap();
        let places: Vec<_> = all.iter().map(|fault| (fault.path.as_str(), fault.value.clone())).collect();
        let value = |text: &str| Some(text.into());
        assert_eq!(places, [("severity", value("x")), ("since", value("y")), ("z", value("1"))]);
        assert_eq!(faults::<DeliveryFilter>("all=yes"), ["all: \"yes\" is not true or false"]);
    }

    #[test]
    fn what_is_right_is_read() {
        let filter: AlertFilter =
            read("severity=HIGH&scope=a%20b&limit=7&outcome=Running&open=true").unwrap();
        assert_eq!((filter.scope.as_deref(), filter.limit), (Some("a b"), Some(7)));
        assert!(filter.severity.is_some() && filter.outcome.is_some() && filter.open);
        let filter: DeliveryFilter = read("ended=true&all=true&id=a/b").unwrap();
        assert_eq!((filter.ended, filter.all, filter.id.as_deref()), (true, true, Some("a/b")));
        assert!(!read::<DeliveryFilter>("").unwrap().is_given());
    }
}
