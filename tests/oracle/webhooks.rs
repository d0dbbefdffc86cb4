//! The webhooks of a run, each of which shows one promise, and the events that they want.
//!
//! An event is a function of the run's seed and its number, so that what was posted need not be kept.

use std::time::Duration;

use serde_json::{Value, json};

use super::history::Status;

/// How many webhooks there are.
pub(super) const COUNT: usize = 11;
/// How many receivers they are spread over.
pub(super) const RECEIVERS: usize = 3;
/// Numbers of one producer: the greatest serial number, and one.
pub(super) const SERIALS: u64 = 10_000_000;
/// Lanes of one producer.
const LANES: u64 = 4;
/// The bytes of a large event's text.
const LARGE_BYTES: usize = 3000;
/// `timeout` of every webhook.
pub(super) const TIMEOUT: Duration = Duration::from_millis(1500);
/// `retry.initial` and `retry.max_interval` of every webhook.
const RETRY_INITIAL_MS: u32 = 20;
pub(super) const RETRY_MAX: Duration = Duration::from_millis(400);
/// `limits.concurrency` of every webhook.
pub(super) const CONCURRENCY: u32 = 4;
/// `breaker.failures` and `breaker.probe`.
pub(super) const FAILURES: u32 = 3;
pub(super) const PROBE: Duration = Duration::from_millis(100);
/// `config.removal_grace`.
pub(super) const REMOVAL_GRACE: Duration = Duration::from_secs(2);

/// What a webhook's deliveries wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// For nobody.
    None,
    /// For those of the same request.
    Request,
    /// For those of the same team.
    Team,
    /// For all.
    Strict,
    /// For those of the same request, and hardly: nothing is promised that could be judged.
    Hasty,
}

/// One webhook: its definition, and what that promises.
pub(super) struct Spec {
    pub(super) name: &'static str,
    pub(super) receiver: usize,
    /// The event types that it wants.
    pub(super) types: &'static [&'static str],
    pub(super) order: Order,
    /// `retry.max_attempts`.
    pub(super) attempts_max: Option<u32>,
    /// `retry.max_age`.
    pub(super) age_max: Option<Duration>,
    /// `limits.rate`, in requests a second.
    pub(super) rate: Option<u32>,
    /// It sends the event as it came, under a bearer token.
    pub(super) whole: bool,
    /// Its strict template asks for a field that some events lack.
    pub(super) needs: bool,
    /// It answers with a document that has to say that all is well, and what becomes of those where it does not.
    pub(super) validated: Option<&'static str>,
    /// Faults of the target are among what its receiver does; else only what may pass by itself.
    pub(super) pauses: bool,
}

const PLAIN: Spec = Spec {
    name: "",
    receiver: 0,
    types: &[],
    order: Order::None,
    attempts_max: None,
    age_max: None,
    rate: None,
    whole: false,
    needs: false,
    validated: None,
    pauses: true,
};

/// The webhook whose token is rotated.
pub(super) const SECURED: usize = 1;
/// The webhook that is inactive at times.
pub(super) const RESTING: usize = 7;
/// The webhook whose file goes and comes back.
pub(super) const LEAVING: usize = 8;
/// Those that may be invoked by name.
pub(super) const INVOKED: [usize; 2] = [0, 1];

/// All of them.
pub(super) const SPECS: [Spec; COUNT] = [
    Spec {
        name: "ordered",
        types: &["RequestCreated", "RequestApproved", "RequestGranted"],
        order: Order::Request,
        validated: Some("retry"),
        ..PLAIN
    },
    Spec { name: "plain", receiver: 1, types: &["RequestRejected", "RequestFailed"], whole: true, ..PLAIN },
    Spec { name: "strict", receiver: 2, types: &["RequestFailed"], order: Order::Strict, ..PLAIN },
    Spec {
        name: "keyed",
        types: &["RequestApproved", "RequestRejected"],
        order: Order::Team,
        validated: Some("dead_letter"),
        ..PLAIN
    },
    Spec { name: "paced", receiver: 1, types: &["RequestExpired"], rate: Some(20), ..PLAIN },
    Spec { name: "limited", receiver: 2, types: &["RequestGranted"], attempts_max: Some(4), pauses: false, ..PLAIN },
    Spec { name: "lacking", types: &["RequestRejected"], needs: true, order: Order::Request, ..PLAIN },
    Spec { name: "resting", receiver: 1, types: &["RequestApproved"], order: Order::Team, ..PLAIN },
    Spec { name: "leaving", receiver: 2, types: &["RequestFailed"], ..PLAIN },
    Spec { name: "aging", receiver: 1, types: &["RequestGranted"], age_max: Some(Duration::from_secs(2)), ..PLAIN },
    Spec { name: "hasty", receiver: 2, types: &["RequestCreated", "RequestFailed"], order: Order::Hasty, ..PLAIN },
];

/// Event types with their weights.
const TYPES: [(&str, u32); 6] = [
    ("RequestCreated", 30),
    ("RequestApproved", 20),
    ("RequestGranted", 15),
    ("RequestRejected", 15),
    ("RequestExpired", 10),
    ("RequestFailed", 10),
];

/// Texts that a template has to escape, a log has to bear and a database has to keep.
const TEXTS: [&str; 8] = [
    "",
    "plain",
    "He said \"{{x}}\"",
    "C:\\new\\table",
    "line\nbreak\ttab\u{0}",
    "Grüße, 世界 🦀",
    "'; DROP TABLE events; --",
    "</script>${env:HOME}",
];

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) number: u64,
    /// Its event type.
    pub(super) kind: &'static str,
    /// `data.id`: the access request that it is about.
    pub(super) request: String,
    /// `data.team`.
    pub(super) team: String,
    /// It has the field that one webhook needs.
    pub(super) needed: bool,
    text: String,
}

impl Event {
    /// The event of this number.
    pub(super) fn of(seed: u64, number: u64) -> Self {
        let mut chance = fastrand::Rng::with_seed(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let producer = number / SERIALS;
        let mut weight = chance.u32(..TYPES.iter().map(|(_, weight)| weight).sum::<u32>());
        let kind = TYPES.iter().find(|(_, share)| match weight.checked_sub(*share) {
            Some(rest) => {
                weight = rest;
                false
            }
            None => true,
        });
        let mut text = TEXTS[chance.usize(..TEXTS.len())].to_owned();
        if chance.u8(..30) == 0 {
            text.extend(std::iter::repeat_n('x', LARGE_BYTES));
        }
        Self {
            number,
            kind: kind.map_or("RequestCreated", |(name, _)| name),
            request: format!("r-{producer}-{}", chance.u64(..LANES)),
            team: format!("t-{producer}-{}", chance.u64(..LANES)),
            needed: chance.u8(..10) > 0,
            text,
        }
    }

    /// An event of a type that this webhook wants, beginning to look at a number.
    pub(super) fn wanted_by(spec: &Spec, seed: u64, from: u64) -> Self {
        let fits = |event: &Self| spec.types.contains(&event.kind) && event.needed;
        (from..from + SERIALS)
            .map(|number| Self::of(seed, number))
            .find(fits)
            .expect("every type comes again and again")
    }

    /// As it is posted, on one line.
    pub(super) fn json(&self) -> String {
        let mut data = json!({ "id": self.request, "team": self.team, "number": self.number, "text": self.text });
        if self.needed {
            data["needed"] = json!(true);
        }
        json!({ "event_type": self.kind, "event_time": 1, "data": data }).to_string()
    }
}

impl Spec {
    pub(super) fn wants(&self, event: &Event) -> bool {
        self.types.contains(&event.kind)
    }

    /// What a delivery waits in line with, where its order can be judged.
    pub(super) fn lane(&self, event: &Event) -> Option<String> {
        match self.order {
            Order::None | Order::Hasty => None,
            Order::Request => Some(event.request.clone()),
            Order::Team => Some(event.team.clone()),
            // Among producers nobody knows who was first.
            Order::Strict => Some((event.number / SERIALS).to_string()),
        }
    }

    /// The number and the template's version in a request's body; else what is wrong with it.
    pub(super) fn read(&self, seed: u64, body: &[u8], version_header: &str) -> Result<(u64, u32), String> {
        let text = String::from_utf8_lossy(body);
        let value: Value = serde_json::from_slice(body).map_err(|error| format!("{error}: {text}"))?;
        let number = value.pointer(if self.whole { "/data/number" } else { "/number" });
        let number = number.and_then(Value::as_u64).ok_or_else(|| format!("it has no number: {text}"))?;
        let version: u32 = version_header.parse().map_err(|_| format!("version {version_header:?}"))?;
        let event = Event::of(seed, number);
        let right = if self.whole { text == event.json() } else { value == self.rendered(&event, version) };
        if right { Ok((number, version)) } else { Err(format!("this is not event {number}: {text}")) }
    }

    /// What its template makes of an event.
    fn rendered(&self, event: &Event, version: u32) -> Value {
        let mut body = json!({
            "number": event.number, "request": event.request, "say": format!("[{}] {}", self.name, event.text),
            "version": version,
        });
        if self.needs {
            body["needed"] = json!(event.needed);
        }
        body
    }

    /// Its file.
    pub(super) fn file(&self, origin: &str, status: Status, version: u32) -> String {
        let Self { name, .. } = self;
        let types: Vec<&str> = self.types.iter().copied().chain(["Manual"]).collect();
        let mut lines = vec![
            format!("url = \"https://{origin}/{name}\""),
            format!("triggers = {types:?}"),
            format!("timeout = \"{}ms\"", TIMEOUT.as_millis()),
        ];
        if status == Status::Inactive {
            lines.push("status = \"inactive\"".to_owned());
        }
        lines.push(format!("ordering = {}", self.ordering()));
        if self.whole {
            lines.push("auth.bearer.token = \"${file:secrets/token}\"".to_owned());
        } else {
            let needed = if self.needs { ", \"needed\": {{data.needed}}" } else { "" };
            lines.push(format!("strict = {}", self.needs));
            lines.push(format!(
                "body = '''{{ \"number\": {{{{data.number}}}}, \"request\": \"{{{{data.id}}}}\", \"say\": \"[{name}] \
                {{{{data.text}}}}\", \"version\": {version}{needed} }}'''"
            ));
        }
        lines.push(format!("headers = {{ x-life = \"${{env:LIFE}}\", x-version = \"{version}\" }}"));
        lines.push(format!("retry.initial = \"{RETRY_INITIAL_MS}ms\""));
        lines.push(format!("retry.max_interval = \"{}ms\"", RETRY_MAX.as_millis()));
        lines.extend(self.attempts_max.map(|max| format!("retry.max_attempts = {max}")));
        lines.extend(self.age_max.map(|max| format!("retry.max_age = \"{}ms\"", max.as_millis())));
        lines.push(format!("limits.concurrency = {CONCURRENCY}"));
        lines.extend(self.rate.map(|rate| format!("limits.rate = \"{rate}/s\"")));
        lines.push(format!("breaker = {{ failures = {}, probe = \"{}ms\" }}", self.failures(), PROBE.as_millis()));
        if let Some(on_failure) = self.validated {
            lines.push(format!(
                "[[response_validators]]\npath = \"$.data.ok\"\nexpected = [true]\non_failure = \"{on_failure}\""
            ));
        }
        lines.join("\n") + "\n"
    }

    fn ordering(&self) -> &'static str {
        match self.order {
            Order::None => "\"none\"",
            Order::Request => "\"per-request\"",
            Order::Team => "{ key = \"$.data.team\", max_wait = \"1h\" }",
            Order::Strict => "\"strict\"",
            Order::Hasty => "{ key = \"$.data.id\", max_wait = \"50ms\" }",
        }
    }

    /// `breaker.failures`: what takes no faults of the target shall not pause at all.
    fn failures(&self) -> u32 {
        if self.pauses { FAILURES } else { 10_000 }
    }
}

#[test]
fn an_event_is_the_same_whenever_it_is_asked_for() {
    let types: std::collections::BTreeSet<&str> = (0..200).map(|number| Event::of(7, number).kind).collect();
    assert_eq!(types.len(), TYPES.len(), "every type comes");
    assert_eq!(Event::of(7, 5), Event::of(7, 5));
    assert_ne!(Event::of(7, 5), Event::of(8, 5));
    for spec in &SPECS {
        assert!(spec.wants(&Event::wanted_by(spec, 7, 99 * SERIALS)), "{}", spec.name);
    }
}

#[test]
fn a_body_that_was_changed_is_seen() {
    let event = Event::wanted_by(&SPECS[0], 7, 0);
    let right = SPECS[0].rendered(&event, 3).to_string();
    assert_eq!(SPECS[0].read(7, right.as_bytes(), "3"), Ok((event.number, 3)));
    assert!(SPECS[0].read(7, right.as_bytes(), "4").is_err(), "the header and the body are of one definition");
    assert!(SPECS[0].read(7, right.replace("ordered", "keyed").as_bytes(), "3").is_err());
    assert_eq!(SPECS[SECURED].read(7, event.json().as_bytes(), "1"), Ok((event.number, 1)));
    assert!(SPECS[SECURED].read(7, event.json().replace("data", "date").as_bytes(), "1").is_err());
}
