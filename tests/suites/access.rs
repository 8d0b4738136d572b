//! Who is let in: keys and signatures over real sockets, TLS, socket files, and what a host refuses to open.

use std::process::Command;
use std::time::Duration;

use harness::alerts::alert;
use harness::host::{command, ids};
use harness::senders::new_key;
use harness::web::client;
use harness::{Host, Plugin, Settings};
use serde_json::{Value, json};

async fn status(host: &Host, request: reqwest::RequestBuilder) -> (u16, String) {
    let reply = host.request(request).await;
    let code =
        serde_json::from_str::<Value>(&reply.text).unwrap_or_default()["code"].as_str().map(str::to_owned);
    (reply.status, code.unwrap_or_default())
}

fn body() -> Value {
    json!({"alerts": [alert("let in")]})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_opens_what_it_says_and_the_ledger_names_it() {
    let (post, post_lines) = new_key("team-a", &["--sources", "alerts"]);
    let (admin, admin_lines) = new_key("ops", &["--admin"]);
    let settings = Settings::new().and_config(&post_lines).and_config(&admin_lines);
    let host = settings.plugin(Plugin::shipped("log")).plugin(Plugin::shipped("grafana")).start().await;
    let send = |path: &str| client().post(host.at(path)).json(&body());

    let missing = host.request(send("/webhook/alerts")).await;
    assert_eq!(missing.status, 401, "{missing:?}");
    assert!(missing.header("www-authenticate").starts_with("Bearer"), "{missing:?}");
    assert!(missing.text.contains("authorization: Bearer KEY"), "{missing:?}");
    for path in ["/webhook/alerts/sync", "/webhook/grafana"] {
        assert_eq!(status(&host, send(path)).await, (401, "unauthenticated".to_owned()), "{path}");
    }
    assert_eq!(status(&host, send("/webhook/grafana").bearer_auth(&post)).await.0, 403);
    let accepted = host.request(send("/webhook/alerts").bearer_auth(&post)).await.ok();
    let id = accepted["workflow_ids"][0].as_str().expect("an id").to_owned();

    // The posting key opens nothing else, the admin key does not post.
    let ask = |path: &str| client().get(host.at(path));
    let alert = format!("/alerts/{id}");
    for path in [alert.as_str(), "/plugins"] {
        assert_eq!(status(&host, ask(path)).await.0, 401, "{path}");
        assert_eq!(
            status(&host, ask(path).bearer_auth(&post)).await,
            (403, "forbidden".to_owned()),
            "{path}"
        );
        assert_eq!(host.request(ask(path).header("x-api-key", &admin)).await.status, 200, "{path}");
    }
    assert_eq!(status(&host, send("/webhook/alerts").bearer_auth(&admin)).await.0, 403);
    let ledger = harness::wait::until("the alert is done", async || {
        let found = host.request(ask(&alert).bearer_auth(&admin)).await.ok();
        found.get("ledger").cloned()
    })
    .await;
    assert_eq!(ledger["key"], "team-a", "{ledger}");
    assert!(!host.log().has(|event| event.to_string().contains(&post)));

    // The commands show it, too.
    let plugins = |key: Option<&str>| {
        let mut command = command();
        command.args(["plugins", "--url", host.url()]);
        key.iter().for_each(|key| _ = command.env("CAMPANILE_KEY", key));
        let output = command.output().expect("the command runs");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert!(plugins(Some(&admin)).0);
    let (is_good, said) = plugins(None);
    assert!(!is_good && said.contains("this takes an admin key"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_in_the_url_works_where_it_may_and_is_never_logged() {
    let (key, lines) = new_key("pd", &["--sources", "pagerduty-events", "--in-url"]);
    let host = Settings::new().and_config(&lines).plugin(Plugin::shipped("pagerduty-events")).start().await;
    let event = json!({
        "routing_key": "x", "event_action": "trigger",
        "payload": {"summary": "s", "source": "w", "severity": "info"},
    });
    let send = |path: String, event: &Value| client().post(host.at(&path)).json(event);
    let in_path = format!("/webhook/pagerduty-events/{key}/v2/enqueue");
    assert_eq!(host.request(send(in_path, &event)).await.status, 202);
    let in_query = format!("/webhook/pagerduty-events/v2/enqueue?token={key}");
    assert_eq!(host.request(send(in_query, &event)).await.status, 202);
    let nowhere = format!("/webhook/pagerduty-events/{key}/nowhere");
    assert_eq!(host.request(send(nowhere, &event)).await.status, 400);
    let elsewhere = format!("/nowhere/{key}");
    let reply = host.request(send(elsewhere, &event)).await;
    assert_eq!(reply.status, 404);
    host.log().wait_for("the refusal", |event| event["path"] == "/nowhere/***").await;
    assert!(!host.log().has(|event| event.to_string().contains(&key)) && !reply.text.contains(&key));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signature_is_over_the_bytes_that_were_sent() {
    let settings = Settings::new();
    let secret = settings.write("secret", "hush\n");
    let config = format!(
        "\n[sources.alertmanager.signature]\nscheme = \"standard-webhooks\"\nsecrets = [{{ file = \"{}\" }}]\n",
        settings.write("whsec", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").display()
    ) + &format!(
        "[sources.am]\nplugin = \"alertmanager\"\n[sources.am.signature]\nscheme = \"github\"\nsecrets = [{{ file = \"{}\" }}]\n",
        secret.display()
    );
    let host = settings.and_config(&config).plugin(Plugin::shipped("alertmanager")).start().await;
    let body = r#"{"version":"4","alerts":[]}"#;
    let webhook = standardwebhooks::Webhook::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("a key");
    let now = jiff::Timestamp::now().as_second();
    let send = |path: &str, time: i64, body: &'static str, signed: &str| {
        let signature = webhook.sign("msg-1", time, signed.as_bytes()).expect("a signature");
        client()
            .post(host.at(path))
            .header("webhook-id", "msg-1")
            .header("webhook-timestamp", time.to_string())
            .header("webhook-signature", signature)
            .body(body)
    };
    assert_eq!(host.request(send("/webhook/alertmanager", now, body, body)).await.status, 200);
    let stale = host.request(send("/webhook/alertmanager", now - 600, body, body)).await;
    assert_eq!(stale.status, 401);
    assert!(stale.text.contains("600 s from ours"), "{stale:?}");
    let tampered = send("/webhook/alertmanager", now, body, r#"{"version":"4", "alerts":[]}"#);
    assert_eq!(status(&host, tampered).await, (401, "unauthenticated".to_owned()));
    assert_eq!(status(&host, send("/webhook/am", now, body, body)).await.0, 401, "another source's scheme");
    let signature = signed_by_python("hush", body);
    let github =
        |value: String| client().post(host.at("/webhook/am")).header("x-hub-signature-256", value).body(body);
    assert_eq!(host.request(github(format!("sha256={signature}"))).await.status, 200);
    assert_eq!(host.request(github(format!("sha256={}", &signature[1..]))).await.status, 401);
    // Nothing asks less of those who post elsewhere.
    assert_eq!(status(&host, client().post(host.at("/webhook/alerts")).json(&self::body())).await.0, 401);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signed_request_that_is_sent_again_runs_nothing_twice() {
    let settings = Settings::new();
    let secret = settings.write("secret", "hush\n");
    let signature = format!(
        "scheme = \"github\"\nsecrets = [{{ file = \"{}\" }}]\nremember = \"720h\"\n",
        secret.display()
    );
    let config = format!("\n[sources.alerts.signature]\n{signature}");
    let host = settings.and_config(&config).plugin(Plugin::shipped("log")).start().await;
    let send = |body: &Value, replay: &str| {
        let body = body.to_string();
        let signature = format!("sha256={}", signed_by_python("hush", &body));
        let post = client().post(host.at("/webhook/alerts")).header("x-hub-signature-256", signature);
        post.header("content-type", "application/json").header("idempotency-key", replay).body(body)
    };
    let (one, other) = (body(), json!({"alerts": [alert("somebody else")]}));
    let ids = async |request| ids(&host.request(request).await.ok());
    let first = ids(send(&one, "a")).await;
    assert_eq!(ids(send(&one, "b")).await, first, "what is not signed tells nothing");
    assert_ne!(ids(send(&other, "a")).await, first);
}

/// As somebody else's library signs.
fn signed_by_python(secret: &str, body: &str) -> String {
    let program =
        "import hmac, sys; print(hmac.new(sys.argv[1].encode(), sys.argv[2].encode(), 'sha256').hexdigest())";
    let output =
        Command::new("python3").args(["-c", program, secret, body]).output().expect("python3 is there");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_posts_too_fast_is_told_when_to_go_on() {
    let (key, lines) = new_key("burst", &[]);
    let host = Settings::new()
        .and_config(&lines)
        .and_config("rate-limit = 2\n")
        .plugin(Plugin::shipped("alertmanager"))
        .start()
        .await;
    let send = |path: &str, body: Value| client().post(host.at(path)).bearer_auth(&key).json(&body);
    let first = host.request(send("/webhook/alerts", body())).await;
    assert_eq!((first.status, first.header("ratelimit-policy")), (200, "\"key\";q=2;w=1"), "{first:?}");
    let mut refused = Vec::new();
    for _ in 0..8 {
        refused.push(host.request(send("/webhook/alerts", body())).await);
    }
    let refused = refused.iter().find(|reply| reply.status == 429).expect("eight at once are too many");
    assert_eq!((&refused.json()["code"], refused.header("retry-after")), (&json!("rate-limited"), "1"));
    assert_eq!(refused.header("ratelimit"), "\"key\";r=0;t=1");
    // Vendors take a 429 for final.
    let mut at_source = Vec::new();
    for _ in 0..8 {
        at_source.push(host.request(send("/webhook/alertmanager", json!({"alerts": []}))).await.status);
    }
    assert!(at_source.contains(&503) && !at_source.contains(&429), "{at_source:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_opens_a_webhook_to_others_by_accident() {
    let open = Settings::new().argument("--listen").argument("0.0.0.0:0");
    let (exit, log) = Host::refusing(&open).await;
    assert!(!exit.success());
    let said = log.tail();
    assert!(said.contains("campanile keys new NAME") && said.contains("anybody-may-post = true"), "{said}");
    let (_, lines) = new_key("any", &[]);
    let keyed = open.clone().and_config(&lines);
    Host::listening(&keyed).await;
    let meant = open.and_config("\n[webhook]\nanybody-may-post = true\n");
    Host::listening(&meant).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_serves_http_2_and_takes_a_new_certificate_without_a_restart() {
    let settings = Settings::new();
    let write = |name: &str| {
        let made =
            rcgen::generate_simple_self_signed([name.to_owned(), "127.0.0.1".to_owned()]).expect("a pair");
        settings.write("key.pem", &made.signing_key.serialize_pem());
        settings.write("cert.pem", &made.cert.pem());
        made.cert.pem()
    };
    let first = write("first.example");
    let path = |name: &str| settings.directory().join(name).display().to_string();
    let config = format!("\n[tls]\ncertificate = \"{}\"\nkey = \"{}\"\n", path("cert.pem"), path("key.pem"));
    let host = Host::listening(&settings.clone().and_config(&config)).await;
    let url = host.url().replace("http://", "https://");
    let trusting = |pem: &str| {
        let root = reqwest::Certificate::from_pem(pem.as_bytes()).expect("a certificate");
        let client = harness::web::builder().tls_certs_only([root]).timeout(Duration::from_secs(10));
        client.build().expect("a client")
    };
    let get = |client: reqwest::Client| client.get(format!("{url}/health")).send();
    let answer = get(trusting(&first)).await.expect("TLS");
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    let second = write("second.example");
    harness::wait::until("the new certificate is used", async || get(trusting(&second)).await.ok()).await;
    assert!(get(trusting(&first)).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_file_takes_alerts_and_one_left_over_is_no_obstacle() {
    let settings = Settings::new();
    let socket = settings.directory().join("campanile.sock");
    let listen = format!("unix:{}", socket.display());
    let settings = settings.argument("--listen").argument(&listen);
    let (process, log) = Host::launched(&settings).await;
    log.message("worker polling").await;
    let client = harness::web::builder().unix_socket(socket.as_path()).build().expect("a client");
    let post = async || {
        let request = client.post("http://localhost/webhook/alerts").json(&body());
        harness::web::send(request).await.expect("an answer").ok()["success"].clone()
    };
    assert_eq!(post().await, true);
    process.kill().await;
    assert!(socket.exists());
    let (_process, log) = Host::launched(&settings).await;
    log.message("worker polling").await;
    assert_eq!(post().await, true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_asks_clients_for_certificates_is_open_to_those_who_have_one() {
    let settings = Settings::new().argument("--listen").argument("0.0.0.0:0");
    let issuer_key = rcgen::KeyPair::generate().expect("a key");
    let mut issuer = rcgen::CertificateParams::default();
    issuer.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let issuer_certificate = issuer.self_signed(&issuer_key).expect("an authority");
    let issuer = rcgen::Issuer::new(issuer, issuer_key);
    let signed = |name: &str| {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        (certificate.pem(), key.serialize_pem())
    };
    let (server, client) = (signed("127.0.0.1"), signed("monitoring"));
    let write = |name: &str, text: &str| settings.write(name, text).display().to_string();
    let config = format!(
        "\n[tls]\ncertificate = \"{}\"\nkey = \"{}\"\nclient-ca = \"{}\"\n",
        write("server.pem", &server.0),
        write("server-key.pem", &server.1),
        write("clients.pem", &issuer_certificate.pem()),
    );
    let host = Host::listening(&settings.and_config(&config)).await;
    let url = format!("{}/livez", host.url().replace("http://0.0.0.0", "https://127.0.0.1"));
    let root = reqwest::Certificate::from_pem(issuer_certificate.pem().as_bytes()).expect("a certificate");
    let builder = || harness::web::builder().tls_certs_only([root.clone()]);
    let stranger = builder().build().expect("a client");
    assert!(stranger.get(&url).send().await.is_err(), "nobody without a certificate comes in");
    let identity =
        reqwest::Identity::from_pem(format!("{}{}", client.0, client.1).as_bytes()).expect("a pair");
    let known = builder().identity(identity).build().expect("a client");
    assert_eq!(known.get(&url).send().await.expect("an answer").status(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_origins_may_do_nothing_unless_they_are_named() {
    const ORIGIN: &str = "https://status.example.com";
    const ASKED: [&str; 7] = [
        "authorization",
        "content-type",
        "x-api-key",
        "idempotency-key",
        "webhook-id",
        "webhook-timestamp",
        "webhook-signature",
    ];
    let named = Settings::new().and_config(&format!("\n[webhook]\ncors-origins = [\"{ORIGIN}\"]\n"));
    for (settings, allowed) in [(Settings::new(), ""), (named, ORIGIN)] {
        let host = Host::listening(&settings.role("webhook")).await;
        let asked = |origin: &'static str| {
            let request = client().request(reqwest::Method::OPTIONS, host.at("/webhook/alerts"));
            let request = request.header("origin", origin).header("access-control-request-method", "POST");
            request.header("access-control-request-headers", ASKED.join(","))
        };
        let reply = host.request(asked(ORIGIN)).await;
        assert_eq!(reply.header("access-control-allow-origin"), allowed, "{reply:?}");
        let headers = reply.header("access-control-allow-headers").to_owned();
        let is_allowed = |name: &&str| headers.split(',').any(|allowed| allowed.trim() == *name);
        assert_eq!(ASKED.iter().all(is_allowed), !allowed.is_empty(), "{headers:?}");
        let reply = host.request(asked("https://evil.example")).await;
        assert_eq!(reply.header("access-control-allow-origin"), "", "{reply:?}");
        assert_eq!(host.request(client().head(host.at("/livez"))).await.status, 200, "HEAD is taken for GET");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_keys_is_made_once_and_opens_the_host_that_is_told_of_it() {
    let settings = Settings::new().role("webhook");
    let file = settings.directory().join("keys.toml").display().to_string();
    let arguments = ["keys", "new", "compose", "--sources=*", "--file", &file];
    let new = |more: &[&str]| command().args(arguments).args(more).output().expect("the command runs");
    let made = String::from_utf8(new(&["--if-missing"]).stdout).expect("UTF-8");
    let key = made.lines().map(str::trim).find(|line| line.starts_with("cmp_")).expect("a key").to_owned();
    let again = new(&["--if-missing"]);
    assert!(again.status.success() && !String::from_utf8_lossy(&again.stdout).contains("cmp_"), "{again:?}");
    assert!(!new(&[]).status.success(), "a key is not replaced by accident");
    let host = settings.argument("--keys-file").argument(&file).start().await;
    let send = || client().post(host.at("/webhook/alerts")).json(&body());
    assert_eq!(host.request(send()).await.status, 401);
    assert_eq!(host.request(send().bearer_auth(&key)).await.status, 200);
}
