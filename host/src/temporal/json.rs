//! How values travel through Temporal: as JSON, like the SDK's own, but straight between bytes and types. The SDK goes
//! by way of a tree of values, which for documents like ours costs as much as everything else in an activity.

use std::collections::HashMap;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;
use temporalio_common::data_converters::{
    PayloadConversionError, SerializationContext, TemporalDeserializable, TemporalSerializable,
};
use temporalio_common::protos::temporal::api::common::v1::Payload;

pub(super) const ENCODING: &str = "encoding";
const JSON: &[u8] = b"json/plain";

/// A value that travels as JSON.
#[derive(Clone, Debug)]
pub struct Json<T>(
    /// The value.
    pub T,
);

impl<T> From<T> for Json<T> {
    fn from(value: T) -> Self {
        Self(value)
    }
}

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Serialize> TemporalSerializable for Json<T> {
    fn to_payload(&self, _: &SerializationContext<'_>) -> Result<Payload, PayloadConversionError> {
        let data = serde_json::to_vec(&self.0).map_err(encoding)?;
        let metadata = HashMap::from([(ENCODING.to_owned(), JSON.to_vec())]);
        Ok(Payload { metadata, data, ..Payload::default() })
    }
}

impl<T: DeserializeOwned> TemporalDeserializable for Json<T> {
    fn from_payload(_: &SerializationContext<'_>, payload: Payload) -> Result<Self, PayloadConversionError> {
        match payload.metadata.get(ENCODING) {
            Some(encoding) if encoding == JSON => {}
            _ => return Err(PayloadConversionError::WrongEncoding),
        }
        Ok(Self(serde_json::from_slice(&payload.data).map_err(encoding)?))
    }
}

fn encoding(error: serde_json::Error) -> PayloadConversionError {
    PayloadConversionError::EncodingError(Box::new(error))
}
