//! An address, taken apart as `wasi:http` wants it. The host checks it for good; here it is only split.

use crate::failure::permanent;
use crate::types::Failure;

/// The parts of an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    /// Whether the scheme is `https`.
    pub(crate) tls: bool,
    /// Host and, if given, port.
    pub(crate) authority: &'a str,
    /// Path and query, starting with `/`; without the fragment.
    pub(crate) path_and_query: String,
}

impl<'a> Target<'a> {
    /// Takes an address apart. The failure does not repeat the address, which may hold a credential.
    pub(crate) fn parse(url: &'a str) -> Result<Self, Failure> {
        let url = url.trim();
        let (scheme, rest) = url.split_once("://").ok_or_else(|| invalid("it has no scheme"))?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            other => return Err(invalid(&format!("its scheme is {other:?}"))),
        };
        let rest = rest.split('#').next().unwrap_or(rest);
        let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
        if authority.is_empty() {
            return Err(invalid("it has no host"));
        }
        let slash = if path.starts_with('/') { "" } else { "/" };
        Ok(Self { tls, authority, path_and_query: format!("{slash}{path}") })
    }
}

fn invalid(why: &str) -> Failure {
    let message = format!(
        "the configuration's `url` cannot be used: {why}; an http or https address works, such as \
         \"https://example.com/hook\""
    );
    permanent("config-invalid", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(url: &str) -> (bool, &str, String) {
        let target = Target::parse(url).unwrap();
        (target.tls, target.authority, target.path_and_query)
    }

    #[test]
    fn addresses_are_split_into_their_parts() {
        assert_eq!(parts("https://a.example"), (true, "a.example", "/".to_owned()));
        assert_eq!(
            parts("HTTP://a.example:8080/x/y?z=1#top"),
            (false, "a.example:8080", "/x/y?z=1".to_owned())
        );
        assert_eq!(parts("http://[::1]:80?q=/"), (false, "[::1]:80", "/?q=/".to_owned()));
    }

    #[test]
    fn placeholders_of_secrets_stay_as_they_are() {
        let (_, host, path) = parts("https://hooks.slack.com/services/${secret:SLACK_PATH}");
        assert_eq!((host, path.as_str()), ("hooks.slack.com", "/services/${secret:SLACK_PATH}"));
    }

    #[test]
    fn what_cannot_be_used_says_why_and_keeps_the_address_to_itself() {
        for (url, why) in
            [("a.example/s3cret", "no scheme"), ("ftp://s3cret", "\"ftp\""), ("https:///s3cret", "no host")]
        {
            let failure = Target::parse(url).unwrap_err();
            assert_eq!(failure.code, "config-invalid");
            assert!(failure.message.contains(why), "{}", failure.message);
            assert!(!failure.message.contains("s3cret"), "{}", failure.message);
        }
    }
}
