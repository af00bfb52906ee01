//! A history for the tests of all that show one.

use super::*;
use crate::domain::activity::State;
use crate::domain::catalogue::Owner;
use crate::domain::report::{CHECK_NAMES, CheckOutcome};
use crate::domain::routing::DeliveryStatus;
use crate::domain::rules::Severity;

/// When it concluded.
pub(crate) const CONCLUDED_AT: Timestamp = Timestamp::from_millis(1_779_786_071_000);

/// A failed activity with something in every field.
pub(crate) fn history() -> History {
    let given = |text: &str| Some(text.to_owned());
    let at = Some(CONCLUDED_AT);
    let explained = Explained {
        owner: Some(Owner::Device),
        meaning: given("a"),
        meaning_ar: given("ب"),
        remedy: given("c"),
        remedy_ar: given("د"),
    };
    let check = |(nth, name): (usize, &&str)| CheckRow {
        check_name: (*name).to_owned(),
        outcome: if nth == 5 { CheckOutcome::NotReported } else { CheckOutcome::Failed },
        message: given("m"),
        errors_left_out: 0,
        errors: vec![CheckErrorRow {
            check_name: (*name).to_owned(),
            position: 1,
            rule: given("BR-1"),
            message: "m".to_owned(),
            explained: explained.clone(),
            severity: Severity::Error,
        }],
    };
    let delivery = |sink: &str, status| DeliveryRow {
        r#type: "pcsid.generation.failed".to_owned(),
        event_id: "e-1".to_owned(),
        sink: sink.to_owned(),
        status,
        attempts: 3,
        next_attempt_at: at,
        last_attempt_at: at,
        last_http_status: Some(503),
        last_error: given("HTTP 503"),
        delivered_at: at,
    };
    History {
        activity: ActivityRow {
            vat: "310122393500003".to_owned(),
            activity_id: "act-1".to_owned(),
            device_id: given("till 1"),
            reference: given("PO-7"),
            state: State::Failed,
            upstream_status: given("FAILED"),
            pcsid_generated: given("FAILED"),
            total_count: Some(6),
            success_count: Some(4),
            failure_count: Some(2),
            registered_at: CONCLUDED_AT.shifted(-252_000),
            first_polled_at: at,
            last_polled_at: at,
            next_poll_at: Some(CONCLUDED_AT.shifted(65_000)),
            stalled_at: at,
            upstream_created_at: at,
            upstream_updated_at: at,
            upstream_completed_at: at,
            concluded_at: at,
            poll_count: 7,
            consecutive_errors: 2,
            last_http_status: Some(502),
            last_error: given("HTTP 502"),
            next_step: given("Wait."),
            next_step_ar: given("انتظر."),
            next_step_kind: given("wait"),
            next_step_owner: None,
            errors_left_out: 0,
        },
        transitions: vec![TransitionRow {
            seq: 1,
            from_state: State::Pending,
            to_state: State::Failed,
            occurred_at: CONCLUDED_AT,
            http_status: Some(200),
            reason: given("upstream reports FAILED"),
        }],
        checks: CHECK_NAMES.iter().enumerate().map(check).collect(),
        errors: vec![ListedErrorRow {
            position: 1,
            error_code: given("6010"),
            error_message: given("x"),
            error_source: given("ZATCA"),
            entry: 1,
            rule: None,
            severity: Severity::Unknown,
            explained: Explained::default(),
        }],
        events: vec![EventRow {
            event_id: "e-1".to_owned(),
            r#type: "pcsid.generation.failed".to_owned(),
            occurred_at: CONCLUDED_AT,
        }],
        deliveries: vec![
            delivery("erp", DeliveryStatus::Dead),
            delivery("crm", DeliveryStatus::Pending),
            delivery("log", DeliveryStatus::Delivered),
        ],
        attempts: vec![AttemptRow {
            event_id: "e-1".to_owned(),
            sink: "erp".to_owned(),
            seq: 1,
            attempted_at: CONCLUDED_AT,
            duration_ms: 48,
            http_status: Some(503),
            error: given("HTTP 503"),
        }],
        former_attempt: Some(FormerAttempt {
            activity_id: "act-0".to_owned(),
            state: State::Failed,
            registered_at: CONCLUDED_AT.shifted(-900_000),
            concluded_at: Some(CONCLUDED_AT.shifted(-800_000)),
            rules: Some(ComparedRules {
                fixed: ["BR-2".to_owned()].into(),
                remaining: ["BR-1".to_owned()].into(),
                new: std::collections::BTreeSet::new(),
            }),
        }),
    }
}

#[test]
fn a_row_comes_back_from_the_columns_it_is_written_as() {
    let activity = history().activity;
    let serde_json::Value::Object(fields) = serde_json::to_value(&activity).unwrap() else { unreachable!() };
    let cell = |value: &serde_json::Value| match value {
        serde_json::Value::Null => Cell::Null,
        serde_json::Value::Number(number) => Cell::Integer(number.as_i64().unwrap()),
        serde_json::Value::String(text) => Cell::Text(text.clone()),
        other => unreachable!("{other}"),
    };
    let mut table =
        Table { columns: fields.keys().cloned().collect(), rows: vec![fields.values().map(cell).collect()] };
    assert_eq!(table.read::<ActivityRow>("report_activities").unwrap(), [activity]);

    for (column, value, expected) in [
        ("state", Cell::Text("DONE".to_owned()), "`report_activities.state` holds \"\\\"DONE\\\"\""),
        ("registered_at", Cell::Null, "`report_activities.registered_at` holds \"null\""),
        ("last_polled_at", Cell::Text("soon".to_owned()), "`report_activities.last_polled_at` holds"),
        ("poll_count", Cell::Integer(-1), "`report_activities.poll_count` holds \"-1\""),
    ] {
        let at = table.position(column).unwrap();
        let right = std::mem::replace(&mut table.rows[0][at], value);
        let refused = table.read::<ActivityRow>("report_activities").unwrap_err().to_string();
        assert!(refused.contains(expected), "{refused}");
        table.rows[0][at] = right;
    }
    table.columns[4] = "stat".to_owned();
    let refused = table.read::<ActivityRow>("report_activities").unwrap_err().to_string();
    assert!(refused.contains("missing field `state`"), "{refused}");
}
