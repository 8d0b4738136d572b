//! How far the receivers of one alert have come, for its updaters. Lives in a workflow: who waits for a change is woken by the
//! workflow's own means alone.

use std::cell::RefCell;

use temporalio_sdk::WorkflowContext;

use crate::ledger::{DeliveryResult, DeliveryState};

/// The receivers of one alert.
pub(super) struct Board(RefCell<Vec<Standing>>);

/// How far one receiver has come.
pub(super) struct Standing {
    pub(super) result: DeliveryResult,
    /// None of its attempts has ended yet: it waits for its turn, or for the answer to the first one.
    pub(super) is_untried: bool,
}

impl Board {
    /// After the first local attempts.
    pub(super) fn new(standings: impl Iterator<Item = Standing>) -> Self {
        Self(RefCell::new(standings.collect()))
    }

    /// Notes how far a receiver has come.
    pub(super) fn note<W>(&self, ctx: &WorkflowContext<W>, index: usize, result: DeliveryResult) {
        if let Some(standing) = self.0.borrow_mut().get_mut(index) {
            *standing = Standing { result, is_untried: false };
        }
        // It changes nothing, and wakes who waits.
        ctx.state_mut(|_| ());
    }

    pub(super) fn results(&self) -> Vec<DeliveryResult> {
        self.0.borrow().iter().map(|standing| standing.result.clone()).collect()
    }

    /// Whether no receiver is pending any more.
    pub(super) fn is_over(&self) -> bool {
        self.0.borrow().iter().all(|standing| standing.result.state != DeliveryState::Pending)
    }

    /// Whether there is anything to say of it. While some receivers have the alert and the others merely wait, it is not `partial`.
    pub(super) fn has_news(&self) -> bool {
        let standings = self.0.borrow();
        let has_failed = |one: &Standing| !one.is_untried && one.result.state != DeliveryState::Delivered;
        standings.iter().all(|one| !one.is_untried) || standings.iter().any(has_failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board(receivers: &[(DeliveryState, bool)]) -> Board {
        Board::new(receivers.iter().map(|(state, is_untried)| {
            let (receiver, message) = (String::new(), String::new());
            Standing { result: DeliveryResult { receiver, state: *state, message }, is_untried: *is_untried }
        }))
    }

    #[test]
    fn what_merely_waits_is_no_news() {
        use DeliveryState::{Delivered, Failed, Pending};
        let (has_it, waits, retried, failed) =
            ((Delivered, false), (Pending, true), (Pending, false), (Failed, false));
        for (receivers, news, over) in [
            (&[has_it, waits][..], false, false),
            (&[waits, waits][..], false, false),
            (&[has_it, retried][..], true, false),
            (&[has_it, waits, retried][..], true, false),
            (&[has_it, waits, failed][..], true, false),
            (&[has_it, failed][..], true, true),
            (&[][..], true, true),
        ] {
            let board = board(receivers);
            assert_eq!((board.has_news(), board.is_over()), (news, over), "{receivers:?}");
        }
    }
}
