//! The release binary as a process of its own, against a loopback upstream and receiver.
//!
//! `cargo bench --bench end_to_end [-- delays|throughput|lives|scale|vats|idle|databases …]` prints
//! - `delays`: the time from upstream's final answer to the receiver's POST, for single conclusions and for a burst,
//! - `throughput`: polls a second, CPU a poll and peak memory, all recorded durably, beside a bare loop of the same
//!   client that records nothing,
//! - `lives`: the same from registration to the line in the log, with one poll and with five polls a life,
//! - `scale`: the same with a thousand and with a million activities that are due, and the time to the first poll,
//! - `vats`: CPU and memory with many VATs, under a quota and without one, and the time to the first poll,
//! - `idle`: CPU and memory with a hundred thousand activities that are not due,
//! - `databases`: polls a second on a PostgreSQL server of its own beside SQLite, both durable, and CPU and memory of
//!   three idle daemons on it.
//!
//! Nothing is asserted: machines differ. Compare the ratios within one run, not the times of two. Upstream runs on the
//! same cores as what is measured.

#![expect(clippy::unwrap_used, reason = "a benchmark that fails says so by a panic")]

#[path = "../../tests/it/cluster.rs"]
#[expect(dead_code, reason = "the tests share it and use more of it")]
mod cluster;
mod process;
mod upstream;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use process::{Process, Setup};
use upstream::Ledger;

/// How long each rate is measured.
const WINDOW: Duration = Duration::from_secs(5);

/// Every answer is due again at once.
const RELENTLESS: &str = "initial_interval = \"1ms\"\nmax_interval = \"1ms\"";

fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        if let [first, url] = arguments.as_slice()
            && first == "bare-loop"
        {
            return process::bare_loop(url).await;
        }
        let is_wanted =
            |name: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == name);
        if is_wanted("delays") {
            delays(200, 1_000).await;
        }
        if is_wanted("throughput") {
            throughput().await;
        }
        if is_wanted("lives") {
            lives().await;
        }
        if is_wanted("scale") {
            scale().await;
        }
        if is_wanted("vats") {
            vats().await;
        }
        if is_wanted("idle") {
            idle().await;
        }
        if is_wanted("databases") {
            databases().await;
        }
    });
}

async fn until(what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(120);
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn delays(n_single: usize, n_burst: usize) {
    let ledger = Arc::new(Ledger::default());
    ledger.succeeds.store(true, Ordering::Relaxed);
    let setup = Setup::new(&ledger.serve().await, "").await;
    let daemon = setup.daemon();
    println!("time from the final answer to the event's POST");
    for n in 0..n_single {
        setup.add(&[format!("single-{n}")]);
        until("a single event arrives", || ledger.n_delays() == n + 1).await;
    }
    println!("  one at a time     {}", summary(ledger.take_delays()));
    setup.add(&(0..n_burst).map(|n| format!("burst-{n}")).collect::<Vec<_>>());
    until("the burst arrives", || ledger.n_delays() == n_burst).await;
    println!("  {n_burst} at once      {}", summary(ledger.take_delays()));
    daemon.stop();
}

fn summary(mut delays: Vec<Duration>) -> String {
    delays.sort();
    let at = |share: usize| delays[(delays.len() - 1) * share / 100].as_secs_f64() * 1_000.0;
    format!("median {:.1} ms, p95 {:.1} ms, worst {:.1} ms of {}", at(50), at(95), at(100), delays.len())
}

/// What a process did in one window.
struct Rate {
    polls_a_second: f64,
    cpu_us_a_poll: f64,
    peak_mib: f64,
}

impl Rate {
    /// Once it is warm.
    async fn of(process: &Process, ledger: &Ledger) -> Self {
        let n_warm = ledger.n_answers() + 10_000;
        until("it is warm", || ledger.n_answers() >= n_warm).await;
        let (n_before, cpu_before, began_at) = (ledger.n_answers(), process.cpu(), Instant::now());
        tokio::time::sleep(WINDOW).await;
        let (n_polls, cpu) = ((ledger.n_answers() - n_before) as f64, process.cpu() - cpu_before);
        Self {
            polls_a_second: n_polls / began_at.elapsed().as_secs_f64(),
            cpu_us_a_poll: cpu.as_secs_f64() * 1e6 / n_polls,
            peak_mib: process.memory_mib("VmHWM"),
        }
    }

    fn print(&self, name: &str) {
        let Self { polls_a_second, cpu_us_a_poll, peak_mib } = self;
        println!(
            "  {name:<22} {polls_a_second:>7.0} polls/s {cpu_us_a_poll:>6.1} µs CPU a poll {peak_mib:>6.1} MiB"
        );
    }

    fn print_beside(&self, name: &str, other: &Self, its_name: &str) {
        self.print(name);
        println!(
            "  {:<22} {:>7.2} of {its_name}'s polls/s, {:.2} of its CPU a poll",
            "",
            self.polls_a_second / other.polls_a_second,
            self.cpu_us_a_poll / other.cpu_us_a_poll
        );
    }
}

async fn daemon_rate(ledger: &Ledger, url: &str, n_activities: u64, n_vats: u64, are_new: bool) -> Rate {
    let setup = Setup::new(url, RELENTLESS).await;
    rate_on(&setup, ledger, n_activities, n_vats, are_new).await
}

async fn rate_on(setup: &Setup, ledger: &Ledger, n_activities: u64, n_vats: u64, are_new: bool) -> Rate {
    setup.fill(n_activities, n_vats, are_new, Duration::ZERO).await;
    let (n_before, began_at) = (ledger.n_answers(), Instant::now());
    let daemon = setup.daemon();
    until("the first poll", || ledger.n_answers() > n_before).await;
    println!(
        "  {n_activities:>9} activities due: first poll {:.2} s after the start",
        began_at.elapsed().as_secs_f64()
    );
    let rate = Rate::of(&daemon, ledger).await;
    daemon.stop();
    let (n_answered, n_recorded) = (ledger.n_answers() - n_before, setup.n_recorded().await);
    assert_eq!(n_recorded, n_answered, "polls recorded and polls answered");
    rate
}

async fn bare_rate(ledger: &Ledger, url: &str) -> Rate {
    let bare = Process::bare(url);
    let rate = Rate::of(&bare, ledger).await;
    drop(bare);
    rate
}

async fn throughput() {
    println!("throughput");
    let ledger = Arc::new(Ledger::default());
    let url = ledger.serve().await;
    // A first poll writes a transition and what upstream says as well.
    for (n_activities, are_new) in [(1_000, false), (20_000, false), (1_000_000, true)] {
        // Before each, so that a machine that gets slower meanwhile does not favour either.
        let bare = bare_rate(&ledger, &url).await;
        bare.print("bare loop");
        let daemon = daemon_rate(&ledger, &url, n_activities, 100, are_new).await;
        daemon.print_beside(if are_new { "daemon, first polls" } else { "daemon" }, &bare, "the bare loop");
    }
}

/// Rounds of each number of polls, of which the median counts.
const LIVES_ROUNDS: usize = 3;

/// Whole lives: every activity is polled until it concludes, with its checks, its event, and that event's delivery to
/// the log. One in twenty fails.
async fn lives() {
    println!("whole lives; the median of {LIVES_ROUNDS} rounds");
    let ledger = Arc::new(Ledger::default());
    let url = ledger.serve().await;
    for polls_a_life in [1, 5] {
        for n_activities in [2_000, 20_000] {
            let mut rounds = Vec::new();
            for _ in 0..LIVES_ROUNDS {
                ledger.polls_a_life.store(0, Ordering::Relaxed);
                let bare = bare_rate(&ledger, &url).await;
                ledger.polls_a_life.store(polls_a_life, Ordering::Relaxed);
                rounds.push((lives_rate(&ledger, &url, n_activities, polls_a_life).await, bare));
            }
            rounds.sort_by(|(one, _), (other, _)| one.cpu_us_a_poll.total_cmp(&other.cpu_us_a_poll));
            let (rate, bare) = &rounds[LIVES_ROUNDS / 2];
            let name = format!("{n_activities} × {polls_a_life} polls");
            rate.print_beside(&name, bare, "the bare loop");
            println!("  {:<22} {:>7.1} µs CPU a life", "", rate.cpu_us_a_poll * polls_a_life as f64);
        }
    }
}

async fn lives_rate(ledger: &Ledger, url: &str, n_activities: u64, polls_a_life: u64) -> Rate {
    let setup = Setup::with_log(url, RELENTLESS).await;
    setup.fill(n_activities, 100, true, Duration::ZERO).await;
    let (n_before, began_at) = (ledger.n_answers(), Instant::now());
    let daemon = setup.daemon();
    let n_polls = n_activities * polls_a_life;
    until("all are answered", || ledger.n_answers() >= n_before + n_polls).await;
    while setup.n_delivered().await < n_activities {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let rate = Rate {
        polls_a_second: n_polls as f64 / began_at.elapsed().as_secs_f64(),
        cpu_us_a_poll: daemon.cpu().as_secs_f64() * 1e6 / n_polls as f64,
        peak_mib: daemon.memory_mib("VmHWM"),
    };
    daemon.stop();
    assert_eq!(setup.n_recorded().await, n_polls, "polls recorded");
    assert_eq!(ledger.n_answers() - n_before, n_polls, "polls after the last one");
    ledger.forget();
    rate
}

async fn scale() {
    println!("a million activities that are due");
    let ledger = Arc::new(Ledger::default());
    let url = ledger.serve().await;
    let few = daemon_rate(&ledger, &url, 1_000, 100, false).await;
    few.print("a thousand");
    let many = daemon_rate(&ledger, &url, 1_000_000, 100, false).await;
    many.print_beside("a million", &few, "the thousand");
}

async fn vats() {
    println!("many VATs; upstream answers in 20 ms and never finishes");
    let ledger = Arc::new(Ledger::default());
    ledger.latency_ms.store(20, Ordering::Relaxed);
    let url = ledger.serve().await;
    for (n_activities, n_vats, per_minute) in
        [(20_000, 100, 300), (20_000, 20_000, 300), (100_000, 100_000, 300), (100_000, 100_000, 1_000)]
    {
        let setup = Setup::with_quota(&url, "", per_minute).await;
        setup.fill(n_activities, n_vats, false, Duration::ZERO).await;
        let (n_before, began_at) = (ledger.n_answers(), Instant::now());
        let daemon = setup.daemon();
        until("the first poll", || ledger.n_answers() > n_before).await;
        let first_poll = began_at.elapsed();
        tokio::time::sleep(WINDOW).await;
        let (n_before, cpu_before) = (ledger.n_answers(), daemon.cpu());
        tokio::time::sleep(WINDOW * 4).await;
        let share = (daemon.cpu() - cpu_before).as_secs_f64() / (WINDOW * 4).as_secs_f64();
        println!(
            "  {n_activities:>7} pending, {n_vats:>7} VATs, {per_minute:>5} a minute: {:>5.2} % of a core, {:>5.1} MiB at the \
             peak, {:>4.1} polls/s, first poll {:.2} s after the start",
            share * 100.0,
            daemon.memory_mib("VmHWM"),
            (ledger.n_answers() - n_before) as f64 / (WINDOW * 4).as_secs_f64(),
            first_poll.as_secs_f64()
        );
        daemon.stop();
    }
    ledger.latency_ms.store(0, Ordering::Relaxed);
    let few = daemon_rate(&ledger, &url, 20_000, 100, false).await;
    few.print("100 VATs");
    let many = daemon_rate(&ledger, &url, 20_000, 20_000, false).await;
    many.print_beside("20000 VATs", &few, "the 100 VATs");
    let huge = daemon_rate(&ledger, &url, 1_000_000, 100_000, false).await;
    huge.print_beside("100000 VATs", &few, "the 100 VATs");
}

async fn idle() {
    let ledger = Arc::new(Ledger::default());
    // A start brings nearer what is planned beyond the longest interval.
    let schedule = "initial_interval = \"2h\"\nmax_interval = \"2h\"";
    let setup = Setup::new(&ledger.serve().await, schedule).await;
    setup.fill(100_000, 100, false, Duration::from_secs(3_600)).await;
    let daemon = setup.daemon();
    tokio::time::sleep(WINDOW).await;
    let before = daemon.cpu();
    tokio::time::sleep(WINDOW * 6).await;
    let share = (daemon.cpu() - before).as_secs_f64() / (WINDOW * 6).as_secs_f64();
    println!(
        "idle with 100000 activities that are not due: {:.2} % of a core, {:.1} MiB resident",
        share * 100.0,
        daemon.memory_mib("VmRSS")
    );
    daemon.stop();
}

async fn databases() {
    println!("PostgreSQL beside SQLite, both durable");
    let ledger = Arc::new(Ledger::default());
    let url = ledger.serve().await;
    let cluster = cluster::Cluster::start("shared_buffers=256MB");
    for (n_activities, are_new) in [(20_000, false), (100_000, true)] {
        let sqlite = daemon_rate(&ledger, &url, n_activities, 100, are_new).await;
        sqlite.print(if are_new { "SQLite, first polls" } else { "SQLite" });
        let setup = Setup::on_server(&url, RELENTLESS, cluster.new_database()).await;
        let server = rate_on(&setup, &ledger, n_activities, 100, are_new).await;
        server.print_beside(
            if are_new { "PostgreSQL, first polls" } else { "PostgreSQL" },
            &sqlite,
            "SQLite",
        );
    }
    let schedule = "initial_interval = \"2h\"\nmax_interval = \"2h\"";
    let setup = Setup::on_server(&url, schedule, cluster.new_database()).await;
    setup.fill(100_000, 100, false, Duration::from_secs(3_600)).await;
    // The first holds all that there is only once of; the others are ready to take over.
    let first = setup.daemon();
    tokio::time::sleep(WINDOW).await;
    let daemons = [first, setup.daemon(), setup.daemon()];
    tokio::time::sleep(WINDOW * 2).await;
    let before = daemons.each_ref().map(Process::cpu);
    tokio::time::sleep(WINDOW * 6).await;
    for (daemon, (before, name)) in
        daemons.iter().zip(before.into_iter().zip(["holder", "standby", "standby"]))
    {
        println!(
            "  idle {name} of 100000 activities that are not due: {:.2} % of a core, {:.1} MiB resident",
            (daemon.cpu() - before).as_secs_f64() / (WINDOW * 6).as_secs_f64() * 100.0,
            daemon.memory_mib("VmRSS")
        );
    }
    daemons.into_iter().for_each(Process::stop);
}
