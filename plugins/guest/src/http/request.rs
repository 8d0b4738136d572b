//! A request in the making.

use serde_json::Value;

use super::encode::{component, form_value};
use super::target::Target;
use super::{Answer, send};
use crate::types::Failure;

/// How the request is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// How does it stand?
    Get,
    /// Something happened.
    Post,
    /// This is how it stands now.
    Put,
    /// This has changed.
    Patch,
    /// This is no more.
    Delete,
}

/// A request. Placeholders such as `${secret:NAME}` in address and headers are the host's to fill.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// How it is meant.
    pub method: Method,
    /// An `http` or `https` address.
    pub url: String,
    /// The headers, beside `content-length` and `user-agent`.
    pub headers: Vec<(&'static str, String)>,
    /// The body; none if empty.
    pub body: String,
    /// The most of the answer that is read, in bytes.
    pub answer_limit: usize,
}

/// What is read of an answer that nobody wants more of, in bytes.
const ANSWER_LIMIT: usize = 64 * 1024;

impl Request {
    /// A request without headers and body.
    pub fn new(method: Method, url: impl Into<String>) -> Self {
        Self { method, url: url.into(), headers: Vec::new(), body: String::new(), answer_limit: ANSWER_LIMIT }
    }

    /// A GET.
    pub fn get(url: impl Into<String>) -> Self {
        Self::new(Method::Get, url)
    }

    /// A POST.
    pub fn post(url: impl Into<String>) -> Self {
        Self::new(Method::Post, url)
    }

    /// With a header, in place of an earlier one of that name; left out if the value is empty.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        let value = value.into();
        self.headers.retain(|(given, _)| *given != name);
        if !value.is_empty() {
            self.headers.push((name, value));
        }
        self
    }

    /// With a parameter in the address's query: text, in which no placeholder of a secret is one.
    pub fn query(mut self, name: &str, value: &str) -> Self {
        let separator = if self.url.contains('?') { '&' } else { '?' };
        self.url.push(separator);
        self.url.push_str(&format!("{}={}", component(name), component(value)));
        self
    }

    /// With more of the answer read: a list, of which the first part is not enough.
    pub fn answer_limit(mut self, bytes: usize) -> Self {
        self.answer_limit = bytes;
        self
    }

    /// With a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.json_text(body.to_string())
    }

    /// With a body that is JSON already, and goes out as it is written.
    pub fn json_text(mut self, body: String) -> Self {
        self.body = body;
        self.header("content-type", "application/json")
    }

    /// With the body of a form. A value that is a secret's placeholder as a whole stays one.
    pub fn form(mut self, fields: &[(&str, &str)]) -> Self {
        let fields = fields.iter().map(|(name, value)| format!("{}={}", component(name), form_value(value)));
        self.body = fields.collect::<Vec<_>>().join("&");
        self.header("content-type", "application/x-www-form-urlencoded")
    }

    /// Sends it once. Any status is an answer; a failure says why there was none, and whether to try again.
    pub fn send(&self) -> Result<Answer, Failure> {
        send::send(self, &Target::parse(&self.url)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_encoded() {
        let request =
            Request::post("https://a.example").form(&[("text", "a b&c=ü"), ("token", "${secret:T}")]);
        assert_eq!(request.body, "text=a%20b%26c%3D%C3%BC&token=${secret:T}");
        assert_eq!(request.headers, [("content-type", "application/x-www-form-urlencoded".to_owned())]);
    }

    #[test]
    fn queries_add_up() {
        let request = Request::get("https://a.example/x").query("wait", "true").query("q", "${a}");
        assert_eq!(request.url, "https://a.example/x?wait=true&q=%24%7Ba%7D");
    }

    #[test]
    fn a_header_replaces_and_an_empty_one_is_left_out() {
        let request =
            Request::post("u").json(&Value::Null).header("content-type", "x").header("authorization", "");
        assert_eq!(request.headers, [("content-type", "x".to_owned())]);
    }
}
