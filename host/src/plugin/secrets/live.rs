//! The secrets in force. They are replaced whole while the host runs; each request uses those that it began with, and is searched for
//! them.

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::{Secret, Secrets};

/// The secrets in force. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::plugin) struct LiveSecrets(Arc<ArcSwap<Secrets>>);

impl From<Secrets> for LiveSecrets {
    fn from(secrets: Secrets) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(secrets)))
    }
}

impl LiveSecrets {
    /// Those in force now.
    pub(in crate::plugin) fn current(&self) -> Secrets {
        Secrets::clone(&self.0.load())
    }

    /// Puts others in their place.
    pub(in crate::plugin) fn replace(&self, secrets: Secrets) {
        self.0.store(Arc::new(secrets.after(&self.current())));
    }
}

impl Secrets {
    /// The same, and what answers are still searched for: the credentials of the host itself, which are read at the start alone, and
    /// of each secret the value before this one, which a server may repeat. No placeholder leads to a name with a dot.
    fn after(self, before: &Secrets) -> Self {
        let mut secrets = (*self.secrets).clone();
        for (name, old) in before.secrets.iter() {
            let kept = match name.contains('.') {
                true => name.clone(),
                false if secrets.get(name).is_some_and(|new| new.is_same(old)) => continue,
                false => format!("{name}.previous"),
            };
            secrets.entry(kept).or_insert_with(|| old.clone());
        }
        Self { secrets: Arc::new(secrets), scrubbers: Arc::default() }
    }
}

impl Secret {
    fn is_same(&self, other: &Self) -> bool {
        self.texts() == other.texts() && self.destinations == other.destinations
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::grants::Grants;
    use crate::plugin::secrets::Credential;
    use std::collections::BTreeMap;

    const HOST: &str = "api.example.com";

    fn secrets(value: &str) -> Secrets {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), value).unwrap();
        let table = format!("[A]\nfile = '{}'\nhosts = ['{HOST}']", file.path().display());
        Secrets::load(toml::from_str::<BTreeMap<_, _>>(&table).unwrap()).unwrap()
    }

    fn said(secrets: &Secrets, text: &str) -> String {
        let host = url::Host::Domain(HOST.to_owned());
        secrets.scrubber(&Grants::none(), Some(&host)).text(text)
    }

    #[test]
    fn a_replaced_value_is_still_searched_for_and_the_one_before_it_is_not() {
        let live = LiveSecrets::from(secrets("first-value-of-it"));
        let begun = live.current();
        for value in ["second-value-of-it", "second-value-of-it", "third-value-of-it"] {
            live.replace(secrets(value));
        }
        let text = "first-value-of-it second-value-of-it third-value-of-it";
        assert_eq!(said(&live.current(), text), "first-value-of-it [secret] [secret]");
        assert_eq!(said(&begun, text), "[secret] second-value-of-it third-value-of-it");
    }

    #[test]
    fn the_hosts_own_credentials_stay() {
        let host = url::Host::Domain(HOST.to_owned());
        let password = Credential { name: "mail.password", value: "the-mail-password".into(), host };
        let live = LiveSecrets::from(secrets("first-value-of-it").and_credentials([password]));
        live.replace(secrets("second-value-of-it"));
        assert_eq!(said(&live.current(), "the-mail-password"), "[secret]");
    }
}
