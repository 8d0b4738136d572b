//! `docker-compose.yml` and `Dockerfile`: valid, and true to the binary and to the repository.

use std::collections::BTreeSet;

use harness::cli::campanile;
use harness::project;
use serde_json::Value;

fn compose() -> Value {
    let text = project::text("docker-compose.yml");
    serde_saphyr::from_str(&text).unwrap_or_else(|error| panic!("docker-compose.yml: {error}"))
}

fn services() -> Vec<(String, Value)> {
    let services = compose()["services"].as_object().expect("services").clone();
    services.into_iter().collect()
}

/// Flags and environment variables of a command, from its own help.
async fn known(command: &[&str]) -> BTreeSet<String> {
    let help = campanile(&[command, &["--help"]].concat()).await.stdout;
    let words = help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '_'));
    words.filter(|word| word.starts_with("--") || word.starts_with("CAMPANILE_")).map(str::to_owned).collect()
}

/// A list or a shell line, as words.
fn words(value: &Value) -> Vec<String> {
    match value {
        Value::String(text) => text.split_whitespace().map(str::to_owned).collect(),
        Value::Array(items) => items.iter().filter_map(|item| item.as_str().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

fn flag(word: &str) -> Option<&str> {
    word.starts_with("--").then(|| word.split('=').next().unwrap_or(word))
}

#[test]
fn docker_compose_keeps_to_the_compose_specification() {
    let schema: Value =
        serde_json::from_str(&project::text("tests/schemas/compose-spec.json")).expect("a schema");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let document = compose();
    let faults: Vec<_> =
        validator.iter_errors(&document).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[tokio::test]
async fn every_flag_in_the_container_files_is_known_to_the_binary() {
    let (serve, keys) = (known(&["serve"]).await, known(&["keys", "new"]).await);
    let ours = services()
        .into_iter()
        .filter(|(_, service)| service["build"].is_string() || service["build"].is_object());
    let ours: Vec<_> = ours.collect();
    assert!(ours.len() >= 2, "webhook and worker are built from here");
    for (name, service) in &ours {
        let command = [words(&service["entrypoint"]), words(&service["command"])].concat();
        let known = match command.first().map(String::as_str) {
            Some("serve") => &serve,
            Some("keys") => &keys,
            _ => panic!("{name}: {command:?}"),
        };
        for flag in command.iter().filter_map(|word| flag(word)) {
            assert!(known.contains(flag), "{name}: `campanile {}` has no {flag}", command[0]);
        }
        for variable in service["environment"].as_object().into_iter().flat_map(|all| all.keys()) {
            assert!(
                !variable.starts_with("CAMPANILE_") || known.contains(variable),
                "{name}: {variable} means nothing"
            );
        }
    }
    let dockerfile = project::text("Dockerfile");
    let variables = dockerfile.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    for variable in variables.filter(|word| word.starts_with("CAMPANILE_")) {
        assert!(serve.contains(variable), "Dockerfile: {variable} means nothing to the binary");
    }
}

#[test]
fn the_services_are_published_on_loopback_and_have_their_versions_settable() {
    let text = project::text("docker-compose.yml");
    for variable in ["POSTGRESQL", "TEMPORAL", "TEMPORAL_ADMINTOOLS", "TEMPORAL_UI", "ELASTICSEARCH"] {
        assert!(text.contains(&format!("${{{variable}_VERSION:-")), "{variable}_VERSION has no default");
    }
    for (name, service) in services() {
        for port in words(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name} publishes {port} to everybody");
        }
    }
    let compose = compose();
    let ports = |name: &str| words(&compose["services"][name]["ports"]);
    assert_eq!(ports("webhook"), ["127.0.0.1:8000:8000"]);
    assert_eq!(ports("temporal-ui"), ["127.0.0.1:8080:8080"]);
    assert_eq!(ports("temporal"), ["127.0.0.1:7233:7233"], "hosts beside the containers need it");
    assert!(ports("worker").is_empty(), "a worker with a published port cannot be scaled");
    assert!(words(&compose["services"]["elasticsearch"]["profiles"]).contains(&"elasticsearch".to_owned()));
}

/// A variable's default in docker-compose.yml.
fn default_of(variable: &str) -> String {
    let text = project::text("docker-compose.yml");
    let found = text.split_once(&format!("${{{variable}:-")).and_then(|(_, rest)| rest.split('}').next());
    found.unwrap_or_else(|| panic!("{variable} has no default")).to_owned()
}

#[test]
fn supported_versions_stand_beside_their_variables() {
    let (compose, guide) = (project::text("docker-compose.yml"), project::text("docs/operators.md"));
    let comments: Vec<_> = compose.lines().filter(|line| line.starts_with('#')).collect();
    for name in ["POSTGRESQL", "TEMPORAL", "TEMPORAL_ADMINTOOLS", "TEMPORAL_UI", "ELASTICSEARCH"] {
        let variable = format!("{name}_VERSION");
        let default = default_of(&variable);
        let is_here = |line: &&str| line.contains(&variable) && line.contains(&format!("({default}"));
        assert!(comments.iter().any(is_here), "docker-compose.yml: {variable}, {default}");
        let row = |line: &&str| line.starts_with('|') && line.contains(&format!("`{variable}`"));
        let row = guide.lines().find(|line| row(line)).unwrap_or_default();
        assert!(row.contains(&format!("| {default}")), "docs/operators.md: {variable}, {default}: {row}");
    }
    assert_eq!(default_of("TEMPORAL_VERSION"), default_of("TEMPORAL_ADMINTOOLS_VERSION"));
    let major = default_of("ELASTICSEARCH_VERSION").split('.').next().map(|major| format!("v{major}"));
    assert_eq!(major, Some(default_of("ES_VERSION")), "Temporal is given the major version");
}

#[test]
fn the_readme_names_compose_and_what_to_do_about_its_ports() {
    let text = project::text("README.md");
    assert!(text.contains("(docker-compose.yml)"), "README.md does not name docker-compose.yml");
    let row = text.lines().find(|line| line.starts_with("| `docker compose up`")).unwrap_or_default();
    assert!(row.contains("7233") && row.contains("`docker ps`"), "{row}");
}

#[test]
fn the_dockerfile_copies_what_is_there_and_does_not_run_as_root() {
    let text = project::text("Dockerfile");
    let mut user = "root";
    for line in text.lines().map(str::trim) {
        match line.split_once(' ') {
            Some(("COPY", rest)) if !rest.starts_with("--from") => assert_sources_exist(rest),
            Some(("USER", name)) => user = name,
            _ => {}
        }
    }
    assert!(!user.starts_with("root") && !user.starts_with('0'), "the image runs as {user}");
    // All that is in the workspace but what runs beside the plugins: no list of them could lag behind.
    assert!(
        text.contains("--workspace \\\n      --exclude campanile --exclude tests --exclude xtask "),
        "{text}"
    );
}

fn assert_sources_exist(rest: &str) {
    let words: Vec<_> = rest.split_whitespace().filter(|word| !word.starts_with("--")).collect();
    let (_, sources) = words.split_last().expect("COPY has a destination");
    for source in sources {
        assert!(project::root().join(source).exists(), "Dockerfile copies {source}, which is not there");
    }
}
