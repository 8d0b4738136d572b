//! The lock file: which components and sidecars may be loaded, by their digests. It lies outside the plugin directory,
//! so that who may write there cannot admit anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fault::Fault;
use crate::operator_file;
use crate::plugin::files::{self, PluginFile};
use crate::plugin::load::{Refusal, digest};
use crate::toml_file;

/// What stands above the entries.
const HEAD: &str = "# Which plugins may be loaded, by what they are. Written by `campanile plugin lock`; belongs into version control.\n\
                    # A name can have several entries: each is admitted.\n\n";

/// The file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct LockFile {
    // Said twice in one file, an entry means no more.
    #[schemars(with = "Vec<Entry>")]
    plugin: BTreeSet<Entry>,
}

/// One pair of files that may be loaded together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// The plugin's name: that of its files.
    name: String,
    /// The component's digest.
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    component: String,
    /// The sidecar's digest; there must be no sidecar if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    sidecar: Option<String>,
}

impl Entry {
    fn of(file: &PluginFile) -> Self {
        Self {
            name: file.name.clone(),
            component: digest(&file.component),
            sidecar: file.sidecar.as_deref().map(|text| digest(text.as_bytes())),
        }
    }

    fn sidecar(&self) -> &str {
        self.sidecar.as_deref().unwrap_or("no sidecar")
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: component {}", self.name, self.component)?;
        match &self.sidecar {
            Some(digest) => write!(f, ", sidecar {digest}"),
            None => f.write_str(", no sidecar"),
        }
    }
}

/// Why the lock file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The lock file cannot be read.
    #[error("the lock file {} cannot be read: {source}", path.display())]
    Read {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The lock file is not valid.
    #[error("the lock file {} is not valid: {}", .0.display(), texts(.1))]
    Invalid(PathBuf, Vec<Fault>),
    /// The plugin directory cannot be read, or something in it.
    #[error("{0}")]
    Plugins(String),
    /// The lock file would be in the plugin directory.
    #[error("{INSIDE}: {}", .0.display())]
    Inside(PathBuf),
    /// The lock file cannot be written.
    #[error("the lock file {} cannot be written", path.display())]
    Write {
        /// The lock file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl LockError {
    /// Whether the lock file can be read later without a change.
    fn can_pass(&self) -> bool {
        matches!(self, LockError::Read { source, .. } if operator_file::can_pass(source))
    }
}

/// Why a lock file in the plugin directory is none.
pub(super) const INSIDE: &str =
    "a lock file in the plugin directory is none, since who may write there could admit anything";

/// Whether `file` is in `directory`, by whatever way they are named.
pub(super) fn is_inside(file: &Path, directory: &Path) -> bool {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let real = |path: &Path| {
        let asked = path.to_owned();
        let real = operator_file::within(operator_file::LOOK_LIMIT, path, move || asked.canonicalize());
        real.or_else(|_| std::path::absolute(path)).ok()
    };
    matches!((real(parent), real(directory)), (Some(parent), Some(directory)) if parent.starts_with(&directory))
}

fn texts(faults: &[Fault]) -> String {
    faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("; ")
}

impl LockFile {
    fn read(path: &Path) -> Result<Self, LockError> {
        let text = operator_file::read_text(path, operator_file::LIST);
        let text = text.map_err(|source| LockError::Read { path: path.to_owned(), source })?;
        toml_file::read(&text).map_err(|faults| LockError::Invalid(path.to_owned(), faults))
    }

    /// Says whether the lock file at `path` admits these files of `directory`.
    pub(super) fn admit(path: &Path, directory: &Path, file: &PluginFile) -> Result<(), Refusal> {
        let found = Entry::of(file);
        let (why, can_pass) = match Self::read(path) {
            Err(error) => (error.to_string(), error.can_pass()),
            Ok(lock) if lock.plugin.contains(&found) => return Ok(()),
            Ok(lock) => (lock.why_not(path, &found), false),
        };
        let admit = format!(
            "to admit what is there now: `campanile plugin lock --plugins {} --lock {}`",
            directory.display(),
            path.display()
        );
        let file = if why.starts_with(SIDECAR) { "toml" } else { "wasm" };
        let refusal = Refusal::of(&format!("{}.{file}", found.name), format!("{why}; {admit}"));
        Err(Refusal { can_pass, ..refusal })
    }

    fn why_not(&self, path: &Path, found: &Entry) -> String {
        let listed: Vec<_> = self.plugin.iter().filter(|entry| entry.name == found.name).collect();
        let fitting: Vec<_> = listed.iter().filter(|entry| entry.component == found.component).collect();
        let path = path.display();
        if listed.is_empty() {
            format!("{path} does not list it ({found})")
        } else if fitting.is_empty() {
            let listed: Vec<_> = listed.iter().map(|entry| entry.component.as_str()).collect();
            format!("it has {}, and {path} admits {}", found.component, listed.join(" or "))
        } else {
            let fitting: Vec<_> = fitting.iter().map(|entry| entry.sidecar()).collect();
            format!(
                "{SIDECAR} has {}, and with this component {path} admits {}",
                found.sidecar(),
                fitting.join(" or ")
            )
        }
    }
}

/// How a text about the sidecar begins.
const SIDECAR: &str = "its sidecar";

/// What a new lock file has more or less than the one before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockChange {
    /// Now admitted.
    Added(String),
    /// No longer admitted.
    Removed(String),
}

/// Writes the lock file at `path`, so that it admits what is in `plugins` now and nothing else.
///
/// # Errors
///
/// The directory or a file of it cannot be read; a lock file that is there cannot be read, or the new one not written.
pub fn write_lock(path: &Path, plugins: &Path) -> Result<Vec<LockChange>, LockError> {
    if is_inside(path, plugins) {
        return Err(LockError::Inside(path.to_owned()));
    }
    let before = match LockFile::read(path) {
        Err(LockError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
            LockFile::default()
        }
        read => read?,
    };
    let now = LockFile { plugin: entries(plugins)? };
    let written = |source| LockError::Write { path: path.to_owned(), source };
    let text = toml::to_string(&now).map_err(|error| written(io::Error::other(error)))?;
    files::write_whole(path, format!("{HEAD}{text}").as_bytes()).map_err(written)?;
    let added = now.plugin.difference(&before.plugin).map(|entry| LockChange::Added(entry.to_string()));
    let removed = before.plugin.difference(&now.plugin).map(|entry| LockChange::Removed(entry.to_string()));
    Ok(removed.chain(added).collect())
}

fn entries(plugins: &Path) -> Result<BTreeSet<Entry>, LockError> {
    let unreadable =
        |error: io::Error| LockError::Plugins(format!("{} cannot be read: {error}", plugins.display()));
    let found = files::scan(plugins, None, &BTreeMap::new()).map_err(unreadable)?.plugins;
    let with_component = found.iter().filter(|(_, stamps)| stamps.has_component());
    with_component
        .map(|(name, stamps)| files::read(plugins, name, stamps).map(|file| Entry::of(&file)))
        .collect::<Result<_, _>>()
        .map_err(|error| LockError::Plugins(error.to_string()))
}
