//! Whose turn it is: claims what is due, half of it by age and half by VATs in turns where the quota is short.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::domain::gate::Passage;
use crate::domain::time::Timestamp;
use crate::store::{Claimed, Store, StoreError, VatHead};

/// Activities claimed in one go. Few enough that a command's change is soon seen, enough that a claim's cost is shared.
pub(super) const CLAIM: usize = 256;

/// An activity whose turn it is.
#[derive(Debug)]
pub(super) struct Turn {
    pub(super) claimed: Claimed,
    pub(super) credential: String,
}

/// What may be asked for with one credential now.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) credential: String,
    /// Requests that its quota allows; at least 1.
    pub(super) budget: usize,
    /// How many of them go to the longest due of all.
    pub(super) n_longest_due: usize,
    /// VATs in the order of their turns.
    pub(super) heads: Vec<(VatHead, Passage)>,
}

/// Claims what each credential may be asked for. Credentials take turns, so that a large one does not go wholly before
/// a small one.
pub(super) async fn claim(
    store: &Store,
    in_flight: &HashSet<i64>,
    rounds: Vec<Round>,
    now: Timestamp,
) -> Result<Vec<Turn>, StoreError> {
    let mut turns = Vec::new();
    for Round { credential, budget, n_longest_due, mut heads } in rounds {
        let longest_due = longest_due(store, in_flight, &heads, n_longest_due, now).await?;
        let taken: HashSet<i64> =
            in_flight.iter().copied().chain(longest_due.iter().map(|claimed| claimed.key)).collect();
        let budget = budget - longest_due.len();
        heads.truncate(budget);
        let keys = |wanted: Passage| -> Vec<i64> {
            heads.iter().filter(|(_, passage)| *passage == wanted).map(|(head, _)| head.key).collect()
        };
        let limit = budget.div_ceil(heads.len().max(1));
        let mut claimed = store.claim(&keys(Passage::Free), limit, now, &taken).await?;
        // A probe asks ahead of the time: what a gate holds back need not wait for an activity's own turn. The
        // one with the least trouble of its own tells most.
        let mut probes = store.claim_probes(&keys(Passage::Probe), &taken).await?;
        probes.sort_by_key(|claimed| claimed.activity.consecutive_errors);
        let order: Vec<i64> =
            probes.iter().map(|claimed| claimed.vat_key).chain(keys(Passage::Free)).collect();
        claimed.extend(probes);
        let by_turn = in_rounds(claimed, &order, budget);
        let turn = |claimed| Turn { claimed, credential: credential.clone() };
        turns.push(interleave(vec![longest_due, by_turn]).into_iter().map(turn).collect());
    }
    Ok(interleave(turns))
}

/// The `n` longest due of all that may be asked for, whichever their VAT.
///
/// Of a VAT no more are read than keeps a look short: where many VATs have many that are due, a few of the longest due
/// give way to others that are due nearly as long.
async fn longest_due(
    store: &Store,
    in_flight: &HashSet<i64>,
    heads: &[(VatHead, Passage)],
    n: usize,
    now: Timestamp,
) -> Result<Vec<Claimed>, StoreError> {
    let free = heads.iter().filter(|(_, passage)| *passage == Passage::Free);
    let mut first: Vec<_> = free.map(|(head, _)| (head.next_poll_at, head.key)).collect();
    first.sort_unstable();
    first.truncate(n);
    // None of them is due later than the last of `n` heads.
    let until = first.last().filter(|_| first.len() == n).map_or(now, |(due_at, _)| *due_at);
    let keys: Vec<_> = first.into_iter().map(|(_, key)| key).collect();
    let limit = n.min((4 * CLAIM).div_ceil(keys.len().max(1)));
    let mut claimed = store.claim(&keys, limit, until, in_flight).await?;
    claimed.truncate(n);
    Ok(claimed)
}

/// Orders claimed activities so that each VAT has one turn before any has its second, and keeps `budget`.
fn in_rounds(claimed: Vec<Claimed>, order: &[i64], budget: usize) -> Vec<Claimed> {
    let mut by_vat: HashMap<i64, VecDeque<Claimed>> = HashMap::new();
    for claimed in claimed {
        by_vat.entry(claimed.vat_key).or_default().push_back(claimed);
    }
    let lists = order.iter().filter_map(|key| by_vat.remove(key)).map(Vec::from).collect();
    interleave(lists).into_iter().take(budget).collect()
}

/// The first of each list, then the second of each, and so on.
fn interleave<T>(lists: Vec<Vec<T>>) -> Vec<T> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut merged = Vec::new();
    while !lists.is_empty() {
        lists.retain_mut(|list| match list.next() {
            Some(item) => {
                merged.push(item);
                true
            }
            None => false,
        });
    }
    merged
}
