//! Requests over real sockets to servers on loopback, with and without the grants for it. Beside what is here: which
//! addresses (`destinations`), what servers may answer (`answers`), slow ones (`slow`), limits (`limits`), the host's
//! own services (`off_limits`), secrets (`secrets`), parts of answers (`parts`), what a plugin sees of secrets in answers at
//! random (`traces`), and URLs at random (`urls`).

mod answers;
mod destinations;
mod limits;
mod off_limits;
mod parts;
mod secrets;
mod slow;
mod traces;
mod urls;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Instant as StdInstant;

use axum::Router;
use axum::body::Body as AxumBody;
use axum::extract::Request as AxumRequest;
use axum::routing::{any, post};
use bytes::Bytes;
use http::{HeaderName, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use wasmtime_wasi_http::{RequestOptions, WasiHttpHooks};

use super::resolver::Resolver;
use super::resolver::table::Table;
use super::*;
use crate::plugin::Role;
use crate::plugin::grants::GrantsConfig;
use crate::plugin::limits::Limits;
use crate::plugin::secrets::{SecretConfig, Secrets};

/// Answers with the request as it came: its line, headers and body.
async fn echo(request: AxumRequest) -> String {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
    let headers: Vec<_> =
        head.headers.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
    format!("{} {}\n{}\n\n{}", head.method, head.uri, headers.join("\n"), String::from_utf8_lossy(&body))
}

async fn endless() -> AxumBody {
    AxumBody::from_stream(futures::stream::repeat_with(|| {
        Ok::<_, std::io::Error>(Bytes::from(vec![0; 65536]))
    }))
}

async fn server() -> SocketAddr {
    let router = Router::new()
        .route("/echo/{*rest}", any(echo))
        .route("/redirect", post(|| async { (StatusCode::FOUND, [("location", "http://169.254.169.254/")]) }))
        .route("/endless", post(endless))
        .route("/silent", post(std::future::pending::<()>));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

/// A server that does as it is told with each connection, once a request's head was read; and how many it had.
async fn raw<F>(
    at: &str,
    answer: impl Fn(TcpStream, String) -> F + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((at, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            counter.fetch_add(1, SeqCst);
            let head = read_head(&mut stream).await;
            tokio::spawn(answer(stream, head));
        }
    });
    (address, connections)
}

async fn read_head(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { break };
        head.push(byte);
    }
    String::from_utf8(head).unwrap()
}

/// A server that gives every request these bytes and closes the connection.
async fn answering(bytes: impl Into<Bytes>) -> SocketAddr {
    let bytes = bytes.into();
    let answer = move |mut stream: TcpStream, _| {
        let bytes = bytes.clone();
        async move {
            _ = stream.write_all(&bytes).await;
            _ = stream.shutdown().await;
        }
    };
    raw("127.0.0.1", answer).await.0
}

fn grants(http: &[String], networks: &[&str], secrets: &[&str]) -> Grants {
    let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
    let config = GrantsConfig {
        http: http.to_vec(),
        private_networks: owned(networks),
        secrets: owned(secrets),
        ..GrantsConfig::default()
    };
    config.try_into().unwrap()
}

fn everything(address: SocketAddr) -> Grants {
    grants(&[format!("* http://{address}/**")], &["127.0.0.0/8"], &["TOKEN"])
}

/// A way out with the limits that this part of a sidecar sets.
fn egress(grants: Grants, secrets: Secrets, limits: &str) -> Egress {
    let limits: Limits = toml::from_str(limits).unwrap();
    let bounds = limits.over(&Limits::default(), Role::Notifier).http;
    Egress::new("test", grants, secrets, bounds, Connector::new(&EgressConfig::default()).unwrap())
}

fn call_of(egress: &Arc<Egress>, deadline: Duration) -> EgressCall {
    EgressCall::new(egress.clone(), "a".into(), StdInstant::now() + deadline)
}

fn call_within(grants: Grants, secrets: Secrets, deadline: Duration) -> EgressCall {
    call_of(&Arc::new(egress(grants, secrets, "")), deadline)
}

fn call(grants: Grants) -> EgressCall {
    call_within(grants, Secrets::default(), Duration::from_secs(10))
}

fn limited(address: SocketAddr, limits: &str) -> EgressCall {
    let egress = egress(everything(address), Secrets::default(), limits);
    call_of(&Arc::new(egress), Duration::from_secs(10))
}

async fn send(call: &mut EgressCall, request: Request<WasiBody>) -> Result<Response<WasiBody>, Error> {
    send_with(call, request, None).await
}

async fn send_with(
    call: &mut EgressCall,
    request: Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Result<Response<WasiBody>, Error> {
    let sent = call.send_request(request, options, Box::new(async { Ok(()) }));
    Box::into_pin(sent).await.map(|(response, _)| response)
}

fn request(url: &str, body: impl Into<Bytes>) -> Request<WasiBody> {
    let body = Full::new(body.into()).map_err(|never| match never {}).boxed_unsync();
    Request::post(url).body(body).unwrap()
}

async fn whole(response: Response<WasiBody>) -> Result<Bytes, Error> {
    Ok(response.into_body().collect().await?.to_bytes())
}

async fn text(response: Response<WasiBody>) -> String {
    String::from_utf8(whole(response).await.unwrap().to_vec()).unwrap()
}

/// The secret TOKEN, a text that may go to this machine.
fn token(value: &str) -> Secrets {
    secret(value, |_| ())
}

/// The same, changed.
fn secret(value: &str, change: impl Fn(&mut SecretConfig)) -> Secrets {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, value).unwrap();
    let hosts = vec!["127.0.0.1".to_owned()];
    let mut config = SecretConfig { file: Some(file.path().into()), hosts, ..SecretConfig::default() };
    change(&mut config);
    Secrets::load(BTreeMap::from([("TOKEN".to_owned(), config)])).unwrap()
}

#[tokio::test]
async fn a_granted_request_arrives_as_the_host_writes_it() {
    let address = server().await;
    let mut call = call(everything(address));
    let mut request = request(&format!("http://{address}/x/../echo/a?q=1"), "hello");
    request.headers_mut().insert("content-length", "999".parse().unwrap());
    request.headers_mut().insert("x-own", "kept".parse().unwrap());
    let got = text(send(&mut call, request).await.unwrap()).await;
    assert!(got.starts_with("POST /echo/a?q=1\n"), "{got}");
    let user_agent = format!("user-agent: campanile/{}", env!("CARGO_PKG_VERSION"));
    for line in
        [&format!("host: {address}"), "content-length: 5", "x-own: kept", "connection: close", &user_agent]
    {
        assert!(got.lines().any(|found| found == line), "{line} in {got}");
    }
    assert!(got.ends_with("\n\nhello") && call.failures().is_empty(), "{got}");
}

#[tokio::test]
async fn without_grants_nothing_is_dialled_and_the_text_says_what_to_write() {
    let address = server().await;
    let url = format!("http://{address}/echo/a?token=x");
    let mut denied = call(Grants::none());
    assert!(matches!(send(&mut denied, request(&url, "")).await, Err(Error::HttpRequestDenied)));
    let expected = format!(
        "POST http://{address}/echo/a: it is not granted; to allow it, add to [grants]: \
         http = [\"POST http://{address}/echo/a\"]"
    );
    assert_eq!(denied.failures(), [expected]);
    // What a wildcard never covers.
    let mut denied = call(grants(&[format!("POST http://{address}/echo/*")], &[], &[]));
    for segment in ["a%2fb", "..%00"] {
        _ = send(&mut denied, request(&format!("http://{address}/echo/{segment}"), "")).await;
    }
    let [written_out, never] = denied.failures().try_into().expect("two");
    let advice = format!("to allow it, add to [grants]: http = [\"POST http://{address}/echo/a%2fb\"]");
    assert!(
        written_out.contains("so `*` does not cover it") && written_out.ends_with(&advice),
        "{written_out}"
    );
    assert!(never.contains("it is not granted, and cannot be"), "{never}");
    let mut refused = call(grants(&[format!("POST http://{address}/**")], &["10.0.0.0/8"], &[]));
    assert!(matches!(send(&mut refused, request(&url, "")).await, Err(Error::DestinationIpProhibited)));
    assert!(
        refused.failures()[0].ends_with("private-networks = [\"127.0.0.1\"]"),
        "{:?}",
        refused.failures()
    );
}

#[tokio::test]
async fn a_redirect_is_handed_to_the_plugin() {
    let address = server().await;
    let response =
        send(&mut call(everything(address)), request(&format!("http://{address}/redirect"), "")).await;
    assert_eq!(response.unwrap().status(), StatusCode::FOUND);
}

#[tokio::test]
async fn a_secret_is_filled_in_and_named_by_its_placeholder_only() {
    let address = server().await;
    let secrets = token("v4lue-v4lue-v4lue");
    let url = format!("http://{address}/echo/${{secret:TOKEN}}");
    let mut allowed = call_within(everything(address), secrets.clone(), Duration::from_secs(10));
    let got = text(send(&mut allowed, request(&url, "")).await.unwrap()).await;
    assert!(got.starts_with("POST /echo/[secret]\n"), "{got}");
    let narrow = grants(&[format!("POST http://{address}/other")], &["127.0.0.1"], &["TOKEN"]);
    let mut denied = call_within(narrow, secrets, Duration::from_secs(10));
    assert!(matches!(send(&mut denied, request(&url, "")).await, Err(Error::HttpRequestDenied)));
    let said = denied.failures().join("\n");
    assert!(
        said.contains("${secret:TOKEN}") && said.contains("/echo/**") && !said.contains("v4lue"),
        "{said}"
    );
}

#[tokio::test]
async fn odd_requests_are_refused_before_anything_is_sent() {
    let mut call = call(grants(&["* https://a.example/**".to_owned()], &[], &[]));
    let sent = send(&mut call, request("https://user:pw@a.example/", "")).await;
    assert!(matches!(sent, Err(Error::HttpRequestUriInvalid)));
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let connect = Request::connect("https://a.example/").body(body).unwrap();
    assert!(matches!(send(&mut call, connect).await, Err(Error::HttpRequestMethodInvalid)));
    let long = format!("https://a.example/{}", "x".repeat(9000));
    assert!(matches!(send(&mut call, request(&long, "")).await, Err(Error::HttpRequestUriTooLong)));
    let header = |name: &'static str| call.is_forbidden_header(&HeaderName::from_static(name));
    assert!(["host", "connection", "te", "expect", "transfer-encoding"].into_iter().all(header));
}

#[tokio::test]
async fn a_header_cannot_make_another_request_of_the_granted_one() {
    let mut egress = egress(grants(&["* https://a.example/**".to_owned()], &[], &[]), Secrets::default(), "");
    egress.bounds.requests = 100;
    let mut call = call_of(&Arc::new(egress), Duration::from_secs(10));
    let headers = [
        "x-http-method-override",
        "X-HTTP-Method",
        "x-method-override",
        "x_http_method_override",
        "X-Original-URL",
        "x-original-method",
        "x-original-uri",
        "x_rewrite_url",
        "x-rewrite-uri",
        "x-forwarded-host",
        "x-forwarded-prefix",
        "x-forwarded-uri",
        "x-forwarded-path",
        "x-forwarded-proto",
        "x-forwarded-method",
        "X_Forwarded_For",
        "forwarded",
        "x-host",
        "x-override-url",
        "x-envoy-original-path",
        "request-uri",
        "SCRIPT_NAME",
        "x-http-verb-override",
        "destination",
        "Proxy-URL",
        "x_replaced_path",
    ];
    for name in headers {
        let mut request = request("https://a.example/", "");
        request
            .headers_mut()
            .insert(HeaderName::from_bytes(name.as_bytes()).unwrap(), "DELETE".parse().unwrap());
        let sent = send(&mut call, request).await;
        assert!(matches!(sent, Err(Error::HttpRequestDenied)), "{name}: {sent:?}");
        let said = call.failures().pop().unwrap_or_default();
        assert!(said.contains("can make a server see another method"), "{said}");
    }
}

#[tokio::test]
async fn nobody_listening_is_a_refused_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let mut call = call(everything(address));
    let sent = send(&mut call, request(&format!("http://{address}/"), "")).await;
    assert!(matches!(sent, Err(Error::ConnectionRefused)), "{sent:?}");
    assert!(call.failures()[0].contains(&format!("cannot connect to {address}")), "{:?}", call.failures());
}

/// A certificate for 127.0.0.1 and a server that presents it and answers `200` to whatever comes.
async fn tls_server(is_ca: rcgen::IsCa) -> (SocketAddr, String) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
    params.is_ca = is_ca;
    let certificate = params.self_signed(&key).unwrap();
    let pem = certificate.pem();
    let private = rustls::pki_types::PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config =
        rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], private)
            .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut head = [0; 4096];
            _ = stream.read(&mut head).await;
            _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
            _ = stream.shutdown().await;
        }
    });
    (address, pem)
}

#[tokio::test]
async fn tls_trusts_the_configured_authorities_and_no_others() {
    let (address, pem) = tls_server(rcgen::IsCa::NoCa).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, pem).unwrap();
    let trusting = EgressConfig { root_certificates: vec![file.path().into()], ..EgressConfig::default() };
    let granted = || grants(&[format!("POST https://{address}/")], &["127.0.0.1"], &[]);
    let through = |config: &EgressConfig| {
        let connector = Connector::new(config).unwrap();
        let egress = Egress { connector, ..egress(granted(), Secrets::default(), "") };
        call_of(&Arc::new(egress), Duration::from_secs(10))
    };
    let url = format!("https://{address}/");
    assert_eq!(text(send(&mut through(&trusting), request(&url, "")).await.unwrap()).await, "ok");
    let unknown = send(&mut through(&EgressConfig::default()), request(&url, "")).await;
    assert!(matches!(unknown, Err(Error::TlsCertificateError)), "{unknown:?}");
    file.close().unwrap();
    let faults = Connector::new(&trusting).err().unwrap();
    assert!(faults[0].to_string().starts_with("egress.root-certificates[0]: cannot be read"), "{faults:?}");
}

#[tokio::test]
async fn a_certificate_of_openssl_is_trusted_where_it_is_configured_itself() {
    let is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let (address, pem) = tls_server(is_ca).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, pem).unwrap();
    let trusting = EgressConfig { root_certificates: vec![file.path().into()], ..EgressConfig::default() };
    let through = |config: &EgressConfig| {
        let granted = grants(&[format!("POST https://{address}/")], &["127.0.0.1"], &[]);
        let connector = Connector::new(config).unwrap();
        call_of(
            &Arc::new(Egress { connector, ..egress(granted, Secrets::default(), "") }),
            Duration::from_secs(10),
        )
    };
    let url = format!("https://{address}/");
    assert_eq!(text(send(&mut through(&trusting), request(&url, "")).await.unwrap()).await, "ok");
    let mut unknown = through(&EgressConfig::default());
    let refused = send(&mut unknown, request(&url, "")).await;
    assert!(matches!(refused, Err(Error::TlsCertificateError)), "{refused:?}");
    assert!(unknown.failures()[0].contains("CA:FALSE"), "{:?}", unknown.failures());
}

#[tokio::test]
async fn plain_text_where_tls_is_expected_is_a_tls_error() {
    let address = server().await;
    let mut call = call(grants(&[format!("POST https://{address}/")], &["127.0.0.1"], &[]));
    let sent = send(&mut call, request(&format!("https://{address}/"), "")).await;
    assert!(matches!(sent, Err(Error::TlsProtocolError)), "{sent:?}");
}

#[test]
fn the_configuration_is_kebab_case_and_complete_by_default() {
    let config: EgressConfig = toml::from_str("connect-timeout = \"2s\"").unwrap();
    assert_eq!(config.connect_timeout, Duration::from_secs(2));
    assert!(toml::from_str::<EgressConfig>("connect_timeout = \"2s\"").is_err());
}
