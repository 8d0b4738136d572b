//! An HTTP server that records what it gets and answers as it was told, path by path. It is what plugins deliver to.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::wait::PATIENCE;

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Received {
    /// The method.
    pub method: Method,
    /// The path, without the query.
    pub path: String,
    /// The query, empty if there is none.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
    /// When it was read.
    pub at: Instant,
}

impl Received {
    /// What was asked: `POST /issues?page=2`.
    pub fn line(&self) -> String {
        let separator = if self.query.is_empty() { "" } else { "?" };
        format!("{} {}{separator}{}", self.method, self.path, self.query)
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// A header's text; empty if it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// One answer.
#[derive(Clone, Debug)]
pub struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: String,
    delay: Duration,
}

impl Answer {
    /// An answer with this status and no body.
    pub fn status(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: String::new(), delay: Duration::ZERO }
    }

    /// With one more header.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.push((name, value.to_owned()));
        self
    }

    /// With this body.
    pub fn body(mut self, body: &str) -> Self {
        self.body = body.to_owned();
        self
    }

    /// Given only after this time.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }
}

/// What one place answers: first these, one each, then always the same.
struct Script {
    first: Vec<Answer>,
    then: Answer,
}

struct Shared {
    scripts: Mutex<HashMap<String, Script>>,
    received: watch::Sender<Vec<Received>>,
}

/// The server. Every path that was told nothing answers 200.
pub struct Receiver {
    address: SocketAddr,
    shared: Arc<Shared>,
    received: watch::Receiver<Vec<Received>>,
}

impl Receiver {
    /// Starts one on a free port. It ends with the test's runtime.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let (sender, received) = watch::channel(Vec::new());
        let shared = Arc::new(Shared { scripts: Mutex::default(), received: sender });
        let app = Router::new().fallback(answer).with_state(shared.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        Self { address, shared, received }
    }

    /// The address of a path on it.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// From now on `place` gives the answers of `first`, one each, and then `then`: a path, or one method alone of it, such
    /// as `GET /issues/7`.
    pub fn script(&self, place: &str, first: impl IntoIterator<Item = Answer>, then: Answer) {
        let script = Script { first: first.into_iter().collect(), then };
        self.shared.scripts.lock().expect("no test panics in here").insert(place.to_owned(), script);
    }

    /// From now on `place` always answers so.
    pub fn always(&self, place: &str, answer: Answer) {
        self.script(place, [], answer);
    }

    /// From now on `path` answers `times` times with this status, then 200.
    pub fn fail(&self, path: &str, times: usize, status: u16) {
        self.script(path, vec![Answer::status(status); times], Answer::status(200));
    }

    /// All requests so far, in their order.
    pub fn all(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// All requests for a path so far.
    pub fn received(&self, path: &str) -> Vec<Received> {
        on_path(&self.received.borrow(), path)
    }

    /// The requests for a path, once there are `count`; panics past the usual patience.
    pub async fn wait_for(&self, path: &str, count: usize) -> Vec<Received> {
        self.wait_until(path, &format!("{count} requests"), |received| received.len() >= count).await
    }

    /// The requests for a path, once they are as wanted; panics with `what` past the usual patience.
    pub async fn wait_until(
        &self,
        path: &str,
        what: &str,
        mut wanted: impl FnMut(&[Received]) -> bool,
    ) -> Vec<Received> {
        let mut received = self.received.clone();
        let enough = received.wait_for(|all| wanted(&on_path(all, path)));
        if timeout(PATIENCE, enough).await.is_err() {
            panic!("waited in vain for {what} on {path}; it had {}", self.received(path).len());
        }
        self.received(path)
    }
}

fn on_path(all: &[Received], path: &str) -> Vec<Received> {
    all.iter().filter(|request| request.path == path).cloned().collect()
}

async fn answer(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let path = uri.path().to_owned();
    let query = uri.query().unwrap_or_default().to_owned();
    let answer = next_answer(&shared, &method, &path);
    let request = Received { method, path, query, headers, body, at: Instant::now() };
    shared.received.send_modify(|received| received.push(request));
    tokio::time::sleep(answer.delay).await;
    let mut response = Response::builder().status(answer.status);
    for (name, value) in answer.headers {
        response = response.header(name, value);
    }
    response.body(Body::from(answer.body)).expect("tests give valid headers")
}

fn next_answer(shared: &Shared, method: &Method, path: &str) -> Answer {
    let mut scripts = shared.scripts.lock().expect("no test panics in here");
    let own = format!("{method} {path}");
    let place = if scripts.contains_key(&own) { own.as_str() } else { path };
    match scripts.get_mut(place) {
        None => Answer::status(200),
        Some(script) if script.first.is_empty() => script.then.clone(),
        Some(script) => script.first.remove(0),
    }
}
