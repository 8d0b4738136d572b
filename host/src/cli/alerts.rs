//! `campanile alerts …`: what a running host took, and what became of it.

use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::{Value, json};

use super::output::{self, say};
use super::table::Column::{Reason, Text, Time, Title, Whole};
use super::table::{Column, Rows};
use super::{Target, answered, no_answer};
use crate::temporal::{AlertPage, ListedAlert};
use crate::time;

/// The host itself waits five seconds for Temporal, and twelve for the worker of an alert that is taken over.
const TIMEOUT: Duration = Duration::from_secs(20);
const COLUMNS: [Column; 7] = [
    Time("ACCEPTED"),
    Whole("SEVERITY"),
    Whole("STATUS"),
    Whole("OUTCOME"),
    Text("SCOPE"),
    Title("TITLE"),
    Whole("ALERT"),
];
const OPEN_COLUMNS: [Column; 7] = [
    Time("SINCE"),
    Whole("SEVERITY"),
    Whole("REPEATS"),
    Text("ACKNOWLEDGED BY"),
    Text("SCOPE"),
    Title("TITLE"),
    Whole("ALERT"),
];
const STEPS: [Column; 7] = [
    Time("AT"),
    Text("STEP"),
    Text("WHO"),
    Whole("RESULT"),
    Whole("ATTEMPTS"),
    Whole("MS"),
    Reason("WHAT IT SAID"),
];

#[derive(Args, Debug)]
pub(super) struct Alerts {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List alerts in order of acceptance, the newest first
    #[command(after_help = "Example:\n  campanile alerts list --open --severity critical --since 2h")]
    List(Box<List>),
    /// Show all that is known of one alert
    #[command(after_help = "Example:\n  campanile alerts show alert-disk-20261126-052419 --why payments")]
    Show(Show),
    /// Acknowledge an alert: no other receiver is notified of it any more
    #[command(
        after_help = "Example:\n  campanile alerts ack alert-disk-20261126-052419 --by alice --note rebooting"
    )]
    Ack(Ack),
}

impl Alerts {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::List(list) => list.run().await,
            Command::Show(show) => show.run().await,
            Command::Ack(ack) => ack.run().await,
        }
    }
}

/// Everything that is given has to hold.
#[derive(Args, Debug)]
struct List {
    /// Only what is open now, but for what is stale: the newest notification of each life
    #[arg(long)]
    open: bool,
    /// What is stale as well: not posted again for the host's `store.stale-after`
    #[arg(long, requires = "open")]
    stale: bool,
    /// Whether they are acknowledged: true or false
    #[arg(long, value_name = "BOOL")]
    acknowledged: Option<bool>,
    /// delivered, partial, failed, dropped, unrouted, running or suspended
    #[arg(long, value_parser = super::word)]
    outcome: Option<String>,
    /// low, medium, high or critical
    #[arg(long, value_parser = super::word)]
    severity: Option<String>,
    /// The source that they were posted to, or the scope of the key that posted them
    #[arg(long)]
    scope: Option<String>,
    /// Their id, or dedup_key
    #[arg(long, value_name = "ID")]
    dedup_key: Option<String>,
    /// A receiver that has them
    #[arg(long)]
    receiver: Option<String>,
    /// What is in their title, key or labels
    #[arg(long)]
    text: Option<String>,
    /// Accepted then or later, such as 2h or 2023-12-01T14:30:22Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Accepted before, likewise
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// How many at most, 1 to 1,000
    #[arg(long, default_value = "50")]
    limit: u16,
    /// Go on where the page before ended
    #[arg(long)]
    cursor: Option<String>,
    /// As the host's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let limit = self.limit.to_string();
        let filters = [
            ("open", &self.open.then(|| "true".to_owned())),
            ("stale", &self.stale.then(|| "true".to_owned())),
            ("acknowledged", &self.acknowledged.map(|acknowledged| acknowledged.to_string())),
            ("outcome", &self.outcome),
            ("severity", &self.severity),
            ("scope", &self.scope),
            ("key", &self.dedup_key),
            ("receiver", &self.receiver),
            ("text", &self.text),
            ("since", &self.since),
            ("until", &self.until),
            ("cursor", &self.cursor),
            ("limit", &Some(limit)),
        ];
        let mut url = self.target.at("/alerts")?;
        let given = filters.into_iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        url.query_pairs_mut().extend_pairs(given);
        let value: Value = get(&self.target, url).await?;
        if self.json {
            output::json(&value);
            return Ok(ExitCode::SUCCESS);
        }
        show_page(&serde_json::from_value(value)?, self.open);
        Ok(ExitCode::SUCCESS)
    }
}

fn show_page(page: &AlertPage, open: bool) {
    let mut rows = Rows::new(if open { &OPEN_COLUMNS } else { &COLUMNS });
    for alert in &page.alerts {
        rows.add(if open { open_row(alert) } else { row(alert) });
    }
    rows.print();
    if let Some(next) = &page.next {
        say!();
        say!("there are more: --cursor {next}");
    }
}

fn row(alert: &ListedAlert) -> [String; 7] {
    [
        time::text(alert.accepted_at),
        alert.severity.to_string(),
        alert.status.to_string(),
        alert.outcome.map_or_else(|| word(alert.state), word),
        alert.scope.clone(),
        alert.title.clone(),
        alert.workflow_id.clone(),
    ]
}

fn open_row(alert: &ListedAlert) -> [String; 7] {
    let title = if alert.stale { format!("(stale) {}", alert.title) } else { alert.title.clone() };
    [
        time::text(alert.began_at),
        alert.severity.to_string(),
        alert.repeats.to_string(),
        alert.acknowledged.as_ref().map_or_else(|| "-".to_owned(), |one| one.by.clone()),
        alert.scope.clone(),
        title,
        alert.workflow_id.clone(),
    ]
}

/// A word as it is in JSON.
fn word(word: impl serde::Serialize) -> String {
    let value = serde_json::to_value(word).unwrap_or_default();
    value.as_str().unwrap_or_default().to_owned()
}

#[derive(Args, Debug)]
struct Show {
    /// From `campanile alerts list`, or the answer to the post
    id: String,
    /// Only why this receiver was, or was not, told
    #[arg(long, value_name = "RECEIVER")]
    why: Option<String>,
    /// As the host's JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    target: Target,
}

impl Show {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let mut url = self.target.at("/alerts")?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(&self.id);
        }
        if let Some(receiver) = &self.why {
            url.query_pairs_mut().append_pair("why", receiver);
        }
        let value: Value = get(&self.target, url).await?;
        match (self.json, value["why"].as_array()) {
            (true, _) => output::json(&value),
            (false, Some(why)) => why.iter().filter_map(Value::as_str).for_each(output::line),
            (false, None) => show(&value),
        }
        Ok(ExitCode::SUCCESS)
    }
}

#[derive(Args, Debug)]
struct Ack {
    /// From `campanile alerts list`, or the answer to the post
    id: String,
    /// Who takes it over
    #[arg(long, env = "USER", value_name = "NAME")]
    by: String,
    /// What there is to say
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
    #[command(flatten)]
    target: Target,
}

impl Ack {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let mut url = self.target.at("/alerts")?;
        if let Ok(mut path) = url.path_segments_mut() {
            path.push(&self.id).push("ack");
        }
        let body = json!({"by": self.by, "note": self.note});
        let response = self.target.http(TIMEOUT)?.post(url.clone()).json(&body).send().await;
        let response = response.map_err(|error| no_answer(&url, error))?;
        let acked: Value = answered(response).await?;
        let by = acked["acknowledgement"]["by"].as_str().unwrap_or("-");
        match (by == self.by, acked["stopped"] == true) {
            (false, _) => say!("{by} has taken it over before"),
            (true, true) => say!("taken over: nobody else is told of it any more"),
            (true, false) => say!("taken over: it had come to its end, and its updaters are told"),
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn get(target: &Target, url: reqwest::Url) -> anyhow::Result<Value> {
    let response = target.http(TIMEOUT)?.get(url.clone()).send().await;
    answered(response.map_err(|error| no_answer(&url, error))?).await
}

/// Where it stands first, then the alert.
fn show(found: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    say!("{}: {}", text(&found["workflow_id"]), text(&found["state"]));
    if let Some(url) = found["temporal_url"].as_str() {
        say!("{url}");
    }
    show_alert(found);
    for pending in found["pending"].as_array().into_iter().flatten() {
        let (id, attempt) = (text(&pending["id"]), &pending["attempt"]);
        say!();
        match pending["next_attempt_at"].as_str() {
            Some(at) => say!("waiting: {id}, attempt {attempt} at {at}"),
            None => say!("under way: {id}, attempt {attempt}"),
        }
        show_attempts(&pending["before"]);
        say!("  {}", text(&pending["error"]));
    }
}

fn show_alert(found: &Value) {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let (alert, ledger) = (&found["alert"], &found["ledger"]);
    let (severity, status, title) = (text(&alert["severity"]), text(&alert["status"]), text(&alert["title"]));
    say!();
    say!("{title}");
    let (disposition, source) = (text(&found["disposition"]), text(&alert["source"]["name"]));
    say!("{severity}, {status}, from {source}");
    say!("{disposition}: {}", text(&found["disposition_reason"]));
    if found["stale"] == true {
        say!("stale: it is open, and was not posted again for long");
    }
    if let Some(outcome) = found["outcome"].as_str() {
        say!("outcome: {outcome}");
    }
    let came = if ledger.is_object() { ledger } else { &found["came"] };
    for (name, value) in [
        ("received", &came["received_at"]),
        ("posted to", &came["via"]),
        ("by", &came["key"]),
        ("from", &came["from"]),
        ("goes on with", &ledger["goes_on_with"]),
        ("taken back by", &ledger["taken_back_by"]),
    ] {
        if let Some(value) = value.as_str() {
            say!("{name}: {value}");
        }
    }
    for (name, count) in [("repeats", &found["repeats"]), ("came and went", &ledger["flaps"])] {
        if let Some(count) = count.as_u64().filter(|count| *count > 0) {
            say!("{name}: {count}");
        }
    }
    let decisions = if ledger.is_object() { &ledger["decisions"] } else { &found["decisions"] };
    for (name, list) in [("warning", &ledger["warnings"]), ("decision", decisions)] {
        list.as_array().into_iter().flatten().for_each(|line| say!("{name}: {}", text(line)));
    }
    let acknowledged = &found["acknowledged"];
    if let Some(by) = acknowledged["by"].as_str() {
        let note = acknowledged["note"].as_str().map(|note| format!(": {note}")).unwrap_or_default();
        say!("taken over by {by}, {}{note}", time(&acknowledged["at"]));
    }
    let steps = if ledger.is_object() { &ledger["steps"] } else { &found["steps"] };
    let mut rows = Rows::new(&STEPS);
    for step in steps.as_array().into_iter().flatten() {
        let said = step["error"]["message"].as_str().or(step["message"].as_str()).unwrap_or_default();
        rows.add([
            time(&step["at"]),
            text(&step["activity"]),
            step["receiver"].as_str().map_or_else(|| text(&step["plugin"]), str::to_owned),
            text(&step["result"]),
            step["attempts"].to_string(),
            format!("{:.0}", step["duration_ms"].as_f64().unwrap_or_default()),
            said.to_owned(),
        ]);
    }
    if !rows.is_empty() {
        rows.print();
    }
    steps.as_array().into_iter().flatten().for_each(show_rest);
}

/// What the table of steps has no room for.
fn show_rest(step: &Value) {
    let who = step["receiver"].as_str().or(step["plugin"].as_str()).unwrap_or("-");
    if let Some(other) = step["instead_of"].as_str() {
        say!("{who} stood in for {other}");
    }
    for warning in step["warnings"].as_array().into_iter().flatten() {
        say!("{who}, warning: {}", warning.as_str().unwrap_or("-"));
    }
    if step["before"].is_array() {
        say!("{who}, attempts before the last one:");
        show_attempts(&step["before"]);
    }
    match (step["dead_letter"].as_str(), step["ended"].as_str()) {
        (Some(id), None) => say!("dead letter: campanile deliveries retry {id}"),
        (Some(id), Some(how)) => say!("{id}: {how}"),
        (None, _) => {}
    }
}

/// A time as people read it.
fn time(value: &Value) -> String {
    let time = value.as_str().and_then(|text| text.parse::<Timestamp>().ok());
    time.map_or_else(|| "-".to_owned(), time::text)
}

fn show_attempts(attempts: &Value) {
    for attempt in attempts.as_array().into_iter().flatten() {
        let text = |name: &str| attempt[name].as_str().unwrap_or("-");
        let (number, ms) = (&attempt["number"], &attempt["duration_ms"]);
        say!("  {number}. {} ({ms} ms): {}: {}", time(&attempt["at"]), text("code"), text("message"));
    }
}
