//! Numbers: those of which no number of 64 bits has every digit, and what is not a number.

use serde::de::IgnoredAny;
use serde_json::Number;

use super::{Level, Mender};
use crate::excerpt;

/// What is shorter, and has no exponent, fits.
const LONG: usize = 19;

impl Mender<'_> {
    /// Goes over the number that begins here.
    pub(super) fn number(&mut self) {
        let (body, start) = (self.body, self.at);
        let is_of_number = |byte: &&u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let end = start + body[start..].iter().take_while(is_of_number).count();
        // Letters and digits are UTF-8.
        let token = std::str::from_utf8(&body[start..end]).unwrap_or_default();
        let is_key = matches!(self.levels.last(), Some(Level::Object { is_at_key: true, .. }));
        if let Some(what) = fault(token).filter(|_| !is_key) {
            let line = format!("{} {what}", excerpt(token));
            self.note(&line);
            self.replace(start..end, &format!("\"{token}\""));
        }
        self.at = end;
    }
}

/// Why a number is kept as a text.
fn fault(token: &str) -> Option<&'static str> {
    if matches!(token, "NaN" | "Infinity" | "-Infinity") {
        return Some("is not a number: it was kept as a text");
    }
    if token.len() < LONG && !token.contains(['e', 'E']) {
        return None;
    }
    let is_json = || serde_json::from_str::<IgnoredAny>(token).is_ok();
    match serde_json::from_str::<Number>(token) {
        Ok(number) if number.is_f64() && !token.contains(['.', 'e', 'E']) => {
            Some("does not fit an integer of 64 bits: it was kept as a text, with its digits")
        }
        Err(_) if is_json() => Some("does not fit a number of 64 bits: it was kept as a text"),
        _ => None,
    }
}
