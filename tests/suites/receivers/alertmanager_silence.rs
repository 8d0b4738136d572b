//! Alertmanager: silences for what somebody took over. Its answers: github.com/prometheus/alertmanager, api/v2/openapi.yaml; what
//! lies before it in clusters answers with 503 while there is none.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::alerts::{change_id, ended, tracked};
use super::service::{Pause, Refusal, Service, answer};
use super::slack::SLACK;
use super::stage::{Stage, receipt};

const SILENCE: &str = "5947eba9-c472-42c4-88fe-ad9b8cd781b0";

pub(super) const ALERTMANAGER_SILENCE: Service = Service {
    plugin: "alertmanager-silence",
    home: "https://alertmanager.example.com",
    config: "authorization = \"${secret:ALERTMANAGER}\"",
    grants: "secrets = [\"ALERTMANAGER\"]",
    secrets: &[("ALERTMANAGER", "hush-password", "kind = \"basic\"\nusername = \"campanile\"")],
    answers: &[
        ("GET /api/v2/silences", 200, "[]"),
        ("POST /api/v2/silences", 200, r#"{"silenceID": "5947eba9-c472-42c4-88fe-ad9b8cd781b0"}"#),
        ("DELETE /api/v2/silence/5947eba9-c472-42c4-88fe-ad9b8cd781b0", 200, ""),
    ],
    pause: Pause { status: 503, retry_after: None, body: "", seconds: 0 },
    refusal: Refusal {
        at: "GET /api/v2/silences",
        status: 400,
        body: r#""bad matcher format: alertname""#,
        code: "http-400",
        words: "bad matcher format: alertname",
    },
};

fn matcher(name: &str, value: &str) -> Value {
    json!({"name": name, "value": value, "isRegex": false, "isEqual": true})
}

/// The silence, as an Alertmanager lists it.
fn listed(silence: &Value) -> String {
    let mut listed = silence.clone();
    listed["id"] = json!(SILENCE);
    listed["status"] = json!({"state": "active"});
    listed["updatedAt"] = silence["startsAt"].clone();
    json!([listed]).to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn alertmanager_is_silent_from_when_somebody_takes_the_alert_over_to_its_end() {
    let stage = Stage::of(&[SLACK, ALERTMANAGER_SILENCE]).await;
    let alert = tracked();
    let taken = stage.taken_over(alert.clone(), &SLACK).await;
    let [_, create] = stage.requests("alertmanager-silence");
    let silence = create.json();
    stage.server("alertmanager-silence").always("GET /api/v2/silences", answer(200, &listed(&silence)));
    let over = stage.ledger(ended(alert)).await;
    for ledger in [&taken, &over] {
        assert_eq!(receipt(ledger, "alertmanager-silence"), Some(SILENCE));
    }
    let requests = stage.requests("alertmanager-silence");
    assert_eq!(
        requests.each_ref().map(|request| request.line()),
        [
            "GET /api/v2/silences?filter=alertname%3D%22PoolFull%22".to_owned(),
            "POST /api/v2/silences".to_owned(),
            "GET /api/v2/silences?filter=alertname%3D%22PoolFull%22".to_owned(),
            format!("DELETE /api/v2/silence/{SILENCE}"),
        ]
    );
    for request in &requests {
        assert_eq!(request.header("authorization"), "Basic Y2FtcGFuaWxlOmh1c2gtcGFzc3dvcmQ=");
    }
    let (id, at) =
        (taken["id"].as_str().expect("an id"), taken["acknowledged"]["at"].as_str().expect("a time"));
    assert_eq!(
        silence,
        json!({
            "matchers": [
                matcher("alertname", "PoolFull"), matcher("cluster", ""), matcher("namespace", ""),
                matcher("instance", "db-1:9100"),
            ],
            "startsAt": silence["startsAt"], "endsAt": silence["endsAt"], "createdBy": "alice",
            "comment": format!(
                "Acknowledged by alice: on it\n\
                 campanile: alert={id} at={at} change={}",
                change_id(&format!("{id}/alertmanager-silence/acknowledged"), &silence)
            ),
        })
    );
    let time =
        |name: &str| -> Timestamp { silence[name].as_str().expect("a time").parse().expect("RFC 3339") };
    assert_eq!(time("endsAt").duration_since(time("startsAt")), SignedDuration::from_hours(2));
}
