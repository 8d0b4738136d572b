//! Reading a request as the webhook does, where no host runs: by the same readers, with the same bounds and faults.

use axum::body::Bytes;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue};

use super::error::ApiError;
use super::receive::unpacked;
use super::request::{Arrival, WebhookRequest, read_alert, request_id};
use super::sources::understood;
use super::weight::BodyLimits;
use crate::alert::Alert;
use crate::fault::Fault;
use crate::plugin::Decoded;

/// A request that the webhook would take.
#[derive(Debug)]
pub struct DryRun {
    /// Its alerts; of a source, also those that are left out, and why.
    pub alerts: Vec<Result<Alert, Vec<Fault>>>,
    /// What was odd about it.
    pub warnings: Vec<String>,
    /// By what a repeat of the request is recognised.
    pub delivery_id: Option<String>,
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
    let alerts = request.alerts.into_iter().map(Ok).collect();
    Ok(DryRun { alerts, warnings, delivery_id: request.batch_id.or(id) })
}

/// What a source found in a request.
///
/// # Errors
///
/// There are too many alerts, or none of them can be used.
pub fn read_decoded(source: &str, decoded: Decoded) -> Result<DryRun, Refused> {
    let (mut warnings, delivery_id) = (decoded.warnings.clone(), decoded.delivery_id.clone());
    let texts = decoded.alerts.iter().enumerate();
    let alerts = texts.map(|(index, text)| read_alert(text, &format!("alerts[{index}]")));
    let mut keep_warnings = |(alert, odd)| {
        warnings.extend(odd);
        alert
    };
    let alerts = alerts.map(|read| read.map(&mut keep_warnings)).collect();
    understood(source, Arrival::default(), decoded).map_err(|error| Refused::from(&error))?;
    Ok(DryRun { alerts, warnings, delivery_id })
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
    fn what_a_source_found_is_refused_if_nothing_of_it_can_be_used() {
        let decoded = |alerts: &[Value]| Decoded {
            alerts: alerts.iter().map(Value::to_string).collect(),
            ..Decoded::default()
        };
        let read = read_decoded("acme", decoded(&[alert("low"), json!({})])).unwrap();
        assert!(read.alerts[0].is_ok() && read.alerts[1].is_err());
        let refused = read_decoded("acme", decoded(&[json!({})])).unwrap_err().to_string();
        assert!(refused.contains("alerts[0].title: is required"), "{refused}");
        let many = vec![alert("low"); 1001];
        assert!(read_decoded("acme", decoded(&many)).unwrap_err().to_string().contains("too-many-alerts"));
    }
}
