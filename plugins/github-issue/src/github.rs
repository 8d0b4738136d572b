//! Requests to one issue, and what GitHub's answers mean.
//!
//! Sources: docs.github.com/en/rest, "REST API endpoints for issues", "… for issue comments" and "… for labels";
//! "Rate limits for the REST API": 403 or 429, with `retry-after`, or `x-ratelimit-reset` once nothing remains, and
//! otherwise at least a minute to wait.

use campanile_guest::failure::permanent;
use campanile_guest::http::{Answer, Method, Request, Rule, Send, Service};
use campanile_guest::types::{Failure, Retry};
use serde_json::Value;

use crate::settings::Settings;

/// How the API behaves.
const VERSION: &str = "2022-11-28";

/// The least to wait where GitHub does not say how long, in milliseconds.
const MINUTE: u64 = 60_000;

/// The most of a list that is read, in bytes: what the host lets through.
const LIST: usize = 4 * 1024 * 1024;

const LIMITED: &str = "rate-limited";
const TOKEN: &str = "check the secret behind `authorization`: a token that is valid";
const SEE: &str = "check `owner`, `repo` and the issue, and that the token may see them";
const WRITE: &str = "give the token read and write access to the repository's issues";
const MOVED: &str = "set `owner` and `repo` to where it is now";

const GITHUB: Service = Service {
    id: &[],
    error: &["/message", "/errors/0/message"],
    success: None,
    wait: None,
    rules: &[
        Rule::backoff("rate limit", LIMITED),
        Rule::backoff("Rate Limit", LIMITED),
        Rule::backoff("abuse detection", LIMITED),
        Rule::never("Bad credentials", "bad-credentials", TOKEN),
        Rule::never("Not Found", "not-found", SEE),
        Rule::never("Resource not accessible", "not-accessible", WRITE),
        Rule::never("Moved Permanently", "moved", MOVED),
    ],
};

/// One issue.
pub(crate) struct GitHub<'a> {
    pub(crate) settings: &'a Settings,
    pub(crate) number: u64,
    pub(crate) send: Send<'a>,
}

impl GitHub<'_> {
    /// What is at this path behind the address, if it is what it should be.
    pub(crate) fn get(
        &mut self,
        path: &str,
        query: &[(&str, &str)],
        expected: impl FnOnce(&Value) -> bool,
    ) -> Result<Value, Failure> {
        let request = self.request(Method::Get, path).answer_limit(LIST);
        let request = query.iter().fold(request, |request, (name, value)| request.query(name, value));
        let answer = self.ask(&request)?;
        let json = answer.json();
        if expected(&json) { Ok(json) } else { Err(unexpected(&answer)) }
    }

    /// Sends something there.
    pub(crate) fn tell(&mut self, method: Method, path: &str, body: &Value) -> Result<(), Failure> {
        let request = self.request(method, path).json(body);
        self.ask(&request).map(drop)
    }

    fn request(&self, method: Method, path: &str) -> Request {
        let Settings { url, owner, repo, authorization, .. } = self.settings;
        Request::new(method, format!("{url}/repos/{owner}/{repo}/issues/{}{path}", self.number))
            .header("accept", "application/vnd.github+json")
            .header("x-github-api-version", VERSION)
            .header("authorization", authorization)
    }

    fn ask(&mut self, request: &Request) -> Result<Answer, Failure> {
        let answer = (self.send)(request)?;
        answer.receipt(&GITHUB).map_err(patient)?;
        Ok(answer)
    }
}

/// Who goes on asking while the rate is limited may be banned.
fn patient(failure: Failure) -> Failure {
    match (failure.code.as_str(), failure.retry) {
        (LIMITED, Retry::Backoff) => Failure { retry: Retry::After(MINUTE), ..failure },
        _ => failure,
    }
}

fn unexpected(answer: &Answer) -> Failure {
    let message = format!(
        "GitHub answered {} with something else than was asked for, or with more than {LIST} bytes: check `url`",
        answer.status
    );
    permanent("unexpected-answer", message)
}
