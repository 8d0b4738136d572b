//! Telling Slack as an app, which can come back to its own message: a resolve turns the message of the firing green, and
//! replies in its thread, which notifies those who follow it.
//!
//! Sources: docs.slack.dev/reference/methods/chat.postMessage and …/chat.update.

use campanile_guest::Delivery;
use campanile_guest::http::{Request, Send};
use campanile_guest::types::{Failure, Receipt};
use serde_json::{Value, json};

use crate::service::{FIXED, GONE, SLACK};
use crate::settings::WebApi;

/// Posts the message, or ends the one of the firing. What was deleted meanwhile is posted anew.
pub(crate) fn deliver(
    api: &WebApi,
    delivery: &Delivery,
    body: Value,
    send: Send,
) -> Result<Receipt, Failure> {
    if let Some((channel, ts)) = delivery.earlier_id().and_then(|id| id.split_once('/')) {
        match end(api, (channel, ts), &body, send) {
            Err(failure) if failure.code == GONE => {}
            done => return done,
        }
    }
    call(api, "chat.postMessage", with(body, &[("channel", &api.channel)]), send)
}

/// Updates the message, then replies to it: a repeat after a crash updates it to what it is already.
fn end(api: &WebApi, (channel, ts): (&str, &str), body: &Value, send: Send) -> Result<Receipt, Failure> {
    let update = with(body.clone(), &[("channel", channel), ("ts", ts)]);
    match call(api, "chat.update", update, send) {
        Err(failure) if failure.code != FIXED => return Err(failure),
        _ => {}
    }
    let reply = json!({ "text": body["text"], "channel": channel, "thread_ts": ts });
    call(api, "chat.postMessage", reply, send)
}

fn with(mut body: Value, fields: &[(&str, &str)]) -> Value {
    for (name, value) in fields {
        body[*name] = json!(value);
    }
    body
}

fn call(api: &WebApi, method: &str, body: Value, send: Send) -> Result<Receipt, Failure> {
    let url = format!("{}/{method}", api.url.trim_end_matches('/'));
    let request = Request::post(url).json(&body).header("authorization", &api.token);
    send(&request.header("content-type", "application/json; charset=utf-8"))?.receipt(&SLACK)
}
