//! Parts of answers: four characters at a time, a secret would come back in clear. Where there is something to search for,
//! the host neither asks for parts nor passes them on, whatever asked for them.

use super::*;

const VALUE: &str = "T000/B000/hush-hush";

async fn answer(head: &str, secrets: Secrets) -> (Result<Response<WasiBody>, Error>, String) {
    let address = answering(format!("HTTP/1.1 {head}\r\n\r\nhush")).await;
    // Nothing is granted to this plugin: the secret may go to the server, and that is enough.
    let granted = grants(&[format!("* http://{address}/**")], &["127.0.0.0/8"], &[]);
    let mut call = call_within(granted, secrets, Duration::from_secs(10));
    let sent = send(&mut call, request(&format!("http://{address}/"), "")).await;
    (sent, call.failures().join("\n"))
}

#[tokio::test]
async fn a_part_is_refused_whatever_asked_for_it() {
    for (head, sign) in [
        ("206 Partial Content\r\ncontent-range: bytes 10-13/19", "status 206"),
        ("206 Whatever", "status 206"),
        ("416 Range Not Satisfiable\r\ncontent-range: bytes */19", "status 416"),
        ("226 IM Used\r\nim: vcdiff", "status 226"),
        ("200 OK\r\nim: range", "the header im"),
        ("200 OK\r\nContent-Range: bytes 10-13/19", "the header content-range"),
        ("200 OK\r\ncontent-range:", "the header content-range"),
        ("404 Not Found\r\ncontent-range: characters 1-2/*", "the header content-range"),
        ("200 OK\r\ncontent-type: Multipart/ByteRanges; boundary=x", "content-type multipart/byteranges"),
        (
            "200 OK\r\ncontent-type: text/plain\r\ncontent-type: multipart/x-byteranges",
            "content-type multipart",
        ),
    ] {
        let (sent, said) = answer(head, token(VALUE)).await;
        assert!(matches!(sent, Err(Error::HttpResponseIncomplete)), "{head}: {sent:?}");
        assert!(said.contains(&format!("the server answered with {sign}")), "{head}: {said}");
        let (sent, _) = answer(head, Secrets::default()).await;
        assert!(sent.is_ok(), "without secrets, {head}: {sent:?}");
    }
}

/// Varnish, nginx and object stores say so of every answer.
#[tokio::test]
async fn a_whole_answer_of_a_server_that_has_parts_is_passed_on() {
    let (sent, _) = answer("200 OK\r\naccept-ranges: bytes", token(VALUE)).await;
    let sent = sent.unwrap();
    assert!(!sent.headers().contains_key("accept-ranges"), "{:?}", sent.headers());
    assert_eq!(text(sent).await, "hush");
}

#[tokio::test]
async fn parts_are_not_asked_for() {
    let echo = server().await;
    let asking = |secrets: Secrets| async move {
        let mut asking = request(&format!("http://{echo}/echo/a"), "");
        for (name, value) in [
            ("range", "bytes=10-13"),
            ("if-range", "\"a\""),
            ("x-ms-range", "bytes=10-13"),
            ("request-range", "bytes=10-13"),
            ("x-piece", " Bytes=10-13"),
            ("a-im", "vcdiff"),
            ("x-arrange", "kept"),
            ("x-kept", "bytes"),
        ] {
            asking.headers_mut().append(name, value.parse().unwrap());
        }
        text(
            send(&mut call_within(everything(echo), secrets, Duration::from_secs(10)), asking).await.unwrap(),
        )
        .await
    };
    let got = asking(token(VALUE)).await;
    let names: Vec<_> = got.lines().filter_map(|line| line.split_once(": ")).map(|(name, _)| name).collect();
    let sent = ["x-arrange", "x-kept", "accept-encoding", "host", "connection", "user-agent"];
    assert!(names.iter().all(|name| sent.contains(name)) && names.len() == sent.len(), "{got}");
    assert!(
        asking(Secrets::default()).await.contains("x-ms-range: bytes=10-13"),
        "without secrets it is the plugin's"
    );
}
