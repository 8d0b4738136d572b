//! Reading a request as the webhook does, where no host runs: by the same readers, with the same bounds and faults.

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};

use super::error::ApiError;
use super::receive::unpacked;
use super::request::{Arrival, WebhookRequest, read_alert, request_id};
use super::sources::understood;
use super::weight::BodyLimits;
use crate::alert::Alert;
use crate::fault::Fault;
use crate::plugin::{Decoded, SourceReply};

/// A request that the webhook would take.
#[derive(Debug)]
pub struct DryRun {
    /// Its alerts; of a source, also those that are left out.
    pub alerts: Vec<ReadAlert>,
    /// What was odd about it.
    pub warnings: Vec<String>,
    /// By what a repeat of the request is recognised.
    pub delivery_id: Option<String>,
    /// What the source itself answers.
    pub reply: Option<SourceReply>,
}

/// One of its alerts.
#[derive(Debug)]
pub struct ReadAlert {
    /// The alert, or why it is left out.
    pub alert: Result<Alert, Vec<Fault>>,
    /// What was odd about it, where the request as a whole does not say so.
    pub odd: Vec<String>,
}

impl DryRun {
    /// The source's answer, if that is a refusal: status and text.
    pub fn refusal(&self) -> Option<String> {
        let SourceReply { status, body, .. } = self.reply.as_ref().filter(|reply| reply.status >= 400)?;
        let named =
            StatusCode::from_u16(*status).map_or_else(|_| status.to_string(), |named| named.to_string());
        Some(format!("{named}: {}", String::from_utf8_lossy(body).trim()))
    }
}

/// Why the webhook would refuse a request, with a line for each fault.
#[derive(Debug, thiserror::Error)]
#[error("the webhook refuses it ({code}): {text}")]
pub struct Refused {
    code: &'static str,
    text: String,
}

impl From<&ApiError> for Refused {
    fn from(error: &ApiError) -> Self {
        let lines = error.faults().iter().map(|fault| format!("\n{fault}")).collect::<String>();
        let text = match error.faults().len() {
            0 | 1 => error.message().to_owned(),
            count => format!("{count} faults{lines}"),
        };
        Self { code: error.code().as_str(), text }
    }
}

/// The body of a request with these headers: unpacked, and within the bounds of `[webhook]`.
///
/// # Errors
///
/// It is too large, too complex, or packed in a way that is not taken.
pub fn read_body(
    headers: &HeaderMap,
    body: Vec<u8>,
    most: usize,
    limits: BodyLimits,
) -> Result<Bytes, Refused> {
    let whole = match body.len() > most {
        true => Err(ApiError::body_too_large()),
        false => unpacked(headers, body.into(), most),
    };
    let read = whole.and_then(|body| limits.check(&body).map(|()| body));
    read.map_err(|error| Refused::from(&error))
}

/// A request to `/webhook/alerts`, which is JSON unless the headers say otherwise.
///
/// # Errors
///
/// Everything that the webhook refuses it for.
pub fn read_posted(headers: &HeaderMap, body: &[u8]) -> Result<DryRun, Refused> {
    let mut headers = headers.clone();
    headers.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    let read = request_id(&headers).and_then(|id| Ok((id, WebhookRequest::read(&headers, body)?)));
    let (id, (request, warnings)) = read.map_err(|error| Refused::from(&error))?;
    let alerts = request.alerts.into_iter().map(|alert| ReadAlert { alert: Ok(alert), odd: Vec::new() });
    Ok(DryRun { alerts: alerts.collect(), warnings, delivery_id: request.batch_id.or(id), reply: None })
}

/// What a source found in a request.
///
/// # Errors
///
/// There are too many alerts, or none of them can be used.
pub fn read_decoded(source: &str, decoded: Decoded) -> Result<DryRun, Refused> {
    let alerts = decoded.alerts.iter().map(|text| match read_alert(text, "") {
        Ok((alert, odd)) => ReadAlert { alert: Ok(alert), odd },
        Err(faults) => ReadAlert { alert: Err(faults), odd: Vec::new() },
    });
    let (alerts, warnings) = (alerts.collect(), decoded.warnings.clone());
    let (delivery_id, reply) = (decoded.delivery_id.clone(), decoded.reply.clone());
    understood(source, Arrival::default(), decoded).map_err(|error| Refused::from(&error))?;
    Ok(DryRun { alerts, warnings, delivery_id, reply })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const LIMITS: BodyLimits = BodyLimits { values: 100, depth: 10 };

    fn alert(severity: &str) -> Value {
        json!({
            "title": "t", "description": "d", "type": "custom", "severity": severity,
            "source": {"name": "n", "type": "t"},
        })
    }

    fn posted(document: &Value) -> Result<usize, String> {
        let read = read_posted(&HeaderMap::new(), document.to_string().as_bytes());
        read.map(|request| request.alerts.len()).map_err(|refused| refused.to_string())
    }

    #[test]
    fn a_request_is_refused_as_the_webhook_refuses_it() {
        assert_eq!(posted(&json!({"alerts": [alert("low")]})), Ok(1));
        let refused = posted(&json!({"alerts": [alert("low"), alert("urgent")]})).unwrap_err();
        assert!(refused.contains("(invalid-request): alerts[1].severity: "), "{refused}");
        let refused = posted(&json!({"alerts": [alert("urgent"), {}], "metadata": 7})).unwrap_err();
        assert!(
            refused.contains("faults\nmetadata: ") && refused.contains("\nalerts[0].severity: "),
            "{refused}"
        );
        for document in [alert("low"), json!([alert("low")])] {
            assert!(posted(&document).is_err(), "an alert alone is not a request: {document}");
        }
        let many: Vec<Value> = (0..1001).map(|_| alert("low")).collect();
        assert!(posted(&json!({"alerts": many})).unwrap_err().contains("more than 1000"));
    }

    #[test]
    fn a_body_over_a_bound_is_refused_before_it_is_read() {
        let read = |text: &str| {
            let read = read_body(&HeaderMap::new(), text.as_bytes().to_vec(), 1_000, LIMITS);
            read.map(|body| body.len()).map_err(|refused| refused.to_string())
        };
        assert_eq!(read("[1]"), Ok(3));
        for (body, code) in [(" ".repeat(1_001), "body-too-large"), ("[".repeat(11), "body-too-complex")] {
            assert!(read(&body).unwrap_err().contains(code), "{code}");
        }
    }

    #[test]
    fn a_refusal_in_the_words_of_a_source_is_one() {
        let answered = |status| {
            let reply = SourceReply {
                status,
                content_type: String::new(),
                body: b"{\"status\": \"invalid event\"}\n".to_vec(),
            };
            let decoded = Decoded { reply: Some(reply), ..Decoded::default() };
            read_decoded("pagerduty-events", decoded).unwrap().refusal()
        };
        assert_eq!(answered(400).as_deref(), Some("400 Bad Request: {\"status\": \"invalid event\"}"));
        assert_eq!(answered(202), None);
    }

    #[test]
    fn what_a_source_found_is_refused_if_nothing_of_it_can_be_used() {
        let decoded = |alerts: &[Value]| Decoded {
            alerts: alerts.iter().map(Value::to_string).collect(),
            ..Decoded::default()
        };
        let read = read_decoded("acme", decoded(&[alert("low"), json!({})])).unwrap();
        assert!(read.alerts[0].alert.is_ok() && read.alerts[1].alert.is_err());
        let refused = read_decoded("acme", decoded(&[json!({})])).unwrap_err().to_string();
        assert!(refused.contains("alerts[0].title: is required"), "{refused}");
        let many = vec![alert("low"); 10_001];
        assert!(read_decoded("acme", decoded(&many)).unwrap_err().to_string().contains("too-many-alerts"));
    }
}
