//! Deliveries of all activities, the failed ones first, with a button that sends each again.

use maud::{Markup, html};

use super::activity::{Done, banner};
use super::deliveries::redeliver;
use super::marks::delivery_chip;
use super::text::{address, cut, moment_stacked, stacked, stored, theirs};
use super::{Frame, Here, action, layout, link_to, turn_pages};
use crate::domain::routing::DeliveryStatus;
use crate::domain::text::visible;
use crate::store::{DeliveryRow, OutboxRow, Undelivered};

/// What the page shows.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outbox {
    /// Only deliveries with this status; `None`: all, the failed ones first.
    pub status: Option<DeliveryStatus>,
    /// Only to this sink.
    pub sink: Option<String>,
    /// All sinks that are configured or have undelivered events.
    pub sinks: Vec<String>,
    /// How many are undelivered.
    pub undelivered: Vec<Undelivered>,
    /// The lists, one for each status that is shown.
    pub parts: Vec<OutboxPart>,
    /// Whether this is not the first page of the list.
    pub is_continued: bool,
}

/// One list of deliveries with the same status.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxPart {
    /// Their status.
    pub status: DeliveryStatus,
    /// The deliveries.
    pub rows: Vec<OutboxRow>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

impl Outbox {
    fn address(&self, status: Option<DeliveryStatus>, cursor: Option<&str>) -> String {
        let parameters = [
            ("status", status.map_or("", DeliveryStatus::label)),
            ("sink", self.sink.as_deref().unwrap_or("")),
            ("cursor", cursor.unwrap_or("")),
        ];
        address("/deliveries", &parameters)
    }

    fn n_dead(&self) -> u64 {
        let of_sink = |sink: &&Undelivered| self.sink.as_ref().is_none_or(|wanted| *wanted == sink.sink);
        self.undelivered.iter().filter(of_sink).map(|sink| sink.dead).sum()
    }
}

/// The page.
pub fn outbox(frame: &Frame<'_>, outbox: &Outbox, said: Option<Done>) -> Markup {
    let words = frame.words;
    let is_empty = outbox.parts.iter().all(|part| part.rows.is_empty());
    let n_dead = outbox.n_dead();
    let main = html! {
        (banner(frame, said))
        h1 { (words.nav_deliveries()) }
        p.lead { (words.deliveries_lead()) }
        (form(frame, outbox))
        @if n_dead > 0 {
            div.resend-all {
                p { (words.deliveries_dead(n_dead)) }
                @let carried = outbox.sink.as_deref().map(|sink| ("webhook", sink));
                (action(frame, "/deliveries/redeliver", carried.as_slice(),
                    &html! { button.main type="submit" { (words.do_redeliver_all()) } }))
            }
        }
        @if is_empty { p.empty { (words.deliveries_none()) } }
        @for part in outbox.parts.iter().filter(|part| !part.rows.is_empty()) {
            section {
                h2 { (words.delivery_word(part.status)) }
                (list(frame, part))
                (turn_pages(frame,
                    outbox.is_continued.then(|| outbox.address(outbox.status, None)),
                    part.next.as_deref().map(|cursor| outbox.address(Some(part.status), Some(cursor)))))
            }
        }
    };
    layout(frame, &words.nav_deliveries().to_string(), Here::Deliveries, &main)
}

fn form(frame: &Frame<'_>, outbox: &Outbox) -> Markup {
    let words = frame.words;
    html! {
        form.search action="/deliveries" method="get" {
            div.field {
                label for="status" { (words.col_state()) }
                select #status name="status" {
                    option value="" { (words.any_failed_first()) }
                    @for status in DeliveryStatus::ALL {
                        option value=(status.label()) selected[outbox.status == Some(status)] {
                            (words.delivery_word(status))
                        }
                    }
                }
            }
            div.field {
                label for="sink" { (words.col_sink()) }
                select #sink name="sink" {
                    option value="" { (words.any()) }
                    @for sink in &outbox.sinks {
                        option value=(sink) dir="auto" selected[outbox.sink.as_ref() == Some(sink)] { (visible(sink)) }
                    }
                }
            }
            div.field.buttons { button type="submit" { (words.find_button()) } }
        }
    }
}

fn list(frame: &Frame<'_>, part: &OutboxPart) -> Markup {
    let words = frame.words;
    let (state, sink, activity, when, error_) =
        (words.col_state(), words.col_sink(), words.col_activity(), words.col_when(), words.col_error());
    html! {
        table.folds.cards.fixed.outbox {
            caption.unseen { (words.nav_deliveries()) }
            colgroup { col.w-event; col.w-sink; col.w-state; col.w-id; col.w-time; col; col.w-button; }
            thead {
                tr {
                    @for title in [&words.col_event(), &sink, &state, &activity, &when, &error_] {
                        th scope="col" { (title) }
                    }
                    th scope="col" { span.unseen { (words.do_redeliver()) } }
                }
            }
            tbody {
                @for OutboxRow { vat, activity_id, delivery } in &part.rows {
                    tr {
                        th scope="row" data-event=(delivery.r#type) {
                            (theirs(&words.event_word(&delivery.r#type)))
                        }
                        td.told data-label=(sink) { (theirs(&delivery.sink)) }
                        td.state data-label=(state) { (delivery_chip(frame, delivery.status)) }
                        td.whose data-label=(activity) {
                            @if let (Some(vat), Some(id)) = (vat, activity_id) { (link_to(vat, id)) }
                        }
                        td.time data-label=(when) { (when_of(frame, delivery)) }
                        td data-label=(error_) {
                            @if delivery.status != DeliveryStatus::Delivered {
                                @if let Some(error) = &delivery.last_error {
                                    span.bad { (stored(frame, &cut(error, 400), 200)) } " "
                                }
                            }
                            span.under { (words.n_attempts(delivery.attempts)) }
                        }
                        td.act { (redeliver(frame, delivery, &[("back", "deliveries")])) }
                    }
                }
            }
        }
    }
}

fn when_of(frame: &Frame<'_>, delivery: &DeliveryRow) -> Markup {
    let words = frame.words;
    html! {
        @match delivery.status {
            DeliveryStatus::Delivered => {
                @if let Some(at) = delivery.delivered_at { (moment_stacked(frame, at)) }
            }
            DeliveryStatus::Dead => {
                @if let Some(at) = delivery.last_attempt_at { (moment_stacked(frame, at)) }
            }
            DeliveryStatus::Pending => {
                @if let Some(at) = delivery.next_attempt_at {
                    @if at <= frame.now { (words.due_now()) }
                    @else { (stacked(frame, words.next_try(words.distance(frame.now, at)), at)) }
                }
            }
        }
    }
}
