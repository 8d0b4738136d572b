//! From a name in the plugin directory to files that may be loaded: is there a component, is its name one, can it be
//! read, and is it trusted. Nothing has looked into the files by then.

use std::path::Path;

use super::files::{self, PluginFile, Stamps};
use super::load::Refusal;
use super::trust::Trust;

/// Reads a plugin's files, once, and says whether they may be loaded.
pub(super) async fn take(
    directory: &Path,
    name: &str,
    stamps: &Stamps,
    trust: &Trust,
) -> Result<PluginFile, Refusal> {
    if let Some((end, why)) = stamps.unknown(trust.wants_signatures()) {
        return Err(Refusal::of(&format!("{name}{end}"), format!("it cannot be looked at: {why}")));
    }
    if !stamps.has_component() {
        let reason = format!("there is no {name}.wasm beside it: settings without a plugin do nothing");
        return Err(Refusal::of(&format!("{name}.toml"), reason));
    }
    if let Some(reason) = files::name_fault(name) {
        return Err(Refusal::component(name, reason));
    }
    let (directory, trust, read, stamps) =
        (directory.to_owned(), trust.clone(), name.to_owned(), stamps.clone());
    let taken = tokio::task::spawn_blocking(move || {
        let file = files::read(&directory, &read, &stamps)?;
        trust.admit(&directory, &file).map(|()| file)
    });
    taken.await.unwrap_or_else(|error| Err(Refusal::component(name, error.to_string())))
}
