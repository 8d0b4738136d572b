//! Servers beside the host, each in a process of its own: one that reads JSON and writes JSON, and one that besides commits what it
//! reads, in one transaction for all who wait.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use axum::extract::State;
use axum::http::StatusCode;
use axum::{Json, Router};
use harness::process::Process;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use crate::store::Floor;

/// The arguments by which this program is one of these servers.
const PLAIN: &str = "plain-server";
pub(super) const COMMITTING: &str = "committing-server";

/// Serves on a free port, which it prints, until it is killed, if the arguments say so.
pub(crate) async fn serve(arguments: &[String]) -> bool {
    let app = match arguments {
        [one] if one == PLAIN => Router::new().fallback(refuse),
        [one] if one == COMMITTING => committing().await,
        _ => return false,
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("it is bound").port());
    axum::serve(listener, app).await.expect("it serves");
    true
}

/// Says what a host says whose Temporal is away.
async fn refuse(Json(request): Json<Value>) -> (StatusCode, Json<Value>) {
    let answer = json!({
        "success": false, "code": "temporal-unavailable", "processed_count": 0, "workflow_ids": [], "errors": [],
        "message": format!("{} is not taken", request["alerts"].as_array().map_or(0, Vec::len)),
    });
    (StatusCode::SERVICE_UNAVAILABLE, Json(answer))
}

async fn committing() -> Router {
    let floor = Floor::start("floor.sqlite").await;
    Router::new().fallback(commit).with_state(floor)
}

/// Says what a host says that has accepted an alert.
async fn commit(State(floor): State<Floor>, Json(request): Json<Value>) -> Json<Value> {
    let ids: Vec<String> = request["alerts"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|alert| format!("alert-{}", alert["id"].as_str().unwrap_or_default()))
        .collect();
    for _ in &ids {
        floor.write().await;
    }
    Json(json!({"success": true, "processed_count": ids.len(), "workflow_ids": ids, "errors": []}))
}

/// One of these servers.
pub(super) struct Plain {
    process: Process,
    port: u16,
    /// Where it runs.
    _directory: TempDir,
}

impl Plain {
    /// Starts the one with this argument.
    pub(super) fn start(which: &str) -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        let directory = tempfile::tempdir().expect("a temporary directory");
        command.arg(which).current_dir(directory.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut line = String::new();
        let process = Process::start(command, |child| {
            let output = child.stdout.take().expect("its output is a pipe");
            BufReader::new(output).read_line(&mut line).expect("it prints its port");
        });
        let port = line.trim().parse().expect("a port is a number");
        Self { process: process.expect("this program can be started"), port, _directory: directory }
    }

    /// The one that only reads and writes JSON.
    pub(super) fn reading() -> Self {
        Self::start(PLAIN)
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    pub(super) fn id(&self) -> i32 {
        self.process.id()
    }
}
