//! Temporal's visibility store, which lists workflows.

use std::time::Duration;

use temporalio_client::Client;
use temporalio_client::tonic::{Code, IntoRequest};
use temporalio_common::protos::temporal::api::workflow::v1::WorkflowExecutionInfo;
use temporalio_common::protos::temporal::api::workflowservice::v1::ListWorkflowExecutionsRequest;

use super::cause::Cause;
use super::lookup::LookupError;

/// How long Temporal may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);

/// A page of the workflows that a query finds.
pub(super) async fn page(
    client: &Client,
    query: String,
    page_size: i32,
    next_page_token: Vec<u8>,
) -> Result<(Vec<WorkflowExecutionInfo>, Vec<u8>), LookupError> {
    let namespace = client.options().namespace.clone();
    let request = ListWorkflowExecutionsRequest { namespace, page_size, next_page_token, query };
    let mut service = client.connection().workflow_service();
    let mut ask = async || match service.list_workflow_executions(request.clone().into_request()).await {
        // The server closes connections of a certain age, whatever is under way on them.
        Err(status) if status.code() == Code::Cancelled => {
            service.list_workflow_executions(request.clone().into_request()).await
        }
        answer => answer,
    };
    let answer = tokio::time::timeout(LIST_TIMEOUT, ask()).await;
    match answer {
        Ok(Ok(answer)) => {
            let answer = answer.into_inner();
            Ok((answer.executions, answer.next_page_token))
        }
        Ok(Err(status)) => Err(LookupError::Unavailable(Cause::of(&status))),
        Err(_) => Err(LookupError::Unavailable(Cause::TimedOut(LIST_TIMEOUT))),
    }
}

/// A text in Temporal's query language, which is SQL's.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_breaks_out_of_a_query() {
        assert_eq!(quoted("it's \\ 'x' OR 1=1"), "'it\\'s \\\\ \\'x\\' OR 1=1'");
    }
}
