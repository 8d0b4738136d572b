//! The Temporal server that the host starts and looks after itself.

use std::collections::BTreeSet;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::alerts::{alert, identified};
use harness::process::{children, runs};
use harness::tools::{self, temporal_cli};
use harness::wait::until_within;
use harness::web::{client, send};
use harness::{Host, Plugin, Receiver, Server, Settings, artifacts, until};
use rustix::process::{Pid, Signal, kill_process};

fn embedded() -> Settings {
    Settings::new().server(Server::Embedded)
}

fn command_line(id: i32) -> String {
    fs::read_to_string(format!("/proc/{id}/cmdline")).unwrap_or_default()
}

/// The process id of the Temporal server that a host started.
fn temporal_of(host: &Host) -> i32 {
    find_temporal(host).unwrap_or_else(|| panic!("no Temporal server among the children"))
}

/// The same, if it runs.
pub(crate) fn find_temporal(host: &Host) -> Option<i32> {
    children(host.process().id()).into_iter().find(|id| command_line(*id).contains("start-dev"))
}

async fn gone(id: i32) {
    let what = format!("the Temporal server {id} ends with its host");
    until_within(&what, Duration::from_secs(20), async || (!runs(id)).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_without_an_address_starts_its_own_server_with_its_ui() {
    let receiver = Receiver::start().await;
    let host = embedded().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let ready = host.log().message("temporal server ready").await;
    assert!(ready["address"].as_str().is_some_and(|address| address.contains(':')), "{ready}");
    let ui = ready["ui"].as_str().expect("`temporal server ready` names the UI");
    let ui = if ui.contains("://") { ui.to_owned() } else { format!("http://{ui}") };
    let page = host.request(client().get(ui)).await;
    assert!(page.status < 400, "the UI answers {}", page.status);
    assert_eq!(host.ledger(alert("embedded")).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_host_leaves_no_server_behind() {
    let host = embedded().start().await;
    let temporal = temporal_of(&host);
    host.kill9().await;
    gone(temporal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_host_stops_its_server_and_keeps_its_data() {
    let receiver = Receiver::start().await;
    let settings = embedded().plugin(Plugin::recorder("pager", &receiver, ""));
    let host = settings.start().await;
    let ids = host.submit(&[identified("kept")]).await;
    host.completed(&ids[0]).await;
    let temporal = temporal_of(&host);
    let begins = |event: &serde_json::Value| says(event, "no temporal database is there yet");
    assert!(host.log().has(begins));
    assert!(host.stop().await.success());
    gone(temporal).await;
    let host = settings.start().await;
    assert!(!host.log().has(begins), "it is there");
    let state = host.completed(&ids[0]).await;
    assert_eq!(state["outcome"], "delivered", "{state}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_dies_is_missed_and_started_again() {
    let receiver = Receiver::start().await;
    let host = embedded().plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let first = temporal_of(&host);
    kill_process(Pid::from_raw(first).expect("a process id"), Signal::KILL).expect("it runs");
    gone(first).await;
    host.log()
        .wait_for("the death is said", |event| event["level"] != "INFO" && says(event, "temporal server"))
        .await;
    until("it answers again", async || {
        let answers = |event: &&serde_json::Value| says(event, "temporal server answers");
        (host.log().events().iter().filter(answers).count() == 2).then_some(())
    })
    .await;
    assert_ne!(temporal_of(&host), first);
    assert_eq!(host.ledger(alert("after the restart")).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_had_answered_is_started_again_at_once() {
    let host = embedded().start().await;
    let is_restart = |event: &serde_json::Value| says(event, "temporal server is down");
    let has_answered = |event: &&serde_json::Value| says(event, "temporal server answers");
    for deaths in 1..=3 {
        // The host may count as healthy until it misses the server that died before.
        until("it answers", async || {
            (host.log().events().iter().filter(has_answered).count() == deaths).then_some(())
        })
        .await;
        let server = temporal_of(&host);
        kill_process(Pid::from_raw(server).expect("a process id"), Signal::KILL).expect("it runs");
        let delays = until("the restart is said", async || {
            let events = host.log().events().into_iter().filter(is_restart);
            let delays: Vec<_> = events.map(|event| event["restart_in_ms"].clone()).collect();
            (delays.len() == deaths).then_some(delays)
        })
        .await;
        assert_eq!(delays, vec!["500"; deaths], "no death counts against a server that had answered");
        until("the host is healthy", async || (host.get("/health").await.status == 200).then_some(())).await;
    }
    until("three restarts are counted", async || {
        let page = host.get("/metrics").await.text;
        page.contains("\ncampanile_temporal_restarts_total 3").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_database_is_named_before_anything_is_started() {
    let settings = embedded();
    let host = settings.start().await;
    let ids = host.submit(&[identified("kept")]).await;
    host.completed(&ids[0]).await;
    // Killed, it leaves what is in its log there: that is no damage.
    let server = temporal_of(&host);
    host.kill9().await;
    gone(server).await;
    let host = settings.start().await;
    assert_eq!(host.completed(&ids[0]).await["outcome"], "unrouted");
    assert!(host.stop().await.success());
    let directory = settings.data().join("temporal");
    let database = directory.join("temporal.db");
    let log = directory.join("temporal.db-wal");
    let [whole, kept] = [&database, &log].map(|file| fs::read(file).unwrap_or_default());
    let cut = &whole[..whole.len() / 2];
    fs::write(&log, "").expect("it is ours");
    for (damaged, words) in
        [(cut, "is missing"), (&[b'x'; 8192][..], "SQLite database"), (&[][..], "0 bytes")]
    {
        fs::write(&database, damaged).expect("it is ours");
        refused(&settings, &database, words).await;
    }
    fs::remove_file(&database).expect("it is there");
    refused(&settings, &database, "is missing").await;
    fs::write(&database, &whole).expect("it is ours");
    fs::write(&log, &kept).expect("it is ours");
    fs::rename(directory.join("version"), directory.join("kept")).expect("one directory");
    refused(&settings, &database, "--temporal-upgrade").await;
    fs::rename(directory.join("kept"), directory.join("version")).expect("one directory");
    let host = settings.start().await;
    assert_eq!(host.completed(&ids[0]).await["outcome"], "unrouted", "what was restored is all there");
}

/// A host refuses to start, names the file and the way out, and starts no server.
async fn refused(settings: &Settings, database: &Path, words: &str) {
    let (status, log) = Host::refusing(settings).await;
    let text = log.tail();
    assert!(!status.success(), "{text}");
    let names = [&database.display().to_string(), words, "restore"];
    assert!(names.iter().all(|name| text.contains(*name)), "{names:?} are not in:\n{text}");
    let was_started = |event: &serde_json::Value| {
        ["temporal server ready", "temporal server died"].iter().any(|words| says(event, words))
    };
    assert!(!log.has(was_started), "a server was started:\n{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_lives_before_its_server_is_there() {
    let settings = embedded();
    let gate = settings.directory().join("gate");
    let slow = format!(
        "#!/bin/sh\n[ \"$1\" = --version ] && until [ -e {} ]; do sleep 0.1; done\nexec {} \"$@\"\n",
        gate.display(),
        temporal_cli().display()
    );
    let slow = settings.write("temporal", &slow);
    fs::set_permissions(&slow, Permissions::from_mode(0o755)).expect("it is ours");
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = free.local_addr().expect("an address").to_string();
    drop(free);
    let settings = settings.argument("--temporal-cli").argument(&slow.display().to_string());
    let settings = settings.argument("--listen").argument(&address);
    let (_process, _log) = Host::launched(&settings).await;
    let get = async |path: &str| send(client().get(format!("http://{address}{path}"))).await.ok();
    let live = until("/livez answers", async || get("/livez").await).await;
    assert_eq!(live.status, 200, "{}", live.text);
    let ready = until("/readyz says what it waits for", async || {
        get("/readyz").await.filter(|reply| reply.text.contains("Temporal"))
    })
    .await;
    assert_eq!(ready.status, 503, "{}", ready.text);
    let post = client().post(format!("http://{address}/webhook/alerts"));
    let refused = send(post.json(&serde_json::json!({"alerts": [alert("early")]}))).await.expect("an answer");
    assert_eq!((refused.status, &refused.json()["code"]), (503, &"starting".into()), "{}", refused.text);
    fs::write(&gate, "").expect("the directory is writable");
    until("the host is ready", async || get("/readyz").await.filter(|reply| reply.status == 200)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_an_entry_in_passwd_can_run_the_server() {
    const USER: u32 = 54_321;
    let settings = embedded();
    let (directory, data) = (settings.directory().to_owned(), settings.data());
    let server = data.join("temporal");
    fs::create_dir_all(&server).expect("the directory is writable");
    if chown(&server, Some(USER), Some(USER)).is_err() {
        return tools::skipped("a server of a user without an entry in /etc/passwd: it takes root");
    }
    for place in [&directory, &data] {
        fs::set_permissions(place, Permissions::from_mode(0o755)).expect("it is ours");
    }
    // Where that user can reach it.
    let program = directory.join("temporal-program");
    fs::copy(temporal_cli(), &program).expect("there is room");
    fs::set_permissions(&program, Permissions::from_mode(0o755)).expect("it is ours");
    let as_user = format!(
        "#!/bin/sh\nexec setpriv --reuid {USER} --regid {USER} --clear-groups --pdeathsig KILL {} \"$@\"\n",
        program.display()
    );
    let as_user = settings.write("temporal", &as_user);
    fs::set_permissions(&as_user, Permissions::from_mode(0o755)).expect("it is ours");
    // As the host does: without a home, whose files that user may not read.
    let tried = Command::new(&as_user).arg("--version").env_clear().output();
    if !tried.is_ok_and(|output| output.status.success()) {
        return tools::skipped("a server of a user without an entry in /etc/passwd: setpriv cannot be used");
    }
    let settings = settings.argument("--temporal-cli").argument(&as_user.display().to_string());
    let host = settings.start().await;
    let status = fs::read_to_string(format!("/proc/{}/status", temporal_of(&host))).expect("it runs");
    assert!(status.contains(&format!("Uid:\t{USER}")), "{status}");
    assert_eq!(host.ledger(alert("unnamed")).await["outcome"], "unrouted");
}

fn says(event: &serde_json::Value, words: &str) -> bool {
    event["message"].as_str().is_some_and(|message| message.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = taken.local_addr().expect("an address").port().to_string();
    for flag in ["--temporal-port", "--listen"] {
        let value = if flag == "--listen" { format!("127.0.0.1:{port}") } else { port.clone() };
        let settings = if flag == "--listen" { Settings::new() } else { embedded() };
        let (status, log) = Host::refusing(&settings.argument(flag).argument(&value)).await;
        assert!(!status.success(), "{flag}");
        assert!(log.tail().contains(&port), "{flag}: the port is not named:\n{}", log.tail());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_data_directory_that_cannot_be_used_is_named_with_its_flag() {
    let settings = embedded();
    fs::create_dir_all(settings.data()).expect("the directory is writable");
    let place = settings.data().join("temporal");
    // A file in the directory's place: it holds for root, too.
    fs::write(&place, "").expect("the directory is writable");
    let (status, log) = Host::refusing(&settings).await;
    assert!(!status.success());
    let names = [&place.display().to_string(), "--data-dir", "File exists"];
    assert!(names.iter().all(|name| log.tail().contains(*name)), "{names:?} are not in:\n{}", log.tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_another_version_is_not_opened_silently() {
    let settings = embedded();
    let host = settings.start().await;
    assert!(host.stop().await.success());
    let versions = version_files(&settings);
    assert!(!versions.is_empty(), "no file in the data directory says which version wrote the database");
    for file in &versions {
        let text = fs::read_to_string(file).expect("a version file is text");
        fs::write(file, text.replace("1.9.1", "1.0.0")).expect("the data directory is writable");
    }
    let (status, log) = Host::refusing(&settings).await;
    assert!(!status.success());
    assert!(log.tail().contains("1.0.0"), "the other version is not named:\n{}", log.tail());
}

/// The small text files of the data directory that name the version of the Temporal command line.
fn version_files(settings: &Settings) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    let mut directories = vec![settings.data()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).expect("a readable data directory").flatten() {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if fs::read_to_string(&path).is_ok_and(|text| text.len() < 4096 && text.contains("1.9.1"))
            {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_finds_no_server_to_start_says_what_would_help() {
    let settings = embedded().argument("--temporal-cli").argument("/no/such/temporal");
    let (status, log) = Host::refusing(&settings).await;
    assert!(!status.success());
    assert!(log.tail().contains("/no/such/temporal"), "{}", log.tail());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_keeps_alerts_for_thirty_days_and_syncs_what_it_writes() {
    let host = embedded().start().await;
    let ready = host.log().message("temporal server ready").await;
    let address = ready["address"].as_str().expect("the event carries the address");
    let namespace = ["operator", "namespace", "describe", "--namespace", "default"];
    let described = harness::temporal::ask(address, &namespace).await.expect("a namespace");
    assert_eq!(described["config"]["workflowExecutionRetentionTtl"], "2592000s", "{described}");
    let command = fs::read_to_string(format!("/proc/{}/cmdline", temporal_of(&host))).expect("it runs");
    for pragma in ["journal_mode=WAL", "synchronous=2"] {
        assert!(command.contains(pragma), "{pragma} is not in {command:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upgrade_that_is_asked_for_backs_the_database_up_and_keeps_the_alerts() {
    let settings = embedded();
    let host = settings.start().await;
    let ids = host.submit(&[identified("before the upgrade")]).await;
    host.completed(&ids[0]).await;
    assert!(host.stop().await.success());
    for file in &version_files(&settings) {
        let text = fs::read_to_string(file).expect("a version file is text");
        fs::write(file, text.replace("1.9.1", "1.0.0")).expect("the data directory is writable");
    }
    let host = settings.clone().argument("--temporal-upgrade").start().await;
    assert_eq!(host.completed(&ids[0]).await["outcome"], "unrouted");
    let entries = fs::read_dir(settings.data().join("temporal")).expect("a readable directory").flatten();
    let backups: Vec<_> =
        entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("backup-")).collect();
    assert_eq!(backups.len(), 1);
    assert!(backups[0].path().join("temporal.db").metadata().is_ok_and(|file| file.len() > 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_environment_says_of_another_server_does_not_matter() {
    let settings = embedded().variable("TEMPORAL_NAMESPACE", "elsewhere").variable("TEMPORAL_API_KEY", "k");
    let host = settings.start().await;
    assert_eq!(host.get("/health").await.ok()["temporal"]["namespace"], "default");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_gets_nothing_of_the_environment() {
    let host = embedded()
        .and_config("\n[secrets.TOKEN]\nenv = \"TESTS_SECRET\"\nhosts = [\"example.com\"]\n")
        .variable("TESTS_SECRET", "hush-hush-hush")
        .start()
        .await;
    let environment = fs::read(format!("/proc/{}/environ", temporal_of(&host))).expect("it runs");
    let environment = String::from_utf8_lossy(&environment);
    let names: Vec<_> =
        environment.split_terminator('\0').filter_map(|pair| pair.split('=').next()).collect();
    assert_eq!(names, ["HOME", "PATH", "USER"], "{environment}");
    let own = fs::read(format!("/proc/{}/environ", host.process().id())).expect("it runs");
    assert!(String::from_utf8_lossy(&own).contains("hush-hush"), "the host had it to hand on");
}

/// The TCP ports on which a process listens.
fn listens_on(id: i32) -> BTreeSet<u16> {
    let descriptors = fs::read_dir(format!("/proc/{id}/fd")).expect("it runs").flatten();
    let targets = descriptors.filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
    let sockets: BTreeSet<_> = targets.map(|target| target.to_string_lossy().into_owned()).collect();
    let table = |name| fs::read_to_string(format!("/proc/{id}/net/{name}")).unwrap_or_default();
    let rows = table("tcp") + &table("tcp6");
    let port = |row: &str| {
        let columns: Vec<_> = row.split_whitespace().collect();
        let is_own = sockets.contains(&format!("socket:[{}]", columns.get(9)?));
        let port = columns[1].rsplit_once(':').and_then(|(_, port)| u16::from_str_radix(port, 16).ok());
        port.filter(|_| is_own && columns[3] == "0A")
    };
    rows.lines().filter_map(port).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn no_grant_leads_to_any_listener_of_the_server() {
    let host = embedded().start().await;
    let ports = until("it listens for gRPC, UI, HTTP and metrics at least", async || {
        Some(listens_on(temporal_of(&host))).filter(|ports| ports.len() >= 4)
    })
    .await;
    for port in &ports {
        let (name, target) = (format!("inward-{port}"), format!("http://127.0.0.1:{port}"));
        let sidecar = format!(
            "[config]\nurl = \"{target}/\"\n[retry]\nmaximum-attempts = 1\n\
             [grants]\nhttp = [\"POST {target}/**\"]\nprivate-networks = [\"127.0.0.0/8\"]\n"
        );
        host.drop_plugin(&Plugin::new(&name, artifacts::guest("recorder")).sidecar(&sidecar));
        host.loaded(&name, |_| true).await;
    }
    // One that the server opened late is seen at the next look.
    until_within("all are denied", Duration::from_secs(30), async || {
        let ledger = host.ledger(alert("out of reach")).await.to_string();
        let is_denied = |port: &u16| ledger.contains(&format!("127.0.0.1:{port} leads to "));
        ports.iter().all(is_denied).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_can_be_interrupted_while_the_server_does_not_answer() {
    let settings = embedded();
    let hangs = format!(
        "#!/bin/sh\n[ \"$1\" = server ] && exec sleep 1000\nexec {} \"$@\"\n",
        temporal_cli().display()
    );
    let hanging = settings.write("temporal", &hangs);
    fs::set_permissions(&hanging, Permissions::from_mode(0o755)).expect("it is ours");
    let settings = settings.argument("--temporal-cli").argument(&hanging.display().to_string());
    let (process, log) = Host::launched(&settings).await;
    let server = until("the host waits for its server", async || {
        children(process.id()).into_iter().find(|id| command_line(*id).contains("1000"))
    })
    .await;
    process.signal(Signal::INT);
    let status = process.wait(Duration::from_secs(5)).await;
    let status = status.unwrap_or_else(|| panic!("the host does not stop:\n{}", log.tail()));
    assert!(status.success(), "{status:?}:\n{}", log.tail());
    gone(server).await;
}

/// The permissions of all files and directories below one.
fn modes(directory: &Path) -> Vec<(PathBuf, u32)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("it is there").flatten() {
        let metadata = entry.metadata().expect("it is there");
        found.push((entry.path(), metadata.permissions().mode() & 0o777));
        if metadata.is_dir() {
            found.extend(modes(&entry.path()));
        }
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_host_writes_is_for_its_user_alone() {
    let settings = embedded().plugin(Plugin::shipped("grafana")).plugin(Plugin::shipped("log"));
    let settings = settings.and_config("\n[sources.grafana]\nspool = true\n");
    let host = settings.start().await;
    assert_eq!(host.ledger(alert("private")).await["outcome"], "delivered");
    let data = settings.data();
    let mut all = modes(&data);
    all.push((data.clone(), data.metadata().expect("it is there").permissions().mode() & 0o777));
    for file in ["store.sqlite", "temporal/temporal.db", "temporal/lock", "cache"] {
        assert!(all.iter().any(|(path, _)| *path == data.join(file)), "{file} is missing in {all:?}");
    }
    all.retain(|(_, mode)| mode & 0o077 != 0);
    assert!(all.is_empty(), "others can read {all:?}");
}
