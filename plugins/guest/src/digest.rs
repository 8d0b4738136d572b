//! Keys for services, in a form that can stand anywhere.

use sha2::{Digest, Sha256};

/// A key for any text that can stand anywhere, in a path, too: 32 hexadecimal digits, so that nothing in it needs an
/// encoding or reads as a secret's placeholder.
pub fn digest(text: &str) -> String {
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_text_has_one_digest() {
        assert_eq!(digest("abc"), "ba7816bf8f01cfea414140de5dae2223");
        assert_ne!(digest("alert-1/a"), digest("alert-1/b"));
    }
}
