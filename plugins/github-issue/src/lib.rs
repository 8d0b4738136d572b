//! Status updater: comments on the issue on GitHub that an alert belongs to, labels it, and closes it with the alert.

mod comment;
mod github;
mod issue;
mod settings;

use campanile_guest::http::{Request, Send};
use campanile_guest::template::Texts;
use campanile_guest::types::{Failure, Receipt};
use campanile_guest::{Change, Document};

use github::GitHub;
use settings::Settings;

campanile_guest::status_updater! {
    name: "github-issue",
    summary: "Comments on an alert's issue on GitHub, labels it, and closes it with the alert.",
    config: include_str!("../config.schema.json"),
    http: [],
    secrets: ["GITHUB_TOKEN"],
    update: update,
}

fn update(change: &Change) -> Result<Receipt, Failure> {
    let document = Document::parse(&change.alert.document)?;
    let settings = Settings::read(change.state(&document))?;
    tell(change, &document, &settings, &mut Request::send)
}

fn tell(change: &Change, document: &Document, settings: &Settings, send: Send) -> Result<Receipt, Failure> {
    if settings.is_idle() {
        return Ok(nothing(&format!("nothing is configured for {}", change.state(document))));
    }
    let Some(number) = issue::number(document, &settings.issue)? else {
        return Ok(nothing(&format!("the alert names no issue at {}", settings.issue)));
    };
    let mut texts = Texts::of_change(change, document);
    let mut github = GitHub { settings, number, send };
    let issue = github.get("", &[], |json| json["number"].is_u64())?;
    let mut done = Vec::new();
    if settings.comments {
        let said = change.comment(&mut texts, settings.comment.as_deref());
        let body = comment::body(change.state(document), &said);
        done.push(comment::once(&mut github, &issue, &change.mark(), &body)?);
    }
    done.extend(issue::label(&mut github, &issue)?);
    done.extend(issue::close(&mut github, &issue)?);
    let id = format!("{}/{}#{number}", settings.owner, settings.repo);
    Ok(texts.noted(Receipt { message: format!("{id}: {}", done.join(", ")), id: Some(id) }))
}

fn nothing(why: &str) -> Receipt {
    Receipt { id: None, message: format!("nothing to do: {why}") }
}

#[cfg(test)]
mod tests;
