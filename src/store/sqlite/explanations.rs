//! What rules mean and what to do, as reports read it.

use std::collections::BTreeMap;

use sqlx::SqliteConnection;

use super::error::StoreError;
use super::events::insert;
use super::{Store, as_json, commit};
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
        let steps: Vec<_> = NextStep::waiting_steps()
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
