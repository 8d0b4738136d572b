//! How text of others is shown to people: what would move the cursor, begin a line of its own or turn the direction of the text
//! around it is escaped as JSON writes it, so that what is JSON stays so. No I/O.

use std::borrow::Cow;
use std::fmt::Write;

/// Control characters, line breaks included, those that reorder the text around them (Unicode Bidirectional Algorithm,
/// section 2), and those that no reader sees, so that two names look the same. The joiners of emoji and scripts are none of these.
pub fn is_unprintable(c: char) -> bool {
    let reorders =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_invisible = matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}');
    c.is_control() || reorders || is_invisible
}

/// A text as one line.
pub fn line(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unprintable) {
        return text.into();
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => line.push_str("\\n"),
            '\r' => line.push_str("\\r"),
            '\t' => line.push_str("\\t"),
            c if is_unprintable(c) => _ = write!(line, "\\u{:04x}", u32::from(c)),
            c => line.push(c),
        }
    }
    line.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_and_keeps_its_direction() {
        assert_eq!(line("grün → 👩‍🚒 ok"), "grün → 👩‍🚒 ok");
        assert_eq!(line("a\nb\u{1b}[31m\u{202e}c\t\u{85}"), "a\\nb\\u001b[31m\\u202ec\\t\\u0085");
        for c in '\0'..=char::MAX {
            assert!(!line(&format!("a{c}b")).contains(is_unprintable), "{c:?}");
        }
    }

    #[test]
    fn what_is_json_stays_the_same_json() {
        let nasty: String = ('\0'..='\u{ffff}').filter(|c| is_unprintable(*c)).collect();
        let text = serde_json::to_string(&nasty).unwrap();
        assert_eq!(serde_json::from_str::<String>(&line(&text)).unwrap(), nasty);
    }
}
