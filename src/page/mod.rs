//! The web pages: HTML, a style sheet and inline SVG, made from what the store reads.
//!
//! There is no script and nothing inline, so that the pages work under a Content-Security-Policy that allows only their
//! own style sheet. Text from upstream and from users is escaped and isolated, so that its direction does not affect
//! the text around it, and its invisible characters are shown. No state is shown by colour alone.
//!
//! Every text of ours comes from [`Words`], so that a page is complete in each language. A page also runs in the
//! direction of its language: the style sheet has only logical properties, and plots are mirrored.
//!
//! Functions here take values and return markup; they read no clock and no database. A part of a page is a function of
//! [`Frame`] and of what it shows. A page is a function that passes its parts to `layout`. A new page is a file here, a
//! route in `api::pages` (`router`) and, to be found, an entry of the navigation in `layout`.

mod activities;
mod activity;
mod checks;
mod choice;
mod deliveries;
mod failures;
mod findings;
mod health;
mod marks;
mod outbox;
mod overview;
mod plot;
mod preflight;
mod renewals;
#[cfg(test)]
mod tests;
mod text;

use std::time::Duration;

use maud::{DOCTYPE, Markup, Render, html};

use crate::domain::catalogue::{Catalogue, Language};
use crate::domain::gate::Outage;
use crate::domain::text::visible;
use crate::domain::time::Timestamp;
use crate::domain::zone::Zone;
use crate::words::Words;
use marks::{Icon, icon};
use text::{clock, code, cut, encoded, theirs};

pub use activities::{FoundActivities, Search, Sort, activities};
pub use activity::{Done, activity};
pub use choice::choose_vat;
pub use outbox::{Outbox, OutboxPart, outbox};
pub use overview::{REFRESH_S, Refresh, overview};
pub use preflight::{Entered, Outcome, preflight};
pub use renewals::renewals;

/// The pages' style sheet, served at `/style.css`.
pub const CSS: &str = include_str!("page.css");

/// What every page knows of the daemon and its reader.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The time that the page shows.
    pub now: Timestamp,
    /// The program's version.
    pub version: &'a str,
    /// Upstream's base URL.
    pub upstream: &'a str,
    /// When upstream last gave an answer that could be used, since the daemon's start.
    pub last_answer_at: Option<Timestamp>,
    /// The outage of upstream that is going on.
    pub outage: Option<&'a Outage>,
    /// Why the daemon is not ready, one sentence for each reason; empty if it is.
    pub troubles: &'a [String],
    /// What every form carries back, as the field `form_token`.
    pub form_token: &'a str,
    /// How long an activity may take before it counts as stalled.
    pub stalled_after: Duration,
    /// What rules mean.
    pub catalogue: &'a Catalogue,
    /// The reader's language.
    pub words: Words,
    /// The reader's time zone.
    pub zone: &'a Zone,
    /// The address of the same page in the other language.
    pub other_language_at: &'a str,
}

/// The page that says why a request was refused or failed.
pub fn refusal(frame: &Frame<'_>, title: &str, sentence: &str) -> Markup {
    let words = frame.words;
    let title = words.stored(title).unwrap_or_else(|| title.to_owned());
    let main = html! {
        h1 { (theirs(&title)) }
        p.lead { (text::stored(frame, sentence, 2_000)) }
        p { a href="/" { (words.nav_overview()) } " · " a href="/activities" { (words.nav_activities()) } }
    };
    layout(frame, &title, Here::Elsewhere, &main)
}

/// Which entry of the navigation the page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Here {
    Overview,
    Activities,
    Deliveries,
    Certificates,
    Preflight,
    Elsewhere,
}

/// A whole page.
fn layout(frame: &Frame<'_>, title: &str, here: Here, main: &Markup) -> Markup {
    let words = frame.words;
    let current = |entry: Here| (here == entry).then_some("page");
    html! {
        (DOCTYPE)
        html lang=(words.language().label()) dir=(words.direction()) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                title { (visible(title)) " · pcsid-watch" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                a.skip href="#main" { (words.skip_to_content()) }
                header.top {
                    a.name href="/" dir="ltr" { "pcsid-watch" }
                    nav aria-label=(words.nav_pages()) {
                        a href="/" aria-current=[current(Here::Overview)] { (words.nav_overview()) }
                        a href="/activities" aria-current=[current(Here::Activities)] { (words.nav_activities()) }
                        a href="/deliveries" aria-current=[current(Here::Deliveries)] { (words.nav_deliveries()) }
                        a href="/renewals" aria-current=[current(Here::Certificates)] { (words.nav_certificates()) }
                        a href="/preflight" aria-current=[current(Here::Preflight)] { (words.nav_preflight()) }
                    }
                    @if here != Here::Activities {
                        form.find role="search" action="/activities" method="get" {
                            label.unseen for="find" { (words.find_label()) }
                            input #find name="q" type="search" placeholder=(words.find_placeholder())
                                maxlength="256" autocomplete="off" spellcheck="false" dir="auto";
                            button type="submit" { (words.find_button()) }
                        }
                    }
                    (language_switch(frame))
                }
                @if here != Here::Overview && !frame.troubles.is_empty() {
                    p.banner.ill { (icon(Icon::Bad)) span { (words.banner_ill(html! { a href="/" { (words.nav_overview()) } })) } }
                }
                main #main tabindex="-1" { (main) }
                footer {
                    p {
                        span { bdi dir="ltr" { "pcsid-watch " (frame.version) } }
                        " · " span { "ClearTax: " (code(frame.upstream)) }
                        @if here != Here::Overview { " · " (as_of(frame)) }
                    }
                }
            }
        }
    }
}

/// The time that a page shows, with the zone of all its times.
fn as_of(frame: &Frame<'_>) -> Markup {
    let offset = html! { bdi dir="ltr" { (frame.zone.offset(frame.now)) } };
    let zone = match frame.zone.name() {
        Zone::DEFAULT => frame.words.zone_riyadh(offset).render(),
        name => frame.words.zone_other(html! { bdi dir="ltr" { (name) } }, offset).render(),
    };
    html! { span.asof { (frame.words.as_of(clock(frame, frame.now), zone)) } }
}

/// A link to the same page in the other language, in that language.
fn language_switch(frame: &Frame<'_>) -> Markup {
    let (label, direction, name) = match frame.words.language() {
        Language::English => ("ar", "rtl", "العربية"),
        Language::Arabic => ("en", "ltr", "English"),
    };
    html! { a.language href=(frame.other_language_at) lang=(label) hreflang=(label) dir=(direction) { (name) } }
}

/// The path of an activity's page.
fn path_of(vat: &str, activity_id: &str) -> String {
    format!("/activities/{}?vat={}", encoded(activity_id), encoded(vat))
}

/// A link to an activity's page.
fn link_to(vat: &str, activity_id: &str) -> Markup {
    html! { a href=(path_of(vat, activity_id)) { (code(activity_id)) } }
}

/// A link to an activity's page, named by the device with the id below it; by the id if the device has no name.
fn link_to_device(vat: &str, activity_id: &str, device_id: Option<&str>) -> Markup {
    html! {
        @match device_id {
            Some(device) => {
                a href=(path_of(vat, activity_id)) { (theirs(&cut(device, 64))) } " "
                span.under { (code(activity_id)) }
            }
            None => (link_to(vat, activity_id)),
        }
    }
}

/// A link to a VAT's activities.
fn link_to_vat(vat: &str) -> Markup {
    html! { a href={ "/activities?vat=" (encoded(vat)) } { (code(vat)) } }
}

/// A box that scrolls something wide, also by keyboard, so that the page itself does not scroll sideways.
fn scrolling(label: &impl ToString, wide: &Markup) -> Markup {
    html! { div.scroll role="group" aria-label=(label.to_string()) tabindex="0" { (wide) } }
}

/// Links to the first page of a list and to the next one, as far as there are such pages.
fn turn_pages(frame: &Frame<'_>, first: Option<String>, next: Option<String>) -> Markup {
    let words = frame.words;
    html! {
        @if first.is_some() || next.is_some() {
            nav.pages aria-label=(words.pages_of_list()) {
                @if let Some(address) = first { a href=(address) { (words.page_first()) } }
                @if let Some(address) = next { a rel="next" href=(address) { (words.page_next()) } }
            }
        }
    }
}

/// A form's hidden fields and its one button.
fn action(frame: &Frame<'_>, path: &str, carried: &[(&str, &str)], button: &Markup) -> Markup {
    html! {
        form method="post" action=(path) {
            input type="hidden" name="form_token" value=(frame.form_token);
            @for (name, value) in carried { input type="hidden" name=(name) value=(value); }
            (button)
        }
    }
}

/// What to do first, while no activity has been registered.
fn nothing_registered(frame: &Frame<'_>) -> Markup {
    let words = frame.words;
    html! {
        div.empty {
            h2 { (words.first_title()) }
            ol {
                li { (words.first_register(code("PcsidGenerationActivityId"))) }
                li { (words.first_add()) pre dir="ltr" { "pcsid-watch add --vat VAT ACTIVITY_ID" } }
                li {
                    (words.first_many(code("pcsid-watch import FILE.csv"), code("POST /v1/activities")))
                }
                li { (words.first_then()) }
            }
        }
    }
}
