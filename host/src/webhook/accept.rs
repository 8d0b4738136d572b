//! Accepting: a request's alerts go to the store, all or none, before it is answered.

use std::sync::Arc;

use campanile_store::life::{Policy, Post, Severity, Status};
use campanile_store::{Accepted, Disposition, Incoming, Request, RequestId, StoreError, digest};
use jiff::SignedDuration;
use uuid::Uuid;

use super::Surroundings;
use super::error::ApiError;
use super::request::{Arrival, WebhookRequest};
use crate::alert::{self, ACKNOWLEDGEMENT, Alert, Origin, untimed_id};
use crate::disk::Content;
use crate::records::{RecordError, Records};
use crate::scope::Scope;
use crate::telemetry::metric;
use crate::temporal::Dispatch;

/// So many alerts are written down on the spot.
const FEW: usize = 16;

/// Accepts a request's alerts, and has them started.
pub(super) async fn accept(
    surroundings: &Surroundings,
    arrival: Arrival,
    request: WebhookRequest,
) -> Result<Accepted, ApiError> {
    let count = request.alerts.len();
    metric::received(count);
    let id = request.batch_id.clone();
    let refused = |error: ApiError| error.of_request(id.as_deref()).with_alerts(count);
    let intake = surroundings.intake(arrival.via.as_deref()).map_err(refused)?;
    if let Some(fault) = intake.records.handle.fault() {
        return Err(surroundings.or_disk(refused(fault.into()), Content::Store).await);
    }
    // A sender is to know before its alerts are in the store.
    if surroundings.link.is_away() {
        let error = ApiError::temporal_away(&surroundings.link).of_request(id.as_deref()).with_alerts(count);
        return Err(surroundings.or_disk(error, Content::Temporal).await);
    }
    let request = match count {
        ..=FEW => intake.request(arrival, request),
        _ => {
            let written = tokio::task::spawn_blocking({
                let intake = intake.clone();
                move || intake.request(arrival, request)
            });
            written.await.unwrap_or_else(|error| Err(RecordError::Unreadable(error.to_string())))
        }
    };
    let request = request.map_err(|error| refused(error.into()))?;
    // It goes on also if the sender hangs up.
    let accepted = tokio::spawn(accept_now(intake.records, surroundings.dispatch.clone(), request));
    let accepted = accepted.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.to_string())));
    match accepted {
        Ok(accepted) => Ok(accepted),
        Err(error) => Err(surroundings.or_disk(refused(error.into()), Content::Store).await),
    }
}

/// Accepts a request, and has its alerts started.
async fn accept_now(
    records: Records,
    dispatch: Option<Dispatch>,
    mut request: Request,
) -> Result<Accepted, StoreError> {
    request.claim = dispatch.as_ref().filter(|_| request.alerts.len() == 1).and_then(Dispatch::claim_of_one);
    let accepted = records.store()?.accept(request).await?;
    count_accepted(&accepted);
    if let Some(dispatch) = dispatch {
        dispatch.begin(accepted.claims.clone());
        dispatch.wake();
    }
    Ok(accepted)
}

fn count_accepted(accepted: &Accepted) {
    metric::accepted(accepted.alerts.len());
    let is_duplicate = |disposition| disposition == Disposition::Duplicate;
    let duplicates = accepted.alerts.iter().filter(|placed| is_duplicate(placed.disposition)).count();
    metric::repeated(if accepted.is_repeat { accepted.alerts.len() } else { duplicates });
    for placed in &accepted.alerts {
        tracing::info!(alert = placed.id, disposition = placed.disposition.as_str(), "accepted");
    }
}

/// What it takes to make a request of the store of one of the webhook.
#[derive(Clone)]
pub(super) struct Intake {
    pub(super) records: Records,
    pub(super) repeat_window: std::time::Duration,
    pub(super) hold_down: Option<SignedDuration>,
    pub(super) replicas: SignedDuration,
}

impl Intake {
    fn request(&self, arrival: Arrival, request: WebhookRequest) -> Result<Request, RecordError> {
        let Arrival { received_at, traceparent, via, key, scope, from, warnings } = arrival;
        let WebhookRequest { mut alerts, batch_id, metadata } = request;
        self.scope_keys(&mut alerts)?;
        let of_requests = Scope::of_requests(via.as_deref(), scope.as_deref().or(key.as_deref()));
        let id = batch_id.map(|id| {
            // Alerts came from JSON, so they go back into JSON.
            let content = serde_json::to_vec(&alerts).unwrap_or_default();
            RequestId { digest: digest(&[of_requests.id(&id).as_bytes()]), content: digest(&[&content]) }
        });
        let metadata = Arc::new(metadata);
        let origin = Origin { metadata, received_at, traceparent, via, key, from, warnings, sealed: false };
        let scope = Scope::of_alerts(origin.via.as_deref().or(scope.as_deref()));
        let alerts = alerts.into_iter().map(|alert| self.incoming(scope, alert));
        let alerts = alerts.collect::<Result<_, _>>()?;
        Ok(Request { id, origin: self.records.write(&origin)?, alerts, claim: None })
    }

    /// Keeps of credentials within which keys count a hash alone.
    fn scope_keys(&self, alerts: &mut [Alert]) -> Result<(), RecordError> {
        let mut scoped = alerts.iter_mut().filter(|alert| alert.secret_scope.is_some()).peekable();
        if scoped.peek().is_some() {
            let store = self.records.store()?;
            scoped.for_each(|alert| alert.scope_key(|scope| store.keyed_hash(scope)));
        }
        Ok(())
    }

    fn incoming(&self, scope: Scope<'_>, mut alert: Alert) -> Result<Incoming, RecordError> {
        alert.extra.remove(ACKNOWLEDGEMENT);
        let key = alert.identity().map(str::to_owned);
        let id_prefix = match &key {
            Some(key) => untimed_id(scope, key),
            None => untimed_id(scope, &Uuid::new_v4().simple().to_string()),
        };
        let micros = |span: SignedDuration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX / 4);
        let window = SignedDuration::try_from(self.repeat_window).unwrap_or(SignedDuration::MAX);
        Ok(Incoming {
            id_prefix,
            scope: scope.name().to_owned(),
            key: key.map(|key| without_nul(&key)),
            post: post(&alert),
            policy: Policy {
                repeat_window: micros(window),
                replicas: micros(self.replicas),
                hold_down: self.hold_down.map_or(0, micros),
            },
            document: self.records.write(&alert)?,
            words: (!self.records.encrypts()).then(|| words(&alert)),
        })
    }
}

fn post(alert: &Alert) -> Post {
    Post {
        status: match alert.status {
            alert::Status::Firing => Status::Firing,
            alert::Status::Resolved => Status::Resolved,
        },
        severity: Severity { rank: alert.severity.rank(), vendor_level: alert.vendor_level },
        starts_at: alert.starts_at.map(|at| at.as_microsecond()),
        ends_at: alert.ends_at.map(|at| at.as_microsecond()),
        is_momentary: alert.momentary,
    }
}

/// What an alert can be searched by.
fn words(alert: &Alert) -> String {
    let labels = alert.labels.iter().map(|(name, value)| format!("{name}={value}"));
    let texts = [alert.title.clone()].into_iter().chain(alert.identity().map(str::to_owned)).chain(labels);
    without_nul(&texts.collect::<Vec<_>>().join("\n").to_lowercase())
}

/// PostgreSQL's texts have no U+0000.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}
