//! What one look at the schedule hands out, and how it moves with the clock.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use pcsid_watch::clock::Clock;
use pcsid_watch::domain::activity::{Registration, Vat};
use pcsid_watch::domain::serving::Serving;
use pcsid_watch::domain::time::Timestamp;
use pcsid_watch::domain::turns::Wanted;
use pcsid_watch::store::{Address, Duties, Jump, Member, Record, Store};

use crate::helpers::{OTHER_VAT, Setup, VAT};

const UPSTREAM: &str = "http://127.0.0.1:9";
const START: Timestamp = Timestamp::from_millis(1_780_000_000_000);

async fn store_of(setup: &Setup) -> Store {
    Store::open(&Address::parse(&setup.database_url(), None, None).unwrap(), Vec::new()).await.unwrap()
}

async fn register(store: &Store, vat: &str, ids: impl IntoIterator<Item = String>, now: Timestamp) {
    let many = ids.into_iter().map(|id| Registration::parse(vat, &id, None, None).unwrap());
    let none: &[Vat] = &[];
    let (serving, interval) = (Serving::new([("main", none)]), Duration::from_secs(1));
    store.intake().register(&many.collect::<Vec<_>>(), UPSTREAM, &serving, interval, now).await.unwrap();
}

async fn join(store: &Store) -> Member {
    let duties = Duties { credentials: vec!["main".to_owned()], sinks: Vec::new() };
    store.join(&duties, &Arc::new(Clock::default())).await.unwrap()
}

fn wanted(n_longest_due: usize, n_in_turn: usize) -> Wanted {
    Wanted {
        credential: "main".into(),
        n_longest_due,
        n_in_turn,
        after: 0,
        passing: Vec::new(),
        n_probes: 0,
        held_vats: Vec::new(),
    }
}

#[tokio::test]
async fn few_vats_are_looked_through_by_age_however_much_is_claimed() {
    let setup = Setup::new(UPSTREAM, "");
    let store = store_of(&setup).await;
    let mut now = START;
    for vat in [VAT, OTHER_VAT] {
        register(&store, vat, (0..600).map(|n| format!("act-{n}")), now).await;
        now = now + Duration::from_secs(1);
    }
    let member = join(&store).await;
    let polls = member.work().polls(&["main".to_owned()], true);
    let wanted = wanted(200, 0);
    let mut keys = HashSet::new();
    // The older VAT first, all of it, and then the other one.
    for vat in [VAT; 3].into_iter().chain([OTHER_VAT; 3]) {
        let found = polls.look(std::slice::from_ref(&wanted), now).await.unwrap().remove(0).longest_due;
        assert_eq!(found.len(), 200, "with {} claimed", polls.n_claimed());
        for claimed in found {
            assert_eq!(claimed.activity.vat.as_str(), vat);
            assert!(polls.claim(&claimed) && keys.insert(claimed.key));
        }
    }
    let rest = polls.look(&[wanted], now).await.unwrap().remove(0).longest_due;
    assert!(rest.is_empty(), "all 1,200 are claimed");
}

#[tokio::test]
async fn a_look_where_all_is_claimed_says_so_and_finds_the_one_that_is_not() {
    let setup = Setup::new(UPSTREAM, "");
    let store = store_of(&setup).await;
    for n in 0..15 {
        register(&store, &format!("3{n:013}3"), ["act".to_owned()], START).await;
    }
    let member = join(&store).await;
    let polls = member.work().polls(&["main".to_owned()], true);
    let found = polls.look(&[wanted(0, 100)], START).await.unwrap().remove(0).in_turn;
    assert_eq!(found.len(), 15);
    assert!(found.iter().all(|claimed| polls.claim(claimed)));
    let found = polls.look(&[wanted(0, 2)], START).await.unwrap().remove(0);
    assert!(found.in_turn.is_empty());
    assert_eq!(found.stopped_at, None, "there is no reason to look at once again");
    register(&store, OTHER_VAT, ["act".to_owned()], START).await;
    let found = polls.look(&[wanted(0, 2)], START).await.unwrap().remove(0);
    let vats: Vec<_> = found.in_turn.iter().map(|claimed| claimed.activity.vat.as_str()).collect();
    assert_eq!(vats, [OTHER_VAT]);
}

#[tokio::test]
async fn what_is_planned_moves_with_the_clock_unless_a_command_wrote_it_under_the_new_one() {
    const HOUR: i64 = 3_600_000;
    // How long the jump is, whether no daemon ran then, the row's distance from the new time, and by how much it moves.
    for (delta_ms, while_absent, since_now, moves_by) in [
        // From before the jump, however old.
        (-HOUR, false, HOUR - 1_000, -HOUR),
        (-HOUR, false, HOUR / 3, -HOUR),
        (-HOUR, false, -40_000, -HOUR),
        (-24 * HOUR, false, 11 * HOUR, -24 * HOUR),
        (HOUR, false, -HOUR - 1_000, HOUR),
        (HOUR, false, -HOUR / 3, HOUR),
        (-HOUR, true, HOUR / 3, -HOUR),
        (1_000 * HOUR, true, -1_000 * HOUR, 1_000 * HOUR),
        // Since the jump.
        (-HOUR, false, -1_000, 0),
        (HOUR, false, -1_000, 0),
        (-HOUR, true, -600_000, 0),
        (1_000 * HOUR, true, -600_000, 0),
    ] {
        let setup = Setup::new(UPSTREAM, "");
        let store = store_of(&setup).await;
        let (now, row_at) = (START.shifted(delta_ms), START.shifted(delta_ms + since_now));
        register(&store, VAT, ["act".to_owned()], row_at).await;
        let member = join(&store).await;
        let jump = Record::ClockJump(Jump { delta_ms, now, while_absent });
        member.work().record(&[Record::Heartbeat(START), jump].into()).await.unwrap();
        for (table, column) in [("schedules", "next_poll_at"), ("activities", "watched_from")] {
            let at = setup.number(&format!("SELECT {column} FROM {table}")).await;
            let moved_by = at - row_at.as_millis();
            assert_eq!(moved_by, moves_by, "{column}: {delta_ms} {while_absent} {since_now}");
        }
    }
}
