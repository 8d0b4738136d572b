//! Status updater: silences in an Alertmanager what somebody took over, and ends the silence with the alert.

mod api;
mod settings;
mod silence;

use campanile_guest::http::{Request, Send};
use campanile_guest::types::{Failure, Receipt, Status};
use campanile_guest::{Acknowledgement, Change, Document};
use jiff::Timestamp;

use api::Alertmanager;
use settings::Settings;

campanile_guest::status_updater! {
    name: "alertmanager-silence",
    summary: "Silences in an Alertmanager what somebody took over, until the alert ends.",
    config: include_str!("../config.schema.json"),
    http: [],
    secrets: [],
    update: update,
}

fn update(change: &Change) -> Result<Receipt, Failure> {
    tell(change, &Settings::read()?, Timestamp::now(), &mut Request::send)
}

/// The most silences that one resolve ends: a call has ten requests.
const MOST: usize = 8;

fn tell(change: &Change, settings: &Settings, now: Timestamp, send: Send) -> Result<Receipt, Failure> {
    let document = Document::parse(&change.alert.document)?;
    let life = change.thread_id(&document);
    let mut api = Alertmanager { settings, send };
    match (change.alert.status, document.acknowledgement()) {
        (Status::Resolved, _) => end(change, life, &mut api),
        (Status::Firing, Some(taken)) => begin(change, life, taken, now, &mut api),
        (Status::Firing, None) => Ok(nothing("the alert is neither acknowledged nor resolved")),
    }
}

/// Silences the alert, unless that was done for this acknowledgement: also if somebody has ended that silence since.
fn begin(
    change: &Change,
    life: &str,
    taken: Acknowledgement,
    now: Timestamp,
    api: &mut Alertmanager,
) -> Result<Receipt, Failure> {
    let matchers = silence::matchers(&change.alert, api.settings)?;
    let mark = silence::mark(life, Some(taken));
    if let Some(found) = api.marked(&matchers, &mark)?.first() {
        let message = format!("the Alertmanager has the silence already, {}", found.state);
        return Ok(Receipt { id: Some(found.id.clone()), message });
    }
    api.create(&silence::silence(change, life, taken, &matchers, now, api.settings.duration))
}

/// Ends the silences of the alert's life.
fn end(change: &Change, life: &str, api: &mut Alertmanager) -> Result<Receipt, Failure> {
    let Ok(matchers) = silence::matchers(&change.alert, api.settings) else {
        return Ok(nothing("an alert without labels has no silence"));
    };
    let mut found = api.marked(&matchers, &silence::mark(life, None))?;
    found.retain(|silence| silence.state != "expired");
    let Some(first) = found.first() else { return Ok(nothing("the alert has no silence of ours")) };
    for silence in found.iter().take(MOST) {
        api.expire(&silence.id)?;
    }
    let message = match found.len() {
        1 => "the silence was ended".to_owned(),
        2..=MOST => format!("{} silences were ended", found.len()),
        more => format!("{MOST} of {more} silences were ended; the others end by themselves"),
    };
    Ok(Receipt { id: Some(first.id.clone()), message })
}

fn nothing(why: &str) -> Receipt {
    Receipt { id: None, message: format!("nothing to do: {why}") }
}

#[cfg(test)]
mod tests;
