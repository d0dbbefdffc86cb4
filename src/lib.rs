//! Outrigger: a static-configuration webhook sidecar.

pub mod delivery;
pub mod diagnostic;
pub mod event;
pub mod secret;

pub mod kind;
pub mod template;
pub mod webhook;

pub mod config;

pub mod client;
pub mod spool;

pub mod cli;
