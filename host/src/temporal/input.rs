//! What an activity is called with. A durable activity gets it as JSON. A local one runs in the process of its workflow,
//! and Temporal records its result but not its input: it gets a reference, which spares each of an alert's calls the
//! writing and reading of the whole alert.

use std::any::Any;
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;
use serde::Serialize;
use serde::de::DeserializeOwned;
use temporalio_common::data_converters::{
    PayloadConversionError, SerializationContext, TemporalDeserializable, TemporalSerializable,
};
use temporalio_common::protos::temporal::api::common::v1::Payload;

use super::continued::Continuation;
use super::json::{ENCODING, Json};

/// The encoding of a reference; it never leaves the process.
const REFERENCE: &[u8] = b"campanile/reference";

/// What local activities of this process can refer to, by number.
static LENT: LazyLock<Mutex<HashMap<u64, Lent>>> = LazyLock::new(Mutex::default);
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A value, and the local activity that it is lent to.
#[derive(Clone)]
struct Lent(Arc<dyn Any + Send + Sync>, Local);

/// What a local activity knows besides.
#[derive(Clone, Debug, Default)]
pub(super) struct Local {
    /// The workflow task that it belongs to: the length of the history when it was scheduled.
    pub(super) workflow_task: u32,
    /// Where its call was begun, if it was, by one of an earlier workflow task.
    pub(super) there: Option<Continuation>,
}

/// What an activity is called with.
#[derive(Debug)]
pub struct Input<T> {
    value: Arc<T>,
    /// Its number, if it travels as a reference.
    reference: Option<u64>,
    local: Local,
}

/// Keeps a reference good; dropped with the future that waits for the activity.
#[derive(Debug)]
pub(super) struct Loan(u64);

impl Drop for Loan {
    fn drop(&mut self) {
        LENT.lock().remove(&self.0);
    }
}

impl<T: Send + Sync + 'static> Input<T> {
    /// For a local activity, which finds the value as long as the caller keeps the loan.
    pub(super) fn lent(value: T, local: Local) -> (Self, Loan) {
        let (value, number) = (Arc::new(value), NEXT.fetch_add(1, Ordering::Relaxed));
        LENT.lock().insert(number, Lent(value.clone(), local.clone()));
        (Self { value, reference: Some(number), local }, Loan(number))
    }
}

impl<T> Input<T> {
    /// The value, for as long as it is needed.
    pub(super) fn value(&self) -> Arc<T> {
        self.value.clone()
    }

    /// What a local activity knows besides; of a durable one nothing.
    pub(super) fn local(&self) -> &Local {
        &self.local
    }
}

impl<T> From<T> for Input<T> {
    fn from(value: T) -> Self {
        Self { value: Arc::new(value), reference: None, local: Local::default() }
    }
}

impl<T> Deref for Input<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: Serialize> TemporalSerializable for Input<T> {
    fn to_payload(&self, ctx: &SerializationContext<'_>) -> Result<Payload, PayloadConversionError> {
        let Some(number) = self.reference else { return Json(&*self.value).to_payload(ctx) };
        let metadata = HashMap::from([(ENCODING.to_owned(), REFERENCE.to_vec())]);
        Ok(Payload { metadata, data: number.to_le_bytes().to_vec(), ..Payload::default() })
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> TemporalDeserializable for Input<T> {
    fn from_payload(
        ctx: &SerializationContext<'_>,
        payload: Payload,
    ) -> Result<Self, PayloadConversionError> {
        if payload.metadata.get(ENCODING).is_none_or(|encoding| encoding != REFERENCE) {
            return Ok(Self::from(Json::<T>::from_payload(ctx, payload)?.0));
        }
        let number = payload.data.try_into().map(u64::from_le_bytes);
        let lent = number.ok().and_then(|number| LENT.lock().get(&number).cloned());
        let lent = lent.and_then(|Lent(value, local)| Some((value.downcast().ok()?, local)));
        let (value, local) = lent.ok_or_else(|| {
            PayloadConversionError::EncodingError("the workflow that made this call is gone".into())
        })?;
        Ok(Self { value, reference: None, local })
    }
}

#[cfg(test)]
mod tests {
    use temporalio_common::data_converters::{PayloadConverter, SerializationContextData};

    use super::*;

    #[test]
    fn what_is_lent_is_the_value_itself_until_the_caller_is_gone() {
        let converter = PayloadConverter::default();
        let ctx = SerializationContext::new(&SerializationContextData::None, &converter);
        let (lent, loan) = Input::lent("alert".to_owned(), Local { workflow_task: 7, there: None });
        let payload = lent.to_payload(&ctx).unwrap();
        let borrowed = Input::<String>::from_payload(&ctx, payload.clone()).unwrap();
        assert!(Arc::ptr_eq(&lent.value, &borrowed.value) && borrowed.local().workflow_task == 7);
        assert!(Input::<u32>::from_payload(&ctx, payload.clone()).is_err(), "it is no number");
        drop(loan);
        let error = Input::<String>::from_payload(&ctx, payload).unwrap_err();
        assert!(error.to_string().contains("is gone"), "{error}");
    }

    #[test]
    fn what_is_not_lent_travels_as_json() {
        let converter = PayloadConverter::default();
        let ctx = SerializationContext::new(&SerializationContextData::None, &converter);
        let payload = Input::from("alert".to_owned()).to_payload(&ctx).unwrap();
        assert_eq!(payload.data, br#""alert""#);
        assert_eq!(*Input::<String>::from_payload(&ctx, payload).unwrap(), "alert");
    }
}
