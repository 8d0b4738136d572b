//! Web pages that have a browser post, and programs that only look like them.

use std::process::Command;

use harness::{Host, Plugin, Settings};

use super::{Door, connect, hear};

/// A post that needs no permission of a browser's: no header but those that pages may set anywhere.
fn post(host: &str, lines: &str) -> String {
    let body = "{\"alerts\":[]}";
    let head =
        format!("POST /webhook/alertmanager HTTP/1.1\r\nhost: {host}\r\ncontent-type: text/plain\r\n{lines}");
    format!("{head}content-length: {}\r\n\r\n{body}", body.len())
}

async fn status(host: &Host, text: &str) -> String {
    let mut connection = connect(host).await;
    tokio::io::AsyncWriteExt::write_all(&mut connection, text.as_bytes()).await.expect("it reads");
    let said = hear(&mut connection, "200").await;
    assert_eq!(said.text.contains("foreign-origin"), said.outcome() == "403", "{}", said.text);
    said.outcome()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_site_posts_nothing_unless_it_is_listed() {
    let cors = "\n[webhook]\ncors-origins = [\"https://status.example\"]\n";
    let host = Settings::new().and_config(cors).plugin(Plugin::shipped("alertmanager")).start().await;
    let own = host.url().strip_prefix("http://").expect("plain HTTP").to_owned();
    let same = format!("origin: {}\r\nsec-fetch-site: same-origin\r\n", host.url());
    for (what, of, lines, expected) in [
        ("another site", &*own, "origin: https://evil.example\r\nsec-fetch-site: cross-site\r\n", "403"),
        ("another site without fetch metadata", &own, "origin: http://evil.example\r\n", "403"),
        ("another port", &own, "origin: http://127.0.0.1:1\r\nsec-fetch-site: same-site\r\n", "403"),
        ("a sandboxed page", &own, "origin: null\r\n", "403"),
        ("a name that leads here", "evil.example:8000", "origin: http://evil.example:8000\r\n", "403"),
        ("a listed site", &own, "origin: https://status.example\r\nsec-fetch-site: cross-site\r\n", "200"),
        ("/docs of this host", &own, &same, "200"),
        ("a program", &own, "", "200"),
        ("a program, by any name", "campanile.example", "user-agent: Alertmanager/0.25.0\r\n", "200"),
        ("a proxy", "campanile.example", "x-forwarded-for: 192.0.2.7\r\nvia: 1.1 nginx\r\n", "200"),
    ] {
        assert_eq!(status(&host, &post(of, lines)).await, expected, "{what}");
    }
    let docs = host.get("/docs/").await;
    assert!(docs.status == 200 && docs.text.contains("swagger"), "{docs:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_posts_nothing_with_a_key_that_the_browser_adds() {
    let door = Door::open().await;
    for (lines, expected) in [
        ("origin: https://evil.example\r\nsec-fetch-site: cross-site\r\n", "403"),
        ("", "200"),
        ("origin: http://campanile.example\r\n", "200"),
    ] {
        let text = post("campanile.example", &format!("x-api-key: <post>\r\n{lines}"));
        let said = door.say(&door.bytes(&text), expected).await;
        assert_eq!(said.outcome(), expected, "{lines}: {}", said.text);
    }
    let discard = "POST /deliveries/discard?all=true HTTP/1.1\r\nhost: c\r\nx-api-key: <admin>\r\nsec-fetch-site: cross-site\r\ncontent-length: 0\r\n\r\n";
    assert_eq!(door.say(&door.bytes(discard), "403").await.outcome(), "403");
}

/// A refusal before the body is read reaches a client that still sends: over HTTP/2 curl would take it for a broken stream.
#[tokio::test(flavor = "multi_thread")]
async fn curl_shows_a_refusal_over_http_2_as_one() {
    let door = Door::open().await;
    let body = door.host.settings().write("body", &" ".repeat(200_000)).display().to_string();
    for (path, key, expected) in [
        ("/webhook/alerts", "cmp_wrong", "401"),
        ("/webhook/alerts", &*door.admin, "403"),
        ("/plugins/log/release", "cmp_wrong", "401"),
        ("/nowhere", "cmp_wrong", "404"),
    ] {
        for _ in 0..5 {
            let mut curl = Command::new("curl");
            curl.args(["--silent", "--show-error", "--http2-prior-knowledge", "--max-time", "20"]);
            curl.args(["--output", "/dev/null", "--write-out", "%{http_code}"]);
            curl.args(["--header", &format!("x-api-key: {key}"), "--data-binary", &format!("@{body}")]);
            let output = curl.arg(door.host.at(path)).output().expect("curl is installed");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{path}: {said}");
            assert!(output.status.success(), "{path}: {said}");
        }
    }
}
