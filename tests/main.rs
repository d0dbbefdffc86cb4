//! All integration tests in one binary: they drive the real program.

mod cli;
