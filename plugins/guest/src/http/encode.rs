//! Percent-encoding, for what comes from an alert.

/// The text as a header value. Encoded is each byte that is not visible ASCII (ids may be made of anything that a
/// monitoring system puts into an alert), `%`, and `$`, lest an alert's text reads as a secret's placeholder.
pub fn header_value(text: &str) -> String {
    encoded(text, |byte| byte.is_ascii_graphic() && !matches!(byte, b'%' | b'$'))
}

/// The text as a name or value of a query or form.
pub(crate) fn component(text: &str) -> String {
    encoded(text, |byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~'))
}

/// The text as a value of a form; a placeholder that is the whole value stays, for the host to fill.
pub(crate) fn form_value(text: &str) -> String {
    if text.starts_with("${secret:") && text.ends_with('}') { text.to_owned() } else { component(text) }
}

fn encoded(text: &str, plain: impl Fn(u8) -> bool) -> String {
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_id_becomes_a_header_value() {
        assert_eq!(header_value("alert-1#0/slack"), "alert-1#0/slack");
        assert_eq!(header_value("a b\r\nü%"), "a%20b%0D%0A%C3%BC%25");
        assert_eq!(header_value("${secret:KEY}"), "%24{secret:KEY}");
    }

    #[test]
    fn a_form_keeps_only_whole_placeholders() {
        assert_eq!(form_value("${secret:KEY.mark}"), "${secret:KEY.mark}");
        assert_eq!(form_value("a=${secret:KEY}&b"), "a%3D%24%7Bsecret%3AKEY%7D%26b");
    }
}
