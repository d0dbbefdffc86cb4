//! The settings that take a restart: a running process obeys those that it started with, whatever the files say since.

use crate::config::{Listen, Login, Metrics, Settings, Spool, SpoolPlace, Traces};
use crate::server::guard::Reach;

/// What cannot change while the process runs, as it started with it.
pub(super) struct Started {
    ingest: Listen,
    ingest_mode: u32,
    admin: Listen,
    admin_mode: u32,
    metrics: Metrics,
    spool: Spool,
    log_json: bool,
    traces: Traces,
}

impl Started {
    /// Remembers the settings of the first Snapshot.
    pub(super) fn with(settings: &Settings) -> Self {
        Self {
            ingest: settings.ingest.listen.clone(),
            ingest_mode: settings.ingest.socket_mode,
            admin: settings.admin.listen.clone(),
            admin_mode: settings.admin.socket_mode,
            metrics: settings.metrics.clone(),
            spool: settings.spool.clone(),
            log_json: settings.log.json,
            traces: settings.traces.clone(),
        }
    }

    /// Puts back into fresh settings what takes a restart, and names what differed: those keys wait for one.
    pub(super) fn keep(&self, in_force: &Settings, fresh: &mut Settings) -> Vec<&'static str> {
        let mut waiting = Vec::new();
        // A listener that stays reachable from elsewhere must not lose its token because the next one will need none. The admin
        // listener refuses everybody then; events are worth more.
        if fresh.ingest.token.is_none() && in_force.ingest.token.is_some() && Reach::of(&self.ingest) == Reach::Beyond {
            fresh.ingest.token.clone_from(&in_force.ingest.token);
            waiting.push("ingest.token");
        }
        keep("ingest.listen", &self.ingest, &mut fresh.ingest.listen, &mut waiting);
        keep("ingest.socket_mode", &self.ingest_mode, &mut fresh.ingest.socket_mode, &mut waiting);
        keep("admin.listen", &self.admin, &mut fresh.admin.listen, &mut waiting);
        keep("admin.socket_mode", &self.admin_mode, &mut fresh.admin.socket_mode, &mut waiting);
        keep("metrics.listen", &self.metrics.listen, &mut fresh.metrics.listen, &mut waiting);
        let per_webhook = (&self.metrics.per_webhook, &mut fresh.metrics.per_webhook);
        keep("metrics.per_webhook", per_webhook.0, per_webhook.1, &mut waiting);
        keep_place(&self.spool.place, &mut fresh.spool.place, &mut waiting);
        keep("spool.max_bytes", &self.spool.bytes_max, &mut fresh.spool.bytes_max, &mut waiting);
        let retention = (&self.spool.dead_letter_retention, &mut fresh.spool.dead_letter_retention);
        keep("spool.dead_letter_retention", retention.0, retention.1, &mut waiting);
        keep("log.format", &self.log_json, &mut fresh.log.json, &mut waiting);
        keep("traces", &self.traces, &mut fresh.traces, &mut waiting);
        waiting
    }
}

/// Where the spool is, and how it is reached.
fn keep_place(started: &SpoolPlace, fresh: &mut SpoolPlace, waiting: &mut Vec<&'static str>) {
    match (started, &mut *fresh) {
        (SpoolPlace::Disk(path), SpoolPlace::Disk(fresh)) => keep("spool.path", path, fresh, waiting),
        (SpoolPlace::Nats(nats), SpoolPlace::Nats(fresh)) => {
            keep("spool.servers", &nats.servers, &mut fresh.servers, waiting);
            keep("spool.stream", &nats.stream, &mut fresh.stream, waiting);
            keep("spool.replicas", &nats.replicas, &mut fresh.replicas, waiting);
            keep("spool.domain", &nats.domain, &mut fresh.domain, waiting);
            let keys = [login_key(&nats.login), login_key(&fresh.login)];
            let login = waiting.len();
            keep(keys[0], &nats.login, &mut fresh.login, waiting);
            if waiting.len() > login && keys[0] != keys[1] {
                waiting.push(keys[1]);
            }
            let tls = (nats.tls.clone(), nats.tls_required);
            let mut fresh_tls = (fresh.tls.clone(), fresh.tls_required);
            keep("spool.ca_file or spool.client_cert_file", &tls, &mut fresh_tls, waiting);
            (fresh.tls, fresh.tls_required) = fresh_tls;
        }
        _ => {
            fresh.clone_from(started);
            waiting.push("spool.kind");
        }
    }
}

/// The key that says who we are.
const fn login_key(login: &Login) -> &'static str {
    match login {
        Login::Credentials(_) => "spool.credentials_file",
        Login::Nkey(_) => "spool.nkey_file",
        Login::Nobody | Login::Password(..) => "spool.user or spool.password",
    }
}

fn keep<T: PartialEq + Clone>(key: &'static str, started: &T, fresh: &mut T, waiting: &mut Vec<&'static str>) {
    if started != fresh {
        fresh.clone_from(started);
        waiting.push(key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::config::{Source, load_settings};

    fn settings(flags: &[(&str, &str)]) -> Settings {
        let overrides = flags.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let dir = tempfile::tempdir().unwrap();
        load_settings(&Source { env: Arc::new(|_| None), overrides, ..Source::new(dir.path()) }).unwrap()
    }

    #[test]
    fn what_takes_a_restart_is_named_and_put_back_until_it_is_as_at_the_start_again() {
        let first = settings(&[]);
        let started = Started::with(&first);
        let changes = [
            ("ingest.listen", "127.0.0.1:1"),
            ("ingest.socket_mode", "0600"),
            ("admin.listen", "unix:/tmp/a"),
            ("admin.socket_mode", "0666"),
            ("metrics.listen", "127.0.0.1:2"),
            ("metrics.per_webhook", "false"),
            ("spool.path", "/tmp/elsewhere"),
            ("spool.max_bytes", "2GiB"),
            ("spool.dead_letter_retention", "1d"),
            ("log.format", "text"),
        ];
        for change in changes {
            let mut fresh = settings(&[change]);
            assert_ne!(fresh, first, "{change:?}");
            assert_eq!(started.keep(&first, &mut fresh), [change.0]);
            assert_eq!(fresh, first, "{change:?}");
        }
        let mut fresh = settings(&changes);
        assert_eq!(started.keep(&first, &mut fresh), changes.map(|(key, _)| key));
        assert_eq!(fresh, first);
        assert!(started.keep(&first, &mut settings(&[])).is_empty());
    }

    #[test]
    fn so_is_how_a_spool_in_nats_is_reached() {
        let nats = |flag: (&str, &str)| settings(&[("spool.kind", "nats"), ("spool.servers", "[\"nats://a\"]"), flag]);
        let first = nats(("spool.stream", "outrigger"));
        let started = Started::with(&first);
        for (key, value, named) in [
            ("spool.servers", "[\"nats://b\"]", "spool.servers"),
            ("spool.stream", "other", "spool.stream"),
            ("spool.replicas", "1", "spool.replicas"),
            ("spool.domain", "leaf", "spool.domain"),
            ("spool.user", "me", "spool.user or spool.password"),
            ("spool.kind", "disk", "spool.kind"),
        ] {
            let mut fresh = match key {
                "spool.user" => settings(&[
                    ("spool.kind", "nats"),
                    ("spool.servers", "[\"nats://a\"]"),
                    (key, value),
                    ("spool.password", "x"),
                ]),
                _ => nats((key, value)),
            };
            assert_eq!(started.keep(&first, &mut fresh)[0], named);
            assert_eq!(fresh.spool, first.spool, "{key}");
        }
    }

    #[test]
    fn all_other_settings_are_live() {
        let first = settings(&[]);
        let started = Started::with(&first);
        for change in [
            ("ingest.token", "new"),
            ("ingest.allow_uids", "[1000]"),
            ("ingest.max_body", "2MiB"),
            ("ingest.idempotency_window", "1h"),
            ("admin.token", "new"),
            ("admin.allow_uids", "[1000]"),
            ("egress.allow_ports", "[444]"),
            ("egress.allow_networks", "[\"10.0.0.0/8\"]"),
            ("config.removal_grace", "1s"),
            ("config.poll", "1s"),
            ("shutdown.grace", "1s"),
            ("shutdown.delay", "1s"),
            ("log.level", "debug"),
        ] {
            let mut fresh = settings(&[change]);
            assert!(started.keep(&first, &mut fresh).is_empty(), "{change:?}");
            assert_ne!(fresh, first, "{change:?}");
        }
    }

    #[test]
    fn a_listener_that_can_be_reached_from_elsewhere_keeps_its_token() {
        let first = settings(&[("ingest.listen", "0.0.0.0:0"), ("ingest.token", "old")]);
        let started = Started::with(&first);
        let mut without = settings(&[("ingest.listen", "127.0.0.1:0")]);
        assert_eq!(started.keep(&first, &mut without), ["ingest.token", "ingest.listen"]);
        assert_eq!(without, first);
        let mut other = settings(&[("ingest.listen", "0.0.0.0:0"), ("ingest.token", "new")]);
        assert!(started.keep(&first, &mut other).is_empty());
        assert_ne!(other.ingest.token, first.ingest.token);
        let first = settings(&[("ingest.token", "old")]);
        assert!(Started::with(&first).keep(&first, &mut settings(&[])).is_empty(), "on loopback nobody needs one");
    }
}
