//! How many values a JSON document has, found without building them: each takes memory many times its text, and a large body
//! can hold millions.

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// Bodies up to this size cannot hold enough to matter, in bytes.
const LIGHT: usize = 64 << 10;
/// The most values of one document.
pub(super) const MOST_VALUES: usize = 500_000;

/// Whether the document has more values than are taken. What is no JSON is somebody else's to say.
pub(super) fn is_too_heavy(body: &[u8]) -> bool {
    if body.len() <= LIGHT {
        return false;
    }
    let mut values = 0;
    _ = Counter(&mut values).deserialize(&mut serde_json::Deserializer::from_slice(body));
    values > MOST_VALUES
}

struct Counter<'a>(&'a mut usize);

impl Counter<'_> {
    fn count<E: Error>(&mut self) -> Result<(), E> {
        *self.0 += 1;
        if *self.0 > MOST_VALUES { Err(E::custom("too many values")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Counter<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! scalars {
    ($($visit:ident($kind:ty))*) => {$(
        fn $visit<E: Error>(mut self, _: $kind) -> Result<(), E> {
            self.count()
        }
    )*};
}

impl<'de> Visitor<'de> for Counter<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    scalars! { visit_bool(bool) visit_i64(i64) visit_u64(u64) visit_f64(f64) visit_str(&str) }

    fn visit_unit<E: Error>(mut self) -> Result<(), E> {
        self.count()
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        self.count()?;
        while items.next_element_seed(Counter(self.0))?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        self.count()?;
        while fields.next_key::<IgnoredAny>()?.is_some() {
            fields.next_value_seed(Counter(self.0))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_wherever_they_are() {
        let list = |count: usize| format!("{{\"a\": [{}1]}}", "1,".repeat(count));
        assert!(!is_too_heavy(list(MOST_VALUES - 3).as_bytes()));
        assert!(is_too_heavy(list(MOST_VALUES).as_bytes()));
        assert!(is_too_heavy(format!("[{}]", vec!["[[]]"; MOST_VALUES / 2 + 1].join(",")).as_bytes()));
        assert!(!is_too_heavy("[1,".repeat(50_000).as_bytes()), "what is no JSON is told as that");
    }
}
