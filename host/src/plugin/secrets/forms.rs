//! The forms of a value that are searched for: those in which it goes out, and those that servers commonly make of it.
//! Letters count the same in either case.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use url::form_urlencoded;

use super::body::json_escaped;
use super::fill::{PATH, QUERY};

/// What stays as it is in a URL, besides our own [`PATH`] and [`QUERY`]: by JavaScript's `encodeURIComponent`, by Python's `quote`
/// and by JavaScript's `encodeURI`.
const COMPONENT: &AsciiSet = &QUERY.remove(b'!').remove(b'*').remove(b'\'').remove(b'(').remove(b')');
const QUOTED: &AsciiSet = &QUERY.remove(b'/');
const URI: &AsciiSet = &PATH.remove(b'?').remove(b'#');

/// How serializers of several languages write JSON: what they escape as `\u0000` though they need not, whether everything but
/// ASCII, and whether `/` is `\/`.
const JSON: [(&str, bool, bool); 7] = [
    ("", false, false),
    ("", false, true),
    ("", true, false),
    ("", true, true),
    ("<>&", false, false),
    ("<>&'", true, false),
    ("<>&'\"+`", true, false),
];

/// What escapers write for characters besides `&`, `<` and `>`.
const HTML: [&[(char, &str)]; 9] = [
    &[],
    &[('"', "&quot;"), ('\'', "&#x27;"), ('+', "&#x2B;")],
    &[('"', "&quot;"), ('\'', "&#39;")],
    &[('"', "&#34;"), ('\'', "&#39;")],
    &[('"', "&quot;"), ('\'', "&#x27;")],
    &[('"', "&quot;"), ('\'', "&#039;")],
    &[('"', "&quot;"), ('\'', "&apos;")],
    &[('"', "&quot;"), ('\'', "&#x27;"), ('/', "&#x2F;")],
    &[('"', "&quot;"), ('\'', "&#39;"), ('/', "&#x2F;"), ('`', "&#x60;"), ('=', "&#x3D;")],
];

/// A value as it is, percent-encoded, in JSON, in HTML, in base64, in hexadecimal digits and in UTF-16.
pub(super) fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_owned(), hex::encode(value)];
    let sets = [PATH, QUERY, NON_ALPHANUMERIC, COMPONENT, QUOTED, URI];
    forms.extend(sets.map(|set| utf8_percent_encode(value, set).to_string()));
    forms.push(utf8_percent_encode(value, QUERY).to_string().replace("%20", "+"));
    forms.push(form_urlencoded::byte_serialize(value.as_bytes()).collect());
    forms.extend(JSON.map(|(escaped, is_ascii, with_slashes)| json(value, escaped, is_ascii, with_slashes)));
    forms.extend(html_forms(value));
    forms.extend(base64_forms(value));
    let utf16 = [u16::to_le_bytes, u16::to_be_bytes];
    let utf16 = utf16.map(|bytes| value.encode_utf16().flat_map(bytes).collect::<Vec<u8>>());
    forms.into_iter().map(String::into_bytes).chain(utf16).collect()
}

fn json(value: &str, escaped: &str, is_ascii: bool, with_slashes: bool) -> String {
    let mut text = String::new();
    for c in value.chars() {
        match c {
            c if escaped.contains(c) || (is_ascii && !c.is_ascii()) => {
                text.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")));
            }
            '/' if with_slashes => text.push_str("\\/"),
            c => text.push_str(&json_escaped(c.encode_utf8(&mut [0; 4]))),
        }
    }
    text
}

/// HTML as escapers of several languages write it: some escape quotes, some all but letters and digits.
fn html_forms(value: &str) -> Vec<String> {
    let written = |write: &dyn Fn(char) -> String| value.chars().map(write).collect::<String>();
    let named = |more: &[(char, &str)]| {
        written(&|c| match c {
            '&' => "&amp;".to_owned(),
            '<' => "&lt;".to_owned(),
            '>' => "&gt;".to_owned(),
            _ => more.iter().find(|(known, _)| *known == c).map_or(c.into(), |(_, name)| (*name).to_owned()),
        })
    };
    let mut forms: Vec<_> = HTML.iter().map(|more| named(more)).collect();
    let is_plain = |c: char| c.is_ascii_alphanumeric();
    forms.push(written(&|c| if is_plain(c) { c.into() } else { format!("&#{};", u32::from(c)) }));
    forms.push(written(&|c| if is_plain(c) { c.into() } else { format!("&#x{:x};", u32::from(c)) }));
    forms
}

/// Base64 of the value alone, and what of the base64 of a longer text depends on the value alone.
fn base64_forms(value: &str) -> Vec<String> {
    let mut forms = Vec::new();
    for engine in [STANDARD, URL_SAFE] {
        forms.push(engine.encode(value));
        forms.extend((0..3).map(|offset| base64_part(&engine.encode(shifted(value, offset)), value, offset)));
    }
    forms
}

/// The value behind other bytes.
fn shifted(value: &str, by: usize) -> Vec<u8> {
    [vec![0; by], value.as_bytes().to_vec()].concat()
}

/// What of a base64 text depends on the value alone, wherever in a longer text the value stands: each character holds
/// six bits, and those at its borders share theirs with its neighbours.
fn base64_part(encoded: &str, value: &str, offset: usize) -> String {
    encoded[(offset * 8).div_ceil(6)..(offset + value.len()) * 8 / 6].to_owned()
}
