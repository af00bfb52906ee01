//! Lists in slices: filtered, in a fixed order, each slice beginning where the one before it ended.
//!
//! The position of a slice's last row is what the next one begins after. It is the row's sort key, so it needs no
//! memory here, survives restarts, and no row that comes or goes meanwhile makes another one repeat or disappear.
//!
//! A list that an index has in the wanted order costs what it returns. Any other may have to check every row
//! (`is_expensive`): it waits in the queue of searches and has a time limit (`store::search_queue`). Totals come from
//! the tallies where those know them; otherwise rows are counted up to a limit.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::history::DeliveryRow;
use super::views::{Argument, Cell, Table};
use crate::domain::activity::{State, Vat};
use crate::domain::catalogue::Owner;
use crate::domain::routing::DeliveryStatus;
use crate::domain::text::folded;
use crate::domain::time::Timestamp;

/// How many activities are counted one by one at most; beyond that, a list says "more than".
pub(super) const MAX_COUNTED: u32 = 10_000;

/// Activities with a rule, in a state or with a name are looked up by it if there are no more than these. If there are
/// more, the list is read in its order and each row checked.
pub(super) const MAX_LOOKED_UP: i64 = 20_000;

/// About how many bytes of events one slice has: an event that begins below this is read whole.
pub(super) const MAX_SLICE_BYTES: usize = 4 * 1024 * 1024;

/// How many parts of names a search looks for; further ones are ignored.
const MAX_PARTS: usize = 8;

/// A time from `from` on and before `until`; either end may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TimeRange {
    /// The first time that counts.
    pub from: Option<Timestamp>,
    /// The first time that no longer counts.
    pub until: Option<Timestamp>,
}

/// The order of a list of activities.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ActivityOrder {
    /// The latest registered first.
    #[default]
    LatestAdded,
    /// The first registered first.
    FirstAdded,
    /// The latest concluded first; those that have not concluded are left out.
    LatestEnded,
    /// The first concluded first; those that have not concluded are left out.
    FirstEnded,
}

impl ActivityOrder {
    pub(super) const fn column(self) -> &'static str {
        match self {
            ActivityOrder::LatestAdded | ActivityOrder::FirstAdded => "registered_at",
            ActivityOrder::LatestEnded | ActivityOrder::FirstEnded => "concluded_at",
        }
    }

    /// Whether those that have not concluded are left out.
    pub(super) const fn is_by_end(self) -> bool {
        matches!(self, ActivityOrder::LatestEnded | ActivityOrder::FirstEnded)
    }

    pub(super) const fn direction(self) -> &'static str {
        match self {
            ActivityOrder::LatestAdded | ActivityOrder::LatestEnded => "DESC",
            ActivityOrder::FirstAdded | ActivityOrder::FirstEnded => "ASC",
        }
    }
}

/// How many rows a list has in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    /// So many.
    Exactly(u64),
    /// More than so many: counting all of them would take too long.
    MoreThan(u64),
}

impl Default for Total {
    fn default() -> Self {
        Total::Exactly(0)
    }
}

impl Total {
    /// The one number in a table; of a count that stops after [`MAX_COUNTED`] it may be less than there are.
    pub(super) fn of(table: &Table, stops: bool) -> Self {
        let n = match table.rows.first().and_then(|row| row.first()) {
            Some(Cell::Integer(n)) => u64::try_from(*n).unwrap_or(0),
            _ => 0,
        };
        if stops && n > MAX_COUNTED.into() { Total::MoreThan(MAX_COUNTED.into()) } else { Total::Exactly(n) }
    }
}

/// Which activities to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActivityFilter {
    /// Only with all of these parts, separated by white space, in id, `device_id`, `reference` or VAT; letters and
    /// digits count as [`crate::domain::text::folded`] writes them.
    pub search: Option<String>,
    /// Only failures that this owner must act on.
    pub owner: Option<Owner>,
    /// Only with this rule in a check.
    pub rule: Option<String>,
    /// In which order.
    pub order: ActivityOrder,
    /// Only in one of these states; none: in any.
    pub states: Vec<State>,
    /// Only of this VAT.
    pub vat: Option<Vat>,
    /// Only with this `device_id`.
    pub device_id: Option<String>,
    /// Only with this `reference`.
    pub reference: Option<String>,
    /// Only registered then.
    pub registered: TimeRange,
    /// Only concluded then.
    pub concluded: TimeRange,
    /// Only what comes after this one.
    pub after: Option<ActivityPosition>,
    /// At most so many; `None`: all.
    pub limit: Option<u32>,
}

impl ActivityFilter {
    /// Whether it may have to read every activity. One of states, a VAT or the order of ends alone is found by an index
    /// that has the wanted order.
    pub(super) fn is_expensive(&self) -> bool {
        let Self { states, vat, order, after, limit, .. } = self.clone();
        let is_by_end = order.is_by_end();
        let n_asked =
            [vat.is_some(), !states.is_empty(), is_by_end].into_iter().filter(|is_asked| *is_asked).count();
        n_asked > 1 || *self != Self { states, vat, order, after, limit, ..Self::default() }
    }

    /// Whether the tallies know how many it lets through, as they do by state and VAT.
    pub(super) fn is_tallied(&self) -> bool {
        let Self { states, vat, order, after, limit, .. } = self.clone();
        !order.is_by_end() && *self == Self { states, vat, order, after, limit, ..Self::default() }
    }

    /// The parts of names that a search looks for.
    pub(super) fn search_parts(&self) -> Vec<String> {
        let folded = self.search.as_deref().map(folded).unwrap_or_default();
        folded.split_whitespace().take(MAX_PARTS).map(str::to_owned).collect()
    }

    /// What it asks of each activity `a` that both databases say alike: all but search, states and rule.
    pub(super) fn add_plain_conditions(&self, conditions: &mut Conditions<'static>) {
        let mut text = |condition, value: Option<&str>| {
            if let Some(value) = value {
                conditions.add(condition, [Argument::Owned(Some(value.to_owned()))]);
            }
        };
        text("a.vat_id = (SELECT id FROM vats WHERE vat = ?)", self.vat.as_ref().map(Vat::as_str));
        text("a.next_step_owner = ?", self.owner.map(Owner::label));
        text("a.device_id = ?", self.device_id.as_deref());
        text("a.reference = ?", self.reference.as_deref());
        conditions.span("a.registered_at >= ?", "a.registered_at < ?", self.registered);
        conditions.span("a.concluded_at >= ?", "a.concluded_at < ?", self.concluded);
        if let Some(after) = self.after {
            let condition = match self.order {
                ActivityOrder::LatestAdded => "(a.registered_at, a.id) < (?, ?)",
                ActivityOrder::FirstAdded => "(a.registered_at, a.id) > (?, ?)",
                ActivityOrder::LatestEnded => "(a.concluded_at, a.id) < (?, ?)",
                ActivityOrder::FirstEnded => "(a.concluded_at, a.id) > (?, ?)",
            };
            conditions.add(condition, [Argument::Integer(after.at), Argument::Integer(after.activity)]);
        }
        if self.order.is_by_end() {
            conditions.add("a.concluded_at IS NOT NULL", []);
        }
    }

    /// Its slice of a table whose last two columns are what the list is ordered by and the activity's key.
    pub(super) fn slice(&self, table: Table) -> Slice<ActivityPosition> {
        slice(table, self.limit, 2, self.after, |cells| match cells {
            [Cell::Integer(at), Cell::Integer(activity)] => {
                Some(ActivityPosition { at: *at, activity: *activity })
            }
            _ => None,
        })
    }
}

/// Which events to list, in the order in which they were recorded.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EventFilter {
    /// Only of this type.
    pub kind: Option<String>,
    /// Only about this VAT.
    pub vat: Option<Vat>,
    /// Only about activities with this id.
    pub activity_id: Option<String>,
    /// Only from then.
    pub occurred: TimeRange,
    /// Only what comes after this one.
    pub after: Option<EventPosition>,
    /// At most so many; `None`: all.
    pub limit: Option<u32>,
}

impl EventFilter {
    /// As [`ActivityFilter::is_expensive`].
    pub(super) fn is_expensive(&self) -> bool {
        let n_asked = [self.kind.is_some(), self.vat.is_some(), self.activity_id.is_some()];
        self.occurred != TimeRange::default() || n_asked.into_iter().filter(|is_asked| *is_asked).count() > 1
    }

    /// What it asks of each event `e`.
    pub(super) fn conditions(&self) -> Conditions<'_> {
        let mut conditions = Conditions::new();
        conditions.text("e.type = ?", self.kind.as_deref());
        conditions.text("e.vat = ?", self.vat.as_ref().map(Vat::as_str));
        conditions.text(
            "e.activity IN (SELECT id FROM activities WHERE activity_id = ?)",
            self.activity_id.as_deref(),
        );
        conditions.span("e.occurred_at >= ?", "e.occurred_at < ?", self.occurred);
        if let Some(after) = self.after {
            conditions.add("e.seq > ?", [Argument::Integer(after.event)]);
        }
        conditions
    }

    /// Its slice of a table whose last two columns are the event's key and how many events were found. If those are
    /// more than the rows, the rest did not fit into [`MAX_SLICE_BYTES`].
    pub(super) fn slice(&self, table: Table) -> Slice<EventPosition> {
        let n_found = table.rows.first().and_then(|row| row.last());
        let is_cut = matches!(n_found, Some(Cell::Integer(n)) if usize::try_from(*n).is_ok_and(|n| n > table.rows.len()));
        let slice = slice(table, self.limit, 2, self.after, |cells| match cells {
            [Cell::Integer(event), _] => Some(EventPosition { event: *event }),
            _ => None,
        });
        Slice { has_more: slice.has_more || is_cut, ..slice }
    }
}

/// Which deliveries to list, the latest event first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeliveryFilter {
    /// Only with this status.
    pub status: Option<DeliveryStatus>,
    /// Only to this sink.
    pub sink: Option<String>,
    /// Only of this event.
    pub event_id: Option<String>,
    /// Only what comes after this one.
    pub after: Option<DeliveryPosition>,
    /// At most so many; `None`: all.
    pub limit: Option<u32>,
}

impl DeliveryFilter {
    /// As [`ActivityFilter::is_expensive`].
    pub(super) fn is_expensive(&self) -> bool {
        self.sink.is_some() && self.event_id.is_none()
    }

    /// What it asks of each delivery `d`.
    pub(super) fn conditions(&self) -> Conditions<'_> {
        let mut conditions = Conditions::new();
        let status = match self.status {
            // The index that finds these has no delivered ones, and is used only if the statement says so too.
            Some(DeliveryStatus::Pending | DeliveryStatus::Dead) => {
                "d.status <> 'delivered' AND d.status = ?"
            }
            _ => "d.status = ?",
        };
        conditions.text(status, self.status.map(DeliveryStatus::label));
        conditions.text("d.sink = ?", self.sink.as_deref());
        conditions.text("d.event = (SELECT seq FROM events WHERE event_id = ?)", self.event_id.as_deref());
        if let Some(after) = &self.after {
            let (event, sink) = (Argument::Integer(after.event), Argument::Text(Some(&after.sink)));
            conditions.add("(d.event < ? OR (d.event = ? AND d.sink > ?))", [event.clone(), event, sink]);
        }
        conditions
    }

    /// Its slice of a table whose last two columns are the event's key and the sink.
    pub(super) fn slice(&self, table: Table) -> Slice<DeliveryPosition> {
        slice(table, self.limit, 2, self.after.clone(), |cells| match cells {
            [Cell::Integer(event), Cell::Text(sink)] => {
                Some(DeliveryPosition { event: *event, sink: sink.clone() })
            }
            _ => None,
        })
    }
}

/// A delivery in a list, with what its event is about.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct OutboxRow {
    /// The event's VAT, if it is about one.
    pub vat: Option<String>,
    /// The event's activity, if it is about one that is still there.
    pub activity_id: Option<String>,
    /// The delivery.
    #[serde(flatten)]
    pub delivery: DeliveryRow,
}

/// Where a list of activities continues. Its text always has the same number of hexadecimal digits, and any digits are
/// a place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityPosition {
    /// Epoch milliseconds of what the list is ordered by.
    pub(super) at: i64,
    pub(super) activity: i64,
}

/// Where a list of events continues; its text as with [`ActivityPosition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPosition {
    pub(super) event: i64,
}

/// Where a list of deliveries continues; its text as with [`ActivityPosition`], with the sink's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPosition {
    pub(super) event: i64,
    pub(super) sink: String,
}

/// A text that is no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoPosition;

impl fmt::Display for ActivityPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}{:016x}", self.at, self.activity)
    }
}

impl FromStr for ActivityPosition {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (at, activity) = text.split_at_checked(16).ok_or(NoPosition)?;
        Ok(Self { at: number(at)?, activity: number(activity)? })
    }
}

impl fmt::Display for EventPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.event)
    }
}

impl FromStr for EventPosition {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        Ok(Self { event: number(text)? })
    }
}

impl fmt::Display for DeliveryPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.event)?;
        self.sink.bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for DeliveryPosition {
    type Err = NoPosition;

    fn from_str(text: &str) -> Result<Self, NoPosition> {
        let (event, sink) = text.split_at_checked(16).ok_or(NoPosition)?;
        let bytes: Option<Vec<u8>> = sink
            .as_bytes()
            .chunks(2)
            .map(|pair| {
                u8::from_str_radix(std::str::from_utf8(pair).ok().filter(|pair| pair.len() == 2)?, 16).ok()
            })
            .collect();
        let sink = String::from_utf8_lossy(&bytes.ok_or(NoPosition)?).into_owned();
        Ok(Self { event: number(event)?, sink })
    }
}

/// Sixteen hexadecimal digits; what is stored is never negative.
fn number(text: &str) -> Result<i64, NoPosition> {
    match text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        true => i64::from_str_radix(text, 16).map_err(|_| NoPosition),
        false => Err(NoPosition),
    }
}

/// A slice of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Slice<P> {
    /// Its rows.
    pub table: Table,
    /// Where its last row stands, or where it begins if it has none; `None`: it has none and begins at the start.
    pub last: Option<P>,
    /// Whether there are rows after it.
    pub has_more: bool,
}

/// The conditions of a statement, with their arguments.
pub(super) struct Conditions<'a> {
    pub(super) text: String,
    pub(super) arguments: Vec<Argument<'a>>,
}

impl<'a> Conditions<'a> {
    pub(super) fn new() -> Self {
        Self { text: String::from("WHERE true"), arguments: Vec::new() }
    }

    /// `condition` holds one `?` for each argument.
    pub(super) fn add(&mut self, condition: &'static str, arguments: impl IntoIterator<Item = Argument<'a>>) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
        self.arguments.extend(arguments);
    }

    pub(super) fn text(&mut self, condition: &'static str, value: Option<&'a str>) {
        if let Some(value) = value {
            self.add(condition, [Argument::Text(Some(value))]);
        }
    }

    pub(super) fn span(&mut self, from: &'static str, until: &'static str, span: TimeRange) {
        if let Some(time) = span.from {
            self.add(from, [Argument::Integer(time.as_millis())]);
        }
        if let Some(time) = span.until {
            self.add(until, [Argument::Integer(time.as_millis())]);
        }
    }
}

/// One row more than asked for, which shows whether there are more; -1: no limit.
pub(super) fn probing_limit(limit: Option<u32>) -> Argument<'static> {
    Argument::Integer(limit.map_or(-1, |limit| i64::from(limit) + 1))
}

/// Removes the columns that give the position, and the row that only shows that there are more.
fn slice<P>(
    mut table: Table,
    limit: Option<u32>,
    n_position_columns: usize,
    began_after: Option<P>,
    position: impl Fn(&[Cell]) -> Option<P>,
) -> Slice<P> {
    let limit = limit.map_or(usize::MAX, |limit| limit as usize);
    let has_more = table.rows.len() > limit;
    table.rows.truncate(limit);
    let n_columns = table.columns.len().saturating_sub(n_position_columns);
    let last = table.rows.last().and_then(|row| position(row.get(n_columns..).unwrap_or_default()));
    let last = last.or(began_after);
    table.columns.truncate(n_columns);
    table.rows.iter_mut().for_each(|row| row.truncate(n_columns));
    Slice { table, last, has_more }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_position_survives_its_text(first in 0..i64::MAX, second in 0..i64::MAX, sink in "[A-Za-z0-9_.-]{1,64}") {
            let activity = ActivityPosition { at: first, activity: second };
            prop_assert_eq!(activity.to_string().parse(), Ok(activity));
            let event = EventPosition { event: first };
            prop_assert_eq!(event.to_string().parse(), Ok(event));
            let delivery = DeliveryPosition { event: first, sink };
            prop_assert_eq!(delivery.to_string().parse(), Ok(delivery));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            let _ = text.parse::<ActivityPosition>();
            let _ = text.parse::<EventPosition>();
            let _ = text.parse::<DeliveryPosition>();
        }
    }

    #[test]
    fn what_an_index_has_in_order_is_not_expensive() {
        let vat = Vat::parse("310122393500003").ok();
        let cheap = ActivityFilter { limit: Some(7), ..ActivityFilter::default() };
        let ended = ActivityFilter { order: ActivityOrder::FirstEnded, ..cheap.clone() };
        let of_vat = ActivityFilter { vat: vat.clone(), ..cheap.clone() };
        let failed = ActivityFilter { states: vec![State::Failed], ..cheap.clone() };
        for filter in [&cheap, &ended, &of_vat, &failed] {
            assert!(!filter.is_expensive(), "{filter:?}");
        }
        let named = Some("x".to_owned());
        let span = TimeRange { from: Some(Timestamp::from_millis(0)), until: None };
        for filter in [
            ActivityFilter { vat: vat.clone(), ..failed.clone() },
            ActivityFilter { order: ActivityOrder::LatestEnded, ..failed },
            ActivityFilter { vat: vat.clone(), ..ended },
            ActivityFilter { reference: named.clone(), ..cheap.clone() },
            ActivityFilter { search: named.clone(), ..of_vat },
            ActivityFilter { registered: span, ..cheap },
        ] {
            assert!(filter.is_expensive(), "{filter:?}");
        }
        let of_kind = EventFilter { kind: named.clone(), ..EventFilter::default() };
        assert!(!of_kind.is_expensive() && EventFilter { vat, ..of_kind.clone() }.is_expensive());
        assert!(EventFilter { occurred: span, ..EventFilter::default() }.is_expensive());
        let to_sink = DeliveryFilter { sink: named.clone(), ..DeliveryFilter::default() };
        assert!(to_sink.is_expensive() && !DeliveryFilter { event_id: named, ..to_sink }.is_expensive());
    }

    #[test]
    fn what_no_list_gives_is_no_position() {
        for text in [
            "",
            "0",
            "+000000000000001",
            "00000000000000001",
            "é000000000000000",
            "zzzzzzzzzzzzzzzz",
            "8000000000000000",
        ] {
            assert_eq!(text.parse::<EventPosition>(), Err(NoPosition), "{text}");
            assert_eq!(text.parse::<ActivityPosition>(), Err(NoPosition), "{text}");
        }
        assert_eq!("00000000000000011".parse::<DeliveryPosition>(), Err(NoPosition));
    }
}
