//! What a plugin file would be to a host, found out by the same steps as the host loads it, without a host: for the
//! commands that explain.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use super::contract::Contract;
use super::doubts::{copies, doubts};
use super::files::{self, PluginFile, Scan};
use super::grants::Grants;
use super::limits::ByteSize;
use super::load::{Compiled, Loader, Refusal};
use super::loaded::Plugin;
use super::trust::Trust;
use super::{
    FileWarning, GrantsConfig, OpenError, PluginConfig, RefusedFile, Role, SecretConfig, SidecarConfig,
    doors, intake, registry,
};
use crate::toml_file;

/// Loads plugins to explain them.
pub struct Checker {
    loader: Loader,
    trust: Trust,
    directory: PathBuf,
}

/// What was found out about one plugin.
pub struct Checked {
    /// Its name: that of its file.
    pub name: String,
    /// What it says of itself and what it gets, as far as it could be asked.
    pub profile: Option<Profile>,
    /// Why a host would refuse it, if it would.
    pub refused: Option<RefusedFile>,
    /// The plugin as a host would have it.
    pub plugin: Option<Arc<Plugin>>,
}

/// What was found out about a plugin directory.
pub struct CheckedDirectory {
    /// Its plugins.
    pub plugins: Vec<Checked>,
    /// What works, or is ignored, and may be a mistake. What settings ask for and are not granted is not among it.
    pub warnings: Vec<FileWarning>,
}

/// What a plugin is, asks for and gets.
pub struct Profile {
    /// What it is for.
    pub role: Role,
    /// The version of its role's interface.
    pub contract: String,
    /// Its own version.
    pub version: String,
    /// What it does, in its own words.
    pub summary: String,
    /// `sha256:…` of the component.
    pub digest: String,
    /// What one call may use up, as a text; unknown if the sidecar cannot be used.
    pub bounds: Option<String>,
    /// The operator's file; the defaults if there is none or it cannot be read.
    pub sidecar: SidecarConfig,
    /// What it asks for, and whether it gets it.
    pub wishes: Vec<Wish>,
    /// Settings that it cannot do without and that are not set, as lines of `[config]`.
    pub settings: Vec<String>,
}

/// Something that a plugin asks for.
pub struct Wish {
    /// A request, a secret or mail, in words.
    pub what: String,
    /// What the sidecar says to it.
    pub verdict: Verdict,
    kind: Kind,
}

enum Kind {
    Http(String),
    Secret(String),
    Mail,
}

/// What becomes of a wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is granted.
    Granted,
    /// It is not.
    Missing,
    /// It cannot be, for this reason.
    Impossible(String),
}

impl Checker {
    /// Prepares what a host with this configuration loads plugins with.
    ///
    /// # Errors
    ///
    /// The engine cannot be made, or what `config` says about the way out cannot be used.
    pub fn open(config: PluginConfig) -> Result<Self, OpenError> {
        // Who checks may be another user than who runs the host: the host's cache is left alone.
        let config = PluginConfig { cache_dir: None, ..config };
        let settings = watch::channel(config.settings.clone()).1;
        let loader = registry::loader(&config, settings)?;
        Ok(Self { loader, trust: config.trust, directory: config.directory })
    }

    /// Checks every plugin of the directory that a host with this configuration loads, in the order of names.
    ///
    /// # Errors
    ///
    /// The directory cannot be read.
    pub async fn directory(&self) -> io::Result<CheckedDirectory> {
        let found = self.scan(&self.directory)?;
        let mut plugins = Vec::new();
        for (name, stamps) in found.plugins {
            let file = intake::take(&self.directory, &name, &stamps, &self.trust).await;
            if !file.as_ref().is_ok_and(|file| self.loader.is_for_others(file)) {
                plugins.push(self.check(name, file).await);
            }
        }
        let ignored = found.ignored.into_iter();
        let mut warnings: Vec<_> = ignored.map(|(file, why)| FileWarning { file, message: why }).collect();
        let good = || plugins.iter().filter_map(|checked| checked.plugin.as_ref());
        warnings.extend(copies(good()));
        warnings.extend(doubts(good()));
        Ok(CheckedDirectory { plugins, warnings })
    }

    fn scan(&self, directory: &Path) -> io::Result<Scan> {
        files::scan(directory, self.trust.lock(), &BTreeMap::new())
    }

    /// Checks one component, with the sidecar beside it.
    ///
    /// # Errors
    ///
    /// There is no such file, or its name does not end in `.wasm`; the text says so.
    pub async fn file(&self, path: &Path) -> Result<Checked, String> {
        let shown = path.display();
        let name = path.file_name().and_then(|name| name.to_str()?.strip_suffix(".wasm"));
        let name = name.ok_or_else(|| format!("{shown} is not named like a plugin, such as slack.wasm"))?;
        let directory =
            path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let found = self.scan(directory);
        let found = found.map_err(|error| format!("{} cannot be read: {error}", directory.display()))?;
        let stamps = found.plugins.get(name).filter(|stamps| stamps.has_component());
        let stamps = stamps.ok_or_else(|| format!("there is no file {shown}"))?;
        let file = intake::take(directory, name, stamps, &self.trust).await;
        Ok(self.check(name.to_owned(), file).await)
    }

    /// What other users of this machine could change in the directory, one text each.
    pub fn open_doors(&self) -> Vec<String> {
        doors::open_doors(&self.directory)
    }

    async fn check(&self, name: String, file: Result<PluginFile, Refusal>) -> Checked {
        let nothing = Checked { name, profile: None, refused: None, plugin: None };
        match file {
            Err(refusal) => Checked { refused: Some(refusal.into()), ..nothing },
            Ok(file) => self.load(file, nothing).await,
        }
    }

    async fn load(&self, file: PluginFile, nothing: Checked) -> Checked {
        let compiled = match self.loader.compiled(&file).await {
            Err(refusal) => return Checked { refused: Some(refusal.into()), ..nothing },
            Ok(compiled) => compiled,
        };
        // Also of a plugin that is refused for its sidecar: what is to be written there is the question then.
        let text = file.sidecar.clone().unwrap_or_default();
        let readable = toml_file::read_partly(&text).map(|(sidecar, _)| sidecar);
        let profile = Profile::new(&compiled, readable.unwrap_or_default());
        match self.loader.complete(file, 1, compiled) {
            Err(refusal) => Checked { profile: Some(profile), refused: Some(refusal.into()), ..nothing },
            Ok(plugin) => {
                let bounds = &plugin.sidecar.bounds;
                let memory = ByteSize(bounds.memory);
                let text =
                    format!("{memory}, {:?} per call, {} calls at once", bounds.deadline, bounds.concurrency);
                let profile = Profile { bounds: Some(text), ..profile };
                Checked { profile: Some(profile), plugin: Some(Arc::new(plugin)), ..nothing }
            }
        }
    }
}

impl Profile {
    fn new(compiled: &Compiled, sidecar: SidecarConfig) -> Self {
        let Contract { role, version, imports_mail } = &compiled.contract;
        let description = &compiled.description;
        let grants = Grants::try_from(sidecar.grants.clone()).unwrap_or_default();
        let http = description.http.iter().map(|wish| Wish::http(wish, &grants));
        let secrets = description.secrets.iter().map(|name| Wish::secret(name, &grants));
        let mail = imports_mail.then(|| Wish::mail(&sidecar.grants));
        Self {
            role: *role,
            contract: version.clone(),
            version: description.version.clone(),
            summary: description.summary.clone(),
            digest: compiled.digest.clone(),
            bounds: None,
            wishes: http.chain(secrets).chain(mail).collect(),
            settings: missing_settings(&description.config_schema, &sidecar),
            sidecar,
        }
    }

    /// The table `[grants]` with what is missing added to what is there; `None` if nothing is missing.
    pub fn completed_grants(&self) -> Option<GrantsConfig> {
        let mut grants = self.sidecar.grants.clone();
        let missing = self.wishes.iter().filter(|wish| wish.verdict == Verdict::Missing);
        for wish in missing {
            match &wish.kind {
                Kind::Http(request) => grants.http.push(request.clone()),
                Kind::Secret(name) => grants.secrets.push(name.clone()),
                Kind::Mail => grants.mail.push("*@example.com".to_owned()),
            }
        }
        (grants != self.sidecar.grants).then_some(grants)
    }

    /// Secrets that it asks for or is granted and that the host's configuration lacks.
    pub fn undefined_secrets(&self, defined: &BTreeMap<String, SecretConfig>) -> Vec<String> {
        let wanted = self.wishes.iter().filter_map(|wish| match &wish.kind {
            Kind::Secret(name) => Some(name),
            _ => None,
        });
        let mut names: Vec<_> = wanted.chain(&self.sidecar.grants.secrets).cloned().collect();
        names.sort();
        names.dedup();
        names.retain(|name| !defined.contains_key(name));
        names
    }

    /// The hosts that it sends requests to, as far as its wishes and grants tell: where its secrets would go.
    pub fn hosts(&self) -> Vec<String> {
        let wanted = self.wishes.iter().filter_map(|wish| match &wish.kind {
            Kind::Http(request) => Some(request),
            _ => None,
        });
        let authority = |request: &String| Some(request.split_once("://")?.1.split('/').next()?.to_owned());
        let mut hosts: Vec<_> = wanted.chain(&self.sidecar.grants.http).filter_map(authority).collect();
        hosts.sort();
        hosts.dedup();
        hosts
    }
}

impl Wish {
    fn http(request: &str, grants: &Grants) -> Self {
        let verdict = match grants.covers_http(request) {
            Ok(granted) => Verdict::granted(granted),
            Err(why) => {
                Verdict::Impossible(format!("the plugin does not say it in the form of a grant: {why}"))
            }
        };
        Self { what: request.to_owned(), verdict, kind: Kind::Http(request.to_owned()) }
    }

    fn secret(name: &str, grants: &Grants) -> Self {
        let verdict = Verdict::granted(grants.allows_secret(name));
        Self { what: format!("the secret {name}"), verdict, kind: Kind::Secret(name.to_owned()) }
    }

    fn mail(grants: &GrantsConfig) -> Self {
        Self { what: "mail".to_owned(), verdict: Verdict::granted(!grants.mail.is_empty()), kind: Kind::Mail }
    }
}

impl Verdict {
    fn granted(granted: bool) -> Self {
        if granted { Verdict::Granted } else { Verdict::Missing }
    }
}

/// A line for each setting that the plugin's schema requires and that is not there, with what stands for it in the schema.
fn missing_settings(schema: &str, sidecar: &SidecarConfig) -> Vec<String> {
    let schema: Value = serde_json::from_str(schema).unwrap_or_default();
    let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
    let missing = required.filter(|key| !sidecar.config.contains_key(*key));
    missing.map(|key| setting(key, &schema["properties"][key])).collect()
}

fn setting(key: &str, schema: &Value) -> String {
    let example = [&schema["default"], &schema["examples"][0], &schema["enum"][0]];
    let value = match (example.into_iter().find(|value| !value.is_null()), schema["type"].as_str()) {
        (Some(example), _) => example.to_string(),
        (None, Some("integer" | "number")) => "0".to_owned(),
        (None, Some("boolean")) => "false".to_owned(),
        _ => "\"…\"".to_owned(),
    };
    let what = schema["description"].as_str().map(|text| format!("  # {}", text.replace('\n', " ")));
    format!("{key} = {value}{}", what.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_must_be_set_is_a_line_to_paste() {
        let schema = json!({
            "required": ["url", "to", "limit", "fast", "colour"],
            "properties": {
                "url": {"type": "string", "description": "Where\nto"},
                "to": {"type": "string"},
                "limit": {"type": "integer"},
                "fast": {"type": "boolean", "default": true},
                "colour": {"enum": ["red", "blue"]},
                "other": {"type": "string"},
            },
        });
        let sidecar: SidecarConfig = toml::from_str("[config]\nto = 'x'").unwrap();
        assert_eq!(
            missing_settings(&schema.to_string(), &sidecar),
            ["url = \"…\"  # Where to", "limit = 0", "fast = true", "colour = \"red\""]
        );
        assert!(missing_settings("", &sidecar).is_empty() && missing_settings("[1]", &sidecar).is_empty());
    }

    #[test]
    fn what_is_granted_is_not_asked_for_again() {
        let sidecar = |grants: &str| toml::from_str::<SidecarConfig>(grants).unwrap();
        let profile = |sidecar: SidecarConfig| {
            let grants = Grants::try_from(sidecar.grants.clone()).unwrap();
            let wishes = vec![
                Wish::http("POST https://a.example:8443/x/**", &grants),
                Wish::http("any", &grants),
                Wish::secret("KEY", &grants),
                Wish::mail(&sidecar.grants),
            ];
            Profile {
                role: Role::Notifier,
                contract: String::new(),
                version: String::new(),
                summary: String::new(),
                digest: String::new(),
                bounds: None,
                sidecar,
                wishes,
                settings: Vec::new(),
            }
        };
        let nothing = profile(SidecarConfig::default());
        let grants = nothing.completed_grants().unwrap();
        assert_eq!(
            (grants.http, grants.secrets),
            (vec!["POST https://a.example:8443/x/**".to_owned()], vec!["KEY".to_owned()])
        );
        assert_eq!(grants.mail, ["*@example.com"]);
        assert!(matches!(nothing.wishes[1].verdict, Verdict::Impossible(_)));
        assert_eq!(nothing.undefined_secrets(&BTreeMap::new()), ["KEY"]);
        let all = profile(sidecar(
            "[grants]\nhttp = ['* https://a.example:8443/**', 'GET https://b.example/']\nsecrets = ['KEY', 'MORE']\nmail = ['*@a.example']",
        ));
        assert_eq!(all.completed_grants(), None);
        assert_eq!(all.undefined_secrets(&BTreeMap::new()), ["KEY", "MORE"]);
        assert_eq!(all.hosts(), ["a.example:8443", "b.example"]);
    }
}
