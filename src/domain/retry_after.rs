//! `Retry-After`, in both of its forms.

use std::time::{Duration, SystemTime};

/// How long the other side asks us to wait; `None` if the header can't be understood.
///
/// It is never shortened. A number that is too large to count means forever.
///
/// `server_date` is the answer's own `Date` header. A date is counted from it, so that a wrong clock here does not
/// change the pause; if it can't be read, from `now`. A date in the past is no pause.
pub fn parse_retry_after(value: &str, server_date: Option<&str>, now: SystemTime) -> Option<Duration> {
    let value = value.trim();
    let pause = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let until = httpdate::parse_http_date(value).ok()?;
        let from = server_date.and_then(|date| httpdate::parse_http_date(date.trim()).ok()).unwrap_or(now);
        until.duration_since(from).unwrap_or(Duration::ZERO)
    };
    Some(pause)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(epoch_seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(epoch_seconds)
    }

    #[test]
    fn seconds_and_dates_are_understood() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        let noon = at(784_111_777);
        for (value, server_date, now, expected) in [
            ("120", None, noon, Some(120)),
            (" 0 ", None, noon, Some(0)),
            ("100000000000", None, noon, Some(100_000_000_000)),
            ("99999999999999999999999999", None, noon, Some(u64::MAX)),
            (date, None, noon - Duration::from_secs(90), Some(90)),
            (date, None, noon + Duration::from_secs(90), Some(0)),
            (date, Some("Sun, 06 Nov 1994 08:49:07 GMT"), at(0), Some(30)),
            (date, Some("junk"), noon - Duration::from_secs(5), Some(5)),
        ] {
            let expected = expected.map(Duration::from_secs);
            assert_eq!(parse_retry_after(value, server_date, now), expected, "{value:?} {server_date:?}");
        }
    }

    #[test]
    fn junk_says_nothing() {
        for junk in ["", " ", "-5", "1.5", "soon", "+3", "١٢", "Sun, 99 Nov 1994 08:49:37 GMT"] {
            assert_eq!(parse_retry_after(junk, None, at(0)), None, "{junk:?}");
        }
    }

    proptest! {
        #[test]
        fn no_text_breaks_it(value in ".*", date in proptest::option::of(".*")) {
            let _ = parse_retry_after(&value, date.as_deref(), at(0));
        }
    }
}
