//! Killed with -9 at any moment: nothing lost, nothing doubled, nothing changed.

use std::collections::{HashMap, HashSet};

use crate::helpers::{Reply, Server, Setup, VAT, eventually, webhook};

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_daemon_goes_on_where_it_was() {
    let upstream = Server::start(|_| Reply::Silence).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let mut daemon = setup.start().await;
    eventually("it is asked for", || async { (upstream.n_seen() == 1).then_some(()) }).await;
    daemon.kill_9();
    upstream.answer(|_| Reply::succeeded());
    // The lock is gone with the process, and the row is still due.
    let daemon = setup.start().await;
    setup.reaches("act-1", "SUCCEEDED").await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn events_survive_every_kill_under_one_id_and_with_one_body() {
    const N_ACTIVITIES: usize = 120;
    const N_KILLS: u32 = 12;
    // Each activity succeeds at its third poll, so kills fall before, between and after conclusions.
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let polls = std::sync::Mutex::new(HashMap::<String, u32>::new());
    upstream.answer(move |seen| {
        let mut polls = polls.lock().unwrap();
        let n_polls = polls.entry(seen.activity_id().to_owned()).or_default();
        *n_polls += 1;
        if *n_polls > 2 { Reply::succeeded() } else { Reply::in_progress() }
    });
    let receiver = Server::start(|_| Reply::new(200, "")).await;
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
    let ids: Vec<String> = (0..N_ACTIVITIES).map(|n| format!("act-{n}")).collect();
    setup.add(VAT, &ids.iter().map(String::as_str).collect::<Vec<_>>());

    let mut printed = Vec::new();
    for kill in 0..N_KILLS {
        let mut daemon = setup.spawn();
        // After so many more requests and receipts, another number each time: before, between and after commits.
        let enough = (upstream.n_seen() + receiver.n_seen() + 7 + kill as usize * 5).min(N_ACTIVITIES * 3);
        eventually("it has got so far", || async {
            let is_done = receiver.n_seen() >= N_ACTIVITIES;
            (is_done || upstream.n_seen() + receiver.n_seen() >= enough).then_some(())
        })
        .await;
        daemon.kill_9();
        printed.push(daemon.stdout());
    }
    let daemon = setup.start().await;
    eventually("everything is delivered", || async {
        let pending = "SELECT count(*) FROM report_deliveries WHERE status <> 'delivered'";
        let delivered = "SELECT count(*) FROM report_deliveries WHERE status = 'delivered'";
        (setup.number(delivered).await == 2 * N_ACTIVITIES as i64 && setup.number(pending).await == 0)
            .then_some(())
    })
    .await;
    let last = daemon.stop().await;
    assert!(!last.contains("ERROR"), "{last}");

    // Both ledgers against the database: every event once, always with the same body.
    let stored: HashMap<String, String> = setup
        .rows("json_array(event_id, payload) AS r FROM report_events")
        .await
        .into_iter()
        .map(|row| (row[0].as_str().unwrap().to_owned(), row[1].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(stored.len(), N_ACTIVITIES);
    let mut received = HashSet::new();
    for seen in receiver.seen() {
        let id = &seen.headers["webhook-id"];
        assert_eq!(Some(&String::from_utf8(seen.body.clone()).unwrap()), stored.get(id), "{id}");
        received.insert(id.clone());
    }
    assert_eq!(received.len(), N_ACTIVITIES);
    for line in printed.iter().flat_map(|text| text.lines()) {
        // A kill may cut the last line short; a whole one is a stored one.
        if let Ok(event) = serde_json::from_str::<serde_json::Value>(line) {
            assert_eq!(stored.get(event["id"].as_str().unwrap()).map(String::as_str), Some(line));
        }
    }
    let doubled = "SELECT count(*) FROM (SELECT 1 FROM report_transitions
                   WHERE to_state = 'SUCCEEDED' GROUP BY vat, activity_id HAVING count(*) > 1)";
    assert_eq!(setup.number(doubled).await, 0);
    assert_eq!(setup.rows("json_quote(integrity_check) AS r FROM pragma_integrity_check").await, ["ok"]);
}
