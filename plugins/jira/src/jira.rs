//! What is asked of Jira.
//!
//! Sources: developer.atlassian.com/cloud/jira/platform/rest/v3 (issues, comments, transitions, "Search for issues using
//! JQL enhanced search"), …/cloud/jira/platform/search-and-reconcile, and developer.atlassian.com/server/jira/platform/rest
//! (version 2, where the search is another).

use campanile_guest::http::{Method, Request, Send};
use campanile_guest::types::{Failure, Receipt, Retry};
use serde_json::{Value, json};

use crate::answer;
use crate::service::JIRA;
use crate::settings::{Api, Settings};

/// Jira, as the operator set it.
pub(crate) struct Jira<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) send: Send<'a>,
}

impl Jira<'_> {
    /// The key of the oldest issue with this label.
    pub(crate) fn find(&mut self, label: &str) -> Result<Option<String>, Failure> {
        let path = if self.settings.api == Api::V3 { "search/jql" } else { "search" };
        let project = self.settings.project.replace(['"', '\\'], "");
        let jql = format!("project = \"{project}\" AND labels = \"{label}\" ORDER BY created ASC");
        let query = json!({ "jql": jql, "fields": ["summary"], "maxResults": 1 });
        let (_, found) = self.call(Method::Post, path, &query)?;
        let key = found.pointer("/issues/0/key").and_then(Value::as_str);
        Ok(key.filter(|key| is_key(key)).map(str::to_owned))
    }

    pub(crate) fn create(&mut self, fields: &Value) -> Result<Receipt, Failure> {
        Ok(self.call(Method::Post, "issue", &json!({ "fields": fields }))?.0)
    }

    pub(crate) fn comment(&mut self, key: &str, body: &Value) -> Result<Receipt, Failure> {
        Ok(self.call(Method::Post, &format!("issue/{key}/comment"), &json!({ "body": body }))?.0)
    }

    /// Moves the issue where the operator wants it when it is over; if that cannot be, why.
    pub(crate) fn end(&mut self, key: &str) -> Result<Option<String>, Failure> {
        let Some(name) = &self.settings.resolve_transition else { return Ok(None) };
        match self.transition(key, name) {
            Err(failure) if failure.retry == Retry::Never => Ok(Some(failure.message)),
            done => done,
        }
    }

    fn transition(&mut self, key: &str, name: &str) -> Result<Option<String>, Failure> {
        let path = format!("issue/{key}/transitions");
        let (_, offered) = self.call(Method::Get, &path, &Value::Null)?;
        let Some(id) = transition_id(&offered, name) else {
            return Ok(Some(format!("{name:?} is not offered, but {}", names(&offered))));
        };
        self.call(Method::Post, &path, &json!({ "transition": { "id": id } }))?;
        Ok(None)
    }

    fn call(&mut self, method: Method, path: &str, body: &Value) -> Result<(Receipt, Value), Failure> {
        let Settings { url, api, token, .. } = self.settings;
        let url = format!("{}/rest/api/{}/{path}", url.trim_end_matches('/'), api.version());
        let mut request = Request::new(method, url);
        if method != Method::Get {
            request = request.json(body);
        }
        let request = request.header("authorization", token).header("accept", "application/json");
        let answer = answer::read((self.send)(&request)?);
        Ok((answer.receipt(&JIRA)?, answer.json()))
    }
}

/// Whether it is the key of an issue, such as `OPS-12`; what is not does not belong into a path.
pub(crate) fn is_key(text: &str) -> bool {
    let is_part = |part: &str, fits: fn(&u8) -> bool| !part.is_empty() && part.as_bytes().iter().all(fits);
    text.rsplit_once('-').is_some_and(|(project, number)| {
        is_part(project, |byte| byte.is_ascii_alphanumeric() || *byte == b'_')
            && is_part(number, u8::is_ascii_digit)
    })
}

fn transitions(offered: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let transitions = offered["transitions"].as_array().into_iter().flatten();
    transitions.filter_map(|transition| Some((transition["name"].as_str()?, transition)))
}

/// By the transition's own name, or by that of the status to which it leads.
fn transition_id<'a>(offered: &'a Value, wanted: &str) -> Option<&'a str> {
    let same = |name: &str| name.to_lowercase() == wanted.to_lowercase();
    let leads = |transition: &Value| transition.pointer("/to/name").and_then(Value::as_str).is_some_and(same);
    let named = transitions(offered).find(|(name, _)| same(name));
    let (_, found) = named.or_else(|| transitions(offered).find(|(_, transition)| leads(transition)))?;
    found["id"].as_str()
}

fn names(offered: &Value) -> String {
    let names: Vec<_> = transitions(offered).map(|(name, _)| format!("{name:?}")).collect();
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}
