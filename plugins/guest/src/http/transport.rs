//! What it means when no answer came: the host's refusals would repeat themselves, the network's troubles may pass.

use crate::bindings::wasi::http::types::ErrorCode;
use crate::failure::{passing, permanent};
use crate::types::Failure;

/// The failure that an error on the way to `authority` amounts to.
pub(crate) fn failure(error: &ErrorCode, authority: &str) -> Failure {
    refused(error, authority).unwrap_or_else(|| {
        let (code, why) = trouble(error);
        passing(code, format!("{authority} gave no answer: {why}"))
    })
}

/// What the host would refuse again.
fn refused(error: &ErrorCode, authority: &str) -> Option<Failure> {
    let (code, why) = match error {
        ErrorCode::HttpRequestDenied => (
            "http-request-denied",
            format!(
                "the host did not allow the request to {authority}: check [grants] http and secrets of this plugin"
            ),
        ),
        ErrorCode::DestinationIpProhibited => (
            "destination-ip-prohibited",
            format!(
                "{authority} leads to a private address: allow it with [grants] private-networks of this plugin"
            ),
        ),
        ErrorCode::HttpRequestUriInvalid | ErrorCode::HttpRequestUriTooLong => (
            "http-request-uri-invalid",
            format!("the address of {authority} is invalid or too long: check `url`"),
        ),
        ErrorCode::HttpRequestBodySize(_) => {
            ("http-request-body-size", format!("the request to {authority} is larger than the host allows"))
        }
        ErrorCode::HttpRequestHeaderSectionSize(_) | ErrorCode::HttpRequestHeaderSize(_) => {
            ("http-request-header-size", format!("the headers for {authority} are larger than allowed"))
        }
        _ => return None,
    };
    Some(permanent(code, why))
}

/// What may pass.
fn trouble(error: &ErrorCode) -> (&'static str, String) {
    let (code, why) = match error {
        ErrorCode::DnsTimeout | ErrorCode::DnsError(_) | ErrorCode::DestinationNotFound => {
            ("dns-error", "its name could not be resolved")
        }
        ErrorCode::DestinationUnavailable | ErrorCode::DestinationIpUnroutable => {
            ("unreachable", "it is unreachable")
        }
        ErrorCode::ConnectionRefused => ("connection-refused", "it refused the connection"),
        ErrorCode::ConnectionTerminated => ("connection-terminated", "it closed the connection"),
        ErrorCode::ConnectionTimeout => ("connection-timeout", "the connection was not made in time"),
        ErrorCode::ConnectionReadTimeout
        | ErrorCode::ConnectionWriteTimeout
        | ErrorCode::HttpResponseTimeout => ("response-timeout", "it did not answer in time"),
        ErrorCode::TlsCertificateError => ("tls-certificate-error", "its TLS certificate is not trusted"),
        ErrorCode::TlsProtocolError | ErrorCode::TlsAlertReceived(_) => {
            ("tls-error", "TLS could not be agreed on")
        }
        other => return ("http-error", format!("{other:?}")),
    };
    (code, why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Retry;

    #[test]
    fn what_the_host_refuses_is_not_tried_again() {
        let refusals = [
            ErrorCode::HttpRequestDenied,
            ErrorCode::DestinationIpProhibited,
            ErrorCode::HttpRequestUriInvalid,
            ErrorCode::HttpRequestBodySize(Some(1)),
        ];
        for error in refusals {
            let failure = failure(&error, "a.example");
            assert!(matches!(failure.retry, Retry::Never), "{error:?}");
            assert!(failure.message.contains("a.example"), "{}", failure.message);
        }
    }

    #[test]
    fn what_the_network_does_is_tried_again() {
        let troubles = [
            (ErrorCode::ConnectionRefused, "connection-refused"),
            (ErrorCode::ConnectionReadTimeout, "response-timeout"),
            (ErrorCode::TlsCertificateError, "tls-certificate-error"),
            (ErrorCode::InternalError(Some("odd".to_owned())), "http-error"),
        ];
        for (error, code) in troubles {
            let failure = failure(&error, "a.example");
            assert!(matches!(failure.retry, Retry::Backoff), "{error:?}");
            assert_eq!(failure.code, code);
        }
    }
}
