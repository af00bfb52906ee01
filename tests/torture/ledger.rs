//! The operator's book, and the comparison of all books with the database.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::process::Child;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::effort::assert_no_defect;
use crate::helpers::{Daemon, PATIENCE, Setup, eventually};
use crate::world::{Key, REJECT_AFTER, Truth, World};

/// What an operator asks for.
#[derive(Debug, Clone)]
pub enum Order {
    Add(Vec<Key>),
    Cancel(Key),
    Retry(Key),
    Poll(Key),
    Redeliver(String),
}

/// How often something was asked for, and how often the program said that it was done. One that was killed may have
/// done it and not said so.
#[derive(Debug, Default, Clone, Copy)]
struct Tries {
    n_given: usize,
    n_done: usize,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    added: BTreeMap<Key, Tries>,
    /// In the order of the orders.
    added_in_order: Vec<Key>,
    cancelled: HashMap<Key, Tries>,
    retried: HashMap<Key, Tries>,
    /// What each daemon printed, whole or cut by its end.
    printed: Vec<String>,
    /// Whether commands may find that the server is away.
    may_miss_database: bool,
}

impl Ledger {
    /// Every activity that was added or may have been.
    pub fn activities(&self) -> Vec<Key> {
        self.added.keys().cloned().collect()
    }

    /// The last ones of these: they are likely to be watched still.
    pub fn recent_activities(&self) -> &[Key] {
        &self.added_in_order[self.added_in_order.len().saturating_sub(16)..]
    }

    /// Activities that were cancelled or may have been.
    pub fn cancelled_activities(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.cancelled.keys().cloned().collect();
        keys.sort_unstable();
        keys
    }

    /// From now on a command may fail because its database is not there, or goes while it works.
    pub fn database_may_be_away(&mut self) {
        self.may_miss_database = true;
    }

    /// Gives an order, which is carried out by a process of its own.
    pub fn give(&mut self, setup: &Setup, order: &Order) -> Child {
        let (arguments, keys): (Vec<&str>, &[Key]) = match order {
            Order::Add(keys) => {
                let ids = keys.iter().map(|(_, id)| id.as_str());
                (["add", "--vat", &keys[0].0].into_iter().chain(ids).collect(), keys)
            }
            Order::Cancel(key) => (vec!["cancel", &key.1, "--vat", &key.0], std::slice::from_ref(key)),
            Order::Retry(key) => (vec!["retry", &key.1, "--vat", &key.0], std::slice::from_ref(key)),
            Order::Poll((vat, id)) => (vec!["poll", id, "--vat", vat], &[]),
            Order::Redeliver(event_id) => (vec!["deliveries", "redeliver", event_id], &[]),
        };
        for key in keys {
            self.tries(order, key).n_given += 1;
        }
        if matches!(order, Order::Add(_)) {
            self.added_in_order.extend_from_slice(keys);
        }
        let mut command = setup.command(&arguments);
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    }

    /// Notes how a process ended that was given an order.
    pub fn note(&mut self, order: &Order, ended: Child) {
        let output = ended.wait_with_output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        match output.status.code() {
            None => {}
            Some(0) => {
                let keys = match order {
                    Order::Add(keys) => keys.clone(),
                    Order::Cancel(key) | Order::Retry(key) => vec![key.clone()],
                    Order::Poll(_) | Order::Redeliver(_) => Vec::new(),
                };
                for key in &keys {
                    self.tries(order, key).n_done += 1;
                }
            }
            Some(_) => {
                // It was too late for it, or too early; nothing else may go wrong.
                let refusals = [": only one that ", " is not known", " does not exist: "];
                let is_refusal = refusals.into_iter().any(|refusal| stderr.contains(refusal));
                let is_absence = self.may_miss_database
                    && (stderr.contains("can't be reached") || stderr.contains(" failed"));
                assert!(is_refusal || is_absence, "{order:?}: {stderr}");
            }
        }
    }

    fn tries(&mut self, order: &Order, key: &Key) -> &mut Tries {
        match order {
            Order::Add(_) => self.added.entry(key.clone()).or_default(),
            Order::Cancel(_) => self.cancelled.entry(key.clone()).or_default(),
            Order::Retry(_) => self.retried.entry(key.clone()).or_default(),
            Order::Poll(_) | Order::Redeliver(_) => unreachable!("{order:?} is not counted"),
        }
    }

    /// Keeps what a daemon printed until its end.
    pub fn keep_output_of(&mut self, daemon: &Daemon) {
        assert_no_defect(daemon);
        self.printed.push(daemon.stdout());
    }

    /// Lets a daemon finish in a world that does as it should, and stops it as a service manager does.
    pub async fn finish(&mut self, world: &World, setup: &Setup) {
        world.calm();
        let mut daemon = setup.start().await;
        let deadline = Instant::now() + PATIENCE;
        let mut asked_for = HashMap::<String, u64>::new();
        loop {
            let watched = "SELECT count(*) FROM report_activities WHERE state IN ('PENDING', 'IN_PROGRESS')";
            let open = setup
                .rows("json_array(event_id, status, attempts) AS r FROM report_deliveries WHERE status <> 'delivered'")
                .await;
            if setup.number(watched).await == 0 && open.is_empty() {
                break;
            }
            // An operator who does not wait for the third try, nor for one that nobody will make.
            for delivery in &open {
                let (event, n_tries) = (delivery[0].as_str().unwrap(), delivery[2].as_u64().unwrap());
                let is_asked_for = asked_for.insert(event.to_owned(), n_tries) == Some(n_tries);
                if delivery[1] == "dead" || n_tries >= 2 && !is_asked_for {
                    // The receiver is a task of this process, and answers meanwhile.
                    tokio::task::block_in_place(|| setup.ok(&["deliveries", "redeliver", event]));
                }
            }
            let log = daemon.stderr();
            assert!(Instant::now() < deadline, "not finished within {PATIENCE:?}, open: {open:?}\n{log}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        daemon.signal("-TERM");
        assert_eq!(daemon.exit_code().await, 0, "{}", daemon.stderr());
        self.keep_output_of(&daemon);
    }

    /// Compares all books with the database, after [`Ledger::finish`].
    pub async fn verify(&self, world: &World, setup: &Setup, seed: u64) {
        assert_whole(setup).await;
        let histories = self.verify_activities(setup, seed).await;
        let events = stored_events(setup).await;
        self.verify_events(world, seed, &events, &histories);
        self.verify_receipts(world, setup, &events).await;
        self.verify_printed(&events);
    }

    /// Every activity has ended as upstream says, by steps that follow from one another. Answers with the conclusions.
    async fn verify_activities(&self, setup: &Setup, seed: u64) -> HashMap<Key, Vec<String>> {
        let rows = setup
            .rows(
                "json_array(r.vat, r.activity_id, r.state, (SELECT body FROM final_answers WHERE activity = a.id)) AS r
                 FROM report_activities r JOIN vats v ON v.vat = r.vat
                 JOIN activities a ON a.vat_id = v.id AND a.activity_id = r.activity_id",
            )
            .await;
        let mut found: HashMap<Key, (String, Option<String>)> = HashMap::new();
        for row in rows {
            let text = |n: usize| row[n].as_str().map(str::to_owned);
            found.insert((text(0).unwrap(), text(1).unwrap()), (text(2).unwrap(), text(3)));
        }
        for (key, tries) in &self.added {
            assert!(tries.n_done == 0 || found.contains_key(key), "{key:?} was added and is lost");
        }
        let mut steps: HashMap<Key, Vec<(i64, String, String)>> = HashMap::new();
        for row in setup
            .rows("json_array(vat, activity_id, seq, from_state, to_state) AS r FROM report_transitions ORDER BY seq")
            .await
        {
            let text = |n: usize| row[n].as_str().unwrap().to_owned();
            steps.entry((text(0), text(1))).or_default().push((row[2].as_i64().unwrap(), text(3), text(4)));
        }
        let mut conclusions = HashMap::new();
        for (key, (state, final_answer)) in &found {
            assert!(self.added.contains_key(key), "{key:?} was never added");
            let truth = Truth::of(seed, key);
            let steps = steps.remove(key).unwrap_or_default();
            let mut before = "PENDING".to_owned();
            let mut concluded = Vec::new();
            let mut n_retries = 0;
            for (expected_seq, (seq, from, to)) in (1_i64..).zip(&steps) {
                assert_eq!((seq, from), (&expected_seq, &before), "{key:?}: {steps:?}");
                match (from.as_str(), to.as_str()) {
                    ("PENDING", "IN_PROGRESS") => {}
                    ("PENDING" | "IN_PROGRESS", "CANCELLED") => concluded.push(to.clone()),
                    ("PENDING" | "IN_PROGRESS", ended) if ended == truth.state => concluded.push(to.clone()),
                    ("REJECTED" | "CANCELLED", "PENDING") => n_retries += 1,
                    _ => panic!("{key:?}, which upstream says is {}: {steps:?}", truth.state),
                }
                before.clone_from(to);
            }
            assert_eq!(&before, state, "{key:?}: {steps:?}");
            assert!(state == truth.state || state == "CANCELLED", "{key:?} is {state}, not {}", truth.state);
            let body = (state == truth.state).then_some(&truth.body);
            assert_eq!(final_answer.as_ref(), body, "{key:?}");
            let n_cancels = concluded.iter().filter(|state| *state == "CANCELLED").count();
            let cancelled = self.cancelled.get(key).copied().unwrap_or_default();
            let retried = self.retried.get(key).copied().unwrap_or_default();
            for (n, tries) in [(n_cancels, cancelled), (n_retries, retried)] {
                assert!((tries.n_done..=tries.n_given).contains(&n), "{key:?}: {tries:?}, {steps:?}");
            }
            conclusions.insert(key.clone(), concluded);
        }
        assert!(steps.is_empty(), "steps of nothing: {steps:?}");
        conclusions
    }

    /// One event for each conclusion, which says what upstream said.
    fn verify_events(
        &self,
        world: &World,
        seed: u64,
        events: &Events,
        conclusions: &HashMap<Key, Vec<String>>,
    ) {
        let mut announced: HashMap<Key, Vec<String>> = HashMap::new();
        for (id, event) in &events.in_order {
            let payload: Value = serde_json::from_str(&event.payload).unwrap();
            assert_eq!(
                (payload["id"].as_str(), payload["type"].as_str()),
                (Some(id.as_str()), Some(event.kind.as_str()))
            );
            let Some(key) = &event.activity else {
                verify_hold(world, events, &payload);
                continue;
            };
            let state = match event.kind.as_str() {
                "pcsid.generation.succeeded" => "SUCCEEDED",
                "pcsid.generation.failed" => "FAILED",
                "pcsid.activity.rejected" => "REJECTED",
                "pcsid.activity.cancelled" => "CANCELLED",
                other => panic!("{other}: nothing is so old"),
            };
            let data = &payload["data"];
            assert_eq!(
                (&data["vat"], &data["activity_id"], &data["state"]),
                (&key.0.as_str().into(), &key.1.as_str().into(), &state.into())
            );
            if state != "CANCELLED" {
                let truth = Truth::of(seed, key);
                assert_eq!(truth.data_of(&payload), truth.expected_data(), "{key:?}");
            }
            announced.entry(key.clone()).or_default().push(state.to_owned());
        }
        for (key, concluded) in conclusions {
            let announced = announced.remove(key).unwrap_or_default();
            assert_eq!(&announced, concluded, "{key:?}: events beside conclusions");
        }
        assert!(announced.is_empty(), "events of nothing: {announced:?}");
    }

    /// What the receiver has is what is stored, it has everything, and nothing before upstream had said it.
    async fn verify_receipts(&self, world: &World, setup: &Setup, events: &Events) {
        let undelivered = "SELECT count(*) FROM report_deliveries WHERE status <> 'delivered'";
        assert_eq!(setup.number(undelivered).await, 0);
        let n_deliveries = setup.number("SELECT count(*) FROM report_deliveries").await;
        assert_eq!(
            n_deliveries,
            2 * i64::try_from(events.in_order.len()).unwrap(),
            "one to each of two sinks"
        );
        let book = world.book();
        let mut taken = HashSet::new();
        let mut n_endings: HashMap<(&Key, &str), usize> = HashMap::new();
        for received in &book.received {
            let event = events.by_id(&received.event_id);
            assert_eq!(received.body, event.payload, "{}", received.event_id);
            if received.is_taken {
                taken.insert(received.event_id.as_str());
            }
        }
        for (id, event) in &events.in_order {
            assert!(taken.contains(id.as_str()), "{id} is marked as delivered and was never taken");
            let Some(key) = event.activity.as_ref().filter(|_| event.kind != "pcsid.activity.cancelled")
            else {
                continue;
            };
            // Each rejection takes refusals of its own.
            let n_before = n_endings.entry((key, &event.kind)).or_default();
            let n_needed =
                if event.kind == "pcsid.activity.rejected" { (*n_before + 1) * REJECT_AFTER } else { 1 };
            *n_before += 1;
            let said_at = book.asked[key].ending_said_at.get(n_needed - 1);
            let first = book.received.iter().find(|received| received.event_id == *id).unwrap().at;
            assert!(said_at.is_some_and(|at| *at < first), "{id} was announced before upstream said it");
        }
    }

    /// Every event was printed, and nothing but events was, each in its words; a kill may cut a last line short.
    fn verify_printed(&self, events: &Events) {
        let mut printed = HashSet::new();
        for output in &self.printed {
            let mut lines = output.lines().peekable();
            while let Some(line) = lines.next() {
                match serde_json::from_str::<Value>(line) {
                    Ok(event) => {
                        let id = event["id"].as_str().unwrap();
                        assert_eq!(events.by_id(id).payload, line);
                        printed.insert(id.to_owned());
                    }
                    Err(_) => assert!(lines.peek().is_none(), "{line}"),
                }
            }
        }
        for (id, _) in &events.in_order {
            assert!(printed.contains(id), "{id} is marked as delivered and was never printed");
        }
    }
}

/// A hold is announced only where upstream refused somebody, and ends once.
fn verify_hold(world: &World, events: &Events, payload: &Value) {
    let data = &payload["data"];
    let whose = data["credential"].as_str().or(data["vat"].as_str()).unwrap();
    let book = world.book();
    let refused_at = book.refused_at.get(whose).unwrap_or_else(|| panic!("{whose} was never refused"));
    let id = payload["id"].as_str().unwrap();
    let first = book.received.iter().find(|received| received.event_id == id).unwrap().at;
    assert!(*refused_at < first, "{id} was announced before {whose} was refused");
    let kind = payload["type"].as_str().unwrap();
    if kind.ends_with(".restored") {
        let began = events.in_order.iter().any(|(_, event)| {
            let other: Value = serde_json::from_str(&event.payload).unwrap();
            other["type"] == kind.replace(".restored", ".held")
                && other["data"]["held_since"] == data["held_since"]
        });
        assert!(began, "{id} ends a hold that never began");
    }
}

/// An event as it is stored.
struct StoredEvent {
    kind: String,
    activity: Option<Key>,
    payload: String,
}

struct Events {
    in_order: Vec<(String, StoredEvent)>,
    places: HashMap<String, usize>,
}

impl Events {
    fn by_id(&self, id: &str) -> &StoredEvent {
        let place = self.places.get(id).unwrap_or_else(|| panic!("{id} was announced and is not stored"));
        &self.in_order[*place].1
    }
}

async fn stored_events(setup: &Setup) -> Events {
    let rows = setup
        .rows(
            "json_array(e.event_id, e.type, v.vat, a.activity_id, e.payload) AS r FROM events e
             LEFT JOIN activities a ON a.id = e.activity LEFT JOIN vats v ON v.id = a.vat_id ORDER BY e.seq",
        )
        .await;
    let in_order: Vec<(String, StoredEvent)> = rows
        .into_iter()
        .map(|row| {
            let text = |n: usize| row[n].as_str().map(str::to_owned);
            let activity = text(3).map(|id| (text(2).unwrap(), id));
            let event = StoredEvent { kind: text(1).unwrap(), activity, payload: text(4).unwrap() };
            (text(0).unwrap(), event)
        })
        .collect();
    let places = in_order.iter().enumerate().map(|(place, (id, _))| (id.clone(), place)).collect();
    Events { in_order, places }
}

/// The database finds nothing wrong, and the counts kept by triggers are those that the migration would count now.
pub async fn assert_whole(setup: &Setup) {
    assert!(tokio::task::block_in_place(|| setup.ok(&["db", "check"])).contains("whole"));
    if setup.is_on_server() {
        return;
    }
    assert_eq!(setup.rows("json_quote(integrity_check) AS r FROM pragma_integrity_check").await, ["ok"]);
    assert_eq!(setup.number("SELECT count(*) FROM pragma_foreign_key_check").await, 0);
    let migrations = [
        include_str!("../../migrations/0002_tallies.sql"),
        include_str!("../../migrations/0005_severity.sql"),
        include_str!("../../migrations/0011_lives.sql"),
    ];
    let mut n_tallies = 0;
    let before_triggers = migrations.map(|migration| migration.split("CREATE TRIGGER").next().unwrap());
    for statement in before_triggers.iter().flat_map(|statements| statements.split(';')) {
        let Some(counting) = statement.trim().strip_prefix("INSERT INTO tally_") else { continue };
        let (name, counting) = counting.split_once(char::is_whitespace).unwrap();
        let select = counting.get(counting.find("SELECT").unwrap()..).unwrap();
        // What is kept besides is no count: severities, and when a list was seen that a retry has taken back.
        let (columns, select) = match name {
            "rules" => ("rule, position, vat_id, n, last_concluded_at", select.to_owned()),
            "listed_rules" => (
                "rule, vat_id, n",
                format!("WITH c (rule, vat_id, n, at) AS ({select}) SELECT rule, vat_id, n FROM c"),
            ),
            // Those that only passed are no rows.
            "checks" => {
                let only_passed = "SELECT a.vat_id, p.position, 'SUCCEEDED' FROM activities a
                     JOIN check_names p ON a.passed_checks >> p.position & 1";
                let rows = "SELECT a.vat_id, c.position, c.outcome FROM checks c JOIN activities a ON a.id = c.activity";
                let all = format!("WITH c (vat_id, position, outcome) AS ({rows} UNION ALL {only_passed})");
                ("*", format!("{all} SELECT vat_id, position, outcome, count(*) FROM c GROUP BY 1, 2, 3"))
            }
            _ => ("*", select.to_owned()),
        };
        let kept = format!("SELECT {columns} FROM tally_{name} WHERE n > 0");
        for (these, those) in [(kept.as_str(), select.as_str()), (select.as_str(), kept.as_str())] {
            // Named once each: a SELECT with an aggregate in a compound one would take its brothers along.
            let query =
                format!("SELECT count(*) FROM (SELECT * FROM ({these}) EXCEPT SELECT * FROM ({those}))");
            assert_eq!(setup.number(&query).await, 0, "tally_{name} is not what it counts");
        }
        n_tallies += 1;
    }
    assert_eq!(n_tallies, 8);
}

/// Waits for a process, or kills it after a while.
pub async fn ended(mut child: Child, kill_after: Option<Duration>) -> Child {
    if let Some(after) = kill_after {
        tokio::time::sleep(after).await;
        child.kill().unwrap();
        child.wait().unwrap();
        return child;
    }
    let running = std::sync::Mutex::new(&mut child);
    eventually("a command ends", || async { running.lock().unwrap().try_wait().unwrap() }).await;
    child
}
