//! `db copy`.

use serde_json::json;

use crate::helpers::{OTHER_VAT, Reply, Server, Setup, VAT, eventually};

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
    let sqlite = format!("sqlite://{}", setup.path("before.db").display());
    let on_file = |arguments: &[&str]| {
        let mut command = setup.command(arguments);
        command.env("PCSID_WATCH__DATABASE__URL", &sqlite);
        command
    };
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
