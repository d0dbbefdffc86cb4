//! Real NATS servers, one or a cluster of three on loopback, which can be killed and started again.

use std::fmt::Write as _;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::Command;

use tempfile::TempDir;

use super::process::Process;
use super::sidecar::Builder;
use super::{PATIENCE, eventually};

/// The program that the tests were given.
pub(crate) fn program() -> PathBuf {
    std::env::var_os("OUTRIGGER_TEST_NATS")
        .expect("OUTRIGGER_TEST_NATS names a nats-server, as tests/all sets it")
        .into()
}

/// Servers that are killed when they are dropped.
pub(crate) struct Nats {
    program: PathBuf,
    nodes: Vec<Node>,
    dir: TempDir,
}

struct Node {
    port: u16,
    process: Option<Process>,
}

impl Nats {
    /// One server with `JetStream` and further lines of configuration.
    pub(crate) fn one(lines: &str) -> Self {
        Self::start(program(), &[format!("jetstream {{ store_dir: 'DIR' }}\n{lines}")])
    }

    /// One server with these lines alone; `DIR` stands for a directory of its own.
    pub(crate) fn bare(program: PathBuf, lines: &str) -> Self {
        Self::start(program, &[lines.to_owned()])
    }

    /// A cluster of three.
    pub(crate) fn three() -> Self {
        let ports = free_ports(3);
        let routes: Vec<String> = ports.iter().map(|port| format!("'nats://127.0.0.1:{port}'")).collect();
        let node = |(number, port): (usize, &u16)| {
            // Clients come through relays, and must not hear of a way past them.
            format!(
                "server_name: n{number}\njetstream {{ store_dir: 'DIR' }}\n\
                 cluster {{ name: c, listen: '127.0.0.1:{port}', no_advertise: true, routes: [{}] }}\n",
                routes.join(", ")
            )
        };
        let nodes: Vec<String> = ports.iter().enumerate().map(node).collect();
        Self::start(program(), &nodes)
    }

    fn start(program: PathBuf, nodes: &[String]) -> Self {
        let dir = TempDir::new().expect("a temporary directory");
        let ports = free_ports(nodes.len());
        let mut servers = Self { program, nodes: Vec::new(), dir };
        for (number, (lines, port)) in nodes.iter().zip(ports).enumerate() {
            let store = servers.dir.path().join(format!("store-{number}"));
            let mut text = format!("listen: '127.0.0.1:{port}'\n");
            let _ = write!(text, "{}", lines.replace("DIR", &store.display().to_string()));
            fs::write(servers.file(number), text).expect("a file in a temporary directory");
            servers.nodes.push(Node { port, process: None });
        }
        for number in 0..servers.nodes.len() {
            servers.begin(number);
        }
        for number in 0..servers.nodes.len() {
            servers.await_port(number);
        }
        servers
    }

    fn file(&self, node: usize) -> PathBuf {
        self.dir.path().join(format!("n{node}.conf"))
    }

    fn begin(&mut self, node: usize) {
        let mut command = Command::new(&self.program);
        command.arg("-c").arg(self.file(node));
        self.nodes[node].process = Some(Process::spawn(&mut command));
    }

    fn await_port(&mut self, node: usize) {
        let up = eventually(PATIENCE, || self.log(node).contains("Listening for client connections").then_some(()));
        assert!(up.is_some(), "node {node} does not come up:\n{}", self.log(node));
    }

    /// What a node printed.
    pub(crate) fn log(&self, node: usize) -> String {
        self.nodes[node].process.as_ref().map(|process| process.lines().join("\n")).unwrap_or_default()
    }

    pub(crate) fn address(&self, node: usize) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.nodes[node].port))
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, node: usize) {
        if let Some(mut process) = self.nodes[node].process.take() {
            process.kill9();
        }
    }

    /// Starts a node again on what it stored.
    pub(crate) fn restart(&mut self, node: usize) {
        self.kill(node);
        self.begin(node);
        self.await_port(node);
    }

    /// Stops a node or lets it go on, by SIGSTOP and SIGCONT.
    pub(crate) fn signal(&self, node: usize, name: &str) {
        if let Some(process) = &self.nodes[node].process {
            process.signal(name);
        }
    }

    pub(crate) fn is_up(&self, node: usize) -> bool {
        self.nodes[node].process.is_some()
    }

    /// A sidecar whose spool is in these servers.
    pub(crate) fn spool(&self, builder: Builder) -> Builder {
        let addresses: Vec<SocketAddr> = (0..self.nodes.len()).map(|node| self.address(node)).collect();
        spool_at(builder, &addresses)
    }
}

/// A sidecar whose spool is in the servers at these addresses, and kept on all of them.
pub(crate) fn spool_at(builder: Builder, addresses: &[SocketAddr]) -> Builder {
    let urls: Vec<String> = addresses.iter().map(|address| format!("nats://{address}")).collect();
    builder
        .setting("spool.kind = 'nats'")
        .setting(&format!("spool.servers = {urls:?}"))
        .setting(&format!("spool.replicas = {}", addresses.len()))
        .without("spool.path")
}

/// Ports that nobody has at the moment, below those that the system gives out by itself: a server comes back on its own.
fn free_ports(count: usize) -> Vec<u16> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, fastrand::u16(10_000..32_000))).ok();
    let bound: Vec<TcpListener> = std::iter::repeat_with(bind).flatten().take(count).collect();
    bound.iter().map(|listener| listener.local_addr().expect("it is bound").port()).collect()
}
