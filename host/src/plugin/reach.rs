//! What settings lead to, compared with what is granted: an address or a secret that a plugin could not use is seen before the first
//! alert is lost over it.

use std::collections::BTreeSet;
use std::net::IpAddr;

use http::{HeaderMap, Method};
use serde_json::{Map, Value};
use url::{Host, Url};

use super::bindings::Description;
use super::egress::special;
use super::grants::{Grants, host_of, http_line, methods};
use super::loaded::Plugin;
use super::secrets::{LiveSecrets, placeholder, placeholders};
use super::sidecar;
use crate::fault::Fault;

/// By which a plugin's schema marks a setting that is an address which it shows and never asks.
const LINK: &str = "x-link";

impl Plugin {
    /// Which settings of a receiver, over those of the plugin's file, name an address or a secret that is not granted; paths begin with
    /// `config.`
    pub fn ungranted(&self, config: &Map<String, Value>, secrets: &[String]) -> Vec<Fault> {
        let grants = self.egress.grants().and_secrets(secrets);
        let settings = sidecar::merged(&self.sidecar.config.config, config);
        let reach = Reach::new(&self.name, &self.compiled.description, &settings, &grants);
        let of_setting = |(key, text): (&String, &str)| {
            let secret = ungranted_secret(&self.name, &grants, text);
            let message = secret.or_else(|| reach.lacks(key, text, self.egress.secrets()))?;
            Some(Fault { path: format!("config.{key}"), value: Some(text.into()), message })
        };
        texts(&settings).filter_map(of_setting).collect()
    }
}

/// Which addresses in the plugin's own file its grants do not cover, one text each.
pub(super) fn ungranted_addresses(
    name: &str,
    description: &Description,
    settings: &Map<String, Value>,
    grants: &Grants,
) -> Vec<String> {
    let (reach, none) = (Reach::new(name, description, settings, grants), LiveSecrets::default());
    let lacking = texts(settings).filter_map(|(key, text)| Some((key, reach.lacks(key, text, &none)?)));
    lacking.map(|(key, lack)| format!("config.{key}: {lack}")).collect()
}

fn texts(settings: &Map<String, Value>) -> impl Iterator<Item = (&String, &str)> {
    settings.iter().filter_map(|(key, value)| Some((key, value.as_str()?)))
}

fn ungranted_secret(plugin: &str, grants: &Grants, text: &str) -> Option<String> {
    let is_ungranted = |name: &&str| !grants.allows_secret(name) && !grants.allows_secret_in_body(name);
    let name = placeholders(text).map(|found| found.name).find(is_ungranted)?;
    Some(format!(
        "the secret {name} is not granted; to allow it, add to the table that holds config, or to [grants] of {plugin}.toml: \
         secrets = [\"{name}\"]"
    ))
}

/// What one plugin with its settings may ask.
struct Reach<'a> {
    plugin: &'a str,
    grants: &'a Grants,
    methods: Vec<Method>,
    links: BTreeSet<String>,
}

impl<'a> Reach<'a> {
    fn new(
        plugin: &'a str,
        description: &Description,
        settings: &Map<String, Value>,
        grants: &'a Grants,
    ) -> Self {
        let set = settings.get("method").and_then(Value::as_str);
        let set = set.and_then(|method| Method::from_bytes(method.as_bytes()).ok());
        let wished = || {
            let wishes: Vec<_> = description.http.iter().map(|wish| methods(wish)).collect();
            if wishes.iter().any(Vec::is_empty) { Vec::new() } else { wishes.concat() }
        };
        let methods = set.map_or_else(wished, |method| vec![method]);
        Self { plugin, grants, methods, links: links(&description.config_schema) }
    }

    /// Why nothing can be sent to this address, if the setting is one and that is so.
    fn lacks(&self, key: &str, text: &str, secrets: &LiveSecrets) -> Option<String> {
        let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
        if self.links.contains(key) {
            return None;
        }
        let secrets = secrets.current();
        let is_known = |name: &str| secrets.has(name) && self.grants.allows_secret(name);
        if !placeholders(text).all(|found| is_known(found.name)) {
            return self.unless_granted(&url, &known_part(&url));
        }
        let mut filled = url.clone();
        match secrets.fill(self.grants, &mut filled, &mut HeaderMap::new()) {
            Ok(_) => self.unless_granted(&url, &(filled, false)),
            Err(error) => Some(error.to_string()),
        }
    }

    fn unless_public(&self, url: &Url) -> Option<String> {
        let (address, kind) =
            special_address(url).filter(|(address, _)| !self.grants.allows_private(*address))?;
        Some(format!(
            "leads to {address}, which is {kind}; to allow it, add to [grants] of {}.toml: private-networks = [\"{address}\"]",
            self.plugin
        ))
    }

    fn unless_granted(&self, shown: &Url, (asked, is_open): &(Url, bool)) -> Option<String> {
        if self.grants.reach(&self.methods, asked, *is_open) {
            return self.unless_public(asked);
        }
        let method = self.methods.first().cloned().unwrap_or(Method::POST);
        let mut below = shown.clone();
        if below.path() == "/" {
            below.set_path("/**");
        }
        let line = http_line(&method, &below);
        Some(format!("is not granted; to allow it, add to [grants] of {}.toml: {line}", self.plugin))
    }
}

/// What keeps a plugin from an address that is written out as one.
fn special_address(url: &Url) -> Option<(IpAddr, &'static str)> {
    let address = match host_of(url)? {
        Host::Ipv4(address) => IpAddr::V4(address),
        Host::Ipv6(address) => IpAddr::V6(address),
        Host::Domain(_) => return None,
    };
    Some((address, special(address)?))
}

/// The URL up to the segment of its path that holds a placeholder, and whether there is one.
fn known_part(url: &Url) -> (Url, bool) {
    let mut known = url.clone();
    let Some(found) = placeholder(url.path()) else { return (known, false) };
    let whole = url.path()[..found.range.start].rfind('/').map_or(0, |slash| slash + 1);
    known.set_path(&url.path()[..whole]);
    (known, true)
}

/// The settings that the schema marks as links.
fn links(schema: &str) -> BTreeSet<String> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.filter(|(_, part)| part[LINK] == true).map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::GrantsConfig;
    use crate::plugin::secrets::Secrets;

    const SCHEMA: &str = r#"{"properties": {"url": {}, "client-url": {"x-link": true}}}"#;

    fn description(http: &[&str]) -> Description {
        Description {
            name: "p".to_owned(),
            version: "1".to_owned(),
            summary: String::new(),
            config_schema: SCHEMA.to_owned(),
            http: http.iter().map(|wish| (*wish).to_owned()).collect(),
            secrets: Vec::new(),
        }
    }

    fn grants(http: &str, secrets: &[&str]) -> Grants {
        let secrets = secrets.iter().map(|name| (*name).to_owned()).collect();
        let http = vec![http.to_owned()];
        Grants::try_from(GrantsConfig { http, secrets, ..GrantsConfig::default() }).unwrap()
    }

    /// What is said of the setting `url`.
    fn lack(granted: &str, url: &str) -> Option<String> {
        let settings = toml::from_str(&format!("url = '{url}'\nclient-url = 'https://c.example'")).unwrap();
        let description = description(&["POST https://hooks.example/services/**"]);
        let mut said = ungranted_addresses("slack", &description, &settings, &grants(granted, &["PATH"]));
        assert!(said.len() < 2, "a link is not asked: {said:?}");
        said.pop()
    }

    #[test]
    fn an_address_that_is_not_granted_is_named_with_the_line_to_add() {
        let path = "https://hooks.example/services/${secret:PATH}";
        for (granted, url, line) in [
            ("POST https://a.example/**", path, "POST https://hooks.example/services/**"),
            ("GET https://hooks.example/**", path, "POST https://hooks.example/services/**"),
            ("POST https://hooks.example/services", path, "POST https://hooks.example/services/**"),
            ("POST https://a.example/x", "https://a.example/y", "POST https://a.example/y"),
            ("POST https://a.example/x", "https://b.example", "POST https://b.example/**"),
        ] {
            let expected = format!(
                "config.url: is not granted; to allow it, add to [grants] of slack.toml: http = [\"{line}\"]"
            );
            assert_eq!(lack(granted, url), Some(expected), "{granted}");
        }
        assert_eq!(lack("POST https://hooks.example/services/**", path), None);
        assert_eq!(lack("POST https://hooks.example/services/*/*/*", path), None);
        assert_eq!(lack("POST https://a.example/x", "no address"), None);
    }

    #[test]
    fn an_address_outside_the_public_internet_needs_its_network() {
        let said = lack("POST http://10.0.0.7:9093/**", "http://10.0.0.7:9093/alerts").unwrap();
        assert!(said.starts_with("config.url: leads to 10.0.0.7, which is private"), "{said}");
        assert!(said.ends_with("private-networks = [\"10.0.0.7\"]"), "{said}");
        assert_eq!(lack("POST http://8.8.8.8/**", "http://8.8.8.8/alerts"), None);
    }

    #[test]
    fn a_method_that_is_set_counts() {
        let settings = toml::from_str("url = 'https://a.example/x'\nmethod = 'PUT'").unwrap();
        let of = |granted| ungranted_addresses("p", &description(&[]), &settings, &grants(granted, &[]));
        assert!(of("PUT https://a.example/x").is_empty());
        assert!(of("POST https://a.example/x")[0].ends_with("http = [\"PUT https://a.example/x\"]"));
    }

    #[test]
    fn secrets_are_filled_in_before_grants_are_compared() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "T000/B000/a-secret").unwrap();
        let said = |granted: &str, hosts: &str| {
            let text = format!("[PATH]\nfile = '{}'\nhosts = ['{hosts}']", file.path().display());
            let secrets = Secrets::load(toml::from_str(&text).unwrap()).unwrap();
            let (grants, description) = (grants(granted, &["PATH"]), description(&[]));
            let settings = Map::new();
            let reach = Reach::new("p", &description, &settings, &grants);
            reach.lacks("url", "https://hooks.example/services/${secret:PATH}", &secrets.into())
        };
        let all = "POST https://hooks.example/services/**";
        assert_eq!(said(all, "hooks.example"), None);
        assert_eq!(said("POST https://hooks.example/services/*/*/*", "hooks.example"), None);
        let one = said("POST https://hooks.example/services/*", "hooks.example").unwrap();
        assert!(one.ends_with("http = [\"POST https://hooks.example/services/**\"]"), "{one}");
        let elsewhere = said(all, "other.example").unwrap();
        assert!(elsewhere.starts_with("secret PATH may not go to hooks.example"), "{elsewhere}");
    }

    #[test]
    fn a_secret_that_is_not_granted_is_named() {
        let grants = grants("* https://a.example/**", &["A"]);
        assert_eq!(ungranted_secret("p", &grants, "Bearer ${secret:A}"), None);
        let said = ungranted_secret("p", &grants, "${secret:A} ${secret:B}").unwrap();
        assert!(said.starts_with("the secret B is not granted; to allow it, add"), "{said}");
        assert!(said.ends_with("secrets = [\"B\"]"), "{said}");
    }
}
