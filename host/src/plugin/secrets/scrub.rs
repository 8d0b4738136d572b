//! Keeping the values of secrets out of what comes back: a server may repeat what it was sent, in a header, an error page
//! or an echo. Every form in which a value goes out, and those that servers commonly make of it, is replaced, also where
//! it is cut over the parts of a body. What a server encrypts, compresses or cuts out of it cannot be found.

use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use bytes::{Bytes, BytesMut};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

use super::body::json_escaped;
use super::fill::{PATH, QUERY};

/// What stands in place of a value.
const REPLACEMENT: &str = "[secret]";
/// Shorter values are not searched for: they would be found in every other word.
const SHORTEST: usize = 4;
/// The shortest part of a base64 text that is searched for by itself.
const SHORTEST_PART: usize = 8;

/// Finds the values of some secrets in all their forms. Cheap to clone.
#[derive(Clone, Default)]
pub(in crate::plugin) struct Scrubber(Option<Arc<Forms>>);

struct Forms {
    finder: AhoCorasick,
    forms: Vec<Vec<u8>>,
    longest: usize,
}

impl Scrubber {
    /// For these values.
    pub(super) fn new(values: impl Iterator<Item = String>) -> Self {
        let values = values.filter(|value| value.len() >= SHORTEST);
        let forms: BTreeSet<_> = values.flat_map(|value| forms(&value)).collect();
        let forms: Vec<_> = forms.into_iter().map(String::into_bytes).collect();
        let Some(longest) = forms.iter().map(Vec::len).max() else { return Self::default() };
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(AhoCorasickKind::ContiguousNFA))
            .ascii_case_insensitive(true)
            .build(&forms)
            .expect("the forms of secrets are few and short");
        Self(Some(Arc::new(Forms { finder, forms, longest })))
    }

    /// Whether there is anything to look for.
    pub(in crate::plugin) fn is_needed(&self) -> bool {
        self.0.is_some()
    }

    /// A text without values.
    pub(in crate::plugin) fn text(&self, text: &str) -> String {
        match &self.0 {
            None => text.to_owned(),
            Some(forms) => String::from_utf8_lossy(&forms.replaced(text.as_bytes())).into_owned(),
        }
    }

    /// Removes values from headers, and headers whose name is one.
    pub(in crate::plugin) fn headers(&self, headers: &mut HeaderMap) {
        if let Some(forms) = &self.0 {
            forms.clean(headers);
        }
    }

    /// For one body that comes in parts.
    pub(in crate::plugin) fn start(&self) -> Scrubbing {
        Scrubbing { forms: self.0.clone(), held: BytesMut::new() }
    }
}

/// The search through one body. What may be the beginning of a value is held back until more is known.
pub(in crate::plugin) struct Scrubbing {
    forms: Option<Arc<Forms>>,
    held: BytesMut,
}

impl Scrubbing {
    /// Takes the next part and gives what is certain so far.
    pub(in crate::plugin) fn push(&mut self, part: Bytes) -> Bytes {
        let Some(forms) = &self.forms else { return part };
        self.held.extend_from_slice(&part);
        let open = forms.open_end(&self.held);
        let (clean, end) = forms.replaced_until(&self.held, open);
        _ = self.held.split_to(end);
        clean.into()
    }

    /// What was held back; to be called at the end of the body.
    pub(in crate::plugin) fn finish(&mut self) -> Bytes {
        let rest = self.held.split().freeze();
        self.forms.as_ref().map_or_else(Bytes::new, |forms| forms.replaced(&rest).into())
    }

    /// Removes values from the trailers of the body.
    pub(in crate::plugin) fn headers(&self, trailers: &mut HeaderMap) {
        if let Some(forms) = &self.forms {
            forms.clean(trailers);
        }
    }

    /// Whether nothing is held back.
    pub(in crate::plugin) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// Whether what goes in comes out as it is.
    pub(in crate::plugin) fn is_idle(&self) -> bool {
        self.forms.is_none()
    }
}

impl Forms {
    fn clean(&self, headers: &mut HeaderMap) {
        let telling = |name: &&HeaderName| self.finder.is_match(name.as_str());
        for name in headers.keys().filter(telling).cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
        for value in headers.values_mut().filter(|value| self.finder.is_match(value.as_bytes())) {
            let replaced = HeaderValue::from_bytes(&self.replaced(value.as_bytes()));
            *value = replaced.unwrap_or(HeaderValue::from_static(REPLACEMENT));
        }
    }

    fn replaced(&self, bytes: &[u8]) -> Vec<u8> {
        self.replaced_until(bytes, bytes.len()).0
    }

    /// Replaces what begins before `open`, and gives where it stopped.
    fn replaced_until(&self, bytes: &[u8], open: usize) -> (Vec<u8>, usize) {
        let mut clean = Vec::with_capacity(bytes.len());
        let mut end = 0;
        for found in self.finder.find_iter(bytes).take_while(|found| found.start() < open) {
            clean.extend_from_slice(&bytes[end..found.start()]);
            clean.extend_from_slice(REPLACEMENT.as_bytes());
            end = found.end();
        }
        let open = open.max(end);
        clean.extend_from_slice(&bytes[end..open]);
        (clean, open)
    }

    /// Where the end begins that may be the beginning of a form.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let earliest = (bytes.len() + 1).saturating_sub(self.longest);
        (earliest..bytes.len()).find(|start| self.may_begin(&bytes[*start..])).unwrap_or(bytes.len())
    }

    fn may_begin(&self, end: &[u8]) -> bool {
        let begins = |form: &Vec<u8>| form.len() > end.len() && form[..end.len()].eq_ignore_ascii_case(end);
        self.forms.iter().any(begins)
    }
}

/// A value as it is, percent-encoded, in JSON and in base64.
fn forms(value: &str) -> Vec<String> {
    let mut forms = vec![value.to_owned()];
    forms.extend([PATH, QUERY, NON_ALPHANUMERIC].map(|set| utf8_percent_encode(value, set).to_string()));
    forms.push(form_urlencoded::byte_serialize(value.as_bytes()).collect());
    forms.extend(json_forms(value));
    for engine in [STANDARD, URL_SAFE] {
        forms.push(engine.encode(value));
        forms.extend(
            (0..3).filter_map(|offset| base64_part(&engine.encode(shifted(value, offset)), value, offset)),
        );
    }
    forms
}

/// JSON as serializers of several languages write it: some escape `/`, some `&`, `<` and `>`, some all but ASCII.
fn json_forms(value: &str) -> [String; 3] {
    let plain = json_escaped(value);
    let slashes = plain.replace('/', "\\/");
    let careful = plain.chars().fold(String::new(), |mut text, c| {
        match c {
            '&' | '<' | '>' | '\'' => text.push_str(&format!("\\u{:04x}", u32::from(c))),
            c if c.is_ascii() => text.push(c),
            c => text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
        }
        text
    });
    [plain, slashes, careful]
}

/// The value behind other bytes.
fn shifted(value: &str, by: usize) -> Vec<u8> {
    [vec![0; by], value.as_bytes().to_vec()].concat()
}

/// What of a base64 text depends on the value alone, wherever in a longer text the value stands: each character holds
/// six bits, and those at its borders share theirs with its neighbours.
fn base64_part(encoded: &str, value: &str, offset: usize) -> Option<String> {
    let part = (offset * 8).div_ceil(6)..(offset + value.len()) * 8 / 6;
    (part.len() >= SHORTEST_PART).then(|| encoded[part].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUE: &str = "T0/b+\"ä&c d";

    fn scrubber() -> Scrubber {
        Scrubber::new(["hush-hush".to_owned(), "hush-hush-more".to_owned(), VALUE.to_owned()].into_iter())
    }

    fn streamed(text: &[u8], size: usize) -> String {
        let mut scrubbing = scrubber().start();
        let mut clean = BytesMut::new();
        for part in text.chunks(size) {
            clean.extend_from_slice(&scrubbing.push(Bytes::copy_from_slice(part)));
        }
        clean.extend_from_slice(&scrubbing.finish());
        String::from_utf8(clean.to_vec()).unwrap()
    }

    #[test]
    fn a_value_is_replaced_in_every_form() {
        let table = [
            "hush-hush",
            "Hush-HUSH",
            "aHVzaC1odXNo",
            VALUE,
            "T0/b+%22%C3%A4&c%20d",
            "T0%2Fb%2B%22%C3%A4%26c%20d",
            "T0%2fb%2b%22%c3%a4%26c%20d",
            "T0%2Fb%2B%22%C3%A4%26c+d",
            "T0/b+\\\"ä&c d",
            "T0\\/b+\\\"ä&c d",
            "T0/b+\\\"\\u00e4\\u0026c d",
        ];
        for form in table {
            assert_eq!(scrubber().text(&format!("<{form}>")), "<[secret]>", "{form}");
        }
    }

    #[test]
    fn base64_is_found_wherever_the_value_stands_in_it() {
        for prefix in ["", "a", "ab", "abc", "user:"] {
            let encoded = STANDARD.encode(format!("{prefix}hush-hush-more{prefix}"));
            let clean = scrubber().text(&encoded);
            assert!(clean.contains(REPLACEMENT), "{prefix}: {encoded} became {clean}");
            let inner = STANDARD.encode("hush-hush-more");
            assert!(!clean.contains(&inner[2..10]), "{clean}");
        }
    }

    #[test]
    fn a_value_that_is_cut_over_parts_is_replaced_whatever_the_cut() {
        let text = "hush hush-hush, hush-hush-mor, hush-hush-more. hush-hushush-hush; hush-hus";
        let expected = "hush [secret], [secret]-mor, [secret]. [secret]ush-hush; hush-hus";
        for size in 1..=text.len() {
            assert_eq!(streamed(text.as_bytes(), size), expected, "in parts of {size}");
        }
    }

    #[test]
    fn what_cannot_be_the_beginning_of_a_value_is_not_held_back() {
        let mut scrubbing = scrubber().start();
        assert_eq!(scrubbing.push("event: one\n\n".into()), "event: one\n\n");
        assert_eq!(scrubbing.push("event: hush-".into()), "event: ");
        assert!(!scrubbing.is_empty());
        assert_eq!(scrubbing.push("ing\n".into()), "hush-ing\n");
    }

    #[test]
    fn headers_lose_values_and_names_that_are_values() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("key hush-hush!"));
        headers.append("x-a", HeaderValue::from_static("plain"));
        headers.append("x-hush-hush", HeaderValue::from_static("1"));
        scrubber().headers(&mut headers);
        let values: Vec<_> = headers.get_all("x-a").iter().collect();
        assert_eq!(values, ["key [secret]!", "plain"]);
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn without_values_nothing_is_touched() {
        let none = Scrubber::new(["abc".to_owned()].into_iter());
        assert!(!none.is_needed());
        assert_eq!(none.text("abc"), "abc");
        assert_eq!(none.start().push("abc".into()), "abc");
    }
}
