//! Amazon SNS, for which the host signs. Its answers: docs.aws.amazon.com/sns/latest/api/API_Publish.html and …/CommonErrors.html;
//! the signature: docs.aws.amazon.com/IAM/latest/UserGuide, "Create a signed AWS API request".

use harness::receiver::Received;
use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};

use super::service::{Pause, Refusal, Service};
use super::stage::{Stage, fields, receipt};

const KEY: &str = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYhushKEY";

pub(super) const SNS: Service = Service {
    plugin: "sns",
    home: "https://sns.eu-central-1.amazonaws.com",
    config: "url = \"{home}/\"",
    grants: "",
    secrets: &[(
        "SNS_KEY",
        KEY,
        "kind = \"sigv4\"\naccess-key-id = \"AKIAIOSFODNN7EXAMPLE\"\nregion = \"eu-central-1\"\nservice = \"sns\"",
    )],
    answers: &[(
        "POST /",
        200,
        r#"<PublishResponse xmlns="https://sns.amazonaws.com/doc/2010-03-31/">
            <PublishResult><MessageId>567910cd-659e-55d4-8ccb-5aaf14679dc0</MessageId></PublishResult>
            <ResponseMetadata><RequestId>d74b8436-ae13-5ab4-a9ff-ce54dfea72a0</RequestId></ResponseMetadata>
        </PublishResponse>"#,
    )],
    pause: Pause {
        status: 400,
        retry_after: None,
        body: r#"<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>
            <Code>ThrottlingException</Code><Message>Rate exceeded</Message></Error>
            <RequestId>9d1a3c1e-4a1c-5c7e-8d0b-6f1c2b3a4d5e</RequestId></ErrorResponse>"#,
        seconds: 0,
    },
    refusal: Refusal {
        at: "POST /",
        status: 404,
        body: r#"<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>
            <Code>NotFound</Code><Message>Topic does not exist</Message></Error>
            <RequestId>9dd01905-5012-5f99-8663-4b3ecd0dfaef</RequestId></ErrorResponse>"#,
        code: "not-found",
        words: "NotFound: Topic does not exist",
    },
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mac = Hmac::<Sha256>::new_from_slice(key).expect("keys have any length");
    mac.chain_update(text).finalize().into_bytes().to_vec()
}

/// The signature over these headers and the body, as AWS computes it.
fn signature(request: &Received, headers: &str) -> String {
    let date = request.header("x-amz-date");
    let scope = [&date[..8], "eu-central-1", "sns", "aws4_request"];
    let values: String =
        headers.split(';').map(|name| format!("{name}:{}\n", request.header(name))).collect();
    let canonical = format!("POST\n/\n\n{values}\n{headers}\n{}", hex(&Sha256::digest(&request.body)));
    let canonical = hex(&Sha256::digest(canonical));
    let text = format!("AWS4-HMAC-SHA256\n{date}\n{}\n{canonical}", scope.join("/"));
    let key = scope.iter().fold(format!("AWS4{KEY}").into_bytes(), |key, part| mac(&key, part));
    hex(&mac(&key, &text))
}

/// Panics unless AWS would take the request.
fn assert_signed(request: &Received) {
    let given = request.header("authorization");
    let scope = format!("{}/eu-central-1/sns/aws4_request", &request.header("x-amz-date")[..8]);
    let start = format!("AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/{scope}, SignedHeaders=");
    let rest = given.strip_prefix(&start).unwrap_or_else(|| panic!("{given}"));
    let (headers, signed) = rest.split_once(", Signature=").unwrap_or_else(|| panic!("{given}"));
    assert!(headers.split(';').any(|name| name == "host"), "{given}");
    assert_eq!(signed, signature(request, headers));
}

/// The form of a message.
fn form(subject: &str, message: &str, status: &str) -> Vec<(String, String)> {
    let topic = "arn:aws:sns:eu-central-1:123456789012:alerts";
    let start = [("Action", "Publish"), ("Version", "2010-03-31"), ("TopicArn", topic)];
    let text = [("Subject", subject), ("Message", message)];
    let mut form: Vec<_> =
        start.iter().chain(&text).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    for (place, (name, value)) in
        [("severity", "critical"), ("status", status), ("type", "database")].iter().enumerate()
    {
        let entry = format!("MessageAttributes.entry.{}", place + 1);
        form.push((format!("{entry}.Name"), (*name).to_owned()));
        form.push((format!("{entry}.Value.DataType"), "String".to_owned()));
        form.push((format!("{entry}.Value.StringValue"), (*value).to_owned()));
    }
    form
}

#[tokio::test(flavor = "multi_thread")]
async fn sns_gets_messages_that_the_host_has_signed() {
    let stage = Stage::of(&[SNS]).await;
    let [fired, ended] = stage.life().await;
    let message = Some("567910cd-659e-55d4-8ccb-5aaf14679dc0");
    assert_eq!([receipt(&fired, "sns"), receipt(&ended, "sns")], [message; 2]);
    let [publish, over] = stage.requests("sns");
    for request in [&publish, &over] {
        assert_eq!(request.line(), "POST /");
        assert_eq!(request.header("content-type"), "application/x-www-form-urlencoded");
        assert_signed(request);
    }
    let text = |state: &str, id: &str| {
        format!(
            "{state}: Pool \"db\" is full\n\nAll connections in use\n\nWhere: production/payments\nSource: Monitoring\n\
             Labels: team=db\nRunbook: https://run.example/db\nAlert: {id}"
        )
    };
    let id = |ledger: &serde_json::Value| ledger["id"].as_str().expect("an id").to_owned();
    let expected = form("[Critical] Pool \"db\" is full", &text("🔴 Critical", &id(&fired)), "firing");
    assert_eq!(fields(&publish), expected);
    let expected = form("[Resolved] Pool \"db\" is full", &text("✅ Resolved", &id(&ended)), "resolved");
    assert_eq!(fields(&over), expected);
}
