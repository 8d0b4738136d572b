//! Encryption of what Temporal stores: inputs, results, heartbeats, and the messages of failures. Temporal sees ciphertext; who
//! has the keys is this host. The form is that of Temporal's own samples (`samples-go/encryption`), which codec servers for its
//! web UI read: the whole payload, sealed with AES-256-GCM, the nonce in front.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use futures::future::BoxFuture;
use futures::{FutureExt, future};
use prost::Message;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use temporalio_common::data_converters::{
    DataConverter, DefaultFailureConverter, PayloadCodec, PayloadConversionError, PayloadConverter,
    SerializationContextData,
};
use temporalio_common::protos::temporal::api::common::v1::Payload;

use super::json::ENCODING;
use crate::fault::Fault;
use crate::operator_file;

/// The encoding of an encrypted payload.
const ENCRYPTED: &[u8] = b"binary/encrypted";
/// Where a payload says which key it needs.
const KEY_ID: &str = "encryption-key-id";

/// What an encoded payload with metadata begins with: field 1, length-delimited.
const METADATA_TAG: u8 = 0x0a;

/// `[temporal.encryption]`: what Temporal stores is encrypted.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EncryptionConfig {
    /// The keys: the first one encrypts, all of them decrypt. A key that is replaced stays as long as Temporal keeps what it
    /// encrypted; the store's rows are encrypted anew at the start.
    pub keys: Vec<EncryptionKeyConfig>,
}

/// One of `[[temporal.encryption.keys]]`.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EncryptionKeyConfig {
    /// Its name, which Temporal stores beside what it encrypts.
    pub id: String,
    /// The file that it is in: 32 bytes in base64, as of `openssl rand -base64 32`.
    pub file: PathBuf,
}

/// Encrypts and decrypts. Cheap to clone.
#[derive(Clone)]
pub struct Codec {
    keys: Arc<[(String, LessSafeKey)]>,
    random: SystemRandom,
}

impl Codec {
    /// Reads the keys.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with them.
    pub fn read(config: &EncryptionConfig) -> Result<Self, Vec<Fault>> {
        let (mut keys, mut faults, mut ids) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut fault = |path: String, message: String| faults.push(Fault { path, value: None, message });
        if config.keys.is_empty() {
            let message = "has no key: [[temporal.encryption.keys]] with id and file".to_owned();
            fault("temporal.encryption.keys".to_owned(), message);
        }
        for (index, key) in config.keys.iter().enumerate() {
            let path = format!("temporal.encryption.keys[{index}]");
            if !ids.insert(&key.id) {
                fault(format!("{path}.id"), format!("{:?} is there twice", key.id));
            }
            match read(key) {
                Ok(read) => keys.push((key.id.clone(), read)),
                Err(message) => fault(format!("{path}.file"), message),
            }
        }
        match faults.is_empty() {
            true => Ok(Self { keys: keys.into(), random: SystemRandom::new() }),
            false => Err(faults),
        }
    }

    /// A converter that encrypts with it.
    pub(super) fn converter(self) -> DataConverter {
        // The messages of failures quote what receivers answer.
        DataConverter::new(PayloadConverter::default(), DefaultFailureConverter::new(true), self)
    }

    /// The id of the key that encrypts.
    pub fn key(&self) -> &str {
        self.keys.first().map_or("", |(id, _)| id)
    }

    /// What all have in them that [`Self::seal_bytes`] encrypted with this key, and nothing else: no JSON has such characters.
    pub fn mark(&self) -> Vec<u8> {
        let metadata = HashMap::from([(KEY_ID.to_owned(), self.key().as_bytes().to_vec())]);
        Payload { metadata, ..Payload::default() }.encode_to_vec()
    }

    /// Encrypts what is kept elsewhere than in Temporal: a JSON document.
    ///
    /// # Errors
    ///
    /// It is too large.
    pub fn seal_bytes(&self, data: Vec<u8>) -> Result<Vec<u8>, PayloadConversionError> {
        Ok(self.seal(&Payload { data, ..Payload::default() })?.encode_to_vec())
    }

    /// What [`Self::seal_bytes`] encrypted; a document that is not encrypted is from before encryption was turned on.
    ///
    /// # Errors
    ///
    /// It is encrypted with a key that is not among these, or damaged.
    pub fn open_bytes<'a>(
        codec: Option<&Self>,
        bytes: &'a [u8],
    ) -> Result<Cow<'a, [u8]>, PayloadConversionError> {
        // A sealed payload begins with the tag of its metadata, which no document of ours does.
        if bytes.first() != Some(&METADATA_TAG) {
            return Ok(Cow::Borrowed(bytes));
        }
        let codec = codec.ok_or_else(|| failed("it is encrypted, and there is no [temporal.encryption]"))?;
        let payload = Payload::decode(bytes).map_err(|error| failed(error.to_string()))?;
        Ok(Cow::Owned(codec.open(payload)?.data))
    }

    fn seal(&self, payload: &Payload) -> Result<Payload, PayloadConversionError> {
        let (id, key) = self.keys.first().ok_or_else(|| failed("there is no key"))?;
        let mut nonce = [0; NONCE_LEN];
        self.random.fill(&mut nonce).map_err(|_| failed("there is no randomness"))?;
        let mut sealed = payload.encode_to_vec();
        key.seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut sealed)
            .map_err(|_| failed("the payload is too large to be encrypted"))?;
        let metadata = HashMap::from([
            (ENCODING.to_owned(), ENCRYPTED.to_vec()),
            (KEY_ID.to_owned(), id.clone().into_bytes()),
        ]);
        Ok(Payload { metadata, data: [nonce.as_slice(), &sealed].concat(), ..Payload::default() })
    }

    /// What is not encrypted is from before encryption was turned on.
    fn open(&self, payload: Payload) -> Result<Payload, PayloadConversionError> {
        if payload.metadata.get(ENCODING).is_none_or(|encoding| encoding != ENCRYPTED) {
            return Ok(payload);
        }
        let id = payload.metadata.get(KEY_ID).map(|id| String::from_utf8_lossy(id)).unwrap_or_default();
        let known = self.keys.iter().find(|(known, _)| *known == id);
        let (_, key) = known.ok_or_else(|| {
            failed(format!(
                "it is encrypted with the key {id:?}, which is not among [[temporal.encryption.keys]]"
            ))
        })?;
        let (nonce, sealed) =
            payload.data.split_first_chunk().ok_or_else(|| failed("an encrypted payload is cut off"))?;
        let mut opened = sealed.to_vec();
        let opened = key
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::empty(), &mut opened)
            .map_err(|_| {
                failed(format!(
                    "the key {id:?} did not encrypt it: its file holds another key, or it is damaged"
                ))
            })?;
        Payload::decode(&*opened).map_err(|error| failed(error.to_string()))
    }
}

fn read(config: &EncryptionKeyConfig) -> Result<LessSafeKey, String> {
    let file = config.file.display();
    let text = operator_file::read_text(&config.file, operator_file::VALUE);
    let text = text.map_err(|error| format!("{file} cannot be read: {error}"))?;
    let bytes = STANDARD.decode(text.trim()).ok();
    let key = bytes.and_then(|bytes| UnboundKey::new(&AES_256_GCM, &bytes).ok());
    let wanted = || format!("{file} does not hold 32 bytes in base64: openssl rand -base64 32 makes a key");
    key.map(LessSafeKey::new).ok_or_else(wanted)
}

fn failed(message: impl Into<String>) -> PayloadConversionError {
    PayloadConversionError::EncodingError(message.into().into())
}

type Done = BoxFuture<'static, Result<Vec<Payload>, PayloadConversionError>>;

impl PayloadCodec for Codec {
    fn encode(&self, _: &SerializationContextData, payloads: Vec<Payload>) -> Done {
        future::ready(payloads.iter().map(|payload| self.seal(payload)).collect()).boxed()
    }

    fn decode(&self, _: &SerializationContextData, payloads: Vec<Payload>) -> Done {
        future::ready(payloads.into_iter().map(|payload| self.open(payload)).collect()).boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn key(id: &str, text: &str) -> (tempfile::NamedTempFile, EncryptionKeyConfig) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let config = EncryptionKeyConfig { id: id.to_owned(), file: file.path().to_owned() };
        (file, config)
    }

    fn codec(keys: &[EncryptionKeyConfig]) -> Codec {
        Codec::read(&EncryptionConfig { keys: keys.to_vec() }).unwrap()
    }

    fn payload() -> Payload {
        let metadata = HashMap::from([(ENCODING.to_owned(), b"json/plain".to_vec())]);
        Payload { metadata, data: b"\"the pool is exhausted\"".to_vec(), ..Payload::default() }
    }

    #[test]
    fn what_is_encrypted_comes_back_also_after_the_key_was_replaced() {
        let (_one, old) = key("old", &STANDARD.encode([1; 32]));
        let (_two, new) = key("new", &format!("{}\n", STANDARD.encode([2; 32])));
        let sealed = codec(std::slice::from_ref(&old)).seal(&payload()).unwrap();
        assert!(!sealed.data.windows(4).any(|window| window == b"pool"));
        let both = codec(&[new.clone(), old]);
        assert_eq!(both.open(sealed.clone()).unwrap(), payload());
        assert_eq!(both.seal(&payload()).unwrap().metadata[KEY_ID], b"new");
        let error = codec(&[new]).open(sealed).unwrap_err().to_string();
        assert!(error.contains("\"old\""), "{error}");
    }

    #[test]
    fn documents_of_the_store_are_encrypted_likewise() {
        let (_file, config) = key("k", &STANDARD.encode([1; 32]));
        let (codec, document) = (codec(&[config]), br#"{"title":"the pool is exhausted"}"#);
        let sealed = codec.seal_bytes(document.to_vec()).unwrap();
        assert!(!sealed.windows(4).any(|window| window == b"pool"));
        assert_eq!(&*Codec::open_bytes(Some(&codec), &sealed).unwrap(), document);
        assert_eq!(&*Codec::open_bytes(Some(&codec), document).unwrap(), document, "it was not encrypted");
        assert!(Codec::open_bytes(None, &sealed).is_err());
        let holds = |mark: &[u8]| sealed.windows(mark.len()).any(|window| window == mark);
        assert!(holds(&codec.mark()));
        let (_file, config) = key("kk", &STANDARD.encode([1; 32]));
        assert!(!holds(&self::codec(&[config]).mark()), "another key's");
    }

    #[test]
    fn no_two_are_alike_and_none_can_be_changed() {
        let (_file, config) = key("k", &STANDARD.encode([1; 32]));
        let codec = codec(&[config]);
        let (one, mut other) = (codec.seal(&payload()).unwrap(), codec.seal(&payload()).unwrap());
        assert_ne!(one.data, other.data);
        other.data[NONCE_LEN] ^= 1;
        assert!(codec.open(other).is_err());
        assert!(codec.open(Payload { data: vec![0; 3], ..one }).is_err(), "cut off");
    }

    #[test]
    fn what_is_not_encrypted_is_left_as_it_is() {
        let (_file, config) = key("k", &STANDARD.encode([1; 32]));
        assert_eq!(codec(&[config]).open(payload()).unwrap(), payload());
    }

    #[test]
    fn keys_that_are_none_are_told_all_at_once() {
        let (_file, short) = key("k", &STANDARD.encode([1; 16]));
        let gone = EncryptionKeyConfig { id: "k".to_owned(), file: "/nowhere/key".into() };
        let faults = Codec::read(&EncryptionConfig { keys: vec![short, gone] }).err().unwrap();
        let texts: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(texts[0].contains("openssl rand -base64 32"), "{texts:?}");
    }
}
