//! Who gets what, by routes: trees, receivers with settings of their own, fallbacks, dead letters, and routes that
//! change while the host runs.

use std::time::{Duration, Instant};

use harness::alerts::{alert, identified, labelled, unique, with};
use harness::cli::{Ran, campanile};
use harness::receiver::Received;
use harness::wait::until;
use harness::{Answer, Host, Plugin, Receiver, Server, Settings};
use rustix::process::Signal;
use serde_json::{Value, json};

/// What the host says when it has read its routes again.
const TAKEN: &str = "configuration taken over from its files";

/// Receivers of one plugin, each posting to a path of its name.
fn receivers(receiver: &Receiver, names: &[(&str, &str)]) -> String {
    let table = |(name, more): &(&str, &str)| {
        let url = receiver.url(&format!("/{name}"));
        format!("\n[receivers.{name}]\nplugin = \"pager\"\nconfig = {{ url = \"{url}\" }}\n{more}\n")
    };
    names.iter().map(table).collect()
}

fn pager(receiver: &Receiver) -> Plugin {
    Plugin::recorder("pager", receiver, "")
}

fn paths(receiver: &Receiver, names: &[&str]) -> Vec<usize> {
    names.iter().map(|name| receiver.received(&format!("/{name}")).len()).collect()
}

fn steps(ledger: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = |step: &Value| step["receiver"].as_str().map_or_else(|| text(&step["plugin"]), str::to_owned);
    ledger["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .map(|step| (name(step), text(&step["result"])))
        .collect()
}

async fn deliveries(host: &Host, arguments: &[&str]) -> Ran {
    let mut all = vec!["deliveries"];
    all.extend(arguments);
    all.extend(["--url", host.url()]);
    campanile(&all).await
}

async fn dead_letters(host: &Host, receiver: &str) -> Vec<Value> {
    let page = host.get(&format!("/deliveries?receiver={receiver}")).await.ok();
    page["deliveries"].as_array().expect("a list").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_decide_over_receivers_with_settings_of_their_own() {
    let receiver = Receiver::start().await;
    let routes = r#"
        [routing]
        catch-all = ["rest"]
        [[routes]]
        name = "archive"
        when = 'alert.severity == "critical"'
        receivers = ["archive"]
        continue = true
        [[routes]]
        name = "team"
        when = 'has(alert.labels.team) && alert.labels.team == "shop"'
        receivers = ["shop"]
        [[routes.routes]]
        name = "team by night"
        when = 'alert.severity == "critical"'
        receivers = ["shop", "night"]
    "#;
    let names = ["archive", "shop", "night", "rest"];
    let config = receivers(&receiver, &names.map(|name| (name, "")));
    let host = Settings::new().and_config(&config).and_config(routes).plugin(pager(&receiver)).start().await;

    let critical = with(alert("critical"), json!({"severity": "critical"}));
    let shop = host.ledger(labelled(critical.clone(), "team", "shop")).await;
    assert_eq!(shop["outcome"], "delivered", "{shop}");
    assert_eq!(paths(&receiver, &names), [1, 1, 1, 0]);
    let decisions: Vec<&str> =
        shop["decisions"].as_array().expect("decisions").iter().filter_map(Value::as_str).collect();
    assert_eq!(
        decisions,
        ["route archive: takes it", "route team: takes it", "route team by night: takes it"]
    );
    let delivered = receiver.received("/night")[0].json();
    assert_eq!(delivered["receiver"], "night");
    assert!(delivered["delivery_id"].as_str().is_some_and(|id| id.ends_with("/night")), "{delivered}");

    host.ledger(critical).await;
    assert_eq!(paths(&receiver, &names), [2, 1, 1, 0]);
    let unrouted = host.ledger(alert("nobody's")).await;
    assert_eq!(unrouted["outcome"], "unrouted", "{unrouted}");
    assert_eq!(paths(&receiver, &names), [2, 1, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_stands_in_is_told_when_a_receiver_is_given_up() {
    let receiver = Receiver::start().await;
    receiver.always("/chat", Answer::status(410));
    receiver.always("/mail", Answer::status(503));
    let names = [
        ("chat", "fallback = [\"mail\", \"phone\", \"never\"]"),
        ("mail", "fallback = [\"chat\"]"),
        ("phone", ""),
        ("never", ""),
    ];
    let routes = "[[routes]]\nreceivers = [\"chat\"]\n";
    let settings = Settings::new().and_config(&receivers(&receiver, &names)).and_config(routes);
    let host =
        settings.plugin(pager(&receiver)).plugin(Plugin::status_recorder("tracker", &receiver)).start().await;
    let ledger = host.ledger(alert("who hears it")).await;
    assert_eq!(ledger["outcome"], "delivered", "{ledger}");
    let text = |name: &str, result: &str| (name.to_owned(), result.to_owned());
    assert_eq!(steps(&ledger), [text("chat", "failed"), text("mail", "failed"), text("phone", "ok")]);
    assert_eq!(paths(&receiver, &["chat", "mail", "phone", "never"]), [1, 4, 1, 0]);
    assert_eq!(dead_letters(&host, "chat").await.len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_delivered_later_under_the_same_id() {
    let receiver = Receiver::start().await;
    receiver.always("/chat", Answer::status(503));
    let name = unique("chat");
    let config = format!(
        "\n[receivers.{name}]\nplugin = \"pager\"\nconfig = {{ url = \"{}\" }}\n[[routes]]\nreceivers = [\"{name}\"]\n",
        receiver.url("/chat")
    );
    let settings = Settings::new().and_config(&config).plugin(pager(&receiver));
    let host = settings.start().await;
    let ledger = host.ledger(identified("delivered later")).await;
    assert_eq!(ledger["outcome"], "failed", "{ledger}");
    let id = ledger["steps"][0]["dead_letter"].as_str().expect("it is a dead letter").to_owned();
    assert_eq!(id, format!("{}/{name}", ledger["id"].as_str().expect("an id")));
    let waits =
        until("the delivery is listed", async || dead_letters(&host, &name).await.into_iter().next()).await;
    assert_eq!((&waits["id"], &waits["error"]), (&json!(id), &json!("http-503")), "{waits}");

    // It outlives the host, and a retry that fails leaves it where it is.
    host.kill9().await;
    let host = settings.start().await;
    let ran = deliveries(&host, &["retry", &id]).await;
    assert!(ran.code == Some(0) && ran.stdout.contains("1 deliveries"), "{ran:?}");
    receiver.wait_for("/chat", 8).await;
    until("it has exhausted its retries again", async || {
        let found = dead_letters(&host, &name).await;
        (found.len() == 1 && found[0]["state"] == "exhausted" && found[0]["attempts"] == 8).then_some(())
    })
    .await;

    receiver.always("/chat", Answer::status(200));
    let ran = deliveries(&host, &["retry", "--receiver", &name, "--since", "2h"]).await;
    assert!(ran.code == Some(0) && ran.stdout.contains(&id), "{ran:?}");
    until("it is delivered", async || dead_letters(&host, &name).await.is_empty().then_some(())).await;
    let received = receiver.received("/chat");
    let ids: Vec<Value> = received.iter().map(|request| request.json()["delivery_id"].clone()).collect();
    assert_eq!(ids, vec![json!(id); 9], "the same each time");
    assert_eq!(received[8].json()["attempt"], 9);
    let ran = deliveries(&host, &["list", "--ended", "--receiver", &name]).await;
    assert!(ran.stdout.contains(&id) && ran.stdout.contains("\tdelivered in attempt 9\t"), "{ran:?}");
    let page = host.get(&format!("/deliveries?ended=true&receiver={name}")).await.ok();
    let end = &page["deliveries"][0];
    assert!(end["state"] == "delivered" && end["ended_at"].is_string(), "{page}");
    let ran = deliveries(&host, &["retry"]).await;
    assert!(ran.code == Some(1) && ran.stderr.contains("--all"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_delivery_is_no_dead_letter_any_more() {
    let receiver = Receiver::start().await;
    receiver.always("/chat", Answer::status(410));
    let config = receivers(&receiver, &[("chat", "")]) + "[[routes]]\nreceivers = [\"chat\"]\n";
    let host = Settings::new().and_config(&config).plugin(pager(&receiver)).start().await;
    let ledger = host.ledger(identified("not wanted any more")).await;
    let alert = ledger["id"].as_str().expect("an id");
    until("it is discarded", async || {
        let ran = deliveries(&host, &["discard", alert]).await;
        (ran.code == Some(0)).then_some(())
    })
    .await;
    let show = async |more: &[&str]| {
        campanile(&[&["alerts", "show", alert, "--url", host.url()][..], more].concat()).await.stdout
    };
    until("its story says so", async || {
        show(&[]).await.contains("/chat: discarded: an operator discarded it").then_some(())
    })
    .await;
    for said in [show(&[]).await, show(&["--why", "chat"]).await] {
        assert!(
            said.contains("discarded: an operator discarded it") && !said.contains("deliveries retry"),
            "{said}"
        );
    }
    for order in ["retry", "discard"] {
        let ran = deliveries(&host, &[order, alert]).await;
        let named = ran.stderr.contains(alert) && ran.stderr.contains("campanile deliveries list");
        assert!(ran.code == Some(1) && named, "{ran:?}");
    }
}

/// Routes to `chat` and `mail`, of which a tracker is told.
fn tracked(receiver: &Receiver) -> Settings {
    let routes = "[[routes]]\nreceivers = [\"chat\", \"mail\"]\nupdaters = [\"tracker\"]\n";
    let tables = receivers(receiver, &[("chat", ""), ("mail", "")]);
    let settings = Settings::new().and_config(&tables).and_config(routes);
    settings.plugin(pager(receiver)).plugin(Plugin::status_recorder("tracker", receiver))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_delivered_after_all_is_in_the_story_and_the_updaters_hear_of_it() {
    let receiver = Receiver::start().await;
    ["/chat", "/mail"].iter().for_each(|path| receiver.always(path, Answer::status(410)));
    let host = tracked(&receiver).start().await;
    let ledger = host.ledger(identified("delivered after all")).await;
    let alert = ledger["id"].as_str().expect("an id");
    assert_eq!(receiver.wait_for("/tracker", 1).await[0].json()["outcome"], "failed");
    ["/chat", "/mail"].iter().for_each(|path| receiver.always(path, Answer::status(200)));
    until("both are listed", async || {
        let page = host.get(&format!("/deliveries?id={alert}")).await.ok();
        (page["deliveries"].as_array().map(Vec::len) == Some(2)).then_some(())
    })
    .await;
    // Both at once: whoever is the last to look back sees both.
    let ran = deliveries(&host, &["retry", alert]).await;
    assert!(ran.stdout.contains("2 deliveries"), "{ran:?}");
    let is_delivered =
        |received: &[Received]| received.last().is_some_and(|last| last.json()["outcome"] == "delivered");
    let told = receiver.wait_until("/tracker", "that both have it", is_delivered).await;
    let deliveries = told.last().expect("it was told").json()["deliveries"].clone();
    let mut states = deliveries.as_array().expect("a list").iter().map(|one| &one["state"]);
    assert!(states.all(|state| state == "delivered"), "{deliveries}");
    let found = until("the story has it", async || {
        let found = host.get(&format!("/alerts/{alert}?why=chat")).await.ok();
        (found["ledger"]["outcome"] == "delivered").then_some(found)
    })
    .await;
    assert!(
        found["why"][0].as_str().is_some_and(|why| why.starts_with("chat was told, in attempt 2")),
        "{found}"
    );
    assert_eq!(found["outcome"], "delivered", "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_has_taken_over_is_not_delivered_after_all() {
    let receiver = Receiver::start().await;
    receiver.always("/chat", Answer::status(410));
    let host = tracked(&receiver).start().await;
    let ledger = host.ledger(identified("somebody has it")).await;
    let alert = ledger["id"].as_str().expect("an id");
    host.post(&format!("/alerts/{alert}/ack"), &json!({"by": "alice"})).await.ok();
    receiver.always("/chat", Answer::status(200));
    deliveries(&host, &["retry", ledger["steps"][0]["dead_letter"].as_str().expect("it is a dead letter")])
        .await;
    host.log().wait_for("it is not made", |event| event["message"] == "alice has taken the alert over").await;
    assert_eq!(paths(&receiver, &["chat"]), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_updaters_of_an_alert_hear_of_its_end_whatever_the_routes_say_of_that() {
    let receiver = Receiver::start().await;
    let routes =
        "[[routes]]\nwhen = 'alert.status == \"firing\"'\nreceivers = [\"chat\"]\nupdaters = [\"tracker\"]\n";
    let tables = receivers(&receiver, &[("chat", ""), ("other", "")]);
    let settings = Settings::new().and_config(&tables).and_config(routes).plugin(pager(&receiver));
    let settings = settings.and_config("[[routes]]\nreceivers = [\"other\"]\n");
    let host = settings.plugin(Plugin::status_recorder("tracker", &receiver)).start().await;
    let firing = identified("whose ticket is closed");
    host.ledger(firing.clone()).await;
    host.ledger(with(firing, json!({"status": "resolved"}))).await;
    let told = receiver.wait_for("/tracker", 2).await;
    assert_eq!(told[1].json()["document"]["status"], "resolved");
    assert_eq!(paths(&receiver, &["chat", "other"]), [2, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_whose_receiver_is_gone_becomes_a_dead_letter() {
    let receiver = Receiver::start().await;
    receiver.always("/chat", Answer::status(503));
    let slow = "retry = { initial-interval = \"3s\", maximum-attempts = 3 }";
    let routes = "[[routes]]\nreceivers = [\"chat\"]\n";
    let settings = Settings::new().and_config(&receivers(&receiver, &[("chat", slow)]));
    let with_routes = settings.clone().and_config(routes);
    let host = with_routes.plugin(pager(&receiver)).start().await;
    let id = &host.submit(&[identified("whose receiver goes")]).await[0];
    receiver.wait_for("/chat", 1).await;
    let other = "[receivers.other]\nplugin = \"pager\"\n[[routes]]\nreceivers = [\"other\"]\n";
    host.settings().write("campanile.toml", Settings::new().and_config(other).config_text());
    host.log().wait_for("the change", |event| event["message"] == TAKEN).await;
    let found = host.completed(id).await;
    let step = &found["ledger"]["steps"][0];
    assert_eq!(step["error"]["code"], "not-loaded", "{found}");
    assert!(step["dead_letter"].is_string(), "{found}");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_taken_over_while_the_host_runs_all_or_none() {
    let receiver = Receiver::start().await;
    let tables = receivers(&receiver, &[("one", ""), ("two", "")]);
    let to = |name: &str| {
        Settings::new().and_config(&tables).and_config(&format!("[[routes]]\nreceivers = [\"{name}\"]\n"))
    };
    let settings = to("one").plugin(pager(&receiver));
    let host = settings.start().await;
    host.ledger(alert("before")).await;
    assert_eq!(paths(&receiver, &["one", "two"]), [1, 0]);

    host.settings().write("campanile.toml", to("nobody").config_text());
    let refused = until("the routes are refused", async || {
        let health = host.get("/health").await.ok();
        health["refused_configuration"]["places"][0].as_str().map(str::to_owned)
    })
    .await;
    assert_eq!(refused, "routes[0].receivers[0]");
    let misfit =
        to("two").and_config("[receivers.three]\nplugin = \"pager\"\nconfig = { colour = \"red\" }\n");
    host.settings().write("campanile.toml", misfit.config_text());
    until("settings that do not fit are refused, too", async || {
        let places = host.get("/health").await.ok()["refused_configuration"]["places"].to_string();
        places.contains("receivers.three.config.colour").then_some(())
    })
    .await;
    host.ledger(alert("still")).await;
    assert_eq!(paths(&receiver, &["one", "two"]), [2, 0]);

    host.settings().write("campanile.toml", to("two").config_text());
    until("the routes are in force", async || {
        host.get("/health").await.ok()["refused_configuration"].is_null().then_some(())
    })
    .await;
    host.ledger(alert("after")).await;
    assert_eq!(paths(&receiver, &["one", "two"]), [2, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resolve_ends_the_attempts_of_its_firing_and_goes_to_those_it_reached() {
    let receiver = Receiver::start().await;
    receiver.always("/chat", Answer::status(200).header("x-receipt", "message-7"));
    receiver.always("/gone", Answer::status(410));
    receiver.always("/down", Answer::status(503));
    let routes = "[[routes]]\nwhen = 'alert.status == \"firing\"'\nreceivers = [\"chat\", \"gone\", \"down\"]\n\
                  [[routes]]\nreceivers = [\"other\"]\n";
    let names = ["chat", "gone", "down", "other"].map(|name| (name, ""));
    let tables = receivers(&receiver, &names);
    let host = Settings::new().and_config(&tables).and_config(routes).plugin(pager(&receiver)).start().await;
    let firing = with(identified("a life"), json!({"starts_at": "2026-11-26T05:00:00Z"}));
    let resolved = with(firing.clone(), json!({"status": "resolved"}));
    let first = host.submit(&[firing]).await.remove(0);
    for path in ["/chat", "/gone", "/down"] {
        receiver.wait_for(path, 1).await;
    }
    let last = host.submit(&[resolved]).await.remove(0);
    let ended = host.completed(&last).await;
    assert_eq!(ended["outcome"], "partial", "{ended}");
    let begun = host.completed(&first).await;
    let steps = begun["ledger"]["steps"].as_array().cloned().unwrap_or_default();
    // The attempt that was not made names its receiver alone.
    let is_down = |step: &&Value| step["plugin"] == "down" || step["receiver"] == "down";
    let down = steps.iter().find(is_down).unwrap_or_else(|| panic!("{begun}"));
    assert_eq!(down["error"]["code"], "resolved-since", "{begun}");
    let received = receiver.received("/chat");
    let statuses: Vec<Value> =
        received.iter().map(|request| request.json()["alert"]["status"].clone()).collect();
    assert_eq!(statuses, ["firing", "resolved"], "in order, and once");
    let last = received[1].json();
    assert_eq!(last["earlier"], json!({"id": "message-7", "message": "answered 200"}), "{last}");
    assert_eq!(last["thread_id"], received[0].json()["thread_id"]);
    assert!(receiver.received("/down").iter().all(|request| request.json()["alert"]["status"] == "firing"));
    assert_eq!(
        paths(&receiver, &["gone", "other"]),
        [2, 0],
        "a receiver for which the firing is a dead letter is notified of the end, too"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_an_alert_over_ends_the_attempts_and_the_updaters_are_told() {
    let receiver = Receiver::start().await;
    receiver.always("/chat", Answer::status(503));
    let names = [("chat", "fallback = [\"phone\"]\nretry = { initial-interval = \"60s\" }"), ("phone", "")];
    let routes = "[[routes]]\nreceivers = [\"chat\"]\nupdaters = [\"tracker\"]\n";
    let settings = Settings::new().and_config(&receivers(&receiver, &names)).and_config(routes);
    let host =
        settings.plugin(pager(&receiver)).plugin(Plugin::status_recorder("tracker", &receiver)).start().await;
    let id = host.submit(&[identified("taken over")]).await[0].clone();
    receiver.wait_for("/chat", 1).await;
    receiver.wait_for("/tracker", 1).await;
    let ran =
        campanile(&["alerts", "ack", &id, "--by", "alice", "--note", "on it", "--url", host.url()]).await;
    assert!(ran.code == Some(0) && ran.stdout.contains("taken over"), "{ran:?}");
    let found = host.completed(&id).await;
    assert_eq!(found["ledger"]["acknowledged"]["by"], "alice", "{found}");
    assert_eq!(found["ledger"]["steps"][0]["error"]["code"], "acknowledged", "{found}");
    assert!(found["ledger"]["steps"][0]["dead_letter"].is_null(), "{found}");
    assert_eq!(paths(&receiver, &["chat", "phone"]), [1, 0]);
    let told = receiver.wait_for("/tracker", 2).await;
    let document = told[1].json()["document"].clone();
    assert_eq!(document["acknowledgement"]["note"], "on it", "{document}");
    let again = campanile(&["alerts", "ack", &id, "--by", "bob", "--url", host.url()]).await;
    assert!(again.stdout.contains("alice has taken it over before"), "{again:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_is_given_up_at_its_age_however_many_attempts_it_has_left() {
    let receiver = Receiver::start().await;
    receiver.always("/chat", Answer::status(503));
    let young = "retry = { initial-interval = \"500ms\", maximum-attempts = 0, maximum-age = \"2s\" }";
    let settings = Settings::new().and_config(&receivers(&receiver, &[("chat", young)]));
    let host =
        settings.and_config("[[routes]]\nreceivers = [\"chat\"]\n").plugin(pager(&receiver)).start().await;
    let began = Instant::now();
    let ledger = host.ledger(identified("too old")).await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    let step = &ledger["steps"][0];
    assert_eq!(ledger["outcome"], "failed", "{ledger}");
    assert!(step["attempts"].as_u64() > Some(1) && step["dead_letter"].is_string(), "{ledger}");
}

/// Seen from before the first one, attempt number k + 1 comes k seconds later at the earliest, however late the others were. And no
/// turn is lost: six alerts take five seconds, and nine on a slow machine.
#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_of_one_is_one_a_second_from_the_first_on() {
    for server in [Server::Shared, Server::Embedded] {
        let receiver = Receiver::start().await;
        let tables = receivers(&receiver, &[("slow", "rate-limit = 1")]);
        let settings = Settings::new().server(server).and_config(&tables);
        let settings = settings.and_config("[[routes]]\nreceivers = [\"slow\"]\n");
        let host = settings.plugin(pager(&receiver)).start().await;
        let began = Instant::now();
        let alerts: Vec<Value> = (0..6).map(|_| identified("one of many")).collect();
        host.submit(&alerts).await;
        let received = receiver.wait_for("/slow", 6).await;
        let mut earliest = began;
        for (number, request) in received.iter().enumerate() {
            assert!(request.at >= earliest, "number {number} came {:?} too early", earliest - request.at);
            earliest += Duration::from_secs(1);
        }
        let took = received[5].at - received[0].at;
        assert!(took < Duration::from_secs(9), "six at one a second took {took:?}");
    }
}

/// What waits for its turn is not `partial`, unless an attempt has failed.
#[tokio::test(flavor = "multi_thread")]
async fn an_updater_does_not_hear_of_a_receiver_that_merely_waits() {
    let receiver = Receiver::start().await;
    let tables = receivers(&receiver, &[("chat", ""), ("slow", "rate-limit = 100")]);
    let routes = "[[routes]]\nreceivers = [\"chat\", \"slow\"]\nupdaters = [\"tracker\"]\n";
    let settings = Settings::new().and_config(&tables).and_config(routes).plugin(pager(&receiver));
    let host = settings.plugin(Plugin::status_recorder("tracker", &receiver)).start().await;
    host.ledger(identified("waits for its turn")).await;
    let outcomes = || -> Vec<Value> {
        receiver.received("/tracker").iter().map(|update| update.json()["outcome"].clone()).collect()
    };
    assert_eq!(outcomes(), ["delivered"]);
    receiver.fail("/slow", 1, 503);
    let ledger = host.ledger(identified("has had its turn")).await;
    assert_eq!(outcomes(), ["delivered", "partial", "delivered"], "{ledger}");
    let attempts: Vec<Value> =
        receiver.received("/slow").iter().map(|request| request.json()["attempt"].clone()).collect();
    assert_eq!(attempts, [1, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_limit_holds_over_all_workers() {
    let receiver = Receiver::start().await;
    let tables = receivers(&receiver, &[("slow", "rate-limit = 2")]);
    let settings = Settings::new().and_config(&tables).and_config("[[routes]]\nreceivers = [\"slow\"]\n");
    let settings = settings.shared_store().plugin(pager(&receiver));
    let host = settings.start().await;
    let second = settings.clone().role("worker").start().await;
    let began = Instant::now();
    let alerts: Vec<Value> = (0..10).map(|_| identified("one of many")).collect();
    host.submit(&alerts).await;
    receiver.wait_for("/slow", 10).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(3), "ten at two a second took {took:?}");
    drop(second);
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_are_shown_tested_and_checked_without_a_host() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = |name: &str, text: &str| {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(&path, text).expect("writable");
        path.display().to_string()
    };
    let config = file(
        "campanile.toml",
        "[receivers.ops]\nplugin = \"slack\"\n[receivers.rest]\nplugin = \"log\"\n[routing]\ncatch-all = [\"rest\"]\n\
         [[routes]]\nname = \"loud\"\nwhen = 'alert.severity == \"critical\"'\nreceivers = [\"ops\"]\nmute = [\"night\"]\n\
         [windows.night]\ntimes = [{ from = \"22:00\", until = \"06:00\" }]\n",
    );
    let critical = with(alert("loud one"), json!({"severity": "critical"}));
    let alert_file = file("alert.json", &critical.to_string());
    let run = async |arguments: &[&str]| {
        let mut all = vec!["routes"];
        all.extend(arguments);
        all.extend(["--config", &config]);
        campanile(&all).await
    };
    let shown = run(&["show"]).await;
    assert!(shown.stdout.contains("loud  alert.severity == \"critical\" → ops  mute night"), "{shown:?}");
    let tested = run(&["test", &alert_file, "--at", "2026-11-26T12:00:00Z"]).await;
    assert!(tested.stdout.contains("route loud: takes it") && tested.stdout.contains("→ ops"), "{tested:?}");
    let by_night = run(&["test", &alert_file, "--at", "2026-11-26T23:00:00Z"]).await;
    assert!(by_night.stdout.contains("nobody: route loud tells nobody now: window night"), "{by_night:?}");

    let case = |receivers: &[&str]| {
        json!({"alert": critical, "receivers": receivers, "at": "2026-11-26T12:00:00Z"}).to_string()
    };
    file("cases/good.json", &case(&["ops"]));
    let cases = directory.path().join("cases").display().to_string();
    let good = run(&["check", &cases]).await;
    assert!(good.code == Some(0) && good.stdout.contains("1 cases, 0 wrong"), "{good:?}");
    file("cases/bad.json", &case(&["rest"]));
    let bad = run(&["check", &cases]).await;
    assert_eq!(bad.code, Some(1), "{bad:?}");
    assert!(bad.stdout.contains("bad.json: goes to [ops], not to [rest]"), "{bad:?}");
}

/// Two receivers are given up and have the same one to stand in: it is told once, and both count as told.
#[tokio::test(flavor = "multi_thread")]
async fn who_stands_in_for_two_is_told_once() {
    let receiver = Receiver::start().await;
    receiver.always("/chat", Answer::status(410));
    receiver.always("/mail", Answer::status(503));
    let phone = "fallback = [\"phone\"]";
    let tables = receivers(&receiver, &[("chat", phone), ("mail", phone), ("phone", "")]);
    let routes = "[[routes]]\nreceivers = [\"chat\", \"mail\"]\n";
    let settings = Settings::new().and_config(&tables).and_config(routes).plugin(pager(&receiver));
    let host = settings.plugin(Plugin::status_recorder("tracker", &receiver)).start().await;
    let firing = identified("one phone");
    let ledger = host.ledger(firing.clone()).await;
    assert_eq!(ledger["outcome"], "delivered", "{ledger}");
    assert_eq!(paths(&receiver, &["chat", "mail", "phone"]), [1, 4, 1]);
    let ended = host.ledger(with(firing, json!({"status": "resolved"}))).await;
    assert_eq!(ended["outcome"], "delivered", "{ended}");
    assert_eq!(paths(&receiver, &["chat", "mail", "phone"]), [1, 4, 2], "and of the end, too");
    let stand_ins: Vec<&Value> = ledger["steps"]
        .as_array()
        .expect("steps")
        .iter()
        .filter(|step| step["instead_of"].is_string())
        .map(|step| &step["instead_of"])
        .collect();
    assert_eq!(stand_ins, ["chat", "mail"]);
}

/// Whoever waits for the one who stands in goes on as soon as somebody else has told it, whichever of them comes first.
#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_stand_in_goes_on_when_it_is_told() {
    let receiver = Receiver::start().await;
    receiver.always("/chat", Answer::status(503));
    receiver.always("/mail", Answer::status(410));
    receiver.script("/phone", [Answer::status(503)], Answer::status(200).after(Duration::from_millis(1_500)));
    let phone = "fallback = [\"phone\"]";
    let tables = receivers(&receiver, &[("chat", phone), ("mail", phone), ("phone", "")]);
    let routes = "[[routes]]\nreceivers = [\"chat\", \"mail\"]\n";
    let host = Settings::new().and_config(&tables).and_config(routes).plugin(pager(&receiver)).start().await;
    let ledger = host.ledger(identified("one phone, slowly")).await;
    assert_eq!(ledger["outcome"], "delivered", "{ledger}");
    assert_eq!(paths(&receiver, &["chat", "mail", "phone"]), [4, 1, 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_queue_of_its_own_serves_a_receiver() {
    let receiver = Receiver::start().await;
    let tables = receivers(&receiver, &[("slow", "task-queue = \"slow-ones\"")]);
    let settings = Settings::new().and_config(&tables).and_config("[[routes]]\nreceivers = [\"slow\"]\n");
    let host = settings.plugin(pager(&receiver)).start().await;
    let ledger = host.ledger(identified("in its lane")).await;
    assert_eq!((&ledger["outcome"], &ledger["steps"][0]["attempts"]), (&json!("delivered"), &json!(1)));
    let lane = |event: &Value| {
        event["message"] == "worker polling"
            && event["task_queue"].as_str().is_some_and(|queue| queue.ends_with("/slow-ones"))
    };
    assert!(host.log().has(lane), "its queue has a worker");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_has_the_routes_read_at_once() {
    let receiver = Receiver::start().await;
    let tables = receivers(&receiver, &[("one", ""), ("two", "")]);
    let to = |name: &str| {
        Settings::new().and_config(&tables).and_config(&format!("[[routes]]\nreceivers = [\"{name}\"]\n"))
    };
    let host = to("one").plugin(pager(&receiver)).start().await;
    host.settings().write("campanile.toml", to("two").config_text());
    host.process().signal(Signal::HUP);
    let taken = |event: &Value| event["message"] == TAKEN;
    host.log().wait_for("the change", taken).await;
    host.ledger(alert("after the hangup")).await;
    assert_eq!(paths(&receiver, &["one", "two"]), [0, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_lacks_settings_is_loaded_once_receivers_have_them() {
    let receiver = Receiver::start().await;
    let incomplete = Plugin::guest("recorder").sidecar(&harness::plugin::grants(&receiver));
    let host = Settings::new().plugin(incomplete).start().await;
    let refused = host.get("/plugins").await.ok();
    assert!(
        refused["refused"][0]["reason"].as_str().is_some_and(|reason| reason.contains("url")),
        "{refused}"
    );
    let url = receiver.url("/ops");
    let tables = format!(
        "[receivers.ops]\nplugin = \"recorder\"\nconfig = {{ url = \"{url}\" }}\n[[routes]]\nreceivers = [\"ops\"]\n"
    );
    host.settings().write("campanile.toml", Settings::new().and_config(&tables).config_text());
    host.log().wait_for("the plugin", |event| event["message"] == "plugin loaded").await;
    assert_eq!(host.ledger(alert("told by what came later")).await["outcome"], "delivered");
}

/// A mute ends by itself; what was told before is told its end whatever is muted by then, and what was not told is not.
#[tokio::test(flavor = "multi_thread")]
async fn a_mute_has_an_end_and_keeps_no_end_from_those_who_were_told() {
    let receiver = Receiver::start().await;
    let tables = receivers(&receiver, &[("chat", "")]);
    let routes = "[[routes]]\nreceivers = [\"chat\"]\n";
    let base = Settings::new().and_config(&tables).and_config(routes);
    let muted = |until: &str| {
        let mute = format!(
            "[[mutes]]\nwhen = 'alert.source.name == \"tests\"'\nuntil = \"{until}\"\nreason = \"the move\"\n"
        );
        base.clone().and_config(&mute)
    };
    let host = base.clone().plugin(pager(&receiver)).start().await;
    let told = identified("told before the mute");
    assert_eq!(host.ledger(told.clone()).await["outcome"], "delivered");
    let take = async |settings: &Settings| {
        let count = || host.log().events().iter().filter(|event| event["message"] == TAKEN).count();
        let before = count();
        host.settings().write("campanile.toml", settings.config_text());
        until("the routes are in force", async || (count() > before).then_some(())).await;
    };
    take(&muted("2126-01-01T00:00:00Z")).await;
    let quiet = identified("not told");
    let ledger = host.ledger(quiet.clone()).await;
    assert_eq!(ledger["outcome"], "dropped", "{ledger}");
    assert!(ledger["decisions"].to_string().contains("muted until"), "{ledger}");
    let end = |alert: &Value| with(alert.clone(), json!({"status": "resolved"}));
    assert_eq!(host.ledger(end(&told)).await["outcome"], "delivered");
    assert_eq!(host.ledger(end(&quiet)).await["outcome"], "dropped");
    assert_eq!(paths(&receiver, &["chat"]), [2]);

    let soon = jiff::Timestamp::now() + Duration::from_secs(4);
    take(&muted(&soon.to_string())).await;
    assert_eq!(host.ledger(identified("still muted")).await["outcome"], "dropped");
    until("the mute is over", async || (jiff::Timestamp::now() > soon).then_some(())).await;
    assert_eq!(host.ledger(identified("told again")).await["outcome"], "delivered");
}
