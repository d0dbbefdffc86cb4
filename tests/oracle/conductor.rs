//! The conductor: breaks things at moments drawn by lot, mends each after a while, and in the end mends all.

mod files;
mod letters;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use crate::support::relay::{Network, Relay};
use crate::support::sidecar::Sidecar;

use super::history::{Attempt, Cut, Defined, End, Life, Moment, Outage, Reply, Status};
use super::webhooks::{COUNT, LEAVING, RECEIVERS, RESTING, SECURED, SPECS};
use super::world::{Fault, World, pass};

pub(super) use files::{token, write_secret};

/// The longest time between two things that happen.
const PAUSE_MAX: Duration = Duration::from_millis(300);
/// The longest time for which a thing stays broken.
const BROKEN_MAX: Duration = Duration::from_millis(2500);
/// A process that is killed while it starts lives so long at most.
const UNHEARD_MAX: Duration = Duration::from_millis(150);

/// What mends something, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mend {
    Receiver { webhook: usize, since: Moment, whole: bool, edit: bool },
    Network { receiver: usize, since: Moment },
    Rest,
    Removal,
    Secret { since: Moment },
    Broken,
}

/// Breaks and mends.
pub(super) struct Conductor {
    world: Arc<World>,
    chance: fastrand::Rng,
    pub(super) sidecar: Sidecar,
    relays: Vec<Relay>,
    webhooks: [Defined; COUNT],
    /// The file that is faulty: a webhook's, or `COUNT` for the sidecar's own.
    broken: Option<usize>,
    /// What `outrigger.toml` says when it is right.
    settings: String,
    full: bool,
    tokens: u32,
    life_begun: Moment,
    mends: Vec<(Moment, Mend)>,
    /// How often each thing was done.
    pub(super) done: BTreeMap<&'static str, u32>,
    logs: PathBuf,
}

impl Conductor {
    pub(super) fn new(world: &Arc<World>, sidecar: Sidecar, relays: Vec<Relay>) -> Self {
        let settings = fs::read_to_string(sidecar.written().config().join("outrigger.toml")).expect("it was written");
        let logs = sidecar.written().dir().to_owned();
        Self {
            world: Arc::clone(world),
            chance: fastrand::Rng::with_seed(world.seed),
            sidecar,
            relays,
            webhooks: [Defined { status: Status::Active, version: 1 }; COUNT],
            broken: None,
            settings,
            full: false,
            tokens: 0,
            life_begun: world.now(),
            mends: Vec::new(),
            done: BTreeMap::new(),
            logs,
        }
    }

    /// Goes on until a moment.
    pub(super) fn run(&mut self, until: Moment) {
        self.note_state();
        self.world.set_up(true);
        while self.world.now() < until {
            self.mend_due();
            self.act();
            pass(PAUSE_MAX.mul_f64(self.chance.f64()));
        }
    }

    /// Mends everything.
    pub(super) fn heal(&mut self) {
        self.world.note("healing");
        self.world.calm();
        for (_, mend) in std::mem::take(&mut self.mends) {
            self.mend(mend);
        }
        if self.full {
            self.full = false;
            self.write_settings();
            self.drain();
            self.restart();
        }
    }

    /// SIGTERM for good.
    pub(super) fn finish(&mut self) {
        self.drain();
    }

    /// The version that a webhook's template prints now.
    pub(super) fn version(&self, webhook: usize) -> u32 {
        self.webhooks[webhook].version
    }

    fn act(&mut self) {
        match self.chance.u8(..100) {
            0..35 => self.break_receiver(),
            35..50 => self.break_network(),
            50..60 => self.kill(),
            60..63 => self.end_gently(),
            63..72 => self.edit(),
            72..78 => self.break_configuration(),
            78..84 => self.rest(),
            84..89 => self.remove(),
            89..93 => self.rotate(),
            93..97 => self.replay(),
            _ => {
                self.sidecar.signal("HUP");
                self.count("hup");
            }
        }
    }

    fn count(&mut self, what: &'static str) {
        self.world.note(what);
        *self.done.entry(what).or_default() += 1;
    }

    /// A thing is broken until a time drawn by lot.
    fn mend_later(&mut self, mend: Mend) {
        let until = self.world.now() + BROKEN_MAX.mul_f64(self.chance.f64());
        self.mends.push((until, mend));
    }

    fn mend_due(&mut self) {
        let now = self.world.now();
        let (due, later) = std::mem::take(&mut self.mends).into_iter().partition(|(until, _)| *until <= now);
        self.mends = later;
        for (_, mend) in due {
            self.mend(mend);
        }
    }

    fn mend(&mut self, mend: Mend) {
        match mend {
            Mend::Receiver { webhook, since, whole, edit } => {
                self.world.note(format!("{}: well again", SPECS[webhook].name));
                if whole {
                    let outage = Outage { webhook, from: since, to: self.world.now() };
                    self.world.history().outages.push(outage);
                }
                self.world.set_fault(webhook, None);
                if edit {
                    self.redefine(webhook);
                }
            }
            Mend::Network { receiver, since } => {
                self.world.note(format!("receiver {receiver}: sound again"));
                self.relays[receiver].set(Network::Sound);
                self.world.history().cuts.push(Cut { receiver, from: since, to: self.world.now() });
            }
            Mend::Rest => self.set_status(RESTING, Status::Active),
            Mend::Removal => self.set_status(LEAVING, Status::Active),
            Mend::Secret { since } => {
                let outage = Outage { webhook: SECURED, from: since, to: self.world.now() };
                self.world.history().outages.push(outage);
                write_secret(&self.sidecar.written().config().join("secrets"), self.tokens);
            }
            Mend::Broken => self.mend_configuration(),
        }
    }

    fn break_receiver(&mut self) {
        let webhook = self.chance.usize(..COUNT);
        if self.world.fault(webhook).is_some() {
            return;
        }
        let spec = &SPECS[webhook];
        let of_the_moment = [
            Reply::Status(500),
            Reply::Status(503),
            Reply::Status(408),
            Reply::Close,
            Reply::BreakOff,
            Reply::Hang,
            Reply::Garbage,
            Reply::AcceptAfter(300),
        ];
        let of_the_target = [
            Reply::Status(401),
            Reply::Status(403),
            Reply::Status(404),
            Reply::Status(410),
            Reply::Status(302),
            Reply::RetryAfter(429, 1),
            Reply::RetryAfter(429, 2),
            Reply::RetryAfter(503, 1),
        ];
        let of_the_payload = [Reply::Status(400), Reply::Status(422)];
        let reply = match self.chance.u8(..10) {
            0 if spec.validated.is_some() => Reply::Invalid,
            0..4 if spec.pauses => of_the_target[self.chance.usize(..of_the_target.len())],
            4 if spec.pauses => of_the_payload[self.chance.usize(..of_the_payload.len())],
            _ => of_the_moment[self.chance.usize(..of_the_moment.len())],
        };
        let percent = if self.chance.bool() { 100 } else { 50 };
        self.world.note(format!("{}: {reply:?} to {percent} of 100", spec.name));
        self.count(match reply {
            Reply::Accept | Reply::AcceptAfter(_) => "slow",
            Reply::Status(200..400) => "3xx",
            Reply::Status(400..500) => "4xx",
            Reply::Status(_) => "5xx",
            Reply::RetryAfter(..) => "retry_after",
            Reply::Invalid => "invalid",
            Reply::Close => "close",
            Reply::BreakOff => "break_off",
            Reply::Hang => "hang",
            Reply::Garbage => "garbage",
        });
        // Neither a slow answer nor one that ends the delivery says that the target does not work.
        let works = matches!(reply, Reply::AcceptAfter(_) | Reply::Invalid | Reply::Status(400 | 422));
        // Only an edit ends a pause after a 410.
        let edit = reply == Reply::Status(410);
        let since = self.world.now();
        self.world.set_fault(webhook, Some(Fault { reply, percent }));
        self.mend_later(Mend::Receiver { webhook, since, whole: percent == 100 && !works, edit });
    }

    fn break_network(&mut self) {
        let receiver = self.chance.usize(..RECEIVERS);
        if self.mends.iter().any(|(_, mend)| matches!(mend, Mend::Network { receiver: at, .. } if *at == receiver)) {
            return;
        }
        let since = self.world.now();
        let (what, network) = match self.chance.u8(..4) {
            0 => ("refuse", Network::Refusing),
            1 => ("reset", Network::Resetting),
            2 => ("silent", Network::Silent),
            _ => {
                self.relays[receiver].cut();
                self.count("cut");
                let to = self.world.now();
                self.world.history().cuts.push(Cut { receiver, from: since, to });
                return;
            }
        };
        self.world.note(format!("receiver {receiver}: {network:?}"));
        self.count(what);
        self.relays[receiver].set(network);
        self.mend_later(Mend::Network { receiver, since });
    }

    /// SIGKILL and a new start, which is killed as well at times.
    fn kill(&mut self) {
        let asked = self.world.now();
        let wrong = self.sidecar.has_ended();
        self.sidecar.kill9();
        self.world.set_up(false);
        self.ended(asked, if wrong { End::Wrong } else { End::Killed });
        self.count("kill");
        self.mend_configuration();
        if self.chance.u8(..6) == 0 {
            self.life_begun = self.world.now();
            self.set_life();
            self.sidecar.restart_unheard();
            pass(UNHEARD_MAX.mul_f64(self.chance.f64()));
            let asked = self.world.now();
            let wrong = self.sidecar.has_ended();
            self.sidecar.kill9();
            self.ended(asked, if wrong { End::Wrong } else { End::Killed });
            self.count("kill");
        }
        self.fill();
        self.restart();
    }

    /// SIGTERM and a new start.
    fn end_gently(&mut self) {
        // A start with a faulty configuration is refused.
        self.mend_configuration();
        self.drain();
        self.count("drain");
        self.fill();
        self.restart();
    }

    fn drain(&mut self) {
        let asked = self.world.now();
        let wrong = self.sidecar.has_ended();
        let fine = self.sidecar.terminate().success() && !wrong;
        self.world.set_up(false);
        self.ended(asked, if fine { End::Drained } else { End::Wrong });
    }

    fn ended(&mut self, asked: Moment, end: End) {
        let life = Life { begun: self.life_begun, asked, ended: self.world.now(), end };
        let number = self.life();
        let log = self.sidecar.log();
        let tells_of_errors = |line: &&str| line.contains("panicked") || line.contains("\"level\":\"ERROR\"");
        let attempts: Vec<Attempt> = log.lines().filter_map(|line| attempt(&self.world, line)).collect();
        let complaints: Vec<_> = log.lines().filter(tells_of_errors).map(|line| (number, line.to_owned())).collect();
        fs::write(self.logs.join(format!("life-{number}.log")), log).expect("a file in a temporary directory");
        let mut history = self.world.history();
        history.attempts.extend(attempts);
        history.complaints.extend(complaints);
        history.lives.push(life);
    }

    /// The number of the process that runs, or of the next one.
    fn life(&self) -> usize {
        self.world.history().lives.len()
    }

    fn set_life(&mut self) {
        let life = self.life().to_string();
        self.sidecar.set_env("LIFE", &life);
    }

    fn restart(&mut self) {
        self.life_begun = self.world.now();
        self.set_life();
        self.sidecar.restart();
        self.world.set_up(true);
    }
}

/// The attempt that a line tells of.
fn attempt(world: &World, line: &str) -> Option<Attempt> {
    if !line.contains("\"message\":\"delivery.attempted\"") {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let ended = world.moment_of(line.get("timestamp")?.as_str()?.parse().ok()?);
    Some(Attempt {
        id: line.get("delivery_id")?.as_str()?.to_owned(),
        begun: ended.saturating_sub(Duration::from_millis(line.get("duration_ms")?.as_u64()?)),
        ended,
        failed: line.get("outcome").is_some_and(|outcome| outcome == "failed"),
        timed_out: line.get("reason").is_some_and(|reason| reason == "timeout"),
    })
}
