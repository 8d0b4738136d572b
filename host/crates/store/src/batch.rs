//! What the alerts of a transaction become, and what is written of them. No I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::StoreError;
use crate::id::{free, id};
use crate::life::{self, Decision, Disposition, Micros, decide};
use crate::record::LifeRecord;
use crate::request::{Accepted, Digest, Incoming, Placed, Request, RequestId, digest};

/// How far a new notification is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// It is to be started.
    Waiting,
    /// A resolve that is held back until then.
    Held(Micros),
    /// No receiver is to be notified.
    Ended,
}

/// The alerts of a transaction.
pub(crate) struct Batch<'a> {
    now: Micros,
    /// Unused ones, in ascending order.
    numbers: std::vec::IntoIter<i64>,
    /// What was accepted before under an id.
    known: HashMap<Digest, (RequestId, Accepted)>,
    lives: Vec<LifeRecord>,
    /// The newest life of an identity, by its place among the lives.
    newest: HashMap<Digest, usize>,
    pub(crate) changes: Changes<'a>,
}

/// What is to be written.
#[derive(Default)]
pub(crate) struct Changes<'a> {
    /// The requests that are kept, each with its number and what it became.
    pub(crate) requests: Vec<(i64, &'a Request, Accepted)>,
    pub(crate) notifications: Vec<Notification<'a>>,
    /// The lives that changed, by their place.
    pub(crate) lives: BTreeSet<usize>,
    /// The identities that have a new life, each with its number.
    pub(crate) identities: BTreeMap<Digest, (&'a Incoming, i64)>,
    /// Documents that a duplicate refreshed, by the number of their notification.
    pub(crate) refreshed: BTreeMap<i64, &'a Incoming>,
    /// Resolves that were taken back, each with the notification that did.
    pub(crate) superseded: Vec<(i64, i64)>,
}

/// A notification that is to be written.
pub(crate) struct Notification<'a> {
    pub(crate) number: i64,
    pub(crate) id: String,
    pub(crate) life: i64,
    pub(crate) request: i64,
    pub(crate) alert: &'a Incoming,
    pub(crate) disposition: Disposition,
    pub(crate) state: State,
}

impl<'a> Batch<'a> {
    pub(crate) fn new(
        now: Micros,
        numbers: Vec<i64>,
        known: HashMap<Digest, (RequestId, Accepted)>,
        lives: Vec<(Digest, LifeRecord)>,
    ) -> Self {
        let newest = lives.iter().enumerate().map(|(place, (digest, _))| (*digest, place)).collect();
        let lives = lives.into_iter().map(|(_, record)| record).collect();
        Self { now, numbers: numbers.into_iter(), known, lives, newest, changes: Changes::default() }
    }

    /// How many numbers requests with so many alerts take at most: each alert one, and one for a life of its own.
    pub(crate) fn numbers_for(requests: usize, alerts: usize) -> usize {
        2 * alerts + requests
    }

    /// When it is, by the store's clock.
    pub(crate) fn now(&self) -> Micros {
        self.now
    }

    /// The lives that changed.
    pub(crate) fn changed_lives(&self) -> impl Iterator<Item = &LifeRecord> {
        self.changes.lives.iter().filter_map(|place| self.lives.get(*place))
    }

    /// Takes a request.
    ///
    /// # Errors
    ///
    /// Its id was used before, for other content. Nothing of it is taken.
    pub(crate) fn take(&mut self, request: &'a Request) -> Result<Accepted, StoreError> {
        if let Some(id) = request.id
            && let Some((before, accepted)) = self.known.get(&id.digest)
        {
            let repeat = Accepted { is_repeat: true, ..accepted.clone() };
            return if *before == id { Ok(repeat) } else { Err(StoreError::Reused) };
        }
        let (number, before) = (self.number(), self.changes.notifications.len());
        let alerts = request.alerts.iter().map(|alert| self.place(alert, number)).collect();
        let accepted = Accepted { alerts, is_repeat: false };
        if let Some(id) = request.id {
            self.known.insert(id.digest, (id, accepted.clone()));
        }
        if request.id.is_some() || self.changes.notifications.len() > before {
            self.changes.requests.push((number, request, accepted.clone()));
        }
        Ok(accepted)
    }

    fn place(&mut self, alert: &'a Incoming, request: i64) -> Placed {
        let (number, identity) = (self.number(), alert.identity());
        let place = identity.and_then(|identity| self.newest.get(&identity).copied());
        let known = place.and_then(|place| self.lives.get(place));
        let mut post = alert.post;
        // What has no identity can neither be repeated nor resolved.
        post.is_momentary |= identity.is_none();
        let decision = decide(known.map(|record| record.life), post, alert.policy, self.now);
        let disposition = decision.disposition;
        let is_held = known.is_some_and(|record| record.life.held_until.is_some());
        let arrival = Arrival { alert, number, request, decision };
        let id = match (place, disposition) {
            (None, _) => self.begin(arrival, identity),
            (_, Disposition::New) => self.begin(arrival, identity),
            (Some(place), Disposition::Duplicate) => self.count(place, alert),
            (Some(place), Disposition::NothingOpen) => self.lives[place].end_id().to_owned(),
            (Some(place), Disposition::Resolves) if is_held => self.lives[place].end_id().to_owned(),
            (Some(place), Disposition::Resolves) => self.resolve(place, arrival),
            (Some(place), _) => self.notify(place, arrival),
        };
        Placed { id, disposition, number, at: self.now }
    }

    /// Counts a duplicate.
    fn count(&mut self, place: usize, alert: &'a Incoming) -> String {
        let record = &mut self.lives[place];
        record.duplicates += 1;
        record.seen_at = self.now;
        let document = digest(&[&alert.document]).to_vec();
        if record.document_digest != document {
            record.document_digest = document;
            self.changes.refreshed.insert(record.newest, alert);
        }
        self.changes.lives.insert(place);
        record.thread_id.clone()
    }

    /// Begins a life.
    fn begin(&mut self, arrival: Arrival<'a>, identity: Option<Digest>) -> String {
        let Arrival { alert, number, decision, .. } = arrival;
        let is_resolve = decision.disposition == Disposition::NothingOpen;
        let before = identity.and_then(|identity| self.newest.get(&identity));
        let last = before.map(|place| self.lives[*place].id_at);
        let id_at = free(alert.post.starts_at.unwrap_or(self.now), last, self.now);
        let thread_id = id(&alert.id_prefix, id_at, is_resolve);
        let record = LifeRecord {
            number: self.number(),
            scope: alert.scope.clone(),
            key: alert.key.clone(),
            life: decision.life,
            began_at: self.now,
            seen_at: self.now,
            ended_at: is_resolve.then_some(self.now),
            duplicates: 0,
            flaps: 0,
            id_at,
            newest: number,
            document_digest: digest(&[&alert.document]).to_vec(),
            resolve: is_resolve.then_some(number),
            resolve_id: is_resolve.then(|| thread_id.clone()),
            thread_id: thread_id.clone(),
        };
        let place = self.lives.len();
        if let Some(identity) = identity {
            self.newest.insert(identity, place);
            self.changes.identities.insert(identity, (alert, record.number));
        }
        self.lives.push(record);
        self.add(place, arrival, thread_id, if is_resolve { State::Ended } else { State::Waiting })
    }

    /// Notifies of an open life again.
    fn notify(&mut self, place: usize, arrival: Arrival<'a>) -> String {
        let Arrival { alert, number, decision, .. } = arrival;
        let record = &mut self.lives[place];
        if decision.disposition == Disposition::Flapped {
            self.changes.superseded.extend(record.resolve.take().map(|resolve| (resolve, number)));
            record.resolve_id = None;
            record.flaps += 1;
        }
        record.id_at = free(alert.post.starts_at.unwrap_or(self.now), Some(record.id_at), self.now);
        record.newest = number;
        record.document_digest = digest(&[&alert.document]).to_vec();
        let id = id(&alert.id_prefix, record.id_at, false);
        // Who acknowledged it knows already.
        let is_known = decision.disposition == Disposition::Renewed && record.life.is_acknowledged;
        self.add(place, arrival, id, if is_known { State::Ended } else { State::Waiting })
    }

    /// Ends a life, at once or when the hold is over.
    fn resolve(&mut self, place: usize, arrival: Arrival<'a>) -> String {
        let Arrival { alert, number, decision, .. } = arrival;
        let record = &mut self.lives[place];
        let id = if record.flaps == 0 {
            format!("{}-resolved", record.thread_id)
        } else {
            record.id_at = free(self.now, Some(record.id_at), self.now);
            id(&alert.id_prefix, record.id_at, true)
        };
        record.ended_at = (decision.life.state == life::State::Ended).then_some(self.now);
        record.resolve = Some(number);
        record.resolve_id = Some(id.clone());
        let state = decision.life.held_until.map_or(State::Waiting, State::Held);
        self.add(place, arrival, id, state)
    }

    /// Adds a notification of the life at this place, which becomes what was decided. Returns its id.
    fn add(&mut self, place: usize, arrival: Arrival<'a>, id: String, state: State) -> String {
        let Arrival { alert, number, request, decision } = arrival;
        let record = &mut self.lives[place];
        record.life = decision.life;
        record.seen_at = self.now;
        self.changes.lives.insert(place);
        self.changes.notifications.push(Notification {
            number,
            id: id.clone(),
            life: record.number,
            request,
            alert,
            disposition: decision.disposition,
            state,
        });
        id
    }

    fn number(&mut self) -> i64 {
        // Each transaction takes as many as it can need.
        self.numbers.next().unwrap_or_default()
    }
}

/// An alert, and what was decided about it.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    alert: &'a Incoming,
    number: i64,
    request: i64,
    decision: Decision,
}
