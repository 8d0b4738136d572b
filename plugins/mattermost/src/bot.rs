//! Telling Mattermost as a bot, which can come back to its own message: a resolve turns the message of the firing green, and
//! replies in its thread, which notifies those who follow it.
//!
//! Sources: developers.mattermost.com/api-documentation (github.com/mattermost/mattermost, api/v4/source/posts.yaml), and
//! server/channels/app/post.go there: a `pending_post_id` that was seen within 30 seconds answers with the post that it made.

use campanile_guest::Delivery;
use campanile_guest::http::{Method, Request, Send};
use campanile_guest::types::{Failure, Receipt};
use serde_json::{Value, json};

use crate::message::Message;
use crate::service::{FIXED, FORBIDDEN, GONE, MATTERMOST};
use crate::settings::Bot;

/// Posts the message, or ends the one of the firing. What cannot be changed, since it was deleted or for another reason that
/// Mattermost does not tell from that, is posted anew.
pub(crate) fn deliver(
    url: &str,
    bot: &Bot,
    delivery: &Delivery,
    message: &Message,
    send: Send,
) -> Result<Receipt, Failure> {
    if let Some(id) = delivery.earlier_id().filter(|id| is_id(id)) {
        match end(url, bot, delivery, message, id, send) {
            Err(failure) if [GONE, FORBIDDEN].contains(&failure.code.as_str()) => {}
            done => return done,
        }
    }
    let post =
        with(message.post(), &[("channel_id", &bot.channel), ("pending_post_id", &delivery.delivery_id)]);
    call(bot, Request::post(posts(url)).json(&post), send)
}

/// Changes the message, then replies to it: a repeat after a crash changes it to what it is already.
fn end(
    url: &str,
    bot: &Bot,
    delivery: &Delivery,
    message: &Message,
    id: &str,
    send: Send,
) -> Result<Receipt, Failure> {
    let patch = Request::new(Method::Put, format!("{}/{id}/patch", posts(url))).json(&message.post());
    match call(bot, patch, send) {
        Err(failure) if failure.code != FIXED => return Err(failure),
        _ => {}
    }
    let reply = json!({
        "channel_id": bot.channel, "root_id": id, "message": message.line,
        "pending_post_id": delivery.delivery_id,
    });
    call(bot, Request::post(posts(url)).json(&reply), send)
}

/// Whether it can be the id of a post; a webhook gave none, and another service gave others.
fn is_id(id: &str) -> bool {
    id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

fn posts(url: &str) -> String {
    format!("{}/api/v4/posts", url.trim_end_matches('/'))
}

fn with(mut post: Value, fields: &[(&str, &str)]) -> Value {
    for (name, value) in fields {
        post[*name] = json!(value);
    }
    post
}

fn call(bot: &Bot, request: Request, send: Send) -> Result<Receipt, Failure> {
    send(&request.header("authorization", &bot.token))?.receipt(&MATTERMOST)
}
