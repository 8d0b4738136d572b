//! What every command does with its standard streams, with terminals, and with TLS.

use std::fs::File;
use std::process::{Output, Stdio};

use harness::alerts::{alert, identified};
use harness::cli::campanile;
use harness::host::{binary, command};
use harness::process::Process;
use harness::wait::until;
use harness::web::client;
use harness::{Host, Plugin, Receiver, Settings, project, temporal};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command whose output goes to `stdout`.
async fn run_into(stdout: impl Into<Stdio>, arguments: &[&str]) -> Output {
    let mut command = command();
    command.args(arguments).stdout(stdout).stderr(Stdio::piped());
    let run = tokio::task::spawn_blocking(move || command.output()).await;
    run.expect("no panic").expect("the binary starts")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_has_gone_is_no_failure_of_any_command() {
    let settings = Settings::new().plugin(Plugin::shipped("log"));
    let host = settings.start().await;
    host.submit_sync(&[alert("listed")]).await;
    let (url, plugins) = (host.url(), settings.plugins().display().to_string());
    let log = settings.plugins().join("log.wasm").display().to_string();
    let example = project::root().join("examples/security-login.json").display().to_string();
    let batch = project::root().join("examples/batch.json").display().to_string();
    for arguments in [
        &["--help"][..],
        &["alerts", "list", "--help"],
        &["--version"],
        &["alerts", "list", "--url", url],
        &["alerts", "list", "--json", "--url", url],
        &["deliveries", "list", "--ended", "--url", url],
        &["plugins", "--url", url],
        &["healthcheck", "--url", url],
        &["send", &example, "--sync", "--url", url],
        &["keys", "new", "ci"],
        &["routes", "show"],
        &["routes", "test", &example],
        &["explain-alert", &batch],
        &["plugin", "check", &log],
        &["check", "--plugins", &plugins],
    ] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let ran = run_into(writer, arguments).await;
        let is_quiet = ran.stderr.is_empty() || arguments[0] == "keys";
        assert!(ran.status.success() && is_quiet, "{arguments:?}: {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_goes_on_when_nothing_reads_its_log_any_more() {
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let address = format!("127.0.0.1:{}", temporal::free_port());
    let mut serve = command();
    let data = tempfile::tempdir().expect("a directory");
    serve.args(["serve", "--role", "webhook", "--listen", &address, "--temporal-address", "127.0.0.1:9"]);
    serve.args(["--store-url", "postgres://127.0.0.1:9/nothing"]);
    serve.arg("--data-dir").arg(data.path()).arg("--plugins").arg(data.path());
    serve.stdout(Stdio::null()).stderr(writer);
    let host = Process::start(serve, |_| {}).expect("it starts");
    until("it answers", async || {
        assert_eq!(host.exited(), None, "it ended");
        client().get(format!("http://{address}/livez")).send().await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_cannot_be_written_is_a_failure() {
    let full = File::options().write(true).open("/dev/full").expect("a device");
    let ran = run_into(full, &["keys", "new", "ci"]).await;
    let said = text(&ran.stderr);
    assert!(ran.status.code() == Some(1) && said.contains("No space left on device"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_is_alone_on_standard_output() {
    let ran = campanile(&["keys", "new", "ci", "--sources", "alerts"]).await;
    assert!(ran.stdout.starts_with("cmp_") && ran.stdout.lines().count() == 1, "{ran:?}");
    assert!(ran.stderr.contains("\n[keys.ci]\nhash = \"sha256:") && !ran.stderr.contains("cmp_"), "{ran:?}");
}

/// What a command shows on a terminal of this width, a line each.
async fn shown(width: usize, arguments: &str) -> Vec<String> {
    let mut script = std::process::Command::new("script");
    let typed = format!("stty cols {width} && exec {} {arguments}", binary().display());
    script.args(["--quiet", "--return", "--command", &typed, "/dev/null"]);
    script.stdin(Stdio::piped()).stdout(Stdio::piped());
    let run = tokio::task::spawn_blocking(move || {
        let mut child = script.spawn().expect("util-linux is there");
        // A terminal whose other side has gone would end the command.
        let stdin = child.stdin.take();
        let output = child.wait_with_output();
        drop(stdin);
        output
    });
    let output = run.await.expect("no panic").expect("it ends");
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout).lines().map(|line| line.trim_end_matches('\r').to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_fits_a_terminal_and_is_whole_in_a_pipe() {
    let title = format!("Disk of web-1 is full: {}", ["clean it up"; 8].join(", "));
    let host = Settings::new().plugin(Plugin::shipped("log")).start().await;
    let id =
        host.submit_sync(&[identified(&title)]).await[0]["workflow_id"].as_str().expect("an id").to_owned();
    let listing = format!("alerts list --url {}", host.url());
    until("it is listed", async || shown(80, &listing).await.join("\n").contains(&id).then_some(())).await;
    for width in [80, 100, 140] {
        let lines = shown(width, &listing).await;
        assert!(lines.iter().all(|line| line.chars().count() <= width), "{width}: {lines:#?}");
        assert!(lines.iter().any(|line| line.ends_with(&id)), "{width}: {lines:#?}");
    }
    let piped = campanile(&listing.split(' ').collect::<Vec<_>>()).await.stdout;
    let cells: Vec<&str> = piped.lines().nth(1).expect("a row").split('\t').collect();
    assert_eq!((cells.len(), cells[5], cells[6]), (7, title.as_str(), id.as_str()), "{piped}");
}

/// An authority, and what it signed: certificate and key.
struct Authority {
    pem: String,
    issuer: rcgen::Issuer<'static, rcgen::KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::default();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("an authority").pem();
        Self { pem, issuer: rcgen::Issuer::new(params, key) }
    }

    fn signed(&self, name: &str) -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let params = rcgen::CertificateParams::new([name.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.issuer).expect("a certificate").pem(), key.serialize_pem())
    }
}

/// A host with TLS that asks its clients for certificates, and the files of one of them.
async fn with_tls(settings: &Settings) -> (Host, [String; 4]) {
    let authority = Authority::new();
    let write = |name: &str, text: &str| settings.write(name, text).display().to_string();
    let (server, client) = (authority.signed("127.0.0.1"), authority.signed("ops"));
    let ca = write("ca.pem", &authority.pem);
    let config = format!(
        "\n[tls]\ncertificate = \"{}\"\nkey = \"{}\"\nclient-ca = \"{ca}\"\n",
        write("server.pem", &server.0),
        write("server-key.pem", &server.1),
    );
    let both = write("both.pem", &format!("{}{}", client.0, client.1));
    let files = [ca, write("client.pem", &client.0), write("client-key.pem", &client.1), both];
    (Host::listening(&settings.clone().and_config(&config)).await, files)
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_talk_to_a_host_over_tls() {
    let (host, [ca, cert, key, both]) = with_tls(&Settings::new().role("webhook")).await;
    let url = host.url().replace("http://", "https://");
    let ask = async |options: &[&str]| campanile(&[&["plugins", "--url", &url], options].concat()).await;
    for options in [
        &["--cacert", &ca, "--cert", &cert, "--cert-key", &key][..],
        &["--cacert", &ca, "--cert", &both],
        &["--insecure", "--cert", &both],
    ] {
        let ran = ask(options).await;
        assert_eq!(ran.code, Some(0), "{options:?}: {ran:?}");
    }
    let untrusted = ask(&["--cert", &both]).await;
    assert!(untrusted.code == Some(1) && untrusted.stderr.contains("--cacert ca.pem"), "{untrusted:?}");
    let unknown = ask(&["--cacert", &ca]).await;
    assert!(unknown.code == Some(1) && unknown.stderr.contains("--cert client.pem"), "{unknown:?}");
    let plain = campanile(&["plugins", "--url", host.url()]).await;
    assert!(plain.code == Some(1) && plain.stderr.contains("is its address https://"), "{plain:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_of_openssl_is_taken_where_it_is_given_itself() {
    let key = rcgen::KeyPair::generate().expect("a key");
    let mut params = rcgen::CertificateParams::new(["127.0.0.1".to_owned()]).expect("a name");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let settings = Settings::new().role("webhook");
    let write = |name: &str, text: &str| settings.write(name, text).display().to_string();
    let own = write("own.pem", &params.self_signed(&key).expect("a certificate").pem());
    let key = write("own-key.pem", &key.serialize_pem());
    let config = format!("\n[tls]\ncertificate = \"{own}\"\nkey = \"{key}\"\n");
    let host = Host::listening(&settings.clone().and_config(&config)).await;
    let url = host.url().replace("http://", "https://");
    let ran = campanile(&["plugins", "--url", &url, "--cacert", &own]).await;
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let other = write("other.pem", &Authority::new().pem);
    let refused = campanile(&["plugins", "--url", &url, "--cacert", &other]).await;
    assert!(refused.code == Some(1) && refused.stderr.contains("CA:FALSE"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_alert_is_sent_over_tls_and_read_back() {
    let receiver = Receiver::start().await;
    let settings = Settings::new().plugin(Plugin::recorder("pager", &receiver, ""));
    let (host, [ca, .., both]) = with_tls(&settings).await;
    host.log().message("worker polling").await;
    let url = host.url().replace("http://", "https://");
    let file = settings.write("alert.json", &identified("over TLS").to_string()).display().to_string();
    let options = ["--url", &url, "--cacert", &ca, "--cert", &both];
    let sent = campanile(&[&["send", &file, "--sync"][..], &options].concat()).await;
    assert!(sent.code == Some(0) && sent.stdout.contains("pager: delivered"), "{sent:?}");
    let id = sent.stdout.split(": ").nth(1).expect("an id");
    let shown = campanile(&[&["alerts", "show", id][..], &options].concat()).await;
    assert!(shown.code == Some(0) && shown.stdout.contains("over TLS"), "{shown:?}");
}
