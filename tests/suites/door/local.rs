//! Where there is no admin key: who is on this machine, and who only seems to be.

use harness::Settings;

use super::{connect, hear};

#[tokio::test(flavor = "multi_thread")]
async fn without_an_admin_key_nobody_elsewhere_passes_for_somebody_on_this_machine() {
    let host = Settings::new().start().await;
    let ask = async |what: &str, text: &str| {
        let mut connection = connect(&host).await;
        write(&mut connection, text).await;
        let said = hear(&mut connection, "200").await;
        (what.to_owned(), said.outcome())
    };
    let get = |of: &str, lines: &str| format!("GET /plugins HTTP/1.1\r\nhost: {of}\r\n{lines}\r\n");
    for of in ["127.0.0.1:8000", "localhost", "LOCALHOST:8000", "[::1]:8000"] {
        assert_eq!(ask(of, &get(of, "")).await.1, "200", "{of}");
    }
    // Through a proxy on this machine; from a page in its browser; by a name that its owner points here.
    let lines = [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-for:",
        "forwarded: for=127.0.0.1",
        "x-real-ip: 127.0.0.1",
        "via: 1.1 proxy",
        "x-forwarded-host: a",
        "x-forwarded-proto: https",
        "true-client-ip: 1.1.1.1",
        "cf-connecting-ip: 1.1.1.1",
        "connection: x-forwarded-for\r\nx-forwarded-for: 1.1.1.1",
        "origin: http://elsewhere.example",
        "sec-fetch-site: cross-site",
    ];
    let mut let_in = Vec::new();
    for line in lines {
        let_in.push(ask(line, &get("127.0.0.1", &format!("{line}\r\n"))).await);
    }
    let_in.push(ask("a name of elsewhere", &get("elsewhere.example:8000", "")).await);
    let absolute = "GET http://elsewhere.example/plugins HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n";
    let_in.push(ask("an address of elsewhere", absolute).await);
    let_in.retain(|(_, outcome)| outcome != "401");
    assert!(let_in.is_empty(), "{let_in:#?}");
}

async fn write(connection: &mut tokio::net::TcpStream, text: &str) {
    tokio::io::AsyncWriteExt::write_all(connection, text.as_bytes()).await.expect("it reads");
}
