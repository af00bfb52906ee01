-- Everything the daemon knows. Times are epoch milliseconds; the views at the end are the public face and
-- write them as RFC 3339 in UTC. See migrations/README.md before touching this.

-- "PCSW": tells our files from those of other programs.
PRAGMA application_id = 1346589527;

-- The upstream that this database belongs to.
CREATE TABLE upstream (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    base_url   TEXT    NOT NULL,
    adopted_at INTEGER NOT NULL
) STRICT;

-- The last time the daemon knew what time it was. A wall clock that jumps is noticed against it.
CREATE TABLE heartbeat (
    id          INTEGER PRIMARY KEY CHECK (id = 1),
    beat_at     INTEGER NOT NULL,
    -- Nothing is pruned before this: set when the clock jumped ahead, for what looks old may be of yesterday.
    prune_after INTEGER
) STRICT;

CREATE TABLE credentials (
    name              TEXT PRIMARY KEY,
    held_since        INTEGER,
    held_reason       TEXT,
    probe_at          INTEGER,
    probe_interval_ms INTEGER,
    n_probes          INTEGER NOT NULL DEFAULT 0,
    paused_until      INTEGER
) STRICT, WITHOUT ROWID;

CREATE TABLE vats (
    id                INTEGER PRIMARY KEY,
    vat               TEXT NOT NULL UNIQUE,
    -- The configured credential that serves it; NULL where none does.
    credential        TEXT,
    held_since        INTEGER,
    held_reason       TEXT,
    probe_at          INTEGER,
    probe_interval_ms INTEGER,
    n_probes          INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE activities (
    id                    INTEGER PRIMARY KEY,
    vat_id                INTEGER NOT NULL REFERENCES vats (id),
    activity_id           TEXT    NOT NULL,
    device_id             TEXT,
    reference             TEXT,
    state                 TEXT    NOT NULL CHECK (state IN
        ('PENDING', 'IN_PROGRESS', 'SUCCEEDED', 'FAILED', 'REJECTED', 'EXPIRED', 'CANCELLED')),
    -- Counts the watches: one more for each retry.
    round                 INTEGER NOT NULL DEFAULT 1,
    registered_at         INTEGER NOT NULL,
    -- What the age counts from: registration or last retry, moved along with a clock that jumped.
    watched_from          INTEGER NOT NULL,
    stalled_at            INTEGER,
    concluded_at          INTEGER,
    upstream_status       TEXT,
    pcsid_generated       TEXT,
    total_count           INTEGER,
    success_count         INTEGER,
    failure_count         INTEGER,
    upstream_created_at   INTEGER,
    upstream_updated_at   INTEGER,
    upstream_completed_at INTEGER,
    UNIQUE (activity_id, vat_id)
) STRICT;
CREATE INDEX activities_by_vat ON activities (vat_id, state, watched_from);
CREATE INDEX activities_by_state ON activities (state, registered_at);
CREATE INDEX activities_by_conclusion ON activities (concluded_at) WHERE concluded_at IS NOT NULL;

-- The hot half of an activity, apart from the rest so that a poll rewrites a narrow row. The row is the
-- schedule: memory holds nothing that it does not.
CREATE TABLE schedules (
    id                 INTEGER PRIMARY KEY REFERENCES activities (id) ON DELETE CASCADE,
    vat_id             INTEGER NOT NULL,
    -- Changes with every write: an answer counts only for the row that it was asked for.
    revision           INTEGER NOT NULL DEFAULT 0,
    -- NULL: concluded.
    next_poll_at       INTEGER,
    interval_ms        INTEGER NOT NULL,
    poll_count         INTEGER NOT NULL DEFAULT 0,
    consecutive_errors INTEGER NOT NULL DEFAULT 0,
    strikes            INTEGER NOT NULL DEFAULT 0,
    first_polled_at    INTEGER,
    last_polled_at     INTEGER,
    last_http_status   INTEGER,
    last_error         TEXT
) STRICT;
CREATE INDEX schedules_due ON schedules (vat_id, next_poll_at) WHERE next_poll_at IS NOT NULL;

CREATE TABLE transitions (
    activity    INTEGER NOT NULL REFERENCES activities (id) ON DELETE CASCADE,
    seq         INTEGER NOT NULL,
    from_state  TEXT    NOT NULL,
    to_state    TEXT    NOT NULL,
    occurred_at INTEGER NOT NULL,
    http_status INTEGER,
    reason      TEXT    NOT NULL,
    PRIMARY KEY (activity, seq)
) STRICT, WITHOUT ROWID;

CREATE TABLE check_names (
    position INTEGER PRIMARY KEY,
    name     TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO check_names (position, name) VALUES
    (1, 'StandardTaxInvoice'),
    (2, 'StandardTaxInvoiceCredit'),
    (3, 'StandardTaxInvoiceDebit'),
    (4, 'SimplifiedTaxInvoice'),
    (5, 'SimplifiedTaxInvoiceCredit'),
    (6, 'SimplifiedTaxInvoiceDebit');

-- Checks that upstream reported on. A concluded activity's others are NOT_REPORTED.
CREATE TABLE checks (
    activity INTEGER NOT NULL REFERENCES activities (id) ON DELETE CASCADE,
    position INTEGER NOT NULL REFERENCES check_names (position),
    outcome  TEXT    NOT NULL CHECK (outcome IN ('SUCCEEDED', 'FAILED')),
    message  TEXT,
    PRIMARY KEY (activity, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX checks_failed ON checks (position, activity) WHERE outcome = 'FAILED';

CREATE TABLE check_errors (
    activity       INTEGER NOT NULL REFERENCES activities (id) ON DELETE CASCADE,
    check_position INTEGER NOT NULL REFERENCES check_names (position),
    position       INTEGER NOT NULL,
    rule           TEXT,
    message        TEXT    NOT NULL,
    PRIMARY KEY (activity, check_position, position)
) STRICT, WITHOUT ROWID;
CREATE INDEX check_errors_by_rule ON check_errors (rule, check_position, activity) WHERE rule IS NOT NULL;

-- Entries of ErrorList.
CREATE TABLE errors (
    activity      INTEGER NOT NULL REFERENCES activities (id) ON DELETE CASCADE,
    position      INTEGER NOT NULL,
    error_code    TEXT,
    error_message TEXT,
    error_source  TEXT,
    PRIMARY KEY (activity, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
    -- Never used again, not even after pruning: readers of the feed go on behind the last one they saw.
    seq         INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id    TEXT    NOT NULL UNIQUE,
    type        TEXT    NOT NULL,
    activity    INTEGER REFERENCES activities (id) ON DELETE CASCADE,
    vat         TEXT,
    occurred_at INTEGER NOT NULL,
    -- The exact text that every sink gets.
    payload     TEXT    NOT NULL
) STRICT;
CREATE INDEX events_by_activity ON events (activity) WHERE activity IS NOT NULL;
CREATE INDEX events_by_time ON events (occurred_at);

CREATE TABLE deliveries (
    event            INTEGER NOT NULL REFERENCES events (seq) ON DELETE CASCADE,
    -- `log`, or a webhook's name.
    sink             TEXT    NOT NULL,
    status           TEXT    NOT NULL CHECK (status IN ('pending', 'delivered', 'dead')),
    -- Changes with every redelivery by hand: an attempt counts only for the row that it was made for.
    revision         INTEGER NOT NULL DEFAULT 0,
    attempts         INTEGER NOT NULL DEFAULT 0,
    -- What `retry_for` counts from: the event or the last redelivery by hand.
    tried_from       INTEGER NOT NULL,
    interval_ms      INTEGER,
    next_attempt_at  INTEGER,
    last_attempt_at  INTEGER,
    last_http_status INTEGER,
    last_error       TEXT,
    delivered_at     INTEGER,
    PRIMARY KEY (event, sink)
) STRICT, WITHOUT ROWID;
CREATE INDEX deliveries_due ON deliveries (sink, next_attempt_at) WHERE next_attempt_at IS NOT NULL;
CREATE INDEX deliveries_by_status ON deliveries (status, event);

-- Each try of a webhook.
CREATE TABLE attempts (
    event        INTEGER NOT NULL,
    sink         TEXT    NOT NULL,
    seq          INTEGER NOT NULL,
    attempted_at INTEGER NOT NULL,
    duration_ms  INTEGER NOT NULL,
    http_status  INTEGER,
    error        TEXT,
    PRIMARY KEY (event, sink, seq),
    FOREIGN KEY (event, sink) REFERENCES deliveries (event, sink) ON DELETE CASCADE
) STRICT, WITHOUT ROWID;

-- The public views. Their names and columns are a promise; docs/reports.md explains them.

CREATE VIEW report_activities AS
SELECT v.vat,
       a.activity_id,
       a.device_id,
       a.reference,
       a.state,
       a.upstream_status,
       a.pcsid_generated,
       a.total_count,
       a.success_count,
       a.failure_count,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.registered_at / 1000.0, 'unixepoch')         AS registered_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.first_polled_at / 1000.0, 'unixepoch')       AS first_polled_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', s.last_polled_at / 1000.0, 'unixepoch')        AS last_polled_at,
       -- Behind a closed gate an activity stays due; it is asked for at the gate's next probe at the earliest.
       strftime('%Y-%m-%dT%H:%M:%fZ',
                max(s.next_poll_at, coalesce(v.probe_at, 0), coalesce(c.probe_at, 0), coalesce(c.paused_until, 0))
                    / 1000.0, 'unixepoch')                                           AS next_poll_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.stalled_at / 1000.0, 'unixepoch')            AS stalled_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.upstream_created_at / 1000.0, 'unixepoch')   AS upstream_created_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.upstream_updated_at / 1000.0, 'unixepoch')   AS upstream_updated_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.upstream_completed_at / 1000.0, 'unixepoch') AS upstream_completed_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', a.concluded_at / 1000.0, 'unixepoch')          AS concluded_at,
       s.poll_count,
       s.consecutive_errors,
       s.last_http_status,
       s.last_error
FROM activities a
JOIN vats v ON v.id = a.vat_id
JOIN schedules s ON s.id = a.id
LEFT JOIN credentials c ON c.name = v.credential;

CREATE VIEW report_transitions AS
SELECT v.vat,
       a.activity_id,
       t.seq,
       t.from_state,
       t.to_state,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.occurred_at / 1000.0, 'unixepoch') AS occurred_at,
       t.http_status,
       t.reason
FROM transitions t
JOIN activities a ON a.id = t.activity
JOIN vats v ON v.id = a.vat_id;

CREATE VIEW report_checks AS
SELECT v.vat,
       a.activity_id,
       n.name                              AS check_name,
       coalesce(c.outcome, 'NOT_REPORTED') AS outcome,
       c.message
FROM activities a
JOIN vats v ON v.id = a.vat_id
CROSS JOIN check_names n
LEFT JOIN checks c ON c.activity = a.id AND c.position = n.position
WHERE a.concluded_at IS NOT NULL;

CREATE VIEW report_check_errors AS
SELECT v.vat,
       a.activity_id,
       n.name AS check_name,
       e.position,
       e.rule,
       e.message
FROM check_errors e
JOIN activities a ON a.id = e.activity
JOIN vats v ON v.id = a.vat_id
JOIN check_names n ON n.position = e.check_position;

CREATE VIEW report_errors AS
SELECT v.vat,
       a.activity_id,
       e.position,
       e.error_code,
       e.error_message,
       e.error_source
FROM errors e
JOIN activities a ON a.id = e.activity
JOIN vats v ON v.id = a.vat_id;

CREATE VIEW report_vats AS
SELECT v.vat,
       count(a.id)                                  AS activities,
       count(*) FILTER (WHERE a.state = 'PENDING')     AS pending,
       count(*) FILTER (WHERE a.state = 'IN_PROGRESS') AS in_progress,
       count(*) FILTER (WHERE a.state = 'SUCCEEDED')   AS succeeded,
       count(*) FILTER (WHERE a.state = 'FAILED')      AS failed,
       count(*) FILTER (WHERE a.state = 'REJECTED')    AS rejected,
       count(*) FILTER (WHERE a.state = 'EXPIRED')     AS expired,
       count(*) FILTER (WHERE a.state = 'CANCELLED')   AS cancelled,
       CASE
           WHEN v.credential IS NULL THEN 'no configured credential serves this VAT'
           ELSE coalesce(v.held_reason, c.held_reason)
       END                                          AS held_reason
FROM vats v
LEFT JOIN activities a ON a.vat_id = v.id
LEFT JOIN credentials c ON c.name = v.credential
GROUP BY v.id;

CREATE VIEW report_rules AS
SELECT e.rule,
       n.name                     AS check_name,
       count(DISTINCT a.id)       AS activities,
       count(DISTINCT a.vat_id)   AS vats,
       strftime('%Y-%m-%dT%H:%M:%fZ', max(a.concluded_at) / 1000.0, 'unixepoch') AS last_seen_at
FROM check_errors e
JOIN activities a ON a.id = e.activity
JOIN check_names n ON n.position = e.check_position
WHERE e.rule IS NOT NULL
GROUP BY e.rule, e.check_position;

CREATE VIEW report_events AS
SELECT e.event_id,
       e.type,
       e.vat,
       a.activity_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', e.occurred_at / 1000.0, 'unixepoch') AS occurred_at,
       e.payload
FROM events e
LEFT JOIN activities a ON a.id = e.activity;

CREATE VIEW report_deliveries AS
SELECT e.event_id,
       d.sink,
       d.status,
       d.attempts,
       strftime('%Y-%m-%dT%H:%M:%fZ', d.next_attempt_at / 1000.0, 'unixepoch') AS next_attempt_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', d.last_attempt_at / 1000.0, 'unixepoch') AS last_attempt_at,
       d.last_http_status,
       d.last_error,
       strftime('%Y-%m-%dT%H:%M:%fZ', d.delivered_at / 1000.0, 'unixepoch')    AS delivered_at
FROM deliveries d
JOIN events e ON e.seq = d.event;
