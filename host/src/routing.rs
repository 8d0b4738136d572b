//! Who gets an alert: a tree of routes over the alert as the processors left it. Pure, and immutable: a changed
//! configuration makes another one.

mod config;
mod largest;
mod live;
mod load;
mod show;
mod silenced;
mod window;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Map, Value};

use crate::condition::{Condition, Facts};
use crate::plan::{PlanLimits, RetryConfig};
use crate::time;
use window::Window;

pub use config::{MuteConfig, ReceiverConfig, RouteConfig, RoutesConfig, RoutingConfig, UpdaterConfig};
pub use live::Routing;
pub use window::WindowConfig;

/// All routes, receivers and updaters.
#[derive(Default)]
pub struct Router {
    routes: Vec<Route>,
    receivers: BTreeMap<String, Arc<Receiver>>,
    updaters: BTreeMap<String, Arc<Receiver>>,
    mutes: Vec<Mute>,
    catch_all: Vec<String>,
    hold_down: Option<SignedDuration>,
    limits: PlanLimits,
}

/// A receiver or updater that is configured: a plugin with settings of its own.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Receiver {
    /// The plugin's name.
    pub plugin: String,
    /// Settings, over those of the plugin's own file.
    pub config: Map<String, Value>,
    /// Secrets, besides those that the plugin's own file grants.
    pub secrets: Vec<String>,
    /// How often it is tried.
    pub retry: RetryConfig,
    /// The most attempts a second.
    pub rate_limit: Option<f64>,
    /// The task queue that it is tried from, if it has one of its own.
    pub task_queue: Option<String>,
    /// Who is told when it is given up.
    pub fallback: Vec<String>,
}

struct Route {
    name: String,
    when: Option<(String, Condition)>,
    receivers: Vec<String>,
    updaters: Vec<String>,
    goes_on: bool,
    active: Vec<(String, Window)>,
    mute: Vec<(String, Window)>,
    routes: Vec<Route>,
}

struct Mute {
    when: Condition,
    until: Timestamp,
    reason: String,
}

/// Where an alert goes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Routed {
    /// The receivers, each once, in the order of the routes.
    pub receivers: Vec<String>,
    /// The updaters, likewise.
    pub updaters: Vec<String>,
    /// No route took it: `receivers` holds the catch-all.
    pub unrouted: bool,
    /// Nobody is told, for this reason.
    pub muted: Option<String>,
    /// The mutes whose conditions could not be evaluated: they mute nothing. One line each.
    pub failed_mutes: Vec<String>,
}

/// What became of an alert at one route.
pub struct Visit<'a> {
    /// The route's name.
    pub route: &'a str,
    /// How deep it stands in the tree.
    pub depth: usize,
    /// What was decided there.
    pub verdict: Verdict<'a>,
    /// By what.
    when: Option<&'a Condition>,
}

/// A decision of one route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It takes the alert, since its condition holds, or it has none.
    Taken,
    /// It takes the alert, since its condition could not be evaluated.
    Failed(String),
    /// Its condition, this one, does not hold.
    Left(&'a str),
    /// It takes the alert and tells nobody: this window is open, or none of those that would have to be.
    Silent(&'a str),
}

impl Router {
    /// Whether there are routes. Without any, the plugins themselves say what they want.
    pub fn has_routes(&self) -> bool {
        !self.routes.is_empty()
    }

    /// The receivers of alerts that nobody takes.
    pub fn catch_all(&self) -> &[String] {
        &self.catch_all
    }

    /// How long the end of an alert is held back.
    pub fn hold_down(&self) -> Option<SignedDuration> {
        self.hold_down
    }

    /// How many receivers and updaters one alert may have.
    pub fn limits(&self) -> PlanLimits {
        self.limits
    }

    /// A receiver, if it is configured.
    pub fn receiver(&self, name: &str) -> Option<&Arc<Receiver>> {
        self.receivers.get(name)
    }

    /// An updater, if it is configured.
    pub fn updater(&self, name: &str) -> Option<&Arc<Receiver>> {
        self.updaters.get(name)
    }

    /// The task queues of receivers that have their own, each with its limit of attempts a second.
    pub fn lanes(&self) -> BTreeMap<String, Option<f64>> {
        let lane =
            |(name, receiver): (&String, &Arc<Receiver>)| Some((receiver.lane(name)?, receiver.rate_limit));
        self.receivers.iter().filter_map(lane).collect()
    }

    /// Where an alert goes at a time, and what each route that was asked decided.
    pub fn route(&self, alert: &Value, at: Timestamp) -> (Routed, Vec<Visit<'_>>) {
        let facts = Facts::of(alert);
        let mut walk =
            Walk { facts: &facts, at, routed: Routed::default(), silent: None, visits: Vec::new() };
        let is_taken = walk.along(&self.routes, 0);
        let Walk { mut routed, silent, visits, .. } = walk;
        // A route that names nobody is no answer to who is told.
        if !is_taken || routed.receivers.is_empty() && silent.is_none() {
            routed.unrouted = true;
            routed.receivers.clone_from(&self.catch_all);
        }
        let muted = self.muted(&facts, at, &mut routed.failed_mutes);
        routed.muted = muted.or(silent.filter(|_| routed.receivers.is_empty()));
        if routed.muted.is_some() {
            routed.receivers.clear();
            routed.unrouted = false;
        }
        (routed, visits)
    }

    /// What these routes mean for a receiver and an alert at a time, one line each: whether the receiver would be notified, what
    /// each route that was asked decides and by which values, which routes that name the receiver are not asked, and for whom
    /// it is a fallback.
    pub fn about(&self, receiver: &str, alert: &Value, at: Timestamp) -> Vec<String> {
        let (routed, visits) = self.route(alert, at);
        let names = |list: &[String]| list.iter().any(|name| name == receiver);
        let mut lines: Vec<String> = routed.muted.iter().cloned().collect();
        if names(&routed.receivers) {
            lines.push("it would be notified".to_owned());
        }
        lines.extend(visits.iter().map(|visit| visit.explained(alert)));
        let mut naming = Vec::new();
        self.routes.iter().for_each(|route| route.find(receiver, &mut Vec::new(), &mut naming));
        let is_left_out = routed.muted.is_none() && !names(&routed.receivers);
        lines.extend(naming.iter().filter_map(|way| passed_over(way, &visits, is_left_out)));
        let stands_in = |(_, other): &(&String, &Arc<Receiver>)| names(&other.fallback);
        let others: Vec<_> = self.receivers.iter().filter(stands_in).map(|(other, _)| other).collect();
        lines.extend(
            others.iter().map(|other| format!("it is notified when {other} has exhausted its retries")),
        );
        let is_last = names(&self.catch_all);
        if is_last {
            lines.push("it is notified of what no route takes".to_owned());
        }
        if naming.is_empty() && others.is_empty() && !is_last {
            lines.push("no route names it".to_owned());
        }
        lines.extend(routed.failed_mutes);
        lines
    }

    /// Why nobody is told of an alert now. A mute whose condition cannot be evaluated mutes nothing, and is `failed`.
    fn muted(&self, facts: &Facts, at: Timestamp, failed: &mut Vec<String>) -> Option<String> {
        for Mute { when, until, reason } in self.mutes.iter().filter(|mute| at < mute.until) {
            match when.holds(facts) {
                Ok(true) => return Some(format!("muted until {}: {reason}", time::text(*until))),
                Ok(false) => {}
                Err(error) => failed.push(format!(
                    "mute until {} ({reason}): mutes nothing, its `when` could not be evaluated: {error}",
                    time::text(*until)
                )),
            }
        }
        None
    }
}

/// Why a route that names a receiver is not asked, or does not count although it takes the alert.
fn passed_over(way: &[&Route], visits: &[Visit<'_>], is_left_out: bool) -> Option<String> {
    let visit = |route: &Route| visits.iter().find(|visit| std::ptr::eq(visit.route, route.name.as_str()));
    let last = way.iter().rev().find_map(|route| Some((route, visit(route)?)));
    let takes = |visit: &Visit<'_>| matches!(visit.verdict, Verdict::Taken | Verdict::Failed(_));
    let name = &way.last()?.name;
    match last {
        Some((at, visit)) if at.name == *name => {
            (is_left_out && takes(visit)).then(|| format!("route {name}: one below it takes its place"))
        }
        Some((at, visit)) if !takes(visit) => Some(format!(
            "route {name}: is not asked, since route {} above it does not pass the alert on",
            at.name
        )),
        _ => Some(format!("route {name}: is not asked, since another takes the alert first")),
    }
}

impl Receiver {
    /// The task queue that it is tried from, if it has one of its own; what has a rate limit does.
    pub fn lane(&self, name: &str) -> Option<String> {
        self.task_queue.clone().or_else(|| self.rate_limit.map(|_| format!("receiver-{name}")))
    }
}

/// On the way through the tree.
struct Walk<'a, 'f> {
    facts: &'f Facts<'f>,
    at: Timestamp,
    routed: Routed,
    silent: Option<String>,
    visits: Vec<Visit<'a>>,
}

impl<'a> Walk<'a, '_> {
    /// Whether one of these routes took the alert.
    fn along(&mut self, routes: &'a [Route], depth: usize) -> bool {
        let mut is_taken = false;
        for route in routes {
            let verdict = route.verdict(self.facts, self.at);
            let has_failed = matches!(verdict, Verdict::Failed(_));
            let when = route.when.as_ref().map(|(_, condition)| condition);
            self.visits.push(Visit { route: &route.name, depth, verdict: verdict.clone(), when });
            match verdict {
                Verdict::Left(_) => continue,
                Verdict::Silent(window) => {
                    self.silent = Some(format!("route {} tells nobody now: window {window}", route.name));
                    add(&mut self.routed.updaters, &route.updaters);
                }
                Verdict::Taken | Verdict::Failed(_) => {
                    if !self.along(&route.routes, depth + 1) {
                        add(&mut self.routed.receivers, &route.receivers);
                        add(&mut self.routed.updaters, &route.updaters);
                    }
                }
            }
            is_taken = true;
            // What could not be evaluated may not be meant: those after it are asked, too.
            if !route.goes_on && !has_failed {
                break;
            }
        }
        is_taken
    }
}

fn add(names: &mut Vec<String>, more: &[String]) {
    for name in more {
        if !names.contains(name) {
            names.push(name.clone());
        }
    }
}

impl Route {
    /// Adds the ways to this one, and to those below it, that name a receiver.
    fn find<'a>(&'a self, receiver: &str, way: &mut Vec<&'a Route>, found: &mut Vec<Vec<&'a Route>>) {
        way.push(self);
        if self.receivers.iter().any(|name| name == receiver) {
            found.push(way.clone());
        }
        self.routes.iter().for_each(|route| route.find(receiver, way, found));
        way.pop();
    }

    /// A condition that cannot be evaluated takes the alert, whatever window is open: a mistyped one must not swallow a page.
    fn verdict(&self, facts: &Facts, at: Timestamp) -> Verdict<'_> {
        if let Some((text, when)) = &self.when {
            match when.holds(facts) {
                Ok(true) => {}
                Ok(false) => return Verdict::Left(text),
                Err(error) => return Verdict::Failed(error),
            }
        }
        self.silent_window(at).map_or(Verdict::Taken, Verdict::Silent)
    }

    fn silent_window(&self, at: Timestamp) -> Option<&str> {
        let open = |(_, window): &&(String, Window)| window.holds(at);
        if let Some((name, _)) = self.mute.iter().find(open) {
            return Some(name);
        }
        let is_active = self.active.is_empty() || self.active.iter().any(|window| open(&window));
        if is_active { None } else { self.active.first().map(|(name, _)| name.as_str()) }
    }
}

#[cfg(test)]
mod tests;
