//! A system of one's own that is told what became of alerts, in JSON of its own.

use serde_json::json;

use super::alerts::tracked;
use super::service::{Pause, Refusal, Service, answer};
use super::slack::SLACK;
use super::stage::{Stage, step};

const PLACE: &str = "POST /alerts";

pub(super) const HTTP_STATUS: Service = Service {
    plugin: "http-status",
    home: "https://status.example.com",
    config: r#"
        authorization = "${secret:STATUS_TOKEN}"
        body = '{"ticket": {{ data.jira.issue | json }}, "state": "{{ outcome }}", "told": {{ deliveries | json }}}'
    "#,
    grants: "secrets = [\"STATUS_TOKEN\"]",
    secrets: &[("STATUS_TOKEN", "status-token-hush", "kind = \"bearer\"")],
    answers: &[(PLACE, 204, "")],
    pause: Pause { status: 429, retry_after: Some("1"), body: "", seconds: 1 },
    refusal: Refusal {
        at: PLACE,
        status: 404,
        body: "no such alert",
        code: "http-404",
        words: "answered 404: no such alert",
    },
};

#[tokio::test(flavor = "multi_thread")]
async fn http_status_gets_the_operators_json_again_after_trouble() {
    let stage = Stage::of(&[SLACK, HTTP_STATUS]).await;
    stage.server("http-status").script(PLACE, [answer(503, "")], answer(204, ""));
    let ledger = stage.ledger(tracked()).await;
    assert_eq!(step(&ledger, "http-status")["attempts"], 2, "{ledger}");
    let requests = stage.requests::<2>("http-status");
    for request in &requests {
        assert_eq!(request.line(), PLACE);
        assert_eq!(request.header("authorization"), "Bearer status-token-hush");
        assert_eq!(
            request.json(),
            json!({
                "ticket": "OPS-7", "state": "delivered",
                "told": [{"receiver": "slack", "state": "delivered", "message": "200"}],
            })
        );
    }
    assert_eq!(requests[0].header("idempotency-key"), requests[1].header("idempotency-key"));
}
