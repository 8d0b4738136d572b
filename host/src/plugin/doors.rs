//! Who else could change the plugins: whether other users may write to the directory or a file of it, or own one.

use std::fs::{self, Metadata};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use rustix::process::geteuid;

/// Everybody may write.
const WORLD_WRITABLE: u32 = 0o002;
/// How many files a text names.
const MOST_NAMES: usize = 5;

/// What another user of this machine could change in `directory`, one text each.
pub(super) fn open_doors(directory: &Path) -> Vec<String> {
    let mut writable = Vec::new();
    let mut foreign = Vec::new();
    let files = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    for path in [directory.to_owned()].into_iter().chain(files) {
        let Ok(metadata) = fs::metadata(&path) else { continue };
        if metadata.permissions().mode() & WORLD_WRITABLE != 0 {
            writable.push(path.display().to_string());
        }
        if is_foreign(&metadata) {
            foreign.push(path.display().to_string());
        }
    }
    let mut told = Vec::new();
    if !writable.is_empty() {
        let paths = listed(&writable);
        told.push(format!(
            "every user of this machine may change {paths}: take that right away with `chmod o-w`"
        ));
    }
    if !foreign.is_empty() {
        let (paths, user) = (listed(&foreign), geteuid().as_raw());
        told.push(format!(
            "neither root nor the user of this process ({user}) owns {paths}: whoever does may change them; use `chown`, \
             or require signatures or a lock ([trust])"
        ));
    }
    told
}

fn is_foreign(metadata: &Metadata) -> bool {
    ![0, geteuid().as_raw()].contains(&metadata.uid())
}

fn listed(paths: &[String]) -> String {
    match paths.len() {
        count if count > MOST_NAMES => {
            format!("{} and {} more", paths[..MOST_NAMES].join(", "), count - MOST_NAMES)
        }
        _ => paths.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_may_change_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let allow = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        let [safe, open] = ["safe.wasm", "open.toml"].map(|name| directory.path().join(name));
        for path in [&safe, &open] {
            fs::write(path, "").unwrap();
            allow(path, 0o644);
        }
        assert_eq!(open_doors(directory.path()), Vec::<String>::new());
        allow(&open, 0o646);
        let told = open_doors(directory.path());
        assert_eq!(told.len(), 1);
        assert!(told[0].contains("open.toml: take") && !told[0].contains("safe.wasm"), "{told:?}");
        allow(directory.path(), 0o777);
        let expected = format!("every user of this machine may change {}, ", directory.path().display());
        assert!(open_doors(directory.path())[0].starts_with(&expected));
        assert_eq!(open_doors(Path::new("/no/such/directory")), Vec::<String>::new());
    }
}
