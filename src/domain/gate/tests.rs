//! What each answer opens and closes, played through with a clock of the tests' own.

use proptest::prelude::*;

use super::brake::OUTAGE_PROBES;
use super::*;
use crate::domain::report::{Findings, Report};

const START: Timestamp = Timestamp::from_millis(1_772_430_000_000);
const MAIN: &str = "main";
const OTHER: &str = "other";

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn vat(text: &str) -> Vat {
    Vat::parse(text).unwrap()
}

fn serving() -> Serving {
    Serving::new([(MAIN, [].as_slice()), (OTHER, [vat("OTHER")].as_slice())])
}

/// Answers, by what they are to a gate.
fn success() -> Verdict {
    Verdict::Succeeded(Report::default(), Findings::default())
}

fn no_reply() -> Verdict {
    transient(TransientKind::NoReply)
}

fn transient(kind: TransientKind) -> Verdict {
    Verdict::Transient { kind, detail: "connection refused".to_owned(), unknown_status: None }
}

fn throttled(pause: Option<u64>) -> Verdict {
    Verdict::Throttled { retry_after: pause.map(seconds) }
}

fn unlimited() -> Quota {
    Quota::new(0, Duration::MAX, Instant::now())
}

/// Two credentials without a quota, and intervals of 10 s, 20 s, 40 s, then 60 s, without jitter.
struct World {
    gates: Gates,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let backoff = Backoff::new(seconds(10), 2.0, seconds(60), 0.0);
        let credentials = [MAIN, OTHER].map(|name| (name.to_owned(), unlimited()));
        Self { gates: Gates::new(backoff, 64, credentials), now: START }
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn passage(&self, vat_text: &str) -> Passage {
        self.gates.passage(&vat(vat_text), MAIN, self.now)
    }

    fn is_open(&self, vat_text: &str) -> bool {
        !matches!(self.passage(vat_text), Passage::Closed { .. })
    }

    /// What the VAT's passage is, as text: `free`, `probe`, `closed` or `closed for 10s`.
    #[track_caller]
    fn check(&self, vat_text: &str, expected: &str) {
        let shown = match self.passage(vat_text) {
            Passage::Free => "free".to_owned(),
            Passage::Probe => "probe".to_owned(),
            Passage::Closed { until: None } => "closed".to_owned(),
            Passage::Closed { until: Some(until) } => format!("closed for {:?}", until.since(self.now)),
        };
        assert_eq!(shown, expected, "{vat_text}");
    }

    #[track_caller]
    fn take(&mut self, vat_text: &str) -> Ticket {
        assert!(self.is_open(vat_text), "{vat_text} is closed");
        self.gates.take(&vat(vat_text), MAIN, true, self.now)
    }

    fn settle(&mut self, ticket: &Ticket, verdict: Verdict) -> Settled {
        self.gates.settle(
            ticket,
            &Observation { http_status: None, verdict, final_body: None },
            self.now,
            0.5,
        )
    }

    #[track_caller]
    fn ask(&mut self, vat_text: &str, verdict: Verdict) -> Settled {
        let ticket = self.take(vat_text);
        self.settle(&ticket, verdict)
    }
}

fn events(settled: &Settled) -> Vec<&'static str> {
    settled
        .changes
        .iter()
        .filter_map(|change| change.event.as_ref())
        .map(|event| event.kind.label())
        .collect()
}

fn hold(settled: &Settled) -> &Hold {
    settled.changes[0].hold.as_ref().unwrap()
}

#[test]
fn a_refused_token_closes_its_credential_and_no_other() {
    let mut world = World::new();
    let settled = world.ask("A", Verdict::Unauthorized);
    assert_eq!(events(&settled), ["upstream.credential.held"]);
    assert_eq!(settled.notices, [Notice::CredentialHeld { credential: MAIN.to_owned() }]);
    assert_eq!(settled.changes[0].scope, Scope::Credential(MAIN.to_owned()));
    assert_eq!((hold(&settled).since, hold(&settled).probe_at), (START, START + seconds(10)));
    world.check("A", "closed for 10s");
    world.check("B", "closed for 10s");
    assert_eq!(world.gates.passage(&vat("OTHER"), OTHER, world.now), Passage::Free);
}

#[test]
fn a_forbidden_vat_closes_for_itself_alone() {
    let mut world = World::new();
    let settled = world.ask("A", Verdict::Forbidden);
    assert_eq!(events(&settled), ["upstream.vat.held"]);
    assert_eq!(settled.notices, [Notice::VatHeld { vat: vat("A") }]);
    assert_eq!(settled.changes[0].scope, Scope::Vat(vat("A")));
    world.check("A", "closed for 10s");
    world.check("B", "free");
}

#[test]
fn a_closed_gate_lets_one_probe_through_an_interval() {
    for (verdict, is_same_gate) in [(Verdict::Unauthorized, true), (Verdict::Forbidden, false)] {
        let mut world = World::new();
        world.ask("A", verdict.clone());
        for (n_probes, interval) in [10, 20, 40, 60, 60].into_iter().enumerate() {
            world.check("A", &format!("closed for {interval}s"));
            world.wait(seconds(interval) - Duration::from_millis(1));
            world.check("A", "closed for 1ms");
            world.wait(Duration::from_millis(1));
            world.check("A", "probe");
            let probe = world.take("A");
            world.check("A", "closed");
            world.check("B", if is_same_gate { "closed" } else { "free" });
            let settled = world.settle(&probe, verdict.clone());
            assert_eq!((events(&settled), settled.notices.len()), (vec![], 0), "announced once");
            assert_eq!(hold(&settled).n_probes as usize, n_probes + 1);
            assert_eq!(hold(&settled).since, START);
        }
    }
}

#[test]
fn a_probe_that_fails_moves_only_the_probe_time() {
    for silent in [no_reply(), transient(TransientKind::ServerError), throttled(None)] {
        for refused in [Verdict::Unauthorized, Verdict::Forbidden] {
            let mut world = World::new();
            let before = hold(&world.ask("A", refused)).clone();
            world.wait(seconds(10));
            let settled = world.ask("A", silent.clone());
            assert_eq!(events(&settled), [] as [&str; 0], "{silent:?}");
            let expected =
                Hold { probe_at: START + seconds(30), interval: seconds(40), n_probes: 1, ..before };
            let after = settled.changes.iter().find_map(|change| change.hold.clone());
            assert_eq!(after, Some(expected), "{silent:?}");
        }
    }
}

#[test]
fn a_probe_that_passes_opens_and_announces_it_once() {
    let passing = [
        success(),
        Verdict::Failed(Report::default(), Findings::default()),
        Verdict::InProgress(Report::default()),
        Verdict::Strike(Findings::default()),
    ];
    for passed in passing {
        for (refused, restored) in [
            (Verdict::Unauthorized, "upstream.credential.restored"),
            (Verdict::Forbidden, "upstream.vat.restored"),
        ] {
            let mut world = World::new();
            world.ask("A", refused);
            world.wait(seconds(10));
            let settled = world.ask("A", passed.clone());
            assert_eq!(events(&settled), [restored]);
            assert_eq!((settled.notices.len(), &settled.changes[0].hold), (1, &None));
            world.check("A", "free");
            assert_eq!(world.ask("A", passed.clone()), Settled::default());
        }
    }
}

#[test]
fn held_and_restored_have_ids_of_their_own_and_tell_since_when() {
    let mut world = World::new();
    let held = world.ask("A", Verdict::Unauthorized).changes[0].event.clone().unwrap();
    world.wait(seconds(10));
    let restored = world.ask("A", success()).changes[0].event.clone().unwrap();
    let held_again = world.ask("A", Verdict::Unauthorized).changes[0].event.clone().unwrap();
    assert!(held.id != restored.id && held.id != held_again.id && restored.id != held_again.id);
    assert_eq!((held.occurred_at, restored.occurred_at), (START, START + seconds(10)));
    for (event, is_about) in [(&held, None), (&restored, None)] {
        let payload: serde_json::Value = serde_json::from_str(&event.payload).unwrap();
        assert_eq!(payload["data"]["held_since"], START.to_string());
        assert_eq!(payload["data"]["credential"], MAIN);
        assert_eq!(event.vat, is_about);
    }
    let held = world_of_a_held_vat().1;
    assert_eq!(held.vat, Some(vat("A")));
}

fn world_of_a_held_vat() -> (World, Event) {
    let mut world = World::new();
    let event = world.ask("A", Verdict::Forbidden).changes[0].event.clone().unwrap();
    (world, event)
}

#[test]
fn answers_to_requests_on_their_way_at_the_closing_do_not_escalate() {
    for refused in [Verdict::Unauthorized, Verdict::Forbidden] {
        let mut world = World::new();
        let tickets: Vec<Ticket> = (0..8).map(|_| world.take("A")).collect();
        let announced: Vec<_> = tickets
            .iter()
            .map(|ticket| {
                let settled = world.settle(ticket, refused.clone());
                world.wait(Duration::from_millis(5));
                (events(&settled).len(), settled.changes.len(), settled.notices.len())
            })
            .collect();
        assert_eq!(announced[0], (1, 1, 1));
        assert!(announced[1..].iter().all(|counts| *counts == (0, 0, 0)), "{announced:?}");
        world.check("A", "closed for 9.96s");
    }
}

#[test]
fn only_the_probe_opens_a_gate() {
    let mut world = World::new();
    let (early, late) = (world.take("A"), world.take("A"));
    world.settle(&early, Verdict::Unauthorized);
    assert_eq!(world.settle(&late, success()), Settled::default());
    world.check("A", "closed for 10s");
}

#[test]
fn a_refused_token_says_nothing_of_its_vat_and_a_forbidden_vat_passes_its_token() {
    let mut world = World::new();
    world.ask("A", Verdict::Forbidden);
    world.wait(seconds(10));
    let settled = world.ask("A", Verdict::Unauthorized);
    assert_eq!(events(&settled), ["upstream.credential.held"]);
    assert_eq!(settled.changes.len(), 2, "the VAT's probe is spent");
    // Both gates are closed now; the stricter one counts.
    world.check("A", "closed for 20s");
    world.check("B", "closed for 10s");
    world.wait(seconds(10));
    let settled = world.ask("B", Verdict::Forbidden);
    assert_eq!(events(&settled), ["upstream.credential.restored", "upstream.vat.held"]);
    world.check("C", "free");
    world.check("B", "closed for 10s");
    world.check("A", "closed for 10s");
}

#[test]
fn one_request_probes_all_the_gates_that_it_passes() {
    let mut world = World::new();
    let (first, second) = (world.take("A"), world.take("A"));
    world.settle(&first, Verdict::Forbidden);
    world.settle(&second, Verdict::Unauthorized);
    world.wait(seconds(10));
    world.check("A", "probe");
    let settled = world.ask("A", success());
    assert_eq!(events(&settled), ["upstream.credential.restored", "upstream.vat.restored"]);
    world.check("A", "free");
}

#[test]
fn a_new_token_is_probed_at_once_for_its_credential_and_its_vats() {
    let mut world = World::new();
    let (first, second) = (world.take("A"), world.take("A"));
    world.settle(&first, Verdict::Forbidden);
    world.settle(&second, Verdict::Unauthorized);
    world.gates.token_changed(OTHER, world.now, &serving());
    world.check("A", "closed for 10s");
    world.gates.token_changed(MAIN, world.now, &serving());
    world.check("A", "probe");
    let settled = world.ask("A", success());
    assert_eq!(events(&settled), ["upstream.credential.restored", "upstream.vat.restored"]);
}

#[test]
fn a_new_token_of_one_credential_probes_no_vat_of_another() {
    let mut world = World::new();
    let ticket = world.gates.take(&vat("OTHER"), OTHER, true, world.now);
    world.settle(&ticket, Verdict::Forbidden);
    let passage = |world: &World| world.gates.passage(&vat("OTHER"), OTHER, world.now);
    world.gates.token_changed(MAIN, world.now, &serving());
    assert_eq!(passage(&world), Passage::Closed { until: Some(START + seconds(10)) });
    world.gates.token_changed("unknown", world.now, &serving());
    assert_eq!(passage(&world), Passage::Closed { until: Some(START + seconds(10)) });
    world.gates.token_changed(OTHER, world.now, &serving());
    assert_eq!(passage(&world), Passage::Probe);
}

#[test]
fn answers_to_the_old_token_close_and_open_nothing() {
    for late in [Verdict::Unauthorized, Verdict::Forbidden, success()] {
        // With open gates.
        let mut world = World::new();
        let old = world.take("A");
        world.gates.token_changed(MAIN, world.now, &serving());
        assert_eq!(world.settle(&old, late.clone()), Settled::default(), "{late:?}");
        world.check("A", "free");

        // With closed ones, the old token's probe being on its way.
        for refused in [Verdict::Unauthorized, Verdict::Forbidden] {
            let mut world = World::new();
            world.ask("A", refused);
            world.wait(seconds(10));
            let old = world.take("A");
            world.gates.token_changed(MAIN, world.now, &serving());
            let new = world.take("A");
            world.check("A", "closed");
            assert_eq!(world.settle(&old, late.clone()), Settled::default(), "{late:?}");
            world.check("A", "closed");
            assert_eq!(events(&world.settle(&new, success())).len(), 1);
            world.check("A", "free");
        }
    }
}

#[test]
fn a_pause_is_never_undercut_and_the_longest_wins() {
    let mut world = World::new();
    let burst: Vec<Ticket> = (0..5).map(|_| world.take("A")).collect();
    for (ticket, asked_for, expected) in [
        (&burst[0], Some(30), "closed for 30s"),
        (&burst[1], Some(10), "closed for 30s"),
        (&burst[2], Some(90), "closed for 90s"),
        (&burst[3], None, "closed for 90s"),
        (&burst[4], Some(0), "closed for 90s"),
    ] {
        world.settle(ticket, throttled(asked_for));
        world.check("A", expected);
        world.check("B", expected);
    }
    assert_eq!(world.gates.passage(&vat("OTHER"), OTHER, world.now), Passage::Free);
    world.wait(seconds(90) - Duration::from_millis(1));
    world.check("A", "closed for 1ms");
    world.wait(Duration::from_millis(1));
    world.check("A", "free");
}

#[test]
fn a_pause_of_no_time_is_as_long_as_one_of_no_stated_length() {
    let mut world = World::new();
    for expected in ["closed for 10s", "closed for 20s"] {
        let ticket = world.take("A");
        world.settle(&ticket, throttled(Some(0)));
        world.check("A", expected);
        world.wait(seconds(20));
    }
}

#[test]
fn a_burst_of_pauses_is_reported_once_and_recorded_where_it_grows() {
    let mut world = World::new();
    let burst: Vec<Ticket> = (0..3).map(|_| world.take("A")).collect();
    let counts: Vec<_> = [30, 30, 31]
        .into_iter()
        .zip(&burst)
        .map(|(pause, ticket)| {
            let settled = world.settle(ticket, throttled(Some(pause)));
            (settled.notices.len(), settled.changes.len(), events(&settled).len())
        })
        .collect();
    assert_eq!(counts, [(1, 1, 0), (0, 0, 0), (0, 1, 0)]);
}

#[test]
fn pauses_of_no_stated_length_grow_until_an_answer_passes() {
    let mut world = World::new();
    for expected in ["closed for 10s", "closed for 20s", "closed for 40s", "closed for 60s", "closed for 60s"]
    {
        let burst = [world.take("A"), world.take("B")];
        for ticket in &burst {
            world.settle(ticket, throttled(None));
        }
        world.check("A", expected);
        world.wait(seconds(60));
    }
    world.ask("A", success());
    world.ask("A", throttled(None));
    world.check("A", "closed for 10s");
}

#[test]
fn a_pause_for_ever_lasts_for_ever() {
    let mut world = World::new();
    world.ask("A", Verdict::Throttled { retry_after: Some(Duration::MAX) });
    world.wait(seconds(1_000_000_000));
    assert!(matches!(world.passage("A"), Passage::Closed { until: Some(Timestamp::MAX) }));
}

#[test]
fn a_pause_outlasts_the_probe_of_a_hold() {
    let mut world = World::new();
    let tickets = [world.take("A"), world.take("A")];
    world.settle(&tickets[0], Verdict::Unauthorized);
    world.settle(&tickets[1], throttled(Some(45)));
    world.wait(seconds(44));
    world.check("A", "closed for 1s");
    world.wait(seconds(1));
    world.check("A", "probe");
}

/// Lets this many requests fail, one after the other, and returns the notices.
fn fail(world: &mut World, n: u32, verdict: &Verdict) -> Vec<Notice> {
    (0..n)
        .flat_map(|_| {
            world.wait(Duration::from_millis(1));
            world.ask("A", verdict.clone()).notices
        })
        .collect()
}

/// Down after it has answered once.
fn down() -> World {
    let mut world = World::new();
    world.ask("A", success());
    world.wait(seconds(60));
    fail(&mut world, OUTAGE_AFTER, &no_reply());
    world
}

#[test]
fn failures_in_a_row_close_everything_as_an_outage_silent_or_prompt_and_useless() {
    for kind in [
        TransientKind::NoReply,
        TransientKind::Gateway,
        TransientKind::ServerError,
        TransientKind::InvalidResponse,
        TransientKind::UnexpectedStatus,
    ] {
        let (mut world, verdict) = (World::new(), transient(kind));
        let trouble = Trouble { kind, cause: "connection refused".to_owned() };
        let notices = fail(&mut world, OUTAGE_AFTER - 1, &verdict);
        assert_eq!(notices, [Notice::Unanswered { trouble: trouble.clone() }]);
        world.check("A", "free");
        assert_eq!(world.gates.outage(), None);
        let began = Notice::OutageBegan { n_failures: OUTAGE_AFTER, trouble: trouble.clone() };
        assert_eq!(fail(&mut world, 1, &verdict), [began]);
        assert_eq!(world.gates.outage(), Some(Outage { since: world.now, trouble }));
        world.check("A", "closed for 10s");
        assert!(matches!(world.gates.passage(&vat("OTHER"), OTHER, world.now), Passage::Closed { .. }));
    }
}

#[test]
fn an_outage_that_goes_on_for_another_reason_says_so_once_a_minute_at_most() {
    let mut world = down();
    let page = transient(TransientKind::InvalidResponse);
    world.wait(seconds(30));
    assert_eq!(fail(&mut world, 1, &page), []);
    world.wait(seconds(30));
    let trouble = Trouble { kind: TransientKind::InvalidResponse, cause: "connection refused".to_owned() };
    let changed = Notice::OutageChanged { n_failures: OUTAGE_AFTER + 2, trouble };
    assert_eq!(fail(&mut world, 1, &page), [changed]);
    world.wait(seconds(60));
    assert_eq!(fail(&mut world, 1, &page), []);
}

#[test]
fn answers_of_upstream_itself_are_no_sign_of_an_outage() {
    for verdict in [Verdict::Strike(Findings::default()), Verdict::InProgress(Report::default()), success()] {
        let mut world = World::new();
        assert_eq!(fail(&mut world, OUTAGE_AFTER * 2, &verdict), []);
        world.check("A", "free");
    }
}

#[test]
fn activities_that_failed_before_as_well_are_no_sign_of_an_outage_beside_one_that_is_answered() {
    let mut world = World::new();
    let fail_again = |world: &mut World| {
        let mut ticket = world.take("A");
        ticket.is_untroubled = false;
        world.settle(&ticket, transient(TransientKind::ServerError))
    };
    for _ in 0..10 {
        world.ask("B", Verdict::InProgress(Report::default()));
        world.wait(seconds(50));
        for _ in 0..OUTAGE_AFTER * 2 {
            fail_again(&mut world);
        }
        world.check("A", "free");
        world.wait(seconds(10));
    }
    // Where nobody is answered for longer than anybody waits for his turn, they are all there is to go by.
    world.wait(seconds(91));
    fail_again(&mut world);
    world.check("A", "closed for 10s");
}

#[test]
fn an_outage_tells_of_the_last_probe() {
    let mut world = World::new();
    fail(&mut world, OUTAGE_AFTER, &no_reply());
    let since = world.now;
    world.wait(seconds(10));
    world.ask("A", transient(TransientKind::Gateway));
    let outage = world.gates.outage().unwrap();
    assert_eq!((outage.since, outage.trouble.kind), (since, TransientKind::Gateway));
    world.wait(seconds(30));
    world.ask("A", Verdict::Strike(Findings::default()));
    assert_eq!(world.gates.outage(), None);
}

#[test]
fn a_sign_of_life_in_between_begins_the_row_anew() {
    let mut world = World::new();
    for (pause, n_notices) in [(0, 1), (1, 0), (59, 1)] {
        world.wait(seconds(pause));
        // What follows within a minute is not reported again, nor is its end.
        assert_eq!(fail(&mut world, OUTAGE_AFTER - 1, &no_reply()).len(), n_notices);
        world.wait(Duration::from_millis(1));
        let settled = world.ask("A", Verdict::Strike(Findings::default()));
        let recovered = [Notice::Recovered { n_failures: OUTAGE_AFTER - 1 }];
        assert_eq!(settled.notices, recovered[..n_notices]);
    }
    world.check("A", "free");
}

#[test]
fn a_failure_does_not_count_where_another_request_was_answered_meanwhile() {
    let mut world = World::new();
    let slow: Vec<Ticket> = (0..OUTAGE_AFTER * 2).map(|_| world.take("A")).collect();
    world.wait(seconds(1));
    world.ask("B", success());
    world.wait(seconds(29));
    for ticket in &slow {
        assert_eq!(world.settle(ticket, no_reply()), Settled::default());
    }
    world.check("A", "free");
}

#[test]
fn an_outage_is_probed_at_growing_intervals_that_stay_short() {
    let mut world = down();
    for interval in [10_000, 15_000, 22_500, 30_000, 30_000] {
        world.check("A", &format!("closed for {:?}", Duration::from_millis(interval)));
        world.wait(Duration::from_millis(interval));
        let probe = world.take("A");
        assert!(!world.is_open("B"), "one at a time");
        assert_eq!(world.settle(&probe, no_reply()), Settled::default());
    }
}

#[test]
fn a_probe_of_an_outage_that_hangs_keeps_the_next_one_waiting_no_longer_than_its_interval() {
    let mut world = down();
    world.wait(seconds(10));
    let mut hanging = Vec::new();
    for interval in [15_000, 22_500, 30_000, 30_000, 30_000, 30_000, 30_000] {
        hanging.push(world.take("A"));
        world.check("B", &format!("closed for {:?}", Duration::from_millis(interval)));
        world.wait(Duration::from_millis(interval));
        world.check("B", "probe");
    }
    hanging.push(world.take("A"));
    world.wait(seconds(60));
    world.check("B", "closed");
    world.settle(&hanging[0], no_reply());
    world.check("B", "probe");
    // The first that is answered opens the gate, and those that still hang take no slot.
    world.ask("B", success());
    world.check("A", "free");
    assert_eq!(world.gates.free_slots(), 2);
}

#[test]
fn an_upstream_that_was_never_reached_is_probed_by_eight_activities_at_once() {
    let mut world = World::new();
    fail(&mut world, OUTAGE_AFTER, &no_reply());
    for interval in [10_000, 15_000, 22_500, 30_000, 30_000] {
        world.check("A", &format!("closed for {:?}", Duration::from_millis(interval)));
        world.wait(Duration::from_millis(interval));
        let probes: Vec<Ticket> = (0..OUTAGE_PROBES).map(|_| world.take("A")).collect();
        world.check("B", "closed");
        for probe in &probes {
            world.settle(probe, no_reply());
        }
    }
}

#[test]
fn probes_of_an_outage_stay_within_max_in_flight() {
    let backoff = Backoff::new(seconds(10), 2.0, seconds(60), 0.0);
    let gates = Gates::new(backoff, 3, [(MAIN.to_owned(), unlimited())]);
    let mut world = World { gates, now: START };
    let hanging = world.take("A");
    fail(&mut world, OUTAGE_AFTER, &no_reply());
    world.wait(seconds(10));
    let _probes = [world.take("A"), world.take("A")];
    world.check("A", "closed");
    world.settle(&hanging, no_reply());
    world.check("A", "probe");
}

#[test]
fn late_failures_do_not_push_the_outage_s_probe_away() {
    let mut world = World::new();
    let tickets: Vec<Ticket> = (0..OUTAGE_AFTER + 20).map(|_| world.take("A")).collect();
    let (first, late) = tickets.split_at(OUTAGE_AFTER as usize);
    for ticket in first {
        world.settle(ticket, no_reply());
    }
    world.wait(seconds(9));
    for ticket in late {
        assert_eq!(world.settle(ticket, no_reply()), Settled::default());
    }
    world.check("A", "closed for 1s");
}

#[test]
fn after_an_outage_the_window_restarts_at_one_and_grows_by_answers() {
    let mut world = World::new();
    assert_eq!(world.gates.free_slots(), FIRST_WINDOW);
    fail(&mut world, OUTAGE_AFTER, &no_reply());
    world.wait(seconds(10));
    let settled = world.ask("A", Verdict::InProgress(Report::default()));
    assert_eq!(settled.notices, [Notice::Recovered { n_failures: OUTAGE_AFTER }]);
    for expected in 2..=64 {
        assert_eq!(world.gates.free_slots(), expected);
        world.ask("A", success());
    }
    assert_eq!(world.gates.free_slots(), 64, "up to max_in_flight");
}

#[test]
fn slots_are_given_back_with_every_answer() {
    let mut world = World::new();
    let tickets: Vec<Ticket> = (0..FIRST_WINDOW).map(|_| world.take("A")).collect();
    assert_eq!(world.gates.free_slots(), 0);
    world.settle(&tickets[0], Verdict::Unauthorized);
    assert_eq!(world.gates.free_slots(), 2, "its own and, by the sign of life, one more");
    let backoff = Backoff::new(seconds(1), 2.0, seconds(2), 0.0);
    for (max_in_flight, expected) in [(0, 1), (1, 1), (3, 3), (1_000, FIRST_WINDOW)] {
        let gates = Gates::new(backoff.clone(), max_in_flight, []);
        assert_eq!(gates.free_slots(), expected);
    }
}

#[test]
fn each_credential_spends_its_own_quota() {
    let start = Instant::now();
    let backoff = Backoff::new(seconds(1), 2.0, seconds(2), 0.0);
    let credentials =
        [(MAIN.to_owned(), Quota::new(120, Duration::ZERO, start)), (OTHER.to_owned(), unlimited())];
    let mut gates = Gates::new(backoff, 64, credentials);
    assert_eq!(gates.quota_available(MAIN, start), 0);
    assert_eq!(gates.quota_available(OTHER, start), usize::MAX);
    let wait = gates.quota_wait(MAIN, start);
    assert!(wait > Duration::ZERO && wait <= Duration::from_millis(500), "{wait:?}");
    assert_eq!(gates.quota_available(MAIN, start + wait), 1);
    assert_eq!(gates.quota_wait(OTHER, start), Duration::ZERO);
    assert_eq!(gates.quota_available("unknown", start), 0);
    assert_eq!(gates.passage(&vat("A"), "unknown", START), Passage::Closed { until: None });
}

#[test]
fn a_restart_keeps_a_pause_to_its_end_and_probes_what_is_held_once() {
    let mut before = World::new();
    let tickets = [before.take("A"), before.take("A"), before.take("A")];
    let mut stored = Vec::new();
    stored.extend(before.settle(&tickets[0], Verdict::Forbidden).changes);
    stored.extend(before.settle(&tickets[1], Verdict::Unauthorized).changes);
    stored.extend(before.settle(&tickets[2], throttled(Some(5))).changes);

    let mut after = World::new();
    for change in stored {
        after.gates.restore(change.scope, change.hold, change.paused_until, after.now);
    }
    for (time, expected) in [(0, "closed for 5s"), (4, "closed for 1s"), (1, "probe")] {
        after.wait(seconds(time));
        after.check("A", expected);
        after.check("B", expected);
    }
    let settled = after.ask("A", success());
    assert_eq!(events(&settled), ["upstream.credential.restored", "upstream.vat.restored"]);
}

#[test]
fn a_stored_gate_of_a_credential_that_is_gone_is_ignored() {
    let mut world = World::new();
    world.gates.restore(Scope::Credential("gone".to_owned()), None, Some(Timestamp::MAX), START);
    world.gates.restore(Scope::Vat(vat("A")), None, None, START);
    world.check("A", "free");
}

#[test]
fn a_probe_that_a_crash_swallowed_is_made_again() {
    let mut world = World::new();
    let change = world.ask("A", Verdict::Unauthorized).changes.remove(0);
    world.wait(seconds(10));
    world.take("A");
    let mut after = World { now: world.now, ..World::new() };
    after.gates.restore(change.scope, change.hold, change.paused_until, after.now);
    after.check("A", "probe");
}

#[test]
fn holds_and_pauses_move_along_with_a_clock_that_jumped() {
    for jump_ms in [86_400_000, -86_400_000] {
        let mut held = World::new();
        let tickets = [held.take("A"), held.take("B")];
        held.settle(&tickets[0], Verdict::Forbidden);
        held.settle(&tickets[1], throttled(Some(7)));
        let mut refused = World::new();
        refused.ask("A", Verdict::Unauthorized);
        let mut down = World::new();
        fail(&mut down, OUTAGE_AFTER, &no_reply());
        for world in [&mut held, &mut refused, &mut down] {
            world.gates.shift(jump_ms);
            world.now = world.now.shifted(jump_ms);
        }
        held.check("B", "closed for 7s");
        held.check("A", "closed for 10s");
        held.wait(seconds(7));
        held.check("B", "free");
        held.check("A", "closed for 3s");
        refused.check("A", "closed for 10s");
        down.check("A", "closed for 10s");
    }
}

#[test]
fn a_clock_set_back_does_not_hide_failures() {
    let mut world = World::new();
    world.ask("A", success());
    world.gates.shift(-3_600_000);
    world.now = world.now.shifted(-3_600_000);
    let notices = fail(&mut world, OUTAGE_AFTER, &no_reply());
    assert!(
        matches!(notices.last(), Some(Notice::OutageBegan { n_failures: OUTAGE_AFTER, .. })),
        "{notices:?}"
    );
}

#[test]
fn a_clock_set_back_does_not_hide_refusals() {
    for verdict in [Verdict::Unauthorized, Verdict::Forbidden] {
        let mut world = World::new();
        world.ask("A", verdict.clone());
        world.wait(seconds(10));
        world.ask("A", success());
        world.check("A", "free");
        world.gates.shift(-3_600_000);
        world.now = world.now.shifted(-3_600_000);
        world.wait(seconds(1));
        assert_eq!(events(&world.ask("A", verdict)).len(), 1);
        world.check("A", "closed for 20s");
    }
}

/// A poller in small: always as many requests on their way as the gates allow, each answered after 200 ms.
/// Returns when each was sent, over this time.
fn play(
    world: &mut World,
    n_activities: usize,
    time: Duration,
    verdict: impl Fn(Timestamp) -> Verdict,
) -> (Vec<Timestamp>, Vec<&'static str>) {
    let latency = Duration::from_millis(200);
    let end = world.now + time;
    let mut asked_at = Vec::new();
    let mut announced = Vec::new();
    let mut in_flight: std::collections::VecDeque<(Timestamp, Ticket)> = Default::default();
    while world.now < end {
        while in_flight.front().is_some_and(|(due, _)| *due <= world.now) {
            let (_, ticket) = in_flight.pop_front().unwrap();
            let settled = world.settle(&ticket, verdict(world.now));
            announced.extend(events(&settled));
        }
        while in_flight.len() < n_activities && world.gates.free_slots() > 0 && world.is_open("A") {
            let ticket = world.take("A");
            asked_at.push(world.now);
            in_flight.push_back((world.now + latency, ticket));
        }
        world.wait(Duration::from_millis(50));
    }
    (asked_at, announced)
}

#[test]
fn ten_thousand_activities_behind_a_dead_token_cost_one_probe_an_interval() {
    let mut world = World::new();
    let (asked_at, announced) = play(&mut world, 10_000, seconds(3_600), |_| Verdict::Unauthorized);
    // A window of eight, probes after 10, 20 and 40 s, then one a minute.
    let n_intervals = 3 + 3_600 / 60;
    assert!(asked_at.len() <= FIRST_WINDOW + n_intervals, "{} requests", asked_at.len());
    assert!(asked_at.len() >= n_intervals - 3, "{} requests: it is probed to the end", asked_at.len());
    assert_eq!(announced, ["upstream.credential.held"]);
    for pair in asked_at[FIRST_WINDOW..].windows(2) {
        assert!(pair[1].since(pair[0]) >= seconds(10), "{pair:?}");
    }
}

#[test]
fn ten_thousand_activities_of_a_dead_upstream_cost_one_probe_an_interval() {
    let mut world = down();
    let (asked_at, announced) = play(&mut world, 10_000, seconds(3_600), |_| no_reply());
    let n_intervals = 3 + 3_600 / 30;
    assert!(asked_at.len() <= FIRST_WINDOW + n_intervals, "{} requests", asked_at.len());
    assert_eq!(announced, [] as [&str; 0]);
}

#[test]
fn a_token_that_comes_back_lets_all_of_them_through_again() {
    let mut world = World::new();
    let repaired_at = START + seconds(1_800);
    let (asked_at, announced) = play(&mut world, 10_000, seconds(1_900), |now| match now < repaired_at {
        true => Verdict::Unauthorized,
        false => success(),
    });
    assert_eq!(announced, ["upstream.credential.held", "upstream.credential.restored"]);
    let n_after = asked_at.iter().filter(|at| **at > repaired_at + seconds(61)).count();
    assert!(n_after > 5_000, "{n_after} requests after the repair");
}

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop_oneof![
        Just(success()),
        Just(Verdict::Strike(Findings::default())),
        Just(Verdict::Unauthorized),
        Just(Verdict::Forbidden),
        Just(no_reply()),
        Just(transient(TransientKind::InvalidResponse)),
        prop::option::of(0..200_u64).prop_map(throttled),
    ]
}

proptest! {
    #[test]
    fn no_order_of_answers_wedges_a_gate_or_announces_a_hold_twice(
        steps in prop::collection::vec(
            (prop::sample::select(vec!["A", "B"]), any_verdict(), 0..30_000_u64, 0..4_usize, 0..20_u8), 1..80,
        ),
    ) {
        let mut world = World::new();
        let mut in_flight: Vec<Ticket> = Vec::new();
        let mut is_held: BTreeMap<Scope, bool> = BTreeMap::new();
        let last = steps.len() - 1;
        for (index, (vat_text, verdict, wait_ms, lag, change)) in steps.into_iter().enumerate() {
            world.wait(Duration::from_millis(wait_ms));
            if change == 0 {
                world.gates.token_changed(MAIN, world.now, &serving());
            }
            if world.is_open(vat_text) {
                in_flight.push(world.take(vat_text));
            }
            while in_flight.len() > lag || (index == last && !in_flight.is_empty()) {
                let ticket = in_flight.remove(0);
                let settled = world.settle(&ticket, verdict.clone());
                for change in settled.changes {
                    let was_held = is_held.insert(change.scope.clone(), change.hold.is_some()).unwrap_or(false);
                    match change.event.map(|event| event.kind) {
                        Some(EventKind::CredentialHeld | EventKind::VatHeld) => prop_assert!(!was_held),
                        Some(EventKind::CredentialRestored | EventKind::VatRestored) => prop_assert!(was_held),
                        Some(other) => prop_assert!(false, "{other:?}"),
                        None => prop_assert_eq!(was_held, change.hold.is_some()),
                    }
                }
            }
        }
        // Nothing is on its way any more, so time alone opens every gate, for a probe at least.
        world.wait(seconds(300));
        prop_assert!(world.is_open("A"));
        prop_assert!(world.is_open("B"));
        prop_assert!(world.gates.free_slots() >= 1);
    }

    #[test]
    fn no_request_goes_out_before_the_pause_that_was_asked_for(pauses in prop::collection::vec(0..600_u64, 1..20)) {
        let mut world = World::new();
        let tickets: Vec<Ticket> = pauses.iter().map(|_| world.take("A")).collect();
        let mut earliest = START;
        for (ticket, pause) in tickets.iter().zip(&pauses) {
            world.settle(ticket, throttled(Some(*pause)));
            earliest = earliest.max(world.now + seconds(*pause));
            world.wait(Duration::from_millis(700));
        }
        for second in 0..700 {
            let now = START + seconds(second);
            if now >= world.now {
                let is_closed = matches!(world.gates.passage(&vat("A"), MAIN, now), Passage::Closed { .. });
                prop_assert_eq!(is_closed, now < earliest);
            }
        }
    }
}
