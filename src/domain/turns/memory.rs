//! A schedule in memory that answers like the store, for tests and the bench of detection lag.

use std::collections::{BTreeMap, BTreeSet};

use super::{Candidate, Found, LOOK_STEPS, Timestamp, Vat, Wanted};

/// An activity: its key, its VAT's, and when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryActivity {
    pub key: usize,
    pub vat_key: i64,
    pub vat: Vat,
    pub due_at: i64,
}

impl Candidate for MemoryActivity {
    fn vat_key(&self) -> i64 {
        self.vat_key
    }

    fn vat(&self) -> &Vat {
        &self.vat
    }
}

/// Due times and keys.
type Due = BTreeSet<(i64, usize)>;

/// The activities of one credential that are not claimed.
#[derive(Debug, Default)]
pub struct MemorySchedule {
    by_vat: BTreeMap<i64, (Vat, Due)>,
    /// By due time, VAT and key.
    by_age: BTreeSet<(i64, i64, usize)>,
    /// When each VAT's first one is due.
    due_times: BTreeSet<(i64, i64)>,
}

impl MemorySchedule {
    pub fn insert(&mut self, row: &MemoryActivity) {
        self.by_age.insert((row.due_at, row.vat_key, row.key));
        self.change(row, |due| due.insert((row.due_at, row.key)));
    }

    /// It is claimed from now on.
    pub fn remove(&mut self, row: &MemoryActivity) {
        self.by_age.remove(&(row.due_at, row.vat_key, row.key));
        self.change(row, |due| due.remove(&(row.due_at, row.key)));
    }

    /// `now` is in the unit of `due_at`.
    pub fn look(&self, wanted: &Wanted, now: i64) -> Found<MemoryActivity> {
        let is_due = |(due_at, ..): &&(i64, i64, usize)| *due_at <= now;
        let longest_due: Vec<MemoryActivity> = self
            .by_age
            .iter()
            .take_while(is_due)
            .take(wanted.n_longest_due)
            .map(|(due_at, vat_key, key)| self.row(*vat_key, (*due_at, *key)))
            .collect();
        let (vat_keys, stopped_at) = self.vats_in_turn(wanted, now);
        let of_each = wanted.n_in_turn.div_ceil(vat_keys.len().max(1));
        let in_turn = vat_keys.into_iter().flat_map(|vat_key| {
            let due = self.due_of(vat_key).take_while(|(due_at, _)| *due_at <= now);
            let others = due.map(move |due| self.row(vat_key, *due)).filter(|row| !longest_due.contains(row));
            others.take(of_each)
        });
        let in_turn = in_turn.collect();
        let first_of =
            |(vat_key, (_, due)): (&i64, &(Vat, Due))| due.first().map(|first| self.row(*vat_key, *first));
        let held = self.by_vat.iter().filter(|(_, (vat, _))| wanted.held_vats.contains(vat));
        let all = self.by_age.iter().map(|(due_at, vat_key, key)| self.row(*vat_key, (*due_at, *key)));
        let probes = all.take(wanted.n_probes).chain(held.filter_map(first_of)).collect();
        let next_due_at = self.due_times.range((now + 1, i64::MIN)..).next();
        let next_due_at = next_due_at.map(|(due_at, _)| Timestamp::from_millis(*due_at));
        Found { longest_due, in_turn, stopped_at, probes, next_due_at }
    }

    fn vats_in_turn(&self, wanted: &Wanted, now: i64) -> (Vec<i64>, Option<i64>) {
        let is_due = |vat_key: &i64| self.due_of(*vat_key).next().is_some_and(|(due_at, _)| *due_at <= now);
        let beyond = self.by_vat.range(wanted.after + 1..).map(|(vat_key, _)| *vat_key);
        let all_fit = self.due_times.range(..=(now, i64::MAX)).nth(LOOK_STEPS - 1).is_none();
        let passes = |vat_key: &i64| wanted.passing.binary_search(vat_key).is_ok();
        if all_fit {
            let others = self.by_vat.range(..=wanted.after).map(|(vat_key, _)| *vat_key);
            let in_order = || beyond.clone().chain(others.clone()).filter(is_due);
            let first = in_order().filter(|vat_key| !passes(vat_key)).chain(in_order().filter(passes));
            return (first.take(wanted.n_in_turn).collect(), None);
        }
        let walked: Vec<i64> = beyond.take(LOOK_STEPS).collect();
        let may_be = walked.iter().copied().filter(|vat_key| is_due(vat_key) && !passes(vat_key));
        let vat_keys: Vec<i64> = may_be.take(wanted.n_in_turn).collect();
        let stopped_at = match (vat_keys.len() == wanted.n_in_turn, walked.len() < LOOK_STEPS) {
            (true, _) => vat_keys.last().copied(),
            (false, true) => Some(0),
            (false, false) => walked.last().copied(),
        };
        (vat_keys, stopped_at)
    }

    fn due_of(&self, vat_key: i64) -> impl Iterator<Item = &(i64, usize)> {
        self.by_vat.get(&vat_key).into_iter().flat_map(|(_, due)| due)
    }

    fn row(&self, vat_key: i64, (due_at, key): (i64, usize)) -> MemoryActivity {
        MemoryActivity { key, vat_key, vat: self.by_vat[&vat_key].0.clone(), due_at }
    }

    fn change(&mut self, row: &MemoryActivity, change: impl FnOnce(&mut Due) -> bool) {
        let (_, due) = self.by_vat.entry(row.vat_key).or_insert_with(|| (row.vat.clone(), Due::new()));
        if let Some((due_at, _)) = due.first() {
            self.due_times.remove(&(*due_at, row.vat_key));
        }
        change(due);
        match due.first() {
            Some((due_at, _)) => {
                self.due_times.insert((*due_at, row.vat_key));
            }
            None => {
                self.by_vat.remove(&row.vat_key);
            }
        }
    }
}
