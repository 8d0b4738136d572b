//! Cutting to bytes, which is what ntfy counts: of the message as it is, and of the JSON around it.

/// The text, cut between characters where it is longer than `limit` bytes, or than `json_limit` bytes within JSON.
pub(crate) fn fit(text: &str, limit: usize, json_limit: usize) -> String {
    let text: String = text.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    match start(&text, limit, json_limit) {
        whole if whole.len() == text.len() => text,
        _ => format!("{}…", start(&text, limit.saturating_sub(3), json_limit.saturating_sub(3))),
    }
}

fn start(text: &str, mut room: usize, mut json_room: usize) -> &str {
    let end = text.char_indices().find(|(_, character)| {
        let json = character.len_utf8() + usize::from(matches!(character, '"' | '\\' | '\n'));
        match (room.checked_sub(character.len_utf8()), json_room.checked_sub(json)) {
            (Some(left), Some(json_left)) => {
                (room, json_room) = (left, json_left);
                false
            }
            _ => true,
        }
    });
    &text[..end.map_or(text.len(), |(end, _)| end)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutting_counts_bytes() {
        assert_eq!(fit("äöü", 6, 6), "äöü");
        assert_eq!(fit("äöüß", 7, 100), "äö…");
        assert_eq!(fit("a\u{1}b\nc", 100, 100), "ab\nc");
    }

    #[test]
    fn cutting_counts_escapes() {
        assert_eq!(fit("\"\"\"\"", 100, 8), "\"\"\"\"");
        assert_eq!(fit("\"\"\"\"", 100, 7), "\"\"…");
        assert_eq!(fit("\n\\\"x", 100, 7), "\n\\\"x");
    }
}
