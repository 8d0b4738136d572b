//! From the bytes of a file to a [`Plugin`]: is it one, does it compile, do its imports and exports have the right
//! types, does it describe itself, and does the operator's file fit it. Any "no" is a text for the operator.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use wasmtime::component::{Component, InstancePre};

use super::bindings::{Description, Guest};
use super::bindings::{
    notifier::NotifierPre, processor::ProcessorPre, source::SourcePre, status_updater::StatusUpdaterPre,
};
use super::call::{Runtime, Terms};
use super::compile::{CompileError, Compiler};
use super::contract::{self, Contract};
use super::egress::{Connector, Egress};
use super::error::{Blame, CallError, Reason, one_line};
use super::files::{PluginFile, UnreadableFile};
use super::grants::Grants;
use super::imports::HostState;
use super::limits::{Bounds, ByteSize, Limits, PAGE};
use super::loaded::Plugin;
use super::meter::Meter;
use super::quarantine::Breaker;
use super::schema::Schema;
use super::secrets::LiveSecrets;
use super::sidecar::{Sidecar, setting_faults};
use super::{PluginSettings, Role};
use crate::fault::Fault;
use crate::operator_file;

/// How long a plugin may take to describe itself.
const DESCRIBE_DEADLINE: Duration = Duration::from_secs(5);
/// How long a plugin waits for descriptors: until connections of the others end.
const DESCRIPTORS_WITHIN: Duration = Duration::from_secs(5);
/// How many memories a component may have.
const MOST_MEMORIES: u32 = 8;
/// The longest name, version or summary that is kept, in characters.
const LONGEST_TEXT: usize = 256;
/// How many of the requests and secrets that a plugin wishes for are kept.
const MOST_WISHES: usize = 32;

/// A component that was compiled, linked and asked what it is.
pub(super) struct Compiled {
    pub digest: String,
    pub contract: Contract,
    pub guest: Guest,
    pub description: Description,
    /// What it says that its settings must be.
    pub schema: Schema,
    /// With what its largest memory begins, in bytes: with less, no call of it can work.
    pub least_memory: u64,
    /// For what the kernel keeps of its memories.
    _descriptors: OwnedSemaphorePermit,
}

/// Why a plugin's files were refused.
#[derive(Debug)]
pub(super) struct Refusal {
    /// Which of the two files is at fault.
    pub file: String,
    /// What is wrong with it and what would help.
    pub reason: String,
    /// Whether the same files can be loaded later: not they are at fault, but the state of this machine.
    pub can_pass: bool,
}

impl Refusal {
    /// A refusal that only a change of the file ends.
    pub(super) fn of(file: &str, reason: impl Into<String>) -> Self {
        Self { file: file.to_owned(), reason: reason.into(), can_pass: false }
    }

    pub(super) fn component(name: &str, reason: impl Into<String>) -> Self {
        Self::of(&format!("{name}.wasm"), reason)
    }

    fn sidecar(file: &PluginFile, faults: &[Fault]) -> Self {
        let name = &file.name;
        let texts = faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ");
        let is_of_host = faults.iter().all(|fault| fault.path.starts_with("limits."));
        match file.sidecar {
            Some(_) => Self::of(&format!("{name}.toml"), texts),
            None if is_of_host => Self::component(name, texts),
            None => Self::component(
                name,
                format!("it needs settings, and there is no {name}.toml beside it: {texts}"),
            ),
        }
    }
}

impl From<UnreadableFile> for Refusal {
    fn from(error: UnreadableFile) -> Self {
        let can_pass = operator_file::can_pass(&error.source);
        Self { can_pass, ..Self::of(&error.file, format!("it cannot be read: {}", error.source)) }
    }
}

/// Why a component cannot be used.
struct LoadError {
    reason: String,
    /// As in [`Refusal`].
    can_pass: bool,
}

impl From<String> for LoadError {
    /// The component's own fault.
    fn from(reason: String) -> Self {
        Self { reason, can_pass: false }
    }
}

impl LoadError {
    fn compile(error: CompileError) -> Self {
        Self { reason: error.to_string(), can_pass: error.can_pass() }
    }

    /// It cannot describe itself. A machine that is busy or out of something is no fault of the component, and makes one
    /// slow that is quick at other times.
    fn describe(error: &CallError) -> Self {
        let can_pass = error.reason == Reason::Deadline || error.reason.blame() == Blame::Host;
        Self { reason: describe_text(error), can_pass }
    }
}

/// What identifies a file: `sha256:…`.
pub(super) fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Turns files into plugins.
pub(super) struct Loader {
    pub runtime: Arc<Runtime>,
    pub secrets: LiveSecrets,
    connector: Connector,
    compiler: Compiler,
    /// As they are now.
    pub settings: watch::Receiver<PluginSettings>,
    roles: &'static [Role],
}

impl Loader {
    pub(super) fn new(
        runtime: Arc<Runtime>,
        compiler: Compiler,
        secrets: LiveSecrets,
        connector: Connector,
        settings: watch::Receiver<PluginSettings>,
        roles: &'static [Role],
    ) -> Self {
        Self { runtime, secrets, connector, compiler, settings, roles }
    }

    /// The limits of plugins that set none of their own.
    fn limits(&self) -> Limits {
        self.settings.borrow().limits.clone()
    }

    /// Whether a file is a plugin of a role that other processes load. What is no plugin is everybody's business.
    pub(super) fn is_for_others(&self, file: &PluginFile) -> bool {
        contract::inspect(&file.component).is_ok_and(|contract| !self.roles.contains(&contract.role))
    }

    /// Makes a plugin of its files, as the given generation. `previous` is what runs under this name: if only its
    /// sidecar or the host's limits changed nothing is compiled, and if nothing changed there is nothing new.
    pub(super) async fn load(
        &self,
        file: PluginFile,
        generation: u64,
        previous: Option<&Plugin>,
    ) -> Result<Option<Plugin>, Refusal> {
        let compiled = match previous {
            Some(plugin) if plugin.digest() == digest(&file.component) => {
                if plugin.sidecar_text == file.sidecar && plugin.is_bounded_by(&self.limits()) {
                    return Ok(None);
                }
                plugin.compiled.clone()
            }
            Some(plugin) => {
                self.check_role(&file, plugin).await?;
                self.compiled(&file).await?
            }
            None => self.compiled(&file).await?,
        };
        self.complete(file, generation, compiled).map(Some)
    }

    /// The first half: the component, which has described itself.
    pub(super) async fn compiled(&self, file: &PluginFile) -> Result<Arc<Compiled>, Refusal> {
        let compiled = self.compile(digest(&file.component), file).await;
        let refused =
            |LoadError { reason, can_pass }| Refusal { can_pass, ..Refusal::component(&file.name, reason) };
        compiled.map(Arc::new).map_err(refused)
    }

    /// Refuses a component that would take the place of one with another role: whoever routes name or processes alerts
    /// would be gone without a word.
    async fn check_role(&self, file: &PluginFile, previous: &Plugin) -> Result<(), Refusal> {
        let bytes = file.component.clone();
        let contract = blocking(move || contract::inspect(&bytes)).await;
        let (name, before) = (&file.name, previous.role());
        match contract {
            Ok(Ok(contract)) if contract.role != before => Err(Refusal::component(
                name,
                format!(
                    "it is a {}, and a {before} of this name runs: if that is meant, delete {name}.wasm, wait until \
                     `campanile plugins` does not list it, and put the new one there",
                    contract.role
                ),
            )),
            // What is not a plugin at all is explained where it is compiled.
            _ => Ok(()),
        }
    }

    /// The second half: the operator's file, which has to fit it.
    pub(super) fn complete(
        &self,
        file: PluginFile,
        generation: u64,
        compiled: Arc<Compiled>,
    ) -> Result<Plugin, Refusal> {
        let sidecar = self.sidecar(&file, &compiled).map_err(|faults| Refusal::sidecar(&file, &faults))?;
        Ok(self.assemble(file, generation, compiled, sidecar))
    }

    fn sidecar(&self, file: &PluginFile, compiled: &Compiled) -> Result<Sidecar, Vec<Fault>> {
        let is_whole = !self.settings.borrow().set_up_elsewhere.contains(&file.name);
        Sidecar::read(file.sidecar.as_deref(), compiled.contract.role, &self.limits(), |config, bounds| {
            let mut faults = setting_faults(config, &compiled.schema, is_whole);
            faults.extend(bounds.too_little(compiled.least_memory, config.limits.memory.is_some()));
            faults.extend(self.over_budget(bounds));
            faults
        })
    }

    /// A call that needs more than the host has for all would wait for ever.
    fn over_budget(&self, bounds: &Bounds) -> Vec<Fault> {
        let (own, all) = (bounds.memory, self.runtime.admission.memory());
        let memory = (own > all).then(|| {
            let (own, all) = (ByteSize(own), ByteSize(all));
            let message = format!(
                "one call may have {own}, but all calls of this host together {all} ([calls] memory)"
            );
            Fault { path: "limits.memory".to_owned(), value: None, message }
        });
        let (own, all) = (bounds.http.connections, self.connector.descriptors().most());
        let connections = (own > all).then(|| {
            let message = format!(
                "{own} is more than the {all} that all plugins of this host may have together: half of its limit on open files (ulimit -n)"
            );
            Fault { path: "limits.connections".to_owned(), value: None, message }
        });
        memory.into_iter().chain(connections).collect()
    }

    fn assemble(
        &self,
        file: PluginFile,
        generation: u64,
        compiled: Arc<Compiled>,
        sidecar: Sidecar,
    ) -> Plugin {
        let grants = sidecar.grants.clone();
        self.secrets.current().say_undeclared(&file.name, &grants);
        let role = compiled.contract.role;
        let is_fed_by_senders = matches!(role, Role::Source | Role::Processor);
        Plugin {
            generation,
            loaded_at: jiff::Timestamp::now(),
            egress: self.egress(&file.name, grants, &sidecar.bounds),
            meter: Meter::new(&file.name, role),
            breaker: Breaker::new(&file.name, sidecar.bounds.quarantine_after, is_fed_by_senders),
            retired: CancellationToken::new(),
            name: file.name.into(),
            compiled,
            sidecar,
            sidecar_text: file.sidecar,
            runtime: self.runtime.clone(),
        }
    }

    async fn compile(&self, digest: String, file: &PluginFile) -> Result<Compiled, LoadError> {
        let bytes = file.component.clone();
        let contract =
            blocking(move || contract::inspect(&bytes)).await?.map_err(|error| error.to_string())?;
        let component = self.compiler.compile(&digest, &file.component).await.map_err(LoadError::compile)?;
        let descriptors = self.descriptors(&component).await?;
        let pages = component.resources_required().and_then(|needs| needs.max_initial_memory_size);
        let least_memory = pages.unwrap_or_default().saturating_mul(PAGE);
        let (runtime, role) = (self.runtime.clone(), contract.role);
        let guest = blocking(move || link(&runtime, &component, role)).await??;
        let described = self.describe(&file.name, role, &guest).await;
        let description = described.map_err(|error| LoadError::describe(&error))?;
        let text = description.config_schema.clone();
        let schema = blocking(move || Schema::read(&text)).await??;
        Ok(Compiled { digest, contract, guest, description, schema, least_memory, _descriptors: descriptors })
    }

    /// Descriptors for its memories. What plugins have open beside that ends with their calls.
    async fn descriptors(&self, component: &Component) -> Result<OwnedSemaphorePermit, LoadError> {
        let memories = component.resources_required().map_or(MOST_MEMORIES, |needs| needs.num_memories);
        let (descriptors, by) = (self.connector.descriptors(), Instant::now() + DESCRIPTORS_WITHIN);
        descriptors.take(memories, by).await.ok_or_else(|| {
            let most = descriptors.most();
            let reason = format!("it needs {memories} file descriptors, and all {most} that plugins of this host may have are in use; raise the host's limit on open files (ulimit -n)");
            LoadError { reason, can_pass: true }
        })
    }

    /// Asks the plugin what it is, with no grants and no settings.
    async fn describe(&self, name: &str, role: Role, guest: &Guest) -> Result<Description, CallError> {
        let (terms, guest) = (self.describe_terms(name, role), guest.clone());
        let ended = self
            .runtime
            .run(terms, move |store| Box::pin(async move { Ok(Ok(guest.describe(store).await?)) }));
        ended.await.result.map(tidy)
    }

    fn describe_terms(&self, name: &str, role: Role) -> Terms {
        let bounds = Arc::new(Limits::default().over(&self.limits(), role));
        Terms {
            plugin: name.into(),
            role,
            alert: "".into(),
            deadline: DESCRIBE_DEADLINE,
            settings: Arc::default(),
            egress: self.egress(name, Grants::none(), &bounds),
            bounds,
            retired: CancellationToken::new(),
            permit: None,
        }
    }

    fn egress(&self, name: &str, grants: Grants, bounds: &Bounds) -> Arc<Egress> {
        Arc::new(Egress::new(name, grants, self.secrets.clone(), bounds.http, self.connector.clone()))
    }
}

/// Runs what takes a while beside what must not wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| "the host panicked while loading it: its log says where".to_owned())
}

/// Links and type-checks a component.
fn link(runtime: &Runtime, component: &Component, role: Role) -> Result<Guest, String> {
    let pre = runtime.linker.instantiate_pre(component);
    let pre = pre.map_err(|error| chain("an import does not have the type that this host offers", &error))?;
    bind(pre, role).map_err(|error| chain("an export does not have the type that wit/ gives it", &error))
}

fn bind(pre: InstancePre<HostState>, role: Role) -> wasmtime::Result<Guest> {
    Ok(match role {
        Role::Processor => Guest::Processor(ProcessorPre::new(pre)?),
        Role::Notifier => Guest::Notifier(NotifierPre::new(pre)?),
        Role::StatusUpdater => Guest::StatusUpdater(StatusUpdaterPre::new(pre)?),
        Role::Source => Guest::Source(SourcePre::new(pre)?),
    })
}

fn chain(what: &str, error: &wasmtime::Error) -> String {
    let causes: Vec<_> = error.chain().map(|cause| one_line(&cause.to_string(), LONGEST_TEXT)).collect();
    format!("{what}: {}", causes.join(": "))
}

fn describe_text(error: &CallError) -> String {
    format!("it cannot say what it is (describe, called with no grants and no settings): {error}")
}

/// The description with its texts made harmless and short.
fn tidy(description: Description) -> Description {
    let text = |text: &str| one_line(text, LONGEST_TEXT);
    let list = |texts: Vec<String>| texts.iter().take(MOST_WISHES).map(|wish| text(wish)).collect();
    Description {
        name: text(&description.name),
        version: text(&description.version),
        summary: text(&description.summary),
        config_schema: description.config_schema,
        http: list(description.http),
        secrets: list(description.secrets),
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_or_full_machine_can_pass_and_a_crash_cannot() {
        for reason in Reason::ALL {
            let can_pass = matches!(reason, Reason::Deadline | Reason::Busy | Reason::Host);
            assert_eq!(LoadError::describe(&CallError::of(reason, "no")).can_pass, can_pass, "{reason:?}");
        }
        let unreadable = |code: i32| {
            let source = std::io::Error::from_raw_os_error(code);
            Refusal::from(UnreadableFile { file: "slack.wasm".to_owned(), source })
        };
        // EIO, EMFILE, ESTALE
        for code in [5, 24, 116] {
            assert!(unreadable(code).can_pass, "{:?}", unreadable(code));
        }
    }
}
