//! Lists that fit into a number of bytes: what is sent is limited as a whole.

use serde_json::{Map, Value};

/// As many of the values as fit into `room` bytes of JSON, in their order.
pub(crate) fn values(values: impl Iterator<Item = Value>, mut room: usize) -> Vec<Value> {
    values.filter(|value| took(&mut room, value.to_string().len())).collect()
}

/// As many of the fields as fit into `room` bytes of JSON; the first of a name counts.
pub(crate) fn fields(fields: impl Iterator<Item = (String, String)>, mut room: usize) -> Map<String, Value> {
    let mut kept = Map::new();
    for (name, value) in fields {
        let value = Value::from(value);
        let size = Value::from(name.as_str()).to_string().len() + value.to_string().len();
        if !kept.contains_key(&name) && took(&mut room, size) {
            kept.insert(name, value);
        }
    }
    kept
}

/// Takes as much from the room, and a separator, if it is there.
fn took(room: &mut usize, size: usize) -> bool {
    let left = room.checked_sub(size + 2);
    *room = left.unwrap_or(*room);
    left.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_left_out() {
        let three = || ["aaaa", "bbbbbbbbbbbb", "cc"].into_iter();
        assert_eq!(values(three().map(Value::from), 14), ["aaaa", "cc"]);
        let fields = fields(three().map(|text| (text.to_owned(), text.to_owned())), 24);
        assert_eq!(fields.keys().collect::<Vec<_>>(), ["aaaa", "cc"]);
    }
}
