//! Taking in a post: who is it, is there room, the body in full, is the signature right, unpacked.

use std::io::Read;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use flate2::read::MultiGzDecoder;
use http_body_util::BodyExt;

use super::Surroundings;
use super::access::{ALERTS, Rate, Visitor, caller, scope};
use super::aside::Turn;
use super::code::Code;
use super::error::ApiError;
use super::peer::Peer;
use super::places::Place;
use super::request::{self, Arrival, Known};
use super::room::Share;

/// The longest that a body may take from its first byte to its last.
const BODY_TIME: Duration = Duration::from_secs(60);

/// What a request takes besides the texts of its headers, about, in bytes.
const HEAD: usize = 4 << 10;

/// A post that was let in.
pub(super) struct Received {
    /// All but the body.
    pub(super) parts: Parts,
    /// The body, unpacked.
    pub(super) body: Bytes,
    /// Of what is signed, only by what is signed with it: whoever saw the request could change the rest.
    pub(super) known: Known,
    /// When, how and by whom.
    pub(super) arrival: Arrival,
    /// Headers for the answer.
    pub(super) headers: HeaderMap,
    /// A place among those that are worked on, held until it is answered; `None` if there was none, and the request is to
    /// be refused, or spooled.
    pub(super) place: Option<Place>,
}

/// Takes in a post to `source`; `below` is what stands behind its address.
pub(super) async fn receive(
    surroundings: &Surroundings,
    source: &str,
    below: &str,
    request: Request,
) -> Result<Received, ApiError> {
    let (parts, body) = request.into_parts();
    let access = surroundings.access.current();
    let visitor = access.visitor(source, &parts, below)?;
    let headers = paced(&visitor)?;
    let announced =
        parts.headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|length| length > surroundings.body_limit as u64) {
        return Err(ApiError::body_too_large());
    }
    let is_let_in = matches!(visitor, Visitor::Admitted(_));
    let (mut share, ended) = surroundings.room.share(head_size(&parts), is_let_in)?;
    let verified = async {
        let read = tokio::time::timeout(BODY_TIME, whole(body, surroundings.body_limit, &share)).await;
        let raw = read.unwrap_or_else(|_| Err(ApiError::body_timeout()))?;
        access.verify(source, &visitor, &parts, &raw).await.map(|()| raw)
    };
    let raw = tokio::select! {
        raw = verified => raw?,
        _ = ended => return Err(overloaded()),
    };
    share.settle(0)?;
    let from = parts.extensions.get::<Peer>().and_then(|peer| peer.address());
    let via = (source != ALERTS).then(|| source.into());
    let (key, scope) = (caller(&visitor), scope(&visitor));
    let arrival = Arrival { key, scope, from, via, ..Arrival::now(&parts.headers) };
    let sender = arrival.sender();
    let place = surroundings.places.take(&sender);
    // Unpacking costs more than sending: only what is kept is worth it.
    if place.is_none() && surroundings.spool_of(source).is_none() {
        return Err(overloaded());
    }
    let known = match &visitor {
        Visitor::Admitted(_) => Known { id: request::request_id(&parts.headers)?, digest: None },
        Visitor::Signs(verifier) => {
            verifier.known(&parts.headers, &raw, arrival.received_at, surroundings.repeat_window)
        }
        // Each message says its own.
        Visitor::Sns(_) => Known::default(),
    };
    let (head, most, limits) = (parts.headers.clone(), surroundings.body_limit, surroundings.body_limits);
    // What is packed may become as large as any: a sender has room for a few such bodies at a time.
    let is_packed = parts.headers.contains_key(CONTENT_ENCODING);
    let turn = Turn::of(&sender, if is_packed { most } else { raw.len() }).await;
    let _unpacked = is_packed.then(|| surroundings.room.taken(most)).transpose()?;
    let read = turn.run(move || {
        let body = unpacked(&head, raw, most)?;
        limits.check(&body).map(|()| body)
    });
    let body = read.await??;
    Ok(Received { parts, body, known, arrival, headers, place })
}

/// Counts the request against the key's rate.
fn paced(visitor: &Visitor<'_>) -> Result<HeaderMap, ApiError> {
    let Visitor::Admitted(Some(key)) = visitor else { return Ok(HeaderMap::new()) };
    let Some(Rate { limit, remaining, wait }) = key.count() else { return Ok(HeaderMap::new()) };
    if let Some(wait) = wait {
        let seconds = wait.as_secs() + 1;
        let message = format!("the key {} may post {limit} requests a second (`rate-limit`)", key.name);
        return Err(ApiError::new(Code::RateLimited, message).retry_after(seconds));
    }
    // draft-ietf-httpapi-ratelimit-headers-10
    let texts = [
        ("ratelimit-policy", format!("\"key\";q={limit};w=1")),
        ("ratelimit", format!("\"key\";r={remaining};t=1")),
    ];
    let header = |(name, text): (&'static str, String)| {
        Some((HeaderName::from_static(name), HeaderValue::try_from(text).ok()?))
    };
    Ok(texts.into_iter().filter_map(header).collect())
}

/// The body, if it comes to its end with at most `most` bytes; each part is charged for as it comes.
async fn whole(mut body: Body, most: usize, share: &Share) -> Result<Bytes, ApiError> {
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| request::cut_off(&error))?;
        let Ok(part) = frame.into_data() else { continue };
        if part.len() > most - whole.len() {
            return Err(ApiError::body_too_large());
        }
        share.grow(part.len())?;
        whole.extend_from_slice(&part);
    }
    Ok(whole.into())
}

/// What a request takes before its body comes, in bytes.
fn head_size(parts: &Parts) -> usize {
    let headers = parts.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    HEAD + headers.sum::<usize>()
}

/// The refusal of a request that would have to wait: its sender posts it again.
pub(super) fn overloaded() -> ApiError {
    ApiError::new(
        Code::Overloaded,
        "as many requests as this host takes at once are under way: send it again",
    )
    .retry_after(1)
}

/// The body as the sender meant it; at most `most` bytes.
pub(super) fn unpacked(headers: &HeaderMap, raw: Bytes, most: usize) -> Result<Bytes, ApiError> {
    let encodings: Vec<_> = headers.get_all(CONTENT_ENCODING).iter().map(|value| value.as_bytes()).collect();
    let encoding = String::from_utf8_lossy(&encodings.join(&b", "[..])).into_owned();
    match encoding.trim().to_ascii_lowercase().as_str() {
        "identity" | "" => Ok(raw),
        "gzip" | "x-gzip" => gunzip(&raw, most),
        other => Err(ApiError::new(
            Code::UnsupportedMediaType,
            format!("the content encoding {other:?} is not taken: send gzip, or none"),
        )),
    }
}

fn gunzip(raw: &[u8], most: usize) -> Result<Bytes, ApiError> {
    let mut body = Vec::new();
    let read = MultiGzDecoder::new(raw).take(most as u64 + 1).read_to_end(&mut body);
    match read {
        Ok(_) if body.len() > most => Err(ApiError::body_too_large()),
        Ok(_) => Ok(body.into()),
        Err(error) => {
            Err(ApiError::invalid(vec![crate::fault::Fault::whole(format!("the body is not gzip: {error}"))]))
        }
    }
}

/// Headers that say how the body travelled, not what it is.
pub(super) const OF_THE_WAY: [HeaderName; 2] = [CONTENT_ENCODING, CONTENT_LENGTH];

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn read(encoding: &'static str, raw: Vec<u8>) -> Result<Bytes, Code> {
        let headers = HeaderMap::from_iter([(CONTENT_ENCODING, HeaderValue::from_static(encoding))]);
        unpacked(&headers, raw.into(), 1_000).map_err(|error| error.code())
    }

    #[test]
    fn bodies_are_unpacked_up_to_the_limit() {
        assert_eq!(read("gzip", gzip(b"{}")), Ok(Bytes::from_static(b"{}")));
        assert_eq!(read("gzip", gzip(&[b' '; 1_000])).map(|body| body.len()), Ok(1_000));
        assert_eq!(read("gzip", gzip(&vec![b' '; 10 << 20])), Err(Code::BodyTooLarge));
        assert_eq!(read("gzip", b"{}".to_vec()), Err(Code::InvalidRequest));
        assert_eq!(read("br", b"{}".to_vec()), Err(Code::UnsupportedMediaType));
        assert_eq!(read("identity", b"{}".to_vec()), Ok(Bytes::from_static(b"{}")));
    }
}
