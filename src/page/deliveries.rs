//! What was announced of an activity, and who has it.

use std::time::Duration;

use maud::{Markup, html};

use super::Frame;
use super::marks::{Sign, sign};
use super::rows::{Row, below, count, text, text_of, time};
use super::words::{counted, cut, distance, duration, encoded, moment, number, theirs};

/// How many attempts of a delivery are told, the latest.
const MAX_ATTEMPTS: usize = 50;

/// The events of an activity, each with its deliveries and what was tried.
pub(super) fn deliveries(frame: &Frame<'_>, history: &Row) -> Markup {
    html! {
        section aria-labelledby="events" {
            h2 #events { "Events and deliveries" }
            @if below(history, "events").next().is_none() { p.empty { "Nothing has been announced yet." } }
            @for event in below(history, "events") {
                @let id = text_of(event, "event_id");
                @let is_of_event = |row: &&Row| text_of(row, "event_id") == id;
                article.event {
                    h3 { (theirs(text_of(event, "type"))) }
                    p.note {
                        @if let Some(at) = time(event, "occurred_at") { (moment(frame.now, at)) " · " }
                        "event " code { (theirs(id)) }
                    }
                    @if !below(history, "deliveries").any(|row| is_of_event(&row)) {
                        p.soft { "No sink was configured for it." }
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
    let (sink, status) = (text_of(delivery, "sink"), text_of(delivery, "status"));
    let (class, mark) = match status {
        "delivered" => ("succeeded", Sign::Good),
        "dead" => ("failed", Sign::Bad),
        _ => ("pending", Sign::Waiting),
    };
    let when = match status {
        "delivered" => time(delivery, "delivered_at"),
        "dead" => time(delivery, "last_attempt_at"),
        _ => None,
    };
    html! {
        li {
            div.delivery {
                p {
                    span class={ "chip " (class) } { (sign(mark)) (theirs(status)) }
                    " to " strong { (theirs(sink)) }
                    @if let Some(at) = when { ", " (moment(frame.now, at)) }
                    @if status == "pending" {
                        @if let Some(at) = time(delivery, "next_attempt_at") { ", next try " (distance(frame.now, at)) }
                    }
                    @if let Some(n) = count(delivery, "attempts") { ", " (counted(n, "attempt", "attempts")) }
                }
                @if matches!(status, "dead" | "delivered") { (redeliver(frame, history, delivery)) }
            }
            @if let Some(error) = text(delivery, "last_error").filter(|_| status != "delivered") {
                p.reason.bad { (theirs(&cut(error, 600))) }
            }
            (attempts(frame, history, delivery))
        }
    }
}

fn redeliver(frame: &Frame<'_>, history: &Row, delivery: &Row) -> Markup {
    let id = text_of(delivery, "event_id");
    let carried = [
        ("form_token", frame.form_token),
        ("webhook", text_of(delivery, "sink")),
        ("vat", text_of(history, "vat")),
        ("activity_id", text_of(history, "activity_id")),
    ];
    html! {
        form method="post" action={ "/events/" (encoded(id)) "/redeliver" } {
            @for (name, value) in carried { input type="hidden" name=(name) value=(value); }
            button.small type="submit" { "Redeliver" span.unseen { " to " (theirs(text_of(delivery, "sink"))) } }
        }
    }
}

fn attempts(frame: &Frame<'_>, history: &Row, delivery: &Row) -> Markup {
    let attempts: Vec<&Row> = below(history, "attempts")
        .filter(|attempt| ["event_id", "sink"].iter().all(|key| attempt.get(*key) == delivery.get(*key)))
        .collect();
    html! {
        @if !attempts.is_empty() {
            details {
                summary { "Each attempt" }
                @if attempts.len() > MAX_ATTEMPTS {
                    p.soft { "The latest " (MAX_ATTEMPTS) " of " (number(attempts.len() as u64)) "." }
                }
                table.folds {
                    caption.unseen { "Attempts to deliver, the latest first" }
                    thead {
                        tr {
                            @for title in ["Tried", "Took", "HTTP", "Error"] { th scope="col" { (title) } }
                        }
                    }
                    tbody {
                        @for attempt in attempts.iter().rev().take(MAX_ATTEMPTS) {
                            tr {
                                th scope="row" {
                                    @if let Some(at) = time(attempt, "attempted_at") { (moment(frame.now, at)) }
                                }
                                td data-label="Took" {
                                    @if let Some(ms) = count(attempt, "duration_ms") { (duration(Duration::from_millis(ms))) }
                                }
                                td data-label="HTTP" {
                                    @if let Some(status) = count(attempt, "http_status") { (status) }
                                }
                                td data-label="Error" {
                                    @if let Some(error) = text(attempt, "error") { (theirs(&cut(error, 600))) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
