//! What is filled in where, what is refused, and that no value leaks.

use http::header::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use standardwebhooks::Webhook;

use super::fill::SecretError;
use super::sign::SignError;
use super::*;
use crate::plugin::grants::{Grants, GrantsConfig};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

struct Sample {
    directory: tempfile::TempDir,
    config: BTreeMap<String, SecretConfig>,
}

impl Sample {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap(), config: BTreeMap::new() }
    }

    fn add(mut self, name: &str, kind: SecretKind, value: &str, hosts: &[&str]) -> Self {
        let file = self.directory.path().join(name);
        fs::write(&file, value).unwrap();
        let username = (kind == SecretKind::Basic).then(|| "user".to_owned());
        let hosts = hosts.iter().map(|host| (*host).to_owned()).collect();
        self.config
            .insert(name.to_owned(), SecretConfig { env: None, file: Some(file), kind, hosts, username });
        self
    }

    fn load(&self) -> Secrets {
        Secrets::load(self.config.clone()).unwrap()
    }
}

fn sample() -> Sample {
    let hosts = &["hooks.example", "*.wide.example"];
    Sample::new()
        .add("PATH", SecretKind::Text, "T000/B000/XXXX\r\n", hosts)
        .add("ODD", SecretKind::Text, "a b&c=d?e#f%/é", hosts)
        .add("DOTS", SecretKind::Text, "../admin", hosts)
        .add("TOKEN", SecretKind::Bearer, "s3cret", hosts)
        .add("PASSWORD", SecretKind::Basic, "pass:word", hosts)
        .add("KEY", SecretKind::StandardWebhooks, KEY, hosts)
        .add("CLEAR", SecretKind::Text, "v", &["http://plain.example:81", "hooks.example"])
}

fn granted(names: &[&str]) -> Grants {
    let secrets = names.iter().map(|name| (*name).to_owned()).collect();
    Grants::try_from(GrantsConfig { secrets, ..GrantsConfig::default() }).unwrap()
}

fn everything() -> Grants {
    granted(&["PATH", "ODD", "DOTS", "TOKEN", "PASSWORD", "KEY", "CLEAR", "NOWHERE"])
}

fn filled(
    secrets: &Secrets,
    url: &str,
    header: (&'static str, &str),
) -> Result<(String, HeaderMap), SecretError> {
    let mut url = Url::parse(url).unwrap();
    let mut headers =
        HeaderMap::from_iter([(header.0.parse().unwrap(), HeaderValue::from_str(header.1).unwrap())]);
    secrets.fill(&everything(), &mut url, &mut headers)?;
    Ok((url.to_string(), headers))
}

#[test]
fn text_is_filled_into_path_query_and_headers() {
    let sample = sample();
    let secrets = sample.load();
    let url = |text: &str| filled(&secrets, text, ("x-none", "")).unwrap().0;
    assert_eq!(url("https://hooks.example/s/${secret:PATH}"), "https://hooks.example/s/T000/B000/XXXX");
    assert_eq!(
        url("https://hooks.example/s/%24%7bsecret%3APATH%7D/x"),
        "https://hooks.example/s/T000/B000/XXXX/x"
    );
    assert_eq!(
        url("https://hooks.example/${secret:ODD}"),
        "https://hooks.example/a%20b&c=d%3Fe%23f%25/%C3%A9"
    );
    assert_eq!(
        url("https://a.wide.example/?k=${secret:ODD}&l=${secret:PATH}"),
        "https://a.wide.example/?k=a%20b%26c%3Dd%3Fe%23f%25%2F%C3%A9&l=T000%2FB000%2FXXXX"
    );
    let (_, headers) =
        filled(&secrets, "https://hooks.example/", ("x-key", "id=1,key=${secret:PATH}!")).unwrap();
    assert_eq!(headers["x-key"], "id=1,key=T000/B000/XXXX!");
    assert!(headers["x-key"].is_sensitive());
}

#[test]
fn authorization_is_composed_by_the_host() {
    let sample = sample();
    let secrets = sample.load();
    let sent = |value: &str| {
        filled(&secrets, "https://hooks.example/", ("authorization", value)).unwrap().1["authorization"]
            .clone()
    };
    for token in ["${secret:TOKEN}", "Bearer ${secret:TOKEN}", "bearer ${secret:TOKEN}"] {
        assert_eq!(sent(token), "Bearer s3cret");
    }
    for password in ["${secret:PASSWORD}", "Basic ${secret:PASSWORD}"] {
        assert_eq!(sent(password), "Basic dXNlcjpwYXNzOndvcmQ=");
    }
}

#[test]
fn a_placeholder_goes_only_where_it_may() {
    let sample = sample();
    let secrets = sample.load();
    let table = [
        ("https://hooks.example/${secret:NOWHERE}", "is not declared"),
        (
            "https://hooks.example/${secret:OTHER}",
            "is not granted; to allow it, add to [grants]: secrets = [\"OTHER\"]",
        ),
        ("https://evil.example/${secret:PATH}", "may not go to evil.example"),
        ("https://wide.example/${secret:PATH}", "may not go to wide.example"),
        ("https://hooks.example.evil.example/?${secret:PATH}", "may not go to hooks.example.evil.example"),
        ("http://hooks.example/${secret:PATH}", "goes to hooks.example by https only"),
        ("http://plain.example:82/${secret:CLEAR}", "may not go to plain.example:82"),
        ("https://hooks.example/${secret:DOTS}", "a segment of it is empty or made of dots"),
        ("https://hooks.example/${secret:TOKEN}", "cannot be used in the path; a bearer token is"),
        ("https://hooks.example/?${secret:PASSWORD}", "cannot be used in the query; a basic password is"),
        ("https://hooks.example/?${secret:KEY}", "cannot be used in the query; a signing key is"),
    ];
    for (url, expected) in table {
        let error = filled(&secrets, url, ("x-none", "")).unwrap_err().to_string();
        assert!(error.contains(expected), "{url}: {error}");
        for value in ["T000", "s3cret", "pass:word", "MfKQ", "admin"] {
            assert!(!error.contains(value), "{error}");
        }
    }
    for (header, value) in [
        ("x-key", "${secret:TOKEN}"),
        ("authorization", "Bearer ${secret:PASSWORD}"),
        ("authorization", "Bearer x${secret:TOKEN}"),
        ("x-key", "${secret:KEY}"),
        ("webhook-signature", "v1,${secret:KEY}"),
        ("webhook-signature", "${secret:TOKEN}"),
    ] {
        let error = filled(&secrets, "https://hooks.example/", (header, value)).unwrap_err();
        assert!(matches!(error, SecretError::WrongPlace { .. }), "{header}: {value}: {error}");
    }
    assert!(filled(&secrets, "http://plain.example:81/${secret:CLEAR}", ("x-none", "")).is_ok());
}

#[test]
fn what_is_no_placeholder_stays_as_it_is() {
    for text in [
        "$",
        "%",
        "${secret:}",
        "${secret:A",
        "${secret:A B}",
        "$secret:A}",
        "${SECRET:A}",
        "%2",
        "%24%7",
        "é$é{",
    ] {
        assert_eq!(placeholder(text), None, "{text}");
    }
    let found = placeholder("$${secret:A-1_b}x").unwrap();
    assert_eq!((found.name, found.range), ("A-1_b", 1..16));
}

#[test]
fn a_signature_verifies_and_covers_the_body() {
    let sample = sample();
    let mut url = Url::parse("http://hooks.example/").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static("delivery-1"));
    headers.insert("webhook-timestamp", HeaderValue::from_static("1"));
    headers.insert("webhook-signature", HeaderValue::from_static("${secret:KEY}"));
    let signer = sample.load().fill(&everything(), &mut url, &mut headers).unwrap().unwrap();
    signer.sign(&mut headers, b"{}", Timestamp::now()).unwrap();
    Webhook::new(KEY).unwrap().verify(b"{}", &headers).unwrap();
    assert!(Webhook::new(KEY).unwrap().verify(b"{ }", &headers).is_err());
    assert_eq!(signer.sign(&mut headers, b"\xff", Timestamp::now()), Err(SignError::Body));
    headers.remove("webhook-id");
    assert_eq!(signer.sign(&mut headers, b"{}", Timestamp::now()), Err(SignError::Id));
}

#[test]
fn all_faults_of_all_secrets_are_listed() {
    let table = r#"
        [A]
        hosts = []
        [B]
        env = "CAMPANILE_TEST_UNSET_VARIABLE"
        hosts = ["*"]
        [C]
        file = "/nonexistent/secret"
        hosts = ["hooks.example"]
        kind = "basic"
        ["D:"]
        env = "A=B"
        hosts = ["hooks.example"]
        username = "u"
    "#;
    let faults = Secrets::load(toml::from_str(table).unwrap()).unwrap_err();
    let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
    let expected = [
        "secrets.A.hosts",
        "secrets.A",
        "secrets.B.hosts[0]",
        "secrets.B.env",
        "secrets.C.username",
        "secrets.C.file",
        "secrets.D:",
        "secrets.D:.username",
        "secrets.D:.env",
    ];
    assert_eq!(paths, expected, "{faults:#?}");
}

#[test]
fn values_that_cannot_be_sent_are_refused_at_start_without_repeating_them() {
    let sample = Sample::new()
        .add("EMPTY", SecretKind::Text, "\n", &["a.example"])
        .add("LINES", SecretKind::Bearer, "first\nsecond", &["a.example"])
        .add("WORD", SecretKind::StandardWebhooks, "not base64!", &["a.example"]);
    let faults = Secrets::load(sample.config.clone()).unwrap_err();
    assert_eq!(faults.len(), 3, "{faults:#?}");
    assert!(
        faults
            .iter()
            .all(|fault| !fault.to_string().contains("first") && !fault.to_string().contains("not base64!"))
    );
}

#[test]
fn debug_shows_no_value() {
    let shown = format!("{:?}", sample().load());
    assert!(shown.contains("PATH") && !shown.contains("T000") && !shown.contains("MfKQ"), "{shown}");
}
