-- Pruning beside other writers, and the severity of a rule that stands several times in one check.

-- One trigger, because the order of several is not defined. When a rule was last seen is looked up only where it is left:
-- that goes through all rows of the rule. Activities go from the oldest, so it is seldom.
DROP TRIGGER tally_removal;
DROP TRIGGER tally_listed_removal;
DROP TRIGGER tally_last_seen_removal;
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
    UPDATE tally_rules SET last_concluded_at = coalesce(
        (SELECT max(coalesce(a.concluded_at, a.registered_at))
         FROM check_errors e JOIN activities a ON a.id = e.activity
         WHERE e.rule = tally_rules.rule AND e.check_position = tally_rules.position
           AND a.vat_id = OLD.vat_id AND a.id <> OLD.id),
        last_concluded_at)
    WHERE vat_id = OLD.vat_id AND last_concluded_at <= coalesce(OLD.concluded_at, OLD.registered_at)
      AND (rule, position) IN (SELECT rule, check_position FROM check_errors
                               WHERE activity = OLD.id AND rule IS NOT NULL);
    UPDATE tally_listed_rules SET n = n - 1
    WHERE vat_id = OLD.vat_id
      AND rule IN (SELECT rule FROM error_rules WHERE activity = OLD.id AND rule IS NOT NULL);
    DELETE FROM tally_listed_rules WHERE n = 0 AND vat_id = OLD.vat_id
      AND rule IN (SELECT rule FROM error_rules WHERE activity = OLD.id AND rule IS NOT NULL);
    UPDATE tally_listed_rules SET last_concluded_at = coalesce(
        (SELECT max(coalesce(a.concluded_at, a.registered_at))
         FROM error_rules e JOIN activities a ON a.id = e.activity
         WHERE e.rule = tally_listed_rules.rule AND a.vat_id = OLD.vat_id AND a.id <> OLD.id),
        last_concluded_at)
    WHERE vat_id = OLD.vat_id AND last_concluded_at <= coalesce(OLD.concluded_at, OLD.registered_at)
      AND rule IN (SELECT rule FROM error_rules WHERE activity = OLD.id AND rule IS NOT NULL);
END;

-- Events of credentials and VATs, which are pruned by their age. All others go with their activities.
CREATE INDEX events_of_none ON events (occurred_at) WHERE activity IS NULL;

-- A rule's first error in a check is counted (`tally_rule`); a later one may be worse.
CREATE TRIGGER tally_rule_severity AFTER INSERT ON check_errors
WHEN NEW.rule IS NOT NULL
 AND EXISTS (SELECT 1 FROM check_errors
             WHERE activity = NEW.activity AND check_position = NEW.check_position
               AND rule = NEW.rule AND position <> NEW.position)
BEGIN
    UPDATE tally_rules SET severity = CASE WHEN 'error' IN (severity, NEW.severity) THEN 'error'
                                           WHEN 'unknown' IN (severity, NEW.severity) THEN 'unknown'
                                           ELSE coalesce(NEW.severity, severity) END
    WHERE rule = NEW.rule AND position = NEW.check_position
      AND vat_id = (SELECT vat_id FROM activities WHERE id = NEW.activity);
END;
CREATE TRIGGER tally_listed_rule_severity AFTER INSERT ON error_rules
WHEN NEW.rule IS NOT NULL
 AND EXISTS (SELECT 1 FROM error_rules
             WHERE activity = NEW.activity AND rule = NEW.rule AND position <> NEW.position)
BEGIN
    UPDATE tally_listed_rules SET severity = CASE WHEN 'error' IN (severity, NEW.severity) THEN 'error'
                                                  WHEN 'unknown' IN (severity, NEW.severity) THEN 'unknown'
                                                  ELSE coalesce(NEW.severity, severity) END
    WHERE rule = NEW.rule AND vat_id = (SELECT vat_id FROM activities WHERE id = NEW.activity);
END;
