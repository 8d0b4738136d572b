//! What Temporal stores is encrypted, where the operator says so: it holds no word of an alert, and the host works as ever.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harness::alerts::{alert, identified, with};
use harness::cli::campanile;
use harness::wait::until;
use harness::{Answer, Plugin, Receiver, Server, Settings, Temporal};
use serde_json::json;

const SECRET: &str = "the-vault-is-open";

fn encrypting(server: &Temporal, receiver: &Receiver, keys: &[(&str, u8)]) -> Settings {
    let settings = Settings::new().server(Server::At(server.address()));
    let tables = keys.iter().map(|(id, byte)| {
        let file = settings.write(&format!("{id}.key"), &STANDARD.encode([*byte; 32]));
        format!("\n[[temporal.encryption.keys]]\nid = \"{id}\"\nfile = \"{}\"\n", file.display())
    });
    let tables: String = tables.collect();
    settings.and_config(&tables).plugin(Plugin::recorder("pager", receiver, ""))
}

#[tokio::test(flavor = "multi_thread")]
async fn temporal_holds_no_word_of_an_alert_and_everything_works() {
    let receiver = Receiver::start().await;
    let server = Temporal::start().await;
    receiver.script("/pager", [Answer::status(503), Answer::status(503)], Answer::status(200));
    let host = encrypting(&server, &receiver, &[("one", 1)]).start().await;
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
    let parked = host.ledger(identified(SECRET)).await;
    assert!(parked["steps"][0]["parked"].is_string(), "{parked}");
    assert!(server.holds(&id), "what alerts are found by is readable");
    assert!(!server.holds(SECRET), "nothing else is");
    let listed = host.get("/alerts").await.ok();
    assert!(listed["alerts"].as_array().is_some_and(|alerts| alerts.len() >= 3), "{listed}");
    assert!(listed["alerts"][0]["title"].is_null(), "{listed}");
    until("each is listed as what it is", async || {
        let listed = campanile(&["alerts", "list", "--url", host.url()]).await.stdout;
        let said = |title: &str| listed.matches(&format!("\t{title}\t")).count();
        (said("(encrypted)") == 3 && said("(several alerts)") == 1).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_is_replaced_and_what_the_old_one_encrypted_is_still_read() {
    let receiver = Receiver::start().await;
    let server = Temporal::start().await;
    let with_keys = |keys: &[(&str, u8)]| encrypting(&server, &receiver, keys);
    let before = with_keys(&[("old", 1)]).start().await;
    let id = before.submit(&[identified(SECRET)]).await[0].clone();
    before.completed(&id).await;
    before.stop().await;
    let host = with_keys(&[("new", 2), ("old", 1)]).start().await;
    assert_eq!(host.completed(&id).await["alert"]["title"], SECRET);
    host.stop().await;
    let without = with_keys(&[("new", 2)]).start().await;
    let refused = without.get(&format!("/alerts/{id}")).await;
    assert_eq!(refused.status, 500, "{refused:?}");
    assert!(refused.text.contains("\\\"old\\\""), "it says which key is missing: {refused:?}");
}
