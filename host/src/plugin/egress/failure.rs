//! Why a request did not come through: the code that the plugin gets, and the text that the operator gets. The text
//! names placeholders of secrets, never their values.

use std::error::Error as _;
use std::io;

use wasmtime_wasi_http::Error;

use crate::plugin::limits::ByteSize;
use crate::server_certificate::{self, ADVICE};

/// A request that was refused or failed.
#[derive(Debug)]
pub(super) struct Failure {
    /// For the plugin.
    pub code: Error,
    /// For the operator and the ledger.
    pub text: String,
    /// Whether it failed since the plugin did not finish the request's body.
    pub is_unfinished: bool,
}

impl Failure {
    pub(super) fn new(code: Error, text: impl Into<String>) -> Self {
        Self { code, text: text.into(), is_unfinished: false }
    }

    /// The plugin did not finish the request's body.
    pub(super) fn unfinished(code: Error, text: impl Into<String>) -> Self {
        Self { is_unfinished: true, ..Self::new(code, text) }
    }

    pub(super) fn denied(text: impl Into<String>) -> Self {
        Self::new(Error::HttpRequestDenied, text)
    }

    /// A limit of the plugin was reached; the text names it as it stands in `[limits]`.
    pub(super) fn limit(code: Error, what: &str, key: &str, value: impl Limit) -> Self {
        let value = value.written();
        Self::new(code, format!("{what}: the limit is {key} = {value}; to allow more, raise it in [limits]"))
    }

    /// Whether the host said no, rather than the network.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(
            self.code,
            Error::HttpRequestDenied
                | Error::DestinationIpProhibited
                | Error::ConnectionLimitReached
                | Error::HttpRequestBodySize(_)
                | Error::HttpRequestMethodInvalid
                | Error::HttpRequestUriInvalid
                | Error::HttpRequestUriTooLong
        )
    }

    /// The connection to `peer` could not be made.
    pub(super) fn connect(error: &io::Error, peer: &str) -> Self {
        Self::new(io_code(error), format!("cannot connect to {peer}: {error}"))
    }

    /// The TLS handshake with `peer` failed.
    pub(super) fn tls(error: &io::Error, peer: &str) -> Self {
        let code = tls_code(error).unwrap_or_else(|| io_code(error));
        let advice = if is_of_authority(error) {
            format!(": {ADVICE} (egress.root-certificates)")
        } else {
            String::new()
        };
        Self::new(code, format!("no TLS connection to {peer}: {error}{advice}"))
    }

    /// The exchange with the server failed.
    pub(super) fn exchange(error: &hyper::Error) -> Self {
        Self::new(hyper_code(error), format!("the exchange failed: {}", innermost(error)))
    }

    /// The answer began, but its end did not come.
    pub(super) fn broken_off(error: &hyper::Error) -> Self {
        Self::new(hyper_code(error), format!("the response's body broke off: {}", innermost(error)))
    }
}

/// A limit as it is written in `[limits]`.
pub(super) trait Limit {
    fn written(self) -> String;
}

impl Limit for u32 {
    fn written(self) -> String {
        self.to_string()
    }
}

impl Limit for ByteSize {
    fn written(self) -> String {
        format!("\"{self}\"")
    }
}

/// The code of an error while the body is read.
fn hyper_code(error: &hyper::Error) -> Error {
    let io = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    match io {
        Some(io) => tls_code(io).unwrap_or_else(|| io_code(io)),
        None if error.is_parse_too_large() => Error::HttpResponseHeaderSectionSize(None),
        None if error.is_timeout() => Error::HttpResponseTimeout,
        None if error.is_incomplete_message() => Error::HttpResponseIncomplete,
        None if error.is_closed() || error.is_canceled() => Error::ConnectionTerminated,
        None => Error::HttpProtocolError,
    }
}

fn io_code(error: &io::Error) -> Error {
    use io::ErrorKind::*;
    match error.kind() {
        ConnectionRefused => Error::ConnectionRefused,
        TimedOut => Error::ConnectionTimeout,
        NetworkUnreachable | AddrNotAvailable => Error::DestinationIpUnroutable,
        ConnectionReset | ConnectionAborted | BrokenPipe | UnexpectedEof => Error::ConnectionTerminated,
        _ => Error::DestinationUnavailable,
    }
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// Whether the server showed the certificate of an authority for its own.
fn is_of_authority(error: &io::Error) -> bool {
    tls_error(error).is_some_and(server_certificate::is_of_authority)
}

fn tls_code(error: &io::Error) -> Option<Error> {
    let error = tls_error(error)?;
    Some(match error {
        rustls::Error::InvalidCertificate(_) | rustls::Error::NoCertificatesPresented => {
            Error::TlsCertificateError
        }
        rustls::Error::AlertReceived(alert) => Error::TlsAlertReceived {
            alert_id: Some(u8::from(*alert)),
            alert_message: Some(format!("{alert:?}")),
        },
        _ => Error::TlsProtocolError,
    })
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut error = error;
    while let Some(source) = error.source() {
        error = source;
    }
    error.to_string()
}
