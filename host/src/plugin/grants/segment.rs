//! One segment of a path, and what the most careless server could take it for. A server that decodes twice, reads overlong UTF-8,
//! cuts at a NUL or trims spaces sees another path than the one that was compared with a grant: what could be such a path is covered
//! by no wildcard.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// How often a segment may be percent-encoded.
const MOST_LAYERS: usize = 4;
/// What ends a name for some server: a path parameter, a query, a fragment, a stream of a file.
const ENDS: [char; 4] = [';', '?', '#', ':'];

/// One segment of the path of a grant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// Compared after percent-decoding.
    Literal(Vec<u8>),
    One,
    Rest,
}

impl Segment {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        match text {
            "*" => Ok(Segment::One),
            "**" => Ok(Segment::Rest),
            _ if text.contains('*') => {
                Err(format!("\"{text}\" mixes * with text; * stands for one whole segment"))
            }
            _ if !is_in_place(text.as_bytes()) => {
                Err(format!("\"{text}\" is not a plain path segment; write the path it leads to"))
            }
            _ => Ok(Segment::Literal(decode(text.as_bytes()).into_owned())),
        }
    }

    /// Whether a segment of a URL's path is covered.
    pub(super) fn matches(&self, segment: &[u8]) -> bool {
        match self {
            Segment::Literal(literal) => *literal == *decode(segment),
            Segment::One => is_one(segment),
            Segment::Rest => is_in_place(segment),
        }
    }
}

/// Whether every server sees one segment with a name in it.
pub(super) fn is_one(segment: &[u8]) -> bool {
    readings(segment).is_some_and(|readings| {
        let is_name = |text: &String| !text.contains('/') && !is_empty(text) && !is_dots(text);
        readings.iter().all(is_name)
    })
}

/// Whether every server stays where it is or goes down.
pub(super) fn is_in_place(segment: &[u8]) -> bool {
    readings(segment).is_some_and(|readings| !readings.iter().any(|text| text.split('/').any(is_dots)))
}

/// The segment after each round of decoding, as the most careless server reads it; `None` if it is not text, or encoded more often
/// than anybody needs.
fn readings(segment: &[u8]) -> Option<Vec<String>> {
    let mut readings = Vec::new();
    let mut encoded = Cow::Borrowed(segment);
    for _ in 0..=MOST_LAYERS {
        // Overlong forms of UTF-8 are not UTF-8.
        let text = std::str::from_utf8(&encoded).ok()?;
        if text.contains(char::is_control) || has_odd_escape(text) {
            return None;
        }
        readings.push(text.chars().map(careless).collect());
        let decoded = decode(&encoded).into_owned();
        if decoded == *encoded {
            return Some(readings);
        }
        encoded = decoded.into();
    }
    None
}

fn decode(text: &[u8]) -> Cow<'_, [u8]> {
    percent_decode(text).into()
}

/// `%u002e` and its like, which some servers decode.
fn has_odd_escape(text: &str) -> bool {
    text.split('%').skip(1).any(|rest| {
        let mut rest = rest.chars();
        matches!(rest.next(), Some('u' | 'U')) && rest.take(4).filter(char::is_ascii_hexdigit).count() == 4
    })
}

/// Separators, and what becomes one or a dot where a server brings Unicode into a simpler form.
fn careless(c: char) -> char {
    match c {
        '\\' | '\u{2044}' | '\u{2215}' | '\u{2216}' | '\u{29f5}' | '\u{29f8}' | '\u{29f9}' | '\u{fe68}'
        | '\u{ff0f}' | '\u{ff3c}' => '/',
        '\u{2024}'..='\u{2026}'
        | '\u{3002}'
        | '\u{fe12}'
        | '\u{fe19}'
        | '\u{fe30}'
        | '\u{fe52}'
        | '\u{ff0e}'
        | '\u{ff61}' => '.',
        // A space, where a server takes a path for a form.
        '+' => ' ',
        c => c,
    }
}

/// What can be seen of a segment that is cut off at `ends`.
fn visible(text: &str, ends: &[char]) -> impl Iterator<Item = char> {
    let text = text.split(ends).next().unwrap_or_default();
    text.chars().filter(|c| !c.is_whitespace() && !is_invisible(*c))
}

/// No name, at least where path parameters are cut off.
fn is_empty(text: &str) -> bool {
    visible(text, &[';']).next().is_none()
}

/// A step up or in place, however many dots it has.
fn is_dots(text: &str) -> bool {
    let mut visible = visible(text, &ENDS).peekable();
    visible.peek().is_some() && visible.all(|c| c == '.')
}

fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests;
