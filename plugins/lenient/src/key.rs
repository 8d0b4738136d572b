//! Keys by which alerts are recognised, cut so that two of them never become one.

use sha2::{Digest, Sha256};

/// How many digits of its hash a long key ends in.
const HASH: usize = 16;

/// The text as a key of at most `limit`, in UTF-16 code units. What is longer ends in a hash of the whole.
pub fn key(text: &str, limit: usize) -> String {
    if text.encode_utf16().nth(limit).is_none() {
        return text.to_owned();
    }
    let hash =
        Sha256::digest(text).iter().take(HASH / 2).map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("{}-{hash}", start(text, limit.saturating_sub(HASH + 1)))
}

/// What of a text fits.
fn start(text: &str, limit: usize) -> &str {
    let mut left = limit;
    let end = text.char_indices().find(|(_, c)| match left.checked_sub(c.len_utf16()) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    end.map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_key_stays_as_it_is() {
        assert_eq!(key("thread/ü ${secret:A}", 100), "thread/ü ${secret:A}");
        assert_eq!(key("🔥🔥", 4), "🔥🔥");
    }

    #[test]
    fn a_long_key_ends_in_a_hash_of_the_whole() {
        assert_eq!(key(&"x".repeat(40), 20), "xxx-bd913ff68243d41b");
        for character in ["x", "🔥"] {
            let (a, b) = (character.repeat(300) + "a", character.repeat(300) + "b");
            assert!(key(&a, 255).encode_utf16().count() <= 255);
            assert_ne!(key(&a, 255), key(&b, 255));
        }
    }
}
