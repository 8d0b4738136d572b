//! What Temporal and the store keep is encrypted, where the operator says so: they hold no word of an alert, and the host works as ever.

use std::fs;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harness::alerts::{alert, identified, with};
use harness::{Answer, Host, Plugin, Receiver, Server, Settings, Temporal};
use serde_json::{Value, json};

const SECRET: &str = "the-vault-is-open";

fn encrypting(settings: &Settings, keys: &[(&str, u8)]) -> Settings {
    let tables = keys.iter().map(|(id, byte)| {
        let file = settings.write(&format!("{id}.key"), &STANDARD.encode([*byte; 32]));
        format!("\n[[temporal.encryption.keys]]\nid = \"{id}\"\nfile = \"{}\"\n", file.display())
    });
    let tables: String = tables.collect();
    settings.clone().and_config(&tables)
}

fn settings(server: &Temporal, receiver: &Receiver) -> Settings {
    Settings::new().server(Server::At(server.address())).plugin(Plugin::recorder("pager", receiver, ""))
}

/// Whether a file of the store has a text in it, in the clear.
fn store_holds(settings: &Settings, text: &str) -> bool {
    let files = fs::read_dir(settings.data()).expect("readable").flatten();
    let files = files.filter(|file| file.file_name().to_string_lossy().starts_with("store.sqlite"));
    let mut bytes = files.map(|file| fs::read(file.path()).expect("readable"));
    bytes.any(|bytes| bytes.windows(text.len()).any(|window| window == text.as_bytes()))
}

#[tokio::test(flavor = "multi_thread")]
async fn no_database_holds_a_word_of_an_alert_and_everything_works() {
    let receiver = Receiver::start().await;
    let server = Temporal::start().await;
    receiver.script("/pager", [Answer::status(503), Answer::status(503)], Answer::status(200));
    let settings = settings(&server, &receiver);
    let host = encrypting(&settings, &[("one", 1)]).start().await;
    let told = with(identified(SECRET), json!({"description": SECRET, "labels": {"which": SECRET}}));
    let id = host.submit(&[told]).await[0].clone();
    let found = host.completed(&id).await;
    assert_eq!((&found["outcome"], &found["alert"]["title"]), (&json!("delivered"), &json!(SECRET)));
    assert_eq!(found["ledger"]["steps"][0]["before"].as_array().map(Vec::len), Some(2), "{found}");
    let batch = host.submit(&[alert(SECRET), identified(SECRET)]).await;
    for id in &batch {
        assert_eq!(host.completed(id).await["state"], "completed");
    }
    // What nobody could deliver waits as ciphertext, too.
    receiver.always("/pager", Answer::status(410).body(SECRET));
    let failed = host.ledger(identified(SECRET)).await;
    assert!(failed["steps"][0]["dead_letter"].is_string(), "{failed}");
    host.post(&format!("/alerts/{id}/ack"), &json!({"by": "alice", "note": SECRET})).await.ok();
    assert!(server.holds(&id) && store_holds(&settings, &id), "what alerts are found by is readable");
    assert!(!server.holds(SECRET) && !store_holds(&settings, SECRET), "nothing else is");
    let listed = host.get("/alerts").await.ok();
    assert!(listed["alerts"].as_array().is_some_and(|alerts| alerts.len() >= 3), "{listed}");
    assert_eq!(listed["alerts"][0]["title"], SECRET, "the host can read it");
    let refused = host.get("/alerts?text=vault").await;
    assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("encrypted")), "{refused:?}");
}

/// What a host says once its store holds nothing in the clear.
const ON: &str = "encryption of the store is on";

/// A notification of Grafana's with the secret in it.
fn group() -> Value {
    json!({"version": "1", "alerts": [{
        "status": "firing", "labels": {"alertname": SECRET}, "startsAt": "2026-01-22T11:47:17.11Z",
    }]})
}

#[tokio::test(flavor = "multi_thread")]
async fn turning_encryption_on_encrypts_what_the_store_holds() {
    let receiver = Receiver::start().await;
    let mut server = Temporal::start().await;
    let spooling = settings(&server, &receiver).and_config("\n[sources.grafana]\nspool = true\n");
    let settings = spooling.plugin(Plugin::shipped("grafana"));
    let clear = settings.start().await;
    let id = clear.submit(&[with(identified(SECRET), json!({"description": SECRET}))]).await[0].clone();
    clear.completed(&id).await;
    clear.post(&format!("/alerts/{id}/ack"), &json!({"by": "alice", "note": SECRET})).await.ok();
    receiver.always("/pager", Answer::status(410).body(SECRET));
    let failed = clear.submit(&[identified(SECRET)]).await[0].clone();
    clear.completed(&failed).await;
    assert_eq!(clear.get("/alerts?text=vault").await.ok()["alerts"].as_array().map(Vec::len), Some(2));
    server.kill().await;
    clear.without_temporal().await;
    assert_eq!(clear.post("/webhook/grafana", &group()).await.status, 202);
    clear.stop().await;
    // A spooled body is in base64.
    let body = STANDARD.encode(group().to_string());
    assert!(store_holds(&settings, SECRET) && store_holds(&settings, &body));

    let host = Host::listening(&encrypting(&settings, &[("one", 1)])).await;
    let on = host.log().message(ON).await;
    assert!(on["rewritten"].as_u64().is_some_and(|count| count >= 8), "{on}");
    let is_clear = || store_holds(&settings, SECRET) || store_holds(&settings, &body);
    assert!(
        !is_clear() && store_holds(&settings, &id),
        "what alerts are found by is readable, and nothing else"
    );
    receiver.always("/pager", Answer::status(200));
    server.restart().await;
    assert_eq!(receiver.wait_for("/pager", 3).await[2].json()["alert"]["title"], SECRET, "it was spooled");
    let found = host.completed(&id).await;
    assert_eq!(
        (&found["alert"]["description"], &found["acknowledged"]["note"]),
        (&json!(SECRET), &json!(SECRET))
    );
    let letters = host.get("/deliveries").await.ok();
    assert_eq!(letters["deliveries"].as_array().map(Vec::len), Some(1), "{letters}");
    host.post("/deliveries/retry?receiver=pager", &Value::Null).await.ok();
    receiver.wait_for("/pager", 4).await;
    assert_eq!(host.ledger(identified(SECRET)).await["outcome"], "delivered");
    assert!(!is_clear());
    host.stop().await;

    let again = encrypting(&settings, &[("one", 1)]).start().await;
    assert_eq!(again.log().message(ON).await["rewritten"], 0);
    again.stop().await;
    let (exit, log) = Host::refusing(&settings).await;
    let words =
        "is encrypted with the key \"one\", and this host has no keys: set [[temporal.encryption.keys]]";
    assert!(!exit.success() && log.tail().replace("\\\"", "\"").contains(words), "{}", log.tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_replaced_and_can_be_removed_then() {
    let receiver = Receiver::start().await;
    let server = Temporal::start().await;
    let settings = settings(&server, &receiver);
    let with_keys = |keys: &[(&str, u8)]| encrypting(&settings, keys);
    let before = with_keys(&[("old", 1)]).start().await;
    let id = before.submit(&[identified(SECRET)]).await[0].clone();
    before.completed(&id).await;
    before.stop().await;
    let refused = async |keys: &[(&str, u8)], words: &str| {
        let (exit, log) = Host::refusing(&with_keys(keys)).await;
        assert!(!exit.success() && log.tail().replace("\\\"", "\"").contains(words), "{}", log.tail());
    };
    refused(&[("new", 2)], "the key \"old\", which is not among [[temporal.encryption.keys]]").await;
    refused(&[("old", 7)], "the key \"old\" did not encrypt it").await;
    refused(&[("new", 2), ("old", 7)], "the key \"old\" did not encrypt it").await;
    let host = with_keys(&[("new", 2), ("old", 1)]).start().await;
    assert_eq!(host.completed(&id).await["alert"]["title"], SECRET, "nothing was harmed");
    host.stop().await;
    let without = with_keys(&[("new", 2)]).start().await;
    assert_eq!(without.completed(&id).await["alert"]["title"], SECRET);
    assert!(!store_holds(&settings, "encryption-key-id\u{12}\u{3}old"), "the old key is in no use");
}

#[tokio::test(flavor = "multi_thread")]
async fn hosts_that_share_a_store_encrypt_it_alike() {
    let receiver = Receiver::start().await;
    let server = Temporal::start().await;
    let settings = settings(&server, &receiver).shared_store();
    let clear = settings.start().await;
    let id = clear.submit(&[identified(SECRET)]).await[0].clone();
    clear.completed(&id).await;
    let host = encrypting(&settings.clone().role("all").shared_store(), &[("one", 1)]).start().await;
    assert_eq!(host.completed(&id).await["alert"]["title"], SECRET);
    let refused = clear.post("/webhook/alerts", &json!({"alerts": [identified(SECRET)]})).await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("store-unavailable")), "{refused:?}");
    assert!(refused.text.contains("this host has no keys"), "{refused:?}");
    assert_eq!(host.ledger(identified(SECRET)).await["outcome"], "delivered");
    let (exit, log) = Host::refusing(&settings).await;
    assert!(!exit.success() && log.tail().contains("this host has no keys"), "{}", log.tail());
}
