//! Real senders: Prometheus, Alertmanager, and the libraries that vendors publish, posting here as they do elsewhere.

use std::process::Command;

use harness::receiver::Received;
use harness::senders::{Sender, new_key, python, total};
use harness::tools::debian_package;
use harness::wait::until;
use harness::{Answer, Host, Plugin, Receiver, Settings, project};
use serde_json::{Value, json};

/// PagerDuty's clients for Python, the current one and the one before, and how each is told to post
/// somewhere else. The current one insists on TLS.
const PAGERDUTY: [(&str, &str); 2] = [
    ("pagerduty==7.2.0", "import pagerduty; client = pagerduty.EventsApiV2Client('r', base_url=sys.argv[1])"),
    ("pdpyras==5.4.1", "import pdpyras; client = pdpyras.EventsAPISession('r'); client.url = sys.argv[1]"),
];

/// An incident lasts for more than the second in which it began, and is told of more than once.
const INCIDENT: &str = r#"
key = None
for _ in range(2):
    key = client.trigger("Disk is full", "web-1", dedup_key=key, severity="critical")
    time.sleep(1.1)
client.acknowledge(key)
client.resolve(key)
print(key)
"#;

/// A request signed by the library of Standard Webhooks.
const SIGNED: &str = r#"
import datetime, sys, urllib.request, standardwebhooks
url, secret, body = sys.argv[1:]
now = datetime.datetime.now(datetime.timezone.utc)
signature = standardwebhooks.Webhook(secret).sign("msg-1", now, body)
headers = {"webhook-id": "msg-1", "webhook-timestamp": str(int(now.timestamp())), "webhook-signature": signature}
print(urllib.request.urlopen(urllib.request.Request(url, body.encode(), headers)).status)
"#;

/// A host with a source that only a key opens, and a file with the key.
async fn host(source: &str, receiver: &Receiver) -> (Host, String) {
    let (key, lines) = new_key("tests", &["--sources", source]);
    // One sender, whose ends need not wait for a replica.
    let lines = format!("{lines}\n[sources.{source}]\nreplicas = \"0s\"\n");
    let settings = Settings::new().and_config(&lines).plugin(Plugin::shipped(source));
    let file = settings.write("key", &key).display().to_string();
    (settings.plugin(Plugin::recorder("pager", receiver, "")).start().await, file)
}

/// What Prometheus finds when it looks.
fn disk(receiver: &Receiver, is_full: bool) {
    let metrics = Answer::status(200).header("content-type", "text/plain; version=0.0.4");
    receiver.always("/metrics", metrics.body(&format!("disk_full {}\n", u8::from(is_full))));
}

/// How many alerts were posted and taken, repeats included.
async fn accepted(host: &Host) -> f64 {
    total(&host.get("/metrics").await.text, "campanile_alerts_accepted_total")
}

/// The alert fires, is posted at least three times, and resolves.
async fn comes_and_goes(host: &Host, receiver: &Receiver) {
    receiver.wait_for("/pager", 1).await;
    until("two repeats", async || (accepted(host).await >= 3.0).then_some(())).await;
    disk(receiver, false);
    receiver.wait_for("/pager", 2).await;
}

/// That these two are an alert and its end; gives the alert's id.
fn life(received: &[Received]) -> String {
    let alerts: Vec<Value> = received.iter().map(|request| request.json()["alert"].clone()).collect();
    let told: Vec<_> = alerts.iter().map(|alert| (&alert["id"], &alert["status"])).collect();
    let id = alerts[0]["id"].as_str().expect("an id");
    let end = json!(format!("{id}-resolved"));
    assert_eq!(told, [(&json!(id), &json!("firing")), (&end, &json!("resolved"))]);
    assert_eq!((&alerts[0]["title"], &alerts[0]["severity"]), (&json!("Disk is full"), &json!("critical")));
    id.to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_posts_again_and_again_is_told_once_when_it_fires_and_once_when_it_ends() {
    let receiver = Receiver::start().await;
    disk(&receiver, true);
    let (host, key) = host("prometheus", &receiver).await;
    let address = host.url().trim_start_matches("http://");
    let here = format!(
        "{{ path_prefix: /webhook/prometheus, authorization: {{ credentials_file: {key} }}, \
         static_configs: [{{ targets: [\"{address}\"] }}] }}"
    );
    let Some(prometheus) = Sender::prometheus(&receiver, &here).await else { return };
    comes_and_goes(&host, &receiver).await;
    let so_far = accepted(&host).await;
    until("a repeat of the end", async || (accepted(&host).await > so_far).then_some(())).await;
    disk(&receiver, true);
    let received = receiver.wait_for("/pager", 3).await;
    let later = &received[2].json()["alert"];
    assert_eq!(later["status"], "firing");
    assert_ne!(later["id"], life(&received[..2]), "what fires again is another alert");
    let refused = host.log().events().iter().filter(|event| event["status"] == 503).count();
    let errors = prometheus.counted("prometheus_notifications_errors_total").await;
    assert!(
        errors <= refused as f64,
        "{errors} errors, of which the host refused {refused} for another time"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_prometheus_posts_by_way_of_alertmanager_is_told_once_when_it_fires_and_once_when_it_ends() {
    let receiver = Receiver::start().await;
    disk(&receiver, true);
    let (host, key) = host("alertmanager", &receiver).await;
    let url = host.at("/webhook/alertmanager");
    let here =
        format!("{{ url: \"{url}\", http_config: {{ authorization: {{ credentials_file: {key} }} }} }}");
    let Some(alertmanager) = Sender::alertmanager(&here).await else { return };
    let there = format!("{{ static_configs: [{{ targets: [\"{}\"] }}] }}", alertmanager.address());
    let Some(_prometheus) = Sender::prometheus(&receiver, &there).await else { return };
    comes_and_goes(&host, &receiver).await;
    life(&receiver.received("/pager"));
    assert_eq!(alertmanager.counted("alertmanager_notifications_failed_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_of_pagerdutys_own_clients_is_told_once_when_it_begins_and_once_when_it_ends() {
    let receiver = Receiver::start().await;
    let (key, lines) = new_key("pd", &["--sources", "pagerduty-events", "--in-url"]);
    let settings = Settings::new().and_config(&lines).plugin(Plugin::shipped("pagerduty-events"));
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a pair");
    let certificate = settings.write("cert.pem", &made.cert.pem()).display().to_string();
    let private = settings.write("key.pem", &made.signing_key.serialize_pem());
    let tls = format!("\n[tls]\ncertificate = \"{certificate}\"\nkey = \"{}\"\n", private.display());
    let settings = settings.and_config(&tls).plugin(Plugin::recorder("pager", &receiver, ""));
    let host = Host::listening(&settings).await;
    host.log().message("worker polling").await;
    let url = host.at(&format!("/webhook/pagerduty-events/{key}")).replace("http://", "https://");
    let trust = [("SSL_CERT_FILE", certificate.as_str()), ("REQUESTS_CA_BUNDLE", &certificate)];
    for (index, (requirement, client)) in PAGERDUTY.into_iter().enumerate() {
        let program = format!("import sys, time\n{client}\n{INCIDENT}");
        let incident = python(requirement, &program, &[&url], &trust).await;
        let id = life(&receiver.wait_for("/pager", 2 * index + 2).await[2 * index..]);
        assert!(id.contains(&incident), "{incident} of {requirement} is {id}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_library_of_standard_webhooks_signs_is_taken() {
    let receiver = Receiver::start().await;
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let settings = Settings::new();
    let signature = format!(
        "\n[sources.alertmanager.signature]\nscheme = \"standard-webhooks\"\nsecrets = [{{ file = \"{}\" }}]\n",
        settings.write("whsec", secret).display()
    );
    let settings = settings.and_config(&signature).plugin(Plugin::shipped("alertmanager"));
    let host = settings.plugin(Plugin::recorder("pager", &receiver, "")).start().await;
    let body = json!({"version": "4", "alerts": [{"status": "firing", "labels": {"alertname": "Signed"}}]});
    let (url, body) = (host.at("/webhook/alertmanager"), body.to_string());
    assert_eq!(python("standardwebhooks==1.1.0", SIGNED, &[&url, secret, &body], &[]).await, "200");
    assert_eq!(receiver.wait_for("/pager", 1).await[0].json()["alert"]["title"], "Signed");
}

/// The configuration that `docs/delivery.md` shows, checked by Alertmanager's own tool.
#[test]
fn alertmanager_takes_the_configuration_that_is_shown() {
    let Some(package) = debian_package("prometheus-alertmanager") else { return };
    let text = project::text("docs/delivery.md");
    let shown =
        text.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).expect("it is shown");
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), shown).expect("writable");
    let programs = package.join("usr/bin");
    let mut command = Command::new(programs.join("amtool"));
    let checked =
        command.arg("check-config").arg(file.path()).current_dir(programs).output().expect("it starts");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
    assert!(String::from_utf8_lossy(&checked.stdout).contains("1 receivers"), "{checked:?}");
}
