//! Who is at the other end of a connection.

use std::net::SocketAddr;

use axum::http::HeaderMap;

/// Headers by which proxies say for whom they ask.
const FORWARDED: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Through a socket file: somebody on this machine who may open it.
    Unix,
}

impl Peer {
    /// Whether a request comes from this machine itself, not through a proxy on it.
    pub(super) fn is_local(self, headers: &HeaderMap) -> bool {
        let is_forwarded = FORWARDED.iter().any(|name| headers.contains_key(*name));
        let is_here = match self {
            Peer::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Peer::Unix => true,
        };
        is_here && !is_forwarded
    }
}
