//! Why activities failed.

use super::error::StoreError;
use super::{Store, as_json};
use crate::store::failures::{Failure, failures};
use crate::store::history::ActivityRow;

impl Store {
    pub async fn failures(&self, activities: &[ActivityRow]) -> Result<Vec<Failure>, StoreError> {
        let keys: Vec<(&str, &str)> =
            activities.iter().map(|row| (row.vat.as_str(), row.activity_id.as_str())).collect();
        let found: Vec<(i64, String, Option<String>, Option<String>)> = sqlx::query_as(
            "SELECT j.key,
                    (SELECT json_group_array(rule)
                     FROM (SELECT rule FROM check_errors e WHERE e.activity = a.id AND e.rule IS NOT NULL
                           GROUP BY rule
                           ORDER BY min(coalesce(severity, '') = 'warning'), min(check_position), min(position))),
                    coalesce((SELECT substr(message, 1, 600) FROM check_errors e WHERE e.activity = a.id
                              ORDER BY check_position, position LIMIT 1),
                             (SELECT substr(coalesce(error_code || ' ', '') || coalesce(error_message, ''), 1, 600)
                              FROM errors r WHERE r.activity = a.id ORDER BY position LIMIT 1)),
                    (SELECT substr(reason, 1, 600) FROM transitions t
                     WHERE t.activity = a.id ORDER BY seq DESC LIMIT 1)
             FROM json_each(?1) j
             CROSS JOIN vats v ON v.vat = j.value ->> 0
             CROSS JOIN activities a ON a.vat_id = v.id AND a.activity_id = j.value ->> 1",
        )
        .bind(as_json(&keys)?)
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("reading why activities failed"))?;
        failures(activities, found)
    }
}
