//! Secrets on the way out and back: they go only where they may, and nothing that a server says of them is passed on.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::*;
use crate::plugin::secrets::SecretKind;

const VALUE: &str = "T000/B000/hush\"hush";

/// A server that answers every request by what `answer` makes of its head and its body.
async fn repeating(answer: impl Fn(&str, &str) -> String + Clone + Send + 'static) -> SocketAddr {
    raw("127.0.0.1", move |mut stream, head| {
        let answer = answer.clone();
        async move {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            stream.read_exact(&mut body).await.unwrap();
            let text = answer(&head, &String::from_utf8(body).unwrap());
            for part in text.as_bytes().chunks(3) {
                _ = stream.write_all(part).await;
                _ = stream.flush().await;
                tokio::task::yield_now().await;
            }
        }
    })
    .await
    .0
}

fn knowing(address: SocketAddr, secrets: Secrets) -> EgressCall {
    call_within(everything(address), secrets, Duration::from_secs(10))
}

/// A request with the secret in this header.
fn carrying(address: SocketAddr, header: &'static str, value: &str) -> Request<WasiBody> {
    let mut request = request(&format!("http://{address}/"), "");
    request.headers_mut().insert(header, value.parse().unwrap());
    request
}

#[tokio::test]
async fn what_a_server_repeats_in_headers_body_and_trailers_is_replaced() {
    let address = repeating(|head, _| {
        let found = head.lines().find_map(|line| line.strip_prefix("x-key: ")).unwrap();
        assert_eq!(found, VALUE);
        let json = serde_json::to_string(found).unwrap();
        let base64 = STANDARD.encode(format!("user:{found}"));
        let body = format!("{found}|{json}|{base64}|T000%2FB000%2Fhush%22hush|T000/B000/hush");
        format!(
            "HTTP/1.1 401 Unauthorized\r\nwww-authenticate: Key realm=\"{found}\"\r\nx-length: {}\r\n\
             transfer-encoding: chunked\r\ntrailer: x-end\r\n\r\n{:x}\r\n{body}\r\n0\r\nx-end: {found}\r\n\r\n",
            body.len(),
            body.len(),
        )
    })
    .await;
    let mut call = knowing(address, token(VALUE));
    let response = send(&mut call, carrying(address, "x-key", "${secret:TOKEN}")).await.unwrap();
    assert_eq!(response.headers()["www-authenticate"], "Key realm=\"[secret]\"");
    let collected = response.into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().unwrap()["x-end"], "[secret]");
    let body = String::from_utf8(collected.to_bytes().to_vec()).unwrap();
    let parts: Vec<_> = body.split('|').collect();
    assert_eq!((parts[0], parts[1], parts[3]), ("[secret]", "\"[secret]\"", "[secret]"));
    assert!(parts[2].contains("[secret]"), "{body}");
    assert_eq!(parts[4], "T000/B000/hush", "what only begins like a secret is no secret");
}

#[tokio::test]
async fn the_whole_header_that_was_made_of_a_secret_is_replaced() {
    let table: [(SecretKind, Option<&str>, &str); 2] =
        [(SecretKind::Bearer, None, "Bearer [secret]"), (SecretKind::Basic, Some("user"), "Basic [secret]")];
    for (kind, username, expected) in table {
        let address = repeating(|head, _| {
            let found = head.lines().find_map(|line| line.strip_prefix("authorization: ")).unwrap();
            format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{found}", found.len())
        })
        .await;
        let secrets = secret("hush hush hush", |config| {
            (config.kind, config.username) = (kind, username.map(str::to_owned));
        });
        let mut call = knowing(address, secrets);
        let sent = send(&mut call, carrying(address, "authorization", "${secret:TOKEN}")).await.unwrap();
        assert!(!sent.headers().contains_key("content-length"), "it is not the length that is read");
        assert_eq!(text(sent).await, expected);
    }
}

#[tokio::test]
async fn a_secret_that_was_left_at_a_server_does_not_come_back_by_another_request() {
    let address = answering(format!("HTTP/1.1 200 OK\r\n\r\nkept: {VALUE}")).await;
    let mut call = knowing(address, token(VALUE));
    let sent = send(&mut call, request(&format!("http://{address}/"), "")).await.unwrap();
    assert_eq!(text(sent).await, "kept: [secret]");
}

/// What one receiver of a plugin stores at a server, another receiver, or another plugin, does not get to read.
#[tokio::test]
async fn a_secret_that_another_plugin_left_at_a_server_does_not_come_back() {
    let address = answering(format!("HTTP/1.1 200 OK\r\nx-kept: {VALUE}\r\n\r\nkept: {VALUE}")).await;
    let granted = |names: &[&str]| grants(&[format!("* http://{address}/**")], &["127.0.0.0/8"], names);
    let [own, other] = [granted(&["TOKEN"]), granted(&[])].map(|granted| egress(granted, token(VALUE), ""));
    let receiver = other.with_secrets(&["TOKEN".to_owned()]);
    for egress in [own, other, receiver] {
        let mut call = call_of(&Arc::new(egress), Duration::from_secs(10));
        let sent = send(&mut call, request(&format!("http://{address}/"), "")).await.unwrap();
        assert_eq!(sent.headers()["x-kept"], "[secret]");
        assert_eq!(text(sent).await, "kept: [secret]");
    }
    let elsewhere = secret(VALUE, |config| config.hosts = vec!["hooks.example".to_owned()]);
    let mut call = call_within(granted(&[]), elsewhere, Duration::from_secs(10));
    let sent = send(&mut call, request(&format!("http://{address}/"), "")).await.unwrap();
    assert_eq!(
        text(sent).await,
        format!("kept: {VALUE}"),
        "a secret that cannot be there is not searched for"
    );
}

/// What the server sends before it waits for `more`, and after that.
async fn in_two_parts(first: &'static str, second: &'static str) -> (SocketAddr, Arc<tokio::sync::Notify>) {
    let more = Arc::new(tokio::sync::Notify::new());
    let asked = more.clone();
    let answer = move |mut stream: TcpStream, _| {
        let asked = asked.clone();
        async move {
            _ = stream.write_all(format!("HTTP/1.1 200 OK\r\n\r\n{first}").as_bytes()).await;
            asked.notified().await;
            _ = stream.write_all(second.as_bytes()).await;
        }
    };
    (raw("127.0.0.1", answer).await.0, more)
}

#[tokio::test]
async fn a_body_streams_only_if_there_is_nothing_to_search_for() {
    let (address, more) = in_two_parts("one ", "two").await;
    let mut call = knowing(address, Secrets::default());
    let sent = send(&mut call, request(&format!("http://{address}/"), "")).await.unwrap();
    let mut body = sent.into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "one ");
    more.notify_one();
    assert_eq!(body.collect().await.unwrap().to_bytes(), "two");
    // Of the value, of another one: the reads end at the same place, at the end of the body.
    for first in ["(T000/B000/hush", "(T000/B000/husk"] {
        let (address, more) = in_two_parts(first, ")").await;
        let mut call = knowing(address, token(VALUE));
        let sent = send(&mut call, request(&format!("http://{address}/"), "")).await.unwrap();
        let mut body = sent.into_body();
        let early = tokio::time::timeout(Duration::from_millis(100), body.frame()).await;
        assert!(early.is_err(), "{early:?}");
        more.notify_one();
        assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), format!("{first})"));
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn a_pause_is_an_error_whether_a_secret_may_have_begun_or_not() {
    for first in ["(T000/B000/hush", "(T000/B000/husk"] {
        let (address, _more) = in_two_parts(first, ")").await;
        let mut call = knowing(address, token(VALUE));
        let between_bytes_timeout = Some(Duration::from_millis(50));
        let options = RequestOptions { between_bytes_timeout, ..RequestOptions::default() };
        let sent = send_with(&mut call, request(&format!("http://{address}/"), ""), Some(options)).await;
        let mut body = sent.unwrap().into_body();
        let first = body.frame().await.unwrap();
        assert!(matches!(first, Err(Error::ConnectionReadTimeout)), "{first:?}");
        assert!(body.frame().await.is_none());
    }
}

#[tokio::test]
async fn a_body_that_is_searched_has_the_same_limit() {
    let expected = "the response's body is too large: the limit is response-body = \"1 KiB\"";
    let address = server().await;
    let egress = Arc::new(egress(everything(address), token(VALUE), "response-body = \"1KiB\""));
    let mut call = call_of(&egress, Duration::from_secs(10));
    let sent = send(&mut call, request(&format!("http://{address}/endless"), "")).await.unwrap();
    assert!(matches!(whole(sent).await, Err(Error::HttpResponseBodySize(Some(1025)))));
    assert!(call.failures()[0].contains(expected), "{:?}", call.failures());
}

/// A server can send a byte at a time, and what holds one takes more than that.
#[tokio::test]
async fn a_body_in_single_bytes_is_one_piece() {
    let body = "1\r\na\r\n".repeat(5_000);
    let head = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
    let address = answering(format!("{head}{body}0\r\n\r\n")).await;
    let mut call = knowing(address, token(VALUE));
    let sent = send(&mut call, request(&format!("http://{address}/"), "")).await.unwrap();
    assert_eq!(sent.into_body().frame().await.unwrap().unwrap().into_data().unwrap().len(), 5_000);
}

#[tokio::test]
async fn an_answer_that_cannot_be_searched_is_neither_asked_for_nor_passed_on() {
    let echo = server().await;
    let mut asking = request(&format!("http://{echo}/echo/a"), "");
    asking.headers_mut().insert("accept-encoding", "gzip, br".parse().unwrap());
    asking.headers_mut().insert("range", "bytes=0-3".parse().unwrap());
    let got = text(send(&mut knowing(echo, token(VALUE)), asking).await.unwrap()).await;
    assert!(got.contains("accept-encoding: identity\n") && !got.contains("range:"), "{got}");
    for (header, is_coding) in [
        ("content-encoding: gzip", true),
        ("content-encoding: identity, br", true),
        ("content-encoding: T000/B000/hush\"hush", true),
        ("transfer-encoding: gzip, chunked", true),
        ("content-encoding: Identity", false),
        ("content-encoding:", false),
    ] {
        let address = answering(format!("HTTP/1.1 200 OK\r\n{header}\r\n\r\n0\r\n\r\n")).await;
        let mut call = knowing(address, token(VALUE));
        let sent = send(&mut call, request(&format!("http://{address}/"), "")).await;
        let refused = matches!(
            sent,
            Err(Error::HttpResponseContentCoding(None) | Error::HttpResponseTransferCoding(None))
        );
        assert_eq!(refused, is_coding, "{header}: {sent:?}");
        assert!(!format!("{sent:?}").contains("hush"), "{sent:?}");
        let said = call.failures().join("\n");
        assert_eq!(said.contains("must be searched for it, and that cannot be"), is_coding, "{said}");
        assert!(!said.contains("hush"), "{said}");
    }
}

#[tokio::test]
async fn a_plugin_without_secrets_may_ask_for_and_get_what_it_likes() {
    let echo = server().await;
    let mut asking = request(&format!("http://{echo}/echo/a"), "");
    asking.headers_mut().insert("accept-encoding", "gzip".parse().unwrap());
    asking.headers_mut().insert("range", "bytes=0-3".parse().unwrap());
    let got = text(send(&mut knowing(echo, Secrets::default()), asking).await.unwrap()).await;
    assert!(got.contains("accept-encoding: gzip\n") && got.contains("range: bytes=0-3\n"), "{got}");
}

#[tokio::test]
async fn a_secret_does_not_go_to_a_host_that_it_does_not_list() {
    let (address, connections) = raw("127.0.0.1", |_, _| async {}).await;
    let elsewhere = secret(VALUE, |config| config.hosts = vec!["hooks.example".to_owned()]);
    let url = format!("http://{address}/${{secret:TOKEN}}");
    let mut call = knowing(address, elsewhere.clone());
    let mut requests = vec![request(&url, "")];
    requests.push(request(&format!("http://{address}/?k=%24%7Bsecret%3ATOKEN%7D"), ""));
    requests.push(carrying(address, "x-key", "a ${secret:TOKEN} b"));
    requests.push(carrying(address, "authorization", "Bearer ${secret:TOKEN}"));
    for request in requests {
        let sent = send(&mut call, request).await;
        assert!(matches!(sent, Err(Error::HttpRequestDenied)), "{sent:?}");
    }
    assert_eq!(connections.load(SeqCst), 0);
    let said = call.failures().join("\n");
    assert!(said.contains("may not go to 127.0.0.1") && !said.contains("hush"), "{said}");
}

#[tokio::test]
async fn a_body_is_filled_for_the_placeholder_of_this_call_alone() {
    let address = repeating(|_, body| format!("HTTP/1.1 200 OK\r\n\r\n{}", body.len())).await;
    let config = GrantsConfig {
        http: vec![format!("* http://{address}/**")],
        private_networks: vec!["127.0.0.1".to_owned()],
        secrets_in_body: vec!["TOKEN".to_owned()],
        ..GrantsConfig::default()
    };
    let egress = Arc::new(egress(config.try_into().unwrap(), token(VALUE), ""));
    let template = "{\"routing_key\":\"${secret:TOKEN}\"}".to_owned();
    let settings = [("body".to_owned(), template.clone())].into();
    let mut call = call_of(&egress, Duration::from_secs(10));
    let own = call.mark(&settings)[0].1.clone();
    let other = call_of(&egress, Duration::from_secs(10)).mark(&settings)[0].1.clone();
    let filled = template.replace("${secret:TOKEN}", "T000/B000/hush\\\"hush");
    for (body, arrives) in [(own, filled), (template.clone(), template), (other.clone(), other)] {
        let sent = send(&mut call, request(&format!("http://{address}/"), body)).await.unwrap();
        assert_eq!(text(sent).await, arrives.len().to_string());
    }
}

#[tokio::test]
async fn a_placeholder_in_a_body_that_is_not_granted_is_refused_with_the_line_to_add() {
    let (address, connections) = raw("127.0.0.1", |_, _| async {}).await;
    let mut call = knowing(address, token(VALUE));
    let settings = call.mark(&[("key".to_owned(), "${secret:TOKEN}".to_owned())].into());
    let sent = send(&mut call, request(&format!("http://{address}/"), settings[0].1.clone())).await;
    assert!(matches!(sent, Err(Error::HttpRequestDenied)), "{sent:?}");
    let expected = format!(
        "POST http://{address}/: secret TOKEN is not granted for bodies; to allow it, add to [grants]: \
         secrets-in-body = [\"TOKEN\"]"
    );
    assert_eq!(call.failures(), [expected]);
    assert_eq!(connections.load(SeqCst), 0);
}

#[tokio::test]
async fn a_request_is_signed_for_aws_as_it_is_sent() {
    let address = server().await;
    let secrets = secret("wJalrXUtnFEMI", |config| {
        let given = |text: &str| Some(text.to_owned());
        config.kind = SecretKind::Sigv4;
        (config.access_key_id, config.region, config.service) =
            (given("AKIDEXAMPLE"), given("eu-central-1"), given("sns"));
    });
    let mut request = request(&format!("http://{address}/echo/a?b=c"), "Action=Publish");
    request.headers_mut().insert("authorization", "${secret:TOKEN}".parse().unwrap());
    request.headers_mut().insert("content-type", "application/x-www-form-urlencoded".parse().unwrap());
    let got = text(send(&mut knowing(address, secrets), request).await.unwrap()).await;
    let header = |name: &str| got.lines().find_map(|line| line.strip_prefix(&format!("{name}: "))).unwrap();
    let (date, authorization) = (header("x-amz-date"), header("authorization"));
    let scope = format!("AKIDEXAMPLE/{}/eu-central-1/sns/aws4_request", &date[..8]);
    let signed = "content-type;host;x-amz-content-sha256;x-amz-date";
    let start = format!("AWS4-HMAC-SHA256 Credential={scope}, SignedHeaders={signed}, Signature=");
    assert!(authorization.starts_with(&start), "{authorization}");
    assert_eq!(header("host"), address.to_string());
    assert!(!got.contains("wJalrXUtnFEMI"), "{got}");
}
