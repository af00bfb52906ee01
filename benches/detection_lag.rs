//! How long a finished generation goes unnoticed when the quota is the limit.
//!
//! `cargo bench --bench detection_lag [-- WORD…]` simulates waves of registrations with one credential and prints, for
//! each policy, the time from completion to the poll that finds it and the requests made. WORDs choose the
//! scenarios whose title has all of them. It asserts nothing. The seed makes every run the same: hours are
//! simulated in seconds.
//!
//! Backoff and quota are the daemon's (`domain::schedule`, `domain::quota`). Who is next is told here as `worker::poll`
//! does it, whose own is bound to the database. A request takes no time: what it takes is the same for all.

#![expect(clippy::unwrap_used, reason = "in a bench a panic is the verdict")]

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

use fastrand::Rng;
use pcsid_watch::domain::quota::Quota;
use pcsid_watch::domain::schedule::Backoff;

const SEED: u64 = 20_260_526;

/// Times are milliseconds since the simulation began.
const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;

/// Between two polls of a device that are made ahead of the time: the default first interval.
const FLOOR: u64 = 5 * SECOND;

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

    let orders = orders();
    let intervals = intervals();
    for (n_devices, arrival, speed) in [
        (5_000, Arrival::AtOnce, Speed::LongTail),
        (5_000, Arrival::InAnHour, Speed::TwoKinds),
        (5_000, Arrival::InAnHour, Speed::Slow),
        (20_000, Arrival::InADay, Speed::TwoKinds),
        (20_000, Arrival::InADay, Speed::Slow),
    ] {
        let devices = wave(n_devices, arrival, speed);
        let title = format!("{n_devices} devices {}, {}", arrival.label(), speed.label());
        compare(&format!("orders: {title}"), &devices, &[300, 1_000], &orders, &words);
        compare(&format!("intervals: {title}"), &devices, &[300], &intervals, &words);
    }
    println!("\n{:.0} s", began_at.elapsed().as_secs_f64());
}

/// Who is asked when.
#[derive(Clone)]
struct Policy {
    name: String,
    pace: Pace,
    /// The share of requests that goes to the first of all. The others go to VATs by turns.
    first_of_all: f64,
    order: Order,
    /// Whether quota that nobody is due for is spent on those who are not.
    ahead: bool,
    /// Whether requests are made beyond the quota too, and refused.
    hammers: bool,
}

#[derive(Clone)]
enum Pace {
    Backoff(Backoff),
    Every(u64),
    /// Once, on completion, which nobody can know.
    OnCompletion,
}

/// Who is first of those that are due.
#[derive(Clone, Copy)]
enum Order {
    LongestDue,
    /// For its interval.
    LongestDueByInterval,
    FewestPolls,
    Youngest,
}

/// A backoff with the default jitter.
fn backoff(initial_interval: u64, multiplier: f64, max_interval: u64) -> Pace {
    let (initial, max) = (Duration::from_millis(initial_interval), Duration::from_millis(max_interval));
    Pace::Backoff(Backoff::new(initial, multiplier, max, 0.2))
}

/// The daemon, as it is unless told otherwise.
fn daemon() -> Policy {
    Policy {
        name: "daemon".to_owned(),
        pace: backoff(FLOOR, 1.5, 5 * MINUTE),
        first_of_all: 0.5,
        order: Order::LongestDue,
        ahead: false,
        hammers: false,
    }
}

/// The same without VATs.
fn queue(name: &str) -> Policy {
    Policy { name: name.to_owned(), first_of_all: 1.0, ..daemon() }
}

fn policies() -> Vec<Policy> {
    vec![
        daemon(),
        Policy { name: "turns alone".to_owned(), first_of_all: 0.0, ..daemon() },
        queue("backoff, one queue"),
        Policy { hammers: true, ..queue("backoff, refused") },
        Policy { pace: Pace::Every(30 * SECOND), ..queue("every 30 s") },
        Policy { pace: Pace::Every(MINUTE), ..queue("every 60 s") },
        Policy { pace: Pace::OnCompletion, ..queue("clairvoyant") },
    ]
}

fn orders() -> Vec<Policy> {
    let share = |percent: u32| Policy {
        name: format!("{percent} % to the first of all"),
        first_of_all: f64::from(percent) / 100.0,
        ..daemon()
    };
    vec![
        share(0),
        share(25),
        share(50),
        share(75),
        queue("one queue: longest due"),
        Policy { order: Order::LongestDueByInterval, ..queue("… for its interval") },
        Policy { order: Order::FewestPolls, ..queue("… fewest polls") },
        Policy { order: Order::Youngest, ..queue("… youngest") },
        Policy { ahead: true, ..queue("longest due, and ahead") },
    ]
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
            "\n{title}\n{:<26} {:>8} {:>8} {:>8} {:>8}  {:>10} {:>8}  {:>9} {:>8}",
            "", "mean", "median", "p95", "max", "small mean", "p95", "requests", "refused"
        );
        for policy in policies {
            let Outcome { all, small, n_requests, n_refused } = simulate(devices, *per_minute, policy);
            println!(
                "{:<26} {:>8.1} {:>8.1} {:>8.1} {:>8.1}  {:>10.1} {:>8.1}  {n_requests:>9} {n_refused:>8}",
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
struct Outcome {
    all: Vec<u64>,
    small: Vec<u64>,
    n_requests: u64,
    n_refused: u64,
}

/// What is known of a device.
#[derive(Clone)]
struct Row {
    due_at: u64,
    asked_at: u64,
    interval: Duration,
    n_polls: usize,
}

fn simulate(devices: &[Device], per_minute: u32, policy: &Policy) -> Outcome {
    let mut rng = Rng::with_seed(SEED);
    let start = Instant::now();
    let at = |ms: u64| start + Duration::from_millis(ms);
    let mut quota = Quota::new(per_minute, start);
    let n_vats = devices.iter().map(|device| device.vat + 1).max().unwrap_or(0);
    let mut sizes = vec![0; n_vats];
    devices.iter().for_each(|device| sizes[device.vat] += 1);
    let is_one_queue = policy.first_of_all >= 1.0;

    let mut rows: Vec<Row> = devices.iter().map(|device| first_row(device, policy)).collect();
    let mut waiting: BinaryHeap<_> =
        rows.iter().enumerate().map(|(id, row)| Reverse((row.due_at, id))).collect();
    let mut due = Due::new(if is_one_queue { 1 } else { n_vats });
    let mut ahead = Ahead::default();
    let mut outcome = Outcome { all: Vec::new(), small: Vec::new(), n_requests: 0, n_refused: 0 };
    // Of a first of all's turn, what has come together: with a share of a half it is every other request.
    let mut firsts = 0.0;
    let mut now = 0;
    loop {
        while let Some(&Reverse((due_at, id))) = waiting.peek()
            && due_at <= now
        {
            waiting.pop();
            // Who was asked ahead stands there once more.
            if rows[id].due_at == due_at {
                let vat = if is_one_queue { 0 } else { devices[id].vat };
                due.insert(vat, id, &rows[id], &devices[id], policy.order);
            }
        }
        let next_event = waiting.peek().map(|Reverse((due_at, _))| *due_at);
        let early = if policy.ahead && due.is_empty() { ahead.peek(&rows, now) } else { None };
        if due.is_empty() && early.is_none_or(|(from, _)| from > now) {
            let Some(next_event) = next_event else { break };
            now = early.map_or(next_event, |(from, _)| from.min(next_event));
            continue;
        }
        let is_refused = policy.hammers && quota.available(at(now)) == 0;
        if !is_refused && quota.available(at(now)) == 0 {
            now += (quota.wait(at(now)).as_nanos() as u64).div_ceil(1_000_000).max(1);
            continue;
        }
        let id = match early {
            Some((_, id)) => id,
            None => {
                firsts += policy.first_of_all;
                let is_first_of_all = firsts >= 1.0;
                firsts -= f64::from(u8::from(is_first_of_all));
                due.pop(is_first_of_all, &rows, now, policy.order)
            }
        };
        outcome.n_requests += 1;
        if is_refused {
            outcome.n_refused += 1;
        } else {
            quota.take();
            let device = &devices[id];
            if device.completed_at <= now {
                let lag = now - device.completed_at;
                outcome.all.push(lag);
                if sizes[device.vat] <= SMALL {
                    outcome.small.push(lag);
                }
                rows[id].due_at = u64::MAX;
                rows[id].n_polls += 1;
                continue;
            }
        }
        ask_again(&mut rows[id], policy, now, &mut rng);
        waiting.push(Reverse((rows[id].due_at, id)));
        if policy.ahead {
            ahead.insert(id, &rows[id]);
        }
    }
    outcome.all.sort_unstable();
    outcome.small.sort_unstable();
    outcome
}

fn first_row(device: &Device, policy: &Policy) -> Row {
    Row {
        due_at: match policy.pace {
            Pace::OnCompletion => device.completed_at,
            _ => device.registered_at,
        },
        asked_at: device.registered_at,
        interval: match &policy.pace {
            Pace::Backoff(backoff) => backoff.initial_interval(),
            _ => Duration::ZERO,
        },
        n_polls: 0,
    }
}

fn ask_again(row: &mut Row, policy: &Policy, now: u64, rng: &mut Rng) {
    row.n_polls += 1;
    row.asked_at = now;
    row.due_at = now
        + match &policy.pace {
            Pace::Every(interval) => *interval,
            Pace::OnCompletion => 0,
            Pace::Backoff(backoff) => {
                let step = backoff.step(row.interval, rng.f64());
                row.interval = step.next_interval;
                step.wait.as_millis() as u64
            }
        };
}

/// Those that are due, by VAT.
struct Due {
    lines: Vec<Line>,
    /// By VAT, when it had its last turn.
    served: Vec<u64>,
    n_served: u64,
    /// VATs with somebody due: the one that has waited longest for a turn is first.
    by_turn: BTreeSet<(u64, u64, usize)>,
    /// The same VATs: the one with the first of all is first.
    by_first: BTreeSet<(u64, usize)>,
}

/// One VAT's, by their number of polls where the order looks at that.
#[derive(Default)]
struct Line {
    levels: Vec<BinaryHeap<Reverse<(u64, usize)>>>,
}

impl Due {
    fn new(n_lines: usize) -> Self {
        Self {
            lines: (0..n_lines).map(|_| Line::default()).collect(),
            served: vec![0; n_lines],
            n_served: 0,
            by_turn: BTreeSet::new(),
            by_first: BTreeSet::new(),
        }
    }

    fn is_empty(&self) -> bool {
        self.by_turn.is_empty()
    }

    fn insert(&mut self, vat: usize, id: usize, row: &Row, device: &Device, order: Order) {
        self.unlist(vat);
        let (level, key) = match order {
            Order::LongestDue => (0, row.due_at),
            Order::LongestDueByInterval | Order::FewestPolls => (row.n_polls.min(31), row.due_at),
            Order::Youngest => (0, u64::MAX - device.registered_at),
        };
        let levels = &mut self.lines[vat].levels;
        if levels.len() <= level {
            levels.resize_with(level + 1, BinaryHeap::new);
        }
        levels[level].push(Reverse((key, id)));
        self.list(vat);
    }

    fn pop(&mut self, is_first_of_all: bool, rows: &[Row], now: u64, order: Order) -> usize {
        let vat =
            if is_first_of_all { self.by_first.first().unwrap().1 } else { self.by_turn.first().unwrap().2 };
        self.unlist(vat);
        let id = self.lines[vat].pop(rows, now, order);
        self.n_served += 1;
        self.served[vat] = self.n_served;
        self.list(vat);
        id
    }

    fn list(&mut self, vat: usize) {
        if let Some(first) = self.lines[vat].first() {
            self.by_turn.insert((self.served[vat], first, vat));
            self.by_first.insert((first, vat));
        }
    }

    fn unlist(&mut self, vat: usize) {
        if let Some(first) = self.lines[vat].first() {
            self.by_turn.remove(&(self.served[vat], first, vat));
            self.by_first.remove(&(first, vat));
        }
    }
}

impl Line {
    fn first(&self) -> Option<u64> {
        self.levels.iter().filter_map(|level| level.peek()).map(|Reverse((key, _))| *key).min()
    }

    fn pop(&mut self, rows: &[Row], now: u64, order: Order) -> usize {
        // Who was polled equally often has the same interval, so that the longest due of each level is enough.
        let urgency = |level: &BinaryHeap<Reverse<(u64, usize)>>| match (level.peek(), order) {
            (None, _) => -1.0,
            (Some(Reverse((due_at, id))), Order::LongestDueByInterval) => {
                (now - due_at) as f64 / rows[*id].interval.as_millis() as f64
            }
            // The first level that has anybody.
            _ => 0.0,
        };
        let level = (0..self.levels.len())
            .rev()
            .max_by(|a, b| urgency(&self.levels[*a]).total_cmp(&urgency(&self.levels[*b])));
        self.levels[level.unwrap()].pop().unwrap().0.1
    }
}

/// Those that are not due, for spare quota: who has waited for the largest part of its interval is first, and nobody
/// comes before [`FLOOR`].
#[derive(Default)]
struct Ahead {
    levels: Vec<VecDeque<(u64, usize, usize)>>,
}

impl Ahead {
    fn insert(&mut self, id: usize, row: &Row) {
        let level = row.n_polls.min(31);
        if self.levels.len() <= level {
            self.levels.resize_with(level + 1, VecDeque::new);
        }
        self.levels[level].push_back((row.asked_at, id, row.n_polls));
    }

    /// Whom to ask, and from when on.
    fn peek(&mut self, rows: &[Row], now: u64) -> Option<(u64, usize)> {
        let mut best: Option<(u64, f64, usize)> = None;
        for level in &mut self.levels {
            while level.front().is_some_and(|(_, id, n_polls)| rows[*id].n_polls != *n_polls) {
                level.pop_front();
            }
            if let Some((asked_at, id, _)) = level.front() {
                let part = (now - asked_at) as f64 / rows[*id].interval.as_millis() as f64;
                let from = (asked_at + FLOOR).max(now);
                if best.is_none_or(|(until, most, _)| from < until || (from == until && part > most)) {
                    best = Some((from, part, *id));
                }
            }
        }
        best.map(|(from, _, id)| (from, id))
    }
}
