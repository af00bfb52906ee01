//! The days on which certificates end, as an iCalendar feed (RFC 5545).
//!
//! Each current certificate is an all-day event on the day on which it ends in the configured time zone, with an alarm
//! for each reminder. One that is superseded is no longer in the feed, so that it disappears from subscribers'
//! calendars.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::civil::Date;
use uuid::Uuid;

use crate::domain::catalogue::Language;
use crate::domain::certificate::{self, Renewal};
use crate::domain::next_step::NextStep;
use crate::domain::time::Timestamp;
use crate::domain::zone::Zone;
use crate::store::EndingCertificate;

/// Namespace of the entries' ids. It must never change: calendars know entries by them.
const NAMESPACE: Uuid = Uuid::from_u128(0x27c5_91e8_6d0a_5f3b_8c46_b1f2_30da_97e4);

/// Octets in a line, the line break not counted.
const MAX_LINE: usize = 75;

/// The feed. `now` is the stamp of each entry, and decides which certificates have ended.
pub fn feed(
    endings: &[EndingCertificate],
    renewal: &Renewal,
    now: Timestamp,
    language: Language,
    zone: &Zone,
) -> String {
    let name = match language {
        Language::English => "Certificates that end",
        Language::Arabic => "شهادات تنتهي",
    };
    let mut feed = Feed(String::new());
    feed.line("BEGIN", "VCALENDAR");
    feed.line("VERSION", "2.0");
    feed.line("PRODID", concat!("-//pcsid-watch//", env!("CARGO_PKG_VERSION"), "//EN"));
    feed.line("CALSCALE", "GREGORIAN");
    feed.line("METHOD", "PUBLISH");
    feed.text("X-WR-CALNAME", name);
    feed.line("X-WR-TIMEZONE", zone.name());
    feed.line("REFRESH-INTERVAL;VALUE=DURATION", "PT12H");
    feed.line("X-PUBLISHED-TTL", "PT12H");
    for ending in endings {
        entry(&mut feed, ending, renewal, now, language, zone);
    }
    feed.line("END", "VCALENDAR");
    feed.0
}

fn entry(
    feed: &mut Feed,
    ending: &EndingCertificate,
    renewal: &Renewal,
    now: Timestamp,
    language: Language,
    zone: &Zone,
) {
    let EndingCertificate { vat, device_id, activity_id, expires_at, .. } = ending;
    let day = zone.date(*expires_at);
    // The last day that can be written has no next one.
    let Ok(next_day) = day.tomorrow() else { return };
    let identity = certificate::identity(vat, device_id.as_deref(), activity_id.as_deref(), *expires_at);
    let device = device_id.as_deref().or(activity_id.as_deref()).unwrap_or(vat);
    let step = if *expires_at <= now {
        NextStep::after_certificate_ended()
    } else {
        NextStep::before_certificate_ends()
    };
    let (summary, of_vat, at) = match language {
        Language::English => (format!("Certificate of {device} ends"), "VAT", "Ends at"),
        Language::Arabic => (format!("انتهاء شهادة الجهاز {device}"), "الرقم الضريبي", "تنتهي في"),
    };
    feed.line("BEGIN", "VEVENT");
    feed.line("UID", &format!("{}@pcsid-watch", Uuid::new_v5(&NAMESPACE, identity.as_bytes())));
    feed.line("DTSTAMP", &stamp(now));
    feed.line("DTSTART;VALUE=DATE", &compact(day));
    feed.line("DTEND;VALUE=DATE", &compact(next_day));
    feed.text("SUMMARY", &summary);
    feed.text("DESCRIPTION", &format!("{of_vat} {vat}\n{at} {expires_at}\n\n{}", step.text.of(language)));
    feed.line("TRANSP", "TRANSPARENT");
    if *expires_at > now {
        for before in renewal.remind_before().iter().filter(|before| before.as_secs() > 0) {
            feed.line("BEGIN", "VALARM");
            feed.line("ACTION", "DISPLAY");
            feed.line("TRIGGER", &trigger(*before));
            feed.text("DESCRIPTION", &summary);
            feed.line("END", "VALARM");
        }
    }
    feed.line("END", "VEVENT");
}

fn trigger(before: Duration) -> String {
    match (before.as_secs() / 86_400, before.as_secs() % 86_400) {
        (days, 0) => format!("-P{days}D"),
        (0, seconds) => format!("-PT{seconds}S"),
        (days, seconds) => format!("-P{days}DT{seconds}S"),
    }
}

fn compact(day: Date) -> String {
    format!("{:04}{:02}{:02}", day.year(), day.month(), day.day())
}

/// A time as `20261126T031500Z`.
fn stamp(at: Timestamp) -> String {
    let written: String =
        at.to_string().chars().filter(|c| c.is_ascii_digit() || *c == 'T').take(15).collect();
    format!("{written}Z")
}

struct Feed(String);

impl Feed {
    /// A line, folded if it is too long. Writing to a `String` can't fail.
    fn line(&mut self, name: &str, value: &str) {
        let mut n_octets = 0;
        for c in name.chars().chain([':']).chain(value.chars()) {
            if n_octets + c.len_utf8() > MAX_LINE {
                self.0.push_str("\r\n ");
                n_octets = 1;
            }
            self.0.push(c);
            n_octets += c.len_utf8();
        }
        self.0.push_str("\r\n");
    }

    /// A line of text: what would end or divide it is escaped.
    fn text(&mut self, name: &str, value: &str) {
        let mut escaped = String::with_capacity(value.len());
        for c in value.chars() {
            match c {
                '\\' | ';' | ',' => {
                    let _ = write!(escaped, "\\{c}");
                }
                '\n' => escaped.push_str("\\n"),
                c if c.is_control() => escaped.push(' '),
                c => escaped.push(c),
            }
        }
        self.line(name, &escaped);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ending(device_id: &str, expires_at: &str) -> EndingCertificate {
        EndingCertificate {
            vat: "310122393500003".to_owned(),
            device_id: Some(device_id.to_owned()),
            activity_id: None,
            obtained_at: Timestamp::from_millis(0),
            expires_at: Timestamp::parse_lenient(expires_at).unwrap(),
            reminded_at: None,
        }
    }

    fn feed_of(endings: &[EndingCertificate], language: Language) -> String {
        feed(
            endings,
            &Renewal::default(),
            Timestamp::parse_lenient("2026-11-26T03:15:00Z").unwrap(),
            language,
            &Zone::default(),
        )
    }

    #[test]
    fn an_entry_is_the_day_in_riyadh_with_an_alarm_for_each_reminder() {
        let text = feed_of(&[ending("till 1", "2031-05-26T21:30:00Z")], Language::English);
        for line in [
            "DTSTART;VALUE=DATE:20310527",
            "DTEND;VALUE=DATE:20310528",
            "DTSTAMP:20261126T031500Z",
            "TRIGGER:-P60D",
            "TRIGGER:-P14D",
            "SUMMARY:Certificate of till 1 ends",
        ] {
            assert!(text.contains(&format!("{line}\r\n")), "{line}: {text}");
        }
        assert_eq!(text.matches("BEGIN:VEVENT").count(), 1);
        let ended = feed_of(&[ending("till 1", "2026-01-01")], Language::English);
        assert!(!ended.contains("VALARM"), "{ended}");
    }

    #[test]
    fn ids_stay_and_differ_by_certificate() {
        let uid = |text: String| text.split("UID:").nth(1).unwrap().lines().next().unwrap().to_owned();
        let of = |device: &str, at: &str| uid(feed_of(&[ending(device, at)], Language::English));
        assert_eq!(of("a", "2031-01-01"), of("a", "2031-01-01"));
        assert_ne!(of("a", "2031-01-01"), of("b", "2031-01-01"));
        assert_ne!(of("a", "2031-01-01"), of("a", "2036-01-01"));
    }

    #[test]
    fn long_lines_are_folded_between_characters_and_signs_are_escaped() {
        let device = "صندوق؛ الفرع, \\ \"الأول\"; ".repeat(8);
        let text = feed_of(&[ending(&device, "2031-01-01")], Language::Arabic);
        for line in text.split("\r\n") {
            assert!(line.len() <= MAX_LINE, "{} octets: {line}", line.len());
        }
        let unfolded = text.replace("\r\n ", "");
        assert!(unfolded.contains("الفرع\\, \\\\ \"الأول\"\\;"), "{unfolded}");
        assert!(!unfolded.replace("\r\n", "").contains('\n'));
    }

    #[test]
    fn distances_that_are_no_whole_days_have_seconds() {
        for (seconds, written) in [(86_400, "-P1D"), (3_600, "-PT3600S"), (90_000, "-P1DT3600S")] {
            assert_eq!(trigger(Duration::from_secs(seconds)), written);
        }
    }
}
