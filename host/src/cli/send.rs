//! `campanile send`: posts alerts from files, and shows what became of them.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use jiff::SignedDuration;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

use super::output::{self, say};
use super::table::Rows;
use super::{Target, no_answer};
use crate::ledger::{Ledger, Outcome, StepResult};
use crate::shown::line as shown_line;
use crate::webhook::{AlertResult, WebhookResponse};

/// What in an id has a meaning in a URL.
const IN_PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// How much longer than the host the command waits.
const MARGIN: Duration = Duration::from_secs(10);

#[derive(Args, Debug)]
pub(super) struct Send {
    /// Files with an alert, a list of alerts or a whole request, as JSON; `-` is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Wait for what becomes of the alerts
    #[arg(long)]
    sync: bool,
    /// How long to wait with --sync
    #[arg(long, default_value = "30s", value_name = "DURATION")]
    timeout: SignedDuration,
    #[command(flatten)]
    target: Target,
}

impl Send {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let client = self.target.http(self.timeout.unsigned_abs() + MARGIN)?;
        let mut table = if self.sync {
            Rows::new(&["FILE", "ALERT", "OUTCOME", "STEPS"])
        } else {
            Rows::new(&["FILE", "WORKFLOW"])
        };
        let mut is_good = true;
        // First all files, then the host: a mistake in the last one is found before the first one is sent.
        let requests = self.files.iter().map(|file| Ok((file, request(file)?)));
        for (file, request) in requests.collect::<anyhow::Result<Vec<_>>>()? {
            let response = match self.post(&client, &request).await {
                Ok(response) => response,
                Err(error) => {
                    // Which names the address, in which there may be a key.
                    output::error(shown_line(&format!("{}: {error:#}", file.display())));
                    is_good = false;
                    continue;
                }
            };
            if !response.success {
                say!("{}: {}", file.display(), response.message);
                response.errors.iter().for_each(|fault| say!("  {fault}"));
                is_good = false;
                continue;
            }
            for line in &response.warnings {
                output::error(format_args!("warning: {}: {line}", file.display()));
            }
            is_good &= add_rows(&mut table, file, &response);
        }
        if !table.is_empty() {
            table.print();
        }
        Ok(if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn post(&self, client: &reqwest::Client, request: &Value) -> anyhow::Result<WebhookResponse> {
        let url = match self.sync {
            true => self.target.at(&format!("/webhook/alerts/sync?timeout={}ms", self.timeout.as_millis())),
            false => self.target.at("/webhook/alerts"),
        }?;
        let response = client.post(url.clone()).json(request).send().await;
        let response = response.map_err(|error| no_answer(&url, error))?;
        let response = response.json().await.map_err(reqwest::Error::without_url);
        response.with_context(|| format!("{url} is not a campanile"))
    }
}

/// The request that a file stands for.
fn request(file: &Path) -> anyhow::Result<Value> {
    let text = read(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let (document, odd) = campanile_lenient::read(text.as_bytes())
        .with_context(|| format!("{} is not JSON", file.display()))?;
    odd.iter().for_each(|line| output::error(format_args!("warning: {}: {line}", file.display())));
    match document {
        Value::Object(ref object) if object.contains_key("alerts") => Ok(document),
        Value::Object(_) => Ok(json!({"alerts": [document]})),
        Value::Array(_) => Ok(json!({"alerts": document})),
        _ => bail!("{} holds neither an alert nor a list of alerts nor a request", file.display()),
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    std::fs::read_to_string(file)
}

/// Adds a response's alerts. Returns whether all is well with them.
fn add_rows(table: &mut Rows, file: &Path, response: &WebhookResponse) -> bool {
    let file = file.display().to_string();
    match &response.results {
        None => {
            for id in &response.workflow_ids {
                table.add([&file, id]);
            }
            true
        }
        Some(results) => {
            for result in results {
                let (outcome, steps) = shown(result);
                table.add([&file, &result.id, &outcome, steps.first().unwrap_or(&String::new())]);
                steps.iter().skip(1).for_each(|step| table.add(["", "", "", step]));
            }
            results.iter().all(|result| !matches!(result.outcome, None | Some(Outcome::Failed)))
        }
    }
}

/// Its outcome and its steps.
fn shown(result: &AlertResult) -> (String, Vec<String>) {
    match &result.ledger {
        None => {
            let id = utf8_percent_encode(&result.workflow_id, IN_PATH);
            ("not completed yet".to_owned(), vec![format!("ask for /alerts/{id}")])
        }
        Some(ledger) => (ledger.outcome.as_str().to_owned(), steps(ledger)),
    }
}

fn steps(ledger: &Ledger) -> Vec<String> {
    let line = |step: &crate::ledger::Step| {
        let attempts =
            if step.attempts > 1 { format!(" after {} attempts", step.attempts) } else { String::new() };
        match (step.result, &step.error) {
            (StepResult::Failed, Some(error)) => {
                format!("{}: {}{attempts}: {}", step.plugin, error.code, error.message)
            }
            _ => format!("{}: {}{attempts}", step.plugin, step.message.as_deref().unwrap_or("ok")),
        }
    };
    ledger.steps.iter().map(line).collect()
}
