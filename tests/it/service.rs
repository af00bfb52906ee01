//! What the service manager is told, and `health`.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::helpers::{Reply, Server, Setup, TOKEN, VAT, eventually};

/// A service manager's end of `NOTIFY_SOCKET`.
struct Manager {
    socket: UnixDatagram,
}

impl Manager {
    /// Listens in the set-up's folder, and has the daemon tell it.
    fn listen(setup: Setup) -> (Self, Setup) {
        let path = setup.path("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let setup = setup.variable("NOTIFY_SOCKET", path.to_str().unwrap());
        (Self { socket }, setup)
    }

    /// The next message, where one has come.
    fn message(&self) -> Option<String> {
        let mut bytes = [0; 4_096];
        let length = self.socket.recv(&mut bytes).ok()?;
        Some(String::from_utf8(bytes[..length].to_vec()).unwrap())
    }

    /// Waits for a message with this line, and answers with all that came up to it.
    async fn hears(&self, line: &str) -> Vec<String> {
        let mut heard = Vec::new();
        loop {
            let message = eventually(&format!("{line} is told"), || async { self.message() }).await;
            heard.push(message);
            if heard.last().unwrap().lines().any(|said| said.starts_with(line)) {
                return heard;
            }
        }
    }

    fn forget(&self) {
        while self.message().is_some() {}
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_service_manager_is_told_of_the_start_a_reload_and_the_end() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let (manager, setup) = Manager::listen(Setup::new(&upstream.url(), ""));
    setup.add(VAT, &["act-1"]);
    let daemon = setup.spawn();
    manager.hears("READY=1").await;
    // Once it is said to be ready, it can be used.
    setup.ok(&["list"]);
    manager.hears("STATUS=0 pending, 1 in progress; 0 credentials and 0 VATs held; 0 events").await;
    std::fs::write(setup.path("token"), "another-token").unwrap();
    daemon.signal("-HUP");
    let reloading = manager.hears("RELOADING=1").await.pop().unwrap();
    let since = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(since.parse::<u64>().unwrap() > 0);
    manager.hears("READY=1").await;
    // Once it has said so, no request carries the former token.
    let n_seen = upstream.n_seen() + 1;
    eventually("it asks again", || async { (upstream.n_seen() > n_seen).then_some(()) }).await;
    let seen = upstream.seen();
    assert!(seen[n_seen..].iter().all(|seen| seen.headers["x-cleartax-auth-token"] == "another-token"));
    daemon.stop().await;
    let heard = manager.hears("STOPPING=1").await.concat();
    assert!(!heard.contains("WATCHDOG"), "no watchdog was asked for: {heard}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_credential_and_undelivered_events_stand_in_the_status_and_no_vat() {
    let upstream = Server::start(|_| Reply::new(401, "{}")).await;
    let receiver = Server::start(|_| Reply::new(500, "")).await;
    let setup = Setup::new(&upstream.url(), &crate::helpers::webhook("erp", &receiver));
    let (manager, setup) = Manager::listen(setup);
    setup.add(VAT, &["act-1"]);
    let daemon = setup.spawn();
    let line = "STATUS=1 pending, 0 in progress; 1 credentials and 0 VATs held; 1 events undelivered, 0 dead";
    let heard = manager.hears(line).await.concat();
    assert!(!heard.contains(VAT) && !heard.contains(TOKEN), "{heard}");
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watchdog_is_fed_while_poller_and_recorder_go_round_and_not_otherwise() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let (manager, setup) = Manager::listen(Setup::new(&upstream.url(), ""));
    let setup = setup.variable("WATCHDOG_USEC", "2000000");
    setup.add(VAT, &["act-1"]);
    let mut daemon = setup.spawn();
    manager.hears("WATCHDOG=1").await;
    manager.hears("WATCHDOG=1").await;

    // SQLite waits for a lock longer than the watchdog's period is here, and the recorder with it.
    let lock = crate::shutdown::locked(&setup).await;
    eventually("nobody feeds the watchdog for longer than its period", || async {
        manager.forget();
        tokio::time::sleep(Duration::from_millis(2_500)).await;
        let fed = std::iter::from_fn(|| manager.message()).any(|message| message.contains("WATCHDOG"));
        (!fed).then_some(())
    })
    .await;

    drop(lock);
    manager.hears("WATCHDOG=1").await;
    daemon.kill_9();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recorder_that_waits_for_the_disk_feeds_the_watchdog() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let (manager, setup) = Manager::listen(Setup::new(&upstream.url(), ""));
    // More than the longest pause between two tries.
    let setup = setup.variable("WATCHDOG_USEC", "6000000");
    setup.add(VAT, &["act-1"]);
    // No file of the daemon's may grow beyond this: a full disk for it alone.
    let program = setup.command(&["run"]);
    let mut limited = Command::new("bash");
    limited.arg("-c").arg("trap '' XFSZ; ulimit -f 400; exec \"$@\"").arg("bash");
    limited.arg(program.get_program()).args(program.get_args());
    limited.current_dir(setup.folder());
    limited.envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let daemon = crate::helpers::Daemon::spawn(limited);
    manager.hears("READY=1").await;
    manager.hears("STATUS=the database can't be written").await;
    manager.forget();
    for _ in 0..3 {
        manager.hears("WATCHDOG=1").await;
    }
    drop(daemon);
}

#[tokio::test(flavor = "multi_thread")]
async fn health_asks_the_daemon_beside_it_and_says_how_it_is() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let port = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (port, metrics_port) = (port(), port());
    let setup = Setup::new(
        &upstream.url(),
        &format!(
            "[http]\nlisten = \"0.0.0.0:{port}\"\ntoken = \"t0ken-of-http-for-all\"\nmetrics_listen = \"0.0.0.0:{metrics_port}\"\n"
        ),
    );
    let nobody = setup.run(&["health"]);
    assert_eq!((nobody.code, nobody.stdout.as_str()), (1, ""));
    assert!(nobody.stderr.contains(&format!("http://127.0.0.1:{metrics_port}/healthz: no daemon answers")));
    assert_eq!(nobody.stderr.lines().count(), 1, "{}", nobody.stderr);
    let daemon = setup.start().await;
    assert_eq!(setup.ok(&["health"]), format!("http://127.0.0.1:{metrics_port}/healthz: ok\n"));
    assert_eq!(setup.ok(&["health", "--ready"]), format!("http://127.0.0.1:{metrics_port}/readyz: ready\n"));
    let without = setup.configuration().replace("metrics_listen", "# ");
    std::fs::write(setup.path("other.toml"), without).unwrap();
    let said = setup.ok(&["--config", "other.toml", "health", "--ready"]);
    assert_eq!(said, format!("http://127.0.0.1:{port}/readyz: ready\n"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_names_what_is_wrong() {
    let upstream = Server::start(|_| Reply::Raw(b"SSH-2.0-nothing\r\n".to_vec())).await;
    let sick = Server::start(|seen| match seen.path.as_str() {
        "/healthz" => Reply::new(200, r#"{"status": "ok"}"#),
        _ => Reply::new(503, r#"{"status": "not ready", "reasons": ["the database can't be written"]}"#),
    })
    .await;
    let on = |address: std::net::SocketAddr| {
        Setup::new(&upstream.url(), &format!("[http]\nlisten = \"{address}\"\n"))
    };
    let setup = on(sick.address());
    let ran = setup.run(&["health", "--ready"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.ends_with("/readyz: not ready: the database can't be written\n"), "{}", ran.stderr);
    let ran = on(upstream.address()).run(&["health"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("another program answers there, not pcsid-watch"), "{}", ran.stderr);
    let silent = Server::start(|_| Reply::Silence).await;
    let ran = on(silent.address()).run(&["health"]);
    assert_eq!(ran.code, 1);
    assert!(ran.stderr.contains("no answer within 3 s"), "{}", ran.stderr);
    for listen in ["", "127.0.0.1:0"] {
        let ran = Setup::new(&upstream.url(), &format!("[http]\nlisten = \"{listen}\"\n")).run(&["health"]);
        assert_eq!(ran.code, 2, "{}", ran.stderr);
        assert!(ran.stderr.contains("there is no address to ask"), "{}", ran.stderr);
    }
}

#[test]
fn secrets_are_found_where_the_service_manager_puts_them() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let named =
        setup.configuration().replace(setup.path("token").to_str().unwrap(), "$CREDENTIALS_DIRECTORY/token");
    setup.configure(&named);
    let without = setup.run(&["config", "check"]);
    assert_eq!(without.code, 2);
    assert!(without.stderr.contains("$CREDENTIALS_DIRECTORY/token"), "{}", without.stderr);
    let folder = setup.folder().to_str().unwrap().to_owned();
    setup.variable("CREDENTIALS_DIRECTORY", &folder).ok(&["config", "check"]);
}
