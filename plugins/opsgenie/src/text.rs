//! Text as Opsgenie wants it. It shows messages and descriptions as HTML on its pages, and as plain text in calls, short
//! messages and pushes. An entity would be read out there, so `<` and `>` become quotation marks that look like them.
//!
//! Source: docs.opsgenie.com/docs/alerts-and-alert-fields ("HTML formatting for the message values is also supported").

use campanile_guest::text;

/// For text that may be shown as HTML or as it is.
pub(crate) fn tagless(character: char, out: &mut String) {
    out.push(match character {
        '<' => '‹',
        '>' => '›',
        other => other,
    });
}

/// At most `limit` of text without tags.
pub(crate) fn shown(text: &str, limit: usize) -> String {
    text::escaped(text, limit, tagless)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_tag_is_left() {
        assert_eq!(shown("<a href='x'>a & b</a>", 100), "‹a href='x'›a & b‹/a›");
        assert_eq!(shown("<<<<", 3), "‹‹…");
    }
}
