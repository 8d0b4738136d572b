//! What counts as a file of a plugin, and what as its deletion.

use super::*;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;

use crate::operator_file::tests::{ODD_FILES, are_refused_in_time};

#[test]
fn only_visible_plugin_files_at_the_top_count() {
    for (file, part) in [
        ("slack.wasm", Part::Component),
        ("slack.toml", Part::Sidecar),
        ("slack.wasm.minisig", Part::ComponentSignature),
        ("slack.toml.minisig", Part::SidecarSignature),
    ] {
        assert_eq!(plugin_name(file.as_ref()), Ok(("slack", part)), "{file}");
    }
    for ignored in
        [".slack.wasm", "slack.wasm.tmp", "slack.wasm.part", "README.md", "README.md.minisig", "..data"]
    {
        assert_eq!(plugin_name(ignored.as_ref()), Err(None), "{ignored}");
    }
}

#[test]
fn names_that_nearly_count_are_ignored_with_a_reason() {
    for (name, advice) in [
        (&b"PAGER.WASM"[..], "to PAGER.wasm"),
        (b"pager.Toml", "to pager.toml"),
        (b" pager.wasm ", "to pager.wasm"),
        (b"pager.wasm.MINISIG", "to pager.wasm.minisig"),
        (b"pag\xffer.wasm", "such as to slack.wasm"),
        (b"\xff.TOML", "such as to slack.toml"),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let name = OsStr::from_bytes(name);
        fs::write(directory.path().join(name), "").unwrap();
        let scan = scan(directory.path(), None, &BTreeMap::new()).unwrap();
        let why = scan.ignored.get(&shown(name)).cloned().unwrap_or_default();
        assert!(scan.plugins.is_empty() && why.ends_with(advice), "{name:?}: {why}");
    }
}

#[test]
fn a_part_that_is_not_a_regular_file_is_refused_in_time() {
    for (_, end) in Part::ALL {
        are_refused_in_time(&format!("pager{end}"), |path| {
            let directory = path.parent().unwrap();
            // A signature counts beside what it signs.
            if !path.ends_with("pager.wasm") {
                fs::write(directory.join("pager.wasm"), "").unwrap();
            }
            let scan = scan(directory, None, &BTreeMap::new()).unwrap();
            scan.plugins["pager"].unknown(true).unwrap().1.to_owned()
        });
    }
}

#[test]
fn only_a_missing_entry_of_the_same_directory_is_a_deletion() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("plugins.d");
    let file = directory.join("pager.wasm");
    let fill = || {
        let _ = fs::remove_dir_all(&directory);
        fs::create_dir(&directory).unwrap();
        fs::write(&file, "").unwrap();
        fs::write(directory.join("pager.toml"), "").unwrap();
    };
    let look = |before: &BTreeMap<_, _>| Ok::<_, io::Error>(scan(&directory, None, before)?.plugins);
    let is_deleted = |before: &BTreeMap<String, Stamps>| {
        look(before).is_ok_and(|now| now["pager"].is_deletion(&before["pager"]))
    };
    for place in ODD_FILES {
        fill();
        let before = look(&BTreeMap::new()).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(is_deleted(&before));
        let what = place(&file);
        assert!(!is_deleted(&before), "{what}");
        assert!(look(&before).unwrap()["pager"].unknown(true).unwrap().1.contains(what), "{what}");
    }
    fill();
    let before = look(&BTreeMap::new()).unwrap();
    let aside = parent.path().join("aside");
    fs::rename(&directory, &aside).unwrap();
    assert!(look(&before).is_err(), "no directory");
    fs::write(&directory, "").unwrap();
    assert!(look(&before).is_err(), "a file in its place");
    fs::remove_file(&directory).unwrap();
    fs::create_dir(&directory).unwrap();
    assert!(!is_deleted(&before) && look(&before).unwrap()["pager"].is_elsewhere(&before["pager"]));
    fs::remove_dir(&directory).unwrap();
    symlink(&aside, &directory).unwrap();
    assert_eq!(look(&before).unwrap(), before, "the same directory by another way");
    fs::remove_file(&file).unwrap();
    assert!(is_deleted(&before));
}

#[test]
fn only_a_missing_sidecar_of_the_same_directory_is_a_deletion() {
    let parent = tempfile::tempdir().unwrap();
    let [directory, aside] = ["plugins.d", "aside"].map(|name| parent.path().join(name));
    let fill = |file: &str| {
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(file), "").unwrap();
    };
    let look = |before: &BTreeMap<_, _>| scan(&directory, None, before).unwrap().plugins;
    fill("pager.wasm");
    fill("pager.toml");
    let before = look(&BTreeMap::new());
    fs::remove_file(directory.join("pager.toml")).unwrap();
    let now = look(&before)["pager"].clone();
    assert!(now.lost_sidecar(&before["pager"]) && !now.left_sidecar(&before["pager"]));

    fs::rename(&directory, &aside).unwrap();
    fill("pager.wasm");
    let now = look(&before)["pager"].clone();
    assert!(!now.lost_sidecar(&before["pager"]) && now.left_sidecar(&before["pager"]));
    fill("pager.toml");
    let now = look(&before)["pager"].clone();
    assert!(!now.lost_sidecar(&before["pager"]) && !now.left_sidecar(&before["pager"]));
}

#[test]
fn a_file_that_a_listing_missed_is_asked_for_by_its_name() {
    let directory = tempfile::tempdir().unwrap();
    let files = Part::ALL.map(|(_, end)| OsString::from(format!("pager{end}")));
    for file in &files {
        fs::write(directory.path().join(file), "").unwrap();
    }
    let before = scan(directory.path(), None, &BTreeMap::new()).unwrap().plugins;
    let fresh = Stamps { directory: before["pager"].directory, ..Stamps::default() };
    let look = |listed: &[OsString]| look_at_each(directory.path(), listed, &fresh, &before).plugins;
    for (missed, file) in files.iter().enumerate() {
        let listed = [&files[..missed], &files[missed + 1..]].concat();
        assert_eq!(look(&listed), before, "without {file:?}");
    }
    assert_eq!(look(&[]), before);
    fs::remove_file(directory.path().join("pager.wasm")).unwrap();
    assert!(look(&[])["pager"].is_deletion(&before["pager"]));
}

#[test]
fn a_sidecar_that_was_there_is_not_done_without() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("pager.wasm"), "").unwrap();
    fs::write(directory.path().join("pager.toml"), "enabled = false").unwrap();
    let stamps = scan(directory.path(), None, &BTreeMap::new()).unwrap().plugins["pager"].clone();
    fs::remove_file(directory.path().join("pager.toml")).unwrap();
    let error = read(directory.path(), "pager", &stamps).err().unwrap();
    assert!(error.to_string().starts_with("pager.toml cannot be read"), "{error}");
}

#[test]
fn a_file_that_its_owner_alone_may_read_is_named_with_what_helps() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("pager.wasm");
    fs::write(&path, "").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    let owner = fs::metadata(&path).unwrap().uid();
    let error =
        |code| unreadable(directory.path(), "pager.wasm".to_owned(), io::Error::from_raw_os_error(code));
    let text = error(13).to_string();
    for part in [
        "pager.wasm cannot be read: Permission denied".to_owned(),
        format!("its mode is 0600, it belongs to uid {owner}, and the host runs as uid "),
        format!("chmod 644 {}", path.display()),
        "`cargo component build`".to_owned(),
    ] {
        assert!(text.contains(&part), "{part}: {text}");
    }
    assert!(operator_file::can_pass(&error(13).source), "it is read once its mode is changed");
    assert!(!error(5).to_string().contains("chmod"), "{}", error(5));
}

#[test]
fn a_change_of_any_file_is_seen_and_a_signature_alone_is_no_plugin() {
    let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let lock = outside.path().join("campanile.lock");
    let look = || scan(directory.path(), Some(&lock), &BTreeMap::new()).unwrap().plugins;
    fs::write(directory.path().join("slack.wasm.minisig"), "x").unwrap();
    assert!(look().is_empty());
    let mut seen = vec![];
    for file in ["slack.wasm", "slack.toml", "slack.toml.minisig", "slack.wasm.minisig"] {
        fs::write(directory.path().join(file), format!("now {file}")).unwrap();
        seen.push(look()["slack"].clone());
    }
    fs::write(&lock, "").unwrap();
    seen.push(look()["slack"].clone());
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

#[test]
fn any_walk_of_changes_deletes_only_what_was_deleted() {
    bolero::check!(name = "directory").with_iterations(200).for_each(|changes: &[u8]| walk(changes));
}

/// Changes files of two directories that take turns at one path, and compares each look with what was done.
fn walk(changes: &[u8]) {
    let parent = tempfile::tempdir().unwrap();
    let [link, aside] = ["plugins.d", "aside"].map(|name| parent.path().join(name));
    for name in ["0", "1"] {
        fs::create_dir(parent.path().join(name)).unwrap();
    }
    symlink("0", &link).unwrap();
    // Whether there is an entry, by directory, for component and sidecar.
    let (mut here, mut entries) = (0, [[false; 2]; 2]);
    let mut before = BTreeMap::new();
    for change in changes.iter().map(|change| usize::from(*change)).take(12) {
        let (was_here, was) = (here, entries[here]);
        let part = change % 2;
        let file = link.join(["pager.wasm", "pager.toml"][part]);
        match change / 2 % 5 {
            0 => {
                here = 1 - here;
                symlink(here.to_string(), &aside).unwrap();
                fs::rename(&aside, &link).unwrap();
            }
            kind => {
                let _ = fs::remove_file(&file).or_else(|_| fs::remove_dir(&file));
                entries[here][part] = kind > 1;
                match kind {
                    1 => {}
                    2 => fs::write(&file, "").unwrap(),
                    _ => _ = ODD_FILES[change / 10 % ODD_FILES.len()](&file),
                }
            }
        }
        let mut now = scan(&link, None, &before).unwrap().plugins;
        let is = entries[here];
        if let (Some(before), Some(now)) = (before.get("pager"), now.get("pager")) {
            let went = was[0] && !is[0];
            assert_eq!(now.is_deletion(before), went && here == was_here, "{change}");
            assert_eq!(now.is_elsewhere(before), went && here != was_here, "{change}");
            let lacks = is[0] && was[1] && !is[1];
            assert_eq!(now.lost_sidecar(before), lacks && here == was_here, "{change}");
            assert_eq!(now.left_sidecar(before), lacks && here != was_here, "{change}");
        }
        now.retain(|_, stamps| !stamps.is_empty());
        assert_eq!(now.contains_key("pager"), is[0] || is[1], "{change}");
        before = now;
    }
}
