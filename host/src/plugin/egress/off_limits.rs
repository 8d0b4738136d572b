//! What no plugin connects to, whatever it is granted: the host's own listeners, Temporal and its web UI. There a plugin would be the
//! administrator of its own host. Compared are the address that is about to be dialled, and the port.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::time::{Instant, timeout_at};
use url::{Host, Url};

use super::failure::Failure;
use super::resolver::Resolver;
use crate::plugin::grants::host_of;

/// The services of one host that its plugins cannot reach. Cheap to clone; what is added is known to all clones.
#[derive(Clone, Debug, Default)]
pub struct OffLimits(Arc<ArcSwap<Vec<Service>>>);

#[derive(Clone, Debug)]
struct Service {
    what: &'static str,
    place: Place,
    port: u16,
}

impl Service {
    fn listening(what: &'static str, address: SocketAddr) -> Self {
        let place = match address.ip() {
            ip if ip.is_unspecified() => Place::Everywhere,
            ip => Place::Address(ip.to_canonical()),
        };
        Self { what, place, port: address.port() }
    }
}

#[derive(Clone, Debug)]
enum Place {
    Address(IpAddr),
    /// Every address of this machine.
    Everywhere,
    /// Whatever addresses it has.
    Name(String),
    /// A name that shares its address and port with other names, as behind an ingress: only the name tells them apart.
    VirtualHost(String),
}

/// The addresses of a service on the port that was asked for.
pub(super) struct Closed {
    what: &'static str,
    addresses: Addresses,
}

enum Addresses {
    These(Vec<IpAddr>),
    OfThisMachine,
}

impl OffLimits {
    /// A listener of this host. `what` is its name in messages, such as "this host itself".
    pub fn add_listener(&self, what: &'static str, address: SocketAddr) {
        self.add(Service::listening(what, address));
    }

    /// The listeners of a process of this host, instead of those that it had under this name before.
    pub fn replace_listeners(&self, what: &'static str, addresses: &[SocketAddr]) {
        self.0.rcu(|services| {
            let others = services.iter().filter(|service| service.what != what).cloned();
            let listeners = addresses.iter().map(|address| Service::listening(what, *address));
            others.chain(listeners).collect::<Vec<_>>()
        });
    }

    /// A service at a URL, such as `http://temporal.example.com:7233`. A text that is no URL leads nowhere.
    pub fn add_url(&self, what: &'static str, url: &str) {
        let Ok(url) = Url::parse(url) else { return };
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else { return };
        // Gives names of schemes other than http the form that they have there, and addresses in all notations.
        let host = Url::parse(&format!("http://{host}")).ok().as_ref().and_then(host_of);
        let place = match host {
            Some(Host::Ipv4(ip)) => Place::Address(ip.into()),
            Some(Host::Ipv6(ip)) => Place::Address(IpAddr::from(ip).to_canonical()),
            Some(Host::Domain(name)) if matches!(port, 80 | 443) => Place::VirtualHost(name),
            Some(Host::Domain(name)) => Place::Name(name),
            None => return,
        };
        self.add(Service { what, place, port });
    }

    fn add(&self, service: Service) {
        self.0.rcu(|services| {
            let mut services = Vec::clone(services);
            services.push(service.clone());
            services
        });
    }

    /// The services that may be meant by a URL, as they can be reached now.
    pub(super) async fn closed(
        &self,
        resolver: &Resolver,
        url: &Url,
        by: Instant,
    ) -> Result<Vec<Closed>, Failure> {
        let services = self.0.load_full();
        let port = url.port_or_known_default();
        let mut closed = Vec::new();
        for Service { what, place, port } in services.iter().filter(|service| Some(service.port) == port) {
            let addresses = match place {
                Place::Address(ip) => Addresses::These(vec![*ip]),
                Place::Everywhere => Addresses::OfThisMachine,
                Place::Name(name) => Addresses::These(addresses_of(resolver, name, *port, what, by).await?),
                Place::VirtualHost(name) if host_of(url) == Some(Host::Domain(name.clone())) => {
                    return Err(refused(url, what));
                }
                Place::VirtualHost(_) => continue,
            };
            closed.push(Closed { what, addresses });
        }
        Ok(closed)
    }
}

/// Not knowing where the service is, is no reason to let a plugin try.
async fn addresses_of(
    resolver: &Resolver,
    name: &str,
    port: u16,
    what: &str,
    by: Instant,
) -> Result<Vec<IpAddr>, Failure> {
    match timeout_at(by, resolver.look_up(name, port)).await {
        Ok(Ok(found)) => Ok(found.iter().map(|address| address.ip().to_canonical()).collect()),
        _ => Err(Failure::denied(format!(
            "port {port} is that of {what}, and {name} cannot be looked up now, to tell the two apart"
        ))),
    }
}

impl Closed {
    /// What is at this address, if it is the service's. `embedded` is the address that one behind NAT64 leads to.
    pub(super) fn is_at(&self, address: IpAddr, embedded: Option<IpAddr>) -> Option<&'static str> {
        let mut candidates = [Some(dialled(address)), embedded.map(dialled)].into_iter().flatten();
        let is_here = match &self.addresses {
            Addresses::These(addresses) => candidates.any(|address| addresses.contains(&address)),
            Addresses::OfThisMachine => candidates.any(is_of_this_machine),
        };
        is_here.then_some(self.what)
    }
}

/// The address that is connected to: the kernel takes the unspecified ones for loopback.
fn dialled(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        address => address,
    }
}

/// Only addresses of this machine can be bound. Every other answer of the system than "not mine" counts as mine.
fn is_of_this_machine(address: IpAddr) -> bool {
    let bound = UdpSocket::bind((address, 0));
    bound.is_ok() || bound.is_err_and(|error| error.kind() != ErrorKind::AddrNotAvailable)
}

pub(super) fn refused(url: &Url, what: &str) -> Failure {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or_default();
    Failure::denied(format!(
        "{host}:{port} leads to {what}, which no plugin may reach, whatever it is granted"
    ))
}
