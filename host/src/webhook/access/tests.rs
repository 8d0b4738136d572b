//! Credentials, right and wrong, in tables.

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::http::Request;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use super::*;

const BODY: &[u8] = b"Hello, World!";
const NOW: u64 = 1_700_000_000;

fn parts(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = Request::post(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).unwrap().into_parts().0
}

fn load(toml: &str) -> Result<Access, Vec<String>> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct File {
        keys: BTreeMap<String, KeyConfig>,
        sources: BTreeMap<String, SourceConfig>,
    }
    let file: File = toml::from_str(toml).unwrap();
    Access::load(&file.keys, &file.sources, &EgressConfig::default())
        .map_err(|faults| faults.iter().map(ToString::to_string).collect::<Vec<_>>())
}

fn keys() -> (Access, [String; 3]) {
    let made: [NewKey; 3] = std::array::from_fn(|_| NewKey::make());
    let [ops, url, admin] = &made;
    let toml = format!(
        "[keys.ops]\nhash = '{}'\nsources = ['alerts', 'grafana']\n\
         [keys.url]\nhash = '{}'\nsources = ['*']\nin-url = true\n\
         [keys.admin]\nhash = '{}'\nadmin = true",
        ops.hash, url.hash, admin.hash
    );
    (load(&toml).unwrap(), made.map(|made| made.key))
}

fn verdict(access: &Access, source: &str, parts: &Parts, below: &str) -> String {
    match access.visitor(source, parts, below) {
        Ok(visitor) => caller(&visitor).map_or_else(|| "anybody".to_owned(), |name| name.to_string()),
        Err(error) => error.code().as_str().to_owned(),
    }
}

#[test]
fn a_key_opens_what_it_is_for_and_nothing_else() {
    let (access, [ops, url, admin]) = keys();
    let bearer = |key: &str| format!("Bearer {key}");
    let basic = |name: &str, key: &str| format!("Basic {}", STANDARD.encode(format!("{name}:{key}")));
    let table = [
        ("right", "alerts", "authorization", bearer(&ops), "ops"),
        ("any case", "alerts", "authorization", format!("bearer {ops}"), "ops"),
        ("as Opsgenie's clients do", "alerts", "authorization", format!("GenieKey {ops}"), "ops"),
        (
            "a key of Opsgenie's",
            "alerts",
            "authorization",
            "GenieKey eb243592-faa2".to_owned(),
            "unauthenticated",
        ),
        ("header", "grafana", "x-api-key", ops.clone(), "ops"),
        ("basic", "alerts", "authorization", basic("ops", &ops), "ops"),
        ("basic, wrong name", "alerts", "authorization", basic("admin", &ops), "unauthenticated"),
        (
            "basic, no colon",
            "alerts",
            "authorization",
            format!("Basic {}", STANDARD.encode(&ops)),
            "unauthenticated",
        ),
        ("basic, no base64", "alerts", "authorization", "Basic %%".to_owned(), "unauthenticated"),
        ("other source", "datadog", "authorization", bearer(&ops), "forbidden"),
        ("all sources", "datadog", "authorization", bearer(&url), "url"),
        ("admin posts not", "alerts", "authorization", bearer(&admin), "forbidden"),
        ("wrong", "alerts", "authorization", bearer("cmp_wrong"), "unauthenticated"),
        ("truncated", "alerts", "authorization", bearer(&ops[..ops.len() - 1]), "unauthenticated"),
        ("longer", "alerts", "authorization", bearer(&format!("{ops}x")), "unauthenticated"),
        ("empty", "alerts", "authorization", "Bearer ".to_owned(), "unauthenticated"),
        ("scheme alone", "alerts", "authorization", "Bearer".to_owned(), "unauthenticated"),
        ("other scheme", "alerts", "authorization", format!("Digest {ops}"), "unauthenticated"),
        ("the hash is no key", "alerts", "x-api-key", NewKey::make().hash, "unauthenticated"),
        ("missing", "alerts", "x-other", String::new(), "unauthenticated"),
    ];
    for (what, source, header, value, expected) in table {
        let parts = parts("/webhook/x", &[(header, &value)]);
        assert_eq!(verdict(&access, source, &parts, ""), expected, "{what}");
    }
}

#[test]
fn a_key_stands_in_a_url_only_if_it_may() {
    let (access, [ops, url, _]) = keys();
    let query = |key: &str| parts(&format!("/webhook/datadog?token={key}"), &[]);
    let plain = parts("/webhook/datadog", &[]);
    assert_eq!(verdict(&access, "datadog", &query(&url), ""), "url");
    assert_eq!(verdict(&access, "alerts", &query(&ops), ""), "unauthenticated");
    assert_eq!(verdict(&access, "datadog", &plain, &url), "url");
    assert_eq!(verdict(&access, "datadog", &plain, &format!("{url}/v2/enqueue")), "url");
    assert_eq!(verdict(&access, "datadog", &plain, &format!("v2/{url}")), "unauthenticated");
    // What a header says comes first, also when it is wrong.
    let both = parts(&format!("/webhook/datadog?token={url}"), &[("x-api-key", "cmp_wrong")]);
    assert_eq!(verdict(&access, "datadog", &both, ""), "unauthenticated");
    assert_eq!(split_key(&format!("{url}/v2/enqueue")), (Some(&*url), "v2/enqueue"));
    assert_eq!(split_key("api/v2/alerts"), (None, "api/v2/alerts"));
}

#[test]
fn only_an_admin_key_steers_or_whoever_is_on_this_machine_where_there_is_none() {
    let (access, [ops, _, admin]) = keys();
    let code =
        |access: &Access, parts: &Parts| access.admit_admin(parts).map_err(|error| error.code().as_str());
    assert_eq!(code(&access, &parts("/plugins", &[("x-api-key", &admin)])), Ok(()));
    assert_eq!(code(&access, &parts("/plugins", &[("x-api-key", &ops)])), Err("forbidden"));
    assert_eq!(code(&access, &parts("/plugins", &[])), Err("unauthenticated"));

    let open = Access::default();
    let from = |address: &str, headers: &[(&str, &str)]| {
        let mut parts = parts("http://127.0.0.1:8000/plugins", headers);
        parts.extensions.insert(Peer::Tcp(address.parse().unwrap()));
        code(&open, &parts)
    };
    assert_eq!(from("127.0.0.1:9", &[]), Ok(()));
    assert_eq!(from("[::ffff:127.0.0.1]:9", &[]), Ok(()));
    assert_eq!(from("10.0.0.7:9", &[]), Err("unauthenticated"));
    let of_a_page = ("origin", "http://evil.example");
    for header in
        [("x-forwarded-for", "10.0.0.7"), ("via", "1.1 proxy"), ("sec-fetch-site", "cross-site"), of_a_page]
    {
        assert_eq!(from("127.0.0.1:9", &[header]), Err("unauthenticated"), "{header:?}");
    }
    assert_eq!(from("127.0.0.1:9", &[("origin", "http://127.0.0.1:8000")]), Ok(()));
    let mut renamed = parts("http://evil.example/plugins", &[]);
    renamed.extensions.insert(Peer::Tcp("127.0.0.1:9".parse().unwrap()));
    assert_eq!(code(&open, &renamed), Err("unauthenticated"), "a name that somebody lets lead here");
    assert_eq!(code(&open, &parts("/plugins", &[])), Err("unauthenticated"));
}

#[test]
fn a_name_that_ids_and_ledgers_could_mistake_is_refused() {
    let hash = NewKey::make().hash;
    for (name, refused) in
        [("team-a", false), ("a/b", true), ("a@b", true), ("signature", true), ("sns", true)]
    {
        let loaded = load(&format!("[keys.\"{name}\"]\nhash = '{hash}'\nsources = ['*']"));
        assert_eq!(loaded.is_err(), refused, "{name}: {:?}", loaded.err());
    }
    let faults = load("[sources.\"a/b\"]\nspool = true").unwrap_err();
    assert!(faults[0].starts_with("sources.a/b: \"a/b\" is not a name"), "{faults:?}");
}

/// A source whose requests are signed by one scheme.
struct Signed {
    verifier: Verifier,
    _files: tempfile::TempDir,
}

impl Signed {
    fn new(scheme: &str, secrets: &[&str], more: &str) -> Self {
        let files = tempfile::tempdir().unwrap();
        let from = |(index, secret): (usize, &&str)| {
            let path = files.path().join(index.to_string());
            std::fs::write(&path, format!("{secret}\n")).unwrap();
            format!("{{ file = '{}' }}", path.display())
        };
        let secrets: Vec<String> = secrets.iter().enumerate().map(from).collect();
        let toml = format!("scheme = '{scheme}'\nsecrets = [{}]\n{more}", secrets.join(", "));
        let config = toml::from_str(&toml).unwrap();
        Self { verifier: Verifier::new("sources.x", &config).unwrap(), _files: files }
    }

    fn verify(&self, headers: &[(&str, &str)], body: &[u8]) -> Result<(), String> {
        self.verifier.verify(&parts("/", headers).headers, body, UNIX_EPOCH + Duration::from_secs(NOW))
    }
}

fn mac(secret: &[u8], signed: &[u8]) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(signed);
    mac.finalize().into_bytes().to_vec()
}

#[test]
fn the_published_example_of_github_is_right() {
    let github = Signed::new("github", &["It's a Secret to Everybody"], "");
    let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    assert_eq!(github.verify(&[("x-hub-signature-256", right)], BODY), Ok(()));
    let legacy = [("x-hub-signature", "sha1=01dc10d0c83e72ed246219cdd91669667fe2ca59")];
    assert!(github.verify(&legacy, BODY).unwrap_err().contains("is missing"));
}

#[test]
fn every_scheme_tells_right_from_wrong() {
    let (old, new) = ("old secret", "new secret");
    let encoded = |secret: &str| format!("whsec_{}", STANDARD.encode(secret));
    let (time, stale) = (NOW.to_string(), (NOW - 301).to_string());
    let standard = |secret: &str, time: &str, id: &str| {
        let signed = [id.as_bytes(), b".", time.as_bytes(), b".", BODY].concat();
        format!("v1,{}", STANDARD.encode(mac(secret.as_bytes(), &signed)))
    };
    let hex = |secret: &str, signed: &[u8]| hex::encode(mac(secret.as_bytes(), signed));
    let right = hex(new, BODY);
    let timed = |time: &str| hex(new, &[time.as_bytes(), b":", BODY].concat());

    let github = Signed::new("github", &[new, old], "");
    let grafana = Signed::new("grafana", &[new, old], "");
    let grafana_timed = Signed::new("grafana", &[new], "timestamp-header = 'x-time'");
    let pagerduty = Signed::new("pagerduty", &[new], "");
    let sentry = Signed::new("sentry", &[new], "");
    let webhooks = Signed::new("standard-webhooks", &[&encoded(new), &encoded(old)], "");
    let (grafana_header, pagerduty_header) = ("x-grafana-alerting-signature", "x-pagerduty-signature");
    let in_standard = |signature: String, time: &str, id: &str| {
        vec![
            ("webhook-signature", signature),
            ("webhook-timestamp", time.to_owned()),
            ("webhook-id", id.to_owned()),
        ]
    };
    let one = |header: &'static str, value: String| vec![(header, value)];

    type Row<'a> = (&'a str, &'a Signed, Vec<(&'a str, String)>, bool);
    let table: Vec<Row<'_>> = vec![
        ("github", &github, one("x-hub-signature-256", format!("sha256={right}")), true),
        (
            "github, upper case",
            &github,
            one("x-hub-signature-256", format!("sha256={}", right.to_uppercase())),
            true,
        ),
        (
            "github, old secret",
            &github,
            one("x-hub-signature-256", format!("sha256={}", hex(old, BODY))),
            true,
        ),
        (
            "github, other secret",
            &github,
            one("x-hub-signature-256", format!("sha256={}", hex("x", BODY))),
            false,
        ),
        ("github, no prefix", &github, one("x-hub-signature-256", right.clone()), false),
        ("github, truncated", &github, one("x-hub-signature-256", format!("sha256={}", &right[..62])), false),
        ("github, empty", &github, one("x-hub-signature-256", "sha256=".to_owned()), false),
        ("github, missing", &github, Vec::new(), false),
        ("grafana", &grafana, one(grafana_header, right.clone()), true),
        ("grafana, base64", &grafana, one(grafana_header, STANDARD.encode(mac(new.as_bytes(), BODY))), false),
        (
            "grafana, timed",
            &grafana_timed,
            vec![(grafana_header, timed(&time)), ("x-time", time.clone())],
            true,
        ),
        (
            "grafana, time not signed",
            &grafana_timed,
            vec![(grafana_header, right.clone()), ("x-time", time.clone())],
            false,
        ),
        (
            "grafana, other time",
            &grafana_timed,
            vec![(grafana_header, timed(&time)), ("x-time", (NOW + 1).to_string())],
            false,
        ),
        (
            "grafana, stale",
            &grafana_timed,
            vec![(grafana_header, timed(&stale)), ("x-time", stale.clone())],
            false,
        ),
        ("grafana, no time", &grafana_timed, one(grafana_header, timed(&time)), false),
        ("pagerduty", &pagerduty, one(pagerduty_header, format!("v1={right}")), true),
        (
            "pagerduty, second of two",
            &pagerduty,
            one(pagerduty_header, format!("v1={},v1={right}", hex("x", BODY))),
            true,
        ),
        (
            "pagerduty, ninth",
            &pagerduty,
            one(pagerduty_header, format!("{}v1={right}", "v1=00,".repeat(8))),
            false,
        ),
        ("sentry", &sentry, one("sentry-hook-signature", right.clone()), true),
        ("sentry, other body", &sentry, one("sentry-hook-signature", hex(new, b"{}")), false),
        ("standard", &webhooks, in_standard(standard(new, &time, "a"), &time, "a"), true),
        ("standard, old secret", &webhooks, in_standard(standard(old, &time, "a"), &time, "a"), true),
        (
            "standard, one of two",
            &webhooks,
            in_standard(format!("v1a,xx {}", standard(new, &time, "a")), &time, "a"),
            true,
        ),
        ("standard, other id", &webhooks, in_standard(standard(new, &time, "a"), &time, "b"), false),
        ("standard, stale", &webhooks, in_standard(standard(new, &stale, "a"), &stale, "a"), false),
        ("standard, no number", &webhooks, in_standard(standard(new, "soon", "a"), "soon", "a"), false),
    ];
    for (what, signed, headers, is_right) in table {
        let headers: Vec<(&str, &str)> =
            headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let verdict = signed.verify(&headers, BODY);
        assert_eq!(verdict.is_ok(), is_right, "{what}: {verdict:?}");
    }
}

#[test]
fn a_request_that_is_replayed_is_known() {
    let window = Duration::from_secs(600);
    let github = Signed::new("github", &["s"], "");
    let sentry = Signed::new("sentry", &["s"], "remember = '720h'");
    let timed = Signed::new("grafana", &["s"], "timestamp-header = 'x-time'");
    let webhooks = Signed::new("standard-webhooks", &["whsec_c2VjcmV0"], "");
    let none: &[(&str, &str)] = &[];
    let (early, late): (&[_], &[_]) = (&[("x-time", "1700000000")], &[("x-time", "1700000001")]);
    let (one, other): (&[_], &[_]) = (&[("webhook-id", "a")], &[("webhook-id", "b")]);
    let known = |signed: &Signed, headers: &[(&str, &str)], body: &[u8], after: u64| {
        let at = Timestamp::from_second((NOW / 600 * 600 + after) as i64).unwrap();
        let known = signed.verifier.known(&parts("/", headers).headers, body, at, window);
        (known.id, known.digest)
    };
    let table = [
        ("the same bytes", &github, (none, BODY, 0), (none, BODY, 599), true),
        ("other bytes", &github, (none, BODY, 0), (none, &b"{}"[..], 0), false),
        ("in the next window", &github, (none, BODY, 599), (none, BODY, 600), false),
        ("remembered for longer", &sentry, (none, BODY, 0), (none, BODY, 3_600), true),
        ("at another time", &timed, (early, BODY, 0), (late, BODY, 0), false),
        ("of the same time, much later", &timed, (early, BODY, 0), (early, BODY, 86_400), true),
        ("of the same id", &webhooks, (one, BODY, 0), (one, BODY, 86_400), true),
        ("of another id", &webhooks, (one, BODY, 0), (other, BODY, 0), false),
    ];
    for (what, signed, first, second, is_known) in table {
        let first = known(signed, first.0, first.1, first.2);
        assert!(first.0.is_some() != first.1.is_some(), "{what}: {first:?}");
        assert_eq!(first == known(signed, second.0, second.1, second.2), is_known, "{what}");
    }
}

#[test]
fn a_signature_that_is_there_twice_is_none() {
    let github = Signed::new("github", &["s"], "");
    let right = format!("sha256={}", hex::encode(mac(b"s", BODY)));
    let twice = [("x-hub-signature-256", &*right), ("x-hub-signature-256", "sha256=00")];
    assert!(github.verify(&twice, BODY).unwrap_err().contains("twice"));
}

#[test]
fn a_scheme_of_ones_own_is_put_together() {
    let own = "header = 'x-sig'\nprefix = 'v0='\nsigned = 'v0:{timestamp}:{body}'\ntimestamp-header = 'x-ts'";
    let own = Signed::new("github", &["s"], own);
    let time = NOW.to_string();
    let signed = [b"v0:", time.as_bytes(), b":", BODY].concat();
    let signature = format!("v0={}", hex::encode(mac(b"s", &signed)));
    assert_eq!(own.verify(&[("x-sig", &signature), ("x-ts", &time)], BODY), Ok(()));
}

#[test]
fn what_cannot_be_used_is_told_with_its_place() {
    let toml = "[keys.a]\nhash = 'plain'\nsources = ['*']\n[keys.b]\nhash = 'sha256:00'\n\
                [sources.x.signature]\nscheme = 'github'\nsecrets = []\nsigned = '{timestamp}'\nheader = 'x y'\n\
                [sources.y.signature]\nscheme = 'standard-webhooks'\nsecrets = []\nremember = '1h'";
    let said = load(toml).unwrap_err().join("\n");
    for part in [
        "keys.a.hash: is not sha256:",
        "keys.b.hash: is not sha256:",
        "sources.x.signature.header: \"x y\" is not a header's name",
        "sources.x.signature.signed: must have {body}",
        "sources.x.signature.secrets: is empty",
        "sources.y.signature.remember: is for signatures without a time and an id",
    ] {
        assert!(said.contains(part), "{part} is missing in:\n{said}");
    }
}

#[test]
fn a_key_is_found_wherever_it_hides() {
    for text in ["cmp_x", "/a/cmp_x/b", "%63mp_x", "%2563mp_x", "a=cmp_x", "x%2fcmp_x"] {
        assert!(key::has_key(text), "{text}");
        assert!(!scrubbed(text).contains("mp_"), "{text}");
    }
    assert!(!key::has_key("/webhook/alerts") && !key::has_key("%2525252525"));
    assert_eq!(scrubbed("no cmp_A-b_9: stop"), "no ***: stop");
}

#[test]
fn one_hash_under_two_names_is_a_fault_that_names_both() {
    let made = NewKey::make();
    let key = |name: &str| format!("[keys.{name}]\nhash = '{}'\nsources = ['alerts']\n", made.hash);
    let faults = load(&(key("eu") + &key("us"))).unwrap_err();
    let begin = "keys.us.hash: is the hash of keys.eu, too: give each sender a key of its own";
    assert!(faults.len() == 1 && faults[0].starts_with(begin), "{faults:?}");
    assert!(load(&key("eu")).is_ok());
}

#[test]
fn what_is_replaced_counts_from_the_next_request_and_used_up_rates_stay() {
    let made: [NewKey; 2] = std::array::from_fn(|_| NewKey::make());
    let table = |key: &NewKey, rate: u32| {
        load(&format!("[keys.a]\nhash = '{}'\nsources = ['alerts']\nrate-limit = {rate}", key.hash)).unwrap()
    };
    let live = LiveAccess::from(table(&made[0], 1));
    let remaining = || live.current().keys[0].count().map(|rate| rate.remaining);
    assert_eq!((remaining(), remaining()), (Some(1), Some(0)));
    live.replace(table(&made[1], 1));
    assert!(live.current().keys[0].count().unwrap().wait.is_some(), "it has used up its rate");
    let parts = |key: &NewKey| parts("/webhook/alerts", &[("x-api-key", &key.key)]);
    assert_eq!(verdict(&live.current(), "alerts", &parts(&made[0]), ""), "unauthenticated");
    assert_eq!(verdict(&live.current(), "alerts", &parts(&made[1]), ""), "a");
    live.replace(table(&made[1], 5));
    assert_eq!(remaining(), Some(9), "another limit counts anew");
}
