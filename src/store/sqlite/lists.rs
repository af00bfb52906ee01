//! Lists in slices: the statements, with the conditions that SQLite needs to find rows by the right index.

use sqlx::AssertSqlSafe;

use super::error::StoreError;
use super::{Store, as_json};
use crate::domain::activity::State;
use crate::store::lists::{
    ActivityFilter, ActivityOrder, ActivityPosition, Conditions, DeliveryFilter, DeliveryPosition,
    EventFilter, EventPosition, MAX_COUNTED, MAX_LOOKED_UP, MAX_SLICE_BYTES, Slice, Total, probing_limit,
};
use crate::store::schedule::stored_state;
use crate::store::views::{Argument, Cell, Table};

/// How the activities of a filter are found. SQLite's planner would often choose a slower way.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct AccessPath {
    /// All search texts `s` are read in their order, and then the activity of each match.
    scans_texts: bool,
    /// Activities are looked up by their rule, since few have it.
    rule_is_rare: bool,
    /// States with so many activities that all of one state would be too many to sort.
    frequent_states: Vec<State>,
    /// The keys of all activities that the search finds, as a JSON array, if they are few.
    found: Option<String>,
}

/// What a filter asks of each activity `a`, of `state` if given, and of its search text `s` if those are read first.
fn conditions(filter: &ActivityFilter, state: Option<State>, path: &AccessPath) -> Conditions<'static> {
    let owned = |text: &str| Argument::Owned(Some(text.to_owned()));
    let mut conditions = Conditions::new();
    let looked_for = if path.found.is_some() { Vec::new() } else { filter.search_parts() };
    if let Some(found) = &path.found {
        conditions.add("a.id IN (SELECT value FROM json_each(?))", [owned(found)]);
    }
    for part in &looked_for {
        let condition = match path.scans_texts {
            true => "instr(s.text, ?) > 0",
            false => {
                "EXISTS (SELECT 1 FROM search_texts s
                         WHERE s.registered_at = a.registered_at AND s.activity = a.id AND instr(s.text, ?) > 0)"
            }
        };
        conditions.add(condition, [owned(part)]);
    }
    if let Some(state) = state {
        // The plus keeps SQLite from using the state's index.
        let condition = if path.frequent_states.contains(&state) { "+a.state = ?" } else { "a.state = ?" };
        conditions.add(condition, [owned(state.label())]);
    }
    if let Some(rule) = &filter.rule {
        let condition = match path.rule_is_rare {
            true => "a.id IN (SELECT activity FROM check_errors WHERE rule = ?)",
            false => "EXISTS (SELECT 1 FROM check_errors e WHERE e.activity = a.id AND +e.rule = ?)",
        };
        conditions.add(condition, [owned(rule)]);
    }
    if path.scans_texts {
        conditions.span("s.registered_at >= ?", "s.registered_at < ?", filter.registered);
        if let Some(after) = filter.after {
            let condition = match filter.order {
                ActivityOrder::FirstAdded | ActivityOrder::FirstEnded => "s.registered_at >= ?",
                ActivityOrder::LatestAdded | ActivityOrder::LatestEnded => "s.registered_at <= ?",
            };
            conditions.add(condition, [Argument::Integer(after.at)]);
        }
    }
    filter.add_plain_conditions(&mut conditions);
    conditions
}

fn states_as_json(states: &[State]) -> Result<String, StoreError> {
    let labels: Vec<&str> = states.iter().map(|state| state.label()).collect();
    as_json(&labels)
}

impl Store {
    pub async fn list_activities(
        &self,
        filter: &ActivityFilter,
    ) -> Result<Slice<ActivityPosition>, StoreError> {
        let (column, direction) = (filter.order.column(), filter.order.direction());
        let (keys, arguments) = self.keys_of(filter, filter.order, probing_limit(filter.limit)).await?;
        let statement = format!(
            "SELECT r.*, k.at_ms, k.id
             FROM ({keys}) k
             CROSS JOIN activities a ON a.id = k.id
             CROSS JOIN vats v ON v.id = a.vat_id
             CROSS JOIN report_activities r ON r.vat = v.vat AND r.activity_id = a.activity_id
             ORDER BY a.{column} {direction}, k.id {direction}"
        );
        let table = self.list("listing activities", filter.is_expensive(), statement, &arguments).await?;
        Ok(filter.slice(table))
    }

    pub async fn count_activities(&self, filter: &ActivityFilter) -> Result<Total, StoreError> {
        let everything = ActivityFilter { after: None, limit: None, ..filter.clone() };
        let (statement, arguments, is_bounded) = if filter.is_tallied() {
            let states = states_as_json(&filter.states)?;
            let statement = "SELECT coalesce(sum(n), 0) FROM tally_states
                 WHERE (?1 = '[]' OR state IN (SELECT value FROM json_each(?1)))
                   AND (?2 IS NULL OR vat_id = (SELECT id FROM vats WHERE vat = ?2))";
            let vat = filter.vat.as_ref().map(|vat| vat.to_string());
            (statement.to_owned(), vec![Argument::Owned(Some(states)), Argument::Owned(vat)], false)
        } else {
            let limit = probing_limit(Some(MAX_COUNTED));
            // The order that is found soonest, since it does not matter here.
            let (keys, arguments) = self.keys_of(&everything, ActivityOrder::LatestAdded, limit).await?;
            (format!("SELECT count(*) FROM ({keys})"), arguments, true)
        };
        let table = self.list("counting activities", is_bounded, statement, &arguments).await?;
        Ok(Total::of(&table, is_bounded))
    }

    /// How the activities of a filter are found fastest in this order.
    async fn access_path(
        &self,
        filter: &ActivityFilter,
        order: ActivityOrder,
    ) -> Result<AccessPath, StoreError> {
        let mut path = AccessPath::default();
        if let Some(rule) = &filter.rule {
            path.rule_is_rare = self.activities_with(rule).await? <= MAX_LOOKED_UP;
        }
        // A VAT's activities are found by its index and checked one by one.
        if filter.vat.is_some() || path.rule_is_rare {
            return Ok(path);
        }
        // Search texts are stored in the order of registration.
        path.scans_texts = filter.search.is_some() && !order.is_by_end();
        if order.is_by_end() {
            path.frequent_states = self.frequent_states(&filter.states).await?;
            if filter.search.is_some() {
                path.found = self.few_found(filter).await?;
            }
        }
        Ok(path)
    }

    /// Those of these states that more than [`MAX_LOOKED_UP`] activities have.
    async fn frequent_states(&self, states: &[State]) -> Result<Vec<State>, StoreError> {
        if states.is_empty() {
            return Ok(Vec::new());
        }
        let labels: Vec<String> = sqlx::query_scalar(
            "SELECT state FROM tally_states WHERE state IN (SELECT value FROM json_each(?1))
             GROUP BY state HAVING sum(n) > ?2",
        )
        .bind(states_as_json(states)?)
        .bind(MAX_LOOKED_UP)
        .fetch_all(&self.reports)
        .await
        .map_err(StoreError::query("counting states"))?;
        labels.into_iter().map(|label| stored_state("tally_states.state", label)).collect()
    }

    /// The keys of the activities that a search finds, as a JSON array; `None` if they are more than [`MAX_LOOKED_UP`].
    async fn few_found(&self, filter: &ActivityFilter) -> Result<Option<String>, StoreError> {
        let mut conditions = Conditions::new();
        for part in filter.search_parts() {
            conditions.add("instr(s.text, ?) > 0", [Argument::Owned(Some(part))]);
        }
        conditions.span("s.registered_at >= ?", "s.registered_at < ?", filter.registered);
        let Conditions { text, mut arguments } = conditions;
        arguments.push(Argument::Integer(MAX_LOOKED_UP + 1));
        let statement = format!("SELECT s.activity FROM search_texts s {text} LIMIT ?");
        let table = self.list("searching", true, statement, &arguments).await?;
        let ids: Vec<i64> = table
            .rows
            .iter()
            .filter_map(|row| match row.first() {
                Some(Cell::Integer(id)) => Some(*id),
                _ => None,
            })
            .collect();
        let is_few = i64::try_from(ids.len()).is_ok_and(|n| n <= MAX_LOOKED_UP);
        is_few.then(|| as_json(&ids)).transpose()
    }

    /// A statement that yields the activities of a filter as `id` and `at_ms`, in an order.
    async fn keys_of(
        &self,
        filter: &ActivityFilter,
        order: ActivityOrder,
        limit: Argument<'static>,
    ) -> Result<(String, Vec<Argument<'static>>), StoreError> {
        let (column, direction) = (order.column(), order.direction());
        let path = self.access_path(filter, order).await?;
        let from = match path.scans_texts {
            true => "search_texts s CROSS JOIN activities a ON a.id = s.activity",
            false => "activities a",
        };
        let order = match path.scans_texts {
            true => format!("s.registered_at {direction}, s.activity {direction}"),
            false => format!("a.{column} {direction}, a.id {direction}"),
        };
        let mut arguments = Vec::new();
        let mut one = |state: Option<State>| -> Result<String, StoreError> {
            let mut conditions = conditions(filter, state, &path);
            arguments.append(&mut conditions.arguments);
            arguments.push(limit.clone());
            let text = conditions.text;
            Ok(format!("SELECT a.id, a.{column} AS at_ms FROM {from} {text} ORDER BY {order} LIMIT ?"))
        };
        // One state's activities are in the wanted order in its index, so each state is read by itself and the results
        // merged.
        let keys = match filter.states.as_slice() {
            [] => one(None)?,
            [state] => one(Some(*state))?,
            states => {
                let parts: Result<Vec<String>, _> = states
                    .iter()
                    .map(|state| one(Some(*state)).map(|part| format!("SELECT * FROM ({part})")))
                    .collect();
                let parts = parts?.join(" UNION ALL ");
                arguments.push(limit);
                format!("SELECT id, at_ms FROM ({parts}) ORDER BY at_ms {direction}, id {direction} LIMIT ?")
            }
        };
        Ok((keys, arguments))
    }

    /// How many activities have this rule, counted once for each check that has it.
    async fn activities_with(&self, rule: &str) -> Result<i64, StoreError> {
        sqlx::query_scalar("SELECT coalesce(sum(n), 0) FROM tally_rules WHERE rule = ?1")
            .bind(rule)
            .fetch_one(&self.reports)
            .await
            .map_err(StoreError::query("counting a rule"))
    }

    /// Reads a list. An expensive one waits for its turn, and has a time limit.
    async fn list(
        &self,
        operation: &'static str,
        is_expensive: bool,
        statement: String,
        arguments: &[Argument<'_>],
    ) -> Result<Table, StoreError> {
        match is_expensive {
            true => self.bounded_table(operation, AssertSqlSafe(statement), arguments).await,
            false => self.table(operation, AssertSqlSafe(statement), arguments).await,
        }
    }

    pub async fn list_events(&self, filter: &EventFilter) -> Result<Slice<EventPosition>, StoreError> {
        let Conditions { text, mut arguments } = filter.conditions();
        arguments.push(probing_limit(filter.limit));
        let statement = format!(
            "SELECT r.*, k.seq, k.n_found
             FROM (SELECT seq, event_id, sum(n_bytes) OVER (ORDER BY seq) - n_bytes AS n_before,
                          count(*) OVER () AS n_found
                   FROM (SELECT e.seq, e.event_id, octet_length(e.payload) AS n_bytes
                         FROM events e {text} ORDER BY e.seq LIMIT ?)) k
             CROSS JOIN report_events r ON r.event_id = k.event_id
             WHERE k.n_before < {MAX_SLICE_BYTES}
             ORDER BY k.seq"
        );
        let table = self.list("listing events", filter.is_expensive(), statement, &arguments).await?;
        Ok(filter.slice(table))
    }

    pub async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
    ) -> Result<Slice<DeliveryPosition>, StoreError> {
        let Conditions { text, mut arguments } = filter.conditions();
        arguments.push(probing_limit(filter.limit));
        let statement = format!(
            "SELECT e.type, e.vat, a.activity_id, r.*, k.event, k.sink AS position_sink
             FROM (SELECT d.event, d.sink FROM deliveries d {text} ORDER BY d.event DESC, d.sink LIMIT ?) k
             CROSS JOIN events e ON e.seq = k.event
             LEFT JOIN activities a ON a.id = e.activity
             CROSS JOIN report_deliveries r ON r.event_id = e.event_id AND r.sink = k.sink
             ORDER BY k.event DESC, k.sink"
        );
        let table = self.list("listing deliveries", filter.is_expensive(), statement, &arguments).await?;
        Ok(filter.slice(table))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::activity::{Registration, Vat};
    use crate::domain::serving::Serving;
    use crate::domain::time::Timestamp;

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
    async fn what_ended_last_is_found_whether_many_or_few_are_in_its_state() {
        let names = ["act-1", "act-2", "till-3", "act-4", "act-5"];
        let (store, _folder) = store_with(&names.map(|id| named("310122393500003", id, "till", ""))).await;
        for (id, state, concluded_at) in
            [(1, "FAILED", 9_000), (2, "FAILED", 7_000), (3, "FAILED", 8_000), (4, "EXPIRED", 9_500)]
        {
            let conclude = "UPDATE activities SET state = ?, concluded_at = ? WHERE id = ?";
            let conclude = sqlx::query(conclude).bind(state).bind(concluded_at).bind(id);
            conclude.execute(&store.writer).await.unwrap();
        }
        let ended = |states: &[State], search: Option<&str>| ActivityFilter {
            order: ActivityOrder::LatestEnded,
            states: states.to_vec(),
            search: search.map(str::to_owned),
            ..ActivityFilter::default()
        };
        // First as it is, then as if there were very many.
        for n in [1, MAX_LOOKED_UP + 1] {
            let tell = "INSERT OR REPLACE INTO tally_states SELECT id, 'FAILED', ?1 FROM vats";
            sqlx::query(tell).bind(n).execute(&store.writer).await.unwrap();
            for (filter, ids) in [
                (ended(&[], None), vec!["act-4", "act-1", "till-3", "act-2"]),
                (ended(&[State::Failed], None), vec!["act-1", "till-3", "act-2"]),
                (ended(&[State::Failed], Some("act")), vec!["act-1", "act-2"]),
                (ended(&[], Some("act")), vec!["act-4", "act-1", "act-2"]),
                (ended(&[State::Failed, State::Expired], Some("4")), vec!["act-4"]),
                (ended(&[], Some("nothing")), vec![]),
            ] {
                assert_eq!(found(&store, &filter).await, ids, "{n}: {filter:?}");
                let total = Total::Exactly(u64::try_from(ids.len()).unwrap());
                assert_eq!(store.count_activities(&filter).await.unwrap(), total, "{n}: {filter:?}");
            }
            let failed = ended(&[State::Failed], None);
            let (keys, _) = store.keys_of(&failed, failed.order, Argument::Integer(10)).await.unwrap();
            let plan = sqlx::query_as::<_, (i64, i64, i64, String)>(AssertSqlSafe(format!(
                "EXPLAIN QUERY PLAN {keys}"
            )))
            .bind("FAILED")
            .bind(10)
            .fetch_all(&store.reports)
            .await
            .unwrap();
            let is_sorted = plan.iter().any(|(.., step)| step.contains("TEMP B-TREE"));
            assert_eq!(is_sorted, n <= MAX_LOOKED_UP, "{plan:?}");
        }
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
}
