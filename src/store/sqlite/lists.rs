//! Lists in slices: filtered, in a fixed order, each slice beginning where the one before it ended.

use std::fmt;
use std::str::FromStr;

use sqlx::AssertSqlSafe;

use super::error::StoreError;
use super::read::{Argument, Cell, Table};
use super::{Store, as_json};
use crate::domain::activity::{State, Vat};
use crate::domain::catalogue::Owner;
use crate::domain::time::Timestamp;
use crate::words::folded;

/// Up to how many activities are counted one by one; beyond, a list says "more than".
const MAX_COUNTED: u64 = 10_000;

/// Up to how many activities with a rule are looked up by it; with more, the list is walked and each one asked.
const MAX_BY_RULE: i64 = 20_000;

/// How many parts of names a search may have.
const MAX_PARTS: usize = 8;

/// A time from `from` on and before `until`; either end may be open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Span {
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
    const fn column(self) -> &'static str {
        match self {
            ActivityOrder::LatestAdded | ActivityOrder::FirstAdded => "registered_at",
            ActivityOrder::LatestEnded | ActivityOrder::FirstEnded => "concluded_at",
        }
    }

    const fn direction(self) -> &'static str {
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

/// Which activities to list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ActivityFilter {
    /// Only with all of these parts, separated by white space, in id, `device_id`, `reference` or VAT; letters and digits
    /// count as [`folded`] writes them.
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
    pub registered: Span,
    /// Only concluded then.
    pub concluded: Span,
    /// Only what comes after this one.
    pub after: Option<ActivityPosition>,
    /// At most so many; `None`: all.
    pub limit: Option<u32>,
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
    pub occurred: Span,
    /// Only what comes after this one.
    pub after: Option<EventPosition>,
    /// At most so many; `None`: all.
    pub limit: Option<u32>,
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

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeliveryStatus {
    /// It is tried.
    Pending,
    /// The sink took it.
    Delivered,
    /// It was given up.
    Dead,
}

impl DeliveryStatus {
    /// As stored and printed.
    pub const fn label(self) -> &'static str {
        match self {
            DeliveryStatus::Pending => "pending",
            DeliveryStatus::Delivered => "delivered",
            DeliveryStatus::Dead => "dead",
        }
    }
}

/// Where a list of activities goes on. Its text is the same number of hexadecimal digits always, and all digits mean
/// some place in the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ActivityPosition {
    /// Epoch milliseconds of what the list is ordered by.
    at: i64,
    activity: i64,
}

/// Where a list of events goes on; text as with [`ActivityPosition`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPosition {
    event: i64,
}

/// Where a list of deliveries goes on; text as with [`ActivityPosition`], as long as the sink's name asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryPosition {
    event: i64,
    sink: String,
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

/// A statement that grows by conditions.
struct Conditions<'a> {
    text: String,
    arguments: Vec<Argument<'a>>,
}

/// What a filter asks of each activity `a`, of `state` where there is one; with `walks_texts` of its search text `s` too.
fn conditions(
    filter: &ActivityFilter,
    state: Option<State>,
    walks_texts: bool,
    rule_is_rare: bool,
) -> Conditions<'static> {
    let owned = |text: &str| Argument::Owned(Some(text.to_owned()));
    let mut conditions = Conditions::new();
    let parts = filter.search.as_deref().map(folded).unwrap_or_default();
    for part in parts.split_whitespace().take(MAX_PARTS) {
        let condition = match walks_texts {
            true => "instr(s.text, ?) > 0",
            false => {
                "EXISTS (SELECT 1 FROM search_texts s
                         WHERE s.registered_at = a.registered_at AND s.activity = a.id AND instr(s.text, ?) > 0)"
            }
        };
        conditions.add(condition, [owned(part)]);
    }
    if let Some(state) = state {
        conditions.add("a.state = ?", [owned(state.label())]);
    }
    if let Some(vat) = &filter.vat {
        conditions.add("a.vat_id = (SELECT id FROM vats WHERE vat = ?)", [owned(vat.as_str())]);
    }
    if let Some(owner) = filter.owner {
        conditions.add("a.next_step_owner = ?", [owned(owner.label())]);
    }
    if let Some(rule) = &filter.rule {
        let condition = match rule_is_rare {
            true => "a.id IN (SELECT activity FROM check_errors WHERE rule = ?)",
            false => "EXISTS (SELECT 1 FROM check_errors e WHERE e.activity = a.id AND +e.rule = ?)",
        };
        conditions.add(condition, [owned(rule)]);
    }
    if let Some(device_id) = &filter.device_id {
        conditions.add("a.device_id = ?", [owned(device_id)]);
    }
    if let Some(reference) = &filter.reference {
        conditions.add("a.reference = ?", [owned(reference)]);
    }
    conditions.span("a.registered_at >= ?", "a.registered_at < ?", filter.registered);
    conditions.span("a.concluded_at >= ?", "a.concluded_at < ?", filter.concluded);
    if let Some(after) = filter.after {
        let condition = match filter.order {
            ActivityOrder::LatestAdded => "(a.registered_at, a.id) < (?, ?)",
            ActivityOrder::FirstAdded => "(a.registered_at, a.id) > (?, ?)",
            ActivityOrder::LatestEnded => "(a.concluded_at, a.id) < (?, ?)",
            ActivityOrder::FirstEnded => "(a.concluded_at, a.id) > (?, ?)",
        };
        conditions.add(condition, [Argument::Integer(after.at), Argument::Integer(after.activity)]);
        if walks_texts {
            let condition = match filter.order {
                ActivityOrder::FirstAdded | ActivityOrder::FirstEnded => "s.registered_at >= ?",
                ActivityOrder::LatestAdded | ActivityOrder::LatestEnded => "s.registered_at <= ?",
            };
            conditions.add(condition, [Argument::Integer(after.at)]);
        }
    }
    if matches!(filter.order, ActivityOrder::LatestEnded | ActivityOrder::FirstEnded) {
        conditions.add("a.concluded_at IS NOT NULL", []);
    }
    conditions
}

fn states_as_json(states: &[State]) -> Result<String, StoreError> {
    let labels: Vec<&str> = states.iter().map(|state| state.label()).collect();
    as_json(&labels)
}

impl<'a> Conditions<'a> {
    fn new() -> Self {
        Self { text: String::from("WHERE true"), arguments: Vec::new() }
    }

    /// `condition` holds one `?` for each argument.
    fn add(&mut self, condition: &'static str, arguments: impl IntoIterator<Item = Argument<'a>>) {
        self.text.push_str(" AND ");
        self.text.push_str(condition);
        self.arguments.extend(arguments);
    }

    fn text(&mut self, condition: &'static str, value: Option<&'a str>) {
        if let Some(value) = value {
            self.add(condition, [Argument::Text(Some(value))]);
        }
    }

    fn span(&mut self, from: &'static str, until: &'static str, span: Span) {
        if let Some(time) = span.from {
            self.add(from, [Argument::Integer(time.as_millis())]);
        }
        if let Some(time) = span.until {
            self.add(until, [Argument::Integer(time.as_millis())]);
        }
    }
}

/// One row more than asked for tells whether there are more.
fn probing_limit(limit: Option<u32>) -> Argument<'static> {
    Argument::Integer(limit.map_or(-1, |limit| i64::from(limit) + 1))
}

/// Takes the columns that only tell the position off a table, and the row that only tells that there are more.
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

impl Store {
    /// Rows of `report_activities` in the order asked for.
    ///
    /// # Errors
    /// [`StoreError::TooSlow`] where a search takes longer than anybody waits; otherwise only those of the database.
    pub async fn list_activities(
        &self,
        filter: &ActivityFilter,
    ) -> Result<Slice<ActivityPosition>, StoreError> {
        let (column, direction) = (filter.order.column(), filter.order.direction());
        let (keys, arguments) = self.keys_of(filter, probing_limit(filter.limit)).await?;
        let statement = format!(
            "SELECT r.*, k.at_ms, k.id
             FROM ({keys}) k
             CROSS JOIN activities a ON a.id = k.id
             CROSS JOIN vats v ON v.id = a.vat_id
             CROSS JOIN report_activities r ON r.vat = v.vat AND r.activity_id = a.activity_id
             ORDER BY a.{column} {direction}, k.id {direction}"
        );
        let table = self.bounded_table("listing activities", AssertSqlSafe(statement), &arguments).await?;
        Ok(slice(table, filter.limit, 2, filter.after, |cells| match cells {
            [Cell::Integer(at), Cell::Integer(activity)] => {
                Some(ActivityPosition { at: *at, activity: *activity })
            }
            _ => None,
        }))
    }

    /// How many activities a filter lets through, whatever its limit and where it goes on.
    ///
    /// # Errors
    /// As [`Store::list_activities`].
    pub async fn count_activities(&self, filter: &ActivityFilter) -> Result<Total, StoreError> {
        let everything = ActivityFilter { after: None, limit: None, ..filter.clone() };
        let is_tallied = ActivityFilter {
            states: filter.states.clone(),
            vat: filter.vat.clone(),
            ..ActivityFilter::default()
        } == everything;
        let (statement, arguments, is_bounded) = if is_tallied {
            let states = states_as_json(&filter.states)?;
            let statement = "SELECT coalesce(sum(n), 0) FROM tally_states
                 WHERE (?1 = '[]' OR state IN (SELECT value FROM json_each(?1)))
                   AND (?2 IS NULL OR vat_id = (SELECT id FROM vats WHERE vat = ?2))";
            let vat = filter.vat.as_ref().map(|vat| vat.to_string());
            (statement.to_owned(), vec![Argument::Owned(Some(states)), Argument::Owned(vat)], false)
        } else {
            let limit = Argument::Integer(i64::try_from(MAX_COUNTED).unwrap_or(i64::MAX) + 1);
            let (keys, arguments) = self.keys_of(&everything, limit).await?;
            (format!("SELECT count(*) FROM ({keys})"), arguments, true)
        };
        let table = self.bounded_table("counting activities", AssertSqlSafe(statement), &arguments).await?;
        let n = match table.rows.first().and_then(|row| row.first()) {
            Some(Cell::Integer(n)) => u64::try_from(*n).unwrap_or(0),
            _ => 0,
        };
        Ok(if is_bounded && n > MAX_COUNTED { Total::MoreThan(MAX_COUNTED) } else { Total::Exactly(n) })
    }

    /// A statement that yields the activities of a filter as `id` and `at_ms`, in order.
    async fn keys_of(
        &self,
        filter: &ActivityFilter,
        limit: Argument<'static>,
    ) -> Result<(String, Vec<Argument<'static>>), StoreError> {
        let (column, direction) = (filter.order.column(), filter.order.direction());
        let rule_is_rare = match &filter.rule {
            Some(rule) => self.activities_with(rule).await? <= MAX_BY_RULE,
            None => false,
        };
        // A search alone is a walk through what is searched in. With a VAT it is one through that VAT's activities.
        let walks_texts = filter.search.is_some()
            && filter.vat.is_none()
            && !rule_is_rare
            && matches!(filter.order, ActivityOrder::LatestAdded | ActivityOrder::FirstAdded);
        let from = match walks_texts {
            true => "search_texts s CROSS JOIN activities a ON a.id = s.activity",
            false => "activities a",
        };
        let order = match walks_texts {
            true => format!("s.registered_at {direction}, s.activity {direction}"),
            false => format!("a.{column} {direction}, a.id {direction}"),
        };
        let mut arguments = Vec::new();
        let mut one = |state: Option<State>| -> Result<String, StoreError> {
            let mut conditions = conditions(filter, state, walks_texts, rule_is_rare);
            arguments.append(&mut conditions.arguments);
            arguments.push(limit.clone());
            let text = conditions.text;
            Ok(format!("SELECT a.id, a.{column} AS at_ms FROM {from} {text} ORDER BY {order} LIMIT ?"))
        };
        // By itself each state is found in its index in the order that is wanted, so several are several walks.
        let keys = match filter.states.as_slice() {
            [] => one(None)?,
            [state] => one(Some(*state))?,
            states => {
                let walks: Result<Vec<String>, _> = states
                    .iter()
                    .map(|state| one(Some(*state)).map(|walk| format!("SELECT * FROM ({walk})")))
                    .collect();
                let walks = walks?.join(" UNION ALL ");
                arguments.push(limit);
                format!("SELECT id, at_ms FROM ({walks}) ORDER BY at_ms {direction}, id {direction} LIMIT ?")
            }
        };
        Ok((keys, arguments))
    }

    /// How many times activities have this rule, by check.
    async fn activities_with(&self, rule: &str) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT coalesce(sum(n), 0) FROM tally_rules WHERE rule = ?1")
            .bind(rule)
            .fetch_one(&self.reports)
            .await
            .map_err(StoreError::query("counting a rule"))
    }

    /// Rows of `report_events` in the order in which they were recorded.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn list_events(&self, filter: &EventFilter) -> Result<Slice<EventPosition>, StoreError> {
        let mut conditions = Conditions::new();
        conditions.text("e.type = ?", filter.kind.as_deref());
        conditions.text("e.vat = ?", filter.vat.as_ref().map(Vat::as_str));
        conditions.text(
            "e.activity IN (SELECT id FROM activities WHERE activity_id = ?)",
            filter.activity_id.as_deref(),
        );
        conditions.span("e.occurred_at >= ?", "e.occurred_at < ?", filter.occurred);
        if let Some(after) = filter.after {
            conditions.add("e.seq > ?", [Argument::Integer(after.event)]);
        }
        let Conditions { text, mut arguments } = conditions;
        arguments.push(probing_limit(filter.limit));
        let statement = format!(
            "SELECT r.*, k.seq
             FROM (SELECT e.seq, e.event_id FROM events e {text} ORDER BY e.seq LIMIT ?) k
             CROSS JOIN report_events r ON r.event_id = k.event_id
             ORDER BY k.seq"
        );
        let table = self.table("listing events", AssertSqlSafe(statement), &arguments).await?;
        Ok(slice(table, filter.limit, 1, filter.after, |cells| match cells {
            [Cell::Integer(event)] => Some(EventPosition { event: *event }),
            _ => None,
        }))
    }

    /// Rows of `report_deliveries` with their events' types, VATs and activities, the latest event first.
    ///
    /// # Errors
    /// Only those of the database.
    pub async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<Slice<DeliveryPosition>, StoreError> {
        let mut conditions = Conditions::new();
        conditions.text("d.status = ?", filter.status.map(DeliveryStatus::label));
        conditions.text("d.sink = ?", filter.sink.as_deref());
        conditions.text("d.event = (SELECT seq FROM events WHERE event_id = ?)", filter.event_id.as_deref());
        if let Some(after) = &filter.after {
            let (event, sink) = (Argument::Integer(after.event), Argument::Text(Some(&after.sink)));
            conditions.add("(d.event < ? OR (d.event = ? AND d.sink > ?))", [event.clone(), event, sink]);
        }
        let Conditions { text, mut arguments } = conditions;
        arguments.push(probing_limit(filter.limit));
        let statement = format!(
            "SELECT e.type, e.vat, a.activity_id, r.*, k.event, k.sink AS position_sink
             FROM (SELECT d.event, d.sink FROM deliveries d {text} ORDER BY d.event DESC, d.sink LIMIT ?) k
             CROSS JOIN events e ON e.seq = k.event
             LEFT JOIN activities a ON a.id = e.activity
             CROSS JOIN report_deliveries r ON r.event_id = e.event_id AND r.sink = k.sink
             ORDER BY k.event DESC, k.sink"
        );
        let table = self.bounded_table("listing deliveries", AssertSqlSafe(statement), &arguments).await?;
        Ok(slice(table, filter.limit, 2, filter.after.clone(), |cells| match cells {
            [Cell::Integer(event), Cell::Text(sink)] => {
                Some(DeliveryPosition { event: *event, sink: sink.clone() })
            }
            _ => None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::domain::activity::Registration;
    use crate::domain::serving::Serving;

    async fn store_with(registrations: &[Registration]) -> (Store, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("watch.db"), Vec::new()).await.unwrap();
        let serving = Serving::new([("main", [].as_slice())]);
        for (nth, registration) in (1_i64..).zip(registrations) {
            let now = Timestamp::from_millis(nth * 1_000);
            let one = std::slice::from_ref(registration);
            store.register(one, "http://127.0.0.1:1", &serving, Duration::from_secs(5), now).await.unwrap();
        }
        (store, folder)
    }

    fn named(vat: &str, id: &str, device: &str, reference: &str) -> Registration {
        Registration::parse(vat, id, Some(device), Some(reference)).unwrap()
    }

    async fn found(store: &Store, filter: &ActivityFilter) -> Vec<String> {
        let rows = store.list_activities(filter).await.unwrap().table.objects();
        rows.iter().map(|row| row["activity_id"].as_str().unwrap().to_owned()).collect()
    }

    #[tokio::test]
    async fn parts_of_names_are_found_in_any_spelling_and_in_every_order() {
        let (store, _folder) = store_with(&[
            named("310122393500003", "Act-1", "صندوق ١٢، الإدارة", "PO-7"),
            named("399999999900003", "act-2", "Till 12", "100% ok"),
            named("310122393500003", "act-3", "till_7", ""),
        ])
        .await;
        let search =
            |text: &str| ActivityFilter { search: Some(text.to_owned()), ..ActivityFilter::default() };
        for (text, ids) in [
            ("٧", vec!["act-3", "Act-1"]),
            ("١٢ صندوق", vec!["Act-1"]),
            ("الاداره", vec!["Act-1"]),
            ("TILL", vec!["act-3", "act-2"]),
            ("act- 3101", vec!["act-3", "Act-1"]),
            ("l_7", vec!["act-3"]),
            ("0%", vec!["act-2"]),
            ("po-7\n", vec!["Act-1"]),
            ("nothing", vec![]),
            (" ", vec!["act-3", "act-2", "Act-1"]),
        ] {
            assert_eq!(found(&store, &search(text)).await, ids, "{text:?}");
            let n = u64::try_from(ids.len()).unwrap();
            assert_eq!(store.count_activities(&search(text)).await.unwrap(), Total::Exactly(n), "{text:?}");
            let of_vat = ActivityFilter { vat: Vat::parse("310122393500003").ok(), ..search(text) };
            let ids: Vec<&str> = ids.into_iter().filter(|id| *id != "act-2").collect();
            assert_eq!(found(&store, &of_vat).await, ids, "{text:?}");
        }
        let oldest = ActivityFilter { order: ActivityOrder::FirstAdded, limit: Some(1), ..search("act") };
        let first = store.list_activities(&oldest).await.unwrap();
        assert!(first.has_more && found(&store, &oldest).await == ["Act-1"]);
        assert_eq!(found(&store, &ActivityFilter { after: first.last, ..oldest }).await, ["act-2"]);
        let states = vec![State::Pending, State::InProgress];
        assert_eq!(found(&store, &ActivityFilter { states, ..search("till") }).await, ["act-3", "act-2"]);
    }

    #[tokio::test]
    async fn what_was_there_before_is_searched_in_alike() {
        let (store, _folder) =
            store_with(&[named("310122393500003", "Act-1", "صندوق ١٢ الإدارة ۷ـ", "آخِر ى")]).await;
        let texts = async || -> Vec<String> {
            let texts = sqlx::query_scalar("SELECT text FROM search_texts").fetch_all(&store.reports).await;
            // Vowel marks of what was there before stay: hardly anybody writes them in a name.
            texts.unwrap().into_iter().map(|text: String| text.replace('\u{650}', "")).collect()
        };
        let now = texts().await;
        let migration = include_str!("../../../migrations/0010_finding.sql");
        let (_, fill) = migration.split_once("INSERT INTO search_texts").unwrap();
        let (fill, _) = fill.split_once(';').unwrap();
        for statement in ["DELETE FROM search_texts".to_owned(), format!("INSERT INTO search_texts{fill}")] {
            sqlx::query(AssertSqlSafe(statement)).execute(&store.writer).await.unwrap();
        }
        assert_eq!(texts().await, now);
    }

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
