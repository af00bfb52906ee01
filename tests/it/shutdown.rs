//! Stopping, and what may not run beside what.

use std::time::{Duration, Instant};

use crate::helpers::{Reply, Server, Setup, VAT, eventually, http_client};

/// Asks a process whose output nobody collects to stop, and answers with its exit code.
async fn terminated(child: &mut std::process::Child) -> Option<i32> {
    let _ = std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status();
    let status = eventually("it ends", || {
        let status = child.try_wait().unwrap();
        async move { status }
    })
    .await;
    status.code()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_on_its_way_is_recorded_and_announced_before_the_end() {
    for signal in ["-TERM", "-INT"] {
        let (release, released) = tokio::sync::watch::channel(false);
        let upstream = Server::start(move |_| Reply::succeeded().once(&released)).await;
        let setup = Setup::new(&upstream.url(), "");
        setup.add(VAT, &["act-1"]);
        let mut daemon = setup.start().await;
        eventually("it is asked for", || async { (upstream.n_seen() == 1).then_some(()) }).await;
        daemon.signal(signal);
        eventually("it says that it stops", || async { daemon.stderr().contains("stopping").then_some(()) })
            .await;
        release.send_replace(true);
        assert_eq!(daemon.exit_code().await, 0, "{}", daemon.stderr());
        assert_eq!(setup.state("act-1").await, "SUCCEEDED");
        eventually("the event is printed", || async { (daemon.events().len() == 1).then_some(()) }).await;
        let delivered = "SELECT count(*) FROM report_deliveries WHERE status = 'delivered'";
        assert_eq!(setup.number(delivered).await, 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_never_comes_holds_the_end_up_for_less_than_ten_seconds() {
    let upstream = Server::start(|_| Reply::Silence).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let mut daemon = setup.start().await;
    eventually("it is asked for", || async { (upstream.n_seen() == 1).then_some(()) }).await;
    let asked_at = Instant::now();
    daemon.signal("-TERM");
    assert_eq!(daemon.exit_code().await, 0, "{}", daemon.stderr());
    // It takes four; the promise to service managers is ten.
    assert!(asked_at.elapsed() < Duration::from_secs(10));
    assert_eq!(setup.state("act-1").await, "PENDING");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_signal_stops_at_once() {
    let upstream = Server::start(|_| Reply::Silence).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let mut daemon = setup.start().await;
    eventually("it is asked for", || async { (upstream.n_seen() == 1).then_some(()) }).await;
    daemon.signal("-TERM");
    eventually("it says that it stops", || async { daemon.stderr().contains("stopping").then_some(()) })
        .await;
    // Those that come together with the first one count as one with it.
    eventually("it stops at once", || {
        daemon.signal("-TERM");
        let log = daemon.stderr();
        async move { log.contains("second signal: stopping at once").then_some(()) }
    })
    .await;
    assert_eq!(daemon.exit_code().await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn signals_that_come_together_are_one_wish_to_stop() {
    let (release, released) = tokio::sync::watch::channel(false);
    let upstream = Server::start(move |_| Reply::succeeded().once(&released)).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let mut daemon = setup.start().await;
    eventually("it is asked for", || async { (upstream.n_seen() == 1).then_some(()) }).await;
    daemon.signal("-TERM");
    daemon.signal("-TERM");
    daemon.signal("-INT");
    eventually("it says that it stops", || async { daemon.stderr().contains("stopping").then_some(()) })
        .await;
    release.send_replace(true);
    assert_eq!(daemon.exit_code().await, 0, "{}", daemon.stderr());
    assert_eq!(setup.state("act-1").await, "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hangup_has_the_token_read_again_and_ends_nothing() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    std::fs::write(setup.path("token"), "another-token").unwrap();
    daemon.signal("-HUP");
    eventually("the new token is used", || async {
        let seen = upstream.seen();
        (seen.last()?.headers["x-cleartax-auth-token"] == "another-token").then_some(())
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_on_one_database_is_refused_and_the_first_goes_on() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "");
    let first = setup.start().await;
    let second = setup.run(&["run"]);
    assert_eq!(second.code, 1);
    let expected = format!("is in use by another pcsid-watch daemon (process {})", first.pid());
    assert!(second.stderr.contains(&expected), "{}", second.stderr);
    // Nor by another name of the same file.
    std::os::unix::fs::symlink(setup.database(), setup.path("other.db")).unwrap();
    let by_link = setup
        .configuration()
        .replace(setup.database().to_str().unwrap(), setup.path("other.db").to_str().unwrap());
    std::fs::write(setup.path("link.toml"), by_link).unwrap();
    let second = setup.run(&["--config", "link.toml", "run"]);
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains(&expected), "{}", second.stderr);
    setup.add(VAT, &["act-1"]);
    setup.reaches("act-1", "SUCCEEDED").await;
    first.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pipe_on_standard_output_holds_neither_polling_nor_the_end_up() {
    let upstream = Server::start(|_| Reply::failed()).await;
    let setup = Setup::new(&upstream.url(), "");
    let ids: Vec<String> = (0..200).map(|n| format!("act-{n}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let mut child = setup
        .command(&["run"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Nobody reads: 200 events of a failed device are far more than a pipe holds.
    eventually("all have concluded", || async {
        let concluded = "SELECT count(*) FROM report_activities WHERE state = 'FAILED'";
        if !setup.database().exists() {
            return None;
        }
        (setup.number(concluded).await == 200).then_some(())
    })
    .await;
    assert_eq!(terminated(&mut child).await, Some(0));
    assert!(setup.number("SELECT count(*) FROM report_deliveries WHERE status = 'pending'").await > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_nobody_reads_ends_nothing() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut child = setup.command(&["run"]).stdout(std::process::Stdio::null()).stderr(full).spawn().unwrap();
    setup.reaches("act-1", "SUCCEEDED").await;
    assert_eq!(terminated(&mut child).await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_work_while_a_daemon_creates_the_database() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    let daemon = setup.spawn();
    let adding: Vec<_> =
        (0..8).map(|n| setup.command(&["add", "--vat", VAT, &format!("act-{n}")]).spawn().unwrap()).collect();
    for mut child in adding {
        assert!(child.wait().unwrap().success());
    }
    eventually("all are known", || async {
        (setup.number("SELECT count(*) FROM report_activities WHERE state = 'IN_PROGRESS'").await == 8)
            .then_some(())
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_pipe_on_standard_error_holds_neither_polling_nor_the_end_up() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "");
    // Far more lines than a pipe holds.
    let csv: String = (0..2_000).map(|n| format!("{VAT},act-{n}\n")).collect();
    std::fs::write(setup.path("all.csv"), format!("vat,activity_id\n{csv}")).unwrap();
    setup.ok(&["import", "all.csv"]);
    let mut child = setup
        .command(&["run"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("all have concluded", || async {
        (setup.number("SELECT count(*) FROM report_activities WHERE state = 'SUCCEEDED'").await == 2_000)
            .then_some(())
    })
    .await;
    assert_eq!(terminated(&mut child).await, Some(0));
}

/// Keeps everybody else from writing, for as long as it lives.
pub async fn locked(setup: &Setup) -> sqlx::SqliteConnection {
    use sqlx::Connection as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(setup.database());
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut connection).await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn full_pipes_and_a_locked_database_hold_the_end_up_for_less_than_ten_seconds() {
    let upstream = Server::start(|_| Reply::failed().after(Duration::from_millis(100))).await;
    let setup = Setup::new(&upstream.url(), "").variable("PCSID_WATCH__LOG__LEVEL", "trace");
    let csv: String = (0..1_000).map(|n| format!("{VAT},act-{n}\n")).collect();
    std::fs::write(setup.path("all.csv"), format!("vat,activity_id\n{csv}")).unwrap();
    setup.ok(&["import", "all.csv"]);
    let mut child = setup
        .command(&["run"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("some have concluded", || async {
        (setup.number("SELECT count(*) FROM report_activities WHERE state = 'FAILED'").await > 300)
            .then_some(())
    })
    .await;
    let lock = locked(&setup).await;
    let asked_at = Instant::now();
    // What waits for the lock is still due, and said to be so.
    assert_eq!(terminated(&mut child).await, Some(1));
    assert!(asked_at.elapsed() < Duration::from_secs(10), "{:?}", asked_at.elapsed());
    drop(lock);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_is_noticed_where_nothing_is_to_be_written() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let daemon = setup.start().await;
    let ready = async || {
        let answer = http_client().get(daemon.url() + "/readyz").send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    assert_eq!(ready().await.0, 200);
    let lock = locked(&setup).await;
    // Long before a commit has failed, which takes SQLite ten seconds.
    eventually("it is not ready", || async {
        let (status, reason) = ready().await;
        (status == 503).then(|| assert!(reason.contains("a write has waited for"), "{reason}"))
    })
    .await;
    drop(lock);
    eventually("it is ready again", || async { (ready().await.0 == 200).then_some(()) }).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_locked_while_it_starts_holds_the_end_up_no_longer() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["act-1"]);
    let lock = locked(&setup).await;
    let mut child = setup
        .command(&["run"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    eventually("it has begun", || async {
        // Its handlers of signals are there.
        let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"))?.trim().to_owned();
        (u64::from_str_radix(&caught, 16).ok()? & (1 << 14) != 0).then_some(())
    })
    .await;
    let asked_at = Instant::now();
    terminated(&mut child).await;
    assert!(asked_at.elapsed() < Duration::from_secs(10), "{:?}", asked_at.elapsed());
    drop(lock);
}
