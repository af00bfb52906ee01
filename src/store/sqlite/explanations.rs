//! What rules mean and what to do, as reports read it.

use std::collections::{BTreeMap, BTreeSet};

use sqlx::SqliteConnection;

use super::error::StoreError;
use super::events::insert;
use super::{Store, as_json, commit};
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
        let steps: Vec<_> = NextStep::standing()
            .into_iter()
            .map(|(reason, step)| (reason, step.text.en, step.text.ar, step.kind))
            .collect();
        let statement = "INSERT INTO waiting_steps (reason, step, step_ar, kind)
             SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(?1) WHERE true
             ON CONFLICT (reason) DO UPDATE SET
                 step = excluded.step, step_ar = excluded.step_ar, kind = excluded.kind";
        insert(&mut transaction, statement, as_json(&steps)?, "writing what to do while waiting").await?;
        commit(transaction).await
    }

    pub async fn final_answer(&self, activity: &ActivityRef) -> Result<Option<FinalAnswer>, StoreError> {
        let row: Option<(i64, Option<u16>, String, bool)> = sqlx::query_as(
            "SELECT f.answered_at, f.http_status, f.body, f.is_cut
             FROM activities a JOIN vats v ON v.id = a.vat_id JOIN final_answers f ON f.activity = a.id
             WHERE a.activity_id = ?1 AND (?2 IS NULL OR v.vat = ?2)",
        )
        .bind(activity.activity_id.as_str())
        .bind(activity.vat.as_ref().map(Vat::as_str))
        .fetch_optional(&self.reports)
        .await
        .map_err(StoreError::query("reading the final answer"))?;
        Ok(row.map(|(answered_at, http_status, body, is_cut)| FinalAnswer {
            answered_at: Timestamp::from_millis(answered_at),
            http_status,
            body,
            is_cut,
        }))
    }

    /// The device's attempt before this one: id, state and time of conclusion, and which rules it broke that this one
    /// breaks too, or no longer, or newly; those only where upstream has concluded both. `None` where there is none.
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
             JOIN activities a ON a.vat_id = v.id AND a.activity_id = ?2
             JOIN activities p ON p.id = (SELECT id FROM activities
                                          WHERE vat_id = a.vat_id AND device_id = a.device_id
                                            AND (registered_at, id) < (a.registered_at, a.id)
                                          ORDER BY registered_at DESC, id DESC LIMIT 1)
             WHERE v.vat = ?1",
        )
        .bind(vat)
        .bind(activity_id)
        .fetch_optional(&self.reports)
        .await
        .map_err(failed("looking for the former attempt"))?;
        let Some((former, former_id, state, registered_at, concluded_at, this, this_state)) = row else {
            return Ok(None);
        };
        let (state, this_state) = (stored_state(state)?, stored_state(this_state)?);
        let rules = if ComparedRules::knows(state) && ComparedRules::knows(this_state) {
            let found: Vec<(i64, String)> = sqlx::query_as(
                "SELECT DISTINCT activity, rule FROM check_errors WHERE activity IN (?1, ?2) AND rule IS NOT NULL",
            )
            .bind(former)
            .bind(this)
            .fetch_all(&self.reports)
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
    connection: &mut SqliteConnection,
    explanations: impl Iterator<Item = &'a Explanation>,
) -> Result<(), StoreError> {
    let rows: BTreeMap<(&str, &str), _> = explanations
        .map(|explained| {
            let Explanation { rule, variant, severity, owner, meaning, remedy, .. } = explained;
            let (rule, variant) =
                (rule.as_deref().unwrap_or_default(), variant.as_deref().unwrap_or_default());
            let row = (
                (rule, variant, severity.label(), owner.label()),
                (&meaning.en, &meaning.ar, &remedy.en, &remedy.ar),
            );
            ((rule, variant), row)
        })
        .collect();
    if rows.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = rows.into_values().collect();
    let statement =
        "INSERT INTO explanations (rule, variant, severity, owner, meaning, meaning_ar, remedy, remedy_ar)
         SELECT value ->> '$[0][0]', value ->> '$[0][1]', value ->> '$[0][2]', value ->> '$[0][3]',
                value ->> '$[1][0]', value ->> '$[1][1]', value ->> '$[1][2]', value ->> '$[1][3]'
         FROM json_each(?1) WHERE true
         ON CONFLICT (rule, variant) DO UPDATE SET
             severity = excluded.severity, owner = excluded.owner,
             meaning = excluded.meaning, meaning_ar = excluded.meaning_ar,
             remedy = excluded.remedy, remedy_ar = excluded.remedy_ar
         WHERE (severity, owner, meaning, meaning_ar, remedy, remedy_ar)
            <> (excluded.severity, excluded.owner, excluded.meaning, excluded.meaning_ar, excluded.remedy, excluded.remedy_ar)";
    insert(connection, statement, as_json(&rows)?, "recording explanations").await
}
