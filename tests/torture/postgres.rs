//! Three daemons on one PostgreSQL server, killed, frozen and cut off, and the server with them: nothing lost, nothing
//! doubled, nothing changed, and no quota exceeded.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::cluster::{Cluster, ServerDatabase};
use crate::effort::{Luck, asked_for, cycles, random_moment};
use crate::helpers::{Daemon, Setup, eventually};
use crate::kills::{any_order, carry_out};
use crate::ledger::{Ledger, assert_whole};
use crate::proxy::{Mode, Proxy};
use crate::world::{QUOTA, World};

/// Troubles of one pair of servers.
const CYCLES_OF_A_LIFE: u64 = 60;

/// What a server is started with.
const SETTINGS: &str = "max_connections=100 wal_retrieve_retry_interval=200ms";

/// How many pieces of work there are: two credentials, a webhook, the log and the upkeep.
const N_PIECES: usize = 5;

/// Locks that two backends hold at once.
const HELD_TWICE: &str = "SELECT count(*) FROM (
    SELECT objid FROM pg_locks WHERE locktype = 'advisory' AND granted AND mode = 'ExclusiveLock' AND objsubid = 2
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    GROUP BY classid, objid HAVING count(*) > 1) twice";

#[tokio::test(flavor = "multi_thread")]
async fn daemons_on_one_server_lose_double_and_change_nothing_whatever_fails() {
    let n_cycles = cycles(14);
    for nth in 0..n_cycles.div_ceil(CYCLES_OF_A_LIFE) {
        let n_cycles = (n_cycles - nth * CYCLES_OF_A_LIFE).min(CYCLES_OF_A_LIFE);
        let luck =
            Luck::of("daemons_on_one_server_lose_double_and_change_nothing_whatever_fails", nth, n_cycles);
        live(&luck).await;
    }
}

/// The servers, and what stands before them.
struct Servers {
    primary: Cluster,
    standby: Option<Cluster>,
    database: ServerDatabase,
    proxy: Proxy,
}

impl Servers {
    async fn start() -> Self {
        let primary = Cluster::start(SETTINGS);
        let standby = Some(primary.start_standby(SETTINGS));
        let database = primary.new_database();
        let proxy = Proxy::start(primary.port).await;
        Self { primary, standby, database, proxy }
    }

    /// The primary is gone for ever. What it had said that it has committed the standby has.
    fn fail_over(&mut self) {
        let Some(standby) = self.standby.take() else { return };
        // A standby that is away itself is no standby.
        self.primary.await_standby();
        self.primary.crash();
        standby.promote();
        self.database = self.database.on(&standby);
        self.proxy.lead_to(standby.port);
        self.primary = standby;
    }
}

/// One pair of servers and its troubles.
async fn live(luck: &Luck) {
    let began_at = Instant::now();
    let world = World::start(luck.seed).await;
    let mut servers = Servers::start().await;
    let url = format!("postgres://watch@127.0.0.1:{}/{}", servers.proxy.port, servers.database.name);
    let mut setup = world.setup_with_quota(QUOTA).on_server(servers.database.clone(), &url);
    let mut ledger = Ledger::default();
    ledger.database_may_be_away();
    let mut rng = luck.draw(&["troubles"]);
    let mut daemons: Vec<Daemon> = (0..3).map(|_| setup.spawn()).collect();
    let mut troubled_at: Vec<Instant> = Vec::new();
    let mut frozen: Option<(usize, Instant)> = None;
    let frozen_for = Duration::from_secs(if asked_for().is_some() { 30 } else { 13 });
    let mut tried: BTreeMap<&str, usize> = BTreeMap::new();
    // Each kind as often as any other, in any order.
    let mut kinds: Vec<u64> = (0..luck.n_cycles).map(|n| n % 8).collect();
    rng.shuffle(&mut kinds);
    for (cycle, kind) in (0..).zip(kinds) {
        let n_orders = if cycle == 0 { 6 } else { rng.usize(2..5) };
        let orders = (0..n_orders).map(|_| any_order(&mut rng, &world, &ledger, cycle)).collect();
        carry_out(&mut rng, &setup, &mut ledger, orders).await;
        if let Some((nth, _)) = frozen.take_if(|(_, at)| at.elapsed() > frozen_for) {
            daemons[nth].signal("-CONT");
        }
        let awake: Vec<usize> =
            (0..daemons.len()).filter(|nth| frozen.is_none_or(|(cold, _)| cold != *nth)).collect();
        let nth = *rng.choice(&awake).unwrap();
        let trouble = match kind {
            _ if cycle == 1 && frozen.is_none() => {
                daemons[nth].signal("-STOP");
                frozen = Some((nth, Instant::now()));
                "frozen for long"
            }
            _ if cycle == luck.n_cycles / 2 => {
                servers.fail_over();
                setup = setup.on_server(servers.database.clone(), &url);
                "failed over"
            }
            0 => {
                daemons[nth].kill_9();
                ledger.keep_output_of(&std::mem::replace(&mut daemons[nth], setup.spawn()));
                "killed"
            }
            1 => {
                daemons[nth].signal("-TERM");
                // One that has just lost the database can't write the rest.
                let code = daemons[nth].exit_code().await;
                let said = daemons[nth].stderr();
                assert!(code == 0 || code == 1 && said.contains("not everything could be written"), "{said}");
                ledger.keep_output_of(&std::mem::replace(&mut daemons[nth], setup.spawn()));
                "stopped"
            }
            2 => {
                daemons[nth].signal("-STOP");
                random_moment(&mut rng, Duration::from_secs(4)).await;
                daemons[nth].signal("-CONT");
                "frozen"
            }
            3 => {
                let which = if rng.bool() { "true" } else { "pid % 2 = 0" };
                servers.database.psql(&format!(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid() AND {which}"
                ));
                "backends ended"
            }
            4 => {
                servers.primary.crash();
                random_moment(&mut rng, Duration::from_secs(1)).await;
                servers.primary.launch(SETTINGS);
                "server killed"
            }
            5 => {
                servers.proxy.cut();
                "connections cut"
            }
            6 => {
                servers.proxy.set(Mode::Stall);
                random_moment(&mut rng, Duration::from_secs(if asked_for().is_some() { 30 } else { 5 }))
                    .await;
                if rng.bool() {
                    servers.proxy.cut();
                }
                servers.proxy.set(Mode::Pass);
                "connections stalled"
            }
            _ => {
                servers.proxy.set(Mode::LoseAnswers);
                random_moment(&mut rng, Duration::from_millis(500)).await;
                servers.proxy.cut();
                servers.proxy.set(Mode::Pass);
                "answers lost"
            }
        };
        println!("{:>6.1?} {trouble}", began_at.elapsed());
        *tried.entry(trouble).or_default() += 1;
        troubled_at.push(Instant::now());
        let watch_until = Instant::now() + Duration::from_secs(1).mul_f64(rng.f64());
        while Instant::now() < watch_until {
            assert_eq!(servers.database.psql(HELD_TWICE), "0");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
    if let Some((nth, at)) = frozen {
        tokio::time::sleep(frozen_for.saturating_sub(at.elapsed())).await;
        daemons[nth].signal("-CONT");
    }
    world.calm();
    println!("{:>6.1?} calm", began_at.elapsed());
    eventually("everything is held, by daemons that share it", || async {
        shared_by(&setup, 3).then_some(())
    })
    .await;
    println!("{:>6.1?} all is held", began_at.elapsed());
    for mut daemon in daemons {
        daemon.signal("-TERM");
        assert_eq!(daemon.exit_code().await, 0, "{}", daemon.stderr());
        ledger.keep_output_of(&daemon);
    }
    ledger.finish(&world, &setup).await;
    ledger.verify(&world, &setup, luck.seed).await;
    assert_whole(&setup).await;
    verify_quota(&world, &troubled_at);
    println!(
        "{tried:?}, {} activities, {} requests and receipts, {:.1?}",
        ledger.activities().len(),
        world.n_seen(),
        began_at.elapsed()
    );
}

/// Whether every piece is held, each by one daemon, and as many daemons are there.
fn shared_by(setup: &Setup, n_daemons: usize) -> bool {
    let replicas: Vec<Value> =
        serde_json::from_str(&setup.ok(&["report", "replicas", "--format", "json"])).unwrap();
    let mut held: Vec<String> = Vec::new();
    for replica in &replicas {
        for kind in ["credentials", "sinks"] {
            let names =
                replica[kind].as_str().unwrap_or_default().split(", ").filter(|name| !name.is_empty());
            held.extend(names.map(|name| format!("{kind} {name}")));
        }
        held.extend((replica["upkeep"] == "yes").then(|| "upkeep".to_owned()));
    }
    let n_held = held.len();
    held.sort();
    held.dedup();
    assert_eq!(held.len(), n_held, "held twice: {replicas:?}");
    n_held == N_PIECES && replicas.len() == n_daemons
}

/// However often the work changed hands, no credential was used more often than it may. Who takes over begins with one
/// request at most.
fn verify_quota(world: &World, troubled_at: &[Instant]) {
    let book = world.book();
    let per_second = f64::from(QUOTA) / 60.0;
    let burst = f64::from(QUOTA) / 20.0 + 1.0;
    for (first, from) in book.limited_at.iter().enumerate() {
        for (n, at) in (1..).zip(book.limited_at.iter().skip(first)) {
            let within = at.duration_since(*from);
            // Every trouble may have each daemon lose it once.
            let n_troubles = troubled_at.iter().filter(|trouble| (*from..=*at).contains(*trouble)).count();
            let most = within.as_secs_f64() * per_second + burst + 3.0 * (n_troubles + 1) as f64;
            assert!(f64::from(n) <= most, "{n} requests within {within:?}, at most {most}");
        }
    }
    println!("{} requests of the credential with a quota", book.limited_at.len());
}
