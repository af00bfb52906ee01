//! Which checks fail where, and by which rules.

use maud::{Markup, html};

use super::plot::share;
use super::words::{counted, number, percent, theirs};
use super::{Frame, link_to_vat, scrolling, told};
use crate::domain::report::CHECK_NAMES;
use crate::store::{CheckTally, ChecksByVat, FailingRules};

/// The six checks' names in short, in the order of [`CHECK_NAMES`]: the kind of invoice, and the document.
pub(super) const SHORT_NAMES: [(&str, &str); 6] = [
    ("Standard", "Invoice"),
    ("Standard", "Credit"),
    ("Standard", "Debit"),
    ("Simplified", "Invoice"),
    ("Simplified", "Credit"),
    ("Simplified", "Debit"),
];

/// From which share of failed checks on a cell has each shade, in hundredths; its class, and what a legend says.
const SHADES: [(u64, &str, &str); 5] = [
    (50, "h5", "50% or more"),
    (25, "h4", "from 25%"),
    (10, "h3", "from 10%"),
    (5, "h2", "from 5%"),
    (0, "h1", "under 5%"),
];

/// The six checks by VAT as a heat map; each cell says its number too.
pub(super) fn by_vat(checks: &ChecksByVat) -> Markup {
    html! {
        section aria-labelledby="checks" {
            h2 #checks { "Failed checks by VAT" }
            @if checks.vats.is_empty() { p.empty { "Upstream has not reported on any check yet." } }
            @else {
                p.note {
                    "Share of the reported checks that failed; the VATs with the most failed checks first"
                    @if checks.n_more_failing > 0 {
                        ". " (counted(checks.n_more_failing, "more VAT has", "more VATs have")) " failed checks: "
                        code { "pcsid-watch report checks" } " lists all"
                    }
                }
                (scrolling("Failed checks by VAT", &heat_map(checks)))
                ul.legend {
                    li { span.cell.h0 {} " none" }
                    @for (_, class, share) in SHADES.iter().rev() {
                        li { span class={ "cell " (class) } {} " " (share) }
                    }
                    li { span.cell.unreported { "–" } " not reported" }
                }
            }
        }
    }
}

fn heat_map(checks: &ChecksByVat) -> Markup {
    html! {
        table.heat {
            caption.unseen { "Share of failed checks by VAT and check" }
            thead {
                tr {
                    th scope="col" rowspan="2" { "VAT" }
                    th scope="colgroup" colspan="3" { "Standard tax invoice" }
                    th scope="colgroup" colspan="3" { "Simplified tax invoice" }
                }
                tr {
                    @for (name, (_, document)) in CHECK_NAMES.iter().zip(SHORT_NAMES) {
                        th scope="col" { abbr title=(name) { (document) } }
                    }
                }
            }
            tbody {
                @for vat in &checks.vats {
                    tr {
                        th scope="row" { (link_to_vat(&vat.vat)) }
                        @for check in &vat.checks { (cell(*check)) }
                    }
                }
            }
        }
    }
}

fn cell(check: CheckTally) -> Markup {
    let reported = check.n_failed.saturating_add(check.n_succeeded);
    html! {
        @if reported == 0 { td.cell.unreported { "–" span.unseen { " not reported" } } }
        @else {
            td class={ "cell " (shade(check.n_failed, reported)) } {
                strong { (percent(check.n_failed, reported)) } " "
                span.of { (number(check.n_failed)) " of " (number(reported)) }
            }
        }
    }
}

fn shade(failed: u64, reported: u64) -> &'static str {
    if failed == 0 {
        return "h0";
    }
    // Rounded as the number in the cell is, so that the two agree.
    let doubled = u128::from(failed) * 200 + u128::from(reported);
    let reaches = |hundredths: u64| doubled >= u128::from(reported) * 2 * u128::from(hundredths);
    SHADES.iter().find(|(from, ..)| reaches(*from)).map_or("h0", |(_, class, _)| class)
}

/// The rules that fail most, as bars that say their numbers.
pub(super) fn rules(frame: &Frame<'_>, rules: &FailingRules) -> Markup {
    let most = rules.rules.iter().map(|rule| rule.n_failed_checks).max().unwrap_or(0);
    html! {
        section aria-labelledby="rules" {
            h2 #rules { "Rules that fail most" }
            @if rules.rules.is_empty() { p.empty { "No check has failed by a rule yet." } }
            @else {
                p.note {
                    "Failed checks that name the rule"
                    @if rules.n_more > 0 {
                        ". " (counted(rules.n_more, "more rule fails: ", "more rules fail: "))
                        code { "pcsid-watch report rules" } " lists all"
                    }
                }
                table.bars {
                    caption.unseen { "Rules by the number of checks that failed with them" }
                    thead {
                        tr {
                            th scope="col" { "Rule" }
                            th scope="col" { "Failed checks" }
                            th scope="col" { "In" }
                        }
                    }
                    tbody {
                        @for rule in &rules.rules {
                            tr {
                                @let explained = frame.catalogue.explain(Some(&rule.rule));
                                th scope="row" {
                                    code { (theirs(&rule.rule)) }
                                    span.meaning { (told(frame, explained.meaning.of(frame.language))) }
                                }
                                td.measured {
                                    span.n { (number(rule.n_failed_checks)) }
                                    (share(rule.n_failed_checks, most))
                                }
                                td.in { (kinds(&rule.checks)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Checks in short: `Standard: Invoice, Credit`.
fn kinds(checks: &[usize]) -> Markup {
    let of = |kind: &str| -> Vec<&str> {
        let names = checks.iter().filter_map(|at| SHORT_NAMES.get(*at));
        names.filter(|(of, _)| *of == kind).map(|(_, document)| *document).collect()
    };
    let (standard, simplified) = (of("Standard"), of("Simplified"));
    html! {
        @if !standard.is_empty() { span.kind { "Standard: " (standard.join(", ")) } }
        @if !simplified.is_empty() { " " span.kind { "Simplified: " (simplified.join(", ")) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::VatChecks;

    #[test]
    fn every_cell_says_its_number() {
        let mut checks = [CheckTally::default(); 6];
        checks[0] = CheckTally { n_succeeded: 3_000, n_failed: 1_000 };
        checks[1] = CheckTally { n_succeeded: 7, n_failed: 0 };
        let checks = ChecksByVat {
            vats: vec![VatChecks { vat: "310122393500003".to_owned(), checks }],
            n_more_failing: 2,
        };
        let drawn = by_vat(&checks).into_string();
        assert!(drawn.contains("<strong>25%</strong> <span class=\"of\">1,000 of 4,000</span>"), "{drawn}");
        assert!(drawn.contains("<strong>0%</strong> <span class=\"of\">0 of 7</span>"), "{drawn}");
        assert_eq!(drawn.matches("not reported</span>").count(), 4, "{drawn}");
        assert!(drawn.contains("2 more VATs have failed checks"), "{drawn}");
        for name in CHECK_NAMES {
            assert!(drawn.contains(name), "{name}");
        }
    }

    #[test]
    fn shades_grow_with_the_share() {
        for (failed, reported, class) in [
            (0, 9, "h0"),
            (1, 1_000, "h1"),
            (46, 1_000, "h2"),
            (5, 100, "h2"),
            (1, 10, "h3"),
            (1, 4, "h4"),
            (9, 9, "h5"),
        ] {
            assert_eq!(shade(failed, reported), class, "{failed} of {reported}");
        }
    }

    #[test]
    fn checks_are_named_in_short() {
        let named = kinds(&[0, 2, 4]).into_string();
        assert!(named.contains("Standard: Invoice, Debit"), "{named}");
        assert!(named.contains("Simplified: Credit"), "{named}");
    }
}
