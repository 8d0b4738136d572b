//! A loaded plugin and its calls.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::HeaderValue;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;

use super::bindings::{self, Guest, processor::ProcessorPre, source::SourcePre};
use super::call::{self, Ended, Runtime, Terms};
use super::egress::Egress;
use super::error::{Blame, CallError, Reason, one_line};
use super::imports::HostState;
use super::limits::{ByteSize, Limits};
use super::load::Compiled;
use super::meter::Meter;
use super::quarantine::{Breaker, Conduct, Input};
use super::sample;
use super::setup::Setup;
use super::sidecar::Sidecar;
use super::{Called, Change, Decision, Decoded, Delivery, Receipt, Role, SourceRequest};
use crate::alert::{AlertItem, Sender, Severity};
use crate::condition::Facts;
use crate::ledger::Usage;
use crate::plan::RetryConfig;
use crate::shown;

/// The largest merge patch of a processor, in bytes.
const LARGEST_PATCH: usize = 16 << 10;
/// The longest text of a plugin that is kept, in characters.
const LONGEST_TEXT: usize = 1_024;
/// The longest identifier of a receipt that is kept, in characters.
const LONGEST_ID: usize = 256;

/// A loaded plugin: compiled, linked, type-checked, and ready for calls.
pub struct Plugin {
    pub(super) name: Arc<str>,
    pub(super) generation: u64,
    pub(super) loaded_at: jiff::Timestamp,
    pub(super) compiled: Arc<Compiled>,
    pub(super) sidecar: Sidecar,
    /// The text of the sidecar, to see whether it changed.
    pub(super) sidecar_text: Option<String>,
    pub(super) egress: Arc<Egress>,
    pub(super) meter: Meter,
    pub(super) breaker: Breaker,
    /// Cancelled some time after it was replaced or removed: what still runs then is ended.
    pub(super) retired: CancellationToken,
    pub(super) runtime: Arc<Runtime>,
}

impl Plugin {
    /// The name: that of its file, without `.wasm`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The name of its file in the plugin directory.
    pub(super) fn file(&self) -> String {
        format!("{}.wasm", self.name)
    }

    /// The name of the operator's file beside that.
    pub fn sidecar_file(&self) -> String {
        format!("{}.toml", self.name)
    }

    /// What it is for.
    pub fn role(&self) -> Role {
        self.compiled.contract.role
    }

    /// Of a source: what its vendor's clients want in a refusal, so that the host adds it to its own: `x-refusal` in the schema
    /// for its settings.
    pub fn refusal(&self) -> Option<Map<String, Value>> {
        let schema: Map<String, Value> =
            serde_json::from_str(&self.compiled.description.config_schema).ok()?;
        schema.get("x-refusal")?.as_object().cloned()
    }

    /// `sha256:<hex>` of its file.
    pub fn digest(&self) -> &str {
        &self.compiled.digest
    }

    /// Which load under this name it is since the host started, counted from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The retry policy that the operator set for it.
    pub fn retry(&self) -> &RetryConfig {
        &self.sidecar.config.retry
    }

    /// Whether the operator wants it to be called.
    pub fn is_enabled(&self) -> bool {
        self.sidecar.config.enabled
    }

    /// The longest that one call of it may take.
    pub fn deadline(&self) -> Duration {
        self.sidecar.bounds.deadline
    }

    /// Whether these are the host's limits that it was loaded with, or make no difference to it.
    pub(super) fn is_bounded_by(&self, host: &Limits) -> bool {
        self.sidecar.config.limits.over(host, self.role()) == *self.sidecar.bounds
    }

    /// Its place in the row.
    pub(super) fn order(&self) -> i64 {
        self.sidecar.config.order
    }

    /// Whether it wants some alerts and not others.
    pub fn is_choosy(&self) -> bool {
        self.sidecar.when.is_some()
    }

    /// Whether its `when` holds for an alert; without one it always does.
    ///
    /// # Errors
    ///
    /// The expression could not be evaluated: it names a field that the alert lacks, or compares what cannot be
    /// compared. The text says which.
    pub fn wants(&self, alert: &Facts) -> Result<bool, String> {
        self.sidecar.when.as_ref().map_or(Ok(true), |condition| condition.holds(alert))
    }

    /// Has an alert processed, within `budget` or the plugin's own deadline, whichever is shorter.
    pub async fn process(&self, item: &AlertItem, budget: Duration) -> Called<Decision> {
        let Guest::Processor(guest) = &self.compiled.guest else { return self.is_no(Role::Processor) };
        let alert = bindings::alert(item);
        let about = About::of(item, &alert.document);
        let call = self.call(&about, None, budget, processing(guest, alert));
        self.concluded(&about, call, |answer| self.checked_decision(answer)).await
    }

    /// Has an alert delivered, within `budget` or the plugin's own deadline, whichever is shorter.
    pub async fn notify(
        &self,
        delivery: &Delivery<'_>,
        setup: Option<&Setup>,
        budget: Duration,
    ) -> Called<Receipt> {
        let Guest::Notifier(guest) = &self.compiled.guest else { return self.is_no(Role::Notifier) };
        let (guest, message) = (guest.clone(), bindings::delivery(delivery));
        let about = About::of(delivery.item, &message.alert.document);
        let call = self.call(&about, setup, budget, move |store| {
            Box::pin(async move {
                let guest = guest.instantiate_async(&mut *store).await?;
                guest.campanile_notifier_notifier().call_notify(store, &message).await
            })
        });
        self.concluded(&about, call, |answer| self.checked_receipt(answer.into())).await
    }

    /// Has an outcome written back, within `budget` or the plugin's own deadline, whichever is shorter.
    pub async fn update_status(
        &self,
        change: &Change<'_>,
        setup: Option<&Setup>,
        budget: Duration,
    ) -> Called<Receipt> {
        let Guest::StatusUpdater(guest) = &self.compiled.guest else {
            return self.is_no(Role::StatusUpdater);
        };
        let (guest, message) = (guest.clone(), bindings::change(change));
        let about = About::of(change.item, &message.alert.document);
        let call = self.call(&about, setup, budget, move |store| {
            Box::pin(async move {
                let guest = guest.instantiate_async(&mut *store).await?;
                guest.campanile_status_updater_status_updater().call_update_status(store, &message).await
            })
        });
        self.concluded(&about, call, |answer| self.checked_receipt(answer.into())).await
    }

    /// Has a request of `sender` turned into alerts, within the plugin's own deadline. `request_id` is for the log.
    pub async fn decode(&self, request: SourceRequest, sender: Sender, request_id: &str) -> Called<Decoded> {
        let Guest::Source(guest) = &self.compiled.guest else { return self.is_no(Role::Source) };
        // Headers change from one attempt to the next.
        let input = Input::of(&[request.path.as_bytes(), &request.body]);
        // How bad it is shows later.
        let about = About { id: request_id, severity: Severity::Critical, sender, input };
        let call = self.call(&about, None, 2 * self.deadline(), decoding(guest, request));
        self.concluded(&about, call, |decoded| self.checked_decoded(decoded.into())).await
    }

    /// How the plugin takes the host's own sample: whether it works at all.
    async fn try_sample(&self) -> Result<(), CallError> {
        let about = About {
            id: "sample",
            severity: Severity::Critical,
            sender: Sender::host(),
            input: Input::of(&[]),
        };
        let budget = 2 * self.deadline();
        match &self.compiled.guest {
            Guest::Source(guest) => {
                let call = self.call(&about, None, budget, decoding(guest, sample::request()));
                let decoded = call.await?.result?;
                self.checked_decoded(decoded.into()).map(drop)
            }
            Guest::Processor(guest) => {
                let alert = bindings::alert(&sample::alert());
                let call = self.call(&about, None, budget, processing(guest, alert));
                let decision = call.await?.result?;
                self.checked_decision(decision).map(drop)
            }
            // A sample would reach people.
            Guest::Notifier(_) | Guest::StatusUpdater(_) => Ok(()),
        }
    }

    /// Waits for a place, then runs one call on a fresh store.
    async fn call<T, F>(
        &self,
        about: &About<'_>,
        setup: Option<&Setup>,
        budget: Duration,
        body: F,
    ) -> Result<Ended<T>, CallError>
    where
        F: for<'s> FnOnce(&'s mut call::Store) -> call::Answer<'s, T> + Send + 'static,
        T: Send + 'static,
    {
        let started = Instant::now();
        let bounds = &self.sidecar.bounds;
        // The other half of the budget is for the call itself.
        let admission = &self.runtime.admission;
        let permit = admission.admit(&self.name, bounds, &about.sender, about.severity, budget / 2).await?;
        let queued = started.elapsed();
        let terms = Terms {
            plugin: self.name.clone(),
            role: self.role(),
            alert: about.id.into(),
            bounds: bounds.clone(),
            deadline: bounds.deadline.min(budget.saturating_sub(started.elapsed())),
            settings: setup.map_or(&self.sidecar.settings, |setup| &setup.settings).clone(),
            egress: setup.map_or(&self.egress, |setup| &setup.egress).clone(),
            retired: self.retired.clone(),
            permit: Some(permit),
        };
        let mut ended = self.runtime.run(terms, body).await;
        ended.queued = queued;
        if let Err(error) = &mut ended.result {
            let is_late = matches!(error.reason, Reason::Deadline | Reason::RequestBody);
            error.cut_short = is_late && started.elapsed() < bounds.deadline;
        }
        Ok(ended)
    }

    /// Makes a call if the breaker lets it through, checks what it answered, and keeps the records.
    async fn concluded<T, U>(
        &self,
        about: &About<'_>,
        call: impl Future<Output = Result<Ended<T>, CallError>>,
        check: impl FnOnce(T) -> Result<U, CallError>,
    ) -> Called<U> {
        let started = Instant::now();
        let (mut queued, mut usage, mut warnings) = (Duration::ZERO, None, Vec::new());
        let result = match self.breaker.enter(about.input, &about.sender) {
            Err(error) => Err(error),
            Ok(permit) => {
                let result = call.await.and_then(|ended| {
                    (queued, usage, warnings) = (ended.queued, Some(ended.usage), ended.warnings);
                    ended.result.and_then(check)
                });
                let conduct = self.conduct(result.as_ref().err(), usage.as_ref());
                if let Some(trial) = permit.conclude(about.id, conduct) {
                    let sample = self.try_sample().await;
                    trial.conclude(self.conduct(sample.as_ref().err(), None));
                }
                result
            }
        };
        let duration = started.elapsed();
        self.meter.record(duration, usage.as_ref(), result.as_ref().err());
        let (digest, generation) = (self.digest().to_owned(), self.generation);
        Called { digest, generation, duration, queued, usage, warnings, result }
    }

    /// What the end of a call says of the plugin. That it was given less time than it may have is not its fault, and that it
    /// waited for a service is not its input's.
    fn conduct<'e>(&self, error: Option<&'e CallError>, usage: Option<&Usage>) -> Conduct<'e> {
        let computed = || usage.map_or(Duration::ZERO, |usage| Duration::from_micros(usage.cpu_us));
        match error {
            None => Conduct::Good,
            Some(error) if error.reason == Reason::Guest => Conduct::Good,
            Some(error) if error.cut_short => Conduct::Unknown,
            Some(error) if error.reason.blame() == Blame::Plugin => Conduct::Failed {
                why: &error.message,
                by_input: error.reason != Reason::Deadline || computed() >= self.deadline() / 2,
            },
            Some(_) => Conduct::Unknown,
        }
    }

    fn checked_decision(&self, decision: bindings::RawDecision) -> Result<Decision, CallError> {
        match decision {
            bindings::RawDecision::Keep => Ok(Decision::Keep),
            bindings::RawDecision::Drop(why) => Ok(Decision::Drop(one_line(&why, LONGEST_TEXT))),
            bindings::RawDecision::Change(patch) => parse_patch(&patch).map(Decision::Change),
        }
    }

    fn checked_receipt(&self, receipt: Receipt) -> Result<Receipt, CallError> {
        self.check_size((receipt.message.len() + receipt.id.as_ref().map_or(0, String::len)) as u64)?;
        let id = receipt.id.map(|id| one_line(&id, LONGEST_ID));
        Ok(Receipt { id, message: one_line(&receipt.message, LONGEST_TEXT) })
    }

    fn checked_decoded(&self, mut decoded: Decoded) -> Result<Decoded, CallError> {
        let bytes = |texts: &[String]| texts.iter().map(String::len).sum::<usize>();
        let reply = decoded.reply.as_ref().map_or(0, |reply| reply.body.len() + reply.content_type.len());
        let size = (bytes(&decoded.alerts) + bytes(&decoded.warnings) + reply) as u64;
        self.check_size(size)?;
        if let Some(reply) = decoded.reply.as_ref().filter(|reply| !(200..500).contains(&reply.status)) {
            let text = format!("its reply has the status {}, which is not one of 200 to 499", reply.status);
            return Err(CallError::of(Reason::InvalidOutput, text));
        }
        decoded.delivery_id = decoded.delivery_id.as_deref().and_then(usable_id);
        if let Some(reply) =
            decoded.reply.as_ref().filter(|reply| HeaderValue::try_from(&reply.content_type).is_err())
        {
            let text = format!("its reply has the content type {:?}, which is none", reply.content_type);
            return Err(CallError::of(Reason::InvalidOutput, text));
        }
        decoded.warnings = shown::warnings(decoded.warnings);
        Ok(decoded)
    }

    fn check_size(&self, size: u64) -> Result<(), CallError> {
        let most = self.sidecar.bounds.result;
        if size <= most {
            return Ok(());
        }
        let text = format!("its answer has {size} bytes, more than the limit of {}", ByteSize(most));
        Err(CallError::of(Reason::InvalidOutput, text))
    }

    fn is_no<T>(&self, role: Role) -> Called<T> {
        let text = format!("{} is a {}, not a {role}", self.name, self.role());
        Called {
            digest: self.digest().to_owned(),
            generation: self.generation,
            duration: Duration::ZERO,
            queued: Duration::ZERO,
            usage: None,
            warnings: Vec::new(),
            result: Err(CallError::of(Reason::NotLoaded, text)),
        }
    }
}

/// A vendor's id as a part of a workflow's: one line, and of what is too long, or ends as the host numbers the parts of a
/// batch, a hash.
fn usable_id(id: &str) -> Option<String> {
    let line = one_line(id, LONGEST_ID + 1);
    let is_numbered =
        line.rsplit_once(['~', '#']).is_some_and(|(_, end)| end.bytes().all(|byte| byte.is_ascii_digit()));
    match line.trim() {
        "" => None,
        _ if is_numbered || id.len() > LONGEST_ID => Some(super::load::digest(id.as_bytes())),
        line => Some(line.to_owned()),
    }
}

/// What a call is about: its name in the log, how urgent it is, who sent it, and a digest of it.
struct About<'a> {
    id: &'a str,
    severity: Severity,
    sender: Sender,
    input: Input,
}

impl<'a> About<'a> {
    fn of(item: &'a AlertItem, document: &str) -> Self {
        let input = Input::of(&[document.as_bytes()]);
        Self { id: &item.id, severity: item.alert.severity, sender: item.origin.sender(), input }
    }
}

/// The call of a processor.
fn processing(
    guest: &ProcessorPre<HostState>,
    alert: bindings::Alert,
) -> impl for<'s> FnOnce(&'s mut call::Store) -> call::Answer<'s, bindings::RawDecision> + Send + use<> {
    let guest = guest.clone();
    move |store| {
        Box::pin(async move {
            let guest = guest.instantiate_async(&mut *store).await?;
            guest.campanile_processor_processor().call_process(store, &alert).await
        })
    }
}

/// The call of a source.
fn decoding(
    guest: &SourcePre<HostState>,
    request: SourceRequest,
) -> impl for<'s> FnOnce(&'s mut call::Store) -> call::Answer<'s, bindings::RawDecoded> + Send + use<> {
    let (guest, request) = (guest.clone(), bindings::source_request(request));
    move |store| {
        Box::pin(async move {
            let guest = guest.instantiate_async(&mut *store).await?;
            guest.campanile_source_source().call_decode(store, &request).await
        })
    }
}

fn parse_patch(text: &str) -> Result<serde_json::Value, CallError> {
    let unusable =
        |why: String| CallError::of(Reason::InvalidOutput, format!("its change cannot be used: {why}"));
    if text.len() > LARGEST_PATCH {
        return Err(unusable(format!("it has {} bytes, more than {LARGEST_PATCH}", text.len())));
    }
    match campanile_lenient::read(text.as_bytes()) {
        Ok((patch @ serde_json::Value::Object(_), _)) => Ok(patch),
        Ok(_) => Err(unusable(
            "a JSON Merge Patch of an alert is an object, such as {\"severity\":\"high\"}".to_owned(),
        )),
        Err(error) => Err(unusable(format!("it is not JSON: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendors_id_becomes_one_that_works_as_a_part_of_ours() {
        assert_eq!(usable_id("95df01b4-ee98"), Some("95df01b4-ee98".to_owned()));
        assert_eq!(usable_id(" \n "), None);
        for odd in ["a~2", "b#17", &"x".repeat(300)] {
            let id = usable_id(odd).unwrap();
            assert!(id.starts_with("sha256:") && id.len() < LONGEST_ID, "{odd}: {id}");
        }
        assert_eq!(usable_id("a#b"), Some("a#b".to_owned()));
    }

    #[test]
    fn a_change_must_be_a_small_json_object() {
        assert_eq!(parse_patch(r#"{"severity":"low"}"#).unwrap()["severity"], "low");
        assert_eq!(parse_patch(r#"{"title":"a\ud83d"}"#).unwrap()["title"], "a\u{fffd}");
        for bad in ["[]", "null", "{", "", &format!("{{\"a\":\"{}\"}}", "x".repeat(LARGEST_PATCH))] {
            assert_eq!(parse_patch(bad).unwrap_err().reason, Reason::InvalidOutput);
        }
    }
}
