//! A wall clock that jumps: nothing lost, nothing concluded, and polling goes on.

use std::path::PathBuf;

use crate::helpers::{Daemon, Reply, Server, Setup, VAT, eventually, libfaketime, webhook};

/// Starts the daemon with a wall clock that is off by what the file `offset` says.
async fn start_with_clock(setup: &Setup, library: &PathBuf) -> Daemon {
    let mut command = setup.command(&["run"]);
    command.env("LD_PRELOAD", library);
    command.env("FAKETIME_TIMESTAMP_FILE", setup.path("offset"));
    command.env("FAKETIME_NO_CACHE", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let daemon = Daemon::spawn(command);
    eventually("the daemon starts", || async { daemon.stderr().contains(" polls ").then_some(()) }).await;
    daemon
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_ten_years_either_way_concludes_nothing_and_polling_goes_on() {
    if crate::helpers::on_postgres() {
        // On a server the time is the server's.
        return;
    }
    let Some(library) = libfaketime() else { return };
    for jump in ["+10y", "-10y"] {
        let upstream = Server::start(|_| Reply::in_progress()).await;
        let receiver = Server::start(|_| Reply::new(500, "")).await;
        let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
        setup.add(VAT, &["a", "b", "c", "done"]);
        std::fs::write(setup.path("offset"), "+0").unwrap();
        let daemon = start_with_clock(&setup, &library).await;
        upstream.answer(
            |seen| if seen.activity_id() == "done" { Reply::succeeded() } else { Reply::in_progress() },
        );
        setup.reaches("done", "SUCCEEDED").await;
        eventually("the receiver refused", || async { (receiver.n_seen() >= 1).then_some(()) }).await;

        std::fs::write(setup.path("offset"), jump).unwrap();
        eventually("the jump is noticed", || async {
            daemon.stderr().contains("the wall clock jumped by").then_some(())
        })
        .await;
        let n_before = upstream.n_seen();
        eventually("polling goes on", || async { (upstream.n_seen() >= n_before + 12).then_some(()) }).await;
        receiver.answer(|_| Reply::new(200, ""));
        eventually("the event is delivered", || async {
            let delivered = "SELECT count(*) FROM report_deliveries JOIN report_events USING (event_id)
                 WHERE sink = 'erp' AND status = 'delivered' AND type = 'pcsid.generation.succeeded'";
            (setup.number(delivered).await == 1).then_some(())
        })
        .await;
        let states =
            setup.rows("json_array(state, count(*)) AS r FROM report_activities GROUP BY state").await;
        let expected = [serde_json::json!(["IN_PROGRESS", 3]), serde_json::json!(["SUCCEEDED", 1])];
        assert_eq!(states, expected, "{jump}");
        daemon.stop().await;

        // And back again while no daemon runs.
        std::fs::write(setup.path("offset"), "+0").unwrap();
        let daemon = start_with_clock(&setup, &library).await;
        assert!(daemon.stderr().contains("taken for a clock that jumped"), "{jump}: {}", daemon.stderr());
        let n_before = upstream.n_seen();
        eventually("polling goes on", || async { (upstream.n_seen() >= n_before + 12).then_some(()) }).await;
        upstream.answer(|_| Reply::succeeded());
        for id in ["a", "b", "c"] {
            setup.reaches(id, "SUCCEEDED").await;
        }
        assert_eq!(setup.number("SELECT count(*) FROM report_activities").await, 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_on_their_way_when_the_clock_jumps_go_out_once() {
    if crate::helpers::on_postgres() {
        // There a jump ends what is under way.
        return;
    }
    let Some(library) = libfaketime() else { return };
    for jump in ["+100d", "-1h"] {
        let upstream = Server::start(|_| Reply::succeeded()).await;
        let (release, released) = tokio::sync::watch::channel(false);
        let receiver = Server::start(move |_| Reply::new(200, "").once(&released)).await;
        let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
        setup.add(VAT, &["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"]);
        std::fs::write(setup.path("offset"), "+0").unwrap();
        let daemon = start_with_clock(&setup, &library).await;
        eventually("the receiver is asked", || async { (receiver.n_seen() == 8).then_some(()) }).await;
        std::fs::write(setup.path("offset"), jump).unwrap();
        eventually("the jump is noticed", || async {
            daemon.stderr().contains("the wall clock jumped by").then_some(())
        })
        .await;
        release.send(true).unwrap();
        eventually("all are delivered", || async {
            let delivered =
                "SELECT count(*) FROM report_deliveries WHERE sink = 'erp' AND status = 'delivered'";
            (setup.number(delivered).await == 10).then_some(())
        })
        .await;
        assert_eq!(receiver.n_seen(), 10, "{jump}");
        daemon.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_command_planned_under_a_wrong_clock_is_polled_all_the_same() {
    let Some(library) = libfaketime() else { return };
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "");
    let mut command = setup.command(&["add", "--vat", VAT, "act-1"]);
    command.env("LD_PRELOAD", library).env("FAKETIME", "+10y");
    assert!(command.status().unwrap().success());
    let _daemon = setup.start().await;
    setup.reaches("act-1", "SUCCEEDED").await;
}
