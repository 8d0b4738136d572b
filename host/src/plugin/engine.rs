//! The one engine that runs every plugin: the pooling allocator, the clock that lets the host interrupt a guest that never
//! yields, and no compiler. Its twin, which has one, is made in the compiling process only.

use std::hash::{Hash, Hasher};
use std::io;
use std::num::NonZeroUsize;
use std::thread;
use std::time::Duration;

use sha2::{Digest, Sha256};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Strategy,
    WasmBacktraceDetails,
};

use super::limits::MOST_MEMORY;
use crate::fault::Fault;

/// How often a running guest is asked whether it may go on.
pub(super) const TICK: Duration = Duration::from_millis(10);
/// Instances beyond the calls that are allowed at once: for plugins that are being loaded.
const SPARE_SLOTS: u32 = 4;
/// What one component may be made of; the toolchains in use need four, Python's about thirty.
const MOST_CORE_INSTANCES: u32 = 64;
/// Entries in one table; Python, JavaScript and C# need more than 20,000.
const MOST_TABLE_ELEMENTS: usize = 100_000;
/// What stays mapped in a free slot, so that small guests start without page faults: it is cleared by hand instead, which
/// is quicker than giving it back. The shipped plugins fit (`.cargo/config.toml`).
const KEEP_RESIDENT: usize = 384 << 10;
/// The same of a free table: some 8,000 entries.
const KEEP_RESIDENT_TABLE: usize = 64 << 10;
/// What stays mapped of a free stack; it is zeroed between calls.
const KEEP_RESIDENT_STACK: usize = 16 << 10;
/// How many freed regions are given back to the kernel in one go: each go interrupts every core, but until then ended
/// calls hold memory that nobody counts, two or three regions each.
const DECOMMIT_BATCH: usize = 8;

/// Why no engine could be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// wasmtime refused its configuration.
    #[error("the WebAssembly engine cannot be made")]
    Engine(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The settings of the way out cannot be used.
    #[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("; "))]
    Egress(Vec<Fault>),
}

/// Makes the engine for `calls` calls at once and starts its clock, which ends with the last handle to the engine.
pub(super) fn open(calls: u32) -> Result<Engine, OpenError> {
    let mut config = base_config();
    // What a component can do to a compiler, it does to a process of its own.
    config.enable_compiler(false);
    let engine = pooled(config.clone(), calls).or_else(|error| {
        tracing::warn!(%error, "memory for the pool of plugin instances cannot be reserved: plugin calls will be slower");
        Engine::new(&config)
    });
    let engine = engine.map_err(refused)?;
    start_clock(&engine).map_err(|error| OpenError::Engine(error.into()))?;
    Ok(engine)
}

/// An engine that compiles what [`open`]'s runs. For the compiling process.
pub(super) fn for_compiling() -> wasmtime::Result<Engine> {
    Engine::new(&base_config())
}

/// What tells the machine code of this engine from that of another version, configuration or processor.
pub(super) fn fingerprint() -> Result<[u8; 32], OpenError> {
    // Only an engine with a compiler knows what it makes of this processor; this one compiles nothing.
    let compiling = for_compiling().map_err(refused)?;
    let mut hasher = Sha256Hasher(Sha256::new());
    compiling.precompile_compatibility_hash().hash(&mut hasher);
    Ok(hasher.0.finalize().into())
}

/// SHA-256 of what is hashed.
struct Sha256Hasher(Sha256);

impl Hasher for Sha256Hasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..]: [u8; 32] = self.0.clone().finalize().into();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }
}

pub(super) fn refused(error: wasmtime::Error) -> OpenError {
    OpenError::Engine(error.into_boxed_dyn_error())
}

fn base_config() -> Config {
    let mut config = Config::new();
    config
        .strategy(Strategy::Cranelift)
        .epoch_interruption(true)
        // Plugins speak WASI 0.2; without the machinery of 0.3 a guest has less of the host to attack.
        .concurrency_support(false)
        .wasm_memory64(false)
        // Threads, garbage collection and exceptions are not even compiled in.
        .shared_memory(false)
        .gc_support(false)
        .wasm_stack_switching(false)
        .async_stack_zeroing(true)
        // A crash is told by its cause and the guest's last words; of its frames only whether there are any is asked.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(NonZeroUsize::new(1))
        .parallel_compilation(true);
    config
}

fn pooled(mut config: Config, calls: u32) -> wasmtime::Result<Engine> {
    let slots = calls.saturating_add(SPARE_SLOTS);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(slots)
        .total_core_instances(slots.saturating_mul(8))
        .total_memories(slots.saturating_mul(2))
        .total_tables(slots.saturating_mul(4))
        .total_stacks(slots)
        .max_unused_warm_slots(slots)
        .max_core_instances_per_component(MOST_CORE_INSTANCES)
        .max_memories_per_component(8)
        .max_tables_per_component(MOST_CORE_INSTANCES)
        .max_component_instance_size(10 << 20)
        .max_core_instance_size(10 << 20)
        .max_memory_size(usize::try_from(MOST_MEMORY).unwrap_or(usize::MAX))
        .table_elements(MOST_TABLE_ELEMENTS)
        // Not by asking the kernel which pages were written: what it has swapped out it does not name, and the next
        // plugin in the slot would read it (wasmtime pull request 14357).
        .pagemap_scan(Enabled::No)
        .linear_memory_keep_resident(KEEP_RESIDENT)
        .table_keep_resident(KEEP_RESIDENT_TABLE)
        .async_stack_keep_resident(KEEP_RESIDENT_STACK)
        .decommit_batch_size(DECOMMIT_BATCH);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    Engine::new(&config)
}

/// A thread of its own, since a guest that never yields can hold up every thread of the runtime, timers included.
fn start_clock(engine: &Engine) -> io::Result<()> {
    let engine = engine.weak();
    let clock = thread::Builder::new().name("plugin-clock".to_owned());
    clock.spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            thread::sleep(TICK);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmtime::component::Component;

    #[tokio::test]
    async fn the_engine_of_the_host_compiles_nothing() {
        let component = wat::parse_str("(component)").unwrap();
        assert!(Component::from_binary(&for_compiling().unwrap(), &component).is_ok());
        let error = Component::from_binary(&open(1).unwrap(), &component).err().unwrap();
        assert!(format!("{error:#}").contains("compiler"), "{error:#}");
    }

    #[test]
    fn the_fingerprint_is_the_same_at_every_start() {
        assert_eq!(fingerprint().unwrap(), fingerprint().unwrap());
    }
}
