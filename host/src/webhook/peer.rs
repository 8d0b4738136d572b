//! Who is at the other end of a connection.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderValue;
use axum::http::header::{HOST, ORIGIN};
use axum::http::request::Parts;
use axum::http::uri::Authority;

/// Headers by which proxies say for whom they ask, besides those that begin with `x-forwarded`.
const FORWARDED: [&str; 7] = [
    "forwarded",
    "via",
    "x-real-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "true-client-ip",
    "cf-connecting-ip",
];

/// The other end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// Over TCP.
    Tcp(SocketAddr),
    /// Through a socket file: somebody on this machine who may open it.
    Unix,
}

impl Peer {
    /// Its address.
    pub(super) fn address(self) -> Option<IpAddr> {
        match self {
            Peer::Tcp(address) => Some(address.ip().to_canonical()),
            Peer::Unix => None,
        }
    }

    /// Whether a request comes from this machine itself: not through a proxy on it, and not from a page of somebody else's
    /// in a browser on it.
    pub(super) fn is_local(self, parts: &Parts) -> bool {
        let is_forwarded = parts
            .headers
            .keys()
            .any(|name| name.as_str().starts_with("x-forwarded") || FORWARDED.contains(&name.as_str()));
        let is_here = match self {
            Peer::Tcp(address) => address.ip().to_canonical().is_loopback() && is_named_locally(parts),
            Peer::Unix => true,
        };
        is_here && !is_forwarded && !is_of_another_page(parts)
    }
}

/// Whether the request is for this machine by its own name or an address: any other name may be one that somebody lets lead
/// here, so that a browser takes his page for ours.
pub(super) fn is_named_locally(parts: &Parts) -> bool {
    let Some(authority) = authority(parts) else { return false };
    let host = authority.host().trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || host.parse::<IpAddr>().is_ok()
}

fn authority(parts: &Parts) -> Option<Authority> {
    let of_host = || Authority::try_from(parts.headers.get(HOST)?.as_bytes()).ok();
    parts.uri.authority().cloned().or_else(of_host)
}

/// Browsers say whose page asks.
fn is_of_another_page(parts: &Parts) -> bool {
    let site = parts.headers.get("sec-fetch-site");
    let is_cross = site.is_some_and(|site| site != "same-origin" && site != "none");
    is_cross || parts.headers.get(ORIGIN).is_some_and(|origin| !is_own_origin(parts, origin))
}

/// Whether an origin is the address that was asked, but for the scheme, which a proxy may have ended.
pub(super) fn is_own_origin(parts: &Parts, origin: &HeaderValue) -> bool {
    let origin = origin.to_str().unwrap_or("?");
    let origin = origin.split_once("://").map_or(origin, |(_, authority)| authority);
    authority(parts).is_some_and(|own| own.as_str() == origin)
}
