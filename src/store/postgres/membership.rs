//! A daemon's membership among the daemons of its database.
//!
//! Work comes in pieces. A daemon that holds one has a session lock on it, taken by its [`Session`]. Each daemon takes
//! its share and gives back what is beyond it.
//!
//! A frozen daemon keeps its connection, and with it its locks. So each daemon writes a sign of life every two seconds.
//! One that finds another's sign of life older than ten seconds has the server end that daemon's connection, and only
//! then takes over. A daemon that could not write its own for eight seconds stops claiming and sending.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::PgConnection;
use sqlx::postgres::PgListener;
use tokio::time::MissedTickBehavior;

use super::clock::{NOW, beat, shift};
use super::error::StoreError;
use super::open::BY_KEY;
use super::session::{Session, in_time, lost_by};
use super::share::{Share, share};
use super::{CHANNEL, LOCKS, Store};
use crate::clock::Clock;
use crate::domain::time::Timestamp;
use crate::store::member::{Duties, News, Piece};
use crate::store::record::Jump;

/// How often a daemon gives a sign of life, and reads the others'.
const TICK: Duration = Duration::from_secs(2);

/// Another daemon's connection is ended when its sign of life is older than this.
const DEAD_AFTER_MS: i64 = 10_000;

/// A clock that differs by more has jumped.
const JUMP_MS: i64 = 30_000;

/// How many signs of life a new daemon waits before it stores the time, if there are other daemons: only those that
/// knew the time before can notice that the clock has jumped.
const QUIET_TICKS: u32 = 3;

/// What others are told when pieces are free or a daemon has come or gone.
const PIECES: &str = "pieces";

/// What others are told when there are new events.
pub(super) const EVENTS: &str = "events";

/// A daemon among others.
#[derive(Debug)]
pub struct Membership {
    session: Arc<Session>,
    control: PgListener,
    clock: Arc<Clock>,
    /// The key of our row in `replicas`.
    replica: i64,
    /// The pieces that this daemon is configured for, by key.
    wanted: BTreeMap<i32, Piece>,
    held: BTreeSet<i32>,
    /// Asked back, and not freed yet.
    asked: BTreeSet<i32>,
    is_leaving: bool,
    ticks: tokio::time::Interval,
    n_ticks: u32,
    news: VecDeque<News>,
    signal: Option<Signal>,
}

/// What to look into.
#[derive(Debug)]
enum Signal {
    Tick,
    Changed,
    Events { backend_pid: u32 },
    Lost(StoreError),
}

/// Another daemon.
#[derive(Debug)]
struct Other {
    id: i64,
    name: String,
    is_late: bool,
    is_connected: bool,
    /// The keys of those that it is configured for.
    pieces: BTreeSet<i32>,
}

impl Membership {
    /// Takes part: connects, looks at the schema, and gives the first sign of life.
    ///
    /// # Errors
    /// If the server can't be reached, or may not be used.
    pub async fn join(store: &Store, duties: &Duties, clock: &Arc<Clock>) -> Result<Self, StoreError> {
        let failed = StoreError::query;
        let mut writer = store.connect().await?;
        store.prepare(&mut writer).await?;
        if store.is_new() {
            crate::store::warn_of_new(store.address());
        }
        sqlx::raw_sql(BY_KEY).execute(&mut writer).await.map_err(failed("setting the session up"))?;
        let control = listen(store).await?;

        let began_at = Instant::now();
        let (backend_pid, n_jumps, now): (i32, i64, i64) = sqlx::query_as(sqlx::AssertSqlSafe(format!(
            "SELECT pg_backend_pid(), n, {NOW} FROM clock_jumps"
        )))
        .fetch_one(&mut writer)
        .await
        .map_err(failed("beginning a session"))?;
        clock.follow(Timestamp::from_millis(now) + began_at.elapsed() / 2);

        let wanted = key_pieces(&mut writer, &duties.pieces()).await?;
        let replica = insert_replica(&mut writer, &wanted).await?;
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let session = Session::new(writer, backend_pid, n_jumps, began_at);
        let mut membership = Self {
            session: Arc::new(session),
            control,
            clock: Arc::clone(clock),
            replica,
            wanted,
            held: BTreeSet::new(),
            asked: BTreeSet::new(),
            is_leaving: false,
            ticks,
            n_ticks: 0,
            news: VecDeque::new(),
            signal: None,
        };
        membership.notify(PIECES).await?;
        Ok(membership)
    }

    /// The session that work is written through.
    pub fn session(&self) -> Arc<Session> {
        Arc::clone(&self.session)
    }

    /// Waits until something has happened.
    pub async fn wait(&mut self) {
        if self.signal.is_some() || !self.news.is_empty() {
            return;
        }
        let signal = tokio::select! {
            notified = self.control.try_recv() => match notified {
                Ok(Some(notification)) => match notification.payload() {
                    PIECES => Signal::Tick,
                    EVENTS => Signal::Events { backend_pid: notification.process_id() },
                    _ => Signal::Changed,
                },
                Ok(None) => Signal::Lost(StoreError::Lost { cause: "its connection has ended".to_owned() }),
                Err(source) => Signal::Lost(lost_by(&source)),
            },
            _ = self.ticks.tick() => Signal::Tick,
        };
        self.signal = Some(signal);
    }

    /// Acts on what has happened.
    pub async fn act(&mut self) -> Vec<News> {
        let ticked = match self.signal.take() {
            Some(Signal::Tick) => self.tick().await,
            Some(Signal::Changed) => {
                self.news.push_back(News::Changed);
                Ok(())
            }
            // Events of this daemon are announced by its own recorder.
            Some(Signal::Events { backend_pid }) => {
                if i64::from(backend_pid) != i64::from(self.session.backend_pid()) {
                    self.news.push_back(News::Events);
                }
                Ok(())
            }
            Some(Signal::Lost(lost)) => Err(lost),
            None => Ok(()),
        };
        if let Err(lost) = ticked {
            self.news.push_back(News::Lost(lost));
        }
        self.news.drain(..).collect()
    }

    /// Writes a sign of life, checks the others', and takes or gives back pieces.
    async fn tick(&mut self) -> Result<(), StoreError> {
        if self.session.is_stuck() {
            return Err(StoreError::Lost { cause: "a transaction has not ended in time".to_owned() });
        }
        let began_at = Instant::now();
        let now = self.follow_clock().await?;
        self.n_ticks = self.n_ticks.saturating_add(1);
        self.give_sign().await?;
        self.session.refresh(began_at);
        let mut living = Vec::new();
        for other in self.others().await? {
            match (other.is_connected, other.is_late) {
                (true, false) => living.push(other.pieces),
                (is_connected, _) => self.fence(&other, is_connected).await?,
            }
        }
        if living.is_empty() || self.n_ticks > QUIET_TICKS {
            in_time(beat(&mut self.control, now)).await?;
        }
        if !self.is_leaving {
            self.share(&living).await?;
        }
        Ok(())
    }

    /// Reads the database's time, which is the daemon's from then on. An error if it has jumped.
    async fn follow_clock(&mut self) -> Result<Timestamp, StoreError> {
        let began_at = Instant::now();
        let now: i64 = in_time(
            sqlx::query_scalar(sqlx::AssertSqlSafe(format!("SELECT {NOW}"))).fetch_one(&mut self.control),
        )
        .await?;
        let now = Timestamp::from_millis(now) + began_at.elapsed() / 2;
        let delta_ms = now.as_millis().saturating_sub(self.clock.now().as_millis());
        if delta_ms.abs() > JUMP_MS {
            return Err(self.follow_jump(delta_ms, now).await);
        }
        self.clock.follow(now);
        Ok(now)
    }

    /// Writes a sign of life. An error if another daemon has fenced this one off, or the locks are gone.
    async fn give_sign(&mut self) -> Result<(), StoreError> {
        let (is_noted, n_locks): (bool, i64) = in_time(
            sqlx::query_as(sqlx::AssertSqlSafe(format!(
                "WITH sign AS (UPDATE replicas SET seen_at = {NOW} WHERE id = $1 RETURNING id)
                 SELECT EXISTS (SELECT 1 FROM sign),
                        (SELECT count(*) FROM pg_locks
                         WHERE locktype = 'advisory' AND pid = $2 AND classid = $3::bigint::oid AND objsubid = 2
                           AND granted AND objid = ANY ($4::bigint[]::oid[])
                           AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
            )))
            .bind(self.replica)
            .bind(self.session.backend_pid())
            .bind(i64::from(LOCKS))
            .bind(self.held.iter().map(|key| i64::from(*key)).collect::<Vec<_>>())
            .fetch_one(&mut self.control),
        )
        .await?;
        if !is_noted {
            return Err(StoreError::Lost { cause: "another daemon took this one for dead".to_owned() });
        }
        if usize::try_from(n_locks).unwrap_or(0) < self.held.len() {
            return Err(StoreError::Lost {
                cause: "the connection that holds its locks has ended".to_owned(),
            });
        }
        Ok(())
    }

    async fn others(&mut self) -> Result<Vec<Other>, StoreError> {
        let others: Vec<(i64, String, bool, bool, Vec<i64>)> = in_time(
            sqlx::query_as(sqlx::AssertSqlSafe(format!(
                "SELECT r.id, r.name, r.seen_at < {NOW} - {DEAD_AFTER_MS} AS is_late,
                        EXISTS (SELECT 1 FROM pg_stat_activity a
                                WHERE a.pid = r.backend_pid AND a.backend_start = r.backend_start) AS is_connected,
                        r.pieces
                 FROM replicas r WHERE r.id <> $1"
            )))
            .bind(self.replica)
            .fetch_all(&mut self.control),
        )
        .await?;
        let other = |(id, name, is_late, is_connected, pieces): (_, _, _, _, Vec<i64>)| {
            let pieces = pieces.into_iter().filter_map(|key| i32::try_from(key).ok()).collect();
            Other { id, name, is_late, is_connected, pieces }
        };
        Ok(others.into_iter().map(other).collect())
    }

    /// Fences a daemon off that gives no sign of life: ends its connection, so that it can't commit anything more.
    async fn fence(&mut self, other: &Other, is_connected: bool) -> Result<(), StoreError> {
        if is_connected {
            tracing::warn!(
                replica = %other.name,
                "daemon {} has given no sign of life for {} s: its connection is ended, and its work taken over",
                other.name,
                DEAD_AFTER_MS / 1_000
            );
            // The backend may have ended meanwhile, and another one have its process id; the start time tells them
            // apart.
            in_time(
                sqlx::query(
                    "SELECT pg_terminate_backend(a.pid) FROM pg_stat_activity a
                     JOIN replicas r ON r.backend_pid = a.pid AND r.backend_start = a.backend_start WHERE r.id = $1",
                )
                .bind(other.id)
                .execute(&mut self.control),
            )
            .await?;
        } else {
            tracing::info!(replica = %other.name, "daemon {} is gone", other.name);
        }
        let deleted =
            sqlx::query("DELETE FROM replicas WHERE id = $1").bind(other.id).execute(&mut self.control);
        in_time(deleted).await?;
        Ok(())
    }

    /// Takes pieces up to this daemon's share, and asks back what is beyond it.
    async fn share(&mut self, others: &[BTreeSet<i32>]) -> Result<(), StoreError> {
        let mut kinds: BTreeMap<&'static str, BTreeSet<i32>> = BTreeMap::new();
        for (key, piece) in &self.wanted {
            kinds.entry(piece.kind()).or_default().insert(*key);
        }
        for mine in kinds.into_values() {
            let Share { n_more_shared, give_back, exclusive } = share(&mine, &self.held, others);
            for key in give_back.into_iter().filter(|key| !self.asked.contains(key)).collect::<Vec<_>>() {
                self.asked.insert(key);
                if let Some(piece) = self.wanted.get(&key) {
                    self.news.push_back(News::Asked(piece.clone()));
                }
            }
            let mut n_more = n_more_shared;
            for key in mine.iter().copied().filter(|key| !self.held.contains(key)).collect::<Vec<_>>() {
                let is_exclusive = exclusive.contains(&key);
                if !is_exclusive && n_more == 0 {
                    continue;
                }
                if self.session.scalar("SELECT pg_try_advisory_lock($1, $2)", key).await? {
                    n_more -= usize::from(!is_exclusive);
                    self.held.insert(key);
                    if let Some(piece) = self.wanted.get(&key) {
                        self.news.push_back(News::Gained(piece.clone()));
                    }
                }
            }
        }
        Ok(())
    }

    /// Gives a piece back, once nothing of it is under way any more.
    ///
    /// # Errors
    /// If the session is lost, which frees it as well.
    pub async fn free(&mut self, piece: &Piece) -> Result<(), StoreError> {
        let Some(key) = self.wanted.iter().find(|(_, wanted)| *wanted == piece).map(|(key, _)| *key) else {
            return Ok(());
        };
        if self.held.remove(&key) {
            self.session.scalar("SELECT pg_advisory_unlock($1, $2)", key).await?;
        }
        self.asked.remove(&key);
        self.notify(PIECES).await
    }

    /// Holds nothing from now on, whether its session still lives or not.
    pub fn give_up(&self) {
        self.session.give_up();
    }

    /// Says that this daemon is about to leave: others take what it frees.
    ///
    /// # Errors
    /// If the session is lost.
    pub async fn retire(&mut self) -> Result<(), StoreError> {
        self.is_leaving = true;
        let retired = sqlx::query("UPDATE replicas SET pieces = '{}' WHERE id = $1")
            .bind(self.replica)
            .execute(&mut self.control);
        in_time(retired).await?;
        self.notify(PIECES).await
    }

    /// Leaves: all that is held is free.
    pub async fn leave(mut self) {
        // If the session is lost, the others notice it themselves.
        let gone =
            sqlx::query("DELETE FROM replicas WHERE id = $1").bind(self.replica).execute(&mut self.control);
        let _ = in_time(gone).await;
        self.session.close().await;
        let _ = self.notify(PIECES).await;
    }

    /// The server's clock has jumped. The first daemon that notices moves the schedule; all of them start over
    /// afterwards.
    async fn follow_jump(&mut self, delta_ms: i64, now: Timestamp) -> StoreError {
        tracing::warn!(
            delta_ms,
            "the database's clock jumped by {} s; the schedule moves along, nothing expires for it",
            delta_ms / 1_000
        );
        let jump = Jump { delta_ms, now, while_absent: false };
        let moved = self.session.write(async |connection| shift(connection, &jump).await).await;
        self.clock.follow(now);
        match moved {
            Ok(()) => StoreError::Lost { cause: "the database's clock has jumped".to_owned() },
            Err(err) => err,
        }
    }

    async fn notify(&mut self, what: &'static str) -> Result<(), StoreError> {
        let told =
            sqlx::query("SELECT pg_notify($1, $2)").bind(CHANNEL).bind(what).execute(&mut self.control);
        in_time(told).await?;
        Ok(())
    }
}

/// The connection that hears what other daemons and commands notify, and gives the signs of life.
async fn listen(store: &Store) -> Result<PgListener, StoreError> {
    let control = store.control_pool()?;
    let mut control = PgListener::connect_with(&control)
        .await
        .map_err(|source| StoreError::Connect { address: store.address().to_string(), source })?;
    control.ignore_pool_close_event(true);
    control.eager_reconnect(false);
    control.listen(CHANNEL).await.map_err(StoreError::query("listening"))?;
    Ok(control)
}

/// Gives each of these pieces a key, if it has none yet.
async fn key_pieces(writer: &mut PgConnection, pieces: &[Piece]) -> Result<BTreeMap<i32, Piece>, StoreError> {
    let (kinds, names): (Vec<_>, Vec<_>) = pieces.iter().map(|piece| (piece.kind(), piece.name())).unzip();
    sqlx::query(
        "INSERT INTO pieces (kind, name) SELECT j.kind, j.name FROM unnest($1::text[], $2::text[]) AS j (kind, name)
         WHERE NOT EXISTS (SELECT 1 FROM pieces p WHERE p.kind = j.kind AND p.name = j.name)
         ON CONFLICT DO NOTHING",
    )
    .bind(&kinds)
    .bind(&names)
    .execute(&mut *writer)
    .await
    .map_err(StoreError::query("naming the pieces of work"))?;
    let keys: Vec<(i32, String, String)> = sqlx::query_as("SELECT id, kind, name FROM pieces")
        .fetch_all(writer)
        .await
        .map_err(StoreError::query("reading the pieces of work"))?;
    let keyed = |(key, kind, name): (i32, String, String)| {
        let piece = pieces.iter().find(|piece| (piece.kind(), piece.name()) == (&*kind, &*name))?;
        Some((key, piece.clone()))
    };
    Ok(keys.into_iter().filter_map(keyed).collect())
}

/// Makes this daemon known to the others.
async fn insert_replica(writer: &mut PgConnection, wanted: &BTreeMap<i32, Piece>) -> Result<i64, StoreError> {
    sqlx::query_scalar(sqlx::AssertSqlSafe(format!(
        "INSERT INTO replicas (name, version, started_at, seen_at, backend_pid, backend_start, pieces)
         SELECT $1, $2, {NOW}, {NOW}, pid, backend_start, $3::bigint[]
         FROM pg_stat_activity WHERE pid = pg_backend_pid()
         RETURNING id"
    )))
    .bind(replica_name())
    .bind(env!("CARGO_PKG_VERSION"))
    .bind(wanted.keys().map(|key| i64::from(*key)).collect::<Vec<_>>())
    .fetch_one(writer)
    .await
    .map_err(StoreError::query("noting this daemon"))
}

/// The host's name and the process id; in Kubernetes the host's name is the pod's.
fn replica_name() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{host}:{}", std::process::id())
}
