//! `slack.toml` beside `slack.wasm`: what the operator sets and allows. Without the file, a plugin runs for every alert
//! with its own defaults and reaches nothing.

use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Role;
use super::grants::{Grants, GrantsConfig};
use super::limits::{Bounds, Limits};
use super::schema::Schema;
use crate::condition::Condition;
use crate::fault::Fault;
use crate::plan::RetryConfig;
use crate::toml_file;

/// How deep tables of settings may nest.
const DEEPEST_SETTING: usize = 8;

/// The file as it is written.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct SidecarConfig {
    /// Whether the plugin is called at all.
    pub enabled: bool,
    /// Its place in the row: ascending, the name decides between equals.
    pub order: i64,
    /// A CEL expression over `alert` that says which alerts it is called for, such as
    /// `alert.severity in ["high", "critical"]`; all if absent.
    pub when: Option<String>,
    /// The plugin's own settings, which it describes by a JSON Schema: texts, numbers and booleans, and tables of these, which the plugin reads as `table.key`.
    pub config: Map<String, Value>,
    /// What it may reach; nothing unless listed.
    pub grants: GrantsConfig,
    /// What it may use up; the host's own limits where absent.
    pub limits: Limits,
    /// How often and for how long it is tried; of a processor, what it asks to be tried again for.
    pub retry: RetryConfig,
}

impl Default for SidecarConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            order: 0,
            when: None,
            config: Map::new(),
            grants: GrantsConfig::default(),
            limits: Limits::default(),
            retry: RetryConfig::default(),
        }
    }
}

/// The file, understood.
pub(super) struct Sidecar {
    pub config: SidecarConfig,
    pub when: Option<Condition>,
    pub settings: Settings,
    pub grants: Grants,
    pub bounds: Arc<Bounds>,
}

/// What makes no sense in the file of a source: nothing leaves the host through one, and it runs before there is an alert.
fn source_faults(config: &SidecarConfig, role: Role) -> Vec<Fault> {
    if role != Role::Source {
        return Vec::new();
    }
    let fault =
        |path: &str, message: &str| Fault { path: path.to_owned(), value: None, message: message.to_owned() };
    let reaches = config.grants != GrantsConfig::default();
    let grants = reaches.then(|| fault("grants", "a source reaches nothing: it only reads the request"));
    let when =
        config.when.as_ref().map(|_| fault("when", "a source is called for every request to its address"));
    let is_retried = config.retry.is_set();
    let retry = is_retried.then(|| fault("retry", "a source is not asked again: the sender posts again"));
    grants.into_iter().chain(when).chain(retry).collect()
}

/// A plugin's settings as it reads them: names and texts.
pub(super) type Settings = Arc<[(String, String)]>;

impl Sidecar {
    /// Reads the file and checks it, also by the plugin's own word: `more` settles the settings, and says what the plugin and the
    /// host have against them and the limits. `None` is a plugin without a file.
    ///
    /// # Errors
    ///
    /// All that is wrong with it, what cannot be read as well as what makes no sense in the rest.
    pub(super) fn read(
        text: Option<&str>,
        role: Role,
        host: &Limits,
        more: impl FnOnce(&mut SidecarConfig, &Bounds) -> Vec<Fault>,
    ) -> Result<Self, Vec<Fault>> {
        let text = text.unwrap_or_default();
        let (mut config, illegible) = toml_file::read_partly::<SidecarConfig>(text)?;
        let bounds = Arc::new(config.limits.over(host, role));
        let mut found = more(&mut config, &bounds);
        // What was left out is not missing.
        found.retain(|fault| !illegible.iter().any(|other| holds(&other.path, &fault.path)));
        let built = Self::build(config, role, bounds);
        let (built, mut faults) = match built {
            Ok(sidecar) => (Some(sidecar), Vec::new()),
            Err(faults) => (None, faults),
        };
        // The plugin's word says more.
        faults.retain(|fault| !found.iter().any(|other| other.path == fault.path));
        faults.extend(found);
        match built {
            Some(sidecar) if faults.is_empty() && illegible.is_empty() => Ok(sidecar),
            _ => Err([illegible, toml_file::located(text, faults)].concat()),
        }
    }

    fn build(config: SidecarConfig, role: Role, bounds: Arc<Bounds>) -> Result<Self, Vec<Fault>> {
        let mut faults = config.limits.faults("limits");
        if config.limits.receivers.is_some() {
            let message =
                "is a limit of alerts, not of a plugin: set it under [limits] of the host's configuration"
                    .to_owned();
            faults.push(Fault { path: "limits.receivers".to_owned(), value: None, message });
        }
        faults.extend(config.retry.faults("retry"));
        faults.extend(source_faults(&config, role));
        let when = config.when.as_deref().and_then(|text| {
            let fault = |message| Fault { path: "when".to_owned(), value: Some(text.into()), message };
            Condition::parse(text).map_err(|message| faults.push(fault(message))).ok()
        });
        let grants = Grants::try_from(config.grants.clone()).map_err(|found| faults.extend(found)).ok();
        let settings = settings(&config.config).map_err(|found| faults.extend(found)).ok();
        match (grants, settings) {
            (Some(grants), Some(settings)) if faults.is_empty() => {
                Ok(Self { config, when, settings, grants, bounds })
            }
            _ => Err(faults),
        }
    }
}

/// Whether a path is this place, or lies in it.
fn holds(place: &str, path: &str) -> bool {
    path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

/// What a plugin's own schema has against the settings, once its words are settled. Where receivers add settings of their own,
/// those of the file need not be whole.
pub(super) fn setting_faults(config: &mut SidecarConfig, schema: &Schema, is_whole: bool) -> Vec<Fault> {
    schema.settle_words(&mut config.config);
    let mut faults = schema.faults(&config.config);
    faults.retain(|fault| is_whole || !fault.is_missing());
    faults
}

/// Settings of a receiver over those of the plugin's file.
pub(super) fn merged(own: &Map<String, Value>, over: &Map<String, Value>) -> Map<String, Value> {
    let mut merged = own.clone();
    merged.extend(over.iter().map(|(key, value)| (key.clone(), value.clone())));
    merged
}

/// Settings as the plugin reads them: texts, and those of a table under its name and a dot.
pub(super) fn settings(config: &Map<String, Value>) -> Result<Settings, Vec<Fault>> {
    let (mut pairs, mut faults) = (Vec::new(), Vec::new());
    flatten_table("", config, &mut pairs, &mut faults);
    if faults.is_empty() { Ok(pairs.into()) } else { Err(faults) }
}

fn flatten_table(
    prefix: &str,
    table: &Map<String, Value>,
    pairs: &mut Vec<(String, String)>,
    faults: &mut Vec<Fault>,
) {
    for (key, value) in table {
        let key = format!("{prefix}{key}");
        match value {
            Value::String(text) => pairs.push((key, text.clone())),
            Value::Number(_) | Value::Bool(_) => pairs.push((key, value.to_string())),
            Value::Object(inner) if key.matches('.').count() < DEEPEST_SETTING => {
                flatten_table(&format!("{key}."), inner, pairs, faults);
            }
            _ => faults.push(Fault {
                path: format!("config.{key}"),
                value: Some(value.clone()),
                message: format!(
                    "must be a text, a number, a boolean or a table of these, {DEEPEST_SETTING} tables deep at most"
                ),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::toml_file::tests::{any_file, are_placed};
    use arbitrary::Unstructured;

    fn sidecar(text: &str) -> Result<Sidecar, String> {
        let said = |faults: Vec<Fault>| faults.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n");
        Sidecar::read(Some(text), Role::Notifier, &Limits::default(), |_, _| Vec::new()).map_err(said)
    }

    #[test]
    fn any_sidecar_is_understood_or_refused_with_a_place() {
        let example = include_str!("../../../plugins/slack/slack.toml");
        let read = |text: &str| {
            if let Err(faults) =
                Sidecar::read(Some(text), Role::Processor, &Limits::default(), |_, _| Vec::new())
            {
                are_placed(&faults, text);
            }
        };
        bolero::check!(name = "sidecar").with_iterations(1_000).for_each(|bytes: &[u8]| {
            read(&String::from_utf8_lossy(bytes));
            any_file(example, &mut Unstructured::new(bytes)).iter().for_each(|text| read(text));
        });
    }

    /// The tables of a file may be as deep as its bytes allow.
    #[test]
    fn a_file_of_deep_tables_is_refused_at_once() {
        let names = |name: &str| vec![name; 70].join(".");
        let inline = (0..70).map(|_| format!("{{ {} = ", names("a"))).collect::<String>();
        for text in [
            format!("[config.{}]\n{} = 1", names("a"), names("b")),
            format!("[config]\nx = {inline}1{}", " }".repeat(70)),
            format!("[config]\nx = {}1{}", "[".repeat(5_000), "]".repeat(5_000)),
            format!("[config.{}]", vec!["a"; 20_000].join(".")),
            format!("[config]\n{} = 1", vec!["a"; 20_000].join(".")),
        ] {
            assert!(sidecar(&text).is_err());
        }
    }

    /// Neither the stack nor the time of the loader depends on what a `when` says.
    #[test]
    fn a_when_without_bounds_is_refused_at_once() {
        let forty = format!("[{}]", "1,".repeat(40));
        let often = |what: &str| format!("{forty}.all(x, {forty}.all(y, {what}))");
        for (when, why) in [
            (format!("1{} == 0", "+1".repeat(2_000)), "is more than 64 levels deep"),
            (format!("alert{} == 0", ".a".repeat(2_000)), "is more than 64 levels deep"),
            (format!("alert{} == 0", "[0]".repeat(2_000)), "is more than 64 levels deep"),
            (format!("true{}", "==true".repeat(2_000)), "has 12004 bytes"),
            (often(&format!("1 in [{}]", "1,".repeat(200))), "takes more than 150000 steps"),
            (often(&format!("\"{0}\" + \"{0}\" != \"\"", "a".repeat(500))), "makes more than 1024 KiB"),
        ] {
            let began = std::time::Instant::now();
            let refused = sidecar(&format!("when = '{when}'")).err().unwrap_or_default();
            assert!(refused.starts_with(&format!("when: {why}")), "{refused}");
            assert!(began.elapsed() < std::time::Duration::from_secs(2), "{:?}: {when}", began.elapsed());
        }
    }

    #[test]
    fn a_plugin_without_a_file_is_enabled_and_reaches_nothing() {
        let sidecar = Sidecar::read(None, Role::Processor, &Limits::default(), |_, _| Vec::new()).unwrap();
        assert!(sidecar.config.enabled && sidecar.settings.is_empty() && sidecar.when.is_none());
    }

    #[test]
    fn a_source_is_not_retried_and_its_file_cannot_say_so() {
        let text = Some("[retry]\nmaximum-attempts = 2\n");
        let read = |role| {
            let read = Sidecar::read(text, role, &Limits::default(), |_, _| Vec::new());
            read.map_err(|faults| faults[0].to_string())
        };
        let refused = read(Role::Source).err().unwrap();
        assert!(refused.starts_with("retry: a source is not asked again"), "{refused}");
        assert!(read(Role::Processor).is_ok());
    }

    #[test]
    fn settings_reach_the_plugin_as_texts() {
        let text =
            "[config]\nurl = 'x'\nlimit = 3\nfast = true\nratio = 0.5\n[config.labels.a]\nteam = '/owner'";
        let mut pairs = sidecar(text).unwrap().settings.to_vec();
        pairs.sort();
        let pairs: Vec<_> = pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        assert_eq!(
            pairs,
            [("fast", "true"), ("labels.a.team", "/owner"), ("limit", "3"), ("ratio", "0.5"), ("url", "x")]
        );
    }

    #[test]
    fn all_faults_of_a_file_are_told_at_once() {
        let text = sidecar(
            "when = 'alert.'\n[config]\nlist = []\n[limits]\nmemory = '2GiB'\n[grants]\nhttp = ['nonsense']",
        )
        .err()
        .unwrap();
        for part in [
            "when: ",
            "config.list: must be",
            "limits.memory: 2 GiB is more than 1 GiB (line 5",
            "grants.http[0]",
        ] {
            assert!(text.contains(part), "{part} is missing in:\n{text}");
        }
    }

    /// A sidecar of a plugin with this schema.
    fn fitted(text: &str, schema: &str) -> Result<Sidecar, Vec<String>> {
        let schema = Schema::read(schema).unwrap();
        let more = |config: &mut SidecarConfig, _: &Bounds| setting_faults(config, &schema, true);
        let read = Sidecar::read(Some(text), Role::Notifier, &Limits::default(), more);
        read.map_err(|faults| faults.iter().map(Fault::to_string).collect())
    }

    #[test]
    fn words_of_settings_are_taken_in_any_case() {
        let sidecar = fitted(
            "[config]\nseverity = 'High'\nmode = 'A'\nurl = 'X'",
            r#"{"properties": {"severity": {"enum": ["low", "high", 3]}, "mode": {"enum": ["a", "A"]}}}"#,
        )
        .unwrap();
        let setting =
            |name| sidecar.settings.iter().find(|(key, _)| key == name).map(|(_, text)| text.as_str());
        assert_eq!(
            (setting("severity"), setting("mode"), setting("url")),
            (Some("high"), Some("A"), Some("X"))
        );
    }

    #[test]
    fn a_setting_that_does_not_fit_is_placed_in_the_file() {
        let faults = fitted(
            "[config]\nurl = 3\nextra = 'x'",
            r#"{"type":"object","properties":{"url":{"type":"string"}},"additionalProperties":false}"#,
        );
        let faults = faults.err().unwrap();
        assert!(
            faults.contains(&"config.extra: is not a known key (line 3, column 1)".to_owned()),
            "{faults:?}"
        );
    }

    /// What cannot be read hides nothing of the rest, and is not reported again as missing.
    #[test]
    fn a_key_that_is_not_known_hides_no_other_fault() {
        let schema = r#"{"type": "object", "properties": {"url": {"type": "string"}, "list": {}}, "required": ["url"]}"#;
        let text = "colour = 1\norder = 'x'\nwhen = 'alert.'\n[config]\nlist = []\n[limits]\nmemory = '64kb'\ndeadline = '0s'\n\
                    [retry]\nmaximum-attempts = 'x'\n[grants]\nhttp = ['nonsense']\nmail = 3\n";
        let faults = fitted(text, schema).err().unwrap();
        for (part, line) in [
            ("colour: is not a known key", 1),
            ("order: \"x\" is a string", 2),
            ("when: is not a CEL expression", 3),
            ("config.url: is required", 4),
            ("config.list: must be a text", 5),
            ("limits.memory: '64kb'", 7),
            ("limits.deadline: must be longer", 8),
            ("retry.maximum-attempts: \"x\" is a string", 10),
            ("grants.http[0]: ", 12),
            ("grants.mail: 3 is a number", 13),
        ] {
            let is_it =
                |fault: &&String| fault.starts_with(part) && fault.contains(&format!("(line {line},"));
            assert_eq!(
                faults.iter().filter(is_it).count(),
                1,
                "{part} in line {line}:\n{}",
                faults.join("\n")
            );
        }
        assert_eq!(faults.len(), 10, "{}", faults.join("\n"));
        let faults = fitted("config = 3\nwhen = 'alert.'", schema).err().unwrap();
        assert_eq!(faults.len(), 2, "what is no table lacks no key: {faults:?}");
    }
}
