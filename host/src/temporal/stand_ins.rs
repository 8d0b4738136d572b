//! Those who stand in for several receivers of an alert: each is told once, and what it said counts for all of them.

use std::cell::RefCell;
use std::collections::BTreeMap;

use temporalio_sdk::WorkflowContext;

use crate::ledger::Step;
use crate::plan::Target;

/// How far they have come, by name. Lives in a workflow: who waits is woken by the workflow's own means alone.
pub(super) struct StandIns(RefCell<BTreeMap<String, StandIn>>);

enum StandIn {
    Untold,
    /// Somebody is telling it.
    Busy,
    Told(Box<Step>),
}

impl StandIns {
    /// Those that are among the fallbacks of several.
    pub(super) fn shared<'a>(fallbacks: impl Iterator<Item = &'a Target>) -> Self {
        let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
        for stand_in in fallbacks {
            *counts.entry(&stand_in.name).or_default() += 1;
        }
        counts.retain(|_, count| *count > 1);
        Self(RefCell::new(counts.into_keys().map(|name| (name.to_owned(), StandIn::Untold)).collect()))
    }

    /// What one of them said to whoever told it before, as soon as that is known; `None` if it is to be told.
    pub(super) async fn said<W>(&self, ctx: &WorkflowContext<W>, name: &str) -> Option<Step> {
        let _ = ctx.wait_condition(|_| !matches!(self.0.borrow().get(name), Some(StandIn::Busy))).await;
        let mut all = self.0.borrow_mut();
        let stand_in = all.get_mut(name)?;
        match stand_in {
            StandIn::Told(step) => Some((**step).clone()),
            StandIn::Untold | StandIn::Busy => {
                *stand_in = StandIn::Busy;
                None
            }
        }
    }

    /// Notes what one of them said, for those who wait for that; nothing, if it could not be told.
    pub(super) fn note<W>(&self, ctx: &WorkflowContext<W>, name: &str, said: Option<&Step>) {
        if let Some(stand_in) = self.0.borrow_mut().get_mut(name) {
            *stand_in = said.map_or(StandIn::Untold, |step| StandIn::Told(Box::new(step.clone())));
        }
        // It changes nothing, and wakes who waits.
        ctx.state_mut(|_| ());
    }
}
