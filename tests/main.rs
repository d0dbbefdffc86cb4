//! All integration tests in one binary: they drive the real program.

#![allow(clippy::unwrap_used, reason = "unwrap is for tests")]

mod cli;
