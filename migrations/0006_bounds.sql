-- How much of an answer was left out.

-- Entries of ErrorList that were not kept.
ALTER TABLE activities ADD COLUMN errors_left_out INTEGER NOT NULL DEFAULT 0;

-- Errors in the check's text that were not kept.
ALTER TABLE checks ADD COLUMN errors_left_out INTEGER NOT NULL DEFAULT 0;

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
       CASE WHEN a.concluded_at IS NOT NULL THEN a.next_step_owner END                AS next_step_owner,
       a.errors_left_out
FROM activities a
JOIN vats v ON v.id = a.vat_id
JOIN schedules s ON s.id = a.id
LEFT JOIN credentials c ON c.name = v.credential;

DROP VIEW report_checks;
CREATE VIEW report_checks AS
SELECT v.vat,
       a.activity_id,
       n.name                              AS check_name,
       coalesce(c.outcome, 'NOT_REPORTED') AS outcome,
       c.message,
       coalesce(c.errors_left_out, 0)      AS errors_left_out
FROM activities a
JOIN vats v ON v.id = a.vat_id
CROSS JOIN check_names n
LEFT JOIN checks c ON c.activity = a.id AND c.position = n.position
WHERE a.concluded_at IS NOT NULL;
