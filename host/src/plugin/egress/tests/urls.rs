//! URLs at random: whatever is let through leads to where the grant says, in the form in which it is sent.

use arbitrary::{Result as Chosen, Unstructured};
use http::{Method, Uri};
use url::{Host, Url};

use super::*;
use crate::plugin::egress::outgoing::Outgoing;

const SCHEMES: [&str; 3] = ["http", "https", "HTTP"];
const HOSTS: [&str; 14] = [
    "a.example",
    "A.Example",
    "a.example.",
    "b.a.example",
    "a.example.evil.example",
    "a.example@evil.example",
    "evil.example",
    "xn--bcher-kva.example",
    "127.0.0.1",
    "0x7f.1",
    "2130706433",
    "[::1]",
    "[::ffff:127.0.0.1]",
    "user:pw@a.example",
];
const PORTS: [&str; 5] = ["", ":80", ":443", ":8080", ":08080"];
const PARTS: [&str; 18] = [
    "a",
    "b",
    "A",
    "",
    ".",
    "..",
    "%2e",
    "%2E%2e",
    "..%2f",
    "%2f",
    "%5c",
    "a%2fb",
    "..;x",
    "%252e%252e",
    "é",
    "*",
    "a b",
    "\\",
];
const QUERIES: [&str; 4] = ["", "?x=1", "?/../a", "?u=http://evil.example/"];
const GRANTS: [&str; 9] = [
    "POST https://a.example/**",
    "POST https://a.example/a/**",
    "POST http://a.example/a/*/b",
    "POST http://a.example:8080/a",
    "POST https://*.example/a/**",
    "POST https://*.a.example/**",
    "POST http://127.0.0.1/**",
    "POST http://[::1]:8080/a/**",
    "POST https://xn--bcher-kva.example/**",
];

/// A grant and a URL that is near to what it grants.
fn grant_and_url(choices: &mut Unstructured<'_>) -> Chosen<(&'static str, String)> {
    let grant = *choices.choose(&GRANTS)?;
    Ok((grant, near(grant, choices)?))
}

fn near(grant: &str, choices: &mut Unstructured<'_>) -> Chosen<String> {
    let (scheme, host, port, path) = parts(grant);
    let scheme = mostly(scheme, &SCHEMES, choices)?;
    let (host, port) = (host.replace('*', "b"), format!(":{port}"));
    let (host, port) = (mostly(&host, &HOSTS, choices)?, mostly(&port, &PORTS, choices)?);
    let begins = choices.ratio(4, 5)?;
    let granted = path.iter().filter(|part| begins && **part != "**").map(|part| part.replace('*', "x"));
    let mut path: Vec<_> = granted.collect();
    for _ in 0..choices.int_in_range(0..=3)? {
        path.push((*choices.choose(&PARTS)?).to_owned());
    }
    let query = choices.choose(&QUERIES)?;
    Ok(format!("{scheme}://{host}{port}/{}{query}", path.join("/")))
}

fn mostly(own: &str, others: &[&str], choices: &mut Unstructured<'_>) -> Chosen<String> {
    let own = if choices.ratio(3, 4)? { own } else { choices.choose(others)? };
    Ok(own.to_owned())
}

/// The parts of a grant, read by hand: scheme, host, port and the segments of the path.
fn parts(grant: &str) -> (&str, &str, u16, Vec<&str>) {
    let (scheme, rest) = grant.strip_prefix("POST ").unwrap().split_once("://").unwrap();
    let (authority, path) = rest.split_once('/').unwrap();
    let default = if scheme == "https" { 443 } else { 80 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().unwrap()),
        _ => (authority, default),
    };
    (scheme, host, port, path.split('/').collect())
}

fn host_fits(granted: &str, host: &Host<&str>) -> bool {
    match granted.strip_prefix('*') {
        Some(suffix) => {
            matches!(host, Host::Domain(name) if name.ends_with(suffix) && name.len() > suffix.len())
        }
        None => host.to_string() == granted,
    }
}

/// What a server makes of a path that it decodes and resolves as carelessly as can be.
fn carelessly(path: &str) -> Vec<String> {
    let mut path = path.to_owned();
    for _ in 0..3 {
        path = percent_encoding::percent_decode_str(&path).decode_utf8_lossy().into_owned();
    }
    let mut segments = Vec::new();
    for segment in path.split(['/', '\\']).skip(1) {
        match segment.split(';').next().unwrap_or_default() {
            ".." => _ = segments.pop(),
            "." => {}
            _ => segments.push(segment.to_owned()),
        }
    }
    segments
}

fn path_fits(granted: &[&str], path: &str) -> bool {
    let segments = carelessly(path);
    let fits = |(granted, segment): (&&str, &String)| matches!(*granted, "*" | "**") || *granted == segment;
    let open = granted.last() == Some(&"**");
    let fixed = granted.len() - usize::from(open);
    segments.len() >= fixed
        && granted[..fixed].iter().zip(&segments).all(fits)
        && (open || segments.len() == fixed)
}

fn sent(grant: &str, url: &str) -> Option<(Url, Request<Full<Bytes>>)> {
    let uri: Uri = url.parse().ok()?;
    let (head, ()) = Request::builder().method(Method::POST).uri(uri).body(()).unwrap().into_parts();
    let granted = grants(&[grant.to_owned()], &[], &[]);
    let outgoing = Outgoing::prepare(head, &granted, &Secrets::default()).ok()?;
    let url = outgoing.url().clone();
    Some((url, outgoing.into_request(Bytes::new()).ok()?))
}

#[test]
fn what_is_let_through_leads_to_where_the_grant_says() {
    bolero::check!(name = "urls").with_iterations(5_000).for_each(|bytes: &[u8]| {
        if let Ok((grant, url)) = grant_and_url(&mut Unstructured::new(bytes)) {
            leads_to_where_it_should(grant, &url);
        }
        // The fuzzer's own words, too.
        leads_to_where_it_should(GRANTS[0], &String::from_utf8_lossy(bytes));
    });
}

fn leads_to_where_it_should(grant: &str, url: &str) {
    let Some((dialled, request)) = sent(grant, url) else { return };
    let (scheme, host, port, path) = parts(grant);
    assert_eq!(dialled.scheme(), scheme);
    assert!(host_fits(host, &dialled.host().unwrap()), "{dialled} for {grant}");
    assert_eq!(dialled.port_or_known_default(), Some(port));
    // What a server reads, put together again, is the URL that was checked and whose host is dialled.
    let told = request.headers()["host"].to_str().unwrap();
    let read = Url::parse(&format!("{scheme}://{told}{}", request.uri())).unwrap();
    assert_eq!(read, dialled);
    assert!(request.uri().authority().is_none() && request.uri().path().starts_with('/'));
    assert!(path_fits(&path, request.uri().path()), "{} for {grant}", request.uri());
}

#[test]
fn some_of_them_are_let_through() {
    for (grant, url) in [
        (GRANTS[0], "https://A.Example.:443/a/../é?x=1"),
        (GRANTS[2], "http://a.example/a/A/b"),
        (GRANTS[6], "http://0x7f.1/a//b"),
        (GRANTS[7], "http://[::1]:08080/a/b"),
    ] {
        assert!(sent(grant, url).is_some(), "{url} for {grant}");
    }
}
