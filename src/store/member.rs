//! Which work a daemon holds, and what other processes did to the database.
//!
//! Work comes in pieces ([`Piece`]), and a piece has one holder. With a file the only daemon holds all from the start,
//! and learns only that others have written. With a server pieces come and go ([`News`]), as
//! `store::postgres::membership` explains. Outside the store nobody needs to know which it is.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use super::error::StoreError;
use super::{Backend, Work, sqlite};
use crate::clock::Clock;

/// A piece of work. One daemon holds it at a time.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Piece {
    /// The activities of the VATs that these credentials serve, with their quotas and holds.
    Polling {
        /// The credentials' names.
        credentials: Vec<String>,
        /// Whether the activities that no credential serves belong to it.
        has_unserved: bool,
    },
    /// The deliveries of a sink.
    Sink(String),
    /// Pruning, and reminders of certificates.
    Upkeep,
}

/// What a daemon is configured to work on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Duties {
    /// Names of the credentials.
    pub credentials: Vec<String>,
    /// Names of the sinks.
    pub sinks: Vec<String>,
}

/// What a daemon has to act on: it got or lost work, or others wrote.
#[derive(Debug)]
pub enum News {
    /// It holds this piece from now on.
    Gained(Piece),
    /// Another daemon is to get this piece: stop working on it, record what is under way, and free it.
    Asked(Piece),
    /// Another process may have written something.
    Changed,
    /// Another daemon has recorded events.
    Events,
    /// The database is lost, and with it everything that was held.
    Lost(StoreError),
}

/// A daemon's part in the work: what it holds, and what others do.
#[derive(Debug)]
pub struct Member {
    work: Work,
    inner: Inner,
}

#[derive(Debug)]
enum Inner {
    /// One daemon holds all of it from the start.
    Sqlite {
        store: sqlite::Store,
        /// Not returned yet.
        news: VecDeque<News>,
        /// What changes with every commit of others; `None` before the first look.
        version: Option<i64>,
    },
    #[cfg(feature = "postgres")]
    Postgres(Box<super::postgres::Membership>),
}

impl Member {
    pub(super) async fn join(
        backend: &Backend,
        duties: &Duties,
        #[cfg_attr(
            not(feature = "postgres"),
            expect(unused_variables, reason = "a file has the machine's time")
        )]
        clock: &Arc<Clock>,
    ) -> Result<Self, StoreError> {
        match backend {
            Backend::Sqlite(store) => Ok(Self {
                work: Work::new(backend.clone()),
                inner: Inner::Sqlite {
                    store: store.clone(),
                    news: duties.in_one().map(News::Gained).collect(),
                    version: None,
                },
            }),
            #[cfg(feature = "postgres")]
            Backend::Postgres(store) => {
                let membership = super::postgres::Membership::join(store, duties, clock).await?;
                let backend = Backend::Postgres(store.through(membership.session()));
                Ok(Self { work: Work::new(backend), inner: Inner::Postgres(Box::new(membership)) })
            }
        }
    }

    /// What may be done with what is held.
    pub fn work(&self) -> &Work {
        &self.work
    }

    /// Waits until there is something for [`Member::act`] to do. Dropping the future loses nothing.
    pub async fn wait(&mut self) {
        match &mut self.inner {
            Inner::Sqlite { store, news, version } => {
                if news.is_empty() {
                    news.push_back(store.next_change(version).await);
                }
            }
            #[cfg(feature = "postgres")]
            Inner::Postgres(membership) => membership.wait().await,
        }
    }

    /// Acts on what happened in the database (on a server: takes pieces and gives them back), and returns the news. The
    /// future must not be dropped before it ends.
    pub async fn act(&mut self) -> Vec<News> {
        match &mut self.inner {
            Inner::Sqlite { news, .. } => news.drain(..).collect(),
            #[cfg(feature = "postgres")]
            Inner::Postgres(membership) => membership.act().await,
        }
    }

    /// Frees a piece for others, once nothing of it is under way.
    ///
    /// # Errors
    /// If the database is lost, which frees it as well.
    #[cfg_attr(not(feature = "postgres"), expect(unused_variables, reason = "a file has one daemon"))]
    pub async fn free(&mut self, piece: &Piece) -> Result<(), StoreError> {
        match &mut self.inner {
            Inner::Sqlite { .. } => Ok(()),
            #[cfg(feature = "postgres")]
            Inner::Postgres(membership) => membership.free(piece).await,
        }
    }

    /// Holds nothing from now on: nothing more of it is to be asked for or sent.
    pub fn give_up(&self) {
        match &self.inner {
            Inner::Sqlite { .. } => {}
            #[cfg(feature = "postgres")]
            Inner::Postgres(membership) => membership.give_up(),
        }
    }

    /// Says that this daemon is about to leave: others take what it frees.
    ///
    /// # Errors
    /// If the database is lost.
    pub async fn retire(&mut self) -> Result<(), StoreError> {
        match &mut self.inner {
            Inner::Sqlite { .. } => Ok(()),
            #[cfg(feature = "postgres")]
            Inner::Postgres(membership) => membership.retire().await,
        }
    }

    /// Leaves: everything that is held is free.
    pub async fn leave(self) {
        match self.inner {
            Inner::Sqlite { .. } => {}
            #[cfg(feature = "postgres")]
            Inner::Postgres(membership) => membership.leave().await,
        }
    }
}

impl Duties {
    /// One piece for each sink, one for the upkeep and one for all credentials together.
    fn in_one(&self) -> impl Iterator<Item = Piece> {
        let polling = Piece::Polling { credentials: self.credentials.clone(), has_unserved: true };
        let sinks = self.sinks.iter().map(|sink| Piece::Sink(sink.clone()));
        [polling].into_iter().chain(sinks).chain([Piece::Upkeep])
    }

    /// As [`Duties::in_one`], with a piece for each credential.
    #[cfg(feature = "postgres")]
    pub(super) fn pieces(&self) -> Vec<Piece> {
        let polling = self
            .credentials
            .iter()
            .enumerate()
            .map(|(nth, name)| Piece::Polling { credentials: vec![name.clone()], has_unserved: nth == 0 });
        let sinks = self.sinks.iter().map(|sink| Piece::Sink(sink.clone()));
        polling.chain(sinks).chain([Piece::Upkeep]).collect()
    }
}

impl Piece {
    #[cfg(feature = "postgres")]
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Piece::Polling { .. } => "credential",
            Piece::Sink(_) => "sink",
            Piece::Upkeep => "upkeep",
        }
    }

    #[cfg(feature = "postgres")]
    pub(super) fn name(&self) -> &str {
        match self {
            Piece::Polling { credentials, .. } => credentials.first().map_or("", String::as_str),
            Piece::Sink(sink) => sink,
            Piece::Upkeep => "",
        }
    }
}

/// As people name it.
impl fmt::Display for Piece {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Piece::Polling { credentials, .. } => write!(f, "credential {}", credentials.join(", ")),
            Piece::Sink(sink) => write!(f, "sink {sink}"),
            Piece::Upkeep => f.write_str("upkeep"),
        }
    }
}
