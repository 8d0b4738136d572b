//! What a plugin gets to see and to keep: nothing of the machine, of other plugins, or of an earlier call; and what it can
//! leave in the log and in the metrics.

use std::thread::available_parallelism;
use std::time::Duration;

use futures::future::join_all;
use harness::alerts::{alert, labelled, with};
use harness::{Answer, Host, Plugin, Receiver, Settings};
use serde_json::{Value, json};

use super::canary::Canaries;
use super::{GUESTS, asking, hostile, patient, printed, settings, step};

/// The lines that the first guest printed when it was asked for this deed, without the name of the deed.
async fn told(host: &Host, deed: &str) -> Vec<String> {
    let ledger = host.ledger(asking(deed)).await;
    let mut lines = printed(host, GUESTS[0], &ledger["id"]).await;
    lines
        .iter_mut()
        .for_each(|line| *line = line.trim_start_matches(deed).trim_start_matches(": ").to_owned());
    lines
}

#[tokio::test(flavor = "multi_thread")]
async fn there_are_no_files_sockets_variables_arguments_or_input() {
    let receiver = Receiver::start().await;
    let host = settings(&receiver, patient).variable("TESTS_SECRET", "hush-hush-hush").start().await;
    for line in told(&host, "files").await {
        assert!(line.ends_with(" failed: NotFound"), "{line}");
    }
    assert_eq!(
        told(&host, "sockets").await,
        [
            "connect failed: PermissionDenied",
            "connect6 failed: PermissionDenied",
            "listen failed: PermissionDenied",
            "udp failed: PermissionDenied",
            "lookup failed: Uncategorized",
        ]
    );
    let environment = ["0 variables", "0 arguments", "directory Ok(\"/\")", "home None"];
    assert_eq!(told(&host, "environment").await, environment);
    assert_eq!(told(&host, "stdin").await, ["read got 0"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_reads_its_own_settings_and_no_secret() {
    let receiver = Receiver::start().await;
    let neighbour = "[config]\nurl = \"not yours\"\n";
    let own = "[config]\ntoken = \"${secret:PATH}\"\n[grants]\nsecrets = [\"PATH\"]\n";
    let settings = settings(&receiver, patient)
        .plugin(patient("misbehave").and(own))
        .plugin(patient("misbehave-notifier").and(neighbour))
        .and_config("\n[secrets.PATH]\nenv = \"TESTS_SECRET\"\nhosts = [\"127.0.0.1\"]\n")
        .variable("TESTS_SECRET", "hush-hush-hush");
    let host = settings.start().await;
    let told = told(&host, "config-enumerate").await;
    // The placeholder, with the mark of this call.
    let placeholder = told[0].starts_with("Ok([(\"token\", \"${secret:PATH.") && told[0].ends_with("}\")])");
    assert!(placeholder && told[1..] == ["Ok(None)"], "{told:?}");
    assert!(!told.concat().contains("hush"), "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_call_is_left_for_the_next_one() {
    let receiver = Receiver::start().await;
    let host = settings(&receiver, patient).start().await;
    // More calls than there are places for them: each place is used again, by another plugin too.
    for _ in 0..10 {
        let ledgers = join_all((0..8).map(|_| host.ledger(asking("remember")))).await;
        for ledger in ledgers {
            for guest in GUESTS {
                let told = printed(&host, guest, &ledger["id"]).await;
                assert_eq!(told, ["remember: 0 calls, 0 dirty bytes"], "{guest}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_ends_at_the_limit_for_who_asks_politely_too() {
    let receiver = Receiver::start().await;
    let host = settings(&receiver, patient).start().await;
    let grown = told(&host, "grow").await;
    let pages = grown[0].trim_end_matches(" pages").parse::<u32>().expect("a number of pages");
    assert!((400..=512).contains(&pages), "{pages} pages are not about 32 MiB");
    assert_eq!(told(&host, "reserve").await, ["refused"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_of_host_calls_are_each_plugins_own() {
    let receiver = Receiver::start().await;
    let own = "host-call = \"64KiB\"\nhandles = 50\nrandom = \"1KiB\"\nrequest-head = \"2KiB\"\n";
    let host = settings(&receiver, patient).plugin(patient(GUESTS[0]).and(own)).start().await;
    for (deed, small, usual) in [
        ("pollable-flood", "more than 50 handles at once (`handles`", "more than 1000 handles"),
        ("random-huge", "more than 1 KiB of random bytes at once (`random`", "more than 64 KiB"),
        ("header-count", "headers of more than 2 KiB (`request-head`", "more than 32 KiB"),
        ("big", "more than 64 KiB to a host function or back as its answer (`host-call`", "more than 4 MiB"),
    ] {
        let ledger = host.ledger(asking(deed)).await;
        for (guest, words) in GUESTS.into_iter().zip([small, usual, usual]) {
            let message = step(&ledger, guest)["error"]["message"].to_string();
            assert!(message.contains(words), "{deed} of {guest}: {message}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_printed_is_escaped_and_cut_and_the_rest_is_counted() {
    let receiver = Receiver::start().await;
    let host = settings(&receiver, hostile).start().await;
    let dirty = r"\u{0} \u{7} \u{1b}[31mred\u{1b}[0m �� \u{202e} \r back";
    assert_eq!(told(&host, "dirty-lines").await, [dirty]);
    let forged = r#"{"level":"ERROR","message":"forged by a plugin","target":"campanile"}"#;
    assert_eq!(
        told(&host, "forged-log-lines").await,
        [forged.to_owned(), format!(r"first\n{forged}\r\n{forged}")]
    );
    assert!(!host.log().has(|event| event["message"] == "forged by a plugin"), "a line of the host's own");
    let dropped =
        |bytes: u64| format!("{bytes} bytes of output dropped: the log limit of one call was reached");
    let line = "z".repeat(8_192);
    assert_eq!(told(&host, "endless-line").await, [line, dropped((1 << 20) - 8_192)]);
    assert_eq!(
        told(&host, "log-large").await,
        ["said".to_owned(), dropped((2 << 20) + "log-large".len() as u64)]
    );
    for deed in ["log-flood", "print-flood"] {
        let lines = told(&host, deed).await;
        assert_eq!(lines.len(), 501, "{deed}: the limit of lines, and what was dropped");
        assert!(lines[500].ends_with("the log limit of one call was reached"), "{}", lines[500]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_odd_value_makes_the_host_panic() {
    let receiver = Receiver::start().await;
    let host = settings(&receiver, patient).start().await;
    let told = told(&host, "odd-values").await;
    assert_eq!(told.last().map(String::as_str), Some("polled [0, 1, 2]"), "it came to the end of its list");
    let own = |event: &Value| event["target"] != "plugin";
    assert!(
        !host.log().has(|event| own(event) && event.to_string().contains("panicked")),
        "{}",
        host.log().tail()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn codes_that_a_plugin_makes_up_label_no_metric() {
    let receiver = Receiver::start().await;
    let host = settings(&receiver, patient).start().await;
    let ledgers = join_all((0..10).map(|_| host.ledger(asking("code-flood")))).await;
    let code = step(&ledgers[0], GUESTS[0])["error"]["code"].as_str().expect("a code");
    assert!(code.starts_with("code-"), "{code}");
    let metrics = host.get("/metrics").await.text;
    assert!(metrics.contains("campanile_plugin_failures_total"), "{metrics}");
    assert!(!metrics.contains("code-"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_comes_after_its_call_reaches_nobody() {
    let receiver = Receiver::start().await;
    receiver.always("/late", Answer::status(200).after(Duration::from_millis(500)));
    let url = receiver.url("/late");
    let grants = harness::plugin::grants(&receiver);
    let more = format!("[config]\nurl = \"{url}\"\n{grants}");
    let host = settings(&receiver, patient).plugin(patient("misbehave").and(&more)).start().await;
    for _ in 0..5 {
        assert_eq!(told(&host, "late-future").await, ["Ok(())"]);
    }
    // The connections of calls that are over are closed: nobody is there to read the answers.
    assert_eq!(host.ledger(alert("afterwards")).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn more_spinning_calls_than_processors_hold_up_nobody() {
    let receiver = Receiver::start().await;
    let spins = available_parallelism().map_or(4, usize::from) + 2;
    // Some of its places are not for one sender's calls.
    let spinner = patient("misbehave-notifier").and(&format!("concurrency = {}\n", 2 * spins));
    let settings = Settings::new().plugin(Plugin::recorder("canary", &receiver, ""));
    let host = settings.plugin(spinner).start().await;
    let canaries = Canaries::start(&host, &receiver).await;
    let spinning = (0..spins).map(|_| host.ledger(asking("spin")));
    for ledger in join_all(spinning).await {
        assert_eq!(step(&ledger, "misbehave-notifier")["error"]["code"], "deadline", "{ledger}");
    }
    canaries.stop(&receiver).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_use_much_of_their_time_each_time_hold_up_nobody() {
    let receiver = Receiver::start().await;
    let host = settings(&receiver, hostile).start().await;
    let canaries = Canaries::start(&host, &receiver).await;
    for _ in 0..4 {
        for ledger in join_all((0..4).map(|_| host.ledger(asking("slow-burn")))).await {
            for guest in GUESTS {
                let step = step(&ledger, guest);
                assert!(step["result"] == "ok" || step["error"]["code"] == "deadline", "{step}");
            }
        }
    }
    let source = json!({"source": {"name": "tests", "type": "test"}});
    let not_asked = with(labelled(alert("not asked"), "do", "spin"), source);
    assert_eq!(host.ledger(not_asked).await["outcome"], "delivered");
    canaries.stop(&receiver).await;
}
