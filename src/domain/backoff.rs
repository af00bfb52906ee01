//! When to ask again: exponential backoff whose state lives in the activity's row.
//!
//! The crate `backoff` only calculates the next interval. It is rebuilt from the stored one for each step. Its own
//! jitter is switched off: it is added after the cap, and its randomness can't be passed in. Ours is added before the
//! cap.

use std::time::Duration;

use backoff::ExponentialBackoff;
use backoff::backoff::Backoff as _;

/// A validated backoff. `initial_interval` is at least 1 ms and at most `max_interval`, `multiplier` is at
/// least 1 and finite, `jitter` is from 0 to below 1. The settings check that; values out of range are
/// brought into it here, so that nothing can be polled without a pause.
#[derive(Debug, Clone, PartialEq)]
pub struct Backoff {
    initial_interval: Duration,
    multiplier: f64,
    max_interval: Duration,
    jitter: f64,
}

/// One step of a backoff.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// How long to wait now, jitter included; never above `max_interval`.
    pub wait: Duration,
    /// The interval to store for the step after this.
    pub next_interval: Duration,
}

impl Backoff {
    /// A backoff from its four parameters; see the type for their ranges.
    pub fn new(initial_interval: Duration, multiplier: f64, max_interval: Duration, jitter: f64) -> Self {
        let initial_interval = initial_interval.max(Duration::from_millis(1));
        Self {
            initial_interval,
            multiplier: if multiplier.is_finite() { multiplier.max(1.0) } else { 1.0 },
            max_interval: max_interval.max(initial_interval),
            jitter: if jitter.is_finite() { jitter.clamp(0.0, 1.0) } else { 0.0 },
        }
    }

    /// The first interval.
    pub fn initial_interval(&self) -> Duration {
        self.initial_interval
    }

    /// The longest wait.
    pub fn max_interval(&self) -> Duration {
        self.max_interval
    }

    /// The step that follows when `interval` is stored. `luck`, from 0 to 1, places the wait within
    /// ± `jitter` of the interval.
    ///
    /// Both results are whole milliseconds, rounded up, so that an interval of 1 ms grows as well.
    pub fn step(&self, interval: Duration, luck: f64) -> Step {
        let mut policy = ExponentialBackoff {
            current_interval: interval.clamp(self.initial_interval, self.max_interval),
            initial_interval: self.initial_interval,
            randomization_factor: 0.0,
            multiplier: self.multiplier,
            max_interval: self.max_interval,
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        let interval = policy.next_backoff().unwrap_or(self.max_interval);
        let luck = if luck.is_nan() { 0.5 } else { luck.clamp(0.0, 1.0) };
        let factor = 1.0 + self.jitter * (2.0 * luck - 1.0);
        Step {
            wait: whole_millis(interval.mul_f64(factor)).min(self.max_interval),
            next_interval: whole_millis(policy.current_interval).min(self.max_interval),
        }
    }
}

/// Rounded up to whole milliseconds, at least one.
fn whole_millis(duration: Duration) -> Duration {
    let ms = duration.as_nanos().div_ceil(1_000_000).max(1);
    Duration::from_millis(u64::try_from(ms).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn waits(backoff: &Backoff, n: usize) -> Vec<u128> {
        let mut interval = backoff.initial_interval();
        (0..n)
            .map(|_| {
                let step = backoff.step(interval, 0.5);
                interval = step.next_interval;
                step.wait.as_millis()
            })
            .collect()
    }

    #[test]
    fn waits_grow_by_the_multiplier_up_to_the_cap() {
        let backoff = Backoff::new(ms(5_000), 1.5, ms(30_000), 0.2);
        assert_eq!(waits(&backoff, 7), [5_000, 7_500, 11_250, 16_875, 25_313, 30_000, 30_000]);
    }

    #[test]
    fn an_interval_of_one_millisecond_grows_as_well() {
        let backoff = Backoff::new(ms(1), 1.5, ms(20), 0.0);
        assert_eq!(waits(&backoff, 7), [1, 2, 3, 5, 8, 12, 18]);
    }

    #[test]
    fn luck_spreads_the_wait_by_the_jitter_but_never_beyond_the_cap() {
        let backoff = Backoff::new(ms(1_000), 2.0, ms(2_000), 0.2);
        assert_eq!(backoff.step(ms(1_000), 0.0).wait, ms(800));
        assert_eq!(backoff.step(ms(1_000), 1.0).wait, ms(1_200));
        assert_eq!(backoff.step(ms(2_000), 1.0).wait, ms(2_000));
    }

    proptest! {
        #[test]
        fn no_parameters_make_it_run_hot_or_wait_beyond_the_cap(
            initial in 0u64..10_000_000, multiplier in any::<f64>(), max in 0u64..1_000_000_000,
            jitter in any::<f64>(), stored in any::<u32>(), luck in any::<f64>(),
        ) {
            let backoff = Backoff::new(ms(initial), multiplier, ms(max), jitter);
            let step = backoff.step(ms(u64::from(stored)), luck);
            prop_assert!(step.wait >= ms(1) && step.wait <= backoff.max_interval());
            prop_assert!(step.next_interval >= backoff.initial_interval());
            prop_assert!(step.next_interval <= backoff.max_interval());
        }
    }
}
