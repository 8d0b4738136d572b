//! Segments in every encoding that a server might undo.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use url::Url;

use super::super::{Grants, GrantsConfig};

const TRIES: u32 = 20_000;

fn is_allowed(grant: &str, path: &str) -> bool {
    let grant = format!("GET https://a.example{grant}");
    let grants = Grants::try_from(GrantsConfig { http: vec![grant], ..GrantsConfig::default() }).unwrap();
    let url = Url::parse(&format!("https://a.example{path}")).unwrap();
    grants.allows_http(&http::Method::GET, &url)
}

/// A character as some server would undo it: percent-encoded up to four times, overlong, by code point, or by a look-alike.
fn disguised(c: char, random: &mut StdRng) -> String {
    let hex = c as u32;
    let like: &[&str] = if c == '.' {
        &["%ef%bc%8e", "%e2%80%a4", "%e3%80%82", "%ef%bd%a1"]
    } else {
        &["%ef%bc%8f", "%e2%88%95", "%5c"]
    };
    let (a, b) = (hex >> 6, hex & 0x3f);
    let forms = [
        c.to_string(),
        format!("%{hex:02x}"),
        format!("%{hex:02X}"),
        format!("%{:02x}%{:02x}", 0xc0 | a, 0x80 | b),
        format!("%e0%{:02x}%{:02x}", 0x80 | a, 0x80 | b),
        format!("%f0%80%{:02x}%{:02x}", 0x80 | a, 0x80 | b),
        format!("%u00{hex:02x}"),
        format!("%uff{:02x}", hex - 0x20),
        (*like.choose(random).unwrap()).to_owned(),
    ];
    let form = forms.choose(random).unwrap().clone();
    (0..random.random_range(0..4)).fold(form, |form, _| form.replace('%', "%25"))
}

/// What a server might cut off or not see.
const NOISE: [&str; 18] = [
    "",
    "",
    "",
    "%00",
    "%20",
    "+",
    "%2b",
    "%09",
    "%0d%0a",
    "%c2%a0",
    "%e2%80%8b",
    "%c2%ad",
    "%ef%bb%bf",
    ";x",
    ";a=b",
    "%3fx",
    "%23x",
    "%2500",
];

fn dots(random: &mut StdRng) -> String {
    let mut text: String = (0..random.random_range(1..=3)).map(|_| disguised('.', random)).collect();
    text.push_str(NOISE.choose(random).unwrap());
    text
}

fn random(what: &str) -> StdRng {
    let seed = rand::random();
    println!("{what}: seed {seed}");
    StdRng::seed_from_u64(seed)
}

#[test]
fn a_step_up_in_any_encoding_passes_no_wildcard() {
    let mut random = random("dots");
    for _ in 0..TRIES {
        let step = dots(&mut random);
        for (grant, path) in
            [("/v1/*/state", format!("/v1/{step}/state")), ("/v1/**", format!("/v1/x/{step}/state"))]
        {
            // The plain forms are resolved by the parser of URLs: those lead elsewhere by themselves.
            let url = Url::parse(&format!("https://a.example{path}")).unwrap();
            let is_resolved = url.path().split('/').count() != path.split('/').count();
            assert!(is_resolved || !is_allowed(grant, &path), "{grant} lets {path} through");
        }
        let separator = loop {
            let separator = disguised('/', &mut random);
            if separator != "/" {
                break separator;
            }
        };
        let path = format!("/v1/x{separator}{step}{separator}{step}{separator}admin");
        assert!(!is_allowed("/v1/**", &path), "** lets {path} through");
        let path = format!("/v1/x{separator}y/state");
        assert!(!is_allowed("/v1/*/state", &path), "* lets {path} through");
    }
}

#[test]
fn what_was_found_by_hand_stays_refused() {
    for segment in [
        "%c0%ae%c0%ae",
        "..%00",
        "..%20",
        "%20..",
        "..%2500",
        "%2e%2e%00.json",
        "...",
        "%e0%80%ae",
        "%u002e%u002e",
        "..%0a",
        ";x",
        "%20",
        "caf%e9",
    ] {
        assert!(!is_allowed("/v1/*/state", &format!("/v1/{segment}/state")), "{segment}");
    }
    assert!(!is_allowed("/v1/**", "/v1/x/%c0%ae%c0%ae/%c0%ae%c0%ae/admin"));
}

#[test]
fn ordinary_names_pass() {
    let mut random = random("names");
    let letters: Vec<char> = "abcXYZ019-_.~!$&'()+,=@ %äß日本語😀".chars().collect();
    for _ in 0..TRIES {
        let name: String =
            (0..random.random_range(1..12)).map(|_| *letters.choose(&mut random).unwrap()).collect();
        let name = format!("n{name}");
        let encoded =
            percent_encoding::utf8_percent_encode(&name, percent_encoding::NON_ALPHANUMERIC).to_string();
        // A name that is itself the encoding of something is judged by that.
        let is_plain = !name.contains('%');
        for path in [format!("/v1/{encoded}/state"), format!("/v1/{encoded}/x%2fy")] {
            let grant = if path.ends_with("state") { "/v1/*/state" } else { "/v1/**" };
            assert!(!is_plain || is_allowed(grant, &path), "{grant} refuses {path}");
        }
    }
    for name in [
        "..hidden",
        ".well-known",
        "v1.2",
        "a..b",
        "100%25",
        "a;b=c",
        "group:name",
        "%23room:example",
        "T0%2CB0",
    ] {
        assert!(is_allowed("/v1/*", &format!("/v1/{name}")), "{name}");
    }
}
