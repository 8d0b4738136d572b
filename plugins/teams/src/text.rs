//! Text as Adaptive Cards want it: a few styles of Markdown are read in every text.
//!
//! Sources: learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-format (bold, italic, lists, links;
//! two line breaks for one), and github.com/microsoft/AdaptiveCards/issues/5590 (not every client hides a backslash).

use campanile_guest::text;

/// For text in a card. A link needs `](`, so nothing visible keeps the two apart whatever the client makes of backslashes.
pub(crate) fn markdown(character: char, out: &mut String) {
    match character {
        '*' | '_' | '\\' => out.extend(['\\', character]),
        ']' => out.push_str("]\u{200B}"),
        '\n' => out.push_str("\n\n"),
        control if control.is_control() => out.push(' '),
        other => out.push(other),
    }
}

/// At most `limit` of text that shows as it is.
pub(crate) fn escaped(text: &str, limit: usize) -> String {
    text::escaped(text, limit, markdown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_style_and_no_link_is_left() {
        assert_eq!(escaped("**a** _b_ \\c", 100), "\\*\\*a\\*\\* \\_b\\_ \\\\c");
        assert_eq!(escaped("[a](https://evil.example)", 100), "[a]\u{200B}(https://evil.example)");
    }

    #[test]
    fn a_line_break_is_two_and_no_control_character_is_left() {
        assert_eq!(escaped("a\r\nb\u{1b}c", 100), "a \n\nb c");
    }
}
