//! Status updater: comments on the issue in Jira that an alert belongs to, and moves it on.

mod comment;
mod issue;
mod jira;
mod settings;
mod transition;

use campanile_guest::http::{Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Change, Document};

use jira::Jira;
use settings::Settings;

campanile_guest::status_updater! {
    name: "jira-status",
    summary: "Comments on an alert's issue in Jira, and transitions it.",
    config: include_str!("../config.schema.json"),
    http: [],
    secrets: ["JIRA_TOKEN"],
    update: update,
}

fn update(change: &Change) -> Result<Receipt, Failure> {
    let document = Document::parse(&change.alert.document)?;
    let settings = Settings::read(change.state(&document))?;
    tell(change, &document, &settings, &mut Request::send)
}

/// Comments first, since that is found again; then moves the issue to where it is not yet.
fn tell(change: &Change, document: &Document, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    let state = change.state(document);
    if !settings.comments && settings.transition.is_none() {
        return Ok(nothing(&format!("nothing is configured for {state}")));
    }
    let Some(key) = issue::key(change, document, &settings.issue)? else {
        return Ok(nothing(&format!("the alert names no issue at `{}`", settings.issue)));
    };
    let mut texts = Texts::of_change(change, document);
    let mut jira = Jira { settings, key: &key, send };
    let mut done = Vec::new();
    if settings.comments {
        let said = change.comment(&mut texts, settings.comment.as_deref());
        let body = comment::body(settings.api, state, &said);
        done.push(comment::once(&mut jira, &change.mark(), &body)?.to_owned());
    }
    if let Some(wanted) = &settings.transition {
        done.push(transition::once(&mut jira, wanted)?);
    }
    Ok(texts.noted(Receipt { message: format!("{key}: {}", done.join(", ")), id: Some(key) }))
}

fn nothing(why: &str) -> Receipt {
    Receipt { id: None, message: format!("nothing to do: {why}") }
}

#[cfg(test)]
mod tests;
