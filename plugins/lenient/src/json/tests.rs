use fastrand::Rng;
use serde_json::{Map, Value, json};

use super::*;

fn is_unchanged(text: &[u8]) -> bool {
    matches!(mended(text), (Cow::Borrowed(same), odd) if same == text && odd.is_empty())
}

#[test]
fn half_a_character_is_replaced_and_named() {
    let body =
        br#"{"alerts":[{"a":"x"},{"annotations":{"summary":"great \ud83d","end":"\ude00\ud83d\ude00"}}]}"#;
    let (value, odd) = read(body).unwrap();
    let annotations = &value["alerts"][1]["annotations"];
    assert_eq!(
        (&annotations["summary"], &annotations["end"]),
        (&json!("great \u{fffd}"), &json!("\u{fffd}😀"))
    );
    let what = "half a character (a lone surrogate such as \\ud83d) was read as U+FFFD";
    assert_eq!(
        odd,
        [format!("alerts[1].annotations.summary: {what}"), format!("alerts[1].annotations.end: {what}")]
    );
}

#[test]
fn integers_keep_their_digits() {
    let body = br#"{"data":{"trace":15912487216748294321,"wei":19876543210987654321000,"low":[-9223372036854775809]}}"#;
    let (value, odd) = read(body).unwrap();
    assert_eq!(
        value,
        json!({"data": {"trace": 15_912_487_216_748_294_321_u64, "wei": "19876543210987654321000", "low": ["-9223372036854775809"]}})
    );
    let what = "does not fit an integer of 64 bits: it was kept as a text, with its digits";
    assert_eq!(
        odd,
        [
            format!("data.wei: 19876543210987654321000 {what}"),
            format!("data.low[0]: -9223372036854775809 {what}")
        ]
    );
}

#[test]
fn what_no_number_holds_is_a_text() {
    for token in ["1e999", "-1e999", "NaN", "Infinity", "-Infinity", &format!("1{}", "0".repeat(399))] {
        let (value, odd) = read(format!("[{token}]").as_bytes()).unwrap();
        assert_eq!((value, odd.len()), (json!([token]), 1), "{token}");
        assert!(odd[0].starts_with("[0]: "), "{odd:?}");
    }
}

#[test]
fn bytes_that_are_not_utf8_and_control_characters_are_mended() {
    let (value, odd) =
        read(b"\xef\xbb\xbf{\"k\xff\":\"caf\xe9 \xed\xa0\x80\",\"b\":\"one\ntwo\t\x07\"}").unwrap();
    assert_eq!(
        value,
        json!({"k\u{fffd}": "caf\u{fffd} \u{fffd}\u{fffd}\u{fffd}", "b": "one\ntwo\t\u{fffd}"})
    );
    assert_eq!(odd.len(), 3, "{odd:?}");
    assert!(odd[0].starts_with("k\u{fffd}: bytes") && odd[2].starts_with("b: control"), "{odd:?}");
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for body in [
        "",
        "{",
        "[1,]",
        "[0x10]",
        "[01]",
        "[1.]",
        "[.5]",
        "[+1]",
        "[nan]",
        "[NaNs]",
        "[.5e999]",
        "[1e]",
        r#"["\x41"]"#,
        r#"["\u12"]"#,
        r#"["\ud8"]"#,
        "[\"",
        "[\"\\",
        "[\"\\u",
        "{'a':1}",
        "[1] [2]",
        "\u{feff}",
        "{NaN:1}",
        "{18446744073709551616:1}",
    ] {
        assert!(read(body.as_bytes()).is_err(), "{body}");
    }
}

#[test]
fn a_document_is_mended_no_deeper_than_it_is_read() {
    let deep = |levels: usize| format!("{}1e999{}", "[".repeat(levels), "]".repeat(levels));
    assert!(read(deep(120).as_bytes()).is_ok());
    assert!(read(deep(1_000_000).as_bytes()).is_err());
}

/// A document as text, in one of many ways to write it, beside what is to be read.
struct Written<'a> {
    random: &'a mut Rng,
    text: String,
    /// How many values are odd, of a hundred.
    oddity: u8,
    paths: Vec<String>,
}

impl Written<'_> {
    fn space(&mut self) {
        let space = ["", " ", "\n", "\t "][self.random.usize(..4)];
        self.text.push_str(space);
    }

    fn is_odd(&mut self, at: &str) -> bool {
        let is_odd = self.random.u8(..100) < self.oddity;
        if is_odd {
            self.paths.push(at.to_owned());
        }
        is_odd
    }

    fn value(&mut self, at: &str, levels: usize) -> Value {
        self.space();
        let value = match self.random.u8(..if levels == 0 { 4 } else { 6 }) {
            0 => self.word(),
            1 | 2 => self.text(at).into(),
            3 => self.number(at),
            4 => self.list(at, levels),
            _ => self.object(at, levels),
        };
        self.space();
        value
    }

    fn word(&mut self) -> Value {
        let word = ["null", "true", "false"][self.random.usize(..3)];
        self.text.push_str(word);
        serde_json::from_str(word).unwrap()
    }

    fn number(&mut self, at: &str) -> Value {
        if self.is_odd(at) {
            let odd =
                ["18446744073709551616", "-9223372036854775809", "100000000000000000000000", "1e400", "NaN"];
            let token = odd[self.random.usize(..5)];
            self.text.push_str(token);
            return token.into();
        }
        let tokens = [
            "0",
            "-0",
            "-1",
            "18446744073709551615",
            "-9223372036854775808",
            "0.1",
            "1e300",
            "1E-400",
            "12345678901234567890.5",
        ];
        let token = tokens[self.random.usize(..9)];
        self.text.push_str(token);
        serde_json::from_str(token).unwrap()
    }

    fn text(&mut self, at: &str) -> String {
        let pieces = [
            ("a", "a"),
            ("\\\"", "\""),
            ("\\\\", "\\"),
            ("\\ud83d\\ude00", "😀"),
            ("😀", "😀"),
            ("\\n", "\n"),
            ("\\u00e4", "ä"),
            ("[{,:]}", "[{,:]}"),
            ("ä", "ä"),
            ("\\\\ud83d", "\\ud83d"),
        ];
        let odd = [
            ("\\ud83d", "\u{fffd}"),
            ("\\uDE00", "\u{fffd}"),
            ("\\ud83d\\u0041", "\u{fffd}A"),
            ("\n", "\n"),
            ("\t", "\t"),
        ];
        let mut meant = String::new();
        self.text.push('"');
        for _ in 0..self.random.usize(..5) {
            let (written, piece) = pieces[self.random.usize(..pieces.len())];
            self.text.push_str(written);
            meant.push_str(piece);
        }
        if self.is_odd(at) {
            let (written, piece) = odd[self.random.usize(..odd.len())];
            self.text.push_str(written);
            meant.push_str(piece);
        }
        self.text.push('"');
        meant
    }

    fn list(&mut self, at: &str, levels: usize) -> Value {
        let count = self.random.usize(..5);
        self.text.push('[');
        let items = (0..count).map(|index| {
            let item = self.value(&format!("{at}[{index}]"), levels - 1);
            self.text.push_str(if index + 1 < count { "," } else { "" });
            item
        });
        let items = items.collect();
        self.text.push(']');
        items
    }

    fn object(&mut self, at: &str, levels: usize) -> Value {
        let count = self.random.usize(..5);
        self.text.push('{');
        let fields = (0..count).map(|number| {
            let key = format!("k{number}");
            self.text.push_str(&format!("\"{key}\" :"));
            let field = self.value(&inside(at, &key), levels - 1);
            self.text.push_str(if number + 1 < count { "," } else { "" });
            (key, field)
        });
        let fields = fields.collect::<Map<_, _>>();
        self.text.push('}');
        fields.into()
    }
}

#[test]
fn only_what_is_odd_is_changed() {
    for seed in 0..2_000 {
        let random = &mut Rng::with_seed(seed);
        let oddity = [0, 30][random.usize(..2)];
        let mut written = Written { random, text: String::new(), oddity, paths: Vec::new() };
        let meant = written.value("", 5);
        let Written { text, paths, .. } = written;
        let (value, odd) =
            read(text.as_bytes()).unwrap_or_else(|error| panic!("seed {seed}: {error}: {text}"));
        assert_eq!(value, meant, "seed {seed}: {text}");
        assert_eq!(is_unchanged(text.as_bytes()), paths.is_empty(), "seed {seed}: {text}");
        assert_eq!(odd.len(), paths.len().min(MOST_LINES), "seed {seed}: {odd:#?}");
        for (line, path) in odd.iter().zip(&paths) {
            assert!(
                path.is_empty() || line.starts_with(&format!("{path}: ")),
                "seed {seed}: {line} at {path}"
            );
        }
    }
}

#[test]
fn what_its_reader_takes_is_not_changed() {
    let document =
        json!({"alerts": [{"title": "a\u{1}\"ä😀", "data": [1, -2.5e3, {"b": null}]}]}).to_string();
    let mut taken = 0;
    for seed in 0..20_000 {
        let random = &mut Rng::with_seed(seed);
        let mut body = document.clone().into_bytes();
        for _ in 0..random.usize(1..3) {
            let at = random.usize(..body.len());
            match random.u8(..3) {
                0 => body[at] = b" \"\\{}[],:0-9eEu\n\xff"[random.usize(..17)],
                1 => drop(body.remove(at)),
                _ => body.insert(at, body[random.usize(..body.len())]),
            }
        }
        if let Ok(value) = serde_json::from_slice::<Value>(&body) {
            assert!(is_unchanged(&body), "seed {seed}: {}", String::from_utf8_lossy(&body));
            assert_eq!(read(&body).unwrap().0, value, "seed {seed}");
            taken += 1;
        }
    }
    assert!(taken > 1_000, "only {taken} documents were JSON");
}
