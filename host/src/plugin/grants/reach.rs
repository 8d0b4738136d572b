//! Whether a setting that is an address leads anywhere: the plugin may ask that very address, or addresses below it.

use http::Method;
use url::Url;

use super::segment::Segment;
use super::{Grants, HttpGrant, path_matches};

impl Grants {
    /// Whether a request to this address, or to one below it, may be sent by one of these methods; by any of all if there are none.
    /// Of an open address only the beginning is known.
    pub(in crate::plugin) fn reach(&self, methods: &[Method], url: &Url, is_open: bool) -> bool {
        let is_covered = |grant: &&HttpGrant| {
            !is_open && path_matches(&grant.path, url.path()) || is_above(&grant.path, url.path())
        };
        let may = |grant: &&HttpGrant| match &grant.methods {
            Some(granted) if !methods.is_empty() => methods.iter().any(|method| granted.contains(method)),
            _ => true,
        };
        self.http.iter().filter(|grant| grant.is_at(url)).filter(may).any(|grant| is_covered(&grant))
    }
}

/// The methods of a request that a plugin asks for in the form of a grant; none if it asks for all.
pub(in crate::plugin) fn methods(wish: &str) -> Vec<Method> {
    HttpGrant::parse(wish).ok().and_then(|wish| wish.methods).unwrap_or_default()
}

/// Whether a pattern goes on below a path.
fn is_above(pattern: &[Segment], path: &str) -> bool {
    let mut pattern = pattern.iter();
    for segment in path.split('/').filter(|segment| !segment.is_empty()) {
        match pattern.next() {
            Some(Segment::Rest) => return true,
            Some(expected) if expected.matches(segment.as_bytes()) => {}
            _ => return false,
        }
    }
    pattern.next().is_some()
}

#[cfg(test)]
mod tests {
    use super::super::GrantsConfig;
    use super::*;

    #[test]
    fn an_address_leads_to_itself_or_to_what_is_below() {
        for (grant, address, is_open, expected) in [
            ("POST https://a.example/x/**", "https://a.example/x/y", false, true),
            ("POST https://a.example/x", "https://a.example/x", false, true),
            ("POST https://a.example/x", "https://a.example/y", false, false),
            ("POST https://a.example/x", "https://a.example/x/y", false, false),
            ("POST https://a.example/x", "https://b.example/x", false, false),
            ("POST https://a.example/x", "http://a.example/x", false, false),
            ("POST https://a.example/x", "https://a.example:8443/x", false, false),
            ("GET https://a.example/x", "https://a.example/x", false, false),
            ("GET,POST https://a.example/x", "https://a.example/x", false, true),
            ("* https://a.example/x", "https://a.example/x", false, true),
            ("POST https://a.example/rest/api/issue/*", "https://a.example", false, true),
            ("POST https://a.example/rest/api/issue/*", "https://a.example/rest/", false, true),
            ("POST https://a.example/rest/api/issue/*", "https://a.example/other", false, false),
            ("POST https://*.example/**", "https://a.example/x?y=z", false, true),
            ("POST https://a.example/hooks/*", "https://a.example/hooks/", true, true),
            ("POST https://a.example/hooks", "https://a.example/hooks/", true, false),
            ("POST https://a.example/**", "https://a.example/", true, true),
        ] {
            let config = GrantsConfig { http: vec![grant.to_owned()], ..GrantsConfig::default() };
            let grants = Grants::try_from(config).unwrap();
            let reach = grants.reach(&[Method::POST], &address.parse().unwrap(), is_open);
            assert_eq!(reach, expected, "{grant} for {address}");
        }
    }

    #[test]
    fn without_a_known_method_any_will_do() {
        let config =
            GrantsConfig { http: vec!["PUT https://a.example/x".to_owned()], ..GrantsConfig::default() };
        let grants = Grants::try_from(config).unwrap();
        let url = "https://a.example/x".parse().unwrap();
        assert!(grants.reach(&[], &url, false) && !grants.reach(&[Method::POST], &url, false));
        assert_eq!(methods("GET,POST https://a.example/x"), [Method::GET, Method::POST]);
        assert!(methods("* https://a.example/x").is_empty() && methods("any").is_empty());
    }
}
