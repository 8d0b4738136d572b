//! Messages that are signed with a key of the tests', whose certificate a TLS server on loopback serves under Amazon's name.

use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::plugin::EgressConfig;

const NAME: &str = "sns.eu-west-1.amazonaws.com";
const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:alarms";
const CERTIFICATE: &[u8] = include_bytes!("test-certificate.pem");

/// A server that is Amazon's to those who trust the root; what it was asked for.
struct Amazon {
    verifier: SnsVerifier,
    asked: Arc<Mutex<Vec<String>>>,
    _root: NamedTempFile,
}

async fn amazon(certificate: &'static [u8]) -> Amazon {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder().with_no_client_auth();
    let tls = tls.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = asked.clone();
    let page = move |uri: axum::http::Uri| async move {
        seen.lock().push(uri.to_string());
        certificate
    };
    let router = Router::new().fallback(get(page));
    let acceptor = TlsAcceptor::from(Arc::new(tls));
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, router) = (acceptor.clone(), router.clone());
            tokio::spawn(async move {
                let Ok(stream) = acceptor.accept(stream).await else { return };
                let service = hyper_util::service::TowerToHyperService::new(router);
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new().serve_connection(io, service).await;
            });
        }
    });
    let mut root = NamedTempFile::new().unwrap();
    root.write_all(made.cert.pem().as_bytes()).unwrap();
    let config = EgressConfig { root_certificates: vec![root.path().to_owned()], ..EgressConfig::default() };
    let fetcher = Fetcher::to_loopback(&config, NAME, port);
    let config = SnsConfig { topics: vec![TOPIC.to_owned()] };
    let verifier = SnsVerifier::new("sources.x", &config, fetcher).unwrap();
    Amazon { verifier, asked, _root: root }
}

fn message(kind: &str) -> Value {
    json!({
        "Type": kind, "MessageId": "id-1", "TopicArn": TOPIC, "Subject": "Alarm", "Message": "hello",
        "Timestamp": "2027-01-22T11:47:17.110Z", "Token": "token",
        "SubscribeURL": format!("https://{NAME}/?Action=ConfirmSubscription&Token=token"),
        "SigningCertURL": format!("https://{NAME}/SimpleNotificationService-1.pem"),
        "SignatureVersion": "2",
    })
}

fn sign(mut message: Value) -> Value {
    let key = PrivatePkcs8KeyDer::from_pem_slice(include_bytes!("test-key.pem")).unwrap();
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).unwrap();
    let text = signed(&message, message["Type"].as_str().unwrap()).unwrap();
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).unwrap();
    message["Signature"] = STANDARD.encode(signature).into();
    message
}

fn changed(message: Value, key: &str, value: &str) -> Value {
    let mut changed = message;
    changed[key] = value.into();
    changed
}

async fn verdict(amazon: &Amazon, message: &Value) -> Result<(), String> {
    let now = "2027-01-22T11:50:00Z".parse().unwrap();
    amazon.verifier.verify(message.to_string().as_bytes(), now).await
}

#[tokio::test]
async fn what_openssl_signed_in_either_version_is_right() {
    let amazon = amazon(CERTIFICATE).await;
    for (version, signature) in
        [("1", include_str!("test-signature-v1.txt")), ("2", include_str!("test-signature-v2.txt"))]
    {
        let message = changed(message("Notification"), "SignatureVersion", version);
        let message = changed(message, "Signature", signature);
        assert_eq!(verdict(&amazon, &message).await, Ok(()), "version {version}");
    }
    assert_eq!(*amazon.asked.lock(), ["/SimpleNotificationService-1.pem"], "it is asked for once");
}

#[tokio::test]
async fn what_was_changed_or_comes_from_elsewhere_is_refused() {
    let amazon = amazon(CERTIFICATE).await;
    let good = sign(message("Notification"));
    assert_eq!(verdict(&amazon, &good).await, Ok(()));
    let table = [
        ("Message", "hullo", "the signature is not right"),
        ("Subject", "Other", "the signature is not right"),
        ("TopicArn", "arn:aws:sns:eu-west-1:999999999999:alarms", "is not listed"),
        ("Timestamp", "2027-01-22T09:00:00Z", "SNS tries for an hour"),
        ("Timestamp", "2027-01-22T14:00:00Z", "a clock is wrong"),
        ("Signature", "%%", "is not base64"),
        ("Signature", "", "the signature is not right"),
        ("SignatureVersion", "3", "is not known"),
        ("Type", "Other", "which SNS does not send"),
        (
            "SigningCertURL",
            "https://sns.eu-west-1.amazonaws.com.evil.example/x.pem",
            "not an address of Amazon SNS",
        ),
        (
            "SigningCertURL",
            "https://sns.eu-west-1.amazonaws.com@evil.example/x.pem",
            "not an address of Amazon SNS",
        ),
        ("SigningCertURL", "http://sns.eu-west-1.amazonaws.com/x.pem", "not an address of Amazon SNS"),
        ("SigningCertURL", "https://sns.eu-west-1.amazonaws.com:8443/x.pem", "not an address of Amazon SNS"),
        (
            "SigningCertURL",
            "https://sns.eu-west-1.amazonaws.com/?Action=x&y=.pem",
            "not where Amazon SNS has",
        ),
        (
            "SigningCertURL",
            "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-1.pem?x",
            "not where",
        ),
        ("SigningCertURL", "https://bucket.s3.amazonaws.com/x.pem", "not an address of Amazon SNS"),
        ("SigningCertURL", "https://sns.eu/west.amazonaws.com/x.pem", "not an address of Amazon SNS"),
    ];
    for (key, value, part) in table {
        let refused = verdict(&amazon, &changed(good.clone(), key, value)).await.unwrap_err();
        assert!(refused.contains(part), "{key} = {value}: {refused}");
    }
    assert_eq!(amazon.asked.lock().len(), 1, "nothing else was asked for");
}

#[tokio::test]
async fn a_subscription_is_confirmed_only_when_all_is_right() {
    let amazon = amazon(CERTIFICATE).await;
    let good = sign(message("SubscriptionConfirmation"));
    let elsewhere = changed(message("SubscriptionConfirmation"), "SubscribeURL", "https://169.254.169.254/");
    assert!(verdict(&amazon, &sign(elsewhere)).await.unwrap_err().contains("not an address of Amazon SNS"));
    assert!(verdict(&amazon, &changed(good.clone(), "Token", "other")).await.is_err());
    assert_eq!(amazon.asked.lock().len(), 1, "only the certificate so far");
    assert_eq!(verdict(&amazon, &good).await, Ok(()));
    assert_eq!(amazon.asked.lock()[1], "/?Action=ConfirmSubscription&Token=token");
}

#[tokio::test]
async fn a_certificate_that_is_not_amazons_is_worth_nothing() {
    let amazon = amazon(b"-----BEGIN NOTHING-----").await;
    let refused = verdict(&amazon, &sign(message("Notification"))).await.unwrap_err();
    assert!(refused.contains("is not PEM"), "{refused}");
    let late = "2326-01-22T11:50:00Z".parse().unwrap();
    assert_eq!(public_key(CERTIFICATE, late).unwrap_err(), "is not valid now");
    let other = rcgen::generate_simple_self_signed(vec!["sns.amazonaws.com".to_owned()]).unwrap();
    let refused = public_key(other.cert.pem().as_bytes(), Timestamp::now()).unwrap_err();
    assert!(refused.contains("not of sns.amazonaws.com"), "{refused}");
}
