//! Times in a reader's time zone.

use std::fmt;

use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::time::Timestamp;

/// A time zone by its name in the IANA database, which is part of the program.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    name: String,
    zone: TimeZone,
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Zone({})", self.name)
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self::named(Self::DEFAULT).unwrap_or(Self { name: "UTC".to_owned(), zone: TimeZone::UTC })
    }
}

impl Zone {
    /// The zone if none is configured.
    pub const DEFAULT: &str = "Asia/Riyadh";

    /// The zone with this name; `None` if there is no such zone.
    pub fn named(name: &str) -> Option<Self> {
        let zone = TimeZone::get(name).ok()?;
        Some(Self { name: name.to_owned(), zone })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    fn local(&self, at: Timestamp, format: &str) -> String {
        match jiff::Timestamp::from_millisecond(at.as_millis()) {
            Ok(time) => time.to_zoned(self.zone.clone()).strftime(format).to_string(),
            // A damaged database may hold a number that is no valid time; it is shown as it is.
            Err(_) => at.to_string(),
        }
    }

    /// To the second: `2026-05-26 12:02:11`.
    pub fn second(&self, at: Timestamp) -> String {
        self.local(at, "%Y-%m-%d %H:%M:%S")
    }

    /// To the minute: `2026-05-26 12:02`.
    pub fn minute(&self, at: Timestamp) -> String {
        self.local(at, "%Y-%m-%d %H:%M")
    }

    /// The offset from UTC then: `UTC+3`, `UTC+5:30`.
    pub fn offset(&self, at: Timestamp) -> String {
        let offset = jiff::Timestamp::from_millisecond(at.as_millis())
            .map_or(jiff::tz::Offset::UTC, |time| self.zone.to_offset(time));
        let minutes = offset.seconds().abs() / 60;
        let sign = if offset.seconds() < 0 { '-' } else { '+' };
        match (minutes / 60, minutes % 60) {
            (0, 0) => "UTC".to_owned(),
            (hours, 0) => format!("UTC{sign}{hours}"),
            (hours, minutes) => format!("UTC{sign}{hours}:{minutes:02}"),
        }
    }

    /// By how many milliseconds its clocks are ahead of UTC then; negative: behind.
    pub fn offset_ms(&self, at: Timestamp) -> i64 {
        let time = jiff::Timestamp::from_millisecond(at.as_millis());
        time.map_or(0, |time| i64::from(self.zone.to_offset(time).seconds()) * 1_000)
    }

    /// The day that it is then.
    pub fn date(&self, at: Timestamp) -> Date {
        jiff::Timestamp::from_millisecond(at.as_millis())
            .map_or(Date::MIN, |time| time.to_zoned(self.zone.clone()).date())
    }

    /// When a day begins; `None` beyond what can be written.
    pub fn start_of(&self, date: Date) -> Option<Timestamp> {
        let start = date.to_zoned(self.zone.clone()).ok()?;
        Some(Timestamp::from_millis(start.timestamp().as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Timestamp = Timestamp::from_millis(1_779_831_000_000);

    #[test]
    fn times_are_those_of_the_zone() {
        for (name, second, offset, date) in [
            ("Asia/Riyadh", "2026-05-27 00:30:00", "UTC+3", "2026-05-27"),
            ("Asia/Kolkata", "2026-05-27 03:00:00", "UTC+5:30", "2026-05-27"),
            ("America/New_York", "2026-05-26 17:30:00", "UTC-4", "2026-05-26"),
            ("UTC", "2026-05-26 21:30:00", "UTC", "2026-05-26"),
        ] {
            let zone = Zone::named(name).unwrap();
            assert_eq!(zone.second(AT), second, "{name}");
            assert_eq!(zone.offset(AT), offset, "{name}");
            assert_eq!(zone.date(AT).to_string(), date, "{name}");
            assert!(zone.start_of(zone.date(AT)).is_some_and(|start| start <= AT), "{name}");
        }
        assert_eq!(Zone::named("Asia/Nowhere"), None);
        assert_eq!(Zone::default().name(), Zone::DEFAULT);
    }
}
