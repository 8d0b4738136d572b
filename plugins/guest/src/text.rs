//! Text: on one line, cut to a length, and escaped so that a service shows it as it is.
//!
//! What goes to services is measured in UTF-16 code units. Some count those, others characters; whatever fits by this
//! measure fits by the other one too.

/// Writes one character so that the service shows it, and reads nothing into it.
pub type Escape = fn(char, &mut String);

/// From this limit on there is room to say how much was cut.
const ROOM_FOR_NOTE: usize = 200;

/// For text in which no character means anything.
pub fn plain(character: char, out: &mut String) {
    out.push(character);
}

/// For plain text where a control character would be refused, or be seen by nobody: it shows as nothing.
pub fn printable(character: char, out: &mut String) {
    if !character.is_control() || character == '\n' {
        out.push(character);
    }
}

/// For text between the quotes of JSON.
pub fn json(character: char, out: &mut String) {
    match character {
        '"' | '\\' => out.extend(['\\', character]),
        '\n' => out.push_str("\\n"),
        control if control < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(control))),
        other => out.push(other),
    }
}

/// For text and attribute values of HTML.
pub fn html(character: char, out: &mut String) {
    match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        '"' => out.push_str("&quot;"),
        other => out.push(other),
    }
}

/// Whether nothing of the text can be seen. Services refuse such a text where they refuse an empty one.
pub fn is_blank(text: &str) -> bool {
    text.chars().all(is_unseen)
}

/// White space, control characters, and what has no width and no shape (Unicode's `Default_Ignorable_Code_Point`).
fn is_unseen(character: char) -> bool {
    let has_no_shape = matches!(
        character,
        '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{2800}' | '\u{3164}'
            | '\u{feff}' | '\u{ffa0}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
    );
    has_no_shape || character.is_whitespace() || character.is_control()
}

/// How long services may take the text to be.
pub fn width(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The text without control characters and runs of white space, so that it can neither break a line nor forge one.
pub fn one_line(text: &str) -> String {
    short_line(text, usize::MAX)
}

/// The same, cut to `limit` characters; no more of the text is read than that takes.
pub fn short_line(text: &str, limit: usize) -> String {
    let (mut line, mut length, mut is_apart) = (String::new(), 0, false);
    for c in text.chars() {
        if c.is_control() || c.is_whitespace() {
            is_apart = true;
            continue;
        }
        if std::mem::take(&mut is_apart) && length > 0 {
            line.push(' ');
            length += 1;
        }
        line.push(c);
        length += 1;
        if length > limit {
            return cut(&line, limit);
        }
    }
    line
}

/// At most `limit` characters of the text; `…` stands for what was cut.
pub fn cut(text: &str, limit: usize) -> String {
    if text.char_indices().nth(limit).is_none() {
        return text.to_owned();
    }
    text.chars().take(limit.saturating_sub(1)).chain(['…']).collect()
}

/// The text, escaped, and cut to `limit` where it is longer: between characters, never within an escape. `…` stands for
/// what is missing; where there is room, the text says how much that is.
pub fn escaped(text: &str, limit: usize, escape: Escape) -> String {
    let (whole, taken) = start(text, limit, escape);
    let length = text.chars().count();
    if taken == length {
        return whole;
    }
    let (mut kept, taken) = start(text, limit.saturating_sub(width(&note(length, limit))), escape);
    kept.push_str(&note(length - taken, limit));
    kept
}

/// What of the text fits, escaped, and how many characters that are.
fn start(text: &str, limit: usize, escape: Escape) -> (String, usize) {
    let (mut kept, mut room, mut taken) = (String::new(), limit, 0);
    let mut piece = String::new();
    for character in text.chars() {
        piece.clear();
        escape(character, &mut piece);
        let Some(left) = room.checked_sub(width(&piece)) else { break };
        room = left;
        taken += 1;
        kept.push_str(&piece);
    }
    (kept, taken)
}

fn note(missing: usize, limit: usize) -> String {
    if limit < ROOM_FOR_NOTE {
        return if limit == 0 { String::new() } else { "…".to_owned() };
    }
    campanile_lenient::mark(missing, "characters")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_stays_one_line() {
        assert_eq!(one_line(" a\r\n\tb\u{1b}[31m  c "), "a b [31m c");
        for text in ["", " ", " a  b ", "ab", "abc", "a b c d", "äöü  ß", "\n\n🔥\u{1}🔥🔥🔥"] {
            for limit in 0..6 {
                assert_eq!(short_line(text, limit), cut(&one_line(text), limit), "{text:?} to {limit}");
            }
        }
    }

    #[test]
    fn what_cannot_be_seen_is_blank() {
        for text in
            ["", " ", "\u{a0}\t\n", "\u{200b}", "\u{feff}\u{2060}", "\u{3164}", "\u{1b}\0", "\u{e0020}"]
        {
            assert!(is_blank(text), "{text:?}");
        }
        for text in ["0", " -", "\u{200b}x", "…", "🔥\u{fe0f}"] {
            assert!(!is_blank(text), "{text:?}");
        }
    }

    #[test]
    fn cutting_counts_characters_not_bytes() {
        assert_eq!(cut("äöü", 3), "äöü");
        assert_eq!(cut("äöüß", 3), "äö…");
    }

    #[test]
    fn what_goes_to_services_is_counted_as_they_count() {
        assert_eq!(escaped("🔥🔥🔥", 6, plain), "🔥🔥🔥");
        assert_eq!(escaped("🔥🔥🔥", 5, plain), "🔥🔥…");
        assert_eq!(escaped("abc", 0, plain), "");
    }

    #[test]
    fn a_long_text_says_how_much_is_missing() {
        let text = escaped(&"x".repeat(4000), 600, plain);
        assert!(text.ends_with("x… (cut, 3,430 characters more)"), "{text}");
        assert_eq!(width(&text), 600);
    }

    #[test]
    fn cuts_lie_between_escapes() {
        assert_eq!(escaped("a&b", 7, html), "a&amp;b");
        assert_eq!(escaped("a&b", 6, html), "a…");
        for limit in 0..600 {
            let cut = escaped(&"<".repeat(1000), limit, html);
            assert!(width(&cut) <= limit, "{limit}");
            let start = cut.split('…').next().unwrap_or_default();
            assert_eq!(start.replace("&lt;", ""), "", "{limit}");
        }
    }

    #[test]
    fn json_reads_the_same_text() {
        let text: String = ('\0'..='\u{ff}').chain(['\u{2028}', '🔥']).collect();
        let written = format!("\"{}\"", escaped(&text, 10_000, json));
        assert_eq!(serde_json::from_str::<String>(&written).unwrap(), text);
    }

    #[test]
    fn no_control_character_is_printed() {
        assert_eq!(escaped("a\u{1b}\r\n\tb", 100, printable), "a\nb");
    }

    #[test]
    fn html_cannot_be_closed_from_within() {
        assert_eq!(escaped("\"><script>&", 100, html), "&quot;&gt;&lt;script&gt;&amp;");
    }
}
