//! The suite for the whole program once more, on a PostgreSQL server of its own; and what only several daemons do.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the verdict"
)]

#[path = "../it/certificates.rs"]
mod certificates;
#[path = "../it/clock.rs"]
mod clock;
#[path = "../it/cluster.rs"]
mod cluster;
#[path = "../it/commands.rs"]
mod commands;
mod copy;
#[path = "../it/explanations.rs"]
mod explanations;
#[path = "../it/helpers.rs"]
mod helpers;
#[path = "../it/http.rs"]
mod http;
#[path = "../it/log.rs"]
mod log;
#[path = "../it/looks.rs"]
mod looks;
#[path = "../it/main_job.rs"]
mod main_job;
#[path = "../it/nobody.rs"]
mod nobody;
#[path = "../it/pages.rs"]
mod pages;
mod refusals;
mod replicas;
mod reports;
#[path = "../it/tallies.rs"]
mod tallies;
#[path = "../it/threads.rs"]
mod threads;
#[path = "../it/upstream_answers.rs"]
mod upstream_answers;
#[path = "../it/upstream_failures.rs"]
mod upstream_failures;
#[path = "../it/webhooks.rs"]
mod webhooks;
