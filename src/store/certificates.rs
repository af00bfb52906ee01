//! Certificates, as they are shown.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::civil::Date;

use crate::domain::certificate::Certificate;
use crate::domain::preflight::{Device, Known};
use crate::domain::time::Timestamp;

/// Certificates that are checked in one transaction.
pub(super) const REMIND_BATCH: i64 = 500;

/// Rows in one set-based statement.
pub(super) const IMPORT_CHUNK: usize = 10_000;

/// Within this time certificates count as about to end, for metrics and the page.
pub const WITHIN_DAYS: [u32; 4] = [14, 30, 60, 90];

/// Days of the calendar.
pub(super) const CALENDAR_DAYS: i64 = 366;

/// Certificates that are listed on the page.
pub(super) const N_LISTED: i64 = 100;

/// Most entries of the calendar feed.
pub(super) const N_FEED: i64 = 2_000;

/// The result of one check for due reminders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Reminded {
    /// Certificates that were checked.
    pub n_looked_at: usize,
    /// Events that were stored.
    pub n_events: usize,
}

/// The result of an import.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ImportedCertificates {
    /// Devices that had no certificate, or an older one.
    pub n_new: u64,
    /// Imported before, with other times.
    pub n_changed: u64,
    /// Known already: the same times, or a later certificate.
    pub n_known: u64,
}

/// How many current certificates end soon.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct EndingCounts {
    /// They have ended, and no later success replaced them.
    pub expired: u64,
    /// They end within so many days of [`WITHIN_DAYS`], those that have ended left out.
    pub within: [u64; WITHIN_DAYS.len()],
}

/// A current certificate and its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndingCertificate {
    /// Its VAT.
    pub vat: String,
    /// The user's name for the device.
    pub device_id: Option<String>,
    /// The activity that obtained it; `None`: it was imported.
    pub activity_id: Option<String>,
    /// When it was generated.
    pub obtained_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When its end was last reminded of.
    pub reminded_at: Option<Timestamp>,
}

/// What ends when.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EndingCertificates {
    /// Those that have ended or end within 90 days, the first to end first; a bounded number.
    pub list: Vec<EndingCertificate>,
    /// How many more do.
    pub n_more: u64,
    /// How many end on which day of the next twelve months; days without any are left out.
    pub days: BTreeMap<Date, u64>,
    /// How many end soon.
    pub counts: EndingCounts,
}

pub(super) type EndingRow = (String, Option<String>, Option<String>, i64, i64, Option<i64>);

/// Key, VAT, device, activity; obtained, ends, noted; the distance of the latest reminder, and whether the end was
/// announced.
pub(super) type DueRow = (i64, String, Option<String>, Option<String>, i64, i64, i64, Option<i64>, bool);

pub(super) fn certificate(row: DueRow) -> Certificate {
    let (_, vat, device_id, activity_id, obtained_at, expires_at, noted_at, before_ms, is_end_announced) =
        row;
    Certificate {
        vat,
        device_id,
        activity_id,
        obtained_at: Timestamp::from_millis(obtained_at),
        expires_at: Timestamp::from_millis(expires_at),
        noted_at: Timestamp::from_millis(noted_at),
        reminded_before: before_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
        is_end_announced,
    }
}

/// From rows of certificates.
pub(super) fn endings(rows: Vec<EndingRow>) -> Vec<EndingCertificate> {
    rows.into_iter()
        .map(|(vat, device_id, activity_id, obtained_at, expires_at, reminded_at)| EndingCertificate {
            vat,
            device_id,
            activity_id,
            obtained_at: Timestamp::from_millis(obtained_at),
            expires_at: Timestamp::from_millis(expires_at),
            reminded_at: reminded_at.map(Timestamp::from_millis),
        })
        .collect()
}

/// From rows of days since 1970 and how many certificates end on each.
pub(super) fn ending_days(rows: Vec<(i64, i64)>) -> BTreeMap<Date, u64> {
    let date = |day: i64| Date::new(1970, 1, 1).ok()?.checked_add(jiff::Span::new().try_days(day).ok()?).ok();
    rows.into_iter().filter_map(|(day, n)| Some((date(day)?, u64::try_from(n).ok()?))).collect()
}

/// The names that devices may be known by: the device's place, its VAT and a name of it.
pub(super) fn device_names(devices: &[Device]) -> Vec<(u64, String, String)> {
    devices
        .iter()
        .enumerate()
        .filter_map(|(nth, device)| Some((nth as u64, device.identity()?)))
        .flat_map(|(nth, identity)| {
            identity.names.into_iter().map(move |name| (nth, identity.vat.clone(), name))
        })
        .collect()
}

/// From rows of a device's place, the end of a certificate of it, or an activity that is being watched.
pub(super) fn known_devices(
    devices: &[Device],
    found: Vec<(i64, Option<i64>, Option<String>)>,
) -> Vec<Vec<Known>> {
    let mut known: Vec<Vec<Known>> = devices.iter().map(|_| Vec::new()).collect();
    for (nth, expires_at, activity_id) in found {
        let Some(of_device) = usize::try_from(nth).ok().and_then(|nth| known.get_mut(nth)) else {
            continue;
        };
        let certificate = expires_at.map(|at| Known::Certificate { expires_at: Timestamp::from_millis(at) });
        let waiting = activity_id.map(|activity_id| Known::Waiting { activity_id });
        for one in certificate.into_iter().chain(waiting) {
            if !of_device.contains(&one) {
                of_device.push(one);
            }
        }
    }
    known
}
