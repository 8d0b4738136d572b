//! Runs a command of the host's binary to its end.

use std::process::Output;

use crate::host::command;

/// What a command printed, and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code; none if a signal ended it.
    pub code: Option<i32>,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

/// Runs `campanile` with these arguments.
pub async fn campanile(arguments: &[&str]) -> Ran {
    let mut command = command();
    command.args(arguments);
    let run = tokio::task::spawn_blocking(move || command.output()).await;
    let Output { status, stdout, stderr } = run.expect("no panic").expect("the host's binary can be started");
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    Ran { code: status.code(), stdout: text(&stdout), stderr: text(&stderr) }
}
