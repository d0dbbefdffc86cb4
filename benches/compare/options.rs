//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use super::peer::Peer;

/// The real program beside bare forwarders, in one run on this machine: the figures to quote are the ratios
#[derive(Clone, Debug, Parser)]
#[command(name = "compare")]
pub(crate) struct Options {
    /// What is measured
    #[arg(long, value_enum, default_value = "goals")]
    pub(crate) scenario: Scenario,
    /// The forwarders beside it, separated by commas
    #[arg(long, value_enum, value_delimiter = ',', value_name = "LIST", default_value = "floor-spool")]
    pub(crate) with: Vec<Peer>,
    /// How often everything is measured; what is printed are medians
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,
    /// Deliveries of one measurement at saturation
    #[arg(long, default_value = "40000", value_parser = clap::value_parser!(u32).range(100..100_000_000))]
    pub(crate) events: u32,
    /// Events a second at the fixed rate
    #[arg(long, default_value = "500", value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rate: u32,
    /// Connections that send
    #[arg(long, default_value = "64", value_parser = clap::value_parser!(u32).range(1..10_000))]
    pub(crate) connections: u32,
    /// The size of an event; not below the 1.2 KB that its fields take
    #[arg(long, default_value = "1200")]
    pub(crate) event_bytes: usize,
    /// Let the receiver offer HTTP/2, which the sidecar takes and the forwarders do not
    #[arg(long)]
    pub(crate) http2: bool,
    /// The program to measure, in place of the one that was built along
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_outrigger"))]
    pub(crate) outrigger: PathBuf,
    /// Write the figures of all rounds there
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scenario {
    /// At saturation and at a fixed rate: processor time, throughput, latency
    Goals,
    /// Memory when idle and under saturation, time to be ready, size of the binary
    Footprint,
    /// Ten webhooks that want each event, and one
    Fanout,
    /// 1,000 webhooks of which ten want each event, and ten
    Many,
    /// Fresh deliveries beside 10,000 retries that wait, and without them
    Backlog,
    /// Curves over cores, sizes of events and connections
    Scaling,
}
