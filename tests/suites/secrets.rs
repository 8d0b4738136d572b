//! Secrets: the host fills them in; neither the plugin, nor the log, nor any answer shows them.

use harness::alerts::alert;
use harness::{Answer, Host, Plugin, Receiver, Settings, artifacts};

const VALUE: &str = "T000/B000/hush-hush-hush";

/// A host that knows one secret, and a recorder that is set to use it in its path and in a header.
async fn host_with(receiver: &Receiver, grants: &str, hosts: &str) -> Host {
    let url = receiver.url("/services/${secret:PATH}");
    let any = receiver.url("/**");
    let sidecar = format!(
        "[config]\nurl = \"{url}\"\nheader = \"key ${{secret:PATH}}\"\n[retry]\nmaximum-attempts = 1\n\
         [grants]\nhttp = [\"POST {any}\"]\nprivate-networks = [\"127.0.0.0/8\"]\n{grants}\n"
    );
    let config = format!("\n[secrets.PATH]\nenv = \"TESTS_SECRET\"\nhosts = [\"{hosts}\"]\n");
    Settings::new()
        .and_config(&config)
        .variable("TESTS_SECRET", VALUE)
        .plugin(Plugin::new("pager", artifacts::guest("recorder")).sidecar(&sidecar))
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_granted_secret_is_filled_in_and_shown_to_nobody() {
    let receiver = Receiver::start().await;
    let host = host_with(&receiver, "secrets = [\"PATH\"]", "127.0.0.1").await;
    let results = host.submit_sync(&[alert("with a secret")]).await;
    assert_eq!(results[0]["outcome"], "delivered", "{results:?}");
    let received = receiver.received(&format!("/services/{VALUE}"));
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].header("x-setting"), format!("key {VALUE}"));
    let shown = [results[0].to_string(), host.plugins().await.to_string(), host.get("/metrics").await.text];
    assert!(shown.iter().all(|text| !text.contains("hush")), "{shown:?}");
    assert!(!host.log().has(|event| event.to_string().contains("hush")), "the log holds the secret");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_is_not_granted_or_not_for_that_host_is_not_sent() {
    for (grants, hosts) in [("", "127.0.0.1"), ("secrets = [\"PATH\"]", "hooks.example.com")] {
        let receiver = Receiver::start().await;
        let host = host_with(&receiver, grants, hosts).await;
        let results = host.submit_sync(&[alert("without")]).await;
        assert_eq!(results[0]["outcome"], "failed", "{grants} {hosts}");
        assert!(receiver.received(&format!("/services/{VALUE}")).is_empty());
        assert!(!host.log().has(|event| event.to_string().contains("hush")), "the log holds the secret");
        assert!(
            host.log().has(|event| event.to_string().contains("PATH")),
            "the log names the secret that lacks"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_the_operator_did_not_set_stops_the_host_at_once() {
    let settings =
        Settings::new().and_config("\n[secrets.LOST]\nenv = \"TESTS_NO_SUCH\"\nhosts = [\"example.com\"]\n");
    let (status, log) = Host::refusing(&settings).await;
    assert!(!status.success());
    assert!(log.tail().contains("TESTS_NO_SUCH"), "{}", log.tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_server_says_of_a_secret_is_shown_to_nobody() {
    let receiver = Receiver::start().await;
    let said = format!("no such token: Bearer {VALUE}");
    receiver.always("/alerts", Answer::status(400).body(&said));
    let sidecar = format!(
        "[config]\nurl = \"{}\"\nauthorization = \"${{secret:TOKEN}}\"\n\
         [grants]\nhttp = [\"POST {}\"]\nprivate-networks = [\"127.0.0.0/8\"]\nsecrets = [\"TOKEN\"]\n",
        receiver.url("/alerts"),
        receiver.url("/**"),
    );
    let config = "\n[secrets.TOKEN]\nenv = \"TESTS_SECRET\"\nkind = \"bearer\"\nhosts = [\"127.0.0.1\"]\n";
    // Another plugin that may ask the same server, and is granted no secret.
    let reader = Plugin::new("reader", artifacts::shipped("webhook"));
    let reader = reader.sidecar(
        &sidecar.replace("authorization = \"${secret:TOKEN}\"\n", "").replace("secrets = [\"TOKEN\"]\n", ""),
    );
    let host = Settings::new()
        .and_config(config)
        .variable("TESTS_SECRET", VALUE)
        .argument("--log")
        .argument("debug,campanile=trace,plugin=trace,hyper=trace,hyper_util=trace,rustls=trace")
        .plugin(Plugin::new("tracker", artifacts::shipped("webhook")).sidecar(&sidecar))
        .plugin(reader)
        .start()
        .await;
    let results = host.submit_sync(&[alert("with a token")]).await;
    let received = receiver.received("/alerts");
    let sent: Vec<_> = received.iter().map(|request| request.header("authorization")).collect();
    assert!(sent.contains(&format!("Bearer {VALUE}").as_str()) && sent.contains(&""), "{sent:?}");
    let ledger = results[0].to_string();
    for step in results[0]["ledger"]["steps"].as_array().expect("steps") {
        let said = step["error"]["message"].as_str().expect("the server refuses both");
        assert!(said.contains("no such token: Bearer [secret]"), "{step}");
    }
    assert!(!ledger.contains("hush"), "{ledger}");
    assert!(!host.log().has(|event| event.to_string().contains("hush")), "the log holds the secret");
}

/// A host whose recorder is set to put a secret into the body.
async fn host_with_body(receiver: &Receiver, grants: &str) -> Host {
    let sidecar = format!(
        "[config]\nurl = \"{}\"\nbody = \"key ${{secret:KEY}}\"\n[retry]\nmaximum-attempts = 1\n\
         [grants]\nhttp = [\"POST {}\"]\nprivate-networks = [\"127.0.0.0/8\"]\n{grants}\n",
        receiver.url("/pager"),
        receiver.url("/**"),
    );
    Settings::new()
        .and_config("\n[secrets.KEY]\nenv = \"TESTS_SECRET\"\nhosts = [\"127.0.0.1\"]\n")
        .variable("TESTS_SECRET", "hush\"hush\"hush")
        .plugin(Plugin::new("pager", artifacts::guest("recorder")).sidecar(&sidecar))
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_goes_into_a_body_by_its_own_grant_and_never_by_what_an_alert_says() {
    let receiver = Receiver::start().await;
    let host = host_with_body(&receiver, "secrets-in-body = [\"KEY\"]").await;
    let results = host.submit_sync(&[alert("about ${secret:KEY} and ${secret:OTHER}")]).await;
    assert_eq!(results[0]["outcome"], "delivered", "{results:?}");
    let body = receiver.received("/pager")[0].json();
    assert_eq!(body["setting"], "key hush\"hush\"hush");
    assert_eq!(body["alert"]["title"], "about ${secret:KEY} and ${secret:OTHER}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_in_a_body_without_that_grant_is_refused_with_the_line_to_add() {
    let receiver = Receiver::start().await;
    let host = host_with_body(&receiver, "secrets = [\"KEY\"]").await;
    let results = host.submit_sync(&[alert("without")]).await;
    assert_eq!(results[0]["outcome"], "failed", "{results:?}");
    let line = "add to [grants]: secrets-in-body = [\\\"KEY\\\"]";
    assert!(results[0].to_string().contains(line), "{results:?}");
    assert!(receiver.received("/pager").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_that_are_granted_or_declared_alone_are_said_and_stop_nobody() {
    let receiver = Receiver::start().await;
    let granting = Plugin::recorder("pager", &receiver, "").and("secrets = [\"LOST\"]\n");
    let host = Settings::new()
        .and_config("\n[secrets.IDLE]\nenv = \"TESTS_SECRET\"\nhosts = [\"127.0.0.1\"]\n")
        .variable("TESTS_SECRET", VALUE)
        .plugin(granting)
        .start()
        .await;
    let says = |level: &str, text: &str| {
        host.log().has(|event| {
            event["level"] == level && event["message"].as_str().is_some_and(|said| said.contains(text))
        })
    };
    assert!(says("WARN", "secret LOST is granted but not declared; add [secrets.LOST]"));
    assert!(says("INFO", "secret IDLE is declared, but granted to no plugin, receiver or updater"));
    assert_eq!(host.ledger(alert("all the same")).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_of_the_environment_are_not_used() {
    let (receiver, proxy) = (Receiver::start().await, Receiver::start().await);
    let mut settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"] {
        settings = settings.variable(name, &proxy.url(""));
    }
    let host = settings.start().await;
    assert_eq!(host.ledger(alert("directly")).await["outcome"], "delivered");
    assert_eq!(receiver.received("/pager").len(), 1);
    assert!(proxy.received("/pager").is_empty(), "the proxy saw the request");
}
