//! When a change of the configuration takes effect: while the host runs, or with its next start. Every section is one or the other.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Value, json};

use super::{Config, ConfigFile};

/// What is taken over while the host runs.
#[cfg(test)]
const LIVE: [&str; 11] = [
    "keys",
    "keys-file",
    "limits",
    "mutes",
    "receivers",
    "routes",
    "routing",
    "secrets",
    "sources",
    "updaters",
    "windows",
];

impl Config {
    /// This configuration, with what `next` says of the sections that are taken over while the host runs.
    #[must_use]
    pub fn with_live(&self, next: Self) -> Self {
        let ConfigFile {
            routing,
            routes,
            receivers,
            updaters,
            windows,
            mutes,
            limits,
            keys_file,
            keys,
            sources,
            secrets,
            ..
        } = next.file;
        let file = ConfigFile {
            routing,
            routes,
            receivers,
            updaters,
            windows,
            mutes,
            limits,
            keys_file,
            keys,
            sources,
            secrets,
            ..self.file.clone()
        };
        Self { file, stamps: next.stamps, ..self.clone() }
    }

    /// The keys that are others in `next` and take effect with the next start of the host, such as `webhook.body-limit`.
    pub fn needs_restart(&self, next: &Self) -> Vec<String> {
        let (before, after) = (self.fixed(), next.fixed());
        let mut keys = BTreeSet::new();
        for (section, value) in &before {
            differing((*section).to_owned(), value, &after[section], &mut keys);
        }
        keys.into_iter().collect()
    }

    /// The sections that are read at the start alone, as they are with flags and defaults. A new section has to be put either here,
    /// or into [`Self::with_live`].
    fn fixed(&self) -> BTreeMap<&'static str, Value> {
        let ConfigFile {
            listen: _,
            plugins: _,
            data_dir: _,
            role: _,
            log: _,
            webhook,
            tls,
            temporal,
            activities,
            calls,
            compilation,
            trust,
            egress,
            mail,
            last_resort,
            spool,
            store,
            // Taken over while the host runs.
            routing: _,
            routes: _,
            receivers: _,
            updaters: _,
            windows: _,
            mutes: _,
            limits: _,
            keys_file: _,
            keys: _,
            sources: _,
            secrets: _,
        } = &self.file;
        BTreeMap::from([
            ("listen", json!(self.listen.to_string())),
            ("plugins", json!(self.plugins.display().to_string())),
            ("data-dir", json!(self.data_dir.display().to_string())),
            ("role", json!(self.role.as_str())),
            ("log", json!({"format": self.log_format, "filter": self.log})),
            ("webhook", value(webhook)),
            ("tls", value(tls)),
            ("temporal", value(temporal)),
            ("activities", value(activities)),
            ("calls", value(calls)),
            ("compilation", value(compilation)),
            ("trust", value(trust)),
            ("egress", value(egress)),
            ("mail", value(mail)),
            ("last-resort", value(last_resort)),
            ("spool", value(spool)),
            ("store", value(store)),
        ])
    }
}

/// What cannot be written as JSON, such as a path that is not UTF-8, comes from a flag, and is the same each time.
fn value(section: &impl Serialize) -> Value {
    serde_json::to_value(section).unwrap_or_default()
}

/// The paths at which two values differ; a table that only one of them has is one path.
fn differing(at: String, before: &Value, after: &Value, found: &mut BTreeSet<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for key in before.keys().chain(after.keys()) {
                let of = |table: &serde_json::Map<String, Value>| table.get(key).cloned().unwrap_or_default();
                differing(format!("{at}.{key}"), &of(before), &of(after), found);
            }
        }
        _ if before == after => {}
        _ => _ = found.insert(at),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Flags;

    fn load(text: &str, flags: Flags) -> Config {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("campanile.toml");
        std::fs::write(&path, text).unwrap();
        Config::load(Flags { config: Some(path), ..flags }).unwrap()
    }

    fn needs_restart(before: &str, after: &str) -> Vec<String> {
        let [before, after] = [before, after].map(|text| load(text, Flags::default()));
        before.needs_restart(&after)
    }

    #[test]
    fn every_section_is_taken_over_or_needs_a_restart() {
        let schema = schemars::schema_for!(ConfigFile);
        let all: BTreeSet<_> =
            schema.as_value()["properties"].as_object().unwrap().keys().map(String::as_str).collect();
        let fixed: BTreeSet<_> = load("", Flags::default()).fixed().into_keys().collect();
        let live = BTreeSet::from(LIVE);
        assert_eq!(fixed.intersection(&live).count(), 0);
        assert_eq!(fixed.union(&live).copied().collect::<BTreeSet<_>>(), all);
    }

    #[test]
    fn the_operators_guide_has_the_same_table() {
        let guide = include_str!("../../../docs/operators.md");
        let list = |sections: &mut dyn Iterator<Item = &str>| {
            sections.map(|section| format!("`{section}`")).collect::<Vec<_>>().join(", ")
        };
        let fixed = load("", Flags::default()).fixed();
        for (when, sections) in [
            ("while the host runs", list(&mut LIVE.into_iter())),
            ("with the next start", list(&mut fixed.into_keys())),
        ] {
            let row = format!("| {when} | {sections} |");
            assert!(guide.contains(&row), "docs/operators.md lacks:\n{row}");
        }
    }

    #[test]
    fn what_takes_effect_with_the_next_start_is_named_key_by_key() {
        let before = "[webhook]\nconcurrency = 32\n[mail]\nhost = 'a'\nfrom = 'a@example.com'";
        let after = "data-dir = 'other'\n[webhook]\nconcurrency = 32\nbody-limit = 2048\n\
                     [activities.send-notification]\nmaximum-attempts = 3\n[tls]\ncertificate = 'a'\nkey = 'b'";
        let named = [
            "activities.send-notification.maximum-attempts",
            "data-dir",
            "mail",
            "tls",
            "webhook.body-limit",
        ];
        assert_eq!(needs_restart(before, after), named);
        assert_eq!(needs_restart(after, before), named);
        assert!(needs_restart(before, before).is_empty());
    }

    #[test]
    fn what_makes_no_difference_needs_no_restart() {
        assert!(
            needs_restart("", "role = 'all'\n[webhook]\nconcurrency = 1024\n[log]\nformat = 'text'")
                .is_empty()
        );
        let flags = Flags { data_dir: Some("flag".into()), ..Flags::default() };
        let [before, after] = ["data-dir = 'a'", "data-dir = 'b'"].map(|text| load(text, flags.clone()));
        assert!(before.needs_restart(&after).is_empty(), "the flag comes first");
    }

    #[test]
    fn what_is_taken_over_needs_no_restart() {
        let keys = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(keys.path(), "[b]\nhash = 'y'").unwrap();
        let live = format!(
            "keys-file = '{}'\n[limits]\nmemory = '1MiB'\n[sources.a]\nspool = true\n\
             [secrets.A]\nenv = 'A'\nhosts = ['a.example']\n[keys.a]\nhash = 'x'\n\
             [[routes]]\nreceivers = ['a']\n[receivers.a]\nrate-limit = 2\n[routing]\ncatch-all = ['a']\n\
             [updaters.u]\nplugin = 'p'\n[windows.w]\ntimes = []\n\
             [[mutes]]\nwhen = 'true'\nuntil = '2030-01-01T00:00:00Z'\nreason = 'x'",
            keys.path().display()
        );
        assert!(LIVE.iter().all(|section| live.contains(section)));
        let (before, next) = (load("", Flags::default()), load(&live, Flags::default()));
        let merged = before.with_live(next.clone());
        assert_eq!(format!("{:?}", merged.file), format!("{:?}", next.file));
        assert!(merged.file.keys.contains_key("a") && merged.file.keys.contains_key("b"));
        assert!(before.needs_restart(&next).is_empty());
        let other = load("[calls]\nconcurrency = 3", Flags::default());
        assert_eq!(other.with_live(next.clone()).file.calls.concurrency, 3);
        assert_eq!(other.needs_restart(&next), ["calls.concurrency"]);
    }
}
