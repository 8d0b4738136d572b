//! Detached signatures in minisign's form: who signed, for which file, and whether the content is still that.

use std::path::Path;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use minisign_verify::{Error, Signature};

use super::key::{KeyId, PublicKey};
use crate::operator_file;
use crate::plugin::files;
use crate::plugin::load::digest;

/// What the signature of a component says that is to run without a sidecar.
pub(super) const ALONE: &str = "sidecar:none";

/// What a good signature says.
#[derive(Clone, Debug)]
pub struct Signed {
    /// The number of the key that signed, sixteen hexadecimal digits.
    pub key: String,
    /// Whether a component was signed to run without a sidecar.
    pub is_alone: bool,
    /// Everything that the signer said, as it stands in the signature.
    pub comment: String,
}

/// Why a signature does not count. The texts name the file of the signature, or what is wrong with what it signs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum SignatureError {
    #[error("{file}.minisig is not a signature in minisign's form")]
    Garbled { file: String },
    #[error("{file}.minisig is of minisign's old kind, which is not accepted: sign without -l")]
    Legacy { file: String },
    #[error("it is signed with key {found}, which is not trusted")]
    ForeignKey { found: KeyId },
    #[error("it was signed as {claimed}, not as {file}: a signature counts for one name only")]
    OtherName { file: String, claimed: String },
    #[error(
        "its signature does not say which file it is for: its trusted comment lacks file:{file}, which minisign writes \
         unless told otherwise"
    )]
    NoName { file: String },
    #[error("it is not what key {key} signed: it has {found}, and the signature is for {}", claimed.as_deref()
        .unwrap_or("something else"))]
    OtherContent { key: KeyId, found: String, claimed: Option<String> },
}

/// Checks `text`, the signature beside `file`, against the bytes that were read of it.
pub(super) fn verify(
    file: &str,
    bytes: &[u8],
    text: &str,
    keys: &[PublicKey],
) -> Result<Signed, SignatureError> {
    let garbled = || SignatureError::Garbled { file: file.to_owned() };
    let signature = Signature::decode(text).map_err(|_| garbled())?;
    let id = key_id(text).ok_or_else(garbled)?;
    let claims = Claims::read(signature.trusted_comment());
    let mut tried = Err(SignatureError::ForeignKey { found: id });
    // Two keys can have the same number: it is random, and who makes a key can choose it.
    for key in keys.iter().filter(|key| key.id == id) {
        tried = match key.key.verify(bytes, &signature, false) {
            Ok(()) => return claims.signed(file, id, &signature),
            Err(Error::UnexpectedAlgorithm) => Err(SignatureError::Legacy { file: file.to_owned() }),
            Err(_) => Err(SignatureError::OtherContent {
                key: id,
                found: digest(bytes),
                claimed: claims.digest.map(str::to_owned),
            }),
        };
    }
    tried
}

/// The number of the key in a signature's second line.
fn key_id(text: &str) -> Option<KeyId> {
    KeyId::of(&BASE64_STANDARD.decode(text.lines().nth(1)?.trim_end()).ok()?)
}

/// What a trusted comment says, in minisign's form: `timestamp:1795577794 file:slack.wasm hashed`,
/// with tabs between.
struct Claims<'a> {
    files: Vec<&'a str>,
    digest: Option<&'a str>,
    is_alone: bool,
}

impl<'a> Claims<'a> {
    fn read(comment: &'a str) -> Self {
        let words = || comment.split_ascii_whitespace();
        Self {
            files: words().filter_map(|word| word.strip_prefix("file:")).collect(),
            digest: words().find(|word| word.starts_with("sha256:")),
            is_alone: words().any(|word| word == ALONE),
        }
    }

    fn signed(&self, file: &str, key: KeyId, signature: &Signature) -> Result<Signed, SignatureError> {
        let file = file.to_owned();
        match self.files.as_slice() {
            [claimed] if *claimed == file => Ok(Signed {
                key: key.to_string(),
                is_alone: self.is_alone,
                comment: signature.trusted_comment().to_owned(),
            }),
            [] => Err(SignatureError::NoName { file }),
            claimed => Err(SignatureError::OtherName { file, claimed: claimed.join(" and ") }),
        }
    }
}

/// Checks the signature beside a file on disk.
///
/// # Errors
///
/// The file or its signature cannot be read, or the signature does not count; the text says why.
pub fn verify_file(path: &Path, keys: &[PublicKey]) -> Result<Signed, String> {
    let bytes = operator_file::read(path, files::LARGEST_COMPONENT);
    let bytes = bytes.map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    let directory = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let text = files::read_signature(directory, &name).map_err(|error| error.to_string())?;
    let text = text.ok_or_else(|| format!("it is not signed: there is no {name}.minisig beside it"))?;
    let wanted = super::Wanted(keys);
    verify(&name, &bytes, &text, keys).map_err(|error| format!("{error}; wanted is a signature of {wanted}"))
}
