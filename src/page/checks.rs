//! Which checks fail, of which VATs, and by which rules.

use maud::{Markup, html};

use super::plot::share;
use super::text::{code, prose};
use super::{Frame, link_to_vat, scrolling};
use crate::domain::report::CHECK_NAMES;
use crate::store::{CheckTally, ChecksByVat, FailingRules};
use crate::words::{Said, Words};

/// The shades of a cell: the least share of failed checks for each, in percent, and its class.
const SHADES: [(u64, &str); 5] = [(50, "h5"), (25, "h4"), (10, "h3"), (5, "h2"), (0, "h1")];

/// The document that a check is about, by its place in [`CHECK_NAMES`]: three of each kind of invoice.
fn document(words: Words, nth: usize) -> Said<'static> {
    match nth % 3 {
        0 => words.document_invoice(),
        1 => words.document_credit(),
        _ => words.document_debit(),
    }
}

/// The six checks by VAT as a heat map with a number in each cell.
pub(super) fn by_vat(frame: &Frame<'_>, checks: &ChecksByVat) -> Markup {
    let words = frame.words;
    html! {
        section aria-labelledby="checks" {
            h2 #checks { (words.checks_title()) }
            @if checks.vats.is_empty() { p.empty { (words.checks_none()) } }
            @else {
                p.note {
                    (words.checks_note())
                    @if checks.n_more_failing > 0 {
                        " " (words.checks_more(code("pcsid-watch report checks"), checks.n_more_failing))
                    }
                }
                (scrolling(&words.checks_title(), &heat_map(frame, checks)))
                ul.legend {
                    li { span.cell.h0 {} " " (words.shade_none()) }
                    @for (nth, (from, class)) in SHADES.iter().enumerate().rev() {
                        li {
                            span class={ "cell " (class) } {} " "
                            @if nth == SHADES.len() - 1 { (words.shade_under(percent_sign(5))) }
                            @else { (words.shade_from(percent_sign(*from))) }
                        }
                    }
                    li { span.cell.unreported { "–" } " " (words.not_reported()) }
                }
            }
        }
    }
}

fn percent_sign(n: u64) -> Markup {
    html! { bdi dir="ltr" { (n) "%" } }
}

fn heat_map(frame: &Frame<'_>, checks: &ChecksByVat) -> Markup {
    let words = frame.words;
    html! {
        table.heat {
            caption.unseen { (words.checks_note()) }
            thead {
                tr {
                    th scope="col" rowspan="2" { (words.col_vat()) }
                    th scope="colgroup" colspan="3" { (words.standard_invoice()) }
                    th scope="colgroup" colspan="3" { (words.simplified_invoice()) }
                }
                tr {
                    @for (nth, name) in CHECK_NAMES.iter().enumerate() {
                        th scope="col" { abbr title=(name) { (document(words, nth)) } }
                    }
                }
            }
            tbody {
                @for vat in &checks.vats {
                    tr {
                        th scope="row" { (link_to_vat(&vat.vat)) }
                        @for check in &vat.checks { (cell(frame, *check)) }
                    }
                }
            }
        }
    }
}

fn cell(frame: &Frame<'_>, check: CheckTally) -> Markup {
    let words = frame.words;
    let reported = check.n_failed.saturating_add(check.n_succeeded);
    html! {
        @if reported == 0 { td.cell.unreported { "–" span.unseen { " " (words.not_reported()) } } }
        @else {
            td class={ "cell " (shade(check.n_failed, reported)) } {
                strong dir="ltr" { (words.percent(check.n_failed, reported)) } " "
                span.of { (words.n_of(words.number(check.n_failed), words.number(reported))) }
            }
        }
    }
}

fn shade(failed: u64, reported: u64) -> &'static str {
    if failed == 0 {
        return "h0";
    }
    // Rounded like the number in the cell, so that the two agree.
    let doubled = u128::from(failed) * 200 + u128::from(reported);
    let reaches = |hundredths: u64| doubled >= u128::from(reported) * 2 * u128::from(hundredths);
    SHADES.iter().find(|(from, _)| reaches(*from)).map_or("h0", |(_, class)| class)
}

/// The rules that fail most, as bars with numbers.
pub(super) fn rules(frame: &Frame<'_>, rules: &FailingRules) -> Markup {
    let words = frame.words;
    let most = rules.rules.iter().map(|rule| rule.n_failed_checks).max().unwrap_or(0);
    let (failed, owner, inside) = (words.col_failed_checks(), words.col_owner(), words.col_in());
    html! {
        section aria-labelledby="rules" {
            h2 #rules { (words.rules_title()) }
            @if rules.rules.is_empty() { p.empty { (words.rules_none()) } }
            @else {
                p.note {
                    (words.rules_note())
                    @if rules.n_more > 0 { " " (words.rules_more(code("pcsid-watch report rules"), rules.n_more)) }
                }
                table.bars {
                    caption.unseen { (words.rules_title()) }
                    thead {
                        tr {
                            @for title in [&words.col_rule(), &failed, &owner, &inside] { th scope="col" { (title) } }
                        }
                    }
                    tbody {
                        @for rule in &rules.rules {
                            tr {
                                @let explained = frame.catalogue.explain(Some(&rule.rule));
                                th scope="row" {
                                    (code(&super::cut(&rule.rule, 60)))
                                    span.meaning { (prose(&super::cut(explained.meaning.of(words.language()), 300))) }
                                }
                                td.measured {
                                    span.n { (words.number(rule.n_failed_checks)) } " "
                                    (share(words, rule.n_failed_checks, most))
                                }
                                td.owner { (words.owner_word(explained.owner)) }
                                td.in { (kinds(frame, &rule.checks)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Checks by their names.
fn kinds(frame: &Frame<'_>, checks: &[usize]) -> Markup {
    let words = frame.words;
    let of = |simplified: bool| -> Vec<String> {
        let places = checks.iter().filter(|at| (**at >= 3) == simplified && **at < CHECK_NAMES.len());
        places.map(|at| document(words, *at).to_string()).collect()
    };
    let (standard, simplified) = (of(false), of(true));
    let comma = format!("{} ", words.list_comma());
    html! {
        @if !standard.is_empty() { span.kind { (words.kind_standard(standard.join(&comma))) } }
        @if !simplified.is_empty() { " " span.kind { (words.kind_simplified(simplified.join(&comma))) } }
    }
}

/// A check's name in words, with its public name in the data.
pub(super) fn check_name(words: Words, name: &str) -> Markup {
    html! {
        @match words.check_word(name) {
            Some(word) => span data-check=(name) { (word) },
            None => (super::theirs(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::page::tests::frame;
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
        let drawn = by_vat(&frame(), &checks).into_string();
        assert!(drawn.contains("25%</strong> <span class=\"of\">1,000 of 4,000</span>"), "{drawn}");
        assert!(drawn.contains("0%</strong> <span class=\"of\">0 of 7</span>"), "{drawn}");
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
    fn checks_are_named_by_kind() {
        let named = kinds(&frame(), &[0, 2, 4]).into_string();
        assert!(named.contains("Standard: Invoice, Debit"), "{named}");
        assert!(named.contains("Simplified: Credit"), "{named}");
    }
}
