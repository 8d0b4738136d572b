//! The plugin directory: which files count, when they changed, and reading and writing them whole.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::error::one_line;
use crate::operator_file;

/// The largest component that is read, in bytes.
pub(super) const LARGEST_COMPONENT: u64 = 64 << 20;
/// The largest sidecar that is read, in bytes.
const LARGEST_SIDECAR: u64 = 256 << 10;
/// The largest signature that is read, in bytes.
const LARGEST_SIGNATURE: u64 = 4 << 10;
/// The longest name of a plugin, in characters.
const LONGEST_NAME: usize = 64;
/// The longest name of a file that is shown, in characters.
const LONGEST_SHOWN: usize = 255;

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    inode: u64,
    modified: Option<SystemTime>,
    /// When the file's attributes changed, permissions included: seconds and nanoseconds.
    changed: (i64, i64),
}

/// What a look at one file found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Look {
    /// The directory has no entry of this name.
    #[default]
    Absent,
    /// A regular file in this state.
    File(Stamp),
    /// There is an entry, and for this reason it is not known what it is: a broken link, an unreadable directory, a file
    /// system that fails or hangs; or it is not a regular file.
    Unknown(String),
}

/// Which directory a path led to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct DirectoryId {
    device: u64,
    inode: u64,
}

/// What a file of the directory is to its plugin, by the end of its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Component,
    Sidecar,
    ComponentSignature,
    SidecarSignature,
}

impl Part {
    const ALL: [(Part, &str); 4] = [
        (Part::Component, ".wasm"),
        (Part::Sidecar, ".toml"),
        (Part::ComponentSignature, ".wasm.minisig"),
        (Part::SidecarSignature, ".toml.minisig"),
    ];
}

/// The state of a plugin's files, and of what says whether they may be loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps {
    parts: [Look; Part::ALL.len()],
    lock: Look,
    directory: DirectoryId,
}

impl Stamps {
    /// Whether there is a component, not just a sidecar.
    pub(super) fn has_component(&self) -> bool {
        self.has(Part::Component)
    }

    /// Whether there is an entry, whatever it is.
    fn has(&self, part: Part) -> bool {
        self.parts[part as usize] != Look::Absent
    }

    /// Whether there is nothing to load or to refuse: signatures alone wait for what they sign.
    pub(super) fn is_empty(&self) -> bool {
        !self.has(Part::Component) && !self.has(Part::Sidecar)
    }

    /// Whether the component was there before and was deleted since. In another directory of the same name it was not
    /// deleted: a volume may have gone, and show what is below it.
    pub(super) fn is_deletion(&self, before: &Self) -> bool {
        !self.has_component() && before.has_component() && self.directory == before.directory
    }

    /// Whether the directory was replaced by another since, in which there is no component.
    pub(super) fn is_elsewhere(&self, before: &Self) -> bool {
        !self.has_component() && before.has_component() && self.directory != before.directory
    }

    /// Whether the sidecar was deleted since, and the component stayed.
    pub(super) fn lost_sidecar(&self, before: &Self) -> bool {
        self.lacks_sidecar(before) && self.directory == before.directory
    }

    /// Whether the directory was replaced by another since, in which there is the component without its sidecar.
    pub(super) fn left_sidecar(&self, before: &Self) -> bool {
        self.lacks_sidecar(before) && self.directory != before.directory
    }

    fn lacks_sidecar(&self, before: &Self) -> bool {
        self.has_component() && !self.has(Part::Sidecar) && before.has(Part::Sidecar)
    }

    /// The first file of which it is not known what it is, by its end, and why. Signatures count where they are wanted.
    pub(super) fn unknown(&self, with_signatures: bool) -> Option<(&'static str, &str)> {
        let counts =
            |(part, _): &(Part, _)| with_signatures || matches!(part, Part::Component | Part::Sidecar);
        Part::ALL.into_iter().filter(counts).find_map(|(part, end)| match &self.parts[part as usize] {
            Look::Unknown(why) => Some((end, why.as_str())),
            _ => None,
        })
    }

    /// When the youngest of the files was changed.
    pub(super) fn modified(&self) -> Option<SystemTime> {
        let modified = |look: &Look| match look {
            Look::File(stamp) => stamp.modified,
            _ => None,
        };
        self.parts.iter().chain([&self.lock]).filter_map(modified).max()
    }
}

/// A plugin's two files, read.
pub(super) struct PluginFile {
    pub name: String,
    pub component: Arc<[u8]>,
    pub sidecar: Option<String>,
}

/// What one look at the directory found.
#[derive(Default)]
pub(super) struct Scan {
    /// The state of every plugin, by name.
    pub plugins: BTreeMap<String, Stamps>,
    /// Files that look like a plugin's and do not count, as they are shown, and why.
    pub ignored: BTreeMap<String, String>,
}

/// The state of every plugin of the directory, and of those `before` that are no longer listed. Only `NAME.wasm`,
/// `NAME.toml` and their signatures at the top count; what is hidden (so are the internals of a Kubernetes volume) or
/// still being written under another name does not. With a `lock` file, its state is part of every plugin's.
///
/// # Errors
///
/// The directory cannot be listed, or was replaced in the middle.
pub(super) fn scan(
    directory: &Path,
    lock: Option<&Path>,
    before: &BTreeMap<String, Stamps>,
) -> io::Result<Scan> {
    let (id, files) = list(directory)?;
    let fresh = Stamps { lock: lock.map(look).unwrap_or_default(), directory: id, ..Stamps::default() };
    let scan = look_at_each(directory, &files, &fresh, before);
    if list_id(directory)? != id {
        return Err(io::Error::other("it was replaced during the look"));
    }
    Ok(scan)
}

/// The state of the plugins of a directory with these files, and of those `before`. What is not there is as in `fresh`.
fn look_at_each(
    directory: &Path,
    files: &[OsString],
    fresh: &Stamps,
    before: &BTreeMap<String, Stamps>,
) -> Scan {
    let mut scan = Scan::default();
    for file in files {
        match plugin_name(file) {
            Ok((name, part)) => {
                let stamps = scan.plugins.entry(name.to_owned()).or_insert_with(|| fresh.clone());
                stamps.parts[part as usize] = look(&directory.join(file));
            }
            Err(Some(why)) => _ = scan.ignored.insert(shown(file), why),
            Err(None) => {}
        }
    }
    // A listing can miss a file that is being replaced: what was there before is asked for by its name.
    for (name, known) in before {
        let stamps = scan.plugins.entry(name.clone()).or_insert_with(|| fresh.clone());
        for (part, end) in Part::ALL {
            if known.has(part) && !stamps.has(part) {
                stamps.parts[part as usize] = look(&directory.join(format!("{name}{end}")));
            }
        }
    }
    scan.plugins.retain(|name, stamps| !stamps.is_empty() || before.contains_key(name));
    scan
}

/// The names of a directory's entries, and which directory it is.
fn list(directory: &Path) -> io::Result<(DirectoryId, Vec<OsString>)> {
    let path = directory.to_owned();
    operator_file::within(operator_file::LOOK_LIMIT, directory, move || {
        let id = directory_id(&path)?;
        let names = fs::read_dir(&path)?.map(|entry| Ok(entry?.file_name()));
        Ok((id, names.collect::<io::Result<_>>()?))
    })
}

fn list_id(directory: &Path) -> io::Result<DirectoryId> {
    let path = directory.to_owned();
    operator_file::within(operator_file::LOOK_LIMIT, directory, move || directory_id(&path))
}

fn directory_id(path: &Path) -> io::Result<DirectoryId> {
    fs::metadata(path).map(|metadata| DirectoryId { device: metadata.dev(), inode: metadata.ino() })
}

fn look(path: &Path) -> Look {
    match operator_file::state(path) {
        Ok(Some(metadata)) => Look::File(stamp(&metadata)),
        Ok(None) => Look::Absent,
        Err(error) => Look::Unknown(error.to_string()),
    }
}

/// Which plugin a file belongs to and as what; otherwise why it does not count, if that may be a mistake.
fn plugin_name(file: &OsStr) -> Result<(&str, Part), Option<String>> {
    if file.as_encoded_bytes().starts_with(b".") {
        return Err(None);
    }
    let lossy = file.to_string_lossy();
    let nearly = lossy.trim();
    let ending = Part::ALL.into_iter().find(|(_, end)| nearly.to_ascii_lowercase().ends_with(end));
    let Some((_, end)) = ending else { return Err(None) };
    let Some(file) = file.to_str() else {
        return Err(Some(format!(
            "its name is not UTF-8, so it is ignored: rename it, such as to slack{end}"
        )));
    };
    let found = Part::ALL.into_iter().find_map(|(part, end)| Some((file.strip_suffix(end)?, part)));
    found.ok_or_else(|| {
        let stem = &nearly[..nearly.len() - end.len()];
        Some(format!("its name does not end in {end}, so it is ignored: rename it to {stem}{end}"))
    })
}

fn stamp(metadata: &fs::Metadata) -> Stamp {
    Stamp {
        size: metadata.len(),
        inode: metadata.ino(),
        modified: metadata.modified().ok(),
        changed: (metadata.ctime(), metadata.ctime_nsec()),
    }
}

/// Why a name cannot be a plugin's.
pub(super) fn name_fault(name: &str) -> Option<String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let fits = !name.is_empty() && name.len() <= LONGEST_NAME && name.chars().all(allowed);
    (!fits).then(|| {
        format!("a plugin's name has 1 to {LONGEST_NAME} letters, digits, '-', '_' or '.': rename the file")
    })
}

/// Why a file of the directory cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("{file} cannot be read: {source}")]
pub(super) struct UnreadableFile {
    /// Its name.
    pub file: String,
    /// What the system said.
    pub source: io::Error,
}

/// Reads a plugin's files, once, as the look at them found them: a sidecar that was there is not done without.
pub(super) fn read(directory: &Path, name: &str, stamps: &Stamps) -> Result<PluginFile, UnreadableFile> {
    let file = format!("{name}.wasm");
    let component = match operator_file::read(&directory.join(&file), LARGEST_COMPONENT) {
        Ok(bytes) => bytes,
        Err(error) => return Err(unreadable(directory, file, error)),
    };
    let file = format!("{name}.toml");
    let sidecar = match operator_file::read_text(&directory.join(&file), LARGEST_SIDECAR) {
        Ok(text) => Some(text),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !stamps.has(Part::Sidecar) => None,
        Err(error) => return Err(unreadable(directory, file, error)),
    };
    Ok(PluginFile { name: name.to_owned(), component: component.into(), sidecar })
}

/// Reads the signature beside `file`, in the form of text that signatures have; `None` if there is none.
pub(super) fn read_signature(directory: &Path, file: &str) -> Result<Option<String>, UnreadableFile> {
    let file = format!("{file}.minisig");
    match operator_file::read(&directory.join(&file), LARGEST_SIGNATURE) {
        Ok(bytes) => Ok(Some(String::from_utf8_lossy(&bytes).into_owned())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unreadable(directory, file, error)),
    }
}

fn unreadable(directory: &Path, file: String, error: io::Error) -> UnreadableFile {
    let source = match error.kind() {
        io::ErrorKind::PermissionDenied => denied(&directory.join(&file), &error),
        _ => error,
    };
    UnreadableFile { file, source }
}

/// The same error, with whose the file is, who may read it, and what helps.
fn denied(path: &Path, error: &io::Error) -> io::Error {
    let Ok(metadata) = fs::metadata(path) else { return io::Error::new(error.kind(), error.to_string()) };
    let (mode, owner, own) = (metadata.mode() & 0o7777, metadata.uid(), rustix::process::geteuid().as_raw());
    let path = path.display();
    let text = format!(
        "{error}: its mode is {mode:04o}, it belongs to uid {owner}, and the host runs as uid {own}: chmod 644 {path} \
         (`cargo component build` writes files of mode 0600)"
    );
    io::Error::new(error.kind(), text)
}

/// Writes a file so that nobody sees half of it: aside first, hidden, then renamed into place.
pub(super) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_string_lossy();
    let aside = path.with_file_name(format!(".{name}.{}.tmp", std::process::id()));
    let written = File::create(&aside)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&aside, path));
    if written.is_err() {
        // What is left of it is hidden, and of no use.
        let _ = fs::remove_file(&aside);
    }
    written
}

/// A file's name as it is shown: harmless, whatever bytes it is made of.
fn shown(file: &OsStr) -> String {
    one_line(&file.to_string_lossy(), LONGEST_SHOWN)
}

#[cfg(test)]
mod tests;
