//! What a call can reach of the host: an empty WASI, the way out for HTTP, its settings, its log, and mail.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;
use wasmtime::component::{HasSelf, Linker, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxBuilder, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use super::bindings::provided::campanile::mail::sender;
use super::bindings::provided::wasi::{config::store, logging::logging};
use super::call::Terms;
use super::egress::{Egress, EgressCall, Settled, abort_bodies};
use super::limits::MemoryMeter;
use super::mail::{MailError, MailMessage, Mailer};
use super::output::{Level, Output};
use super::sidecar::Settings;
use super::wasi_http;
use crate::ledger::Usage;

/// The host's side of one call.
pub(super) struct HostState {
    pub memory: MemoryMeter,
    pub output: Output,
    pub requests: EgressCall,
    egress: Arc<Egress>,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    table: ResourceTable,
    settings: Settings,
    mail: Option<Mailer>,
    deadline: Instant,
    config_reads: u64,
    /// How many mails it may still hand over.
    mails_left: u32,
    most_mails: u32,
    mails: u64,
    denied_mails: u64,
}

impl HostState {
    pub(super) fn new(terms: Terms, mail: Option<Mailer>, deadline: Instant) -> Self {
        let output = Output::new(terms.plugin, terms.alert.clone(), &terms.bounds);
        let mut http = WasiHttpCtx::new();
        http.set_field_size_limit(usize::try_from(terms.bounds.http.request_head).unwrap_or(usize::MAX));
        let mut table = ResourceTable::new();
        table.set_max_capacity(terms.bounds.handles as usize);
        let requests = EgressCall::new(terms.egress.clone(), terms.alert, deadline);
        Self {
            memory: MemoryMeter::new(terms.bounds.memory),
            settings: requests.mark(&terms.settings),
            requests,
            egress: terms.egress,
            wasi: empty_wasi(&output, terms.bounds.random),
            output,
            http,
            table,
            mail,
            deadline,
            config_reads: 0,
            mails_left: terms.bounds.mails,
            most_mails: terms.bounds.mails,
            mails: 0,
            denied_mails: 0,
        }
    }

    /// What the call used up, besides `cpu`.
    pub(super) fn usage(&self, cpu: Duration) -> Usage {
        let (log_lines, log_bytes_dropped) = self.output.tally();
        let traffic = self.requests.traffic();
        Usage {
            cpu_us: u64::try_from(cpu.as_micros()).unwrap_or(u64::MAX),
            memory: self.memory.used(),
            config_reads: self.config_reads,
            log_lines,
            log_bytes_dropped,
            http_requests: traffic.requests,
            denied: traffic.denied + self.denied_mails,
            bytes_out: traffic.bytes_out,
            bytes_in: traffic.bytes_in,
            mails: self.mails,
        }
    }

    /// Finishes, by `until` or until `stop`, the requests that the plugin has not waited for. It is not to run again.
    pub(super) async fn settle(&mut self, until: Instant, stop: &CancellationToken) -> Settled {
        self.requests.settle(&mut self.table, until.into(), stop).await
    }

    /// When the call must have ended.
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether nothing reached anybody in this call, though the plugin may send something or tried to.
    pub(super) fn was_idle(&self) -> bool {
        let tried = self.requests.traffic().requests + self.denied_mails > 0;
        let may = self.egress.grants().allow_sending();
        (tried || may) && self.mails == 0 && !self.requests.has_answer()
    }
}

impl Drop for HostState {
    fn drop(&mut self) {
        abort_bodies(&mut self.table);
    }
}

/// No arguments, environment, files or sockets; what is written goes to the log.
fn empty_wasi(output: &Output, most_random: u64) -> WasiCtx {
    let mut wasi = WasiCtxBuilder::new();
    wasi.stdout(output.stdout()).stderr(output.stderr()).max_random_size(most_random);
    wasi.build()
}

/// Everything that a plugin of any role may import.
pub(super) fn link(linker: &mut Linker<HostState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasi_http::link(linker)?;
    store::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    logging::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)?;
    sender::add_to_linker::<_, HasSelf<HostState>>(linker, |state| state)
}

impl WasiView for HostState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for HostState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.requests, table: &mut self.table, ctx: &mut self.http }
    }
}

impl store::Host for HostState {
    fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<String>, store::Error>> {
        self.config_reads += 1;
        let found = self.settings.iter().find(|(name, _)| *name == key);
        Ok(Ok(found.map(|(_, value)| value.clone())))
    }

    fn get_all(&mut self) -> wasmtime::Result<Result<Vec<(String, String)>, store::Error>> {
        self.config_reads += 1;
        Ok(Ok(self.settings.to_vec()))
    }
}

impl logging::Host for HostState {
    fn log(&mut self, level: logging::Level, context: String, message: String) -> wasmtime::Result<()> {
        let level = match level {
            logging::Level::Trace => Level::Trace,
            logging::Level::Debug => Level::Debug,
            logging::Level::Info => Level::Info,
            logging::Level::Warn => Level::Warn,
            logging::Level::Error | logging::Level::Critical => Level::Error,
        };
        self.output.log(level, &context, &message);
        Ok(())
    }
}

impl sender::Host for HostState {
    async fn send(&mut self, message: sender::Message) -> wasmtime::Result<Result<String, sender::Error>> {
        let Some(mailer) = &self.mail else {
            let text = "the host has no mail server: set [mail] in its configuration";
            return Ok(Err(sender::Error::Denied(text.to_owned())));
        };
        let Some(left) = self.mails_left.checked_sub(1) else {
            self.denied_mails += 1;
            let most = self.most_mails;
            let text = format!(
                "a call may send no more mails: the limit is mails = {most}; to allow more, raise it in [limits]"
            );
            return Ok(Err(sender::Error::Denied(text)));
        };
        self.mails_left = left;
        let scrubber = self.egress.scrubber(Some(mailer.host()));
        let sent = mailer.send(self.egress.grants(), &scrubber, message.into(), self.deadline.into()).await;
        match &sent {
            Ok(_) => self.mails += 1,
            Err(MailError::Denied(_)) => self.denied_mails += 1,
            Err(_) => {}
        }
        Ok(sent.map_err(sender::Error::from))
    }
}

impl From<sender::Message> for MailMessage {
    fn from(message: sender::Message) -> Self {
        let sender::Message { id, in_reply_to, from, to, subject, text, html } = message;
        Self { id, in_reply_to, from, to, subject, text, html }
    }
}

impl From<MailError> for sender::Error {
    fn from(error: MailError) -> Self {
        match error {
            MailError::Denied(text) => Self::Denied(text),
            MailError::Invalid(text) => Self::Invalid(text),
            MailError::Rejected(text) => Self::Rejected(text),
            MailError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::sender::Host;
    use super::*;
    use crate::plugin::Role;
    use crate::plugin::egress::Connector;
    use crate::plugin::grants::{Grants, GrantsConfig};
    use crate::plugin::limits::Limits;
    use crate::plugin::mail::MailSetup;
    use crate::plugin::secrets::Secrets;

    /// A call whose mail goes to a server that is not there.
    fn state(limits: &str) -> HostState {
        let limits: Limits = toml::from_str(limits).unwrap();
        let bounds = Arc::new(limits.over(&Limits::default(), Role::Notifier));
        let mail = vec!["*@a.example".to_owned()];
        let grants = Grants::try_from(GrantsConfig { mail, ..GrantsConfig::default() }).unwrap();
        let connector = Connector::new(&Default::default()).unwrap();
        let terms = Terms {
            plugin: "mailer".into(),
            role: Role::Notifier,
            alert: "".into(),
            deadline: Duration::from_secs(9),
            settings: Arc::default(),
            egress: Arc::new(Egress::new("mailer", grants, Secrets::default(), bounds.http, connector)),
            bounds,
            retired: Default::default(),
            permit: None,
        };
        let setup = "host = \"127.0.0.1\"\nport = 1\ntls = \"none\"\nfrom = \"host@a.example\"";
        let mailer = Mailer::new(MailSetup::read(toml::from_str(setup).unwrap()).unwrap());
        HostState::new(terms, Some(mailer), Instant::now() + Duration::from_secs(9))
    }

    #[tokio::test]
    async fn the_number_of_mails_of_a_call_is_bounded() {
        let mut state = state("mails = 3");
        for number in 0..100 {
            let message = sender::Message {
                id: number.to_string(),
                in_reply_to: None,
                from: None,
                to: vec!["ops@a.example".to_owned()],
                subject: "s".to_owned(),
                text: "t".to_owned(),
                html: None,
            };
            let error = state.send(message).await.unwrap().unwrap_err();
            match error {
                sender::Error::Unavailable(_) => assert!(number < 3),
                sender::Error::Denied(text) => {
                    let expected = "a call may send no more mails: the limit is mails = 3; to allow more, raise it in [limits]";
                    assert!(number >= 3 && text == expected, "{number}: {text}");
                }
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(state.usage(Duration::ZERO).denied, 97);
    }
}
