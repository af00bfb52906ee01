//! Certificates: when one ends, and which reminders and events are due before and at its end.
//!
//! [`due`] is the whole lifecycle: from a certificate, the time and the settings it decides what is due now and when to
//! check again. Certificates end by the calendar, so a jump of the clock moves none of these times. What was announced
//! is stored with the certificate, so that it is not announced twice.

use std::time::Duration;

use super::activity::{Vat, parse_label};
use super::text::quoted;
use super::time::Timestamp;

/// How long a PCSID is valid unless the configuration says otherwise: ZATCA's five years.
pub const VALID_FOR: Duration = Duration::from_secs(1_826 * 24 * 60 * 60);

/// `[renewal]`: how long certificates are valid, and when to remind of their end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    valid_for: Duration,
    /// The longest first, each once.
    remind_before: Vec<Duration>,
}

impl Renewal {
    /// Certificates are valid for `valid_for`; each of `remind_before` is one reminder so long before the end.
    pub fn new(valid_for: Duration, mut remind_before: Vec<Duration>) -> Self {
        remind_before.sort_unstable_by(|a, b| b.cmp(a));
        remind_before.dedup();
        Self { valid_for, remind_before }
    }

    /// From obtaining a certificate to its end.
    pub fn valid_for(&self) -> Duration {
        self.valid_for
    }

    /// The reminders, the longest before the end first.
    pub fn remind_before(&self) -> &[Duration] {
        &self.remind_before
    }
}

impl Default for Renewal {
    fn default() -> Self {
        let days = |n: u64| Duration::from_secs(n * 24 * 60 * 60);
        Self::new(VALID_FOR, vec![days(60), days(14)])
    }
}

/// A certificate that no later one has superseded, with what was said of its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The VAT that the device belongs to.
    pub vat: String,
    /// The user's name for the device.
    pub device_id: Option<String>,
    /// The activity that obtained it; `None`: it was imported.
    pub activity_id: Option<String>,
    /// When it was generated.
    pub obtained_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When this program first knew of it.
    pub noted_at: Timestamp,
    /// The latest reminder that was sent, by its distance from the end.
    pub reminded_before: Option<Duration>,
    /// Whether its end was announced.
    pub is_end_announced: bool,
}

/// A certificate that was just obtained, and when something is due for it first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obtained {
    /// The certificate.
    pub certificate: Certificate,
    /// When something is due for it first; `now` if something is due already.
    pub due_at: Timestamp,
}

impl Obtained {
    /// A certificate that becomes known now.
    pub fn new(certificate: Certificate, now: Timestamp, renewal: &Renewal) -> Self {
        let due = due(&certificate, now, renewal);
        let due_at = due.next_at.filter(|_| due.reminder.is_none()).unwrap_or(now);
        Self { certificate, due_at }
    }
}

/// A certificate that was obtained before this program watched its device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportedCertificate {
    /// The VAT that the device belongs to.
    pub vat: Vat,
    /// The user's name for the device.
    pub device_id: String,
    /// When it was generated; calculated if only its end was given.
    pub obtained_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Whether the end was given and not calculated.
    pub is_end_given: bool,
}

impl ImportedCertificate {
    /// Validates the four columns of an import; empty times count as left out.
    ///
    /// # Errors
    /// One sentence that names the value and the rule.
    pub fn parse(
        vat: &str,
        device_id: &str,
        obtained_at: &str,
        expires_at: &str,
        valid_for: Duration,
    ) -> Result<Self, String> {
        let vat = Vat::parse(vat).map_err(|err| err.to_string())?;
        let device_id = parse_label("device id", Some(device_id)).map_err(|err| err.to_string())?;
        let device_id =
            device_id.ok_or("device_id is empty: name the device that the certificate belongs to")?;
        let obtained = time("obtained_at", obtained_at)?;
        let expires = time("expires_at", expires_at)?;
        let (obtained_at, expires_at) = match (obtained, expires) {
            (None, None) => return Err("obtained_at and expires_at are empty: give one of them".to_owned()),
            (Some(obtained), None) => (obtained, obtained + valid_for),
            (None, Some(expires)) => (expires - valid_for, expires),
            (Some(obtained), Some(expires)) if obtained < expires => (obtained, expires),
            (Some(_), Some(_)) => return Err("expires_at is not after obtained_at".to_owned()),
        };
        Ok(Self { vat, device_id, obtained_at, expires_at, is_end_given: expires.is_some() })
    }
}

/// The range of times that a certificate may have; ZATCA's exist since 2021.
const PLAUSIBLE: std::ops::Range<i64> = 1_577_836_800_000..4_102_444_800_000;

/// Reads a day, or a time with or without a zone; without one it is UTC.
fn time(column: &str, text: &str) -> Result<Option<Timestamp>, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(None);
    }
    let midnight = format!("{text}T00:00:00Z");
    let at = Timestamp::parse_lenient(text).or_else(|| Timestamp::parse_lenient(&midnight));
    match at.filter(|at| PLAUSIBLE.contains(&at.as_millis())) {
        Some(at) => Ok(Some(at)),
        None => Err(format!(
            "{column} {} is not usable: it must be a day or time from 2020 to 2099, such as 2026-05-26 or \
             2026-05-26T09:02:11Z",
            quoted(text)
        )),
    }
}

/// What is due for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Due {
    /// Send this reminder. If several fell due since the last check, only the latest is sent.
    pub reminder: Option<Duration>,
    /// Announce that it has ended.
    pub end: bool,
    /// When something is due next; `None`: never again.
    pub next_at: Option<Timestamp>,
}

/// What identifies a certificate, for ids that are derived from it. An imported one is identified by its device.
pub fn identity(
    vat: &str,
    device_id: Option<&str>,
    activity_id: Option<&str>,
    expires_at: Timestamp,
) -> String {
    // A device id holds no control character.
    let whose = activity_id.map_or_else(|| format!("\n{}", device_id.unwrap_or_default()), str::to_owned);
    format!("{vat}/{whose}/{}", expires_at.as_millis())
}

/// When a certificate was generated: upstream's time of completion, or our conclusion if that is earlier. So a clock
/// that is wrong on one side makes a reminder too early rather than too late. A time that can't be meant, such as the year
/// 1, counts as none.
pub fn obtained_at(completed_at: Option<Timestamp>, concluded_at: Timestamp) -> Timestamp {
    let meant = completed_at.filter(|at| PLAUSIBLE.contains(&at.as_millis()));
    meant.map_or(concluded_at, |completed_at| completed_at.min(concluded_at))
}

/// What is due for a certificate now.
///
/// Each reminder and the end are due once. A certificate that had ended before this program knew of it gets no
/// reminder, only the announcement of its end.
pub fn due(certificate: &Certificate, now: Timestamp, renewal: &Renewal) -> Due {
    if certificate.is_end_announced {
        return Due::default();
    }
    let had_ended = certificate.expires_at <= certificate.noted_at;
    let is_open = |before: &Duration, sent: Option<Duration>| sent.is_none_or(|sent| *before < sent);
    let falls_due_at = |before: Duration| certificate.expires_at - before;
    let reminders = if had_ended { &[] } else { renewal.remind_before() };
    let reminder = reminders
        .iter()
        .copied()
        .rfind(|before| is_open(before, certificate.reminded_before) && falls_due_at(*before) <= now);
    if certificate.expires_at <= now {
        return Due { reminder, end: true, next_at: None };
    }
    let sent = reminder.or(certificate.reminded_before);
    let next = reminders.iter().copied().find(|before| is_open(before, sent)).map(falls_due_at);
    Due { reminder, end: false, next_at: Some(next.unwrap_or(certificate.expires_at)) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_MS: i64 = 86_400_000;

    fn day(n: i64) -> Timestamp {
        Timestamp::from_millis(n * DAY_MS)
    }

    fn days(n: u64) -> Duration {
        Duration::from_secs(n * 24 * 60 * 60)
    }

    /// Obtained on day 0, ends on day 100.
    fn certificate() -> Certificate {
        Certificate {
            vat: "310122393500003".to_owned(),
            device_id: Some("till 1".to_owned()),
            activity_id: Some("act-1".to_owned()),
            obtained_at: day(0),
            expires_at: day(100),
            noted_at: day(0),
            reminded_before: None,
            is_end_announced: false,
        }
    }

    fn renewal() -> Renewal {
        Renewal::new(days(100), vec![days(14), days(60), days(14)])
    }

    #[test]
    fn reminders_and_the_end_fall_due_in_turn_and_the_latest_stands_for_those_missed() {
        let sent = |n: u64| Some(days(n));
        for (today, reminded, reminder, end, next) in [
            (0, None, None, false, Some(40)),
            (39, None, None, false, Some(40)),
            (40, None, sent(60), false, Some(86)),
            (41, sent(60), None, false, Some(86)),
            (86, sent(60), sent(14), false, Some(100)),
            // Away from day 39 to day 90.
            (90, None, sent(14), false, Some(100)),
            (99, sent(14), None, false, Some(100)),
            (100, sent(14), None, true, None),
            // Away from before a reminder until after the end.
            (101, sent(60), sent(14), true, None),
            (1_000, None, sent(14), true, None),
            // The clock went back after a reminder.
            (10, sent(60), None, false, Some(86)),
            (10, sent(14), None, false, Some(100)),
        ] {
            let certificate = Certificate { reminded_before: reminded, ..certificate() };
            let expected = Due { reminder, end, next_at: next.map(day) };
            assert_eq!(due(&certificate, day(today), &renewal()), expected, "day {today}, {reminded:?}");
        }
    }

    #[test]
    fn an_announced_end_is_the_last_word_also_where_the_clock_goes_back() {
        let certificate = Certificate { is_end_announced: true, ..certificate() };
        for today in [0, 50, 99, 100, 5_000] {
            assert_eq!(due(&certificate, day(today), &renewal()), Due::default());
        }
    }

    #[test]
    fn one_that_had_ended_when_it_became_known_gets_no_reminder() {
        let late = Certificate { noted_at: day(200), ..certificate() };
        assert_eq!(due(&late, day(200), &renewal()), Due { reminder: None, end: true, next_at: None });
        let in_time = Certificate { noted_at: day(95), ..certificate() };
        assert_eq!(due(&in_time, day(95), &renewal()).reminder, Some(days(14)));
    }

    #[test]
    fn without_reminders_the_end_alone_is_announced() {
        let none = Renewal::new(days(100), Vec::new());
        let waiting = Due { reminder: None, end: false, next_at: Some(day(100)) };
        assert_eq!(due(&certificate(), day(99), &none), waiting);
        assert!(due(&certificate(), day(100), &none).end);
    }

    #[test]
    fn the_earlier_of_both_clocks_counts() {
        const NOW: i64 = 20_000;
        assert_eq!(obtained_at(None, day(NOW)), day(NOW));
        assert_eq!(obtained_at(Some(day(NOW - 1)), day(NOW)), day(NOW - 1));
        assert_eq!(obtained_at(Some(day(NOW + 6)), day(NOW)), day(NOW));
        for odd in ["0001-01-01T00:00:00Z", "1970-01-01T00:00:00.000Z"] {
            assert_eq!(obtained_at(Timestamp::parse_lenient(odd), day(NOW)), day(NOW), "{odd}");
        }
        assert_eq!(Timestamp::parse_lenient("-009999-01-02T01:59:59Z"), None);
    }

    proptest! {
        /// Whatever the clock does and however often somebody looks, each reminder and the end come at most once, and
        /// after a look past the end both have been said.
        #[test]
        fn nothing_is_said_twice(
            looks in proptest::collection::vec(-50i64..300, 1..40),
            reminders in proptest::collection::vec(0u64..200, 0..5),
        ) {
            let renewal = Renewal::new(days(100), reminders.into_iter().map(days).collect());
            let mut certificate = certificate();
            let (mut said, mut n_ends) = (Vec::new(), 0);
            for today in looks {
                let due = due(&certificate, day(today), &renewal);
                if let Some(reminder) = due.reminder {
                    prop_assert!(certificate.expires_at - reminder <= day(today));
                    prop_assert!(said.last().is_none_or(|last| reminder < *last));
                    said.push(reminder);
                    certificate.reminded_before = Some(reminder);
                }
                n_ends += usize::from(due.end);
                certificate.is_end_announced |= due.end;
                prop_assert_eq!(due.next_at.is_none(), certificate.is_end_announced);
                // What is due next is not due yet.
                prop_assert!(due.next_at.is_none_or(|next| next > day(today)));
            }
            prop_assert!(n_ends <= 1);
        }
    }
}
