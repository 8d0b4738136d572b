//! Who gets an alert: by the routes that are in force now; without any, by the plugins that are loaded.

use std::sync::Arc;

use jiff::Timestamp;
use serde_json::Value;

use super::ActivityConfig;
use super::receivers::Receivers;
use crate::condition::Facts;
use crate::plan::{self, Candidate, Plan, Planned, Told};
use crate::plugin::{Plugin, Role};
use crate::routing::{Router, Verdict, Visit};

impl Receivers {
    /// The plan of an alert, and why, one line each.
    pub(super) fn plan(&self, document: &Value, activities: &ActivityConfig) -> (Plan, Vec<String>) {
        let router = self.routing.current();
        match router.has_routes() {
            true => self.plan_by_routes(&router, document, activities),
            false => self.plan_by_plugins(&router, document, activities),
        }
    }

    fn plan_by_routes(
        &self,
        router: &Router,
        document: &Value,
        activities: &ActivityConfig,
    ) -> (Plan, Vec<String>) {
        let (routed, visits) = router.route(document, Timestamp::now());
        let is_telling = |visit: &&Visit<'_>| !matches!(visit.verdict, Verdict::Left(_));
        let mut reasons: Vec<String> = visits.iter().filter(is_telling).map(ToString::to_string).collect();
        let receivers = routed.receivers.iter().map(|name| self.notifier(router, name, activities));
        let receivers: Vec<_> = receivers.collect();
        let updaters = routed.updaters.iter().map(|name| self.updater(router, name, activities)).collect();
        if routed.unrouted {
            reasons.push(plan::unrouted_reason(&receivers));
        }
        let dropped = routed.muted.is_some();
        reasons.extend(routed.failed_mutes);
        reasons.extend(routed.muted);
        (Plan { receivers, updaters, unrouted: routed.unrouted, dropped }, reasons)
    }

    fn plan_by_plugins(
        &self,
        router: &Router,
        document: &Value,
        activities: &ActivityConfig,
    ) -> (Plan, Vec<String>) {
        let facts = Facts::of(document);
        let candidate = |plugin: &Arc<Plugin>, planned| Candidate { planned, wants: plugin.wants(&facts) };
        let notifiers = self.registry.notifiers();
        let notifiers = notifiers
            .iter()
            .map(|plugin| candidate(plugin, self.notifier(router, plugin.name(), activities)));
        let updaters = self.registry.updaters();
        let updaters =
            updaters.iter().map(|plugin| candidate(plugin, self.updater(router, plugin.name(), activities)));
        let catch_all = router.catch_all().iter().map(|name| self.notifier(router, name, activities));
        plan::decide(notifiers.collect(), updaters.collect(), &catch_all.collect::<Vec<_>>())
    }

    /// The receivers of a resolve: those that its life reached.
    pub(super) fn plan_resolve(&self, reached: Vec<Told>, activities: &ActivityConfig) -> Vec<Planned> {
        let router = self.routing.current();
        let planned = reached.into_iter().map(|told| {
            let thread = told.thread();
            let Told { receiver, earlier, .. } = told;
            Planned { earlier, thread, ..self.notifier(&router, &receiver, activities) }
        });
        planned.collect()
    }

    /// An updater as it is configured now.
    pub(super) fn planned_updater(&self, name: &str, activities: &ActivityConfig) -> Planned {
        self.updater(&self.routing.current(), name, activities)
    }

    fn notifier(&self, router: &Router, name: &str, activities: &ActivityConfig) -> Planned {
        self.planned(router, Role::Notifier, name, activities.send_notification)
    }

    fn updater(&self, router: &Router, name: &str, activities: &ActivityConfig) -> Planned {
        self.planned(router, Role::StatusUpdater, name, activities.update_alert_status)
    }
}
