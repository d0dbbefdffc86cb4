//! The command line.

pub mod demo;
mod healthcheck;
mod run;
mod test;

use std::process::ExitCode;

/// Exit code: the answer is no.
const REFUSED: u8 = 1;
/// Exit code: the command line is wrong.
const USAGE: u8 = 2;
/// Exit code: the configuration is wrong (`EX_CONFIG` of sysexits.h).
const BAD_CONFIG: u8 = 78;

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let mut source = crate::config::Source::new("config");
    let arguments: Vec<String> = std::env::args().collect();
    source.dir = arguments.iter().skip_while(|a| *a != "--config").nth(1).cloned().unwrap_or("config".into()).into();
    source.cold_start = true;
    let _ = (healthcheck::healthcheck, test::test, test::Mock::Trigger, test::Mock::Event);
    run::run(source)
}
