//! Serving: HTTP/1.1 and HTTP/2 on every connection, each bounded in time and size before a handler sees anything of it.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::explained::Explained;
use super::listen::{Door, Stream};
use super::peer::Peer;
use super::tls::Tls;

/// The most connections at once; those beyond wait to be accepted.
const MOST_CONNECTIONS: usize = 4_096;
/// How long the head of a request may take, and a connection be idle.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// The largest head of a request, in bytes.
const HEAD_SIZE: usize = 64 << 10;
/// The most requests at once on one connection.
const MOST_STREAMS: u32 = 128;
/// How long to wait after the system could not accept a connection: it is out of file descriptors.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until `stop`, then until the open requests have ended.
pub async fn serve(door: Door, tls: Option<Tls>, router: Router, stop: impl Future<Output = ()>) {
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let mut stop = std::pin::pin!(stop);
    loop {
        let place = tokio::select! {
            place = places.clone().acquire_owned() => place,
            () = &mut stop => break,
        };
        // The semaphore is never closed.
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = door.accept() => accepted,
            () = &mut stop => break,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (tls, router, watcher) = (tls.clone(), router.clone(), graceful.watcher());
        tokio::spawn(async move {
            let _place = place;
            connection(stream, peer, tls, router, watcher).await;
        });
    }
    drop(door);
    graceful.shutdown().await;
}

async fn connection(stream: Box<dyn Stream>, peer: Peer, tls: Option<Tls>, router: Router, watcher: Watcher) {
    let stream = match tls {
        None => stream,
        Some(tls) => match tls.accept(stream).await {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(?peer, %error, "no TLS"),
        },
    };
    let traffic = Arc::new(Traffic::default());
    let seen = traffic.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(peer);
        let under_way = seen.clone().begin();
        let answer = answer(router.clone(), request.map(Body::new));
        async move {
            let _under_way = under_way;
            answer.await
        }
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

async fn answer(router: Router, request: Request) -> Result<axum::response::Response, Infallible> {
    router.oneshot(request).await
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
