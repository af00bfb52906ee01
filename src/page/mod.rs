//! The web pages: HTML, a style sheet and inline SVG, made from what the store tells.
//!
//! There is no script and nothing inline, so that the pages work under a Content-Security-Policy that allows
//! their own style sheet alone. Text from upstream and from users is escaped, keeps its direction to itself, and
//! shows what would otherwise be invisible in it. No state is told by colour alone.
//!
//! Functions here take values and return markup: they read no clock and no database.

mod activities;
mod activity;
mod checks;
mod choice;
mod deliveries;
mod findings;
mod health;
mod marks;
mod overview;
mod plot;
mod rows;
#[cfg(test)]
mod tests;
mod words;

use std::time::Duration;

use maud::{DOCTYPE, Markup, html};

use crate::domain::catalogue::{Catalogue, Language};
use crate::domain::gate::Outage;
use crate::domain::time::Timestamp;
use marks::{Sign, sign};
use words::{encoded, theirs, utc};

pub use activities::{Search, activities};
pub use activity::{Said, activity};
pub use choice::choose_vat;
pub use overview::{Refresh, overview};

/// The pages' style sheet, served at `/style.css`.
pub const CSS: &str = include_str!("page.css");

/// What every page knows of the daemon.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// The time that the page tells of.
    pub now: Timestamp,
    /// The program's version.
    pub version: &'a str,
    /// Upstream's base URL.
    pub upstream: &'a str,
    /// When upstream last gave an answer that could be used, since the daemon's start.
    pub last_answer_at: Option<Timestamp>,
    /// Why nothing usable comes from upstream, where that is so.
    pub outage: Option<&'a Outage>,
    /// Why the daemon is not ready, a sentence each; none: it is.
    pub troubles: &'a [String],
    /// What every form carries back, as the field `form_token`.
    pub form_token: &'a str,
    /// How long an activity may take before it counts as stalled.
    pub stalled_after: Duration,
    /// What rules mean.
    pub catalogue: &'a Catalogue,
    /// What explanations are told in.
    pub language: Language,
    /// The address of the same page with explanations in the other language.
    pub other_language_at: &'a str,
}

/// A page that only says why there is no other.
pub fn refusal(frame: &Frame<'_>, title: &str, sentence: &str) -> Markup {
    let main = html! {
        h1 { (theirs(title)) }
        p.lead { (theirs(sentence)) }
        p { a href="/" { "Overview" } " · " a href="/activities" { "All activities" } }
    };
    layout(frame, title, Here::Elsewhere, None, &main)
}

/// Which entry of the navigation the page is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Here {
    Overview,
    Activities,
    Elsewhere,
}

/// A whole page; one that refreshes itself does so after so many seconds.
fn layout(frame: &Frame<'_>, title: &str, here: Here, refresh_s: Option<u32>, main: &Markup) -> Markup {
    let current = |entry: Here| (here == entry).then_some("page");
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="color-scheme" content="light dark";
                meta name="robots" content="noindex";
                @if let Some(seconds) = refresh_s { meta http-equiv="refresh" content=(seconds); }
                title { (words::visible(title)) " · pcsid-watch" }
                link rel="stylesheet" href="/style.css";
            }
            body {
                a.skip href="#main" { "Skip to the content" }
                header.top {
                    a.name href="/" { "pcsid-watch" }
                    nav aria-label="Pages" {
                        a href="/" aria-current=[current(Here::Overview)] { "Overview" }
                        a href="/activities" aria-current=[current(Here::Activities)] { "Activities" }
                    }
                    (language_switch(frame))
                    @if here != Here::Activities {
                        form.find role="search" action="/activities" method="get" {
                            label.unseen for="find" { "Find by activity id, device id, reference or VAT" }
                            input #find name="q" type="search" placeholder="Activity, device, reference or VAT"
                                maxlength="256" autocomplete="off" spellcheck="false" dir="auto";
                            button type="submit" { "Find" }
                        }
                    }
                }
                @if here != Here::Overview && !frame.troubles.is_empty() {
                    p.banner.ill { (sign(Sign::Bad)) span { "Not ready: " a href="/" { "see the overview" } "." } }
                }
                main #main tabindex="-1" { (main) }
                footer {
                    p {
                        "pcsid-watch " (frame.version) " · upstream " (theirs(frame.upstream)) " · as of "
                        time datetime=(frame.now) { (utc(frame.now)) }
                    }
                }
            }
        }
    }
}

/// A link to the same page with explanations in the other language, in that language.
fn language_switch(frame: &Frame<'_>) -> Markup {
    let (label, name, title) = match frame.language {
        Language::English => ("ar", "العربية", "الشرح بالعربية"),
        Language::Arabic => ("en", "English", "Explanations in English"),
    };
    html! { a.language href=(frame.other_language_at) lang=(label) hreflang=(label) title=(title) { (name) } }
}

/// A text of ours in the reader's language.
fn told(frame: &Frame<'_>, text: &str) -> Markup {
    let language = frame.language.label();
    html! { span lang=(language) dir=(direction(frame)) { (text) } }
}

/// Which way the reader's language runs.
fn direction(frame: &Frame<'_>) -> &'static str {
    match frame.language {
        Language::English => "ltr",
        Language::Arabic => "rtl",
    }
}

/// The path of an activity's page.
fn path_of(vat: &str, activity_id: &str) -> String {
    format!("/activities/{}?vat={}", encoded(activity_id), encoded(vat))
}

/// A link to an activity's page.
fn link_to(vat: &str, activity_id: &str) -> Markup {
    html! { a href=(path_of(vat, activity_id)) { code { (theirs(activity_id)) } } }
}

/// A link to a VAT's activities.
fn link_to_vat(vat: &str) -> Markup {
    html! { a href={ "/activities?vat=" (encoded(vat)) } { code { (theirs(vat)) } } }
}

/// A box for something wide: it scrolls by itself, by keyboard too, and the page does not.
fn scrolling(label: &str, wide: &Markup) -> Markup {
    html! { div.scroll role="region" aria-label=(label) tabindex="0" { (wide) } }
}

/// What is said where no activity has been registered.
fn nothing_registered() -> Markup {
    html! {
        div.empty {
            p { "Nothing has been registered yet. Add the activity that ClearTax answered a device’s onboarding with:" }
            pre { "pcsid-watch add --vat VAT ACTIVITY_ID" }
            p {
                "or " code { "pcsid-watch import FILE.csv" } " for many, or " code { "POST /v1/activities" }
                " from another program."
            }
        }
    }
}
