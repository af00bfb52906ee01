//! The public views: their columns are a promise.

use serde_json::json;

use crate::helpers::{OTHER_VAT, Server, Setup, VAT, eventually};

/// Column names of a view.
async fn columns(setup: &Setup, view: &str) -> String {
    let rows = setup.rows(&format!("json_quote(name) AS r FROM pragma_table_info('{view}')")).await;
    rows.iter().map(|name| name.as_str().unwrap()).collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_have_the_promised_columns() {
    let setup = Setup::new("http://127.0.0.1:9", "");
    setup.add(VAT, &["act-1"]);
    for (view, promised) in [
        (
            "report_activities",
            "vat, activity_id, device_id, reference, state, upstream_status, pcsid_generated, total_count, \
             success_count, failure_count, registered_at, first_polled_at, last_polled_at, next_poll_at, stalled_at, \
             upstream_created_at, upstream_updated_at, upstream_completed_at, concluded_at, poll_count, \
             consecutive_errors, last_http_status, last_error, next_step, next_step_ar, \
             next_step_kind, next_step_owner, errors_left_out",
        ),
        (
            "report_transitions",
            "vat, activity_id, seq, from_state, to_state, occurred_at, http_status, reason",
        ),
        ("report_checks", "vat, activity_id, check_name, outcome, message, errors_left_out"),
        (
            "report_check_errors",
            "vat, activity_id, check_name, position, rule, message, owner, meaning, remedy, meaning_ar, remedy_ar, \
             severity",
        ),
        (
            "report_errors",
            "vat, activity_id, position, error_code, error_message, error_source, entry, rule, severity, owner, \
             meaning, remedy, meaning_ar, remedy_ar",
        ),
        (
            "report_vats",
            "vat, activities, pending, in_progress, succeeded, failed, rejected, expired, cancelled, held_reason",
        ),
        (
            "report_rules",
            "rule, check_name, activities, vats, last_seen_at, owner, meaning, remedy, meaning_ar, remedy_ar, severity",
        ),
        (
            "report_devices",
            "vat, device_id, attempts, attempts_until_pcsid, latest_activity_id, latest_state, first_attempt_at, \
             latest_attempt_at, pcsid_at, last_failure_owner",
        ),
        (
            "report_certificates",
            "vat, device_id, activity_id, obtained_at, expires_at, superseded_by, reminded_at",
        ),
        ("report_vat_checks", "vat, check_name, succeeded, failed, not_reported"),
        ("report_conclusions", "hour, state, activities"),
        ("report_durations", "month, seconds, activities"),
        ("report_events", "event_id, type, vat, activity_id, occurred_at, payload"),
        (
            "report_deliveries",
            "event_id, sink, status, attempts, next_attempt_at, last_attempt_at, last_http_status, last_error, \
             delivered_at",
        ),
    ] {
        assert_eq!(columns(&setup, view).await, promised, "{view}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_views_tell_what_happened() {
    let upstream = Server::by_id().await;
    let setup = Setup::new(&upstream.url(), "");
    setup.add(VAT, &["good", "bad", "odd"]);
    setup.add(OTHER_VAT, &["bad", "slow"]);
    let daemon = setup.start().await;
    eventually("all but one have concluded", || async {
        let open =
            "SELECT count(*) FROM report_activities WHERE concluded_at IS NULL AND state = 'IN_PROGRESS'";
        let concluded = "SELECT count(*) FROM report_activities WHERE concluded_at IS NOT NULL";
        (setup.number(concluded).await == 4 && setup.number(open).await == 1).then_some(())
    })
    .await;
    daemon.stop().await;

    let vats = setup
        .rows("json_array(vat, activities, pending, in_progress, succeeded, failed, rejected, expired, cancelled, held_reason) AS r FROM report_vats ORDER BY vat")
        .await;
    assert_eq!(
        vats,
        [json!([VAT, 3, 0, 0, 1, 1, 1, 0, 0, null]), json!([OTHER_VAT, 2, 0, 1, 0, 1, 0, 0, 0, null])]
    );
    let rules = setup
        .rows("json_array(rule, check_name, activities, vats, severity) AS r FROM report_rules ORDER BY rule")
        .await;
    assert_eq!(
        rules,
        [
            json!(["6004", "ErrorList", 1, 1, "unknown"]),
            json!(["6010", "ErrorList", 2, 2, "unknown"]),
            json!(["BR-CO-15", "SimplifiedTaxInvoiceDebit", 2, 2, "error"]),
            json!(["BR-KSA-17", "StandardTaxInvoiceCredit", 2, 2, "error"]),
            json!(["BR-KSA-EN16931-11", "SimplifiedTaxInvoiceDebit", 2, 2, "warning"]),
        ]
    );
    // Six rows for each concluded activity, whatever upstream reported, and none for others.
    let checks = setup
        .rows("json_array(vat, activity_id, count(*), sum(outcome = 'NOT_REPORTED')) AS r FROM report_checks GROUP BY vat, activity_id ORDER BY vat, activity_id")
        .await;
    assert_eq!(
        checks,
        [
            json!([VAT, "bad", 6, 0]),
            json!([VAT, "good", 6, 0]),
            json!([VAT, "odd", 6, 6]),
            json!([OTHER_VAT, "bad", 6, 0])
        ]
    );
    let errors = setup.rows("json_array(vat, activity_id, position, error_code) AS r FROM report_errors ORDER BY vat, activity_id").await;
    assert_eq!(
        errors,
        [
            json!([VAT, "bad", 1, "6010"]),
            json!([VAT, "odd", 1, "6004"]),
            json!([OTHER_VAT, "bad", 1, "6010"])
        ]
    );
    let events = setup
        .rows("json_array(type, vat, activity_id) AS r FROM report_events ORDER BY vat, activity_id")
        .await;
    assert_eq!(
        events,
        [
            json!(["pcsid.generation.failed", VAT, "bad"]),
            json!(["pcsid.generation.succeeded", VAT, "good"]),
            json!(["pcsid.activity.rejected", VAT, "odd"]),
            json!(["pcsid.generation.failed", OTHER_VAT, "bad"]),
        ]
    );
    let deliveries = setup
        .rows(
            "json_array(sink, status, attempts, count(*)) AS r FROM report_deliveries GROUP BY sink, status",
        )
        .await;
    assert_eq!(deliveries, [json!(["log", "delivered", 1, 4])]);

    // Every time in every view has the one form.
    let mut n_times = 0;
    for view in
        ["report_activities", "report_transitions", "report_events", "report_deliveries", "report_rules"]
    {
        for column in columns(&setup, view).await.split(", ").filter(|column| column.ends_with("_at")) {
            let query = format!(
                "SELECT count(*) FROM {view} WHERE {column} IS NOT NULL AND {column} NOT GLOB
                 '[0-9][0-9][0-9][0-9]-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9].[0-9][0-9][0-9]Z'"
            );
            assert_eq!(setup.number(&query).await, 0, "{view}.{column}");
            n_times += 1;
        }
    }
    assert_eq!(n_times, 15);
}
