//! Points in time as the database keeps them: whole milliseconds since the Unix epoch.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A point in time, in milliseconds since 1970-01-01T00:00:00Z.
///
/// Arithmetic saturates, so no value that came from outside can make it panic.
/// Its text form, in every output, is RFC 3339 in UTC with milliseconds and `Z`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The point `epoch_ms` milliseconds after the Unix epoch.
    pub const fn from_millis(epoch_ms: i64) -> Self {
        Self(epoch_ms)
    }

    /// The last time that can be written in every zone, at the end of the year 9999. Nothing gets beyond it, so
    /// that what is stored can be moved and shown.
    pub const MAX: Timestamp = Timestamp(253_402_207_199_999);

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Reads a timestamp as upstream writes it: RFC 3339 or `YYYY-MM-DD HH:MM:SS`, with or without
    /// fractions, with or without a zone; without one it is UTC. `None` for anything else.
    pub fn parse_lenient(text: &str) -> Option<Self> {
        let text = text.trim();
        text.parse::<jiff::Timestamp>()
            .ok()
            .or_else(|| {
                let civil = text.parse::<jiff::civil::DateTime>().ok()?;
                civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
            })
            .map(|timestamp| Self(timestamp.as_millisecond()))
            // From the year 1 on. The databases differ in how they write earlier ones.
            .filter(|timestamp| (-62_135_596_800_000..=Self::MAX.0).contains(&timestamp.0))
    }

    /// How long after `earlier` this is; zero if it is not later.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// This point moved by `delta_ms` milliseconds, which may be negative.
    #[must_use]
    pub fn shifted(self, delta_ms: i64) -> Self {
        Self(self.0.saturating_add(delta_ms).min(Self::MAX.0))
    }
}

/// Reads a duration as people write it: `5ms`, `5s`, `10m`, `72h`, `400d`. `None` for anything else.
pub fn parse_duration(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let (unit_ms, _) = UNITS.into_iter().find(|(_, name)| *name == unit)?;
    number.checked_mul(unit_ms).map(Duration::from_millis)
}

/// A duration as [`parse_duration`] reads it, in its largest exact unit.
pub fn write_duration(duration: Duration) -> String {
    let ms = duration.as_millis();
    let is_exact = |(unit_ms, _): &(u64, &str)| {
        let unit_ms = u128::from(*unit_ms);
        ms >= unit_ms && ms.is_multiple_of(unit_ms)
    };
    let (unit_ms, unit) = UNITS.into_iter().find(is_exact).unwrap_or((1, "ms"));
    format!("{}{unit}", ms / u128::from(unit_ms))
}

/// Units of durations in milliseconds, the largest first.
const UNITS: [(u64, &str); 5] = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1_000, "s"), (1, "ms")];

impl std::ops::Add<Duration> for Timestamp {
    type Output = Timestamp;

    fn add(self, duration: Duration) -> Timestamp {
        self.shifted(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
    }
}

impl std::ops::Sub<Duration> for Timestamp {
    type Output = Timestamp;

    fn sub(self, duration: Duration) -> Timestamp {
        self.shifted(i64::try_from(duration.as_millis()).map_or(i64::MIN, |ms| -ms))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(timestamp) => write!(f, "{timestamp:.3}"),
            // A damaged database may hold a number that is no valid time; it is shown as it is.
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From its text form alone.
impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
        let timestamp: jiff::Timestamp = text.parse().map_err(de::Error::custom)?;
        Ok(Self(timestamp.as_millisecond()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_written_in_their_largest_exact_unit() {
        for (ms, expected) in [
            (0, "0ms"),
            (1, "1ms"),
            (999, "999ms"),
            (1_000, "1s"),
            (1_500, "1500ms"),
            (60_000, "1m"),
            (90_000, "90s"),
            (3_600_000, "1h"),
            (5_400_000, "90m"),
            (86_400_000, "1d"),
            (259_200_000, "3d"),
            (90_000_000, "25h"),
        ] {
            assert_eq!(write_duration(Duration::from_millis(ms)), expected);
        }
        assert!(write_duration(Duration::MAX).ends_with("ms"));
    }

    proptest::proptest! {
        #[test]
        fn written_durations_read_back(ms: u32, unit in 0..5_usize) {
            let duration = Duration::from_millis(u64::from(ms) * UNITS[unit].0);
            proptest::prop_assert_eq!(parse_duration(&write_duration(duration)), Some(duration));
        }
    }

    #[test]
    fn what_is_no_duration_is_not_read() {
        for text in
            ["", "5", "s", "5 s", "-5s", "5.5s", "5w", "5S", "99999999999999999999s", "999999999999999999d"]
        {
            assert_eq!(parse_duration(text), None, "{text:?}");
        }
    }

    #[test]
    fn every_documented_form_reads_as_the_same_instant() {
        let expected = Some(Timestamp::from_millis(1_779_786_131_000));
        for text in [
            "2026-05-26T09:02:11Z",
            "2026-05-26T09:02:11.000Z",
            "2026-05-26T09:02:11",
            "2026-05-26 09:02:11",
            "2026-05-26 09:02:11.000",
            "2026-05-26T12:02:11+03:00",
            " 2026-05-26T09:02:11.000000Z ",
        ] {
            assert_eq!(Timestamp::parse_lenient(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_timestamp_is_none() {
        for text in ["", "yesterday", "1779786131", "2026-13-40T00:00:00Z", "2026-05-26T25:00:00"] {
            assert_eq!(Timestamp::parse_lenient(text), None, "{text}");
        }
    }

    #[test]
    fn text_form_is_utc_with_milliseconds_and_z() {
        assert_eq!(Timestamp::from_millis(1_779_786_131_007).to_string(), "2026-05-26T09:02:11.007Z");
        assert_eq!(Timestamp::from_millis(0).to_string(), "1970-01-01T00:00:00.000Z");
    }

    #[test]
    fn arithmetic_saturates_instead_of_overflowing() {
        let end = Timestamp::MAX;
        assert_eq!(end + Duration::MAX, end);
        assert_eq!(end.to_string(), "9999-12-30T21:59:59.999Z");
        assert_eq!(Timestamp::from_millis(0).since(end), Duration::ZERO);
    }
}
