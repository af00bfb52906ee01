//! The daemon's tasks.
//!
//! | task | does | begins a round when | at the latest after |
//! |---|---|---|---|
//! | [`Poller`] | asks upstream about what is due | something was registered or changed, or falls due | a minute |
//! | [`Recorder`] | writes what the others hand it, in batches | a record arrives, or the heartbeat is due | a second |
//! | [`Dispatcher`], one for each sink | sends events | an event was committed, or a try falls due | 5 s |
//! | [`Renewer`] | stores the events of certificates that end | | 2 s |
//! | [`Pruner`] | removes what is old | | an hour |
//!
//! Each task runs alone and owns its state. What there is to do is in the database: a wake carries nothing and only
//! makes a task look sooner, so a lost one costs time, and a restart continues where the last run ended. Poller and
//! dispatchers send records to the recorder over a bounded channel. The store knows what is claimed and not committed
//! yet. `outcomes` logs and counts what the recorder wrote, `heartbeat` decides when the daemon's sign of life is due.
//!
//! A new task is a file here. `daemon::supervisor` starts it (`take_up`) and says when it stops.

mod deliver;
mod heartbeat;
mod outcomes;
mod poll;
mod prune;
mod record;
mod renew;

pub use deliver::{Dispatcher, DispatcherParts, LogSink, Sink};
pub use poll::{Poller, PollerParts};
pub use prune::Pruner;
pub use record::{Recorder, RecorderHandle, RecorderParts};
pub use renew::Renewer;
