//! How many pieces of work a daemon takes, and how many it gives back.

use std::collections::BTreeSet;

/// What a daemon may take and has to give back of one kind of pieces.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Share {
    /// Pieces that no other daemon is configured for.
    pub(super) exclusive: BTreeSet<i32>,
    /// How many more of those that others want as well.
    pub(super) n_more_shared: usize,
    pub(super) give_back: Vec<i32>,
}

/// Shares pieces out evenly among the daemons that are configured for them: those shared, divided by the daemons that
/// want any, rounded up.
pub(super) fn share(mine: &BTreeSet<i32>, held: &BTreeSet<i32>, others: &[BTreeSet<i32>]) -> Share {
    let (shared, exclusive): (BTreeSet<i32>, BTreeSet<i32>) =
        mine.iter().copied().partition(|key| others.iter().any(|other| other.contains(key)));
    let n_sharing = 1 + others.iter().filter(|other| !other.is_disjoint(&shared)).count();
    let n_most = shared.len().div_ceil(n_sharing);
    let held_shared: Vec<i32> = shared.iter().copied().filter(|key| held.contains(key)).collect();
    Share {
        exclusive,
        n_more_shared: n_most.saturating_sub(held_shared.len()),
        give_back: held_shared.into_iter().skip(n_most).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(keys: &[i32]) -> BTreeSet<i32> {
        keys.iter().copied().collect()
    }

    #[test]
    fn pieces_are_shared_out_evenly_and_nobody_keeps_more() {
        let check = |held: &[i32], others: &[&[i32]], n_more: usize, give_back: &[i32]| {
            let others: Vec<_> = others.iter().map(|other| set(other)).collect();
            let found = share(&set(&[1, 2, 3]), &set(held), &others);
            assert_eq!(
                (found.n_more_shared, found.give_back.as_slice()),
                (n_more, give_back),
                "{held:?} {others:?}"
            );
        };
        let all: &[i32] = &[1, 2, 3];
        check(&[], &[], 0, &[]);
        check(&[], &[all], 2, &[]);
        check(&[1, 2, 3], &[all], 0, &[3]);
        check(&[1, 2], &[all], 0, &[]);
        check(&[1, 2], &[all, all], 0, &[2]);
        check(&[], &[all, all, all], 1, &[]);
        // One that wants nothing of it, as one that leaves, has no share.
        check(&[1], &[&[]], 0, &[]);
        check(&[1], &[all, &[]], 1, &[]);
    }

    #[test]
    fn what_no_other_wants_is_never_shared() {
        let found = share(&set(&[1, 2, 3]), &set(&[1, 2, 3]), &[set(&[3])]);
        assert_eq!(found, Share { exclusive: set(&[1, 2]), n_more_shared: 0, give_back: Vec::new() });
    }

    #[test]
    fn whatever_daemons_come_and_go_everything_is_held_by_somebody() {
        for n_pieces in 0..9 {
            for n_daemons in 1..5 {
                let pieces: BTreeSet<i32> = (1..=n_pieces).collect();
                let others = vec![pieces.clone(); n_daemons - 1];
                let found = share(&pieces, &BTreeSet::new(), &others);
                let n_mine = found.exclusive.len() + found.n_more_shared;
                assert!(n_mine * n_daemons >= pieces.len(), "{n_pieces} {n_daemons}");
            }
        }
    }
}
