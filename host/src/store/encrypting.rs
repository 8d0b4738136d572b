//! Before a host uses its store: what is in it in the clear, or encrypted with a key that was replaced, is encrypted with the key of now.

use std::borrow::Cow;
use std::path::Path;

use campanile_store::{Encryption, Location, Store, StoreError};

use crate::disk::free_bytes;
use crate::temporal::Codec;

/// What proves that a key is the one that a store is encrypted with.
const PROOF: &[u8] = b"\"campanile\"";

/// Makes sure that what this host reads and writes fits the store. With keys, returns once all that it holds is encrypted with the first.
///
/// # Errors
///
/// It is encrypted, and this host has no keys or other ones; there is no room to write it anew; or it does not answer.
pub(super) async fn prepare(
    store: &Store,
    location: &Location,
    codec: Option<&Codec>,
) -> Result<(), StoreError> {
    match codec {
        Some(codec) => Encrypting { store, location, codec }.run().await,
        None => refuse_ciphertext(store, location).await,
    }
}

async fn refuse_ciphertext(store: &Store, location: &Location) -> Result<(), StoreError> {
    // First: another host may begin to encrypt at any moment.
    store.write_in_the_clear();
    match store.encryption().await? {
        Some(Encryption { key, .. }) => Err(StoreError::Encrypted { location: location.to_string(), key }),
        None => Ok(()),
    }
}

struct Encrypting<'a> {
    store: &'a Store,
    location: &'a Location,
    codec: &'a Codec,
}

impl Encrypting<'_> {
    async fn run(&self) -> Result<(), StoreError> {
        let (key, before) = (self.codec.key(), self.store.encryption().await?);
        if let Some(before) = &before {
            self.open(&before.proof)?;
        }
        let rewritten = match before {
            Some(before) if before.is_whole && before.key == key => self.catch_up().await?,
            before => self.change(before.as_ref()).await?,
        };
        tracing::info!(store = %self.location, key, rewritten, "encryption of the store is on");
        Ok(())
    }

    /// Where several hosts share a store, another one may have written with the key of before meanwhile.
    async fn catch_up(&self) -> Result<u64, StoreError> {
        if self.store.is_shared() { self.rewrite().await } else { Ok(0) }
    }

    /// Encrypts what is in the clear, or was encrypted with another key `before`.
    async fn change(&self, before: Option<&Encryption>) -> Result<u64, StoreError> {
        check_room(self.location)?;
        let key = self.codec.key();
        tracing::info!(store = %self.location, key, "encrypting what the store holds, before anything is accepted");
        self.store.begin_encryption(key, &self.seal(PROOF.to_vec())?, before).await?;
        let rewritten = self.rewrite().await?;
        // Other hosts wait for it where they share the store: that is for what was in the clear.
        if !self.store.is_shared() || before.is_none_or(|before| !before.is_whole) {
            self.store.compact().await?;
        }
        self.store.end_encryption(key).await?;
        Ok(rewritten)
    }

    /// Encrypts all that is not encrypted with the first key. Returns how many values there were.
    async fn rewrite(&self) -> Result<u64, StoreError> {
        let anew = |value: &[u8]| self.seal(self.open(value)?);
        let rewritten = self.store.rewrite(&self.codec.mark(), anew).await?;
        self.store.forget_texts().await?;
        Ok(rewritten)
    }

    fn open(&self, value: &[u8]) -> Result<Vec<u8>, StoreError> {
        let opened = Codec::open_bytes(Some(self.codec), value).map(Cow::into_owned);
        let refusal = |error| format!("what the store {} holds cannot be decrypted: {error}", self.location);
        opened.map_err(|error| StoreError::Unreadable(refusal(error)))
    }

    fn seal(&self, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        self.codec.seal_bytes(value).map_err(|error| StoreError::Unreadable(error.to_string()))
    }
}

/// Whether there is room for a second copy of a file and its log.
fn check_room(location: &Location) -> Result<(), StoreError> {
    let Location::File(file) = location else { return Ok(()) };
    let needed = 2 * file.metadata().map_or(0, |file| file.len());
    let directory = file.parent().unwrap_or_else(|| Path::new("."));
    if free_bytes(directory).map_or(true, |free| free >= needed) {
        return Ok(());
    }
    // Without what there is, which changes all the time: each change of this text is logged.
    let (directory, needed) = (directory.display(), needed.div_ceil(1 << 20));
    Err(StoreError::NotWritable(format!("encrypting it takes {needed} MiB: free space in {directory}")))
}
