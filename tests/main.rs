//! All integration tests in one binary: they drive the real program.

#![allow(clippy::unwrap_used, reason = "unwrap is for tests")]

mod admin;
mod bad_input;
mod cli;
mod crash;
mod delivery;
mod deploy;
mod docs;
mod editor;
mod faulty;
mod fuzz;
mod house;
mod metrics;
mod oracle;
mod reload;
mod support;
