//! Compiling a component, in a process of its own: a component can be made so that compiling it takes hours or gigabytes,
//! and then only that process ends. It is this executable again, with bounds that it sets on itself before it reads
//! anything; it writes the machine code to a pipe, and the host keeps that in its cache.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};

use clap::Args;
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, Signal, getrlimit, nice, setrlimit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::sync::Semaphore;
use wasmtime::Engine;
use wasmtime::component::Component;

use super::cache::CodeCache;
use super::code::{Code, MOST_CODE};
use super::engine::OpenError;
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
/// How much of what the compiling process says is read, in bytes.
const MOST_SAID: u64 = 64 << 10;

/// The signals with which something outside ends a process.
const KILLING: [Signal; 4] = [Signal::KILL, Signal::TERM, Signal::INT, Signal::HUP];

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

/// Why there is no machine code of a component.
#[derive(Debug, thiserror::Error)]
pub(super) enum CompileError {
    /// The component is at fault: the same bytes fail again.
    #[error("{0}")]
    Invalid(String),
    /// It took more time than it may, perhaps because the machine was busy.
    #[error("compiling it takes longer than {} ([compilation] timeout)", shown(*.limit))]
    TimedOut {
        /// What it may take.
        limit: Duration,
    },
    /// It took more memory than it may, or than the machine had.
    #[error("compiling it takes more memory than {limit} ([compilation] memory)")]
    OutOfMemory {
        /// What it may take.
        limit: ByteSize,
    },
    /// Something outside ended the compiling process: the system, for want of memory, or an operator.
    #[error("the compiling process was killed: by an operator, or by the system when memory runs out")]
    Killed,
    /// The compiling process could not be started, or not be talked to: no descriptors, no processes, no memory.
    #[error("no compiler could be started: {0}")]
    NotStarted(#[from] io::Error),
    /// The machine code is there, and the system has no room for it now.
    #[error("its machine code cannot be mapped: {0}")]
    NotMapped(String),
}

impl CompileError {
    /// Whether the same component may well compile later, on the same host with the same configuration.
    pub(super) fn can_pass(&self) -> bool {
        match self {
            CompileError::Invalid(_) => false,
            CompileError::TimedOut { .. }
            | CompileError::OutOfMemory { .. }
            | CompileError::Killed
            | CompileError::NotStarted(_)
            | CompileError::NotMapped(_) => true,
        }
    }
}

/// Has components compiled, each once.
pub(super) struct Compiler {
    engine: Engine,
    executable: PathBuf,
    config: CompilationConfig,
    cache: Option<Arc<CodeCache>>,
    places: Semaphore,
}

/// How a compiling process ended, and what it wrote.
struct Output {
    status: ExitStatus,
    code: Vec<u8>,
    said: Vec<u8>,
}

impl Compiler {
    /// A compiler for `engine`, as `config` says. A cache that cannot be used is warned of.
    ///
    /// # Errors
    ///
    /// wasmtime has no compiler for this processor.
    pub(super) fn new(engine: &Engine, config: &PluginConfig) -> Result<Self, OpenError> {
        let fingerprint = engine::fingerprint()?;
        let cache = config.cache_dir.as_deref().and_then(|directory| {
            let cache = CodeCache::open(directory, fingerprint).inspect_err(|error| {
                tracing::warn!(%error, "every start compiles every plugin: {} cannot be used as cache", directory.display());
            });
            cache.ok().map(Arc::new)
        });
        Ok(Self {
            engine: engine.clone(),
            executable: config.executable.clone(),
            config: config.compilation.clone(),
            cache,
            places: Semaphore::new(COMPILED_AT_ONCE),
        })
    }

    /// The component, compiled: from the cache, or by a process of its own. `digest` is `sha256:<hex>` of `bytes`.
    ///
    /// # Errors
    ///
    /// It cannot be compiled, or not within the bounds.
    pub(super) async fn compile(&self, digest: &str, bytes: &[u8]) -> Result<Component, CompileError> {
        if let Some(component) = self.cached(digest).await {
            return Ok(component);
        }
        let _place = self.places.acquire().await;
        let started = Instant::now();
        let output = tokio::time::timeout(self.config.timeout, self.run(bytes)).await;
        let code = self.judge(output.map_err(|_| self.too_long())??)?;
        tracing::debug!(digest, elapsed = ?started.elapsed(), "component compiled");
        self.keep(digest, code).await
    }

    async fn cached(&self, digest: &str) -> Option<Component> {
        let (cache, engine, digest) = (self.cache.clone()?, self.engine.clone(), digest.to_owned());
        let found = tokio::task::spawn_blocking(move || {
            let loaded = cache.get(&digest)?.load(&engine);
            loaded.inspect_err(|error| tracing::warn!("a plugin is compiled again: {error:#}")).ok()
        });
        found.await.ok().flatten()
    }

    /// Loads new code and writes it into the cache.
    async fn keep(&self, digest: &str, code: Code) -> Result<Component, CompileError> {
        let (cache, engine, digest) = (self.cache.clone(), self.engine.clone(), digest.to_owned());
        let loaded = tokio::task::spawn_blocking(move || {
            let component = code.load(&engine).map_err(|error| not_loaded(&error))?;
            cache.iter().for_each(|cache| cache.put(&digest, &code));
            Ok(component)
        });
        loaded.await.map_err(io::Error::other)?
    }

    async fn run(&self, component: &[u8]) -> io::Result<Output> {
        let mut child = Command::new(&self.executable)
            .arg("compile")
            .args(["--memory", &self.config.memory.0.to_string()])
            .args(["--seconds", &self.config.timeout.as_secs_f64().ceil().to_string()])
            // It is to know nothing of this process, and to take no memory in advance.
            .env_clear()
            .env("MIMALLOC_ARENA_EAGER_COMMIT", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (mut stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let feed = async {
            // One that ends early says why itself.
            if let Some(mut stdin) = stdin.take() {
                _ = stdin.write_all(component).await;
            }
        };
        let (code, said) = (read(stdout, MOST_CODE + 1), read(stderr, MOST_SAID));
        let ((), code, said, status) = tokio::join!(feed, code, said, child.wait());
        Ok(Output { status: status?, code: code?, said: said? })
    }

    fn judge(&self, output: Output) -> Result<Code, CompileError> {
        use std::os::unix::process::ExitStatusExt;
        let said = String::from_utf8_lossy(&output.said);
        let last = one_line(said.lines().next_back().unwrap_or_default(), LONGEST_TEXT);
        let is_out_of_memory =
            said.contains("memory allocation of") || said.contains("Cannot allocate memory");
        // Such as a panic for want of threads.
        let is_out_of_threads = said.contains("Resource temporarily unavailable");
        let signal = |signal: Signal| output.status.signal() == Some(signal.as_raw());
        if output.code.len() as u64 > MOST_CODE {
            let text = format!("it becomes more than {} of machine code", ByteSize(MOST_CODE));
            return Err(CompileError::Invalid(text));
        }
        match output.status.code() {
            Some(0) => Ok(Code::of_compiler(output.code)),
            _ if is_out_of_memory => Err(CompileError::OutOfMemory { limit: self.config.memory }),
            Some(1) => Err(CompileError::Invalid(last.trim_start_matches("error: ").to_owned())),
            _ if signal(Signal::XCPU) => Err(self.too_long()),
            _ if KILLING.into_iter().any(signal) => Err(CompileError::Killed),
            _ if is_out_of_threads => Err(CompileError::NotStarted(Errno::AGAIN.into())),
            _ => Err(CompileError::Invalid(format!("the compiler crashed over it: {last}"))),
        }
    }

    fn too_long(&self) -> CompileError {
        CompileError::TimedOut { limit: self.config.timeout }
    }
}

/// At most so many bytes of a pipe. It is closed then, so that the process does not wait for a reader.
async fn read(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        pipe.take(most).read_to_end(&mut bytes).await?;
    }
    Ok(bytes)
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
}

impl Compile {
    /// Compiles the component on standard input, and writes the machine code to standard output.
    ///
    /// # Errors
    ///
    /// The component is not valid, or the machine code cannot be written.
    pub fn run(self) -> anyhow::Result<()> {
        self.bound()?;
        let mut component = Vec::new();
        io::stdin().lock().read_to_end(&mut component)?;
        let code = engine::for_compiling().and_then(|engine| engine.precompile_component(&component));
        let code = code.map_err(|error| anyhow::anyhow!("{}", why(&error)))?;
        let mut stdout = io::stdout().lock();
        stdout.write_all(&code)?;
        Ok(stdout.flush()?)
    }

    fn bound(&self) -> io::Result<()> {
        let processors = thread::available_parallelism().map_or(1, |processors| processors.get() as u64);
        let most = |resource, most| setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) });
        most(Resource::Data, self.memory)?;
        // Should nobody watch the clock any more.
        most(Resource::Cpu, self.seconds.saturating_mul(processors))?;
        // A process may lower what it was given, and not raise it.
        let files = getrlimit(Resource::Nofile).maximum.map_or(MOST_FILES, |given| given.min(MOST_FILES));
        most(Resource::Nofile, files)?;
        most(Resource::Core, 0)?;
        nice(NICENESS)?;
        Ok(())
    }
}

/// Why there is machine code and no component of it.
fn not_loaded(error: &wasmtime::Error) -> CompileError {
    let is_of_system = error.is::<Errno>() || error.is::<io::Error>();
    match is_of_system {
        true => CompileError::NotMapped(causes(error)),
        false => CompileError::Invalid(why(error)),
    }
}

/// Parts of WebAssembly that this host leaves out, as the validator names them, and how toolchains leave them out.
const LEFT_OUT: [(&str, &str); 5] = [
    (
        "exceptions",
        "build it without exceptions: C++ with -fno-exceptions, Emscripten without -fwasm-exceptions; Rust needs no flag",
    ),
    (
        "gc",
        "garbage-collected types are what Kotlin, Dart and Java compile to: there is no flag without, use another toolchain",
    ),
    (
        "shared",
        "build it without threads: no -pthread, no target wasm32-wasip1-threads, no -C target-feature=+atomics",
    ),
    ("memory64", "build it for 32 bits: wasm32-wasip2, not wasm64"),
    ("stack switching", "build it without stack switching (-sJSPI, wasmfx)"),
];

fn why(error: &wasmtime::Error) -> String {
    let causes = causes(error);
    let advice = LEFT_OUT.into_iter().find(|(words, _)| causes.contains(words));
    let advice = advice.map(|(_, advice)| format!(": {advice}")).unwrap_or_default();
    format!("it does not compile: {causes}{advice}")
}

fn causes(error: &wasmtime::Error) -> String {
    let causes: Vec<_> = error.chain().map(|cause| one_line(&cause.to_string(), LONGEST_TEXT)).collect();
    causes.join(": ")
}

#[cfg(test)]
mod tests;
