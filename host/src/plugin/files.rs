//! The plugin directory: which files count, when they changed, and reading and writing them whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::limits::ByteSize;

/// The largest component that is read, in bytes.
const LARGEST_COMPONENT: u64 = 64 << 20;
/// The largest sidecar that is read, in bytes.
const LARGEST_SIDECAR: u64 = 256 << 10;
/// The largest signature that is read, in bytes.
const LARGEST_SIGNATURE: u64 = 4 << 10;
/// The longest name of a plugin, in characters.
const LONGEST_NAME: usize = 64;

/// What tells one state of a file from another without reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    size: u64,
    inode: u64,
    modified: Option<SystemTime>,
    /// When the file's attributes changed, permissions included: seconds and nanoseconds.
    changed: (i64, i64),
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps {
    parts: [Option<Stamp>; Part::ALL.len()],
    lock: Option<Stamp>,
}

impl Stamps {
    /// Whether there is a component, not just a sidecar.
    pub(super) fn has_component(&self) -> bool {
        self.has(Part::Component)
    }

    fn has(&self, part: Part) -> bool {
        self.parts[part as usize].is_some()
    }

    /// When the youngest of the files was changed.
    pub(super) fn modified(&self) -> Option<SystemTime> {
        self.parts.iter().chain([&self.lock]).flatten().filter_map(|stamp| stamp.modified).max()
    }
}

/// A plugin's two files, read.
pub(super) struct PluginFile {
    pub name: String,
    pub component: Arc<[u8]>,
    pub sidecar: Option<String>,
}

/// The state of every plugin of the directory, by name. Only `NAME.wasm`, `NAME.toml` and their signatures at the top
/// count; what is hidden (so are the internals of a Kubernetes volume) or still being written under another name does
/// not. With a `lock` file, its state is part of every plugin's.
pub(super) fn scan(directory: &Path, lock: Option<&Path>) -> io::Result<BTreeMap<String, Stamps>> {
    let lock = lock.and_then(state);
    let mut found: BTreeMap<String, Stamps> = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some((name, part)) = plugin_name(&path) else { continue };
        let Some(stamp) = state(&path) else { continue };
        let stamps = found.entry(name.to_owned()).or_insert(Stamps { lock, ..Stamps::default() });
        stamps.parts[part as usize] = Some(stamp);
    }
    // Signatures alone wait for what they sign.
    found.retain(|_, stamps| stamps.has(Part::Component) || stamps.has(Part::Sidecar));
    Ok(found)
}

/// The state of a file. A link counts as what it leads to; what leads nowhere, or is a directory, has none.
fn state(path: &Path) -> Option<Stamp> {
    fs::metadata(path).ok().filter(fs::Metadata::is_file).map(|metadata| stamp(&metadata))
}

fn plugin_name(path: &Path) -> Option<(&str, Part)> {
    let file = path.file_name()?.to_str().filter(|file| !file.starts_with('.'))?;
    Part::ALL.into_iter().find_map(|(part, end)| Some((file.strip_suffix(end)?, part)))
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

/// Reads a plugin's files, once.
pub(super) fn read(directory: &Path, name: &str) -> Result<PluginFile, String> {
    let component = read_capped(&directory.join(format!("{name}.wasm")), LARGEST_COMPONENT)?;
    let path = directory.join(format!("{name}.toml"));
    let sidecar = match path.try_exists() {
        Ok(false) => None,
        _ => Some(read_text(&path)?),
    };
    Ok(PluginFile { name: name.to_owned(), component: component.into(), sidecar })
}

/// Reads the signature beside `file`, in the form of text that signatures have.
pub(super) fn read_signature(directory: &Path, file: &str) -> Result<String, String> {
    let path = directory.join(format!("{file}.minisig"));
    match path.try_exists() {
        Ok(false) => Err(format!("it is not signed: there is no {} beside it", shown(&path))),
        _ => read_capped(&path, LARGEST_SIGNATURE).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    }
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

fn read_text(path: &Path) -> Result<String, String> {
    let bytes = read_capped(path, LARGEST_SIDECAR)?;
    String::from_utf8(bytes).map_err(|error| format!("{} is not UTF-8: {error}", shown(path)))
}

fn read_capped(path: &Path, most: u64) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let opened = File::open(path).and_then(|file| file.take(most + 1).read_to_end(&mut bytes));
    opened.map_err(|error| format!("{} cannot be read: {error}", shown(path)))?;
    if bytes.len() as u64 > most {
        return Err(format!("{} is larger than {}", shown(path), ByteSize(most)));
    }
    Ok(bytes)
}

fn shown(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_visible_plugin_files_at_the_top_count() {
        for (file, part) in [
            ("/p/slack.wasm", Part::Component),
            ("/p/slack.toml", Part::Sidecar),
            ("/p/slack.wasm.minisig", Part::ComponentSignature),
            ("/p/slack.toml.minisig", Part::SidecarSignature),
        ] {
            assert_eq!(plugin_name(Path::new(file)), Some(("slack", part)), "{file}");
        }
        for ignored in [
            "/p/.slack.wasm",
            "/p/slack.wasm.tmp",
            "/p/slack.wasm.part",
            "/p/README.md",
            "/p/README.md.minisig",
            "/p/..data",
        ] {
            assert_eq!(plugin_name(Path::new(ignored)), None, "{ignored}");
        }
    }

    #[test]
    fn a_change_of_any_file_is_seen_and_a_signature_alone_is_no_plugin() {
        let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let lock = outside.path().join("campanile.lock");
        let look = || scan(directory.path(), Some(&lock)).unwrap();
        fs::write(directory.path().join("slack.wasm.minisig"), "x").unwrap();
        assert!(look().is_empty());
        let mut seen = vec![];
        for file in ["slack.wasm", "slack.toml", "slack.toml.minisig", "slack.wasm.minisig"] {
            fs::write(directory.path().join(file), format!("now {file}")).unwrap();
            seen.push(look()["slack"]);
        }
        fs::write(&lock, "").unwrap();
        seen.push(look()["slack"]);
        for (index, stamps) in seen.iter().enumerate() {
            assert!(!seen[..index].contains(stamps), "{index}");
        }
        assert!(seen[0].has_component() && seen[4].modified() >= seen[0].modified());
    }

    #[test]
    fn names_that_could_confuse_are_refused() {
        assert_eq!(name_fault("http-status_2.1"), None);
        for bad in ["", "a b", "ä", "a\nb", &"x".repeat(65)] {
            assert!(name_fault(bad).is_some(), "{bad:?}");
        }
    }
}
