//! How long to go on, with which luck, and how to have the same luck again.

use std::time::Duration;

use crate::helpers::Daemon;

/// How many times a test is to do its worst: `TORTURE_CYCLES`, or what is bearable in every build.
pub fn cycles(usually: u64) -> u64 {
    asked_for().unwrap_or(usually)
}

/// `TORTURE_CYCLES`, where more than the usual is wanted.
pub fn asked_for() -> Option<u64> {
    let text = std::env::var("TORTURE_CYCLES").ok()?;
    Some(text.parse().expect("TORTURE_CYCLES is a whole number"))
}

/// One run's luck. Where the run fails, it says how to have the same luck again.
pub struct Luck {
    test: &'static str,
    pub seed: u64,
    pub n_cycles: u64,
}

impl Luck {
    /// `TORTURE_SEED`, or another one each time. `nth` keeps a test's runs apart: the first has the seed itself.
    pub fn of(test: &'static str, nth: u64, n_cycles: u64) -> Self {
        let seed = match std::env::var("TORTURE_SEED") {
            Ok(text) => text.parse::<u64>().expect("TORTURE_SEED is a whole number").wrapping_add(nth),
            Err(_) => fastrand::u64(..),
        };
        Self { test, seed, n_cycles }
    }

    /// A generator for this purpose: the same for the same seed, whatever else has been drawn.
    pub fn draw(&self, purpose: &[&str]) -> fastrand::Rng {
        draw(self.seed, purpose)
    }
}

impl Drop for Luck {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { test, seed, n_cycles } = self;
            eprintln!(
                "the same again: TORTURE_CYCLES={n_cycles} TORTURE_SEED={seed} cargo test --test torture {test}"
            );
        }
    }
}

/// See [`Luck::draw`].
pub fn draw(seed: u64, purpose: &[&str]) -> fastrand::Rng {
    // FNV-1a: any hash will do that is the same in every build.
    let bytes = purpose.iter().flat_map(|text| text.bytes().chain([0]));
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    fastrand::Rng::with_seed(seed ^ hash)
}

/// A random moment up to this long from now, and sooner rather than later, awaited.
pub async fn random_moment(rng: &mut fastrand::Rng, within: Duration) {
    tokio::time::sleep(within.mul_f64(rng.f64() * rng.f64())).await;
}

/// What a daemon never says, however it is treated.
pub fn assert_no_defect(daemon: &Daemon) {
    let log = daemon.stderr();
    for defect in ["panicked", "please report this", "ended unexpectedly", "run `pcsid-watch db check`"] {
        assert!(!log.contains(defect), "{log}");
    }
}
