//! What one sender posts is no other's trouble: while one posts the worst bodies that are admitted as fast as it can, another's
//! good body is taken at once, and no plugin is quarantined for it.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flate2::Compression;
use flate2::write::GzEncoder;
use harness::alerts::{alert, labelled, unique};
use harness::senders::new_key;
use harness::wait::until;
use harness::web::{client, send};
use harness::{Host, Plugin, Receiver, Settings};
use serde_json::{Value, json};

/// How long a good body may take.
const SOON: Duration = Duration::from_secs(2);
/// How many requests of the bad sender are under way at once: more than the host works on.
const GREED: usize = 80;
/// The sources: one takes whatever is admitted, one has too little memory for it.
const SOURCES: [&str; 2] = ["grafana", "alertmanager"];

/// A body at the limits, unlike any other.
fn worst(number: usize) -> Vec<u8> {
    let alert = |index: usize| json!({"labels": {"alertname": format!("{number} {index}")}});
    let body = match number % 3 {
        // As many values as are admitted, in one alert that is too large.
        0 => json!({"alerts": [alert(0)], "orgId": vec!["a text"; 90_000]}),
        // More alerts than are taken, found out after the source has read them.
        1 => json!({"alerts": (0..20_000).map(alert).collect::<Value>()}),
        // As many bytes as are admitted.
        _ => json!({"alerts": [alert(0)], "receiver": "x".repeat(8_300_000)}),
    };
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(body.to_string().as_bytes()).expect("memory takes it");
    gzip.finish().expect("memory takes it")
}

/// Posts the worst bodies until it is dropped, and counts the answers by what they say.
async fn post_the_worst(host: &Host, key: &str, answers: Arc<[AtomicUsize; 3]>) {
    let bodies: Vec<_> = (0..12).map(worst).collect();
    let post = |number: usize| {
        let (url, key, answers) = (host.at(&format!("/webhook/{}", SOURCES[number % 2])), key, &answers);
        let bodies = &bodies;
        async move {
            for round in 0.. {
                let body = bodies[(number + round) % bodies.len()].clone();
                let request = client().post(&url).header("x-api-key", key).header("content-encoding", "gzip");
                let reply = send(request.header("content-type", "application/json").body(body)).await;
                let kind = reply.map_or(2, |reply| match reply.status {
                    400 | 413 => 0,
                    503 if reply.text.contains("source-failed") => 1,
                    422 => 1,
                    _ => 2,
                });
                answers[kind].fetch_add(1, Ordering::Relaxed);
            }
        }
    };
    futures::future::join_all((0..GREED).map(post)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_body_is_taken_while_another_sender_posts_the_worst_bodies() {
    let (bad, bad_lines) = new_key("bad", &["--sources", "*"]);
    let (good, good_lines) = new_key("good", &["--sources", "*"]);
    let (admin, admin_lines) = new_key("ops", &["--admin"]);
    let settings = Settings::new().and_config(&bad_lines).and_config(&good_lines).and_config(&admin_lines);
    let starved = Plugin::shipped("alertmanager").sidecar("[limits]\nmemory = \"3MiB\"\n");
    let host = settings.plugin(Plugin::shipped("grafana")).plugin(starved).start().await;
    let answers: Arc<[AtomicUsize; 3]> = Arc::default();
    let good_posts = async {
        let enough = || answers[0].load(Ordering::Relaxed) >= 2 && answers[1].load(Ordering::Relaxed) >= 12;
        until("the bad sender is at it", async || enough().then_some(())).await;
        for round in 0..10 {
            for source in SOURCES {
                let body = json!({"alerts": [{"labels": {"alertname": unique("good ")}}]});
                let began = Instant::now();
                let request =
                    client().post(host.at(&format!("/webhook/{source}"))).header("x-api-key", &good);
                let reply = send(request.json(&body)).await.expect("an answer");
                let took = began.elapsed();
                assert_eq!(reply.status, 200, "{source}, round {round}: {reply:?}");
                assert!(took < SOON, "{source}, round {round}: it took {took:?}");
            }
        }
    };
    tokio::select! {
        () = post_the_worst(&host, &bad, answers.clone()) => unreachable!("it has no end"),
        () = good_posts => {}
    }
    let request = client().get(host.at("/plugins")).header("x-api-key", &admin);
    let plugins = send(request).await.expect("an answer").ok();
    for plugin in plugins["loaded"].as_array().expect("a list") {
        assert_eq!(plugin["quarantine"], Value::Null, "{plugin}");
    }
    let refused =
        plugins["loaded"].as_array().into_iter().flatten().find_map(|one| one.get("refused_inputs"));
    assert_eq!(refused.expect("some are refused by themselves")[0]["sender"], "key bad");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sender_does_not_have_a_processor_quarantined() {
    let receiver = Receiver::start().await;
    let (bad, bad_lines) = new_key("bad", &["--sources", "alerts"]);
    let (good, good_lines) = new_key("good", &["--sources", "alerts", "--admin"]);
    let settings = Settings::new().and_config(&bad_lines).and_config(&good_lines);
    let settings =
        settings.plugin(Plugin::guest("misbehave")).plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.start().await;
    let post = async |key: &str, title: &str, deed: &str| {
        let body = json!({"alerts": [labelled(alert(title), "do", deed)]});
        let request = client().post(host.at("/webhook/alerts/sync?timeout=20s")).header("x-api-key", key);
        let answer = send(request.json(&body)).await.expect("an answer").ok();
        let steps = answer["results"][0]["ledger"]["steps"].as_array().cloned().unwrap_or_default();
        let step = steps.into_iter().find(|step| step["plugin"] == "misbehave");
        step.unwrap_or_else(|| panic!("it was called: {answer}"))["error"]["code"].clone()
    };
    for number in 0..12 {
        assert_eq!(post(&bad, &format!("trap {number}"), "trap").await, "trap");
    }
    assert_eq!(post(&bad, "trap 0", "trap").await, "trap", "the second time");
    assert_eq!(post(&bad, "trap 0", "trap").await, "failing-input");
    assert_eq!(post(&good, "well", "keep").await, Value::Null);
}
