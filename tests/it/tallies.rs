//! Counts that are kept are those that would be counted.

use crate::helpers::{OTHER_VAT, Reply, Server, Setup, VAT, eventually, webhook};

/// Every tally beside the count that it stands for.
const TALLIES: [(&str, &str, &str); 8] = [
    (
        "states",
        "SELECT vat_id || ' ' || state || ' ' || n FROM tally_states WHERE n <> 0",
        "SELECT vat_id || ' ' || state || ' ' || count(*) FROM activities GROUP BY vat_id, state",
    ),
    (
        "conclusions",
        "SELECT hour || ' ' || state || ' ' || n FROM tally_conclusions WHERE n <> 0",
        "SELECT (concluded_at / 3600000) || ' ' || state || ' ' || count(*) FROM activities
         WHERE concluded_at IS NOT NULL GROUP BY concluded_at / 3600000, state",
    ),
    (
        "durations",
        "SELECT sum(n) || '' FROM tally_durations HAVING sum(n) <> 0",
        "SELECT count(*) || '' FROM activities WHERE state = 'SUCCEEDED' HAVING count(*) <> 0",
    ),
    (
        "checks",
        "SELECT vat_id || ' ' || position || outcome || ' ' || n FROM tally_checks WHERE n <> 0",
        "SELECT v.id || ' ' || n.position || c.outcome || ' ' || count(*)
         FROM report_checks c JOIN check_names n ON n.name = c.check_name JOIN vats v ON v.vat = c.vat
         WHERE c.outcome <> 'NOT_REPORTED' GROUP BY v.id, n.position, c.outcome",
    ),
    (
        "rules",
        "SELECT rule || position || ' ' || vat_id || ' ' || n || ' ' || last_concluded_at FROM tally_rules",
        "SELECT rule || check_position || ' ' || vat_id || ' ' || count(DISTINCT activity) || ' ' || max(concluded_at)
         FROM check_errors JOIN activities ON id = activity
         WHERE rule IS NOT NULL GROUP BY rule, check_position, vat_id",
    ),
    (
        "listed rules",
        "SELECT rule || ' ' || vat_id || ' ' || n || ' ' || last_concluded_at FROM tally_listed_rules",
        "SELECT rule || ' ' || vat_id || ' ' || count(DISTINCT activity) || ' ' || max(concluded_at)
         FROM error_rules JOIN activities ON id = activity WHERE rule IS NOT NULL GROUP BY rule, vat_id",
    ),
    (
        "devices",
        "SELECT vat_id || ' ' || device_id || ' ' || n || ' ' || n_succeeded FROM tally_devices",
        "SELECT vat_id || ' ' || device_id || ' ' || count(*) || ' ' || count(*) FILTER (WHERE state = 'SUCCEEDED')
         FROM activities WHERE device_id IS NOT NULL GROUP BY vat_id, device_id",
    ),
    (
        "deliveries",
        "SELECT sink || status || ' ' || n FROM tally_deliveries WHERE n <> 0",
        "SELECT sink || status || ' ' || count(*) FROM deliveries GROUP BY sink, status",
    ),
];

async fn assert_tallies_are_right(setup: &Setup, when: &str) -> usize {
    let mut n_rows = 0;
    for (name, tally, count) in TALLIES {
        let (kept, counted) = (setup.lines(tally).await, setup.lines(count).await);
        assert_eq!(kept, counted, "{name}, {when}");
        n_rows += kept.len();
    }
    n_rows
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_tallied_is_what_would_be_counted_through_conclusions_retries_redeliveries_and_pruning() {
    let upstream = Server::by_id().await;
    let receiver = Server::start(|_| Reply::new(410, "")).await;
    let retention = "[retention]\nconcluded_after = \"1ms\"\n";
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
    for vat in [VAT, OTHER_VAT] {
        setup.add(vat, &["good-1", "good-2", "bad-1", "bad-2", "odd-1", "slow-1", "slow-2"]);
    }
    setup.ok(&["add", "--vat", VAT, "--device-id", "till-1", "good-3", "slow-3"]);
    setup.ok(&["add", "--vat", VAT, "--device-id", "till-2", "good-4"]);
    assert_tallies_are_right(&setup, "registered").await;
    let daemon = setup.start().await;
    eventually("all but the slow ones have concluded and no delivery is pending", || async {
        let concluded = "SELECT count(*) FROM report_activities WHERE concluded_at IS NOT NULL";
        let pending = "SELECT count(*) FROM report_deliveries WHERE status = 'pending'";
        (setup.number(concluded).await == 12 && setup.number(pending).await == 0).then_some(())
    })
    .await;
    daemon.stop().await;
    assert!(assert_tallies_are_right(&setup, "concluded").await > 20);

    setup.ok(&["cancel", "slow-1", "--vat", VAT]);
    setup.ok(&["retry", "odd-1", "--vat", VAT]);
    setup.ok(&["deliveries", "redeliver", "--dead"]);
    assert_tallies_are_right(&setup, "cancelled, retried, redelivered").await;

    // Without the webhook all goes that has concluded, but for the cancelled one, whose line is still to be written.
    let configuration = setup.configuration();
    setup.configure(&format!("{}{retention}", configuration.split("[[webhooks]]").next().unwrap()));
    setup.ok(&["db", "prune"]);
    assert_tallies_are_right(&setup, "pruned").await;
    assert_eq!(setup.number("SELECT sum(activities) FROM report_vats").await, 6);
    assert_eq!(setup.number("SELECT count(*) FROM report_devices").await, 1);
    assert_eq!(setup.number("SELECT count(*) FROM report_rules").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_was_last_seen_where_it_still_is() {
    let upstream = Server::start(|_| Reply::failed()).await;
    let receiver = Server::start(|_| Reply::new(500, "")).await;
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
    let daemon = setup.start().await;
    setup.add(VAT, &["kept"]);
    setup.reaches("kept", "FAILED").await;
    daemon.stop().await;
    // The webhook has not taken the first one's event, so that one stays; those after it are pruned.
    let configuration = setup.configuration();
    setup.configure(configuration.split("[[webhooks]]").next().unwrap());
    let daemon = setup.start().await;
    setup.add(VAT, &["pruned-1", "pruned-2"]);
    setup.reaches("pruned-1", "FAILED").await;
    setup.reaches("pruned-2", "FAILED").await;
    eventually("the log has both", || async { (daemon.events().len() >= 2).then_some(()) }).await;
    daemon.stop().await;
    setup.configure(&format!("{configuration}[retention]\nconcluded_after = \"1ms\"\n"));
    setup.ok(&["db", "prune"]);
    assert_eq!(setup.number("SELECT count(*) FROM report_activities").await, 1);
    assert!(setup.number("SELECT count(*) FROM report_rules").await > 0);
    assert_tallies_are_right(&setup, "the latest are pruned").await;
    let late = "SELECT count(*) FROM report_rules
                WHERE last_seen_at <> (SELECT concluded_at FROM report_activities WHERE activity_id = 'kept')";
    assert_eq!(setup.number(late).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_stands_twice_in_a_check_has_the_worse_severity() {
    let body = include_str!("../fixtures/failed.json")
        .replace("BR-KSA-17 : a credit note", "[WARNING] BR-KSA-37 : a, [ERROR] BR-KSA-37 : a credit note");
    let upstream = Server::start(move |_| Reply::new(500, body.clone())).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "FAILED").await;
    daemon.stop().await;
    let worst =
        "SELECT rule || ' ' || check_name || ' ' || severity FROM report_rules WHERE rule = 'BR-KSA-37'";
    let lines = setup.lines(worst).await;
    assert_eq!(lines, ["BR-KSA-37 StandardTaxInvoiceCredit error"]);
}
