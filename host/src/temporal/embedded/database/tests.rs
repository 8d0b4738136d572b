use super::*;

/// A database that SQLite wrote: two pages in the file, the others in its log.
const DATABASE: &[u8] = include_bytes!("test.db");
const LOG: &[u8] = include_bytes!("test.db-wal");

struct Directory(tempfile::TempDir);

impl Directory {
    fn with(files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (name, bytes) in files {
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        Self(directory)
    }

    fn prepare(&self, upgrade: bool) -> Result<(), String> {
        Database::of(self.0.path()).prepare("1.9.1", upgrade).map_err(|error| error.to_string())
    }

    fn refusal(&self) -> String {
        let text = self.prepare(false).unwrap_err();
        assert!(text.contains(&self.0.path().join("temporal.db").display().to_string()), "{text}");
        text
    }

    fn has(&self, name: &str) -> bool {
        self.0.path().join(name).exists()
    }
}

#[test]
fn whole_databases_are_opened() {
    let version: (&str, &[u8]) = ("version", b"1.9.1");
    Directory::with(&[version, ("temporal.db", DATABASE), ("temporal.db-wal", LOG)]).prepare(false).unwrap();
    // Without a log, the file is all there is.
    Directory::with(&[version, ("temporal.db", DATABASE)]).prepare(false).unwrap();
    // What a crash cut off in the log was not committed.
    let cut = &LOG[..LOG.len() - 1];
    Directory::with(&[version, ("temporal.db", DATABASE), ("temporal.db-wal", cut)]).prepare(false).unwrap();
}

#[test]
fn damaged_databases_are_named_with_the_way_out() {
    let cases: [(&[u8], &str); 4] = [
        (b"", "it has 0 bytes"),
        (&[b'x'; 4096], "does not begin as a SQLite database"),
        (&DATABASE[..700], "page 2 of its 2 pages"),
        (&[&DATABASE[..16], &[0xff; 1008]].concat(), "page size"),
    ];
    for (database, expected) in cases {
        let directory = Directory::with(&[("version", b"1.9.1"), ("temporal.db", database)]);
        let text = directory.refusal();
        assert!(
            text.contains(expected) && text.contains("restore") && text.contains("started again"),
            "{text}"
        );
    }
}

#[test]
fn the_page_that_sqlite_never_writes_is_not_missing() {
    assert!(is_lock_page(262_145, 4_096) && is_lock_page(16_385, 65_536));
    assert!(!is_lock_page(262_144, 4_096) && !is_lock_page(262_146, 4_096));
}

#[test]
fn pages_in_the_log_are_not_missing() {
    let log = Log::read(&Directory::with(&[("log", LOG)]).0.path().join("log")).unwrap();
    let count = log.pages().expect("a whole transaction");
    assert!(count > 2 && (3..=count).all(|page| log.has(page)), "{count} pages");
    let damaged = [&LOG[..LOG.len() - 40], &[0xff; 40]].concat();
    let log = Log::read(&Directory::with(&[("log", &damaged)]).0.path().join("log")).unwrap();
    assert!(log.pages().is_some_and(|fewer| fewer < count), "the last transaction is not whole");
}

#[test]
fn a_half_deleted_database_is_named() {
    let text = Directory::with(&[("version", b"1.9.1")]).refusal();
    assert!(text.contains("is missing") && text.contains("version") && text.contains("backup"), "{text}");
    let directory = Directory::with(&[("temporal.db", DATABASE)]);
    let text = directory.refusal();
    assert!(text.contains("version") && text.contains("--temporal-upgrade"), "{text}");
    directory.prepare(true).unwrap();
    directory.prepare(false).unwrap();
}

#[test]
fn a_first_start_that_was_interrupted_is_begun_again() {
    let directory = Directory::with(&[]);
    directory.prepare(false).unwrap();
    assert!(directory.has("starting") && !directory.has("version"));
    directory.prepare(false).unwrap();
    fs::write(directory.0.path().join("temporal.db"), DATABASE).unwrap();
    directory.prepare(false).unwrap();
    Database::of(directory.0.path()).settle();
    assert!(directory.has("version") && !directory.has("starting"));
    fs::remove_file(directory.0.path().join("temporal.db")).unwrap();
    assert!(directory.refusal().contains("is missing"));
}

#[test]
fn a_new_database_has_one_partition_and_an_older_one_keeps_its_four() {
    let one = |directory: &Directory| Database::of(directory.0.path()).has_one_partition();
    let new = Directory::with(&[]);
    new.prepare(false).unwrap();
    assert!(one(&new));
    fs::write(new.0.path().join("temporal.db"), DATABASE).unwrap();
    new.prepare(false).unwrap();
    assert!(one(&new));
    let older = Directory::with(&[("version", b"1.9.1"), ("temporal.db", DATABASE)]);
    older.prepare(false).unwrap();
    assert!(!one(&older));
}

#[test]
fn another_version_asks_for_an_upgrade() {
    let directory = Directory::with(&[("version", b"1.0.0"), ("temporal.db", DATABASE)]);
    let text = directory.refusal();
    assert!(text.contains("1.0.0") && text.contains("1.9.1"), "{text}");
    directory.prepare(true).unwrap();
    let backups = fs::read_dir(directory.0.path()).unwrap().flatten();
    let backup = backups.map(|entry| entry.path()).find(|path| path.is_dir()).unwrap();
    assert_eq!(fs::read(backup.join("temporal.db")).unwrap(), DATABASE);
    directory.prepare(false).unwrap();
}
