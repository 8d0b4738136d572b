//! Text as Slack wants it: three characters escaped, and a link in its own form.
//!
//! Source: api.slack.com/docs/message-formatting, "3 characters you must encode as HTML entities".

use campanile_guest::text;

/// For text in mrkdwn.
pub(crate) fn mrkdwn(character: char, out: &mut String) {
    match character {
        '&' => out.push_str("&amp;"),
        '<' => out.push_str("&lt;"),
        '>' => out.push_str("&gt;"),
        other => out.push(other),
    }
}

/// At most `limit` of mrkdwn that shows `text` as it is.
pub(crate) fn escaped(text: &str, limit: usize) -> String {
    text::escaped(text, limit, mrkdwn)
}

/// A link; `|` would end its address or its text, so the one is encoded and the other replaced.
pub(crate) fn link(href: &str, text: &str) -> String {
    let href = href.replace('|', "%7C").replace('<', "%3C").replace('>', "%3E").replace('&', "&amp;");
    format!("<{href}|{}>", escaped(&text.replace('|', "¦"), 75))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mentions_and_links_cannot_be_smuggled_in() {
        assert_eq!(escaped("<!channel> a & b", 100), "&lt;!channel&gt; a &amp; b");
    }

    #[test]
    fn what_is_too_long_is_cut_between_escapes() {
        assert_eq!(escaped("abcde", 4), "abc…");
        assert_eq!(escaped("a&b", 4), "a…");
        assert_eq!(escaped("&&&", 11), "&amp;&amp;…");
    }

    #[test]
    fn a_link_keeps_its_shape() {
        assert_eq!(
            link("https://a.example/?x=1&y=a|b", "Run|book >"),
            "<https://a.example/?x=1&amp;y=a%7Cb|Run¦book &gt;>"
        );
    }
}
