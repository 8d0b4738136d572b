//! Text as Slack wants it: three characters escaped, and never longer than a block may hold.

/// At most `limit` characters of mrkdwn that shows `text` as it is; `…` stands for what was cut. An escape is never
/// cut in two.
pub(crate) fn escaped(text: &str, limit: usize) -> String {
    let whole: String = text.chars().map(escape).collect();
    if whole.chars().count() <= limit {
        return whole;
    }
    let mut room = limit.saturating_sub(1);
    let mut kept = String::new();
    for piece in text.chars().map(escape) {
        let length = piece.chars().count();
        if length > room {
            break;
        }
        room -= length;
        kept.push_str(&piece);
    }
    kept.push('…');
    kept
}

fn escape(character: char) -> String {
    match character {
        '&' => "&amp;".to_owned(),
        '<' => "&lt;".to_owned(),
        '>' => "&gt;".to_owned(),
        other => other.to_string(),
    }
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
        assert_eq!(escaped("abcd", 4), "abcd");
        assert_eq!(escaped("abcde", 4), "abc…");
        assert_eq!(escaped("a&b", 4), "a…");
        assert_eq!(escaped("&&&", 11), "&amp;&amp;…");
        assert_eq!(escaped(&"<".repeat(5000), 3000).chars().count(), 2997);
    }

    #[test]
    fn a_link_keeps_its_shape() {
        assert_eq!(
            link("https://a.example/?x=1&y=a|b", "Run|book >"),
            "<https://a.example/?x=1&amp;y=a%7Cb|Run¦book &gt;>"
        );
    }
}
