//! Which addresses belong to the public internet, and looking a name up so that only those, and granted ones, remain.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::LazyLock;

use ipnet::{Ipv4Net, Ipv6Net};
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};
use wasmtime_wasi_http::Error;

use super::failure::Failure;
use super::off_limits::{OffLimits, refused};
use super::resolver::Resolver;
use crate::plugin::grants::{Grants, host_of};

/// How many addresses of one name are tried.
const MOST_ADDRESSES: usize = 8;

/// IPv4 outside the public internet: the IANA special-purpose registry, and one cloud's metadata service that sits at a
/// public address.
static SPECIAL_V4: LazyLock<Vec<(Ipv4Net, &str)>> = LazyLock::new(|| {
    networks(&[
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by carriers"),
        ("127.0.0.0/8", "loopback"),
        ("168.63.129.16/32", "a cloud's metadata service"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata service"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "for documentation"),
        ("192.88.99.0/24", "a 6to4 relay"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "for benchmarks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    ])
});

/// IPv6 within the global range that is not public after all.
static SPECIAL_V6: LazyLock<Vec<(Ipv6Net, &str)>> = LazyLock::new(|| {
    networks(&[
        ("2001::/23", "reserved for protocols such as Teredo"),
        ("2001:db8::/32", "for documentation"),
        ("2002::/16", "6to4, which embeds an IPv4 address"),
        ("3fff::/20", "for documentation"),
    ])
});

static GLOBAL_V6: LazyLock<Ipv6Net> = LazyLock::new(|| network("2000::/3"));
static NAT64: LazyLock<Ipv6Net> = LazyLock::new(|| network("64:ff9b::/96"));

fn networks<N: std::str::FromStr<Err: std::fmt::Debug>>(
    table: &[(&str, &'static str)],
) -> Vec<(N, &'static str)> {
    table.iter().map(|(text, kind)| (network(text), *kind)).collect()
}

fn network<N: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> N {
    text.parse().expect("the tables hold networks")
}

/// What keeps an address out of the public internet; nothing if it is part of it.
pub(in crate::plugin) fn special(address: IpAddr) -> Option<&'static str> {
    match address.to_canonical() {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    SPECIAL_V4.iter().find(|(network, _)| network.contains(&address)).map(|(_, kind)| *kind)
}

fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(embedded) = behind_nat64(address) {
        return special_v4(embedded);
    }
    if !GLOBAL_V6.contains(&address) {
        return Some(match () {
            () if address.is_loopback() => "loopback",
            () if address.is_multicast() => "multicast",
            () if address.is_unicast_link_local() => "link-local",
            () if address.is_unique_local() => "private",
            () => "reserved",
        });
    }
    SPECIAL_V6.iter().find(|(network, _)| network.contains(&address)).map(|(_, kind)| *kind)
}

/// The IPv4 address that the well-known NAT64 prefix leads to. In networks with IPv6 only, every old name resolves to
/// such an address, so it is judged by what it leads to.
fn behind_nat64(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = address.octets();
    NAT64.contains(&address).then(|| Ipv4Addr::new(a, b, c, d))
}

/// Whether the plugin may be connected to an address: it is public, or granted in one of its notations.
fn is_allowed(address: IpAddr, grants: &Grants) -> bool {
    special(address).is_none()
        || grants.allows_private(address.to_canonical())
        || embedded(address).is_some_and(|embedded| grants.allows_private(embedded))
}

fn embedded(address: IpAddr) -> Option<IpAddr> {
    match address {
        IpAddr::V6(address) => behind_nat64(address).map(IpAddr::V4),
        IpAddr::V4(_) => None,
    }
}

/// The addresses of the URL's host that may be dialled, looked up once: whoever dials them asks no name server again,
/// so a name cannot lead elsewhere in between.
pub(super) async fn resolve(
    resolver: &Resolver,
    off_limits: &OffLimits,
    url: &Url,
    grants: &Grants,
    by: Instant,
) -> Result<Vec<SocketAddr>, Failure> {
    let closed = off_limits.closed(resolver, url, by).await?;
    let what = |ip| closed.iter().find_map(|closed| closed.is_at(ip, embedded(ip)));
    let found = look_up(resolver, url, by).await?;
    let granted = || found.iter().copied().filter(|found| is_allowed(found.ip(), grants));
    let allowed: Vec<_> = granted().filter(|found| what(found.ip()).is_none()).collect();
    match (found.first(), granted().find_map(|found| what(found.ip()))) {
        (None, _) => Err(unknown_name(url, "it has no addresses")),
        (Some(_), _) if !allowed.is_empty() => Ok(allowed.into_iter().take(MOST_ADDRESSES).collect()),
        (Some(_), Some(what)) => Err(refused(url, what)),
        (Some(first), None) => Err(prohibited(url, first.ip().to_canonical())),
    }
}

async fn look_up(resolver: &Resolver, url: &Url, by: Instant) -> Result<Vec<SocketAddr>, Failure> {
    let port = url.port_or_known_default().unwrap_or_default();
    let name = match host_of(url) {
        Some(Host::Ipv4(address)) => return Ok(vec![(address, port).into()]),
        Some(Host::Ipv6(address)) => return Ok(vec![(address, port).into()]),
        Some(Host::Domain(name)) => name,
        None => return Err(Failure::new(Error::HttpRequestUriInvalid, "the URL has no host")),
    };
    match timeout_at(by, resolver.look_up(&name, port)).await {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(error)) => Err(unknown_name(url, &io_text(&error))),
        Err(_) => Err(Failure::new(Error::DnsTimeout, format!("looking up {name} took too long"))),
    }
}

fn io_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.strip_prefix("failed to lookup address information: ").map(str::to_owned).unwrap_or(text)
}

fn unknown_name(url: &Url, why: &str) -> Failure {
    let code = Error::DnsError { rcode: Some(why.to_owned()), info_code: None };
    Failure::new(code, format!("{} cannot be looked up: {why}", url.host_str().unwrap_or_default()))
}

fn prohibited(url: &Url, address: IpAddr) -> Failure {
    let host = url.host_str().unwrap_or_default();
    let kind = special(address).unwrap_or("reserved");
    let text = format!(
        "{host} leads to {address}, which is {kind}; to allow it, add to [grants]: private-networks = [\"{address}\"]"
    );
    Failure::new(Error::DestinationIpProhibited, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::grants::GrantsConfig;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn granted(networks: &[&str]) -> Grants {
        let private_networks = networks.iter().map(|network| (*network).to_owned()).collect();
        Grants::try_from(GrantsConfig { private_networks, ..GrantsConfig::default() }).unwrap()
    }

    #[test]
    fn public_addresses_are_public() {
        for address in [
            "1.1.1.1",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.3.1",
            "2606:4700::1111",
            "2a00::1",
            "2001:4860::8",
        ] {
            assert_eq!(special(ip(address)), None, "{address}");
        }
        assert_eq!(special(ip("64:ff9b::1.1.1.1")), None);
        assert_eq!(special(ip("::ffff:1.1.1.1")), None);
    }

    #[test]
    fn everything_else_is_refused() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "10.255.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.170",
            "192.0.2.1",
            "192.88.99.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::ffff:10.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::a9fe:a9fe",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(special(ip(address)).is_some(), "{address}");
            assert!(!is_allowed(ip(address), &Grants::none()), "{address}");
        }
    }

    #[test]
    fn a_granted_network_is_allowed_in_every_notation() {
        let grants = granted(&["127.0.0.0/8", "fd00::/8", "10.1.2.3"]);
        for address in ["127.0.0.1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1", "fd00::5", "10.1.2.3"] {
            assert!(is_allowed(ip(address), &grants), "{address}");
        }
        for address in ["10.1.2.4", "::1", "fc00::1", "169.254.169.254"] {
            assert!(!is_allowed(ip(address), &grants), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_that_leads_home_is_refused_with_the_grant_that_allows_it() {
        let by = Instant::now() + std::time::Duration::from_secs(5);
        for url in
            ["http://localhost:1/", "http://2130706433/", "http://[::ffff:127.0.0.1]/", "http://0x7f.1/"]
        {
            let (resolver, url) = (Resolver::System, Url::parse(url).unwrap());
            let failure =
                resolve(&resolver, &OffLimits::default(), &url, &Grants::none(), by).await.unwrap_err();
            assert!(matches!(failure.code, Error::DestinationIpProhibited), "{url}: {failure:?}");
            assert!(failure.text.contains("private-networks = [\""), "{failure:?}");
        }
        let url = Url::parse("http://localhost:81/").unwrap();
        let grants = granted(&["127.0.0.1", "::1"]);
        let found = resolve(&Resolver::System, &OffLimits::default(), &url, &grants, by).await.unwrap();
        assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 81), "{found:?}");
    }
}
