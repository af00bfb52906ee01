//! The sandbox's own page: its scripts, how to use them, and what it was asked last.

use std::time::Duration;

use jiff::Timestamp;
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::SeenRequest;
use super::script::{SCRIPTS, Script};

/// How many requests the page shows.
const MAX_SHOWN: usize = 50;

const CSS: &str = include_str!("page.css");

/// The page, for a reader who reached it at `host`; `requests` are oldest first.
pub fn render(host: &str, requests: &[SeenRequest], now: Timestamp) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { "pcsid-watch sandbox" }
                style { (PreEscaped(CSS)) }
            }
            body {
                header {
                    h1 { "pcsid-watch sandbox" }
                    p {
                        "A stand-in for the ClearTax endpoint " code { "GET …/onboarding/{ActivityId}/pcsid-status" }
                        ". The ActivityId decides what it answers. Nothing here reaches ClearTax or ZATCA."
                    }
                }
                main { (usage(host)) (scripts()) (latest(requests)) (example(now)) }
            }
        }
    }
}

fn usage(host: &str) -> Markup {
    html! {
        section {
            h2 { "Use it" }
            p { "In the configuration of pcsid-watch (any token that is not empty will do):" }
            pre {
                "[database]\nurl = \"sqlite://sandbox.db\"   # of its own: one database knows one upstream\n\n"
                "[upstream]\nbase_url = \"http://" (host) "\"\n\n"
                "[[credentials]]\nname = \"sandbox\"\ntoken = \"anything\""
            }
            p { "Then watch as many activities as you like:" }
            pre { "pcsid-watch add --vat 310122393500003 success-1 failed-1 gateway-1" }
            p { "Or ask by hand:" }
            pre {
                "curl -i -H 'x-cleartax-auth-token: anything' -H 'vat: 310122393500003' \\\n  http://"
                (host) "/onboarding/success-1/pcsid-status"
            }
        }
    }
}

fn scripts() -> Markup {
    html! {
        section {
            h2 { "Scripts" }
            p {
                "Add any suffix after a dash to have several activities of one kind: " code { "failed-till-7" }
                ". The sandbox counts the polls of each VAT and id on its own, from its start. Troubles, from "
                code { "unauthorized" } " on, come on the first two polls; then the activity succeeds. A "
                code { "TIME" } " reads " code { "250ms" } ", " code { "10s" } " or " code { "5m" } "."
            }
            table {
                thead { tr { th scope="col" { "Id begins with" } th scope="col" { "Example" } th scope="col" { "What happens" } } }
                tbody {
                    @for script in SCRIPTS {
                        tr {
                            td { code { (script.pattern) } }
                            td { code { (script.example) } }
                            td { (script.does) }
                        }
                    }
                }
            }
        }
    }
}

fn latest(requests: &[SeenRequest]) -> Markup {
    html! {
        section {
            h2 { "Latest requests" }
            @if requests.is_empty() {
                p { "None yet. Reload the page to see new ones." }
            } @else {
                p { "The newest come first, at most " (MAX_SHOWN) ". Reload the page to see new ones." }
                table {
                    thead {
                        tr {
                            @for title in ["Time (UTC)", "VAT", "Activity", "Poll", "Answered"] {
                                th scope="col" { (title) }
                            }
                        }
                    }
                    tbody { @for request in requests.iter().rev().take(MAX_SHOWN) { (row(request)) } }
                }
            }
        }
    }
}

fn row(request: &SeenRequest) -> Markup {
    html! {
        tr {
            td { time datetime=(request.seen_at) { (request.seen_at.strftime("%H:%M:%S%.3f")) } }
            td dir="auto" { (request.vat) }
            td dir="auto" { code { (request.activity_id) } }
            td { @if let Some(poll) = request.poll { (poll) } @else { "–" } }
            td { (request.answered) }
        }
    }
}

fn example(now: Timestamp) -> Markup {
    let reply = Script::for_activity("failed").answer(0, Duration::ZERO, now);
    html! {
        section {
            h2 { "An answer" }
            p { code { "failed" } " is answered with HTTP " (reply.status.as_u16()) " and this body:" }
            pre { @for line in reply.body.lines() { span dir="auto" { (line) } "\n" } }
        }
    }
}
