//! How long a finished generation goes unnoticed when the quota is the limit.
//!
//! `cargo bench --bench detection_lag [-- WORD…]` simulates waves of registrations with one credential and prints, for
//! each policy, the time from completion to the poll that finds it and the requests made. WORDs choose the
//! scenarios whose title has all of them. It asserts nothing. The seed makes every run the same: hours are
//! simulated in seconds.
//!
//! Backoff, quota and turns are the daemon's (`domain::backoff`, `domain::quota`, `domain::turns`), on a schedule in
//! memory that answers as the store does. A request takes no time: what it takes is the same for all.

#![expect(clippy::unwrap_used, reason = "in a bench a panic is the verdict")]

#[path = "../src/domain/turns/memory.rs"]
mod memory;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fastrand::Rng;
use memory::{MemoryActivity, MemorySchedule};
use pcsid_watch::domain::activity::Vat;
use pcsid_watch::domain::backoff::Backoff;
use pcsid_watch::domain::classify::{Observation, Verdict};
use pcsid_watch::domain::gate::Gates;
use pcsid_watch::domain::quota::Quota;
use pcsid_watch::domain::report::Report;
use pcsid_watch::domain::serving::Serving;
use pcsid_watch::domain::time::Timestamp;
use pcsid_watch::domain::turns::{BY_AGE, Candidate, Found, LOOK_STEPS, Turns, Wanted};

const SEED: u64 = 20_260_526;

/// Times are milliseconds since the simulation began.
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// A VAT with so many devices or fewer is told apart, to see whether the large ones are in its way.
const SMALL: usize = 10;

fn main() {
    let words: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    println!("seed {SEED}; times in seconds; VATs of {SMALL} devices or fewer are small");
    let began_at = Instant::now();
    let policies = policies();
    for (n_devices, arrivals) in [
        (50, &[Arrival::AtOnce][..]),
        (500, &[Arrival::AtOnce, Arrival::InAnHour]),
        (5_000, &[Arrival::AtOnce, Arrival::InAnHour, Arrival::InADay]),
        (20_000, &[Arrival::AtOnce, Arrival::InAnHour, Arrival::InADay]),
    ] {
        for arrival in arrivals {
            for speed in [Speed::LongTail, Speed::TwoKinds, Speed::Slow] {
                let devices = wave(n_devices, *arrival, speed);
                let title = format!("{n_devices} devices {}, {}", arrival.label(), speed.label());
                compare(&title, &devices, &[300, 1_000], &policies, &words);
            }
        }
    }
    let (title, devices) = beside_a_giant();
    compare(&title, &devices, &[300, 1_000], &policies, &words);

    let (mixes, intervals) = (mixes(), intervals());
    for (n_devices, arrival, speed) in [
        (5_000, Arrival::AtOnce, Speed::LongTail),
        (5_000, Arrival::InAnHour, Speed::TwoKinds),
        (5_000, Arrival::InAnHour, Speed::Slow),
        (20_000, Arrival::InADay, Speed::TwoKinds),
        (20_000, Arrival::InADay, Speed::Slow),
    ] {
        let devices = wave(n_devices, arrival, speed);
        let title = format!("{n_devices} devices {}, {}", arrival.label(), speed.label());
        compare(&format!("mixes: {title}"), &devices, &[300, 1_000], &mixes, &words);
        compare(&format!("intervals: {title}"), &devices, &[300], &intervals, &words);
    }
    println!("\n{:.0} s", began_at.elapsed().as_secs_f64());
}

/// Who is asked when.
#[derive(Clone)]
struct Policy {
    name: String,
    pace: Pace,
    /// Of so many requests one goes to the longest due of all, the others to VATs in turn; 1: one queue.
    by_age: u64,
}

#[derive(Clone)]
enum Pace {
    Backoff(Backoff),
    Every(u64),
    /// Once, on completion, which nobody can know.
    OnCompletion,
}

/// A backoff with the default jitter.
fn backoff(initial_interval: u64, multiplier: f64, max_interval: u64) -> Pace {
    let (initial, max) = (Duration::from_millis(initial_interval), Duration::from_millis(max_interval));
    Pace::Backoff(Backoff::new(initial, multiplier, max, 0.2))
}

/// The daemon, as it is unless configured otherwise.
fn daemon() -> Policy {
    Policy { name: "daemon".to_owned(), pace: backoff(5 * SECOND, 1.5, 5 * MINUTE), by_age: BY_AGE }
}

/// The same without VATs.
fn queue(name: &str) -> Policy {
    Policy { name: name.to_owned(), by_age: 1, ..daemon() }
}

/// The same without ages.
fn turns_alone() -> Policy {
    Policy { name: "turns alone".to_owned(), by_age: u64::MAX, ..daemon() }
}

fn policies() -> Vec<Policy> {
    vec![
        daemon(),
        turns_alone(),
        queue("one queue"),
        Policy { pace: Pace::Every(30 * SECOND), ..queue("every 30 s") },
        Policy { pace: Pace::Every(MINUTE), ..queue("every 60 s") },
        Policy { pace: Pace::OnCompletion, ..queue("clairvoyant") },
    ]
}

fn mixes() -> Vec<Policy> {
    let one_in = |by_age: u64| Policy { name: format!("one in {by_age} by age"), by_age, ..daemon() };
    vec![turns_alone(), one_in(4), one_in(3), one_in(2), queue("one queue")]
}

fn intervals() -> Vec<Policy> {
    [(5, 1.5, 1), (5, 1.5, 2), (5, 1.5, 5), (5, 1.5, 15), (5, 2.0, 5), (5, 1.2, 5), (30, 1.5, 5)]
        .into_iter()
        .map(|(initial, multiplier, max)| Policy {
            name: format!("{initial}s, {multiplier}, {max}m"),
            pace: backoff(initial * SECOND, multiplier, max * MINUTE),
            ..daemon()
        })
        .collect()
}

/// A device whose PCSID is being generated.
struct Device {
    vat: usize,
    registered_at: u64,
    completed_at: u64,
}

#[derive(Clone, Copy)]
enum Arrival {
    AtOnce,
    InAnHour,
    InADay,
}

impl Arrival {
    fn label(self) -> &'static str {
        match self {
            Self::AtOnce => "at once",
            Self::InAnHour => "in an hour",
            Self::InADay => "in a working day",
        }
    }

    fn draw(self, rng: &mut Rng) -> u64 {
        match self {
            Self::AtOnce => 0,
            Self::InAnHour => rng.u64(0..HOUR),
            Self::InADay => rng.u64(0..8 * HOUR),
        }
    }
}

/// How long generations take; none takes longer than twelve hours.
#[derive(Clone, Copy)]
enum Speed {
    /// Half of them up to 30 s, one in twenty above 13 minutes, one in a hundred above 52.
    LongTail,
    /// Four in five around 20 s, the others 1 to 4 hours.
    TwoKinds,
    /// Half of them up to an hour, one in twenty above 2¼ hours.
    Slow,
}

impl Speed {
    fn label(self) -> &'static str {
        match self {
            Self::LongTail => "long tail",
            Self::TwoKinds => "two kinds",
            Self::Slow => "slow",
        }
    }

    fn draw(self, rng: &mut Rng) -> u64 {
        let seconds = match self {
            Self::LongTail => log_normal(rng, 30.0, 2.0),
            Self::TwoKinds if rng.f64() < 0.8 => log_normal(rng, 20.0, 0.5),
            Self::TwoKinds => 3_600.0 * (1.0 + 3.0 * rng.f64()),
            Self::Slow => log_normal(rng, 3_600.0, 0.5),
        };
        ((seconds * 1_000.0) as u64).min(12 * HOUR)
    }
}

fn log_normal(rng: &mut Rng, median: f64, sigma: f64) -> f64 {
    let normal = (-2.0 * (1.0 - rng.f64()).ln()).sqrt() * (std::f64::consts::TAU * rng.f64()).cos();
    median * (sigma * normal).exp()
}

/// A wave for one VAT per 25 devices: the second largest has half as many as the largest, the third a third, ….
fn wave(n_devices: usize, arrival: Arrival, speed: Speed) -> Vec<Device> {
    let mut rng = Rng::with_seed(SEED);
    let mut total = 0.0;
    let shares: Vec<f64> = (1..=n_devices.div_ceil(25).max(5))
        .map(|rank| {
            total += 1.0 / rank as f64;
            total
        })
        .collect();
    (0..n_devices)
        .map(|_| {
            let luck = rng.f64() * total;
            let registered_at = arrival.draw(&mut rng);
            Device {
                vat: shares.partition_point(|share| *share < luck).min(shares.len() - 1),
                registered_at,
                completed_at: registered_at + speed.draw(&mut rng),
            }
        })
        .collect()
}

/// One VAT registers everything at once, and a hundred others a device each while that is being worked off.
fn beside_a_giant() -> (String, Vec<Device>) {
    let mut rng = Rng::with_seed(SEED);
    let mut device = |vat, registered_at| Device {
        vat,
        registered_at,
        completed_at: registered_at + Speed::LongTail.draw(&mut rng),
    };
    let mut devices: Vec<_> = (0..20_000).map(|_| device(0, 0)).collect();
    devices.extend((1..=100).map(|vat| device(vat, vat as u64 * 10 * SECOND)));
    ("20000 devices of one VAT at once, 100 others with one each, long tail".to_owned(), devices)
}

fn compare(title: &str, devices: &[Device], quotas: &[u32], policies: &[Policy], words: &[String]) {
    for per_minute in quotas {
        let title = format!("{title}, {per_minute} a minute");
        if !words.iter().all(|word| title.contains(word.as_str())) {
            continue;
        }
        println!(
            "\n{title}\n{:<26} {:>8} {:>8} {:>8} {:>8}  {:>10} {:>8}  {:>9}",
            "", "mean", "median", "p95", "max", "small mean", "p95", "requests"
        );
        for policy in policies {
            let Outcome { all, small, n_requests } = simulate(devices, *per_minute, policy);
            println!(
                "{:<26} {:>8.1} {:>8.1} {:>8.1} {:>8.1}  {:>10.1} {:>8.1}  {n_requests:>9}",
                policy.name,
                mean(&all),
                quantile(&all, 0.5),
                quantile(&all, 0.95),
                quantile(&all, 1.0),
                mean(&small),
                quantile(&small, 0.95)
            );
        }
    }
}

fn mean(lags: &[u64]) -> f64 {
    lags.iter().sum::<u64>() as f64 / lags.len().max(1) as f64 / 1_000.0
}

fn quantile(sorted: &[u64], share: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * share).round() as usize).map_or(0.0, |lag| *lag as f64 / 1_000.0)
}

/// Times from completion to knowledge, sorted: of all devices and of small VATs'.
#[derive(Default)]
struct Outcome {
    all: Vec<u64>,
    small: Vec<u64>,
    n_requests: u64,
}

const CREDENTIAL: &str = "main";

fn simulate(devices: &[Device], per_minute: u32, policy: &Policy) -> Outcome {
    let mut rng = Rng::with_seed(SEED);
    let start = Instant::now();
    let n_vats = devices.iter().map(|device| device.vat + 1).max().unwrap_or(0);
    let vats: Vec<Vat> = (0..n_vats).map(|nth| Vat::parse(&format!("V{nth}")).unwrap()).collect();
    let mut sizes = vec![0; n_vats];
    devices.iter().for_each(|device| sizes[device.vat] += 1);

    let serving = Serving::new([(CREDENTIAL, [].as_slice())]);
    let quota = Quota::new(per_minute, Duration::ZERO, start);
    let backoff = Backoff::new(Duration::from_secs(5), 1.5, Duration::from_secs(300), 0.2);
    let mut gates = Gates::new(backoff, usize::MAX, [(CREDENTIAL.to_owned(), quota)]);
    let mut turns = Turns::new([CREDENTIAL.to_owned()], policy.by_age);
    let mut rows = MemorySchedule::default();
    let mut intervals: Vec<Duration> = vec![first_interval(policy); devices.len()];
    let mut arrivals: Vec<(u64, usize)> = devices
        .iter()
        .enumerate()
        .map(|(key, device)| match policy.pace {
            Pace::OnCompletion => (device.completed_at, key),
            _ => (device.registered_at, key),
        })
        .collect();
    // The first one last.
    arrivals.sort_unstable_by(|a, b| b.cmp(a));

    let mut outcome = Outcome::default();
    let none_ready = BTreeMap::new();
    let mut now = 0;
    while outcome.all.len() < devices.len() {
        while let Some((due_at, key)) = arrivals.pop_if(|(due_at, _)| *due_at <= now) {
            let vat = devices[key].vat;
            rows.insert(&MemoryActivity {
                key,
                vat_key: vat as i64,
                vat: vats[vat].clone(),
                due_at: due_at as i64,
            });
            turns.look_again();
        }
        let (at, instant) = (Timestamp::from_millis(now as i64), start + Duration::from_millis(now));
        let (wanted, next_look) = turns.wanted(&mut gates, &serving, &none_ready, at, instant);
        if wanted.is_empty() {
            let next_arrival = arrivals.last().map_or(u64::MAX, |(due_at, _)| *due_at);
            now = (next_look.as_millis() as u64).max(now + 1).min(next_arrival);
            continue;
        }
        let look = |wanted: Wanted| {
            let found = rows.look(&wanted, now as i64);
            (wanted, found)
        };
        for turn in turns.plan(wanted.into_iter().map(look).collect(), &mut gates, at) {
            // Its slot is given back at once.
            let ticket = gates.take(turn.activity.vat(), CREDENTIAL, true, at);
            gates.settle(&ticket, &in_progress(), at, 0.5);
            rows.remove(&turn.activity);
            outcome.n_requests += 1;
            let key = turn.activity.key;
            let device = &devices[key];
            if device.completed_at <= now {
                let lag = now - device.completed_at;
                outcome.all.push(lag);
                if sizes[device.vat] <= SMALL {
                    outcome.small.push(lag);
                }
            } else {
                let due_at = now + wait(&mut intervals[key], policy, &mut rng);
                rows.insert(&MemoryActivity { due_at: due_at as i64, ..turn.activity });
            }
            turns.look_again();
        }
    }
    outcome.all.sort_unstable();
    outcome.small.sort_unstable();
    outcome
}

fn in_progress() -> Observation {
    Observation { http_status: Some(200), verdict: Verdict::InProgress(Report::default()), final_body: None }
}

fn first_interval(policy: &Policy) -> Duration {
    match &policy.pace {
        Pace::Backoff(backoff) => backoff.initial_interval(),
        _ => Duration::ZERO,
    }
}

fn wait(interval: &mut Duration, policy: &Policy, rng: &mut Rng) -> u64 {
    match &policy.pace {
        Pace::Every(interval) => *interval,
        Pace::OnCompletion => 1,
        Pace::Backoff(backoff) => {
            let step = backoff.step(*interval, rng.f64());
            *interval = step.next_interval;
            step.wait.as_millis() as u64
        }
    }
}
