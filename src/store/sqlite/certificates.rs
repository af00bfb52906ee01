//! Certificates: written with each success, reminded of, imported, and counted by the day they end.

use std::collections::BTreeSet;
use std::time::Duration;

use sqlx::SqliteConnection;

use super::error::StoreError;
use super::events::{insert, write_events};
use super::rows::{Row, with_rows};
use super::{Store, as_json, commit, millis, upstream};
use crate::domain::activity::Vat;
use crate::domain::certificate::{ImportedCertificate, Obtained, Renewal, due};
use crate::domain::event::Event;
use crate::domain::preflight::{Device, Known};
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
        let reminders =
            as_json(&renewal.remind_before().iter().map(|before| millis(*before)).collect::<Vec<_>>())?;
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
            "INSERT INTO renewal (id, valid_for_ms, remind_before_ms) VALUES (1, ?1, ?2)
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
                 expires_at = min(obtained_at + ?1, ?2), reminded_before_ms = NULL, end_announced_at = NULL
             WHERE NOT is_end_given AND expires_at <> min(obtained_at + ?1, ?2)",
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

    pub async fn remind(&self, renewal: &Renewal, now: Timestamp) -> Result<Reminded, StoreError> {
        let operation = "looking for certificates that end";
        let is_any_due: bool =
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM certificates WHERE due_at <= ?1)")
                .bind(now.as_millis())
                .fetch_one(&self.readers)
                .await
                .map_err(StoreError::query(operation))?;
        if !is_any_due {
            return Ok(Reminded::default());
        }
        let mut transaction = self.begin().await?;
        let rows: Vec<DueRow> = sqlx::query_as(
            "SELECT id, vat, device_id, activity_id, obtained_at, expires_at, noted_at, reminded_before_ms,
                    end_announced_at IS NOT NULL
             FROM certificates WHERE due_at <= ?1 ORDER BY due_at, id LIMIT ?2",
        )
        .bind(now.as_millis())
        .bind(REMIND_BATCH)
        .fetch_all(&mut *transaction)
        .await
        .map_err(StoreError::query(operation))?;
        let n_looked_at = rows.len();
        let (mut events, mut changes) = (Vec::new(), Vec::with_capacity(n_looked_at));
        for row in rows {
            let id = row.0;
            let certificate = certificate(row);
            let vat = Vat::parse(&certificate.vat)
                .map_err(|_| StoreError::damaged("certificates.vat", &certificate.vat))?;
            let due = due(&certificate, now, renewal);
            events.extend(due.reminder.map(|before| Event::of_renewal(&certificate, &vat, before, now)));
            events.extend(due.end.then(|| Event::of_certificate_end(&certificate, &vat, now)));
            changes.push((
                id,
                due.next_at.map(Timestamp::as_millis),
                due.reminder.map(millis),
                due.reminder.map(|_| now.as_millis()),
                due.end.then(|| now.as_millis()),
            ));
        }
        let stored: Vec<_> = events.iter().map(|event| (None, event)).collect();
        write_events(&mut transaction, &self.routes, &stored).await?;
        let statement = "UPDATE certificates SET
                 due_at = j.value ->> 1,
                 reminded_before_ms = coalesce(j.value ->> 2, reminded_before_ms),
                 reminded_at = coalesce(j.value ->> 3, reminded_at),
                 end_announced_at = coalesce(j.value ->> 4, end_announced_at)
             FROM json_each(?1) j WHERE certificates.id = j.value ->> 0";
        insert(&mut transaction, statement, as_json(&changes)?, "recording reminders").await?;
        commit(transaction).await?;
        Ok(Reminded { n_looked_at, n_events: events.len() })
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
            let rows: Vec<_> = chunk
                .iter()
                .map(|certificate| {
                    (
                        certificate.vat.as_str(),
                        &certificate.device_id,
                        certificate.obtained_at.as_millis(),
                        certificate.expires_at.as_millis(),
                        i64::from(certificate.is_end_given),
                    )
                })
                .collect();
            let rows = as_json(&rows)?;
            let changed = sqlx::query(
                "UPDATE certificates SET
                     obtained_at = j.value ->> 2, expires_at = j.value ->> 3, is_end_given = j.value ->> 4,
                     noted_at = ?2, due_at = ?2, reminded_before_ms = NULL, end_announced_at = NULL
                 FROM json_each(?1) j
                 WHERE certificates.vat = j.value ->> 0 AND certificates.device_id = j.value ->> 1
                   AND superseded_by IS NULL AND activity_id IS NULL
                   AND (obtained_at, expires_at) <> (j.value ->> 2, j.value ->> 3)",
            )
            .bind(&rows)
            .bind(now.as_millis())
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::query(operation))?;
            let new = sqlx::query(
                "INSERT INTO certificates
                     (vat, device_id, obtained_at, expires_at, is_end_given, noted_at, due_at)
                 SELECT j.value ->> 0, j.value ->> 1, j.value ->> 2, j.value ->> 3, j.value ->> 4, ?2, ?2
                 FROM json_each(?1) j
                 WHERE NOT EXISTS (SELECT 1 FROM certificates c
                                   WHERE c.vat = j.value ->> 0 AND c.device_id = j.value ->> 1
                                     AND c.superseded_by IS NULL
                                     AND (c.activity_id IS NULL OR c.obtained_at >= j.value ->> 2))
                 ORDER BY j.key",
            )
            .bind(&rows)
            .bind(now.as_millis())
            .execute(&mut *transaction)
            .await
            .map_err(StoreError::query(operation))?;
            let devices: Vec<_> =
                chunk.iter().map(|certificate| (certificate.vat.as_str(), &certificate.device_id)).collect();
            let devices = as_json(&devices)?;
            make_latest_current(&mut transaction, devices.clone()).await?;
            supersede(&mut transaction, devices).await?;
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
            "SELECT count(*) FROM certificates WHERE superseded_by IS NULL AND expires_at <= ?1",
        )
        .bind(soon.as_millis())
        .fetch_one(&self.reports)
        .await
        .map_err(StoreError::query("counting certificates"))?;
        let offset = utc_offset_ms;
        let today = (now.as_millis() + offset).div_euclid(86_400_000);
        let rows: Vec<(i64, i64)> = sqlx::query_as(
            "SELECT (expires_at + ?1) / 86400000 AS day, count(*) FROM certificates
             WHERE superseded_by IS NULL AND expires_at >= ?2 AND expires_at < ?3 GROUP BY day",
        )
        .bind(offset)
        .bind(today * 86_400_000 - offset)
        .bind((today + CALENDAR_DAYS) * 86_400_000 - offset)
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("counting certificates by day"))?;
        let days = ending_days(rows);
        let n_more = u64::try_from(n_soon).unwrap_or(0).saturating_sub(list.len() as u64);
        Ok(EndingCertificates { list, n_more, days, counts: self.ending_counts(now).await? })
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
             WHERE superseded_by IS NULL AND expires_at >= ?1 AND expires_at <= ?2 AND (?4 IS NULL OR vat = ?4)
             ORDER BY expires_at, vat, device_id, activity_id LIMIT ?3",
        )
        .bind(from.as_millis())
        .bind(until.as_millis())
        .bind(limit)
        .bind(vat.map(Vat::as_str))
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("reading certificates"))?;
        Ok(endings(rows))
    }

    /// How many current certificates end soon. Only those are read.
    pub(super) async fn ending_counts(&self, now: Timestamp) -> Result<EndingCounts, StoreError> {
        let at = |days: u32| (now + Duration::from_secs(u64::from(days) * 86_400)).as_millis();
        let [a, b, c, d] = WITHIN_DAYS.map(at);
        let row: (i64, i64, i64, i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE expires_at <= ?1),
                    count(*) FILTER (WHERE expires_at > ?1 AND expires_at <= ?2),
                    count(*) FILTER (WHERE expires_at > ?1 AND expires_at <= ?3),
                    count(*) FILTER (WHERE expires_at > ?1 AND expires_at <= ?4),
                    count(*) FILTER (WHERE expires_at > ?1)
             FROM certificates WHERE superseded_by IS NULL AND expires_at <= ?5",
        )
        .bind(now.as_millis())
        .bind(a)
        .bind(b)
        .bind(c)
        .bind(d)
        .fetch_one(&self.vitals)
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
        let rows = device_names(devices);
        let found: Vec<(i64, Option<i64>, Option<String>)> = sqlx::query_as(
            "SELECT j.value ->> 0, c.expires_at, NULL
             FROM json_each(?1) j
             JOIN certificates c ON c.vat = j.value ->> 1 AND c.device_id = j.value ->> 2
             WHERE c.superseded_by IS NULL AND c.expires_at > ?2
             UNION ALL
             SELECT j.value ->> 0, NULL, a.activity_id
             FROM json_each(?1) j
             JOIN vats v ON v.vat = j.value ->> 1
             JOIN activities a ON a.vat_id = v.id AND a.device_id = j.value ->> 2
             WHERE a.concluded_at IS NULL",
        )
        .bind(as_json(&rows)?)
        .bind(now.as_millis())
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("looking for known devices"))?;
        Ok(known_devices(devices, found))
    }
}

/// Within a transaction: stores the certificates of successes. An activity's own stays as it is.
pub(super) async fn write_certificates(
    connection: &mut SqliteConnection,
    polls: &[&PollRecord],
) -> Result<(), StoreError> {
    let obtained = || polls.iter().filter_map(|poll| poll.decision.certificate.as_ref());
    let rows: Vec<_> = obtained().collect();
    let columns = "vat, device_id, activity_id, obtained_at, expires_at, noted_at, due_at";
    let statement = "INSERT INTO certificates
             (vat, device_id, activity_id, obtained_at, expires_at, noted_at, due_at)
         SELECT vat, device_id, activity_id, obtained_at, expires_at, noted_at, due_at FROM j WHERE vat IS NOT NULL
         ON CONFLICT (vat, activity_id) WHERE activity_id IS NOT NULL DO NOTHING";
    let bind = |row: &mut Row, one: Option<&&Obtained>| {
        let certificate = one.map(|obtained| &obtained.certificate);
        row.push_text(certificate.map(|certificate| certificate.vat.as_str()))
            .push_text(certificate.and_then(|certificate| certificate.device_id.as_deref()))
            .push_text(certificate.and_then(|certificate| certificate.activity_id.as_deref()))
            .push_bind(certificate.map(|certificate| certificate.obtained_at.as_millis()))
            .push_bind(certificate.map(|certificate| certificate.expires_at.as_millis()))
            .push_bind(certificate.map(|certificate| certificate.noted_at.as_millis()))
            .push_bind(one.map(|obtained| obtained.due_at.as_millis()));
    };
    with_rows(connection, columns, statement, &rows, bind, "recording certificates").await?;
    let devices: BTreeSet<_> = obtained()
        .filter_map(|obtained| Some((&obtained.certificate.vat, obtained.certificate.device_id.as_ref()?)))
        .collect();
    if devices.is_empty() {
        return Ok(());
    }
    supersede(connection, as_json(&devices.into_iter().collect::<Vec<_>>())?).await
}

/// Within a transaction: the certificate that each of these devices obtained last is current, also if one was that has
/// been corrected to an earlier time. What is to be said of it is looked at anew.
async fn make_latest_current(connection: &mut SqliteConnection, devices: String) -> Result<(), StoreError> {
    let statement = "UPDATE certificates SET superseded_by = NULL, due_at = noted_at
         FROM json_each(?1) j
         WHERE certificates.vat = j.value ->> 0 AND certificates.device_id = j.value ->> 1
           AND certificates.superseded_by IS NOT NULL
           AND NOT EXISTS (SELECT 1 FROM certificates n
                           WHERE n.vat = certificates.vat AND n.device_id = certificates.device_id
                             AND (n.obtained_at, n.id) > (certificates.obtained_at, certificates.id))";
    insert(connection, statement, devices, "correcting certificates").await
}

/// Within a transaction: of each of these devices, pairs of VAT and `device_id`, only the certificate that was obtained
/// last is current.
async fn supersede(connection: &mut SqliteConnection, devices: String) -> Result<(), StoreError> {
    let statement = "UPDATE certificates SET
             due_at = NULL,
             superseded_by = (SELECT coalesce(n.activity_id, 'imported') FROM certificates n
                              WHERE n.vat = certificates.vat AND n.device_id = certificates.device_id
                                AND (n.obtained_at, n.id) > (certificates.obtained_at, certificates.id)
                              ORDER BY n.obtained_at, n.id LIMIT 1)
         FROM json_each(?1) j
         WHERE certificates.vat = j.value ->> 0 AND certificates.device_id = j.value ->> 1
           AND certificates.superseded_by IS NULL
           AND EXISTS (SELECT 1 FROM certificates n
                       WHERE n.vat = certificates.vat AND n.device_id = certificates.device_id
                         AND (n.obtained_at, n.id) > (certificates.obtained_at, certificates.id))";
    insert(connection, statement, devices, "superseding certificates").await
}
