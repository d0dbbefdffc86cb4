//! All integration tests in one binary: they drive the real program.

#![allow(clippy::unwrap_used, reason = "unwrap is for tests")]

mod admin;
mod bad_input;
mod browser;
mod cli;
mod cloudevents;
mod container;
mod counts;
mod crash;
mod delivery;
mod deploy;
mod docs;
mod editor;
mod egress;
mod faulty;
mod fuzz;
mod house;
mod injection;
mod kubernetes;
mod listeners;
mod logs;
mod metrics;
mod monitoring;
mod nats;
mod oracle;
mod otel;
mod recipes;
mod reload;
mod security;
mod supervisor;
mod support;
