//! Answers that can be searched for secrets: whole, and neither compressed nor encoded. The host asks for no other, and
//! refuses what comes all the same.

use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE, HeaderMap,
    HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{StatusCode, response};
use wasmtime_wasi_http::Error;

use super::failure::Failure;
use crate::plugin::secrets::Scrubber;

/// How the value of a header begins that asks for a part, or has one.
const BYTES: &str = "bytes=";
/// Asks for the difference to an earlier answer (RFC 3229).
const A_IM: HeaderName = HeaderName::from_static("a-im");
/// Says how an answer differs from an earlier one.
const IM: HeaderName = HeaderName::from_static("im");

/// Leaves out what asks for an answer that could not be searched: `range`, and its likes of other names.
pub(super) fn ask(headers: &mut HeaderMap) {
    let asking = headers.iter().filter(|(name, value)| asks_for_part(name, value));
    for name in asking.map(|(name, _)| name.clone()).collect::<Vec<_>>() {
        headers.remove(name);
    }
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

fn asks_for_part(name: &HeaderName, value: &HeaderValue) -> bool {
    let value = value.as_bytes().trim_ascii_start();
    let begins = value.get(..BYTES.len()).is_some_and(|start| start.eq_ignore_ascii_case(BYTES.as_bytes()));
    begins || name == A_IM || name.as_str().split('-').any(|word| word == "range")
}

/// Takes secrets out of the head of an answer, and what would say how long the body was before they were taken out of it.
///
/// # Errors
/// The answer cannot be searched.
pub(super) fn clean(head: &mut response::Parts, scrubber: &Scrubber) -> Result<(), Failure> {
    if let Some(sign) = sign_of_part(head) {
        let text = unsearchable(&sign, "whole");
        return Err(Failure::new(Error::HttpResponseIncomplete, text));
    }
    if let Some(coding) = coding(&head.headers, &CONTENT_ENCODING, "identity") {
        let text = unsearchable(&format!("content-encoding \"{coding}\""), "without encoding");
        return Err(Failure::new(Error::HttpResponseContentCoding(None), text));
    }
    if let Some(coding) = coding(&head.headers, &TRANSFER_ENCODING, "chunked") {
        let text = unsearchable(&format!("transfer-encoding \"{coding}\""), "without encoding");
        return Err(Failure::new(Error::HttpResponseTransferCoding(None), text));
    }
    head.headers.remove(CONTENT_LENGTH);
    // A whole answer may say that its server has parts, too, and many servers always do; the plugin cannot ask for them.
    head.headers.remove(ACCEPT_RANGES);
    // The reason phrase is in there.
    head.extensions.clear();
    scrubber.headers(&mut head.headers);
    Ok(())
}

/// What shows that an answer is a part of something, or would be one, whatever asked for it.
fn sign_of_part(head: &response::Parts) -> Option<String> {
    let partial = [StatusCode::PARTIAL_CONTENT, StatusCode::RANGE_NOT_SATISFIABLE, StatusCode::IM_USED];
    if partial.contains(&head.status) {
        return Some(format!("status {}", head.status.as_u16()));
    }
    if let Some(name) = [CONTENT_RANGE, IM].iter().find(|name| head.headers.contains_key(*name)) {
        return Some(format!("the header {name}"));
    }
    let kinds = head.headers.get_all(CONTENT_TYPE).iter();
    let mut kinds = kinds.map(|kind| String::from_utf8_lossy(kind.as_bytes()).to_ascii_lowercase());
    kinds.any(|kind| kind.contains("byteranges")).then(|| "content-type multipart/byteranges".to_owned())
}

/// The first coding of a response besides the harmless one.
fn coding(headers: &HeaderMap, name: &HeaderName, harmless: &str) -> Option<String> {
    let codings = headers.get_all(name).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
    let codings: Vec<String> = codings
        .flat_map(|value| value.split(',').map(|coding| coding.trim().to_owned()).collect::<Vec<_>>())
        .collect();
    codings.into_iter().find(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case(harmless))
}

fn unsearchable(found: &str, wanted: &str) -> String {
    format!(
        "the server answered with {found}, and the host asked for the answer {wanted}: a secret may go to that server or \
         is granted to the plugin, so the answer must be searched for it, and that cannot be"
    )
}
