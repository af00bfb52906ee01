-- Certificates: what a success leaves behind. They are kept apart from activities, so that pruning does not touch them.
--
-- It writes a row for each activity that has succeeded.

CREATE TABLE certificates (
    id                 INTEGER PRIMARY KEY,
    vat                TEXT    NOT NULL,
    device_id          TEXT,
    -- The activity that obtained it; NULL: it was imported.
    activity_id        TEXT,
    obtained_at        INTEGER NOT NULL,
    expires_at         INTEGER NOT NULL,
    -- Whether the end was given with an import. Any other is counted from `obtained_at`, anew where the setting changes.
    is_end_given       INTEGER NOT NULL DEFAULT 0,
    noted_at           INTEGER NOT NULL,
    -- The activity whose success replaced it, or `imported`; NULL: it is the device's current one.
    superseded_by      TEXT,
    -- When something has to be said of it next; NULL: never again.
    due_at             INTEGER,
    reminded_at        INTEGER,
    -- The latest reminder that was sent, by its distance from the end.
    reminded_before_ms INTEGER,
    end_announced_at   INTEGER,
    CHECK (device_id IS NOT NULL OR activity_id IS NOT NULL)
) STRICT;
CREATE UNIQUE INDEX certificates_of_activity ON certificates (vat, activity_id) WHERE activity_id IS NOT NULL;
CREATE INDEX certificates_of_device ON certificates (vat, device_id, obtained_at) WHERE device_id IS NOT NULL;
CREATE INDEX certificates_due ON certificates (due_at) WHERE due_at IS NOT NULL;
CREATE INDEX certificates_by_end ON certificates (expires_at) WHERE superseded_by IS NULL;

-- The settings that `expires_at` and `due_at` were counted with. None yet: the daemon's next start counts anew.
CREATE TABLE renewal (
    id               INTEGER PRIMARY KEY CHECK (id = 1),
    valid_for_ms     INTEGER NOT NULL,
    remind_before_ms TEXT    NOT NULL
) STRICT;

-- The successes so far, for ZATCA's five years. Upstream's time counts, unless it lies after ours.
INSERT INTO certificates (vat, device_id, activity_id, obtained_at, expires_at, noted_at, due_at)
SELECT v.vat, a.device_id, a.activity_id,
       min(coalesce(a.upstream_completed_at, a.concluded_at), a.concluded_at),
       min(coalesce(a.upstream_completed_at, a.concluded_at), a.concluded_at) + 157766400000,
       a.concluded_at, 0
FROM activities a JOIN vats v ON v.id = a.vat_id
WHERE a.state = 'SUCCEEDED' AND a.concluded_at IS NOT NULL
ORDER BY a.id;

UPDATE certificates SET
    due_at = NULL,
    superseded_by = (SELECT n.activity_id FROM certificates n
                     WHERE n.vat = certificates.vat AND n.device_id = certificates.device_id
                       AND (n.obtained_at, n.id) > (certificates.obtained_at, certificates.id)
                     ORDER BY n.obtained_at, n.id LIMIT 1)
WHERE device_id IS NOT NULL
  AND EXISTS (SELECT 1 FROM certificates n
              WHERE n.vat = certificates.vat AND n.device_id = certificates.device_id
                AND (n.obtained_at, n.id) > (certificates.obtained_at, certificates.id));

CREATE VIEW report_certificates AS
SELECT vat,
       device_id,
       activity_id,
       strftime('%Y-%m-%dT%H:%M:%fZ', obtained_at / 1000.0, 'unixepoch') AS obtained_at,
       strftime('%Y-%m-%dT%H:%M:%fZ', expires_at / 1000.0, 'unixepoch')  AS expires_at,
       superseded_by,
       strftime('%Y-%m-%dT%H:%M:%fZ', reminded_at / 1000.0, 'unixepoch') AS reminded_at
FROM certificates;
