//! Every form is found, wherever it stands and whatever stands around it; without values nothing is touched.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use super::*;

const VALUE: &str = "T0/b+\"ä&c d<e>'";
const HUSH: &str = "hush-hush-hush";
/// Of characters that few forms write alike. Its base64 has those in which the two alphabets differ, wherever it stands.
const ODD: &str = "ask? ~me*/'>>>-i";

fn scrubber() -> Scrubber {
    Scrubber::new([HUSH, VALUE, ODD].map(str::to_owned).into_iter())
}

#[test]
fn a_value_is_replaced_in_every_form() {
    let table = [
        HUSH,
        "Hush-HUSH-hush",
        "aHVzaC1odXNoLWh1c2g=",
        "aHVzaC1odXNoLWh1c2",
        "687573682d687573682d68757368",
        "687573682D687573682D68757368",
        "hush&#45;hush&#45;hush",
        "hush&#x2D;hush&#x2d;hush",
        VALUE,
        "T0/b+%22%C3%A4&c%20d%3Ce%3E'",
        "T0%2Fb%2B%22%C3%A4%26c%20d%3Ce%3E%27",
        "T0%2fb%2b%22%c3%a4%26c%20d%3ce%3e%27",
        "T0%2Fb%2B%22%C3%A4%26c+d%3Ce%3E%27",
        "T0/b+\\\"ä&c d<e>'",
        "T0\\/b+\\\"ä&c d<e>'",
        "T0/b+\\\"\\u00e4\\u0026c d\\u003ce\\u003e\\u0027",
        "T0%2Fb%2B%22%C3%A4%26c%20d%3Ce%3E'",
        "T0/b%2B%22%C3%A4%26c%20d%3Ce%3E%27",
        "T0\\/b+\\\"\\u00e4&c d<e>'",
        "T0/b+\\\"\\u00e4&c d<e>'",
        "T0/b+\\\"ä\\u0026c d\\u003ce\\u003e'",
        "T0/b\\u002B\\u0022\\u00E4\\u0026c d\\u003Ce\\u003E\\u0027",
        "T0/b&#x2B;&quot;ä&amp;c d&lt;e&gt;&#x27;",
        "T0/b+\"ä&amp;c d&lt;e&gt;'",
        "T0/b+&quot;ä&amp;c d&lt;e&gt;&#39;",
        "T0/b+&#34;ä&amp;c d&lt;e&gt;&#39;",
        "T0/b+&quot;ä&amp;c d&lt;e&gt;&#x27;",
        "T0/b+&quot;ä&amp;c d&lt;e&gt;&#039;",
        "T0/b+&quot;ä&amp;c d&lt;e&gt;&apos;",
        "T0&#x2F;b+&quot;ä&amp;c d&lt;e&gt;&#39;",
        "T0&#47;b&#43;&#34;&#228;&#38;c&#32;d&#60;e&#62;&#39;",
        "T0&#x2f;b&#x2b;&#x22;&#xe4;&#x26;c&#x20;d&#x3c;e&#x3e;&#x27;",
        ODD,
        "ask%3F%20~me*/'%3E%3E%3E-i",
        "ask?%20~me*/'%3E%3E%3E-i",
        "ask%3F%20~me%2A%2F%27%3E%3E%3E-i",
        "ask%3F+~me%2A%2F%27%3E%3E%3E-i",
        "ask%3F+%7Eme*%2F%27%3E%3E%3E-i",
        "ask%3F%20%7Eme%2A%2F%27%3E%3E%3E%2Di",
        "ask? ~me*&#x2F;&#x27;&gt;&gt;&gt;-i",
        "YXNrPyB+bWUqLyc+Pj4taQ==",
        "YXNrPyB+bWUqLyc+Pj4ta",
        "Fzaz8gfm1lKi8nPj4+LW",
        "hc2s/IH5tZSovJz4+Pi1p",
        "YXNrPyB-bWUqLyc-Pj4taQ==",
        "YXNrPyB-bWUqLyc-Pj4ta",
        "Fzaz8gfm1lKi8nPj4-LW",
        "hc2s_IH5tZSovJz4-Pi1p",
    ];
    for form in table {
        assert_eq!(scrubber().text(&format!("<{form}>")), "<[secret]>", "{form}");
    }
    for bytes in [u16::to_le_bytes, u16::to_be_bytes] {
        let utf16 = |text: &str| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let clean = scrubber().body(utf16(&format!("<{VALUE}>")).into());
        // Between the two orders of bytes a zero more or less is left.
        let left: Vec<_> = clean.iter().filter(|byte| **byte != 0).copied().collect();
        assert_eq!(left, b"<[secret]>");
        // Where nothing stands around the value, only its own order is found.
        assert_eq!(scrubber().body(utf16(VALUE).into()), REPLACEMENT);
    }
}

#[test]
fn base64_is_found_wherever_the_value_stands_in_it() {
    for prefix in ["", "a", "ab", "abc", "user:"] {
        for engine in [STANDARD, URL_SAFE] {
            let encoded = engine.encode(format!("{prefix}{ODD}{prefix}"));
            let clean = scrubber().text(&encoded);
            assert!(clean.contains(REPLACEMENT), "{prefix}: {encoded} became {clean}");
        }
        let encoded = STANDARD.encode(format!("{prefix}{HUSH}{prefix}"));
        let clean = scrubber().text(&encoded);
        assert!(clean.contains(REPLACEMENT), "{prefix}: {encoded} became {clean}");
        let inner = STANDARD.encode(HUSH);
        assert!(!clean.contains(&inner[2..10]), "{clean}");
    }
}

/// The commonest forms, made without [`forms`].
fn made_otherwise(value: &str) -> Vec<Vec<u8>> {
    let percent = |plain: &str| -> String {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || plain.as_bytes().contains(&byte);
        let write = |byte| if is_plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        value.bytes().map(write).collect()
    };
    let entity =
        |c: char| if c.is_ascii_alphanumeric() { c.to_string() } else { format!("&#{};", u32::from(c)) };
    let texts = [
        value.to_owned(),
        value.bytes().map(|byte| format!("{byte:02x}")).collect(),
        percent(""),
        percent("-._~"),
        percent("-._~").replace("%20", "+"),
        value.chars().map(entity).collect(),
        STANDARD.encode(value),
        URL_SAFE.encode(value),
    ];
    let utf16 = [u16::to_le_bytes, u16::to_be_bytes];
    let utf16 = utf16.map(|bytes| value.encode_utf16().flat_map(bytes).collect::<Vec<u8>>());
    texts.into_iter().map(String::into_bytes).chain(utf16).collect()
}

/// What stands around values: parts of them, what they are replaced by, and bytes that forms have, too.
fn noise(value: &str, random: &mut fastrand::Rng) -> Vec<u8> {
    let forms = forms(value);
    let form = &forms[random.usize(..forms.len())];
    let at = random.usize(..form.len());
    match random.u8(..6) {
        0 => form[..at].to_vec(),
        1 => form[at..].to_vec(),
        2 => REPLACEMENT.as_bytes().to_vec(),
        3 => vec![random.u8(..); at],
        4 => b" \n|=%&\\".to_vec(),
        _ => Vec::new(),
    }
}

fn value(random: &mut fastrand::Rng) -> String {
    let characters = ['a', 'B', '7', '-', '/', '+', '&', '"', '\'', ' ', '%', 'é', '😀'];
    let length = random.usize(12..40);
    (0..length).map(|_| random.choice(characters).expect("there are some")).collect()
}

#[test]
fn no_form_is_left_as_a_contiguous_run() {
    for seed in 0..400 {
        let mut random = fastrand::Rng::with_seed(seed);
        let values = [value(&mut random), value(&mut random)];
        let forms = values.each_ref().map(|value| [forms(value), made_otherwise(value)].concat());
        let scrubber = Scrubber::new(values.iter().cloned());
        let mut body = Vec::new();
        for _ in 0..random.usize(1..8) {
            let which = random.usize(..2);
            body.extend(noise(&values[which], &mut random));
            body.extend_from_slice(random.choice(&forms[which]).expect("there are some"));
        }
        let clean = scrubber.body(body.clone().into()).to_ascii_lowercase();
        for form in forms.iter().flatten() {
            let form = form.to_ascii_lowercase();
            let is_left = clean.windows(form.len()).any(|run| run == form);
            let (form, body) = (String::from_utf8_lossy(&form), String::from_utf8_lossy(&body));
            assert!(!is_left, "seed {seed}: {form:?} is left of {body:?}");
        }
    }
}

#[test]
fn what_is_not_a_whole_form_stays_as_it_is() {
    for text in [
        "hush-hush-hus",
        "ush-hush-hush",
        "hush hush hush",
        "aHVzaC1odXNoLWh1c",
        "687573682d687573682d6875736",
    ] {
        assert_eq!(scrubber().text(text), text);
    }
}

#[test]
fn headers_lose_values_and_names_that_are_values() {
    let mut headers = HeaderMap::new();
    headers.append("x-a", HeaderValue::from_static("key hush-hush-hush!"));
    headers.append("x-a", HeaderValue::from_static("plain"));
    headers.append("x-hush-hush-hush", HeaderValue::from_static("1"));
    scrubber().headers(&mut headers);
    let values: Vec<_> = headers.get_all("x-a").iter().collect();
    assert_eq!(values, ["key [secret]!", "plain"]);
    assert_eq!(headers.len(), 2);
}

#[test]
fn without_values_nothing_is_touched() {
    let none = Scrubber::new(std::iter::empty());
    assert!(!none.is_needed());
    assert_eq!(none.text("abc"), "abc");
    let body = Bytes::from_static(b"abc");
    assert_eq!(none.body(body.clone()).as_ptr(), body.as_ptr(), "it is not even copied");
    let other = Bytes::from_static(b"nothing of a secret");
    assert_eq!(scrubber().body(other.clone()).as_ptr(), other.as_ptr());
}

/// A prefilter, or transitions that depend on how much of a form was found, would show by their time what begins a form.
#[test]
fn a_search_takes_the_same_steps_whatever_it_finds() {
    let Scrubber(Some(finder)) = scrubber() else { panic!("there are values") };
    assert_eq!(finder.kind(), AhoCorasickKind::DFA);
    let mut random = fastrand::Rng::with_seed(1);
    let mut text = |length: usize| (0..length).map(|_| random.alphanumeric()).collect::<String>();
    for values in
        [vec![text(8 << 10)], (0..100).map(|_| text(40)).collect(), (0..1_000).map(|_| text(40)).collect()]
    {
        let scrubber = Scrubber::new(values.into_iter());
        assert!((1..32 << 20).contains(&scrubber.memory()), "{}", scrubber.memory());
    }
}
