//! One call of `triage` through the host's plugin wall, beside the same component called by wasmtime alone with the
//! same kind of allocator: fresh store, instantiate, call, return.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use campanile::alert::{AlertItem, Origin};
use campanile::plugin::{Decision, EgressConfig, Limits, PluginConfig, Registry, Secrets, Trust};
use harness::alerts::alert;
use harness::artifacts;
use wasmtime::component::{Component, Linker, ResourceTable};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};

use crate::measure::{Figures, quantile};

const ROUNDS: usize = 5;
const CALLS: usize = 1_000;
const BUDGET: Duration = Duration::from_secs(1);

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

/// Measures both.
pub(crate) async fn measure(figures: &mut Figures) {
    let directory = tempfile::tempdir().expect("a temporary directory");
    std::fs::write(directory.path().join("triage.wasm"), artifacts::shipped("triage"))
        .expect("a writable directory");
    let registry = Registry::open(config(directory.path())).await.expect("an engine");
    let plugin = registry.processors().pop().expect("triage is loaded");
    let item = item();
    let bare = Bare::new();
    let given = given(&item);

    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for _ in 0..CALLS {
            let started = Instant::now();
            bare.call(&given).await;
            theirs.push(started.elapsed());
        }
        for _ in 0..CALLS {
            let started = Instant::now();
            let called = plugin.process(&item, BUDGET).await;
            assert!(matches!(called.result, Ok(Decision::Change(_))), "triage changes every alert");
            ours.push(started.elapsed());
        }
    }
    let (theirs, ours) = (quantile(&mut theirs, 0.5), quantile(&mut ours, 0.5));
    figures.add("floor: triage called by wasmtime alone, p50", microseconds(theirs));
    figures.add("triage called through the plugin wall, p50", microseconds(ours));
    figures.at_most("plugin call: times the floor", ours.as_secs_f64() / theirs.as_secs_f64(), 1.5);
}

fn config(directory: &Path) -> PluginConfig {
    PluginConfig {
        directory: directory.to_owned(),
        poll_interval: Duration::from_secs(60),
        cache_dir: None,
        max_concurrent_calls: 64,
        limits: Limits::default(),
        secrets: Secrets::load(BTreeMap::new()).expect("no secrets, no faults"),
        mail: None,
        egress: EgressConfig::default(),
        trust: Trust::default(),
    }
}

fn microseconds(duration: Duration) -> String {
    format!("{:.0} µs", duration.as_secs_f64() * 1_000_000.0)
}

fn item() -> AlertItem {
    let alert = serde_json::from_value(alert("called")).expect("a valid alert");
    AlertItem {
        id: "alert-1".to_owned(),
        alert,
        origin: Arc::new(Origin {
            metadata: Arc::default(),
            received_at: jiff::Timestamp::now(),
            traceparent: String::new(),
        }),
    }
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

    async fn call(&self, alert: &Alert) {
        let state = State { wasi: WasiCtx::builder().build(), table: ResourceTable::new() };
        let mut store = Store::new(&self.engine, state);
        let plugin = self.plugin.instantiate_async(&mut store).await.expect("an instance");
        let processor = plugin.campanile_processor_processor();
        let decision = processor.call_process(&mut store, alert).await.expect("no trap");
        assert!(decision.is_ok(), "triage changes every alert");
    }
}
