//! Registering activities, and what an operator does to one by hand.

use std::collections::HashSet;

use sqlx::SqliteConnection;

use super::error::StoreError;
use super::record::write_polls;
use super::schedule::{ACTIVITY, refresh_due};
use super::tallies::{count_state, uncount_conclusion};
use super::views::statement_of;
use super::{Store, as_json, commit, millis, upstream};
use crate::domain::activity::{ActivityId, Registration, State, Vat};
use crate::domain::decide;
use crate::domain::lifecycle::{self, Happening, next_state};
use crate::domain::serving::Serving;
use crate::domain::time::Timestamp;
use crate::store::activities::{
    ActivityRef, Added, REGISTER_CHUNK, RegisterOutcome, Retried, ordered, outcomes, search_texts,
    wrong_state,
};
use crate::store::history::ActivityRow;
use crate::store::schedule::claimed;
use crate::store::views::{ActivityView, Argument};
use crate::store::{Claimed, PollRecord};

impl Store {
    pub async fn register(
        &self,
        registrations: &[Registration],
        base_url: &str,
        serving: &Serving,
        initial_interval: std::time::Duration,
        now: Timestamp,
    ) -> Result<Vec<RegisterOutcome>, StoreError> {
        let mut transaction = self.begin().await?;
        upstream::require(&mut transaction, base_url, now).await?;
        let outcomes = insert(&mut transaction, registrations, serving, initial_interval, now).await?;
        commit(transaction).await?;
        Ok(outcomes)
    }

    pub async fn register_one(
        &self,
        registration: &Registration,
        base_url: &str,
        serving: &Serving,
        initial_interval: std::time::Duration,
        now: Timestamp,
    ) -> Result<(RegisterOutcome, ActivityRow), StoreError> {
        let mut transaction = self.begin().await?;
        upstream::require(&mut transaction, base_url, now).await?;
        let one = std::slice::from_ref(registration);
        let outcomes = insert(&mut transaction, one, serving, initial_interval, now).await?;
        let activity = read(&mut transaction, &registration.vat, &registration.activity_id).await?;
        commit(transaction).await?;
        Ok((outcomes.first().copied().unwrap_or(RegisterOutcome::Known), activity))
    }

    pub async fn poll_now(&self, activity: &ActivityRef, now: Timestamp) -> Result<ActivityRow, StoreError> {
        let mut transaction = self.begin().await?;
        let claimed = find(&mut transaction, activity).await?;
        next_state(Some(claimed.activity.state), Happening::PollAsked).map_err(wrong_state(&claimed))?;
        // The revision stays: an answer on its way serves as the poll that is asked for.
        sqlx::query("UPDATE schedules SET next_poll_at = ?2 WHERE id = ?1")
            .bind(claimed.key)
            .bind(now.as_millis())
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::query("making an activity due"))?;
        refresh_due(&mut transaction, &as_json(&[claimed.vat_key])?).await?;
        let activity = read(&mut transaction, &claimed.activity.vat, &claimed.activity.activity_id).await?;
        commit(transaction).await?;
        Ok(activity)
    }

    pub async fn cancel(&self, activity: &ActivityRef, now: Timestamp) -> Result<ActivityRow, StoreError> {
        let mut transaction = self.begin().await?;
        let claimed = find(&mut transaction, activity).await?;
        let decision = decide::cancel(now, &claimed.activity).map_err(wrong_state(&claimed))?;
        let (vat, activity_id) = (claimed.activity.vat.clone(), claimed.activity.activity_id.clone());
        let record = PollRecord { claimed, decided_at: now, decision };
        write_polls(&mut transaction, &self.routes, &[record]).await?;
        let activity = read(&mut transaction, &vat, &activity_id).await?;
        commit(transaction).await?;
        Ok(activity)
    }

    pub async fn retry(
        &self,
        activity: &ActivityRef,
        base_url: &str,
        initial_interval: std::time::Duration,
        now: Timestamp,
    ) -> Result<Retried, StoreError> {
        let mut transaction = self.begin().await?;
        upstream::require(&mut transaction, base_url, now).await?;
        let claimed = find(&mut transaction, activity).await?;
        let from = claimed.activity.state;
        let to = next_state(Some(from), Happening::Retried).map_err(wrong_state(&claimed))?;
        uncount_conclusion(&mut transaction, claimed.key).await?;
        count_state(&mut transaction, claimed.vat_key, from, to).await?;
        restart(&mut transaction, &claimed, to, initial_interval, now).await?;
        record_retry(&mut transaction, claimed.key, (from, to), now).await?;
        clear_conclusion(&mut transaction, claimed.key).await?;
        let activity = read(&mut transaction, &claimed.activity.vat, &claimed.activity.activity_id).await?;
        commit(transaction).await?;
        Ok(Retried { from, activity })
    }
}

/// Within a transaction: has an activity watched as if it were registered now.
async fn restart(
    connection: &mut SqliteConnection,
    claimed: &Claimed,
    state: State,
    initial_interval: std::time::Duration,
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE activities SET state = ?3, round = round + 1, watched_from = ?2, stalled_at = NULL,
             concluded_at = NULL, errors_left_out = 0, next_step = NULL, next_step_ar = NULL, next_step_kind = NULL,
             next_step_owner = NULL WHERE id = ?1",
    )
    .bind(claimed.key)
    .bind(now.as_millis())
    .bind(state.label())
    .execute(&mut *connection)
    .await
    .map_err(StoreError::query("restarting an activity"))?;
    sqlx::query(
        "UPDATE schedules SET revision = revision + 1, next_poll_at = ?2, interval_ms = ?3,
             consecutive_errors = 0, strikes = 0 WHERE id = ?1",
    )
    .bind(claimed.key)
    .bind(now.as_millis())
    .bind(millis(initial_interval))
    .execute(&mut *connection)
    .await
    .map_err(StoreError::query("restarting a schedule"))?;
    refresh_due(connection, &as_json(&[claimed.vat_key])?).await
}

async fn record_retry(
    connection: &mut SqliteConnection,
    key: i64,
    (from, to): (State, State),
    now: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query(
        "INSERT INTO transitions (activity, seq, from_state, to_state, occurred_at, reason)
         SELECT ?1, coalesce(max(seq), 0) + 1, ?3, ?4, ?2, 'watched again by an operator'
         FROM transitions WHERE activity = ?1",
    )
    .bind(key)
    .bind(now.as_millis())
    .bind(from.label())
    .bind(to.label())
    .execute(connection)
    .await
    .map_err(StoreError::query("recording a retry"))?;
    Ok(())
}

/// Within a transaction: removes what belonged to a conclusion that is taken back. The conclusion's event keeps it.
async fn clear_conclusion(connection: &mut SqliteConnection, key: i64) -> Result<(), StoreError> {
    for statement in [
        "DELETE FROM errors WHERE activity = ?1",
        "DELETE FROM error_rules WHERE activity = ?1",
        "DELETE FROM final_answers WHERE activity = ?1",
    ] {
        sqlx::query(statement)
            .bind(key)
            .execute(&mut *connection)
            .await
            .map_err(StoreError::query("clearing a former rejection"))?;
    }
    Ok(())
}

/// Registers these, in the order of the registrations.
async fn insert(
    connection: &mut SqliteConnection,
    registrations: &[Registration],
    serving: &Serving,
    initial_interval: std::time::Duration,
    now: Timestamp,
) -> Result<Vec<RegisterOutcome>, StoreError> {
    let mut all = Vec::with_capacity(registrations.len());
    for chunk in registrations.chunks(REGISTER_CHUNK) {
        insert_vats(connection, chunk, serving).await?;
        let added = insert_activities(connection, chunk, initial_interval, now).await?;
        all.extend(outcomes(chunk, &added));
    }
    Ok(all)
}

/// The activity as it is within the transaction.
async fn read(
    connection: &mut SqliteConnection,
    vat: &Vat,
    activity_id: &ActivityId,
) -> Result<ActivityRow, StoreError> {
    let arguments = [Argument::Text(Some(activity_id.as_str())), Argument::Text(Some(vat.as_str()))];
    let statement = statement_of(ActivityView::Activity);
    let table = Store::table_by(connection, "reading an activity", statement, &arguments).await?;
    ordered(&table, vat, activity_id)
}

/// The one activity that the reference names.
async fn find(connection: &mut SqliteConnection, wanted: &ActivityRef) -> Result<Claimed, StoreError> {
    let rows = sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "SELECT json_group_array({ACTIVITY} ORDER BY v.vat)
         FROM activities a JOIN vats v ON v.id = a.vat_id JOIN schedules s ON s.id = a.id
         WHERE a.activity_id = ?1 AND (?2 IS NULL OR v.vat = ?2)"
    )))
    .bind(wanted.activity_id.as_str())
    .bind(wanted.vat.as_ref().map(Vat::as_str))
    .fetch_one(connection)
    .await;
    let found = claimed(rows, "looking an activity up")?;
    StoreError::only(found, wanted, |claimed| claimed.activity.vat.as_str())
}

async fn insert_vats(
    connection: &mut SqliteConnection,
    registrations: &[Registration],
    serving: &Serving,
) -> Result<(), StoreError> {
    let vats: HashSet<&Vat> = registrations.iter().map(|registration| &registration.vat).collect();
    let rows: Vec<_> = vats.into_iter().map(|vat| (vat.as_str(), serving.credential_of(vat))).collect();
    sqlx::query(
        "INSERT INTO vats (vat, credential) SELECT value ->> 0, value ->> 1 FROM json_each(?1) WHERE true
         ON CONFLICT (vat) DO NOTHING",
    )
    .bind(as_json(&rows)?)
    .execute(connection)
    .await
    .map_err(StoreError::query("registering VATs"))?;
    Ok(())
}

/// Returns those that were not known before.
async fn insert_activities(
    connection: &mut SqliteConnection,
    registrations: &[Registration],
    initial_interval: std::time::Duration,
    now: Timestamp,
) -> Result<Vec<Added>, StoreError> {
    let rows: Vec<_> = registrations
        .iter()
        .map(|registration| {
            (
                registration.vat.as_str(),
                registration.activity_id.as_str(),
                &registration.device_id,
                &registration.reference,
            )
        })
        .collect();
    let added: Vec<(i64, i64, String, String)> = sqlx::query_as(
        "INSERT INTO activities
             (vat_id, activity_id, device_id, reference, state, registered_at, watched_from)
         SELECT v.id, j.value ->> 1, j.value ->> 2, j.value ->> 3, ?3, ?2, ?2
         FROM json_each(?1) j JOIN vats v ON v.vat = j.value ->> 0
         WHERE true ORDER BY j.key
         ON CONFLICT (activity_id, vat_id) DO NOTHING
         RETURNING id, vat_id, (SELECT vat FROM vats WHERE vats.id = activities.vat_id), activity_id",
    )
    .bind(as_json(&rows)?)
    .bind(now.as_millis())
    .bind(lifecycle::REGISTERED.label())
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::query("registering activities"))?;
    let added: Vec<Added> = added.into_iter().map(Added::from).collect();
    sqlx::query(
        "INSERT INTO schedules (id, vat_id, next_poll_at, interval_ms)
         SELECT value ->> 0, value ->> 1, ?2, ?3 FROM json_each(?1)",
    )
    .bind(as_json(&added.iter().map(|added| (added.key, added.vat_key)).collect::<Vec<_>>())?)
    .bind(now.as_millis())
    .bind(millis(initial_interval))
    .execute(&mut *connection)
    .await
    .map_err(StoreError::query("scheduling activities"))?;
    sqlx::query(
        "INSERT INTO search_texts (registered_at, activity, text)
         SELECT ?2, value ->> 0, value ->> 1 FROM json_each(?1)",
    )
    .bind(as_json(&search_texts(registrations, &added))?)
    .bind(now.as_millis())
    .execute(&mut *connection)
    .await
    .map_err(StoreError::query("writing what is searched in"))?;
    let vat_keys: HashSet<i64> = added.iter().map(|added| added.vat_key).collect();
    refresh_due(connection, &as_json(&vat_keys.into_iter().collect::<Vec<_>>())?).await?;
    Ok(added)
}
