//! What belongs to an activity's history and is in no view: upstream's final answer, and the device's attempt before.

use super::Store;
use super::error::StoreError;
use crate::domain::activity::Vat;
use crate::domain::time::Timestamp;
use crate::store::activities::ActivityRef;
use crate::store::history::{AttemptsRow, ComparedRules, FinalAnswer, FormerAttempt, former_attempt};

impl Store {
    pub async fn final_answer(&self, activity: &ActivityRef) -> Result<Option<FinalAnswer>, StoreError> {
        let row: Option<(i64, Option<i64>, String, i64)> = sqlx::query_as(
            "SELECT f.answered_at, f.http_status, f.body, f.is_cut
             FROM activities a JOIN vats v ON v.id = a.vat_id JOIN final_answers f ON f.activity = a.id
             WHERE a.activity_id = $1 AND ($2::text IS NULL OR v.vat = $2)",
        )
        .bind(activity.activity_id.as_str())
        .bind(activity.vat.as_ref().map(Vat::as_str))
        .fetch_optional(self.people())
        .await
        .map_err(StoreError::query("reading the final answer"))?;
        Ok(row.map(|(answered_at, http_status, body, is_cut)| FinalAnswer {
            answered_at: Timestamp::from_millis(answered_at),
            http_status: http_status.and_then(|status| u16::try_from(status).ok()),
            body,
            is_cut: is_cut != 0,
        }))
    }

    pub async fn former_attempt(
        &self,
        vat: &str,
        activity_id: &str,
    ) -> Result<Option<FormerAttempt>, StoreError> {
        let row: Option<AttemptsRow> = sqlx::query_as(
            "SELECT p.id, p.activity_id, p.state, p.registered_at, p.concluded_at, a.id, a.state
             FROM vats v
             JOIN activities a ON a.vat_id = v.id AND a.activity_id = $2
             JOIN LATERAL (SELECT * FROM activities b
                           WHERE b.vat_id = a.vat_id AND b.device_id = a.device_id
                             AND (b.registered_at, b.id) < (a.registered_at, a.id)
                           ORDER BY b.registered_at DESC, b.id DESC LIMIT 1) p ON true
             WHERE v.vat = $1",
        )
        .bind(vat)
        .bind(activity_id)
        .fetch_optional(self.people())
        .await
        .map_err(StoreError::query("looking for the former attempt"))?;
        let Some(row) = row else { return Ok(None) };
        let (mut attempt, comparable) = former_attempt(row)?;
        if let Some(keys) = comparable {
            let found: Vec<(i64, String)> = sqlx::query_as(
                "SELECT DISTINCT activity, rule FROM check_errors WHERE activity IN ($1, $2) AND rule IS NOT NULL",
            )
            .bind(keys[0])
            .bind(keys[1])
            .fetch_all(self.people())
            .await
            .map_err(StoreError::query("comparing two attempts"))?;
            attempt.rules = Some(ComparedRules::of(keys, &found));
        }
        Ok(Some(attempt))
    }
}
