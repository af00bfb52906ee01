//! States and outcomes as an icon with its word beside it: never by colour alone.

use maud::{Markup, html};

use super::Frame;
use crate::domain::activity::State;
use crate::domain::routing::DeliveryStatus;

/// A small picture, drawn in the colour of the text around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Icon {
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
pub(super) fn icon(icon: Icon) -> Markup {
    html! {
        svg.sign viewBox="0 0 16 16" width="16" height="16" aria-hidden="true" focusable="false" {
            @match icon {
                Icon::Waiting => { circle cx="8" cy="8" r="5.5" {} }
                Icon::Working => {
                    circle cx="8" cy="8" r="5.5" {}
                    path.full d="M8 4.5a3.5 3.5 0 0 1 0 7z" {}
                }
                Icon::Good => { path d="M3 8.6l3.3 3.4L13 4.6" {} }
                Icon::Bad => { path d="M4 4l8 8M12 4l-8 8" {} }
                Icon::Refused => {
                    circle cx="8" cy="8" r="5.5" {}
                    path d="M4.2 11.8l7.6-7.6" {}
                }
                Icon::Late => {
                    circle cx="8" cy="8" r="5.5" {}
                    path d="M8 4.8V8l2.2 1.6" {}
                }
                Icon::Nothing => { path d="M4 8h8" {} }
                Icon::Paused => { path d="M5.8 4v8M10.2 4v8" {} }
                Icon::Attention => { path d="M8 3v6.4M8 12.2v.6" {} }
            }
        }
    }
}

/// The icon of a state.
pub(super) const fn icon_of(state: State) -> Icon {
    match state {
        State::Pending => Icon::Waiting,
        State::InProgress => Icon::Working,
        State::Succeeded => Icon::Good,
        State::Failed => Icon::Bad,
        State::Rejected => Icon::Refused,
        State::Expired => Icon::Late,
        State::Cancelled => Icon::Nothing,
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

/// A state's icon and word, with its public label in `data-state`.
pub(super) fn chip(frame: &Frame<'_>, state: State) -> Markup {
    html! {
        span class={ "chip " (class_of(state)) } data-state=(state.label()) {
            (icon(icon_of(state))) (frame.words.state_word(state))
        }
    }
}

/// A delivery's icon and word.
pub(super) fn delivery_chip(frame: &Frame<'_>, status: DeliveryStatus) -> Markup {
    let (class, mark) = match status {
        DeliveryStatus::Delivered => ("succeeded", Icon::Good),
        DeliveryStatus::Dead => ("failed", Icon::Bad),
        DeliveryStatus::Pending => ("pending", Icon::Waiting),
    };
    html! {
        span class={ "chip " (class) } data-status=(status.label()) {
            (icon(mark)) (frame.words.delivery_word(status))
        }
    }
}
