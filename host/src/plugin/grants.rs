//! What the operator lets a plugin reach: the `[grants]` table of its sidecar, parsed once, asked on every request.
//! Nothing is granted that is not listed. No I/O.

mod covers;
mod reach;
mod segment;

use std::collections::BTreeSet;
use std::net::IpAddr;

use http::Method;
use ipnet::IpNet;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::{Host, Url};

use self::segment::{Segment, is_in_place, is_one};
use super::secrets::placeholder;
use crate::fault::Fault;

pub(super) use self::reach::methods;

/// The `[grants]` table as it is written. Every list is empty unless given, and an empty list grants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct GrantsConfig {
    /// Requests it may send, each `METHOD URL`, such as `POST https://hooks.slack.com/services/**`. Methods: a list
    /// `GET,POST`, or `*`. Host: a name, an address, or `*.example.com` for every name below it. Port: the scheme's own
    /// unless given. Path: `*` stands for one segment, `**` at the end for the rest.
    pub http: Vec<String>,
    /// Secrets of the host's configuration that it may use in path, query and headers, by name.
    pub secrets: Vec<String>,
    /// Secrets that it may use in the body of a request, by name.
    pub secrets_in_body: Vec<String>,
    /// Addresses outside the public internet that granted names may lead to, such as `10.1.0.0/16` or `127.0.0.1`.
    pub private_networks: Vec<String>,
    /// Whom it may send mail to: `ops@example.com`, `*@example.com` or `*@*.example.com`.
    pub mail: Vec<String>,
}

/// The parsed grants of one plugin.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    http: Vec<HttpGrant>,
    secrets: BTreeSet<String>,
    secrets_in_body: BTreeSet<String>,
    networks: Vec<IpNet>,
    mail: Vec<MailPattern>,
}

impl Grants {
    /// The grants of a plugin without a sidecar, and of every plugin while it describes itself.
    pub fn none() -> Self {
        Self::default()
    }

    /// The same grants, and these secrets in path, query and headers.
    pub(super) fn and_secrets(&self, names: &[String]) -> Self {
        let mut grants = self.clone();
        grants.secrets.extend(names.iter().cloned());
        grants
    }

    /// Whether a request may be sent. The URL is compared in the form in which it would be sent.
    pub fn allows_http(&self, method: &Method, url: &Url) -> bool {
        self.http.iter().any(|grant| grant.matches(method, url))
    }

    /// Whether anything may be sent at all, by HTTP or mail.
    pub(super) fn allow_sending(&self) -> bool {
        !self.http.is_empty() || !self.mail.is_empty()
    }

    /// Whether the secret of this name may be used in path, query and headers.
    pub fn allows_secret(&self, name: &str) -> bool {
        self.secrets.contains(name)
    }

    /// Whether the secret of this name may be used in a body.
    pub fn allows_secret_in_body(&self, name: &str) -> bool {
        self.secrets_in_body.contains(name)
    }

    /// The names of all secrets that may be used somewhere.
    pub(super) fn secrets(&self) -> impl Iterator<Item = &str> {
        self.secrets.union(&self.secrets_in_body).map(String::as_str)
    }

    /// Whether an address outside the public internet was granted.
    pub fn allows_private(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// Whether mail may go to this bare address (`ops@example.com`).
    pub fn allows_recipient(&self, address: &str) -> bool {
        self.mail.iter().any(|pattern| pattern.matches(address))
    }
}

impl TryFrom<GrantsConfig> for Grants {
    /// Every entry that cannot be used, with paths such as `grants.http[0]`.
    type Error = Vec<Fault>;

    fn try_from(config: GrantsConfig) -> Result<Self, Self::Error> {
        let mut faults = Vec::new();
        let grants = Self {
            http: parsed(&config.http, "http", HttpGrant::parse, &mut faults),
            networks: parsed(&config.private_networks, "private-networks", parse_network, &mut faults),
            mail: parsed(&config.mail, "mail", MailPattern::parse, &mut faults),
            secrets: config.secrets.into_iter().collect(),
            secrets_in_body: config.secrets_in_body.into_iter().collect(),
        };
        if faults.is_empty() { Ok(grants) } else { Err(faults) }
    }
}

fn parsed<T>(
    entries: &[String],
    key: &str,
    parse: impl Fn(&str) -> Result<T, String>,
    faults: &mut Vec<Fault>,
) -> Vec<T> {
    let mut values = Vec::new();
    for (index, entry) in entries.iter().enumerate() {
        match parse(entry) {
            Ok(value) => values.push(value),
            Err(message) => faults.push(Fault {
                path: format!("grants.{key}[{index}]"),
                value: Some(entry.as_str().into()),
                message,
            }),
        }
    }
    values
}

/// The line of a sidecar that would allow a request, with a wildcard from the first placeholder of a secret on.
pub(super) fn http_line(method: &Method, url: &Url) -> String {
    let path = url.path();
    let path = match placeholder(path) {
        Some(found) => {
            let whole_segments = path[..found.range.start].rfind('/').map_or(0, |slash| slash + 1);
            format!("{}**", &path[..whole_segments])
        }
        None => path.to_owned(),
    };
    format!("http = [\"{method} {}{path}\"]", url.origin().ascii_serialization())
}

/// The first segment of a path that `*` does not cover, since some servers take it for another path, and whether a grant that
/// names it can.
pub(super) fn odd_segment(path: &str) -> Option<(&str, bool)> {
    let is_odd = |segment: &&str| !segment.is_empty() && !is_one(segment.as_bytes());
    let segment = path.split('/').find(is_odd)?;
    Some((segment, is_in_place(segment.as_bytes())))
}

#[derive(Clone, Debug)]
struct HttpGrant {
    /// Every method if absent.
    methods: Option<Vec<Method>>,
    scheme: String,
    host: HostPattern,
    port: u16,
    path: Vec<Segment>,
}

const HTTP_EXAMPLE: &str = "\"POST https://hooks.example.com/services/**\"";

impl HttpGrant {
    fn parse(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let (Some(methods), Some(url), None) = (words.next(), words.next(), words.next()) else {
            return Err(format!("{text:?} is not a method and a URL, such as {HTTP_EXAMPLE}"));
        };
        let (scheme, rest) = url.split_once("://").unwrap_or_default();
        if !matches!(scheme, "http" | "https") {
            return Err(format!("\"{url}\" does not start with https:// or http://, as in {HTTP_EXAMPLE}"));
        }
        let slash =
            rest.find('/').ok_or_else(|| format!("has no path; to grant every path write \"{url}/**\""))?;
        let (host, port) = HostPattern::parse_authority(&rest[..slash])?;
        Ok(Self {
            methods: parse_methods(methods)?,
            port: port.unwrap_or(if scheme == "https" { 443 } else { 80 }),
            scheme: scheme.to_owned(),
            host,
            path: parse_path(&rest[slash + 1..])?,
        })
    }

    fn matches(&self, method: &Method, url: &Url) -> bool {
        self.methods.as_ref().is_none_or(|methods| methods.contains(method))
            && self.is_at(url)
            && path_matches(&self.path, url.path())
    }

    /// Whether the URL leads to its server.
    fn is_at(&self, url: &Url) -> bool {
        url.scheme() == self.scheme
            && url.port_or_known_default() == Some(self.port)
            && url.username().is_empty()
            && url.password().is_none()
            && self.host.matches(url)
    }
}

fn parse_methods(text: &str) -> Result<Option<Vec<Method>>, String> {
    if text == "*" {
        return Ok(None);
    }
    let method = |word: &str| match Method::from_bytes(word.as_bytes()) {
        Ok(method) if word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-') => Ok(method),
        _ => Err(format!("\"{word}\" is not a method such as POST; write a list GET,POST, or * for all")),
    };
    text.split(',').map(method).collect::<Result<_, _>>().map(Some)
}

fn parse_path(text: &str) -> Result<Vec<Segment>, String> {
    if let Some(odd) = text.chars().find(|odd| matches!(odd, '?' | '#' | '\\')) {
        return Err(format!("'{odd}' cannot be part of a path; a grant covers every query"));
    }
    let mut segments = text.split('/').map(Segment::parse).collect::<Result<Vec<_>, _>>()?;
    let last = segments.pop();
    if segments.contains(&Segment::Rest) {
        return Err("** stands before the end of the path; * stands for one segment".to_owned());
    }
    segments.extend(last);
    Ok(segments)
}

fn path_matches(pattern: &[Segment], path: &str) -> bool {
    let path = path.strip_prefix('/').unwrap_or(path);
    let segments: Vec<_> = path.split('/').map(str::as_bytes).collect();
    let (pattern, open) = match pattern.split_last() {
        Some((Segment::Rest, head)) => (head, true),
        _ => (pattern, false),
    };
    let long_enough = if open { segments.len() > pattern.len() } else { segments.len() == pattern.len() };
    let (head, rest) = segments.split_at(pattern.len().min(segments.len()));
    long_enough
        && pattern.iter().zip(head).all(|(pattern, segment)| pattern.matches(segment))
        && rest.iter().all(|segment| Segment::Rest.matches(segment))
}

/// A host, or every name below a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum HostPattern {
    Exact(Host<String>),
    Below(String),
}

impl HostPattern {
    /// Reads `host` or `host:port`, where the host can be `*.example.com`.
    pub(super) fn parse_authority(text: &str) -> Result<(Self, Option<u16>), String> {
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        if name == "*" || name.starts_with("*:") {
            return Err("* as the host would grant every host; name it, or write *.example.com".to_owned());
        }
        let odd = |odd: char| matches!(odd, '*' | '@' | '/' | '?' | '#' | '\\') || odd.is_whitespace();
        // A scheme without a default port, so that a port that was given is seen; parsed again, since only hosts of
        // http have addresses in all their notations.
        let port = Url::parse(&format!("any://{name}")).ok().and_then(|url| url.port());
        let host = Url::parse(&format!("http://{name}")).ok().and_then(|url| host_of(&url));
        match host {
            Some(host) if !below && !name.contains(odd) => Ok((Self::Exact(host), port)),
            Some(Host::Domain(domain)) if below && !name.contains(odd) => {
                Ok((Self::Below(format!(".{domain}")), port))
            }
            _ => Err(format!(
                "\"{text}\" is not a host such as api.example.com, *.example.com or 10.0.0.1:8080"
            )),
        }
    }

    /// Whether the URL leads to this host.
    pub(super) fn matches(&self, url: &Url) -> bool {
        host_of(url).is_some_and(|host| self.includes(&host))
    }

    /// Whether this is the host, or one below the domain.
    pub(super) fn includes(&self, host: &Host<String>) -> bool {
        match (self, host) {
            (Self::Exact(expected), host) => expected == host,
            (Self::Below(suffix), Host::Domain(name)) => {
                name.strip_suffix(suffix.as_str()).is_some_and(|label| !label.is_empty())
            }
            _ => false,
        }
    }
}

/// The host of a URL, in the form in which hosts are compared.
pub(super) fn host_of(url: &Url) -> Option<Host<String>> {
    url.host().map(|host| canonical(host.to_owned()))
}

/// The one form of a host: a name without the dot that may stand behind it, an IPv4 address that is written as one of IPv6
/// (`[::ffff:127.0.0.1]`) as what it is.
pub(super) fn canonical(host: Host<String>) -> Host<String> {
    match host {
        Host::Ipv6(address) => address.to_ipv4_mapped().map_or(Host::Ipv6(address), Host::Ipv4),
        Host::Domain(name) => Host::Domain(name.strip_suffix('.').map(str::to_owned).unwrap_or(name)),
        address => address,
    }
}

fn parse_network(text: &str) -> Result<IpNet, String> {
    let network = text.parse::<IpNet>().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    network.map_err(|_| {
        format!("\"{text}\" is not a network such as 10.1.0.0/16 or an address such as 127.0.0.1")
    })
}

#[derive(Clone, Debug)]
struct MailPattern {
    /// Everybody of the domain if absent; lower case.
    local: Option<String>,
    below: bool,
    domain: String,
}

impl MailPattern {
    fn parse(text: &str) -> Result<Self, String> {
        let (local, domain) = text.rsplit_once('@').unwrap_or_default();
        let (below, domain) = domain.strip_prefix("*.").map_or((false, domain), |domain| (true, domain));
        let odd = |odd: char| odd == '*' || odd == '@' || odd.is_whitespace();
        let plain = |part: &str| !part.is_empty() && !part.contains(odd);
        if !plain(domain) || (local != "*" && !plain(local)) {
            return Err(format!("\"{text}\" is not a recipient such as ops@example.com or *@example.com"));
        }
        let local = (local != "*").then(|| local.to_lowercase());
        Ok(Self { local, below, domain: domain.to_lowercase() })
    }

    fn matches(&self, address: &str) -> bool {
        let address = address.to_lowercase();
        let Some((local, domain)) = address.rsplit_once('@') else { return false };
        let domain_matches = if self.below {
            domain.strip_suffix(&self.domain).is_some_and(|head| head.len() > 1 && head.ends_with('.'))
        } else {
            domain == self.domain
        };
        domain_matches && self.local.as_ref().is_none_or(|expected| expected == local)
    }
}

#[cfg(test)]
mod tests;
