//! Every state against every answer at every age, and what holds for all of them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::domain::activity::{ActivityId, Vat};
use crate::domain::catalogue::Catalogue;
use crate::domain::classify::{Answer, TransientKind, classify};
use crate::domain::report::{CHECK_NAMES, ListedError};

const SUCCEEDED: &str = include_str!("../../../tests/fixtures/succeeded.200.json");
const STANDARD_ONLY: &str = include_str!("../../../tests/fixtures/succeeded_standard_only.200.json");
const WITHOUT_PCSID: &str = include_str!("../../../tests/fixtures/succeeded_without_pcsid.200.json");
const IN_PROGRESS: &str = include_str!("../../../tests/fixtures/in_progress.200.json");
const FAILED: &str = include_str!("../../../tests/fixtures/failed.500.json");
const REFUSED: &str = include_str!("../../../tests/fixtures/rejected.400.json");

const STALLED_AFTER: Duration = Duration::from_secs(3_600);
const GIVE_UP_AFTER: Duration = Duration::from_secs(86_400);
const YOUNG: Duration = Duration::from_secs(60);

const WATCHED_FROM: Timestamp = Timestamp::from_millis(1_772_430_000_000);

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn policy() -> Policy {
    Policy {
        backoff: Backoff::new(seconds(5), 1.5, seconds(300), 0.2),
        stalled_after: STALLED_AFTER,
        give_up_after: GIVE_UP_AFTER,
        reject_after: 3,
        catalogue: Catalogue::builtin(),
        renewal: Renewal::default(),
    }
}

/// Polled four times, the last two without a usable answer.
fn activity(state: State) -> Activity {
    Activity {
        vat: Vat::parse("399999999900003").unwrap(),
        activity_id: ActivityId::parse("65f0c0ffee0123456789abcd").unwrap(),
        device_id: Some("till-7".to_owned()),
        reference: None,
        state,
        round: 1,
        registered_at: WATCHED_FROM,
        watched_from: WATCHED_FROM,
        stalled_at: None,
        interval: seconds(20),
        n_polls: 4,
        consecutive_errors: 2,
        strikes: 0,
        report: Report::default(),
    }
}

fn observe(http_status: u16, body: &str) -> Observation {
    classify(
        &Answer::Reply { http_status, retry_after: None, body: body.as_bytes().to_vec() },
        Catalogue::builtin().codes(),
    )
}

fn silence() -> Observation {
    classify(
        &Answer::NoReply { http_status: None, cause: "connection refused".to_owned() },
        Catalogue::builtin().codes(),
    )
}

fn decide_at(age: Duration, activity: &Activity, observation: &Observation) -> Decision {
    decide(WATCHED_FROM + age, activity, Some(observation.clone()), None, &policy(), 0.5)
}

fn withhold_at(age: Duration, activity: &Activity) -> Decision {
    decide(WATCHED_FROM + age, activity, None, None, &policy(), 0.5)
}

fn kinds(decision: &Decision) -> Vec<&'static str> {
    decision.events.iter().map(|event| event.kind.label()).collect()
}

fn data(event: &Event) -> Value {
    serde_json::from_str::<Value>(&event.payload).unwrap()["data"].clone()
}

/// One of each kind of answer, with what follows from it while the activity is young.
struct Case {
    name: &'static str,
    observation: Observation,
    /// The state it moves to; `None`: it stays.
    moves_to: Option<State>,
    error: Option<&'static str>,
    strikes: u32,
    /// Whether the interval grows by the answer.
    grows: bool,
}

fn cases() -> Vec<Case> {
    let case = |name, observation, moves_to, error, strikes, grows| Case {
        name,
        observation,
        moves_to,
        error,
        strikes,
        grows,
    };
    let throttled = |seconds_to_wait: Option<u64>| Observation {
        http_status: Some(429),
        verdict: Verdict::Throttled { retry_after: seconds_to_wait.map(seconds) },
        final_body: None,
    };
    vec![
        case("in progress", observe(200, IN_PROGRESS), Some(State::InProgress), None, 0, true),
        case("succeeded", observe(200, SUCCEEDED), Some(State::Succeeded), None, 0, true),
        case("failed", observe(500, FAILED), Some(State::Failed), None, 0, true),
        case("no PCSID", observe(200, WITHOUT_PCSID), Some(State::Failed), None, 0, true),
        case(
            "refused",
            observe(400, REFUSED),
            None,
            Some("refused: 6004 No PCSID activity has this id"),
            1,
            true,
        ),
        case(
            "unauthorized",
            observe(401, ""),
            None,
            Some("unauthorized: upstream refused the token (HTTP 401)"),
            0,
            false,
        ),
        case(
            "forbidden",
            observe(403, ""),
            None,
            Some("forbidden: the token's user is not Admin for this VAT (HTTP 403)"),
            0,
            false,
        ),
        case(
            "throttled for long",
            throttled(Some(90)),
            None,
            Some("throttled: upstream asks to wait 90s"),
            0,
            false,
        ),
        case("throttled", throttled(None), None, Some("throttled: upstream asks to slow down"), 0, false),
        case("no reply", silence(), None, Some("no_reply: connection refused"), 0, true),
        case("gateway", observe(502, ""), None, Some("gateway: HTTP 502: (empty)"), 0, true),
        case("server error", observe(500, ""), None, Some("server_error: the body is empty"), 0, true),
        case("invalid", observe(200, ""), None, Some("invalid_response: the body is empty"), 0, true),
        case("unexpected", observe(404, ""), None, Some("unexpected_status: HTTP 404: (empty)"), 0, true),
    ]
}

/// Decides one case and compares all that follows from it.
#[track_caller]
fn check(state: State, case: &Case, age: Duration) {
    let before = activity(state);
    let now = WATCHED_FROM + age;
    let decision = decide_at(age, &before, &case.observation);
    let context = format!("{state} × {} at {age:?}: {decision:?}", case.name);

    let answered = case.moves_to.unwrap_or(state);
    let expected_state = match answered.is_concluded() {
        false if age >= GIVE_UP_AFTER => State::Expired,
        _ => answered,
    };
    assert_eq!(decision.state, expected_state, "{context}");
    let transition = decision.transition.as_ref().map(|transition| (transition.from, transition.to));
    assert_eq!(transition, (expected_state != state).then_some((state, expected_state)), "{context}");
    assert!(decision.transition.iter().all(|transition| !transition.reason.is_empty()), "{context}");

    let stalls = !expected_state.is_concluded() && age >= STALLED_AFTER;
    assert_eq!(decision.stalled_at, stalls.then_some(now), "{context}");
    let expected_event = match expected_state {
        State::Succeeded => Some("pcsid.generation.succeeded"),
        State::Failed => Some("pcsid.generation.failed"),
        State::Rejected => Some("pcsid.activity.rejected"),
        State::Expired => Some("pcsid.activity.expired"),
        _ => stalls.then_some("pcsid.activity.stalled"),
    };
    assert_eq!(kinds(&decision), Vec::from_iter(expected_event), "{context}");
    assert!(decision.events.iter().all(|event| event.occurred_at == now), "{context}");

    // The wait of the stored 20 s, unless a deadline comes first: none does at the ages of the table.
    let expected_poll = (!expected_state.is_concluded()).then_some(now + seconds(20));
    assert_eq!(decision.next_poll_at, expected_poll, "{context}");
    assert_eq!(decision.interval, if case.grows { seconds(30) } else { seconds(20) }, "{context}");

    assert!(decision.polled, "{context}");
    assert_eq!(decision.http_status, case.observation.http_status, "{context}");
    assert_eq!(decision.error.as_deref(), case.error, "{context}");
    assert_eq!(decision.consecutive_errors, if case.error.is_some() { 3 } else { 0 }, "{context}");
    assert_eq!(decision.strikes, case.strikes, "{context}");
    assert_eq!(decision.findings.is_some(), expected_state.is_concluded(), "{context}");
}

#[test]
fn every_answer_in_every_state_at_every_age_leads_where_the_table_says() {
    for state in [State::Pending, State::InProgress] {
        for case in cases() {
            for age in
                [Duration::ZERO, YOUNG, STALLED_AFTER, STALLED_AFTER * 2, GIVE_UP_AFTER, GIVE_UP_AFTER * 9]
            {
                check(state, &case, age);
            }
        }
    }
}

#[test]
fn a_withheld_turn_changes_nothing_but_what_age_demands() {
    for state in [State::Pending, State::InProgress] {
        let before = Activity { strikes: 2, ..activity(state) };
        for (age, expected_state, expected_events) in [
            (YOUNG, state, vec![]),
            (STALLED_AFTER, state, vec!["pcsid.activity.stalled"]),
            (GIVE_UP_AFTER, State::Expired, vec!["pcsid.activity.expired"]),
        ] {
            let decision = withhold_at(age, &before);
            assert_eq!(decision.state, expected_state);
            assert_eq!(kinds(&decision), expected_events);
            assert_eq!(decision.transition.is_some(), expected_state == State::Expired);
            // It stays due, so that it is asked for as soon as its gate opens.
            let is_watched = !expected_state.is_concluded();
            assert_eq!(decision.next_poll_at, is_watched.then_some(WATCHED_FROM + age));
            assert_eq!(
                (decision.polled, decision.interval, decision.consecutive_errors, decision.strikes),
                (false, before.interval, before.consecutive_errors, before.strikes)
            );
            assert_eq!((decision.http_status, decision.error, decision.report), (None, None, None));
            assert!(decision.events.iter().all(|event| data(event)["polls"] == before.n_polls));
        }
    }
}

#[test]
fn strikes_reject_only_in_a_row() {
    let refused = observe(400, REFUSED);
    for (reject_after, strikes_before, expected_state, expected_strikes) in [
        (3, 0, State::InProgress, 1),
        (3, 1, State::InProgress, 2),
        (3, 2, State::Rejected, 3),
        (3, 7, State::Rejected, 8),
        (1, 0, State::Rejected, 1),
        (u32::MAX, u32::MAX, State::Rejected, u32::MAX),
    ] {
        let before = Activity { strikes: strikes_before, ..activity(State::InProgress) };
        let policy = Policy { reject_after, ..policy() };
        let refused = Some(refused.clone());
        let decision = decide(WATCHED_FROM + YOUNG, &before, refused, None, &policy, 0.5);
        assert_eq!((decision.state, decision.strikes), (expected_state, expected_strikes));
    }
    for case in cases().iter().filter(|case| case.name != "refused") {
        let before = Activity { strikes: 2, ..activity(State::Pending) };
        let decision = decide_at(YOUNG, &before, &case.observation);
        assert_eq!(decision.strikes, 0, "{} begins the row anew", case.name);
        assert_ne!(decision.state, State::Rejected);
    }
}

#[test]
fn a_rejection_carries_what_upstream_refused_it_with() {
    let before = Activity { strikes: 2, ..activity(State::Pending) };
    let decision = decide_at(YOUNG, &before, &observe(400, REFUSED));
    let transition = decision.transition.unwrap();
    assert_eq!(
        transition.reason,
        "upstream refused the id 3 times in a row: 6004 No PCSID activity has this id"
    );
    assert_eq!(data(&decision.events[0])["errors"][0]["code"], "6004");
    assert_eq!(decision.findings.unwrap().errors.len(), 1);
}

#[test]
fn refusals_are_named_by_their_first_error_on_one_line() {
    let error = |code: &str, message: &str| ListedError {
        error_code: Some(code.to_owned()),
        error_message: Some(message.to_owned()),
        ..ListedError::default()
    };
    for (errors, expected) in [
        (vec![], "no reason given".to_owned()),
        (vec![ListedError::default()], String::new()),
        (vec![error("1", "a\nb\u{1b}c")], "1 a b c".to_owned()),
        (vec![error("1", "x"), error("2", "y"), error("3", "z")], "1 x (and 2 more)".to_owned()),
        (vec![error("1", &"م".repeat(9_000))], format!("1 {}", "م".repeat(200))),
    ] {
        assert_eq!(summary(&Findings { errors, ..Findings::default() }), expected);
    }
}

#[test]
fn deadlines_pull_the_next_poll_in() {
    let poll_after = |age: Duration, activity: &Activity| {
        let decision = decide_at(age, activity, &silence());
        decision.next_poll_at.map(|at| at.since(WATCHED_FROM))
    };
    let fresh = activity(State::Pending);
    let stalled = Activity { stalled_at: Some(WATCHED_FROM + STALLED_AFTER), ..fresh.clone() };
    let last_moment = Duration::from_millis(1);
    for (age, activity, expected) in [
        (STALLED_AFTER - seconds(21), &fresh, STALLED_AFTER - seconds(1)),
        (STALLED_AFTER - seconds(19), &fresh, STALLED_AFTER),
        (STALLED_AFTER - last_moment, &fresh, STALLED_AFTER),
        (STALLED_AFTER - seconds(19), &stalled, STALLED_AFTER + seconds(1)),
        (STALLED_AFTER, &fresh, STALLED_AFTER + seconds(20)),
        (GIVE_UP_AFTER - seconds(19), &stalled, GIVE_UP_AFTER),
        (GIVE_UP_AFTER - seconds(19), &fresh, GIVE_UP_AFTER),
        (GIVE_UP_AFTER - last_moment, &stalled, GIVE_UP_AFTER),
    ] {
        assert_eq!(poll_after(age, activity), Some(expected), "at {age:?}");
    }
}

#[test]
fn an_activity_stalls_once_and_watching_goes_on() {
    let mut current = activity(State::Pending);
    let mut announced = Vec::new();
    for minute in 0..180 {
        let decision = decide_at(seconds(60 * minute), &current, &observe(200, IN_PROGRESS));
        announced.extend(decision.events.iter().map(|event| (minute, event.kind)));
        current.state = decision.state;
        current.stalled_at = current.stalled_at.or(decision.stalled_at);
    }
    assert_eq!(announced, [(60, EventKind::ActivityStalled)]);
    assert_eq!(current.state, State::InProgress);
}

#[test]
fn a_stall_is_announced_with_the_state_that_the_same_answer_leads_to() {
    let decision = decide_at(STALLED_AFTER, &activity(State::Pending), &observe(200, IN_PROGRESS));
    assert_eq!(kinds(&decision), ["pcsid.activity.stalled"]);
    let data = data(&decision.events[0]);
    assert_eq!(
        (data["state"].as_str(), data["upstream_status"].as_str()),
        (Some("IN_PROGRESS"), Some("IN_PROGRESS"))
    );
    assert_eq!(data["concluded_at"], Value::Null);
}

#[test]
fn a_conclusion_wins_over_a_deadline_however_late_it_is() {
    for age in [GIVE_UP_AFTER, GIVE_UP_AFTER * 100] {
        for (observation, expected) in [
            (observe(200, SUCCEEDED), State::Succeeded),
            (observe(500, FAILED), State::Failed),
            (observe(200, WITHOUT_PCSID), State::Failed),
        ] {
            assert_eq!(decide_at(age, &activity(State::Pending), &observation).state, expected);
        }
        let last_strike = Activity { strikes: 2, ..activity(State::Pending) };
        assert_eq!(decide_at(age, &last_strike, &observe(400, REFUSED)).state, State::Rejected);
    }
}

#[test]
fn expiry_comes_at_the_very_deadline_and_not_before() {
    let before = activity(State::InProgress);
    let last_moment = GIVE_UP_AFTER - Duration::from_millis(1);
    assert_eq!(decide_at(last_moment, &before, &silence()).state, State::InProgress);
    let decision = decide_at(GIVE_UP_AFTER, &before, &silence());
    assert_eq!(decision.state, State::Expired);
    assert_eq!(decision.transition.unwrap().reason, "not concluded 1d after watching began");
}

#[test]
fn age_counts_from_watched_from_and_not_from_the_registration() {
    let registered_at = WATCHED_FROM - GIVE_UP_AFTER * 3;
    let before = Activity { registered_at, ..activity(State::Pending) };
    assert_eq!(decide_at(YOUNG, &before, &silence()).state, State::Pending);
    assert_eq!(withhold_at(YOUNG, &before).events, []);
    // A clock that comes before the beginning makes nobody old.
    let early = decide(WATCHED_FROM - GIVE_UP_AFTER, &before, None, None, &policy(), 0.5);
    assert_eq!((early.state, early.stalled_at), (State::Pending, None));
}

#[test]
fn what_could_not_be_asked_for_says_why_when_it_stalls_and_expires() {
    let kind = |decision: &Decision| data(&decision.events[0])["next_step"]["kind"].clone();
    let withheld =
        |age, why| decide(WATCHED_FROM + age, &activity(State::Pending), None, why, &policy(), 0.5);
    for (why, expected) in [
        (Withholding::CredentialHeld, "replace-token"),
        (Withholding::VatHeld, "grant-admin"),
        (Withholding::Unserved, "configure-credential"),
    ] {
        assert_eq!(kind(&withheld(STALLED_AFTER, Some(why))), expected);
        let expired = withheld(GIVE_UP_AFTER, Some(why));
        assert_eq!(
            (kind(&expired), expired.next_step.map(|step| step.kind)),
            (json!(expected), Some(expected))
        );
    }
    assert_eq!(kind(&withheld(STALLED_AFTER, None)), "wait-or-ask-cleartax", "an outage");
    // The probe that finds the door shut.
    assert_eq!(kind(&decide_at(STALLED_AFTER, &activity(State::Pending), &observe(403, ""))), "grant-admin");
}

#[test]
fn one_that_has_concluded_comes_back_unchanged() {
    for state in State::ALL.into_iter().filter(|state| state.is_concluded()) {
        let before = Activity { strikes: 2, ..activity(state) };
        for age in [YOUNG, STALLED_AFTER, GIVE_UP_AFTER] {
            let expected = withhold_at(age, &before);
            assert_eq!((expected.state, expected.next_poll_at), (state, None));
            assert_eq!((&expected.transition, &expected.findings, &expected.report), (&None, &None, &None));
            assert_eq!((expected.events.len(), expected.stalled_at), (0, None));
            assert_eq!((expected.consecutive_errors, expected.strikes), (2, 2));
            for case in cases() {
                assert_eq!(decide_at(age, &before, &case.observation), expected, "{state} × {}", case.name);
            }
        }
    }
}

#[test]
fn what_upstream_says_is_handed_on_only_where_it_is_news() {
    let mut current = activity(State::Pending);
    let first = decide_at(YOUNG, &current, &observe(200, IN_PROGRESS));
    let report = first.report.unwrap();
    assert_eq!(report.upstream_status.as_deref(), Some("IN_PROGRESS"));
    current.report = report;
    assert_eq!(decide_at(YOUNG, &current, &observe(200, IN_PROGRESS)).report, None);
    assert_eq!(decide_at(YOUNG, &current, &silence()).report, None);
}

#[test]
fn an_unknown_status_is_shown_without_changing_the_state_or_the_rest() {
    let mut before = activity(State::InProgress);
    let Verdict::InProgress(report) = observe(200, IN_PROGRESS).verdict else { panic!("not in progress") };
    before.report = report.clone();
    let decision = decide_at(YOUNG, &before, &observe(200, r#"{"Status":"ON_HOLD"}"#));
    assert_eq!((decision.state, &decision.transition), (State::InProgress, &None));
    assert_eq!(decision.report, Some(Report { upstream_status: Some("ON_HOLD".to_owned()), ..report }));
    assert_eq!(decision.consecutive_errors, 3);
}

#[test]
fn an_expiry_tells_what_was_last_known() {
    let mut before = activity(State::InProgress);
    let Verdict::InProgress(report) = observe(200, IN_PROGRESS).verdict else { panic!("not in progress") };
    before.report = report;
    let data = data(&withhold_at(GIVE_UP_AFTER, &before).events[0]);
    assert_eq!(data["upstream_status"], "IN_PROGRESS");
    assert_eq!(data["counts"]["total"], 6);
    assert_eq!(data["created_at"], "2026-03-02T06:00:00.250Z");
}

#[test]
fn deciding_again_announces_under_the_same_id_and_a_retry_under_another() {
    let concluding = [observe(200, SUCCEEDED), observe(500, FAILED)];
    for observation in &concluding {
        let id = |activity: &Activity, age| decide_at(age, activity, observation).events[0].id;
        let first = activity(State::Pending);
        let later = Activity { state: State::InProgress, n_polls: 9, ..first.clone() };
        assert_eq!(id(&first, YOUNG), id(&later, YOUNG * 2), "what is announced is the same");
        for other in [
            Activity { round: 2, ..first.clone() },
            Activity { vat: Vat::parse("3").unwrap(), ..first.clone() },
            Activity { activity_id: ActivityId::parse("b").unwrap(), ..first.clone() },
        ] {
            assert_ne!(id(&first, YOUNG), id(&other, YOUNG), "{other:?}");
        }
    }
    let first = activity(State::Pending);
    let mut ids: Vec<_> = concluding.iter().map(|o| decide_at(YOUNG, &first, o).events[0].id).collect();
    ids.push(withhold_at(STALLED_AFTER, &first).events[0].id);
    ids.push(withhold_at(GIVE_UP_AFTER, &first).events[0].id);
    ids.push(cancel(WATCHED_FROM, &first).unwrap().events[0].id);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 5, "each kind of event has an id of its own");
}

#[test]
fn the_derivation_of_ids_never_changes() {
    let event = &decide_at(YOUNG, &activity(State::Pending), &observe(200, SUCCEEDED)).events[0];
    assert_eq!(event.id.to_string(), "26608a39-34c0-5105-a17a-5ccccb1c7f9b");
}

#[test]
fn a_cancel_is_announced_once_and_ends_watching() {
    for state in [State::Pending, State::InProgress] {
        let before = activity(state);
        let decision = cancel(WATCHED_FROM + YOUNG, &before).unwrap();
        assert_eq!((decision.state, decision.next_poll_at), (State::Cancelled, None));
        assert_eq!(kinds(&decision), ["pcsid.activity.cancelled"]);
        let transition = decision.transition.unwrap();
        assert_eq!((transition.from, transition.to), (state, State::Cancelled));
        let data = data(&decision.events[0]);
        assert_eq!((data["state"].as_str(), data["polls"].as_u64()), (Some("CANCELLED"), Some(4)));
        assert_eq!(decision.findings, Some(Findings::default()));
    }
}

#[test]
fn an_event_is_one_json_object_of_the_documented_form() {
    let decision = decide_at(YOUNG, &activity(State::InProgress), &observe(200, STANDARD_ONLY));
    let payload: Value = serde_json::from_str(&decision.events[0].payload).unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&payload).unwrap(), @r#"
    {
      "id": "26608a39-34c0-5105-a17a-5ccccb1c7f9b",
      "type": "pcsid.generation.succeeded",
      "timestamp": "2026-03-02T05:41:00.000Z",
      "data": {
        "vat": "399999999900003",
        "activity_id": "65f0c0ffee0123456789abcd",
        "device_id": "till-7",
        "reference": null,
        "state": "SUCCEEDED",
        "upstream_status": "SUCCEEDED",
        "pcsid_generated": "GENERATED",
        "counts": {
          "total": 6,
          "success": 3,
          "failure": 0
        },
        "checks": [
          {
            "name": "StandardTaxInvoice",
            "outcome": "SUCCEEDED",
            "message": null,
            "errors": [],
            "error_count": 0
          },
          {
            "name": "StandardTaxInvoiceCredit",
            "outcome": "SUCCEEDED",
            "message": null,
            "errors": [],
            "error_count": 0
          },
          {
            "name": "StandardTaxInvoiceDebit",
            "outcome": "SUCCEEDED",
            "message": null,
            "errors": [],
            "error_count": 0
          },
          {
            "name": "SimplifiedTaxInvoice",
            "outcome": "NOT_REPORTED",
            "message": null,
            "errors": [],
            "error_count": 0
          },
          {
            "name": "SimplifiedTaxInvoiceCredit",
            "outcome": "NOT_REPORTED",
            "message": null,
            "errors": [],
            "error_count": 0
          },
          {
            "name": "SimplifiedTaxInvoiceDebit",
            "outcome": "NOT_REPORTED",
            "message": null,
            "errors": [],
            "error_count": 0
          }
        ],
        "errors": [],
        "error_count": 0,
        "truncated": false,
        "created_at": "2026-03-02T07:30:00.000Z",
        "updated_at": "2026-03-02T07:30:45.000Z",
        "completed_at": "2026-03-02T07:30:45.000Z",
        "registered_at": "2026-03-02T05:40:00.000Z",
        "concluded_at": "2026-03-02T05:41:00.000Z",
        "polls": 5,
        "next_step": null
      }
    }
    "#);
}

#[test]
fn every_event_of_an_activity_has_exactly_the_documented_fields() {
    let keys = |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    let stalls = withhold_at(STALLED_AFTER, &activity(State::Pending));
    let expires = withhold_at(GIVE_UP_AFTER, &activity(State::Pending));
    let rejected = Activity { strikes: 2, ..activity(State::Pending) };
    for decision in [
        decide_at(YOUNG, &activity(State::Pending), &observe(200, SUCCEEDED)),
        decide_at(YOUNG, &activity(State::Pending), &observe(500, FAILED)),
        decide_at(YOUNG, &rejected, &observe(400, REFUSED)),
        stalls,
        expires,
        cancel(WATCHED_FROM, &activity(State::Pending)).unwrap(),
    ] {
        let event = &decision.events[0];
        assert!(!event.payload.contains('\n'), "one line, for the log");
        let payload: Value = serde_json::from_str(&event.payload).unwrap();
        assert_eq!(keys(&payload), ["id", "type", "timestamp", "data"]);
        assert_eq!(payload["id"], event.id.to_string());
        assert_eq!(payload["type"], event.kind.label());
        assert_eq!(payload["timestamp"], event.occurred_at.to_string());
        let data = &payload["data"];
        assert_eq!(
            keys(data).join(" "),
            "vat activity_id device_id reference state upstream_status pcsid_generated counts checks errors \
             error_count truncated created_at updated_at completed_at registered_at concluded_at polls next_step"
        );
        assert_eq!(keys(&data["counts"]), ["total", "success", "failure"]);
        let checks = data["checks"].as_array().unwrap();
        let names: Vec<_> = checks.iter().filter_map(|check| check["name"].as_str()).collect();
        assert_eq!(names, CHECK_NAMES);
        for check in checks {
            assert_eq!(keys(check), ["name", "outcome", "message", "errors", "error_count"]);
            for error in check["errors"].as_array().unwrap() {
                assert_eq!(keys(error), ["rule", "message", "severity", "owner", "meaning", "remedy"]);
            }
            let has_errors = !check["errors"].as_array().unwrap().is_empty();
            assert_eq!(has_errors, check["outcome"] == "FAILED");
            assert_eq!(check["message"].is_string(), check["outcome"] == "FAILED");
        }
        for error in data["errors"].as_array().unwrap() {
            let documented = ["code", "message", "source", "rule", "severity", "owner", "meaning", "remedy"];
            assert_eq!(keys(error), documented);
        }
        assert_eq!(data["state"], decision.state.label());
        assert_eq!(data["concluded_at"].is_string(), decision.state.is_concluded());
    }
}

#[test]
fn the_deciding_poll_is_counted() {
    let decision = decide_at(YOUNG, &activity(State::Pending), &observe(200, SUCCEEDED));
    assert_eq!(data(&decision.events[0])["polls"], 5);
    let worn = Activity { n_polls: u32::MAX, consecutive_errors: u32::MAX, ..activity(State::Pending) };
    let decision = decide_at(GIVE_UP_AFTER, &worn, &silence());
    assert_eq!(data(&decision.events[0])["polls"], u32::MAX);
    assert_eq!(decision.consecutive_errors, u32::MAX);
}

fn any_observation() -> impl Strategy<Value = Observation> {
    let known = prop::sample::select(cases().into_iter().map(|case| case.observation).collect::<Vec<_>>());
    let error = (any::<Option<String>>(), any::<Option<String>>());
    let errors = prop::collection::vec(error, 0..4).prop_map(|errors| {
        let listed =
            |(error_code, error_message)| ListedError { error_code, error_message, ..ListedError::default() };
        let errors = errors.into_iter().map(listed).collect();
        Verdict::Strike(Findings { errors, ..Findings::default() })
    });
    let throttled = any::<Option<Duration>>().prop_map(|retry_after| Verdict::Throttled { retry_after });
    let unknown = any::<String>().prop_map(|status| Verdict::Transient {
        kind: TransientKind::InvalidResponse,
        detail: "Status is not known".to_owned(),
        unknown_status: Some(status),
    });
    let made = prop_oneof![errors, throttled, unknown];
    prop_oneof![known, made.prop_map(|verdict| Observation { http_status: None, verdict, final_body: None })]
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let millis = |range: std::ops::Range<u64>| range.prop_map(Duration::from_millis);
    let backoff = (millis(1..60_000), 1.0..10.0, millis(1..600_000), 0.0..1.0);
    (backoff, millis(1..200_000), millis(1..200_000), 1..5_u32).prop_map(
        |((initial, multiplier, max, jitter), stalled_after, give_up_after, reject_after)| Policy {
            backoff: Backoff::new(initial, multiplier, max, jitter),
            stalled_after,
            give_up_after,
            reject_after,
            catalogue: Catalogue::builtin(),
            renewal: Renewal::default(),
        },
    )
}

fn any_activity() -> impl Strategy<Value = Activity> {
    let state = prop::sample::select(vec![State::Pending, State::InProgress]);
    let counts = (0..u32::MAX, any::<u32>(), 0..6_u32);
    (state, any::<bool>(), any::<u32>(), counts, 1..9_u32).prop_map(
        |(state, has_stalled, interval, (n_polls, consecutive_errors, strikes), round)| Activity {
            stalled_at: has_stalled.then_some(WATCHED_FROM),
            interval: Duration::from_millis(u64::from(interval)),
            n_polls,
            consecutive_errors,
            strikes,
            round,
            ..activity(state)
        },
    )
}

proptest! {
    #[test]
    fn watching_goes_on_until_exactly_one_conclusion(
        observation in prop::option::of(any_observation()), policy in any_policy(), before in any_activity(),
        age_ms in -300_000..300_000_i64, luck in any::<f64>(),
    ) {
        let now = WATCHED_FROM.shifted(age_ms);
        let decision = decide(now, &before, observation.clone(), None, &policy, luck);
        prop_assert_eq!(&decision, &decide(now, &before, observation.clone(), None, &policy, luck), "it is pure");

        let n_conclusions = decision
            .events
            .iter()
            .filter(|event| event.kind != EventKind::ActivityStalled)
            .inspect(|event| assert_eq!(Some(event.kind), EventKind::on_entering(decision.state)))
            .count();
        prop_assert_eq!(n_conclusions, usize::from(decision.state.is_concluded()));
        let n_stalls = decision.events.len() - n_conclusions;
        prop_assert_eq!(n_stalls, usize::from(decision.stalled_at.is_some()));
        prop_assert!(n_stalls == 0 || (before.stalled_at.is_none() && !decision.state.is_concluded()));
        prop_assert_eq!(decision.transition.is_some(), decision.state != before.state);
        prop_assert_eq!(decision.findings.is_some(), decision.state.is_concluded());

        prop_assert_eq!(decision.next_poll_at.is_none(), decision.state.is_concluded());
        if let Some(next) = decision.next_poll_at {
            prop_assert_eq!(next > now, decision.polled, "{} after {}", next, now);
            prop_assert!(next >= now);
            prop_assert!(next <= now + policy.backoff.max_interval());
        }
        if decision.polled && decision.error.is_none() {
            prop_assert_eq!(decision.consecutive_errors, 0);
        }
    }

    #[test]
    fn what_is_kept_of_an_error_is_one_short_line(
        http_status in prop::sample::select(vec![200, 302, 400, 401, 404, 429, 500, 502, 503]),
        text in ".{0,400}", shape in 0..4_u8,
    ) {
        let text_json = Value::from(text.clone()).to_string();
        let body = match shape {
            0 => text,
            1 => format!(r#"{{"Status":{text_json}}}"#),
            2 => format!(r#"{{"ActivityType":{text_json},"Status":"FAILED"}}"#),
            _ => format!(r#"{{"ErrorList":[{{"ErrorCode":{text_json},"ErrorMessage":{text_json}}},{{}}]}}"#),
        };
        let before = Activity { strikes: 2, ..activity(State::Pending) };
        let decision = decide_at(YOUNG, &before, &observe(http_status, &body));
        let reason = decision.transition.map(|transition| transition.reason);
        for line in decision.error.iter().chain(&reason) {
            prop_assert!(!line.chars().any(char::is_control), "{line:?}");
            prop_assert!(line.chars().count() <= 700, "{line}");
        }
    }
}
