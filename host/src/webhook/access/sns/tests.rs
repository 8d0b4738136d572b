//! Messages that are signed with a key of the tests', whose certificate a TLS server on loopback serves under Amazon's name,
//! and above it the one of the authority that made it; only the root is trusted.

use std::io::Write;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::json;
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::plugin::EgressConfig;

const NAME: &str = "sns.eu-west-1.amazonaws.com";
const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:alarms";
const ISSUER: &str = "https://sns.eu-west-1.amazonaws.com/issuer.cer";
const KEY: &str = include_str!("test-key.pem");

/// A server that is Amazon's to those who trust the root; what it was asked for.
struct Amazon {
    verifier: SnsVerifier,
    asked: Arc<Mutex<Vec<String>>>,
    _roots: NamedTempFile,
}

/// What it serves: the certificate that messages are signed with, in PEM, and the one above it.
struct Pages {
    certificate: String,
    issuer: Vec<u8>,
}

/// Certificate authorities: one that is trusted, and one below it.
struct Authorities {
    root: Authority,
    below: Authority,
}

struct Authority {
    certificate: rcgen::Certificate,
    issuer: Issuer<'static, KeyPair>,
}

impl Authorities {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = authority("Root").self_signed(&key).unwrap();
        let root = Authority { certificate, issuer: Issuer::new(authority("Root"), key) };
        let key = KeyPair::generate().unwrap();
        let certificate = authority("Below").signed_by(&key, &root.issuer).unwrap();
        let below = Authority { certificate, issuer: Issuer::new(authority("Below"), key) };
        Self { root, below }
    }

    /// Pages with a certificate for the tests' key, made out to `name`.
    fn pages(&self, name: &str) -> Pages {
        let mut wanted = CertificateParams::new(vec![name.to_owned()]).unwrap();
        wanted.custom_extensions = vec![issuer_at(ISSUER)];
        let made = wanted.signed_by(&KeyPair::from_pem(KEY).unwrap(), &self.below.issuer).unwrap();
        Pages { certificate: made.pem(), issuer: self.below.certificate.der().to_vec() }
    }

    async fn amazon(&self, pages: Pages) -> Amazon {
        serve(pages, &self.root.certificate).await
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut wanted = CertificateParams::default();
    wanted.distinguished_name.push(rcgen::DnType::CommonName, name);
    wanted.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    wanted
}

/// An authority information access extension (RFC 5280, section 4.2.2.1): where the issuer's certificate is.
fn issuer_at(url: &str) -> CustomExtension {
    let item = |tag: u8, content: &[u8]| [&[tag, u8::try_from(content.len()).unwrap()], content].concat();
    let access = [item(0x06, &[0x2b, 6, 1, 5, 5, 7, 0x30, 2]), item(0x86, url.as_bytes())].concat();
    CustomExtension::from_oid_content(&[1, 3, 6, 1, 5, 5, 7, 1, 1], item(0x30, &item(0x30, &access)))
}

async fn amazon() -> Amazon {
    let authorities = Authorities::new();
    authorities.amazon(authorities.pages("sns.amazonaws.com")).await
}

async fn serve(pages: Pages, root: &rcgen::Certificate) -> Amazon {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let made = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let tls = rustls::ServerConfig::builder().with_no_client_auth();
    let tls = tls.with_single_cert(vec![made.cert.der().clone()], key).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, pages) = (asked.clone(), Arc::new(pages));
    let page = move |uri: axum::http::Uri| async move {
        seen.lock().push(uri.to_string());
        match uri.path() {
            "/issuer.cer" => pages.issuer.clone(),
            _ => pages.certificate.clone().into_bytes(),
        }
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
    let mut roots = NamedTempFile::new().unwrap();
    roots.write_all([made.cert.pem(), root.pem()].concat().as_bytes()).unwrap();
    let config = EgressConfig { root_certificates: vec![roots.path().to_owned()], ..EgressConfig::default() };
    let fetcher = Fetcher::to_loopback(&config, NAME, port);
    let config = SnsConfig { topics: vec![TOPIC.to_owned()] };
    let verifier = SnsVerifier::new("sources.x", &config, fetcher).unwrap();
    Amazon { verifier, asked, _roots: roots }
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
    let key = PrivatePkcs8KeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
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
    let amazon = amazon().await;
    for (version, signature) in
        [("1", include_str!("test-signature-v1.txt")), ("2", include_str!("test-signature-v2.txt"))]
    {
        let message = changed(message("Notification"), "SignatureVersion", version);
        let message = changed(message, "Signature", signature);
        assert_eq!(verdict(&amazon, &message).await, Ok(()), "version {version}");
    }
    assert_eq!(
        *amazon.asked.lock(),
        ["/SimpleNotificationService-1.pem", "/issuer.cer"],
        "each is asked for once"
    );
}

#[tokio::test]
async fn what_was_changed_or_comes_from_elsewhere_is_refused() {
    let amazon = amazon().await;
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
    assert_eq!(amazon.asked.lock().len(), 2, "nothing else was asked for");
}

#[tokio::test]
async fn a_subscription_is_confirmed_only_when_all_is_right() {
    let amazon = amazon().await;
    let good = sign(message("SubscriptionConfirmation"));
    let elsewhere = changed(message("SubscriptionConfirmation"), "SubscribeURL", "https://169.254.169.254/");
    assert!(verdict(&amazon, &sign(elsewhere)).await.unwrap_err().contains("not an address of Amazon SNS"));
    assert!(verdict(&amazon, &changed(good.clone(), "Token", "other")).await.is_err());
    assert_eq!(amazon.asked.lock().len(), 2, "only the certificate and the one above it so far");
    assert_eq!(verdict(&amazon, &good).await, Ok(()));
    assert_eq!(amazon.asked.lock()[2], "/?Action=ConfirmSubscription&Token=token");
}

#[tokio::test]
async fn a_certificate_that_is_not_amazons_is_worth_nothing() {
    let authorities = Authorities::new();
    let pages = || authorities.pages("sns.amazonaws.com");
    let own = CertificateParams::new(vec!["sns.amazonaws.com".to_owned()]).unwrap();
    let own = own.self_signed(&KeyPair::from_pem(KEY).unwrap()).unwrap();
    let strangers = Authorities::new();
    let table = [
        ("no PEM", Pages { certificate: "-----BEGIN NOTHING-----".to_owned(), ..pages() }, "is not PEM"),
        ("of another service", authorities.pages("sqs.amazonaws.com"), "is not made out to"),
        (
            "of another host",
            authorities.pages("sns.eu-west-1.amazonaws.com.evil.example"),
            "is not made out to",
        ),
        ("signed by itself", Pages { certificate: own.pem(), ..pages() }, "is not trusted here"),
        ("by another authority", strangers.pages("sns.amazonaws.com"), "is not trusted here"),
        (
            "an issuer that did not sign",
            Pages { issuer: own.der().to_vec(), ..pages() },
            "is not trusted here",
        ),
        ("an issuer that is none", Pages { issuer: b"<html>".to_vec(), ..pages() }, "is not trusted here"),
    ];
    for (what, pages, part) in table {
        let amazon = authorities.amazon(pages).await;
        let refused = verdict(&amazon, &sign(message("Notification"))).await.unwrap_err();
        assert!(refused.contains(part), "{what}: {refused}");
    }
}

#[tokio::test]
async fn the_certificate_above_may_come_with_it_or_be_trusted_itself() {
    let authorities = Authorities::new();
    let pages = authorities.pages("sns.eu-west-1.amazonaws.com");
    let certificate = pages.certificate.clone() + &authorities.below.certificate.pem();
    let both = authorities.amazon(Pages { certificate, issuer: Vec::new() }).await;
    assert_eq!(verdict(&both, &sign(message("Notification"))).await, Ok(()));
    let trusted = serve(Pages { issuer: Vec::new(), ..pages }, &authorities.below.certificate).await;
    assert_eq!(verdict(&trusted, &sign(message("Notification"))).await, Ok(()));
    for amazon in [both, trusted] {
        assert_eq!(*amazon.asked.lock(), ["/SimpleNotificationService-1.pem"], "nothing else was asked for");
    }
}

#[tokio::test]
async fn a_certificate_is_valid_at_a_time() {
    let authorities = Authorities::new();
    let amazon = authorities.amazon(authorities.pages("sns.amazonaws.com")).await;
    let late = "5000-01-22T11:47:17Z";
    let message = sign(changed(message("Notification"), "Timestamp", late));
    let refused = amazon.verifier.verify(message.to_string().as_bytes(), late.parse().unwrap()).await;
    assert!(refused.unwrap_err().contains("expired"));
}
