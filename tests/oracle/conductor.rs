//! The conductor: breaks things at moments drawn by lot, mends each after a while, and in the end mends all.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http;
use crate::support::relay::{Network, Relay};
use crate::support::sidecar::Sidecar;

use super::history::{Burial, Cut, Defined, End, Life, Moment, Outage, Reply, State, Status};
use super::webhooks::{COUNT, LEAVING, RECEIVERS, RESTING, SECURED, SPECS};
use super::world::{Fault, World};

/// The longest time between two things that happen.
const PAUSE_MAX: Duration = Duration::from_millis(300);
/// The longest time for which a thing stays broken.
const BROKEN_MAX: Duration = Duration::from_millis(2500);
/// A process that is killed while it starts lives so long at most.
const UNHEARD_MAX: Duration = Duration::from_millis(150);
/// What a spool that shall become full may still take, in bytes.
const ROOM_BYTES: u64 = 96 * 1024;
/// Letters that are replayed at once.
const REPLAYED_MAX: usize = 20;
/// `spool.max_bytes` cannot be less.
const SPOOL_BYTES_MIN: u64 = 1024 * 1024;

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
            self.world.pass(PAUSE_MAX.mul_f64(self.chance.f64()));
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
        let passing = [
            Reply::Status(500),
            Reply::Status(503),
            Reply::Status(408),
            Reply::Close,
            Reply::BreakOff,
            Reply::Hang,
            Reply::Garbage,
            Reply::AcceptAfter(300),
        ];
        let pausing = [
            Reply::Status(401),
            Reply::Status(403),
            Reply::Status(404),
            Reply::Status(410),
            Reply::Status(302),
            Reply::RetryAfter(429, 1),
            Reply::RetryAfter(429, 2),
            Reply::RetryAfter(503, 1),
        ];
        let ending = [Reply::Status(400), Reply::Status(422)];
        let reply = match self.chance.u8(..10) {
            0 if spec.validated.is_some() => Reply::Invalid,
            0..4 if spec.pauses => pausing[self.chance.usize(..pausing.len())],
            4 if spec.pauses => ending[self.chance.usize(..ending.len())],
            _ => passing[self.chance.usize(..passing.len())],
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
            self.world.pass(UNHEARD_MAX.mul_f64(self.chance.f64()));
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
        let complains = |line: &&str| line.contains("panicked") || line.contains("\"level\":\"ERROR\"");
        let timeouts: Vec<_> = log.lines().filter_map(|line| timed_out(&self.world, line)).collect();
        let complaints: Vec<_> = log.lines().filter(complains).map(|line| (number, line.to_owned())).collect();
        fs::write(self.logs.join(format!("life-{number}.log")), log).expect("a file in a temporary directory");
        let mut history = self.world.history();
        history.timeouts.extend(timeouts);
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

    /// Makes the spool of the next process so small that it will be full, or large again.
    fn fill(&mut self) {
        self.full = !self.full && self.chance.u8(..6) == 0;
        if self.full {
            self.count("full");
        }
        self.write_settings();
    }

    fn write_settings(&self) {
        let mut settings = self.settings.clone();
        if self.full {
            let entries = fs::read_dir(self.sidecar.written().dir().join("spool")).expect("a folder");
            let bytes: u64 = entries.filter_map(|entry| Some(entry.ok()?.metadata().ok()?.len())).sum();
            let room = (bytes + ROOM_BYTES).max(SPOOL_BYTES_MIN);
            settings.push_str(&format!("\nspool.max_bytes = {room}\n"));
        }
        self.sidecar.written().replace("outrigger.toml", &settings);
    }

    /// Writes down the state that the next change of a file makes.
    fn note_state(&self) {
        let state = State { at: self.world.now(), good: self.broken.is_none(), webhooks: self.webhooks };
        self.world.history().states.push(state);
    }

    fn write_webhook(&self, webhook: usize) {
        let Defined { status, version } = self.webhooks[webhook];
        let spec = &SPECS[webhook];
        let file = spec.file(&self.relays[spec.receiver].addr().to_string(), status, version);
        self.sidecar.written().write_webhook(spec.name, &file);
    }

    fn edit(&mut self) {
        let webhook = self.chance.usize(..COUNT);
        if self.broken != Some(webhook) && self.webhooks[webhook].status != Status::Absent {
            self.count("edit");
            self.redefine(webhook);
        }
    }

    /// A new template, which ends a pause as well.
    fn redefine(&mut self, webhook: usize) {
        if self.broken == Some(webhook) {
            self.mend_configuration();
        }
        self.webhooks[webhook].version += 1;
        self.note_state();
        if self.webhooks[webhook].status != Status::Absent {
            self.write_webhook(webhook);
        }
    }

    fn set_status(&mut self, webhook: usize, status: Status) {
        if self.broken == Some(webhook) {
            self.mend_configuration();
        }
        self.webhooks[webhook].status = status;
        self.note_state();
        if status == Status::Absent {
            let file = self.sidecar.written().config().join("webhooks").join(format!("{}.toml", SPECS[webhook].name));
            fs::remove_file(file).expect("it is there");
        } else {
            self.write_webhook(webhook);
        }
    }

    fn rest(&mut self) {
        if self.webhooks[RESTING].status == Status::Active {
            self.count("inactive");
            self.set_status(RESTING, Status::Inactive);
            self.mend_later(Mend::Rest);
        }
    }

    fn remove(&mut self) {
        if self.webhooks[LEAVING].status == Status::Active {
            self.count("removed");
            self.set_status(LEAVING, Status::Absent);
            // Now and then long enough for its deliveries to be given up.
            self.mend_later(Mend::Removal);
            if self.chance.bool()
                && let Some((until, _)) = self.mends.last_mut()
            {
                *until += BROKEN_MAX;
            }
        }
    }

    fn break_configuration(&mut self) {
        let file = self.chance.usize(..=COUNT);
        if self.broken.is_some() || (file < COUNT && self.webhooks[file].status == Status::Absent) {
            return;
        }
        self.count("faulty");
        self.broken = Some(file);
        self.note_state();
        if file == COUNT {
            self.sidecar.written().replace("outrigger.toml", "[ingest]\nlisten = 7\n");
        } else {
            let texts = ["url = \"https://", "url = \"http://127.0.0.1/\"\n", "", "uri = 1\n"];
            self.sidecar.written().write_webhook(SPECS[file].name, texts[self.chance.usize(..texts.len())]);
        }
        self.mend_later(Mend::Broken);
    }

    fn mend_configuration(&mut self) {
        let Some(file) = self.broken.take() else { return };
        self.mends.retain(|(_, mend)| *mend != Mend::Broken);
        self.note_state();
        if file == COUNT {
            self.write_settings();
        } else {
            self.write_webhook(file);
        }
    }

    /// Dead letters are replayed while everything goes on.
    fn replay(&mut self) {
        let page = self.ask("GET", "/api/v1/dead-letters?order=oldest&limit=200", "");
        let mut letters = page["dead_letters"].as_array().cloned().expect("a list");
        // What was removed a moment ago cannot be replayed, and when that is so again depends on the reload.
        letters.retain(|letter| letter["webhook"] != SPECS[LEAVING].name);
        self.chance.shuffle(&mut letters);
        letters.truncate(REPLAYED_MAX);
        if letters.is_empty() {
            return;
        }
        let burials: Vec<Burial> = letters.iter().map(|letter| self.burial(letter)).collect();
        let ids: Vec<&str> = burials.iter().map(|burial| burial.id.as_str()).collect();
        let asked = self.world.now();
        let answer = self.ask("POST", "/api/v1/dead-letters/replay", &json!({ "ids": ids }).to_string());
        assert_eq!(answer["replayed"], ids.len(), "only the conductor takes letters away: {answer}");
        self.count("replayed");
        let replays: Vec<_> = ids.iter().map(|id| ((*id).to_owned(), asked)).collect();
        let mut history = self.world.history();
        history.replays.extend(replays);
        history.burials.extend(burials);
    }

    /// A letter of the list, with what its event says.
    fn burial(&self, letter: &Value) -> Burial {
        let id = letter["id"].as_str().expect("an id").to_owned();
        let whole = self.ask("GET", &format!("/api/v1/dead-letters/{id}"), "");
        let died = letter["died_at"].as_str().and_then(|text| text.parse().ok()).expect("a time");
        Burial {
            number: whole.pointer("/payload/data/number").and_then(Value::as_u64),
            id,
            reason: letter["reason"].as_str().expect("a reason").to_owned(),
            attempts: letter["attempts"].as_u64().and_then(|count| count.try_into().ok()).expect("a number"),
            at: self.world.moment_of(died),
        }
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> Value {
        let address = self.sidecar.address("admin");
        let headers = [("host", &*address.to_string()), ("outrigger-request", "1")];
        let answer = http::exchange(address, method, path, &headers, body.as_bytes());
        let answer = answer.unwrap_or_else(|error| panic!("{method} {path}: {error}\n{}", self.sidecar.log()));
        assert_eq!(answer.status, 200, "{method} {path}: {answer:?}");
        answer.json()
    }

    /// The receiver takes another token from now on; the sidecar is given it now or later.
    fn rotate(&mut self) {
        if self.mends.iter().any(|(_, mend)| matches!(mend, Mend::Secret { .. })) {
            return;
        }
        self.count("rotated");
        self.tokens += 1;
        let since = self.world.now();
        self.world.set_token(&token(self.tokens));
        self.mend_later(Mend::Secret { since });
    }
}

/// The delivery and the time of a line that tells of an attempt without an answer in time.
fn timed_out(world: &World, line: &str) -> Option<(String, Moment)> {
    if !line.contains("\"reason\":\"timeout\"") {
        return None;
    }
    let line: Value = serde_json::from_str(line).ok()?;
    let at = line.get("timestamp")?.as_str()?.parse().ok()?;
    Some((line.get("delivery_id")?.as_str()?.to_owned(), world.moment_of(at)))
}

/// The bearer token of this number.
pub(super) fn token(number: u32) -> String {
    format!("token-{number}")
}

/// Puts a token into a folder of secrets as a volume does: in a folder of its own that `..data` is turned to.
pub(super) fn write_secret(folder: &std::path::Path, number: u32) {
    let dated = folder.join(format!("..{number}"));
    fs::create_dir_all(&dated).expect("a folder");
    fs::write(dated.join("token"), token(number)).expect("a file");
    let fresh = folder.join("..data_tmp");
    symlink(format!("..{number}"), &fresh).expect("a link");
    fs::rename(&fresh, folder.join("..data")).expect("a rename");
    let visible = folder.join("token");
    if !visible.is_symlink() {
        symlink("..data/token", visible).expect("a link");
    }
}
