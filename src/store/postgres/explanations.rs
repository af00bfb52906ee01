//! What rules mean and what to do, as reports read it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::PgConnection;

use super::error::StoreError;
use super::{Store, commit, text};
use crate::domain::activity::Vat;
use crate::domain::catalogue::{Catalogue, Explanation};
use crate::domain::next_step::NextStep;
use crate::domain::time::Timestamp;
use crate::store::activities::ActivityRef;
use crate::store::explanations::{ComparedRules, FinalAnswer, FormerAttempt};
use crate::store::schedule::stored_state;

impl Store {
    pub async fn explain_anew(&self, catalogue: &Catalogue) -> Result<(), StoreError> {
        let mut transaction = self.begin().await?;
        // Explanations of causes that this catalogue doesn't know are replaced by those of their rules.
        let causes: Vec<(String, String)> = sqlx::query_as(
            "SELECT rule, '' FROM tally_rules UNION SELECT rule, '' FROM tally_listed_rules
             UNION SELECT rule, variant FROM explanations UNION SELECT rule, '' FROM explanations
             UNION SELECT '', ''",
        )
        .fetch_all(&mut *transaction)
        .await
        .map_err(StoreError::query("reading the rules that occurred"))?;
        let explained = causes.iter().map(|(rule, variant)| {
            let named = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
            let explained = catalogue.explain_variant(Some(rule), Some(variant));
            Explanation { variant: named(variant), ..explained }
        });
        let explained: Vec<Explanation> = explained.collect();
        write_explanations(&mut transaction, explained.iter()).await?;
        let steps = NextStep::standing();
        sqlx::query(
            "INSERT INTO waiting_steps AS w (reason, step, step_ar, kind)
             SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
             ON CONFLICT (reason) DO UPDATE SET step = excluded.step, step_ar = excluded.step_ar, kind = excluded.kind
             WHERE (w.step, w.step_ar, w.kind) IS DISTINCT FROM (excluded.step, excluded.step_ar, excluded.kind)",
        )
        .bind(steps.iter().map(|(reason, _)| reason.to_string()).collect::<Vec<_>>())
        .bind(steps.iter().map(|(_, step)| step.text.en.to_string()).collect::<Vec<_>>())
        .bind(steps.iter().map(|(_, step)| step.text.ar.to_string()).collect::<Vec<_>>())
        .bind(steps.iter().map(|(_, step)| step.kind.to_string()).collect::<Vec<_>>())
        .execute(&mut *transaction)
        .await
        .map_err(StoreError::query("writing what to do while waiting"))?;
        commit(transaction).await
    }

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
        let failed = StoreError::query;
        type Row = (i64, String, String, i64, Option<i64>, i64, String);
        let row: Option<Row> = sqlx::query_as(
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
        .map_err(failed("looking for the former attempt"))?;
        let Some((former, former_id, state, registered_at, concluded_at, this, this_state)) = row else {
            return Ok(None);
        };
        let (state, this_state) = (stored_state(state)?, stored_state(this_state)?);
        let rules = if ComparedRules::knows(state) && ComparedRules::knows(this_state) {
            let found: Vec<(i64, String)> = sqlx::query_as(
                "SELECT DISTINCT activity, rule FROM check_errors WHERE activity IN ($1, $2) AND rule IS NOT NULL",
            )
            .bind(former)
            .bind(this)
            .fetch_all(self.people())
            .await
            .map_err(failed("comparing two attempts"))?;
            let of = |key: i64| -> BTreeSet<String> {
                found.iter().filter(|(activity, _)| *activity == key).map(|(_, rule)| rule.clone()).collect()
            };
            Some(ComparedRules::of(&of(former), &of(this)))
        } else {
            None
        };
        let time = |ms: i64| Timestamp::from_millis(ms);
        Ok(Some(FormerAttempt {
            activity_id: former_id,
            state,
            registered_at: time(registered_at),
            concluded_at: concluded_at.map(time),
            rules,
        }))
    }
}

/// Within a transaction: stores these explanations, unless they are stored already.
pub(super) async fn write_explanations<'a>(
    connection: &mut PgConnection,
    explanations: impl Iterator<Item = &'a Explanation>,
) -> Result<(), StoreError> {
    let rows: BTreeMap<(String, String), &Explanation> = explanations
        .map(|explained| {
            let key = |of: &Option<String>| text(of.as_deref().unwrap_or_default());
            ((key(&explained.rule), key(&explained.variant)), explained)
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let column = |of: fn(&Explanation) -> &str| rows.values().map(|row| text(of(row))).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO explanations AS x (rule, variant, severity, owner, meaning, meaning_ar, remedy, remedy_ar)
         SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[],
                              $8::text[])
         ON CONFLICT (rule, variant) DO UPDATE SET
             severity = excluded.severity, owner = excluded.owner,
             meaning = excluded.meaning, meaning_ar = excluded.meaning_ar,
             remedy = excluded.remedy, remedy_ar = excluded.remedy_ar
         WHERE (x.severity, x.owner, x.meaning, x.meaning_ar, x.remedy, x.remedy_ar)
            <> (excluded.severity, excluded.owner, excluded.meaning, excluded.meaning_ar, excluded.remedy,
                excluded.remedy_ar)",
    )
    .bind(rows.keys().map(|(rule, _)| rule.clone()).collect::<Vec<_>>())
    .bind(rows.keys().map(|(_, variant)| variant.clone()).collect::<Vec<_>>())
    .bind(column(|row| row.severity.label()))
    .bind(column(|row| row.owner.label()))
    .bind(column(|row| &row.meaning.en))
    .bind(column(|row| &row.meaning.ar))
    .bind(column(|row| &row.remedy.en))
    .bind(column(|row| &row.remedy.ar))
    .execute(connection)
    .await
    .map_err(StoreError::query("recording explanations"))?;
    Ok(())
}
