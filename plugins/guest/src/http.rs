//! One JSON request over `wasi:http`, and what its answer means for the host's retries.
//!
//! The general clients for components (`wstd` 0.6, `waki` 0.5) are not used: where the body cannot be written they
//! report that, and not the error behind it, so a refusal by the host looks like a network that may recover.

mod answer;
mod send;
mod target;
mod transport;

use serde_json::Value;

use crate::types::{Failure, Receipt};
use target::Target;

/// How the body is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Something happened.
    Post,
    /// This is how it stands now.
    Put,
    /// This has changed.
    Patch,
}

/// A request with a JSON body.
pub struct Request<'a> {
    /// How the body is meant.
    pub method: Method,
    /// An `http` or `https` address. Placeholders such as `${secret:NAME}` in path and query are the host's to fill.
    pub url: &'a str,
    /// Headers beside `content-type`, `content-length` and `user-agent`; those with an empty value are left out.
    pub headers: &'a [(&'a str, &'a str)],
    /// The body.
    pub body: &'a Value,
}

impl Request<'_> {
    /// Sends the request once and judges the answer: any 2xx is a receipt, everything else a failure that says
    /// whether to try again.
    pub fn send(&self) -> Result<Receipt, Failure> {
        let target = Target::parse(self.url)?;
        let answer = send::send(self, &target)?;
        answer::judge(&answer, target.authority, std::time::SystemTime::now())
    }
}

/// What came back, as far as it matters.
struct Answer {
    status: u16,
    retry_after: Option<String>,
    /// The start of the body.
    text: String,
}

/// The text as a header value, each byte that is not visible ASCII (and `%`) percent-encoded: ids may be made of
/// anything that a monitoring system puts into an alert.
pub fn header_value(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
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
    }
}
