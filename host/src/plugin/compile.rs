//! Compiling a component, in a process of its own: a component can be made so that compiling it takes hours or gigabytes,
//! and then only that process ends. It is this executable again, with bounds that it sets on itself before it reads
//! anything, and it leaves the machine code in the private cache of the engine, where the host finds it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::Read;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, io, thread};

use clap::Args;
use rustix::process::{Resource, Rlimit, Signal, nice, setrlimit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::error::{one_line, shown};
use super::limits::ByteSize;
use super::{PluginConfig, engine};
use crate::fault::Fault;

/// How many components are compiled at once; each uses all processors.
const COMPILED_AT_ONCE: usize = 2;
/// The least memory that a compiling process can be given, in bytes.
const LEAST_MEMORY: u64 = 128 << 20;
/// How much a compiling process stands back behind all others, as in nice(1).
const NICENESS: i32 = 10;
/// How many files it may have open.
const MOST_FILES: u64 = 64;
/// The longest explanation that is kept, in characters.
const LONGEST_TEXT: usize = 512;

/// `[compilation]`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct CompilationConfig {
    /// How long compiling one plugin may take, such as `60s`.
    #[serde(with = "jiff::fmt::serde::unsigned_duration::friendly::compact::required")]
    #[schemars(with = "String")]
    pub timeout: Duration,
    /// How much memory it may take, such as `2GiB`.
    pub memory: ByteSize,
}

impl Default for CompilationConfig {
    fn default() -> Self {
        Self { timeout: Duration::from_secs(60), memory: ByteSize(2 << 30) }
    }
}

impl CompilationConfig {
    /// What is wrong with it; `path` says where it is set.
    pub fn faults(&self, path: &str) -> Vec<Fault> {
        let fault = |key: &str, message: &str| Fault {
            path: format!("{path}.{key}"),
            value: None,
            message: message.to_owned(),
        };
        let timeout = self.timeout.is_zero().then(|| fault("timeout", "must be longer than 0s"));
        let memory = self.memory.0 < LEAST_MEMORY;
        let memory = memory.then(|| fault("memory", "must be at least 128MiB: a small plugin takes that"));
        timeout.into_iter().chain(memory).collect()
    }
}

/// Has components compiled.
pub(super) struct Compiler {
    executable: PathBuf,
    cache: PathBuf,
    config: CompilationConfig,
    /// Tells what this engine compiles from what another version or configuration does.
    engine: u64,
    places: Semaphore,
}

impl Compiler {
    /// A compiler for `engine`, as `config` says.
    pub(super) fn new(engine: &Engine, config: &PluginConfig) -> Self {
        let mut hasher = DefaultHasher::new();
        engine.precompile_compatibility_hash().hash(&mut hasher);
        Self {
            executable: config.executable.clone(),
            cache: config.cache_dir.clone(),
            config: config.compilation.clone(),
            engine: hasher.finish(),
            places: Semaphore::new(COMPILED_AT_ONCE),
        }
    }

    /// Compiles a component into the cache, unless that was done before. `digest` is `sha256:<hex>` of it.
    ///
    /// # Errors
    ///
    /// It cannot be compiled, or not within the bounds; the text says why.
    pub(super) async fn compile(&self, digest: &str, component: &[u8]) -> Result<(), String> {
        let _place = self.places.acquire().await;
        let mark = self.mark(digest);
        // Should the cache have lost the code since, the host compiles it itself: the bounds are known to hold.
        if mark.exists() {
            return Ok(());
        }
        let started = Instant::now();
        let output = tokio::time::timeout(self.config.timeout, self.run(component)).await;
        let output = output.map_err(|_| self.too_long())?;
        self.judge(&output.map_err(|error| format!("no compiler could be started: {error}"))?)?;
        tracing::debug!(digest, elapsed = ?started.elapsed(), "component compiled");
        if let Err(error) = fs::write(&mark, []) {
            tracing::warn!(%error, "the plugin cache cannot be written: {}", mark.display());
        }
        Ok(())
    }

    fn mark(&self, digest: &str) -> PathBuf {
        self.cache.join(format!("{:016x}-{}", self.engine, digest.trim_start_matches("sha256:")))
    }

    async fn run(&self, component: &[u8]) -> io::Result<Output> {
        let mut child = Command::new(&self.executable)
            .arg("compile")
            .args(["--memory", &self.config.memory.0.to_string()])
            .args(["--seconds", &self.config.timeout.as_secs_f64().ceil().to_string()])
            .arg("--cache")
            .arg(&self.cache)
            // It is to know nothing of this process, and to take no memory in advance.
            .env_clear()
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take();
        let feed = async {
            // One that ends early says why itself.
            if let Some(mut stdin) = stdin.take() {
                _ = stdin.write_all(component).await;
            }
        };
        let ((), output) = tokio::join!(feed, child.wait_with_output());
        output
    }

    fn judge(&self, output: &Output) -> Result<(), String> {
        use std::os::unix::process::ExitStatusExt;
        let said = String::from_utf8_lossy(&output.stderr);
        let last = one_line(said.lines().next_back().unwrap_or_default(), LONGEST_TEXT);
        let is_out_of_memory =
            said.contains("memory allocation of") || said.contains("Cannot allocate memory");
        match (output.status.code(), output.status.signal()) {
            (Some(0), _) => Ok(()),
            _ if is_out_of_memory => Err(format!(
                "compiling it takes more memory than {} ([compilation] memory)",
                self.config.memory
            )),
            (Some(1), _) => Err(last.trim_start_matches("error: ").to_owned()),
            (_, Some(signal)) if signal == Signal::XCPU.as_raw() => Err(self.too_long()),
            _ => Err(format!("the compiler crashed over it: {last}")),
        }
    }

    fn too_long(&self) -> String {
        format!("compiling it takes longer than {} ([compilation] timeout)", shown(self.config.timeout))
    }
}

/// `campanile compile`: what the compiling process does.
#[derive(Args, Debug)]
pub struct Compile {
    /// Bytes of memory that it may take
    #[arg(long)]
    memory: u64,
    /// Seconds that it may take
    #[arg(long)]
    seconds: u64,
    /// The directory of the cache
    #[arg(long)]
    cache: PathBuf,
}

impl Compile {
    /// Compiles the component on standard input into the cache.
    ///
    /// # Errors
    ///
    /// The component is not valid, or the machine code cannot be written.
    pub fn run(self) -> anyhow::Result<()> {
        self.bound()?;
        let mut component = Vec::new();
        io::stdin().lock().read_to_end(&mut component)?;
        let engine = engine::for_compiling(&self.cache)?;
        Component::from_binary(&engine, &component).map_err(|error| anyhow::anyhow!("{}", why(&error)))?;
        Ok(())
    }

    fn bound(&self) -> io::Result<()> {
        let processors = thread::available_parallelism().map_or(1, |processors| processors.get() as u64);
        let most = |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
        most(Resource::Data, self.memory)?;
        // Should nobody watch the clock any more.
        most(Resource::Cpu, self.seconds.saturating_mul(processors))?;
        most(Resource::Nofile, MOST_FILES)?;
        most(Resource::Core, 0)?;
        nice(NICENESS)?;
        Ok(())
    }
}

fn why(error: &wasmtime::Error) -> String {
    let causes: Vec<_> = error.chain().map(|cause| one_line(&cause.to_string(), LONGEST_TEXT)).collect();
    format!("it does not compile: {}", causes.join(": "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;
    use std::process::ExitStatus;

    fn compiler() -> Compiler {
        Compiler {
            executable: "/nowhere".into(),
            cache: "/nowhere".into(),
            config: CompilationConfig::default(),
            engine: 0,
            places: Semaphore::new(1),
        }
    }

    #[test]
    fn how_the_process_ended_is_told_in_the_operators_words() {
        let (exit, signal) = (|code: i32| code << 8, |signal: Signal| signal.as_raw());
        let table = [
            (exit(1), "error: it does not compile: type mismatch\n", "it does not compile: type mismatch"),
            (
                signal(Signal::ABORT),
                "memory allocation of 16 bytes failed\nnote: run with",
                "compiling it takes more memory than 2 GiB ([compilation] memory)",
            ),
            (signal(Signal::XCPU), "", "compiling it takes longer than 60s ([compilation] timeout)"),
            (
                exit(101),
                "panicked at\nindex out of bounds",
                "the compiler crashed over it: index out of bounds",
            ),
        ];
        for (status, stderr, expected) in table {
            let status = ExitStatus::from_raw(status);
            let output = Output { status, stdout: Vec::new(), stderr: stderr.into() };
            assert_eq!(compiler().judge(&output).unwrap_err(), expected);
        }
        let done = Output { status: ExitStatus::from_raw(0), stdout: Vec::new(), stderr: Vec::new() };
        assert_eq!(compiler().judge(&done), Ok(()));
    }

    #[tokio::test]
    async fn a_compiler_that_cannot_be_started_refuses_the_plugin() {
        let text = compiler().compile("sha256:00", b"").await.unwrap_err();
        assert!(text.starts_with("no compiler could be started: "), "{text}");
    }
}
