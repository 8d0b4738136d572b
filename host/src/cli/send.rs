//! `campanile send`: posts alerts from files, and shows what became of them.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use jiff::SignedDuration;
use serde::Deserialize;
use serde_json::{Value, json};

use super::output::{self, say};
use super::table::Column::{Text, Whole};
use super::table::Rows;
use super::{Target, answered, no_answer};
use crate::ledger::{Activity, Ledger, Outcome, Step, StepResult};
use crate::shown::line as shown_line;
use crate::webhook::{AlertResult, WebhookResponse};

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
        let mut table = Rows::new(&[Text("FILE"), Whole("WORKFLOW")]);
        let mut is_good = true;
        // First all files, then the host: a mistake in the last one is found before the first one is sent.
        let requests = self.files.iter().map(|file| Ok((file, request(file)?)));
        for (file, request) in requests.collect::<anyhow::Result<Vec<_>>>()? {
            let response = match self.post(&client, &request).await {
                Ok(response) => response,
                Err(error) => {
                    // Which names the address, in which there may be a key.
                    output::note(shown_line(&format!("{}: {error:#}", file.display())));
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
                output::note(format_args!("warning: {}: {line}", file.display()));
            }
            match &response.results {
                None => {
                    response.workflow_ids.iter().for_each(|id| table.add([&file.display().to_string(), id]))
                }
                Some(results) => {
                    for result in results {
                        show(file, result);
                        if result.ledger.is_none() {
                            self.waiting(&client, &result.workflow_id)
                                .await
                                .iter()
                                .for_each(|line| say!("  {line}"));
                        }
                    }
                    is_good &= results.iter().all(|result| is_well(result.outcome));
                }
            }
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

    /// What an alert that is not done has come to and waits for, as far as the host says so: that takes an admin key.
    async fn waiting(&self, client: &reqwest::Client, id: &str) -> Vec<String> {
        let asked = async {
            let mut url = self.target.at("/alerts")?;
            if let Ok(mut path) = url.path_segments_mut() {
                path.push(id);
            }
            let response = client.get(url.clone()).send().await;
            answered::<Value>(response.map_err(|error| no_answer(&url, error))?).await
        };
        match asked.await {
            Ok(found) => so_far(&found, id),
            Err(error) => vec![format!("the host does not say what it waits for: {error:#}")],
        }
    }
}

/// The steps of an alert that is not done, but for those that are tried again, which say so.
fn so_far(found: &Value, id: &str) -> Vec<String> {
    let pending = found["pending"].as_array().into_iter().flatten();
    let pending =
        pending.filter_map(|one| Some((one["id"].as_str()?.strip_prefix(id)?.strip_prefix('/')?, one)));
    let pending: Vec<(&str, &Value)> = pending.collect();
    let steps = Vec::<Step>::deserialize(&found["steps"]).unwrap_or_default();
    let done = steps.iter().filter(|step| !pending.iter().any(|(name, _)| *name == step.name()));
    let lines: Vec<String> =
        done.map(said_so_far).chain(pending.iter().map(|(name, one)| tried_again(name, one))).collect();
    if lines.is_empty() { vec!["no attempt has ended yet".to_owned()] } else { lines }
}

/// The same of an alert that is not done: between two attempts, nothing is pending.
fn said_so_far(step: &Step) -> String {
    let may_go_on = step.error.as_ref().is_some_and(|error| error.retry.is_worthwhile());
    said_with(step, if may_go_on { "failed so far" } else { "failed" })
}

fn tried_again(name: &str, pending: &Value) -> String {
    let attempt = &pending["attempt"];
    let stands = match pending["next_attempt_at"].as_str() {
        Some(at) => format!("waits for attempt {attempt} at {at}"),
        None => format!("attempt {attempt} is under way"),
    };
    let error = pending["error"].as_str().map(|error| format!(": {error}")).unwrap_or_default();
    format!("{name}: {stands}{error}")
}

/// The request that a file stands for.
fn request(file: &Path) -> anyhow::Result<Value> {
    let text = super::read_input(file).with_context(|| format!("{} cannot be read", file.display()))?;
    let (document, odd) =
        campanile_lenient::read(&text).with_context(|| format!("{} is not JSON", file.display()))?;
    odd.iter().for_each(|line| output::note(format_args!("warning: {}: {line}", file.display())));
    match document {
        Value::Object(ref object) if object.contains_key("alerts") => Ok(document),
        Value::Object(_) => Ok(json!({"alerts": [document]})),
        Value::Array(_) => Ok(json!({"alerts": document})),
        _ => bail!("{} holds neither an alert nor a list of alerts nor a request", file.display()),
    }
}

fn is_well(outcome: Option<Outcome>) -> bool {
    !matches!(outcome, None | Some(Outcome::Failed))
}

/// Prints what became of an alert, and below it of each receiver.
fn show(file: &Path, AlertResult { workflow_id: id, ledger, .. }: &AlertResult) {
    let file = file.display();
    match ledger {
        None => say!("{file}: {id}: not completed yet: campanile alerts show {id}"),
        Some(ledger) => {
            say!("{file}: {id}: {}", ledger.outcome.as_str());
            lines(ledger).iter().for_each(|line| say!("  {line}"));
        }
    }
}

/// What became of each call; where nobody was notified, why.
fn lines(ledger: &Ledger) -> Vec<String> {
    let mut lines: Vec<String> = ledger.steps.iter().map(said).collect();
    if !ledger.steps.iter().any(|step| step.activity == Activity::SendNotification) {
        lines.push("no receiver was notified".to_owned());
        lines.extend(ledger.decisions.iter().cloned());
    }
    lines
}

fn said(step: &Step) -> String {
    said_with(step, "failed")
}

fn said_with(step: &Step, failed: &str) -> String {
    let result = match (step.activity, step.result) {
        (_, StepResult::Failed) => failed,
        (Activity::ProcessAlert, StepResult::Ok) => "processed",
        (Activity::SendNotification, StepResult::Ok) => "delivered",
        (Activity::UpdateAlertStatus, StepResult::Ok) => "updated",
    };
    let fallback = step.instead_of.iter().map(|other| format!(" as the fallback for {other}"));
    let attempts = (step.attempts > 1).then(|| format!(" after {} attempts", step.attempts));
    let why = match &step.error {
        Some(error) => Some(format!(": {}: {}", error.code, error.message)),
        None => step.message.as_ref().map(|message| format!(": {message}")),
    };
    let retry = step.dead_letter.iter().map(|id| format!(" (campanile deliveries retry {id})"));
    let more: String = fallback.chain(attempts).chain(why).chain(retry).collect();
    format!("{}: {result}{more}", step.name())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{Retry, StepError};

    #[test]
    fn a_receiver_between_two_attempts_has_failed_so_far() {
        let error =
            StepError { code: "http-503".to_owned(), message: "down".to_owned(), retry: Retry::Backoff };
        let step = Step { error: Some(error), ..Step::untried(Activity::SendNotification, "ops") };
        let found = json!({"steps": [Step { result: StepResult::Failed, ..step }], "pending": []});
        assert_eq!(so_far(&found, "alert-1"), ["ops: failed so far: http-503: down"]);
    }

    #[test]
    fn each_receiver_is_named_with_what_became_of_it() {
        let sent = |receiver: &str| Step {
            receiver: Some(receiver.to_owned()),
            attempts: 1,
            ..Step::untried(Activity::SendNotification, "slack")
        };
        let error =
            StepError { code: "http-410".to_owned(), message: "gone".to_owned(), retry: Retry::Never };
        let failed = Step {
            attempts: 3,
            error: Some(error),
            dead_letter: Some("alert-1/ops".to_owned()),
            ..sent("ops")
        };
        let delivered = Step { result: StepResult::Ok, message: Some("posted".to_owned()), ..sent("night") };
        let instead = Step { instead_of: Some("ops".to_owned()), ..delivered.clone() };
        for (step, line) in [
            (failed, "ops: failed after 3 attempts: http-410: gone (campanile deliveries retry alert-1/ops)"),
            (delivered, "night: delivered: posted"),
            (instead, "night: delivered as the fallback for ops: posted"),
        ] {
            assert_eq!(said(&step), line);
        }
    }
}
