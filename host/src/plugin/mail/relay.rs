//! The mail relay, and what of this host it refuses: its name, its encryption, its login or its sender, which are the
//! operator's to repair whatever the recipient.

use std::time::Duration;

use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Tls};
use lettre::transport::smtp::commands::Mail;
use lettre::transport::smtp::extension::ClientId;
use lettre::transport::smtp::{AsyncSmtpTransportBuilder, Error as SmtpError};
use lettre::{Address, AsyncSmtpTransport, Tokio1Executor};

use crate::server_certificate;

/// How the relay is reached.
pub(super) struct Relay {
    /// The server's name or address, without brackets.
    pub(super) server: String,
    pub(super) port: u16,
    pub(super) timeout: Duration,
    /// What `EHLO` says.
    pub(super) ehlo: ClientId,
    pub(super) tls: Tls,
    pub(super) credentials: Option<Credentials>,
}

/// What the relay answered, to what, and what would help.
pub(super) struct Refused {
    pub(super) step: &'static str,
    pub(super) error: SmtpError,
    pub(super) advice: &'static str,
}

const GREETING: (&str, &str) =
    ("EHLO", "set `mail.ehlo` to a name that it takes, and let it take mail from this host");
const CERTIFICATE: &str = "its certificate is one of an authority, as `openssl req -x509` makes it: make another with \
     `-addext basicConstraints=critical,CA:FALSE -addext subjectAltName=DNS:NAME`, and put it into `mail.root-certificates`";
const STARTTLS: (&str, &str) = ("STARTTLS", "check `mail.tls` and `mail.port`");
pub(super) const AUTH: (&str, &str) = ("AUTH", "check `mail.username` and its password");
const MAIL: (&str, &str) = ("MAIL FROM", "check `mail.from`, and that this host may send as that");

impl Relay {
    /// Connections to it, which are kept and used again.
    pub(super) fn transport(&self) -> AsyncSmtpTransport<Tokio1Executor> {
        let builder: AsyncSmtpTransportBuilder =
            AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.server)
                .port(self.port)
                .timeout(Some(self.timeout))
                .hello_name(self.ehlo.clone())
                .tls(self.tls.clone());
        match &self.credentials {
            Some(credentials) => builder.credentials(credentials.clone()).build(),
            None => builder.build(),
        }
    }

    /// What it refuses for good before it has heard of any recipient; a conversation of its own.
    pub(super) async fn refusal(&self, from: Option<&Address>) -> Option<Refused> {
        let said = self.introduce(from).await;
        said.err().filter(|refused| refused.error.is_permanent())
    }

    async fn introduce(&self, from: Option<&Address>) -> Result<(), Refused> {
        let mut connection = self.connect().await.map_err(|error| refused(GREETING, error))?;
        let result = self.log_in(&mut connection, from).await;
        connection.abort().await;
        result
    }

    async fn connect(&self) -> Result<AsyncSmtpConnection, SmtpError> {
        let wrapper = match &self.tls {
            Tls::Wrapper(parameters) => Some(parameters.clone()),
            _ => None,
        };
        let server = (self.server.as_str(), self.port);
        AsyncSmtpConnection::connect_tokio1(server, Some(self.timeout), &self.ehlo, wrapper, None).await
    }

    async fn log_in(
        &self,
        connection: &mut AsyncSmtpConnection,
        from: Option<&Address>,
    ) -> Result<(), Refused> {
        if let Tls::Required(parameters) = &self.tls {
            let switched = connection.starttls(parameters.clone(), &self.ehlo).await;
            switched.map_err(|error| refused(STARTTLS, error))?;
        }
        if let Some(credentials) = &self.credentials {
            let known = connection.auth(DEFAULT_MECHANISMS, credentials).await;
            known.map_err(|error| refused(AUTH, error))?;
        }
        let sender = connection.command(Mail::new(from.cloned(), Vec::new())).await;
        sender.map(drop).map_err(|error| refused(MAIL, error))
    }
}

fn refused((step, advice): (&'static str, &'static str), error: SmtpError) -> Refused {
    // The library has TLS to itself, and passes on the text alone.
    let is_of_authority = format!("{error:?}").contains(server_certificate::IS_AUTHORITY);
    Refused { step, error, advice: if is_of_authority { CERTIFICATE } else { advice } }
}

/// What `EHLO` may say: a domain name, or an address in brackets, `[192.0.2.7]` or `[IPv6:2001:db8::7]`.
pub(super) fn client_id(text: &str) -> Option<ClientId> {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(address) => match address.strip_prefix("IPv6:") {
            Some(address) => address.parse().ok().map(ClientId::Ipv6),
            None => address.parse().ok().map(ClientId::Ipv4),
        },
        None => is_domain(text).then(|| ClientId::Domain(text.to_owned())),
    }
}

fn is_domain(text: &str) -> bool {
    let is_part = |part: &str| {
        let is_plain = part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        is_plain && (1..=63).contains(&part.len()) && !part.starts_with('-') && !part.ends_with('-')
    };
    text.len() <= 253 && text.split('.').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ehlo_says_a_name_or_an_address() {
        for (text, said) in [
            ("alerts.example.com", "alerts.example.com"),
            ("host-1", "host-1"),
            ("[192.0.2.7]", "[192.0.2.7]"),
            ("[IPv6:2001:db8::7]", "[IPv6:2001:db8::7]"),
        ] {
            assert_eq!(client_id(text).map(|id| id.to_string()).as_deref(), Some(said));
        }
        for odd in [
            "",
            "a b",
            "a\r\nMAIL FROM:<x>",
            "[a]",
            "[2001:db8::7]",
            "192.0.2.7]",
            "a..b",
            "-a",
            &"a".repeat(64),
        ] {
            assert_eq!(client_id(odd), None, "{odd:?}");
        }
    }
}
