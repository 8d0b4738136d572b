//! What fits into a message. Teams takes about 28 KB (learn.microsoft.com/connectors/teams, "Message size limit"), counted
//! after the workflow has wrapped the card once more: one of 24,453 bytes counted as 28,897
//! (github.com/MicrosoftDocs/msteams-docs/issues/11274). So what is counted here is the card as a text within JSON, and some
//! room is left.

use serde_json::Value;

/// The most of a message, in bytes.
pub(crate) const MESSAGE: usize = 24 * 1024;

/// How much of it a value takes.
pub(crate) fn size(value: &Value) -> usize {
    Value::from(value.to_string()).to_string().len()
}
