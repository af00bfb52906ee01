//! What was announced of an activity, and who has it.

use std::time::Duration;

use maud::{Markup, html};

use super::marks::{delivery_chip, event_word};
use super::rows::{Row, below, count, text, text_of, time};
use super::text::{code, encoded, how_far, moment, stored, theirs};
use super::{Frame, action};

/// How many attempts of a delivery are told, the latest.
const MAX_ATTEMPTS: usize = 50;

/// The events of an activity, each with its deliveries and what was tried.
pub(super) fn deliveries(frame: &Frame<'_>, history: &Row) -> Markup {
    let words = frame.words;
    html! {
        section aria-labelledby="events" {
            h2 #events { (words.events_title()) }
            @if below(history, "events").next().is_none() { p.empty { (words.events_none()) } }
            @for event in below(history, "events") {
                @let id = text_of(event, "event_id");
                @let is_of_event = |row: &&Row| text_of(row, "event_id") == id;
                article.event {
                    h3 data-event=(text_of(event, "type")) { (theirs(&event_word(words, text_of(event, "type")))) }
                    p.note {
                        @if let Some(at) = time(event, "occurred_at") { (moment(frame, at)) " · " }
                        (code(text_of(event, "type"))) " · " (code(id))
                    }
                    @if !below(history, "deliveries").any(|row| is_of_event(&row)) {
                        p.soft { (words.no_sink()) }
                    }
                    ul.deliveries {
                        @for delivery in below(history, "deliveries").filter(is_of_event) {
                            (one(frame, history, delivery))
                        }
                    }
                }
            }
        }
    }
}

fn one(frame: &Frame<'_>, history: &Row, delivery: &Row) -> Markup {
    let words = frame.words;
    let (sink, status) = (text_of(delivery, "sink"), text_of(delivery, "status"));
    let when = match status {
        "delivered" => time(delivery, "delivered_at"),
        "dead" => time(delivery, "last_attempt_at"),
        _ => None,
    };
    html! {
        li {
            div.delivery {
                p {
                    (words.delivery_to(html! { strong { (theirs(sink)) } }, delivery_chip(frame, status)))
                    @if let Some(at) = when { " · " (moment(frame, at)) }
                    @if status == "pending" {
                        @if let Some(at) = time(delivery, "next_attempt_at") { " · " (words.next_try(how_far(frame, at))) }
                    }
                    @if let Some(n) = count(delivery, "attempts") { " · " (words.n_attempts(n)) }
                }
                @if matches!(status, "dead" | "delivered") { (redeliver(frame, history, delivery)) }
            }
            @if let Some(error) = text(delivery, "last_error").filter(|_| status != "delivered") {
                p.reason.bad { (stored(frame, error, 600)) }
            }
            (attempts(frame, history, delivery))
        }
    }
}

fn redeliver(frame: &Frame<'_>, history: &Row, delivery: &Row) -> Markup {
    let words = frame.words;
    let carried = [
        ("webhook", text_of(delivery, "sink")),
        ("vat", text_of(history, "vat")),
        ("activity_id", text_of(history, "activity_id")),
    ];
    let button = html! {
        button.small type="submit" {
            (words.do_redeliver()) span.unseen { " " (words.delivery_target(text_of(delivery, "sink"))) }
        }
    };
    let path = format!("/events/{}/redeliver", encoded(text_of(delivery, "event_id")));
    action(frame, &path, &carried, &button)
}

fn attempts(frame: &Frame<'_>, history: &Row, delivery: &Row) -> Markup {
    let words = frame.words;
    let attempts: Vec<&Row> = below(history, "attempts")
        .filter(|attempt| ["event_id", "sink"].iter().all(|key| attempt.get(*key) == delivery.get(*key)))
        .collect();
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
                                th scope="row" {
                                    @if let Some(at) = time(attempt, "attempted_at") { (moment(frame, at)) }
                                }
                                td data-label=(took) {
                                    @if let Some(ms) = count(attempt, "duration_ms") {
                                        (words.duration(Duration::from_millis(ms)))
                                    }
                                }
                                td data-label="HTTP" {
                                    @if let Some(status) = count(attempt, "http_status") { (status) }
                                }
                                td data-label=(error_) {
                                    @if let Some(error) = text(attempt, "error") { (stored(frame, error, 600)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
