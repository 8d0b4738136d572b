//! What is filled in where, what is refused, and that no value leaks. What goes into bodies is in `body`.

mod body;

use std::fs;

use http::Method;
use http::header::{HeaderMap, HeaderValue};
use jiff::Timestamp;
use standardwebhooks::Webhook;
use url::{Host, Url};

use super::fill::SecretError;
use super::sign::SignError;
use super::*;
use crate::plugin::grants::GrantsConfig;

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
        let config = SecretConfig { file: Some(file), kind, hosts, username, ..SecretConfig::default() };
        self.config.insert(name.to_owned(), config);
        self
    }

    fn add_sigv4(mut self, name: &str, hosts: &[&str]) -> Self {
        let given = |text: &str| Some(text.to_owned());
        self = self.add(name, SecretKind::Sigv4, "wJalrXUtnFEMI", hosts);
        let config = self.config.get_mut(name).unwrap();
        (config.access_key_id, config.region, config.service) =
            (given("AKIDEXAMPLE"), given("us-east-1"), given("sns"));
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
        .add("DOTS", SecretKind::Text, "../administrator", hosts)
        .add("TOKEN", SecretKind::Bearer, "s3cret-s3cret", hosts)
        .add("PASSWORD", SecretKind::Basic, "pass:word:word", hosts)
        .add("KEY", SecretKind::StandardWebhooks, KEY, hosts)
        .add("CLEAR", SecretKind::Text, "in clear text", &["http://plain.example:81", "hooks.example"])
        .add("LONG", SecretKind::Text, &"x".repeat(100), hosts)
        .add_sigv4("AWS", hosts)
}

fn granted(names: &[&str]) -> Grants {
    let secrets = names.iter().map(|name| (*name).to_owned()).collect();
    Grants::try_from(GrantsConfig { secrets, ..GrantsConfig::default() }).unwrap()
}

fn everything() -> Grants {
    granted(&["PATH", "ODD", "DOTS", "TOKEN", "PASSWORD", "KEY", "CLEAR", "AWS", "NOWHERE"])
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
        assert_eq!(sent(token), "Bearer s3cret-s3cret");
    }
    for password in ["${secret:PASSWORD}", "Basic ${secret:PASSWORD}"] {
        assert_eq!(sent(password), "Basic dXNlcjpwYXNzOndvcmQ6d29yZA==");
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
        ("https://hooks.example/?${secret:AWS}", "cannot be used in the query; an AWS key is"),
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
        ("webhook-signature", "${secret:AWS}"),
        ("x-key", "${secret:AWS}"),
        ("authorization", "AWS4 ${secret:AWS}"),
        ("authorization", "${secret:KEY}"),
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
    assert_eq!((found.name, found.mark, found.range), ("A-1_b", None, 1..16));
    let found = placeholder("%24%7Bsecret%3AA.0f%7D").unwrap();
    assert_eq!((found.name, found.mark, found.range), ("A", Some("0f"), 0..22));
}

fn sign(signer: &Signer, headers: &mut HeaderMap, body: &[u8]) -> Result<(), SignError> {
    let url = Url::parse("https://hooks.example/").unwrap();
    let mut request = Unsigned { method: &Method::POST, url: &url, headers, body };
    signer.sign(&mut request, Timestamp::now())
}

#[test]
fn a_signature_verifies_and_covers_the_body() {
    let sample = sample();
    let mut url = Url::parse("http://hooks.example/").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("webhook-id", HeaderValue::from_static("delivery-1"));
    headers.insert("webhook-timestamp", HeaderValue::from_static("1"));
    headers.insert("webhook-signature", HeaderValue::from_static("${secret:KEY}"));
    let signers = sample.load().fill(&everything(), &mut url, &mut headers).unwrap();
    let [signer] = &*signers else { panic!("{signers:?}") };
    sign(signer, &mut headers, b"{}").unwrap();
    Webhook::new(KEY).unwrap().verify(b"{}", &headers).unwrap();
    assert!(Webhook::new(KEY).unwrap().verify(b"{ }", &headers).is_err());
    assert_eq!(sign(signer, &mut headers, b"\xff"), Err(SignError::Body));
    headers.remove("webhook-id");
    assert_eq!(sign(signer, &mut headers, b"{}"), Err(SignError::Id));
}

#[test]
fn a_signature_for_aws_comes_last_and_covers_the_other() {
    let mut url = Url::parse("https://hooks.example/").unwrap();
    let mut headers = HeaderMap::new();
    headers.insert("host", HeaderValue::from_static("hooks.example"));
    headers.insert("authorization", HeaderValue::from_static("${secret:AWS}"));
    headers.insert("webhook-id", HeaderValue::from_static("delivery-1"));
    headers.insert("webhook-signature", HeaderValue::from_static("${secret:KEY}"));
    headers.insert("x-key", HeaderValue::from_static("${secret:PATH}"));
    for signer in sample().load().fill(&everything(), &mut url, &mut headers).unwrap() {
        sign(&signer, &mut headers, b"{}").unwrap();
    }
    let authorization = headers["authorization"].to_str().unwrap();
    let covered = "host;webhook-id;webhook-signature;webhook-timestamp;x-amz-content-sha256;x-amz-date";
    assert!(authorization.contains(&format!("SignedHeaders={covered},")), "{authorization}");
    assert!(!authorization.contains("x-key"), "another secret would be in the text that is signed");
}

#[test]
fn marked_placeholders_still_work_in_the_head() {
    let marked =
        Mark::new().apply(&[("url".to_owned(), "https://hooks.example/${secret:PATH}".to_owned())].into());
    assert_ne!(marked[0].1, "https://hooks.example/${secret:PATH}");
    let (url, headers) = filled(&sample().load(), &marked[0].1, ("x-none", "")).unwrap();
    assert_eq!((url.as_str(), headers.len()), ("https://hooks.example/T000/B000/XXXX", 1));
}

#[test]
fn what_is_granted_is_searched_for_in_every_answer() {
    let text = "T000/B000/XXXX s3cret-s3cret dXNlcjpwYXNzOndvcmQ6d29yZA== MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw wJalrXUtnFEMI";
    let elsewhere = Host::Domain("elsewhere.example".to_owned());
    let scrubbed = |names: &[&str]| sample().load().scrubber(&granted(names), Some(&elsewhere)).text(text);
    assert_eq!(scrubbed(&[]), text);
    assert_eq!(scrubbed(&["PATH"]), text.replace("T000/B000/XXXX", "[secret]"));
    let all = scrubbed(&["PATH", "TOKEN", "PASSWORD", "KEY", "AWS"]);
    assert_eq!(all, "[secret] [secret] [secret] [secret] [secret]");
}

/// A server repeats the header or the URL that it saw, and writes it in a form of its own.
#[test]
fn what_was_sent_is_searched_for_in_other_forms() {
    let hosts = &["hooks.example"];
    let sample = Sample::new().add("PASSWORD", SecretKind::Basic, ">>>???>>>???", hosts).add(
        "PATH",
        SecretKind::Text,
        "one&two three",
        hosts,
    );
    let scrubber = sample.load().scrubber(&granted(&["PASSWORD", "PATH"]), None);
    let table = [
        "dXNlcjo+Pj4/Pz8+Pj4/Pz8",
        "dXNlcjo+Pj4\\/Pz8+Pj4\\/Pz8",
        "dXNlcjo\\u002BPj4/Pz8\\u002BPj4/Pz8",
        "dXNlcjo%2BPj4%2FPz8%2BPj4%2FPz8",
        "dXNlcjo&#x2B;Pj4/Pz8&#x2B;Pj4/Pz8",
        &hex::encode("dXNlcjo+Pj4/Pz8+Pj4/Pz8"),
        "one&two%20three",
        "one%26two%20three",
        "one&amp;two%20three",
        "one\\u0026two%20three",
        "one%2526two%2520three",
    ];
    for form in table {
        assert_eq!(scrubber.text(&format!("<{form}>")), "<[secret]>", "{form}");
    }
}

#[test]
fn white_space_around_a_user_name_is_refused() {
    let mut sample = Sample::new().add("PASSWORD", SecretKind::Basic, "a-long-password", &["a.example"]);
    sample.config.get_mut("PASSWORD").unwrap().username = Some("user ".to_owned());
    let faults = Secrets::load(sample.config.clone()).unwrap_err();
    assert_eq!(faults.len(), 1, "{faults:#?}");
    assert_eq!(faults[0].path, "secrets.PASSWORD.username");
}

/// Hosts that secrets may go to, and those that answer: whether the first is the second is written out.
const DESTINATIONS: [(&str, &[&str]); 7] = [
    ("a.example", &["a.example"]),
    ("a.example:8443", &["a.example"]),
    ("http://a.example", &["a.example"]),
    ("*.example", &["a.example", "b.example", "deep.b.example"]),
    ("10.0.0.1", &["10.0.0.1"]),
    ("[::ffff:10.0.0.1]", &["10.0.0.1"]),
    ("[::1]:80", &["[::1]"]),
];

/// Whichever plugin or receiver asks.
#[test]
fn an_answer_is_searched_for_every_secret_that_may_be_at_its_host() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut sample = Sample::new();
        let mut searched = BTreeMap::new();
        let host = random.choice(["a.example", "b.example", "deep.b.example", "10.0.0.1", "[::1]", "c.test"]);
        let host = host.unwrap();
        let mut names = Vec::new();
        for number in 0..random.usize(1..5) {
            let (name, value) = (format!("S{number}"), format!("the-value-of-{number}-{seed}"));
            let (entry, hosts) = random.choice(DESTINATIONS).unwrap();
            sample = sample.add(&name, SecretKind::Text, &value, &["unrelated.test", entry]);
            let is_granted = random.bool();
            names.extend(is_granted.then(|| name.clone()));
            searched.insert(value, is_granted || hosts.contains(&host));
        }
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        let scrubber = sample.load().scrubber(&granted(&names), Some(&Host::parse(host).unwrap()));
        assert_eq!(scrubber.is_needed(), searched.values().any(|is| *is), "seed {seed}");
        for (value, is_searched) in searched {
            assert_eq!(scrubber.text(&value) == "[secret]", is_searched, "seed {seed}: {value} of {host}");
        }
    }
}

#[test]
fn credentials_of_the_host_are_searched_for_and_cannot_be_used() {
    let credential = |name, value: &str| Credential {
        name,
        value: value.to_owned().into(),
        host: Host::parse("mail.example").unwrap(),
    };
    let credentials =
        [credential("mail.password", "a-long-password"), credential("last-resort.url", "short")];
    let secrets = sample().load().and_credentials(credentials);
    let searched = |host| secrets.scrubber(&Grants::none(), Some(&Host::parse(host).unwrap()));
    let text = "a-long-password short T000/B000/XXXX";
    assert_eq!(searched("mail.example").text(text), "[secret] short T000/B000/XXXX");
    assert_eq!(searched("hooks.example").text(text), "a-long-password short [secret]");
    let mut url = Url::parse("https://mail.example/${secret:mail.password}").unwrap();
    let error = secrets.fill(&granted(&["mail.password"]), &mut url, &mut HeaderMap::new()).unwrap_err();
    assert!(matches!(error, SecretError::NotGranted(_)), "{error}");
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
        [E]
        file = "/nonexistent/secret"
        hosts = ["sns.eu-central-1.amazonaws.com"]
        kind = "sigv4"
        region = "eu central"
        session-token-env = "CAMPANILE_TEST_UNSET_VARIABLE"
        session-token-file = "/nonexistent/token"
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
        "secrets.E.access-key-id",
        "secrets.E.service",
        "secrets.E.region",
        "secrets.E.file",
        "secrets.E.session-token-env",
    ];
    assert_eq!(paths, expected, "{faults:#?}");
}

#[test]
fn values_that_cannot_be_sent_are_refused_at_start_without_repeating_them() {
    let sample = Sample::new()
        .add("EMPTY", SecretKind::Text, "\n", &["a.example"])
        .add("LINES", SecretKind::Bearer, "first\nsecond", &["a.example"])
        .add("SHORT", SecretKind::Text, "pässword-11", &["a.example"])
        .add("SHORT_KEY", SecretKind::StandardWebhooks, "whsec_MTIzNDU2", &["a.example"])
        .add("LONG", SecretKind::Text, &"x".repeat(8193), &["a.example"])
        .add("BEFORE", SecretKind::Text, " a-long-password", &["a.example"])
        .add("BEHIND", SecretKind::Bearer, "a-long-password\u{a0}\n", &["a.example"])
        .add("WORD", SecretKind::StandardWebhooks, "not base64!", &["a.example"]);
    let faults = Secrets::load(sample.config.clone()).unwrap_err();
    assert_eq!(faults.len(), 8, "{faults:#?}");
    let around = faults.iter().filter(|fault| fault.to_string().contains("starts or ends with white space"));
    assert_eq!(around.count(), 2, "{faults:#?}");
    assert!(faults.iter().all(|fault| !fault.to_string().contains("a-long-password")), "{faults:#?}");
    let short = "secrets.SHORT: has 11 characters, fewer than 12: a plugin could find it by guessing";
    assert!(faults.iter().any(|fault| fault.to_string().starts_with(short)), "{faults:#?}");
    assert!(
        faults
            .iter()
            .all(|fault| !fault.to_string().contains("first") && !fault.to_string().contains("not base64!"))
    );
    let many = (0..33).fold(Sample::new(), |sample, number| {
        sample.add(&format!("S{number}"), SecretKind::Text, &"x".repeat(8192), &["a.example"])
    });
    let faults = Secrets::load(many.config.clone()).unwrap_err();
    assert_eq!(faults[0].to_string(), "secrets: all values together have 270336 bytes, more than 262144");
}

#[test]
fn debug_shows_no_value() {
    let shown = format!("{:?}", sample().load());
    assert!(shown.contains("PATH") && !shown.contains("T000") && !shown.contains("MfKQ"), "{shown}");
}
