//! States and outcomes as an icon with its word beside it: never by colour alone.

use maud::{Markup, html};

use super::Frame;
use crate::domain::activity::State;
use crate::domain::catalogue::Owner;
use crate::store::DeliveryStatus;
use crate::words::{Said, Words};

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

/// A state in the words that people use.
pub(crate) fn state_word(words: Words, state: State) -> Said<'static> {
    match state {
        State::Pending => words.state_pending(),
        State::InProgress => words.state_in_progress(),
        State::Succeeded => words.state_succeeded(),
        State::Failed => words.state_failed(),
        State::Rejected => words.state_rejected(),
        State::Expired => words.state_expired(),
        State::Cancelled => words.state_cancelled(),
    }
}

/// A state's icon and word. Its public label is in the data.
pub(super) fn chip(frame: &Frame<'_>, state: State) -> Markup {
    html! {
        span class={ "chip " (class_of(state)) } data-state=(state.label()) {
            (icon(icon_of(state))) (state_word(frame.words, state))
        }
    }
}

/// Who must act, in the words that people use.
pub(crate) fn owner_word(words: Words, owner: Owner) -> Said<'static> {
    match owner {
        Owner::Registration => words.owner_registration(),
        Owner::Device => words.owner_device(),
        Owner::Cleartax => words.owner_cleartax(),
        Owner::Zatca => words.owner_zatca(),
    }
}

/// The status of a delivery in the words that people use.
pub(crate) fn delivery_word(words: Words, status: DeliveryStatus) -> Said<'static> {
    match status {
        DeliveryStatus::Pending => words.delivery_pending(),
        DeliveryStatus::Delivered => words.delivery_delivered(),
        DeliveryStatus::Dead => words.delivery_dead(),
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
            (icon(mark)) (delivery_word(frame.words, status))
        }
    }
}

/// An event's type in the words that people use; one that is not known is shown as it is.
pub(crate) fn event_word(words: Words, kind: &str) -> String {
    match kind {
        "pcsid.generation.succeeded" => words.event_succeeded(),
        "pcsid.generation.failed" => words.event_failed(),
        "pcsid.activity.rejected" => words.event_rejected(),
        "pcsid.activity.expired" => words.event_expired(),
        "pcsid.activity.cancelled" => words.event_cancelled(),
        "pcsid.activity.stalled" => words.event_stalled(),
        "upstream.credential.held" => words.event_credential_held(),
        "upstream.credential.restored" => words.event_credential_restored(),
        "upstream.vat.held" => words.event_vat_held(),
        "upstream.vat.restored" => words.event_vat_restored(),
        "pcsid.certificate.renewal_due" => words.event_renewal_due(),
        "pcsid.certificate.expired" => words.event_certificate_expired(),
        other => return other.to_owned(),
    }
    .to_string()
}

/// A check by its public name, in the words that people use.
pub(crate) fn check_word(words: Words, name: &str) -> Option<Said<'static>> {
    match name {
        "StandardTaxInvoice" => Some(words.check_standard_invoice()),
        "StandardTaxInvoiceCredit" => Some(words.check_standard_credit()),
        "StandardTaxInvoiceDebit" => Some(words.check_standard_debit()),
        "SimplifiedTaxInvoice" => Some(words.check_simplified_invoice()),
        "SimplifiedTaxInvoiceCredit" => Some(words.check_simplified_credit()),
        "SimplifiedTaxInvoiceDebit" => Some(words.check_simplified_debit()),
        // Where reports count entries of ErrorList beside the checks.
        "ErrorList" => Some(words.check_listed()),
        _ => None,
    }
}
