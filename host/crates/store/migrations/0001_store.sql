-- The store. `{number}` and `{bytes}` are what the database calls a row's number and bytes. Times are microseconds since 1970.
-- Texts have no U+0000, which PostgreSQL refuses; what may have some is bytes. `{numbers}` makes the source of numbers, where the
-- host does not count by itself.

{numbers}

CREATE TABLE store (
    only_row SMALLINT PRIMARY KEY CHECK (only_row = 1),
    -- Random; a marker in Temporal has it, too, so that two stores never share a task queue.
    id TEXT NOT NULL,
    -- Random, and kept nowhere else: what senders' credentials are hashed with.
    hash_key {bytes} NOT NULL,
    created_at BIGINT NOT NULL,
    -- The id of the key that values are encrypted with, from the first one on.
    encrypted_with TEXT,
    -- Something that this key encrypted.
    encryption_proof {bytes},
    -- 1 once all values of before are encrypted with it, too.
    is_rewritten SMALLINT NOT NULL DEFAULT 0
);

-- What a sender calls an alert, within a scope. Its row is locked while a request is decided.
CREATE TABLE identities (
    digest {bytes} PRIMARY KEY,
    -- The newest life.
    life BIGINT
);
-- Those of requests that came to nothing.
CREATE INDEX identities_unused ON identities (digest) WHERE life IS NULL;

-- From the first firing of an alert to its resolve.
CREATE TABLE lives (
    number {number} PRIMARY KEY,
    -- The id of its first notification.
    thread_id TEXT NOT NULL,
    scope TEXT NOT NULL,
    sender_key TEXT,
    -- The digest of its identity, if it has one.
    identity {bytes},
    -- 0 open, 1 ended, 2 momentary: it has no end.
    state SMALLINT NOT NULL,
    -- The worst that was notified.
    severity SMALLINT NOT NULL,
    vendor_level BIGINT,
    -- By the sender's clock.
    starts_at BIGINT,
    began_at BIGINT NOT NULL,
    seen_at BIGINT NOT NULL,
    notified_at BIGINT NOT NULL,
    -- Of a momentary one when it began.
    ended_at BIGINT,
    duplicates BIGINT NOT NULL,
    -- How often its resolve was posted again.
    resolved_again BIGINT NOT NULL,
    flaps BIGINT NOT NULL,
    -- The latest time in an id of this identity: the next one is later.
    id_at BIGINT NOT NULL,
    -- Its newest notification that is not a resolve.
    newest BIGINT NOT NULL,
    -- A digest of that notification's document.
    document_digest {bytes} NOT NULL,
    -- Its newest resolve.
    resolve BIGINT,
    -- The first resolve that came and ended nothing: those after it are counted with it.
    nothing_open BIGINT,
    -- Until when that resolve is held back.
    held_until BIGINT,
    acknowledged_at BIGINT,
    -- Who, and why.
    acknowledgement {bytes}
);
CREATE INDEX lives_identity ON lives (identity, number) WHERE identity IS NOT NULL;
CREATE INDEX lives_open ON lives (newest) WHERE state = 0;
CREATE INDEX lives_held ON lives (held_until) WHERE held_until IS NOT NULL;
CREATE INDEX lives_ended ON lives (ended_at) WHERE ended_at IS NOT NULL;

-- What the alerts of one request have in common.
CREATE TABLE requests (
    number {number} PRIMARY KEY,
    -- Of the request's own id, within its scope.
    digest {bytes} UNIQUE,
    -- Of what was posted under it.
    content {bytes} NOT NULL,
    origin {bytes} NOT NULL,
    -- The id and the disposition of each alert, in the order of the request.
    answer {bytes} NOT NULL,
    received_at BIGINT NOT NULL
);
CREATE INDEX requests_received ON requests (received_at);

-- One alert as it is notified.
CREATE TABLE notifications (
    -- In order of acceptance.
    number {number} PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    life BIGINT NOT NULL,
    disposition SMALLINT NOT NULL,
    -- 1 if it is worse than what was notified of its life before.
    is_worse SMALLINT NOT NULL,
    scope TEXT NOT NULL,
    severity SMALLINT NOT NULL,
    accepted_at BIGINT NOT NULL,
    -- 0 waiting, 1 claimed, 2 started, 3 held, 4 suspended, 5 ended.
    state SMALLINT NOT NULL,
    -- When a hold or a claim is over.
    due_at BIGINT,
    claimed_by TEXT,
    -- The workflow that carries it.
    carried_by TEXT,
    outcome SMALLINT,
    ended_at BIGINT,
    -- The notification that took back this resolve.
    superseded_by BIGINT
);
-- SQLite takes it for a condition that has `state < 5` in it, in these words.
CREATE INDEX notifications_pending ON notifications (state, severity, scope, number) WHERE state < 5;
CREATE INDEX notifications_due ON notifications (due_at) WHERE state = 1;
CREATE INDEX notifications_carried ON notifications (carried_by) WHERE carried_by IS NOT NULL;
CREATE INDEX notifications_life ON notifications (life);

CREATE TABLE documents (
    notification {number} PRIMARY KEY,
    -- The request that brought it: the first, or a later one with a duplicate.
    request BIGINT NOT NULL,
    document {bytes} NOT NULL
);
CREATE INDEX documents_request ON documents (request);

-- Title, key and labels in lower case.
CREATE TABLE texts (
    notification {number} PRIMARY KEY,
    words TEXT NOT NULL
);

-- What became of a notification, step by step.
CREATE TABLE ledgers (
    notification {number} PRIMARY KEY,
    ledger {bytes} NOT NULL
);

-- The receivers that any notification of a life reached: its resolve goes to them.
CREATE TABLE reached (
    life BIGINT NOT NULL,
    receiver TEXT NOT NULL,
    -- 1 if it has it, 0 if a dead letter may still be delivered.
    has_it SMALLINT NOT NULL,
    -- What the receiver answered, for the messages that follow.
    receipt {bytes} NOT NULL,
    PRIMARY KEY (life, receiver)
);

-- A delivery that exhausted its retries.
CREATE TABLE dead_letters (
    delivery_id TEXT PRIMARY KEY,
    notification BIGINT NOT NULL,
    receiver TEXT NOT NULL,
    error_code TEXT NOT NULL,
    -- All that another attempt needs, and how the last one ended.
    delivery {bytes} NOT NULL,
    exhausted_at BIGINT NOT NULL,
    -- When it came to its state.
    changed_at BIGINT NOT NULL,
    -- 0 exhausted, 1 retrying, 2 delivered, 3 discarded.
    state SMALLINT NOT NULL
);
CREATE INDEX dead_letters_notification ON dead_letters (notification);
CREATE INDEX dead_letters_open ON dead_letters (exhausted_at, delivery_id) WHERE state < 2;

-- Requests to sources that are kept until they can be accepted.
CREATE TABLE spool (
    -- In order of receipt.
    number {number} PRIMARY KEY,
    -- The request's own id, or one of the host's.
    id TEXT NOT NULL,
    source TEXT NOT NULL,
    -- A key, or an address.
    sender TEXT NOT NULL,
    -- The size of the request.
    bytes BIGINT NOT NULL,
    -- 0 waiting, 1 set aside.
    state SMALLINT NOT NULL,
    -- How often its source crashed or hit a limit on it.
    failures BIGINT NOT NULL,
    -- Why it was not accepted so far.
    error {bytes},
    -- As it came.
    request {bytes} NOT NULL
);
CREATE INDEX spool_source ON spool (state, source);
CREATE INDEX spool_sender ON spool (state, sender, bytes);

-- What one host does for all of them, and until when.
CREATE TABLE leases (
    name TEXT PRIMARY KEY,
    holder TEXT NOT NULL,
    until BIGINT NOT NULL
);
