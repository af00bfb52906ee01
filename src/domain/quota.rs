//! How many requests a minute a credential may make.

use std::time::{Duration, Instant};

/// A token bucket that fills at `requests_per_minute` and holds a twentieth of that, so that no minute, whenever it
/// begins, has more than 5 % beyond the limit.
#[derive(Debug, Clone)]
pub struct Quota {
    /// `None`: no limit.
    rate: Option<Rate>,
}

#[derive(Debug, Clone)]
struct Rate {
    per_second: f64,
    capacity: f64,
    tokens: f64,
    filled_at: Instant,
}

impl Quota {
    /// A bucket at a start. It has filled since the last request, `idle` ago, but holds one request at most: the first
    /// request is sent at once, and a daemon that restarts again and again makes no more requests than one that keeps
    /// running. `requests_per_minute` of 0 means no limit.
    pub fn new(requests_per_minute: u32, idle: Duration, now: Instant) -> Self {
        let rate = (requests_per_minute > 0).then(|| {
            let capacity = (f64::from(requests_per_minute) / 20.0).max(1.0);
            let per_second = f64::from(requests_per_minute) / 60.0;
            let tokens = (idle.as_secs_f64() * per_second).min(1.0);
            Rate { per_second, capacity, tokens, filled_at: now }
        });
        Self { rate }
    }

    /// Requests that may be made now.
    pub fn available(&mut self, now: Instant) -> usize {
        match &mut self.rate {
            None => usize::MAX,
            Some(rate) => {
                rate.fill(now);
                // Rounding loses a tiny part of a token after waiting exactly for it.
                (rate.tokens + 1e-6) as usize
            }
        }
    }

    /// Takes one request out of the bucket.
    pub fn take(&mut self) {
        if let Some(rate) = &mut self.rate {
            rate.tokens -= 1.0;
        }
    }

    /// How long until one more request may be made; zero if one may be made now.
    pub fn wait(&mut self, now: Instant) -> Duration {
        match &mut self.rate {
            None => Duration::ZERO,
            Some(rate) => {
                rate.fill(now);
                Duration::from_secs_f64(((1.0 - rate.tokens) / rate.per_second).max(0.0))
            }
        }
    }
}

impl Rate {
    fn fill(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.filled_at);
        self.tokens = (self.tokens + elapsed.as_secs_f64() * self.per_second).min(self.capacity);
        self.filled_at = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn no_minute_sees_more_than_five_hundredths_beyond_the_limit(
            per_minute in 20u32..2_000, pauses in prop::collection::vec((0u64..5_000, prop::bool::weighted(0.1)), 1..400),
        ) {
            let start = Instant::now();
            let mut quota = Quota::new(per_minute, Duration::MAX, start);
            let mut now = start;
            let mut made: Vec<Duration> = Vec::new();
            for (pause, is_restarted) in pauses {
                now += Duration::from_millis(pause);
                if is_restarted {
                    let idle = made.last().map_or(Duration::MAX, |last| now - start - *last);
                    quota = Quota::new(per_minute, idle, now);
                }
                while quota.available(now) > 0 {
                    quota.take();
                    made.push(now - start);
                }
            }
            let mut end = 0;
            for (first, from) in made.iter().enumerate() {
                while made.get(end).is_some_and(|at| *at < *from + Duration::from_secs(60)) {
                    end += 1;
                }
                let within = (end - first) as f64;
                prop_assert!(within <= f64::from(per_minute) * 1.05 + 1.0, "{within} in a minute");
            }
        }
    }

    #[test]
    fn after_the_wait_one_request_may_be_made() {
        let start = Instant::now();
        let mut quota = Quota::new(60, Duration::ZERO, start);
        for _ in 0..quota.available(start) {
            quota.take();
        }
        assert_eq!(quota.available(start), 0);
        let wait = quota.wait(start);
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1));
        assert_eq!(quota.available(start + wait), 1);
    }

    #[test]
    fn the_first_request_of_a_start_waits_only_for_the_last_one_of_the_run_before() {
        let start = Instant::now();
        for (idle, wait) in [
            (Duration::MAX, Duration::ZERO),
            (Duration::from_secs(6), Duration::ZERO),
            (Duration::from_secs(2), Duration::from_secs(4)),
            (Duration::ZERO, Duration::from_secs(6)),
        ] {
            let mut quota = Quota::new(10, idle, start);
            assert_eq!(quota.available(start), usize::from(wait == Duration::ZERO), "{idle:?}");
            assert_eq!(quota.wait(start).as_millis(), wait.as_millis(), "{idle:?}");
        }
    }

    #[test]
    fn zero_means_no_limit() {
        let start = Instant::now();
        let mut quota = Quota::new(0, Duration::ZERO, start);
        assert_eq!(quota.available(start), usize::MAX);
        assert_eq!(quota.wait(start), Duration::ZERO);
    }
}
