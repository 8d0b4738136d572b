//! Secrets: the host fills them in; neither the plugin, nor the log, nor any answer shows them.

use harness::alerts::alert;
use harness::{Host, Plugin, Receiver, Settings, artifacts};

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
