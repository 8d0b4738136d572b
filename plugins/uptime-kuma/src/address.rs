//! Addresses that are monitored, without what may be secret in them: the name and password before an `@`, and the query.

use std::borrow::Cow;

/// What ends the part of an address that names the host.
const ENDS: [char; 4] = ['/', '?', '#', '\\'];
/// What stands around an address in a text, and is no part of it.
const AROUND: [char; 12] = [']', ')', '}', '>', '"', '\'', '`', ',', '.', ';', ':', '!'];

/// An address without them.
pub(crate) fn bare(address: &str) -> String {
    let Some(start) = address.find("://") else { return address.to_owned() };
    let end = address[start..].find(['?', '#']).map_or(address.len(), |at| start + at);
    let mut parts = address[..end].split("://");
    let scheme = parts.next().unwrap_or_default().to_owned();
    // An address may be in the path of another.
    parts.fold(scheme, |before, part| before + "://" + without_user(part))
}

/// What follows the scheme, from the host on.
fn without_user(part: &str) -> &str {
    let host = &part[..part.find(ENDS).unwrap_or(part.len())];
    host.rfind('@').map_or(part, |at| &part[at + 1..])
}

/// A text in which the addresses are bare. Each ends where the next white space is.
pub(crate) fn bare_in(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    text.split_inclusive(char::is_whitespace).map(bare_word).collect::<String>().into()
}

fn bare_word(word: &str) -> String {
    let is_around = |c: char| c.is_whitespace() || AROUND.contains(&c);
    let (address, around) = word.split_at(word.trim_end_matches(is_around).len());
    bare(address) + around
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_loses_what_may_be_secret() {
        for (given, kept) in [
            ("https://shop.example.com/health", "https://shop.example.com/health"),
            ("https://ada:hush@shop/", "https://shop/"),
            ("https://ada:hu@sh@shop:8443", "https://shop:8443"),
            ("https://ada:hu sh@shop/a b", "https://shop/a b"),
            ("https://shop/@ada/x", "https://shop/@ada/x"),
            ("https://h/?token=abc", "https://h/"),
            ("https://h?token=a@b", "https://h"),
            ("https://h/a#token=abc", "https://h/a"),
            ("db-1.internal", "db-1.internal"),
        ] {
            assert_eq!(bare(given), kept);
        }
    }

    #[test]
    fn so_do_the_addresses_in_a_text() {
        for (given, kept) in [
            ("[Shop][https://ada:hush@shop/] server", "[Shop][https://shop/] server"),
            ("[Shop][https://ada:hu]sh@shop] server", "[Shop][https://shop] server"),
            ("[Shop][https://h/?token=a]b] is\nlate", "[Shop][https://h/] is\nlate"),
            ("(see https://h/?token=abc), mail ops@example.com.", "(see https://h/), mail ops@example.com."),
            ("mongodb://ada:hush@db-1:27017 and redis://:hush@db-2", "mongodb://db-1:27017 and redis://db-2"),
            ("https://a:b@h/?next=https://c:hush@i/?x=hush", "https://h/"),
            ("https://h/https://c:hush@i/x", "https://h/https://i/x"),
            (r#"{"a":"https://h","b":"https://c:hush@i"}"#, r#"{"a":"https://h","b":"https://i"}"#),
            ("[🔴 Down] http:// is  no address", "[🔴 Down] http:// is  no address"),
        ] {
            assert_eq!(bare_in(given), kept);
        }
    }
}
