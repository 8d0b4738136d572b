//! Answers that can be searched for secrets: whole, and neither compressed nor encoded. The host asks for no other, and
//! refuses what comes all the same.

use http::header::{
    ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, RANGE,
    TRANSFER_ENCODING,
};
use http::response;
use wasmtime_wasi_http::Error;

use super::failure::Failure;
use crate::plugin::secrets::Scrubber;

/// Leaves out what asks for an answer that could not be searched: `range`, and its likes of other names.
pub(super) fn ask(headers: &mut HeaderMap) {
    headers.remove(RANGE);
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
}

/// Takes secrets out of the head of an answer, and what would say how long the body was before they were taken out of it.
///
/// # Errors
/// The answer cannot be searched.
pub(super) fn clean(head: &mut response::Parts, scrubber: &Scrubber) -> Result<(), Failure> {
    if let Some(coding) = coding(&head.headers, &CONTENT_ENCODING, "identity") {
        let text = unsearchable(&format!("content-encoding \"{coding}\""), "without encoding");
        return Err(Failure::new(Error::HttpResponseContentCoding(None), text));
    }
    if let Some(coding) = coding(&head.headers, &TRANSFER_ENCODING, "chunked") {
        let text = unsearchable(&format!("transfer-encoding \"{coding}\""), "without encoding");
        return Err(Failure::new(Error::HttpResponseTransferCoding(None), text));
    }
    head.headers.remove(CONTENT_LENGTH);
    // The reason phrase is in there.
    head.extensions.clear();
    scrubber.headers(&mut head.headers);
    Ok(())
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
