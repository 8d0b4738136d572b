//! Tables of what grants let through, nasty URLs included.

use super::*;

fn grants(http: &[&str]) -> Grants {
    let http = http.iter().map(|line| (*line).to_owned()).collect();
    Grants::try_from(GrantsConfig { http, ..GrantsConfig::default() }).unwrap()
}

fn allowed(grant: &str, request: &str) -> bool {
    let (method, url) = request.split_once(' ').unwrap();
    grants(&[grant]).allows_http(&method.parse().unwrap(), &Url::parse(url).unwrap())
}

#[test]
fn what_is_granted_is_allowed_in_every_spelling() {
    let table = [
        ("POST https://hooks.slack.com/services/**", "POST https://hooks.slack.com/services/T0/B0/x"),
        ("POST https://hooks.slack.com/services/**", "POST https://HOOKS.Slack.COM:443/services/T0"),
        ("POST https://hooks.slack.com/services/**", "POST https://hooks.slack.com./services/"),
        ("POST https://hooks.slack.com/services/**", "POST https://hooks.slack.com/x/../services/T0?q=1"),
        ("GET,POST https://a.example/", "GET https://a.example"),
        ("* https://a.example/**", "DELETE https://a.example/"),
        ("* https://*.example.com/**", "GET https://a.b.example.com/x"),
        ("GET https://a.example/v1/*/state", "GET https://a.example/v1/7/state"),
        ("GET https://a.example/caf%C3%A9", "GET https://a.example/café"),
        ("GET https://a.example/projects/group%2Fname", "GET https://a.example/projects/group%2fname"),
        ("GET http://127.0.0.1:8080/**", "GET http://0x7f.1:8080/"),
        ("GET http://[::1]:8080/**", "GET http://[0:0::1]:8080/"),
        ("GET http://127.0.0.1/**", "GET http://[::ffff:127.0.0.1]/"),
        ("GET http://[::ffff:7f00:1]/**", "GET http://127.0.0.1/"),
        ("GET https://bücher.example/**", "GET https://xn--bcher-kva.example/"),
    ];
    for (grant, request) in table {
        assert!(allowed(grant, request), "{grant} must allow {request}");
    }
}

#[test]
fn what_is_not_granted_is_refused() {
    let slack = "POST https://hooks.slack.com/services/**";
    let table = [
        (slack, "GET https://hooks.slack.com/services/T0"),
        (slack, "POST http://hooks.slack.com/services/T0"),
        (slack, "POST https://hooks.slack.com:8443/services/T0"),
        (slack, "POST https://hooks.slack.com/services"),
        (slack, "POST https://hooks.slack.com/other/T0"),
        (slack, "POST https://hooks.slack.com/Services/T0"),
        (slack, "POST https://hooks.slack.com.evil.example/services/T0"),
        (slack, "POST https://hooks.slack.com@evil.example/services/T0"),
        (slack, "POST https://user@hooks.slack.com/services/T0"),
        (slack, "POST https://evil.example/hooks.slack.com/services/T0"),
        (slack, "POST https://hooks.slack.com/services/%2e%2e/admin"),
        (slack, "POST https://hooks.slack.com/services/../admin"),
        (slack, "POST https://hooks.slack.com/services/..%2fadmin"),
        (slack, "POST https://hooks.slack.com/services/x%2f..%2f..%2fadmin"),
        (slack, "POST https://hooks.slack.com/services/..%5cadmin"),
        (slack, "POST https://hooks.slack.com/services/%252e%252e/admin"),
        (slack, "POST https://hooks.slack.com/services/..;a=b/admin"),
        (slack, "POST https://hooks.slack.com/services\\..\\admin"),
        ("* https://*.example.com/**", "GET https://example.com/"),
        ("* https://*.example.com/**", "GET https://badexample.com/"),
        ("GET https://a.example/v1/*/state", "GET https://a.example/v1/7/8/state"),
        ("GET https://a.example/v1/*/state", "GET https://a.example/v1//state"),
        ("GET https://a.example/v1/*/state", "GET https://a.example/v1/7%2f8/state"),
        ("GET https://a.example/", "GET https://a.example/x"),
        ("GET http://127.0.0.1/**", "GET http://[::127.0.0.1]/"),
        ("GET http://127.0.0.1/**", "GET http://[::ffff:127.0.0.2]/"),
    ];
    for (grant, request) in table {
        assert!(!allowed(grant, request), "{grant} must not allow {request}");
    }
}

#[test]
fn nothing_is_granted_by_default() {
    let none = Grants::none();
    assert!(!none.allows_http(&Method::GET, &Url::parse("https://example.com/").unwrap()));
    assert!(!none.allows_secret("") && !none.allows_recipient("a@b.example"));
    assert!(!none.allows_private("127.0.0.1".parse().unwrap()));
}

#[test]
fn all_faults_are_listed_with_what_to_write_instead() {
    let config = GrantsConfig {
        http: [
            "https://a.example/**",
            "post https://a.example/**",
            "POST a.example/**",
            "POST https://a.example",
            "POST https://*/**",
            "POST https://*a.example/**",
            "POST https://*.10.0.0.1/**",
            "POST https://user@a.example/**",
            "POST https://a.example/**/x",
            "POST https://a.example/x*",
            "POST https://a.example/%2e%2e/x",
            "POST https://a.example/?x=1",
        ]
        .map(str::to_owned)
        .to_vec(),
        private_networks: vec!["10.0.0.0/40".to_owned()],
        mail: ["*", "example.com", "a b@example.com", "*x@example.com"].map(str::to_owned).to_vec(),
        ..GrantsConfig::default()
    };
    let faults = Grants::try_from(config).unwrap_err();
    assert_eq!(faults.len(), 17, "{faults:#?}");
    assert_eq!(
        faults[3].to_string(),
        "grants.http[3]: has no path; to grant every path write \"https://a.example/**\""
    );
    assert_eq!(faults[12].path, "grants.private-networks[0]");
}

#[test]
fn recipients_are_matched_without_regard_to_case() {
    let mail = ["ops@example.com", "*@team.example", "*@*.corp.example"].map(str::to_owned).to_vec();
    let grants = Grants::try_from(GrantsConfig { mail, ..GrantsConfig::default() }).unwrap();
    for allowed in ["Ops@EXAMPLE.com", "anyone@team.example", "a@b.corp.example"] {
        assert!(grants.allows_recipient(allowed), "{allowed}");
    }
    for refused in [
        "dev@example.com",
        "a@sub.team.example",
        "a@corp.example",
        "a@xcorp.example",
        "ops",
        "a@.corp.example",
    ] {
        assert!(!grants.allows_recipient(refused), "{refused}");
    }
}

#[test]
fn the_line_to_add_is_a_grant_that_works() {
    let line = |url: &str| http_line(&Method::POST, &Url::parse(url).unwrap());
    assert_eq!(line("https://a.example:443/x/y?q"), "http = [\"POST https://a.example/x/y\"]");
    assert_eq!(line("http://a.example:81/"), "http = [\"POST http://a.example:81/\"]");
    let secret = line("https://hooks.slack.com/services/${secret:SLACK_PATH}/more");
    assert_eq!(secret, "http = [\"POST https://hooks.slack.com/services/**\"]");
}
