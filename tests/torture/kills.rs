//! Killed with -9 at any moment, hundreds of times over: nothing lost, nothing doubled, nothing changed.

use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::effort::{Luck, cycles, random_moment};
use crate::helpers::Setup;
use crate::ledger::{Ledger, Order, assert_whole, ended};
use crate::world::{VATS, World};

/// Kills of one database. Beyond that a new one is begun, so that the books stay small.
const CYCLES_OF_A_LIFE: u64 = 60;

/// Databases at the same time.
const LIVES_AT_ONCE: usize = 4;

/// Longest life of a daemon.
const LIFE: Duration = Duration::from_millis(500);

#[tokio::test(flavor = "multi_thread")]
async fn kills_at_random_moments_lose_double_and_change_nothing() {
    let mut n_left = cycles(240);
    let mut lives = JoinSet::new();
    for nth in 0.. {
        if n_left == 0 {
            break;
        }
        if lives.len() == LIVES_AT_ONCE {
            lives.join_next().await.unwrap().unwrap();
        }
        let n_cycles = n_left.min(CYCLES_OF_A_LIFE);
        n_left -= n_cycles;
        let luck = Luck::of("kills_at_random_moments_lose_double_and_change_nothing", nth, n_cycles);
        lives.spawn(async move { live(&luck).await });
    }
    while let Some(lived) = lives.join_next().await {
        lived.unwrap();
    }
}

/// One database and its kills.
async fn live(luck: &Luck) {
    let began_at = std::time::Instant::now();
    let world = World::start(luck.seed).await;
    let setup = world.setup();
    let mut ledger = Ledger::default();
    let mut rng = luck.draw(&["cycles"]);
    for cycle in 0..luck.n_cycles {
        if cycle == 0 || rng.bool() {
            let order = any_order(&mut rng, &world, &ledger, cycle);
            carry_out(&mut rng, &setup, &mut ledger, vec![order]).await;
        }
        let mut daemon = setup.spawn();
        let n_orders = rng.usize(0..4);
        let orders: Vec<_> = (0..n_orders).map(|_| any_order(&mut rng, &world, &ledger, cycle)).collect();
        // Some just when they have come, with an answer on its way.
        let regrets: Vec<_> = (0..rng.u8(0..3))
            .flat_map(|_| {
                orders.iter().find_map(|order| match order {
                    Order::Add(keys) => rng.choice(keys).cloned().map(Order::Cancel),
                    _ => None,
                })
            })
            .collect();
        match rng.u8(0..4) {
            // Within the start, which opens, recovers and maybe creates the database.
            0 => random_moment(&mut rng, LIFE / 10).await,
            // At whatever it is after so many requests and receipts more.
            1 => {
                let enough = world.n_seen() + rng.u64(1..40);
                let too_late = tokio::time::Instant::now() + LIFE;
                carry_out(&mut rng, &setup, &mut ledger, orders).await;
                carry_out(&mut rng, &setup, &mut ledger, regrets).await;
                while world.n_seen() < enough && tokio::time::Instant::now() < too_late {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
            2 => {
                carry_out(&mut rng, &setup, &mut ledger, orders).await;
                carry_out(&mut rng, &setup, &mut ledger, regrets).await;
                random_moment(&mut rng, LIFE).await;
            }
            // While it stops, or after that.
            _ => {
                random_moment(&mut rng, LIFE).await;
                daemon.signal("-TERM");
                random_moment(&mut rng, LIFE / 10).await;
            }
        }
        let status = daemon.kill_9();
        ledger.keep_output_of(&daemon);
        // One that was told to stop may have managed to, and one that was told so at its very start knows no better
        // than to die of it.
        let is_well = status.signal().is_some() || status.code() == Some(0);
        assert!(is_well, "cycle {cycle}, {status}: {}", daemon.stderr());
        if cycle % 20 == 19 {
            assert_whole(&setup).await;
        }
    }
    ledger.finish(&world, &setup).await;
    ledger.verify(&world, &setup, luck.seed).await;
    let n_events = setup.number("SELECT count(*) FROM report_events").await;
    println!(
        "{} kills, {} activities, {n_events} events, {} requests and receipts, {:.1?}",
        luck.n_cycles,
        ledger.activities().len(),
        world.n_seen(),
        began_at.elapsed()
    );
}

/// Gives orders at the same time, and kills some of the processes that carry them out.
pub async fn carry_out(rng: &mut fastrand::Rng, setup: &Setup, ledger: &mut Ledger, orders: Vec<Order>) {
    let given: Vec<_> = orders
        .into_iter()
        .map(|order| {
            let child = ledger.give(setup, &order);
            let kill_after = (rng.u8(0..4) == 0).then(|| Duration::from_millis(40).mul_f64(rng.f64()));
            (order, tokio::spawn(ended(child, kill_after)))
        })
        .collect();
    for (order, child) in given {
        ledger.note(&order, child.await.unwrap());
    }
}

pub fn any_order(rng: &mut fastrand::Rng, world: &World, ledger: &Ledger, cycle: u64) -> Order {
    let known = ledger.activities();
    let key = rng.choice(&known).cloned();
    let recent = rng.choice(ledger.recent_activities()).cloned();
    let cancelled = rng.choice(&ledger.cancelled_activities()).cloned();
    match (rng.u8(0..12), key) {
        // While its answer is on its way, with luck.
        (0 | 10, Some(_)) => Order::Cancel(recent.unwrap()),
        (1, Some(key)) => Order::Retry(key),
        (2 | 11, Some(key)) => Order::Retry(cancelled.unwrap_or(key)),
        (3, Some(key)) => Order::Poll(key),
        (4, Some(_)) if !world.book().received.is_empty() => {
            Order::Redeliver(rng.choice(&world.book().received).unwrap().event_id.clone())
        }
        // Some are added for the second time.
        (5, Some(key)) => Order::Add(vec![key]),
        _ => {
            let vat = (*rng.choice(&VATS).unwrap()).to_owned();
            let (n, mark) = (rng.u8(1..16), rng.u16(..));
            Order::Add((0..n).map(|n| (vat.clone(), format!("act-{cycle}-{mark:04x}-{n}"))).collect())
        }
    }
}
