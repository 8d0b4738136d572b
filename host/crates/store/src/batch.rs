//! What the alerts of a transaction become, and what is written of them. No I/O.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::StoreError;
use crate::dispatch::{Claim, Claimed};
use crate::id::{free, id};
use crate::life::{self, Decision, Disposition, Micros, Status, decide};
use crate::record::LifeRecord;
use crate::request::{Accepted, Digest, Incoming, Lease, Placed, Request, RequestId, digest};

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
    changes: Changes<'a>,
}

/// What is to be written.
#[derive(Default)]
struct Changes<'a> {
    requests: Vec<NewRequest<'a>>,
    notifications: Vec<Notification<'a>>,
    /// The lives that changed, by their place, and those of which only the counts did.
    lives: BTreeSet<usize>,
    counted: BTreeSet<usize>,
    /// The identities that have a new life, each with its number.
    identities: BTreeMap<Digest, i64>,
    /// Documents that a duplicate refreshed, by the number of their notification.
    refreshed: BTreeMap<i64, Document<'a>>,
    superseded: Vec<Superseded>,
}

/// A request that was taken.
pub(crate) struct NewRequest<'a> {
    pub(crate) number: i64,
    pub(crate) request: &'a Request,
    pub(crate) accepted: Accepted,
}

/// A notification that is to be written.
pub(crate) struct Notification<'a> {
    pub(crate) number: i64,
    pub(crate) id: String,
    pub(crate) life: i64,
    pub(crate) document: Document<'a>,
    pub(crate) disposition: Disposition,
    pub(crate) is_worse: bool,
    /// By rank. Of a resolve the worst of its life: it waits no longer than what it ends did.
    pub(crate) severity: i16,
    pub(crate) state: State<'a>,
}

/// The document of an alert, and the number of the request that brought it.
#[derive(Clone, Copy)]
pub(crate) struct Document<'a> {
    pub(crate) request: i64,
    pub(crate) alert: &'a Incoming,
}

/// A resolve that a firing superseded.
pub(crate) struct Superseded {
    pub(crate) resolve: i64,
    pub(crate) by: i64,
}

/// How far a new notification is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum State<'a> {
    /// It is to be started.
    Waiting,
    /// The host that accepted it starts it.
    Claimed(&'a Lease),
    /// A resolve that is held back until then.
    Held(Micros),
    /// No receiver is to be notified.
    Ended,
}

/// An alert, and what was decided about it.
#[derive(Clone, Copy)]
struct Arrival<'a> {
    document: Document<'a>,
    number: i64,
    decision: Decision,
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

    /// Those of which only the counts did.
    pub(crate) fn counted_lives(&self) -> impl Iterator<Item = &LifeRecord> {
        let counted = self.changes.counted.difference(&self.changes.lives);
        counted.filter_map(|place| self.lives.get(*place))
    }

    /// The identities that have a new life, with its number.
    pub(crate) fn identities(&self) -> &BTreeMap<Digest, i64> {
        &self.changes.identities
    }

    /// The requests that are kept: those with an id, and those that brought something.
    pub(crate) fn requests(&self) -> impl Iterator<Item = &NewRequest<'a>> {
        let documents = self.documents().map(|(_, document)| document.request);
        let bringing: BTreeSet<_> = documents.chain(self.refreshed().map(|(_, one)| one.request)).collect();
        self.changes
            .requests
            .iter()
            .filter(move |new| new.request.id.is_some() || bringing.contains(&new.number))
    }

    /// The new notifications.
    pub(crate) fn notifications(&self) -> &[Notification<'a>] {
        &self.changes.notifications
    }

    /// The documents of the new notifications, by number.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (i64, Document<'a>)> {
        self.changes.notifications.iter().map(|new| (new.number, new.document))
    }

    /// The documents that a duplicate refreshed, by number.
    pub(crate) fn refreshed(&self) -> impl Iterator<Item = (i64, Document<'a>)> {
        self.changes.refreshed.iter().map(|(number, document)| (*number, *document))
    }

    /// The resolves that a firing superseded.
    pub(crate) fn superseded(&self) -> &[Superseded] {
        &self.changes.superseded
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
            return if *before == id { Ok(accepted.clone()) } else { Err(StoreError::Reused) };
        }
        let number = self.number();
        let document = |alert| Document { request: number, alert };
        let mut claims = Vec::new();
        let placed = request.alerts.iter().map(|alert| {
            let (placed, claim) = self.place(document(alert), request.claim.as_ref());
            claims.extend(claim.map(|claim| claim.with_origin(&request.origin)));
            placed
        });
        let accepted = Accepted { alerts: placed.collect(), is_repeat: false, claims };
        if let Some(id) = request.id {
            // The claims are the first one's.
            let again = Accepted { is_repeat: true, claims: Vec::new(), ..accepted.clone() };
            self.known.insert(id.digest, (id, again));
        }
        self.changes.requests.push(NewRequest { number, request, accepted: accepted.clone() });
        Ok(accepted)
    }

    /// Decides about an alert. Beside what it became, what is to be started of it if there is a `claim`.
    fn place(&mut self, document: Document<'a>, claim: Option<&'a Lease>) -> (Placed, Option<Claim>) {
        let before = self.changes.notifications.len();
        let (number, identity) = (self.number(), document.alert.identity());
        let place = identity.and_then(|identity| self.newest.get(&identity).copied());
        let known = place.and_then(|place| self.lives.get(place));
        let mut post = document.alert.post;
        // What has no identity can neither be repeated nor resolved.
        post.is_momentary |= identity.is_none();
        let decision = decide(known.map(|record| record.life), post, document.alert.policy, self.now);
        let is_held = known.is_some_and(|record| record.life.held_until.is_some());
        let arrival = Arrival { document, number, decision };
        let id = match (place, decision.disposition) {
            (None, _) | (_, Disposition::New) => self.begin(arrival, identity),
            (Some(place), Disposition::Duplicate) => self.count(place, document),
            (Some(place), Disposition::NothingOpen) => self.end_nothing(place, arrival),
            (Some(place), Disposition::Resolves) if is_held => self.count_resolve(place),
            (Some(place), Disposition::Resolves) => self.resolve(place, arrival),
            (Some(place), _) => self.notify(place, arrival),
        };
        let claimed = claim.and_then(|claim| self.claim(before, claim));
        (Placed { id, disposition: decision.disposition, number, at: self.now }, claimed)
    }

    /// Claims the new notification at this place, if it is to be started.
    fn claim(&mut self, place: usize, claim: &'a Lease) -> Option<Claim> {
        let new = self.changes.notifications.get_mut(place).filter(|new| new.state == State::Waiting)?;
        new.state = State::Claimed(claim);
        let new = self.changes.notifications.get(place)?;
        let life = self.lives.iter().rfind(|life| life.number == new.life)?;
        let claimed = Claimed {
            number: new.number,
            id: new.id.clone(),
            thread_id: life.thread_id.clone(),
            disposition: new.disposition,
            is_worse: new.is_worse,
            scope: new.document.alert.scope.clone(),
            severity: new.severity,
            accepted_at: self.now,
            acknowledgement: None,
            document: new.document.alert.document.clone(),
            origin: Vec::new(),
        };
        Some(Claim { workflow_id: new.id.clone(), notifications: vec![claimed] })
    }

    /// Counts a duplicate.
    fn count(&mut self, place: usize, document: Document<'a>) -> String {
        let record = &mut self.lives[place];
        record.duplicates += 1;
        record.seen_at = self.now;
        let digest = digest(&[&document.alert.document]).to_vec();
        if record.document_digest != digest {
            record.document_digest = digest;
            self.changes.lives.insert(place);
            self.changes.refreshed.insert(record.newest, document);
        }
        self.changes.counted.insert(place);
        record.thread_id.clone()
    }

    /// Counts a resolve that was posted again while it is held back.
    fn count_resolve(&mut self, place: usize) -> String {
        let record = &mut self.lives[place];
        record.resolved_again += 1;
        self.changes.counted.insert(place);
        record.end_id().to_owned()
    }

    /// Takes a resolve that ends nothing: the first of a life has a row of its own, and those after it are counted with that.
    fn end_nothing(&mut self, place: usize, arrival: Arrival<'a>) -> String {
        let record = &mut self.lives[place];
        record.resolved_again += 1;
        self.changes.counted.insert(place);
        if let Some(id) = &record.nothing_open_id {
            return id.clone();
        }
        record.id_at = free(self.now, Some(record.id_at), self.now);
        let id = id(&arrival.document.alert.id_prefix, record.id_at, true);
        record.nothing_open = Some(arrival.number);
        record.nothing_open_id = Some(id.clone());
        self.add(place, arrival, id, State::Ended)
    }

    /// Begins a life.
    fn begin(&mut self, arrival: Arrival<'a>, identity: Option<Digest>) -> String {
        let Arrival { document: Document { alert, .. }, number, decision } = arrival;
        let last = identity.and_then(|identity| self.replace(identity));
        let id_at = free(alert.post.starts_at.unwrap_or(self.now), last, self.now);
        let is_resolve = decision.disposition == Disposition::NothingOpen;
        let thread_id = id(&alert.id_prefix, id_at, is_resolve);
        let is_over = decision.life.state != life::State::Open;
        let record = LifeRecord {
            number: self.number(),
            scope: alert.scope.clone(),
            key: alert.key.clone(),
            identity: identity.map(Vec::from),
            life: decision.life,
            is_acknowledged: false,
            began_at: self.now,
            seen_at: self.now,
            ended_at: is_over.then_some(self.now),
            duplicates: 0,
            resolved_again: 0,
            flaps: 0,
            id_at,
            newest: number,
            document_digest: digest(&[&alert.document]).to_vec(),
            resolve: is_resolve.then_some(number),
            resolve_id: is_resolve.then(|| thread_id.clone()),
            nothing_open: is_resolve.then_some(number),
            nothing_open_id: is_resolve.then(|| thread_id.clone()),
            thread_id: thread_id.clone(),
        };
        let place = self.lives.len();
        if let Some(identity) = identity {
            self.newest.insert(identity, place);
            self.changes.identities.insert(identity, record.number);
        }
        self.lives.push(record);
        self.add(place, arrival, thread_id, if is_resolve { State::Ended } else { State::Waiting })
    }

    /// Makes room for a new life of an identity. Returns the latest time in its ids.
    fn replace(&mut self, identity: Digest) -> Option<Micros> {
        let place = *self.newest.get(&identity)?;
        let record = &mut self.lives[place];
        // Its source says now that it has no end: no resolve would find it.
        if record.life.state == life::State::Open {
            record.life.state = life::State::Ended;
            record.ended_at = Some(self.now);
            self.changes.lives.insert(place);
        }
        Some(record.id_at)
    }

    /// Notifies of an open life again.
    fn notify(&mut self, place: usize, arrival: Arrival<'a>) -> String {
        let Arrival { document: Document { alert, .. }, number, decision } = arrival;
        let record = &mut self.lives[place];
        if decision.disposition == Disposition::Flapped {
            let superseded = record.resolve.take().map(|resolve| Superseded { resolve, by: number });
            self.changes.superseded.extend(superseded);
            record.resolve_id = None;
            record.flaps += 1;
        }
        record.id_at = free(alert.post.starts_at.unwrap_or(self.now), Some(record.id_at), self.now);
        record.newest = number;
        record.document_digest = digest(&[&alert.document]).to_vec();
        let id = id(&alert.id_prefix, record.id_at, false);
        // Who acknowledged it knows already.
        let is_known = decision.disposition == Disposition::Renewed && record.is_acknowledged;
        self.add(place, arrival, id, if is_known { State::Ended } else { State::Waiting })
    }

    /// Ends a life, at once or when the hold is over.
    fn resolve(&mut self, place: usize, arrival: Arrival<'a>) -> String {
        let Arrival { document: Document { alert, .. }, number, decision } = arrival;
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
    fn add(&mut self, place: usize, arrival: Arrival<'a>, id: String, state: State<'a>) -> String {
        let Arrival { document, number, decision } = arrival;
        let record = &mut self.lives[place];
        record.life = decision.life;
        if decision.disposition != Disposition::NothingOpen {
            record.seen_at = self.now;
        }
        self.changes.lives.insert(place);
        let posted = document.alert.post;
        let severity =
            if posted.status == Status::Resolved { decision.life.severity } else { posted.severity };
        self.changes.notifications.push(Notification {
            number,
            id: id.clone(),
            life: record.number,
            document,
            disposition: decision.disposition,
            is_worse: decision.is_worse,
            severity: severity.rank,
            state,
        });
        id
    }

    fn number(&mut self) -> i64 {
        // Each transaction takes as many as it can need.
        self.numbers.next().unwrap_or_default()
    }
}
