//! What Temporal's own tools show: names, search attributes, and few events.

use harness::alerts::{alert, unique, with};
use harness::{Answer, Plugin, Receiver, Settings, Temporal, until};
use serde_json::{Value, json};

fn events(history: &Value) -> &Vec<Value> {
    history["events"].as_array().expect("a history has events")
}

#[tokio::test(flavor = "multi_thread")]
async fn one_alert_with_processor_receiver_and_updater_takes_ten_events_at_most() {
    let receiver = Receiver::start().await;
    let host = Settings::new()
        .plugin(Plugin::guest("echo"))
        .plugin(Plugin::recorder("pager", &receiver, ""))
        .plugin(Plugin::status_recorder("status", &receiver))
        .start()
        .await;
    let results = host.submit_sync(&[alert("few events")]).await;
    assert_eq!(results[0]["ledger"]["steps"].as_array().map(Vec::len), Some(3));
    let id = results[0]["workflow_id"].as_str().expect("an id");
    let history = Temporal::shared().await.history(id).await;
    let names: Vec<_> = events(&history).iter().map(|event| &event["eventType"]).collect();
    assert!(names.len() <= 10, "{} events: {names:?}", names.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn workflows_and_activities_have_their_names() {
    let receiver = Receiver::start().await;
    receiver.fail("/pager", 2, 503);
    receiver.fail("/status", 2, 503);
    let host = Settings::new()
        .plugin(Plugin::recorder("pager", &receiver, ""))
        .plugin(Plugin::status_recorder("status", &receiver))
        .start()
        .await;
    let one = host.submit_sync(&[alert("one")]).await;
    let many = host.submit_sync(&vec![alert("many"); 20]).await;
    for (results, workflow) in [(&one, "AlertProcessingWorkflow"), (&many, "BatchAlertProcessingWorkflow")] {
        let history = Temporal::shared().await.history(&host.carrier(&results[0]).await).await;
        let started = &events(&history)[0]["workflowExecutionStartedEventAttributes"];
        assert_eq!(started["workflowType"]["name"], workflow);
    }
    let id = one[0]["workflow_id"].as_str().expect("an id");
    let history = Temporal::shared().await.history(id).await.to_string();
    for activity in ["send_notification", "update_alert_status"] {
        assert!(
            history.contains(&format!("{{\"name\":\"{activity}\"}}")),
            "{activity} is not in the history"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outcome_severity_type_and_source_can_be_searched_for() {
    let receiver = Receiver::start().await;
    receiver.always("/gone", Answer::status(410));
    let host = Settings::new().plugin(Plugin::recorder("gone", &receiver, "")).start().await;
    let source = unique("searched-");
    let raised = with(alert("find me"), json!({"source": {"name": source, "type": "x"}, "type": "network"}));
    let results = host.submit_sync(&[raised]).await;
    let query = format!(
        "AlertSource = '{source}' AND AlertSeverity = 'high' AND AlertType = 'network' AND AlertOutcome = 'failed'"
    );
    let found = until("the alert is found by its attributes", async || {
        let found = Temporal::shared().await.ask(&["workflow", "list", "--query", &query]).await?;
        found.as_array().filter(|list| !list.is_empty()).cloned()
    })
    .await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0]["execution"]["workflowId"], results[0]["workflow_id"]);
    assert_eq!(
        found[0]["status"], "WORKFLOW_EXECUTION_STATUS_COMPLETED",
        "a receiver's failure is not the workflow's"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_found_by_its_worst_outcome_its_highest_severity_and_what_its_alerts_share() {
    let receiver = Receiver::start().await;
    receiver.always("/gone", Answer::status(410));
    let when = "when = 'alert.severity == \"low\"'";
    let host = Settings::new()
        .plugin(Plugin::recorder("pager", &receiver, ""))
        .plugin(Plugin::recorder("gone", &receiver, when))
        .start()
        .await;
    let raised = |severity: &str, source: &str| {
        let source = json!({"name": source, "type": "x"});
        with(alert(severity), json!({"severity": severity, "source": source, "type": "network"}))
    };
    let alerts: Vec<_> = (0..20).map(|number| raised("low", if number == 0 { "b" } else { "a" })).collect();
    let results = host.submit_sync(&alerts).await;
    let id = host.carrier(&results[0]).await;
    let query = format!(
        "WorkflowId = '{id}' AND AlertOutcome = 'partial' AND AlertSeverity = 'low' AND AlertType = 'network' \
         AND AlertSource IS NULL"
    );
    until("the batch is found by its attributes", async || {
        let found = Temporal::shared().await.ask(&["workflow", "list", "--query", &query]).await?;
        (found.as_array()?.len() == 1).then_some(())
    })
    .await;
}
