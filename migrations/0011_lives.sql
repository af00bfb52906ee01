-- Conclusions at the cost of what they say.

-- Checks that passed and have nothing more to say, one bit for each position (the first: 2). Nearly all successes have six of
-- them, which took six rows. Those that were written before stay rows of `checks`.
ALTER TABLE activities ADD COLUMN passed_checks INTEGER NOT NULL DEFAULT 0;

DROP VIEW report_checks;
CREATE VIEW report_checks AS
SELECT v.vat,
       a.activity_id,
       n.name AS check_name,
       CASE WHEN c.outcome IS NOT NULL THEN c.outcome
            WHEN a.passed_checks >> n.position & 1 THEN 'SUCCEEDED'
            ELSE 'NOT_REPORTED' END AS outcome,
       c.message,
       coalesce(c.errors_left_out, 0) AS errors_left_out
FROM activities a
JOIN vats v ON v.id = a.vat_id
CROSS JOIN check_names n
LEFT JOIN checks c ON c.activity = a.id AND c.position = n.position
WHERE a.concluded_at IS NOT NULL;

-- Devices: their activities, and how many of those succeeded. `report devices` orders all of them by these.
CREATE TABLE tally_devices (
    vat_id      INTEGER NOT NULL REFERENCES vats (id),
    device_id   TEXT    NOT NULL,
    n           INTEGER NOT NULL,
    n_succeeded INTEGER NOT NULL,
    PRIMARY KEY (vat_id, device_id)
) STRICT, WITHOUT ROWID;

INSERT INTO tally_devices
SELECT vat_id, device_id, count(*), count(*) FILTER (WHERE state = 'SUCCEEDED')
FROM activities WHERE device_id IS NOT NULL GROUP BY vat_id, device_id;

CREATE TRIGGER tally_passed_removal BEFORE DELETE ON activities WHEN OLD.passed_checks <> 0
BEGIN
    UPDATE tally_checks SET n = n - 1
    WHERE vat_id = OLD.vat_id AND outcome = 'SUCCEEDED' AND OLD.passed_checks >> position & 1;
END;

-- What the recorder writes it counts itself, once for a whole batch. Triggers count what is registered, pruned, or made due
-- or given up beside it, which changes the revision.
DROP TRIGGER tally_state;
DROP TRIGGER tally_conclusion;
DROP TRIGGER tally_retry;
DROP TRIGGER tally_duration;
DROP TRIGGER tally_delivery;
DROP TRIGGER tally_delivery_status;
CREATE TRIGGER tally_delivery_status AFTER UPDATE OF status ON deliveries
WHEN OLD.status <> NEW.status AND OLD.revision <> NEW.revision
BEGIN
    UPDATE tally_deliveries SET n = n - 1 WHERE sink = OLD.sink AND status = OLD.status;
    INSERT INTO tally_deliveries VALUES (NEW.sink, NEW.status, 1) ON CONFLICT DO UPDATE SET n = n + 1;
END;

-- No query has needed it since `vats.next_due_at`; lists have `activities_of_vat`.
DROP INDEX activities_by_vat;

-- Nearly all deliveries have been made, and nobody asks for those by their status alone but who pages through all.
DROP INDEX deliveries_by_status;
CREATE INDEX deliveries_open ON deliveries (status, event) WHERE status <> 'delivered';

CREATE TRIGGER tally_device_registration AFTER INSERT ON activities WHEN NEW.device_id IS NOT NULL
BEGIN
    INSERT INTO tally_devices VALUES (NEW.vat_id, NEW.device_id, 1, NEW.state = 'SUCCEEDED')
    ON CONFLICT DO UPDATE SET n = n + 1, n_succeeded = n_succeeded + excluded.n_succeeded;
END;

CREATE TRIGGER tally_device_removal AFTER DELETE ON activities WHEN OLD.device_id IS NOT NULL
BEGIN
    UPDATE tally_devices SET n = n - 1, n_succeeded = n_succeeded - (OLD.state = 'SUCCEEDED')
    WHERE vat_id = OLD.vat_id AND device_id = OLD.device_id;
    DELETE FROM tally_devices WHERE vat_id = OLD.vat_id AND device_id = OLD.device_id AND n = 0;
END;

DROP VIEW report_devices;
CREATE VIEW report_devices AS
SELECT v.vat,
       d.device_id,
       d.n AS attempts,
       CASE WHEN d.n_succeeded > 0 THEN
       (SELECT count(*) FROM activities a
        WHERE a.vat_id = d.vat_id AND a.device_id = d.device_id
          AND (a.registered_at, a.id) <= (SELECT s.registered_at, s.id FROM activities s
                                          WHERE s.vat_id = d.vat_id AND s.device_id = d.device_id
                                            AND s.state = 'SUCCEEDED'
                                          ORDER BY s.registered_at, s.id LIMIT 1)) END AS attempts_until_pcsid,
       l.activity_id AS latest_activity_id,
       l.state       AS latest_state,
       strftime('%Y-%m-%dT%H:%M:%fZ',
                (SELECT min(f.registered_at) FROM activities f
                 WHERE f.vat_id = d.vat_id AND f.device_id = d.device_id) / 1000.0,
                'unixepoch')                                                     AS first_attempt_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', l.registered_at / 1000.0, 'unixepoch')    AS latest_attempt_at,
       CASE WHEN d.n_succeeded > 0 THEN
       strftime('%Y-%m-%dT%H:%M:%fZ',
                (SELECT min(s.concluded_at) FROM activities s
                 WHERE s.vat_id = d.vat_id AND s.device_id = d.device_id AND s.state = 'SUCCEEDED') / 1000.0,
                'unixepoch') END                                                 AS pcsid_at,
       (SELECT f.next_step_owner FROM activities f
        WHERE f.vat_id = d.vat_id AND f.device_id = d.device_id AND f.state = 'FAILED'
        ORDER BY f.registered_at DESC, f.id DESC LIMIT 1) AS last_failure_owner
FROM tally_devices d
JOIN vats v ON v.id = d.vat_id
JOIN activities l ON l.id = (SELECT id FROM activities a
                             WHERE a.vat_id = d.vat_id AND a.device_id = d.device_id
                             ORDER BY a.registered_at DESC, a.id DESC LIMIT 1);
