//! Text in Mattermost's Markdown that shows as it is, and calls nobody.
//!
//! Sources: docs.mattermost.com/developers/integrate/reference/message-attachments (texts are Markdown and call people), and
//! github.com/mattermost/mattermost, server/channels/app/slack.go (a webhook reads Slack's `<!channel>` and `<@user>` in every
//! text) and webhook.go (`<address|text>`).

use campanile_guest::text;

/// For text in a message. Mentions and what Slack would read have no escape, so the one gets a space without a width, and
/// `<` and `>` become quotation marks that look like them.
pub(crate) fn markdown(character: char, out: &mut String) {
    match character {
        '\\' | '`' | '*' | '_' | '[' | ']' | '#' | '~' | '|' => out.extend(['\\', character]),
        '@' => out.push_str("@\u{200B}"),
        '<' => out.push('‹'),
        '>' => out.push('›'),
        other => out.push(other),
    }
}

/// At most `limit` of text that shows as it is.
pub(crate) fn escaped(text: &str, limit: usize) -> String {
    text::escaped(text, limit, markdown)
}

/// A link; what would end its address is encoded.
pub(crate) fn link(href: &str, text: &str) -> String {
    let mut address = String::new();
    for character in href.chars() {
        match character {
            '(' | ')' | '<' | '>' | '[' | ']' | '|' | '\\' | '@' | ' ' => {
                address += &format!("%{:02X}", u32::from(character));
            }
            other => address.push(other),
        }
    }
    format!("[{}]({address})", escaped(text, 75))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_markup_and_no_mention_is_left() {
        assert_eq!(
            escaped("**a** [b](c) `d` #e ~f~ g|h", 100),
            "\\*\\*a\\*\\* \\[b\\](c) \\`d\\` \\#e \\~f\\~ g\\|h"
        );
        assert_eq!(
            escaped("@channel <!all> <https://evil.example|x>", 100),
            "@\u{200B}channel ‹!all› ‹https://evil.example\\|x›"
        );
    }

    #[test]
    fn a_link_keeps_its_shape() {
        assert_eq!(
            link("https://a.example/x_(y)?z=<a|b>&u=@c", "Run] @all"),
            "[Run\\] @\u{200B}all](https://a.example/x_%28y%29?z=%3Ca%7Cb%3E&u=%40c)"
        );
    }
}
