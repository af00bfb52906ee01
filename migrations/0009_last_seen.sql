-- When a rule was last seen, once the activity that had it last is gone or watched again.

-- Pruning. Activities go from the oldest, so this seldom has to look for what is left.
CREATE TRIGGER tally_last_seen_removal BEFORE DELETE ON activities
BEGIN
    UPDATE tally_rules SET last_concluded_at = coalesce(
        (SELECT max(coalesce(a.concluded_at, a.registered_at))
         FROM check_errors e JOIN activities a ON a.id = e.activity
         WHERE e.rule = tally_rules.rule AND e.check_position = tally_rules.position
           AND a.vat_id = OLD.vat_id AND a.id <> OLD.id),
        last_concluded_at)
    WHERE vat_id = OLD.vat_id AND last_concluded_at <= coalesce(OLD.concluded_at, OLD.registered_at)
      AND (rule, position) IN (SELECT rule, check_position FROM check_errors
                               WHERE activity = OLD.id AND rule IS NOT NULL);
    UPDATE tally_listed_rules SET last_concluded_at = coalesce(
        (SELECT max(coalesce(a.concluded_at, a.registered_at))
         FROM error_rules e JOIN activities a ON a.id = e.activity
         WHERE e.rule = tally_listed_rules.rule AND a.vat_id = OLD.vat_id AND a.id <> OLD.id),
        last_concluded_at)
    WHERE vat_id = OLD.vat_id AND last_concluded_at <= coalesce(OLD.concluded_at, OLD.registered_at)
      AND rule IN (SELECT rule FROM error_rules WHERE activity = OLD.id AND rule IS NOT NULL);
END;

-- Watched again.
CREATE TRIGGER tally_last_seen_retry AFTER DELETE ON error_rules
WHEN OLD.rule IS NOT NULL AND EXISTS (SELECT 1 FROM activities WHERE id = OLD.activity)
BEGIN
    UPDATE tally_listed_rules SET last_concluded_at = coalesce(
        (SELECT max(coalesce(a.concluded_at, a.registered_at))
         FROM error_rules e JOIN activities a ON a.id = e.activity
         WHERE e.rule = tally_listed_rules.rule AND a.vat_id = tally_listed_rules.vat_id),
        last_concluded_at)
    WHERE rule = OLD.rule AND vat_id = (SELECT vat_id FROM activities WHERE id = OLD.activity);
END;

-- Rows of a rule in ErrorList, as `check_errors_by_rule` has those in checks.
CREATE INDEX error_rules_by_rule ON error_rules (rule, activity) WHERE rule IS NOT NULL;

-- What has been kept until now, once.
INSERT INTO tally_rules (rule, position, vat_id, n, last_concluded_at)
SELECT e.rule, e.check_position, a.vat_id, 0, max(coalesce(a.concluded_at, a.registered_at))
FROM check_errors e JOIN activities a ON a.id = e.activity
WHERE e.rule IS NOT NULL
GROUP BY 1, 2, 3
ON CONFLICT DO UPDATE SET last_concluded_at = excluded.last_concluded_at;
INSERT INTO tally_listed_rules (rule, vat_id, n, last_concluded_at)
SELECT e.rule, a.vat_id, 0, max(coalesce(a.concluded_at, a.registered_at))
FROM error_rules e JOIN activities a ON a.id = e.activity
WHERE e.rule IS NOT NULL
GROUP BY 1, 2
ON CONFLICT DO UPDATE SET last_concluded_at = excluded.last_concluded_at;
