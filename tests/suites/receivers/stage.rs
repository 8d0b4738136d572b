//! The stage: a host that tells services of alerts, and servers of the test that stand for them.

use std::collections::BTreeMap;

use harness::receiver::Received;
use harness::{Host, Receiver, Settings};
use serde_json::{Value, json};

use super::alerts::{ended, raised};
use super::service::{Service, answer};

/// What every secret has in it, and nothing else.
const HUSH: &str = "hush";

/// All that the host and its libraries have to say.
const TALKATIVE: &str = "debug,campanile=trace,plugin=trace,hyper=trace,hyper_util=trace,rustls=trace";

/// A host, and the services that it knows.
pub(super) struct Stage {
    pub(super) host: Host,
    servers: Vec<(&'static str, Receiver)>,
}

impl Stage {
    /// A host with the plugins of these services.
    pub(super) async fn of(services: &[Service]) -> Self {
        let (mut settings, mut servers, mut secrets) = (Settings::new(), Vec::new(), BTreeMap::new());
        for service in services {
            let server = service.open().await;
            settings = settings.plugin(service.plugin(&server.url("")));
            servers.push((service.plugin, server));
            secrets.extend(service.secrets.iter().map(|(name, value, more)| (name, (value, more))));
        }
        for (name, (value, more)) in secrets {
            assert!(value.contains(HUSH), "{name} would not be noticed");
            let table = format!("\n[secrets.{name}]\nenv = \"{name}\"\nhosts = [\"127.0.0.1\"]\n{more}\n");
            settings = settings.and_config(&table).variable(name, value);
        }
        let host = settings.argument("--log").argument(TALKATIVE).start().await;
        Self { host, servers }
    }

    /// The server that stands for the service of this plugin.
    pub(super) fn server(&self, plugin: &str) -> &Receiver {
        let found = self.servers.iter().find(|(name, _)| *name == plugin);
        &found.unwrap_or_else(|| panic!("{plugin} is not on the stage")).1
    }

    /// What the service of this plugin was asked, all of it.
    pub(super) fn requests<const COUNT: usize>(&self, plugin: &str) -> [Received; COUNT] {
        let requests = self.server(plugin).all();
        requests
            .try_into()
            .unwrap_or_else(|requests| panic!("{plugin} is to ask {COUNT} times: {requests:#?}"))
    }

    /// What becomes of an alert; no secret is shown on the way.
    pub(super) async fn ledger(&self, alert: Value) -> Value {
        let ledger = self.host.ledger(alert).await;
        self.keeps_its_secrets(&ledger).await;
        ledger
    }

    /// What becomes of an alert, and of its end.
    pub(super) async fn life(&self) -> [Value; 2] {
        let alert = raised();
        [self.ledger(alert.clone()).await, self.ledger(ended(alert)).await]
    }

    /// What becomes of an alert that alice takes over while the one service that is to be told, `busy`, wants to be left
    /// alone for a minute.
    pub(super) async fn taken_over(&self, alert: Value, busy: &Service) -> Value {
        let server = self.server(busy.plugin);
        let (place, status, body) = busy.answers[0];
        server.script(place, [answer(429, "").header("retry-after", "60")], answer(status, body));
        let id = self.host.submit(&[alert]).await.remove(0);
        let path = place.split_once(' ').expect("a method and a path").1;
        server.wait_for(path, 1).await;
        self.host.post(&format!("/alerts/{id}/ack"), &json!({"by": "alice", "note": "on it"})).await.ok();
        let ledger = self.host.completed(&id).await["ledger"].take();
        self.keeps_its_secrets(&ledger).await;
        ledger
    }

    async fn keeps_its_secrets(&self, ledger: &Value) {
        let metrics = self.host.get("/metrics").await.text;
        for shown in [ledger.to_string(), self.host.plugins().await.to_string(), metrics] {
            assert!(!shown.contains(HUSH), "a secret is shown: {shown}");
        }
        let told = self.host.log().events().into_iter().find(|event| event.to_string().contains(HUSH));
        assert!(told.is_none(), "a secret is in the log: {told:?}");
    }
}

/// The last call of a plugin.
pub(super) fn step<'a>(ledger: &'a Value, plugin: &str) -> &'a Value {
    let mut steps = ledger["steps"].as_array().into_iter().flatten();
    let step = steps.rfind(|step| step["plugin"] == plugin);
    step.unwrap_or_else(|| panic!("{plugin} was not called: {ledger}"))
}

/// What the service calls what it was told, if it says so; panics if it was not told.
pub(super) fn receipt<'a>(ledger: &'a Value, plugin: &str) -> Option<&'a str> {
    let step = step(ledger, plugin);
    assert_eq!(step["result"], "ok", "{ledger}");
    step["receipt_id"].as_str()
}

/// The fields of a form, decoded, in their order.
pub(super) fn fields(request: &Received) -> Vec<(String, String)> {
    let body = std::str::from_utf8(&request.body).expect("a form is text");
    let form = reqwest::Url::parse(&format!("form:?{body}")).expect("a form is a query");
    form.query_pairs().into_owned().collect()
}
