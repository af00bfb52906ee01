-- Whether an error blocks, which of its rule's causes it is, and listed errors explained as those in checks are.

-- Explanations by rule and cause; the empty cause stands for the rule itself. The daemon fills it anew at its start.
DROP TABLE explanations;
CREATE TABLE explanations (
    rule       TEXT NOT NULL,
    variant    TEXT NOT NULL,
    severity   TEXT NOT NULL,
    owner      TEXT NOT NULL,
    meaning    TEXT NOT NULL,
    meaning_ar TEXT NOT NULL,
    remedy     TEXT NOT NULL,
    remedy_ar  TEXT NOT NULL,
    PRIMARY KEY (rule, variant)
) STRICT, WITHOUT ROWID;

-- As decided with the conclusion. NULL in rows from before: what the catalogue says of the rule counts.
ALTER TABLE check_errors ADD COLUMN severity TEXT;
ALTER TABLE check_errors ADD COLUMN variant TEXT;

-- The rules that entries of ErrorList name, numbered throughout the list.
CREATE TABLE error_rules (
    activity INTEGER NOT NULL REFERENCES activities (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    -- The position in `errors`.
    entry    INTEGER NOT NULL,
    rule     TEXT,
    severity TEXT,
    variant  TEXT,
    PRIMARY KEY (activity, position)
) STRICT, WITHOUT ROWID;
INSERT INTO error_rules (activity, position, entry, rule)
SELECT activity, position, position, error_code FROM errors;

-- The worst severity that the rule had there.
ALTER TABLE tally_rules ADD COLUMN severity TEXT;

-- Activities with a rule in ErrorList.
CREATE TABLE tally_listed_rules (
    rule              TEXT    NOT NULL,
    vat_id            INTEGER NOT NULL REFERENCES vats (id),
    n                 INTEGER NOT NULL,
    last_concluded_at INTEGER NOT NULL,
    severity          TEXT,
    PRIMARY KEY (rule, vat_id)
) STRICT, WITHOUT ROWID;
INSERT INTO tally_listed_rules (rule, vat_id, n, last_concluded_at)
SELECT e.rule, a.vat_id, count(DISTINCT a.id), max(coalesce(a.concluded_at, a.registered_at))
FROM error_rules e JOIN activities a ON a.id = e.activity
WHERE e.rule IS NOT NULL
GROUP BY 1, 2;

DROP TRIGGER tally_rule;
CREATE TRIGGER tally_rule AFTER INSERT ON check_errors
WHEN NEW.rule IS NOT NULL
 AND NOT EXISTS (SELECT 1 FROM check_errors
                 WHERE activity = NEW.activity AND check_position = NEW.check_position
                   AND rule = NEW.rule AND position <> NEW.position)
BEGIN
    INSERT INTO tally_rules
    SELECT NEW.rule, NEW.check_position, vat_id, 1, coalesce(concluded_at, registered_at), NEW.severity
    FROM activities WHERE id = NEW.activity
    ON CONFLICT DO UPDATE SET
        n = n + 1,
        last_concluded_at = max(last_concluded_at, excluded.last_concluded_at),
        severity = CASE WHEN 'error' IN (severity, excluded.severity) THEN 'error'
                        WHEN 'unknown' IN (severity, excluded.severity) THEN 'unknown'
                        ELSE coalesce(excluded.severity, severity) END;
END;

CREATE TRIGGER tally_listed_rule AFTER INSERT ON error_rules
WHEN NEW.rule IS NOT NULL
 AND NOT EXISTS (SELECT 1 FROM error_rules
                 WHERE activity = NEW.activity AND rule = NEW.rule AND position <> NEW.position)
BEGIN
    INSERT INTO tally_listed_rules
    SELECT NEW.rule, vat_id, 1, coalesce(concluded_at, registered_at), NEW.severity
    FROM activities WHERE id = NEW.activity
    ON CONFLICT DO UPDATE SET
        n = n + 1,
        last_concluded_at = max(last_concluded_at, excluded.last_concluded_at),
        severity = CASE WHEN 'error' IN (severity, excluded.severity) THEN 'error'
                        WHEN 'unknown' IN (severity, excluded.severity) THEN 'unknown'
                        ELSE coalesce(excluded.severity, severity) END;
END;

CREATE TRIGGER tally_listed_removal BEFORE DELETE ON activities
BEGIN
    UPDATE tally_listed_rules SET n = n - 1
    WHERE vat_id = OLD.vat_id
      AND rule IN (SELECT rule FROM error_rules WHERE activity = OLD.id AND rule IS NOT NULL);
    DELETE FROM tally_listed_rules WHERE n = 0 AND vat_id = OLD.vat_id
      AND rule IN (SELECT rule FROM error_rules WHERE activity = OLD.id AND rule IS NOT NULL);
END;

-- A rejected activity that is watched again concludes anew, with a list of its own.
CREATE TRIGGER tally_listed_retry AFTER DELETE ON error_rules
WHEN OLD.rule IS NOT NULL
 AND EXISTS (SELECT 1 FROM activities WHERE id = OLD.activity)
 AND NOT EXISTS (SELECT 1 FROM error_rules WHERE activity = OLD.activity AND rule = OLD.rule)
BEGIN
    UPDATE tally_listed_rules SET n = n - 1
    WHERE rule = OLD.rule AND vat_id = (SELECT vat_id FROM activities WHERE id = OLD.activity);
    DELETE FROM tally_listed_rules
    WHERE n = 0 AND rule = OLD.rule AND vat_id = (SELECT vat_id FROM activities WHERE id = OLD.activity);
END;

-- The kind of each step, to branch on.
ALTER TABLE waiting_steps ADD COLUMN kind TEXT;
ALTER TABLE activities ADD COLUMN next_step_kind TEXT;
UPDATE activities SET next_step_kind = CASE
    WHEN state = 'REJECTED' THEN 'check-activity-id'
    WHEN state = 'EXPIRED' THEN 'ask-cleartax'
    WHEN next_step_owner IN ('registration', 'device') THEN 'correct-and-register-again'
    WHEN next_step_owner = 'zatca' THEN 'try-later'
    ELSE 'open-ticket' END
WHERE next_step IS NOT NULL;

DROP VIEW report_activities;
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
       s.last_error,
       CASE WHEN a.concluded_at IS NOT NULL THEN a.next_step
            ELSE (SELECT step FROM waiting_steps WHERE reason = CASE
                      WHEN v.credential IS NULL THEN 'unserved'
                      WHEN c.held_since IS NOT NULL THEN 'credential-held'
                      WHEN v.held_since IS NOT NULL THEN 'vat-held'
                      WHEN a.stalled_at IS NOT NULL THEN 'stalled' END) END           AS next_step,
       CASE WHEN a.concluded_at IS NOT NULL THEN a.next_step_ar
            ELSE (SELECT step_ar FROM waiting_steps WHERE reason = CASE
                      WHEN v.credential IS NULL THEN 'unserved'
                      WHEN c.held_since IS NOT NULL THEN 'credential-held'
                      WHEN v.held_since IS NOT NULL THEN 'vat-held'
                      WHEN a.stalled_at IS NOT NULL THEN 'stalled' END) END           AS next_step_ar,
       CASE WHEN a.concluded_at IS NOT NULL THEN a.next_step_kind
            ELSE (SELECT kind FROM waiting_steps WHERE reason = CASE
                      WHEN v.credential IS NULL THEN 'unserved'
                      WHEN c.held_since IS NOT NULL THEN 'credential-held'
                      WHEN v.held_since IS NOT NULL THEN 'vat-held'
                      WHEN a.stalled_at IS NOT NULL THEN 'stalled' END) END           AS next_step_kind,
       CASE WHEN a.concluded_at IS NOT NULL THEN a.next_step_owner END                AS next_step_owner
FROM activities a
JOIN vats v ON v.id = a.vat_id
JOIN schedules s ON s.id = a.id
LEFT JOIN credentials c ON c.name = v.credential;

DROP VIEW report_check_errors;
CREATE VIEW report_check_errors AS
SELECT v.vat,
       a.activity_id,
       n.name AS check_name,
       e.position,
       e.rule,
       e.message,
       x.owner,
       x.meaning,
       x.remedy,
       x.meaning_ar,
       x.remedy_ar,
       coalesce(e.severity, x.severity, 'unknown') AS severity
FROM check_errors e
JOIN activities a ON a.id = e.activity
JOIN vats v ON v.id = a.vat_id
JOIN check_names n ON n.position = e.check_position
LEFT JOIN explanations x ON x.rule = coalesce(e.rule, '') AND x.variant = coalesce(e.variant, '');

DROP VIEW report_errors;
CREATE VIEW report_errors AS
SELECT v.vat,
       a.activity_id,
       r.position,
       e.error_code,
       e.error_message,
       e.error_source,
       r.entry,
       r.rule,
       coalesce(r.severity, x.severity, 'unknown') AS severity,
       x.owner,
       x.meaning,
       x.remedy,
       x.meaning_ar,
       x.remedy_ar
FROM error_rules r
JOIN errors e ON e.activity = r.activity AND e.position = r.entry
JOIN activities a ON a.id = r.activity
JOIN vats v ON v.id = a.vat_id
LEFT JOIN explanations x ON x.rule = coalesce(r.rule, '') AND x.variant = coalesce(r.variant, '');

DROP VIEW report_rules;
CREATE VIEW report_rules AS
SELECT t.rule,
       t.check_name,
       t.activities,
       t.vats,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.last_concluded_at / 1000.0, 'unixepoch') AS last_seen_at,
       x.owner,
       x.meaning,
       x.remedy,
       x.meaning_ar,
       x.remedy_ar,
       CASE WHEN t.n_error > 0 THEN 'error'
            WHEN t.n_unknown > 0 THEN 'unknown'
            WHEN t.n_warning > 0 THEN 'warning'
            ELSE coalesce(x.severity, 'unknown') END AS severity
FROM (SELECT r.rule,
             n.name                           AS check_name,
             sum(r.n)                         AS activities,
             count(*)                         AS vats,
             max(r.last_concluded_at)         AS last_concluded_at,
             sum(r.severity IS 'error')   AS n_error,
             sum(r.severity IS 'unknown') AS n_unknown,
             sum(r.severity IS 'warning') AS n_warning
      FROM tally_rules r JOIN check_names n ON n.position = r.position
      GROUP BY r.rule, r.position
      UNION ALL
      SELECT rule,
             'ErrorList',
             sum(n),
             count(*),
             max(last_concluded_at),
             sum(severity IS 'error'),
             sum(severity IS 'unknown'),
             sum(severity IS 'warning')
      FROM tally_listed_rules
      GROUP BY rule) t
LEFT JOIN explanations x ON x.rule = t.rule AND x.variant = '';
