//! Decides which activity is polled next. Pure: it plans, and the store reads.
//!
//! One look at the schedule has three steps. [`Turns::wanted`] says what to read for each credential, from its quota
//! and its gates. The store reads that, a bounded number of rows however many are stored ([`Found`]). [`Turns::plan`]
//! puts what was found in order and remembers whose turn is next.
//!
//! The rules:
//!
//! - **Credentials take turns**: the first activity of each, then the second of each, and so on.
//! - **Half by age, half by turns.** Where the quota is short, every other request of a credential goes to the activity
//!   that has been due for longest, whichever its VAT. The other requests go to VATs in turn, by a cursor over their
//!   keys: no VAT gets a second turn in a round before every VAT with something due has had its first. A VAT that got a
//!   request by age passes its next turn on. Where the quota allows [`LOOK`] requests and more, all go by turns, and
//!   nobody waits long.
//! - **Probes come first, and are few.** Probes of closed gates go before anything else. Held VATs together get at most
//!   one request in `PROBE_SHARE`, so that many of them don't take the quota from those that work.
//! - **A held VAT or credential takes no turn.** The store leaves it out without reading it.
//!
//! Half by age alone would let one VAT with thousands of activities keep others waiting for hours, half by turns alone
//! would let many small VATs do the same to a large one; `docs/performance.md` has the numbers.
//!
//! What is remembered for each credential is bounded: nothing grows with VATs or activities.

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::activity::Vat;
use super::gate::{Gates, Passage};
use super::serving::Serving;
use super::time::Timestamp;

/// Activities that one look claims for a credential at most. Few enough that a command's change is seen soon, enough that
/// the cost of a look is shared.
pub const LOOK: usize = 256;

/// Activities that one look claims for all credentials together, since what is claimed is in memory. Each gets at least
/// one, however many credentials there are.
const LOOK_OF_ALL: usize = 4_096;

/// Most VATs that the store reads for the turns of one look. If more are due, the next look continues after the last
/// key.
pub const LOOK_STEPS: usize = 1_024;

/// If the quota is short, one in so many requests of a credential goes to the activity that has been due for longest.
pub const BY_AGE: u64 = 2;

/// At most one in so many requests of a credential probes a held VAT, while other VATs are due.
const PROBE_SHARE: u64 = 8;

/// Longest wait between two looks.
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(60);

/// Wait while as much is ready as the quota allows, so that only a free slot is missing.
const WITH_ENOUGH_READY: Duration = Duration::from_millis(100);

/// Wait after a look that walked over [`LOOK_STEPS`] VATs of which none had anything to hand out.
const BETWEEN_STEPS: Duration = Duration::from_millis(10);

/// Earlier than the time of any look.
const AT_ONCE: Timestamp = Timestamp::from_millis(i64::MIN);

/// An activity that may be asked for.
pub trait Candidate {
    /// The key of its VAT: turns go by these.
    fn vat_key(&self) -> i64;
    /// Its VAT.
    fn vat(&self) -> &Vat;
}

/// What to read for one credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The credential's name.
    pub credential: Arc<str>,
    /// At most so many of those that have been due for longest, whichever their VAT.
    pub n_longest_due: usize,
    /// At most so many of VATs in turn, other ones than those: each VAT's longest due.
    pub n_in_turn: usize,
    /// The first turn is of the first VAT whose key is beyond this; after the last VAT comes the first.
    pub after: i64,
    /// VATs that pass their turn on, unless all others have had theirs.
    pub passing: Vec<i64>,
    /// At most so many to probe a closed gate with, due or not, of VATs that are not held.
    pub n_probes: usize,
    /// Held VATs: one activity of each to probe with, due or not.
    pub held_vats: Vec<Vat>,
}

/// What the schedule has of it. Nothing here is claimed already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found<T> {
    /// The longest due first.
    pub longest_due: Vec<T>,
    /// In the order of the VATs' turns. Where fewer VATs are due than activities are wanted, equally many of each: a
    /// few more than wanted in all, of which the last are left out.
    pub in_turn: Vec<T>,
    /// The key of the last VAT that was read for the turns, where reading stopped before all VATs had been seen.
    pub stopped_at: Option<i64>,
    /// To probe with.
    pub probes: Vec<T>,
    /// When the first activity falls due that is not due yet.
    pub next_due_at: Option<Timestamp>,
}

/// An activity whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn<T> {
    /// With which credential.
    pub credential: Arc<str>,
    /// The activity.
    pub activity: T,
}

/// Whose turn is next, for each credential.
#[derive(Debug)]
pub struct Turns {
    lanes: BTreeMap<Arc<str>, Lane>,
    by_age: u64,
}

/// The turns of one credential's VATs.
#[derive(Debug)]
struct Lane {
    /// The VAT that had the last turn.
    after: i64,
    /// VATs that got a request by age since their last turn; at most [`LOOK_STEPS`] are remembered.
    passing: BTreeSet<i64>,
    /// Counts requests, and so decides what each is for.
    n_asked: u64,
    /// Nothing is due before this, as far as is known.
    look_at: Timestamp,
    /// There is nothing to probe with before this, as far as is known.
    probe_at: Timestamp,
}

/// How the requests of one look are shared out.
#[derive(Debug, Default, PartialEq, Eq)]
struct Shares {
    longest_due: usize,
    in_turn: usize,
    held_vats: usize,
}

impl Lane {
    /// Shares `budget` requests out, and counts them.
    fn share(&mut self, budget: usize, is_short: bool, n_held_vats: usize, by_age: u64) -> Shares {
        let mut shares = Shares::default();
        for n in (self.n_asked..).take(budget) {
            if n % PROBE_SHARE == 0 && shares.held_vats < n_held_vats {
                shares.held_vats += 1;
            } else if is_short && (n + 1) % by_age == 0 {
                shares.longest_due += 1;
            } else {
                shares.in_turn += 1;
            }
        }
        self.n_asked = self.n_asked.wrapping_add(budget as u64);
        shares
    }
}

impl Turns {
    /// For these credentials, with a look at once. Where the quota is short, one request in `by_age` goes to the
    /// longest due: [`BY_AGE`] for the daemon, others for the bench that compares.
    pub fn new(credentials: impl IntoIterator<Item = String>, by_age: u64) -> Self {
        let lane =
            || Lane { after: 0, passing: BTreeSet::new(), n_asked: 0, look_at: AT_ONCE, probe_at: AT_ONCE };
        Self {
            lanes: credentials.into_iter().map(|name| (name.into(), lane())).collect(),
            by_age: by_age.max(1),
        }
    }

    /// Something may have fallen due that was not, or changed: the next look is at once.
    pub fn look_again(&mut self) {
        for lane in self.lanes.values_mut() {
            (lane.look_at, lane.probe_at) = (AT_ONCE, AT_ONCE);
        }
    }

    /// What to read now, for the credentials that have quota and something to do; and when to ask this again if nothing
    /// happens before. `n_ready` are those found earlier, by credential, that have not been asked for yet.
    pub fn wanted(
        &mut self,
        gates: &mut Gates,
        serving: &Serving,
        n_ready: &BTreeMap<Arc<str>, usize>,
        now: Timestamp,
        instant: Instant,
    ) -> (Vec<Wanted>, Timestamp) {
        let mut next_look = now + LOOK_AT_LEAST_EVERY;
        let mut held_vats = gates.vats_to_probe(serving, now, LOOK);
        next_look = next_look.min(gates.later_vat_probe());
        let mut wanted = Vec::new();
        let look = (LOOK_OF_ALL / self.lanes.len().max(1)).clamp(1, LOOK);
        for (credential, lane) in &mut self.lanes {
            let passage = gates.passage_of_credential(credential, now);
            let held_vats = held_vats.remove(&**credential).unwrap_or_default();
            match passage {
                Passage::Closed { until } => {
                    next_look = until.map_or(next_look, |until| next_look.min(until));
                    continue;
                }
                Passage::Free if lane.look_at > now && held_vats.is_empty() => {
                    next_look = next_look.min(lane.look_at);
                    continue;
                }
                Passage::Probe if lane.probe_at > now && held_vats.is_empty() => {
                    next_look = next_look.min(lane.probe_at);
                    continue;
                }
                Passage::Free | Passage::Probe => {}
            }
            let n_ready = n_ready.get(credential).copied().unwrap_or(0);
            let available = gates.quota_available(credential, instant).saturating_sub(n_ready);
            let budget = available.min(look);
            if budget == 0 {
                let at_least = if n_ready > 0 { WITH_ENOUGH_READY } else { Duration::ZERO };
                next_look = next_look.min(now + gates.quota_wait(credential, instant).max(at_least));
                continue;
            }
            let mut one = lane.blank(credential);
            match passage {
                // One request probes every gate that it passes, so a held VAT serves as well.
                Passage::Probe => {
                    one.n_probes = if lane.probe_at > now { 0 } else { gates.free_probes().min(budget) };
                    one.held_vats = first(held_vats, budget - one.n_probes);
                }
                // Nothing else is due.
                _ if lane.look_at > now => one.held_vats = first(held_vats, budget),
                _ => {
                    let shares = lane.share(budget, available < LOOK, held_vats.len(), self.by_age);
                    (one.n_longest_due, one.n_in_turn) = (shares.longest_due, shares.in_turn);
                    one.passing = lane.passing.iter().copied().collect();
                    one.held_vats = first(held_vats, shares.held_vats);
                }
            }
            wanted.push(one);
        }
        (wanted, next_look)
    }

    /// Puts what was found in order. Takes note of whose turn is next, and of what there is no reason to look for soon.
    pub fn plan<T: Candidate>(
        &mut self,
        looked: Vec<(Wanted, Found<T>)>,
        gates: &mut Gates,
        now: Timestamp,
    ) -> Vec<Turn<T>> {
        let mut lists = Vec::new();
        for (wanted, mut found) in looked {
            // A gate may have closed since it was read, and the database learns of it later.
            let passage = |candidate: &T| gates.passage(candidate.vat(), &wanted.credential, now);
            found.longest_due.retain(|candidate| passage(candidate) == Passage::Free);
            found.in_turn.retain(|candidate| passage(candidate) == Passage::Free);
            let Some(lane) = self.lanes.get_mut(&wanted.credential) else { continue };
            for vat in &wanted.held_vats {
                if !found.probes.iter().any(|probe| probe.vat() == vat) {
                    gates.nothing_to_probe(vat, now);
                }
            }
            lane.note(&wanted, &found, now);
            let mut in_turn = in_rounds(found.in_turn);
            in_turn.truncate(wanted.n_in_turn);
            lane.moved_on(&found.longest_due, &in_turn, found.stopped_at);
            let mut order = found.probes;
            order.extend(interleave(vec![found.longest_due, in_turn]));
            let turn = |activity| Turn { credential: Arc::clone(&wanted.credential), activity };
            lists.push(order.into_iter().map(turn).collect());
        }
        interleave(lists)
    }
}

impl Lane {
    /// Nothing yet, for this credential.
    fn blank(&self, credential: &Arc<str>) -> Wanted {
        Wanted {
            credential: Arc::clone(credential),
            n_longest_due: 0,
            n_in_turn: 0,
            after: self.after,
            passing: Vec::new(),
            n_probes: 0,
            held_vats: Vec::new(),
        }
    }

    /// The next turn is of the VAT after the last one; those that were passed over have passed their turn on.
    fn moved_on<T: Candidate>(&mut self, longest_due: &[T], in_turn: &[T], stopped_at: Option<i64>) {
        if in_turn.iter().any(|candidate| self.passing.contains(&candidate.vat_key())) {
            // All others have had theirs.
            self.passing.clear();
        }
        if let Some(last) = stopped_at.or(in_turn.last().map(Candidate::vat_key)) {
            let after = std::mem::replace(&mut self.after, last);
            self.passing.retain(|vat_key| match after < last {
                true => *vat_key <= after || *vat_key > last,
                false => *vat_key > last && *vat_key <= after,
            });
        }
        for vat_key in longest_due.iter().map(Candidate::vat_key) {
            if self.passing.len() < LOOK_STEPS {
                self.passing.insert(vat_key);
            }
        }
    }

    /// Takes note of what there is no reason to look for soon.
    fn note<T>(&mut self, wanted: &Wanted, found: &Found<T>, now: Timestamp) {
        if wanted.n_probes > 0 && found.probes.is_empty() {
            self.probe_at = now + LOOK_AT_LEAST_EVERY;
        }
        let n_wanted = wanted.n_longest_due + wanted.n_in_turn;
        if n_wanted > 0 && found.longest_due.is_empty() && found.in_turn.is_empty() {
            self.look_at = match found.stopped_at {
                Some(_) => now + BETWEEN_STEPS,
                None => found.next_due_at.unwrap_or(Timestamp::MAX).min(now + LOOK_AT_LEAST_EVERY),
            };
        }
    }
}

fn first(mut vats: Vec<Vat>, n: usize) -> Vec<Vat> {
    vats.truncate(n);
    vats
}

/// Orders activities that come VAT by VAT so that each VAT has one turn before any has its second.
fn in_rounds<T: Candidate>(in_turn: Vec<T>) -> Vec<T> {
    let mut by_vat: Vec<(i64, Vec<T>)> = Vec::new();
    for candidate in in_turn {
        let vat_key = candidate.vat_key();
        match by_vat.last_mut() {
            Some((last, activities)) if *last == vat_key => activities.push(candidate),
            _ => by_vat.push((vat_key, vec![candidate])),
        }
    }
    interleave(by_vat.into_iter().map(|(_, activities)| activities).collect())
}

/// The first of each list, then the second of each, and so on.
fn interleave<T>(lists: Vec<Vec<T>>) -> Vec<T> {
    let mut lists: VecDeque<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut merged = Vec::new();
    while let Some(mut list) = lists.pop_front() {
        if let Some(item) = list.next() {
            merged.push(item);
            lists.push_back(list);
        }
    }
    merged
}
