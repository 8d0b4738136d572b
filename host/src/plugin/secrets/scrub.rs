//! Keeping the values of secrets out of what comes back: a server may repeat what it was sent, in a header, an error page
//! or an echo. Every form of a value in `forms` is replaced. A text is searched as a whole and never in parts: what is
//! held back at the end of a part would show whether that end begins a value.

use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::forms::forms;

/// The text in place of a value.
const REPLACEMENT: &str = "[secret]";
/// Up to so many bytes of forms are searched for by a table, which takes some 512 bytes for each of them. A token of 40
/// characters has 500 bytes of forms.
const MOST_IN_TABLE: usize = 64 << 10;

/// Finds some texts in all their forms. Cheap to clone.
#[derive(Clone, Default)]
pub struct Scrubber(Option<Arc<AhoCorasick>>);

impl Scrubber {
    /// For these texts.
    pub(super) fn new(texts: impl Iterator<Item = String>) -> Self {
        let forms: BTreeSet<_> = texts.flat_map(|text| forms(&text)).collect();
        if forms.is_empty() {
            return Self::default();
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .kind(Some(kind(forms.iter().map(Vec::len).sum())))
            // It would skip what cannot begin a form, and so show by its time what can.
            .prefilter(false)
            .ascii_case_insensitive(true)
            .build(forms)
            .expect("the values of all secrets are at most 256 KiB together, their forms some 12 times that");
        Self(Some(Arc::new(finder)))
    }

    /// Whether there is anything to look for.
    pub(in crate::plugin) fn is_needed(&self) -> bool {
        self.0.is_some()
    }

    /// How much memory it takes, in bytes.
    pub(super) fn memory(&self) -> usize {
        self.0.as_ref().map_or(0, |finder| finder.memory_usage())
    }

    /// A text without values.
    pub(in crate::plugin) fn text(&self, text: &str) -> String {
        match self.replaced(text.as_bytes()) {
            None => text.to_owned(),
            Some(clean) => String::from_utf8_lossy(&clean).into_owned(),
        }
    }

    /// A whole body without values.
    pub(in crate::plugin) fn body(&self, body: Bytes) -> Bytes {
        self.replaced(&body).map_or(body, Bytes::from)
    }

    /// Removes values from headers, and headers whose name is one.
    pub(in crate::plugin) fn headers(&self, headers: &mut HeaderMap) {
        let Some(finder) = &self.0 else { return };
        let is_form = |name: &&HeaderName| finder.is_match(name.as_str());
        for name in headers.keys().filter(is_form).cloned().collect::<Vec<_>>() {
            headers.remove(name);
        }
        for value in headers.values_mut() {
            let Some(clean) = self.replaced(value.as_bytes()) else { continue };
            *value = HeaderValue::from_bytes(&clean).unwrap_or(HeaderValue::from_static(REPLACEMENT));
        }
    }

    /// The bytes without values, if they hold one.
    fn replaced(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let finder = self.0.as_ref().filter(|finder| finder.is_match(bytes))?;
        let mut clean = Vec::with_capacity(bytes.len());
        finder.replace_all_with_bytes(bytes, &mut clean, |_, _, clean| {
            clean.extend_from_slice(REPLACEMENT.as_bytes());
            true
        });
        Some(clean)
    }
}

/// A table costs the same time for each byte, whatever came before it; how long the smaller kind takes depends on how much of
/// a form was found.
fn kind(length: usize) -> AhoCorasickKind {
    match length {
        0..=MOST_IN_TABLE => AhoCorasickKind::DFA,
        _ => AhoCorasickKind::ContiguousNFA,
    }
}

#[cfg(test)]
mod tests;
