-- Why an activity failed and what to do about it.

-- What is known of each rule that occurred, as the catalogue of the program that last ran tells it. The empty rule stands
-- for errors that name none.
CREATE TABLE explanations (
    rule       TEXT PRIMARY KEY,
    owner      TEXT NOT NULL,
    meaning    TEXT NOT NULL,
    meaning_ar TEXT NOT NULL,
    remedy     TEXT NOT NULL,
    remedy_ar  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What to do about an activity that waits: one row for each reason to wait.
CREATE TABLE waiting_steps (
    reason  TEXT PRIMARY KEY,
    step    TEXT NOT NULL,
    step_ar TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What to do after a conclusion, decided with it; and whose data it is about.
ALTER TABLE activities ADD COLUMN next_step TEXT;
ALTER TABLE activities ADD COLUMN next_step_ar TEXT;
ALTER TABLE activities ADD COLUMN next_step_owner TEXT;

-- Upstream's final answer as it came, for evidence.
CREATE TABLE final_answers (
    activity    INTEGER PRIMARY KEY REFERENCES activities (id) ON DELETE CASCADE,
    answered_at INTEGER NOT NULL,
    http_status INTEGER,
    body        TEXT    NOT NULL,
    -- Whether its end was cut off.
    is_cut      INTEGER NOT NULL
) STRICT;

CREATE INDEX activities_of_vats_device ON activities (vat_id, device_id, registered_at) WHERE device_id IS NOT NULL;

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
                      WHEN a.stalled_at IS NOT NULL THEN 'stalled' END) END           AS next_step_ar
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
       x.remedy_ar
FROM check_errors e
JOIN activities a ON a.id = e.activity
JOIN vats v ON v.id = a.vat_id
JOIN check_names n ON n.position = e.check_position
LEFT JOIN explanations x ON x.rule = coalesce(e.rule, '');

DROP VIEW report_rules;
CREATE VIEW report_rules AS
SELECT t.rule,
       n.name   AS check_name,
       sum(t.n) AS activities,
       count(*) AS vats,
       strftime('%Y-%m-%dT%H:%M:%fZ', max(t.last_concluded_at) / 1000.0, 'unixepoch') AS last_seen_at,
       x.owner,
       x.meaning,
       x.remedy,
       x.meaning_ar,
       x.remedy_ar
FROM tally_rules t
JOIN check_names n ON n.position = t.position
LEFT JOIN explanations x ON x.rule = t.rule
GROUP BY t.rule, t.position;

CREATE VIEW report_devices AS
SELECT v.vat,
       d.device_id,
       d.attempts,
       CASE WHEN d.pcsid_at IS NOT NULL THEN
       (SELECT count(*) FROM activities a
        WHERE a.vat_id = d.vat_id AND a.device_id = d.device_id
          AND (a.registered_at, a.id) <= (SELECT s.registered_at, s.id FROM activities s
                                          WHERE s.vat_id = d.vat_id AND s.device_id = d.device_id
                                            AND s.state = 'SUCCEEDED'
                                          ORDER BY s.registered_at, s.id LIMIT 1)) END AS attempts_until_pcsid,
       l.activity_id AS latest_activity_id,
       l.state       AS latest_state,
       strftime('%Y-%m-%dT%H:%M:%fZ', d.first_attempt_at / 1000.0, 'unixepoch') AS first_attempt_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', l.registered_at / 1000.0, 'unixepoch')    AS latest_attempt_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', d.pcsid_at / 1000.0, 'unixepoch')         AS pcsid_at,
       (SELECT f.next_step_owner FROM activities f
        WHERE f.vat_id = d.vat_id AND f.device_id = d.device_id AND f.state = 'FAILED'
        ORDER BY f.registered_at DESC, f.id DESC LIMIT 1) AS last_failure_owner
FROM (SELECT vat_id, device_id, count(*) AS attempts, min(registered_at) AS first_attempt_at,
             min(concluded_at) FILTER (WHERE state = 'SUCCEEDED') AS pcsid_at
      FROM activities WHERE device_id IS NOT NULL GROUP BY vat_id, device_id) d
JOIN vats v ON v.id = d.vat_id
JOIN activities l ON l.id = (SELECT id FROM activities a
                             WHERE a.vat_id = d.vat_id AND a.device_id = d.device_id
                             ORDER BY a.registered_at DESC, a.id DESC LIMIT 1);
