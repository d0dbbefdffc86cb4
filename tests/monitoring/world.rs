//! A sidecar that has all there is to see: deliveries, retries, validators that refuse, dead letters, pauses, tokens, certificates,
//! filters and a shadow.

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::{Timestamp, ToSpan as _, tz::TimeZone};
use outrigger::cli::demo::answer::Answer;

use crate::support::receiver::Target;
use crate::support::sidecar::Sidecar;
use crate::support::{http, receiver, sidecar};

/// Days until the client certificate expires.
const CERTIFICATE_DAYS: i64 = 5;

/// Of so many events one more is of a kind that no webhook wants.
const UNWANTED_PART: usize = 5;

pub(super) struct World {
    pub(super) sidecar: Sidecar,
    posted: AtomicUsize,
    _targets: Vec<Target>,
}

/// A target that answers its requests, counted from 1, so.
fn target(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Target {
    let target = receiver().start();
    let count = AtomicUsize::new(0);
    target.respond_with(move |seen| match seen.target.as_str() {
        "/token" => Answer::json(r#"{"access_token":"t","expires_in":1}"#),
        "/no-token" => Answer::status(401).body(r#"{"error":"invalid_client"}"#),
        _ => answer(count.fetch_add(1, Ordering::Relaxed) + 1),
    });
    target
}

fn good() -> Answer {
    Answer::json(r#"{"ok":true}"#)
}

/// A client certificate that expires soon.
fn certificate(dir: &Path) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["client.example".to_owned()]).unwrap();
    let end = (Timestamp::now().to_zoned(TimeZone::UTC) + CERTIFICATE_DAYS.days()).date();
    let (month, day) = (end.month().unsigned_abs(), end.day().unsigned_abs());
    params.not_after = rcgen::date_time_ymd(i32::from(end.year()), month, day);
    fs::write(dir.join("client.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(dir.join("client.key"), key.serialize_pem()).unwrap();
}

impl World {
    #[track_caller]
    pub(super) fn new(per_webhook: bool) -> Self {
        let slack = target(|count| match count % 8 {
            3 | 6 => Answer::json(r#"{"ok":false}"#),
            5 => Answer::status(503),
            _ => good(),
        });
        let tickets = target(|count| if count % 6 == 4 { Answer::status(400) } else { good() });
        let flaky = target(|count| if count % 4 == 0 { good() } else { Answer::status(503) });
        let siem = target(|_| Answer::status(401));
        let okta = target(|_| good());
        let mut builder = sidecar()
            .setting("defaults.retry = { initial = '20ms', max_interval = '1s' }")
            .setting(&format!("metrics.per_webhook = {per_webhook}"));
        certificate(builder.dir());
        let dir = builder.dir().display().to_string();
        let oauth = |path: &str| {
            let (url, token_url) = (okta.url("/"), okta.url(path));
            format!(
                "url = {url:?}\n[auth.oauth2]\ntoken_url = {token_url:?}\nclient_id = 'us'\nclient_secret = 's3cret'\n"
            )
        };
        let hooks = [
            (
                "slack",
                format!(
                    "url = {:?}\nbody = '{{\"text\":\"{{{{data.id}}}} {{{{data.note}}}}\"}}'\n[[response_validators]]\nname = 'ok is true'\n\
                     path = '$.data.ok'\nexpected = ['true']\non_failure = 'retry'\n",
                    slack.url("/")
                ),
            ),
            ("tickets", format!("url = {:?}\n", tickets.url("/"))),
            ("records", format!("url = {:?}\nbreaker = {{ failures = 1000 }}\n", flaky.url("/"))),
            ("siem", format!("url = {:?}\n", siem.url("/"))),
            (
                "okta",
                format!(
                    "{}[tls]\nclient_cert_file = '{dir}/client.pem'\nclient_key_file = '{dir}/client.key'\n",
                    oauth("/token")
                ),
            ),
            ("lapsed", oauth("/no-token")),
            ("staging", format!("url = {:?}\nstatus = 'shadow'\n", okta.url("/"))),
            ("audit", format!("url = {:?}\n[[filters]]\npath = '$.data.id'\nany_of = ['nobody']\n", okta.url("/"))),
        ];
        let targets = vec![slack, tickets, flaky, siem, okta];
        for target in &targets {
            builder = builder.reaching(target);
        }
        for (name, toml) in &hooks {
            builder = builder.webhook(name, toml);
        }
        Self { sidecar: builder.start(), posted: AtomicUsize::new(0), _targets: targets }
    }

    /// The webhooks.
    pub(super) const NAMES: [&'static str; 8] =
        ["audit", "lapsed", "okta", "records", "siem", "slack", "staging", "tickets"];

    /// Posts one more event.
    #[track_caller]
    pub(super) fn post(&self) {
        let number = self.posted.fetch_add(1, Ordering::Relaxed);
        let event =
            format!("{{\"event_type\":\"RequestCreated\",\"event_time\":1,\"data\":{{\"id\":\"r-{number}\"}}}}");
        assert_eq!(self.sidecar.post("/v1/events", &event).status, 202);
        if number.is_multiple_of(UNWANTED_PART) {
            let entry = include_str!("../../config/events/audit-entry.json");
            assert_eq!(self.sidecar.post("/v1/events/audit", entry).status, 202);
        }
    }

    /// Ends the pause of a webhook, where there is one.
    #[track_caller]
    pub(super) fn resume(&self, webhook: &str) {
        let path = format!("/api/v1/webhooks/{webhook}/resume");
        let answer = http::exchange(self.sidecar.address("admin"), "POST", &path, &[("outrigger-request", "1")], b"");
        assert_eq!(answer.map(|answer| answer.status), Ok(200));
    }
}
