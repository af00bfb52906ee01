//! The whole program as its users meet it: the real binary, real sockets, real SQLite files.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test a panic is the verdict"
)]

mod advice;
mod architecture;
mod bounds;
mod certificates;
mod clock;
#[allow(dead_code, reason = "what only the run on a server uses")]
mod cluster;
mod commands;
mod configuration;
mod crashes;
mod documents;
mod explanations;
mod floods;
mod helpers;
mod http;
mod log;
mod looks;
mod main_job;
mod nobody;
mod pages;
mod plans;
mod preflight;
mod readers;
mod reading;
mod sandbox;
mod secrets;
mod service;
mod shutdown;
mod storage;
mod tallies;
mod threads;
mod upstream_answers;
mod upstream_failures;
mod views;
mod webhooks;
