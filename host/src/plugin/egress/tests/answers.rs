//! What servers may answer, and what becomes of answers that contradict themselves.

use super::*;

/// What a plugin reads of an answer.
async fn answered(bytes: impl Into<Bytes>) -> Result<String, Error> {
    let address = answering(bytes).await;
    let response = send(&mut call(everything(address)), request(&format!("http://{address}/"), "")).await?;
    Ok(String::from_utf8(whole(response).await?.to_vec()).unwrap())
}

#[tokio::test]
async fn a_length_that_contradicts_itself_is_an_error() {
    for lengths in ["content-length: 2\r\ncontent-length: 3", "content-length: 2, 3", "content-length: -1"] {
        let got = answered(format!("HTTP/1.1 200 OK\r\n{lengths}\r\n\r\nokk")).await;
        assert!(matches!(got, Err(Error::HttpProtocolError)), "{lengths}: {got:?}");
    }
    let same = answered("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok").await;
    assert_eq!(same.unwrap(), "ok");
}

#[tokio::test]
async fn a_body_ends_where_it_was_announced_to() {
    let longer = answered("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok and more").await;
    assert_eq!(longer.unwrap(), "ok");
    let chunked =
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore";
    assert_eq!(answered(chunked).await.unwrap(), "ok");
    let shorter = answered("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await;
    assert!(
        matches!(shorter, Err(Error::HttpResponseIncomplete | Error::ConnectionTerminated)),
        "{shorter:?}"
    );
    for broken in ["2\r\nok", "2\r\nok\r\nzz\r\n", "ffffffffffffffffff\r\n"] {
        let got = answered(format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{broken}")).await;
        assert!(got.is_err(), "{broken:?}: {got:?}");
    }
}

#[tokio::test]
async fn a_body_that_breaks_off_is_told_to_the_operator() {
    let address = answering("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nok").await;
    let mut call = call(everything(address));
    let response = send(&mut call, request(&format!("http://{address}/"), "")).await.unwrap();
    assert!(whole(response).await.is_err());
    let expected = format!("POST http://{address}/: the response's body broke off: ");
    assert!(call.failures()[0].starts_with(&expected), "{:?}", call.failures());
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    for answer in
        ["", "SSH-2.0-OpenSSH_9.6\r\n", "HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nx y: 1\r\n\r\n"]
    {
        let got = answered(answer).await;
        assert!(got.is_err(), "{answer:?}: {got:?}");
    }
}

#[tokio::test]
async fn headers_of_the_connection_are_hidden_and_cannot_be_set() {
    let mut call = call(Grants::none());
    let hidden = [
        "host",
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "http2-settings",
        "expect",
    ];
    for name in hidden {
        assert!(call.is_forbidden_header(&HeaderName::from_static(name)), "{name}");
        assert!((call.forbidden_header_filter())(&HeaderName::from_static(name)), "{name}");
    }
}

#[tokio::test]
async fn trailers_and_another_length_of_the_plugin_are_not_sent() {
    let address = server().await;
    let trailers = http::HeaderMap::from_iter([("x-late".parse().unwrap(), "1".parse().unwrap())]);
    let parts = [hyper::body::Frame::data(Bytes::from("ok")), hyper::body::Frame::trailers(trailers)];
    let body = http_body_util::StreamBody::new(futures::stream::iter(parts.map(Ok::<_, Error>)));
    let url = format!("http://{address}/echo/a");
    let request = Request::post(url).header("content-length", "7").body(body.boxed_unsync()).unwrap();
    let got = text(send(&mut call(everything(address)), request).await.unwrap()).await;
    assert!(got.contains("content-length: 2\n") && got.ends_with("\n\nok"), "{got}");
    assert!(!got.contains("x-late") && !got.contains("transfer-encoding"), "{got}");
}

#[tokio::test]
async fn what_is_compressed_comes_as_it_was_sent() {
    let bytes = [31, 139, 8, 0, 0, 0, 0, 0, 0, 255, 75, 203, 207, 7, 0];
    let head = "HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 15\r\n\r\n";
    let address = answering([head.as_bytes(), &bytes].concat()).await;
    let sent = send(&mut call(everything(address)), request(&format!("http://{address}/"), "")).await;
    let response = sent.unwrap();
    assert_eq!(response.headers()["content-encoding"], "gzip");
    assert_eq!(whole(response).await.unwrap(), bytes.as_slice());
}
