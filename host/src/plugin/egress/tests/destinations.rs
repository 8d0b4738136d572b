//! Where requests end up: whatever the URL and the name servers say, only at granted hosts and checked addresses.

use super::*;

/// A server at an address of this machine that counts its connections and answers `ok`.
async fn ok_at(at: &str) -> (SocketAddr, Arc<AtomicUsize>) {
    raw(at, |mut stream, _| async move {
        _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    })
    .await
}

/// A call that asks this table for addresses; `private` networks are granted.
fn resolving(url: &str, private: &[&str], table: &Arc<Table>) -> EgressCall {
    let mut egress = egress(grants(&[format!("* {url}")], private, &[]), Secrets::default(), "");
    egress.connector.resolver = Resolver::Table(table.clone());
    call_of(&Arc::new(egress), Duration::from_secs(10))
}

#[tokio::test]
async fn what_is_not_granted_is_not_dialled() {
    let (address, connections) = ok_at("127.0.0.1").await;
    let (port, other) = (address.port(), ok_at("127.0.0.1").await.0);
    let granted = grants(&[format!("PUT http://127.0.0.1:{port}/a/**")], &["127.0.0.0/8"], &[]);
    let put = |url: String| (http::Method::PUT, url);
    let table = [
        put(format!("http://127.0.0.2:{port}/a/b")),
        put(format!("http://localhost:{port}/a/b")),
        put(format!("http://{other}/a/b")),
        put(format!("https://127.0.0.1:{port}/a/b")),
        put(format!("http://127.0.0.1:{port}/b")),
        put(format!("http://127.0.0.1:{port}/a/%2e%2e/b")),
        put(format!("http://127.0.0.1:{port}/a/..%2fb")),
        (http::Method::POST, format!("http://127.0.0.1:{port}/a/b")),
    ];
    for (method, url) in table {
        let mut call = call(granted.clone());
        let mut request = request(&url, "");
        *request.method_mut() = method;
        let sent = send(&mut call, request).await;
        assert!(matches!(sent, Err(Error::HttpRequestDenied)), "{url}: {sent:?}");
        let why = &call.failures()[0];
        assert!(
            why.contains("to allow it, add to [grants]: http = [")
                || why.contains("is not granted, and cannot be"),
            "{why}"
        );
        assert_eq!((call.traffic().requests, call.traffic().denied), (1, 1));
    }
    assert_eq!(connections.load(SeqCst), 0);
}

#[tokio::test]
async fn a_private_address_is_refused_in_every_notation() {
    let (address, connections) = ok_at("127.0.0.1").await;
    let literals = [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "0x7f.1",
        "2130706433",
        "0177.0.0.1",
        "127.0.0.1.",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "169.254.169.254",
        "0xa9fea9fe",
        "[::ffff:169.254.169.254]",
        "[fd00:ec2::254]",
        "[64:ff9b::169.254.169.254]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[fe80::1]",
        "100.100.100.200",
        "168.63.129.16",
    ];
    for literal in literals {
        let url = format!("http://{literal}:{}/", address.port());
        let mut call = call(grants(&[format!("* {url}**")], &[], &[]));
        let sent = send(&mut call, request(&url, "")).await;
        assert!(matches!(sent, Err(Error::DestinationIpProhibited)), "{url}: {sent:?}");
        assert!(
            call.failures()[0].contains("add to [grants]: private-networks = [\""),
            "{:?}",
            call.failures()
        );
    }
    assert_eq!(connections.load(SeqCst), 0);
}

#[tokio::test]
async fn a_granted_name_that_leads_to_a_private_address_is_refused() {
    let addresses = [
        "127.0.0.1",
        "10.0.0.1",
        "169.254.169.254",
        "fd00:ec2::254",
        "::1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:a9fe:a9fe::",
        "fe80::1",
        "0.0.0.0",
    ];
    for address in addresses {
        let table = Arc::new(Table::of("api.example", &[&[address]]));
        let mut call = resolving("http://api.example/**", &["127.0.0.2"], &table);
        let sent = send(&mut call, request("http://api.example/", "")).await;
        assert!(matches!(sent, Err(Error::DestinationIpProhibited)), "{address}: {sent:?}");
        assert!(call.failures()[0].contains("api.example leads to "), "{:?}", call.failures());
    }
}

#[tokio::test]
async fn the_address_that_was_checked_is_dialled_whatever_the_name_leads_to_next() {
    let (granted, granted_connections) = ok_at("127.0.0.2").await;
    let home = TcpListener::bind(("127.0.0.1", granted.port())).await.unwrap();
    let table = Arc::new(Table::of("api.example", &[&["127.0.0.2"], &["127.0.0.1"]]));
    let url = format!("http://api.example:{}/", granted.port());
    let mut call = resolving(&format!("{url}**"), &["127.0.0.2"], &table);
    assert_eq!(text(send(&mut call, request(&url, "")).await.unwrap()).await, "ok");
    assert_eq!(table.asked(), ["api.example"]);
    let rebound = send(&mut call, request(&url, "")).await;
    assert!(matches!(rebound, Err(Error::DestinationIpProhibited)), "{rebound:?}");
    assert_eq!(granted_connections.load(SeqCst), 1);
    let dialled = tokio::time::timeout(Duration::from_millis(50), home.accept()).await;
    assert!(dialled.is_err(), "the address that was not granted was dialled");
}

#[tokio::test]
async fn of_a_mixed_answer_only_the_allowed_addresses_are_dialled() {
    let (granted, connections) = ok_at("127.0.0.2").await;
    let home = TcpListener::bind(("127.0.0.1", granted.port())).await.unwrap();
    let answer: &[&str] = &["127.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "127.0.0.2", "fd00:ec2::254"];
    let table = Arc::new(Table::of("api.example", &[answer]));
    let url = format!("http://api.example:{}/", granted.port());
    let mut call = resolving(&format!("{url}**"), &["127.0.0.2"], &table);
    assert_eq!(text(send(&mut call, request(&url, "")).await.unwrap()).await, "ok");
    assert_eq!(connections.load(SeqCst), 1);
    let dialled = tokio::time::timeout(Duration::from_millis(50), home.accept()).await;
    assert!(dialled.is_err(), "an address that was not granted was dialled");
}

#[tokio::test]
async fn names_without_addresses_are_said_and_asked_for_once() {
    let table = Arc::new(Table::of("empty.example", &[&[]]));
    for (name, expected) in [
        ("empty.example", "empty.example cannot be looked up: it has no addresses"),
        ("unknown.example", "unknown.example cannot be looked up: Name or service not known"),
    ] {
        let mut call = resolving(&format!("http://{name}/**"), &[], &table);
        let sent = send(&mut call, request(&format!("http://{name}/"), "")).await;
        assert!(matches!(sent, Err(Error::DnsError { .. })), "{sent:?}");
        assert!(call.failures()[0].ends_with(expected), "{:?}", call.failures());
    }
    assert_eq!(table.asked(), ["empty.example", "unknown.example"]);
}

#[tokio::test]
async fn a_host_is_asked_for_and_sent_in_one_form() {
    let (address, _) = raw("127.0.0.1", |mut stream, head| async move {
        let host = head.lines().find(|line| line.starts_with("host: ")).unwrap_or_default();
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{host}", host.len());
        _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
    let port = address.port();
    for (granted, name, written) in [
        ("api.example", "api.example", "api.example"),
        ("api.example", "api.example", "API.Example"),
        ("api.example", "api.example", "api.example."),
        ("bücher.example", "xn--bcher-kva.example", "XN--bcher-kva.example"),
    ] {
        let table = Arc::new(Table::of(name, &[&["127.0.0.1"]]));
        let mut call = resolving(&format!("http://{granted}:{port}/**"), &["127.0.0.1"], &table);
        let sent = send(&mut call, request(&format!("http://{written}:{port}/"), "")).await;
        assert_eq!(text(sent.unwrap()).await, format!("host: {name}:{port}"), "{written}");
        assert_eq!(table.asked(), [name]);
    }
}

#[tokio::test]
async fn a_redirect_is_neither_followed_nor_repeated() {
    let (home, home_connections) = ok_at("127.0.0.1").await;
    for (status, target) in [
        (301, "http://169.254.169.254/latest/meta-data/".to_owned()),
        (302, "file:///etc/passwd".to_owned()),
        (307, format!("http://{home}/")),
        (308, "/".to_owned()),
    ] {
        let answer = format!("HTTP/1.1 {status} Moved\r\nlocation: {target}\r\ncontent-length: 0\r\n\r\n");
        let (address, connections) = raw("127.0.0.1", move |mut stream, _| {
            let answer = answer.clone();
            async move { _ = stream.write_all(answer.as_bytes()).await }
        })
        .await;
        let response = send(&mut call(everything(address)), request(&format!("http://{address}/"), "")).await;
        let response = response.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert_eq!(response.headers()["location"], target);
        assert_eq!(connections.load(SeqCst), 1);
    }
    assert_eq!(home_connections.load(SeqCst), 0);
}

#[tokio::test]
async fn a_path_cannot_lead_to_another_host_or_another_request() {
    let address = server().await;
    for path in ["/echo/@evil.example/", "/echo//evil.example/x", "/echo/http://evil.example/", "/echo/x:80"]
    {
        let uri = http::Uri::builder().scheme("http").authority(address.to_string()).path_and_query(path);
        let mut request = request("http://unused.example/", "");
        *request.uri_mut() = uri.build().unwrap();
        let got = text(send(&mut call(everything(address)), request).await.unwrap()).await;
        assert!(got.starts_with(&format!("POST {path}\n")), "{path}: {got}");
        assert!(got.contains(&format!("host: {address}\n")), "{got}");
    }
    // What wasmtime refuses before it comes to us: these are never part of a URI.
    for path in ["http://evil.example/", "/x\r\nhost: evil.example", "/x HTTP/1.1", "/x\0"] {
        let uri = http::Uri::builder().scheme("http").authority("a.example").path_and_query(path).build();
        assert!(uri.is_err(), "{path:?}: {uri:?}");
    }
}
