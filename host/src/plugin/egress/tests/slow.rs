//! Those who take their time: nothing outlives the call, and what a plugin may wait for is bounded by it.

use super::*;

/// A server that gives the start of an answer and then the same bytes again and again, slowly.
async fn dripping(start: &'static str, drop: &'static str) -> SocketAddr {
    raw("127.0.0.1", move |mut stream, _| async move {
        _ = stream.write_all(start.as_bytes()).await;
        while stream.write_all(drop.as_bytes()).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .0
}

fn within(grants: Grants, deadline: u64) -> EgressCall {
    call_within(grants, Secrets::default(), Duration::from_millis(deadline))
}

fn times(connect: Duration, first_byte: Duration, between_bytes: Duration) -> Option<RequestOptions> {
    Some(RequestOptions {
        connect_timeout: Some(connect),
        first_byte_timeout: Some(first_byte),
        between_bytes_timeout: Some(between_bytes),
    })
}

#[tokio::test]
async fn the_deadline_of_the_call_ends_every_wait() {
    let address = server().await;
    let mut waiting = call_within(everything(address), Secrets::default(), Duration::from_millis(200));
    let silent = send(&mut waiting, request(&format!("http://{address}/silent"), "")).await;
    assert!(matches!(silent, Err(Error::HttpResponseTimeout)), "{silent:?}");
    let mut unfinished = call_within(everything(address), Secrets::default(), Duration::from_millis(200));
    let body = http_body_util::StreamBody::new(futures::stream::pending::<
        Result<hyper::body::Frame<Bytes>, Error>,
    >());
    let request = Request::post(format!("http://{address}/echo/a")).body(body.boxed_unsync()).unwrap();
    assert!(matches!(send(&mut unfinished, request).await, Err(Error::ConnectionWriteTimeout)));
}

#[tokio::test]
async fn a_plugin_that_never_ends_the_body_of_a_refused_request_is_not_waited_for_long() {
    let body = http_body_util::StreamBody::new(futures::stream::pending::<
        Result<hyper::body::Frame<Bytes>, Error>,
    >());
    let request = Request::post("http://a.example/").body(body.boxed_unsync()).unwrap();
    let mut call = within(Grants::none(), 60_000);
    let started = StdInstant::now();
    assert!(matches!(send(&mut call, request).await, Err(Error::HttpRequestDenied)));
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_head_that_comes_drop_by_drop_is_late() {
    let address = dripping("HTTP/1.1 200 OK\r\nx: ", "y").await;
    let mut call = within(everything(address), 300);
    let sent = send(&mut call, request(&format!("http://{address}/"), "")).await;
    assert!(matches!(sent, Err(Error::HttpResponseTimeout)), "{sent:?}");
}

#[tokio::test]
async fn a_body_that_comes_drop_by_drop_ends_with_the_call() {
    let address = dripping("HTTP/1.1 200 OK\r\n\r\n", "y").await;
    let mut call = within(everything(address), 300);
    let response = send(&mut call, request(&format!("http://{address}/"), "")).await.unwrap();
    let started = StdInstant::now();
    // The parts keep coming within their time; that of the call runs out all the same, which drops the body.
    let read = tokio::time::timeout(Duration::from_millis(300), whole(response)).await;
    assert!(!matches!(read, Ok(Ok(_))), "{read:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_pause_longer_than_the_plugin_allows_is_an_error() {
    let address = raw("127.0.0.1", |mut stream, _| async move {
        _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nbegun").await;
        std::future::pending::<()>().await;
    })
    .await
    .0;
    let mut call = within(everything(address), 60_000);
    let long = Duration::from_secs(60);
    let options = times(long, long, Duration::from_millis(50));
    let sent = send_with(&mut call, request(&format!("http://{address}/"), ""), options).await;
    let read = whole(sent.unwrap()).await;
    assert!(matches!(read, Err(Error::ConnectionReadTimeout)), "{read:?}");
    assert!(call.failures()[0].contains("the response's body stopped coming"), "{:?}", call.failures());
}

#[tokio::test]
async fn times_of_nothing_and_of_eternity_are_taken_as_they_are() {
    let address = server().await;
    let url = format!("http://{address}/echo/a");
    let eternity = Duration::from_nanos(u64::MAX);
    let mut patient = within(everything(address), 10_000);
    let sent = send_with(&mut patient, request(&url, "x"), times(eternity, eternity, Duration::MAX)).await;
    assert!(text(sent.unwrap()).await.ends_with("\n\nx"));
    let silent = format!("http://{address}/silent");
    let mut waiting = within(everything(address), 200);
    let sent = send_with(&mut waiting, request(&silent, ""), times(eternity, eternity, eternity)).await;
    assert!(matches!(sent, Err(Error::HttpResponseTimeout)), "{sent:?}");
    let (zero, second) = (Duration::ZERO, Duration::from_secs(1));
    for options in [times(zero, second, second), times(second, zero, second)] {
        let sent = send_with(&mut patient, request(&silent, ""), options).await;
        assert!(matches!(sent, Err(Error::ConnectionTimeout | Error::HttpResponseTimeout)), "{sent:?}");
    }
    let dripping = dripping("HTTP/1.1 200 OK\r\n\r\n", "y").await;
    let mut hasty = within(everything(dripping), 10_000);
    let options = times(second, second, zero);
    let response = send_with(&mut hasty, request(&format!("http://{dripping}/"), ""), options).await;
    let read = whole(response.unwrap()).await;
    assert!(matches!(read, Err(Error::ConnectionReadTimeout)), "{read:?}");
}

#[tokio::test]
async fn a_handshake_that_never_completes_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut call = within(grants(&[format!("POST https://{address}/")], &["127.0.0.1"], &[]), 200);
    let sent = send(&mut call, request(&format!("https://{address}/"), "")).await;
    assert!(matches!(sent, Err(Error::ConnectionTimeout)), "{sent:?}");
    assert!(call.failures()[0].contains("TLS handshake"), "{:?}", call.failures());
    drop(listener);
}
