//! Texts: half a surrogate pair, bytes that are not UTF-8 and control characters as they are.

use std::ops::Range;

use super::{Level, Mender};

/// What stands for a character that is not one.
const REPLACEMENT: &str = "\u{fffd}";

/// What one text holds that JSON does not have.
#[derive(Default)]
struct Faults {
    surrogates: usize,
    bytes: usize,
    controls: usize,
}

impl Mender<'_> {
    /// Goes over the text that begins here.
    pub(super) fn text(&mut self) {
        let (start, mut faults) = (self.at + 1, Faults::default());
        self.at = start;
        while let Some(byte) = self.body.get(self.at) {
            match byte {
                b'"' => break,
                b'\\' => self.escape(&mut faults),
                0x80.. => self.not_ascii(&mut faults),
                0..=0x1f => self.control(*byte, &mut faults),
                _ => self.at += 1,
            }
        }
        self.end_text(start..self.at, &faults);
        self.at += 1;
    }

    /// A text that is a key names what is read next.
    fn end_text(&mut self, text: Range<usize>, faults: &Faults) {
        if let Some(Level::Object { key, is_at_key }) = self.levels.last_mut()
            && std::mem::take(is_at_key)
        {
            *key = text;
        }
        let lines = [
            (faults.surrogates, "half a character (a lone surrogate such as \\ud83d) was read as U+FFFD"),
            (faults.bytes, "bytes that are not UTF-8 were read as U+FFFD"),
            (
                faults.controls,
                "control characters that JSON writes as \\n, \\t or \\u0007 were written as they are",
            ),
        ];
        for (_, line) in lines.into_iter().filter(|(count, _)| *count > 0) {
            self.note(line);
        }
    }

    /// `\ud83d` without its other half is no character.
    fn escape(&mut self, faults: &mut Faults) {
        let unit = self.unit(self.at);
        let length = match unit {
            None => 2,
            Some(0xd800..=0xdbff) if matches!(self.unit(self.at + 6), Some(0xdc00..=0xdfff)) => 12,
            Some(0xd800..=0xdfff) => {
                faults.surrogates += 1;
                self.replace(self.at..self.at + 6, REPLACEMENT);
                6
            }
            Some(_) => 6,
        };
        self.at = (self.at + length).min(self.body.len());
    }

    /// The code unit that `\u` and four digits stand for, if they are there.
    fn unit(&self, at: usize) -> Option<u16> {
        let digits = self.body.get(at..at + 6)?.strip_prefix(b"\\u")?;
        let digits = std::str::from_utf8(digits).ok()?;
        let is_hex = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
        u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
    }

    fn not_ascii(&mut self, faults: &mut Faults) {
        let body = self.body;
        let length = body[self.at..].iter().take_while(|byte| !byte.is_ascii()).count();
        for chunk in body[self.at..self.at + length].utf8_chunks() {
            self.at += chunk.valid().len();
            let bad = chunk.invalid().len();
            if bad > 0 {
                faults.bytes += 1;
                self.replace(self.at..self.at + bad, REPLACEMENT);
                self.at += bad;
            }
        }
    }

    fn control(&mut self, byte: u8, faults: &mut Faults) {
        faults.controls += 1;
        let written = match byte {
            b'\n' => "\\n",
            b'\r' => "\\r",
            b'\t' => "\\t",
            _ => REPLACEMENT,
        };
        self.replace(self.at..self.at + 1, written);
        self.at += 1;
    }
}
