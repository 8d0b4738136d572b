//! How text of others is shown to people: what would move the cursor, begin a line of its own or turn the direction of the text
//! around it is escaped as JSON writes it, so that what is JSON stays so. No I/O.

use std::borrow::Cow;
use std::fmt::Write;

/// How many warnings about one request are kept, and the longest, in characters: every alert of it carries them.
const MOST_WARNINGS: usize = 20;
const LONGEST_WARNING: usize = 256;

/// Control characters, line breaks included, those that reorder the text around them (Unicode Bidirectional Algorithm,
/// section 2), and those that no reader sees, so that two names look the same. The joiners of emoji and scripts are none of these.
pub fn is_unprintable(c: char) -> bool {
    let reorders =
        matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let is_invisible = matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}' | '\u{2060}'..='\u{2064}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
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
            c if is_unprintable(c) => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| _ = write!(line, "\\u{unit:04x}"));
            }
            c => line.push(c),
        }
    }
    line.into()
}

/// Warnings about a request, as many and as long as each alert of it can carry.
pub fn warnings(mut lines: Vec<String>) -> Vec<String> {
    let more = lines.len().saturating_sub(MOST_WARNINGS);
    lines.truncate(MOST_WARNINGS);
    for text in &mut lines {
        let short = line(middle_cut(text, LONGEST_WARNING).trim_end()).into_owned();
        *text = short;
    }
    lines.extend((more > 0).then(|| format!("{more} more warnings are not listed")));
    lines
}

/// A text of at most so many characters: where a path is long, what is wrong at it stands at the end.
fn middle_cut(text: &str, most: usize) -> Cow<'_, str> {
    let length = text.chars().count();
    if length <= most {
        return text.into();
    }
    let at = |index: usize| text.char_indices().nth(index).map_or(text.len(), |(at, _)| at);
    let kept = most.saturating_sub(1) / 2;
    format!("{}…{}", &text[..at(kept)], &text[at(length - kept)..]).into()
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
    fn warnings_are_few_short_lines() {
        let bounded = warnings(vec!["ä\n".repeat(400); 50]);
        assert_eq!((bounded.len(), bounded[20].as_str()), (21, "30 more warnings are not listed"));
        assert!(bounded[0].starts_with("ä\\nä") && bounded[0].contains('…'), "{}", bounded[0]);
        let long = format!("alerts[0].{}: is not a number", "context.".repeat(90));
        let cut = &warnings(vec![long])[0];
        assert!(cut.starts_with("alerts[0].context.") && cut.ends_with(".: is not a number"), "{cut}");
        assert!((LONGEST_WARNING - 1..=LONGEST_WARNING).contains(&cut.chars().count()), "{cut}");
        assert_eq!(warnings(vec!["a: b".to_owned()]), ["a: b"]);
    }

    #[test]
    fn what_steers_text_or_is_not_seen_is_written_out() {
        for (text, shown) in [
            ("\0\u{1}\u{1b}\u{1f}", r"\u0000\u0001\u001b\u001f"),
            ("\u{7f}\u{80}\u{9b}\u{9f}", r"\u007f\u0080\u009b\u009f"),
            ("\u{61c}\u{200e}\u{200f}", r"\u061c\u200e\u200f"),
            ("\u{2028}\u{2029}", r"\u2028\u2029"),
            ("\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}", r"\u202a\u202b\u202c\u202d\u202e"),
            ("\u{2066}\u{2067}\u{2068}\u{2069}", r"\u2066\u2067\u2068\u2069"),
            ("\u{ad}\u{180e}\u{200b}\u{feff}", r"\u00ad\u180e\u200b\ufeff"),
            ("\u{2060}\u{2061}\u{2062}\u{2063}\u{2064}", r"\u2060\u2061\u2062\u2063\u2064"),
            ("\u{fff9}\u{fffa}\u{fffb}", r"\ufff9\ufffa\ufffb"),
            ("\u{e0001}\u{e0041}", r"\udb40\udc01\udb40\udc41"),
        ] {
            assert_eq!(line(text), shown);
            assert!(text.chars().all(is_unprintable), "{shown}");
        }
        let joiners = "\u{200c}\u{200d}";
        assert_eq!(line(joiners), joiners);
    }

    #[test]
    fn what_is_json_stays_the_same_json() {
        let nasty: String = ('\0'..=char::MAX).filter(|c| is_unprintable(*c)).collect();
        let text = serde_json::to_string(&nasty).unwrap();
        assert_eq!(serde_json::from_str::<String>(&line(&text)).unwrap(), nasty);
    }
}
