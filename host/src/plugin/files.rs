//! The plugin directory: which files count, when they changed, and reading them whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use super::limits::ByteSize;

/// The largest component that is read, in bytes.
const LARGEST_COMPONENT: u64 = 64 << 20;
/// The largest sidecar that is read, in bytes.
const LARGEST_SIDECAR: u64 = 256 << 10;
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

/// The state of a plugin's two files.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps {
    component: Option<Stamp>,
    sidecar: Option<Stamp>,
}

impl Stamps {
    /// Whether there is a component, not just a sidecar.
    pub(super) fn has_component(&self) -> bool {
        self.component.is_some()
    }

    /// When the younger of the two files was changed.
    pub(super) fn modified(&self) -> Option<SystemTime> {
        let modified = |stamp: Option<Stamp>| stamp.and_then(|stamp| stamp.modified);
        modified(self.component).max(modified(self.sidecar))
    }
}

/// A plugin's two files, read.
pub(super) struct PluginFile {
    pub name: String,
    pub component: Arc<[u8]>,
    pub sidecar: Option<String>,
}

/// The state of every plugin of the directory, by name. Only `NAME.wasm` and `NAME.toml` at the top count; what is
/// hidden (so are the internals of a Kubernetes volume) or still being written under another name does not.
pub(super) fn scan(directory: &Path) -> io::Result<BTreeMap<String, Stamps>> {
    let mut found: BTreeMap<String, Stamps> = BTreeMap::new();
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let Some((name, is_component)) = plugin_name(&path) else { continue };
        // A link counts as what it leads to; one that leads nowhere, or a directory, is no plugin.
        let Some(stamp) =
            fs::metadata(&path).ok().filter(fs::Metadata::is_file).map(|metadata| stamp(&metadata))
        else {
            continue;
        };
        let stamps = found.entry(name.to_owned()).or_default();
        match is_component {
            true => stamps.component = Some(stamp),
            false => stamps.sidecar = Some(stamp),
        }
    }
    Ok(found)
}

fn plugin_name(path: &Path) -> Option<(&str, bool)> {
    let file = path.file_name()?.to_str().filter(|file| !file.starts_with('.'))?;
    let component = file.strip_suffix(".wasm").map(|name| (name, true));
    component.or_else(|| file.strip_suffix(".toml").map(|name| (name, false)))
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
        let name = |file: &str| {
            plugin_name(Path::new(file)).map(|(name, is_component)| (name.to_owned(), is_component))
        };
        assert_eq!(name("/p/slack.wasm"), Some(("slack".to_owned(), true)));
        assert_eq!(name("/p/slack.toml"), Some(("slack".to_owned(), false)));
        for ignored in
            ["/p/.slack.wasm", "/p/slack.wasm.tmp", "/p/slack.wasm.part", "/p/README.md", "/p/..data"]
        {
            assert_eq!(name(ignored), None, "{ignored}");
        }
    }

    #[test]
    fn names_that_could_confuse_are_refused() {
        assert_eq!(name_fault("http-status_2.1"), None);
        for bad in ["", "a b", "ä", "a\nb", &"x".repeat(65)] {
            assert!(name_fault(bad).is_some(), "{bad:?}");
        }
    }
}
