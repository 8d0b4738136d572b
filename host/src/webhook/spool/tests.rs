//! What was put into the spool is there, whatever happens to the power, until it is handed over or dropped.

use super::*;
use crate::webhook::error::ApiError;

/// A disk that can lose its power: of what was written since it was last synced, some arrives, some in part, some not.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug, Default)]
struct Platter {
    seen: Vec<u8>,
    synced: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
    /// How many requests were answered so far.
    answered: usize,
    /// The disks that would be left if power were lost at some write, and how many requests were answered by then.
    losses: Vec<(usize, Disk)>,
}

impl Platter {
    fn after_power_loss(&self) -> Disk {
        let mut left = self.synced.clone();
        for (offset, bytes) in &self.unsynced {
            let kept = &bytes[..[0, bytes.len() / 2, bytes.len()][rand::random_range(0..3)]];
            if left.len() < offset + kept.len() {
                left.resize(offset + kept.len(), 0);
            }
            left[*offset..offset + kept.len()].copy_from_slice(kept);
        }
        let platter = Platter { seen: left.clone(), synced: left, ..Platter::default() };
        Disk(Arc::new(Mutex::new(platter)))
    }
}

impl Disk {
    fn spool(&self) -> Spool {
        let database = Database::builder().create_with_backend(self.clone()).unwrap();
        Spool::on(database, SpoolConfig::default()).unwrap()
    }
}

impl redb::StorageBackend for Disk {
    fn len(&self) -> std::io::Result<u64> {
        Ok(self.0.lock().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> std::io::Result<()> {
        let offset = offset as usize;
        out.copy_from_slice(&self.0.lock().seen[offset..offset + out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> std::io::Result<()> {
        self.0.lock().seen.resize(len as usize, 0);
        Ok(())
    }

    fn sync_data(&self) -> std::io::Result<()> {
        let mut platter = self.0.lock();
        platter.synced = platter.seen.clone();
        platter.unsynced.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> std::io::Result<()> {
        let (mut platter, offset) = (self.0.lock(), offset as usize);
        platter.seen[offset..offset + data.len()].copy_from_slice(data);
        platter.unsynced.push((offset, data.to_vec()));
        let loss = (platter.answered, platter.after_power_loss());
        platter.losses.push(loss);
        Ok(())
    }
}

#[test]
fn what_was_answered_survives_power_that_is_lost_in_the_middle_of_a_write() {
    for _ in 0..10 {
        let disk = Disk::default();
        let spool = disk.spool();
        disk.0.lock().losses.clear();
        for count in 0..10 {
            spool.put_now(&spooled("grafana", &count.to_string())).unwrap();
            disk.0.lock().answered = count + 1;
        }
        let losses = std::mem::take(&mut disk.0.lock().losses);
        assert!(losses.len() > 10, "power was lost {} times", losses.len());
        for (answered, disk) in losses {
            let bodies = bodies(&disk.spool());
            let expected: Vec<String> = (0..bodies.len()).map(|count| count.to_string()).collect();
            assert_eq!(bodies, expected);
            assert!((answered..=answered + 1).contains(&bodies.len()), "{answered}: {bodies:?}");
        }
    }
}

fn spooled(source: &str, body: &str) -> Spooled {
    Spooled {
        source: source.to_owned(),
        id: "id".to_owned(),
        digest: None,
        arrival: Arrival::default(),
        method: "POST".to_owned(),
        path: "/".to_owned(),
        headers: vec![("a".to_owned(), "b".to_owned())],
        body: body.into(),
        failures: 0,
        error: None,
    }
}

/// The same of a key.
fn posted(key: &str, body: &str) -> Spooled {
    let arrival = Arrival { key: Some(key.into()), ..Arrival::default() };
    Spooled { arrival, ..spooled("a", body) }
}

fn bodies(spool: &Spool) -> Vec<String> {
    let found = spool.behind(None, 100).unwrap();
    let body = |(_, bytes): (u64, Vec<u8>)| serde_json::from_slice::<Spooled>(&bytes).unwrap().body;
    found.into_iter().map(|entry| String::from_utf8(body(entry)).unwrap()).collect()
}

#[tokio::test]
async fn what_was_put_in_is_there_in_its_order_after_a_restart_until_it_is_taken_out() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("spool.redb");
    let spool = Spool::open(&file, SpoolConfig::default()).unwrap();
    for body in ["one", "two", "three"] {
        spool.put(spooled("grafana", body)).await.unwrap();
    }
    let before = spool.status();
    drop(spool);
    let spool = Spool::open(&file, SpoolConfig::default()).unwrap();
    assert_eq!((spool.status(), before.requests), (before, 3));
    assert!(spool.holds("grafana") && !spool.holds("sentry"));
    let first = spool.behind(None, 1).unwrap()[0].0;
    spool.remove(first).unwrap();
    let second = spool.behind(Some(first), 1).unwrap()[0].0;
    spool.set_aside(second, spooled("grafana", "two")).unwrap();
    spool.put(spooled("grafana", "four")).await.unwrap();
    assert_eq!(bodies(&spool), ["three", "four"]);
    assert_eq!((spool.status().requests, spool.status().set_aside), (2, 1));
}

#[tokio::test]
async fn what_is_set_aside_is_kept_over_restarts_and_takes_no_room_of_others() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("spool.redb");
    let config = SpoolConfig { requests: 2, ..SpoolConfig::default() };
    for round in 1..=2 {
        let spool = Spool::open(&file, config.clone()).unwrap();
        spool.put(Spooled { failures: 1, ..spooled("a", "never") }).await.unwrap();
        let number = spool.behind(None, 1).unwrap()[0].0;
        spool.set_aside(number, spooled("a", "never")).unwrap();
        assert_eq!((spool.status().requests, spool.status().set_aside), (0, round));
    }
    let spool = Spool::open(&file, config).unwrap();
    assert_eq!(spool.status().set_aside, 2);
    let full = spool.put(Spooled { failures: 1, ..spooled("a", "never") }).await.unwrap_err();
    assert!(full.to_string().contains("2 requests that failed are set aside"), "{full}");
    for body in ["one", "two"] {
        spool.put(posted(body, body)).await.unwrap();
    }
    assert_eq!(bodies(&spool), ["one", "two"]);
}

#[tokio::test]
async fn what_is_set_aside_is_listed_and_goes_back_or_away() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("spool.redb");
    let spool = Spool::open(&file, SpoolConfig::default()).unwrap();
    for body in ["one", "two"] {
        spool.put(spooled("a", body)).await.unwrap();
        let number = spool.behind(None, 1).unwrap()[0].0;
        let error = Some(format!("{body} crashed"));
        let failed = Spooled { id: body.to_owned(), failures: 3, error, ..spooled("a", body) };
        spool.set_aside(number, failed).unwrap();
    }
    let listed = spool.listed().unwrap();
    let errors: Vec<_> = listed.iter().map(|one| (&*one.id, &*one.error, one.failures)).collect();
    assert_eq!(errors, [("two", "two crashed", 3), ("one", "one crashed", 3)]);
    assert_eq!(spool.take_back(|one| one.id == "one", true).unwrap(), ["one"]);
    assert_eq!((bodies(&spool), spool.status().set_aside), (vec!["one".to_owned()], 1));
    assert!(spool.holds("a"));
    assert_eq!(spool.take_back(|_| true, false).unwrap(), ["two"]);
    let spool = {
        drop(spool);
        Spool::open(&file, SpoolConfig::default()).unwrap()
    };
    assert_eq!((spool.status().requests, spool.status().set_aside), (1, 0));
}

#[tokio::test]
async fn a_full_spool_says_so() {
    let directory = tempfile::tempdir().unwrap();
    let config = SpoolConfig { requests: 2, bytes: ByteSize(2_000) };
    let spool = Spool::open(&directory.path().join("spool.redb"), config).unwrap();
    spool.put(posted("a", "one")).await.unwrap();
    let large = spool.put(posted("b", &"x".repeat(2_000))).await.unwrap_err();
    assert!(matches!(large, SpoolError::Full(1, _)), "{large}");
    assert!(large.to_string().contains("holds 1 requests"), "{large}");
    spool.put(posted("b", "two")).await.unwrap();
    assert!(matches!(spool.put(posted("c", "three")).await, Err(SpoolError::Full(2, _))));
    assert_eq!(bodies(&spool), ["one", "two"]);
}

#[tokio::test]
async fn one_sender_has_half_of_it_over_restarts_and_others_the_rest() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("spool.redb");
    let config = SpoolConfig { requests: 4, bytes: ByteSize(4_000) };
    let spool = Spool::open(&file, config.clone()).unwrap();
    for body in ["one", "two"] {
        spool.put(posted("greedy", body)).await.unwrap();
    }
    drop(spool);
    let spool = Spool::open(&file, config).unwrap();
    let refused = spool.put(posted("greedy", "three")).await.unwrap_err();
    assert!(refused.to_string().contains("of one sender (key greedy), which may have half"), "{refused}");
    let answer = ApiError::from(refused);
    assert_eq!(answer.code().as_str(), "spool-full");
    assert!(!answer.message().contains("emporal"), "{}", answer.message());
    let large = spool.put(posted("other", &"x".repeat(1_600))).await.unwrap_err();
    assert!(matches!(large, SpoolError::Share { requests: 0, .. }), "{large}");
    spool.put(posted("other", "three")).await.unwrap();
    let first = spool.behind(None, 1).unwrap()[0].0;
    spool.remove(first).unwrap();
    spool.put(posted("greedy", "four")).await.unwrap();
    assert_eq!(bodies(&spool), ["two", "three", "four"]);
}

#[tokio::test]
async fn what_is_counted_is_what_waits() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Spool::open(&directory.path().join("spool.redb"), SpoolConfig::default()).unwrap();
    for body in ["one", "two", "three"] {
        spool.put(posted("a", body)).await.unwrap();
    }
    let numbers: Vec<_> = spool.behind(None, 3).unwrap().into_iter().map(|(number, _)| number).collect();
    spool.note(numbers[0], &Spooled { failures: 1, ..posted("a", "one") }).unwrap();
    spool.remove(numbers[0]).unwrap();
    spool.set_aside(numbers[1], posted("a", "two")).unwrap();
    spool.move_aside(numbers[2], b"unreadable").unwrap();
    let SpoolStatus { requests, bytes, set_aside } = spool.status();
    assert_eq!((requests, bytes, set_aside), (0, 0, 2));
    let state = spool.state.lock();
    assert!(state.waiting.is_empty() && state.sources.is_empty() && state.senders.is_empty());
}
