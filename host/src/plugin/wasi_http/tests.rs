//! What a plugin does with `wasi:http`, done by hand on the host's side of a call: requests with bodies in every order,
//! and answers that it takes, holds, or drops, against a server on loopback.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::routing::post;
use futures::stream::{self, StreamExt};
use http::StatusCode;
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use wasmtime_wasi::p2::bindings::io::streams::HostOutputStream;
use wasmtime_wasi::p2::{DynOutputStream, Pollable};
use wasmtime_wasi_http::p2::bindings::http::types::{
    self, HostFutureIncomingResponse as _, HostOutgoingBody as _, Method, Scheme,
};

use super::*;
use crate::plugin::call::Terms;
use crate::plugin::egress::{Connector, Egress};
use crate::plugin::error::{CallError, Reason};
use crate::plugin::grants::{Grants, GrantsConfig};
use crate::plugin::limits::Limits;
use crate::plugin::secrets::Secrets;
use crate::plugin::{EgressConfig, Role, end};

/// How long a call has where a test lets it run out.
const SHORT: Duration = Duration::from_millis(400);
const LONG: Duration = Duration::from_secs(20);
/// How long one write may wait.
const PATIENCE: Duration = Duration::from_secs(5);

/// The bodies that came to each path.
type Received = Arc<Mutex<BTreeMap<String, Bytes>>>;

/// A server that answers `/<status>/<case>` with that status, and `/0/<case>` never.
async fn server() -> (SocketAddr, Received) {
    let received = Received::default();
    let answer = async |State(received): State<Received>, Path((status, case)): Path<(u16, String)>, body| {
        received.lock().insert(case, body);
        match status {
            0 => std::future::pending().await,
            status => StatusCode::from_u16(status).unwrap(),
        }
    };
    let router = Router::new().route("/{status}/{case}", post(answer)).with_state(received.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    (address, received)
}

fn grants(http: &[&str]) -> Grants {
    let config = GrantsConfig {
        http: http.iter().map(|line| (*line).to_owned()).collect(),
        private_networks: vec!["127.0.0.1".to_owned()],
        ..GrantsConfig::default()
    };
    config.try_into().unwrap()
}

/// A call as a plugin finds it.
struct Call {
    state: HostState,
    deadline: Duration,
    /// What the plugin's own limits would give it.
    full: Duration,
    bounds: Arc<crate::plugin::limits::Bounds>,
    role: Role,
    retired: CancellationToken,
}

impl Call {
    fn new(grants: Grants, deadline: Duration) -> Self {
        let role = Role::Notifier;
        let bounds = Arc::new(Limits::default().over(&Limits::default(), role));
        let connector = Connector::new(&EgressConfig::default()).unwrap();
        let egress = Egress::new("p", grants, Secrets::default(), bounds.http, connector);
        let retired = CancellationToken::new();
        let terms = Terms {
            plugin: "p".into(),
            role,
            alert: "a".into(),
            bounds: bounds.clone(),
            deadline,
            settings: Arc::default(),
            egress: Arc::new(egress),
            retired: retired.clone(),
            permit: None,
        };
        let state = HostState::new(terms, None, std::time::Instant::now() + deadline);
        Self { state, deadline, full: deadline, bounds, role, retired }
    }

    fn request(&mut self, address: SocketAddr, path: &str) -> Resource<HostOutgoingRequest> {
        let mut http = self.state.http();
        let fields = types::HostFields::new(&mut http).unwrap();
        let request = types::HostOutgoingRequest::new(&mut http, fields).unwrap();
        let own = || Resource::new_borrow(request.rep());
        http.set_method(own(), Method::Post).unwrap().unwrap();
        http.set_scheme(own(), Some(Scheme::Http)).unwrap().unwrap();
        http.set_authority(own(), Some(address.to_string())).unwrap().unwrap();
        http.set_path_with_query(own(), Some(path.to_owned())).unwrap().unwrap();
        request
    }

    fn stream(&mut self, body: &Resource<HostOutgoingBody>) -> Resource<DynOutputStream> {
        self.state.http().write(Resource::new_borrow(body.rep())).unwrap().unwrap()
    }

    /// Writes as plugins do. `None` if the stream is closed, as it is once the call's time is over.
    async fn write(&mut self, stream: &Resource<DynOutputStream>, piece: &[u8]) -> Option<()> {
        let stream = Resource::new_borrow(stream.rep());
        let table = self.state.http().table;
        let written = table.blocking_write_and_flush(stream, piece.to_vec());
        timeout(PATIENCE, written).await.expect("a plugin is not kept waiting for ever").ok()
    }

    async fn drop_stream(&mut self, stream: Resource<DynOutputStream>) {
        HostOutputStream::drop(self.state.http().table, stream).await.unwrap();
    }

    /// Takes the answer as soon as it is there, for as long as the call lasts.
    async fn take(&mut self, future: &Resource<HostFutureIncomingResponse>) -> Option<u16> {
        let pending = self.state.http().table.get_mut(future).unwrap();
        timeout(self.deadline, pending.ready()).await.ok()?;
        let mut http = self.state.http();
        let answer = http.get(Resource::new_borrow(future.rep())).unwrap().unwrap().unwrap();
        let response = answer.ok()?;
        Some(http.table.get(&response).unwrap().status)
    }

    /// The end of a call whose export returned ok.
    async fn ok(&mut self) -> Result<Vec<String>, CallError> {
        let times = (self.deadline, self.full);
        end::settled(&mut self.state, self.role, times, &self.retired).await
    }

    /// The end of a call that was too late.
    async fn late(&mut self) -> CallError {
        end::late(CallError::of(Reason::Deadline, "late"), &mut self.state, &self.retired).await
    }
}

/// What a plugin does with the body once all is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Finish,
    KeepStream,
    KeepBody,
    DropBody,
}

/// What it does with the answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    Take,
    Hold,
    Drop,
}

#[derive(Debug)]
struct Case {
    pieces: Vec<usize>,
    /// How many of them are written before the request is handed over.
    early: usize,
    ending: Ending,
    /// Whether the body comes to its end before the request is handed over.
    ends_early: bool,
    answer: Answer,
    status: u16,
}

impl Case {
    fn at_random(random: &mut fastrand::Rng) -> Self {
        let sizes = [0, 1, 7, 100, 4095, 4096];
        let pieces: Vec<_> =
            (0..random.usize(0..40)).map(|_| *random.choice(sizes.iter()).unwrap()).collect();
        let early = random.usize(0..=pieces.len());
        let endings =
            [Ending::Finish, Ending::Finish, Ending::KeepStream, Ending::KeepBody, Ending::DropBody];
        let answers = [Answer::Take, Answer::Hold, Answer::Drop];
        Self {
            ends_early: early == pieces.len() && random.bool(),
            pieces,
            early,
            ending: *random.choice(endings.iter()).unwrap(),
            answer: *random.choice(answers.iter()).unwrap(),
            status: *random.choice([200, 204, 302, 404, 500, 0].iter()).unwrap(),
        }
    }

    /// Whether the call would wait for ever for something.
    fn hangs(&self) -> bool {
        self.answer != Answer::Drop
            && (self.status == 0 || matches!(self.ending, Ending::KeepBody | Ending::KeepStream))
    }
}

fn body(pieces: &[usize]) -> Vec<u8> {
    pieces.iter().zip(b'a'..).flat_map(|(size, letter)| vec![letter; *size]).collect()
}

/// A plugin that does as the case says; and what it got to see of the answer. `None` if its time was over before.
async fn played(case: &Case, name: &str, address: SocketAddr) -> Option<(Call, Option<u16>)> {
    let deadline = if case.hangs() { SHORT } else { LONG };
    let mut call = Call::new(grants(&[&format!("POST http://{address}/**")]), deadline);
    let request = call.request(address, &format!("/{}/{name}", case.status));
    let body = call.state.body(&request).unwrap().unwrap();
    let stream = call.stream(&body);
    let (early, late) = case.pieces.split_at(case.early);
    let letters: Vec<u8> = (b'a'..).take(case.pieces.len()).collect();
    for (size, letter) in early.iter().zip(&letters) {
        call.write(&stream, &vec![*letter; *size]).await?;
    }
    let mut left = Some((body, stream));
    if case.ends_early {
        let (body, stream) = left.take().unwrap();
        end_body(&mut call, case.ending, body, stream).await;
    }
    let future = call.state.handle(request, None).unwrap().unwrap();
    if let Some((body, stream)) = left {
        for (size, letter) in late.iter().zip(&letters[case.early..]) {
            call.write(&stream, &vec![*letter; *size]).await?;
        }
        end_body(&mut call, case.ending, body, stream).await;
    }
    let mut seen = None;
    match case.answer {
        Answer::Take => seen = call.take(&future).await,
        Answer::Hold => {}
        Answer::Drop => types::HostFutureIncomingResponse::drop(&mut call.state.http(), future).unwrap(),
    }
    Some((call, seen))
}

async fn end_body(
    call: &mut Call,
    ending: Ending,
    body: Resource<HostOutgoingBody>,
    stream: Resource<DynOutputStream>,
) {
    if ending != Ending::KeepStream {
        call.drop_stream(stream).await;
    }
    match ending {
        Ending::Finish => types::HostOutgoingBody::finish(&mut call.state.http(), body, None).unwrap(),
        Ending::DropBody => types::HostOutgoingBody::drop(&mut call.state.http(), body).unwrap(),
        Ending::KeepStream | Ending::KeepBody => {}
    }
}

/// What must hold of any call with one request.
async fn check(seed: u64, address: SocketAddr, received: Received) {
    let case = Case::at_random(&mut fastrand::Rng::with_seed(seed));
    let name = format!("case-{seed}");
    let Some((mut call, seen)) = played(&case, &name, address).await else {
        return assert!(case.hangs(), "seed {seed}, {case:?}: there was time enough");
    };
    let is_complete = case.ending == Ending::Finish;
    let is_good = is_complete && (200..300).contains(&case.status);
    let hangs = case.hangs() && case.answer == Answer::Take;
    let end = if hangs { Err(call.late().await) } else { call.ok().await };
    let said = format!("seed {seed}, {case:?}: {end:?}");
    match (case.answer, &end) {
        (Answer::Take, Err(error)) if hangs => {
            let expected = if is_complete { Reason::Deadline } else { Reason::RequestBody };
            assert_eq!(error.reason, expected, "{said}");
            assert!(error.message.contains(&name), "{said}");
        }
        (Answer::Take, Ok(warnings)) => {
            assert_eq!(seen, is_complete.then_some(case.status), "{said}");
            assert_eq!(warnings.is_empty(), is_complete, "idle unless it was answered: {said}");
        }
        (Answer::Hold, Ok(warnings)) => {
            assert!(is_good && warnings[0].contains("the host waited in its place"), "{said}");
        }
        (Answer::Hold, Err(error)) => {
            assert!(!is_good && error.reason == Reason::NotAwaited, "{said}");
            assert_eq!(error.message.contains("did not finish the request's body"), !is_complete, "{said}");
            assert!(error.message.contains(&name), "{said}");
        }
        (Answer::Drop, Ok(warnings)) => assert!(warnings.iter().all(|text| text.contains(&name)), "{said}"),
        _ => panic!("{said}"),
    }
    let got = received.lock().get(&name).cloned();
    let must_have = is_complete && case.answer != Answer::Drop;
    assert!(got.is_some() || !must_have, "{said}");
    if let Some(got) = got {
        assert!(is_complete && *got == body(&case.pieces), "{said}: the body is whole or nothing is sent");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ok_is_ok_only_if_every_request_held_succeeds() {
    let (address, received) = server().await;
    let first = fastrand::u64(..1 << 40);
    println!("seeds from {first}");
    let cases =
        stream::iter(first..first + 150).map(|seed| tokio::spawn(check(seed, address, received.clone())));
    let faults = cases.buffer_unordered(16).filter_map(async |end| end.err()).count().await;
    assert_eq!(faults, 0);
}

#[tokio::test]
async fn a_body_left_by_a_call_that_ends_is_not_taken_for_whole() {
    let (address, received) = server().await;
    let mut call = Call::new(grants(&[&format!("POST http://{address}/**")]), LONG);
    let request = call.request(address, "/200/cut");
    let body = call.state.body(&request).unwrap().unwrap();
    let stream = call.stream(&body);
    call.write(&stream, b"half of ").await.unwrap();
    let future = call.state.handle(request, None).unwrap().unwrap();
    let pending = call.state.http().table.get_mut(&future).unwrap();
    let mut pending = std::mem::replace(pending, HostFutureIncomingResponse::Consumed);
    drop(call);
    pending.ready().await;
    assert!(matches!(pending, HostFutureIncomingResponse::Ready(Err(_))) && received.lock().is_empty());
}

#[tokio::test]
async fn an_ok_without_any_answer_is_warned_of_where_something_could_be_sent() {
    let mut idle = Call::new(grants(&["POST http://a.example/**"]), LONG);
    assert_eq!(idle.ok().await.unwrap(), ["it returned ok without sending any request or mail"]);
    // Such as one that only logs.
    let mut silent = Call::new(Grants::none(), LONG);
    assert!(silent.ok().await.unwrap().is_empty());
    let (address, _) = server().await;
    let mut refused = Call::new(Grants::none(), LONG);
    let request = refused.request(address, "/200/refused");
    let future = refused.state.handle(request, None).unwrap().unwrap();
    assert_eq!(refused.take(&future).await, None);
    let warnings = refused.ok().await.unwrap();
    assert!(
        warnings[0].contains("none of its requests got an answer") && warnings.len() == 1,
        "{warnings:?}"
    );
    assert!(warnings[0].contains("it is not granted"), "{warnings:?}");
}

#[tokio::test]
async fn a_refused_request_that_is_not_waited_for_fails_the_call() {
    let (address, _) = server().await;
    for (role, fails) in [(Role::Notifier, true), (Role::StatusUpdater, true), (Role::Processor, false)] {
        let mut call = Call { role, ..Call::new(Grants::none(), LONG) };
        let request = call.request(address, "/200/refused");
        call.state.handle(request, None).unwrap().unwrap();
        let end = call.ok().await;
        assert_eq!(end.is_err(), fails, "{role}: {end:?}");
        let said = format!("{end:?}");
        assert!(said.contains("without waiting for POST") && said.contains("it is not granted"), "{said}");
    }
}

#[tokio::test]
async fn a_request_beyond_the_limit_that_is_not_waited_for_fails_the_call() {
    let mut call = Call::new(Grants::none(), LONG);
    let request = |call: &mut Call| {
        let request = call.request(([127, 0, 0, 1], 9).into(), "/200/refused");
        call.state.handle(request, None).unwrap().unwrap()
    };
    for _ in 0..call.bounds.http.requests + 5 {
        let future = request(&mut call);
        assert_eq!(call.take(&future).await, None);
        types::HostFutureIncomingResponse::drop(&mut call.state.http(), future).unwrap();
    }
    request(&mut call);
    assert_eq!(call.ok().await.unwrap_err().reason, Reason::NotAwaited);
}

#[tokio::test]
async fn a_call_that_was_cut_short_is_made_again() {
    let (address, _) = server().await;
    for (full, reason) in [(SHORT, Reason::NotAwaited), (LONG, Reason::Deadline)] {
        let granted = grants(&[&format!("POST http://{address}/**")]);
        let mut call = Call { full, ..Call::new(granted, SHORT) };
        let request = call.request(address, "/0/slow");
        call.state.handle(request, None).unwrap().unwrap();
        assert_eq!(call.ok().await.unwrap_err().reason, reason);
    }
}

#[tokio::test]
async fn warnings_of_a_call_are_few_and_short() {
    // A processor does not fail by what it was not granted; each is named with the grant that it lacks.
    let mut call = Call { role: Role::Processor, ..Call::new(Grants::none(), LONG) };
    for number in 0..9 {
        let path = format!("/200/{number}/{}", "x".repeat(1_000));
        let request = call.request(([127, 0, 0, 1], 9).into(), &path);
        call.state.handle(request, None).unwrap().unwrap();
    }
    let warnings = call.ok().await.unwrap();
    let [listed @ .., left_out] = warnings.as_slice() else { panic!("{warnings:?}") };
    assert_eq!((listed.len(), left_out.as_str()), (4, "5 more warnings are not listed"));
    assert!(listed.iter().all(|line| line.len() < 400 && line.ends_with('…')), "{listed:?}");
}

#[tokio::test]
async fn bodies_that_cannot_be_sent_take_little_room() {
    let (address, _) = server().await;
    let mut call = Call::new(Grants::none(), LONG);
    let permits: Vec<_> = (0..call.bounds.http.requests + 2)
        .map(|_| {
            let request = call.request(address, "/200/many");
            let body = call.state.body(&request).unwrap().unwrap();
            let stream = call.stream(&body);
            call.state.http().table.get_mut(&stream).unwrap().check_write().unwrap()
        })
        .collect();
    assert_eq!(permits[0], 1 << 20);
    assert!(permits.ends_with(&[4096, 4096]), "{permits:?}");
}
