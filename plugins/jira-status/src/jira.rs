//! Requests to one issue, and what Jira's answers mean.
//!
//! Sources: developer.atlassian.com/cloud/jira/platform/rest/v3 and …/v2 (issue comments, issues, transitions, and
//! `errorMessages` and `errors` of refusals), docs.atlassian.com/software/jira/docs/api/REST (Data Center, version 2), and
//! …/cloud/jira/platform/rate-limiting (429 with `Retry-After`, also by 503).

use campanile_guest::failure::permanent;
use campanile_guest::http::{Answer, Method, Request, Rule, Send, Service};
use campanile_guest::types::Failure;
use serde_json::Value;

use crate::settings::{Api, Settings};

const SEE: &str = "check that the issue is there, and that the account behind `authorization` may see it";

const JIRA: Service = Service {
    id: &["/id"],
    error: &["/errorMessages/0"],
    success: None,
    wait: None,
    rules: &[
        Rule::never("does not exist", "issue-not-found", SEE),
        Rule::never("Does Not Exist", "issue-not-found", SEE),
    ],
};

/// The most of a list that is read, in bytes: what the host lets through.
const LIST: usize = 4 * 1024 * 1024;

/// One issue.
pub(crate) struct Jira<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) key: &'a str,
    pub(crate) send: Send<'a>,
}

impl Jira<'_> {
    /// What is at this path behind the address, with these parameters; an object with this field.
    pub(crate) fn get(&mut self, path: &str, query: &[(&str, &str)], field: &str) -> Result<Value, Failure> {
        let request = self.request(Method::Get, path).answer_limit(LIST);
        let request = query.iter().fold(request, |request, (name, value)| request.query(name, value));
        let answer = self.ask(&request)?;
        let json = answer.json();
        if json.get(field).is_some() { Ok(json) } else { Err(unexpected(&answer, field)) }
    }

    /// Posts there.
    pub(crate) fn post(&mut self, path: &str, body: &Value) -> Result<(), Failure> {
        let request = self.request(Method::Post, path).json(body);
        self.ask(&request).map(drop)
    }

    fn request(&self, method: Method, path: &str) -> Request {
        let Settings { url, api, authorization, .. } = self.settings;
        let version = if *api == Api::V2 { 2 } else { 3 };
        let url = format!("{url}/rest/api/{version}/issue/{}{path}", self.key);
        Request::new(method, url).header("accept", "application/json").header("authorization", authorization)
    }

    fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        let answer = (self.send)(request)?;
        answer.receipt(&JIRA)?;
        Ok(answer)
    }
}

fn unexpected(answer: &Answer, field: &str) -> Failure {
    let message = format!(
        "Jira answered {} without `{field}`, or with more than {LIST} bytes: check `url`, which ends before /rest",
        answer.status
    );
    permanent("unexpected-answer", message)
}
