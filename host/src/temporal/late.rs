//! A delivery that was made after its alert had come to its end: the updaters are told. That is a workflow of its own, so that
//! the delivery itself is at its end, for whoever asks, however long an updater takes.
#![expect(missing_docs, reason = "the macro makes a constant of each run method, without its documentation")]

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use temporalio_macros::{workflow, workflow_methods};
use temporalio_sdk::{
    ChildWorkflowOptions, ChildWorkflowStartError, ParentClosePolicy, WorkflowContext, WorkflowIdReusePolicy,
    WorkflowResult,
};

use super::activities::{AlertActivities, LookedBack};
use super::completion::{Budgeted, CompletionBudget};
use super::json::Json;
use super::scheduling::{durable, endless};
use super::updates::update_all;
use crate::alert::AlertItem;
use crate::ledger::Step;
use crate::plan::Target;

/// A delivery that was made late.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Late {
    /// The alert after processing.
    pub item: Arc<AlertItem>,
    /// The receiver.
    pub target: Target,
}

impl Late {
    /// The id of the delivery, and of its workflow.
    pub(super) fn delivery(&self) -> String {
        format!("{}/{}", self.item.id, self.target.name)
    }
}

/// Tells the updaters what a late delivery has made of its alert.
#[workflow]
#[derive(Default)]
pub struct LateDeliveryWorkflow {
    budget: CompletionBudget,
}

impl Budgeted for LateDeliveryWorkflow {
    fn budget(&self) -> &CompletionBudget {
        &self.budget
    }
}

#[workflow_methods]
impl LateDeliveryWorkflow {
    /// Completes when every updater was told, or given up.
    #[run]
    pub async fn run(ctx: &mut WorkflowContext<Self>, late: Json<Late>) -> WorkflowResult<Json<Vec<Step>>> {
        let (ctx, Json(late)) = (&*ctx, late);
        let options = durable(&late.item, "look-back", &endless(late.target.retry), 0, None);
        let found = ctx.execute_activity(AlertActivities::look_back, late.clone(), options).await?.0;
        let LookedBack { updaters, outcome, deliveries } = found;
        Ok(Json(update_all(ctx, &late.item, &updaters, outcome, &deliveries).await?))
    }
}

/// Has the updaters told; whoever calls this may end then.
pub(super) async fn tell_updaters<W>(ctx: &WorkflowContext<W>, late: Late) -> WorkflowResult<()> {
    let options = ChildWorkflowOptions::builder()
        .workflow_id(format!("{}/told", late.delivery()))
        .id_reuse_policy(WorkflowIdReusePolicy::RejectDuplicate)
        .parent_close_policy(ParentClosePolicy::Abandon)
        .build();
    match ctx.start_child_workflow(LateDeliveryWorkflow::run, late, options).await {
        Ok(_) | Err(ChildWorkflowStartError::StartFailed { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
