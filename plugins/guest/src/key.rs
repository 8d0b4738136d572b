//! Keys by which services recognise an alert: its firing, repeats and resolve have the same.

use sha2::{Digest, Sha256};

use crate::text::{plain, start};

/// How many digits of its hash a long key ends in.
const HASH: usize = 16;

/// The text as a key of at most `limit`, for a body. What is longer ends in a hash of the whole.
pub fn key(text: &str, limit: usize) -> String {
    let (whole, taken) = start(text, limit, plain);
    if taken == text.chars().count() {
        return whole;
    }
    let (kept, _) = start(text, limit.saturating_sub(HASH + 1), plain);
    format!("{kept}-{}", &digest(text)[..HASH])
}

/// A key for any text that can stand anywhere, in a path, too: 32 hexadecimal digits, so that nothing in it needs an
/// encoding or reads as a secret's placeholder.
pub fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::width;

    #[test]
    fn a_short_key_stays_as_it_is() {
        assert_eq!(key("thread/ü ${secret:A}", 100), "thread/ü ${secret:A}");
    }

    #[test]
    fn a_long_key_ends_in_a_hash_of_the_whole() {
        assert_eq!(key(&"x".repeat(40), 20), "xxx-bd913ff68243d41b");
        for character in ["x", "🔥"] {
            let (a, b) = (character.repeat(300) + "a", character.repeat(300) + "b");
            assert!(width(&key(&a, 255)) <= 255);
            assert_ne!(key(&a, 255), key(&b, 255));
        }
    }

    #[test]
    fn any_text_has_one_digest() {
        assert_eq!(digest("abc"), "ba7816bf8f01cfea414140de5dae2223");
        assert_ne!(digest("alert-1/a"), digest("alert-1/b"));
    }
}
