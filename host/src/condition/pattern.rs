//! Regular expressions: part of the condition, compiled when it is read, and weighed. Matching goes over the text once,
//! but at each byte it may have to keep every place of the pattern in mind.

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Hir, HirKind};

/// The largest compiled pattern, in bytes.
const LARGEST: usize = 1 << 20;
/// The deepest pattern, in groups and repetitions.
const DEEPEST: u32 = 50;

/// A regular expression and what it costs.
pub(super) struct Pattern {
    regex: Regex,
    /// In how many places of the pattern a match can be at once.
    places: u64,
}

impl Pattern {
    /// Compiles a pattern.
    ///
    /// # Errors
    ///
    /// It is no pattern, or too large a one.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        let parsed = ParserBuilder::new().nest_limit(DEEPEST).build().parse(text);
        let places = places(&parsed.map_err(|error| error.to_string())?);
        let regex =
            RegexBuilder::new(text).nest_limit(DEEPEST).size_limit(LARGEST).dfa_size_limit(LARGEST).build();
        Ok(Self { regex: regex.map_err(|error| error.to_string())?, places })
    }

    /// How many steps it takes at most to search a text of so many bytes.
    pub(super) fn steps(&self, bytes: usize) -> u64 {
        (bytes as u64).saturating_mul(self.places.saturating_add(1)) / super::evaluate::PLACES_A_STEP
    }

    pub(super) fn is_match(&self, text: &str) -> bool {
        self.regex.is_match(text)
    }
}

/// The bytes and classes of a pattern, each as often as it is repeated.
fn places(pattern: &Hir) -> u64 {
    match pattern.kind() {
        HirKind::Empty => 0,
        HirKind::Look(_) => 1,
        HirKind::Literal(literal) => literal.0.len() as u64,
        HirKind::Class(_) => pattern.properties().maximum_len().unwrap_or(4) as u64,
        HirKind::Repetition(repeated) => {
            let times = repeated.max.unwrap_or(repeated.min.max(1));
            places(&repeated.sub).saturating_mul(u64::from(times))
        }
        HirKind::Capture(group) => places(&group.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(places).fold(0, u64::saturating_add)
        }
    }
}
