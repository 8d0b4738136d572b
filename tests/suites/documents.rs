//! Documents are kept true: paths exist, examples work.

use std::path::Path;

use harness::alerts::alert;
use harness::{Host, Plugin, Server, Settings, artifacts, project, tools};
use serde_json::Value;

/// The texts between backticks in a document's prose, fenced blocks left out.
fn code_spans(text: &str) -> Vec<String> {
    let mut fenced = false;
    let mut spans = Vec::new();
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            spans.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    spans
}

/// Link targets within the repository, without their fragments.
fn links(text: &str) -> Vec<String> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split_once(')')).map(|(target, _)| target);
    let local = targets.filter(|target| !target.contains("://") && !target.starts_with('#'));
    local.map(|target| target.split('#').next().unwrap_or(target).to_owned()).collect()
}

fn looks_like_a_path(span: &str) -> bool {
    let plain = span.chars().all(|c| c.is_ascii_alphanumeric() || "/._-".contains(c));
    let file = [".rs", ".md", ".toml", ".json", ".yml", ".wit"].iter().any(|ending| span.ends_with(ending));
    plain
        && !span.starts_with('/')
        && (file || span.ends_with('/') || (span.contains('/') && !span.contains("..")))
}

#[test]
fn every_path_named_in_the_architecture_exists() {
    let text = project::text("ARCHITECTURE.md");
    let spans: Vec<_> = code_spans(&text).into_iter().filter(|span| looks_like_a_path(span)).collect();
    assert!(spans.len() > 15, "the map names its places: {spans:?}");
    for span in spans {
        let homes = ["", "host/", "host/src/", "host/src/plugin/", "host/src/temporal/"];
        let exists = homes.iter().any(|home| project::root().join(home).join(&span).exists());
        assert!(exists, "ARCHITECTURE.md names {span}, which is not there");
    }
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut documents =
        vec!["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"];
    documents.extend([
        "docs/operators.md",
        "docs/authors.md",
        "docs/metrics.md",
        "docs/sandbox.md",
        "docs/adr/README.md",
        "plugins/README.md",
    ]);
    for document in documents {
        let text = project::text(document);
        let home = Path::new(document).parent().expect("a file is somewhere");
        for link in links(&text) {
            assert!(
                project::root().join(home).join(&link).exists(),
                "{document} links to {link}, which is not there"
            );
        }
    }
}

#[test]
fn every_directory_at_the_top_is_on_the_map() {
    let text = project::text("ARCHITECTURE.md");
    for entry in std::fs::read_dir(project::root()).expect("readable").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let ours = entry.path().is_dir()
            && !name.starts_with('.')
            && !["target", "data", "plugins.d"].contains(&name.as_str());
        assert!(
            !ours || text.contains(&format!("`{name}/`")),
            "{name}/ is not on the map of ARCHITECTURE.md"
        );
    }
}

#[test]
fn what_python_compiles_is_ignored_and_not_tracked() {
    let ignored = project::text(".gitignore");
    assert!(ignored.lines().any(|line| line == "__pycache__/"), "{ignored}");
    let mut git = std::process::Command::new("git");
    let listed = git.arg("ls-files").current_dir(project::root()).output();
    match listed {
        Ok(listed) if listed.status.success() => {
            let files = String::from_utf8_lossy(&listed.stdout).into_owned();
            let tracked: Vec<_> = files.lines().filter(|file| file.contains("__pycache__")).collect();
            assert!(tracked.is_empty(), "{tracked:?}");
        }
        _ => tools::skipped("which files are tracked: this is no clone, or git is missing"),
    }
}

#[test]
fn the_decision_for_temporal_names_the_crate_as_published() {
    let text = project::text("docs/adr/0002-temporal-only.md");
    assert!(text.contains("`temporal-sdk`") && text.contains("published on crates.io as `temporalio-sdk`"));
    assert!(project::text("host/Cargo.toml").contains("\ntemporalio-sdk = "));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_example_configuration_starts_a_host() {
    let host = Settings::new()
        .config(&project::text("campanile.example.toml"))
        .plugin(Plugin::shipped("log"))
        .start()
        .await;
    assert_eq!(host.ledger(alert("by the book")).await["outcome"], "delivered");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_examples_in_the_example_configuration_are_valid_too() {
    let text = project::text("campanile.example.toml");
    let mut uncommented = String::new();
    for line in text.lines() {
        let example = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
        uncommented.push_str(example.unwrap_or(line));
        uncommented.push('\n');
    }
    let document: toml::Table = uncommented.parse().unwrap_or_else(|error| panic!("{error}"));
    assert!(document.contains_key("secrets") && document.contains_key("mail"));
    // The files and variables that the examples name are not here: the host says so, and of nothing else.
    let nobody = Server::At("127.0.0.1:1".to_owned());
    let (_, log) = Host::refusing(&Settings::new().server(nobody).config(&uncommented)).await;
    let log = log.tail();
    assert!(!log.contains("is not a known key") && !log.contains("is not one of"), "{log}");
    assert!(log.contains("STATUS_TOKEN"), "the host looks for the secrets that are declared: {log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shipped_sidecar_loads_as_it_is_and_names_what_the_plugin_asks_for() {
    let mut settings = Settings::new();
    let mut names = Vec::new();
    for name in artifacts::shipped_names() {
        let sidecar = project::root().join(format!("plugins/{name}/{name}.toml"));
        if sidecar.exists() {
            let text = std::fs::read_to_string(sidecar).expect("readable");
            settings = settings.plugin(Plugin::shipped(&name).sidecar(&text));
            names.push(name);
        }
    }
    assert!(names.len() >= 4, "those that need an address have a sidecar to copy: {names:?}");
    let host = settings.start().await;
    let plugins = host.plugins().await;
    assert_eq!(plugins["refused"], Value::Array(Vec::new()), "{plugins}");
    let warnings = plugins["warnings"].as_array().expect("a list");
    let is_of_settings =
        |warning: &&Value| warning["message"].as_str().is_some_and(|text| text.starts_with("config."));
    assert_eq!(warnings.iter().find(is_of_settings), None, "each may ask what it is set up to ask");
}
