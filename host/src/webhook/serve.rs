//! Serving: HTTP/1.1 and HTTP/2 on every connection, each bounded in time and size before a handler sees anything of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use parking_lot::Mutex;
use rustix::process::{Resource, getrlimit};
use tower::ServiceExt;

use super::body;
use super::connections::{Connection, Connections};
use super::explained::Explained;
use super::front::Routes;
use super::listen::{Door, Stream};
use super::peer::Peer;
use super::tls::Tls;

/// The most connections at once.
const MOST_CONNECTIONS: usize = 4_096;
/// How long the head of a request may take, and a connection be idle.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const HEAD_SIZE: usize = 64 << 10;
/// The most requests at once on one connection.
const MOST_STREAMS: u32 = 128;
/// How long to wait after a connection could not be accepted, or while all that are open have requests that are worked on.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then until the open requests have ended. Each request is answered by the routes of its moment.
pub(super) async fn serve(door: Door, tls: Option<Tls>, routes: Routes, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let connections = Connections::new(most_connections());
    let accepting = async {
        loop {
            let (stream, peer) = accept(&door, &connections).await;
            let (connection, closed) = loop {
                match connections.open(peer) {
                    Some(opened) => break opened,
                    None => tokio::time::sleep(PAUSE).await,
                }
            };
            let (tls, routes, watcher) = (tls.clone(), routes.clone(), graceful.watcher());
            tokio::spawn(async move {
                tokio::select! {
                    () = serve_one(stream, peer, tls, routes, watcher, connection) => {}
                    _ = closed => tracing::debug!(?peer, "a connection that waited was closed: there are too many"),
                }
            });
        }
    };
    tokio::select! {
        () = accepting => {}
        () = stop => {}
    }
    drop(door);
    graceful.shutdown().await;
}

/// The next connection. Where the system has no descriptor left for it, one that waits is closed.
async fn accept(door: &Door, connections: &Connections) -> (Box<dyn Stream>, Peer) {
    loop {
        match door.accept().await {
            Ok(accepted) => return accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                connections.close_one();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// At most a quarter of the descriptors that the process may have: plugins have half of them, Temporal and files need some.
fn most_connections() -> usize {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(descriptors / 4).unwrap_or(usize::MAX).clamp(1, MOST_CONNECTIONS)
}

async fn serve_one(
    stream: Box<dyn Stream>,
    peer: Peer,
    tls: Option<Tls>,
    routes: Routes,
    watcher: Watcher,
    connection: Connection,
) {
    let stream = match tls {
        None => stream,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(?peer, %error, "no TLS"),
        },
    };
    let traffic = Arc::new(Traffic::default());
    let (seen, connection) = (traffic.clone(), Arc::new(connection));
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        answer(Router::clone(&routes.load()), request, connection.clone(), seen.clone().begin())
    });
    let builder = builder();
    let connection = builder.serve_connection(TokioIo::new(Explained::new(stream)), service);
    tokio::select! {
        ended = watcher.watch(connection.into_owned()) => {
            if let Err(error) = ended {
                tracing::debug!(?peer, error, "a connection broke");
            }
        }
        () = traffic.idle() => tracing::debug!(?peer, "a connection without a request was closed"),
    }
}

/// The requests of one connection. Hyper has no time limit until it knows which version it is spoken to in, and none between
/// the requests of HTTP/2.
#[derive(Default)]
struct Traffic {
    under_way: AtomicUsize,
    ended: AtomicUsize,
}

impl Traffic {
    fn begin(self: Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::Relaxed);
        UnderWay(self)
    }

    /// Ends once there was no request for as long as a head may take.
    async fn idle(&self) {
        loop {
            let ended = self.ended.load(Ordering::Relaxed);
            tokio::time::sleep(HEAD_TIME).await;
            let is_quiet = self.under_way.load(Ordering::Relaxed) == 0;
            if is_quiet && self.ended.load(Ordering::Relaxed) == ended {
                return;
            }
        }
    }
}

/// A request that is under way.
struct UnderWay(Arc<Traffic>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::Relaxed);
        self.0.ended.fetch_add(1, Ordering::Relaxed);
    }
}

async fn answer(
    router: Router,
    request: hyper::Request<Incoming>,
    connection: Arc<Connection>,
    _under_way: UnderWay,
) -> Result<Response, Infallible> {
    // Until the answer is there; the connection may be closed while the request is not.
    let working = Arc::new(Mutex::new(None));
    let is_complete = working.clone();
    let (request, unread) = body::report(request, move || *is_complete.lock() = Some(connection.request()));
    let response = router.oneshot(request).await;
    unread.read().await;
    drop(working);
    response
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_SIZE)
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(HEAD_TIME)
        .max_header_list_size(HEAD_SIZE as u32)
        .max_concurrent_streams(MOST_STREAMS);
    builder
}
