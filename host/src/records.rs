//! What the host keeps in its store, as types: alerts, where they come from, ledgers, acknowledgements. Where what Temporal stores is
//! encrypted, so is this.

use campanile_store::{Store, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::store::StoreHandle;
use crate::temporal::Codec;

/// Why a record cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The store does not answer.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What it holds is not what this host wrote, or is encrypted with a key that it does not have.
    #[error("what the store holds cannot be read: {0}")]
    Unreadable(String),
}

/// The store and the keys to what is in it. Cheap to clone.
#[derive(Clone)]
pub struct Records {
    /// The store.
    pub handle: StoreHandle,
    codec: Option<Codec>,
}

impl Records {
    /// The records in this store, encrypted if there is a codec.
    pub fn new(handle: StoreHandle, codec: Option<Codec>) -> Self {
        Self { handle, codec }
    }

    /// The store.
    ///
    /// # Errors
    ///
    /// It is not open.
    pub fn store(&self) -> Result<Store, StoreError> {
        self.handle.get()
    }

    /// Whether they are encrypted.
    pub fn encrypts(&self) -> bool {
        self.codec.is_some()
    }

    /// A value as the store keeps it.
    ///
    /// # Errors
    ///
    /// It cannot be encrypted.
    pub fn write<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, RecordError> {
        let unreadable = |error: String| RecordError::Unreadable(error);
        let bytes = serde_json::to_vec(value).map_err(|error| unreadable(error.to_string()))?;
        match &self.codec {
            Some(codec) => codec.seal_bytes(bytes).map_err(|error| unreadable(error.to_string())),
            None => Ok(bytes),
        }
    }

    /// A value that the store kept.
    ///
    /// # Errors
    ///
    /// It cannot be decrypted, or is something else.
    pub fn read<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, RecordError> {
        let opened = Codec::open_bytes(self.codec.as_ref(), bytes);
        let opened = opened.map_err(|error| RecordError::Unreadable(error.to_string()))?;
        serde_json::from_slice(&opened).map_err(|error| RecordError::Unreadable(error.to_string()))
    }
}
