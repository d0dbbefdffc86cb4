//! Outrigger: a static-configuration webhook sidecar. ARCHITECTURE.md is the map.

pub mod delivery;
pub mod diagnostic;
pub mod event;
pub mod metrics;
pub mod secret;
pub mod trace;

pub mod cloudevents;
pub mod kind;
pub mod template;
pub mod webhook;

pub mod config;
pub mod plan;

pub mod client;
pub mod gates;
pub mod history;
pub mod live;
pub mod log;
pub mod server;
pub mod settled;
pub mod shown;
pub mod spans;
pub mod spool;
pub mod stall;
pub mod supervisor;

pub mod attempt;
pub mod dispatch;
pub mod ingest;
pub mod reload;
pub mod trial;

pub mod admin;
pub mod app;

#[allow(clippy::print_stdout, clippy::print_stderr, reason = "the command line talks to people")]
pub mod cli;
