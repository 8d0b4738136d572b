//! Percent-encoding, for what comes from an alert.
//!
//! The host takes `${secret:NAME}` for a secret's placeholder in addresses and headers, also where its punctuation is
//! percent-encoded. With a letter of `secret` encoded it does not, and whoever decodes that reads the same text: so no alert
//! can have a secret sent to somebody.

/// The text as a header value, never with a secret's placeholder. Encoded is each byte that is not visible ASCII (ids may
/// be made of anything that a monitoring system puts into an alert), `%`, and `$`.
pub fn header_value(text: &str) -> String {
    encoded(text, |byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'$'))
}

/// The text as an id that no markup reads anything into, without white space. Encoded is each byte that is neither a
/// letter or digit of ASCII nor one of `-._~/#:@`.
pub fn plain_id(text: &str) -> String {
    encoded(text, |byte| byte.is_ascii_alphanumeric() || b"-._~/#:@".contains(&byte))
}

/// The text as a name or value of a query or form, never with a secret's placeholder.
pub(crate) fn component(text: &str) -> String {
    encoded(text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

/// The text as a value of a form; a placeholder that is the whole value stays. The host fills it if it is one that the
/// configuration handed out in this call, which no alert can know.
pub(crate) fn form_value(text: &str) -> String {
    if is_placeholder(text) { text.to_owned() } else { component(text) }
}

/// Whether the text is a placeholder and nothing else: one that an alert wrote around `&` would add fields to a form.
fn is_placeholder(text: &str) -> bool {
    let name = text.strip_prefix("${secret:").and_then(|rest| rest.strip_suffix('}'));
    let part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    name.is_some_and(|name| name.bytes().all(part))
}

fn encoded(text: &str, plain: impl Fn(u8) -> bool) -> String {
    let bytes = text.bytes();
    let encoded: String = bytes
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect();
    encoded.replace("%24{secret", "%24{%73ecret").replace("%24%7Bsecret", "%24%7B%73ecret")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_id_becomes_a_header_value() {
        assert_eq!(header_value("alert-1#0/slack"), "alert-1#0/slack");
        assert_eq!(header_value("a b\r\nü%"), "a%20b%0D%0A%C3%BC%25");
        assert_eq!(header_value("the secret"), "the%20secret");
    }

    #[test]
    fn no_text_becomes_a_placeholder() {
        assert_eq!(header_value("a${secret:KEY}"), "a%24{%73ecret:KEY}");
        assert_eq!(header_value("%24{secret:KEY}"), "%2524{secret:KEY}");
        assert_eq!(header_value("%24%7Bsecret%3AKEY%7D"), "%2524%257Bsecret%253AKEY%257D");
        assert_eq!(component("${secret:KEY}${secret:B}"), "%24%7B%73ecret%3AKEY%7D%24%7B%73ecret%3AB%7D");
        assert_eq!(component("%24%7bsecret%3aKEY%7d"), "%2524%257bsecret%253aKEY%257d");
    }

    #[test]
    fn an_id_is_plain() {
        assert_eq!(plain_id("alert-1#0/slack"), "alert-1#0/slack");
        assert_eq!(plain_id("a\n`{x}`-->"), "a%0A%60%7Bx%7D%60--%3E");
    }

    #[test]
    fn a_form_keeps_only_whole_placeholders() {
        assert_eq!(form_value("${secret:KEY.mark}"), "${secret:KEY.mark}");
        assert_eq!(form_value("a=${secret:KEY}&b"), "a%3D%24%7B%73ecret%3AKEY%7D%26b");
        assert_eq!(
            form_value("${secret:A}&to=evil&x=${secret:B}"),
            "%24%7B%73ecret%3AA%7D%26to%3Devil%26x%3D%24%7B%73ecret%3AB%7D"
        );
    }
}
