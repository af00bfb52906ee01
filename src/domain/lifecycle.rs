//! The lifecycle: which state follows from which. Everything that changes a state asks [`next_state`], in the daemon
//! and in commands.
//!
//! ```text
//!              registered                    ┌──▶ SUCCEEDED, FAILED      upstream's word: final
//!                  │                         │
//!                  ▼      upstream says so   │
//!   ┌────────▶ PENDING ────────────────▶ IN_PROGRESS
//!   │              └───────────┬─────────────┘
//!   │                          ├──▶ REJECTED    refused too often in a row
//!   │                          ├──▶ EXPIRED     not concluded by the deadline
//!   │                          └──▶ CANCELLED   by an operator
//!   │                                   │
//!   └───────────────────────────────────┘ retried: only from these three
//! ```

use super::activity::State;

/// The state of an activity that was just registered, by the table below. Registering a known one again changes
/// nothing: the store leaves its row alone.
pub const REGISTERED: State = match next_state(None, Happening::Registered) {
    Ok(state) => state,
    // Found by the compiler, not by a user.
    Err(_) => panic!("the table has to allow registrations"),
};

/// What happened to an activity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Happening {
    /// It was registered.
    Registered,
    /// Upstream reports that it is in progress.
    ReportedInProgress,
    /// Upstream reports that the PCSID was generated.
    ReportedSucceeded,
    /// Upstream reports that it finished without a PCSID.
    ReportedFailed,
    /// Upstream refused the id `reject_after` times in a row.
    RefusedTooOften,
    /// A poll that said nothing about it, or a turn without a poll.
    Nothing,
    /// It was not concluded within `give_up_after`.
    DeadlinePassed,
    /// An operator asked for a poll now.
    PollAsked,
    /// An operator stopped watching.
    Cancelled,
    /// An operator has it watched again.
    Retried,
}

/// Something that can't happen to an activity in this state. `Display` is the rule, as a part of a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.rule())]
pub struct IllegalChange {
    /// The state; `None`: it is not known.
    pub state: Option<State>,
    /// What was to happen.
    pub happening: Happening,
}

impl IllegalChange {
    /// What would have been allowed.
    pub const fn rule(self) -> &'static str {
        match self.happening {
            Happening::Registered => "only one that is not known can be registered",
            Happening::PollAsked => "only one that is being watched can be polled",
            Happening::Cancelled => "only one that is being watched can be cancelled",
            Happening::Retried => "only one that was rejected, expired or cancelled can be retried",
            _ => "only one that is being watched can change by an answer or its age",
        }
    }
}

/// The state that an activity is in after this; `state` is `None` for one that is not known yet.
///
/// # Errors
/// If it can't happen to an activity in this state. Then nothing changes.
pub const fn next_state(state: Option<State>, happening: Happening) -> Result<State, IllegalChange> {
    use State::{Cancelled, Expired, Failed, InProgress, Pending, Rejected, Succeeded};
    let next = match (state, happening) {
        (None, Happening::Registered) => Pending,
        (Some(Pending | InProgress), Happening::ReportedInProgress) => InProgress,
        (Some(Pending | InProgress), Happening::ReportedSucceeded) => Succeeded,
        (Some(Pending | InProgress), Happening::ReportedFailed) => Failed,
        (Some(Pending | InProgress), Happening::RefusedTooOften) => Rejected,
        (Some(Pending | InProgress), Happening::DeadlinePassed) => Expired,
        (Some(Pending | InProgress), Happening::Cancelled) => Cancelled,
        (Some(same @ (Pending | InProgress)), Happening::Nothing | Happening::PollAsked) => same,
        (Some(Rejected | Expired | Cancelled), Happening::Retried) => Pending,
        (None | Some(_), _) => return Err(IllegalChange { state, happening }),
    };
    Ok(next)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HAPPENINGS: [Happening; 10] = [
        Happening::Registered,
        Happening::ReportedInProgress,
        Happening::ReportedSucceeded,
        Happening::ReportedFailed,
        Happening::RefusedTooOften,
        Happening::Nothing,
        Happening::DeadlinePassed,
        Happening::PollAsked,
        Happening::Cancelled,
        Happening::Retried,
    ];

    /// A line for each state, a column for what happens, in the order of `HAPPENINGS`: the letter of the next
    /// state, `·` if it can't happen.
    const TABLE: &str = "
        -  P · · · · · · · · ·
        P  · I S F R P E P C ·
        I  · I S F R I E I C ·
        S  · · · · · · · · · ·
        F  · · · · · · · · · ·
        R  · · · · · · · · · P
        E  · · · · · · · · · P
        C  · · · · · · · · · P";

    #[test]
    fn every_state_and_everything_that_can_happen() {
        let letter = |state: State| state.label()[..1].to_owned();
        let states = std::iter::once(None).chain(State::ALL.into_iter().map(Some));
        let mut lines = TABLE.lines().map(str::trim).filter(|line| !line.is_empty());
        for state in states {
            let mut cells = lines.next().unwrap().split_whitespace();
            assert_eq!(cells.next(), Some(state.map_or("-".to_owned(), letter).as_str()));
            for happening in HAPPENINGS {
                let next = next_state(state, happening);
                let shown = next.map_or("·".to_owned(), letter);
                assert_eq!(cells.next(), Some(shown.as_str()), "{state:?}, {happening:?}");
                if let Err(err) = next {
                    assert_eq!(err, IllegalChange { state, happening });
                }
            }
        }
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn what_is_watched_is_what_has_not_concluded() {
        for state in State::ALL {
            assert_eq!(
                next_state(Some(state), Happening::Nothing).is_err(),
                state.is_concluded(),
                "{state:?}"
            );
        }
    }
}
