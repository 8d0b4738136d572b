//! What `/openapi.json` promises: schemathesis reads it and tries every operation, with requests that it allows and
//! requests that it does not.

use std::fs::File;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use harness::process::Process;
use harness::senders::new_key;
use harness::tools::python_package;
use harness::{Plugin, Server, Settings, Temporal};

/// The tool.
const SCHEMATHESIS: &str = "schemathesis==4.32.5";
/// How long it may take.
const LIMIT: Duration = Duration::from_secs(150);
/// How the tool is called. Its checks are all on unless the configuration says otherwise; `--checks` would override that.
const ARGUMENTS: [&str; 8] = [
    "--seed=42",
    "--max-examples=20",
    "--generation-database=none",
    "--continue-on-failure",
    "--request-timeout=20",
    "--suppress-health-check=all",
    "--warnings=off",
    "--no-color",
];
/// What it cannot know: names that exist, so that not every request ends at 404; that what a source takes is the vendor's
/// affair, which no schema says, so that a 400 is right, too.
const CONFIGURATION: &str = r#"
[cache]
enabled = false

[dictionaries]
sources = { values = ["alertmanager"] }
plugins = { values = ["alertmanager", "log"] }

[[operations]]
include-path = "/webhook/{source}"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "5xx"]
parameters.source = { dictionary = "sources", probability = 0.7 }

[[operations]]
include-path = "/deliveries/retry"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "5xx"]

[[operations]]
include-path = "/deliveries/discard"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "5xx"]

[[operations]]
include-path = "/store/resume"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "5xx"]

[[operations]]
include-path = "/store/discard"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "5xx"]

[[operations]]
include-path = "/spool/retry"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "5xx"]

[[operations]]
include-path = "/spool/discard"
checks.positive_data_acceptance.expected-statuses = ["2xx", "400", "401", "403", "404", "5xx"]

[[operations]]
include-path = "/plugins/{name}/release"
parameters.name = { dictionary = "plugins", probability = 0.7 }
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_one_that_the_description_has() {
    let (key, lines) = new_key("tool", &["--sources", "*", "--admin"]);
    // A server of its own: the description's examples are ids that other tests may use, too.
    let temporal = Temporal::start().await;
    let settings = Settings::new().server(Server::At(temporal.address())).and_config(&lines);
    let host = settings.plugin(Plugin::shipped("log")).plugin(Plugin::shipped("alertmanager")).start().await;
    let configuration = host.settings().write("schemathesis.toml", CONFIGURATION);
    let mut command = Command::new("python3");
    command.args(["-m", "schemathesis.cli", "--config-file"]).arg(configuration).arg("run");
    command.arg(host.at("/openapi.json")).args(ARGUMENTS);
    command.args(["--header", &format!("Authorization: Bearer {key}")]);
    command.env("PYTHONPATH", python_package(SCHEMATHESIS)).env("NO_PROXY", "127.0.0.1");
    let (status, output) = run(command, host.settings().directory()).await;
    assert!(status.is_some_and(|status| status.success()), "{status:?}, `None` after {LIMIT:?}:\n{output}");
}

/// Runs the tool in a directory of its own, where it leaves what it leaves; `None` if it did not end in time.
async fn run(mut command: Command, directory: &Path) -> (Option<ExitStatus>, String) {
    let output = directory.join("schemathesis.txt");
    let file = File::create(&output).expect("the directory is writable");
    command.current_dir(directory).stderr(file.try_clone().expect("a file can be shared")).stdout(file);
    let process = Process::start(command, |_| ()).expect("python3 is installed");
    let status = process.wait(LIMIT).await;
    let text = std::fs::read(&output).expect("the file is there");
    (status, String::from_utf8_lossy(&text).into_owned())
}
