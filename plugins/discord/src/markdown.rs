//! Text as Discord wants it: what would be Markdown behind a backslash.

use campanile_guest::text;

/// For text in Markdown: emphasis, code, spoilers, named links, mentions, headings, lists and quotes.
pub(crate) fn markdown(character: char, out: &mut String) {
    if r"\*_~`|[]<>#-".contains(character) {
        out.push('\\');
    }
    out.push(character);
}

/// At most `limit` of Markdown that shows `text` as it is.
pub(crate) fn escaped(text: &str, limit: usize) -> String {
    text::escaped(text, limit, markdown)
}

/// A link, if its address fits into Markdown as it is.
pub(crate) fn link(href: &str, text: &str) -> Option<String> {
    let odd = |character: char| character.is_whitespace() || r"()<>\".contains(character);
    (!href.contains(odd)).then(|| format!("[{}]({href})", escaped(text, 80)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markdown_cannot_be_smuggled_in() {
        assert_eq!(escaped("**a** `b` <@1>", 100), r"\*\*a\*\* \`b\` \<@1\>");
        assert_eq!(escaped("[a](https://x)", 100), r"\[a\](https://x)");
    }

    #[test]
    fn a_cut_leaves_no_lonely_backslash() {
        for limit in 0..20 {
            assert!(!escaped("**********", limit).trim_end_matches('…').ends_with('\\'), "{limit}");
        }
    }

    #[test]
    fn a_link_keeps_its_shape() {
        assert_eq!(
            link("https://a.example/?x=1_2", "Run]book").as_deref(),
            Some(r"[Run\]book](https://a.example/?x=1_2)")
        );
        assert_eq!(link("https://a.example/)(", "x"), None);
    }
}
