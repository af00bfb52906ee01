//! The list of activities, and the search for some.

use jiff::civil::Date;
use maud::{Markup, html};

use super::marks::chip;
use super::text::{address, cut, moment_stacked, stacked, stored, theirs};
use super::{Frame, Here, failures, layout, link_to_device, link_to_vat, nothing_registered, turn_pages};
use crate::domain::activity::State;
use crate::domain::catalogue::Owner;
use crate::store::{ActivityOrder, ActivityRow, Failure, Total};
use crate::words::{Said, Words};

/// The name of "still waiting" among the states to choose from.
const WAITING: &str = "WAITING";

/// The order of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sort(pub ActivityOrder);

impl Sort {
    const ALL: [Sort; 4] = [
        Sort(ActivityOrder::LatestAdded),
        Sort(ActivityOrder::FirstAdded),
        Sort(ActivityOrder::LatestEnded),
        Sort(ActivityOrder::FirstEnded),
    ];

    /// The word in addresses.
    pub const fn label(self) -> &'static str {
        match self.0 {
            ActivityOrder::LatestAdded => "newest",
            ActivityOrder::FirstAdded => "oldest",
            ActivityOrder::LatestEnded => "ended",
            ActivityOrder::FirstEnded => "ended-first",
        }
    }

    /// What this word stands for.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|sort| sort.label() == label)
    }

    fn word(self, words: Words) -> Said<'static> {
        match self.0 {
            ActivityOrder::LatestAdded => words.sort_newest(),
            ActivityOrder::FirstAdded => words.sort_oldest(),
            ActivityOrder::LatestEnded => words.sort_ended(),
            ActivityOrder::FirstEnded => words.sort_ended_first(),
        }
    }
}

/// What the reader searches for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Search {
    /// A part of an activity id, device id, reference or VAT, as it was typed; empty: anything.
    pub q: String,
    /// Only in one of these states; empty: in any.
    pub states: Vec<State>,
    /// Only of this VAT, as it was typed; empty: of any.
    pub vat: String,
    /// Only failures that this owner must act on.
    pub owner: Option<Owner>,
    /// Only with this rule in a check; empty: with any.
    pub rule: String,
    /// Only added on this day or later.
    pub from: Option<Date>,
    /// Only added on this day or before.
    pub until: Option<Date>,
    /// In which order.
    pub sort: Sort,
    /// Whether this is not the first page of the list.
    pub is_continued: bool,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct FoundActivities {
    /// The activities.
    pub activities: Vec<ActivityRow>,
    /// The same rows as failures, if the search is for failures alone.
    pub failures: Vec<Failure>,
    /// How many there are in all.
    pub total: Total,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

impl Search {
    /// The states that a word in an address stands for; `None` if it is no such word.
    pub fn states_from_label(label: &str) -> Option<Vec<State>> {
        match label {
            WAITING => Some(State::WAITING.to_vec()),
            label => State::from_label(label).map(|state| vec![state]),
        }
    }

    fn states_label(&self) -> &'static str {
        match self.states.as_slice() {
            [] => "",
            [state] => state.label(),
            _ => WAITING,
        }
    }

    fn is_for_anything(&self) -> bool {
        *self == Self { is_continued: self.is_continued, sort: self.sort, ..Self::default() }
    }

    /// The address of this search, from its beginning or from a cursor on.
    fn address(&self, path: &str, cursor: Option<&str>) -> String {
        let date = |date: Option<Date>| date.map_or_else(String::new, |date| date.to_string());
        let sort = if self.sort == Sort::default() { "" } else { self.sort.label() };
        let (from, until) = (date(self.from), date(self.until));
        let parameters = [
            ("q", self.q.as_str()),
            ("state", self.states_label()),
            ("vat", &self.vat),
            ("owner", self.owner.map_or("", Owner::label)),
            ("rule", &self.rule),
            ("from", &from),
            ("until", &until),
            ("sort", sort),
            ("cursor", cursor.unwrap_or("")),
        ];
        address(path, &parameters)
    }
}

/// The list, with the form that filters it.
pub fn activities(frame: &Frame<'_>, search: &Search, found: &FoundActivities) -> Markup {
    let words = frame.words;
    let rows = &found.activities;
    let title = match search.states.as_slice() {
        [state] => words.activities_in(words.state_word(*state)).to_string(),
        _ => words.nav_activities().to_string(),
    };
    let main = html! {
        h1 { (title) }
        (form(frame, search))
        @if rows.is_empty() && search.is_for_anything() && !search.is_continued { (nothing_registered(frame)) }
        @else if rows.is_empty() {
            p.empty { (words.nothing_found()) " " a href="/activities" { (words.show_all()) } }
        } @else {
            div.titled {
                p.total { strong { (total(frame, found.total)) } " " span.soft { (search.sort.word(words)) } }
                a href=(search.address("/activities.csv", None)) download { (words.as_csv()) }
            }
            @if found.failures.is_empty() { (list(frame, rows)) }
            @else { (failures::table(frame, &found.failures, &title)) }
        }
        (turn_pages(frame,
            search.is_continued.then(|| search.address("/activities", None)),
            found.next.as_deref().map(|cursor| search.address("/activities", Some(cursor)))))
    };
    layout(frame, &title, Here::Activities, &main)
}

fn total(frame: &Frame<'_>, total: Total) -> Said<'static> {
    match total {
        Total::Exactly(n) => frame.words.n_activities(n),
        Total::MoreThan(n) => frame.words.more_than_n_activities(n),
    }
}

fn form(frame: &Frame<'_>, search: &Search) -> Markup {
    let words = frame.words;
    let date = |date: Option<Date>| date.map_or_else(String::new, |date| date.to_string());
    let is_narrowed =
        search.owner.is_some() || !search.rule.is_empty() || search.until.or(search.from).is_some();
    html! {
        form.search role="search" action="/activities" method="get" {
            div.field.wide {
                label for="q" { (words.find_placeholder()) }
                input #q name="q" type="search" value=(search.q) maxlength="256" autocomplete="off" spellcheck="false"
                    dir="auto";
            }
            div.field {
                label for="state" { (words.col_state()) }
                select #state name="state" {
                    option value="" { (words.any()) }
                    option value=(WAITING) selected[search.states.len() > 1] { (words.state_open()) }
                    @for state in State::ALL {
                        option value=(state.label()) selected[search.states == [state]] { (words.state_word(state)) }
                    }
                }
            }
            div.field {
                label for="vat" { (words.col_vat()) }
                input #vat name="vat" value=(search.vat) maxlength="32" autocomplete="off" spellcheck="false" dir="ltr";
            }
            div.field {
                label for="sort" { (words.sort_label()) }
                select #sort name="sort" {
                    @for sort in Sort::ALL {
                        option value=(sort.label()) selected[search.sort == sort] { (sort.word(words)) }
                    }
                }
            }
            details.narrow open[is_narrowed] {
                summary { (words.more_filters()) }
                div.fields {
                    div.field {
                        label for="owner" { (words.col_owner()) }
                        select #owner name="owner" {
                            option value="" { (words.any()) }
                            @for owner in Owner::ALL {
                                option value=(owner.label()) selected[search.owner == Some(owner)] {
                                    (words.owner_word(owner))
                                }
                            }
                        }
                    }
                    div.field {
                        label for="rule" { (words.col_rule()) }
                        input #rule name="rule" value=(search.rule) maxlength="64" autocomplete="off"
                            spellcheck="false" dir="ltr" placeholder="BR-KSA-37";
                    }
                    div.field {
                        label for="from" { (words.added_from()) }
                        input #from name="from" type="date" value=(date(search.from));
                    }
                    div.field {
                        label for="until" { (words.added_until()) }
                        input #until name="until" type="date" value=(date(search.until));
                    }
                }
            }
            div.field.buttons {
                button.main type="submit" { (words.find_button()) }
                @if !search.is_for_anything() { a href="/activities" { (words.clear()) } }
            }
        }
    }
}

fn list(frame: &Frame<'_>, rows: &[ActivityRow]) -> Markup {
    let words = frame.words;
    let (state, vat, reference, added, standing_) =
        (words.col_state(), words.col_vat(), words.col_reference(), words.col_added(), words.col_standing());
    html! {
        table.folds.cards.fixed {
            caption.unseen { (words.nav_activities()) }
            colgroup { col.w-id; col.w-state; col.w-vat; col; col.w-time; col.w-standing; }
            thead {
                tr {
                    @for title in [&words.col_device(), &state, &vat, &reference, &added, &standing_] {
                        th scope="col" { (title) }
                    }
                }
            }
            tbody {
                @for row in rows {
                    tr {
                        th scope="row" { (link_to_device(&row.vat, &row.activity_id, row.device_id.as_deref())) }
                        td.state data-label=(state) { (chip(frame, row.state)) }
                        td.whose data-label=(vat) { (link_to_vat(&row.vat)) }
                        td.told data-label=(reference) {
                            @if let Some(own) = &row.reference { (theirs(&cut(own, 64))) }
                        }
                        td.time data-label=(added) { (moment_stacked(frame, row.registered_at)) }
                        td data-label=(standing_) { (standing(frame, row)) }
                    }
                }
            }
        }
    }
}

/// Its progress in a few words: when it ended, or when it is polled next and what was wrong last.
fn standing(frame: &Frame<'_>, row: &ActivityRow) -> Markup {
    let words = frame.words;
    let ended_at = row.concluded_at;
    let late = html! { @if row.stalled_at.is_some() { i.tag { (words.late()) } " " } };
    html! {
        @if let Some(at) = ended_at { (stacked(frame, words.ended_when(words.distance(frame.now, at)), at)) }
        @else if let Some(at) = row.next_poll_at {
            @if at <= frame.now { (late) (words.due_now()) }
            @else {
                @let next = words.next_poll_when(words.distance(frame.now, at));
                (stacked(frame, html! { (late) (next) }, at))
            }
        }
        @if ended_at.is_none() {
            @if let Some(error) = &row.last_error { " " span.bad { (stored(frame, error, 100)) } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_carry_what_was_looked_for() {
        assert_eq!(Search::default().address("/activities", None), "/activities");
        let search = Search {
            q: "a&b=ص".to_owned(),
            states: vec![State::InProgress],
            vat: "3-1".to_owned(),
            owner: Some(Owner::Device),
            sort: Sort(ActivityOrder::LatestEnded),
            is_continued: true,
            ..Search::default()
        };
        assert_eq!(
            search.address("/activities.csv", Some("x/y")),
            "/activities.csv?q=a%26b%3D%D8%B5&state=IN_PROGRESS&vat=3-1&owner=device&sort=ended&cursor=x%2Fy"
        );
        assert_eq!(Search::states_from_label("WAITING"), Some(State::WAITING.to_vec()));
        for sort in Sort::ALL {
            assert_eq!(Sort::from_label(sort.label()), Some(sort));
        }
    }
}
