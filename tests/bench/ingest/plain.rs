//! Beside the front door: a server that reads JSON and writes JSON, and does nothing else, in a process of its own.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use axum::http::StatusCode;
use axum::{Json, Router};
use harness::process::Process;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// The argument by which this program is that server.
pub(crate) const PLAIN: &str = "plain-server";

/// Serves on a free port, which it prints, until it is killed.
pub(crate) async fn serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    println!("{}", listener.local_addr().expect("it is bound").port());
    axum::serve(listener, Router::new().fallback(refuse)).await.expect("it serves");
}

/// Says what a host says whose Temporal is away.
async fn refuse(Json(request): Json<Value>) -> (StatusCode, Json<Value>) {
    let answer = json!({
        "success": false, "code": "temporal-unavailable", "processed_count": 0, "workflow_ids": [], "errors": [],
        "message": format!("{} is not taken", request["alerts"].as_array().map_or(0, Vec::len)),
    });
    (StatusCode::SERVICE_UNAVAILABLE, Json(answer))
}

/// That server.
pub(super) struct Plain {
    process: Process,
    port: u16,
}

impl Plain {
    pub(super) fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().expect("this program has a path"));
        command.arg(PLAIN).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut line = String::new();
        let process = Process::start(command, |child| {
            let output = child.stdout.take().expect("its output is a pipe");
            BufReader::new(output).read_line(&mut line).expect("it prints its port");
        });
        let port = line.trim().parse().expect("a port is a number");
        Self { process: process.expect("this program can be started"), port }
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}/", self.port)
    }

    pub(super) fn id(&self) -> i32 {
        self.process.id()
    }
}
