//! What holds for every command: its options, what it prints, and where the key that it is given goes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use clap::{Arg, CommandFactory};
use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::output::tests::{printed, printed_on};
use super::*;

/// What a host answers when all is well, by path and status.
const ANSWERS: &str = include_str!("../webhook/published/answers.json");
/// A key as `campanile keys new` makes it.
const KEY: &str = "cmp_0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
/// What others may write: it ends lines, begins rows, colours, erases, and turns the text around.
const NASTY: &str =
    "x\r\nalert-1  delivered\n\u{1b}[2K\u{1b}]0;t\u{7}\u{85}\u{9b}31m\u{202e}\u{2066}\u{200f}\u{2028}\0\ty";

/// Every command without commands below, with its words.
fn leaves(command: &clap::Command, words: Vec<String>, found: &mut Vec<(Vec<String>, clap::Command)>) {
    if !command.has_subcommands() {
        found.push((words.clone(), command.clone()));
    }
    for below in command.get_subcommands().filter(|below| below.get_name() != "help") {
        leaves(below, [words.clone(), vec![below.get_name().to_owned()]].concat(), found);
    }
}

fn commands() -> Vec<(Vec<String>, clap::Command)> {
    let mut found = Vec::new();
    let mut command = Cli::command();
    command.build();
    leaves(&command, vec!["campanile".to_owned()], &mut found);
    assert!(found.len() > 20, "{}", found.len());
    found
}

#[test]
fn no_command_has_an_option_twice_and_no_variable_sets_two() {
    let mut variables: BTreeMap<String, String> = BTreeMap::new();
    for (words, command) in commands() {
        let mut names: BTreeMap<String, &str> = BTreeMap::new();
        for arg in command.get_arguments() {
            let long = arg
                .get_long_and_visible_aliases()
                .unwrap_or_default()
                .into_iter()
                .map(|name| format!("--{name}"));
            let short = arg
                .get_short_and_visible_aliases()
                .unwrap_or_default()
                .into_iter()
                .map(|name| format!("-{name}"));
            for name in long.chain(short).chain([arg.get_id().to_string()]) {
                let other = names.insert(name.clone(), arg.get_id().as_str());
                assert_eq!(other, None, "{words:?} has {name} twice");
            }
            let Some(variable) = arg.get_env().map(|name| name.to_string_lossy().into_owned()) else {
                continue;
            };
            let long = format!("--{}", arg.get_long().unwrap_or_default());
            let before = variables.entry(variable.clone()).or_insert_with(|| long.clone());
            assert_eq!(*before, long, "{words:?}: {variable} is another option elsewhere");
            let is_secret =
                ["KEY", "PASSWORD", "TOKEN", "SECRET", "URL"].iter().any(|end| variable.ends_with(end));
            assert_eq!(
                is_secret,
                arg.is_hide_env_values_set(),
                "{words:?}: the help shows {variable}, or hides it"
            );
        }
    }
}

/// A host that answers as if all were well, with `text` for every text that somebody chose, and keeps what it was asked.
struct Stub {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Stub {
    /// `status` is that of all answers; those that are not 200 have a `message`.
    fn start(status: u16, text: &'static str) -> Self {
        Self::changing(status, text, move |answer| exchange(answer, text))
    }

    /// As `start`, with answers that `change` has changed.
    fn changing(status: u16, text: &'static str, change: impl Fn(&mut Value) + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = asked.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                seen.lock().unwrap().push(serve(connection, status, text, &change));
            }
        });
        Self { url, asked }
    }
}

/// Answers one request, and gives its head.
fn serve(mut connection: TcpStream, status: u16, text: &str, change: &dyn Fn(&mut Value)) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && connection.read(&mut byte).unwrap() == 1 {
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    let length =
        head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    connection.read_exact(&mut vec![0; length]).unwrap();
    let path = head.split([' ', '?']).nth(1).unwrap();
    let body = match status {
        200 => answer(path, change).to_string(),
        422 => json!({
            "message": text,
            "errors": [{"path": "severity", "message": "no"}, {"path": "since", "message": "no"}],
        })
        .to_string(),
        _ => json!({
            "success": false, "message": text, "processed_count": 0, "workflow_ids": [],
            "errors": [{"path": text, "message": text}], "timestamp": "2026-11-26T06:08:35Z",
        })
        .to_string(),
    };
    let answer =
        format!("HTTP/1.1 {status} S\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    connection.write_all(answer.as_bytes()).unwrap();
    head
}

fn answer(path: &str, change: &dyn Fn(&mut Value)) -> Value {
    let answers: Value = serde_json::from_str(ANSWERS).unwrap();
    let of = match path {
        path if path.ends_with("/ack") => "/alerts/{workflow_id}/ack",
        path if path.starts_with("/alerts/") => "/alerts/{workflow_id}",
        path if path.starts_with("/plugins/") => "/plugins/{name}/release",
        path => path,
    };
    let mut answer = answers[of]["200"].clone();
    assert!(answer.is_object(), "{path}");
    if of == "/plugins" {
        answer["refused"] = json!([{"file": "x", "reason": "x", "since": "2026-11-26T06:08:27Z"}]);
        answer["loaded"][0]["quarantine"] = json!({"reason": "x", "seconds_left": 7});
    }
    if of == "/alerts/{workflow_id}" {
        answer["pending"] = json!([{"activity": "x", "id": "x", "attempt": 2, "error": "x"}]);
        answer["children"] = json!(["x"]);
        answer["ledger"]["warnings"] = json!(["x"]);
        answer["ledger"]["acknowledged"] = json!({"by": "x", "note": "x"});
    }
    change(&mut answer);
    answer
}

/// Texts that somebody chose, which are all but times and what is one of a few words.
fn exchange(value: &mut Value, text: &str) {
    const OURS: [&str; 10] = [
        "state",
        "disposition",
        "status",
        "outcome",
        "severity",
        "type",
        "role",
        "activity",
        "result",
        "duration_ms",
    ];
    match value {
        Value::String(own) if own.parse::<jiff::Timestamp>().is_err() => *own = text.to_owned(),
        Value::Array(items) => items.iter_mut().for_each(|item| exchange(item, text)),
        Value::Object(fields) => {
            let theirs = fields.iter_mut().filter(|(name, _)| !OURS.contains(&name.as_str()));
            theirs.for_each(|(_, value)| exchange(value, text));
        }
        _ => {}
    }
}

/// Commands that ask a host, as they are typed: with everything that they need, and in each of their forms.
fn asking(url: &str, file: &str) -> Vec<Vec<String>> {
    let asks = |command: &clap::Command| command.get_arguments().any(|arg| arg.get_id() == "url");
    let mut typed = Vec::new();
    for (words, command) in commands().into_iter().filter(|(_, command)| asks(command)) {
        let needed = command.get_arguments().filter(|arg| arg.is_positional() || arg.is_required_set());
        let value = |arg: &Arg| match arg.get_id().as_str() {
            "files" => file.to_owned(),
            _ => "a b/c".to_owned(),
        };
        let given = needed
            .flat_map(|arg| arg.get_long().map(|long| format!("--{long}")).into_iter().chain([value(arg)]));
        let base: Vec<String> =
            words.into_iter().chain(given).chain(["--url", url, "--key", KEY].map(str::to_owned)).collect();
        for form in ["json", "sync"]
            .into_iter()
            .filter(|form| command.get_arguments().any(|arg| arg.get_id() == *form))
        {
            typed.push([base.clone(), vec![format!("--{form}")]].concat());
        }
        typed.push(base);
    }
    assert!(typed.len() > 12, "{typed:?}");
    typed
}

/// What a command prints.
fn said(typed: &[String]) -> Vec<String> {
    printed(|| _ = run(typed.iter().map(OsString::from).collect()))
}

fn file() -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(include_bytes!("../../../examples/security-login.json")).unwrap();
    file
}

#[test]
fn no_text_of_others_becomes_a_row_or_steers_the_terminal() {
    let file = file();
    for status in [200, 500] {
        let (plain, nasty) = (Stub::start(status, "x"), Stub::start(status, NASTY));
        let of = |stub: &Stub| asking(&stub.url, &file.path().display().to_string());
        for (plain, nasty) in of(&plain).iter().zip(&of(&nasty)) {
            let (expected, lines) = (said(plain), said(nasty));
            assert!(
                !lines.is_empty() && lines.len() == expected.len(),
                "{nasty:?} ({status}): {lines:#?}\n{expected:#?}"
            );
            let cells =
                |lines: &[String]| lines.iter().map(|line| line.split('\t').count()).collect::<Vec<_>>();
            assert_eq!(cells(&lines), cells(&expected), "{nasty:?}");
            let odd = lines
                .iter()
                .flat_map(|line| line.split('\t'))
                .find(|cell| cell.contains(shown::is_unprintable));
            assert_eq!(odd, None, "{nasty:?}");
            // It says only what it was asked to do.
            let is_silent = status == 200 && nasty.contains(&"release".to_owned());
            let shows = lines.iter().any(|line| line.contains("x\\r\\n"));
            assert!(shows || is_silent, "{nasty:?} shows none of it: {lines:#?}");
        }
    }
}

/// An id as hosts make them.
const ID: &str = "alert-8a07086b74f3ba78@alertmanager-20260122-114717/slack-operations";

/// Gives everything the ids that it would have, and long texts.
fn lengthen(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(lengthen),
        Value::Object(fields) => {
            // Neither is in a table.
            ["temporal_url", "pending"].into_iter().for_each(|name| _ = fields.remove(name));
            for (name, value) in fields.iter_mut() {
                match name.as_str() {
                    "id" | "workflow_id" => *value = ID.into(),
                    "title" => *value = "Disk of web-1 has 2 % left: clean it up now".into(),
                    "receiver" => *value = "slack-operations".into(),
                    "file" => *value = "alertmanager.wasm".into(),
                    _ => lengthen(value),
                }
            }
            if fields.contains_key("exhausted_at") {
                fields.insert("state".to_owned(), "discarded".into());
                fields.insert("reason".to_owned(), "an operator discarded it".into());
                fields.insert("ended_at".to_owned(), "2026-11-26T06:29:41.5Z".into());
            }
        }
        _ => {}
    }
}

#[test]
fn every_table_fits_its_terminal_with_ids_and_reasons_whole() {
    let stub = Stub::changing(200, "", lengthen);
    let file = file();
    for (typed, whole) in [
        ("alerts list".to_owned(), ID),
        (format!("alerts show {ID}"), "changed data.triage.score: 35"),
        ("deliveries list".to_owned(), "http-503"),
        ("deliveries list --ended".to_owned(), "discarded: an operator discarded it"),
        ("deliveries list --ended".to_owned(), ID),
        ("spool list".to_owned(), "source-failed: grafana: memory limit"),
        ("plugins".to_owned(), "alertmanager.wasm"),
        (format!("send {}", file.path().display()), "alert-security-7-20261126-060835"),
    ] {
        let typed = format!("campanile {typed} --url {}", stub.url);
        let typed: Vec<OsString> = typed.split(' ').map(OsString::from).collect();
        for width in [80, 100, 140] {
            let lines = printed_on(width, || _ = run(typed.clone()));
            let wide = lines.iter().find(|line| line.width() > width);
            assert_eq!(wide, None, "{typed:?} on {width}: {lines:#?}");
            let has = lines.iter().any(|line| line.contains(whole));
            assert!(has, "{typed:?} on {width} lacks {whole}: {lines:#?}");
        }
    }
}

#[test]
fn an_order_to_an_id_that_is_not_there_fails_and_names_it() {
    let forget = |answer: &mut Value| {
        for list in ["deliveries", "requests"] {
            if answer.get(list).is_some() {
                answer[list] = json!([]);
            }
        }
    };
    let stub = Stub::changing(200, "", forget);
    for (typed, list) in [
        ("deliveries retry gone-1", "campanile deliveries list"),
        ("deliveries discard gone-1 --json", "campanile deliveries list"),
        ("spool retry gone-1", "campanile spool list"),
        ("spool discard gone-1 --json", "campanile spool list"),
    ] {
        let typed = format!("campanile {typed} --url {}", stub.url);
        let mut code = ExitCode::SUCCESS;
        let lines = printed(|| code = run(typed.split(' ').map(OsString::from).collect()));
        let last = lines.last().map(String::as_str).unwrap_or_default();
        assert!(
            last.starts_with("error: no ") && last.contains("gone-1") && last.contains(list),
            "{lines:?}"
        );
        assert_eq!(format!("{code:?}"), format!("{:?}", ExitCode::FAILURE), "{typed}");
    }
    for typed in ["deliveries discard --error http-404", "spool retry --source x"] {
        let typed = format!("campanile {typed} --url {}", stub.url);
        let lines = said(&typed.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(lines.len() == 1 && lines[0].starts_with("0 "), "{lines:?}");
    }
}

#[test]
fn who_is_waited_for_is_named_where_there_is_no_result_in_time() {
    const ALERT: &str = "alert-security-8-20261126-060835";
    let not_done = |answer: &mut Value| {
        if let Some(result) = answer.pointer_mut("/results/0").and_then(Value::as_object_mut) {
            result.remove("ledger");
            result.remove("outcome");
        }
        let mut done = answer["ledger"]["steps"][1].clone();
        done["receiver"] = "desk".into();
        let failed = json!({"receiver": "slack", "error": {"code": "http-503", "message": "busy", "retry": "backoff"}});
        let mut first = done.clone();
        first.as_object_mut().into_iter().for_each(|step| step.extend(failed.as_object().unwrap().clone()));
        answer["steps"] = json!([done, first]);
        let pending =
            |id: &str, error: &str| json!({"activity": "x", "id": id, "attempt": 2, "error": error});
        answer["pending"] =
            json!([pending(&format!("{ALERT}/slack"), "busy"), pending("alert-2/other", "x")]);
        answer["pending"][0]["next_attempt_at"] = "2026-11-26T06:08:45Z".into();
    };
    let stub = Stub::changing(200, "", not_done);
    let file = file();
    let typed = format!("campanile send {} --sync --url {}", file.path().display(), stub.url);
    let lines = said(&typed.split(' ').map(str::to_owned).collect::<Vec<_>>());
    assert!(lines[0].ends_with(&format!("not completed yet: campanile alerts show {ALERT}")), "{lines:?}");
    let expected =
        ["  desk: delivered: logged", "  slack: waits for attempt 2 at 2026-11-26T06:08:45Z: busy"];
    assert_eq!(lines[1..], expected);
}

#[test]
fn every_fault_of_a_refusal_is_shown() {
    let stub = Stub::start(400, "x");
    let one = said(&["campanile", "alerts", "list", "--url", &stub.url].map(str::to_owned));
    assert_eq!(one, ["error: x"]);
    let stub = Stub::changing(422, "2 faults: see `errors`", |_| {});
    let two = said(&["campanile", "alerts", "list", "--url", &stub.url].map(str::to_owned));
    assert_eq!(two, ["error: 2 faults: see `errors`", "  severity: no", "  since: no"]);
}

#[test]
fn the_key_is_in_a_header_and_nowhere_else() {
    let file = file();
    let stub = Stub::start(200, "x");
    let gone =
        TcpListener::bind("127.0.0.1:0").map(|listener| format!("http://{}", listener.local_addr().unwrap()));
    let gone = gone.unwrap();
    for url in [stub.url.clone(), format!("{gone}/{KEY}"), gone] {
        for typed in asking(&url, &file.path().display().to_string()) {
            let lines = said(&typed);
            assert!(!lines.iter().any(|line| line.contains("cmp_")), "{typed:?}: {lines:#?}");
        }
    }
    for head in stub.asked.lock().unwrap().iter() {
        let with_key: Vec<&str> = head.lines().filter(|line| line.contains("cmp_")).collect();
        assert_eq!(with_key, [format!("authorization: Bearer {KEY}")], "{head}");
    }
}

#[test]
fn an_address_with_a_secret_in_it_is_refused_and_not_repeated() {
    for url in [
        format!("http://admin:{KEY}@127.0.0.1:9"),
        format!("http://{KEY}@127.0.0.1:9"),
        format!("http://127.0.0.1:9/?token={KEY}"),
        format!("http://127.0.0.1:9/#{KEY}"),
        "http://admin:hunter2@127.0.0.1:9".to_owned(),
        KEY.to_owned(),
    ] {
        let text = said(&["campanile", "plugins", "--url", &url].map(str::to_owned)).join("\n");
        assert!(text.contains("--url") && !text.contains("cmp_") && !text.contains("hunter2"), "{text}");
    }
}

#[test]
fn what_is_typed_wrong_is_repeated_without_control_characters() {
    let plain = said(&["campanile", "alerts", "show", "x", "x", KEY].map(str::to_owned));
    let lines = said(&["campanile", "alerts", "show", "x", NASTY, KEY].map(str::to_owned));
    assert_eq!(lines.len(), plain.len(), "{lines:#?}");
    let text = lines.join("\n");
    assert!(text.contains("unexpected argument") && !text.contains("cmp_"), "{text}");
    let odd = lines.iter().find(|line| line.contains(shown::is_unprintable));
    assert_eq!(odd, None);
}

#[test]
fn every_command_has_an_example_that_it_takes() {
    for (words, mut command) in commands().into_iter().filter(|(_, command)| !command.is_hide_set()) {
        for help in [command.render_help(), command.render_long_help()].map(|help| help.to_string()) {
            let (_, example) =
                help.split_once("\nExample:\n  ").unwrap_or_else(|| panic!("{words:?}: {help}"));
            let typed = &example[example.find("campanile").unwrap()..].trim_end().trim_end_matches(')');
            assert!(typed.starts_with(&words.join(" ")) && !typed.contains('\n'), "{words:?}: {example}");
            let read = Cli::try_parse_from(typed.split_whitespace());
            assert!(read.is_ok(), "{words:?}: {}", read.unwrap_err());
        }
    }
}

#[test]
fn the_options_of_serve_and_of_a_host_are_where_they_do_something() {
    for (words, command) in commands() {
        let has = |option: &str| command.get_arguments().any(|arg| arg.get_long() == Some(option));
        let serves = words[1] == "serve";
        for option in ["temporal-cli", "task-queue", "log-format"] {
            assert_eq!(has(option), serves, "{words:?}: --{option}");
        }
        let asks_temporal = serves || words[1..] == ["store", "check"];
        for option in ["temporal-address", "namespace"] {
            assert_eq!(has(option), asks_temporal, "{words:?}: --{option}");
        }
        let resumes = words[1] == "store" && ["resume", "discard"].contains(&words[2].as_str());
        let reads_store = serves || words[1] == "check" || words[1] == "store" && !resumes;
        for option in ["data-dir", "store-url"] {
            assert_eq!(has(option), reads_store, "{words:?}: --{option}");
        }
        let asks = match words[1].as_str() {
            "send" | "alerts" | "deliveries" | "spool" | "plugins" | "healthcheck" => true,
            "plugin" => words[2] == "release",
            "store" => resumes,
            _ => false,
        };
        for option in ["url", "cacert", "insecure", "cert", "cert-key"] {
            assert_eq!(has(option), asks, "{words:?}: --{option}");
        }
    }
}

#[test]
fn words_of_a_list_are_taken_in_any_case() {
    let stub = Stub::start(200, "x");
    for typed in ["alerts list --severity CRITICAL --outcome Failed", "deliveries list --severity High"] {
        let typed = format!("campanile {typed} --url {}", stub.url);
        said(&typed.split_whitespace().map(str::to_owned).collect::<Vec<_>>());
    }
    let asked = stub.asked.lock().unwrap();
    let query = |head: &String| head.split([' ', '?']).nth(2).unwrap().to_owned();
    assert_eq!(
        asked.iter().map(query).collect::<Vec<_>>(),
        ["outcome=failed&severity=critical&limit=50", "severity=high&limit=50&ended=false"]
    );
}

#[test]
fn files_for_tls_that_cannot_be_used_are_named_with_their_option() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    std::fs::write(path("empty.pem"), "").unwrap();
    let (empty, missing) = (path("empty.pem"), path("missing.pem"));
    for (options, said_of_it) in [
        (vec!["--cacert", &missing], format!("--cacert: {missing} cannot be read")),
        (vec!["--cacert", &empty], format!("--cacert: {empty} holds no certificate")),
        (vec!["--cert", &missing], format!("--cert: {missing} cannot be read")),
        (vec!["--cert", &empty], format!("{empty}: no certificate with its private key")),
        (vec!["--cert", &empty, "--cert-key", &missing], format!("--cert-key: {missing} cannot be read")),
        (vec!["--cert-key", &empty], "--cert <FILE>".to_owned()),
    ] {
        let typed = [vec!["campanile", "plugins", "--url", "https://127.0.0.1:9"], options].concat();
        let lines = said(&typed.into_iter().map(str::to_owned).collect::<Vec<_>>()).join("\n");
        assert!(lines.contains(&said_of_it), "{said_of_it}: {lines}");
    }
}
