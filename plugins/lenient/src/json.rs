//! JSON as senders write it. Values that JSON does not have, or that its readers would lose, are mended in the text before it
//! is read: half a surrogate pair, bytes that are not UTF-8, control characters as they are, numbers that no number holds.
//! What is not JSON otherwise stays so, and is refused by its reader.

mod number;
#[cfg(test)]
mod tests;
mod text;

use std::borrow::Cow;
use std::ops::Range;

use serde_json::Value;

use super::{MOST_LINES, inside};

/// As deep as its reader goes: what is deeper is refused.
const MOST_LEVELS: usize = 128;
/// What some editors put before a text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads a document. Beside it, a line for each value that was mended, which begins with its path.
///
/// # Errors
///
/// The document is not JSON; the place is one of the mended text.
pub fn read(body: &[u8]) -> Result<(Value, Vec<String>), serde_json::Error> {
    let (text, odd) = mended(body);
    Ok((serde_json::from_slice(&text)?, odd))
}

/// The text, mended where that is needed, and a line for each value that was.
fn mended(body: &[u8]) -> (Cow<'_, [u8]>, Vec<String>) {
    let mut mender =
        Mender { body, at: 0, taken: 0, mended: Vec::new(), levels: Vec::new(), odd: Vec::new() };
    mender.run();
    if mender.taken == 0 {
        return (body.into(), Vec::new());
    }
    mender.mended.extend(&body[mender.taken..]);
    (mender.mended.into(), mender.odd)
}

/// Goes over a text once, and copies only what is around the values that it mends.
struct Mender<'a> {
    body: &'a [u8],
    at: usize,
    /// How much of the body is in `mended`.
    taken: usize,
    mended: Vec<u8>,
    levels: Vec<Level>,
    odd: Vec<String>,
}

/// A list or an object that is open.
enum Level {
    List { index: usize },
    Object { key: Range<usize>, is_at_key: bool },
}

impl Mender<'_> {
    fn run(&mut self) {
        if self.body.starts_with(BYTE_ORDER_MARK) {
            self.at = BYTE_ORDER_MARK.len();
            self.replace(0..self.at, "");
        }
        while let Some(byte) = self.body.get(self.at) {
            match byte {
                b'{' => self.open(Level::Object { key: 0..0, is_at_key: true }),
                b'[' => self.open(Level::List { index: 0 }),
                b'}' | b']' => _ = self.levels.pop(),
                b',' => self.next_entry(),
                b'"' => {
                    self.text();
                    continue;
                }
                b'-' | b'0'..=b'9' | b'N' | b'I' => {
                    self.number();
                    continue;
                }
                _ => {}
            }
            self.at += 1;
            if self.levels.len() > MOST_LEVELS {
                return;
            }
        }
    }

    fn open(&mut self, level: Level) {
        self.levels.push(level);
    }

    fn next_entry(&mut self) {
        match self.levels.last_mut() {
            Some(Level::List { index }) => *index += 1,
            Some(Level::Object { is_at_key, .. }) => *is_at_key = true,
            None => {}
        }
    }

    /// Puts something else in the place of a part of the body.
    fn replace(&mut self, part: Range<usize>, with: &str) {
        self.mended.extend(&self.body[self.taken..part.start]);
        self.mended.extend(with.as_bytes());
        self.taken = part.end;
    }

    fn note(&mut self, what: &str) {
        if self.odd.len() < MOST_LINES {
            let path = self.path();
            self.odd.push(if path.is_empty() { what.to_owned() } else { format!("{path}: {what}") });
        }
    }

    /// Where the value stands that is read now.
    fn path(&self) -> String {
        self.levels.iter().fold(String::new(), |at, level| match level {
            Level::List { index } => format!("{at}[{index}]"),
            Level::Object { key, .. } => inside(&at, &String::from_utf8_lossy(&self.body[key.clone()])),
        })
    }
}
