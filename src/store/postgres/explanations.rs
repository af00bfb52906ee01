//! What rules mean and what to do, as reports read it.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::error::StoreError;
use super::{Store, commit, text};
use crate::domain::catalogue::{Catalogue, Explanation};
use crate::domain::next_step::NextStep;

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
        let steps = NextStep::waiting_steps();
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
