//! From what the plugin asked for to what may be sent: the URL normalised, secrets filled in, the grant checked.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, USER_AGENT};
use http::{Method, Request, Uri, request};
use http_body_util::Full;
use jiff::Timestamp;
use url::{Host, Position, Url};
use wasmtime_wasi_http::Error;

use super::failure::Failure;
use super::searchable;
use super::steering::steering;
use crate::plugin::grants::{Grants, host_of, http_line, odd_segment};
use crate::plugin::secrets::{Mark, Secrets, Signer, Unsigned};

/// The longest URL that is sent, in bytes.
const LONGEST_URL: usize = 8 * 1024;
const PRODUCT: HeaderValue = HeaderValue::from_static(concat!("campanile/", env!("CARGO_PKG_VERSION")));

/// Why a request is not sent, and what would let it pass.
fn not_granted(method: &Method, url: &Url) -> String {
    let line = http_line(method, url);
    match odd_segment(url.path()) {
        None => format!("it is not granted; to allow it, add to [grants]: {line}"),
        Some((odd, true)) => format!(
            "it is not granted: some servers take the segment {odd} for another path, so `*` does not cover it; to allow it, add to \
             [grants]: {line}"
        ),
        Some((odd, false)) => {
            format!("it is not granted, and cannot be: some servers take the segment {odd} for another path")
        }
    }
}

/// A request that may be sent.
pub(super) struct Outgoing {
    method: Method,
    url: Url,
    headers: HeaderMap,
    signers: Vec<Signer>,
}

impl Outgoing {
    /// Checks the request and fills in its secrets. The grant is checked on the URL that goes out, with the secrets in
    /// it; what is said about it names their placeholders.
    pub(super) fn prepare(head: request::Parts, grants: &Grants, secrets: &Secrets) -> Result<Self, Failure> {
        let asked = normalised(&head.uri)?;
        check_method(&head.method)?;
        check_headers(&head.headers)?;
        let (mut url, mut headers) = (asked.clone(), head.headers);
        let signers = secrets
            .fill(grants, &mut url, &mut headers)
            .map_err(|error| Failure::denied(error.to_string()))?;
        if !grants.allows_http(&head.method, &url) {
            return Err(Failure::denied(not_granted(&head.method, &asked)));
        }
        Ok(Self { method: head.method, url, headers, signers })
    }

    pub(super) fn url(&self) -> &Url {
        &self.url
    }

    /// Fills the secrets into the body, if they are granted there.
    pub(super) fn fill_body(
        &self,
        body: Bytes,
        grants: &Grants,
        secrets: &Secrets,
        mark: &Mark,
        most: u64,
    ) -> Result<Bytes, Failure> {
        secrets
            .fill_body(grants, mark, &self.url, &self.headers, body, most)
            .map_err(|error| Failure::denied(error.to_string()))
    }

    /// Asks for an answer that can be searched for secrets.
    pub(super) fn ask_for_searchable_answer(&mut self) {
        searchable::ask(&mut self.headers);
    }

    /// The request as it goes over the wire, signed. The length is the body's own, whatever the plugin announced, and
    /// the connection serves one request.
    pub(super) fn into_request(mut self, body: Bytes) -> Result<Request<Full<Bytes>>, Failure> {
        let invalid =
            |_| Failure::new(Error::HttpRequestUriInvalid, "the URL holds a character that cannot be sent");
        let uri = self.url[Position::BeforePath..Position::AfterQuery].parse().map_err(invalid)?;
        let host = &self.url[Position::BeforeHost..Position::BeforePath];
        self.headers.remove(CONTENT_LENGTH);
        self.headers.insert(HOST, host.parse().expect("a parsed URL has a host that can be sent"));
        self.sign(&body)?;
        self.headers.insert(CONNECTION, HeaderValue::from_static("close"));
        self.headers.entry(USER_AGENT).or_insert(PRODUCT);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = self.method;
        *request.uri_mut() = uri;
        *request.headers_mut() = self.headers;
        Ok(request)
    }

    /// Signs what the plugin asked to have signed.
    fn sign(&mut self, body: &[u8]) -> Result<(), Failure> {
        let Self { method, url, headers, signers } = self;
        for signer in signers.iter() {
            signer
                .sign(&mut Unsigned { method, url, headers, body }, Timestamp::now())
                .map_err(|error| Failure::denied(format!("secret {} cannot sign: {error}", signer.name())))?;
        }
        Ok(())
    }
}

/// The length that the plugin announces for the body.
pub(super) fn announced_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_method(method: &Method) -> Result<(), Failure> {
    if [Method::CONNECT, Method::TRACE].contains(method) {
        return Err(Failure::new(Error::HttpRequestMethodInvalid, "plugins cannot use this method"));
    }
    Ok(())
}

fn check_headers(headers: &HeaderMap) -> Result<(), Failure> {
    steering(headers).map_or(Ok(()), |name| {
        let text = format!(
            "the header {name} can make a server see another method, host or path than the granted one; send the request itself"
        );
        Err(Failure::denied(text))
    })
}

/// The URL in the one form that is checked, shown and sent.
fn normalised(uri: &Uri) -> Result<Url, Failure> {
    let invalid = |text: &str| Failure::new(Error::HttpRequestUriInvalid, text);
    let text = uri.to_string();
    if text.len() > LONGEST_URL {
        let text = format!("the URL is longer than {LONGEST_URL} bytes");
        return Err(Failure::new(Error::HttpRequestUriTooLong, text));
    }
    let mut url = Url::parse(&text).map_err(|error| invalid(&format!("the URL is invalid: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(invalid("the URL holds a user name or password; use the header authorization"));
    }
    let host = host_of(&url).ok_or_else(|| invalid("the URL has no host"))?;
    url.set_host(Some(&host.to_string()))
        .map_err(|error| invalid(&format!("the URL's host is invalid: {error}")))?;
    Ok(url)
}

/// The host of a URL, as [`normalised`] writes it.
pub(super) fn host_asked_for(uri: &Uri) -> Option<Host<String>> {
    Url::parse(&uri.to_string()).ok().and_then(|url| host_of(&url))
}

/// How a request is named to the operator: without its query, which can hold what is nobody's business.
pub(super) fn shown(method: &Method, uri: &Uri) -> String {
    let text = uri.to_string();
    let text = text.split(['?', '#']).next().unwrap_or_default();
    let cut: String = text.chars().take(200).collect();
    format!("{method} {cut}")
}
