//! Where a secret may go: the entries of its `hosts`.

use url::{Host, Url};

use super::read::Faults;
use crate::plugin::grants::{HostPattern, canonical, host_of};

/// One entry of `hosts`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Destination {
    host: HostPattern,
    /// Any port if absent.
    port: Option<u16>,
    clear_text: bool,
}

impl Destination {
    fn parse(text: &str) -> Result<Self, String> {
        let (clear_text, authority) = match text.strip_prefix("http://") {
            Some(authority) => (true, authority),
            None => (false, text.strip_prefix("https://").unwrap_or(text)),
        };
        let (host, port) = HostPattern::parse_authority(authority)?;
        Ok(Self { host, port, clear_text })
    }

    /// This host, and no other.
    pub(super) fn any_port(host: Host<String>) -> Self {
        let host = canonical(host);
        Self { host: HostPattern::Exact(host), port: None, clear_text: false }
    }

    /// Whether it covers some port of this host.
    pub(super) fn includes(&self, host: &Host<String>) -> bool {
        self.host.includes(host)
    }

    pub(super) fn matches(&self, url: &Url) -> bool {
        self.host.matches(url) && self.port.is_none_or(|port| url.port_or_known_default() == Some(port))
    }

    /// Whether what is sent stays between the two ends.
    pub(super) fn is_private(&self, url: &Url) -> bool {
        self.clear_text || url.scheme() == "https" || host_of(url).is_some_and(|host| is_loopback(&host))
    }
}

/// Reads all entries; those that cannot be used become faults.
pub(super) fn destinations(hosts: &[String], faults: &mut Faults<'_>) -> Vec<Destination> {
    if hosts.is_empty() {
        faults.add("hosts", "is empty; name where the secret may go, such as [\"hooks.slack.com\"]");
    }
    let mut destinations = Vec::new();
    for (index, host) in hosts.iter().enumerate() {
        match Destination::parse(host) {
            Ok(destination) => destinations.push(destination),
            Err(message) => faults.add(&format!("hosts[{index}]"), message),
        }
    }
    destinations
}

/// Whether a host is this machine by its very name.
pub(in crate::plugin) fn is_loopback(host: &Host<String>) -> bool {
    match host {
        Host::Domain(name) => name == "localhost",
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}
