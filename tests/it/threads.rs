//! Where the system allows no more threads, a daemon goes on with those that it has.

use std::os::unix::fs::PermissionsExt;

use crate::helpers::{Daemon, Reply, Seen, Server, Setup, VAT, eventually, http_client};
use crate::nobody::{can_be_nobody, command_of_nobody, nobody};

/// A daemon whose limits bind, as those of root do not; `None` where there can be none.
async fn daemon_of_nobody(setup: &Setup) -> Option<Daemon> {
    std::fs::set_permissions(setup.folder(), PermissionsExt::from_mode(0o777)).unwrap();
    if !can_be_nobody(setup) {
        return None;
    }
    let daemon = Daemon::spawn(command_of_nobody(setup, &["run"]));
    eventually("the daemon starts", || async { daemon.stderr().contains(" polls ").then_some(()) }).await;
    // The threads of its connections to the database are there then.
    eventually("it is ready", || async {
        let ready = http_client().get(daemon.url() + "/readyz").send().await.ok()?;
        ready.status().is_success().then_some(())
    })
    .await;
    Some(daemon)
}

/// Sets how many threads the daemon's user may have.
fn limit_threads(daemon: &Daemon, limit: u32) {
    let (limit, pid) = (format!("--nproc={limit}:"), daemon.pid().to_string());
    assert!(nobody("prlimit").args([&limit, "--pid", &pid]).status().unwrap().success());
}

fn has_thread(daemon: &Daemon, name: &str) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let mut names =
        threads.filter_map(|thread| std::fs::read_to_string(thread.unwrap().path().join("comm")).ok());
    names.any(|of_thread| of_thread.trim_end() == name)
}

/// Threads that only keep tasks from waiting for each other are done without.
#[tokio::test(flavor = "multi_thread")]
async fn where_no_thread_can_be_added_the_daemon_goes_on() {
    let is_mute = |seen: &Seen| seen.activity_id() == "mute-1";
    let upstream =
        Server::start(move |seen| if is_mute(seen) { Reply::Close } else { Reply::succeeded() }).await;
    for is_limited in [true, false] {
        let setup = Setup::new(&upstream.url(), "");
        let Some(daemon) = daemon_of_nobody(&setup).await else { return };
        if is_limited {
            limit_threads(&daemon, 1);
        }
        // Both threads are for what comes together: a commit of many conclusions, and connections that fail.
        let ids: Vec<String> = (0..100).map(|n| format!("good-{n}")).collect();
        setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());
        for id in &ids {
            setup.reaches(id, "SUCCEEDED").await;
        }
        let n_seen = upstream.n_seen_of("mute-1");
        setup.add(VAT, &["mute-1"]);
        let is_seen = || async { (upstream.n_seen_of("mute-1") >= n_seen + 3).then_some(()) };
        eventually("it is asked for again", is_seen).await;
        // A server is sent its statements by the thread of the work.
        let names = if setup.is_on_server() { &["aside"][..] } else { &["commits", "aside"] };
        for name in names {
            assert_eq!(has_thread(&daemon, name), !is_limited, "{name}");
        }
        daemon.stop().await;
    }
}

/// A name is looked up on a thread of its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_no_thread_can_be_started_for_is_looked_up_later() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url().replace("127.0.0.1", "localhost"), "");
    let Some(daemon) = daemon_of_nobody(&setup).await else { return };
    limit_threads(&daemon, 1);
    setup.add(VAT, &["act-1"]);
    let query = "SELECT coalesce(last_error, '') FROM report_activities";
    let expected = "no_reply: the host's name could not be resolved: no thread can be started for it";
    eventually("the error says why", || async {
        setup.lines(query).await.first()?.starts_with(expected).then_some(())
    })
    .await;
    limit_threads(&daemon, 1_024);
    setup.reaches("act-1", "SUCCEEDED").await;
    daemon.stop().await;
}

/// Lookups of names, lines on standard output and long computations block: they share the one thread for that.
#[tokio::test(flavor = "multi_thread")]
async fn what_blocks_is_done_where_no_thread_can_be_added() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "[events]\nlog = true\n");
    setup.configure(&setup.configuration().replace("@127.0.0.1:", "@localhost:"));
    let Some(daemon) = daemon_of_nobody(&setup).await else { return };
    limit_threads(&daemon, 1);
    setup.add(VAT, &["act-1"]);
    eventually("its event is written", || async { (daemon.events().len() == 1).then_some(()) }).await;
    let client = http_client();
    // To read a file for people takes a thread, which there is none for.
    let answered = if setup.is_on_server() { 200 } else { 503 };
    for _ in 0..3 {
        let scraped = client.get(daemon.url() + "/metrics").send().await.unwrap();
        assert_eq!(scraped.status(), 200);
        let checked =
            client.post(daemon.url() + "/v1/preflight").json(&serde_json::json!({"CommonName": "x"}));
        assert_eq!(checked.send().await.unwrap().status(), answered);
    }
    if setup.is_on_server() {
        setup.server().psql(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid()",
        );
        setup.add(VAT, &["act-2"]);
        setup.reaches("act-2", "SUCCEEDED").await;
    }
    daemon.stop().await;
}
