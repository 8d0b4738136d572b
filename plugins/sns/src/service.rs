//! What the answers of SNS mean, by their codes.
//!
//! Sources: docs.aws.amazon.com/sns/latest/api/API_Publish.html ("Errors"), …/sns/latest/api/CommonErrors.html.

use campanile_guest::http::{Rule, Service};

const ALLOW: &str =
    "allow sns:Publish on the topic to the access key's user, in IAM or in the topic's policy";
const KEY: &str =
    "check the secret behind `authorization`: kind sigv4, with service = \"sns\" and the topic's region";
const TOPIC: &str =
    "check `topic-arn`: a topic that exists, such as arn:aws:sns:eu-central-1:123456789012:alerts";
const KMS: &str = "let the access key's user, and SNS, use the KMS key that encrypts the topic";
const REPORT: &str = "this is a fault of the plugin: please report it";

pub(crate) const SNS: Service = Service {
    id: &["/id"],
    error: &["/code", "/message"],
    success: None,
    wait: None,
    rules: &[
        Rule::backoff("KMSThrottling", "throttling"),
        Rule::backoff("Throttl", "throttling"),
        Rule::backoff("InternalError:", "internal-error"),
        Rule::backoff("InternalFailure:", "internal-error"),
        Rule::backoff("ServiceUnavailable", "service-unavailable"),
        Rule::backoff("RequestExpired:", "request-expired"),
        Rule::backoff("Signature expired", "request-expired"),
        Rule::never("KMS", "kms", KMS),
        Rule::never("AuthorizationError:", "authorization-error", ALLOW),
        Rule::never("AccessDenied", "access-denied", ALLOW),
        Rule::never("InvalidClientTokenId:", "invalid-key", KEY),
        Rule::never("SignatureDoesNotMatch:", "signature-does-not-match", KEY),
        Rule::never("IncompleteSignature:", "incomplete-signature", KEY),
        Rule::never("MissingAuthenticationToken:", "not-signed", KEY),
        Rule::never(
            "ExpiredToken",
            "expired-token",
            "the session token has expired; give the host a new one",
        ),
        Rule::never("InvalidSecurity:", "invalid-security", KEY),
        Rule::never("OptInRequired:", "opt-in-required", KEY),
        Rule::never("NotFound:", "not-found", TOPIC),
        Rule::never("EndpointDisabled:", "endpoint-disabled", TOPIC),
        Rule::never("PlatformApplicationDisabled:", "platform-application-disabled", TOPIC),
        Rule::never("TopicArn", "invalid-parameter", TOPIC),
        Rule::never("InvalidParameter", "invalid-parameter", REPORT),
        Rule::never("ParameterValueInvalid:", "invalid-parameter", REPORT),
        Rule::never("Validation", "validation-error", REPORT),
    ],
};
