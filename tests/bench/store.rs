//! What the store accepts, on its own: beside a floor that writes the same bytes in one SQLite transaction for all who wait, and
//! decides nothing. And how long it takes to ask it about 100,000 alerts.

use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile_store::life::{Policy, Post, Severity, Status};
use campanile_store::{Filter, Incoming, Limits, Location, Request, Store};
use harness::Postgres;
use sqlx::any::{AnyConnectOptions, install_default_drivers};
use sqlx::{AnyConnection, ConnectOptions};
use tokio::sync::{mpsc, oneshot};

use crate::measure::{Figures, milliseconds, quantile};

/// Who posts at once, and for how long.
const CONNECTIONS: [usize; 2] = [32, 256];
const TIME: Duration = Duration::from_secs(5);
/// How many alerts are asked about, and how often.
const KEPT: usize = 100_000;
const QUESTIONS: usize = 20;
/// An alert of a usual size.
const DOCUMENT: [u8; 1_024] = [b'x'; 1_024];

pub(crate) async fn measure(figures: &mut Figures) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = |name: &str| directory.path().join(name);
    let floor = Floor::start(&file("floor.sqlite").display().to_string()).await;
    for connections in CONNECTIONS {
        let floor = floor.clone();
        let accepting = run(connections, move |_| {
            let floor = floor.clone();
            async move { floor.write().await }
        });
        report(figures, "floor: one transaction for all", connections, accepting.await);
    }
    let limits = Limits { pending: 100_000_000, ..Limits::default() };
    let sqlite = Store::open(Location::File(file("store.sqlite")), limits).await.expect("a new store");
    accept(figures, "SQLite", &sqlite).await;
    ask(figures, &sqlite).await;
    sqlite.close().await;
    let address = Postgres::shared().await.database().parse().expect("an address");
    let postgres = Store::open(address, limits).await.expect("a new store");
    accept(figures, "PostgreSQL", &postgres).await;
    postgres.close().await;
}

/// Accepts alerts without an identity, with one that is new each time, and with one of a thousand.
async fn accept(figures: &mut Figures, name: &str, store: &Store) {
    type Key = fn(usize) -> Option<String>;
    let kinds: [(&str, Key); 3] = [
        ("no identity", |_| None),
        ("new identity", |number| Some(format!("new-{number}"))),
        ("duplicates", |number| Some(format!("one-{}", number % 1_000))),
    ];
    for (kind, key) in kinds {
        for connections in CONNECTIONS {
            let store = store.clone();
            let accepting = run(connections, move |number| {
                let (store, request) = (store.clone(), request(number, key(number)));
                async move { store.accept(request).await.map(|_| ()).expect("it is accepted") }
            });
            report(figures, &format!("store, {name}, {kind}"), connections, accepting.await);
        }
    }
}

fn request(number: usize, key: Option<String>) -> Request {
    let alert = Incoming {
        id_prefix: match &key {
            Some(key) => format!("alert-{key}@bench-"),
            None => format!("alert-{:032x}-", fastrand::u128(..)),
        },
        scope: "bench".to_owned(),
        key,
        post: Post {
            status: Status::Firing,
            severity: Severity { rank: (number % 4) as i16, vendor_level: None },
            starts_at: None,
            ends_at: None,
            is_momentary: false,
        },
        policy: Policy { repeat_window: i64::MAX / 2, ..Policy::default() },
        document: DOCUMENT.to_vec(),
        words: Some(format!("disk of db-{number} is full host=db-{number} team=payments")),
    };
    Request { id: None, origin: b"{}".to_vec(), alerts: vec![alert], claim: None }
}

/// How long each of the calls took that `connections` made one after the other.
async fn run<F: Future<Output = ()> + Send + 'static>(
    connections: usize,
    call: impl Fn(usize) -> F + Send + Sync + 'static,
) -> Vec<Duration> {
    let (call, end) = (Arc::new(call), Instant::now() + TIME);
    let tasks = (0..connections).map(|connection| {
        let call = call.clone();
        tokio::spawn(async move {
            let (mut took, mut number) = (Vec::new(), connection);
            while Instant::now() < end {
                let began = Instant::now();
                call(number).await;
                took.push(began.elapsed());
                number += connections;
            }
            took
        })
    });
    let mut all = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        all.extend(task.await.expect("it does not panic"));
    }
    all
}

fn report(figures: &mut Figures, what: &str, connections: usize, mut took: Vec<Duration>) {
    let rate = took.len() as f64 / TIME.as_secs_f64();
    figures.add(&format!("{what}, {connections} at once, alerts a second"), format!("{rate:.0}"));
    figures.add(&format!("{what}, {connections} at once, p50"), milliseconds(quantile(&mut took, 0.5)));
    figures.add(&format!("{what}, {connections} at once, p99"), milliseconds(quantile(&mut took, 0.99)));
}

async fn ask(figures: &mut Figures, store: &Store) {
    let kept = usize::try_from(store.pending()).expect("they fit");
    for number in (kept..KEPT).step_by(1_000) {
        let alerts = (number..number + 1_000).flat_map(|number| request(number, None).alerts).collect();
        let many = Request { alerts, ..request(0, None) };
        store.accept(many).await.expect("it is accepted");
    }
    let text = |text: &str| Filter { text: Some(text.to_owned()), ..Filter::default() };
    for (what, filter, most) in [
        ("a page of 50 of 100,000", Filter::default(), 50.0),
        ("a page of 50 that are open, of 100,000", Filter { open: true, ..Filter::default() }, 50.0),
        ("a text that no alert has, of 100,000", text("no such words"), 300.0),
    ] {
        let mut took = Vec::new();
        for _ in 0..QUESTIONS {
            let began = Instant::now();
            store.list(&filter, None, 50).await.expect("it answers");
            took.push(began.elapsed());
        }
        let worst = quantile(&mut took, 0.95).as_secs_f64() * 1_000.0;
        figures.at_most(&format!("store, SQLite, {what}, p95, ms"), worst, most);
    }
}

/// Writes documents to a table without an index, in one transaction for all who wait.
#[derive(Clone)]
pub(crate) struct Floor(mpsc::Sender<oneshot::Sender<()>>);

impl Floor {
    pub(crate) async fn start(file: &str) -> Self {
        install_default_drivers();
        let options = AnyConnectOptions::from_str(&format!("sqlite://{file}?mode=rwc")).expect("an address");
        let mut connection = options.connect().await.expect("a new file");
        for sql in [
            "PRAGMA journal_mode = WAL",
            "PRAGMA synchronous = FULL",
            "CREATE TABLE documents (document BLOB)",
        ] {
            sqlx::query(sql).execute(&mut connection).await.expect("SQLite takes it");
        }
        let (queue, waiting) = mpsc::channel(4_096);
        tokio::spawn(Self::run(connection, waiting));
        Self(queue)
    }

    pub(crate) async fn write(&self) {
        let (done, written) = oneshot::channel();
        self.0.send(done).await.expect("it runs");
        written.await.expect("it is written");
    }

    async fn run(mut connection: AnyConnection, mut waiting: mpsc::Receiver<oneshot::Sender<()>>) {
        while let Some(first) = waiting.recv().await {
            let group: Vec<_> =
                std::iter::once(first).chain(std::iter::from_fn(|| waiting.try_recv().ok())).collect();
            sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.expect("SQLite takes it");
            for _ in &group {
                let insert = sqlx::query("INSERT INTO documents VALUES ($1)").bind(&DOCUMENT[..]);
                insert.execute(&mut connection).await.expect("SQLite takes it");
            }
            sqlx::query("COMMIT").execute(&mut connection).await.expect("SQLite takes it");
            for done in group {
                let _ = done.send(());
            }
        }
    }
}
