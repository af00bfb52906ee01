//! A database that is taken away. Disks and locks that fail are tried by `tests/torture`.

use std::time::Duration;

use crate::helpers::{Reply, Server, Setup, VAT, can, eventually, http_client};

#[tokio::test(flavor = "multi_thread")]
async fn a_database_taken_away_beneath_the_daemon_ends_it_with_an_error() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let mut daemon = setup.start().await;
    setup.reaches("act-1", "IN_PROGRESS").await;
    std::fs::rename(setup.database(), setup.path("elsewhere.db")).unwrap();
    assert_eq!(daemon.exit_code().await, 1);
    assert!(daemon.stderr().contains("was removed or replaced while the daemon ran"), "{}", daemon.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_that_is_removed_or_replaced_beneath_the_daemon_ends_it_and_loses_nothing() {
    for put in ["nothing", "a copy", "an empty file"] {
        let upstream = Server::start(|_| Reply::failed()).await;
        let setup = Setup::new(&upstream.url(), "");
        setup.add(VAT, &["act-1"]);
        let mut daemon = setup.start().await;
        eventually("it is announced", || async { (!daemon.events().is_empty()).then_some(()) }).await;
        match put {
            "a copy" => std::fs::copy(setup.path("test.db-wal"), setup.path("wal"))
                .and_then(|_| std::fs::rename(setup.path("wal"), setup.path("test.db-wal")))
                .unwrap(),
            "an empty file" => std::fs::write(setup.path("wal"), "")
                .and_then(|()| std::fs::rename(setup.path("wal"), setup.path("test.db-wal")))
                .unwrap(),
            _ => std::fs::remove_file(setup.path("test.db-wal")).unwrap(),
        }
        assert_eq!(daemon.exit_code().await, 1);
        let log = daemon.stderr();
        assert!(log.contains("test.db-wal` was removed or replaced while the daemon ran"), "{log}");
        // What was announced is there.
        assert!(setup.ok(&["db", "check"]).contains("is whole"));
        assert_eq!(setup.state("act-1").await, "FAILED");
        setup.start().await.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_that_is_emptied_beneath_the_daemon_ends_it_and_damages_nothing() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let mut daemon = setup.start().await;
    setup.reaches("act-1", "IN_PROGRESS").await;
    // Cut by SQLite itself, as another program may have it do, it is left as it is.
    setup.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
    setup.add(VAT, &["act-2"]);
    setup.reaches("act-2", "IN_PROGRESS").await;
    std::fs::write(setup.path("test.db-wal"), "").unwrap();
    assert_eq!(daemon.exit_code().await, 1);
    let log = daemon.stderr();
    assert!(log.contains("test.db-wal` was emptied or cut while the daemon ran"), "{log}");
    assert!(setup.ok(&["db", "check"]).contains("is whole"));
    setup.start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wal_that_is_cut_and_has_grown_again_is_noticed_by_its_hole() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let mut daemon = setup.start().await;
    let path = setup.path("test.db-wal");
    let n_bytes = eventually("the WAL has some frames", || async {
        let n_bytes = std::fs::metadata(&path).ok()?.len();
        (n_bytes > 20 * 4_120).then_some(n_bytes)
    })
    .await;
    // Cut in the middle of a transaction it has its length again at once.
    let wal = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
    wal.set_len(4_096).unwrap();
    wal.set_len(n_bytes + 4_120).unwrap();
    assert_eq!(daemon.exit_code().await, 1);
    let log = daemon.stderr();
    assert!(log.contains("test.db-wal` was emptied or cut while the daemon ran"), "{log}");
    assert!(setup.ok(&["db", "check"]).contains("is whole"));
    setup.start().await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symbolic_link_that_is_switched_to_another_database_is_noticed() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    setup.ok(&["db", "backup", "other.db"]);
    let (link, real) = (setup.database(), setup.path("real.db"));
    std::fs::rename(&link, &real).unwrap();
    std::os::unix::fs::symlink(&real, &link).unwrap();
    let mut daemon = setup.start().await;
    let next = setup.path("next");
    std::os::unix::fs::symlink(setup.path("other.db"), &next).unwrap();
    std::fs::rename(&next, &link).unwrap();
    assert_eq!(daemon.exit_code().await, 1);
    let real = std::fs::canonicalize(real).unwrap();
    let says = format!(
        "`{}` led to database `{}` when the daemon started, and no longer does",
        link.display(),
        real.display()
    );
    assert!(daemon.stderr().contains(&says), "{}", daemon.stderr());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_copied_over_the_running_daemons_file_is_noticed_and_left_as_it_is() {
    for is_ours in [true, false] {
        let upstream = Server::start(|_| Reply::in_progress()).await;
        let setup = Setup::new(&upstream.url(), "");
        setup.add(VAT, &["act-1"]);
        let mut daemon = setup.start().await;
        setup.reaches("act-1", "IN_PROGRESS").await;
        let backup = setup.path("backup.db");
        if is_ours {
            setup.ok(&["db", "backup", "backup.db"]);
        } else {
            let mut sqlite = std::process::Command::new("sqlite3");
            let made = sqlite.arg(setup.database()).arg(format!(".backup {}", backup.display())).status();
            if !can(made.is_ok_and(|status| status.success()), "copy a database with sqlite3") {
                return;
            }
        }
        setup.add(VAT, &["act-2"]);
        setup.reaches("act-2", "IN_PROGRESS").await;
        let copied = std::fs::read(&backup).unwrap();
        // As `cp` does: the same file with other contents.
        std::fs::write(setup.database(), &copied).unwrap();
        assert_eq!(daemon.exit_code().await, 1);
        let log = daemon.stderr();
        assert!(log.contains("was overwritten while the daemon ran"), "{log}");
        assert!(std::fs::read(setup.database()).unwrap() == copied, "nothing was written to the backup");
        // Its WAL belongs to what was overwritten.
        assert!(setup.path("test.db-wal.overwritten").exists());
        assert!(!setup.path("test.db-wal").exists());
        let daemon = setup.start().await;
        assert!(setup.ok(&["list"]).contains("act-1"));
        assert!(!setup.ok(&["list"]).contains("act-2"));
        daemon.stop().await;
    }
}

/// As programs do that replicate or back up a database.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_makes_the_file_anew_again_and_again_does_not_end_the_daemon() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1", "act-2", "act-3"]);
    let daemon = setup.start().await;
    for n in 0..400 {
        if n % 2 == 0 {
            setup.execute("VACUUM").await;
        }
        setup.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
    }
    let n_seen = upstream.n_seen();
    eventually("it polls on", || async { (upstream.n_seen() > n_seen + 3).then_some(()) }).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_state_of_the_file_copied_over_it_in_the_same_run_is_noticed() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let mut daemon = setup.start().await;
    setup.reaches("act-1", "IN_PROGRESS").await;
    let older = std::fs::read(setup.database()).unwrap();
    eventually("the file is another one after a checkpoint", || async {
        setup.execute("PRAGMA wal_checkpoint(TRUNCATE)").await;
        (std::fs::read(setup.database()).unwrap()[60..64] != older[60..64]).then_some(())
    })
    .await;
    // The daemon has looked at it meanwhile.
    let n_seen = upstream.n_seen();
    eventually("it polls on", || async { (upstream.n_seen() > n_seen + 2).then_some(()) }).await;
    assert_eq!(std::fs::metadata(setup.database()).unwrap().len(), older.len() as u64);
    std::fs::write(setup.database(), &older).unwrap();
    assert_eq!(daemon.exit_code().await, 1);
    assert!(daemon.stderr().contains("was overwritten while the daemon ran"), "{}", daemon.stderr());
    assert!(std::fs::read(setup.database()).unwrap() == older, "nothing more was written");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_beside_the_wal_of_what_it_replaced_is_refused_untouched() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    setup.ok(&["db", "backup", "backup.db"]);
    let mut daemon = setup.start().await;
    setup.add(VAT, &["act-2"]);
    setup.reaches("act-2", "IN_PROGRESS").await;
    daemon.kill_9();
    let copied = std::fs::read(setup.path("backup.db")).unwrap();
    std::fs::write(setup.database(), &copied).unwrap();
    for arguments in [&["run"][..], &["list"], &["add", "--vat", VAT, "act-3"], &["db", "check"]] {
        let ran = setup.run(arguments);
        assert_eq!(ran.code, 1, "{arguments:?}");
        assert!(ran.stderr.contains("test.db-wal` does not belong to database"), "{}", ran.stderr);
        assert!(std::fs::read(setup.database()).unwrap() == copied, "{arguments:?}");
    }
    std::fs::remove_file(setup.path("test.db-wal")).unwrap();
    std::fs::remove_file(setup.path("test.db-shm")).unwrap();
    let daemon = setup.start().await;
    setup.reaches("act-1", "IN_PROGRESS").await;
    assert_eq!(setup.number("SELECT count(*) FROM report_activities").await, 1);
    daemon.stop().await;
    // Without the database, its WAL is no reason to begin a new one.
    std::fs::write(setup.path("test.db-wal"), "what is left of it").unwrap();
    std::fs::remove_file(setup.database()).unwrap();
    let ran = setup.run(&["run"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("does not exist, but"), "{}", ran.stderr);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_others_do_with_the_file_is_not_taken_for_its_end() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    // Commits of others, a copy, and a `VACUUM`, which makes the file anew.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(setup.database());
    let other = sqlx::SqlitePool::connect_with(options).await.unwrap();
    for n in 0..3 {
        setup.add(VAT, &[&format!("more-{n}")]);
        setup.ok(&["db", "backup", &format!("copy-{n}.db")]);
        for statement in ["VACUUM", "PRAGMA wal_checkpoint(TRUNCATE)"] {
            sqlx::query(statement).execute(&other).await.unwrap();
        }
        setup.reaches(&format!("more-{n}"), "IN_PROGRESS").await;
    }
    other.close().await;
    setup.add(VAT, &["last"]);
    setup.reaches("last", "IN_PROGRESS").await;
    daemon.stop().await;
    assert!(setup.ok(&["db", "check"]).contains("is whole"));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_beside_the_database_has_to_be_there_to_keep_a_second_daemon_out() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    let daemon = setup.start().await;
    let _ = std::fs::remove_file(setup.path("test.db.lock"));
    for name in ["test.db", "other.db"] {
        // By another name too.
        if name == "other.db" {
            std::os::unix::fs::symlink(setup.database(), setup.path(name)).unwrap();
        }
        let second = setup
            .command(&["run"])
            .env("PCSID_WATCH__DATABASE__URL", format!("sqlite://{}", setup.path(name).display()))
            .output()
            .unwrap();
        assert_eq!(second.status.code(), Some(1));
        let said = String::from_utf8_lossy(&second.stderr).into_owned();
        assert!(said.contains("is in use by another pcsid-watch daemon"), "{said}");
        assert!(said.contains(&format!("(process {})", daemon.pid())), "{said}");
    }
    daemon.stop().await;
}

#[test]
fn a_database_that_is_mounted_by_itself_is_refused() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["act-1"]);
    let alone = setup.path("mounted file.db");
    std::fs::write(&alone, "").unwrap();
    let mounted =
        std::process::Command::new("mount").args(["--bind"]).args([&setup.database(), &alone]).output();
    if !can(mounted.is_ok_and(|output| output.status.success()), "mount a file") {
        return;
    }
    let setup = setup.with_database(&alone);
    let ran =
        [&["run"][..], &["list"], &["add", "--vat", VAT, "act-2"]].map(|arguments| setup.run(arguments));
    assert!(std::process::Command::new("umount").arg(&alone).status().unwrap().success());
    for ran in ran {
        assert_eq!(ran.code, 1);
        assert!(ran.stderr.contains("is mounted as a single file"), "{}", ran.stderr);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_can_t_begin_to_poll_is_not_ready_and_says_so_once() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["act-1"]);
    let page = setup.number("SELECT rootpage FROM sqlite_schema WHERE name = 'credentials'").await;
    let n_page_bytes = setup.number("SELECT page_size FROM pragma_page_size").await;
    let mut bytes = std::fs::read(setup.database()).unwrap();
    let damaged = ((page - 1) * n_page_bytes) as usize..(page * n_page_bytes) as usize;
    bytes[damaged].fill(0xff);
    std::fs::write(setup.database(), bytes).unwrap();
    let daemon = setup.start().await;
    let reasons = eventually("it is not ready", || async {
        let response = http_client().get(daemon.url() + "/readyz").send().await.ok()?;
        (response.status() == 503).then_some(response.text().await.ok()?)
    })
    .await;
    assert!(reasons.contains("can't be read"), "{reasons}");
    // It is tried again each second.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    let log = daemon.stop().await;
    assert_eq!(log.matches("polling and sending begin when it can be used").count(), 1, "{log}");
}

/// A row that no statement can change stays out. However many there are, others are asked for and recorded, also those
/// whose VATs come behind theirs.
#[tokio::test(flavor = "multi_thread")]
async fn answers_that_can_t_be_recorded_keep_no_others_waiting() {
    // More than may wait for the recorder.
    const N_BAD: usize = 800;
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["good-1"]);
    setup
        .execute(
            "CREATE TRIGGER refusing BEFORE UPDATE ON activities WHEN OLD.activity_id LIKE 'bad-%'
             BEGIN SELECT RAISE(ABORT, 'this row stays'); END",
        )
        .await;
    let bad = |n: usize| format!("3100000{n:07}3,bad-{n}\n");
    let rows: String = (0..N_BAD).map(bad).collect();
    std::fs::write(setup.path("bad.csv"), format!("vat,activity_id\n{rows}")).unwrap();
    setup.ok(&["import", &setup.path("bad.csv").display().to_string()]);
    let daemon = setup.start().await;
    eventually("each is reported", || async {
        (daemon.stderr().matches("can't be written and is left out until a restart").count() == N_BAD)
            .then_some(())
    })
    .await;
    setup.reaches("good-1", "SUCCEEDED").await;
    setup.add(VAT, &["good-2"]);
    setup.reaches("good-2", "SUCCEEDED").await;
    // From there it is the turn of all those VATs before it is this one's.
    setup.add("399999999999993", &["good-3"]);
    setup.reaches("good-3", "SUCCEEDED").await;
    assert_eq!(setup.state("bad-0").await, "PENDING");
    assert_eq!(upstream.n_seen_of("bad-0"), 1, "it is not asked for in a loop");
    daemon.stop().await;
}

/// As on a full disk: it waits, and goes on where there is room.
#[tokio::test(flavor = "multi_thread")]
async fn a_limit_of_file_sizes_ends_no_daemon() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "SUCCEEDED").await;
    let limit = |n_bytes: &str| {
        let (limit, pid) = (format!("--fsize={n_bytes}:"), daemon.pid().to_string());
        let limited = std::process::Command::new("prlimit").args([&limit, "--pid", &pid]).status();
        limited.is_ok_and(|status| status.success())
    };
    assert!(limit("4096"));
    setup.add(VAT, &["act-2"]);
    eventually("it says so", || async {
        daemon.stderr().contains("tried again until it works").then_some(())
    })
    .await;
    assert!(limit("unlimited"));
    setup.reaches("act-2", "SUCCEEDED").await;
    daemon.stop().await;
}
