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

/// As many of the values as there is room for, in their order.
pub(crate) fn values(values: impl Iterator<Item = Value>, room: &mut usize) -> Vec<Value> {
    values.filter(|value| took(room, size(value))).collect()
}

/// Takes as much from the room, if it is there.
fn took(room: &mut usize, size: usize) -> bool {
    let left = room.checked_sub(size);
    *room = left.unwrap_or(*room);
    left.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out() {
        let mut room = 20;
        let kept = values(["aaaa", "bbbbbbbbbbbbbb", "cc"].into_iter().map(Value::from), &mut room);
        assert_eq!(kept, ["aaaa", "cc"]);
        assert_eq!(room, 20 - size(&Value::from("aaaa")) - size(&Value::from("cc")));
    }
}
