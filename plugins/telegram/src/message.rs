//! The message: text in the HTML that Telegram knows.
//!
//! Source: core.telegram.org/bots/api (sendMessage, editMessageText, ReplyParameters, "HTML style"). A text may have 4,096
//! characters once its tags and entities are read; here they count as written, so it is never longer.

use campanile_guest::template::Template;
use campanile_guest::text::html;
use serde_json::{Value, json};

use crate::settings::Settings;

/// Telegram's limit, in characters.
pub(crate) const TEXT: usize = 4096;

/// The text.
pub(crate) const MESSAGE: Template = Template {
    key: "text",
    default: include_str!("message.html"),
    limit: TEXT,
    required: true,
    escape: html,
};

/// Chat and message that a receipt's id names.
pub(crate) fn place(id: &str) -> Option<(&str, i64)> {
    let (chat, message) = id.split_once('/')?;
    Some((chat, message.parse().ok()?))
}

/// The request that sends it; as an answer to an earlier one that is there still.
pub(crate) fn post(settings: &Settings, earlier: Option<(&str, i64)>, text: &str) -> Value {
    let mut body = json!({
        "chat_id": settings.chat, "text": text, "parse_mode": "HTML",
        "link_preview_options": { "is_disabled": true }, "disable_notification": settings.silent,
    });
    if let Some(topic) = settings.topic {
        body["message_thread_id"] = topic.into();
    }
    if let Some((chat, message)) = earlier {
        body["chat_id"] = chat.into();
        body["reply_parameters"] = json!({ "message_id": message, "allow_sending_without_reply": true });
    }
    body
}

/// The request that puts it in the place of an earlier one.
pub(crate) fn edit((chat, message): (&str, i64), text: &str) -> Value {
    json!({
        "chat_id": chat, "message_id": message, "text": text, "parse_mode": "HTML",
        "link_preview_options": { "is_disabled": true },
    })
}
