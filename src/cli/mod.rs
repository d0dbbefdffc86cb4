//! The command line: each command is a function from its arguments to an [`Answer`].

mod check;
mod completions;
pub mod demo;
mod healthcheck;
mod operate;
mod paint;
mod plan;
mod preview;
pub mod recipes;
mod render;
mod run;
mod schema;
mod test;

use std::fmt::Write as _;
use std::io::{IsTerminal, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Source;
use crate::diagnostic::{Diagnostic, Level};

/// All is well.
const FINE: u8 = 0;
/// The answer is no: a test failed, a request cannot be rendered, two configurations differ, or nothing is there to be repaired.
const NO: u8 = 1;
/// The command line is wrong.
const USAGE: u8 = 2;
/// The configuration is faulty (`EX_CONFIG`).
const BAD_CONFIG: u8 = 78;

/// Outrigger: a webhook sidecar. TOML in, events in, rendered HTTPS out, metrics.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true)]
#[command(after_help = "Exit codes: 0 fine, 1 the answer is no, 2 usage, 78 bad configuration")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Check(check::Check),
    Test(test::Test),
    Render(render::Render),
    Plan(plan::Plan),
    Invocations(operate::Invocations),
    DeadLetters(operate::DeadLetters),
    Resume(operate::Resume),
    Recipes(recipes::Recipes),
    Schema(schema::Schema),
    Demo(demo::Demo),
    Healthcheck(healthcheck::Healthcheck),
    Completions(completions::Completions),
}

/// Where the configuration is.
#[derive(Clone, Debug, Args)]
struct Folder {
    /// The configuration folder
    #[arg(long = "config", value_name = "DIR", env = "OUTRIGGER_CONFIG", default_value = "config")]
    dir: PathBuf,
}

/// Where the configuration is, and whether its secrets are at hand.
#[derive(Debug, Args)]
struct Config {
    /// The configuration folder
    #[arg(long = "config", value_name = "DIR", env = "OUTRIGGER_CONFIG", default_value = "config")]
    dir: PathBuf,
    /// Let references without a value be placeholders: for places without secrets
    #[arg(long)]
    placeholders: bool,
}

impl Config {
    fn source(&self) -> Source {
        Source { placeholders: self.placeholders, ..Source::new(&self.dir) }
    }
}

/// What a command has to say.
#[derive(Debug, Default, PartialEq)]
struct Answer {
    /// The answer itself.
    out: String,
    /// What is said before it, and is not part of it.
    err: String,
    /// What is said behind it: the end of a long answer is what people see.
    after: String,
    /// The exit code.
    code: u8,
}

impl Answer {
    /// The configuration is faulty; its diagnostics are not what was asked for.
    fn bad_config(diagnostics: &[Diagnostic]) -> Self {
        Self { err: show(diagnostics, std::io::stderr().is_terminal()), code: BAD_CONFIG, ..Self::default() }
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are asked for and go to stdout, everything else is a usage error.
            let _ = error.print();
            return if error.use_stderr() { USAGE.into() } else { FINE.into() };
        }
    };
    let answer = match &cli.command {
        Command::Check(check) => check.run(),
        Command::Render(render) => render.run(),
        Command::Plan(plan) => plan.run(),
        Command::Invocations(invocations) => invocations.run(),
        Command::DeadLetters(dead_letters) => dead_letters.run(),
        Command::Resume(resume) => resume.run(),
        Command::Recipes(recipes) => recipes.run(),
        Command::Schema(schema) => schema.run(),
        Command::Completions(completions) => completions.run(),
        Command::Run(run) => return run.run(),
        Command::Test(test) => return test.run(),
        Command::Demo(demo) => return demo.run(),
        Command::Healthcheck(healthcheck) => return healthcheck.run(),
    };
    print(&answer).into()
}

/// Why this command line would be refused, if it would be: what the documentation says to type is held against it.
#[must_use]
pub fn refusal(arguments: &[&str]) -> Option<String> {
    let error = Cli::try_parse_from(["outrigger"].iter().chain(arguments)).err()?;
    error.use_stderr().then(|| error.to_string())
}

/// Prints an answer and gives the exit code: what could not be written is no success.
fn print(answer: &Answer) -> u8 {
    let _ = std::io::stderr().write_all(answer.err.as_bytes());
    let mut out = std::io::stdout().lock();
    let written = out.write_all(answer.out.as_bytes()).and_then(|()| out.flush());
    let _ = std::io::stderr().write_all(answer.after.as_bytes());
    match written {
        // A reader that went away wants no more: nothing is left to be done about it.
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let _ = writeln!(std::io::stderr(), "outrigger: the answer could not be written: {error}");
            answer.code.max(NO)
        }
        _ => answer.code,
    }
}

/// Diagnostics as they are printed, each followed by an empty line.
fn show(diagnostics: &[Diagnostic], coloured: bool) -> String {
    let coloured = coloured && std::env::var_os("NO_COLOR").is_none();
    let mut text = String::new();
    for diagnostic in diagnostics {
        let shown = diagnostic.to_string();
        let colour = match diagnostic.level {
            Level::Error => "\x1b[1;31m",
            Level::Warning => "\x1b[1;33m",
        };
        let heading = diagnostic.heading();
        match shown.strip_prefix(&heading).filter(|_| coloured) {
            Some(rest) => {
                let _ = writeln!(text, "{colour}{heading}\x1b[0m{rest}");
            }
            None => {
                let _ = writeln!(text, "{shown}");
            }
        }
    }
    text
}

/// `1 error`, `2 errors`.
fn count(number: usize, word: &str) -> String {
    if number == 1 { format!("{number} {word}") } else { format!("{number} {word}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn counts_agree_with_their_word() {
        assert_eq!(count(1, "error"), "1 error");
        assert_eq!(count(0, "error"), "0 errors");
    }
}
