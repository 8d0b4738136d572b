//! Who takes his time: others are served meanwhile, and nobody holds a place for ever.

use std::time::Duration;

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, timeout};

use super::{BODY, Door, connect, hear};

#[tokio::test(flavor = "multi_thread")]
async fn who_sends_a_byte_a_second_keeps_nobody_waiting() {
    let door = Door::open().await;
    let mut connections = Vec::new();
    for _ in 0..50 {
        let mut connection = connect(&door.host).await;
        connection.write_all(&door.bytes("<head><length>\r\n")).await.expect("it reads");
        connections.push(connection);
    }
    let (first, rest) = BODY.split_at(3);
    for byte in first.as_bytes().chunks(1) {
        for connection in &mut connections {
            connection.write_all(byte).await.expect("it reads");
        }
        let before = Instant::now();
        assert_eq!(door.host.get("/livez").await.status, 200);
        door.still_opens("a byte").await;
        assert!(before.elapsed() < Duration::from_secs(5), "others wait for {:?}", before.elapsed());
        sleep(Duration::from_secs(1)).await;
    }
    let mut last = connections.pop().expect("there are some");
    last.write_all(rest.as_bytes()).await.expect("it reads");
    assert_eq!(hear(&mut last, "200").await.outcome(), "200");
    drop(connections);
    assert_eq!(door.started().await, 1, "half a body is none");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_is_not_waited_for() {
    let door = Door::open().await;
    let begun = [
        ("nothing", ""),
        ("a letter", "G"),
        ("what may become HTTP/2", "P"),
        ("half of HTTP/2", "PRI * HTTP"),
        ("HTTP/2 and no request", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u{4}\0\0\0\0\0"),
        ("half a head", "POST /webhook/alerts HTTP/1.1\r\nhost:"),
        ("one request and no other", "GET /livez HTTP/1.1\r\nhost: c\r\n\r\n"),
    ];
    let close = async |(what, text): (&'static str, &str)| {
        let mut connection = connect(&door.host).await;
        connection.write_all(&door.bytes(text)).await.expect("it reads");
        let closed = timeout(Duration::from_secs(55), async {
            let mut part = [0; 4096];
            while let Ok(1..) = connection.read(&mut part).await {}
        });
        closed.await.is_err().then_some(what)
    };
    let (open, ()) = tokio::join!(join_all(begun.map(close)), door.still_opens("all that"));
    let open: Vec<_> = open.into_iter().flatten().collect();
    assert!(open.is_empty(), "after 55 seconds these are still open: {open:?}");
}
