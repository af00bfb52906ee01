//! Disks that fill up or fail, files that can't be written or are damaged, locks and readers that stay: what was
//! announced is stored, and when the trouble is over the daemon goes on by itself.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool, SqlitePoolOptions};

use crate::effort::{asked_for, assert_no_defect};
use crate::helpers::{Daemon, PATIENCE, Reply, Server, Setup, VAT, can, eventually, http_client};
use crate::ledger::assert_whole;
use crate::strace::{self, Sabotage};

/// A small file system of its own; gone with the value. `None` where this user may not mount one.
struct SmallDisk<'a>(&'a Path);

impl<'a> SmallDisk<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        std::fs::create_dir(at).unwrap();
        let options = format!("size={size}");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(at).output();
        mounted.is_ok_and(|output| output.status.success()).then_some(Self(at))
    }

    fn resize(&self, size: &str) {
        let options = format!("remount,size={size}");
        assert!(Command::new("mount").args(["-o", &options]).arg(self.0).status().unwrap().success());
    }
}

impl Drop for SmallDisk<'_> {
    fn drop(&mut self) {
        // Lazily: a daemon that a failed test leaves behind may still have files open.
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

/// An upstream that finds everything in progress until it is told that all has failed.
struct Turning {
    server: Server,
    is_over: Arc<AtomicBool>,
}

impl Turning {
    async fn start() -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let told = Arc::clone(&is_over);
        let server = Server::start(move |_| match told.load(Ordering::SeqCst) {
            true => Reply::failed(),
            false => Reply::in_progress(),
        })
        .await;
        Self { server, is_over }
    }

    fn turn(&self) {
        self.is_over.store(true, Ordering::SeqCst);
    }
}

fn add_many(setup: &Setup, n: usize) {
    let ids: Vec<String> = (0..n).map(|n| format!("act-{n}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
}

async fn status(daemon: &Daemon, path: &str) -> u16 {
    match http_client().get(daemon.url() + path).send().await {
        Ok(answer) => answer.status().as_u16(),
        Err(error) => panic!("{path}: {error}; the daemon said: {}", daemon.stderr()),
    }
}

/// Alive all the time, and unready by and by.
async fn becomes_unready(daemon: &Daemon) {
    eventually("it is not ready", || async { (status(daemon, "/readyz").await == 503).then_some(()) }).await;
    assert_eq!(status(daemon, "/healthz").await, 200);
}

async fn becomes_ready(daemon: &Daemon) {
    eventually("it is ready again", || async { (status(daemon, "/readyz").await == 200).then_some(()) })
        .await;
}

/// All activities have failed, each is announced once, and the announcement is what is stored.
async fn assert_all_announced(daemon: &Daemon, setup: &Setup, n: usize) {
    eventually("all are announced", || async { (daemon.events().len() >= n).then_some(()) }).await;
    assert_eq!(daemon.events().len(), n);
    let stored = setup.rows("json(payload) AS r FROM report_events ORDER BY event_id").await;
    let mut printed = daemon.events();
    printed.sort_by_key(|event| event["id"].as_str().unwrap().to_owned());
    assert_eq!(printed, stored);
    assert_whole(setup).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_announcements_and_nothing_else_until_there_is_room_again() {
    let upstream = Server::start(|_| Reply::failed()).await;
    let setup = Setup::new(&upstream.url(), "");
    let folder = setup.path("disk");
    let disk = SmallDisk::mount(&folder, "1500k");
    can(disk.is_some(), "mount a file system");
    let Some(disk) = disk else { return };
    let setup = setup.with_database(&folder.join("test.db"));
    add_many(&setup, 300);
    let daemon = setup.start().await;
    eventually("it says that the disk is full", || async {
        daemon.stderr().contains("the disk is full").then_some(())
    })
    .await;
    becomes_unready(&daemon).await;
    let n_stored = setup.number("SELECT count(*) FROM report_events").await;
    let n_announced = daemon.events().len();
    assert!(n_announced < 300 && n_announced <= usize::try_from(n_stored).unwrap());

    disk.resize("50M");
    eventually("it says that it goes on", || async {
        daemon.stderr().contains("the database can be written again").then_some(())
    })
    .await;
    becomes_ready(&daemon).await;
    assert_all_announced(&daemon, &setup, 300).await;
    let log = daemon.stop().await;
    let count = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    assert_eq!(
        count("polling waits, nothing is announced"),
        count("the database can be written again"),
        "{log}"
    );
    assert!(setup.ok(&["db", "check"]).contains("is whole"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_on_a_disk_that_is_full_leaves_nothing_behind_and_works_once_there_is_room() {
    let upstream = Turning::start().await;
    let setup = Setup::new(&upstream.server.url(), "");
    let volume = setup.path("volume");
    let disk = SmallDisk::mount(&volume, "64k");
    can(disk.is_some(), "mount a file system");
    let Some(disk) = disk else { return };
    let setup = setup.variable("PCSID_WATCH__DATABASE__URL", "sqlite://volume/watch.db");
    let left = || -> Vec<String> {
        let names = std::fs::read_dir(&volume).unwrap();
        names.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    };
    // From no room at all to nearly enough: the last write that fails is another one each time.
    for n_kib in (64..).step_by(24) {
        disk.resize(&format!("{n_kib}k"));
        let ran = setup.run(&["add", "--vat", VAT, "act-1"]);
        if ran.code == 0 {
            break;
        }
        assert!(ran.code == 1 && ran.stderr.contains("the disk is full"), "{n_kib}: {}", ran.stderr);
        if left().iter().any(|name| name == "watch.db") {
            // It was made, and there is no room to work.
            break;
        }
        assert_eq!(left(), Vec::<String>::new(), "{n_kib}");
    }
    disk.resize("16m");
    setup.add(VAT, &["act-1"]);
    assert!(setup.ok(&["db", "check"]).contains("is whole"));

    // Copied before it is migrated.
    let database = volume.join("watch.db");
    let older = "DELETE FROM _sqlx_migrations WHERE version = (SELECT max(version) FROM _sqlx_migrations)";
    let status = Command::new("sqlite3").arg(&database).arg(older).status();
    if !can(status.is_ok(), "change a database with sqlite3") {
        return;
    }
    assert!(status.unwrap().success());
    let n_kib = std::fs::metadata(&database).unwrap().len() / 1_024;
    // No room for the copy; or for the copy, and the migration fails (it has been made).
    for (room, cause) in [(100, "the disk is full"), (16 * 1_024, "")] {
        disk.resize(&format!("{}k", n_kib + room));
        let ran = setup.run(&["run"]);
        assert!(ran.code == 1 && ran.stderr.contains(cause), "{room}: {}", ran.stderr);
        let copies: Vec<_> = left().into_iter().filter(|name| name.contains("before-migration")).collect();
        assert_eq!(copies, Vec::<String>::new(), "{room}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_fails_for_a_while_delays_and_loses_nothing() {
    if !strace::is_usable() {
        return;
    }
    // What every write, every flush and every look at the file comes to.
    for how in [
        "pwrite64:error=EIO",
        "fsync:error=EIO",
        "pwrite64:error=ENOSPC",
        "ftruncate,pwrite64,fsync:error=EIO",
    ] {
        let upstream = Turning::start().await;
        let setup = Setup::new(&upstream.server.url(), "");
        add_many(&setup, 50);
        let daemon = setup.start().await;
        eventually("all are in progress", || async {
            let waiting = "SELECT count(*) FROM report_activities WHERE state <> 'IN_PROGRESS'";
            (setup.number(waiting).await == 0).then_some(())
        })
        .await;
        let sabotage = Sabotage::of(daemon.pid(), how);
        upstream.turn();
        becomes_unready(&daemon).await;
        // A commit that was flushed, or whose flush alone failed, may show up later; none may be announced before.
        assert_eq!(daemon.events().len(), 0, "{how}: {}", daemon.stderr());
        drop(sabotage);
        becomes_ready(&daemon).await;
        assert_all_announced(&daemon, &setup, 50).await;
        assert_no_defect(&daemon);
        daemon.stop().await;
        assert!(setup.ok(&["db", "check"]).contains("is whole"), "{how}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_can_not_be_read_for_a_while_delays_and_loses_nothing() {
    if !strace::is_usable() {
        return;
    }
    let upstream = Turning::start().await;
    let setup = Setup::new(&upstream.server.url(), "");
    add_many(&setup, 50);
    let daemon = setup.start().await;
    let sabotage = Sabotage::of(daemon.pid(), "pread64:error=EIO");
    // What is in its caches it may go on with; new rows it has to read.
    let mut n_added = 0;
    eventually("it is not ready", || {
        n_added += 1;
        setup.add(VAT, &[&format!("new-{n_added}")]);
        async { (status(&daemon, "/readyz").await == 503).then_some(()) }
    })
    .await;
    assert_eq!(status(&daemon, "/healthz").await, 200);
    drop(sabotage);
    upstream.turn();
    becomes_ready(&daemon).await;
    assert_all_announced(&daemon, &setup, 50 + n_added).await;
    assert_no_defect(&daemon);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_another_program_holds_delays_and_loses_nothing() {
    let upstream = Turning::start().await;
    let setup = Setup::new(&upstream.server.url(), "");
    add_many(&setup, 20);
    let options = SqliteConnectOptions::new().filename(setup.database());
    let pool = SqlitePool::connect_with(options).await.unwrap();
    let daemon = setup.start().await;
    let foreign = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    upstream.turn();
    // Longer than a statement waits for a lock, so that a batch fails and is tried again.
    becomes_unready(&daemon).await;
    if asked_for().is_some() {
        tokio::time::sleep(std::time::Duration::from_secs(20)).await;
    }
    assert_eq!(daemon.events().len(), 0);
    foreign.rollback().await.unwrap();
    becomes_ready(&daemon).await;
    assert_all_announced(&daemon, &setup, 20).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_stays_makes_the_wal_grow_and_no_longer_than_it_stays() {
    const SMALL: u64 = 25 << 20;
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let schedule = "[schedule]\ninitial_interval = \"1ms\"\nmax_interval = \"5ms\"\n";
    let setup = Setup::with(&upstream.url(), schedule, "");
    // Many, so that each write changes another page.
    let csv: String = (0..4_000).map(|n| format!("{VAT},act-{n}\n")).collect();
    std::fs::write(setup.path("all.csv"), format!("vat,activity_id\n{csv}")).unwrap();
    setup.ok(&["import", "all.csv"]);
    let daemon = setup.start().await;
    let wal = setup.path("test.db-wal");
    let size = || std::fs::metadata(&wal).map_or(0, |file| file.len());
    let writes = async |n: usize| {
        let until = upstream.n_seen() + n;
        let last = std::sync::Mutex::new((upstream.n_seen(), std::time::Instant::now()));
        while upstream.n_seen() < until {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            let mut last = last.lock().unwrap();
            if upstream.n_seen() > last.0 {
                *last = (upstream.n_seen(), std::time::Instant::now());
            }
            assert!(last.1.elapsed() < PATIENCE, "no poll for {PATIENCE:?}");
        }
    };
    writes(3_000).await;
    let usual = size();
    // A report's author who went for lunch.
    let options = SqliteConnectOptions::new().filename(setup.database()).read_only(true);
    let reader = SqlitePoolOptions::new().max_connections(1).connect_with(options).await.unwrap();
    let mut snapshot = reader.begin_with("BEGIN").await.unwrap();
    let count = "SELECT sum(poll_count) FROM report_activities";
    let seen: i64 = sqlx::query_scalar(count).fetch_one(&mut *snapshot).await.unwrap();
    assert!(usual < SMALL, "{usual} bytes already");
    let mut n_writes = 0;
    while size() <= SMALL {
        assert!(n_writes < 500_000, "it does not grow: {} bytes after {n_writes} writes", size());
        writes(2_000).await;
        n_writes += 2_000;
    }
    let grown = size();
    let seen_again: i64 = sqlx::query_scalar(count).fetch_one(&mut *snapshot).await.unwrap();
    assert_eq!(seen, seen_again, "what the reader sees stays as it was");
    snapshot.rollback().await.unwrap();
    reader.close().await;
    eventually("the WAL is small again", || async { (size() < SMALL).then_some(()) }).await;
    println!("WAL: {usual} bytes before, {grown} with a reader and {n_writes} writes, {} after", size());
    daemon.stop().await;
    assert_whole(&setup).await;
}

/// The program as somebody who owns nothing.
fn as_nobody(setup: &Setup, arguments: &[&str]) -> Command {
    let command = setup.command(arguments);
    let mut as_nobody = Command::new("setpriv");
    as_nobody.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--"]);
    as_nobody.arg(command.get_program()).args(command.get_args()).current_dir(setup.folder());
    as_nobody.env("PCSID_WATCH_CONFIG", setup.path("pcsid-watch.toml"));
    as_nobody
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_not_be_written_is_refused_in_a_sentence_and_left_as_it_is() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let mode = |path: &Path, mode| std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
    mode(setup.folder(), 0o755);
    mode(&setup.path("token"), 0o644);
    let may_try = as_nobody(&setup, &["--version"]).output().is_ok_and(|output| output.status.success());
    if !can(may_try, "become another user, who may start the program") {
        return;
    }
    setup.add(VAT, &["act-1"]);
    let before = files(setup.folder());
    for writable in [false, true] {
        // A folder that is not theirs, and a file that is not.
        mode(setup.folder(), if writable { 0o777 } else { 0o755 });
        for arguments in [&["run"][..], &["add", "--vat", VAT, "act-2"]] {
            let output = as_nobody(&setup, arguments).output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{arguments:?}: {stderr}");
            let is_plain = stderr.contains("this user may not read or write there");
            assert!(is_plain, "{arguments:?}: {stderr}");
        }
        let after = files(setup.folder());
        assert_eq!(after["test.db"], before["test.db"]);
    }
    mode(setup.folder(), 0o755);
    setup.add(VAT, &["act-2"]);
    assert!(setup.ok(&["db", "check"]).contains("is whole"));
}

/// All files with their lengths and hashes, but for what SQLite leaves beside a file in WAL mode that somebody has only
/// read: an empty WAL, and its index.
fn files(folder: &Path) -> BTreeMap<String, (usize, u64)> {
    let files = std::fs::read_dir(folder).unwrap().map(Result::unwrap);
    files
        .filter(|file| file.file_type().unwrap().is_file())
        .map(|file| {
            let bytes = std::fs::read(file.path()).unwrap();
            let mut hasher = DefaultHasher::new();
            bytes.hash(&mut hasher);
            (file.file_name().into_string().unwrap(), (bytes.len(), hasher.finish()))
        })
        .filter(|(name, (length, _))| !(name.ends_with("-shm") || name.ends_with("-wal") && *length == 0))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_or_a_newer_file_is_refused_untouched() {
    let commands: [&[&str]; 4] = [&["run"], &["add", "--vat", VAT, "act-x"], &["list"], &["db", "check"]];
    for damage in ["header", "schema", "newer"] {
        let setup = Setup::new("http://127.0.0.1:9", "");
        add_many(&setup, 400);
        let mut bytes = std::fs::read(setup.database()).unwrap();
        match damage {
            "header" => bytes[..100].fill(0xa5),
            // The rest of the first page, which says what tables there are.
            "schema" => bytes[100..4_096].fill(0xa5),
            _ => {
                let options = SqliteConnectOptions::new().filename(setup.database());
                let pool = SqlitePool::connect_with(options).await.unwrap();
                sqlx::query("UPDATE _sqlx_migrations SET version = 9999 WHERE version = 3")
                    .execute(&pool)
                    .await
                    .unwrap();
                pool.close().await;
                bytes = std::fs::read(setup.database()).unwrap();
            }
        }
        std::fs::write(setup.database(), &bytes).unwrap();
        let before = files(setup.folder());
        for arguments in commands {
            let ran = setup.run(arguments);
            assert_eq!(ran.code, 1, "{damage}, {arguments:?}: {}", ran.stderr);
            let sentence =
                if damage == "newer" { "has schema 9999" } else { "not a readable SQLite database" };
            assert!(ran.stderr.contains(sentence), "{damage}, {arguments:?}: {}", ran.stderr);
            assert_eq!(files(setup.folder()), before, "{damage}, {arguments:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_damaged_in_the_middle_is_found_and_announces_nothing() {
    let upstream = Server::start(|_| Reply::failed()).await;
    let setup = Setup::new(&upstream.url(), "");
    add_many(&setup, 400);
    let reader = setup.reader().await;
    let page: i64 = sqlx::query_scalar("SELECT rootpage FROM sqlite_schema WHERE name = 'schedules'")
        .fetch_one(&reader)
        .await
        .unwrap();
    reader.close().await;
    let mut bytes = std::fs::read(setup.database()).unwrap();
    let begin = usize::try_from(page - 1).unwrap() * 4_096;
    bytes[begin..begin + 4_096].fill(0xa5);
    std::fs::write(setup.database(), &bytes).unwrap();
    let checked = setup.run(&["db", "check"]);
    assert_eq!(checked.code, 1);
    assert!(checked.stderr.contains("restore a backup"), "{}", checked.stderr);
    // A daemon ends, or says what is wrong and is not ready; either way it announces nothing.
    let mut daemon = setup.spawn();
    eventually("it says that the file is damaged", || async {
        daemon.stderr().contains("restore a backup").then_some(())
    })
    .await;
    if daemon.ended().is_none() {
        becomes_unready(&daemon).await;
    }
    assert_eq!(daemon.stdout(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_under_load_is_a_database_that_work_goes_on_with() {
    let upstream = Turning::start().await;
    let setup = Setup::new(&upstream.server.url(), "");
    add_many(&setup, 300);
    let daemon = setup.start().await;
    let mut copies: Vec<PathBuf> = Vec::new();
    for nth in 0..4 {
        if nth == 1 {
            // The next ones fall into the conclusions.
            upstream.turn();
        }
        let copy = setup.path(&format!("copy-{nth}.db"));
        setup.ok(&["db", "backup", copy.to_str().unwrap()]);
        copies.push(copy);
    }
    assert_all_announced(&daemon, &setup, 300).await;
    let ids = "json_quote(event_id) AS r FROM report_events ORDER BY event_id";
    let announced = setup.rows(ids).await;
    daemon.stop().await;
    for copy in copies {
        let restored = Setup::new(&upstream.server.url(), "").with_database(&copy);
        assert!(restored.ok(&["db", "check"]).contains("is whole"));
        let daemon = restored.start().await;
        eventually("all have concluded", || async {
            let watched = "SELECT count(*) FROM report_activities WHERE state <> 'FAILED'";
            let open = "SELECT count(*) FROM report_deliveries WHERE status <> 'delivered'";
            (restored.number(watched).await + restored.number(open).await == 0).then_some(())
        })
        .await;
        // Under the same ids as before: a receiver that keeps them is told nothing twice.
        assert_eq!(restored.rows(ids).await, announced);
        assert_whole(&restored).await;
        daemon.stop().await;
    }
}

/// Whether a signal has stopped all threads of a process. One that writes goes on until its system call has ended.
fn is_held(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    threads.flatten().all(|thread| {
        let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_daemon_changes_nothing_before_it_is_refused() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    add_many(&setup, 20);
    let first = setup.start().await;
    eventually("all are in progress", || async {
        let waiting = "SELECT count(*) FROM report_activities WHERE state <> 'IN_PROGRESS'";
        (setup.number(waiting).await == 0).then_some(())
    })
    .await;
    // Held still, so that every change is the second one's.
    first.signal("-STOP");
    eventually("it is held", || async { is_held(first.pid()).then_some(()) }).await;
    let before = files(setup.folder());
    let second = setup.run(&["run"]);
    let after = files(setup.folder());
    first.signal("-CONT");
    assert_eq!(second.code, 1);
    assert!(second.stderr.contains("is in use by another pcsid-watch daemon"), "{}", second.stderr);
    assert_eq!(after, before);
    first.stop().await;
}
