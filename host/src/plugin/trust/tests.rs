//! Every way to get something past signatures and lock, and what is said about it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::*;
use crate::operator_file::tests::are_refused_in_time;
use crate::plugin::load::digest;

/// A plugin directory beside a key and a lock file.
struct Place {
    root: TempDir,
    key: SigningKey,
}

impl Place {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("plugins.d")).unwrap();
        let key = SigningKey::generate(&root.path().join("campanile.key"), None).unwrap();
        Self { root, key }
    }

    fn plugins(&self) -> PathBuf {
        self.root.path().join("plugins.d")
    }

    fn lock(&self) -> PathBuf {
        self.root.path().join("campanile.lock")
    }

    fn file(&self, name: &str) -> PathBuf {
        self.plugins().join(name)
    }

    fn write(&self, name: &str, text: &str) -> &Self {
        fs::write(self.file(name), text).unwrap();
        self
    }

    fn remove(&self, name: &str) -> &Self {
        fs::remove_file(self.file(name)).unwrap();
        self
    }

    fn sign(&self, names: &[&str]) -> &Self {
        for name in names {
            sign_file(&self.file(name), &self.key).unwrap();
        }
        self
    }

    /// A signed component with a signed sidecar.
    fn signed(&self) -> &Self {
        self.write("slack.wasm", "code").write("slack.toml", "enabled = false");
        self.sign(&["slack.wasm", "slack.toml"])
    }

    fn trust(&self, config: TrustConfig) -> Result<Trust, Vec<Fault>> {
        Trust::open(&config, config.lock.clone().unwrap_or_else(|| self.lock()), &self.plugins())
    }

    fn signatures(&self) -> TrustConfig {
        let trusted_keys = vec![self.key.public_line()];
        TrustConfig { require_signature: true, trusted_keys, ..TrustConfig::default() }
    }

    /// What is said about `NAME`: file and reason.
    fn said(&self, config: TrustConfig, name: &str) -> Option<(String, String)> {
        let stamps = files::scan(&self.plugins(), None, &BTreeMap::new()).unwrap().plugins[name].clone();
        let file = files::read(&self.plugins(), name, &stamps).unwrap();
        let refusal = self.trust(config).unwrap().admit(&self.plugins(), &file).err();
        refusal.map(|refusal| (refusal.file, refusal.reason))
    }

    #[track_caller]
    fn assert_refused(&self, file: &str, words: &[&str]) {
        let (name, _) = file.split_once('.').unwrap();
        let (found, reason) = self.said(self.signatures(), name).expect("it is refused");
        assert_eq!(found, file, "{reason}");
        for word in words {
            assert!(reason.contains(word), "{word:?} is missing in: {reason}");
        }
    }
}

fn said(faults: Vec<Fault>) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn what_is_signed_is_admitted_and_the_refusal_of_the_rest_says_what_to_do() {
    let place = Place::new();
    place.signed();
    assert_eq!(place.said(place.signatures(), "slack"), None);
    let command =
        format!("`campanile plugin sign --key campanile.key {}`", place.file("slack.wasm").display());
    place.remove("slack.wasm.minisig");
    place.assert_refused(
        "slack.wasm",
        &["there is no slack.wasm.minisig", &format!("a signature of key {}", place.key.id()), &command],
    );
    place.sign(&["slack.wasm"]).remove("slack.toml.minisig");
    place.assert_refused("slack.toml", &["there is no slack.toml.minisig"]);
}

#[test]
fn a_changed_file_is_not_what_was_signed() {
    let place = Place::new();
    place.signed().write("slack.toml", "enabled = true");
    let (then, now) = (digest(b"enabled = false"), digest(b"enabled = true"));
    place.assert_refused("slack.toml", &[&format!("it has {now}, and the signature is for {then}")]);
    place.signed().write("slack.wasm", "evil");
    place.assert_refused("slack.wasm", &["it is not what key", &digest(b"evil"), &digest(b"code")]);
}

#[test]
fn a_signature_counts_for_one_name_only() {
    let place = Place::new();
    place.signed();
    for (from, to) in [
        ("wasm", "wasm"),
        ("wasm.minisig", "wasm.minisig"),
        ("toml", "toml"),
        ("toml.minisig", "toml.minisig"),
    ] {
        fs::copy(place.file(&format!("slack.{from}")), place.file(&format!("pager.{to}"))).unwrap();
    }
    place.assert_refused("pager.wasm", &["it was signed as slack.wasm, not as pager.wasm"]);
    fs::copy(place.file("slack.toml.minisig"), place.file("slack.wasm.minisig")).unwrap();
    place.assert_refused("slack.wasm", &["it is not what key"]);
}

#[test]
fn a_sidecar_can_neither_be_taken_away_nor_added() {
    let place = Place::new();
    place.signed().remove("slack.toml");
    place.assert_refused("slack.wasm", &["there is no slack.toml beside it", "an empty one will do, signed"]);
    place.sign(&["slack.wasm"]);
    assert_eq!(place.said(place.signatures(), "slack"), None, "it was signed to run alone");
    place.write("slack.toml", "[grants]").sign(&["slack.toml"]);
    place.assert_refused("slack.toml", &["was signed to run without it (`sidecar:none`)"]);
    place.sign(&["slack.wasm"]);
    assert_eq!(place.said(place.signatures(), "slack"), None);
}

#[test]
fn a_foreign_key_is_named_and_several_can_be_trusted() {
    let (place, other) = (Place::new(), Place::new());
    place.signed();
    sign_file(&place.file("slack.wasm"), &other.key).unwrap();
    place.assert_refused(
        "slack.wasm",
        &[&format!("signed with key {}, which is not trusted", other.key.id()), &place.key.id()],
    );
    let file = place.root.path().join("other.pub");
    fs::write(&file, format!("untrusted comment: x\n{}\n", other.key.public_line())).unwrap();
    let config = TrustConfig { trusted_key_files: vec![file], ..place.signatures() };
    assert_eq!(place.said(config.clone(), "slack"), None);
    place.remove("slack.wasm.minisig");
    let (_, reason) = place.said(config, "slack").unwrap();
    assert!(reason.contains(&format!("one of the keys {}, {}", place.key.id(), other.key.id())), "{reason}");
}

#[test]
fn garbage_is_no_signature() {
    let place = Place::new();
    place.signed();
    let good = fs::read_to_string(place.file("slack.wasm.minisig")).unwrap();
    let line = |index: usize| good.lines().nth(index).unwrap();
    let garbled = "not a signature in minisign's form";
    for (text, words) in [
        (String::new(), garbled),
        ("x".repeat(100), garbled),
        (good.replace("trusted comment: t", "comment: t"), garbled),
        (good.replacen(line(1), "UlVR", 1), garbled),
        (good.lines().take(3).collect::<Vec<_>>().join("\n"), garbled),
        ("é".repeat(5_000), "larger than 4 KiB"),
        // What the signer says is signed, too.
        (good.replace("file:slack.wasm", "file:pager.wasm"), "it is not what key"),
        (good.replace("\thashed", "\tsidecar:none"), "it is not what key"),
    ] {
        place.write("slack.wasm.minisig", &text).assert_refused("slack.wasm", &[words]);
    }
}

#[test]
fn a_signature_that_names_no_file_or_several_does_not_count() {
    let place = Place::new();
    place.signed();
    let keys = [PublicKey::parse(&place.key.public_line()).unwrap()];
    let text = |comment: &str| {
        let path = place.root.path().join("campanile.key");
        let secret = fs::read_to_string(path).unwrap();
        let secret = minisign::SecretKeyBox::from(secret).into_unencrypted_secret_key().unwrap();
        minisign::sign(None, &secret, &b"code"[..], Some(comment), None).unwrap().into_string()
    };
    for (comment, expected) in [
        ("timestamp:1\tfile:slack.wasm\thashed", None),
        ("released by hand", Some("does not say which file")),
        ("file:slack.wasm\tfile:pager.wasm", Some("slack.wasm and pager.wasm")),
        ("file:../slack.wasm", Some("../slack.wasm")),
    ] {
        let said = signature::verify("slack.wasm", b"code", &text(comment), &keys).err();
        let said = said.map(|error| error.to_string());
        assert_eq!(said.is_some(), expected.is_some(), "{comment}: {said:?}");
        assert!(said.unwrap_or_default().contains(expected.unwrap_or_default()), "{comment}");
    }
}

#[test]
fn keys_with_and_without_passwords_are_made_and_read() {
    let place = Place::new();
    let path = place.root.path().join("locked.key");
    let made = SigningKey::generate(&path, Some("secret".to_owned())).unwrap();
    let again = SigningKey::read(&path, Some("secret".to_owned())).unwrap();
    assert_eq!(made.public_line(), again.public_line());
    let error = |password: Option<&str>| SigningKey::read(&path, password.map(str::to_owned)).err().unwrap();
    assert!(matches!(error(None), SigningError::Locked(_)));
    assert!(matches!(error(Some("guess")), SigningError::Minisign(..)));
    assert!(matches!(SigningKey::generate(&path, None), Err(SigningError::Exists(_))));
    let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&path).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o600);
    fs::write(&path, "untrusted comment: x\nAAAA\n").unwrap();
    assert!(matches!(error(None), SigningError::NoKey(_)));
    fs::write(&path, "").unwrap();
    assert!(matches!(error(None), SigningError::NoKey(_)));
}

#[test]
fn a_key_without_a_password_of_minisign_itself_is_read() {
    // Made by `minisign -G -W` 0.11, which writes no checksum.
    let key = "untrusted comment: minisign encrypted secret key\n\
               RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAyOnq6vPEVDeaR2AYEsUPS/dsV59zTcOB\
               707q6cfTbt4RwAVsvXZjqiq1Uhqpwz/unKUSKV6dVG2Ppv6NDI+xEg3Cob2HbmyjAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let place = Place::new();
    let path = place.root.path().join("minisign.key");
    fs::write(&path, key).unwrap();
    let key = SigningKey::read(&path, None).unwrap();
    assert_eq!(key.public_line(), "RWTI6erq88RUNyq1Uhqpwz/unKUSKV6dVG2Ppv6NDI+xEg3Cob2Hbmyj");
    assert_eq!(key.id(), "3754C4F3EAEAE9C8");
    // Its signature, too, with its own comment.
    let signature = "untrusted comment: signature from minisign secret key\n\
        RUTI6erq88RUN9Qic/5MvxN/oa63uOOdDj5DxBniks0wPNjv0qhf8ENCQokdkej95VZclLsCwXUITWggkb8pO91Fy8XXobuY5Aw=\n\
        trusted comment: timestamp:1795577794\tfile:slack.wasm\thashed\n\
        PrjEOW9ewe5m9175RPCm6IIQ6GEdwkHsXlnVquWokmJSjcHZzPcz2FMF1iCuNv7Q4ZkvvyvXCxjCVsndM3lmCw==\n";
    let keys = [PublicKey::parse(&key.public_line()).unwrap()];
    let signed = signature::verify("slack.wasm", b"hi\n", signature, &keys).unwrap();
    assert!(!signed.is_alone && signed.key == key.id());
}

#[test]
fn the_table_is_checked_with_all_its_faults() {
    let place = Place::new();
    let secret = fs::read_to_string(place.root.path().join("campanile.key")).unwrap();
    let config = TrustConfig {
        require_signature: true,
        trusted_keys: vec![place.key.public_line(), "RWQ".to_owned(), secret.clone()],
        trusted_key_files: vec!["/no/such/file".into()],
        require_lock: true,
        lock: Some(place.plugins().join("campanile.lock")),
    };
    let text = said(place.trust(config).unwrap_err());
    for words in [
        "trust.trusted-keys[1]: is not a public key",
        "trust.trusted-keys[2]: this is a secret key",
        "trust.trusted-key-files[0]: /no/such/file cannot be read",
        "trust.lock: ",
    ] {
        assert!(text.contains(words), "{words} is missing in:\n{text}");
    }
    assert!(!text.contains(secret.lines().nth(1).unwrap()), "a secret key is not repeated");
    let none = TrustConfig { require_signature: true, ..TrustConfig::default() };
    assert!(said(place.trust(none).unwrap_err()).contains("trust.trusted-keys: is empty"));
}

#[test]
fn the_lock_is_beside_the_configuration_unless_it_is_named() {
    let at = |config: Option<&str>, lock: Option<&str>| {
        let table = TrustConfig { lock: lock.map(PathBuf::from), ..TrustConfig::default() };
        table.lock_file(config.map(Path::new)).display().to_string()
    };
    assert_eq!(at(None, None), "campanile.lock");
    assert_eq!(at(Some("/etc/campanile.toml"), None), "/etc/campanile.lock");
    assert_eq!(at(Some("/etc/campanile.toml"), Some("own.lock")), "own.lock");
}

fn locked() -> TrustConfig {
    TrustConfig { require_lock: true, ..TrustConfig::default() }
}

#[test]
fn the_lock_admits_what_it_lists_and_the_refusal_names_both_digests() {
    let place = Place::new();
    place.write("slack.wasm", "code").write("slack.toml", "order = 1");
    let refused = |file: &str, words: &[&str]| {
        let (found, reason) = place.said(locked(), "slack").expect("it is refused");
        assert_eq!(found, file, "{reason}");
        let command = format!(
            "`campanile plugin lock --plugins {} --lock {}`",
            place.plugins().display(),
            place.lock().display()
        );
        for words in words.iter().copied().chain([command.as_str()]) {
            assert!(reason.contains(words), "{words:?} is missing in: {reason}");
        }
    };
    refused("slack.wasm", &["campanile.lock cannot be read"]);
    write_lock(&place.lock(), &place.plugins()).unwrap();
    assert_eq!(place.said(locked(), "slack"), None);

    let (code, order) = (digest(b"code"), digest(b"order = 1"));
    place.write("slack.wasm", "evil");
    refused("slack.wasm", &[&format!("it has {}, and ", digest(b"evil")), &format!("admits {code}")]);
    place.write("slack.wasm", "code").write("slack.toml", "order = 2");
    refused(
        "slack.toml",
        &[&format!("its sidecar has {}", digest(b"order = 2")), &format!("admits {order}")],
    );
    place.remove("slack.toml");
    refused("slack.toml", &["its sidecar has no sidecar"]);

    fs::write(place.lock(), "").unwrap();
    refused("slack.wasm", &["does not list it", &code]);
    fs::write(place.lock(), "[[plugin]]\nname = 'slack'\ncomponent = 'sha256:1'\ndigest = 'x'").unwrap();
    refused("slack.wasm", &["is not valid", "plugin[0].component", "plugin[0].digest: is not a known key"]);
}

#[test]
fn a_new_lock_says_what_changed_and_an_old_entry_can_stay() {
    let place = Place::new();
    let write = || write_lock(&place.lock(), &place.plugins()).unwrap();
    place.write("slack.wasm", "one").write("pager.wasm", "pager").write("lost.toml", "");
    let slack = |text: &[u8]| format!("slack: component {}, no sidecar", digest(text));
    assert_eq!(write().len(), 2);
    let old = fs::read_to_string(place.lock()).unwrap();
    assert_eq!(write(), []);
    place.write("slack.wasm", "two");
    assert_eq!(write(), [LockChange::Removed(slack(b"one")), LockChange::Added(slack(b"two"))]);
    let both = fs::read_to_string(place.lock()).unwrap() + &old;
    fs::write(place.lock(), both).unwrap();
    for text in ["one", "two"] {
        place.write("slack.wasm", text);
        assert_eq!(place.said(locked(), "slack"), None, "{text}");
    }
    fs::write(place.lock(), "[[plugins]]").unwrap();
    let error = write_lock(&place.lock(), &place.plugins()).unwrap_err().to_string();
    assert!(error.contains("is not valid") && error.contains("plugins"), "{error}");
}

#[test]
fn odd_files_are_no_keys_signatures_or_locks() {
    are_refused_in_time("minisign.pub", |path| PublicKey::read(path).unwrap_err());
    are_refused_in_time("campanile.key", |path| match SigningKey::read(path, None) {
        Err(SigningError::File { source, .. }) => source.to_string(),
        _ => panic!("it is read"),
    });
    are_refused_in_time("slack.wasm", |path| verify_file(path, &[]).unwrap_err());
    are_refused_in_time("campanile.lock", |path| {
        let plugins = tempfile::tempdir().unwrap();
        write_lock(path, plugins.path()).unwrap_err().to_string()
    });
    are_refused_in_time("slack.wasm.minisig", |path| {
        let place = Place::new();
        place.signed().remove("slack.wasm.minisig");
        // As its neighbours are signed, but under the directory that the path is in.
        for file in ["slack.wasm", "slack.toml", "slack.toml.minisig"] {
            fs::copy(place.file(file), path.with_file_name(file)).unwrap();
        }
        let (trust, directory) = (place.trust(place.signatures()).unwrap(), path.parent().unwrap());
        let file = PluginFile { name: "slack".to_owned(), component: (*b"code").into(), sidecar: None };
        let refusal = trust.admit(directory, &file).unwrap_err();
        assert_eq!(refusal.file, "slack.wasm");
        refusal.reason
    });
}
