//! What a web page has a browser send. Pages of other sites may read, which browsers keep them from seeing, and not post: not
//! with a key that the browser adds by itself, and not where no key is asked for. The rules are those of
//! `CrossOriginProtection` in Go's `net/http`. Programs say nothing of a page, and pass.

use axum::extract::{Request, State};
use axum::http::header::ORIGIN;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;

use super::Surroundings;
use super::code::Code;
use super::error::ApiError;
use super::peer::{Peer, is_named_locally, is_own_origin};

/// By which browsers say what the page has to do with the address that it asks.
const SITE: &str = "sec-fetch-site";

/// Refuses what a page of another site has a browser send.
pub(super) async fn refuse_foreign(
    State(surroundings): State<Surroundings>,
    request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let (parts, body) = request.into_parts();
    match fault(&parts, &surroundings.cors_origins, surroundings.access.current().asks()) {
        None => Ok(next.run(Request::from_parts(parts, body)).await),
        Some(message) => Err(ApiError::new(Code::ForeignOrigin, message)),
    }
}

/// Why a page may not have this sent. `allowed` are the origins that may; `asks` is whether a key or signature is asked for.
fn fault(parts: &Parts, allowed: &[HeaderValue], asks: bool) -> Option<String> {
    let (origin, site) = (parts.headers.get(ORIGIN), parts.headers.get(SITE));
    let reads = matches!(parts.method, Method::GET | Method::HEAD | Method::OPTIONS);
    let is_allowed = origin.is_some_and(|origin| allowed.contains(origin));
    if reads || is_allowed || origin.is_none() && site.is_none() {
        return None;
    }
    let page = origin.map_or("?".into(), |origin| String::from_utf8_lossy(origin.as_bytes()));
    let is_own = match site {
        Some(site) => site == "same-origin" || site == "none",
        None => origin.is_none_or(|origin| is_own_origin(parts, origin)),
    };
    if !is_own {
        return Some(format!(
            "a page of {page} had a browser send this: if it may, list it in `cors-origins` under [webhook]"
        ));
    }
    // Of a name that its owner lets lead to this machine, a page passes for ours: DNS rebinding.
    let is_rebound = !asks && is_loopback(parts) && !is_named_locally(parts);
    is_rebound.then(|| {
        format!(
            "a page of {page} had a browser send this to its own machine: use localhost or an address, or list it in \
             `cors-origins` under [webhook], or have posts ask for a key (`campanile keys new NAME`)"
        )
    })
}

fn is_loopback(parts: &Parts) -> bool {
    let address = parts.extensions.get::<Peer>().and_then(|peer| peer.address());
    address.is_some_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Sent {
        method: &'static str,
        peer: &'static str,
        host: &'static str,
        headers: &'static [(&'static str, &'static str)],
    }

    const PLAIN: Sent = Sent { method: "POST", peer: "127.0.0.1:9", host: "127.0.0.1:8000", headers: &[] };

    fn passes(sent: &Sent, asks: bool) -> bool {
        let mut request =
            Request::builder().method(sent.method).uri("/webhook/grafana").header("host", sent.host);
        for (name, value) in sent.headers {
            request = request.header(*name, *value);
        }
        let mut parts = request.body(()).unwrap().into_parts().0;
        parts.extensions.insert(Peer::Tcp(sent.peer.parse().unwrap()));
        fault(&parts, &[HeaderValue::from_static("https://status.example")], asks).is_none()
    }

    #[test]
    fn programs_pass_by_any_name_and_through_any_proxy() {
        for host in
            ["127.0.0.1:8000", "localhost", "alerts.example.com", "campanile:8000", "host.docker.internal"]
        {
            for peer in ["127.0.0.1:9", "192.0.2.7:9", "[::1]:9"] {
                for headers in [&[][..], &[("x-forwarded-for", "192.0.2.7"), ("via", "1.1 nginx")]] {
                    let sent = Sent { host, peer, headers, ..PLAIN };
                    assert!(passes(&sent, false) && passes(&sent, true), "{host} {peer} {headers:?}");
                }
            }
        }
    }

    #[test]
    fn a_page_of_another_site_posts_only_if_it_is_listed() {
        let foreign: [&[(&str, &str)]; 9] = [
            &[("sec-fetch-site", "cross-site")],
            &[("sec-fetch-site", "same-site")],
            &[("sec-fetch-site", "?")],
            &[("origin", "http://evil.example")],
            &[("origin", "null")],
            &[("origin", "http://127.0.0.1:8001")],
            &[("origin", "http://127.0.0.1:8000.evil.example")],
            &[("origin", "http://127.0.0.1:8000"), ("sec-fetch-site", "cross-site")],
            &[("origin", "https://status.example.evil.example"), ("sec-fetch-site", "cross-site")],
        ];
        for headers in foreign {
            for method in ["POST", "PUT", "DELETE", "PATCH"] {
                let sent = Sent { headers, method, ..PLAIN };
                assert!(!passes(&sent, false) && !passes(&sent, true), "{method} {headers:?}");
            }
            for method in ["GET", "HEAD", "OPTIONS"] {
                assert!(passes(&Sent { headers, method, ..PLAIN }, false), "{method} {headers:?}");
            }
        }
        let listed: &[_] = &[("origin", "https://status.example"), ("sec-fetch-site", "cross-site")];
        assert!(passes(&Sent { headers: listed, ..PLAIN }, false));
    }

    #[test]
    fn the_hosts_own_pages_post() {
        let own: [&[(&str, &str)]; 3] = [
            &[("origin", "http://127.0.0.1:8000"), ("sec-fetch-site", "same-origin")],
            &[("origin", "http://127.0.0.1:8000")],
            &[("sec-fetch-site", "none")],
        ];
        for headers in own {
            assert!(passes(&Sent { headers, ..PLAIN }, false), "{headers:?}");
        }
        // A proxy that ends TLS and writes its own `host`, in front of a host that asks for keys.
        let proxied: &[_] = &[("origin", "https://alerts.example.com"), ("sec-fetch-site", "same-origin")];
        assert!(passes(&Sent { headers: proxied, ..PLAIN }, true));
        let elsewhere: &[_] = &[("origin", "http://alerts:8000"), ("sec-fetch-site", "same-origin")];
        assert!(passes(
            &Sent { headers: elsewhere, host: "alerts:8000", peer: "192.0.2.7:9", ..PLAIN },
            false
        ));
    }

    #[test]
    fn a_page_whose_name_leads_to_this_machine_posts_only_with_a_key() {
        let rebound: [&[(&str, &str)]; 3] = [
            &[("origin", "http://evil.example:8000")],
            &[("origin", "http://evil.example:8000"), ("sec-fetch-site", "same-origin")],
            &[("origin", "http://evil.example:8000"), ("x-forwarded-for", "192.0.2.7")],
        ];
        for headers in rebound {
            let sent = Sent { host: "evil.example:8000", headers, ..PLAIN };
            assert!(!passes(&sent, false) && passes(&sent, true), "{headers:?}");
        }
    }
}
