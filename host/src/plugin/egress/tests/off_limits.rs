//! What no grant opens: the host's own listeners, Temporal and its web UI.

use std::net::{IpAddr, UdpSocket};

use super::*;
use crate::plugin::egress::off_limits::OffLimits;

const EVERY_ADDRESS: [&str; 2] = ["0.0.0.0/0", "::/0"];
/// This machine, as one may write it.
const HERE: [&str; 10] = [
    "127.0.0.1",
    "127.1",
    "2130706433",
    "0x7f.1",
    "0.0.0.0",
    "0",
    "localhost",
    "localhost.",
    "[::ffff:127.0.0.1]",
    "[::ffff:0.0.0.0]",
];

/// A server that counts its connections.
async fn counting(at: &str) -> (SocketAddr, Arc<AtomicUsize>) {
    raw(at, |mut stream, _| async move {
        _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    })
    .await
}

/// A call that may reach everything there is at this URL's host and port.
fn avoiding(off_limits: &OffLimits, url: &str, table: Option<&Arc<Table>>) -> EgressCall {
    let granted = grants(&[format!("* {url}**")], &EVERY_ADDRESS, &[]);
    let mut egress = egress(granted, Secrets::default(), "");
    egress.connector = egress.connector.avoiding(off_limits.clone());
    if let Some(table) = table {
        egress.connector.resolver = Resolver::Table(table.clone());
    }
    call_of(&Arc::new(egress), Duration::from_secs(10))
}

async fn is_refused(off_limits: &OffLimits, url: &str, what: &str, table: Option<&Arc<Table>>) {
    let mut call = avoiding(off_limits, url, table);
    let sent = send(&mut call, request(url, "")).await;
    assert!(matches!(sent, Err(Error::HttpRequestDenied)), "{url}: {sent:?}");
    let said = call.failures().join("; ");
    assert!(said.contains(what) && said.contains("no plugin may reach"), "{url}: {said}");
}

#[tokio::test]
async fn a_listener_of_the_host_is_dialled_in_no_notation() {
    let (address, connections) = counting("127.0.0.1").await;
    let off_limits = OffLimits::default();
    off_limits.add_listener("this host itself", address);
    for host in HERE {
        is_refused(&off_limits, &format!("http://{host}:{}/", address.port()), "this host itself", None)
            .await;
    }
    assert_eq!(connections.load(SeqCst), 0);
    let other = counting("127.0.0.1").await.0;
    let url = format!("http://{other}/");
    assert!(
        send(&mut avoiding(&off_limits, &url, None), request(&url, "")).await.is_ok(),
        "another port is another server"
    );
}

#[tokio::test]
async fn listeners_take_the_place_of_those_before_and_of_no_others() {
    let [host, before, after] =
        [counting("127.0.0.1").await.0, counting("127.0.0.1").await.0, counting("127.0.0.1").await.0];
    let off_limits = OffLimits::default();
    off_limits.add_listener("this host itself", host);
    off_limits.replace_listeners("a child", &[before]);
    off_limits.replace_listeners("a child", &[after]);
    is_refused(&off_limits, &format!("http://{host}/"), "this host itself", None).await;
    is_refused(&off_limits, &format!("http://{after}/"), "a child", None).await;
    let url = format!("http://{before}/");
    assert!(send(&mut avoiding(&off_limits, &url, None), request(&url, "")).await.is_ok());
}

#[tokio::test]
async fn a_listener_on_all_addresses_is_dialled_at_none() {
    for at in ["0.0.0.0", "[::]"] {
        let (address, connections) = counting("127.0.0.1").await;
        let off_limits = OffLimits::default();
        off_limits.add_listener("this host itself", format!("{at}:{}", address.port()).parse().unwrap());
        for host in HERE.into_iter().chain(["127.0.0.2", "127.255.255.254", "[::1]", "[::]"]) {
            let url = format!("http://{host}:{}/", address.port());
            is_refused(&off_limits, &url, "this host itself", None).await;
        }
        assert_eq!(connections.load(SeqCst), 0);
        // Of no machine, so not of this one.
        let url = format!("http://192.0.2.1:{}/", address.port());
        let options =
            RequestOptions { connect_timeout: Some(Duration::from_millis(1)), ..RequestOptions::default() };
        let sent = send_with(&mut avoiding(&off_limits, &url, None), request(&url, ""), Some(options)).await;
        assert!(!matches!(sent, Err(Error::HttpRequestDenied)), "{sent:?}");
    }
}

/// The addresses of this machine from which it would send to others. Nothing is sent.
#[expect(clippy::print_stderr, reason = "it says when there is nothing to test")]
fn addresses_beyond_loopback() -> Vec<IpAddr> {
    let ways = [("0.0.0.0:0", "192.0.2.1:9"), ("[::]:0", "[2001:db8::1]:9")].into_iter();
    let from = ways.filter_map(|(any, other)| {
        let socket = UdpSocket::bind(any).ok()?;
        socket.connect(other).ok()?;
        Some(socket.local_addr().ok()?.ip())
    });
    let found: Vec<_> = from.filter(|address| !address.is_loopback()).collect();
    if found.is_empty() {
        eprintln!("not tested: this machine sends to others from no address of its own");
    }
    found
}

#[tokio::test]
async fn a_listener_on_all_addresses_is_dialled_at_none_beyond_loopback() {
    let own = addresses_beyond_loopback();
    for at in ["0.0.0.0:9", "[::]:9"] {
        let off_limits = OffLimits::default();
        off_limits.add_listener("this host itself", at.parse().unwrap());
        for address in &own {
            let url = format!("http://{}/", SocketAddr::new(*address, 9));
            is_refused(&off_limits, &url, "this host itself", None).await;
        }
    }
}

#[tokio::test]
async fn temporal_is_known_by_its_address_whatever_it_is_called() {
    let (address, connections) = counting("127.0.0.1").await;
    let off_limits = OffLimits::default();
    off_limits.add_url("Temporal", &format!("http://temporal.internal:{}", address.port()));
    let names =
        [("temporal.internal", "127.0.0.1"), ("alias.example", "127.0.0.1"), ("other.example", "127.0.0.2")];
    let table = Arc::new(Table::of_all(&names));
    for host in ["temporal.internal", "alias.example", "127.0.0.1", "127.1"] {
        is_refused(&off_limits, &format!("http://{host}:{}/", address.port()), "Temporal", Some(&table))
            .await;
    }
    assert_eq!(connections.load(SeqCst), 0);
    let url = format!("http://other.example:{}/", address.port());
    let sent = send(&mut avoiding(&off_limits, &url, Some(&table)), request(&url, "")).await;
    assert!(matches!(sent, Err(Error::ConnectionRefused)), "{sent:?}");

    // Nobody knows where it is: then its port is closed.
    let unknown = OffLimits::default();
    unknown.add_url("Temporal", &format!("http://gone.internal:{}", address.port()));
    let url = format!("http://127.0.0.1:{}/", address.port());
    let mut call = avoiding(&unknown, &url, Some(&table));
    assert!(matches!(send(&mut call, request(&url, "")).await, Err(Error::HttpRequestDenied)));
    assert!(call.failures()[0].contains("gone.internal cannot be looked up"), "{:?}", call.failures());
    assert_eq!(connections.load(SeqCst), 0);
}

#[tokio::test]
async fn a_web_ui_behind_an_ingress_is_known_by_its_name() {
    let off_limits = OffLimits::default();
    off_limits.add_url("Temporal's web UI", "https://ui.example/");
    off_limits.add_url("nothing", "no URL");
    let table = Arc::new(Table::of_all(&[("ui.example", "127.0.0.1"), ("jira.example", "127.0.0.1")]));
    for host in ["ui.example", "UI.Example."] {
        is_refused(&off_limits, &format!("https://{host}/"), "Temporal's web UI", Some(&table)).await;
    }
    let url = "https://jira.example/";
    let sent = send(&mut avoiding(&off_limits, url, Some(&table)), request(url, "")).await;
    assert!(!matches!(sent, Err(Error::HttpRequestDenied)), "{sent:?}");
}
