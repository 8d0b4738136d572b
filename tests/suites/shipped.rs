//! The shipped plugins, each doing its work for real.

use harness::alerts::{identified, unique, with};
use harness::plugin::{grants, posting_to};
use harness::smtp::{PASSWORD, USER};
use harness::{Answer, Plugin, Receiver, Settings, Smtp};
use serde_json::{Value, json};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn raised(title: &str) -> Value {
    with(
        identified(title),
        json!({
            "severity": "critical",
            "context": {"environment": "production", "service": "payments"},
            "labels": {" Team Name ": " Core "},
        }),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn triage_and_log_show_the_alert_to_a_newcomer() {
    let host = Settings::new().plugin(Plugin::shipped("triage")).plugin(Plugin::shipped("log")).start().await;
    let title = unique("Pool exhausted ");
    let ledger = host.ledger(raised(&title)).await;
    assert_eq!(ledger["outcome"], "delivered", "{ledger}");
    let triage = &ledger["alert"]["data"]["triage"];
    assert!(triage["score"].is_number() && triage["tags"].is_array(), "{ledger}");
    assert_eq!(triage["priority"], "P1", "critical, in production: {triage}");
    assert_eq!(ledger["alert"]["labels"], json!({"team_name": "Core"}));
    let line = host.log().wait_for("the alert's line", |event| event.to_string().contains(&title)).await;
    let line = line.to_string();
    for words in ["CRITICAL", "payments", "P1"] {
        assert!(line.contains(words), "{words}: {line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_posts_blocks_to_a_secret_path() {
    let receiver = Receiver::start().await;
    receiver.always("/services/T000/B000/hush", Answer::status(200).body("ok"));
    let url = receiver.url("/services/${secret:SLACK_PATH}");
    let sidecar = format!("[config]\nurl = \"{url}\"\n{}secrets = [\"SLACK_PATH\"]\n", grants(&receiver));
    let settings = Settings::new();
    let file = settings.write("slack-path", "T000/B000/hush\n");
    let config = format!("\n[secrets.SLACK_PATH]\nfile = \"{}\"\nhosts = [\"127.0.0.1\"]\n", file.display());
    let host = settings.and_config(&config).plugin(Plugin::shipped("slack").sidecar(&sidecar)).start().await;
    let ledger = host.ledger(raised("<Disk> & \"Co\"")).await;
    assert_eq!(ledger["outcome"], "delivered", "{ledger}");
    let message = receiver.received("/services/T000/B000/hush")[0].json();
    let blocks = message.to_string();
    assert!(blocks.contains("\"blocks\""), "{message}");
    assert!(blocks.contains("payments") && blocks.to_lowercase().contains("critical"), "{message}");
    assert!(
        !ledger.to_string().contains("hush") && !host.log().has(|event| event.to_string().contains("hush"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn slack_retries_what_slack_asks_for_and_gives_up_what_it_refuses() {
    let receiver = Receiver::start().await;
    receiver.script(
        "/busy",
        [Answer::status(429).header("retry-after", "1")],
        Answer::status(200).body("ok"),
    );
    receiver.always("/gone", Answer::status(404).body("no_service"));
    let slack = |name| {
        let mut plugin = Plugin::shipped("slack").sidecar(&posting_to(&receiver, name, ""));
        plugin.name = name.to_owned();
        plugin
    };
    let host = Settings::new().plugin(slack("busy")).plugin(slack("gone")).start().await;
    let ledger = host.ledger(raised("slack's moods")).await;
    assert_eq!(ledger["outcome"], "partial", "{ledger}");
    let steps = ledger["steps"].as_array().expect("steps");
    let step = |name: &str| steps.iter().find(|step| step["plugin"] == name).expect("a step each");
    assert_eq!(step("busy")["attempts"], 2);
    assert_eq!((&step("gone")["attempts"], &step("gone")["error"]["code"]), (&json!(1), &json!("http-404")));
    assert!(step("gone")["error"]["message"].to_string().contains("no_service"), "{}", step("gone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn webhook_posts_a_body_that_the_host_has_signed() {
    let receiver = Receiver::start().await;
    let url = receiver.url("/hook");
    let sidecar =
        format!("[config]\nurl = \"{url}\"\nsecret = \"HOOK\"\n{}secrets = [\"HOOK\"]\n", grants(&receiver));
    let config =
        "\n[secrets.HOOK]\nenv = \"TESTS_HOOK\"\nkind = \"standard-webhooks\"\nhosts = [\"127.0.0.1\"]\n";
    let settings = Settings::new().and_config(config).variable("TESTS_HOOK", KEY);
    let host = settings.plugin(Plugin::shipped("webhook").sidecar(&sidecar)).start().await;
    let ledger = host.ledger(raised("signed")).await;
    assert_eq!(ledger["outcome"], "delivered", "{ledger}");
    let request = &receiver.received("/hook")[0];
    let verifier = standardwebhooks::Webhook::new(KEY).expect("a key");
    verifier.verify(&request.body, &request.headers).expect("the signature is good");
    let mut tampered = request.body.to_vec();
    tampered[10] ^= 1;
    assert!(verifier.verify(&tampered, &request.headers).is_err());
    let body = request.json();
    assert_eq!(body["delivery_id"], request.header("webhook-id"));
    assert_eq!(body["alert"]["title"], "signed");
    assert_eq!(body["attempt"], 1);
    assert!(request.header("traceparent").starts_with("00-"));
}

#[tokio::test(flavor = "multi_thread")]
async fn http_status_writes_the_outcome_back() {
    let receiver = Receiver::start().await;
    receiver.fail("/status", 1, 503);
    let sidecar = posting_to(&receiver, "status", "").replace("POST http", "PUT http");
    let sidecar = sidecar.replace("[config]", "[config]\nmethod = \"PUT\"");
    let host = Settings::new()
        .plugin(Plugin::recorder("pager", &receiver, ""))
        .plugin(Plugin::shipped("http-status").sidecar(&sidecar))
        .start()
        .await;
    let ledger = host.ledger(raised("written back")).await;
    assert_eq!(ledger["outcome"], "delivered");
    let requests = receiver.wait_for("/status", 2).await;
    assert_eq!(requests[0].method, "PUT");
    assert_eq!(requests[0].header("idempotency-key"), requests[1].header("idempotency-key"));
    let body = requests[1].json();
    assert_eq!(body["change_id"], requests[1].header("idempotency-key"));
    assert_eq!((&body["outcome"], &body["status"]), (&json!("delivered"), &json!("firing")));
    assert_eq!(body["deliveries"][0]["receiver"], "pager");
    assert_eq!(body["alert"]["title"], "written back");
}

/// The host's side of the mail: where to, as whom, whom to trust.
fn mail(smtp: &Smtp, password: &str) -> String {
    format!(
        "\n[mail]\nhost = \"localhost\"\nport = {}\ntls = \"starttls\"\nusername = \"{USER}\"\n\
         password-env = \"{password}\"\nfrom = \"Campanile <campanile@example.com>\"\nroot-certificates = [\"{}\"]\n",
        smtp.port(),
        smtp.authority().display()
    )
}

fn email(name: &str, to: &str) -> Plugin {
    let mut plugin = Plugin::shipped("email");
    plugin.name = name.to_owned();
    plugin.sidecar(&format!("[config]\nto = \"{to}\"\n[grants]\nmail = [\"*@example.com\"]\n"))
}

#[tokio::test(flavor = "multi_thread")]
async fn email_sends_text_and_html_over_starttls_with_the_hosts_credentials() {
    let smtp = Smtp::start().await;
    let settings = Settings::new().and_config(&mail(&smtp, "TESTS_SMTP")).variable("TESTS_SMTP", PASSWORD);
    let host = settings.plugin(email("email", "On-call <oncall@example.com>, ops@example.com")).start().await;
    let ledger = host.ledger(raised("Disk <full> & \"hot\"")).await;
    assert_eq!(ledger["outcome"], "delivered", "{ledger}");
    let message = smtp.message_to("ops@example.com").await;
    assert_eq!(message["to"], json!(["oncall@example.com", "ops@example.com"]));
    assert_eq!((&message["encrypted"], &message["authenticated"]), (&json!(true), &json!(true)));
    assert_eq!(message["from"], "campanile@example.com");
    let data = message["data"].as_str().expect("a message");
    for words in ["multipart/alternative", "text/plain", "text/html", "Message-ID:", "Date:", "Subject:"] {
        assert!(data.contains(words), "{words}:\n{data}");
    }
    assert!(!data.contains("<full>\"</"), "markup in a title is escaped:\n{data}");
    assert!(!host.log().has(|event| event.to_string().contains(PASSWORD)));
}

#[tokio::test(flavor = "multi_thread")]
async fn email_says_what_the_operator_wrote() {
    let smtp = Smtp::start().await;
    let settings = Settings::new().and_config(&mail(&smtp, "TESTS_SMTP")).variable("TESTS_SMTP", PASSWORD);
    let worded = "[config]\nto = \"ops@example.com\"\nsubject = \"{{ severity }} at {{ place }}\"\n\
                  text = \"Call <Core>\"\nfacts = false\n[grants]\nmail = [\"*@example.com\"]\n";
    let host = settings.plugin(Plugin::shipped("email").sidecar(worded)).start().await;
    host.ledger(raised("Disk full")).await;
    let message = smtp.message_to("ops@example.com").await;
    let data = message["data"].as_str().expect("a message");
    for words in ["Subject: critical at production/payments", "Call <Core>", "Call &lt;Core&gt;"] {
        assert!(data.contains(words), "{words}:\n{data}");
    }
    assert!(!data.contains("Severity"), "{data}");
}

#[tokio::test(flavor = "multi_thread")]
async fn email_retries_what_may_pass_and_gives_up_what_will_not() {
    let smtp = Smtp::start().await;
    let settings = Settings::new().and_config(&mail(&smtp, "TESTS_SMTP")).variable("TESTS_SMTP", PASSWORD);
    let host = settings
        .plugin(email("refused", "refuse@example.com"))
        .plugin(email("busy", "busy@example.com"))
        .plugin(email("denied", "somebody@elsewhere.example"))
        .start()
        .await;
    let ledger = host.ledger(raised("undeliverable")).await;
    assert_eq!(ledger["outcome"], "failed", "{ledger}");
    let steps = ledger["steps"].as_array().expect("steps");
    let attempts =
        |name: &str| steps.iter().find(|step| step["plugin"] == name).map(|step| &step["attempts"]);
    assert_eq!(attempts("refused"), Some(&json!(1)), "{ledger}");
    assert_eq!(attempts("busy"), Some(&json!(4)), "{ledger}");
    assert_eq!(attempts("denied"), Some(&json!(1)), "{ledger}");
    assert!(smtp.messages().is_empty());
}

/// What is wrong with the host is no fault of a recipient: it is tried again, and the ledger says what to repair.
#[tokio::test(flavor = "multi_thread")]
async fn email_says_who_it_is_and_retries_where_that_is_refused() {
    let smtp = Smtp::start().await;
    let named = |name: &str| {
        let config = mail(&smtp, "TESTS_SMTP").replace("\ntls = ", &format!("\nehlo = \"{name}\"\ntls = "));
        Settings::new().and_config(&config).variable("TESTS_SMTP", PASSWORD)
    };
    let known = named("alerts.example.com").plugin(email("known", "ops@example.com")).start().await;
    assert_eq!(known.ledger(raised("known")).await["outcome"], "delivered");
    assert_eq!(smtp.message_to("ops@example.com").await["ehlo"], "alerts.example.com");
    let stranger = named("stranger.example.com").plugin(email("stranger", "ops@example.com")).start().await;
    let ledger = stranger.ledger(raised("unknown")).await;
    assert_eq!(
        (&ledger["outcome"], &ledger["steps"][0]["attempts"]),
        (&json!("failed"), &json!(4)),
        "{ledger}"
    );
    let said =
        "the mail relay refuses this host: EHLO: permanent error (550): 5.7.1 that name is not known here";
    assert!(ledger.to_string().contains(said), "{ledger}");
}

#[tokio::test(flavor = "multi_thread")]
async fn email_does_not_talk_to_a_server_it_cannot_trust() {
    let smtp = Smtp::start().await;
    let other = Smtp::start().await;
    let config = mail(&smtp, "TESTS_SMTP");
    let config =
        config.replace(&smtp.authority().display().to_string(), &other.authority().display().to_string());
    let settings = Settings::new().and_config(&config).variable("TESTS_SMTP", PASSWORD);
    let host = settings.plugin(email("email", "ops@example.com")).start().await;
    assert_eq!(host.ledger(raised("for no stranger's eyes")).await["outcome"], "failed");
    assert!(smtp.messages().is_empty());
}
