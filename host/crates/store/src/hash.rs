//! Hashes of senders' credentials, with a key that the store alone has. No I/O.

use hmac::{Hmac, Mac};
use sha2::Sha256;

/// How many bytes of a hash count: enough that no two credentials of a store have the same.
const LENGTH: usize = 8;

/// The key.
pub(crate) struct HashKey(Vec<u8>);

impl HashKey {
    pub(crate) fn random() -> Self {
        let parts = [uuid::Uuid::new_v4(), uuid::Uuid::new_v4()];
        Self(parts.iter().flat_map(uuid::Uuid::as_bytes).copied().collect())
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The hash of a text, as 16 hexadecimal digits.
    pub(crate) fn hash(&self, text: &str) -> String {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(text.as_bytes());
        mac.finalize().into_bytes().iter().take(LENGTH).map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_depends_on_text_and_key() {
        let (one, other) = (HashKey::random(), HashKey::random());
        let again = HashKey::from_bytes(one.as_bytes());
        assert_eq!((one.hash("a"), one.hash("a").len()), (again.hash("a"), 16));
        assert_ne!(one.hash("a"), one.hash("b"));
        assert_ne!(one.hash("a"), other.hash("a"));
    }
}
