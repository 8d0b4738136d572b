//! Many at once that never come to an end, and one that does.

use std::time::Duration;

use harness::senders::new_key;
use harness::web::client;
use harness::{Host, Plugin, Settings};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::{BODY, Door, connect};

/// More than a host takes.
const CROWD: usize = 4_200;

/// So many connections need as many descriptors, here and in the host, which has the limit of the process that starts it.
fn raise_descriptor_limit() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = maximum.unwrap_or(u64::MAX).min(20_000);
    if current.is_some_and(|current| current < wanted) {
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum }).expect("below the maximum");
    }
}

/// The host answers within a second, whatever else is open.
async fn is_alive(host: &Host, what: &str) {
    let before = Instant::now();
    assert_eq!(host.get("/livez").await.status, 200, "{what}");
    assert!(before.elapsed() < Duration::from_secs(1), "{what}: after {:?}", before.elapsed());
}

async fn crowd(host: &Host, each: &[u8]) -> Vec<TcpStream> {
    let mut crowd = Vec::new();
    for _ in 0..CROWD {
        let mut connection = connect(host).await;
        // It may be closed again already.
        _ = connection.write_all(each).await;
        crowd.push(connection);
    }
    crowd
}

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_unfinished_requests_keep_nobody_waiting() {
    raise_descriptor_limit();
    let door = Door::open().await;
    for (what, text) in [("a byte each", "G"), ("half a post each", "<head><length>\r\n{")] {
        let crowd = crowd(&door.host, &door.bytes(text)).await;
        for _ in 0..3 {
            is_alive(&door.host, what).await;
            door.still_opens(what).await;
        }
        drop(crowd);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_takes_no_room_and_what_is_not_signed_makes_room() {
    let (key, lines) = new_key("poster", &[]);
    let settings = Settings::new();
    let secret = settings.write("secret", "hush\n").display().to_string();
    let signature = format!(
        "\n[sources.alertmanager.signature]\nscheme = \"github\"\nsecrets = [{{ file = \"{secret}\" }}]\n"
    );
    let settings = settings.and_config(&lines).and_config(&signature).plugin(Plugin::shipped("alertmanager"));
    let host = settings.start().await;
    // Altogether far more than a host has room for: announced, and of one in three most is sent.
    let head = "POST /webhook/alertmanager HTTP/1.1\r\nhost: c\r\nx-hub-signature-256: sha256=00\r\ncontent-length: 8388608\r\n\r\n";
    let mut open = Vec::new();
    for index in 0..120 {
        let mut connection = connect(&host).await;
        connection.write_all(head.as_bytes()).await.expect("it reads");
        if index % 3 == 0 {
            // Those that came first are ended.
            _ = connection.write_all(&vec![b' '; 8_000_000]).await;
        }
        open.push(connection);
    }
    let body: serde_json::Value = serde_json::from_str(BODY).expect("JSON");
    let large = json!({"alerts": vec![body["alerts"][0].clone(); 500], "metadata": {}});
    for (what, body) in [("small", &body), ("large", &large)] {
        let reply =
            host.request(client().post(host.at("/webhook/alerts")).bearer_auth(&key).json(body)).await;
        assert_eq!(reply.status, 200, "{what}: {reply:?}");
    }
    drop(open);
}
