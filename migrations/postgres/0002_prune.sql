-- Pruning beside other writers, as `0012_prune.sql` has it for SQLite.

CREATE OR REPLACE FUNCTION pcsid_watch_tally_removal() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tally_states SET n = n - 1 WHERE vat_id = OLD.vat_id AND state = OLD.state;
    UPDATE tally_conclusions SET n = n - 1 WHERE hour = OLD.concluded_at / 3600000 AND state = OLD.state;
    UPDATE tally_durations SET n = n - 1
    WHERE OLD.state = 'SUCCEEDED' AND month = pcsid_watch_month(OLD.concluded_at)
      AND duration_ms = pcsid_watch_rounded(OLD.concluded_at - OLD.registered_at);
    UPDATE tally_checks t SET n = t.n - 1 FROM checks c
    WHERE c.activity = OLD.id AND t.vat_id = OLD.vat_id AND t.position = c.position AND t.outcome = c.outcome;
    UPDATE tally_checks SET n = n - 1
    WHERE vat_id = OLD.vat_id AND outcome = 'SUCCEEDED' AND (OLD.passed_checks >> position::int) & 1 = 1;
    UPDATE tally_devices SET n = n - 1, n_succeeded = n_succeeded - (OLD.state = 'SUCCEEDED')::int
    WHERE vat_id = OLD.vat_id AND device_id = OLD.device_id;
    DELETE FROM tally_devices WHERE vat_id = OLD.vat_id AND device_id = OLD.device_id AND n = 0;
    -- When a rule was last seen is looked up only where it is left: that goes through all rows of the rule. Activities go
    -- from the oldest, so it is seldom.
    UPDATE tally_rules t SET n = t.n - 1, last_concluded_at = CASE
        WHEN t.n = 1 OR t.last_concluded_at > coalesce(OLD.concluded_at, OLD.registered_at) THEN t.last_concluded_at
        ELSE coalesce((SELECT max(coalesce(a.concluded_at, a.registered_at))
                       FROM check_errors o JOIN activities a ON a.id = o.activity
                       WHERE o.rule = t.rule AND o.check_position = t.position
                         AND a.vat_id = OLD.vat_id AND a.id <> OLD.id), t.last_concluded_at) END
    FROM (SELECT DISTINCT rule, check_position FROM check_errors WHERE activity = OLD.id AND rule IS NOT NULL) e
    WHERE t.vat_id = OLD.vat_id AND t.rule = e.rule AND t.position = e.check_position;
    UPDATE tally_listed_rules t SET n = t.n - 1, last_concluded_at = CASE
        WHEN t.n = 1 OR t.last_concluded_at > coalesce(OLD.concluded_at, OLD.registered_at) THEN t.last_concluded_at
        ELSE coalesce((SELECT max(coalesce(a.concluded_at, a.registered_at))
                       FROM error_rules o JOIN activities a ON a.id = o.activity
                       WHERE o.rule = t.rule AND a.vat_id = OLD.vat_id AND a.id <> OLD.id),
                      t.last_concluded_at) END
    FROM (SELECT DISTINCT rule FROM error_rules WHERE activity = OLD.id AND rule IS NOT NULL) e
    WHERE t.vat_id = OLD.vat_id AND t.rule = e.rule;
    DELETE FROM tally_listed_rules t USING error_rules e
    WHERE e.activity = OLD.id AND t.n = 0 AND t.vat_id = OLD.vat_id AND t.rule = e.rule;
    DELETE FROM tally_rules t USING check_errors e
    WHERE e.activity = OLD.id AND t.n = 0 AND t.vat_id = OLD.vat_id AND t.rule = e.rule
      AND t.position = e.check_position;
    RETURN OLD;
END $$;

-- Events of credentials and VATs, which are pruned by their age. All others go with their activities.
CREATE INDEX events_of_none ON events (occurred_at) WHERE activity IS NULL;
