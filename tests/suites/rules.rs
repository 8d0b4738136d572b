//! The alerts for Prometheus that are shipped: valid, tried, and about metrics that there are.

use std::process::Command;

use harness::{project, tools};

use crate::observability::{documented, metric_names};

const RULES: &str = "deploy/prometheus/rules.yml";

/// Runs `promtool`; `None`, said aloud, where it cannot be had.
fn promtool(arguments: &[&str]) -> Option<(bool, String)> {
    let programs = tools::debian_package("prometheus")?.join("usr/bin");
    let mut command = Command::new(programs.join("promtool"));
    command.args(arguments).current_dir(project::root().join("deploy/prometheus"));
    let output = command.output().expect("promtool starts");
    let text = [output.stdout, output.stderr].concat();
    Some((output.status.success(), String::from_utf8_lossy(&text).into_owned()))
}

#[test]
fn the_rules_are_valid_and_fire_as_their_tests_say() {
    for arguments in [["check", "rules", "rules.yml"], ["test", "rules", "rules.test.yml"]] {
        let Some((is_fine, text)) = promtool(&arguments) else { return };
        assert!(is_fine, "promtool {arguments:?}:\n{text}");
    }
}

#[test]
fn every_rule_is_tried() {
    let (rules, tests) = (project::text(RULES), project::text("deploy/prometheus/rules.test.yml"));
    let names: Vec<_> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(names.len() >= 12, "{names:?}");
    for name in names {
        assert!(tests.contains(&format!("{{alertname=\"{name}\"}}")), "{name} is not in rules.test.yml");
    }
}

#[test]
fn every_metric_in_the_rules_is_documented() {
    let documented = documented();
    let named = metric_names(&project::text(RULES));
    assert!(named.len() >= 12, "{named:?}");
    for name in named {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
        let is_known = documented.contains(&name) || family.is_some_and(|family| documented.contains(family));
        assert!(is_known, "{name} is not in docs/metrics.md");
    }
}

#[test]
fn every_code_in_the_rules_is_one_of_the_host() {
    let (rules, api) = (project::text(RULES), project::text("docs/api.md"));
    let codes: Vec<_> = rules.split("code=~\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert!(codes.len() >= 2 && codes[0].contains("store-unavailable"), "{codes:?}");
    for code in codes.iter().flat_map(|codes| codes.split('|')) {
        assert!(api.contains(&format!("| `{code}` |")), "docs/api.md has no {code}");
    }
}
