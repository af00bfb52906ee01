//! States and outcomes as a sign with its word beside it: never by colour alone.

use maud::{Markup, html};

use crate::domain::activity::State;

/// A small picture, drawn in the colour of the text around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sign {
    /// An empty circle.
    Waiting,
    /// A circle half full.
    Working,
    /// A tick.
    Good,
    /// A cross.
    Bad,
    /// A circle with a bar through it.
    Refused,
    /// A clock.
    Late,
    /// A dash.
    Nothing,
    /// Two bars.
    Paused,
    /// An exclamation mark.
    Attention,
}

/// The picture. It is hidden from screen readers: the word beside it says the same.
pub(super) fn sign(sign: Sign) -> Markup {
    html! {
        svg.sign viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false" {
            @match sign {
                Sign::Waiting => { circle cx="8" cy="8" r="5.5" {} }
                Sign::Working => {
                    circle cx="8" cy="8" r="5.5" {}
                    path.full d="M8 4.5a3.5 3.5 0 0 1 0 7z" {}
                }
                Sign::Good => { path d="M3 8.6l3.3 3.4L13 4.6" {} }
                Sign::Bad => { path d="M4 4l8 8M12 4l-8 8" {} }
                Sign::Refused => {
                    circle cx="8" cy="8" r="5.5" {}
                    path d="M4.2 11.8l7.6-7.6" {}
                }
                Sign::Late => {
                    circle cx="8" cy="8" r="5.5" {}
                    path d="M8 4.8V8l2.2 1.6" {}
                }
                Sign::Nothing => { path d="M4 8h8" {} }
                Sign::Paused => { path d="M5.8 4v8M10.2 4v8" {} }
                Sign::Attention => { path d="M8 3v6.4M8 12.2v.6" {} }
            }
        }
    }
}

/// The sign of a state.
pub(super) const fn sign_of(state: State) -> Sign {
    match state {
        State::Pending => Sign::Waiting,
        State::InProgress => Sign::Working,
        State::Succeeded => Sign::Good,
        State::Failed => Sign::Bad,
        State::Rejected => Sign::Refused,
        State::Expired => Sign::Late,
        State::Cancelled => Sign::Nothing,
    }
}

/// The class that colours what belongs to a state.
pub(super) const fn class_of(state: State) -> &'static str {
    match state {
        State::Pending => "pending",
        State::InProgress => "in-progress",
        State::Succeeded => "succeeded",
        State::Failed => "failed",
        State::Rejected => "rejected",
        State::Expired => "expired",
        State::Cancelled => "cancelled",
    }
}

/// A state's sign and name.
pub(super) fn chip(state: State) -> Markup {
    html! { span class={ "chip " (class_of(state)) } { (sign(sign_of(state))) (state.label()) } }
}

/// The same where the state came as text; one that is not known is shown as it is.
pub(super) fn chip_of(label: &str) -> Markup {
    match State::from_label(label) {
        Some(state) => chip(state),
        None => super::words::theirs(label),
    }
}
