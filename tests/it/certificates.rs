//! Certificates: kept with a success, superseded, reminded of once, imported, and kept when activities are pruned.

use serde_json::{Value, json};

use crate::helpers::{
    Daemon, OTHER_VAT, Reply, Server, Setup, VAT, eventually, http_client, libfaketime, webhook,
};

/// A success whose completion is this time.
fn succeeded_at(completed_at: &str) -> Reply {
    Reply::new(
        200,
        format!(
            r#"{{"ActivityType":"ZATCA_COMPLIANCE_INVOICE","Status":"SUCCEEDED","CreatedAt":"{completed_at}",
                "UpdatedAt":"{completed_at}","CompletedAt":"{completed_at}","RequestMetaInfo":{{"TotalCount":6,
                "SuccessCount":6,"FailureCount":0}},"ResponseInfo":{{"ResponseMetaData":{{"PcsidGenerated":"GENERATED"}}}},
                "ErrorList":[]}}"#
        ),
    )
}

/// Upstream without a time of completion: ours counts.
fn succeeded_now() -> Reply {
    Reply::new(
        200,
        r#"{"ActivityType":"ZATCA_COMPLIANCE_INVOICE","Status":"SUCCEEDED","CompletedAt":null,
            "ResponseInfo":{"ResponseMetaData":{"PcsidGenerated":"GENERATED"}}}"#,
    )
}

async fn certificates(setup: &Setup) -> Vec<Value> {
    setup
        .rows(
            "json_array(device_id, activity_id, obtained_at, expires_at, superseded_by) AS r
             FROM report_certificates ORDER BY obtained_at, activity_id",
        )
        .await
}

/// Types and devices of the events of certificates, as every sink gets them.
fn announced(daemon: &Daemon) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let events =
        daemon.events().into_iter().map(|event| (text(&event["type"]), text(&event["data"]["device_id"])));
    events.filter(|(kind, _)| kind.starts_with("pcsid.certificate.")).collect()
}

async fn announces(daemon: &Daemon, n: usize) -> Vec<(String, String)> {
    eventually(&format!("{n} events of certificates"), || async {
        let announced = announced(daemon);
        (announced.len() >= n).then_some(announced)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_is_a_certificate_that_a_later_one_of_the_device_supersedes_and_pruning_keeps() {
    let upstream = Server::start(|seen| match seen.activity_id() {
        "first" => succeeded_at("2026-01-01T00:00:00Z"),
        "second" => succeeded_at("2026-03-01T00:00:00Z"),
        "earlier" => succeeded_at("2025-12-01T00:00:00Z"),
        "failed" => Reply::failed(),
        _ => succeeded_at("2026-02-01T00:00:00Z"),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "[retention]\nconcluded_after = \"1ms\"\n");
    let daemon = setup.start().await;
    setup.ok(&["add", "--vat", VAT, "first", "failed", "--device-id", "till 1"]);
    setup.ok(&["add", "--vat", OTHER_VAT, "other", "--device-id", "till 1"]);
    setup.ok(&["add", "--vat", VAT, "nameless"]);
    for id in ["first", "other", "nameless"] {
        setup.reaches(id, "SUCCEEDED").await;
    }
    setup.ok(&["add", "--vat", VAT, "second", "earlier", "--device-id", "till 1"]);
    setup.reaches("second", "SUCCEEDED").await;
    setup.reaches("earlier", "SUCCEEDED").await;
    let expected = [
        json!(["till 1", "earlier", "2025-12-01T00:00:00.000Z", "2030-12-01T00:00:00.000Z", "first"]),
        json!(["till 1", "first", "2026-01-01T00:00:00.000Z", "2031-01-01T00:00:00.000Z", "second"]),
        json!([null, "nameless", "2026-02-01T00:00:00.000Z", "2031-02-01T00:00:00.000Z", null]),
        json!(["till 1", "other", "2026-02-01T00:00:00.000Z", "2031-02-01T00:00:00.000Z", null]),
        json!(["till 1", "second", "2026-03-01T00:00:00.000Z", "2031-03-01T00:00:00.000Z", null]),
    ];
    assert_eq!(certificates(&setup).await, expected);
    daemon.stop().await;
    setup.ok(&["db", "prune"]);
    assert_eq!(setup.number("SELECT count(*) FROM report_activities").await, 0);
    assert_eq!(certificates(&setup).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn reminders_and_the_end_come_once_through_restarts_and_downtime() {
    let upstream = Server::start(|_| succeeded_now()).await;
    let receiver = Server::start(|_| Reply::new(200, "")).await;
    let renewal = "[renewal]\nvalid_for = \"4s\"\nremind_before = [\"3s\", \"2s\"]\n";
    let setup = Setup::new(&upstream.url(), &format!("{renewal}{}", webhook("erp", &receiver)));
    setup.ok(&["add", "--vat", VAT, "act-1", "--device-id", "till ٧"]);
    let mut daemon = setup.start().await;
    let first = announces(&daemon, 1).await;
    assert_eq!(first[0], ("pcsid.certificate.renewal_due".to_owned(), "till ٧".to_owned()));
    daemon.kill_9();
    eventually("the certificate ends while no daemon runs", || async {
        let left = "SELECT count(*) FROM report_certificates
                    WHERE expires_at > strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";
        (setup.number(left).await == 0).then_some(())
    })
    .await;
    for _ in 0..2 {
        let daemon = setup.start().await;
        eventually("the end is announced", || async {
            let ends = "SELECT count(*) FROM report_events WHERE type = 'pcsid.certificate.expired'";
            (setup.number(ends).await == 1).then_some(())
        })
        .await;
        daemon.stop().await;
    }
    // At most one for each of the two reminders, and one end; nothing for the second start.
    let n_due =
        setup.number("SELECT count(*) FROM report_events WHERE type = 'pcsid.certificate.renewal_due'").await;
    assert!((1..=2).contains(&n_due), "{n_due}");
    let ended: Vec<Value> = receiver
        .seen()
        .iter()
        .map(|seen| serde_json::from_slice(&seen.body).unwrap())
        .filter(|event: &Value| event["type"] == "pcsid.certificate.expired")
        .collect();
    assert_eq!(ended.len(), 1);
    let data = &ended[0]["data"];
    assert_eq!((&data["vat"], &data["activity_id"]), (&json!(VAT), &json!("act-1")));
    assert_eq!(data["next_step"]["kind"], "renew-certificate");
    let keys: Vec<&String> = data.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["vat", "device_id", "activity_id", "obtained_at", "expires_at", "next_step"]);
    assert_eq!(setup.number("SELECT count(*) FROM report_certificates WHERE reminded_at IS NULL").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_jumps_over_reminders_and_back_has_each_said_once_and_the_latest_alone() {
    if crate::helpers::on_postgres() {
        // On a server the time is the server's.
        return;
    }
    let Some(library) = libfaketime() else { return };
    let upstream = Server::start(|_| succeeded_now()).await;
    let setup = Setup::new(&upstream.url(), "");
    setup.ok(&["add", "--vat", VAT, "act-1", "--device-id", "till 1"]);
    std::fs::write(setup.path("offset"), "+0").unwrap();
    let mut command = setup.command(&["run"]);
    command.env("LD_PRELOAD", &library);
    command.env("FAKETIME_TIMESTAMP_FILE", setup.path("offset"));
    command.env("FAKETIME_NO_CACHE", "1");
    command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    let daemon = Daemon::spawn(command);
    setup.reaches("act-1", "SUCCEEDED").await;
    assert!(announced(&daemon).is_empty());
    let due = "pcsid.certificate.renewal_due";
    // Over both reminders: 1,826 days less 10. Back, and there again. Then over the end and back.
    for (offset, n, last) in [
        ("+1816d", 1, due),
        ("+0", 1, due),
        ("+1817d", 1, due),
        ("+1827d", 2, "pcsid.certificate.expired"),
        ("+0", 2, "pcsid.certificate.expired"),
        ("+1900d", 2, "pcsid.certificate.expired"),
    ] {
        let n_jumps = daemon.stderr().matches("the wall clock jumped by").count();
        std::fs::write(setup.path("offset"), offset).unwrap();
        eventually("the jump is noticed", || async {
            (daemon.stderr().matches("the wall clock jumped by").count() > n_jumps).then_some(())
        })
        .await;
        let announced = announces(&daemon, n).await;
        assert_eq!((announced.len(), announced[n - 1].0.as_str()), (n, last), "{offset}");
    }
    // Several looks, in which nothing is said again.
    let beat = setup.number("SELECT beat_at FROM heartbeat").await;
    eventually("time goes by", || async {
        (setup.number("SELECT beat_at FROM heartbeat").await != beat).then_some(())
    })
    .await;
    assert_eq!(announced(&daemon).len(), 2);
    assert!(daemon.events().iter().any(|event| event["data"]["next_step"]["kind"] == "renew-certificate"));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_success_after_the_reminder_ends_it_and_other_settings_count_anew() {
    let upstream = Server::start(|_| succeeded_now()).await;
    let with =
        |valid_for: &str| format!("[renewal]\nvalid_for = \"{valid_for}\"\nremind_before = [\"20d\"]\n");
    let setup = Setup::new(&upstream.url(), &with("10d"));
    setup.ok(&["add", "--vat", VAT, "act-1", "--device-id", "till 1"]);
    let daemon = setup.start().await;
    announces(&daemon, 1).await;
    setup.ok(&["add", "--vat", VAT, "act-2", "--device-id", "till 1"]);
    announces(&daemon, 2).await;
    daemon.stop().await;
    let former =
        "SELECT count(*) FROM report_certificates WHERE activity_id = 'act-1' AND superseded_by = 'act-2'";
    assert_eq!(setup.number(former).await, 1);

    // With five years nothing is due; the list of what ends within 90 days is empty.
    setup.configure(&setup.configuration().replace("\"10d\"", "\"1826d\""));
    let daemon = setup.start().await;
    assert_eq!(setup.ok(&["report", "renewals", "--format", "json"]).trim(), "[]");
    assert!(announced(&daemon).is_empty());
    daemon.stop().await;
    // With less than has passed it ended meanwhile: the latest reminder, and the end, of the current one alone.
    setup.configure(&setup.configuration().replace("\"1826d\"", "\"1ms\""));
    let daemon = setup.start().await;
    let kinds: Vec<String> = announces(&daemon, 2).await.into_iter().map(|(kind, _)| kind).collect();
    assert_eq!(kinds, ["pcsid.certificate.renewal_due", "pcsid.certificate.expired"]);
    let of_the_former = "SELECT count(*) FROM report_events WHERE type = 'pcsid.certificate.expired'
                         AND payload ->> '$.data.activity_id' <> 'act-2'";
    assert_eq!(setup.number(of_the_former).await, 0);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_of_before_are_imported_whole_or_not_at_all() {
    let upstream = Server::start(|_| succeeded_at("2026-03-01T00:00:00Z")).await;
    let setup = Setup::new(&upstream.url(), "");
    let file = setup.path("certificates.csv");
    let import = |text: &str| {
        std::fs::write(&file, text).unwrap();
        setup.run(&["import", "--certificates", file.to_str().unwrap()])
    };
    let bad = import(&format!(
        "vat,device_id,expires_at\n{VAT},till 1,2031-01-02\n{VAT},,2031-01-02\n{VAT},x,soon\n"
    ));
    assert_eq!(bad.code, 2, "{}", bad.stderr);
    assert!(
        bad.stderr.contains("line 3: device_id is empty") && bad.stderr.contains("line 4: expires_at `soon`")
    );
    assert!(
        !setup.database().exists() || setup.number("SELECT count(*) FROM report_certificates").await == 0
    );

    let good = format!(
        "vat,device_id,obtained_at,expires_at\n{VAT},till 1,2026-01-01,\n{VAT},جدة ١,,2026-06-01T10:00:00+03:00\n"
    );
    let said = import(&good);
    assert_eq!(said.stdout, "2 certificates are new, 0 have other times now, 0 were known already\n");
    assert_eq!(
        import(&good).stdout,
        "0 certificates are new, 0 have other times now, 2 were known already\n"
    );
    let corrected = good.replace("2026-01-01", "2026-01-02");
    assert_eq!(
        import(&corrected).stdout,
        "0 certificates are new, 1 have other times now, 1 were known already\n"
    );
    assert_eq!(
        certificates(&setup).await,
        [
            json!(["جدة ١", null, "2021-06-01T07:00:00.000Z", "2026-06-01T07:00:00.000Z", null]),
            json!(["till 1", null, "2026-01-02T00:00:00.000Z", "2031-01-02T00:00:00.000Z", null]),
        ]
    );

    // A success replaces an imported one; an older import then changes nothing, a later one does.
    let daemon = setup.start().await;
    let ended = announces(&daemon, 1).await;
    assert_eq!(ended, [("pcsid.certificate.expired".to_owned(), "جدة ١".to_owned())]);
    setup.ok(&["add", "--vat", VAT, "act-1", "--device-id", "till 1"]);
    setup.reaches("act-1", "SUCCEEDED").await;
    daemon.stop().await;
    assert_eq!(
        import(&good).stdout,
        "0 certificates are new, 0 have other times now, 2 were known already\n"
    );
    let later = format!("vat,device_id,obtained_at\n{VAT},till 1,2026-04-01\n");
    assert_eq!(
        import(&later).stdout,
        "1 certificates are new, 0 have other times now, 0 were known already\n"
    );
    let superseded = setup
        .rows("json_array(activity_id, superseded_by) AS r FROM report_certificates WHERE device_id = 'till 1' ORDER BY obtained_at")
        .await;
    assert_eq!(superseded, [json!([null, "act-1"]), json!(["act-1", "imported"]), json!([null, null])]);
    // Corrected to an earlier time than that of the success, which is current again.
    let current = "SELECT coalesce(activity_id, 'imported') FROM report_certificates
                   WHERE device_id = 'till 1' AND superseded_by IS NULL";
    assert_eq!(setup.lines(current).await, ["imported"]);
    import(&later.replace("2026-04-01", "2025-04-01"));
    assert_eq!(setup.lines(current).await, ["act-1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_soon_is_in_the_report_the_page_the_feed_and_the_metrics() {
    let upstream = Server::start(|_| Reply::in_progress()).await;
    let setup = Setup::new(&upstream.url(), "");
    let now = pcsid_watch::clock::wall_now();
    let at = |days: i64| now.shifted(days * 86_400_000 + 3_600_000).to_string();
    let rows: String = [("gone", -3), ("near", 5), ("next, month", 25), ("far", 80), ("away", 400)]
        .map(|(device, days)| format!("{VAT},\"{device}\",{}\n", at(days)))
        .concat();
    std::fs::write(setup.path("c.csv"), format!("vat,device_id,expires_at\n{rows}")).unwrap();
    setup.ok(&["import", "--certificates", setup.path("c.csv").to_str().unwrap()]);
    let devices = |arguments: &[&str]| {
        let rows: Value =
            serde_json::from_str(&setup.ok(&[arguments, &["--format", "json"]].concat())).unwrap();
        let rows = rows.as_array().unwrap().iter();
        rows.map(|row| (row["device_id"].as_str().unwrap().to_owned(), row["days_left"].as_i64().unwrap()))
            .collect::<Vec<_>>()
    };
    let soon = [("gone", -2), ("near", 5), ("next, month", 25), ("far", 80)];
    let soon: Vec<(String, i64)> = soon.map(|(device, days)| (device.to_owned(), days)).into();
    assert_eq!(devices(&["report", "renewals"]), soon);
    assert_eq!(devices(&["report", "renewals", "--within", "30d"]), soon[..3]);
    assert_eq!(devices(&["report", "renewals", "--within", "500d"]).len(), 5);
    assert_eq!(setup.run(&["report", "renewals", "--within", "soon"]).code, 2);

    let daemon = setup.start().await;
    let get = async |path: &str| {
        let response = http_client().get(daemon.url() + path).send().await.unwrap();
        assert_eq!(response.status(), 200, "{path}");
        response.text().await.unwrap()
    };
    let metrics = get("/metrics").await;
    for line in [
        "pcsid_watch_certificates_expiring{within=\"14d\"} 1",
        "pcsid_watch_certificates_expiring{within=\"30d\"} 2",
        "pcsid_watch_certificates_expiring{within=\"60d\"} 2",
        "pcsid_watch_certificates_expiring{within=\"90d\"} 3",
        "pcsid_watch_certificates_expired 1",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
    let page = get("/renewals").await;
    for shown in ["gone", "near", "next, month", "far", "<svg", "/v1/renewals.ics"] {
        assert!(page.contains(shown), "{shown}");
    }
    assert!(!page.contains("away"), "it ends after 90 days");
    assert!(get("/renewals?lang=ar").await.contains("الشهادات"));
    assert!(get("/").await.contains("/renewals"));
    let feed = get("/v1/renewals.ics").await;
    assert_eq!(feed.matches("BEGIN:VEVENT").count(), 5);
    assert!(feed.contains("SUMMARY:Certificate of next\\, month ends"), "{feed}");
    assert_eq!(get(&format!("/v1/renewals.ics?vat={OTHER_VAT}")).await.matches("BEGIN:VEVENT").count(), 0);
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_database_s_successes_become_certificates() {
    if crate::helpers::on_postgres() {
        // Its first schema has them.
        return;
    }
    let upstream = Server::start(|seen| match seen.activity_id() {
        "good-1" => succeeded_at("2026-01-01T00:00:00Z"),
        "good-2" => succeeded_at("2026-02-01T00:00:00Z"),
        _ => Reply::failed(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    setup.ok(&["add", "--vat", VAT, "good-1", "good-2", "bad-1", "--device-id", "till 1"]);
    let daemon = setup.start().await;
    for (id, state) in [("good-1", "SUCCEEDED"), ("good-2", "SUCCEEDED"), ("bad-1", "FAILED")] {
        setup.reaches(id, state).await;
    }
    daemon.stop().await;
    let before = certificates(&setup).await;
    assert_eq!(before.len(), 2);
    // As it was before there were certificates.
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(setup.database());
    let pool = sqlx::sqlite::SqlitePoolOptions::new().connect_with(options).await.unwrap();
    for statement in ["DROP VIEW report_certificates", "DROP TABLE certificates", "DROP TABLE renewal"] {
        sqlx::query(statement).execute(&pool).await.unwrap();
    }
    // The migration itself, so that later ones may follow it.
    let migration = include_str!("../../migrations/0007_certificates.sql");
    sqlx::raw_sql(migration).execute(&pool).await.unwrap();
    pool.close().await;
    let daemon = setup.start().await;
    assert_eq!(certificates(&setup).await, before);
    daemon.stop().await;
}
