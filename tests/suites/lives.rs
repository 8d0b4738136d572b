//! One alert, one life: what is posted again joins it, its end belongs to it, what comes and goes is told once, and its ledger
//! tells all of that.

use std::time::Duration;

use harness::alerts::{alert, identified, unique, with};
use harness::cli::campanile;
use harness::wait::until;
use harness::{Answer, Host, Plugin, Receiver, Settings};
use serde_json::{Value, json};

fn pager(receiver: &Receiver) -> Plugin {
    Plugin::recorder("pager", receiver, "")
}

fn statuses(receiver: &Receiver, path: &str) -> Vec<Value> {
    receiver.received(path).iter().map(|request| request.json()["alert"]["status"].clone()).collect()
}

fn resolved(firing: &Value) -> Value {
    with(firing.clone(), json!({"status": "resolved"}))
}

/// The same alert, later: another life of its key.
fn again(firing: &Value, starts_at: &str) -> Value {
    with(firing.clone(), json!({"starts_at": starts_at}))
}

async fn post(host: &Host, alert: &Value) -> String {
    host.submit(std::slice::from_ref(alert)).await[0].clone()
}

/// Waits until the end of an alert is held back.
async fn held_back(host: &Host, end: &str) -> Value {
    until("the end is held back", async || {
        let found = host.get(&format!("/alerts/{end}")).await.ok();
        (found["state"] == "held").then_some(found)
    })
    .await
}

async fn why(host: &Host, id: &str, receiver: &str) -> String {
    let ran = campanile(&["alerts", "show", id, "--why", receiver, "--url", host.url()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    ran.stdout
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_is_in_the_ledger_with_what_was_answered() {
    let receiver = Receiver::start().await;
    receiver.script(
        "/pager",
        [Answer::status(503), Answer::status(429).header("retry-after", "1"), Answer::status(500)],
        Answer::status(200).header("x-receipt", "page-7"),
    );
    let host = Settings::new().plugin(pager(&receiver)).start().await;
    let id = post(&host, &identified("told in the end")).await;
    let found = host.completed(&id).await;
    let step = &found["ledger"]["steps"][0];
    assert_eq!((&step["attempts"], &step["receipt_id"]), (&json!(4), &json!("page-7")), "{step}");
    let before = step["before"].as_array().expect("the attempts before");
    let told: Vec<_> = before.iter().map(|one| (&one["number"], &one["code"])).collect();
    assert_eq!(
        told,
        [(&json!(1), &json!("http-503")), (&json!(2), &json!("http-429")), (&json!(3), &json!("http-500"))]
    );
    assert!(before.iter().all(|one| one["at"].is_string() && one["duration_ms"].is_number()), "{step}");
    assert!(found["ledger"]["from"] == "127.0.0.1", "{found}");

    let told = why(&host, &id, "pager").await;
    for part in ["pager was told, in attempt 4", "page-7", "Attempt 2", "http-429"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let shown = campanile(&["alerts", "show", &id, "--url", host.url()]).await;
    assert!(shown.stdout.contains("1. ") && shown.stdout.contains("http-500"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_under_way_says_who_waits_and_why() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(503));
    let slow = "\n[activities.send-notification]\ninitial-interval = \"300ms\"\nmaximum-attempts = 50\n";
    let host = Settings::new().config(slow).plugin(pager(&receiver)).start().await;
    let id = post(&host, &identified("waits")).await;
    receiver.wait_for("/pager", 4).await;
    let waiting = until("both attempts are told", async || {
        let text = why(&host, &id, "pager").await;
        text.contains("Attempt 3").then_some(text)
    })
    .await;
    assert!(waiting.contains("pager is not told yet"), "{waiting}");
    assert!(waiting.contains("Attempt 1") && waiting.contains("http-503"), "{waiting}");
    assert!(why(&host, &id, "nobody").await.contains("nobody was not notified"), "others are not meant");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_told_is_told_why() {
    let receiver = Receiver::start().await;
    let url = receiver.url("/ops");
    let config = format!(
        "[receivers.ops]\nplugin = \"pager\"\nconfig = {{ url = \"{url}\" }}\n\
         [receivers.night]\nplugin = \"pager\"\n\
         [[routes]]\nname = \"loud\"\nwhen = 'alert.severity == \"critical\"'\nreceivers = [\"night\"]\n\
         [[routes]]\nname = \"all\"\nreceivers = [\"ops\"]\n"
    );
    let host = Settings::new().and_config(&config).plugin(pager(&receiver)).start().await;
    let id = post(&host, &identified("quiet one")).await;
    host.completed(&id).await;
    let told = why(&host, &id, "night").await;
    assert!(told.contains("night was not told"), "{told}");
    assert!(told.contains("route all: takes it"), "what decided: {told}");
    let left = "route loud: leaves it: alert.severity == \"critical\" is false (alert.severity is \"high\")";
    assert!(told.lines().any(|line| line == left), "what would have to be: {told}");
    let answer = host.get(&format!("/alerts/{id}?why=ops")).await.ok();
    assert!(
        answer["why"].as_array().is_some_and(|why| why.contains(&json!("route all: takes it"))),
        "{answer}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn repeats_are_counted() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(503));
    let slow = "\n[activities.send-notification]\ninitial-interval = \"4s\"\nmaximum-attempts = 2\n";
    let host = Settings::new().config(slow).plugin(pager(&receiver)).start().await;
    let firing = identified("again and again");
    let id = post(&host, &firing).await;
    receiver.wait_for("/pager", 1).await;
    assert_eq!(post(&host, &firing).await, id);
    // In company it is counted as well.
    let together = host.submit(&[firing.clone(), identified("another")]).await;
    assert!(together.contains(&id), "{together:?}");
    let running = host.get(&format!("/alerts/{id}")).await.ok();
    assert_eq!(
        (&running["state"], &running["came"]["from"]),
        (&json!("running"), &json!("127.0.0.1")),
        "{running}"
    );
    let found = host.completed(&id).await;
    assert_eq!(found["ledger"]["repeats"], 2, "{found}");
    let shown = campanile(&["alerts", "show", &id, "--url", host.url()]).await;
    assert!(shown.stdout.contains("repeats: 2"), "{shown:?}");
    assert_eq!(found["ledger"]["steps"][0]["attempts"], 2);
}

/// With a hold-down, what fires again before its end was told goes on: the receiver sees one alert, and one end.
#[tokio::test(flavor = "multi_thread")]
async fn an_alert_that_comes_and_goes_is_told_once() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(200).header("x-receipt", "message-1"));
    let settings = Settings::new().and_config("[routing]\nhold-down = \"3s\"\n").plugin(pager(&receiver));
    let host = settings.plugin(Plugin::status_recorder("tracker", &receiver)).start().await;
    let first = identified("comes and goes");
    let one = post(&host, &first).await;
    host.completed(&one).await;
    let end = post(&host, &resolved(&first)).await;
    assert!(held_back(&host, &end).await["decisions"].to_string().contains("held back"));

    let second = again(&first, "2023-12-01T14:31:00Z");
    let two = post(&host, &second).await;
    let joined = host.completed(&two).await;
    assert_eq!((&joined["outcome"], &joined["ledger"]["flaps"]), (&json!("dropped"), &json!(1)), "{joined}");
    assert!(joined["ledger"]["decisions"].to_string().contains(&format!("goes on with {one}")), "{joined}");
    let taken_back = host.completed(&end).await;
    assert!(taken_back["ledger"]["decisions"].to_string().contains("it fires again"), "{taken_back}");

    host.post(&format!("/alerts/{two}/ack"), &json!({"by": "alice"})).await.ok();
    let told = receiver.wait_for("/tracker", 2).await;
    assert_eq!(told[1].json()["document"]["acknowledgement"]["by"], "alice", "who was told of the first one");

    let last = post(&host, &resolved(&second)).await;
    let ended = host.completed(&last).await;
    assert_eq!((&ended["outcome"], &ended["ledger"]["flaps"]), (&json!("delivered"), &json!(1)), "{ended}");
    assert_eq!(statuses(&receiver, "/pager"), ["firing", "resolved"]);
    let told = receiver.received("/pager");
    assert_eq!(told[0].json()["thread_id"], told[1].json()["thread_id"], "it ends what was told");
    assert_eq!(told[1].json()["earlier"]["id"], "message-1");
    let metrics = host.get("/metrics").await.text;
    assert!(metrics.contains("campanile_alerts_flapped_total 1"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fires_again_and_is_worse_is_told() {
    let receiver = Receiver::start().await;
    let host =
        Settings::new().and_config("[routing]\nhold-down = \"2s\"\n").plugin(pager(&receiver)).start().await;
    let first = identified("gets worse");
    let one = post(&host, &first).await;
    host.completed(&one).await;
    let end = post(&host, &resolved(&first)).await;
    held_back(&host, &end).await;
    let worse = with(again(&first, "2023-12-01T14:31:00Z"), json!({"severity": "critical"}));
    let two = post(&host, &worse).await;
    assert_eq!(host.completed(&two).await["outcome"], "delivered");
    host.completed(&end).await;
    let last = post(&host, &resolved(&worse)).await;
    host.completed(&last).await;
    assert_eq!(statuses(&receiver, "/pager"), ["firing", "firing", "resolved"]);
    let threads: Vec<Value> =
        receiver.received("/pager").iter().map(|request| request.json()["thread_id"].clone()).collect();
    assert!(threads.iter().all(|thread| *thread == threads[0]), "in one thread: {threads:?}");
}

/// Who could not be told of the alert before is told of the one that goes on with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_fires_again_is_told_to_those_who_have_nothing() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(410));
    let settings = Settings::new().and_config("[routing]\nhold-down = \"5s\"\n").plugin(pager(&receiver));
    let host = settings.plugin(Plugin::recorder("chat", &receiver, "")).start().await;
    let first = identified("was not heard");
    let one = post(&host, &first).await;
    host.completed(&one).await;
    let end = post(&host, &resolved(&first)).await;
    held_back(&host, &end).await;
    receiver.always("/pager", Answer::status(200));
    let second = again(&first, "2023-12-01T14:31:00Z");
    let two = post(&host, &second).await;
    assert_eq!(host.completed(&two).await["outcome"], "delivered");
    assert_eq!((statuses(&receiver, "/pager").len(), statuses(&receiver, "/chat").len()), (2, 1));
    let last = post(&host, &resolved(&second)).await;
    host.completed(&last).await;
    assert_eq!(statuses(&receiver, "/pager"), ["firing", "firing", "resolved"]);
    assert_eq!(statuses(&receiver, "/chat"), ["firing", "resolved"]);
}

/// What comes while the first attempts are under way repeats none of them.
#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_or_a_take_over_in_the_middle_of_an_attempt_repeats_nothing() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(200).after(Duration::from_millis(1_200)));
    let settings = Settings::new().plugin(pager(&receiver));
    let host = settings.plugin(Plugin::recorder("chat", &receiver, "")).start().await;
    let (first, second) = (identified("posted again"), identified("taken over"));
    let ids = [post(&host, &first).await, post(&host, &second).await];
    receiver.wait_for("/pager", 2).await;
    post(&host, &first).await;
    host.submit(&[first.clone(), identified("in company")]).await;
    host.post(&format!("/alerts/{}/ack", ids[1]), &json!({"by": "alice"})).await.ok();
    for id in &ids {
        assert_eq!(host.completed(id).await["outcome"], "delivered");
    }
    receiver.wait_for("/pager", 3).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!((receiver.received("/pager").len(), receiver.received("/chat").len()), (3, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_in_the_request_of_its_firing_belongs_to_it() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(pager(&receiver)).start().await;
    let firing = identified("over at once");
    let ids = host.submit(&[firing.clone(), resolved(&firing)]).await;
    receiver.wait_for("/pager", 2).await;
    let ended = host.completed(&ids[1]).await;
    assert!(ended["ledger"]["decisions"].to_string().contains("goes to those who were told"), "{ended}");
    assert_eq!(statuses(&receiver, "/pager"), ["firing", "resolved"]);
}

/// What is tried again once its end has come would open what nothing closes.
#[tokio::test(flavor = "multi_thread")]
async fn a_resolve_ends_the_attempts_that_are_pending() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(503));
    let slow = "\n[activities.send-notification]\ninitial-interval = \"500ms\"\nmaximum-interval = \"500ms\"\nmaximum-attempts = 200\n";
    let settings = Settings::new().config(slow).plugin(pager(&receiver));
    let host = settings.plugin(Plugin::recorder("chat", &receiver, "")).start().await;
    let firing = identified("over while it is tried");
    let id = post(&host, &firing).await;
    receiver.wait_for("/pager", 2).await;
    let end = post(&host, &resolved(&firing)).await;
    let over = host.completed(&id).await;
    assert_eq!(over["ledger"]["steps"].to_string().matches("resolved-since").count(), 1, "{over}");
    assert_eq!(host.completed(&end).await["disposition"], "resolves");
    assert_eq!(statuses(&receiver, "/chat"), ["firing", "resolved"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_of_a_firing_is_not_sent_after_its_resolve() {
    let receiver = Receiver::start().await;
    receiver.always("/pager", Answer::status(410));
    let host = Settings::new().plugin(pager(&receiver)).start().await;
    let firing = identified("over before it was told");
    let id = post(&host, &firing).await;
    let letter = host.completed(&id).await["ledger"]["steps"][0]["dead_letter"].clone();
    let id = letter.as_str().expect("it is a dead letter").to_owned();
    receiver.always("/pager", Answer::status(200));
    let end = post(&host, &resolved(&firing)).await;
    assert_eq!(host.completed(&end).await["outcome"], "delivered");
    let ran = campanile(&["deliveries", "retry", &id, "--url", host.url()]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    until("it is no dead letter any more", async || {
        let page = host.get(&format!("/deliveries?id={id}")).await.ok();
        page["deliveries"].as_array().expect("a list").is_empty().then_some(())
    })
    .await;
    assert_eq!(
        statuses(&receiver, "/pager"),
        ["firing", "resolved"],
        "the one that was refused, and its end"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_an_alert_over_after_its_end_is_told_to_the_updaters() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(pager(&receiver));
    let host = settings.plugin(Plugin::status_recorder("tracker", &receiver)).start().await;
    let id = post(&host, &alert(&unique("taken over late "))).await;
    host.completed(&id).await;
    let ran = campanile(&["alerts", "ack", &id, "--by", "alice", "--url", host.url()]).await;
    assert!(ran.code == Some(0) && ran.stdout.contains("its updaters are told"), "{ran:?}");
    let told = receiver.wait_for("/tracker", 2).await;
    assert_eq!(told[1].json()["document"]["acknowledgement"]["by"], "alice");
    let late = campanile(&["alerts", "ack", &id, "--by", "bob", "--url", host.url()]).await;
    assert!(late.code == Some(0) && late.stdout.contains("alice has taken it over before"), "{late:?}");
    let found = until("the ledger has it", async || {
        let found = host.get(&format!("/alerts/{id}")).await.ok();
        (found["ledger"]["steps"].as_array().map(Vec::len) == Some(3)).then_some(found)
    })
    .await;
    assert_eq!(found["ledger"]["acknowledged"]["by"], "alice", "the first one counts: {found}");
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(receiver.received("/tracker").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_acknowledged_by_itself_whatever_came_with_it() {
    let receiver = Receiver::start().await;
    receiver.always("/stuck", Answer::status(503));
    let slow = "\n[activities.send-notification]\ninitial-interval = \"200ms\"\nmaximum-attempts = 50\n";
    let settings = Settings::new().config(slow).plugin(pager(&receiver));
    let settings = settings.plugin(Plugin::recorder("stuck", &receiver, "when = 'alert.title == \"stuck\"'"));
    let host = settings.plugin(Plugin::status_recorder("tracker", &receiver)).start().await;
    let ids = host.submit(&[alert("done"), alert("stuck")]).await;
    host.completed(&ids[0]).await;
    receiver.wait_for("/tracker", 2).await;
    host.post(&format!("/alerts/{}/ack", ids[0]), &json!({"by": "alice"})).await.ok();
    let told = receiver.wait_for("/tracker", 3).await;
    assert_eq!(told[2].json()["document"]["acknowledgement"]["by"], "alice");
    assert_eq!(told[2].json()["document"]["title"], "done");
    assert_eq!(host.get(&format!("/alerts/{}", ids[1])).await.ok()["state"], "running", "the other goes on");
    host.post(&format!("/alerts/{}/ack", ids[1]), &json!({"by": "bob"})).await.ok();
    let stuck = host.completed(&ids[1]).await;
    assert_eq!(stuck["ledger"]["acknowledged"]["by"], "bob", "{stuck}");
    let found = host.get(&format!("/alerts/{}", ids[0])).await.ok();
    assert_eq!(found["ledger"]["acknowledged"]["by"], "alice", "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_seen_for_long_is_left_out_of_what_is_open() {
    let receiver = Receiver::start().await;
    let stale = "\n[store]\nstale-after = \"2s\"\n";
    let host = Settings::new().and_config(stale).plugin(pager(&receiver)).start().await;
    let firing = identified("burns quietly");
    let id = post(&host, &firing).await;
    host.completed(&id).await;
    let list = async |more: &[&str]| {
        let ran = campanile(&[&["alerts", "list", "--open", "--url", host.url()], more].concat()).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        ran.stdout
    };
    until("it is left out", async || (!list(&[]).await.contains("burns quietly")).then_some(())).await;
    assert!(list(&["--stale"]).await.contains("(stale) burns quietly"));
    let page = host.get("/alerts?open=true&stale=true").await.ok();
    let one = &page["alerts"][0];
    assert_eq!((&one["stale"], &one["open"], &one["workflow_id"]), (&json!(true), &json!(true), &json!(id)));
    let found = host.get(&format!("/alerts/{id}")).await.ok();
    assert_eq!((&found["stale"], &found["open"]), (&json!(true), &json!(true)), "{found}");
    // It is the same life: a firing is a duplicate and removes the mark, a resolve ends it.
    let seen = until("the mark is gone", async || {
        let answer = host.post("/webhook/alerts", &json!({"alerts": [firing]})).await.ok();
        assert_eq!(answer["alerts"][0], json!({"workflow_id": id, "disposition": "duplicate"}));
        list(&[]).await.contains("burns quietly").then_some(true)
    });
    assert!(seen.await);
    let end = post(&host, &resolved(&firing)).await;
    assert_eq!(host.completed(&end).await["disposition"], "resolves");
    assert_eq!(statuses(&receiver, "/pager"), ["firing", "resolved"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_says_which_row_of_the_life_table_applied() {
    let receiver = Receiver::start().await;
    let host = Settings::new().plugin(pager(&receiver)).start().await;
    let firing = identified("has a reason");
    let worse = with(firing.clone(), json!({"severity": "critical"}));
    for (alert, expected) in [
        (&firing, "new: firing, and nothing was open under its key"),
        (&worse, "escalated: firing, and worse than all that was notified while it was open"),
        (&resolved(&firing), "resolves: resolve of what was open"),
        (&resolved(&firing), "nothing-open: resolve, and nothing was open that it could end"),
    ] {
        let id = post(&host, alert).await;
        let found = host.completed(&id).await;
        let said = format!(
            "{}: {}",
            found["disposition"].as_str().expect("a word"),
            found["disposition_reason"].as_str().expect("a reason")
        );
        assert_eq!(said, expected, "{found}");
        let shown = campanile(&["alerts", "show", &id, "--url", host.url()]).await;
        assert!(shown.stdout.lines().any(|line| line == expected), "{shown:?}");
    }
}

/// A process that accepts and does not work holds a resolve back, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_alone_holds_a_resolve_back() {
    let settings = Settings::new().and_config("[routing]\nhold-down = \"60s\"\n").role("webhook");
    let host = settings.start().await;
    let firing = identified("comes and goes");
    let post = async |alert: Value| {
        host.post("/webhook/alerts", &json!({"alerts": [alert]})).await.ok()["alerts"][0]["disposition"]
            .clone()
    };
    assert_eq!(post(firing.clone()).await, "new");
    assert_eq!(post(with(firing.clone(), json!({"status": "resolved"}))).await, "resolves");
    assert_eq!(post(firing).await, "flapped");
}
