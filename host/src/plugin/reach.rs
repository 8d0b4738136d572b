//! What settings lead to, compared with what is granted: an address or a secret that a plugin could not use is seen before the first
//! alert is lost over it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use http::{HeaderMap, Method};
use lettre::message::Mailboxes;
use serde_json::{Map, Value};
use url::{Host, Url};

use super::bindings::Description;
use super::egress::special;
use super::grants::{Grants, host_of, http_line, methods};
use super::loaded::Plugin;
use super::secrets::{LiveSecrets, is_loopback, placeholder, placeholders};
use super::{Role, sidecar};
use crate::fault::Fault;

/// By which a plugin's schema marks a setting that is an address which it shows and never asks.
const LINK: &str = "x-link";
/// By which it marks a setting that lists recipients of mail.
const RECIPIENTS: &str = "x-recipients";

impl Plugin {
    /// Which settings of a receiver, over those of the plugin's file, name an address or a secret that is not granted; paths begin with
    /// `config.`
    pub fn ungranted(&self, config: &Map<String, Value>, secrets: &[String]) -> Vec<Fault> {
        let grants = self.egress.grants().and_secrets(secrets);
        let settings = sidecar::merged(&self.sidecar.config.config, config);
        let reach = Reach::new(&self.name, &self.compiled.description, &settings, &grants);
        reach.faults(&settings, self.egress.secrets())
    }

    /// The same of its own file, if it is called without being named: each call would fail over it.
    pub fn ungranted_in_its_file(&self) -> Vec<Fault> {
        if self.is_called_unasked() { self.ungranted(&Map::new(), &[]) } else { Vec::new() }
    }

    /// Whether alerts bring it into play by themselves, unless routes say otherwise.
    pub(super) fn is_called_unasked(&self) -> bool {
        self.is_enabled() && self.role() != Role::Source
    }
}

/// The texts of settings with their names; of those in a table behind its own, whose names have a dot.
fn texts(settings: &Map<String, Value>) -> Vec<(String, &str)> {
    let mut found = Vec::new();
    for (key, value) in settings {
        match value {
            Value::String(text) => found.push((key.clone(), text.as_str())),
            Value::Object(table) => {
                found.extend(texts(table).into_iter().map(|(name, text)| (format!("{key}.{name}"), text)));
            }
            _ => {}
        }
    }
    found
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
    recipients: BTreeSet<String>,
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
        let schema = serde_json::from_str(&description.config_schema).unwrap_or_default();
        let (links, recipients) = (marked(&schema, LINK), marked(&schema, RECIPIENTS));
        Self { plugin, grants, methods, links, recipients }
    }

    /// What of the settings names an address or a secret that is not granted.
    fn faults(&self, settings: &Map<String, Value>, secrets: &LiveSecrets) -> Vec<Fault> {
        let of_setting = |(key, text): (String, &str)| {
            let secret = ungranted_secret(self.plugin, self.grants, text);
            let address = || self.lacks(&key, text, secrets);
            let message = secret.or_else(address).or_else(|| self.lacks_recipient(&key, text))?;
            Some(Fault { path: format!("config.{key}"), value: Some(text.into()), message })
        };
        texts(settings).into_iter().filter_map(of_setting).collect()
    }

    /// Why nothing can be sent to this address, if the setting is one and that is so.
    fn lacks(&self, key: &str, text: &str, secrets: &LiveSecrets) -> Option<String> {
        let url = address(text)?;
        // What a table holds is not known to be asked.
        if self.links.contains(key) || key.contains('.') {
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

    /// Why mail to one of these recipients is refused, if the setting lists some and that is so.
    fn lacks_recipient(&self, key: &str, text: &str) -> Option<String> {
        if !self.recipients.contains(key) {
            return None;
        }
        // What cannot be read, a template among it, is known with the alert alone.
        let listed: Mailboxes = text.parse().ok()?;
        let is_ungranted = |address: &String| !self.grants.allows_recipient(address);
        let addresses = listed.iter().map(|mailbox| mailbox.email.to_string());
        let ungranted: Vec<_> =
            addresses.filter(is_ungranted).map(|address| format!("{address:?}")).collect();
        let (plugin, line) = (self.plugin, ungranted.join(", "));
        (!ungranted.is_empty())
            .then(|| format!("mail to {line} is not granted; to allow it, add to [grants] of {plugin}.toml: mail = [{line}]"))
    }

    /// What is wrong with an address, and the lines that mend it.
    fn unless_granted(&self, shown: &Url, (asked, is_open): &(Url, bool)) -> Option<String> {
        let (mut wrong, mut lines) = (Vec::new(), Vec::new());
        if !self.grants.reach(&self.methods, asked, *is_open) {
            wrong.push("is not granted".to_owned());
            lines.push(self.line(shown));
        }
        let special = special_addresses(asked);
        if let Some((address, kind)) = special.first()
            && !special.iter().any(|(address, _)| self.grants.allows_private(*address))
        {
            let networks: Vec<_> =
                special.iter().map(|(address, _)| format!("{:?}", address.to_string())).collect();
            wrong.push(format!("leads to {address}, which is {kind}"));
            lines.push(format!("private-networks = [{}]", networks.join(", ")));
        }
        let (wrong, lines) = (wrong.join(", and "), lines.join(" and "));
        let plugin = self.plugin;
        (!wrong.is_empty())
            .then(|| format!("{wrong}; to allow it, add to [grants] of {plugin}.toml: {lines}"))
    }

    /// The line that grants an address.
    fn line(&self, shown: &Url) -> String {
        let method = self.methods.first().cloned().unwrap_or(Method::POST);
        let mut below = shown.clone();
        if below.path() == "/" {
            below.set_path("/**");
        }
        http_line(&method, &below)
    }
}

/// The web address that a text is. A template, or a sentence that begins with an address, is none.
fn address(text: &str) -> Option<Url> {
    if text.contains("{{") || text.contains("{%") || text.contains(char::is_whitespace) {
        return None;
    }
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))
}

/// The addresses outside the public internet that a URL leads to, as far as that is known without asking a resolver: one of them
/// has to be allowed.
fn special_addresses(url: &Url) -> Vec<(IpAddr, &'static str)> {
    let addresses = match host_of(url) {
        Some(Host::Ipv4(address)) => vec![IpAddr::V4(address)],
        Some(Host::Ipv6(address)) => vec![IpAddr::V6(address)],
        Some(host @ Host::Domain(_)) if is_loopback(&host) => {
            vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
        }
        _ => Vec::new(),
    };
    addresses.into_iter().filter_map(|address| Some((address, special(address)?))).collect()
}

/// The URL up to the segment of its path that holds a placeholder, and whether there is one.
fn known_part(url: &Url) -> (Url, bool) {
    let mut known = url.clone();
    let Some(found) = placeholder(url.path()) else { return (known, false) };
    let whole = url.path()[..found.range.start].rfind('/').map_or(0, |slash| slash + 1);
    known.set_path(&url.path()[..whole]);
    (known, true)
}

/// The settings that a schema marks by this word.
fn marked(schema: &Value, word: &str) -> BTreeSet<String> {
    let properties = schema["properties"].as_object().into_iter().flatten();
    properties.filter(|(_, part)| part[word] == true).map(|(key, _)| key.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::GrantsConfig;
    use crate::plugin::secrets::Secrets;

    const SCHEMA: &str =
        r#"{"properties": {"url": {}, "client-url": {"x-link": true}, "to": {"x-recipients": true}}}"#;

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
        let mut said = ungranted("slack", &description, &settings, &grants(granted, &["PATH"]));
        assert!(said.len() < 2, "a link is not asked: {said:?}");
        said.pop()
    }

    fn ungranted(
        plugin: &str,
        description: &Description,
        settings: &Map<String, Value>,
        grants: &Grants,
    ) -> Vec<String> {
        let reach = Reach::new(plugin, description, settings, grants);
        reach.faults(settings, &LiveSecrets::default()).iter().map(Fault::to_string).collect()
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
    fn recipients_that_are_not_granted_are_named_with_the_line_to_add() {
        let grants = GrantsConfig { mail: vec!["*@example.com".to_owned()], ..GrantsConfig::default() };
        let grants = Grants::try_from(grants).unwrap();
        let said = |to: &str| {
            let settings = toml::from_str(&format!("to = '{to}'\nfrom = 'a@b.example'")).unwrap();
            ungranted("email", &description(&[]), &settings, &grants)
        };
        assert_eq!(said("On-call <oncall@example.com>, ops@example.com"), [""; 0]);
        assert_eq!(said("{{ labels.team }}@example.org"), [""; 0]);
        assert_eq!(
            said("ops@example.com, On-call <oncall@exmaple.com>"),
            [
                "config.to: mail to \"oncall@exmaple.com\" is not granted; to allow it, add to [grants] of email.toml: \
              mail = [\"oncall@exmaple.com\"]"
            ]
        );
    }

    #[test]
    fn an_address_outside_the_public_internet_needs_its_network() {
        let said = lack("POST http://10.0.0.7:9093/**", "http://10.0.0.7:9093/alerts").unwrap();
        assert!(said.starts_with("config.url: leads to 10.0.0.7, which is private"), "{said}");
        assert!(said.ends_with("private-networks = [\"10.0.0.7\"]"), "{said}");
        assert_eq!(lack("POST http://8.8.8.8/**", "http://8.8.8.8/alerts"), None);
        let both = lack("POST https://a.example/x", "http://localhost:9093/a").unwrap();
        assert_eq!(
            both,
            "config.url: is not granted, and leads to 127.0.0.1, which is loopback; to allow it, add to [grants] of slack.toml: \
             http = [\"POST http://localhost:9093/a\"] and private-networks = [\"127.0.0.1\", \"::1\"]"
        );
    }

    #[test]
    fn what_only_begins_like_an_address_is_none() {
        for text in [
            "https://wiki.example/{{ labels.team }}",
            "https://wiki.example/{% if a %}",
            "https://a.example is down",
        ] {
            assert_eq!(lack("POST https://a.example/x", text), None, "{text}");
        }
    }

    #[test]
    fn a_method_that_is_set_counts() {
        let settings = toml::from_str("url = 'https://a.example/x'\nmethod = 'PUT'").unwrap();
        let of = |granted| ungranted("p", &description(&[]), &settings, &grants(granted, &[]));
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
    fn a_secret_in_a_table_has_to_be_granted_too() {
        let settings =
            toml::from_str("[headers]\nauth = 'Bearer ${secret:A}'\nlink = 'https://b.example/'").unwrap();
        let of = |secrets: &[&str]| {
            ungranted("p", &description(&[]), &settings, &grants("* https://a.example/**", secrets))
        };
        assert!(of(&["A"]).is_empty());
        assert!(of(&[])[0].starts_with("config.headers.auth: the secret A is not granted"), "{:?}", of(&[]));
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
