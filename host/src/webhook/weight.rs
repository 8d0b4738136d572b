//! How many values a JSON body holds and how deep they are nested, counted from its bytes in one pass and without building
//! them: each value takes memory and time many times its text, in this process or in a source's, and a small packed body can
//! hold millions. A text that is a document itself, such as the message in an envelope of SNS, counts as what it holds: a source
//! reads it a second time.

use super::error::ApiError;

/// What a body may hold at most.
#[derive(Clone, Copy, Debug)]
pub struct BodyLimits {
    /// `webhook.body-values`.
    pub values: usize,
    /// `webhook.body-depth`.
    pub depth: usize,
}

impl BodyLimits {
    /// Refuses a body that holds more. What is not JSON weighs nothing.
    pub(super) fn check(self, body: &[u8]) -> Result<(), ApiError> {
        let Weight { values, depth } = Weight::of(body);
        if values > self.values {
            return Err(ApiError::too_many_values(values, self.values));
        }
        if depth > self.depth { Err(ApiError::too_deep(depth, self.depth)) } else { Ok(()) }
    }
}

/// What a body holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Weight {
    pub(super) values: usize,
    depth: usize,
}

impl Weight {
    /// Counts by the marks outside of texts, so that a body that is broken somewhere weighs no less: a list of n values has
    /// n - 1 commas. Readers of several documents one after the other find as many values as are counted here.
    pub(super) fn of(body: &[u8]) -> Self {
        let mut weight = Self::default();
        let is_json = body.trim_ascii_start().first().is_some_and(|first| matches!(first, b'{' | b'['));
        let (mut level, mut is_new) = (0_usize, false);
        let mut bytes = body.iter().filter(|_| is_json);
        while let Some(byte) = bytes.next() {
            match byte {
                b' ' | b'\n' | b'\r' | b'\t' => continue,
                b']' | b'}' => level = level.saturating_sub(1),
                b',' => weight.values += 1,
                other => {
                    // The first in a list or an object.
                    weight.values += usize::from(is_new || level == 0);
                    match other {
                        b'[' | b'{' => level += 1,
                        b'"' => weight.values += text_values(&mut bytes),
                        _ => {}
                    }
                }
            }
            is_new = matches!(byte, b'[' | b'{');
            weight.depth = weight.depth.max(level);
        }
        weight
    }
}

/// Skips a text. How many values it holds, at most but for one, if it begins as a document does.
fn text_values<'a>(bytes: &mut impl Iterator<Item = &'a u8>) -> usize {
    let (mut is_document, mut values) = (None, 0);
    while let Some(byte) = unescaped(bytes) {
        if !byte.is_ascii_whitespace() {
            let is_document = *is_document.get_or_insert(matches!(byte, b'{' | b'['));
            values += usize::from(is_document && matches!(byte, b'{' | b'[' | b','));
        }
    }
    values
}

/// The next byte of a text, as its reader sees it; `None` at its end.
fn unescaped<'a>(bytes: &mut impl Iterator<Item = &'a u8>) -> Option<u8> {
    match *bytes.next()? {
        b'"' => None,
        b'\\' => match *bytes.next()? {
            b'u' => by_code(bytes),
            b'n' | b'r' | b't' => Some(b' '),
            other => Some(other),
        },
        other => Some(other),
    }
}

/// What four hexadecimal digits stand for; all that is not ASCII is the same here.
fn by_code<'a>(bytes: &mut impl Iterator<Item = &'a u8>) -> Option<u8> {
    let mut code = 0;
    for _ in 0..4 {
        let digit = *bytes.next().filter(|digit| **digit != b'"')?;
        code = code * 16 + char::from(digit).to_digit(16).unwrap_or_default();
    }
    Some(u8::try_from(code).unwrap_or(u8::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn weight(text: &str) -> (usize, usize) {
        let Weight { values, depth } = Weight::of(text.as_bytes());
        (values, depth)
    }

    /// The same, of what was built.
    fn built(value: &Value) -> (usize, usize) {
        let inner: Vec<_> = match value {
            Value::Array(items) => items.iter().map(built).collect(),
            Value::Object(fields) => fields.values().map(built).collect(),
            Value::String(text) if text.starts_with(['{', '[']) => {
                return (1 + text.matches(['{', '[', ',']).count(), 0);
            }
            _ => return (1, 0),
        };
        let values = inner.iter().map(|(values, _)| values).sum::<usize>();
        (values + 1, inner.iter().map(|(_, depth)| depth).max().unwrap_or(&0) + 1)
    }

    fn random(random: &mut fastrand::Rng, room: usize) -> Value {
        let texts = ["", "a", "\"", "\\", "[1,2]", "{\"a\":", "🔥", "\\\"", "\n"];
        let text = |random: &mut fastrand::Rng| texts[random.usize(..texts.len())].to_owned();
        match random.u8(..if room == 0 { 5 } else { 8 }) {
            0 => Value::Null,
            1 => random.bool().into(),
            2 => random.i64(..).into(),
            3 => random.f64().into(),
            4 => text(random).into(),
            5 | 6 => (0..random.usize(..6)).map(|_| self::random(random, room - 1)).collect(),
            _ => Value::Object(
                (0..random.usize(..6))
                    .map(|number| (format!("{number}{}", text(random)), self::random(random, room - 1)))
                    .collect(),
            ),
        }
    }

    #[test]
    fn every_document_weighs_what_it_holds() {
        let seed = fastrand::u64(..);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..2_000 {
            let document = Value::Array(vec![random(&mut rng, 6)]);
            for text in [document.to_string(), format!(" {document:#}\n")] {
                assert_eq!(weight(&text), built(&document), "seed {seed}: {text}");
            }
        }
    }

    #[test]
    fn what_is_broken_weighs_no_less() {
        for (text, expected) in [
            ("[1,2,3", (4, 1)),
            ("[[],[],[]]]]]", (4, 2)),
            ("{\"a\":1,\"b\":2", (3, 1)),
            ("[\"a", (2, 1)),
            ("[\"a\\", (2, 1)),
            ("{}\n{}\n{}", (3, 1)),
            ("[[[[", (4, 4)),
        ] {
            assert_eq!(weight(text), expected, "{text}");
        }
        assert_eq!(weight("one, two, three [and four]"), (0, 0), "what is not JSON");
        assert_eq!(weight(""), (0, 0));
    }

    #[test]
    fn a_document_in_a_text_weighs_what_it_holds() {
        for (text, expected) in [
            (r#"{"Message":"[{},{},{}]"}"#, (8, 1)),
            (r#"{"Message":" \n\t{\"a\":1,\"b\":[2]}"}"#, (5, 1)),
            (r#"["\u007B\u002c\u005b"]"#, (5, 1)),
            (r#"["one, two, [three], {four}"]"#, (2, 1)),
            (r#"["\u00e4[,,","\"[,,"]"#, (3, 1)),
            (r#"["\u00",1,2]"#, (4, 1)),
        ] {
            assert_eq!(weight(text), expected, "{text}");
        }
        let many = serde_json::json!({"Message": format!("[{}]", vec!["{}"; 60_000].join(","))});
        assert!(BodyLimits { values: 100_000, depth: 100 }.check(many.to_string().as_bytes()).is_err());
    }

    #[test]
    fn the_limits_are_named_with_what_was_found() {
        let limits = BodyLimits { values: 4, depth: 2 };
        assert!(limits.check(b"[1,[2,3]]").is_err() && limits.check(b"[1,[2]]").is_ok());
        let text = |body: &[u8]| limits.check(body).unwrap_err().message().to_owned();
        assert!(text(b"[1,2,3,4]").contains("holds 5 JSON values, more than 4 (`webhook.body-values`)"));
        assert!(text(b"[[[]]]").contains("is nested 3 levels deep, more than 2 (`webhook.body-depth`)"));
    }
}
