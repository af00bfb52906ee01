//! The list of activities, and the search for one.

use maud::{Markup, html};

use super::marks::chip_of;
use super::rows::{Row, text, text_of, time};
use super::words::{cut, encoded, moment_stacked, theirs};
use super::{Frame, Here, layout, link_to, link_to_vat, nothing_registered};
use crate::domain::activity::State;
use crate::store::Table;

/// What was looked for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// An activity id, device id, reference or VAT, as it was typed; empty: anything.
    pub q: String,
    /// Only in this state.
    pub state: Option<State>,
    /// Only of this VAT, as it was typed; empty: of any.
    pub vat: String,
    /// Whether the list goes on where another page of it ended.
    pub is_continued: bool,
}

impl Search {
    fn is_for_anything(&self) -> bool {
        self.q.is_empty() && self.state.is_none() && self.vat.is_empty()
    }

    /// The address of this search, from its beginning or from a cursor on.
    fn address(&self, cursor: Option<&str>) -> String {
        let state = self.state.map_or("", State::label);
        let parts: Vec<String> =
            [("q", self.q.as_str()), ("state", state), ("vat", &self.vat), ("cursor", cursor.unwrap_or(""))]
                .into_iter()
                .filter(|(_, value)| !value.is_empty())
                .map(|(key, value)| format!("{key}={}", encoded(value)))
                .collect();
        if parts.is_empty() { "/activities".to_owned() } else { format!("/activities?{}", parts.join("&")) }
    }
}

/// The list: `table` with the columns of `report_activities`, `next` the cursor of what comes after it.
pub fn activities(frame: &Frame<'_>, search: &Search, table: &Table, next: Option<&str>) -> Markup {
    let rows = table.objects();
    let title = search.state.map_or_else(|| "Activities".to_owned(), |state| format!("{state} activities"));
    let main = html! {
        h1 { (title) }
        (form(search))
        @if rows.is_empty() && search.is_for_anything() && !search.is_continued { (nothing_registered()) }
        @else if rows.is_empty() {
            p.empty {
                "Nothing found. Ids, references and VATs are compared whole and letter by letter. "
                a href="/activities" { "Show all activities" }
            }
        } @else {
            (list(frame, &rows))
        }
        @if next.is_some() || search.is_continued {
            nav.pages aria-label="Pages of the list" {
                @if search.is_continued { a href=(search.address(None)) { "← Latest" } }
                @if let Some(cursor) = next { a rel="next" href=(search.address(Some(cursor))) { "Older →" } }
            }
        }
    };
    layout(frame, &title, Here::Activities, None, &main)
}

fn form(search: &Search) -> Markup {
    html! {
        form.search role="search" action="/activities" method="get" {
            div.field.wide {
                label for="q" { "Activity id, device id, reference or VAT" }
                input #q name="q" type="search" value=(search.q) maxlength="256" autocomplete="off"
                    spellcheck="false" dir="auto";
            }
            div.field {
                label for="state" { "State" }
                select #state name="state" {
                    option value="" selected[search.state.is_none()] { "any" }
                    @for state in State::ALL {
                        option value=(state.label()) selected[search.state == Some(state)] { (state.label()) }
                    }
                }
            }
            div.field {
                label for="vat" { "VAT" }
                input #vat name="vat" value=(search.vat) maxlength="32" autocomplete="off" spellcheck="false";
            }
            div.field.buttons {
                button type="submit" { "Find" }
                @if !search.is_for_anything() { a href="/activities" { "Clear" } }
            }
        }
    }
}

fn list(frame: &Frame<'_>, rows: &[Row]) -> Markup {
    html! {
        table.folds.fixed {
            caption.note { "The latest registered first" }
            colgroup { col.w-id; col.w-state; col.w-vat; col; col; col.w-time; col.w-time; }
            thead {
                tr {
                    @for title in ["Activity", "State", "VAT", "Device", "Reference", "Registered", "Standing"] {
                        th scope="col" { (title) }
                    }
                }
            }
            tbody { @for row in rows { (line(frame, row)) } }
        }
    }
}

fn line(frame: &Frame<'_>, row: &Row) -> Markup {
    let vat = text_of(row, "vat");
    html! {
        tr {
            th scope="row" { (link_to(vat, text_of(row, "activity_id"))) }
            td data-label="State" { (chip_of(text_of(row, "state"))) }
            td data-label="VAT" { (link_to_vat(vat)) }
            td data-label="Device" { @if let Some(device) = text(row, "device_id") { (theirs(&cut(device, 64))) } }
            td data-label="Reference" { @if let Some(reference) = text(row, "reference") { (theirs(&cut(reference, 64))) } }
            td data-label="Registered" {
                @if let Some(at) = time(row, "registered_at") { (moment_stacked("", frame.now, at)) }
            }
            td data-label="Standing" { (standing(frame, row)) }
        }
    }
}

/// How it stands, in a few words: when it concluded, or when it is asked for and what was wrong last.
fn standing(frame: &Frame<'_>, row: &Row) -> Markup {
    let concluded_at = time(row, "concluded_at");
    html! {
        @if let Some(at) = concluded_at { (moment_stacked("concluded ", frame.now, at)) }
        @else if let Some(at) = time(row, "next_poll_at") {
            @if at <= frame.now { "due now" } @else { (moment_stacked("next poll ", frame.now, at)) }
        }
        @if concluded_at.is_none() {
            @if time(row, "stalled_at").is_some() { " " span.tag { "stalled" } }
            @if let Some(error) = text(row, "last_error") { " " span.bad { (theirs(&cut(error, 100))) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_carry_what_was_looked_for() {
        assert_eq!(Search::default().address(None), "/activities");
        let search = Search {
            q: "a&b=ص".to_owned(),
            state: Some(State::InProgress),
            vat: "3-1".to_owned(),
            is_continued: true,
        };
        assert_eq!(
            search.address(Some("x/y")),
            "/activities?q=a%26b%3D%D8%B5&state=IN_PROGRESS&vat=3-1&cursor=x%2Fy"
        );
    }
}
