//! Certificates: written with each success, reminded of, imported, and counted by the day they end.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::PgConnection;

use super::error::StoreError;
use super::events::write_events;
use super::membership::EVENTS;
use super::{Store, commit, millis, notify, optional_text, text, upstream};
use crate::domain::activity::Vat;
use crate::domain::certificate::{ImportedCertificate, Renewal, due};
use crate::domain::event::Event;
use crate::domain::preflight::{Device, Known};
use crate::domain::routing::Route;
use crate::domain::time::Timestamp;
use crate::store::PollRecord;
use crate::store::certificates::{
    CALENDAR_DAYS, DueRow, EndingCertificate, EndingCertificates, EndingCounts, EndingRow, IMPORT_CHUNK,
    ImportedCertificates, N_FEED, N_LISTED, REMIND_BATCH, Reminded, WITHIN_DAYS, certificate, device_names,
    ending_days, endings, known_devices,
};

impl Store {
    pub async fn follow_renewal(&self, renewal: &Renewal) -> Result<(), StoreError> {
        let valid_for = millis(renewal.valid_for());
        let reminders: Vec<i64> = renewal.remind_before().iter().map(|before| millis(*before)).collect();
        let reminders = serde_json::to_string(&reminders).map_err(StoreError::Encode)?;
        let failed = StoreError::query;
        let mut transaction = self.begin().await?;
        let stored: Option<(i64, String)> =
            sqlx::query_as("SELECT valid_for_ms, remind_before_ms FROM renewal WHERE id = 1")
                .fetch_optional(&mut *transaction)
                .await
                .map_err(failed("reading the renewal settings"))?;
        if stored.is_some_and(|stored| stored == (valid_for, reminders.clone())) {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO renewal (id, valid_for_ms, remind_before_ms) VALUES (1, $1, $2)
             ON CONFLICT (id) DO UPDATE SET valid_for_ms = excluded.valid_for_ms,
                 remind_before_ms = excluded.remind_before_ms",
        )
        .bind(valid_for)
        .bind(&reminders)
        .execute(&mut *transaction)
        .await
        .map_err(failed("storing the renewal settings"))?;
        sqlx::query(
            "UPDATE certificates SET
                 expires_at = least(obtained_at + $1, $2), reminded_before_ms = NULL, end_announced_at = NULL
             WHERE is_end_given = 0 AND expires_at <> least(obtained_at + $1, $2)",
        )
        .bind(valid_for)
        .bind(Timestamp::MAX.as_millis())
        .execute(&mut *transaction)
        .await
        .map_err(failed("counting the ends of certificates anew"))?;
        sqlx::query(
            "UPDATE certificates SET due_at = 0 WHERE superseded_by IS NULL AND end_announced_at IS NULL",
        )
        .execute(&mut *transaction)
        .await
        .map_err(failed("having certificates looked at again"))?;
        commit(transaction).await
    }

    /// Through the session of the daemon that holds the upkeep.
    pub async fn remind(&self, renewal: &Renewal, now: Timestamp) -> Result<Reminded, StoreError> {
        let is_any_due: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM certificates WHERE due_at <= $1)")
                .bind(now.as_millis())
                .fetch_one(self.readers())
                .await
                .map_err(StoreError::query("looking for certificates that end"))?;
        if !is_any_due {
            return Ok(Reminded::default());
        }
        self.session()?.write(async |connection| remind(connection, self.routes(), renewal, now).await).await
    }

    pub async fn import_certificates(
        &self,
        certificates: &[ImportedCertificate],
        base_url: &str,
        now: Timestamp,
    ) -> Result<ImportedCertificates, StoreError> {
        let operation = "importing certificates";
        let mut imported = ImportedCertificates::default();
        let mut transaction = self.begin().await?;
        upstream::require(&mut transaction, base_url, now).await?;
        for chunk in certificates.chunks(IMPORT_CHUNK) {
            let vats: Vec<&str> = chunk.iter().map(|certificate| certificate.vat.as_str()).collect();
            let devices: Vec<String> = chunk.iter().map(|certificate| text(&certificate.device_id)).collect();
            let obtained: Vec<i64> =
                chunk.iter().map(|certificate| certificate.obtained_at.as_millis()).collect();
            let expires: Vec<i64> =
                chunk.iter().map(|certificate| certificate.expires_at.as_millis()).collect();
            let given: Vec<i64> =
                chunk.iter().map(|certificate| i64::from(certificate.is_end_given)).collect();
            let changed = sqlx::query(
                "UPDATE certificates c SET
                     obtained_at = j.obtained_at, expires_at = j.expires_at, is_end_given = j.is_end_given,
                     noted_at = $6, due_at = $6, reminded_before_ms = NULL, end_announced_at = NULL
                 FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
                      AS j (vat, device_id, obtained_at, expires_at, is_end_given)
                 WHERE c.vat = j.vat AND c.device_id = j.device_id
                   AND c.superseded_by IS NULL AND c.activity_id IS NULL
                   AND (c.obtained_at, c.expires_at) <> (j.obtained_at, j.expires_at)",
            )
            .bind(&vats)
            .bind(&devices)
            .bind(&obtained)
            .bind(&expires)
            .bind(&given)
            .bind(now.as_millis())
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::query(operation))?;
            let new = sqlx::query(
                "INSERT INTO certificates (vat, device_id, obtained_at, expires_at, is_end_given, noted_at, due_at)
                 SELECT j.vat, j.device_id, j.obtained_at, j.expires_at, j.is_end_given, $6, $6
                 FROM unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[]) WITH ORDINALITY
                      AS j (vat, device_id, obtained_at, expires_at, is_end_given, nth)
                 WHERE NOT EXISTS (SELECT 1 FROM certificates c
                                   WHERE c.vat = j.vat AND c.device_id = j.device_id
                                     AND c.superseded_by IS NULL
                                     AND (c.activity_id IS NULL OR c.obtained_at >= j.obtained_at))
                 ORDER BY j.nth",
            )
            .bind(&vats)
            .bind(&devices)
            .bind(&obtained)
            .bind(&expires)
            .bind(&given)
            .bind(now.as_millis())
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::query(operation))?;
            let vats: Vec<String> = vats.into_iter().map(str::to_owned).collect();
            make_latest_current(&mut transaction, &vats, &devices).await?;
            supersede(&mut transaction, vats, devices).await?;
            imported.n_changed += changed.rows_affected();
            imported.n_new += new.rows_affected();
        }
        commit(transaction).await?;
        imported.n_known = (certificates.len() as u64).saturating_sub(imported.n_new + imported.n_changed);
        Ok(imported)
    }

    pub async fn ending(&self, now: Timestamp, utc_offset_ms: i64) -> Result<EndingCertificates, StoreError> {
        let soon = now + Duration::from_secs(u64::from(WITHIN_DAYS[WITHIN_DAYS.len() - 1]) * 86_400);
        let list = self.endings(Timestamp::from_millis(i64::MIN), soon, None, N_LISTED).await?;
        let n_soon: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM certificates WHERE superseded_by IS NULL AND expires_at <= $1",
        )
        .bind(soon.as_millis())
        .fetch_one(self.people())
        .await
        .map_err(StoreError::query("counting certificates"))?;
        let offset = utc_offset_ms;
        let today = (now.as_millis() + offset).div_euclid(86_400_000);
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT (expires_at + $1) / 86400000 AS day, count(*) FROM certificates
             WHERE superseded_by IS NULL AND expires_at >= $2 AND expires_at < $3 GROUP BY 1",
        )
        .bind(offset)
        .bind(today * 86_400_000 - offset)
        .bind((today + CALENDAR_DAYS) * 86_400_000 - offset)
        .fetch_all(self.people())
        .await
        .map_err(StoreError::query("counting certificates by day"))?;
        let n_more = u64::try_from(n_soon).unwrap_or(0).saturating_sub(list.len() as u64);
        let (days, counts) = (ending_days(rows), self.ending_counts(now).await?);
        Ok(EndingCertificates { list, n_more, days, counts })
    }

    pub async fn calendar(
        &self,
        from: Timestamp,
        vat: Option<&Vat>,
    ) -> Result<Vec<EndingCertificate>, StoreError> {
        self.endings(from, Timestamp::MAX, vat, N_FEED).await
    }

    async fn endings(
        &self,
        from: Timestamp,
        until: Timestamp,
        vat: Option<&Vat>,
        limit: i64,
    ) -> Result<Vec<EndingCertificate>, StoreError> {
        let rows: Vec<EndingRow> = sqlx::query_as(
            "SELECT vat, device_id, activity_id, obtained_at, expires_at, reminded_at FROM certificates
             WHERE superseded_by IS NULL AND expires_at >= $1 AND expires_at <= $2
               AND ($4::text IS NULL OR vat = $4)
             ORDER BY expires_at, vat, device_id NULLS FIRST, activity_id NULLS FIRST LIMIT $3",
        )
        .bind(from.as_millis())
        .bind(until.as_millis())
        .bind(limit)
        .bind(vat.map(Vat::as_str))
        .fetch_all(self.people())
        .await
        .map_err(StoreError::query("reading certificates"))?;
        Ok(endings(rows))
    }

    /// How many current certificates end soon. Only those are read.
    pub(super) async fn ending_counts(&self, now: Timestamp) -> Result<EndingCounts, StoreError> {
        let at = |days: u32| (now + Duration::from_secs(u64::from(days) * 86_400)).as_millis();
        let [a, b, c, d] = WITHIN_DAYS.map(at);
        let row: (i64, i64, i64, i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE expires_at <= $1),
                    count(*) FILTER (WHERE expires_at > $1 AND expires_at <= $2),
                    count(*) FILTER (WHERE expires_at > $1 AND expires_at <= $3),
                    count(*) FILTER (WHERE expires_at > $1 AND expires_at <= $4),
                    count(*) FILTER (WHERE expires_at > $1)
             FROM certificates WHERE superseded_by IS NULL AND expires_at <= $5",
        )
        .bind(now.as_millis())
        .bind(a)
        .bind(b)
        .bind(c)
        .bind(d)
        .fetch_one(self.vitals())
        .await
        .map_err(StoreError::query("counting certificates"))?;
        let n = |n: i64| u64::try_from(n).unwrap_or(0);
        Ok(EndingCounts { expired: n(row.0), within: [n(row.1), n(row.2), n(row.3), n(row.4)] })
    }

    pub async fn known_devices(
        &self,
        devices: &[Device],
        now: Timestamp,
    ) -> Result<Vec<Vec<Known>>, StoreError> {
        let names = device_names(devices);
        let found: Vec<(i64, Option<i64>, Option<String>)> = sqlx::query_as(
            "WITH j AS MATERIALIZED (
                 SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[]) AS j (nth, vat, name))
             SELECT j.nth, c.expires_at, NULL
             FROM j JOIN certificates c ON c.vat = j.vat AND c.device_id = j.name
             WHERE c.superseded_by IS NULL AND c.expires_at > $4
             UNION ALL
             SELECT j.nth, NULL, a.activity_id
             FROM j JOIN vats v ON v.vat = j.vat JOIN activities a ON a.vat_id = v.id AND a.device_id = j.name
             WHERE a.concluded_at IS NULL",
        )
        .bind(names.iter().map(|(nth, ..)| i64::try_from(*nth).unwrap_or(i64::MAX)).collect::<Vec<_>>())
        .bind(names.iter().map(|(_, vat, _)| text(vat)).collect::<Vec<_>>())
        .bind(names.iter().map(|(.., name)| text(name)).collect::<Vec<_>>())
        .bind(now.as_millis())
        .fetch_all(self.people())
        .await
        .map_err(StoreError::query("looking for known devices"))?;
        Ok(known_devices(devices, found))
    }
}

async fn remind(
    connection: &mut PgConnection,
    routes: &[Route],
    renewal: &Renewal,
    now: Timestamp,
) -> Result<Reminded, StoreError> {
    let rows: Vec<DueRow> = sqlx::query_as(
        "SELECT id, vat, device_id, activity_id, obtained_at, expires_at, noted_at, reminded_before_ms,
                end_announced_at IS NOT NULL
         FROM certificates WHERE due_at <= $1 ORDER BY due_at, id LIMIT $2",
    )
    .bind(now.as_millis())
    .bind(REMIND_BATCH)
    .fetch_all(&mut *connection)
    .await
    .map_err(StoreError::query("looking for certificates that end"))?;
    let n_looked_at = rows.len();
    let (mut ids, mut next, mut before, mut reminded, mut ended) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut events = Vec::new();
    for row in rows {
        ids.push(row.0);
        let certificate = certificate(row);
        let vat = Vat::parse(&certificate.vat)
            .map_err(|_| StoreError::damaged("certificates.vat", &certificate.vat))?;
        let due = due(&certificate, now, renewal);
        events.extend(due.reminder.map(|before| Event::of_renewal(&certificate, &vat, before, now)));
        events.extend(due.end.then(|| Event::of_certificate_end(&certificate, &vat, now)));
        next.push(due.next_at.map(Timestamp::as_millis));
        before.push(due.reminder.map(millis));
        reminded.push(due.reminder.map(|_| now.as_millis()));
        ended.push(due.end.then(|| now.as_millis()));
    }
    let stored: Vec<_> = events.iter().map(|event| (None, event)).collect();
    write_events(connection, routes, &stored).await?;
    sqlx::query(
        "UPDATE certificates c SET
             due_at = j.due_at,
             reminded_before_ms = coalesce(j.before_ms, c.reminded_before_ms),
             reminded_at = coalesce(j.reminded_at, c.reminded_at),
             end_announced_at = coalesce(j.ended_at, c.end_announced_at)
         FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
              AS j (id, due_at, before_ms, reminded_at, ended_at)
         WHERE c.id = j.id",
    )
    .bind(ids)
    .bind(next)
    .bind(before)
    .bind(reminded)
    .bind(ended)
    .execute(&mut *connection)
    .await
    .map_err(StoreError::query("recording reminders"))?;
    if !events.is_empty() {
        notify(connection, EVENTS).await?;
    }
    Ok(Reminded { n_looked_at, n_events: events.len() })
}

/// Within a transaction: stores the certificates of successes. An activity's own stays as it is.
pub(super) async fn write_certificates(
    connection: &mut PgConnection,
    polls: &[&PollRecord],
) -> Result<(), StoreError> {
    let rows: Vec<_> = polls.iter().filter_map(|poll| poll.decision.certificate.as_ref()).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let time = |of: fn(&crate::domain::certificate::Certificate) -> Timestamp| {
        rows.iter().map(|row| of(&row.certificate).as_millis()).collect::<Vec<_>>()
    };
    sqlx::query(
        "INSERT INTO certificates (vat, device_id, activity_id, obtained_at, expires_at, noted_at, due_at)
         SELECT j.vat, j.device_id, j.activity_id, j.obtained_at, j.expires_at, j.noted_at, j.due_at
         FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[])
              WITH ORDINALITY AS j (vat, device_id, activity_id, obtained_at, expires_at, noted_at, due_at, nth)
         ORDER BY j.nth
         ON CONFLICT (vat, activity_id) WHERE activity_id IS NOT NULL DO NOTHING",
    )
    .bind(rows.iter().map(|row| row.certificate.vat.to_string()).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| optional_text(row.certificate.device_id.as_deref())).collect::<Vec<_>>())
    .bind(rows.iter().map(|row| row.certificate.activity_id.clone()).collect::<Vec<_>>())
    .bind(time(|certificate| certificate.obtained_at))
    .bind(time(|certificate| certificate.expires_at))
    .bind(time(|certificate| certificate.noted_at))
    .bind(rows.iter().map(|row| row.due_at.as_millis()).collect::<Vec<_>>())
    .execute(&mut *connection)
    .await
    .map_err(StoreError::query("recording certificates"))?;
    let devices: BTreeSet<(String, String)> = rows
        .iter()
        .filter_map(|row| {
            let device_id = optional_text(row.certificate.device_id.as_deref())?;
            Some((row.certificate.vat.to_string(), device_id))
        })
        .collect();
    let (vats, devices): (Vec<_>, Vec<_>) = devices.into_iter().unzip();
    supersede(connection, vats, devices).await
}

/// Within a transaction: the certificate that each of these devices obtained last is current, also if one was that has
/// been corrected to an earlier time. What is to be said of it is looked at anew.
async fn make_latest_current(
    connection: &mut PgConnection,
    vats: &[String],
    devices: &[String],
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE certificates c SET superseded_by = NULL, due_at = c.noted_at
         FROM unnest($1::text[], $2::text[]) AS j (vat, device_id)
         WHERE c.vat = j.vat AND c.device_id = j.device_id AND c.superseded_by IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM certificates n
                           WHERE n.vat = c.vat AND n.device_id = c.device_id
                             AND (n.obtained_at, n.id) > (c.obtained_at, c.id))",
    )
    .bind(vats)
    .bind(devices)
    .execute(connection)
    .await
    .map_err(StoreError::query("correcting certificates"))?;
    Ok(())
}

/// Within a transaction: of each of these devices only the certificate that was obtained last is current.
async fn supersede(
    connection: &mut PgConnection,
    vats: Vec<String>,
    devices: Vec<String>,
) -> Result<(), StoreError> {
    sqlx::query(
        "UPDATE certificates c SET
             due_at = NULL,
             superseded_by = (SELECT coalesce(n.activity_id, 'imported') FROM certificates n
                              WHERE n.vat = c.vat AND n.device_id = c.device_id
                                AND (n.obtained_at, n.id) > (c.obtained_at, c.id)
                              ORDER BY n.obtained_at, n.id LIMIT 1)
         FROM unnest($1::text[], $2::text[]) AS j (vat, device_id)
         WHERE c.vat = j.vat AND c.device_id = j.device_id AND c.superseded_by IS NULL
           AND EXISTS (SELECT 1 FROM certificates n
                       WHERE n.vat = c.vat AND n.device_id = c.device_id
                         AND (n.obtained_at, n.id) > (c.obtained_at, c.id))",
    )
    .bind(vats)
    .bind(devices)
    .execute(connection)
    .await
    .map_err(StoreError::query("superseding certificates"))?;
    Ok(())
}
