//! Killed exactly before a flush, a write, a send, a receipt or a read: before each of them, or before a sample where
//! there are too many.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::effort::{Luck, asked_for, assert_no_defect};
use crate::helpers::{Daemon, Setup, VAT};
use crate::ledger::{Ledger, Order, assert_whole, ended};
use crate::strace;
use crate::world::{Key, Truth, VATS, World};

/// Tries at the same time: most of each is waiting.
const AT_ONCE: usize = 4;

/// System calls, and at how many of each a daemon is killed in every build. strace counts each kind for itself.
const BOUNDARIES: [(&str, &str, usize); 9] = [
    ("flushes", "fsync", 20),
    ("writes to files", "pwrite64", 15),
    ("files cut short", "ftruncate", 5),
    ("files removed", "unlink", 5),
    ("reads of files", "pread64", 5),
    ("short sends and events printed", "write", 5),
    ("sends", "writev", 15),
    ("other sends", "sendto", 15),
    ("receipts", "recvfrom", 15),
];

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_killed_at_any_boundary_goes_on_where_it_was() {
    if !strace::is_usable() {
        return;
    }
    for (name, calls, usually) in BOUNDARIES {
        let n_tries = asked_for().map_or(usually, |n| usize::try_from(n).unwrap());
        let luck = Luck::of("a_daemon_killed_at_any_boundary_goes_on_where_it_was", 0, n_tries as u64);
        let began_at = std::time::Instant::now();
        let first = Scene::first(luck.seed).await;
        let n_calls = first.again().await.count(calls).await;
        if n_calls == 0 {
            continue;
        }
        let places = places(&luck, name, n_calls, n_tries);
        let mut trying = JoinSet::new();
        let mut n_killed = 0;
        for nth in &places {
            if trying.len() == AT_ONCE {
                n_killed += trying.join_next().await.unwrap().unwrap();
            }
            let (nth, scene) = (*nth, first.again().await);
            trying.spawn(async move { scene.killed_at(calls, nth).await });
        }
        while let Some(killed) = trying.join_next().await {
            n_killed += killed.unwrap();
        }
        println!(
            "{name}: killed at {n_killed} of {n_calls}, {} tried, {:.1?}",
            places.len(),
            began_at.elapsed()
        );
        assert!(n_killed > 0 || n_calls == 0, "{name}: never killed");
    }
}

/// Which of so many calls to try: all of them, or a sample with the first ones in it.
fn places(luck: &Luck, name: &str, n_calls: usize, n_tries: usize) -> Vec<usize> {
    // Another run may make some calls more.
    let mut places: Vec<usize> = (1..=n_calls + 2).collect();
    if places.len() > n_tries {
        let mut rng = luck.draw(&["places", name]);
        rng.shuffle(&mut places[..]);
        places.truncate(n_tries);
        places.sort_unstable();
    }
    places
}

/// A small scenario: an activity of each ending, every one announced twice, and the stop.
struct Scene {
    seed: u64,
    world: World,
    setup: Setup,
    ledger: Ledger,
    n_activities: usize,
}

impl Scene {
    /// The first, with its activities added.
    async fn first(seed: u64) -> Self {
        let mut scene = Self::empty(seed, Ledger::default()).await;
        for state in ["SUCCEEDED", "FAILED", "REJECTED"] {
            let mut ids = (0..).map(|n| (VATS[n % 2].to_owned(), format!("act-{n}")));
            let key: Key = ids.find(|key| Truth::of(seed, key).state == state).unwrap();
            let order = Order::Add(vec![key]);
            let child = scene.ledger.give(&scene.setup, &order);
            scene.ledger.note(&order, ended(child, None).await);
            scene.n_activities += 1;
        }
        scene
    }

    async fn empty(seed: u64, ledger: Ledger) -> Self {
        let world = World::start(seed).await;
        world.calm();
        let setup = world.setup().variable("TOKIO_WORKER_THREADS", "1");
        Self { seed, world, setup, ledger, n_activities: 0 }
    }

    /// The same once more, in a world of its own.
    async fn again(&self) -> Self {
        let scene = Self::empty(self.seed, self.ledger.clone()).await;
        std::fs::copy(self.setup.database(), scene.setup.database()).unwrap();
        tokio::task::block_in_place(|| scene.setup.ok(&["db", "adopt"]));
        Self { n_activities: self.n_activities, ..scene }
    }

    /// Runs the daemon until all is announced and it has stopped, or until it is killed.
    async fn play(&self, mut daemon: Daemon) -> Daemon {
        loop {
            let n_received = self.world.book().received.len();
            let is_done =
                n_received >= self.n_activities && daemon.stdout().lines().count() >= self.n_activities;
            if is_done {
                // It may be killed before the signal arrives.
                let pid = daemon.pid().to_string();
                let _ = std::process::Command::new("kill").args(["-TERM", &pid]).output();
                daemon.exit_code().await;
            }
            if daemon.ended().is_some() {
                assert_no_defect(&daemon);
                return daemon;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// How many of these calls its busiest thread makes.
    async fn count(self, calls: &str) -> usize {
        let trace = self.setup.path("trace");
        let options = ["-o", trace.to_str().unwrap(), "-e", &format!("trace={calls}")];
        let command = strace::traced(self.setup.command(&["run"]), &options);
        let mut daemon = self.play(Daemon::spawn(command)).await;
        assert_eq!(daemon.exit_code().await, 0, "{}", daemon.stderr());
        strace::most_calls_of_a_thread(&trace)
    }

    /// Kills it there, lets another daemon finish, and compares all books. Answers with how often it was killed.
    async fn killed_at(mut self, calls: &str, nth: usize) -> usize {
        let command = strace::killed_at(self.setup.command(&["run"]), calls, nth);
        let mut daemon = self.play(Daemon::spawn(command)).await;
        self.ledger.keep_output_of(&daemon);
        let status = daemon.ended().unwrap();
        let is_killed = status.signal() == Some(9);
        assert!(is_killed || status.success(), "{calls} {nth}, {status}: {}", daemon.stderr());
        self.ledger.finish(&self.world, &self.setup).await;
        self.ledger.verify(&self.world, &self.setup, self.seed).await;
        usize::from(is_killed)
    }
}

/// Commands that write, and how many places of each are tried in every build.
const COMMANDS: [(&str, &[&str], usize); 3] = [
    ("creating the database", &["add", "--vat", VAT, "act-1"], 12),
    ("adding to it", &["add", "--vat", VAT, "act-2", "act-3"], 6),
    ("cancelling", &["cancel", "act-1"], 6),
];

/// Each counts for itself.
const CALLS_OF_COMMANDS: [&str; 5] = ["unlink", "ftruncate", "fsync", "pwrite64", "write"];

#[tokio::test(flavor = "multi_thread")]
async fn a_command_killed_at_any_boundary_has_done_all_or_nothing() {
    if !strace::is_usable() {
        return;
    }
    for (nth_command, (name, arguments, usually)) in COMMANDS.into_iter().enumerate() {
        let n_tries = asked_for().map_or(usually, |n| usize::try_from(n).unwrap());
        let luck = Luck::of("a_command_killed_at_any_boundary_has_done_all_or_nothing", 0, n_tries as u64);
        let prepared = Setup::new("http://127.0.0.1:9", "");
        for (_, arguments, _) in &COMMANDS[..nth_command] {
            prepared.ok(arguments);
        }
        let is_there = nth_command > 0;
        let before = || {
            let setup = Setup::new("http://127.0.0.1:9", "");
            if is_there {
                std::fs::copy(prepared.database(), setup.database()).unwrap();
            }
            setup
        };
        let untouched = if is_there { look(&prepared).await } else { Vec::new() };
        let setup = before();
        setup.ok(arguments);
        let wanted = look(&setup).await;
        for calls in CALLS_OF_COMMANDS {
            let setup = before();
            let n_calls = strace::count(|| setup.command(arguments), calls, &setup.path("trace"));
            let mut n_killed = 0;
            for nth in places(&luck, name, n_calls, n_tries) {
                let setup = before();
                let output = strace::killed_at(setup.command(arguments), calls, nth).output().unwrap();
                n_killed += usize::from(output.status.signal() == Some(9));
                // The next command finds a whole database, with all of it or nothing.
                let what = format!("{name}, {calls} {nth}");
                let listed = setup.run(&["list"]);
                if !is_there && listed.stderr.contains("does not exist") {
                    setup.ok(arguments);
                    assert_eq!(look(&setup).await, wanted, "{what}");
                    continue;
                }
                assert_eq!(listed.code, 0, "{what}: {}", listed.stderr);
                let found = look(&setup).await;
                let is_nothing = found == untouched;
                assert!(is_nothing || found == wanted, "{what}: {found:?}, neither nothing nor {wanted:?}");
                assert_whole(&setup).await;
                if is_nothing {
                    setup.ok(arguments);
                    assert_eq!(look(&setup).await, wanted, "{what}");
                }
            }
            println!("{name}: killed at {n_killed} of {n_calls} {calls}");
        }
    }
}

/// Activities, their steps and their events, without what differs between two runs.
async fn look(setup: &Setup) -> Vec<serde_json::Value> {
    setup
        .rows(
            "json_array(activity_id, state, (SELECT group_concat(to_state) FROM transitions t WHERE t.activity = a.id),
                        (SELECT group_concat(event_id) FROM events e WHERE e.activity = a.id)) AS r
             FROM activities a ORDER BY activity_id",
        )
        .await
}

#[test]
fn a_backup_killed_at_any_boundary_leaves_a_whole_copy_or_none() {
    if !strace::is_usable() {
        return;
    }
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["act-1", "act-2"]);
    let n_tries = asked_for().unwrap_or(8);
    let luck = Luck::of("a_backup_killed_at_any_boundary_leaves_a_whole_copy_or_none", 0, n_tries);
    let copy = setup.path("copy.db");
    for calls in ["unlink", "renameat2", "fsync", "pwrite64", "write"] {
        let n_calls =
            strace::count(|| setup.command(&["db", "backup", "copy.db"]), calls, &setup.path("trace"));
        std::fs::remove_file(&copy).unwrap();
        let (mut n_killed, mut n_copies) = (0, 0);
        for nth in places(&luck, calls, n_calls, usize::try_from(n_tries).unwrap()) {
            let command = setup.command(&["db", "backup", "copy.db"]);
            let output = strace::killed_at(command, calls, nth).output().unwrap();
            n_killed += usize::from(output.status.signal() == Some(9));
            if copy.exists() {
                n_copies += 1;
                let url = format!("sqlite://{}", copy.display());
                let checked =
                    setup.command(&["db", "check"]).env("PCSID_WATCH__DATABASE__URL", url).output().unwrap();
                assert!(
                    checked.status.success(),
                    "{calls} {nth}: {}",
                    String::from_utf8_lossy(&checked.stderr)
                );
                std::fs::remove_file(&copy).unwrap();
            } else {
                assert!(!output.status.success(), "{calls} {nth}: it says that it has made a copy");
            }
        }
        println!("a backup: killed at {n_killed} of {n_calls} {calls}, {n_copies} whole copies");
    }
}
