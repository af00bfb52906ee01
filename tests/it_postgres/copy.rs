//! `db copy`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::Connection as _;

use crate::cluster::Cluster;
use crate::helpers::{Daemon, OTHER_VAT, Reply, Server, Setup, VAT, eventually, webhook};

/// The database file that is copied.
fn file_of(setup: &Setup) -> String {
    format!("sqlite://{}", setup.path("before.db").display())
}

/// The program on that file.
fn on_file(setup: &Setup, arguments: &[&str]) -> Command {
    let mut command = setup.command(arguments);
    command.env("PCSID_WATCH__DATABASE__URL", file_of(setup));
    command
}

#[tokio::test]
async fn a_half_finished_database_moves_over_whole_and_goes_on() {
    let upstream = Server::start(|seen| match seen.activity_id() {
        "good" => Reply::succeeded(),
        "bad" => Reply::failed(),
        "refused" => Reply::refused(),
        _ => Reply::in_progress(),
    })
    .await;
    let setup = Setup::new(&upstream.url(), "");
    let url = setup.database_url();
    let on_file = |arguments: &[&str]| on_file(&setup, arguments);
    assert!(on_file(&["add", "--vat", VAT, "good", "bad", "refused", "waiting"]).status().unwrap().success());
    assert!(on_file(&["add", "--vat", OTHER_VAT, "other", "cancelled"]).status().unwrap().success());
    let daemon = crate::helpers::Daemon::spawn(on_file(&["run"]));
    eventually("three have concluded", || async { (daemon.events().len() == 3).then_some(()) }).await;
    assert!(on_file(&["cancel", "cancelled"]).status().unwrap().success());

    let running = on_file(&["db", "copy", "--to", &url]).output().unwrap();
    assert!(String::from_utf8_lossy(&running.stderr).contains("in use"), "a daemon runs on it");
    daemon.stop().await;
    let listed = String::from_utf8(on_file(&["list", "--format", "json"]).output().unwrap().stdout).unwrap();
    let copied = on_file(&["db", "copy", "--to", &url]).output().unwrap();
    let said = String::from_utf8_lossy(&copied.stdout).into_owned();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    assert!(
        said.contains("copied to") && said.contains("compared") && said.contains("database.url = "),
        "{said}"
    );
    assert_eq!(setup.ok(&["list", "--format", "json"]), listed);
    assert!(setup.ok(&["db", "check"]).contains("whole"));

    let again = on_file(&["db", "copy", "--to", &url]).output().unwrap();
    assert!(String::from_utf8_lossy(&again.stderr).contains("is not empty"), "nothing is written over");

    // It goes on where it was: what waited is polled, what was told is not told again.
    upstream.answer(|_| Reply::succeeded());
    let daemon = setup.start().await;
    setup.reaches("waiting", "SUCCEEDED").await;
    setup.reaches("other", "SUCCEEDED").await;
    setup.add(VAT, &["new"]);
    setup.reaches("new", "SUCCEEDED").await;
    let states =
        setup.rows("json_array(activity_id, state) AS r FROM report_activities ORDER BY activity_id").await;
    assert_eq!(
        states,
        [
            json!(["bad", "FAILED"]),
            json!(["cancelled", "CANCELLED"]),
            json!(["good", "SUCCEEDED"]),
            json!(["new", "SUCCEEDED"]),
            json!(["other", "SUCCEEDED"]),
            json!(["refused", "REJECTED"]),
            json!(["waiting", "SUCCEEDED"]),
        ]
    );
    eventually("all are delivered", || async {
        (setup.number("SELECT count(*) FROM report_deliveries WHERE status = 'delivered'").await == 7)
            .then_some(())
    })
    .await;
    // The cancellation had not been delivered yet, or had: either way nothing comes twice.
    let ids: Vec<_> = daemon.events().iter().map(|event| event["id"].clone()).collect();
    let mut once = ids.clone();
    once.dedup();
    assert_eq!(ids, once);
    assert!(ids.len() <= 4, "{ids:?}");
    daemon.stop().await;
}

/// What is planned, held and not delivered yet moves over as well, and goes on there.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_written_during_a_copy_makes_it_no_mixture() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    let url = setup.database_url();
    let on_file = |arguments: &[&str]| on_file(&setup, arguments);
    let ids: String = (0..5_000).map(|n| format!("{VAT},act-{n}\n")).collect();
    std::fs::write(setup.path("ids.csv"), format!("vat,activity_id\n{ids}")).unwrap();
    let file = setup.path("ids.csv").display().to_string();
    assert!(on_file(&["import", &file]).output().unwrap().status.success());
    let mut copying = on_file(&["db", "copy", "--to", &url]).stdout(Stdio::piped()).spawn().unwrap();
    let mut n_cancelled = 0;
    while copying.try_wait().unwrap().is_none() {
        let id = format!("act-{}", 4_999 - n_cancelled);
        assert!(on_file(&["cancel", &id]).output().unwrap().status.success());
        n_cancelled += 1;
    }
    assert!(copying.wait().unwrap().success() && n_cancelled > 1, "{n_cancelled}");
    assert!(setup.ok(&["db", "check"]).contains("whole"));
}

#[tokio::test]
async fn the_numbers_of_events_go_on_behind_the_last_one_though_it_was_pruned() {
    let upstream = Server::start(|_| Reply::succeeded()).await;
    let setup = Setup::new(&upstream.url(), "");
    let url = setup.database_url();
    let on_file = |arguments: &[&str]| on_file(&setup, arguments);
    assert!(on_file(&["add", "--vat", VAT, "a", "b", "c"]).output().unwrap().status.success());
    let daemon = Daemon::spawn(on_file(&["run"]));
    eventually("they have concluded", || async { (daemon.events().len() == 3).then_some(()) }).await;
    daemon.stop().await;
    let mut file = sqlx::SqliteConnection::connect(&file_of(&setup)).await.unwrap();
    sqlx::query("DELETE FROM activities").execute(&mut file).await.unwrap();
    file.close().await.unwrap();
    assert!(on_file(&["db", "copy", "--to", &url]).output().unwrap().status.success());
    assert_eq!(setup.number("SELECT count(*) FROM events").await, 0);
    let daemon = setup.start().await;
    setup.add(VAT, &["d"]);
    eventually("it has concluded", || async { (daemon.events().len() == 1).then_some(()) }).await;
    assert_eq!(setup.number("SELECT min(seq) FROM events").await, 4);
    daemon.stop().await;
}

#[tokio::test]
async fn holds_plans_and_undelivered_events_move_over() {
    let upstream = Server::start(|seen| match (seen.headers["vat"].as_str(), seen.activity_id()) {
        (OTHER_VAT, _) => Reply::new(403, ""),
        (_, "good") => Reply::succeeded(),
        _ => Reply::in_progress(),
    })
    .await;
    let receiver = Server::start(|_| Reply::new(500, "not now")).await;
    let setup = Setup::new(&upstream.url(), &webhook("erp", &receiver));
    let url = setup.database_url();
    let on_file = |arguments: &[&str]| on_file(&setup, arguments);
    assert!(on_file(&["add", "--vat", VAT, "good", "waiting"]).status().unwrap().success());
    assert!(on_file(&["add", "--vat", OTHER_VAT, "held"]).status().unwrap().success());
    let daemon = Daemon::spawn(on_file(&["run"]));
    // The success and the hold.
    eventually("two events were tried in vain", || async {
        let ids: BTreeSet<_> =
            receiver.seen().iter().map(|seen| seen.headers["webhook-id"].clone()).collect();
        (ids.len() == 2).then_some(())
    })
    .await;
    daemon.stop().await;
    let views = [
        "report_activities",
        "report_transitions",
        "report_checks",
        "report_events",
        "report_deliveries",
        "report_vats",
    ];
    let read = async |view: &str, is_file: bool| -> Vec<String> {
        let mut rows: Vec<String> = match is_file {
            true => {
                let pool = sqlx::sqlite::SqlitePool::connect(&file_of(&setup)).await.unwrap();
                let columns: Vec<String> = sqlx::query_scalar("SELECT name FROM pragma_table_info(?1)")
                    .bind(view)
                    .fetch_all(&pool)
                    .await
                    .unwrap();
                let pairs: Vec<String> = columns.iter().map(|name| format!("'{name}', {name}")).collect();
                let query = format!("SELECT json_object({}) FROM {view}", pairs.join(", "));
                sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(&pool).await.unwrap()
            }
            false => setup
                .server()
                .psql(&format!("SELECT to_jsonb(v) FROM {view} v"))
                .lines()
                .map(str::to_owned)
                .collect(),
        };
        // In one order of rows and of keys.
        for row in &mut rows {
            let cells: BTreeMap<String, Value> = serde_json::from_str(row).unwrap();
            *row = serde_json::to_string(&cells).unwrap();
        }
        rows.sort();
        rows
    };
    let copied = on_file(&["db", "copy", "--to", &url]).output().unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    for view in views {
        let before = read(view, true).await;
        assert!(!before.is_empty() && before == read(view, false).await, "{view}: {before:?}");
    }
    let tried = receiver.seen();
    receiver.answer(|_| Reply::new(204, ""));
    upstream.answer(|_| Reply::succeeded());
    let daemon = setup.start().await;
    for id in ["waiting", "held"] {
        setup.reaches(id, "SUCCEEDED").await;
    }
    for delivery in ["dead", "pending"] {
        let query = format!("json_array(event_id) AS r FROM report_deliveries WHERE status = '{delivery}'");
        for row in setup.rows(&query).await {
            setup.run(&["deliveries", "redeliver", row[0].as_str().unwrap()]);
        }
    }
    eventually("all are delivered", || async {
        (setup.number("SELECT count(*) FROM report_deliveries WHERE status <> 'delivered'").await == 0)
            .then_some(())
    })
    .await;
    // The same events in the same words as before.
    for before in &tried {
        let id = &before.headers["webhook-id"];
        let after =
            receiver.seen().into_iter().skip(tried.len()).find(|seen| seen.headers["webhook-id"] == *id);
        assert_eq!(after.map(|seen| seen.body).as_ref(), Some(&before.body), "{id}");
    }
    let kinds = setup.rows("json_quote(type) AS r FROM report_events").await;
    for kind in ["upstream.vat.held", "upstream.vat.restored"] {
        assert_eq!(kinds.iter().filter(|other| *other == kind).count(), 1, "{kinds:?}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copy_that_is_killed_leaves_the_target_empty_or_complete() {
    const N_ACTIVITIES: usize = 2_000;
    let setup = Setup::new("http://127.0.0.1:9", "");
    let on_file = |arguments: &[&str]| {
        let mut command = on_file(&setup, arguments);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command
    };
    let rows: String = (0..N_ACTIVITIES).map(|nth| format!("{VAT},activity-{nth}\n")).collect();
    std::fs::write(setup.path("all.csv"), format!("vat,activity_id\n{rows}")).unwrap();
    assert!(on_file(&["import", "all.csv"]).status().unwrap().success());
    let began_at = Instant::now();
    assert!(on_file(&["db", "copy", "--to", &setup.database_url()]).status().unwrap().success());
    let takes = began_at.elapsed();
    let count = "SELECT count(*) FROM activities";
    assert_eq!(setup.server().psql(count), N_ACTIVITIES.to_string());
    let mut n_interrupted = 0;
    let n_kills = 4;
    for nth in 0..n_kills {
        let target = Cluster::shared().new_database();
        let mut copying = on_file(&["db", "copy", "--to", &target.url]).spawn().unwrap();
        tokio::time::sleep(takes.mul_f64(f64::from(nth) / f64::from(n_kills))).await;
        copying.kill().unwrap();
        copying.wait().unwrap();
        eventually("the server has noticed", || async {
            let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
            (target.psql(others) == "0").then_some(())
        })
        .await;
        let is_made = target.psql("SELECT to_regclass('activities') IS NOT NULL") == "t";
        let n_rows = if is_made { target.psql(count) } else { "0".to_owned() };
        assert!(n_rows == "0" || n_rows == N_ACTIVITIES.to_string(), "{n_rows} of {N_ACTIVITIES}");
        if n_rows == "0" {
            n_interrupted += 1;
            assert!(
                on_file(&["db", "copy", "--to", &target.url]).status().unwrap().success(),
                "a second time"
            );
            assert_eq!(target.psql(count), N_ACTIVITIES.to_string());
        }
    }
    assert!(
        n_interrupted > 0 || takes < Duration::from_millis(50),
        "none was killed in the middle of {takes:?}"
    );
}
