//! The door over raw sockets: what is no HTTP, what two parties could read differently, what is too much, and who only
//! looks like somebody. Whatever was said, the next one is served, and nothing runs that was not let in.

mod bodies;
mod credentials;
mod crowds;
mod framing;
mod heads;
mod local;
mod pages;
mod paths;
mod waiting;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use harness::alerts::{identified, unique};
use harness::senders::new_key;
use harness::{Host, Plugin, Settings};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// An alert without identity, to be posted again and again.
const BODY: &str = r#"{"alerts":[{"title":"door","description":"d","type":"custom","severity":"low","source":{"name":"n","type":"t"}}]}"#;
/// What must never be answered with data.
const PEEK: &str = "GET /plugins HTTP/1.1\r\nhost: c\r\n\r\n";
/// What is always taken, and starts nothing.
const GOOD: &str = "POST /webhook/alertmanager HTTP/1.1\r\nhost: c\r\nx-api-key: <post>\r\ncontent-length: 13\r\n\r\n{\"alerts\":[]}";
/// How long an answer may take.
const SOON: Duration = Duration::from_secs(20);
/// How long one looks whether more comes than was expected.
const GRACE: Duration = Duration::from_millis(50);

/// What was said, in full; the statuses that it is to be answered with, and `closed` if the host is to hang up.
type Row<'a> = (&'a str, &'a str, &'a str);

/// A host with a key to post, one that may stand in a URL, and one for the administrator.
struct Door {
    host: Host,
    post: String,
    url: String,
    admin: String,
    /// How often it was counted what was started.
    asked: AtomicUsize,
}

impl Door {
    async fn open() -> Self {
        let (post, post_lines) = new_key("poster", &["--sources", "*"]);
        let (url, url_lines) = new_key("pager", &["--sources", "*", "--in-url"]);
        let (admin, admin_lines) = new_key("ops", &["--admin"]);
        let settings =
            Settings::new().and_config(&post_lines).and_config(&url_lines).and_config(&admin_lines);
        let host = settings.plugin(Plugin::shipped("alertmanager")).start().await;
        Self { host, post, url, admin, asked: AtomicUsize::new(0) }
    }

    /// The bytes of a text with `<head>`, `<length>`, `<body>`, `<chunks>`, `<peek>`, `<post>`, `<url>` and `<admin>` in it;
    /// a character is a byte.
    fn bytes(&self, text: &str) -> Vec<u8> {
        let head = "POST /webhook/alerts HTTP/1.1\r\nhost: c\r\n<rest>";
        let rest = "content-type: application/json\r\nx-api-key: <post>\r\n";
        let length = format!("content-length: {}\r\n", BODY.len());
        let chunks = format!("{:x}\r\n{BODY}\r\n0\r\n\r\n", BODY.len());
        let words = [
            ("<head>", head),
            ("<rest>", rest),
            ("<length>", &length),
            ("<chunks>", &chunks),
            ("<body>", BODY),
            ("<peek>", PEEK),
            ("<post>", &self.post),
            ("<url>", &self.url),
            ("<admin>", &self.admin),
        ];
        let text = words.iter().fold(text.to_owned(), |text, (word, meant)| text.replace(word, meant));
        text.chars().map(|char| u8::try_from(char).expect("a character is a byte")).collect()
    }

    /// Says something on a connection of its own, and hears as many answers as are expected, and whatever comes beyond.
    async fn say(&self, bytes: &[u8], expected: &str) -> Said {
        let mut connection = connect(&self.host).await;
        // It may be closed before all is said.
        let _ = connection.write_all(bytes).await;
        hear(&mut connection, expected).await
    }

    /// Each is answered as expected, and none starts anything.
    async fn refuses(&self, rows: &[Row<'_>]) {
        self.hears(rows, 0).await;
    }

    /// Each is answered as expected, and starts one alert.
    async fn takes(&self, rows: &[Row<'_>]) {
        self.hears(rows, rows.len()).await;
    }

    async fn hears(&self, rows: &[Row<'_>], starts: usize) {
        let before = self.started().await;
        let mut faults = Vec::new();
        for (what, text, expected) in rows {
            let said = self.say(&self.bytes(text), expected).await;
            if said.outcome() != *expected {
                faults.push(format!("{what}: {}, not {expected}: {}", said.outcome(), said.text));
            }
            assert!(!said.text.contains("digest"), "{what} shows the plugins: {}", said.text);
            let refusals = said.statuses.iter().filter(|status| **status >= 400).count();
            let bodies = said.text.matches("\"request_id\":").count();
            assert_eq!(bodies, refusals, "each refusal has the one shape: {what}: {}", said.text);
            self.still_opens(what).await;
        }
        assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
        let names: Vec<_> = rows.iter().map(|(what, ..)| what).collect();
        assert_eq!(self.started().await - before, starts, "alerts started by {names:?}");
    }

    /// A good request on a new connection is taken: one that starts nothing.
    async fn still_opens(&self, what: &str) {
        let said = self.say(&self.bytes(GOOD), "200").await;
        assert_eq!(said.outcome(), "200", "after {what}: {}", said.text);
    }

    /// A post of these bytes with these header lines, by the key.
    fn posting(&self, lines: &str, body: &[u8]) -> Vec<u8> {
        let head = format!("<head>{lines}content-length: {}\r\n\r\n", body.len());
        [self.bytes(&head), body.to_vec()].concat()
    }

    /// How many alerts were started so far, besides those that are posted here to see that the log has come so far.
    async fn started(&self) -> usize {
        let last = identified("the last one");
        let body = json!({"alerts": [last]}).to_string();
        let said = self.say(&self.posting("", body.as_bytes()), "200").await;
        assert_eq!(said.outcome(), "200", "{}", said.text);
        let (_, answer) = said.text.split_once("\r\n\r\n").expect("it has a body");
        let answer: Value = serde_json::from_str(answer).expect("it is JSON");
        let is_last =
            |event: &Value| event["message"] == "accepted" && event["alert"] == answer["workflow_ids"][0];
        self.host.log().wait_for("that the last one was accepted", is_last).await;
        let events = self.host.log().events();
        let accepted = events.iter().filter(|event| event["message"] == "accepted").count();
        accepted - 1 - self.asked.fetch_add(1, Ordering::Relaxed)
    }
}

/// What was heard on a connection.
struct Said {
    statuses: Vec<u16>,
    is_closed: bool,
    text: String,
}

impl Said {
    /// Such as `200 401` or `400 closed`.
    fn outcome(&self) -> String {
        let statuses = self.statuses.iter().map(u16::to_string);
        statuses.chain(self.is_closed.then(|| "closed".to_owned())).collect::<Vec<_>>().join(" ")
    }
}

async fn connect(host: &Host) -> TcpStream {
    let address = host.url().strip_prefix("http://").expect("plain HTTP");
    TcpStream::connect(address).await.expect("it listens")
}

async fn hear(connection: &mut TcpStream, expected: &str) -> Said {
    let is_closing = expected.ends_with("closed");
    let answers = expected.split_whitespace().count() - usize::from(is_closing);
    let (mut heard, mut part) = (Vec::new(), vec![0; 65_536]);
    let mut said = Said { statuses: Vec::new(), is_closed: false, text: String::new() };
    loop {
        let is_enough = !is_closing && said.statuses.len() >= answers;
        let read = timeout(if is_enough { GRACE } else { SOON }, connection.read(&mut part)).await;
        match read {
            Ok(Ok(count @ 1..)) => heard.extend_from_slice(&part[..count]),
            Ok(Ok(0) | Err(_)) => said.is_closed = true,
            Err(_) => return said,
        }
        said.text = String::from_utf8_lossy(&heard).into_owned();
        said.statuses = statuses(&said.text);
        if said.is_closed {
            return said;
        }
    }
}

/// The statuses of the answers that have come to their ends.
fn statuses(mut text: &str) -> Vec<u16> {
    let mut found = Vec::new();
    while let Some((head, rest)) = text.split_once("\r\n\r\n") {
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok());
        let length = lines.find_map(|line| line.strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
        let (Some(status), Some(rest)) = (status, rest.get(length..)) else { break };
        found.push(status);
        text = rest;
    }
    found
}

/// Bytes that a program in Python writes: somebody else's zlib.
fn python(program: &str) -> Vec<u8> {
    let output =
        std::process::Command::new("python3").args(["-c", program]).output().expect("python3 is there");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A text that no other test posts.
fn title() -> String {
    unique("door ")
}
