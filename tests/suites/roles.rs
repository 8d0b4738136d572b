//! Roles: what a process of each serves, and the configuration that leads there.

use harness::alerts::alert;
use harness::{Host, Plugin, Receiver, Settings, until};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_serves_only_what_tells_of_itself() {
    let receiver = Receiver::start().await;
    let host = Settings::new().role("worker").plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    for path in ["/health", "/metrics", "/plugins"] {
        assert_eq!(host.get(path).await.status, 200, "{path}");
    }
    let refused = host.post("/webhook/alerts", &json!({"alerts": [alert("wrong door")]})).await;
    assert_eq!(refused.status, 404);
    assert_eq!(refused.json()["success"], false);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_needs_no_plugins_and_is_healthy_without_a_worker() {
    let host = Settings::new().role("webhook").start().await;
    let health = host.get("/health").await.ok();
    assert_eq!(health["temporal"]["reachable"], true, "{health}");
    assert_eq!(host.submit(&[alert("taken")]).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_says_whether_any_worker_polls_its_queue() {
    let settings = Settings::new();
    let webhook = settings.clone().role("webhook").start().await;
    let polled = async |is: bool| {
        until(&format!("the webhook says queue_polled: {is}"), async || {
            let health = webhook.get("/health").await.ok();
            (health["temporal"]["queue_polled"] == is).then_some(())
        })
        .await;
    };
    polled(false).await;
    let page = webhook.get("/metrics").await.text;
    assert!(page.contains("\ncampanile_task_queue_pollers 0"), "{page}");
    let _worker = settings.role("worker").start().await;
    polled(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_of_the_configuration_are_listed_all_at_once_with_their_places() {
    let text = "listen = 5\n[webhook]\nbody-limits = 1\n[activities.send-notification]\ntimeout = \"soon\"\n";
    let (status, log) = Host::refusing(&Settings::new().config(text)).await;
    assert!(!status.success());
    let log = log.tail();
    for words in ["listen", "webhook.body-limits", "line 3"] {
        assert!(log.contains(words), "{words}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_comes_before_the_environment_and_that_before_the_file() {
    let host = Settings::new()
        .config("[log]\nfilter = \"error\"\n[webhook]\nbody-limit = 2048\n[temporal]\ntask-queue = \"from-the-file\"\n")
        .variable("CAMPANILE_TASK_QUEUE", "from-the-environment")
        .variable("CAMPANILE_LOG", "info")
        .start()
        .await;
    let queue = host.get("/health").await.ok()["temporal"]["task_queue"].clone();
    assert!(queue.as_str().is_some_and(|queue| queue.starts_with("queue-")), "{queue}");
    assert!(host.log().has(|event| event["level"] == "INFO"), "the environment comes before the file");
}
