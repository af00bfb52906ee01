//! A disk that fills up, a database that others keep locked.

use std::path::Path;
use std::process::Command;

use crate::helpers::{Reply, Server, Setup, VAT, eventually, http_client};

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

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_stops_announcements_and_nothing_else_until_there_is_room_again() {
    let upstream = Server::start(|_| Reply::failed()).await;
    let setup = Setup::new(&upstream.url(), "");
    let folder = setup.path("disk");
    let Some(disk) = SmallDisk::mount(&folder, "900k") else {
        println!("not tried: this user may not mount a file system");
        return;
    };
    let database = folder.join("test.db");
    let configuration = setup.configuration();
    setup.configure(&configuration.replace(setup.database().to_str().unwrap(), database.to_str().unwrap()));
    let ids: Vec<String> = (0..300).map(|n| format!("act-{n}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let daemon = setup.start().await;
    eventually("it says that the disk is full", || async {
        daemon.stderr().contains("the disk is full").then_some(())
    })
    .await;
    let n_announced = daemon.events().len();
    assert!(n_announced < 300);

    disk.resize("50M");
    eventually("it says that it goes on", || async {
        daemon.stderr().contains("the database can be written again").then_some(())
    })
    .await;
    eventually("all are announced", || async { (daemon.events().len() >= 300).then_some(()) }).await;
    let log = daemon.stop().await;
    let count = |part: &str| log.lines().filter(|line| line.contains(part)).count();
    assert_eq!(
        count("polling waits, nothing is announced"),
        count("the database can be written again"),
        "{log}"
    );
    assert!(setup.ok(&["db", "check"]).contains("is whole"));
    let failed = setup.ok(&["list", "--state", "FAILED", "--format", "csv"]);
    assert_eq!(failed.lines().count(), 1 + 300);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_another_program_holds_delays_and_loses_nothing() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(setup.database());
    let pool = sqlx::SqlitePool::connect_with(options).await.unwrap();
    let daemon = setup.start().await;
    let foreign = pool.begin_with("BEGIN IMMEDIATE").await.unwrap();
    // Longer than a statement waits for a lock, so that a batch fails and is tried again.
    let status = async |path: &str| http_client().get(daemon.url() + path).send().await.unwrap().status();
    eventually("it is not ready", || async { (status("/readyz").await == 503).then_some(()) }).await;
    assert_eq!(status("/healthz").await, 200);
    foreign.rollback().await.unwrap();
    eventually("it is ready again", || async { (status("/readyz").await == 200).then_some(()) }).await;
    setup.reaches("act-1", "SUCCEEDED").await;
    eventually("it is announced", || async { (daemon.events().len() == 1).then_some(()) }).await;
    daemon.stop().await;
}

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
