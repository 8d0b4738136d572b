//! Whether what a plugin asks for is granted already: a request in the form of a grant, compared with the grants.

use url::Host;

use super::segment::{Segment, is_one};
use super::{Grants, HostPattern, HttpGrant};

impl Grants {
    /// Whether every request that `wish` stands for is granted.
    ///
    /// # Errors
    ///
    /// `wish` is not in the form of a grant; the text says what is.
    pub fn covers_http(&self, wish: &str) -> Result<bool, String> {
        let wish = HttpGrant::parse(wish)?;
        Ok(self.http.iter().any(|grant| grant.covers(&wish)))
    }
}

impl HttpGrant {
    fn covers(&self, wish: &Self) -> bool {
        let methods = match (&self.methods, &wish.methods) {
            (None, _) => true,
            (Some(granted), Some(wanted)) => wanted.iter().all(|method| granted.contains(method)),
            (Some(_), None) => false,
        };
        methods
            && (&self.scheme, self.port) == (&wish.scheme, wish.port)
            && host_covers(&self.host, &wish.host)
            && path_covers(&self.path, &wish.path)
    }
}

fn host_covers(granted: &HostPattern, wanted: &HostPattern) -> bool {
    match (granted, wanted) {
        (HostPattern::Exact(granted), HostPattern::Exact(wanted)) => granted == wanted,
        (HostPattern::Below(suffix), HostPattern::Exact(Host::Domain(name))) => {
            name.strip_suffix(suffix.as_str()).is_some_and(|label| !label.is_empty())
        }
        (HostPattern::Below(granted), HostPattern::Below(wanted)) => wanted.ends_with(granted.as_str()),
        _ => false,
    }
}

fn path_covers(granted: &[Segment], wanted: &[Segment]) -> bool {
    let (head, open) = match granted.split_last() {
        Some((Segment::Rest, head)) => (head, true),
        _ => (granted, false),
    };
    let long_enough = if open { wanted.len() > head.len() } else { wanted.len() == head.len() };
    long_enough && head.iter().zip(wanted).all(|(granted, wanted)| segment_covers(granted, wanted))
}

fn segment_covers(granted: &Segment, wanted: &Segment) -> bool {
    match (granted, wanted) {
        (Segment::One, Segment::Literal(text)) => is_one(text),
        _ => granted == wanted,
    }
}

#[cfg(test)]
mod tests {
    use super::super::GrantsConfig;
    use super::*;

    #[test]
    fn a_wish_is_granted_if_every_request_it_stands_for_is() {
        for (grant, wish, expected) in [
            ("POST https://a.example/x/**", "POST https://a.example/x/**", true),
            ("POST https://a.example/**", "POST https://a.example/x/**", true),
            ("POST https://a.example/x/**", "POST https://a.example/**", false),
            ("POST https://a.example/x/*", "POST https://a.example/x/y", true),
            ("POST https://a.example/x/*", "POST https://a.example/x/**", false),
            ("POST https://a.example/x", "POST https://a.example/x/**", false),
            ("POST https://a.example/x/*", "POST https://a.example/x/", false),
            ("* https://a.example/**", "GET,POST https://a.example/x", true),
            ("GET https://a.example/**", "GET,POST https://a.example/x", false),
            ("GET https://a.example/**", "* https://a.example/x", false),
            ("GET https://*.example/**", "GET https://a.example/x", true),
            ("GET https://*.example/**", "GET https://*.a.example/x", true),
            ("GET https://*.a.example/**", "GET https://*.example/x", false),
            ("GET https://*.example/**", "GET https://badexample/x", false),
            ("GET https://a.example/**", "GET http://a.example/x", false),
            ("GET https://a.example/**", "GET https://a.example:8443/x", false),
        ] {
            let config = GrantsConfig { http: vec![grant.to_owned()], ..GrantsConfig::default() };
            let grants = Grants::try_from(config).unwrap();
            assert_eq!(grants.covers_http(wish), Ok(expected), "{grant} for {wish}");
        }
        assert!(Grants::none().covers_http("anything").unwrap_err().contains("a method and a URL"));
    }
}
