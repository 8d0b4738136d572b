//! First lines and headers that are none, too many or too long.

use super::Door;

#[tokio::test(flavor = "multi_thread")]
async fn a_first_line_that_is_none_is_the_end_of_the_connection() {
    let door = Door::open().await;
    let post = |line: &str| format!("{line}\r\nhost: c\r\n<rest><length>\r\n<body>");
    let taken = [
        ("absolute form", post("POST http://c/webhook/alerts HTTP/1.1"), "200"),
        ("absolute form of elsewhere", post("POST http://elsewhere.example/webhook/alerts HTTP/1.1"), "200"),
        ("empty lines before it", post("\r\n\r\nPOST /webhook/alerts HTTP/1.1"), "200"),
        ("HTTP/1.0", "POST /webhook/alerts HTTP/1.0\r\n<rest><length>\r\n<body>".to_owned(), "200 closed"),
        ("LF alone", post("POST /webhook/alerts HTTP/1.1").replace('\r', ""), "200"),
    ];
    door.takes(&taken.each_ref().map(|(what, text, outcome)| (*what, text.as_str(), *outcome))).await;
    let refused = [
        ("absolute form of nothing", post("POST http://c HTTP/1.1"), "405"),
        ("authority form", post("POST c:80 HTTP/1.1"), "404"),
        ("a path without a slash", post("POST webhook/alerts HTTP/1.1"), "400 closed"),
        ("CONNECT", "CONNECT c:80 HTTP/1.1\r\nhost: c\r\n\r\n".to_owned(), "404"),
        ("asterisk", post("POST * HTTP/1.1"), "404"),
        ("TRACE", post("TRACE /webhook/alerts HTTP/1.1"), "405"),
        ("a method in lower case", post("post /webhook/alerts HTTP/1.1"), "405"),
        ("a method that is none", post("PO(ST /webhook/alerts HTTP/1.1"), "400 closed"),
        ("two blanks", post("POST  /webhook/alerts HTTP/1.1"), "400 closed"),
        ("tabs", post("POST\t/webhook/alerts\tHTTP/1.1"), "400 closed"),
        ("a blank in the path", post("POST /webhook/al erts HTTP/1.1"), "400 closed"),
        ("NUL in the path", post("POST /webhook/alerts\0 HTTP/1.1"), "400 closed"),
        ("HTTP/0.9", post("POST /webhook/alerts"), "400 closed"),
        ("HTTP/0.9, alone", "GET /health\r\n\r\n".to_owned(), "400 closed"),
        ("HTTP/1.2", post("POST /webhook/alerts HTTP/1.2"), "400 closed"),
        ("HTTP/2.0 in text", post("POST /webhook/alerts HTTP/2.0"), "400 closed"),
        ("http/1.1 in lower case", post("POST /webhook/alerts http/1.1"), "400 closed"),
        (
            "HTTP/2, then garbage",
            format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{}", "\u{ff}".repeat(200)),
            "closed",
        ),
        (
            "HTTP/2, then HTTP/1.1",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n<head><length>\r\n<body>".to_owned(),
            "closed",
        ),
        ("nearly HTTP/2", "PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n".to_owned(), "400 closed"),
        (
            "TLS",
            format!("\u{16}\u{3}\u{1}\0\u{c8}\u{1}\0\0\u{c4}\u{3}\u{3}{}", "\0".repeat(190)),
            "400 closed",
        ),
        ("SSH", "SSH-2.0-OpenSSH_9.9\r\n".to_owned(), "400 closed"),
        ("every byte", (0..=255).map(char::from).collect(), "400 closed"),
    ];
    door.refuses(&refused.each_ref().map(|(what, text, outcome)| (*what, text.as_str(), *outcome))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_header_that_is_none_is_the_end_of_the_connection() {
    let door = Door::open().await;
    let lines = [
        "x-a: b\r\n c",
        "x-a: b\r\n\tc",
        "x-a: b\0c",
        "x-a: b\rc",
        "x-a: b\u{7f}c",
        "x-a: b\u{1}c",
        "x a: b",
        "x-a : b",
        ": b",
        "x\0a: b",
        "x\u{ff}a: b",
        "x-a",
        "x(a: b",
        "x-request-id: a\r\n b",
        "x-request-id: \u{1b}[31m",
    ];
    let heads: Vec<_> = lines.map(|line| format!("<head>{line}\r\n<length>\r\n<body>")).into_iter().collect();
    let rows: Vec<_> = heads.iter().map(|text| (text.as_str(), text.as_str(), "400 closed")).collect();
    door.refuses(&rows).await;
    door.takes(&[("bytes that are no ASCII", "<head>x-a: b\u{ff}c\r\n<length>\r\n<body>", "200")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_head_has_64_kib_and_100_lines() {
    let door = Door::open().await;
    let line = |length| format!("<head>x-a: {}\r\n<length>\r\n<body>", "a".repeat(length));
    let lines = |count| format!("<head>{}<length>\r\n<body>", "x-a: b\r\n".repeat(count));
    let address = |length| format!("GET /{} HTTP/1.1\r\nhost: c\r\n\r\n", "a".repeat(length));
    door.takes(&[("a long line", &line(60_000), "200"), ("96 lines more", &lines(96), "200")]).await;
    let id = format!("GET /livez HTTP/1.1\r\nhost: c\r\nx-request-id: {}\r\n\r\n", "a".repeat(1_000_000));
    door.refuses(&[
        ("too long a line", &line(65_536), "431 closed"),
        ("a megabyte", &line(1_000_000), "431 closed"),
        ("101 lines", &lines(97), "431 closed"),
        ("a thousand lines", &lines(1_000), "431 closed"),
        ("a long address", &address(60_000), "404"),
        ("too long an address", &address(65_530), "431 closed"),
        ("an address of a megabyte", &address(1_000_000), "431 closed"),
        ("a request's id of a megabyte", &id, "431 closed"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_for_one_host() {
    let door = Door::open().await;
    let hosts = ["host: c\r\n", "host: c:8000\r\n", "host: [::1]:8000\r\n", "host:\r\n"];
    let one = hosts.map(|host| format!("POST /webhook/alerts HTTP/1.1\r\n{host}<rest><length>\r\n<body>"));
    door.takes(&one.each_ref().map(|text| (text.as_str(), text.as_str(), "200"))).await;
    let hosts =
        ["", "host: c\r\nhost: c\r\n", "host: c\r\nhost: d\r\n", "host: a b\r\n", "host: a/b@c:99999\r\n"];
    let odd = hosts.map(|host| format!("POST /webhook/alerts HTTP/1.1\r\n{host}<rest><length>\r\n<body>"));
    door.refuses(&odd.each_ref().map(|text| (text.as_str(), text.as_str(), "400 closed"))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_asks_whether_to_go_on_is_told_and_nobody_is_led_elsewhere() {
    let door = Door::open().await;
    let posting = |lines: &str| format!("<head>{lines}<length>\r\n<body>");
    let h2c = "connection: upgrade, http2-settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n";
    door.takes(&[
        ("whether to go on", &posting("expect: 100-continue\r\n"), "100 200"),
        ("h2c", &posting(h2c), "200"),
        ("a web socket", &posting("connection: upgrade\r\nupgrade: websocket\r\n"), "200"),
        ("headers for the way", &posting("connection: x-api-key, content-length, close\r\n"), "200 closed"),
    ])
    .await;
    let stranger = "POST /webhook/alerts HTTP/1.1\r\nhost: c\r\nexpect: 100-continue\r\n<length>\r\n";
    door.refuses(&[("a stranger", stranger, "401 closed")]).await;
}
