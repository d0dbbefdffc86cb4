//! The spool in NATS beside that on the disk, through the real program: `OUTRIGGER_TEST_NATS=nats-server cargo bench --bench nats`.
//!
//! Each round runs every candidate with the same events of about 1 KB over 64 connections in a closed loop: the disk, one server, a cluster
//! of three, and three processes on one server. Printed are deliveries a second, the processor time of all Outrigger processes and of the
//! servers for each event, memory, and how evenly three processes shared the work. Everything, the receiver and the senders too, is on this
//! machine: the ratios are what to go by.
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a bench prints rounded figures")]

#[path = "parts/load.rs"]
mod load;

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use outrigger::cli::demo::answer::Answer;
use outrigger::cli::demo::authority::Authority;
use outrigger::cli::demo::receiver::Receiver;
use tokio::runtime::Runtime;

use load::{Sidecar, cpu, rate, send, wait_until};

/// Events of one run unless the command line says otherwise.
const EVENTS: u64 = 20_000;
/// Rounds.
const ROUNDS: usize = 3;

/// What is compared: how many servers, 0 for the disk, and how many processes.
const CANDIDATES: [(&str, usize, usize); 4] =
    [("disk", 0, 1), ("nats, one server", 1, 1), ("nats, three servers", 3, 1), ("nats, three processes", 1, 3)];

fn main() {
    let events = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(EVENTS);
    let runtime = Runtime::new().expect("a runtime");
    let authority = Authority::new().expect("an authority");
    let mut rates = vec![Vec::new(); CANDIDATES.len()];
    for round in 1..=ROUNDS {
        for (candidate, (name, servers, processes)) in CANDIDATES.iter().enumerate() {
            let receiver = runtime.block_on(Receiver::start(&authority, &["127.0.0.1"])).expect("a receiver");
            receiver.otherwise(Answer::json(r#"{"ok":true}"#));
            let rate = run(&receiver, &authority, (*servers, *processes), events, &format!("round {round}, {name}"));
            rates[candidate].push(rate);
        }
    }
    let best = |candidate: usize| rates[candidate].iter().copied().fold(0.0, f64::max);
    for (candidate, (name, ..)) in CANDIDATES.iter().enumerate() {
        println!("{name}: {:.0} deliveries/s at best, {:.2} of the disk's", best(candidate), best(candidate) / best(0));
    }
}

/// Runs one candidate; deliveries a second.
fn run(
    receiver: &Receiver,
    authority: &Authority,
    (servers, processes): (usize, usize),
    events: u64,
    name: &str,
) -> f64 {
    let directory = tempfile::TempDir::new().expect("a directory");
    let servers = start_servers(directory.path(), servers);
    let mut sidecars: Vec<Sidecar> = (0..processes)
        .map(|number| {
            let root = directory.path().join(format!("p{number}"));
            configure(&root, authority, receiver.addr().port(), &servers);
            Sidecar::start(&root)
        })
        .collect();
    let ingests: Vec<String> = sidecars.iter().map(|sidecar| sidecar.ingest.clone()).collect();
    // Connections, consumers and pools are made first.
    send(&ingests, 640);
    wait_until(|| receiver.count() as u64 >= 640 && sidecars.iter().all(|sidecar| sidecar.pending() == 0));
    let times = |sidecars: &[Sidecar]| -> (Duration, Duration) {
        (sidecars.iter().map(Sidecar::cpu).sum(), servers.iter().map(|server| cpu(server.process.id())).sum())
    };
    let (before, delivered) = (times(&sidecars), sidecars.iter().map(Sidecar::delivered).collect::<Vec<_>>());
    let (began, first) = (Instant::now(), receiver.count() as u64);
    send(&ingests, events);
    let taken = began.elapsed();
    wait_until(|| receiver.count() as u64 >= first + events);
    let took = began.elapsed();
    wait_until(|| sidecars.iter().all(|sidecar| sidecar.pending() == 0));
    let after = times(&sidecars);
    let each = |time: Duration| time.as_micros() as f64 / events as f64;
    let shares: Vec<u64> =
        sidecars.iter().zip(&delivered).map(|(sidecar, before)| sidecar.delivered() - before).collect();
    let even = events as f64 / processes as f64;
    let uneven = shares.iter().map(|share| (*share as f64 / even - 1.0).abs()).fold(0.0, f64::max);
    println!(
        "{name}: {:.0} deliveries/s ({:.0} taken/s), {:.0} µs of processor time an event and {:.0} in the servers, {} MiB, {} twice, \
         shares {shares:?} (at most {:.0} % from even)",
        rate(events, took),
        rate(events, taken),
        each(after.0.saturating_sub(before.0)),
        each(after.1.saturating_sub(before.1)),
        sidecars.iter().map(Sidecar::memory_mib).max().unwrap_or(0),
        receiver.count() as u64 - first - events,
        uneven * 100.0
    );
    for sidecar in &mut sidecars {
        sidecar.end();
    }
    rate(events, took)
}

/// A server, which is killed when it is dropped.
struct Server {
    process: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn start_servers(root: &Path, count: usize) -> Vec<Server> {
    let bound: Vec<TcpListener> =
        (0..2 * count).map(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port")).collect();
    let ports: Vec<u16> = bound.iter().map(|listener| listener.local_addr().expect("it is bound").port()).collect();
    drop(bound);
    let (clients, cluster) = ports.split_at(count);
    let routes: Vec<String> = cluster.iter().map(|port| format!("'nats://127.0.0.1:{port}'")).collect();
    let start = |number: usize| {
        let (port, route) = (clients[number], cluster[number]);
        let cluster = if count > 1 {
            format!("cluster {{ name: c, listen: '127.0.0.1:{route}', routes: [{}] }}\n", routes.join(", "))
        } else {
            String::new()
        };
        let file = root.join(format!("n{number}.conf"));
        let text = format!(
            "listen: '127.0.0.1:{port}'\nserver_name: n{number}\njetstream {{ store_dir: '{}' }}\n{cluster}",
            root.join(format!("store-{number}")).display()
        );
        std::fs::write(&file, text).expect("a file");
        let program = std::env::var_os("OUTRIGGER_TEST_NATS").expect("OUTRIGGER_TEST_NATS names a nats-server");
        let mut command = Command::new(program);
        command.arg("-c").arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        Server { process: command.spawn().expect("the server"), port }
    };
    let servers: Vec<Server> = (0..count).map(start).collect();
    for server in &servers {
        wait_until(|| TcpStream::connect((Ipv4Addr::LOCALHOST, server.port)).is_ok());
    }
    servers
}

fn configure(root: &Path, authority: &Authority, port: u16, servers: &[Server]) {
    std::fs::create_dir_all(root.join("config/webhooks")).expect("folders");
    std::fs::write(root.join("config/ca.pem"), authority.ca_pem()).expect("a file");
    let urls: Vec<String> = servers.iter().map(|server| format!("nats://127.0.0.1:{}", server.port)).collect();
    let spool = if servers.is_empty() {
        format!("path = \"{}\"\n", root.join("spool").display())
    } else {
        format!("kind = \"nats\"\nservers = {urls:?}\nreplicas = {}\n", servers.len())
    };
    let settings = format!(
        "ingest.listen = \"127.0.0.1:0\"\nadmin.listen = \"127.0.0.1:0\"\nmetrics.listen = \"127.0.0.1:0\"\nlog.level = \"error\"\n\
         [spool]\n{spool}\
         [egress]\nallow_networks = [\"127.0.0.0/8\"]\nallow_ports = [{port}]\nca_file = \"ca.pem\"\n"
    );
    std::fs::write(root.join("config/outrigger.toml"), settings).expect("a file");
    let webhook = format!(
        "url = \"https://127.0.0.1:{port}/hook\"\nordering = \"none\"\n\
         body = '{{\"id\":\"{{{{data.id}}}}\",\"n\":{{{{data.n}}}},\"text\":\"{{{{data.text}}}}\"}}'\n\
         [limits]\nconcurrency = 64\n"
    );
    std::fs::write(root.join("config/webhooks/target.toml"), webhook).expect("a file");
}
