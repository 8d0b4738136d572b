//! What one call may use up of the network; every limit says its name and value.

use super::*;
use crate::plugin::descriptors::Descriptors;
use crate::plugin::egress::journal::Traffic;

fn url(address: SocketAddr, path: &str) -> String {
    format!("http://{address}{path}")
}

/// The text of the last failure, without the request it is about.
fn said(call: &EgressCall) -> String {
    let failures = call.failures();
    failures.last().unwrap().split_once(": ").unwrap().1.to_owned()
}

#[tokio::test]
async fn the_number_of_requests_is_bounded_and_so_is_what_is_said_of_it() {
    let address = server().await;
    let mut call = limited(address, "requests = 3");
    for _ in 0..3 {
        send(&mut call, request(&url(address, "/echo/a"), "")).await.unwrap();
    }
    for _ in 0..100 {
        let over = send(&mut call, request(&url(address, "/echo/a"), "")).await;
        assert!(matches!(over, Err(Error::ConnectionLimitReached)));
    }
    let expected =
        "a call may send no more requests: the limit is requests = 3; to allow more, raise it in [limits]";
    assert_eq!(said(&call), expected);
    assert_eq!(call.failures().len(), 4);
    let Traffic { requests, denied, .. } = call.traffic();
    assert_eq!((requests, denied), (103, 100));
}

#[tokio::test]
async fn ten_thousand_requests_at_once_are_ten_requests() {
    let address = server().await;
    let mut call = limited(address, "");
    let sent: Vec<_> = (0..10_000)
        .map(|_| {
            let request = request(&url(address, "/echo/a"), "x");
            Box::into_pin(call.send_request(request, None, Box::new(async { Ok(()) })))
        })
        .collect();
    // As the runtime of the plugin has them: driven at the same time, each answer read to its end.
    let read = sent.into_iter().map(|sent| async { whole(sent.await?.0).await });
    let ended = futures::future::join_all(read).await;
    assert_eq!(ended.iter().filter(|result| result.is_ok()).count(), 10);
    assert_eq!(call.failures().len(), 11);
}

#[tokio::test]
async fn the_size_of_a_request_is_bounded() {
    let address = server().await;
    let mut call = limited(address, "request-body = \"1KiB\"");
    assert!(send(&mut call, request(&url(address, "/echo/a"), vec![b'x'; 1024])).await.is_ok());
    let large = send(&mut call, request(&url(address, "/echo/a"), vec![b'x'; 1025])).await;
    assert!(matches!(large, Err(Error::HttpRequestBodySize(Some(1025)))));
    let expected = "the request's body is too large: the limit is request-body = \"1 KiB\"; to allow more, raise it in [limits]";
    assert_eq!(said(&call), expected);
}

#[tokio::test]
async fn the_size_of_an_answer_is_bounded_announced_or_not() {
    let expected = "the response's body is too large: the limit is response-body = \"1 KiB\"; to allow more, raise it in [limits]";
    let limits = "response-body = \"1KiB\"";
    let announced = answering("HTTP/1.1 200 OK\r\ncontent-length: 1025\r\n\r\n").await;
    let mut call = limited(announced, limits);
    let sent = send(&mut call, request(&url(announced, "/"), "")).await;
    assert!(matches!(sent, Err(Error::HttpResponseBodySize(Some(1025)))), "{sent:?}");
    assert_eq!(said(&call), expected);
    let endless = server().await;
    let mut call = limited(endless, limits);
    let sent = send(&mut call, request(&url(endless, "/endless"), "")).await.unwrap();
    assert!(matches!(whole(sent).await, Err(Error::HttpResponseBodySize(Some(1025)))));
    assert_eq!(said(&call), expected);
    let fits = [b"HTTP/1.1 200 OK\r\n\r\n".as_slice(), &[b'x'; 1024]].concat();
    let exact = answering(fits).await;
    let sent = send(&mut limited(exact, limits), request(&url(exact, "/"), "")).await.unwrap();
    assert_eq!(whole(sent).await.unwrap().len(), 1024);
}

#[tokio::test]
async fn the_head_of_an_answer_is_bounded_in_size_and_number() {
    let expected = "the response's head is above one of the limits response-head = \"64 KiB\" and \
                    response-headers = 100; to allow more, raise it in [limits]";
    let large = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(64 << 10));
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(101));
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "a: b\r\n".repeat(1_000_000));
    for answer in [large, many, endless] {
        let address = answering(answer).await;
        let mut call = limited(address, "");
        let sent = send(&mut call, request(&url(address, "/"), "")).await;
        assert!(matches!(sent, Err(Error::HttpResponseHeaderSectionSize(_))), "{sent:?}");
        assert_eq!(said(&call), expected);
        assert!(call.traffic().bytes_in <= 128 << 10, "{:?}", call.traffic());
    }
    let allowed = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200));
    let address = answering(allowed).await;
    let mut call = limited(address, "response-headers = 200");
    let sent = send(&mut call, request(&url(address, "/"), "")).await.unwrap();
    assert_eq!(sent.headers().get_all("a").iter().count(), 200);
}

#[tokio::test]
async fn connections_are_bounded_over_all_calls_and_given_back() {
    let (address, connections) = raw("127.0.0.1", |mut stream, _| async move {
        _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nbegun").await;
        // Until the other side closes.
        _ = stream.read_u8().await;
    })
    .await;
    let egress = Arc::new(egress(everything(address), Secrets::default(), "connections = 2"));
    let mut first = call_of(&egress, Duration::from_secs(10));
    let held = send(&mut first, request(&url(address, "/"), "")).await.unwrap();
    let mut second = call_of(&egress, Duration::from_secs(10));
    let held_too = send(&mut second, request(&url(address, "/"), "")).await.unwrap();
    let mut third = call_of(&egress, Duration::from_millis(100));
    let sent = send(&mut third, request(&url(address, "/"), "")).await;
    assert!(matches!(sent, Err(Error::ConnectionLimitReached)), "{sent:?}");
    let expected = "no other connection of the plugin was closed in time: the limit is connections = 2; to allow \
                    more, raise it in [limits]";
    assert_eq!(said(&third), expected);
    assert_eq!(connections.load(SeqCst), 2);
    let mut fourth = call_of(&egress, Duration::from_secs(10));
    let waiting = send(&mut fourth, request(&url(address, "/"), ""));
    // A call that ends gives back what it held, whether its plugin read it or not.
    let ending = async { drop((first, held)) };
    let (sent, ()) = futures::future::join(waiting, ending).await;
    assert!(sent.is_ok(), "{sent:?}");
    drop(held_too);
    assert_eq!(egress.places.available_permits(), 1);
}

#[tokio::test]
async fn a_connection_that_fails_is_given_back_too() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let egress = Arc::new(egress(everything(address), Secrets::default(), "connections = 1"));
    let mut call = call_of(&egress, Duration::from_secs(10));
    for _ in 0..3 {
        let sent = send(&mut call, request(&url(address, "/"), "")).await;
        assert!(matches!(sent, Err(Error::ConnectionRefused)), "{sent:?}");
    }
    assert_eq!(egress.places.available_permits(), 1);
}

#[tokio::test]
async fn a_connection_is_closed_when_the_plugin_lets_go_of_the_answer() {
    let (closed, mut seen) = tokio::sync::mpsc::unbounded_channel();
    let (address, _) = raw("127.0.0.1", move |mut stream, _| {
        let closed = closed.clone();
        async move {
            _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\nbegun").await;
            _ = closed.send(stream.read_u8().await.is_err());
        }
    })
    .await;
    let response = send(&mut limited(address, ""), request(&url(address, "/"), "")).await.unwrap();
    drop(response);
    assert_eq!(tokio::time::timeout(Duration::from_secs(10), seen.recv()).await.unwrap(), Some(true));
}

#[tokio::test]
async fn what_was_sent_and_received_is_counted() {
    let answer = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    let address = answering(answer).await;
    let mut call = limited(address, "");
    let sent = send(&mut call, request(&url(address, "/a?b"), "body")).await.unwrap();
    assert_eq!(text(sent).await, "hello");
    let agent = format!("campanile/{}", env!("CARGO_PKG_VERSION"));
    let request = format!(
        "POST /a?b HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\nuser-agent: {agent}\r\ncontent-length: 4\r\n\r\nbody"
    );
    let expected =
        Traffic { requests: 1, denied: 0, bytes_out: request.len() as u64, bytes_in: answer.len() as u64 };
    assert_eq!(call.traffic(), expected);
}

#[tokio::test]
async fn descriptors_are_bounded_over_all_plugins_and_given_back() {
    let address = server().await;
    let shared = Descriptors::new(1);
    let plugin = || {
        let mut egress = egress(everything(address), Secrets::default(), "");
        egress.connector.descriptors = shared.clone();
        call_of(&Arc::new(egress), Duration::from_millis(300))
    };
    let (mut one, mut other) = (plugin(), plugin());
    let held = send(&mut one, request(&url(address, "/endless"), "")).await.unwrap();
    let waiting = send(&mut other, request(&url(address, "/echo/a"), "")).await;
    assert!(matches!(waiting, Err(Error::ConnectionLimitReached)), "{waiting:?}");
    assert!(said(&other).contains("all 1 files and connections"), "{}", said(&other));
    drop(held);
    let mut third = plugin();
    for _ in 0..5 {
        let answer = send(&mut third, request(&url(address, "/echo/a"), "")).await;
        assert!(whole(answer.unwrap()).await.is_ok());
    }
}
