//! The events of an activity and their deliveries.

use std::time::Duration;

use maud::{Markup, html};

use super::marks::delivery_chip;
use super::text::{code, encoded, how_far, moment, stored, theirs};
use super::{Frame, action};
use crate::domain::routing::DeliveryStatus;
use crate::store::{AttemptRow, DeliveryRow, EventRow, History};

/// How many attempts of a delivery are shown, the latest ones.
const MAX_ATTEMPTS: usize = 50;

/// The events of an activity, each with its deliveries and their attempts.
pub(super) fn deliveries(frame: &Frame<'_>, history: &History) -> Markup {
    let words = frame.words;
    html! {
        section aria-labelledby="events" {
            h2 #events { (words.events_title()) }
            @if history.events.is_empty() { p.empty { (words.events_none()) } }
            @for EventRow { event_id, r#type, occurred_at } in &history.events {
                @let is_of_event = |delivery: &&DeliveryRow| delivery.event_id == *event_id;
                article.event {
                    h3 data-event=(r#type) { (theirs(&words.event_word(r#type))) }
                    p.note { (moment(frame, *occurred_at)) " · " (code(r#type)) " · " (code(event_id)) }
                    @if !history.deliveries.iter().any(|delivery| is_of_event(&delivery)) {
                        p.soft { (words.no_sink()) }
                    }
                    ul.deliveries {
                        @for delivery in history.deliveries.iter().filter(is_of_event) {
                            (delivery_item(frame, history, delivery))
                        }
                    }
                }
            }
        }
    }
}

fn delivery_item(frame: &Frame<'_>, history: &History, delivery: &DeliveryRow) -> Markup {
    let words = frame.words;
    let activity = &history.activity;
    let status = delivery.status;
    let when = match status {
        DeliveryStatus::Delivered => delivery.delivered_at,
        DeliveryStatus::Dead => delivery.last_attempt_at,
        DeliveryStatus::Pending => None,
    };
    html! {
        li {
            div.delivery {
                p {
                    (words.delivery_to(html! { strong { (theirs(&delivery.sink)) } }, delivery_chip(frame, status)))
                    @if let Some(at) = when { " · " (moment(frame, at)) }
                    @if status == DeliveryStatus::Pending {
                        @if let Some(at) = delivery.next_attempt_at {
                            " · "
                            @if at <= frame.now { (words.due_now()) } @else { (words.next_try(how_far(frame, at))) }
                        }
                    }
                    " · " (words.n_attempts(delivery.attempts))
                }
                (redeliver(frame, delivery, &[("vat", &activity.vat), ("activity_id", &activity.activity_id)]))
            }
            @if let Some(error) = delivery.last_error.as_deref().filter(|_| status != DeliveryStatus::Delivered) {
                p.reason.bad { (stored(frame, error, 600)) }
            }
            (attempts(frame, history, delivery))
        }
    }
}

/// The button that delivers an event again, if its delivery has ended. `back` are the fields that name the page to
/// return to.
pub(super) fn redeliver(frame: &Frame<'_>, delivery: &DeliveryRow, back: &[(&str, &str)]) -> Markup {
    let words = frame.words;
    if delivery.status == DeliveryStatus::Pending {
        return html! {};
    }
    let mut carried = vec![("webhook", delivery.sink.as_str())];
    carried.extend(back);
    let button = html! {
        button.small type="submit" {
            (words.do_redeliver()) span.unseen { " " (words.delivery_target(delivery.sink.as_str())) }
        }
    };
    let path = format!("/events/{}/redeliver", encoded(&delivery.event_id));
    action(frame, &path, &carried, &button)
}

fn attempts(frame: &Frame<'_>, history: &History, delivery: &DeliveryRow) -> Markup {
    let words = frame.words;
    let is_of_delivery =
        |attempt: &&AttemptRow| (&attempt.event_id, &attempt.sink) == (&delivery.event_id, &delivery.sink);
    let attempts: Vec<&AttemptRow> = history.attempts.iter().filter(is_of_delivery).collect();
    let (took, error_) = (words.col_took(), words.col_error());
    html! {
        @if !attempts.is_empty() {
            details {
                summary { (words.each_attempt()) }
                @if attempts.len() > MAX_ATTEMPTS {
                    p.soft { (words.latest_of(MAX_ATTEMPTS as u64, attempts.len() as u64)) }
                }
                table.folds {
                    caption.unseen { (words.each_attempt()) }
                    thead {
                        tr {
                            th scope="col" { (words.col_tried()) } th scope="col" { (took) }
                            th scope="col" { "HTTP" } th scope="col" { (error_) }
                        }
                    }
                    tbody {
                        @for attempt in attempts.iter().rev().take(MAX_ATTEMPTS) {
                            tr {
                                th scope="row" { (moment(frame, attempt.attempted_at)) }
                                td data-label=(took) {
                                    (words.duration(Duration::from_millis(attempt.duration_ms)))
                                }
                                td data-label="HTTP" {
                                    @if let Some(status) = attempt.http_status { (status) }
                                }
                                td data-label=(error_) {
                                    @if let Some(error) = &attempt.error { (stored(frame, error, 600)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
