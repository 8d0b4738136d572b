//! A service: how an operator sets its plugin up, starting from the plugin's own sidecar, and what it answers.

use std::time::Duration;

use harness::{Answer, Plugin, Receiver, project};

/// A service, and what it answers by its documentation.
#[derive(Clone, Copy)]
pub(super) struct Service {
    /// The plugin that tells it.
    pub(super) plugin: &'static str,
    /// Where it is, in the plugin's own sidecar.
    pub(super) home: &'static str,
    /// What is set beside or in place of that sidecar's `[config]`; `{home}` is where the test's server is.
    pub(super) config: &'static str,
    /// The same for `[grants]`.
    pub(super) grants: &'static str,
    /// The host's secrets: name, value, and what else their tables say.
    pub(super) secrets: &'static [(&'static str, &'static str, &'static str)],
    /// What it answers when all is well: `METHOD path`, status, body. The first is what it is asked first.
    pub(super) answers: &'static [(&'static str, u16, &'static str)],
    /// How it puts off what it is asked first.
    pub(super) pause: Pause,
    /// How it refuses.
    pub(super) refusal: Refusal,
}

/// An answer after which the same request is in order again.
#[derive(Clone, Copy)]
pub(super) struct Pause {
    pub(super) status: u16,
    /// The header `retry-after`, where the service has it.
    pub(super) retry_after: Option<&'static str>,
    pub(super) body: &'static str,
    /// How long it wants to be left alone; 0 if it does not say.
    pub(super) seconds: u64,
}

/// An answer that the same request would get again.
#[derive(Clone, Copy)]
pub(super) struct Refusal {
    /// `METHOD path`.
    pub(super) at: &'static str,
    pub(super) status: u16,
    pub(super) body: &'static str,
    /// What the ledger calls it.
    pub(super) code: &'static str,
    /// What the ledger repeats of it.
    pub(super) words: &'static str,
}

impl Service {
    /// The plugin, told that the service is at `home`, and for every alert.
    pub(super) fn plugin(&self, home: &str) -> Plugin {
        Plugin::shipped(self.plugin).sidecar(&self.sidecar(home))
    }

    fn sidecar(&self, home: &str) -> String {
        let shipped = project::text(&format!("plugins/{0}/{0}.toml", self.plugin)).replace(self.home, home);
        let mut sidecar: toml::Table = shipped.parse().expect("a sidecar is TOML");
        sidecar.remove("when");
        let grants = format!("private-networks = [\"127.0.0.0/8\"]\n{}", self.grants);
        for (name, lines) in [("config", self.config), ("grants", grants.as_str())] {
            let lines: toml::Table = lines.replace("{home}", home).parse().expect("these lines are TOML");
            let table = sidecar.get_mut(name).and_then(toml::Value::as_table_mut);
            table.expect("a sidecar has this table").extend(lines);
        }
        sidecar.to_string()
    }

    /// A server that answers as the service does when all is well.
    pub(super) async fn open(&self) -> Receiver {
        let server = Receiver::start().await;
        for (place, status, body) in self.answers {
            server.always(place, answer(*status, body));
        }
        server
    }
}

impl Pause {
    pub(super) fn answer(&self) -> Answer {
        let answer = answer(self.status, self.body);
        self.retry_after.iter().fold(answer, |answer, seconds| answer.header("retry-after", seconds))
    }

    /// The least time until the service may be asked again. Timers are less exact than clocks.
    pub(super) fn least(&self) -> Duration {
        Duration::from_secs(self.seconds) * 9 / 10
    }
}

pub(super) fn answer(status: u16, body: &str) -> Answer {
    Answer::status(status).body(body)
}
