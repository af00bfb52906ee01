-- Who is next is read at a cost that grows with neither VATs nor activities.

-- When the VAT's first activity is due; NULL where nothing is polled. Every statement that moves a due time keeps this.
ALTER TABLE vats ADD COLUMN next_due_at INTEGER;
UPDATE vats SET next_due_at = (
    SELECT min(next_poll_at) FROM schedules WHERE vat_id = vats.id AND next_poll_at IS NOT NULL
);
-- Held VATs are left out, so that none of them is read to be passed over.
CREATE INDEX vats_due ON vats (credential, next_due_at) WHERE next_due_at IS NOT NULL AND held_since IS NULL;
CREATE INDEX vats_by_credential ON vats (credential);

-- The last request that was made with it, so that restarts don't add to the quota.
ALTER TABLE credentials ADD COLUMN last_request_at INTEGER;

-- What stalls or expires next behind a closed gate: those that have not stalled yet, then those that have.
CREATE INDEX activities_by_age ON activities (stalled_at IS NOT NULL, watched_from, id) WHERE concluded_at IS NULL;
