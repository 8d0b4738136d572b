//! One call of the triage plugin through the plugin wall, beside the same call with wasmtime alone: an engine and an
//! allocator, a fresh instance, and none of the limits. Each is called where its own threads are: activities run on the
//! guests' threads, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile::alert::AlertItem;
use campanile::plugin::{Decision, Plugin};
use futures::future::join_all;
use harness::artifacts;
use tokio::runtime::Handle;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::measure::{Figures, microseconds, quantile};
use crate::wall::{BUDGET, Wall, item};

const ROUNDS: usize = 5;
const CALLS: usize = 1_000;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit",
        inline: "package campanile:bench; world triage { export campanile:processor/processor@0.1.0; }",
        exports: { default: async },
    });
}

use bindings::TriagePre;
use bindings::campanile::types::types::{Alert, Severity, Status};

struct State {
    wasi: WasiCtx,
    table: ResourceTable,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Measures both, with one caller and with eight.
pub(crate) async fn measure(figures: &mut Figures) {
    let wall = Wall::open(&[("triage", artifacts::shipped("triage"), "")]).await;
    let (plugin, item, bare) = (wall.plugin("triage"), Arc::new(item("called")), Arc::new(Bare::new()));
    let given = Arc::new(given(&item));
    for callers in [1, 8] {
        let (mut theirs, mut ours) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            let (bare, given) = (bare.clone(), given.clone());
            theirs.extend(
                by(&Handle::current(), callers, move || Bare::call(bare.clone(), given.clone())).await,
            );
            let (plugin, item) = (plugin.clone(), item.clone());
            ours.extend(by(wall.threads(), callers, move || call(plugin.clone(), item.clone())).await);
        }
        compare(figures, callers, &mut theirs, &mut ours);
    }
}

fn compare(figures: &mut Figures, callers: usize, theirs: &mut [Duration], ours: &mut [Duration]) {
    let who = if callers == 1 { "1 caller".to_owned() } else { format!("{callers} callers") };
    for (name, share, most) in [("p50", 0.5, 1.3), ("p99", 0.99, 2.0)] {
        let (theirs, ours) = (quantile(theirs, share), quantile(ours, share));
        figures.add(&format!("floor: triage called by wasmtime alone, {who}, {name}"), microseconds(theirs));
        figures.add(&format!("triage called through the plugin wall, {who}, {name}"), microseconds(ours));
        let times = ours.as_secs_f64() / theirs.as_secs_f64();
        figures.at_most(&format!("plugin call, {who}, {name}: times the floor"), times, most);
    }
}

/// How long each of [`CALLS`] calls took, by so many callers on these threads. Several share the processors: then each call
/// is a task of its own, so that waiting for a thread counts on both sides.
async fn by<F>(
    threads: &Handle,
    callers: usize,
    call: impl Fn() -> F + Clone + Send + 'static,
) -> Vec<Duration>
where
    F: Future<Output = ()> + Send + 'static,
{
    let caller = || {
        let call = call.clone();
        async move {
            let mut taken = Vec::new();
            for _ in 0..CALLS / callers {
                let started = Instant::now();
                match callers {
                    1 => call().await,
                    _ => tokio::spawn(call()).await.expect("a call that ends well"),
                }
                taken.push(started.elapsed());
            }
            taken
        }
    };
    let callers = join_all((0..callers).map(|_| threads.spawn(caller()))).await;
    callers.into_iter().flat_map(|taken| taken.expect("a caller that ends well")).collect()
}

async fn call(plugin: Arc<Plugin>, item: Arc<AlertItem>) {
    let called = plugin.process(&item, BUDGET).await;
    assert!(matches!(called.result, Ok(Decision::Change(_))), "triage changes every alert");
}

fn given(item: &AlertItem) -> Alert {
    Alert {
        id: item.id.clone(),
        title: item.alert.title.clone(),
        severity: Severity::High,
        status: Status::Firing,
        labels: Vec::new(),
        document: serde_json::to_string(&item.alert).expect("an alert is JSON"),
        metadata: "{}".to_owned(),
    }
}

/// wasmtime, the pooling allocator, and nothing else of ours.
struct Bare {
    engine: Engine,
    plugin: TriagePre<State>,
}

impl Bare {
    fn new() -> Self {
        let mut config = Config::new();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(PoolingAllocationConfig::new()));
        let engine = Engine::new(&config).expect("an engine");
        let mut linker = Linker::new(&engine);
        wasmtime_wasi::p2::add_to_linker_async(&mut linker).expect("no name twice");
        let component = Component::from_binary(&engine, &artifacts::shipped("triage")).expect("a component");
        let plugin =
            TriagePre::new(linker.instantiate_pre(&component).expect("all imports")).expect("a processor");
        Self { engine, plugin }
    }

    async fn call(self: Arc<Self>, alert: Arc<Alert>) {
        let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        let plugin = self.plugin.instantiate_async(&mut store).await.expect("an instance");
        let processor = plugin.campanile_processor_processor();
        let decision = processor.call_process(&mut store, &alert).await.expect("no trap");
        assert!(decision.is_ok(), "triage changes every alert");
    }
}
