//! Watches ZATCA device onboarding at ClearTax: polls what is pending, records every step in SQLite or PostgreSQL,
//! announces each conclusion. `docs/ARCHITECTURE.md` follows an activity and an answer through these modules.
//!
//! # Code map
//!
//! | module | for |
//! |---|---|
//! | [`domain`] | the pure core: what answers mean and what follows from them |
//! | [`upstream`] | one bounded request to ClearTax; the tokens it is made with |
//! | [`webhook`] | signing and sending one event |
//! | [`transport`] | what the clients of those two share |
//! | [`store`] | the database and all SQL |
//! | [`worker`] | the daemon's tasks: poller, recorder, dispatchers, renewer, pruner; [`wakers`] wake them |
//! | [`daemon`] | composition root: builds the tasks, stops them in order |
//! | [`api`] | HTTP: the JSON API, the pages' routes, probes and metrics |
//! | [`aside`] | a thread for tasks that would wait for their turn, or keep others waiting |
//! | [`monitor`], [`process`] | whether the daemon is ready, and its metrics |
//! | [`calendar`] | the days on which certificates end, as an iCalendar feed |
//! | [`evidence`] | one file about an activity, for a ticket or an auditor |
//! | [`page`] | the web pages, from what the store reads |
//! | [`words`] | every text for people in English and Arabic, with its numbers |
//! | [`mod@file`], [`secret`] | reading files that settings and arguments name, within bounds; secrets in them |
//! | [`serde_messages`], [`spreadsheet`] | serde's messages in plain words; CSV files that are safe to open |
//! | [`cli`] | the command line |
//! | [`sandbox`] | a scripted stand-in for ClearTax |
//! | [`service`] | what the service manager is told |
//! | [`settings`], [`telemetry`], [`shutdown`], [`clock`] | configuration, log, signals, time |
//!
//! # Invariants
//!
//! - `domain` uses no other module, does no I/O, reads no clock and draws no randomness.
//! - SQL is in `store` alone; outside it nobody knows which database it is. No transaction spans a network call.
//! - A concluded activity is never polled, and its conclusion, checks, events and deliveries are one transaction.
//! - An event's payload is made once; its id is derived from what it announces.
//! - Only `clock` reads the wall clock. In the daemon only `upstream`, `webhook` and `store` open connections; the
//!   command `health` opens one to the daemon on this machine.
//! - Secrets are read by `secret::SecretSource`. They go into headers, signatures and the password of a server, and
//!   are compared with answers to remove them there.

#![forbid(unsafe_code)]

pub mod api;
pub mod aside;
pub mod calendar;
pub mod cli;
pub mod clock;
pub mod daemon;
pub mod domain;
pub mod evidence;
pub mod file;
pub mod monitor;
pub mod page;
pub mod process;
pub mod sandbox;
pub mod secret;
pub mod serde_messages;
pub mod service;
pub mod settings;
pub mod shutdown;
pub mod spreadsheet;
pub mod store;
pub mod telemetry;
pub mod threads;
pub mod transport;
pub mod upstream;
pub mod wakers;
pub mod webhook;
pub mod words;
pub mod worker;
