//! A plugin as an operator drops it: a name, a component, and the file that grants it something.

use crate::artifacts;
use crate::receiver::Receiver;

/// What goes into a plugin directory under one name.
#[derive(Clone, Debug)]
pub struct Plugin {
    /// The stem of both files.
    pub name: String,
    /// The component.
    pub component: Vec<u8>,
    /// The text of `<name>.toml`; none is written if it is empty.
    pub sidecar: String,
}

impl Plugin {
    /// A component under a name, without a sidecar.
    pub fn new(name: &str, component: Vec<u8>) -> Self {
        Self { name: name.to_owned(), component, sidecar: String::new() }
    }

    /// A guest of the tests under its own name.
    pub fn guest(name: &str) -> Self {
        Self::new(name, artifacts::guest(name))
    }

    /// A shipped plugin under its own name.
    pub fn shipped(name: &str) -> Self {
        Self::new(name, artifacts::shipped(name))
    }

    /// The recording notifier under a name, granted and told to post to `/<name>` of `receiver`. `more` goes in front of
    /// its sidecar's tables: `when = …` and the like.
    pub fn recorder(name: &str, receiver: &Receiver, more: &str) -> Self {
        Self::new(name, artifacts::guest("recorder")).sidecar(&posting_to(receiver, name, more))
    }

    /// The recording status updater under a name, posting to `/<name>` of `receiver`.
    pub fn status_recorder(name: &str, receiver: &Receiver) -> Self {
        Self::new(name, artifacts::guest("status-recorder")).sidecar(&posting_to(receiver, name, ""))
    }

    /// With this sidecar.
    pub fn sidecar(mut self, text: &str) -> Self {
        self.sidecar = text.to_owned();
        self
    }

    /// With these lines behind the sidecar.
    pub fn and(mut self, lines: &str) -> Self {
        self.sidecar.push('\n');
        self.sidecar.push_str(lines);
        self
    }
}

/// A sidecar with the setting `url` and the grants to post there. `more` goes in front of its tables.
pub fn posting_to(receiver: &Receiver, name: &str, more: &str) -> String {
    let url = receiver.url(&format!("/{name}"));
    format!("{more}\n[config]\nurl = \"{url}\"\n{}", grants(receiver))
}

/// The grants to post anything to `receiver`.
pub fn grants(receiver: &Receiver) -> String {
    let any = receiver.url("/**");
    format!("[grants]\nhttp = [\"POST {any}\"]\nprivate-networks = [\"127.0.0.0/8\"]\n")
}
