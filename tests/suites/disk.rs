//! A disk that is full, and a database that cannot be written: named in time, and over by itself.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use harness::alerts::{alert, identified};
use harness::{Host, Plugin, Postgres, Receiver, Server, Settings, tools, until};
use serde_json::{Value, json};

/// A file system of its own, so small that a test can fill it. It is unmounted when this is dropped.
struct Small(PathBuf);

impl Small {
    /// `None`, said aloud, where it cannot be mounted.
    fn mounted(at: PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).expect("the directory is writable");
        let mut mount = Command::new("mount");
        let mount = mount.args(["-t", "tmpfs", "-o", "size=128m,mode=0700", "tmpfs"]).arg(&at);
        match mount.output() {
            Ok(output) if output.status.success() => Some(Self(at)),
            other => {
                tools::skipped(&format!("a full disk: it takes root to mount a small one: {other:?}"));
                None
            }
        }
    }

    /// Leaves no byte free; gives the file that takes the space.
    fn fill(&self) -> PathBuf {
        let path = self.0.join("filler");
        let mut filler = File::create(&path).expect("there is room for a file");
        let block = vec![0; 1 << 20];
        while filler.write_all(&block).is_ok() {}
        // What is left is less than a block.
        while filler.write_all(&[0; 512]).is_ok() {}
        path
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // The host that used it may still be ending.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

/// Waits until `/readyz` says 503 for a reason with these words, and `/health` with it.
async fn not_ready(host: &Host, place: &Path, words: &str) {
    let place = place.display().to_string();
    let names = |text: &str| text.contains(&place) && text.contains(words);
    until(&format!("/readyz names {place} and {words:?}"), async || {
        let reply = host.get("/readyz").await;
        (reply.status == 503 && names(&reply.text)).then_some(())
    })
    .await;
    let health = host.get("/health").await;
    assert_eq!(health.status, 503, "{}", health.text);
    let disks = health.json()["disks"].as_array().cloned().unwrap_or_default();
    let is_named = |disk: &Value| disk["fault"].as_str().is_some_and(names);
    let disk = disks.iter().find(|disk| is_named(disk)).unwrap_or_else(|| panic!("{}", health.text));
    let metrics = host.get("/metrics").await.text;
    assert!(metrics.contains("campanile_ready 0"), "{metrics}");
    let writable = format!("campanile_disk_writable{{directory={}}} 0", disk["directory"]);
    assert!(metrics.contains(&writable), "{writable} is missing in {metrics}");
}

async fn ready_again(host: &Host) {
    until("the host is ready again by itself", async || {
        let (ready, health) = (host.get("/readyz").await.status, host.get("/health").await.status);
        ((ready, health) == (200, 200)).then_some(())
    })
    .await;
    assert!(host.get("/metrics").await.text.contains("campanile_ready 1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_and_the_host_recovers() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().server(Server::Embedded).plugin(Plugin::recorder("pager", &receiver, ""));
    let Some(disk) = Small::mounted(settings.data()) else { return };
    let host = settings.start().await;
    assert_eq!(host.ledger(alert("before")).await["outcome"], "delivered");
    let filler = disk.fill();
    let database = settings.data().join("temporal");
    not_ready(&host, &database, "No space left on device").await;
    let refused = until("an alert is refused", async || {
        let reply = host.post("/webhook/alerts", &json!({"alerts": [identified("meanwhile")]})).await;
        (reply.status != 200).then_some(reply)
    })
    .await;
    assert_eq!((refused.status, &refused.json()["code"]), (503, &json!("disk-not-writable")), "{refused:?}");
    let first = refused.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned();
    assert!(
        first.contains(&settings.data().display().to_string()) && first.contains("free space"),
        "{refused:?}"
    );
    fs::remove_file(filler).expect("it is there");
    ready_again(&host).await;
    assert_eq!(host.ledger(alert("afterwards")).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_removed_is_named_until_it_is_back() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().server(Server::Embedded);
    let url = settings.write("last-resort", &receiver.url("/last-resort"));
    let settings = settings.and_config(&format!("[last-resort]\nfile = \"{}\"\n", url.display()));
    assert!(settings.start().await.stop().await.success());
    let host = settings.start().await;
    let database = settings.data().join("temporal/temporal.db");
    let kept = database.with_extension("kept");
    // The same file under another name: the server has it open all the while.
    fs::hard_link(&database, &kept).expect("one file system");
    until("the host has seen its database", async || {
        host.get("/health").await.json()["disks"][0]["free_bytes"].is_u64().then_some(())
    })
    .await;
    fs::remove_file(&database).expect("it is there");
    not_ready(&host, &database, "removed while it was in use").await;
    let said = receiver.wait_for("/last-resort", 1).await[0].json();
    assert_eq!(said["reason"], "disk-not-writable", "{said}");
    assert!(said["text"].as_str().is_some_and(|text| text.contains("temporal.db")), "{said}");
    fs::rename(&kept, &database).expect("one directory");
    ready_again(&host).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_a_database_of_its_own_watches_no_disk() {
    let url = Postgres::shared().await.database();
    let host = Settings::new().and_config(&format!("\n[store]\nurl = \"{url}\"\n")).start().await;
    let health = host.get("/health").await.ok();
    assert!(health.get("disks").is_none(), "{health}");
    assert!(health["store"]["location"].as_str().is_some_and(|url| url.starts_with("postgres")), "{health}");
}
