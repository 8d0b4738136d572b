//! From what is configured to routes that work; everything that is wrong with it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::config::{MuteConfig, RouteConfig, RoutesConfig};
use super::largest;
use super::silenced::silenced;
use super::window::Window;
use super::{Mute, Receiver, Route, Router};
use crate::condition::Condition;
use crate::fault::Fault;
use crate::plan::MOST_UPDATERS;
use crate::time;

/// The longest that the end of an alert is held back: longer, and people work on what is over.
const LONGEST_HOLD_DOWN: SignedDuration = SignedDuration::from_hours(24);

impl Router {
    /// Understands what is configured. `has_plugin` says whether a plugin of a name is there: routes can name it without
    /// `[receivers.NAME]`. Returns what is odd, but works, too: among that are plugins that are not there, unless it has to be
    /// `complete`.
    ///
    /// # Errors
    ///
    /// Everything that cannot be used, with its path.
    pub fn load(
        config: &RoutesConfig,
        has_plugin: &dyn Fn(&str) -> bool,
        complete: bool,
        now: Timestamp,
    ) -> Result<(Self, Vec<Fault>), Vec<Fault>> {
        let receivers = receivers(config);
        let updaters = updaters(config);
        let mut loading = Loading {
            config,
            has_plugin,
            complete,
            windows: BTreeMap::new(),
            faults: Vec::new(),
            odd: Vec::new(),
        };
        loading.read_windows();
        let routes = loading.routes("routes", "", &config.routes, &[], &[]);
        loading.odd.extend(silenced(&config.routes));
        loading.check_names(&receivers);
        loading.check_updaters(&updaters);
        let mutes = loading.mutes(now);
        loading.find_unused(&routes);
        loading.check_hold_down();
        loading.check_counts(&routes, &receivers);
        if !loading.faults.is_empty() {
            return Err(loading.faults);
        }
        let catch_all = config.routing.catch_all.clone();
        let (hold_down, limits) = (config.routing.hold_down, config.limits);
        Ok((Self { routes, receivers, updaters, mutes, catch_all, hold_down, limits }, loading.odd))
    }
}

fn receivers(config: &RoutesConfig) -> BTreeMap<String, Arc<Receiver>> {
    let receiver = |(name, config): (&String, &super::ReceiverConfig)| {
        let config = config.clone();
        let receiver = Receiver {
            plugin: config.plugin.unwrap_or_else(|| name.clone()),
            config: config.config,
            secrets: config.secrets,
            retry: config.retry,
            rate_limit: config.rate_limit,
            task_queue: config.task_queue,
            fallback: config.fallback,
        };
        (name.clone(), Arc::new(receiver))
    };
    config.receivers.iter().map(receiver).collect()
}

fn updaters(config: &RoutesConfig) -> BTreeMap<String, Arc<Receiver>> {
    let updater = |(name, config): (&String, &super::UpdaterConfig)| {
        let config = config.clone();
        let updater = Receiver {
            plugin: config.plugin.unwrap_or_else(|| name.clone()),
            config: config.config,
            secrets: config.secrets,
            retry: config.retry,
            ..Receiver::default()
        };
        (name.clone(), Arc::new(updater))
    };
    config.updaters.iter().map(updater).collect()
}

struct Loading<'a> {
    config: &'a RoutesConfig,
    has_plugin: &'a dyn Fn(&str) -> bool,
    complete: bool,
    windows: BTreeMap<&'a str, Window>,
    faults: Vec<Fault>,
    odd: Vec<Fault>,
}

impl Loading<'_> {
    fn fault(&mut self, path: String, value: Option<&str>, message: impl Into<String>) {
        self.faults.push(Fault { path, value: value.map(Into::into), message: message.into() });
    }

    fn odd(&mut self, path: String, message: impl Into<String>) {
        self.odd.push(Fault { path, value: None, message: message.into() });
    }

    fn check_hold_down(&mut self) {
        if let Some(time) = self.config.routing.hold_down
            && !(SignedDuration::ZERO < time && time <= LONGEST_HOLD_DOWN)
        {
            let message = format!("{time:#} is not between 0s and {LONGEST_HOLD_DOWN:#}: an example is 2m");
            self.fault("routing.hold-down".to_owned(), None, message);
        }
    }

    /// Temporal bounds what one workflow may hold, and so how many receivers one alert may have.
    fn check_counts(&mut self, routes: &[Route], receivers: &BTreeMap<String, Arc<Receiver>>) {
        let most = self.config.limits.receivers;
        let catch_all = &self.config.routing.catch_all;
        let of_catch_all = largest::count(catch_all.iter().map(String::as_str), receivers);
        let (names, of_routes) = largest::receivers(routes, receivers);
        let names = names.into_iter().collect::<Vec<_>>().join(", ");
        let counts =
            [("routes", of_routes, names), ("routing.catch-all", of_catch_all, catch_all.join(", "))];
        for (path, count, names) in counts.into_iter().filter(|(_, count, _)| *count > most) {
            let message = format!(
                "one alert can have {count} receivers, fallbacks counted, more than the {most} of [limits] receivers: {names}"
            );
            self.fault(path.to_owned(), None, message);
        }
        let updaters = largest::updaters(routes);
        if updaters.len() > MOST_UPDATERS {
            let names = updaters.iter().copied().collect::<Vec<_>>().join(", ");
            let message =
                format!("one alert can have {} updaters, more than {MOST_UPDATERS}: {names}", updaters.len());
            self.fault("routes".to_owned(), None, message);
        }
    }

    fn read_windows(&mut self) {
        for (name, config) in &self.config.windows {
            match Window::new(&format!("windows.{name}"), config) {
                Ok(window) => _ = self.windows.insert(name, window),
                Err(fault) => self.faults.push(fault),
            }
        }
    }

    /// `at` is the path of the list, `number` that of the route above.
    fn routes(
        &mut self,
        at: &str,
        number: &str,
        configs: &[RouteConfig],
        receivers: &[String],
        updaters: &[String],
    ) -> Vec<Route> {
        self.find_unreachable(at, configs);
        let route = |(index, config): (usize, &RouteConfig)| {
            let number =
                if number.is_empty() { format!("{}", index + 1) } else { format!("{number}.{}", index + 1) };
            self.route(&format!("{at}[{index}]"), &number, config, receivers, updaters)
        };
        configs.iter().enumerate().map(route).collect()
    }

    /// Routes behind one that takes all that they would.
    fn find_unreachable(&mut self, at: &str, configs: &[RouteConfig]) {
        let mut taken: BTreeMap<&str, usize> = BTreeMap::new();
        for (index, route) in configs.iter().enumerate() {
            // Without a condition, it takes every alert.
            let when = route.when.as_deref().map_or("true", str::trim);
            if let Some(all) = taken.get("true") {
                let message =
                    format!("is never reached: {at}[{all}] takes every alert, and does not `continue`");
                return self.odd(format!("{at}[{index}]"), message);
            }
            if let Some(same) = taken.get(when) {
                let message = format!(
                    "is reached only if its condition cannot be evaluated: {at}[{same}] has the same one, and does not `continue`"
                );
                self.odd(format!("{at}[{index}]"), message);
            }
            if !route.goes_on {
                taken.entry(when).or_insert(index);
            }
        }
    }

    fn route(
        &mut self,
        at: &str,
        number: &str,
        config: &RouteConfig,
        receivers: &[String],
        updaters: &[String],
    ) -> Route {
        let has_none_above = receivers.is_empty();
        let receivers = config.receivers.as_deref().unwrap_or(receivers);
        let updaters = config.updaters.as_deref().unwrap_or(updaters);
        for (key, names) in [("receivers", &config.receivers), ("updaters", &config.updaters)] {
            for (index, name) in names.iter().flatten().enumerate() {
                self.check_name(format!("{at}.{key}[{index}]"), key, name);
            }
        }
        if has_none_above && receivers.is_empty() && config.routes.is_empty() {
            self.odd(at.to_owned(), "tells nobody: it has no `receivers`, and none above it");
        }
        Route {
            name: config.name.clone().unwrap_or_else(|| number.to_owned()),
            when: config.when.as_ref().and_then(|text| {
                let when = self.condition(format!("{at}.when"), text)?;
                Some((text.clone(), when))
            }),
            receivers: receivers.to_owned(),
            updaters: updaters.to_owned(),
            goes_on: config.goes_on,
            active: self.named_windows(&format!("{at}.active"), &config.active),
            mute: self.named_windows(&format!("{at}.mute"), &config.mute),
            routes: self.routes(&format!("{at}.routes"), number, &config.routes, receivers, updaters),
        }
    }

    fn condition(&mut self, path: String, text: &str) -> Option<Condition> {
        let condition =
            Condition::parse(text).map_err(|message| self.fault(path.clone(), Some(text), message));
        let condition = condition.ok()?;
        for doubt in condition.doubts() {
            self.odd(path.clone(), doubt);
        }
        Some(condition)
    }

    fn named_windows(&mut self, at: &str, names: &[String]) -> Vec<(String, Window)> {
        let mut found = Vec::new();
        for (index, name) in names.iter().enumerate() {
            match self.windows.get(name.as_str()) {
                Some(window) => found.push((name.clone(), window.clone())),
                None if self.config.windows.contains_key(name) => {}
                None => self.fault(
                    format!("{at}[{index}]"),
                    Some(name),
                    format!("there is no window {name}: describe it as [windows.{name}]"),
                ),
            }
        }
        found
    }

    fn check_name(&mut self, path: String, kind: &str, name: &str) {
        let is_configured = match kind {
            "updaters" => self.config.updaters.contains_key(name),
            _ => self.config.receivers.contains_key(name),
        };
        if !is_configured && !(self.has_plugin)(name) {
            let message = format!(
                "{name} is neither [{kind}.{name}] nor a plugin in the plugin directory: its name is that of the file, \
                 without .wasm"
            );
            self.unknown(path, name, message);
        }
    }

    /// It may come yet; until then, what is for it is parked.
    fn unknown(&mut self, path: String, name: &str, message: String) {
        let fault = Fault { path, value: Some(name.into()), message };
        if self.complete { &mut self.faults } else { &mut self.odd }.push(fault);
    }

    fn check_plugin(&mut self, at: &str, plugin: &str) {
        if !(self.has_plugin)(plugin) {
            let message = format!("there is no {plugin}.wasm in the plugin directory");
            self.unknown(format!("{at}.plugin"), plugin, message);
        }
    }

    /// The names that are not in routes.
    fn check_names(&mut self, receivers: &BTreeMap<String, Arc<Receiver>>) {
        for (name, receiver) in receivers {
            for (index, next) in receiver.fallback.iter().enumerate() {
                let path = format!("receivers.{name}.fallback[{index}]");
                if next == name {
                    self.fault(path, Some(next), "is the receiver itself");
                } else {
                    self.check_name(path, "receivers", next);
                }
            }
            self.faults.extend(receiver.retry.faults(&format!("receivers.{name}.retry")));
            self.check_plugin(&format!("receivers.{name}"), &receiver.plugin);
            self.check_lane(name, receiver, receivers);
        }
    }

    fn check_updaters(&mut self, updaters: &BTreeMap<String, Arc<Receiver>>) {
        for (name, updater) in updaters {
            let at = format!("updaters.{name}");
            self.faults.extend(updater.retry.faults(&format!("{at}.retry")));
            self.check_plugin(&at, &updater.plugin);
            if self.config.receivers.contains_key(name) {
                self.fault(at, Some(name), "is a receiver, too: give it another name");
            }
        }
        for (index, name) in self.config.routing.catch_all.iter().enumerate() {
            self.check_name(format!("routing.catch-all[{index}]"), "receivers", name);
        }
    }

    /// A limit counts for a task queue as a whole.
    fn check_lane(&mut self, name: &str, receiver: &Receiver, receivers: &BTreeMap<String, Arc<Receiver>>) {
        let Some(lane) = receiver.lane(name) else { return };
        let other = receivers.iter().find(|(other, one)| {
            other.as_str() < name
                && one.lane(other).as_ref() == Some(&lane)
                && one.rate_limit != receiver.rate_limit
        });
        if let Some((other, _)) = other {
            let message = format!(
                "{other} has the same task queue {lane}, and another rate-limit: the limit is one of the queue"
            );
            self.fault(format!("receivers.{name}.rate-limit"), None, message);
        }
    }

    fn mutes(&mut self, now: Timestamp) -> Vec<Mute> {
        let mut mutes = Vec::new();
        for (index, MuteConfig { when, until, reason }) in self.config.mutes.iter().enumerate() {
            let at = format!("mutes[{index}]");
            if *until <= now {
                self.odd(at.clone(), format!("has ended, at {}: it can be removed", time::text(*until)));
            }
            if let Some(when) = self.condition(format!("{at}.when"), when) {
                mutes.push(Mute { when, until: *until, reason: reason.clone() });
            }
        }
        mutes
    }

    fn find_unused(&mut self, routes: &[Route]) {
        let config = self.config;
        let mut used: BTreeSet<&str> = config.routing.catch_all.iter().map(String::as_str).collect();
        collect(routes, &mut used);
        used.extend(config.receivers.values().flat_map(|receiver| &receiver.fallback).map(String::as_str));
        for name in config.receivers.keys().filter(|name| !used.contains(name.as_str())) {
            self.odd.push(unused("receivers", name));
        }
        for name in config.updaters.keys().filter(|name| !used.contains(name.as_str())) {
            self.odd.push(unused("updaters", name));
        }
    }
}

fn unused(kind: &str, name: &str) -> Fault {
    let message = "is in no route, no fallback and not the catch-all".to_owned();
    Fault { path: format!("{kind}.{name}"), value: None, message }
}

fn collect<'a>(routes: &'a [Route], used: &mut BTreeSet<&'a str>) {
    for route in routes {
        used.extend(route.receivers.iter().chain(&route.updaters).map(String::as_str));
        collect(&route.routes, used);
    }
}
