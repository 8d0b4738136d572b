//! From the table `[mail]` to what is needed to send: all faults at once, the password read.

use std::time::Duration;

use lettre::message::Mailbox;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use secrecy::SecretString;
use url::Host;

use super::relay::{self, Relay};
use super::{MailConfig, MailTls, compose};
use crate::fault::Fault;
use crate::operator_file;
use crate::plugin::egress::read_roots;
use crate::plugin::grants::canonical;
use crate::plugin::secrets::{Credential, SPACE_AROUND, from_environment, has_space_around, is_loopback};

/// The table `[mail]`, understood, with the password read.
pub struct MailSetup {
    pub(super) host: Host<String>,
    password: Option<SecretString>,
    pub(super) from: Mailbox,
    pub(super) timeout: Duration,
    pub(super) relay: Relay,
}

impl MailSetup {
    /// Reads what the table names.
    ///
    /// # Errors
    /// All that is wrong with the table, with paths such as `mail.password-file`.
    pub fn read(config: MailConfig) -> Result<Self, Vec<Fault>> {
        let mut faults = Vec::new();
        let from = sender(&config, &mut faults);
        let ehlo = ehlo(&config, &mut faults);
        let credentials = credentials(&config, &mut faults);
        let (host, tls) = encryption(&config, &mut faults).unzip();
        let (Some(from), Some(ehlo), Some(host), Some(tls), true) =
            (from, ehlo, host, tls, faults.is_empty())
        else {
            return Err(faults);
        };
        let password = credentials.as_ref().map(|(_, password)| password.clone().into());
        let relay = Relay {
            // The brackets of an IPv6 address belong to URLs.
            server: config.host.trim_matches(['[', ']']).to_owned(),
            port: config.port.unwrap_or_else(|| default_port(config.tls)),
            timeout: config.timeout,
            ehlo,
            tls,
            credentials: credentials.map(|(username, password)| Credentials::new(username, password)),
        };
        Ok(Self { host, password, from, timeout: config.timeout, relay })
    }

    /// The password, as something that the mail server could repeat.
    pub fn credential(&self) -> Option<Credential> {
        let (value, host) = (self.password.clone()?, self.host.clone());
        Some(Credential { name: "mail.password", value, host })
    }
}

fn fault(key: &str, value: Option<&str>, message: impl Into<String>) -> Fault {
    Fault { path: format!("mail.{key}"), value: value.map(Into::into), message: message.into() }
}

fn default_port(tls: MailTls) -> u16 {
    match tls {
        MailTls::Starttls => 587,
        MailTls::Tls => 465,
        MailTls::None => 25,
    }
}

fn sender(config: &MailConfig, faults: &mut Vec<Fault>) -> Option<Mailbox> {
    if config.timeout.is_zero() {
        faults.push(fault("timeout", None, "is zero; write how long a message may take, such as \"10s\""));
    }
    let from = compose::mailbox(&config.from);
    if from.is_none() {
        let message = "is not a sender such as alerts@example.com or Campanile <alerts@example.com>";
        faults.push(fault("from", Some(&config.from), message));
    }
    from
}

/// What `EHLO` says.
fn ehlo(config: &MailConfig, faults: &mut Vec<Fault>) -> Option<ClientId> {
    let Some(name) = &config.ehlo else { return Some(ClientId::default()) };
    let id = relay::client_id(name);
    if id.is_none() {
        let message = "is not a name such as alerts.example.com, or an address such as [192.0.2.7]";
        faults.push(fault("ehlo", Some(name), message));
    }
    id
}

/// Username and password.
fn credentials(config: &MailConfig, faults: &mut Vec<Fault>) -> Option<(String, String)> {
    let password = match (&config.password_file, &config.password_env) {
        (None, None) => None,
        (Some(file), None) => {
            let read = operator_file::read_text(file, operator_file::VALUE)
                .map_err(|error| format!("{} cannot be read: {error}", file.display()));
            Some(("password-file", read))
        }
        (None, Some(variable)) => Some(("password-env", from_environment(variable))),
        (Some(_), Some(_)) => {
            faults.push(fault("password-env", None, "stands beside password-file; give one of them"));
            return None;
        }
    };
    match (&config.username, password) {
        (None, None) => None,
        (Some(username), Some((key, Ok(password)))) => {
            let password = password.trim_end_matches(['\r', '\n']);
            let texts = [("username", username.as_str()), (key, password)];
            for (key, _) in texts.into_iter().filter(|(_, text)| has_space_around(text)) {
                faults.push(fault(key, None, SPACE_AROUND));
            }
            Some((username.clone(), password.to_owned()))
        }
        (Some(_), Some((key, Err(message)))) => {
            faults.push(fault(key, None, message));
            None
        }
        (Some(_), None) => {
            faults.push(fault("password-file", None, "is required with username, or password-env instead"));
            None
        }
        (None, Some(_)) => {
            faults.push(fault("username", None, "is required with a password"));
            None
        }
    }
}

/// The server, and how the connection to it is encrypted.
fn encryption(config: &MailConfig, faults: &mut Vec<Fault>) -> Option<(Host<String>, Tls)> {
    let Ok(host) = Host::parse(&config.host) else {
        faults.push(fault("host", Some(&config.host), "is not a server such as smtp.example.com"));
        return None;
    };
    let tls = match config.tls {
        MailTls::None if config.allow_plaintext || is_loopback(&host) => Some(Tls::None),
        MailTls::None => {
            let message =
                "sends mail and password in clear text; use \"starttls\", or set allow-plaintext = true";
            faults.push(fault("tls", Some("none"), message));
            None
        }
        MailTls::Starttls => tls_parameters(config, faults).map(Tls::Required),
        MailTls::Tls => tls_parameters(config, faults).map(Tls::Wrapper),
    };
    tls.map(|tls| (canonical(host), tls))
}

fn tls_parameters(config: &MailConfig, faults: &mut Vec<Fault>) -> Option<TlsParameters> {
    let roots = read_roots(&config.root_certificates, "mail.root-certificates");
    let roots = roots.map_err(|found| faults.extend(found)).ok()?;
    let mut parameters = TlsParameters::builder(config.host.clone());
    for root in roots {
        let root = Certificate::from_der(root.to_vec()).expect("certificates are checked when they are read");
        parameters = parameters.add_root_certificate(root);
    }
    let refused = |error: SmtpError| faults.push(fault("tls", None, format!("cannot be set up: {error}")));
    parameters.build_rustls().map_err(refused).ok()
}
