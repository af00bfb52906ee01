-- Counts that are kept rather than counted, so that reports and the status page answer at once however many
-- activities there are. Triggers keep them within the transactions that change what is counted.
--
-- It reads every activity once: some ten seconds for a million.

-- Activities by VAT and state.
CREATE TABLE tally_states (
    vat_id INTEGER NOT NULL REFERENCES vats (id),
    state  TEXT    NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (vat_id, state)
) STRICT, WITHOUT ROWID;

-- Conclusions by the hour they fell in, counted from 1970, and by state.
CREATE TABLE tally_conclusions (
    hour  INTEGER NOT NULL,
    state TEXT    NOT NULL,
    n     INTEGER NOT NULL,
    PRIMARY KEY (hour, state)
) STRICT, WITHOUT ROWID;

-- Time from registration to PCSID by month of conclusion, in milliseconds rounded to three digits: what is read
-- from it is at most 0.5 % off.
CREATE TABLE tally_durations (
    month       TEXT    NOT NULL,
    duration_ms INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    PRIMARY KEY (month, duration_ms)
) STRICT, WITHOUT ROWID;

-- Checks that upstream reported on.
CREATE TABLE tally_checks (
    vat_id   INTEGER NOT NULL REFERENCES vats (id),
    position INTEGER NOT NULL REFERENCES check_names (position),
    outcome  TEXT    NOT NULL,
    n        INTEGER NOT NULL,
    PRIMARY KEY (vat_id, position, outcome)
) STRICT, WITHOUT ROWID;

-- Activities with a rule in a check, each counted once however often the rule stands there.
CREATE TABLE tally_rules (
    rule              TEXT    NOT NULL,
    position          INTEGER NOT NULL REFERENCES check_names (position),
    vat_id            INTEGER NOT NULL REFERENCES vats (id),
    n                 INTEGER NOT NULL,
    last_concluded_at INTEGER NOT NULL,
    PRIMARY KEY (rule, position, vat_id)
) STRICT, WITHOUT ROWID;

-- Deliveries by sink and status.
CREATE TABLE tally_deliveries (
    sink   TEXT    NOT NULL,
    status TEXT    NOT NULL,
    n      INTEGER NOT NULL,
    PRIMARY KEY (sink, status)
) STRICT, WITHOUT ROWID;

INSERT INTO tally_states SELECT vat_id, state, count(*) FROM activities GROUP BY vat_id, state;

INSERT INTO tally_conclusions
SELECT concluded_at / 3600000, state, count(*) FROM activities WHERE concluded_at IS NOT NULL GROUP BY 1, 2;

INSERT INTO tally_durations
SELECT strftime('%Y-%m', concluded_at / 1000, 'unixepoch'),
       CAST(CAST(printf('%.2e', max(concluded_at - registered_at, 0)) AS REAL) AS INTEGER),
       count(*)
FROM activities WHERE state = 'SUCCEEDED'
GROUP BY 1, 2;

INSERT INTO tally_checks
SELECT a.vat_id, c.position, c.outcome, count(*) FROM checks c JOIN activities a ON a.id = c.activity GROUP BY 1, 2, 3;

INSERT INTO tally_rules
SELECT e.rule, e.check_position, a.vat_id, count(DISTINCT a.id), max(coalesce(a.concluded_at, a.registered_at))
FROM check_errors e JOIN activities a ON a.id = e.activity
WHERE e.rule IS NOT NULL
GROUP BY 1, 2, 3;

INSERT INTO tally_deliveries SELECT sink, status, count(*) FROM deliveries GROUP BY 1, 2;

CREATE TRIGGER tally_registration AFTER INSERT ON activities
BEGIN
    INSERT INTO tally_states VALUES (NEW.vat_id, NEW.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER tally_state AFTER UPDATE OF state ON activities WHEN OLD.state <> NEW.state
BEGIN
    UPDATE tally_states SET n = n - 1 WHERE vat_id = OLD.vat_id AND state = OLD.state;
    INSERT INTO tally_states VALUES (NEW.vat_id, NEW.state, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER tally_conclusion AFTER UPDATE OF state ON activities
WHEN OLD.concluded_at IS NULL AND NEW.concluded_at IS NOT NULL
BEGIN
    INSERT INTO tally_conclusions VALUES (NEW.concluded_at / 3600000, NEW.state, 1)
    ON CONFLICT DO UPDATE SET n = n + 1;
END;

-- Only what was rejected, expired or cancelled is watched again, and that has neither checks nor a duration.
CREATE TRIGGER tally_retry AFTER UPDATE OF state ON activities
WHEN OLD.concluded_at IS NOT NULL AND NEW.concluded_at IS NULL
BEGIN
    UPDATE tally_conclusions SET n = n - 1 WHERE hour = OLD.concluded_at / 3600000 AND state = OLD.state;
END;

CREATE TRIGGER tally_duration AFTER UPDATE OF state ON activities
WHEN NEW.state = 'SUCCEEDED' AND OLD.concluded_at IS NULL AND NEW.concluded_at IS NOT NULL
BEGIN
    INSERT INTO tally_durations
    VALUES (strftime('%Y-%m', NEW.concluded_at / 1000, 'unixepoch'),
            CAST(CAST(printf('%.2e', max(NEW.concluded_at - NEW.registered_at, 0)) AS REAL) AS INTEGER), 1)
    ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER tally_check AFTER INSERT ON checks
BEGIN
    INSERT INTO tally_checks
    SELECT vat_id, NEW.position, NEW.outcome, 1 FROM activities WHERE id = NEW.activity
    ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER tally_rule AFTER INSERT ON check_errors
WHEN NEW.rule IS NOT NULL
 AND NOT EXISTS (SELECT 1 FROM check_errors
                 WHERE activity = NEW.activity AND check_position = NEW.check_position
                   AND rule = NEW.rule AND position <> NEW.position)
BEGIN
    INSERT INTO tally_rules
    SELECT NEW.rule, NEW.check_position, vat_id, 1, coalesce(concluded_at, registered_at)
    FROM activities WHERE id = NEW.activity
    ON CONFLICT DO UPDATE SET n = n + 1, last_concluded_at = max(last_concluded_at, excluded.last_concluded_at);
END;

CREATE TRIGGER tally_delivery AFTER INSERT ON deliveries
BEGIN
    INSERT INTO tally_deliveries VALUES (NEW.sink, NEW.status, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER tally_delivery_status AFTER UPDATE OF status ON deliveries WHEN OLD.status <> NEW.status
BEGIN
    UPDATE tally_deliveries SET n = n - 1 WHERE sink = OLD.sink AND status = OLD.status;
    INSERT INTO tally_deliveries VALUES (NEW.sink, NEW.status, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

CREATE TRIGGER tally_delivery_removal AFTER DELETE ON deliveries
BEGIN
    UPDATE tally_deliveries SET n = n - 1 WHERE sink = OLD.sink AND status = OLD.status;
END;

-- Pruning. Before, because what belongs to the activity goes with it.
CREATE TRIGGER tally_removal BEFORE DELETE ON activities
BEGIN
    UPDATE tally_states SET n = n - 1 WHERE vat_id = OLD.vat_id AND state = OLD.state;
    UPDATE tally_conclusions SET n = n - 1 WHERE hour = OLD.concluded_at / 3600000 AND state = OLD.state;
    UPDATE tally_durations SET n = n - 1
    WHERE OLD.state = 'SUCCEEDED'
      AND month = strftime('%Y-%m', OLD.concluded_at / 1000, 'unixepoch')
      AND duration_ms = CAST(CAST(printf('%.2e', max(OLD.concluded_at - OLD.registered_at, 0)) AS REAL) AS INTEGER);
    UPDATE tally_checks SET n = n - 1
    WHERE vat_id = OLD.vat_id
      AND (position, outcome) IN (SELECT position, outcome FROM checks WHERE activity = OLD.id);
    UPDATE tally_rules SET n = n - 1
    WHERE vat_id = OLD.vat_id
      AND (rule, position) IN (SELECT rule, check_position FROM check_errors
                               WHERE activity = OLD.id AND rule IS NOT NULL);
    DELETE FROM tally_rules WHERE n = 0 AND vat_id = OLD.vat_id
      AND (rule, position) IN (SELECT rule, check_position FROM check_errors
                               WHERE activity = OLD.id AND rule IS NOT NULL);
END;

-- Lists are ordered by registration and filtered by these.
CREATE INDEX activities_by_registration ON activities (registered_at);
CREATE INDEX activities_of_vat ON activities (vat_id, registered_at);
CREATE INDEX activities_of_device ON activities (device_id, registered_at) WHERE device_id IS NOT NULL;
CREATE INDEX activities_by_reference ON activities (reference, registered_at) WHERE reference IS NOT NULL;
CREATE INDEX events_of_vat ON events (vat) WHERE vat IS NOT NULL;
CREATE INDEX events_of_type ON events (type);

-- The views that count, and new ones over the other tallies.

DROP VIEW report_vats;
CREATE VIEW report_vats AS
SELECT v.vat,
       coalesce(sum(t.n), 0)                                            AS activities,
       coalesce(sum(t.n) FILTER (WHERE t.state = 'PENDING'), 0)         AS pending,
       coalesce(sum(t.n) FILTER (WHERE t.state = 'IN_PROGRESS'), 0)     AS in_progress,
       coalesce(sum(t.n) FILTER (WHERE t.state = 'SUCCEEDED'), 0)       AS succeeded,
       coalesce(sum(t.n) FILTER (WHERE t.state = 'FAILED'), 0)          AS failed,
       coalesce(sum(t.n) FILTER (WHERE t.state = 'REJECTED'), 0)        AS rejected,
       coalesce(sum(t.n) FILTER (WHERE t.state = 'EXPIRED'), 0)         AS expired,
       coalesce(sum(t.n) FILTER (WHERE t.state = 'CANCELLED'), 0)       AS cancelled,
       CASE
           WHEN v.credential IS NULL THEN 'no configured credential serves this VAT'
           ELSE coalesce(v.held_reason, c.held_reason)
       END                                                              AS held_reason
FROM vats v
LEFT JOIN tally_states t ON t.vat_id = v.id
LEFT JOIN credentials c ON c.name = v.credential
GROUP BY v.id;

DROP VIEW report_rules;
CREATE VIEW report_rules AS
SELECT t.rule,
       n.name   AS check_name,
       sum(t.n) AS activities,
       count(*) AS vats,
       strftime('%Y-%m-%dT%H:%M:%fZ', max(t.last_concluded_at) / 1000.0, 'unixepoch') AS last_seen_at
FROM tally_rules t
JOIN check_names n ON n.position = t.position
GROUP BY t.rule, t.position;

CREATE VIEW report_vat_checks AS
SELECT v.vat,
       n.name AS check_name,
       coalesce((SELECT t.n FROM tally_checks t
                 WHERE t.vat_id = v.id AND t.position = n.position AND t.outcome = 'SUCCEEDED'), 0) AS succeeded,
       coalesce((SELECT t.n FROM tally_checks t
                 WHERE t.vat_id = v.id AND t.position = n.position AND t.outcome = 'FAILED'), 0)    AS failed,
       coalesce((SELECT sum(s.n) FROM tally_states s
                 WHERE s.vat_id = v.id AND s.state NOT IN ('PENDING', 'IN_PROGRESS')), 0)
       - coalesce((SELECT sum(t.n) FROM tally_checks t
                   WHERE t.vat_id = v.id AND t.position = n.position), 0)                           AS not_reported
FROM vats v
CROSS JOIN check_names n;

CREATE VIEW report_conclusions AS
SELECT strftime('%Y-%m-%dT%H:%M:%fZ', hour * 3600, 'unixepoch') AS hour,
       state,
       n AS activities
FROM tally_conclusions
WHERE n > 0;

CREATE VIEW report_durations AS
SELECT month,
       duration_ms / 1000.0 AS seconds,
       n AS activities
FROM tally_durations
WHERE n > 0;
