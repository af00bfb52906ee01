//! Register, poll, record, announce.

use serde_json::json;

use crate::helpers::{OTHER_VAT, Reply, Server, Setup, TOKEN, VAT, eventually};

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_succeeds_is_polled_recorded_and_announced_once() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.ok(&["add", "--vat", VAT, "act-1", "--device-id", "till 7", "--reference", "طلب ٧"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "IN_PROGRESS").await;
    upstream.answer(|_| Reply::succeeded());
    setup.reaches("act-1", "SUCCEEDED").await;
    let event = eventually("the event is printed", || async { daemon.events().pop() }).await;

    assert_eq!(event["type"], "pcsid.generation.succeeded");
    let data = &event["data"];
    for (field, expected) in [
        ("vat", json!(VAT)),
        ("activity_id", json!("act-1")),
        ("device_id", json!("till 7")),
        ("reference", json!("طلب ٧")),
        ("state", json!("SUCCEEDED")),
        ("upstream_status", json!("SUCCEEDED")),
        ("pcsid_generated", json!("GENERATED")),
        ("counts", json!({ "total": 6, "success": 6, "failure": 0 })),
        ("errors", json!([])),
        ("created_at", json!("2026-05-26T08:14:46.512Z")),
        ("completed_at", json!("2026-05-26T08:15:21.077Z")),
    ] {
        assert_eq!(data[field], expected, "{field}");
    }
    assert_eq!(data["checks"].as_array().map(Vec::len), Some(6));
    assert_eq!(event["timestamp"], data["concluded_at"]);

    // The event is the stored one, word for word, and no poll follows.
    let stored = setup.rows("json_object('payload', payload) AS r FROM report_events").await;
    assert_eq!(stored.len(), 1);
    assert_eq!(stored[0]["payload"].as_str(), daemon.stdout().lines().next());
    let transitions = setup
        .rows("json_array(seq, from_state, to_state, http_status) AS r FROM report_transitions ORDER BY seq")
        .await;
    assert_eq!(
        transitions,
        [json!([1, "PENDING", "IN_PROGRESS", 200]), json!([2, "IN_PROGRESS", "SUCCEEDED", 200])]
    );
    let n_polls = upstream.n_seen_of("act-1");
    assert_eq!(data["polls"], json!(n_polls));
    // Another activity's life is long enough for a stray poll to show.
    setup.add(VAT, &["act-2"]);
    setup.reaches("act-2", "SUCCEEDED").await;
    assert_eq!(upstream.n_seen_of("act-1"), n_polls);

    let seen = &upstream.seen()[0];
    assert_eq!(seen.method, "GET");
    assert_eq!(seen.path, "/onboarding/act-1/pcsid-status");
    assert_eq!(seen.headers["x-cleartax-auth-token"], TOKEN);
    assert_eq!(seen.headers["vat"], VAT);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_fails_tells_which_check_and_which_rule() {
    let upstream = Server::start(|_| Reply::failed()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "FAILED").await;
    let event = eventually("the event is printed", || async { daemon.events().pop() }).await;
    assert_eq!(event["type"], "pcsid.generation.failed");
    let listed = &event["data"]["errors"][0];
    assert_eq!(
        json!([listed["code"], listed["message"], listed["source"], listed["rule"], listed["severity"]]),
        json!(["6010", "two checks did not pass", "ZATCA", "6010", "unknown"])
    );
    let meaning = listed["meaning"]["en"].as_str().unwrap();
    assert!(meaning.contains("not in the catalogue") && event["data"]["errors"][1].is_null(), "{listed}");

    let failed = setup
        .rows(
            "json_array(check_name, outcome) AS r FROM report_checks WHERE outcome <> 'SUCCEEDED' ORDER BY 1",
        )
        .await;
    assert_eq!(
        failed,
        [json!(["SimplifiedTaxInvoiceDebit", "FAILED"]), json!(["StandardTaxInvoiceCredit", "FAILED"])]
    );
    let rules = setup
        .rows("json_array(check_name, position, rule, message) AS r FROM report_check_errors ORDER BY check_name, position")
        .await;
    assert_eq!(
        rules,
        [
            json!(["SimplifiedTaxInvoiceDebit", 1, "BR-CO-15", "the total does not add up"]),
            json!(["SimplifiedTaxInvoiceDebit", 2, "BR-KSA-EN16931-11", "مجموع السطر غير صحيح"]),
            json!([
                "StandardTaxInvoiceCredit",
                1,
                "BR-KSA-17",
                "a credit note, by ZATCA's rules, has to give its reason (KSA-10)"
            ]),
        ]
    );
    let shown = setup.show("act-1");
    assert_eq!(shown["checks"][1]["errors"][0]["rule"], "BR-KSA-17");
    assert_eq!(shown["errors"][0]["error_code"], "6010");
    let story = setup.ok(&["show", "act-1"]);
    for part in [
        "(FAILED)",
        "Waiting → Failed (HTTP 500)",
        "✘ Standard credit note: failed (StandardTaxInvoiceCredit)",
        "BR-KSA-17",
        "6010 (ZATCA)",
    ] {
        assert!(story.contains(part), "{part} is missing in:\n{story}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_upstream_refuses_is_rejected_after_three_strikes_in_a_row() {
    let upstream = Server::start(|_| Reply::refused()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "REJECTED").await;
    let event = eventually("the event is printed", || async { daemon.events().pop() }).await;
    assert_eq!(event["type"], "pcsid.activity.rejected");
    assert_eq!(event["data"]["polls"], 3);
    assert_eq!(upstream.n_seen(), 3);
    assert_eq!(event["data"]["errors"][0]["code"], "6004");

    // Retried, it is watched as if it were new, and its next conclusion is a new event.
    upstream.answer(|_| Reply::succeeded());
    setup.ok(&["retry", "act-1"]);
    setup.reaches("act-1", "SUCCEEDED").await;
    let refused = setup.run(&["retry", "act-1"]);
    assert_eq!(refused.code, 1);
    assert!(refused.stderr.contains("is SUCCEEDED: only one that was rejected, expired or cancelled"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_rejection_after_a_retry_is_an_event_of_its_own() {
    let upstream = Server::start(|_| Reply::refused()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "REJECTED").await;
    setup.ok(&["retry", "act-1"]);
    eventually("both events are printed", || async { (daemon.events().len() == 2).then_some(()) }).await;
    let events = daemon.events();
    assert_ne!(events[0]["id"], events[1]["id"]);
    assert_eq!(events[1]["data"]["polls"], 6);
    let states =
        setup.rows("json_array(seq, from_state, to_state) AS r FROM report_transitions ORDER BY seq").await;
    assert_eq!(
        states,
        [
            json!([1, "PENDING", "REJECTED"]),
            json!([2, "REJECTED", "PENDING"]),
            json!([3, "PENDING", "REJECTED"])
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_activity_that_never_ends_stalls_once_and_then_expires() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let schedule = |give_up_after| {
        format!(
            "[schedule]\ninitial_interval = \"20ms\"\nmax_interval = \"1h\"\nmultiplier = 10\n\
             stalled_after = \"300ms\"\ngive_up_after = \"{give_up_after}\"\n"
        )
    };
    let setup = Setup::with(&upstream.url(), &schedule("1h"), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    let stalled = eventually("it stalls", || async { daemon.events().pop() }).await;
    assert_eq!(stalled["type"], "pcsid.activity.stalled");
    setup.reaches("act-1", "IN_PROGRESS").await;
    daemon.stop().await;
    // It is old enough to expire under this one, and has to stall no more.
    setup.configure(&setup.configuration().replace("give_up_after = \"1h\"", "give_up_after = \"400ms\""));
    let daemon = setup.start().await;
    // Unless it has expired already, being due.
    setup.run(&["poll", "act-1"]);
    setup.reaches("act-1", "EXPIRED").await;
    let expired = eventually("it is announced", || async { daemon.events().pop() }).await;
    assert_eq!(expired["type"], "pcsid.activity.expired");
    daemon.stop().await;
    let kinds = setup.rows("json_quote(type) AS r FROM report_events ORDER BY occurred_at").await;
    assert_eq!(kinds, ["pcsid.activity.stalled", "pcsid.activity.expired"]);
    let row = &setup
        .rows("json_object('stalled', stalled_at, 'next', next_poll_at) AS r FROM report_activities")
        .await[0];
    assert!(row["stalled"].is_string() && row["next"].is_null(), "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_added_while_the_daemon_runs_is_asked_for_without_waiting_for_a_turn() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup =
        Setup::with(&upstream.url(), "[schedule]\ninitial_interval = \"1h\"\nmax_interval = \"2h\"", "");
    let daemon = setup.start().await;
    setup.add(VAT, &["act-1", "act-2"]);
    setup.add(OTHER_VAT, &["act-1"]);
    eventually("all three succeed", || async {
        (setup.number("SELECT count(*) FROM report_activities WHERE state = 'SUCCEEDED'").await == 3)
            .then_some(())
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_wins_over_an_answer_that_is_on_its_way() {
    let (release, released) = tokio::sync::watch::channel(false);
    let upstream = Server::start(move |_| Reply::succeeded().once(&released)).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    eventually("it is asked for", || async { (upstream.n_seen() == 1).then_some(()) }).await;
    setup.ok(&["cancel", "act-1"]);
    release.send_replace(true);
    // The daemon waits for the answer before it stops, so it has had its chance to overwrite.
    daemon.stop().await;
    assert_eq!(setup.state("act-1").await, "CANCELLED");
    let types = setup.rows("json_quote(type) AS r FROM report_events").await;
    assert_eq!(types, ["pcsid.activity.cancelled"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn polls_follow_the_backoff_and_a_poll_command_brings_one_forward() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::with(
        &upstream.url(),
        // An hour after a slow start is later than the moment at which it stalls by default.
        "[schedule]\ninitial_interval = \"1h\"\nmax_interval = \"2h\"\njitter = 0\nstalled_after = \"3h\"",
        "",
    );
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "IN_PROGRESS").await;
    let hour = setup
        .number(
            "SELECT CAST(round((julianday(next_poll_at) - julianday(last_polled_at)) * 86400) AS INTEGER)
             FROM report_activities",
        )
        .await;
    assert_eq!(hour, 3_600);
    setup.ok(&["poll", "act-1"]);
    eventually("it is asked for again", || async { (upstream.n_seen() == 2).then_some(()) }).await;
    daemon.stop().await;
    assert_eq!(upstream.n_seen(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_event_is_printed_where_the_log_is_off() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "[events]\nlog = false\n");
    setup.add(VAT, &["act-1"]);
    let daemon = setup.start().await;
    setup.reaches("act-1", "SUCCEEDED").await;
    assert_eq!(setup.number("SELECT count(*) FROM report_events").await, 1);
    assert_eq!(setup.number("SELECT count(*) FROM report_deliveries").await, 0);
    assert_eq!(daemon.stdout(), "");
}

/// A look claims a few hundred activities for each credential, and they wait for a request.
#[tokio::test(flavor = "multi_thread")]
async fn however_many_credentials_have_much_due_all_of_it_is_asked_for() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let vats = ["310000000000103", "310000000000203", "310000000000303", "310000000000403"];
    let credential = |(nth, vat): (usize, &&str)| {
        format!(
            "[[credentials]]\nname = \"c{nth}\"\ntoken = \"{TOKEN}\"\nrequests_per_minute = 0\nvats = [\"{vat}\"]\n"
        )
    };
    let setup = Setup::new(&upstream.url(), &vats.iter().enumerate().map(credential).collect::<String>());
    for vat in vats {
        let ids: Vec<_> = (0..260).map(|n| format!("act-{vat}-{n}")).collect();
        setup.add(vat, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    }
    let daemon = setup.start().await;
    let n_succeeded = "SELECT count(*) FROM report_activities WHERE state = 'SUCCEEDED'";
    eventually("all activities succeed", || async {
        (setup.number(n_succeeded).await == 4 * 260).then_some(())
    })
    .await;
    daemon.stop().await;
}
