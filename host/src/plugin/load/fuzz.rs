//! Components and modules at random: what cannot be loaded is refused in so many words, and a call of what can be ends
//! with an answer or a typed failure, within its limits.

use std::collections::HashSet;
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use arbitrary::Unstructured;
use tempfile::TempDir;
use tokio::runtime::Runtime as Tokio;
use tokio::sync::watch;
use wasm_smith::{Config, Module};
use wasmtime::Engine;
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

use super::*;
use crate::plugin::code::Code;
use crate::plugin::{Reason, engine, registry};

/// What a call may take here: little, so that the limits are met.
const MEMORY: u64 = 1 << 20;
const LOG_LINES: u32 = 3;
const DEADLINE: Duration = Duration::from_millis(30);
/// How much later than its deadline a call may end on a busy machine.
const SLACK: Duration = Duration::from_secs(2);
/// The longest text of a refusal, in characters, before it is cut for its readers.
const LONGEST_REASON: usize = 16 << 10;

/// What a processor imports and exports, once it is a component.
const SHAPE: &str = r#"(module
    (import "wasi:logging/logging@0.1.0-draft" "log" (func (param i32 i32 i32 i32 i32)))
    (memory (export "memory") 1)
    (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) unreachable)
    (func (export "campanile:processor/processor@0.1.0#describe") (result i32) unreachable)
    (func (export "campanile:processor/processor@0.1.0#process")
        (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) unreachable))"#;

/// A loader, and what it needs around it.
struct Rig {
    loader: Loader,
    compiling: Engine,
    tokio: Tokio,
    resolve: Resolve,
    world: WorldId,
    shape: Vec<u8>,
    _directory: TempDir,
}

static RIG: LazyLock<Rig> = LazyLock::new(Rig::new);

impl Rig {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let limits =
            Limits { memory: Some(ByteSize(MEMORY)), log_lines: Some(LOG_LINES), ..Limits::default() };
        let config = registry::tests::config(directory.path());
        let settings = PluginSettings { limits, ..PluginSettings::default() };
        let mut resolve = Resolve::default();
        let (package, _) = resolve.push_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../wit")).unwrap();
        let world = resolve.select_world(&[package], Some("campanile:processor/plugin@0.1.0")).unwrap();
        Self {
            loader: registry::loader(&config, watch::channel(settings).1).unwrap(),
            compiling: engine::for_compiling().unwrap(),
            tokio: Tokio::new().unwrap(),
            resolve,
            world,
            shape: wat::parse_str(SHAPE).unwrap(),
            _directory: directory,
        }
    }

    /// What a plugin file of these bytes becomes, up to its first call.
    fn link(&self, bytes: &[u8]) -> Result<Guest, String> {
        let contract = contract::inspect(bytes).map_err(|error| error.to_string())?;
        link(&self.loader.runtime, &self.compile(bytes)?, contract.role)
    }

    /// As the compiling process and the host do it, in one process.
    fn compile(&self, bytes: &[u8]) -> Result<Component, String> {
        let code = self.compiling.precompile_component(bytes).map(Code::of_compiler);
        let component = code.and_then(|code| code.load(&self.loader.runtime.engine));
        component.map_err(|error| chain("it does not compile", &error))
    }

    /// A module of the right shape with anything at all in it.
    fn module(&self, choices: &mut Unstructured<'_>) -> arbitrary::Result<Vec<u8>> {
        let config = Config {
            module_shape: Some(self.shape.clone()),
            // Half of them come further than to their first mistake.
            disallow_traps: choices.arbitrary()?,
            exceptions_enabled: false,
            gc_enabled: false,
            memory64_enabled: false,
            threads_enabled: false,
            shared_everything_threads_enabled: false,
            ..Config::default()
        };
        Ok(Module::new(config, choices)?.to_bytes())
    }

    fn component(&self, mut module: Vec<u8>) -> Result<Vec<u8>, String> {
        embed_component_metadata(&mut module, &self.resolve, self.world, StringEncoding::UTF8)
            .map_err(|error| error.to_string())?;
        let encoder = ComponentEncoder::default().validate(false).module(&module);
        encoder.and_then(|mut encoder| encoder.encode()).map_err(|error| format!("{error:#}"))
    }

    /// Calls it, and holds it to its limits.
    fn call(&self, guest: &Guest) -> Result<(), Reason> {
        let terms = Terms { deadline: DEADLINE, ..self.loader.describe_terms("random", Role::Processor) };
        let (guest, started) = (guest.clone(), Instant::now());
        let ended = self.tokio.block_on(
            self.loader
                .runtime
                .run(terms, move |store| Box::pin(async move { Ok(Ok(guest.describe(store).await?)) })),
        );
        assert!(started.elapsed() < DEADLINE + SLACK, "it took {:?}", started.elapsed());
        assert!(ended.usage.memory <= MEMORY, "it had {} bytes", ended.usage.memory);
        assert!(ended.usage.log_lines <= u64::from(LOG_LINES), "it logged {} lines", ended.usage.log_lines);
        match ended.result {
            Ok(_) => Ok(()),
            Err(error) => {
                assert_ne!(error.reason, Reason::Host, "{error}");
                assert!(
                    !error.message.is_empty() && error.message.chars().all(|c| !c.is_control()),
                    "{error}"
                );
                Err(error.reason)
            }
        }
    }
}

fn is_readable(reason: &str) {
    assert!(!reason.is_empty() && reason.len() <= LONGEST_REASON, "{} bytes: {reason}", reason.len());
}

#[test]
fn any_component_is_refused_or_loaded() {
    bolero::check!(name = "component").with_iterations(300).for_each(|bytes: &[u8]| {
        let component = wasm_smith::Component::new(Config::default(), &mut Unstructured::new(bytes));
        for bytes in component.into_iter().map(|component| component.to_bytes()).chain([bytes.to_vec()]) {
            if let Err(reason) = RIG.link(&bytes) {
                is_readable(&reason);
            }
            // What no contract keeps from the compiler.
            drop(RIG.compile(&bytes));
        }
    });
}

#[test]
fn any_module_of_the_right_shape_ends_within_its_limits() {
    bolero::check!(name = "module").with_iterations(300).for_each(|bytes: &[u8]| {
        let Ok(module) = RIG.module(&mut Unstructured::new(bytes)) else { return };
        let Ok(component) = RIG.component(module) else { return };
        match RIG.link(&component) {
            Ok(guest) => _ = RIG.call(&guest),
            Err(reason) => is_readable(&reason),
        }
    });
}

/// Else the target above would test nothing.
#[test]
fn some_of_them_are_called() {
    let ends = (0..200_u32).filter_map(|seed| {
        let bytes: Vec<u8> =
            (0..400_u32).map(|at| digest(&(seed * 1_000 + at).to_le_bytes()).as_bytes()[9]).collect();
        let module = RIG.module(&mut Unstructured::new(&bytes)).ok()?;
        let guest = RIG.link(&RIG.component(module).ok()?).ok()?;
        Some(RIG.call(&guest))
    });
    let ends: HashSet<String> = ends.map(|end| format!("{end:?}")).collect();
    assert!(ends.len() > 2, "{ends:?}");
}
