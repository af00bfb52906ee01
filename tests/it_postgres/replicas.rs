//! Several daemons on one database.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use serde_json::Value;
use sqlx::Connection as _;

use crate::helpers::{Daemon, OTHER_VAT, Reply, Server, Setup, VAT, eventually, webhook};

/// Two credentials and a webhook.
fn setup(upstream: &Server, receiver: &Server) -> Setup {
    let first = Setup::new(&upstream.url(), "");
    let token = first.path("token");
    let more = format!(
        "[[credentials]]\nname = \"main\"\ntoken_file = \"{0}\"\nrequests_per_minute = 0\n\
         [[credentials]]\nname = \"other\"\ntoken_file = \"{0}\"\nrequests_per_minute = 0\nvats = [\"{OTHER_VAT}\"]\n{1}",
        token.display(),
        webhook("erp", receiver)
    );
    let configuration = first.configuration();
    let head = configuration.split("[[credentials]]").next().unwrap().to_owned();
    let tail = configuration.split("requests_per_minute = 0").nth(1).unwrap().to_owned();
    first.configure(&format!("{head}{tail}\n{more}"));
    first
}

#[tokio::test(flavor = "multi_thread")]
async fn file_descriptors_must_suffice_for_the_requests_of_all_credentials() {
    let server = Server::start(|_| Reply::in_progress()).await;
    let setup = setup(&server, &server);
    let mut limited = std::process::Command::new("sh");
    limited.args(["-c", "ulimit -n 150 && exec \"$0\" run", env!("CARGO_BIN_EXE_pcsid-watch")]);
    limited.env("PCSID_WATCH_CONFIG", setup.path("pcsid-watch.toml")).current_dir(setup.folder());
    let output = limited.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("128 requests at a time need at least 192 file descriptors"), "{said}");
}

fn replicas(setup: &Setup) -> Vec<Value> {
    serde_json::from_str(&setup.ok(&["report", "replicas", "--format", "json"])).unwrap()
}

/// Who holds each piece, by the daemons' processes.
fn holders(setup: &Setup) -> BTreeMap<String, u32> {
    let mut holders = BTreeMap::new();
    for replica in replicas(setup) {
        let pid: u32 = replica["name"].as_str().unwrap().rsplit(':').next().unwrap().parse().unwrap();
        let mut hold = |piece: String| assert_eq!(holders.insert(piece, pid), None, "held twice");
        for kind in ["credentials", "sinks"] {
            let names = replica[kind].as_str().unwrap_or_default();
            names.split(", ").filter(|name| !name.is_empty()).for_each(|name| hold(format!("{kind} {name}")));
        }
        if replica["upkeep"] == "yes" {
            hold("upkeep".to_owned());
        }
    }
    holders
}

/// Waits until everything is held, and by just these.
async fn all_held_by(setup: &Setup, daemons: &[&Daemon]) -> BTreeMap<String, u32> {
    let pids: BTreeSet<u32> = daemons.iter().map(|daemon| daemon.pid()).collect();
    eventually("everything is held by these", || async {
        let holders = holders(setup);
        let by: BTreeSet<u32> = holders.values().copied().collect();
        (holders.len() == 5 && by == pids).then_some(holders)
    })
    .await
}

#[tokio::test]
async fn daemons_share_the_work_hand_it_over_and_take_over() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let receiver = Server::start(|_| Reply::new(204, "")).await;
    let setup = setup(&upstream, &receiver);
    let mut first = setup.start().await;
    all_held_by(&setup, &[&first]).await;
    let second = setup.start().await;
    // The first gives back what is beyond its share.
    let shared = all_held_by(&setup, &[&first, &second]).await;
    assert_ne!(shared["credentials main"], shared["credentials other"]);
    assert_ne!(shared["sinks erp"], shared["sinks log"]);

    // A death is noticed by its connection.
    first.kill_9();
    let died_at = Instant::now();
    all_held_by(&setup, &[&second]).await;
    assert!(died_at.elapsed() < Duration::from_secs(15), "{:?}", died_at.elapsed());

    // One that is told to stop hands over.
    let third = setup.start().await;
    all_held_by(&setup, &[&second, &third]).await;
    let asked_at = Instant::now();
    second.signal("-TERM");
    all_held_by(&setup, &[&third]).await;
    assert!(asked_at.elapsed() < Duration::from_secs(10), "{:?}", asked_at.elapsed());
    third.stop().await;
    assert_eq!(setup.server().psql("SELECT count(*) FROM replicas"), "0");
}

#[tokio::test]
async fn a_frozen_daemon_loses_its_work_and_joins_again_when_it_thaws() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let receiver = Server::start(|_| Reply::new(204, "")).await;
    let setup = setup(&upstream, &receiver);
    let first = setup.start().await;
    let second = setup.start().await;
    setup.add(VAT, &["a", "b"]);
    setup.add(OTHER_VAT, &["c"]);
    all_held_by(&setup, &[&first, &second]).await;
    first.signal("-STOP");
    let frozen_at = Instant::now();
    eventually("the second takes over", || async {
        let holders = holders(&setup);
        (holders.len() == 5 && holders.values().all(|pid| *pid == second.pid())).then_some(())
    })
    .await;
    let took = frozen_at.elapsed();
    assert!(took > Duration::from_secs(8) && took < Duration::from_secs(25), "{took:?}");
    first.signal("-CONT");
    all_held_by(&setup, &[&first, &second]).await;
    upstream.answer(|_| Reply::succeeded());
    for id in ["a", "b", "c"] {
        setup.reaches(id, "SUCCEEDED").await;
    }
    books(&setup, &receiver, 3).await;
    first.stop().await;
    second.stop().await;
}

/// The lock that every writer takes, until this connection is closed.
async fn writers_lock(setup: &Setup) -> sqlx::PgConnection {
    let mut connection = sqlx::PgConnection::connect(&setup.database_url()).await.unwrap();
    let statement = format!("SELECT pg_advisory_lock({}, 0)", 0x5043_5357);
    sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    connection
}

#[tokio::test]
async fn a_piece_that_can_not_be_handed_over_in_time_is_not_lost() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = setup(&upstream, &upstream);
    setup.add(VAT, &["ours"]);
    setup.add(OTHER_VAT, &["theirs"]);
    let first = setup.start().await;
    all_held_by(&setup, &[&first]).await;
    let lock = writers_lock(&setup).await;
    let second = setup.spawn();
    let is_late = || async { first.stderr().contains("nothing is polled or sent from here").then_some(()) };
    eventually("a piece is not handed over in time", is_late).await;
    lock.close().await.unwrap();
    all_held_by(&setup, &[&first, &second]).await;
    for id in ["ours", "theirs"] {
        let n_before = upstream.n_seen_of(id);
        eventually("it is asked for", || async { (upstream.n_seen_of(id) > n_before).then_some(()) }).await;
    }
    first.stop().await;
    second.stop().await;
}

#[tokio::test]
async fn a_daemon_that_lost_its_database_sends_nothing_more() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let receiver = Server::start(|_| Reply::new(204, "").after(Duration::from_millis(20))).await;
    let setup = setup(&upstream, &receiver);
    let ids: Vec<String> = (0..1_500).map(|nth| format!("a-{nth}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = setup.start().await;
    eventually("it sends", || async { (receiver.n_seen() > 100).then_some(()) }).await;
    // So that it can't begin anew.
    let lock = writers_lock(&setup).await;
    setup.server().psql(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()
           AND pid NOT IN (SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted AND objid = 0)",
    );
    eventually("it notices", || async {
        daemon.stderr().contains("nothing is polled or sent from here").then_some(())
    })
    .await;
    let n_sent = receiver.n_seen();
    daemon.stop().await;
    // What was on its way.
    assert!(receiver.n_seen() <= n_sent + 8, "{} after {n_sent}", receiver.n_seen());
    lock.close().await.unwrap();
}

#[tokio::test]
async fn a_stop_is_obeyed_while_the_work_can_not_begin() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = setup(&upstream, &upstream);
    setup.add(VAT, &["act-1"]);
    let lock = writers_lock(&setup).await;
    let mut daemon = setup.spawn();
    let waits = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND objid = 0";
    eventually("it waits", || async { (setup.server().psql(waits) == "1").then_some(()) }).await;
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code().await, 0, "{}", daemon.stderr());
    assert_eq!(upstream.n_seen(), 0);
    lock.close().await.unwrap();
}

/// Nothing lost, nothing doubled: one event for each conclusion, delivered under one id with one body.
async fn books(setup: &Setup, receiver: &Server, n_events: i64) {
    eventually("all is delivered", || async {
        let pending =
            setup.number("SELECT count(*) FROM report_deliveries WHERE status <> 'delivered'").await;
        let events = setup.number("SELECT count(*) FROM report_events").await;
        (pending == 0 && events == n_events).then_some(())
    })
    .await;
    let mut bodies: BTreeMap<String, BTreeSet<Vec<u8>>> = BTreeMap::new();
    for seen in receiver.seen() {
        bodies.entry(seen.headers["webhook-id"].clone()).or_default().insert(seen.body);
    }
    assert_eq!(i64::try_from(bodies.len()).unwrap(), n_events);
    assert!(bodies.values().all(|bodies| bodies.len() == 1), "one body an id");
    assert!(setup.ok(&["db", "check"]).contains("whole"));
}

#[tokio::test]
async fn killed_frozen_and_cut_off_daemons_lose_and_double_nothing() {
    let upstream = Server::start(|seen| match seen.activity_id().bytes().map(u64::from).sum::<u64>() % 4 {
        0 => Reply::failed(),
        1 => Reply::in_progress().after(Duration::from_millis(5)),
        _ => Reply::succeeded().after(Duration::from_millis(20)),
    })
    .await;
    let receiver = Server::start(|_| Reply::new(204, "")).await;
    let setup = setup(&upstream, &receiver);
    let mut daemons = vec![setup.start().await, setup.start().await, setup.start().await];
    let mut n_added = 0;
    for round in 0..9_usize {
        let ids: Vec<String> = (0..40).map(|nth| format!("r{round}-{nth}")).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        setup.add(if round % 2 == 0 { VAT } else { OTHER_VAT }, &ids);
        n_added += 40;
        tokio::time::sleep(Duration::from_millis(fastrand::u64(50..400))).await;
        let victim = round % 3;
        match round % 4 {
            0 => {
                daemons[victim].kill_9();
                daemons[victim] = setup.start().await;
            }
            1 => {
                daemons[victim].signal("-STOP");
                tokio::time::sleep(Duration::from_secs(2)).await;
                daemons[victim].signal("-CONT");
            }
            2 => {
                setup.server().psql(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
                     WHERE datname = current_database() AND pid <> pg_backend_pid()",
                );
            }
            _ => {
                daemons[victim].signal("-TERM");
                daemons[victim].exit_code().await;
                daemons[victim] = setup.start().await;
            }
        }
    }
    upstream.answer(|_| Reply::succeeded());
    eventually("all have concluded", || async {
        let concluded =
            setup.number("SELECT count(*) FROM report_activities WHERE concluded_at IS NOT NULL").await;
        (concluded == n_added).then_some(())
    })
    .await;
    books(&setup, &receiver, n_added).await;
    for daemon in daemons {
        daemon.stop().await;
    }
}
