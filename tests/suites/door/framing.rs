//! Where one request ends and the next begins: nothing that two parties could read differently.

use super::Door;

#[tokio::test(flavor = "multi_thread")]
async fn a_length_is_one_number_and_says_how_long_the_body_is() {
    let door = Door::open().await;
    door.takes(&[
        ("plain", "<head><length>\r\n<body>", "200"),
        ("the same length twice", "<head><length><length>\r\n<body>", "200"),
        ("blanks around it", "<head>content-length:\t 113 \r\n\r\n<body>", "200"),
        ("leading zeros", "<head>content-length: 00000000000000000000113\r\n\r\n<body>", "200"),
    ])
    .await;
    let odd = [
        "+113",
        "-113",
        "0x71",
        "1 10",
        "113;",
        "113.0",
        "\"113\"",
        "113, 5",
        "5, 113",
        "",
        "113\u{b}",
        "113\u{a0}",
    ];
    let odd = odd.into_iter().chain(["99999999999999999999999", "18446744073709551729"]);
    let odd: Vec<_> = odd.map(|length| format!("<head>content-length: {length}\r\n\r\n<body>")).collect();
    let rows: Vec<_> = odd.iter().map(|text| (text.as_str(), text.as_str(), "400 closed")).collect();
    door.refuses(&rows).await;
    door.refuses(&[
        ("two lengths", "<head><length>content-length: 5\r\n\r\n<body>", "400 closed"),
        ("too short a length", "<head>content-length: 112\r\n\r\n<body><peek>", "400 400 closed"),
        ("no length", "<head>content-length: 0\r\n\r\n<body>", "400 400 closed"),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn length_and_chunks_together_end_the_connection() {
    let door = Door::open().await;
    let both = "<head><length>transfer-encoding: chunked\r\n\r\n";
    door.takes(&[
        ("both", &format!("{both}<chunks>"), "200 closed"),
        ("both, and a second one behind", &format!("{both}<chunks><peek>"), "200 closed"),
        (
            "a short length",
            "<head>content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n<chunks><peek>",
            "200 closed",
        ),
    ])
    .await;
    door.refuses(&[
        ("no chunk, and a second one behind", &format!("{both}0\r\n\r\n<peek>"), "400 closed"),
        ("unknown coding", "<head><length>transfer-encoding: cow\r\n\r\n<body>", "400 closed"),
        (
            "a blank before the colon",
            "<head><length>transfer-encoding : chunked\r\n\r\n<chunks>",
            "400 closed",
        ),
        (
            "a blank before the name",
            "<head><length> transfer-encoding: chunked\r\n\r\n<chunks>",
            "400 closed",
        ),
        (
            "HTTP/1.0",
            "POST /webhook/alerts HTTP/1.0\r\n<rest>transfer-encoding: chunked\r\n\r\n<chunks>",
            "400 closed",
        ),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_plainly_chunked_is_refused() {
    let door = Door::open().await;
    let codings = ["chunked", "CHUNKED", "\tchunked\t", " chunked "];
    let plain: Vec<_> = codings
        .map(|coding| format!("<head>transfer-encoding:{coding}\r\n\r\n<chunks>"))
        .into_iter()
        .collect();
    let rows: Vec<_> = plain.iter().map(|text| (text.as_str(), text.as_str(), "200")).collect();
    door.takes(&rows).await;
    let codings = [
        "xchunked",
        "chunkedx",
        "chunk ed",
        "\"chunked\"",
        "chunked;q=1",
        "chunked,",
        "chunked, gzip",
        "chunked, identity",
        "identity",
        "\u{b}chunked",
        "chunked\u{c}",
        "\u{a0}chunked",
        "chunked\0",
        "\r\n chunked",
        "\n\tchunked",
        "x\r\n chunked",
    ];
    let odd: Vec<_> = codings
        .map(|coding| format!("<head>transfer-encoding:{coding}\r\n\r\n<chunks>"))
        .into_iter()
        .collect();
    let rows: Vec<_> = odd.iter().map(|text| (text.as_str(), text.as_str(), "400 closed")).collect();
    door.refuses(&rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn chunked_is_the_one_coding_and_is_said_once() {
    let door = Door::open().await;
    let codings = [
        "chunked, chunked",
        "gzip, chunked",
        "identity, chunked",
        ",chunked",
        "chunked\r\ntransfer-encoding: chunked",
    ];
    let odd: Vec<_> = codings
        .map(|coding| format!("<head>transfer-encoding: {coding}\r\n\r\n<chunks>"))
        .into_iter()
        .collect();
    let rows: Vec<_> = odd.iter().map(|text| (text.as_str(), text.as_str(), "400 closed")).collect();
    door.refuses(&rows).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_chunk_is_as_long_as_it_says() {
    let door = Door::open().await;
    let chunked = |what, chunks: String, outcome| {
        (what, format!("<head>transfer-encoding: chunked\r\n\r\n{chunks}"), outcome)
    };
    let most = "a: b\r\n".repeat(3_000);
    let good = [
        chunked("an extension", "71;a=b\r\n<body>\r\n0\r\n\r\n".to_owned(), "200"),
        chunked("leading zeros", format!("{}71\r\n<body>\r\n0\r\n\r\n", "0".repeat(20)), "200"),
        chunked("a trailer that is a key", "71\r\n<body>\r\n0\r\nx-api-key: z\r\n\r\n".to_owned(), "200"),
        chunked("one byte each", format!("{}<chunks>", "1\r\n \r\n".repeat(10_000)), "200"),
    ];
    door.takes(&good.each_ref().map(|(what, text, outcome)| (*what, text.as_str(), *outcome))).await;
    let bad = [
        chunked("more than 64 bits", "ffffffffffffffff1\r\nx".to_owned(), "400 closed"),
        chunked("less than nothing", "-1\r\n<body>".to_owned(), "400 closed"),
        chunked("0x", "0x71\r\n<body>\r\n0\r\n\r\n".to_owned(), "400 closed"),
        chunked("no size", "\r\n<body>".to_owned(), "400 closed"),
        chunked("LF behind the size", "71\n<body>\r\n0\r\n\r\n".to_owned(), "400 closed"),
        chunked("LF behind the chunk", "71\r\n<body>\n0\r\n\r\n".to_owned(), "400 closed"),
        chunked("LF in an extension", "71;a\nb\r\n<body>\r\n0\r\n\r\n".to_owned(), "400 closed"),
        chunked("CR in an extension", "71;a\rb\r\n<body>\r\n0\r\n\r\n".to_owned(), "400 closed"),
        chunked(
            "an endless extension",
            format!("71;{}\r\n<body>\r\n0\r\n\r\n", "a".repeat(20_000)),
            "400 closed",
        ),
        chunked("too long", "71\r\n<body>xx\r\n0\r\n\r\n".to_owned(), "400 closed"),
        chunked("LF at the end", "71\r\n<body>\r\n0\n\n".to_owned(), "400 closed"),
        chunked("a trailer that is none", "71\r\n<body>\r\n0\r\nGARBAGE\r\n\r\n".to_owned(), "400 closed"),
        chunked("many trailers", format!("71\r\n<body>\r\n0\r\n{most}\r\n"), "400 closed"),
    ];
    door.refuses(&bad.each_ref().map(|(what, text, outcome)| (*what, text.as_str(), *outcome))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_behind_a_request_is_one_of_its_own_with_credentials_of_its_own() {
    let door = Door::open().await;
    let inside = super::PEEK.len();
    let length = format!("content-length: {inside}\r\n\r\n<peek>");
    door.takes(&[("a second one", "<head><length>\r\n<body><peek>", "200 401")]).await;
    door.refuses(&[
        ("within a body that is refused", &format!("POST /webhook/alerts HTTP/1.1\r\nhost: c\r\n{length}"), "401"),
        ("within a body to nobody", &format!("POST /nowhere HTTP/1.1\r\nhost: c\r\n{length}"), "404"),
        ("within the body of a GET", &format!("GET /livez HTTP/1.1\r\nhost: c\r\n{length}"), "200"),
        (
            "within a chunk of a GET",
            &format!("GET /livez HTTP/1.1\r\nhost: c\r\ntransfer-encoding: chunked\r\n\r\n{inside:x}\r\n<peek>\r\n0\r\n\r\n"),
            "200",
        ),
        (
            "behind one of the poster's",
            "GET /plugins HTTP/1.1\r\nhost: c\r\nx-api-key: <post>\r\n\r\n<peek>",
            "403 401",
        ),
    ])
    .await;
    let admin = "GET /alerts HTTP/1.1\r\nhost: c\r\nx-api-key: <admin>\r\n\r\n<peek>";
    door.refuses(&[("behind one of the administrator's", admin, "200 401")]).await;
}
