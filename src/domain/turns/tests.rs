//! Who is next, played through against a schedule in memory.

use proptest::prelude::*;

use super::memory::{MemoryActivity, MemorySchedule};
use super::*;
use crate::domain::backoff::Backoff;
use crate::domain::classify::{Observation, Verdict};
use crate::domain::quota::Quota;

const START: Timestamp = Timestamp::from_millis(1_772_430_000_000);
const MAIN: &str = "main";

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn vat(key: i64) -> Vat {
    Vat::parse(&format!("V{key}")).unwrap()
}

/// Time moves by a second for each request, and each credential's quota allows a request in that time.
struct World {
    gates: Gates,
    serving: Serving,
    turns: Turns,
    rows: BTreeMap<String, MemorySchedule>,
    n_rows: usize,
    now: Timestamp,
    instant: Instant,
}

impl World {
    /// One credential, or several that are named for the VATs they serve.
    fn new(credentials: &[(&str, &[i64])], per_minute: u32) -> Self {
        let instant = Instant::now();
        let vats: Vec<Vec<Vat>> =
            credentials.iter().map(|(_, keys)| keys.iter().map(|key| vat(*key)).collect()).collect();
        let serving = credentials.iter().zip(&vats).map(|((name, _), vats)| (*name, vats.as_slice()));
        let names = credentials.iter().map(|(name, _)| (*name).to_owned());
        let quota = Quota::new(per_minute, Duration::MAX, instant);
        Self {
            gates: Gates::new(
                Backoff::new(seconds(10), 2.0, seconds(60), 0.0),
                1_000_000,
                names.clone().map(|name| (name, quota.clone())),
            ),
            serving: Serving::new(serving),
            turns: Turns::new(names, BY_AGE),
            rows: BTreeMap::new(),
            n_rows: 0,
            now: START,
            instant,
        }
    }

    fn add(&mut self, vat_key: i64, due_at: Timestamp) -> usize {
        let key = self.n_rows;
        self.n_rows += 1;
        let credential = self.serving.credential_of(&vat(vat_key)).unwrap().to_owned();
        let row = MemoryActivity { key, vat_key, vat: vat(vat_key), due_at: due_at.as_millis() };
        self.rows.entry(credential).or_default().insert(&row);
        key
    }

    fn add_many(&mut self, vat_key: i64, n: usize) {
        for _ in 0..n {
            self.add(vat_key, START);
        }
    }

    /// A held VAT leaves the schedule's order; it is found only by its name.
    fn hold(&mut self, vat_key: i64) {
        let (credential, vat) = (self.serving.credential_of(&vat(vat_key)).unwrap().to_owned(), vat(vat_key));
        let ticket = self.gates.take(&vat, &credential, true, self.now);
        let forbidden = Observation { http_status: None, verdict: Verdict::Forbidden, final_body: None };
        self.gates.settle(&ticket, &forbidden, self.now, 0.5);
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
        self.instant += time;
    }

    /// One look. What it hands out is asked for at once.
    fn look(&mut self) -> Vec<Turn<MemoryActivity>> {
        let none_ready = BTreeMap::new();
        let (wanted, _) =
            self.turns.wanted(&mut self.gates, &self.serving, &none_ready, self.now, self.instant);
        let looked = wanted.into_iter().map(|wanted| {
            let rows = self.rows.entry(wanted.credential.to_string()).or_default();
            let found = rows.look(&wanted, self.now.as_millis());
            (wanted, found)
        });
        let turns = self.turns.plan(looked.collect(), &mut self.gates, self.now);
        for turn in &turns {
            self.gates.take(turn.activity.vat(), &turn.credential, true, self.now);
            self.rows.get_mut(&*turn.credential).unwrap().remove(&turn.activity);
        }
        turns
    }

    /// The VATs of the next `n` requests.
    fn ask(&mut self, n: usize) -> Vec<i64> {
        let mut asked = Vec::new();
        let mut n_looks = 0;
        while asked.len() < n {
            asked.extend(self.look().into_iter().map(|turn| turn.activity.vat_key));
            n_looks += 1;
            assert!(n_looks < 10 * n + 100, "{} of {n} in {n_looks} looks", asked.len());
            self.turns.look_again();
            self.wait(seconds(1));
        }
        asked
    }
}

fn one_credential(per_minute: u32) -> World {
    World::new(&[(MAIN, &[])], per_minute)
}

#[test]
fn requests_are_shared_by_age_by_turns_and_for_probes() {
    // Where the lane stands, budget, VATs to probe: by age, by turns, for probes.
    let (short, ample) = (true, false);
    for (n_asked, budget, quota, n_held, expected) in [
        (0, 1, short, 0, (0, 1, 0)),
        (1, 1, short, 0, (1, 0, 0)),
        (2, 1, short, 0, (0, 1, 0)),
        (0, 1, short, 1, (0, 0, 1)),
        (1, 1, short, 1, (1, 0, 0)),
        (0, 8, short, 5, (4, 3, 1)),
        (0, 16, short, 5, (8, 6, 2)),
        (0, 16, short, 1, (8, 7, 1)),
        (3, 5, short, 0, (3, 2, 0)),
        (0, LOOK - 1, short, 0, (127, 128, 0)),
        // Room for all that one look claims and more: nobody waits, all by turns.
        (0, LOOK, ample, 0, (0, LOOK, 0)),
        (0, LOOK, ample, 100, (0, LOOK - 32, 32)),
    ] {
        let mut lane =
            Lane { after: 0, passing: BTreeSet::new(), n_asked, look_at: AT_ONCE, probe_at: AT_ONCE };
        let Shares { longest_due, in_turn, held_vats } = lane.share(budget, quota, n_held, BY_AGE);
        assert_eq!((longest_due, in_turn, held_vats), expected, "{n_asked}, {budget}, {quota}, {n_held}");
    }
}

#[test]
fn a_look_claims_a_bounded_number_however_many_credentials_there_are() {
    for (n_credentials, of_each) in [(1, LOOK), (16, LOOK), (64, 64), (100, 40), (LOOK_OF_ALL + 1, 1)] {
        let credentials: Vec<_> = (0..n_credentials).map(|n| (format!("c{n}"), [n as i64 + 1])).collect();
        let credentials: Vec<_> = credentials.iter().map(|(name, vats)| (name.as_str(), &vats[..])).collect();
        let mut world = World::new(&credentials, 0);
        let (wanted, _) =
            world.turns.wanted(&mut world.gates, &world.serving, &BTreeMap::new(), world.now, world.instant);
        assert_eq!(wanted.len(), n_credentials);
        assert!(wanted.iter().all(|one| (one.n_in_turn, one.n_longest_due) == (of_each, 0)), "{wanted:?}");
    }
}

#[test]
fn a_vat_with_thousands_delays_no_other_by_more_than_a_round() {
    let mut world = one_credential(60);
    world.add_many(1, 20_000);
    for vat_key in 2..=1_001 {
        // They come later, so that none of them is ever the longest due.
        world.add(vat_key, START);
    }
    let asked = world.ask(2 * 1_001 + 1);
    for vat_key in 2..=1_001 {
        assert!(asked.contains(&vat_key), "VAT {vat_key} waits for more than a round");
    }
}

#[test]
fn the_longest_due_gets_every_other_request_whatever_others_have() {
    let mut world = one_credential(60);
    // Small VATs that have something due all the time.
    for vat_key in 2..=100 {
        world.add_many(vat_key, 50);
    }
    // One VAT whose ten have been due for longer, a millisecond apart.
    for n in 0..10 {
        world.add(1, START.shifted(-1_000 + n));
    }
    let asked = world.ask(20);
    assert_eq!(asked.iter().filter(|vat_key| **vat_key == 1).count(), 10, "{asked:?}");
}

#[test]
fn a_round_gives_each_vat_one_turn_before_any_its_second() {
    let mut world = one_credential(0);
    for (vat_key, n) in [(1, 5), (2, 1), (3, 3)] {
        world.add_many(vat_key, n);
    }
    assert_eq!(world.ask(9), [1, 2, 3, 1, 3, 1, 3, 1, 1]);
}

#[test]
fn turns_go_on_where_the_last_look_ended() {
    let mut world = one_credential(60);
    for vat_key in 1..=5 {
        world.add_many(vat_key, 100);
    }
    // Every other one is by age, which is the same for all here: VAT 1, which passes its turns on.
    let by_turn: Vec<i64> = world.ask(20).into_iter().step_by(2).collect();
    assert_eq!(by_turn, [1, 2, 3, 4, 5, 2, 3, 4, 5, 2]);
}

#[test]
fn a_vat_that_passes_its_turn_on_has_it_where_no_other_is_due() {
    let mut world = one_credential(60);
    world.add_many(1, 10);
    assert_eq!(world.ask(10), [1; 10]);
}

#[test]
fn where_more_vats_are_due_than_one_look_reads_each_has_its_turn_in_a_round() {
    let n_vats = 3 * LOOK_STEPS as i64;
    let mut world = one_credential(0);
    for vat_key in 1..=n_vats {
        world.add_many(vat_key, 2);
    }
    let mut first_round = world.ask(n_vats as usize);
    first_round.sort_unstable();
    assert_eq!(first_round, (1..=n_vats).collect::<Vec<_>>());
}

#[test]
fn a_walk_passes_vats_by_that_have_nothing_due_and_gets_round() {
    let n_vats = 20 * LOOK_STEPS as i64;
    let mut world = one_credential(0);
    for vat_key in 1..=n_vats {
        // One in ten is due: more than one look reads.
        world.add(vat_key, if vat_key % 10 == 0 { START } else { START + seconds(86_400) });
    }
    let mut asked = world.ask(n_vats as usize / 10);
    asked.sort_unstable();
    assert_eq!(asked, (1..=n_vats).filter(|vat_key| vat_key % 10 == 0).collect::<Vec<_>>());
}

#[test]
fn credentials_take_turns_and_none_spends_another_s_quota() {
    let mut world = World::new(&[("a", &[1]), ("b", &[2]), ("c", &[3])], 0);
    for (vat_key, n) in [(1, 1_000), (2, 2), (3, 1)] {
        world.add_many(vat_key, n);
    }
    assert_eq!(world.ask(7)[..7], [1, 2, 3, 1, 2, 1, 1]);

    let vats: Vec<Vec<i64>> = (0..100).map(|n| vec![n]).collect();
    let names: Vec<String> = (0..100).map(|n| format!("credential {n}")).collect();
    let credentials: Vec<(&str, &[i64])> =
        names.iter().zip(&vats).map(|(name, vats)| (name.as_str(), vats.as_slice())).collect();
    let mut world = World::new(&credentials, 60);
    for vat_key in 0..100 {
        world.add_many(vat_key, if vat_key == 0 { 10_000 } else { 20 });
    }
    let asked = world.ask(1_000);
    for vat_key in 0..100 {
        assert_eq!(asked.iter().filter(|asked| **asked == vat_key).count(), 10, "VAT {vat_key}");
    }
}

#[test]
fn what_has_been_held_since_it_was_read_takes_no_turn() {
    let mut world = one_credential(0);
    world.add_many(1, 10);
    world.add_many(2, 10);
    world.hold(1);
    // The schedule still hands them out.
    assert_eq!(world.ask(10), [2; 10]);
}

#[test]
fn a_held_credential_takes_no_turn_and_is_probed_with_one_activity() {
    let mut world = World::new(&[("a", &[1]), ("b", &[2])], 0);
    let ticket = world.gates.take(&vat(1), "a", true, world.now);
    let refused = Observation { http_status: None, verdict: Verdict::Unauthorized, final_body: None };
    world.gates.settle(&ticket, &refused, world.now, 0.5);
    // None of them is due yet.
    for vat_key in [1, 2] {
        world.add(vat_key, START + seconds(3_600));
        world.add(vat_key, START + seconds(3_600));
    }
    assert_eq!(world.look(), []);
    world.wait(seconds(10));
    let probes: Vec<i64> = world.look().into_iter().map(|turn| turn.activity.vat_key).collect();
    assert_eq!(probes, [1]);
    assert_eq!(world.look(), [], "it is on its way");
}

#[test]
fn held_vats_are_probed_first_but_with_one_request_in_eight_at_most() {
    let mut world = one_credential(60);
    world.add_many(1, 10_000);
    for vat_key in 1_001..=1_100 {
        world.hold(vat_key);
        // Of held VATs the schedule hands out nothing but a probe.
        world.add(vat_key, START + seconds(86_400));
    }
    world.wait(seconds(10));
    let asked = world.ask(80);
    let n_probes = asked.iter().filter(|vat_key| **vat_key > 1_000).count();
    assert_eq!(n_probes, 10, "{asked:?}");
}

#[test]
fn where_nothing_else_is_due_held_vats_are_probed_as_fast_as_the_quota_allows() {
    let mut world = one_credential(60);
    for vat_key in 1..=20 {
        world.hold(vat_key);
        world.add(vat_key, START + seconds(86_400));
    }
    world.wait(seconds(60));
    let mut asked = Vec::new();
    for _ in 0..25 {
        // Nothing happens in between that would ask for another look.
        asked.extend(world.look().into_iter().map(|turn| turn.activity.vat_key));
        world.wait(seconds(1));
    }
    asked.sort_unstable();
    assert_eq!(asked, (1..=20).collect::<Vec<_>>());
}

#[test]
fn a_held_vat_without_activities_is_not_looked_for_all_the_time() {
    let mut world = one_credential(0);
    world.hold(1);
    world.wait(seconds(10));
    let wanted = |world: &mut World| {
        world.turns.wanted(&mut world.gates, &world.serving, &BTreeMap::new(), world.now, world.instant).0
    };
    assert_eq!(wanted(&mut world)[0].held_vats, [vat(1)]);
    assert_eq!(world.look(), []);
    assert_eq!(wanted(&mut world), [], "nothing is due and nothing is to be probed");
    world.wait(seconds(60));
    assert_eq!(wanted(&mut world)[0].held_vats, [vat(1)]);
}

#[test]
fn a_probe_that_can_not_be_sent_puts_no_other_off() {
    let mut world = World::new(&[(MAIN, &[]), ("other", &[2])], 0);
    world.add(1, START);
    world.add(2, START);
    world.hold(1);
    world.wait(seconds(4));
    world.hold(2);
    let pause = Observation {
        http_status: None,
        verdict: Verdict::Throttled { retry_after: Some(seconds(3_600)) },
        final_body: None,
    };
    let ticket = world.gates.take(&vat(1), MAIN, true, world.now);
    world.gates.settle(&ticket, &pause, world.now, 0.5);
    // The first one's probe is due, and its credential pauses.
    world.wait(seconds(7));
    assert_eq!(world.look().len(), 0);
    let (_, next_look) =
        world.turns.wanted(&mut world.gates, &world.serving, &BTreeMap::new(), world.now, world.instant);
    assert_eq!(next_look, START + seconds(14), "when the other one's probe is due");
    world.wait(seconds(3));
    assert_eq!(world.look().iter().map(|turn| turn.activity.vat_key).collect::<Vec<_>>(), [2]);
}

#[test]
fn an_upstream_that_was_never_reached_is_probed_by_several_activities_at_once() {
    let mut world = one_credential(0);
    world.add_many(1, 100);
    let no_reply = Verdict::Transient {
        kind: crate::domain::classify::TransientKind::NoReply,
        detail: "connection refused".to_owned(),
        unknown_status: None,
    };
    for _ in 0..crate::domain::gate::OUTAGE_AFTER {
        let ticket = world.gates.take(&vat(1), MAIN, true, world.now);
        let silent = Observation { http_status: None, verdict: no_reply.clone(), final_body: None };
        world.gates.settle(&ticket, &silent, world.now, 0.5);
    }
    assert_eq!(world.look(), []);
    world.wait(seconds(10));
    assert_eq!(world.look().len(), 8);
    assert_eq!(world.look(), [], "no more until one of them is answered");
}

#[test]
fn the_next_look_is_when_something_falls_due_or_the_quota_allows_it() {
    let mut world = one_credential(60);
    let next_look = |world: &mut World| {
        let none_ready = BTreeMap::new();
        let (wanted, at) =
            world.turns.wanted(&mut world.gates, &world.serving, &none_ready, world.now, world.instant);
        (wanted.len(), at.since(world.now))
    };
    world.add(1, START);
    world.add(1, START + seconds(30));
    assert_eq!(world.look().len(), 1);
    assert_eq!(next_look(&mut world), (0, seconds(1)), "for the quota");
    world.wait(seconds(1));
    assert_eq!(world.look(), []);
    assert_eq!(next_look(&mut world), (0, seconds(29)), "for the second one");
    world.wait(seconds(29));
    assert_eq!(world.look().len(), 1);
    world.wait(seconds(10));
    assert_eq!(world.look(), []);
    assert_eq!(next_look(&mut world), (0, LOOK_AT_LEAST_EVERY), "for what nobody has told of");
    world.turns.look_again();
    assert_eq!(next_look(&mut world).0, 1, "something has happened");
}

proptest! {
    #[test]
    fn every_activity_that_is_due_is_asked_once_and_no_look_hands_out_more_than_the_quota(
        sizes in prop::collection::vec((1_i64..500, 1_usize..40), 1..40),
        per_minute in prop_oneof![Just(0_u32), 20_u32..3_000],
        held in prop::collection::vec(500_i64..600, 0..20),
    ) {
        let mut world = one_credential(per_minute);
        let mut expected = 0;
        for (vat_key, n) in sizes {
            world.add_many(vat_key, n);
            expected += n;
        }
        for vat_key in held {
            world.hold(vat_key);
        }
        let mut keys = Vec::new();
        for _ in 0..20_000 {
            if keys.len() == expected {
                break;
            }
            let quota = world.gates.quota_available(MAIN, world.instant);
            let turns = world.look();
            prop_assert!(turns.len() <= quota.min(LOOK), "{} for a quota of {quota}", turns.len());
            keys.extend(turns.into_iter().map(|turn| turn.activity.key));
            world.turns.look_again();
            world.wait(seconds(1));
        }
        keys.sort_unstable();
        prop_assert_eq!(keys, (0..expected).collect::<Vec<_>>());
    }

    #[test]
    fn between_two_turns_of_a_vat_every_other_one_with_something_due_has_had_one(
        sizes in prop::collection::vec(1_usize..30, 2..30), per_minute in 60_u32..600,
    ) {
        let mut world = one_credential(per_minute);
        for (vat_key, n) in (1..).zip(&sizes) {
            world.add_many(vat_key, *n);
        }
        let n_all: usize = sizes.iter().sum();
        // A turn of every other one and as many by age, and what one look hands out, for turns and age are mixed in it.
        let longest_wait = 2 * sizes.len() + per_minute as usize / 20 + 1;
        let asked = world.ask(n_all);
        let mut left: Vec<usize> = sizes.clone();
        let mut waits = vec![0; sizes.len()];
        for vat_key in asked {
            for (nth, n_left) in left.iter_mut().enumerate() {
                if nth as i64 + 1 == vat_key {
                    *n_left -= 1;
                    waits[nth] = 0;
                } else if *n_left > 0 {
                    waits[nth] += 1;
                    prop_assert!(waits[nth] <= longest_wait, "VAT {} waits for {} others", nth + 1, waits[nth]);
                }
            }
        }
    }
}
