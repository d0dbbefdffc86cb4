//! The real program beside bare forwarders, end to end: `cargo bench --bench compare -- --help` says what there is.
//!
//! Each candidate is a process of its own, with a sender and a TLS receiver on loopback around it. They take turns, round by round, so
//! that a machine that is busy with something else is so for all of them: the figures to quote are the ratios. CPU per delivery, user
//! and system, is the steadiest of them. `lost` must be 0.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a bench prints rounded figures"
)]

mod backlog;
mod event;
mod fanout;
mod floor;
mod footprint;
mod goals;
mod ledger;
mod load;
mod many;
mod options;
mod pair;
mod peer;
#[path = "../parts/process.rs"]
mod process;
mod receiver;
mod scaling;
mod sidecar;
mod stage;
mod table;

use std::process::ExitCode;

use clap::{Parser as _, ValueEnum as _};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use options::{Options, Scenario};
use peer::Peer;
use stage::Stage;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let [child, peer, target, ca, log] = arguments.as_slice()
        && child == "--child"
    {
        floor::run(Peer::from_str(peer, false).expect("a forwarder"), target, ca, log);
        return ExitCode::SUCCESS;
    }
    let options = Options::parse();
    if !options.outrigger.is_file() {
        eprintln!("compare: {} is no program; `cargo build --release` makes one", options.outrigger.display());
        return ExitCode::from(2);
    }
    open_files();
    let stage = Stage::new(options);
    let figures = match stage.options.scenario {
        Scenario::Goals => goals::run(&stage),
        Scenario::Footprint => footprint::run(&stage),
        Scenario::Fanout => fanout::run(&stage),
        Scenario::Many => many::run(&stage),
        Scenario::Backlog => backlog::run(&stage),
        Scenario::Scaling => scaling::run(&stage),
    };
    if let Some(path) = &stage.options.json
        && let Err(error) = std::fs::write(path, format!("{figures:#}\n"))
    {
        eprintln!("compare: {} cannot be written: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if stage.lost() > 0 {
        eprintln!("compare: {} deliveries were acknowledged and did not come in", stage.lost());
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A thousand connections take more files than a process has by default. Children inherit the limit.
fn open_files() {
    let limit = getrlimit(Resource::Nofile);
    // Where it cannot be raised it is as it is.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}
