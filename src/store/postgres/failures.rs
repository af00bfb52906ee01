//! Why activities failed.

use super::Store;
use super::error::StoreError;
use crate::store::failures::{Failure, failures};
use crate::store::history::ActivityRow;

impl Store {
    pub async fn failures(&self, activities: &[ActivityRow]) -> Result<Vec<Failure>, StoreError> {
        let found: Vec<(i64, String, Option<String>, Option<String>)> = sqlx::query_as(
            "SELECT j.nth - 1,
                    (SELECT coalesce(json_agg(r.rule ORDER BY r.is_warning, r.first_check, r.first), '[]')::text
                     FROM (SELECT rule, min((coalesce(severity, '') = 'warning')::int) AS is_warning,
                                  min(check_position) AS first_check, min(position) AS first
                           FROM check_errors e WHERE e.activity = a.id AND e.rule IS NOT NULL GROUP BY rule) r),
                    coalesce((SELECT substr(message, 1, 600) FROM check_errors e WHERE e.activity = a.id
                              ORDER BY check_position, position LIMIT 1),
                             (SELECT substr(coalesce(error_code || ' ', '') || coalesce(error_message, ''), 1, 600)
                              FROM errors r WHERE r.activity = a.id ORDER BY position LIMIT 1)),
                    (SELECT substr(reason, 1, 600) FROM transitions t
                     WHERE t.activity = a.id ORDER BY seq DESC LIMIT 1)
             FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS j (vat, activity_id, nth)
             JOIN vats v ON v.vat = j.vat
             JOIN activities a ON a.vat_id = v.id AND a.activity_id = j.activity_id",
        )
        .bind(activities.iter().map(|row| row.vat.clone()).collect::<Vec<_>>())
        .bind(activities.iter().map(|row| row.activity_id.clone()).collect::<Vec<_>>())
        .fetch_all(self.people())
        .await
        .map_err(StoreError::query("reading why activities failed"))?;
        failures(activities, found)
    }
}
