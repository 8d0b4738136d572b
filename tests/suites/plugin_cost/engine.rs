//! Runs a shipped plugin on an engine that counts instructions, with its example settings, a server that answers at once,
//! and the memory of the default limits.

use std::path::Path;

use bytes::Bytes;
use harness::{artifacts, project};
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use serde_json::Value;
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Config, Store, StoreLimits, StoreLimitsBuilder, Trap};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{
    Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpCtxView, WasiHttpHooks, WasiHttpView,
};

use bindings::notifier::exports::campanile::notifier::notifier::Delivery;
use bindings::provided::campanile::mail::sender;
use bindings::provided::wasi::{config::store, logging::logging};
use bindings::shared::campanile::types::types::{Alert, Failure, Severity, Status};
use bindings::source::exports::campanile::source::source::Request as SourceRequest;
use bindings::status_updater::exports::campanile::status_updater::status_updater as updates;

/// The default limits of `docs/sandbox.md`.
const MEMORY: usize = 128 << 20;
const SOURCE_RESULT: usize = 8 << 20;
const RESULT: usize = 1 << 20;
/// How far a call may go beyond what it should, to be told by how much.
const GRACE: u64 = 4;

mod bindings {
    pub(super) mod shared {
        wasmtime::component::bindgen!({
            path: "../wit",
            inline: "package campanile:tests; world shared { import campanile:types/types@0.1.0; }",
        });
    }

    pub(super) mod provided {
        wasmtime::component::bindgen!({
            path: "../wit",
            inline: "package campanile:tests; world provided {
                import wasi:config/store@0.2.0-rc.1;
                import wasi:logging/logging@0.1.0-draft;
                import campanile:mail/sender@0.1.0;
            }",
        });
    }

    macro_rules! role {
        ($module:ident $inline:literal) => {
            pub(super) mod $module {
                wasmtime::component::bindgen!({
                    path: "../wit",
                    inline: $inline,
                    exports: { default: async },
                    with: { "campanile:types/types": super::shared::campanile::types::types },
                });
            }
        };
    }

    role!(processor "package campanile:tests; world processor { export campanile:processor/processor@0.1.0; }");
    role!(notifier "package campanile:tests; world notifier { export campanile:notifier/notifier@0.1.0; }");
    role!(source "package campanile:tests; world source { export campanile:source/source@0.1.0; }");
    role!(status_updater "package campanile:tests; world status-updater { export campanile:status-updater/status-updater@0.1.0; }");
}

/// What a plugin is called with.
pub(super) enum Input {
    /// A request to a source.
    Decode { path: String, headers: Vec<(String, Vec<u8>)>, body: Vec<u8> },
    /// An alert for a processor.
    Process(Value),
    /// An alert for a notifier or a status updater, whichever the plugin is.
    Receive(Value),
}

/// What a call cost, and why that is too much, if it is.
pub(super) struct Cost {
    pub(super) instructions: u64,
    pub(super) fault: Option<String>,
}

/// Compiles plugins.
pub(super) struct Engine {
    engine: wasmtime::Engine,
    linker: Linker<State>,
}

/// A compiled plugin.
pub(super) struct Plugin {
    component: Component,
    linker: Linker<State>,
    settings: Vec<(String, String)>,
}

impl Engine {
    pub(super) fn new() -> Self {
        let mut config = Config::new();
        config.consume_fuel(true);
        let engine = wasmtime::Engine::new(&config).expect("an engine");
        let mut linker = Linker::new(&engine);
        link(&mut linker).expect("the imports of every role");
        Self { engine, linker }
    }

    pub(super) fn plugin(&self, name: &str) -> Plugin {
        let component = Component::new(&self.engine, artifacts::shipped(name)).expect("a component");
        Plugin { component, linker: self.linker.clone(), settings: settings(name) }
    }
}

fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)?;
    store::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    logging::add_to_linker::<_, HasSelf<State>>(linker, |state| state)?;
    sender::add_to_linker::<_, HasSelf<State>>(linker, |state| state)
}

/// `[config]` of the plugin's example, as the host hands it over.
fn settings(name: &str) -> Vec<(String, String)> {
    let file = project::root().join(format!("plugins/{name}/{name}.toml"));
    let text = std::fs::read_to_string(&file).unwrap_or_default();
    let example: toml::Table = text.parse().expect("an example that is TOML");
    let table = example.get("config").and_then(toml::Value::as_table);
    let text = |value: &toml::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    table.into_iter().flatten().map(|(key, value)| (key.clone(), text(value))).collect()
}

impl Plugin {
    /// Calls the plugin; it may take `most` instructions.
    pub(super) async fn call(&self, input: Input, most: u64) -> Cost {
        let limits = StoreLimitsBuilder::new().memory_size(MEMORY).trap_on_grow_failure(true).build();
        let mut store = Store::new(self.component.engine(), State::new(self.settings.clone(), limits));
        store.limiter(|state| &mut state.limits);
        store.set_fuel(GRACE * most).expect("an engine that counts");
        let answer = self.answer(&mut store, input).await;
        let instructions = GRACE * most - store.get_fuel().expect("an engine that counts");
        let fault = match answer {
            Err(error) if error.downcast_ref::<Trap>() == Some(&Trap::OutOfFuel) => {
                Some(format!("more than {GRACE} times {most} instructions"))
            }
            Err(error) => Some(format!("{error:#}")),
            Ok((size, limit)) if size > limit => {
                Some(format!("an answer of {size} bytes, more than {limit}"))
            }
            Ok(_) if instructions > most => Some(format!("{instructions} instructions, more than {most}")),
            Ok(_) => None,
        };
        Cost { instructions, fault }
    }

    /// The size of the plugin's answer, and the limit on it.
    async fn answer(&self, store: &mut Store<State>, input: Input) -> wasmtime::Result<(usize, usize)> {
        let instance = self.linker.instantiate_pre(&self.component)?;
        match input {
            Input::Decode { path, headers, body } => {
                let guest =
                    bindings::source::SourcePre::new(instance)?.instantiate_async(&mut *store).await?;
                let request = SourceRequest { method: "POST".to_owned(), path, headers, body };
                let decoded = guest.campanile_source_source().call_decode(store, &request).await?;
                let size = decoded.map_or(0, |decoded| {
                    let texts = decoded.alerts.iter().chain(&decoded.warnings).map(String::len);
                    texts.sum::<usize>() + decoded.reply.map_or(0, |reply| reply.body.len())
                });
                Ok((size, SOURCE_RESULT))
            }
            Input::Process(document) => {
                let guest =
                    bindings::processor::ProcessorPre::new(instance)?.instantiate_async(&mut *store).await?;
                let decided =
                    guest.campanile_processor_processor().call_process(store, &alert(&document)).await?;
                Ok((size_of_failure(decided.err()), RESULT))
            }
            Input::Receive(document) if is_updater(&self.component) => {
                let guest = bindings::status_updater::StatusUpdaterPre::new(instance)?;
                let guest = guest.instantiate_async(&mut *store).await?;
                let updater = guest.campanile_status_updater_status_updater();
                let updated = updater.call_update_status(store, &change(&document)).await?;
                Ok((size_of_failure(updated.err()), RESULT))
            }
            Input::Receive(document) => {
                let guest =
                    bindings::notifier::NotifierPre::new(instance)?.instantiate_async(&mut *store).await?;
                let notified =
                    guest.campanile_notifier_notifier().call_notify(store, &delivery(&document)).await?;
                Ok((size_of_failure(notified.err()), RESULT))
            }
        }
    }
}

fn size_of_failure(failure: Option<Failure>) -> usize {
    failure.map_or(0, |failure| failure.message.len())
}

fn is_updater(component: &Component) -> bool {
    let engine = component.engine();
    component.component_type().exports(engine).any(|(name, _)| name.starts_with("campanile:status-updater/"))
}

fn alert(document: &Value) -> Alert {
    let labels = document["labels"].as_object().into_iter().flatten();
    let mut labels: Vec<_> =
        labels.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect();
    labels.sort();
    Alert {
        id: "alert-1".to_owned(),
        title: document["title"].as_str().unwrap_or_default().to_owned(),
        severity: Severity::High,
        status: if document["status"] == "resolved" { Status::Resolved } else { Status::Firing },
        labels,
        document: document.to_string(),
        metadata: "{}".to_owned(),
    }
}

fn delivery(document: &Value) -> Delivery {
    Delivery {
        delivery_id: "alert-1/receiver".to_owned(),
        thread_id: "alert-1/receiver".to_owned(),
        earlier: None,
        receiver: "receiver".to_owned(),
        attempt: 1,
        traceparent: String::new(),
        alert: alert(document),
    }
}

fn change(document: &Value) -> updates::Change {
    let told = |number| updates::DeliveryResult {
        receiver: format!("receiver {number}"),
        state: updates::DeliveryState::Failed,
        message: "x".repeat(1_024),
    };
    updates::Change {
        change_id: "alert-1/updater/failed".to_owned(),
        updater: "updater".to_owned(),
        attempt: 1,
        traceparent: String::new(),
        alert: alert(document),
        outcome: updates::Outcome::Failed,
        deliveries: (0..32).map(told).collect(),
    }
}

/// The host's side of a call.
struct State {
    limits: StoreLimits,
    wasi: WasiCtx,
    http: WasiHttpCtx,
    server: Server,
    table: ResourceTable,
    settings: Vec<(String, String)>,
}

impl State {
    fn new(settings: Vec<(String, String)>, limits: StoreLimits) -> Self {
        Self {
            limits,
            wasi: WasiCtx::builder().build(),
            http: WasiHttpCtx::new(),
            server: Server,
            table: ResourceTable::new(),
            settings,
        }
    }
}

/// A server that takes what comes and answers `{}`.
struct Server;

type Sent = Result<(Response<WasiBody>, Box<dyn Future<Output = Result<(), Error>> + Send>), Error>;

impl WasiHttpHooks for Server {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        _options: Option<RequestOptions>,
        _processed: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        Box::new(async move {
            request.into_body().collect().await?;
            let body = Full::new(Bytes::from_static(b"{}")).map_err(|never| match never {}).boxed_unsync();
            Ok((Response::new(body), Box::new(async { Ok(()) }) as _))
        })
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for State {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.server, table: &mut self.table, ctx: &mut self.http }
    }
}

impl store::Host for State {
    fn get(&mut self, key: String) -> Result<Option<String>, store::Error> {
        Ok(self.settings.iter().find(|(name, _)| *name == key).map(|(_, value)| value.clone()))
    }

    fn get_all(&mut self) -> Result<Vec<(String, String)>, store::Error> {
        Ok(self.settings.clone())
    }
}

impl logging::Host for State {
    fn log(&mut self, _: logging::Level, _: String, _: String) {}
}

impl sender::Host for State {
    fn send(&mut self, _: sender::Message) -> Result<String, sender::Error> {
        Ok("mail-1".to_owned())
    }
}

/// A payload of a source: where it is in the project, with its headers.
pub(super) fn headers(payload: &Path) -> Vec<(String, Vec<u8>)> {
    let text = std::fs::read_to_string(payload.with_extension("headers")).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.trim().to_lowercase(), value.trim().as_bytes().to_vec())).collect()
}
