//! The conductor: breaks things at moments drawn by lot, mends each after a while, and in the end mends all.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::support::nats::Nats;
use crate::support::receiver::Target;
use crate::support::relay::{Network, Relay};
use crate::support::sidecar::Sidecar;
use crate::support::{PATIENCE, eventually};

use super::{COUNT, LEAVING, Letter, WEBHOOKS, World, file};

/// The longest time between two things that happen.
const PAUSE_MAX: Duration = Duration::from_millis(700);
/// The longest time for which a thing stays broken.
const BROKEN_MAX: Duration = Duration::from_secs(4);

/// What mends something.
#[derive(Clone, Copy, PartialEq)]
enum Mend {
    Process(usize),
    Node(usize),
    Network(usize),
    Receiver,
    Webhook(usize),
}

pub(super) struct Conductor {
    world: Arc<World>,
    chance: fastrand::Rng,
    nats: Nats,
    relays: Vec<Relay>,
    sidecars: Vec<Sidecar>,
    target: Arc<Target>,
    up: [bool; COUNT],
    mends: Vec<(Duration, Mend)>,
    version: u32,
    ended: Vec<String>,
    /// How often each thing was done.
    pub(super) done: BTreeMap<&'static str, u32>,
}

impl Conductor {
    pub(super) fn new(
        world: &Arc<World>,
        nats: Nats,
        relays: Vec<Relay>,
        sidecars: Vec<Sidecar>,
        target: &Arc<Target>,
    ) -> Self {
        Self {
            world: Arc::clone(world),
            chance: fastrand::Rng::with_seed(world.seed),
            nats,
            relays,
            sidecars,
            target: Arc::clone(target),
            up: [true; COUNT],
            mends: Vec::new(),
            version: 1,
            ended: Vec::new(),
            done: BTreeMap::new(),
        }
    }

    /// Goes on until a moment.
    pub(super) fn run(&mut self, until: Duration) {
        while self.world.begun.elapsed() < until {
            self.mend_due();
            self.act();
            std::thread::park_timeout(PAUSE_MAX.mul_f64(self.chance.f64()));
        }
    }

    /// Mends everything.
    pub(super) fn heal(&mut self) {
        self.world.note("healing");
        self.world.set_fault(0, 503);
        let mut mends: Vec<Mend> = std::mem::take(&mut self.mends).into_iter().map(|(_, mend)| mend).collect();
        // A process does not start without servers.
        mends.sort_by_key(|mend| matches!(mend, Mend::Process(_)));
        for mend in mends {
            self.mend(mend);
        }
    }

    fn count(&mut self, what: &'static str) {
        *self.done.entry(what).or_default() += 1;
    }

    fn later(&mut self, mend: Mend) {
        let until = self.world.begun.elapsed() + BROKEN_MAX.mul_f64(self.chance.f64());
        self.mends.push((until, mend));
    }

    fn mend_due(&mut self) {
        let now = self.world.begun.elapsed();
        let (due, later): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.mends).into_iter().partition(|(until, _)| *until <= now);
        self.mends = later;
        for (_, mend) in due {
            // A process that starts needs most of the servers, and those its way to them.
            let servers = (0..COUNT).filter(|node| self.nats.is_up(*node)).count();
            if matches!(mend, Mend::Process(_)) && (servers < 2 || self.is_cut()) {
                self.mends.push((now, mend));
            } else {
                self.mend(mend);
            }
        }
    }

    fn is_cut(&self) -> bool {
        self.mends.iter().any(|(_, mend)| matches!(mend, Mend::Network(_)))
    }

    fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Process(process) => {
                self.world.note(format!("process {process} starts"));
                self.sidecars[process].restart();
                self.up[process] = true;
            }
            Mend::Node(node) => {
                self.world.note(format!("server {node} starts"));
                self.nats.restart(node);
            }
            Mend::Network(node) => {
                self.world.note(format!("the way to server {node} is sound"));
                self.relays[node].set(Network::Sound);
            }
            Mend::Receiver => self.world.set_fault(3, 503),
            Mend::Webhook(process) => self.write(process, LEAVING),
        }
    }

    fn write(&mut self, process: usize, webhook: usize) {
        self.version += 1;
        let text = file(webhook, &self.target, self.version);
        self.sidecars[process].written().write_webhook(WEBHOOKS[webhook].0, &text);
    }

    fn act(&mut self) {
        let (process, node) = (self.chance.usize(..COUNT), self.chance.usize(..COUNT));
        match self.chance.u8(..100) {
            0..14 if self.up[process] => {
                self.world.note(format!("process {process} is killed"));
                self.ended.push(self.sidecars[process].log());
                self.sidecars[process].kill9();
                self.up[process] = false;
                self.count("kill of a process");
                self.later(Mend::Process(process));
            }
            14..20 if self.up[process] => {
                self.world.note(format!("process {process} is ended"));
                self.sidecars[process].terminate();
                self.ended.push(self.sidecars[process].log());
                self.up[process] = false;
                self.count("end of a process");
                self.later(Mend::Process(process));
            }
            20..34 if self.nats.is_up(node) => {
                self.world.note(format!("server {node} is killed"));
                self.nats.kill(node);
                self.count("kill of a server");
                self.later(Mend::Node(node));
            }
            34..54 if !self.mends.iter().any(|(_, mend)| *mend == Mend::Network(node)) => {
                let network = match self.chance.u8(..4) {
                    0 => Network::Refusing,
                    1 => Network::Silent,
                    2 => Network::Slow,
                    _ => {
                        self.world.note(format!("the way to server {node} is cut"));
                        self.relays[node].cut();
                        self.count("cut");
                        return;
                    }
                };
                self.world.note(format!("the way to server {node}: {network:?}"));
                self.relays[node].set(network);
                self.count("network");
                self.later(Mend::Network(node));
            }
            54..75 => {
                let status = if self.chance.bool() { 503 } else { 422 };
                self.world.set_fault(if self.chance.bool() { 100 } else { 40 }, status);
                self.count("receiver");
                self.later(Mend::Receiver);
            }
            75..85 => {
                // One of them keeps it.
                let leaving = |process: usize| self.mends.iter().any(|(_, mend)| *mend == Mend::Webhook(process));
                if process != 0 && !leaving(process) {
                    let path = self.sidecars[process].written().config().join("webhooks/leaving.toml");
                    std::fs::remove_file(path).expect("it is there");
                    self.world.note(format!("process {process} loses a webhook"));
                    self.count("removal");
                    self.later(Mend::Webhook(process));
                }
            }
            85..100 => {
                let webhook = self.chance.usize(..LEAVING);
                self.write(process, webhook);
                self.count("edit");
            }
            _ => {}
        }
    }

    /// What is pending by the counters of each process and webhook.
    pub(super) fn pending(&self) -> Vec<Option<f64>> {
        let of = |sidecar: &Sidecar| {
            WEBHOOKS.map(|(name, _)| sidecar.metric("outrigger_pending_deliveries", &[("webhook", name)]))
        };
        self.sidecars.iter().flat_map(of).collect()
    }

    /// All dead letters, as one of the processes tells of them.
    pub(super) fn letters(&self) -> Vec<Letter> {
        let mut letters = Vec::new();
        let mut cursor = String::new();
        loop {
            let path = format!("/api/v1/dead-letters?limit=1000{cursor}");
            let page = eventually(PATIENCE, || {
                let answer = self.sidecars[0].get("admin", &path);
                (answer.status == 200).then(|| answer.json())
            });
            let page = page.expect("dead letters are listed");
            for letter in page["dead_letters"].as_array().expect("a list") {
                let text = |key: &str| letter[key].as_str().unwrap_or_default().to_owned();
                let attempts = letter["attempts"].as_u64().unwrap_or_default();
                letters.push(Letter { id: text("id"), webhook: text("webhook"), reason: text("reason"), attempts });
            }
            let Some(next) = page["cursor"].as_str() else { return letters };
            cursor = format!("&cursor={next}");
        }
    }

    /// What the processes printed: those that ended, and those that run.
    pub(super) fn logs(&self) -> String {
        let running = self.sidecars.iter().map(Sidecar::log);
        let all: Vec<String> = self.ended.iter().cloned().chain(running).collect();
        let path = std::env::temp_dir().join(format!("outrigger-oracle-{}.log", self.world.seed));
        match std::fs::write(&path, all.join("\n\n=== the next process\n")) {
            Ok(()) => format!("the processes' logs are in {}", path.display()),
            Err(error) => format!("the processes' logs cannot be written: {error}"),
        }
    }
}
