//! Random histories of answers, commands, crashes, jumps of the clock and changed settings, through the pure core and
//! the real store, held against a model that fits on a page.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use pcsid_watch::clock::Clock;
use pcsid_watch::domain::activity::{Registration, State};
use pcsid_watch::domain::classify::{Answer, classify};
use pcsid_watch::domain::decide::{Policy, decide};
use pcsid_watch::domain::time::Timestamp;
use pcsid_watch::domain::turns::Wanted;
use pcsid_watch::settings::Settings;
use pcsid_watch::store::{
    ActivityFilter, ActivityRef, Address, Claimed, Duties, EventFilter, Jump, Member, PollRecord, Record,
    RegisterOutcome, Store, StoreError, Work,
};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use serde_json::{Map, Value};

use crate::effort::{Luck, cycles};
use crate::helpers::{OTHER_VAT, Reply, VAT};

const BASE_URL: &str = "http://127.0.0.1:9";
/// One VAT with two activities, and one with a single one that has the id of another.
const ACTIVITIES: [(&str, &str); 3] = [(VAT, "act-1"), (VAT, "act-2"), (OTHER_VAT, "act-1")];
const FIRST_INTERVAL: Duration = Duration::from_secs(1);
const MAX_JUMP_S: i64 = 40 * 86_400;
const STALLED_AFTER: Duration = Duration::from_secs(20 * 60);
const MAX_INTERVAL: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, Copy)]
enum Says {
    InProgress,
    Succeeded,
    Failed,
    Refused,
    Unavailable,
    Nothing,
}

/// What may happen next. Numbers are of [`ACTIVITIES`].
#[derive(Debug, Clone)]
enum Step {
    Register(usize),
    /// It is asked for, if it is due. The answer comes later, or never.
    Ask(usize),
    Answer(usize, Says),
    Cancel(usize),
    Retry(usize),
    PollNow(usize),
    Wait(Duration),
    /// Of the wall clock, by seconds.
    Jump(i64),
    /// The process is gone, and with it what was asked.
    Crash,
    Configure {
        reject_after: u32,
        give_up_after: Duration,
    },
}

/// What an activity should have come to.
#[derive(Debug, Clone)]
struct Model {
    state: State,
    watched_from: Timestamp,
    strikes: u32,
    is_stalled: bool,
    /// Changes with each command that makes an answer on its way void.
    version: u32,
    events: Vec<&'static str>,
}

impl Model {
    fn watched(now: Timestamp) -> Self {
        let events = Vec::new();
        Self { state: State::Pending, watched_from: now, strikes: 0, is_stalled: false, version: 0, events }
    }

    fn hear(&mut self, says: Says, now: Timestamp, policy: &Policy) {
        self.strikes = if matches!(says, Says::Refused) { self.strikes + 1 } else { 0 };
        let age = now.since(self.watched_from);
        self.state = match says {
            Says::Succeeded => State::Succeeded,
            Says::Failed => State::Failed,
            Says::Refused if self.strikes >= policy.reject_after => State::Rejected,
            _ if age >= policy.give_up_after => State::Expired,
            Says::InProgress => State::InProgress,
            _ => self.state,
        };
        if !self.state.is_concluded() && age >= policy.stalled_after && !self.is_stalled {
            self.is_stalled = true;
            self.events.push("pcsid.activity.stalled");
        }
        match self.state {
            State::Succeeded => self.events.push("pcsid.generation.succeeded"),
            State::Failed => self.events.push("pcsid.generation.failed"),
            State::Rejected => self.events.push("pcsid.activity.rejected"),
            State::Expired => self.events.push("pcsid.activity.expired"),
            _ => {}
        }
    }
}

/// On a server a session has to give a sign of life more often than this; here it begins anew instead.
const SESSION: Duration = Duration::from_secs(4);

/// The real thing, and the model beside it.
struct World {
    address: Address,
    settings: Settings,
    store: Store,
    /// The session on the database that work is written through, and its beginning.
    member: Member,
    joined_at: Instant,
    policy: Policy,
    now: Timestamp,
    /// What was asked and not answered yet, each with the version that it was asked in.
    asked: HashMap<usize, (Claimed, u32)>,
    models: HashMap<usize, Model>,
}

impl World {
    async fn new(address: Address) -> Self {
        let text = format!(
            "[upstream]\nbase_url = \"{BASE_URL}\"\n[[credentials]]\nname = \"main\"\ntoken = \"a-token-of-no-use\"\n\
             [schedule]\ninitial_interval = \"1s\"\nmax_interval = \"{}s\"\nstalled_after = \"{}s\"\n",
            MAX_INTERVAL.as_secs(),
            STALLED_AFTER.as_secs()
        );
        let settings = Settings::from_sources(None, &text, []).unwrap();
        let (store, member) = open(&address).await;
        let policy = settings.policy.clone();
        let now = Timestamp::from_millis(1_780_000_000_000);
        let (asked, models) = (HashMap::new(), HashMap::new());
        let joined_at = Instant::now();
        Self { address, settings, store, member, joined_at, policy, now, asked, models }
    }

    /// Another process in the place of this one.
    async fn begin_anew(&mut self) {
        (self.store, self.member) = open(&self.address).await;
        self.joined_at = Instant::now();
    }

    async fn work(&mut self) -> &Work {
        if self.joined_at.elapsed() > SESSION {
            self.begin_anew().await;
        }
        self.member.work()
    }

    async fn take(&mut self, step: &Step) {
        match *step {
            Step::Register(nth) => {
                let (vat, id) = ACTIVITIES[nth];
                let one = [Registration::parse(vat, id, None, None).unwrap()];
                let serving = self.settings.serving();
                let outcomes = self
                    .store
                    .intake()
                    .register(&one, BASE_URL, &serving, FIRST_INTERVAL, self.now)
                    .await
                    .unwrap();
                let is_new = !self.models.contains_key(&nth);
                assert_eq!(outcomes, [if is_new { RegisterOutcome::New } else { RegisterOutcome::Known }]);
                self.models.entry(nth).or_insert_with(|| Model::watched(self.now));
            }
            Step::Ask(nth) => {
                if let Some(claimed) = self.claim().await.remove(&nth) {
                    self.asked.insert(nth, (claimed, self.models[&nth].version));
                }
            }
            Step::Answer(nth, says) => self.answer(nth, says).await,
            Step::Cancel(nth) => {
                let done = self.store.intake().cancel(&reference(nth), self.now).await;
                if let Some(model) = self.commanded(nth, done, |state| !state.is_concluded()) {
                    model.version += 1;
                    model.state = State::Cancelled;
                    model.events.push("pcsid.activity.cancelled");
                }
            }
            Step::Retry(nth) => {
                let now = self.now;
                let done = self.store.intake().retry(&reference(nth), BASE_URL, FIRST_INTERVAL, now).await;
                if let Some(model) = self.commanded(nth, done, can_be_retried) {
                    let (version, events) = (model.version + 1, std::mem::take(&mut model.events));
                    *model = Model { version, events, ..Model::watched(now) };
                }
            }
            Step::PollNow(nth) => {
                let done = self.store.intake().poll_now(&reference(nth), self.now).await;
                self.commanded(nth, done, |state| !state.is_concluded());
            }
            Step::Wait(time) => self.now = self.now + time,
            Step::Jump(seconds) => self.jump(seconds * 1_000).await,
            Step::Crash => {
                self.asked.clear();
                self.begin_anew().await;
            }
            Step::Configure { reject_after, give_up_after } => {
                self.policy = Policy { reject_after, give_up_after, ..self.policy.clone() };
            }
        }
    }

    /// A command is obeyed where the model's state allows it, and changes nothing otherwise.
    fn commanded<T>(
        &mut self,
        nth: usize,
        done: Result<T, StoreError>,
        allows: impl Fn(State) -> bool,
    ) -> Option<&mut Model> {
        let model = self.models.get_mut(&nth).filter(|model| allows(model.state));
        assert_eq!(model.is_some(), done.is_ok(), "{:?}", done.err());
        model
    }

    /// Everything that is due and was not asked yet.
    async fn claim(&mut self) -> HashMap<usize, Claimed> {
        let polls = self.work().await.polls(&[], true);
        for (claimed, _) in self.asked.values() {
            polls.claim(claimed);
        }
        let half = ACTIVITIES.len();
        let wanted = Wanted {
            credential: "main".into(),
            n_longest_due: half,
            n_in_turn: half,
            after: 0,
            passing: Vec::new(),
            n_probes: 0,
            held_vats: Vec::new(),
        };
        let found = polls.look(&[wanted], self.now).await.unwrap().remove(0);
        let all = found.longest_due.into_iter().chain(found.in_turn);
        all.map(|claimed| {
            (nth_of(claimed.activity.vat.as_str(), claimed.activity.activity_id.as_str()), claimed)
        })
        .collect()
    }

    async fn answer(&mut self, nth: usize, says: Says) {
        let Some((claimed, version)) = self.asked.remove(&nth) else { return };
        let observation = classify(&says.answer(), self.policy.catalogue.codes());
        let decision = decide(self.now, &claimed.activity, Some(observation), None, &self.policy, 0.5);
        let key = claimed.key;
        let poll = Record::Poll(Box::new(PollRecord { claimed, decided_at: self.now, decision }));
        let recorded = self.work().await.record(&[poll].into()).await.unwrap();
        let (policy, now) = (&self.policy, self.now);
        let model = self.models.get_mut(&nth).unwrap();
        let counts = model.version == version;
        assert_eq!(recorded.superseded.contains(&key), !counts);
        if counts {
            model.hear(says, now, policy);
        }
    }

    /// What is watched keeps its age, unless it began within half a minute of the time after the jump, and nearer to that
    /// than to the time before: then a command wrote it under the new clock. Nothing that was asked before is answered
    /// after.
    async fn jump(&mut self, delta_ms: i64) {
        let before = self.now.as_millis();
        let (alive, now) = (Record::Heartbeat(self.now), Timestamp::from_millis(before + delta_ms));
        self.now = now;
        let jump = Jump { delta_ms, now, while_absent: false };
        self.work().await.record(&[alive, Record::ClockJump(jump)].into()).await.unwrap();
        self.asked.clear();
        self.begin_anew().await;
        for model in self.models.values_mut().filter(|model| !model.state.is_concluded()) {
            let from = model.watched_from.as_millis();
            let (after, is_of_a_command) = (before + delta_ms, from.abs_diff(before + delta_ms) <= 30_000);
            if !is_of_a_command || from.abs_diff(before) <= from.abs_diff(after) {
                model.watched_from = Timestamp::from_millis(from + delta_ms);
            }
        }
    }

    /// State by state and event by event.
    async fn compare(&mut self) {
        let activities =
            self.store.reports().list_activities(&ActivityFilter::default()).await.unwrap().table.objects();
        assert_eq!(activities.len(), self.models.len());
        for row in &activities {
            let nth = nth_of(row["vat"].as_str().unwrap(), row["activity_id"].as_str().unwrap());
            let state = self.models[&nth].state;
            assert_eq!(row["state"], state.label(), "{row:?}");
            assert_eq!(row["next_poll_at"].is_null(), state.is_concluded(), "{row:?}");
        }
        let is_due = |row: &&Map<String, Value>| {
            row["next_poll_at"].as_str().is_some_and(|at| at <= self.now.to_string().as_str())
        };
        let due = activities.iter().filter(is_due);
        let due = due.map(|row| nth_of(row["vat"].as_str().unwrap(), row["activity_id"].as_str().unwrap()));
        let due: BTreeSet<usize> = due.filter(|nth| !self.asked.contains_key(nth)).collect();
        assert_eq!(self.claim().await.into_keys().collect::<BTreeSet<_>>(), due, "what a look finds");
        let events = self.store.reports().list_events(&EventFilter::default()).await.unwrap().table.objects();
        let mut told: HashMap<usize, Vec<String>> =
            self.models.keys().map(|nth| (*nth, Vec::new())).collect();
        for event in &events {
            let nth = nth_of(event["vat"].as_str().unwrap(), event["activity_id"].as_str().unwrap());
            told.get_mut(&nth).unwrap().push(event["type"].as_str().unwrap().to_owned());
        }
        for (nth, model) in &self.models {
            assert_eq!(told[nth], model.events, "events of {:?}", ACTIVITIES[*nth]);
        }
    }

    /// Whatever has happened: what is watched falls due, nothing else does, and the database is whole.
    async fn end(mut self) {
        self.asked.clear();
        // Beyond every jump, for a backward one may leave what was long overdue ahead of it.
        self.now = self.now + Duration::from_secs(2 * MAX_JUMP_S.unsigned_abs()) + MAX_INTERVAL;
        let mut due: Vec<usize> = self.claim().await.into_keys().collect();
        due.sort_unstable();
        let watched = |nth: &usize| self.models.get(nth).is_some_and(|model| !model.state.is_concluded());
        assert_eq!(due, (0..ACTIVITIES.len()).filter(watched).collect::<Vec<_>>());
        assert_eq!(self.store.upkeep().problems().await.unwrap(), Vec::<String>::new());
    }
}

async fn open(address: &Address) -> (Store, Member) {
    let store = Store::open(address, Vec::new()).await.unwrap();
    let duties = Duties { credentials: vec!["main".to_owned()], sinks: Vec::new() };
    let member = store.join(&duties, &Arc::new(Clock::default())).await.unwrap();
    (store, member)
}

fn can_be_retried(state: State) -> bool {
    matches!(state, State::Rejected | State::Expired | State::Cancelled)
}

fn reference(nth: usize) -> ActivityRef {
    let (vat, id) = ACTIVITIES[nth];
    let Registration { vat, activity_id, .. } = Registration::parse(vat, id, None, None).unwrap();
    ActivityRef { activity_id, vat: Some(vat) }
}

fn nth_of(vat: &str, id: &str) -> usize {
    ACTIVITIES.iter().position(|activity| *activity == (vat, id)).unwrap()
}

impl Says {
    fn answer(self) -> Answer {
        let (http_status, body) = match self {
            Says::InProgress => return reply(Reply::in_progress()),
            Says::Succeeded => return reply(Reply::succeeded()),
            Says::Failed => return reply(Reply::failed()),
            Says::Refused => return reply(Reply::refused()),
            Says::Unavailable => (502, b"<html>".to_vec()),
            Says::Nothing => {
                return Answer::NoReply { http_status: None, cause: "connection refused".to_owned() };
            }
        };
        Answer::Reply { http_status, retry_after: None, body }
    }
}

fn reply(reply: Reply) -> Answer {
    let Reply::Http { status, body, .. } = reply else { panic!("not an answer: {reply:?}") };
    Answer::Reply { http_status: status, retry_after: None, body }
}

fn step() -> impl Strategy<Value = Step> {
    let nth = 0..ACTIVITIES.len();
    let says = prop_oneof![
        4 => Just(Says::InProgress),
        1 => Just(Says::Succeeded),
        1 => Just(Says::Failed),
        4 => Just(Says::Refused),
        1 => Just(Says::Unavailable),
        1 => Just(Says::Nothing),
    ];
    prop_oneof![
        2 => nth.clone().prop_map(Step::Register),
        8 => nth.clone().prop_map(Step::Ask),
        8 => (nth.clone(), says).prop_map(|(nth, says)| Step::Answer(nth, says)),
        1 => nth.clone().prop_map(Step::Cancel),
        2 => nth.clone().prop_map(Step::Retry),
        1 => nth.prop_map(Step::PollNow),
        6 => (0..60_u64).prop_map(|s| Step::Wait(Duration::from_secs(s))),
        2 => (0..300_u64).prop_map(|minutes| Step::Wait(Duration::from_secs(minutes * 60))),
        1 => (-MAX_JUMP_S..=MAX_JUMP_S).prop_map(Step::Jump),
        1 => Just(Step::Crash),
        1 => (1..4_u32, 1..48_u64).prop_map(|(reject_after, hours)| Step::Configure {
            reject_after,
            give_up_after: Duration::from_secs(hours * 3_600),
        }),
    ]
}

#[test]
fn every_history_ends_as_a_simple_model_says() {
    let folder = tempfile::TempDir::new().unwrap();
    check("every_history_ends_as_a_simple_model_says", 40, |nth| {
        Address::Sqlite(folder.path().join(format!("{nth}.db")))
    });
}

#[cfg(feature = "postgres")]
#[test]
fn every_history_on_a_server_ends_as_the_same_model_says() {
    let cluster = crate::cluster::Cluster::start("max_connections=100");
    check("every_history_on_a_server_ends_as_the_same_model_says", 10, |_| {
        Address::parse(&cluster.new_database().url, None, None).unwrap()
    });
}

/// Tries histories, each on a database of its own.
fn check(test: &'static str, n_usually: u64, database: impl Fn(u32) -> Address) {
    let luck = Luck::of(test, 0, cycles(n_usually));
    let mut seed = [0; 32];
    luck.draw(&["histories"]).fill(&mut seed);
    let config = Config {
        cases: u32::try_from(luck.n_cycles).unwrap_or(u32::MAX),
        failure_persistence: None,
        ..Config::default()
    };
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seed));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let histories = proptest::collection::vec(step(), 1..80);
    let n_begun = AtomicU32::new(0);
    let ran = runner.run(&histories, |history| {
        let address = database(n_begun.fetch_add(1, Ordering::Relaxed));
        runtime.block_on(async {
            let mut world = World::new(address).await;
            for step in &history {
                world.take(step).await;
                world.compare().await;
            }
            world.end().await;
        });
        Ok(())
    });
    match ran {
        Ok(()) => {}
        Err(TestError::Fail(reason, history)) => panic!("{reason}, after {history:#?}"),
        Err(err) => panic!("{err}"),
    }
}
