use std::os::unix::fs::symlink;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::*;
use crate::plugin::engine;

const ENGINE: [u8; 32] = [7; 32];
const A: &str = "sha256:aa";
const B: &str = "sha256:bb";
/// Enough that a check of only a part of an entry does not survive.
const TRIES: u32 = 2_000;

fn open(directory: &Path) -> CodeCache {
    CodeCache::open(directory, ENGINE).unwrap()
}

fn code() -> Code {
    let component = wat::parse_str(
        r#"(component (core module (memory 1) (data (i32.const 0) "bells")
            (func (export "f") (param i32) (result i32) (i32.div_u (i32.const 7) (local.get 0)))))"#,
    );
    Code::of_compiler(engine::for_compiling().unwrap().precompile_component(&component.unwrap()).unwrap())
}

/// A directory with an entry for A, and the entry's path.
fn filled() -> (tempfile::TempDir, CodeCache, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let cache = open(directory.path());
    cache.put(A, &code());
    let path = cache.path(&Entry { engine: &ENGINE, component: A });
    (directory, cache, path)
}

#[tokio::test]
async fn kept_code_is_found_by_the_next_host_and_runs() {
    let (directory, _, path) = filled();
    let found = open(directory.path()).get(A).unwrap();
    assert_eq!(found.bytes(), code().bytes());
    assert!(found.load(&engine::open(1).unwrap()).is_ok());
    assert!(open(directory.path()).get(B).is_none());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(directory.path()), mode(&path)), (0o700, 0o600));
    assert_eq!(mode(&directory.path().join(KEY_FILE)), 0o600);
}

#[test]
fn an_entry_with_a_flipped_bit_is_not_used() {
    let (_directory, cache, path) = filled();
    let whole = fs::read(&path).unwrap();
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let ends = (0..128).chain(whole.len() - 128..whole.len());
    let positions: Vec<_> = ends.chain((0..TRIES).map(|_| random.random_range(0..whole.len()))).collect();
    for position in positions {
        let mut flipped = whole.clone();
        flipped[position] ^= 1 << random.random_range(0..8);
        fs::write(&path, flipped).unwrap();
        assert!(cache.get(A).is_none(), "byte {position} of {}", whole.len());
        assert!(!path.exists(), "what was damaged is compiled again, once");
    }
    fs::write(&path, whole).unwrap();
    assert!(cache.get(A).is_some());
}

#[test]
fn an_entry_of_another_length_is_not_used() {
    let (_directory, cache, path) = filled();
    let whole = fs::read(&path).unwrap();
    let lengths = (0..100).chain(whole.len() - 100..whole.len()).chain((100..whole.len()).step_by(997));
    for length in lengths {
        fs::write(&path, &whole[..length]).unwrap();
        assert!(cache.get(A).is_none(), "{length} bytes");
    }
    fs::write(&path, [whole.as_slice(), &[0]].concat()).unwrap();
    assert!(cache.get(A).is_none());
}

#[test]
fn an_entry_of_another_plugin_engine_or_key_is_not_used() {
    let (directory, cache, path) = filled();
    let of = |engine, component| cache.directory.join(open_name(engine, component));
    fs::copy(&path, of(&ENGINE, B)).unwrap();
    assert!(cache.get(B).is_none(), "another plugin's");

    // Its first bytes are in the name; this one would be found.
    let mut next = ENGINE;
    next[31] += 1;
    assert_eq!(of(&next, A), path);
    assert!(CodeCache::open(directory.path(), next).unwrap().get(A).is_none(), "another engine's");

    cache.put(A, &code());
    fs::remove_file(directory.path().join(KEY_FILE)).unwrap();
    assert!(open(directory.path()).get(A).is_none(), "another key's");
}

fn open_name(engine: &[u8; 32], component: &str) -> String {
    format!("{}-{}.{EXTENSION}", hex::encode(&engine[..8]), component.trim_start_matches("sha256:"))
}

#[test]
fn a_key_that_others_could_read_is_replaced() {
    let (directory, _, _) = filled();
    let key = directory.path().join(KEY_FILE);
    let before = fs::read(&key).unwrap();
    let spoil: [&dyn Fn(); 4] = [
        &|| fs::set_permissions(&key, Permissions::from_mode(0o640)).unwrap(),
        &|| fs::write(&key, [0; 31]).unwrap(),
        &|| fs::write(&key, []).unwrap(),
        &|| {
            fs::rename(&key, directory.path().join("elsewhere")).unwrap();
            symlink("elsewhere", &key).unwrap();
        },
    ];
    for spoil in spoil {
        let cache = open(directory.path());
        cache.put(A, &code());
        assert!(open(directory.path()).get(A).is_some());
        spoil();
        assert!(open(directory.path()).get(A).is_none());
        assert_ne!(fs::read(&key).unwrap(), before);
    }
}

#[tokio::test]
async fn code_that_was_checked_is_the_code_that_runs() {
    let (_directory, cache, path) = filled();
    let checked = cache.get(A).unwrap();
    // In place, as one who holds it open or has it mapped would.
    let length = fs::metadata(&path).unwrap().len();
    let file = File::options().write(true).open(&path).unwrap();
    (&file).write_all(&vec![0xcc; usize::try_from(length).unwrap()]).unwrap();
    assert_eq!(checked.bytes(), code().bytes());
    assert!(checked.load(&engine::open(1).unwrap()).is_ok());
}

#[test]
fn what_is_no_regular_file_is_no_entry() {
    let (directory, cache, path) = filled();
    fs::rename(&path, directory.path().join("elsewhere")).unwrap();
    symlink("elsewhere", &path).unwrap();
    assert!(cache.get(A).is_none());
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    assert!(cache.get(A).is_none());
    cache.put(A, &code());
    fs::remove_dir(&path).unwrap();
    // One of a size that no memory holds.
    File::create(&path).unwrap().set_len(1 << 40).unwrap();
    assert!(cache.get(A).is_none());
    fs::remove_file(&path).unwrap();
    // A FIFO would hold up the start.
    assert!(std::process::Command::new("mkfifo").arg(&path).status().unwrap().success());
    assert!(cache.get(A).is_none());
}

#[test]
fn a_directory_that_cannot_be_used_is_an_error_and_not_a_crash() {
    let parent = tempfile::tempdir().unwrap();
    let file = parent.path().join("cache");
    fs::write(&file, []).unwrap();
    assert!(CodeCache::open(&file, ENGINE).is_err());
    let (directory, cache, _) = filled();
    fs::remove_dir_all(directory.path()).unwrap();
    cache.put(A, &code());
    assert!(cache.get(A).is_none());
}

#[test]
fn entries_that_nobody_uses_are_dropped() {
    let (directory, mut cache, _) = filled();
    let file = |name: &str, age: Duration| {
        let file = File::create(directory.path().join(name)).unwrap();
        file.set_len(100).unwrap();
        file.set_modified(cache.opened - age).unwrap();
    };
    let day = Duration::from_secs(24 * 60 * 60);
    file(&open_name(&[8; 32], A), Duration::ZERO);
    file(&open_name(&ENGINE, "sha256:idle"), 31 * day);
    file(&open_name(&ENGINE, "sha256:used"), 29 * day);
    file("unfinished-1", day);
    file("somebody's", 31 * day);
    cache.put(B, &code());
    let names = || {
        let files = fs::read_dir(directory.path()).unwrap();
        let mut names: Vec<_> = files.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let [a, b, used] = [A, B, "sha256:used"].map(|component| open_name(&ENGINE, component));
    assert_eq!(names(), [&a, &b, &used, "key", "somebody's"]);

    cache.most_bytes = fs::metadata(directory.path().join(&b)).unwrap().len();
    assert!(cache.get(A).is_some());
    cache.put(B, &code());
    assert_eq!(names(), [&b, "key", "somebody's"]);
}
