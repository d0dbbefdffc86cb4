//! `outrigger.toml`.

use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use super::listener::{allow_uids, listen, require_token, socket_mode, token};
use super::policy::{self, TIMEOUT};
use super::{Compiled, Defaults, Shared, SidecarFile, kinds, parse, spool, tls, traces};
use crate::config::document::{At, Report, Text};
use crate::config::inputs::{Inputs, Unread};
use crate::config::lint;
use crate::config::overrides;
use crate::config::reference::{HISTORY, PORTS, SIDECAR};
use crate::config::references::Resolver;
use crate::config::snapshot::{
    Admin, Egress, History, Ingest, Log, Metrics, OnInvalidWebhook, Settings, Shutdown, Spool, SpoolPlace, Traces,
};
use crate::config::table::Table;
use crate::webhook::filter::Glob;

const MAX_BODY: RangeInclusive<u64> = 1024..=64 * 1024 * 1024;
/// `ingest.max_body` where nothing is said and events become messages of NATS, of a MiB at most with what is said of them.
const BODY_BYTES_MAX_OF_NATS: u64 = 960 * 1024;
const IDEMPOTENCY_WINDOW: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(7 * 24);
const IDEMPOTENCY_WINDOW_DEFAULT: Duration = Duration::from_hours(24);
const POLL: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(1);
const POLL_DEFAULT: Duration = Duration::from_secs(10);
const REMOVAL_GRACE: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(7 * 24);
const SHUTDOWN: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_mins(10);
const HISTORY_DEFAULT: usize = 100;
/// Bounds of `history.max_bytes`.
const HISTORY_BYTES: RangeInclusive<u64> = 64 * 1024..=16 * 1024 * 1024 * 1024;
/// `history.max_bytes` where nothing is said.
const HISTORY_BYTES_DEFAULT: usize = 8 * 1024 * 1024;

/// Compiles the sidecar's file with the overrides above it.
pub(in crate::config) fn sidecar(file: &SidecarFile<'_>, inputs: &mut Inputs<'_>, report: &mut Report) -> Compiled {
    let in_force = inputs.source.ordered;
    let parsed = parse(file.document, report);
    let complete = parsed.is_some();
    let parsed = parsed.unwrap_or_default();
    let at = At::new(file.document, 0..0);
    let root = Table::new(file.document, String::new(), at, &parsed);
    root.refuse_unknown(report, SIDECAR, "");

    let mut sections = Sections { file, root: &root, resolver: Resolver::new(inputs, false) };
    let before = report.found;
    let egress = sections.egress(report);
    let egress_known = complete && report.found == before;
    let defaults = sections.defaults(report);
    let ca_named = sections.is_ca_named();
    let settings = sections.settings(report, egress.clone());
    let ordered = in_force.unwrap_or(matches!(settings.spool.place, SpoolPlace::Disk(_)));
    let egress = Some(Egress { allow_networks: Vec::new(), ..egress }).filter(|_| egress_known);
    let before = report.found;
    let kinds = kinds::kinds(report, &root, inputs);
    let kinds_complete = complete && report.found == before;
    Compiled {
        settings: Some(settings).filter(|_| !report.refuses()),
        shared: Arc::new(Shared { defaults, egress, ca_named, ordered }),
        kinds,
        kinds_complete,
    }
}

struct Sections<'f, 't, 'r, 's> {
    file: &'f SidecarFile<'t>,
    root: &'f Table<'f>,
    resolver: Resolver<'r, 's>,
}

impl<'f, 't: 'f> Sections<'f, 't, '_, '_> {
    /// A table of the file, with its overrides; empty where the file has none.
    fn section(&self, report: &mut Report, name: &str) -> Table<'f> {
        let mut table = self.root.table(report, name).unwrap_or_else(|| Table::empty(name, self.root.at));
        table.refuse_unknown(report, SIDECAR, name);
        overrides::apply(&mut table, self.file.overrides, self.file.values);
        table
    }

    fn settings(&mut self, report: &mut Report, egress: Egress) -> Settings {
        let spool = self.section(report, "spool");
        let spool = spool::spool(report, &spool, &mut self.resolver);
        let (ingest, admin) = (self.ingest(report, &spool), self.admin(report));
        let metrics = self.section(report, "metrics");
        let metrics = Metrics {
            listen: listen(report, &metrics, "0.0.0.0:9460"),
            per_webhook: metrics.boolean(report, "per_webhook").unwrap_or(true),
        };
        let config = self.section(report, "config");
        let words = [("refuse", OnInvalidWebhook::Refuse), ("quarantine", OnInvalidWebhook::Quarantine)];
        let on_invalid_webhook =
            config.choice(report, "on_invalid_webhook", &words).unwrap_or(OnInvalidWebhook::Refuse);
        lint::allowed(report, &config);
        let poll = config.duration(report, "poll", POLL).unwrap_or(POLL_DEFAULT);
        let removal_grace = config.duration(report, "removal_grace", REMOVAL_GRACE).unwrap_or(Duration::from_mins(10));
        let history = self.section(report, "history");
        let per_webhook = history.integer(report, "per_webhook", HISTORY).and_then(|count| usize::try_from(count).ok());
        let history = History {
            per_webhook: per_webhook.unwrap_or(HISTORY_DEFAULT),
            bytes_max: history.size(report, "max_bytes", HISTORY_BYTES).map_or(HISTORY_BYTES_DEFAULT, bytes),
        };
        let shutdown = self.section(report, "shutdown");
        let shutdown = Shutdown {
            grace: shutdown.duration(report, "grace", SHUTDOWN).unwrap_or(Duration::from_secs(25)),
            delay: shutdown.duration(report, "delay", SHUTDOWN).unwrap_or(Duration::ZERO),
        };
        let log = self.log(report);
        let table = self.section(report, "traces");
        let is_there = self.root.get("traces").is_some() || !table.entries.is_empty();
        let traces = if is_there { traces::traces(report, &table, &mut self.resolver) } else { Traces::default() };
        Settings {
            ingest,
            admin,
            metrics,
            spool,
            egress,
            on_invalid_webhook,
            poll,
            removal_grace,
            history,
            shutdown,
            log,
            traces,
        }
    }

    fn ingest(&mut self, report: &mut Report, spool: &Spool) -> Ingest {
        let table = self.section(report, "ingest");
        let listen = listen(report, &table, "127.0.0.1:8460");
        let socket_mode = socket_mode(report, &table, &listen);
        let allow_uids = allow_uids(report, &table, &listen);
        let token = token(report, &table, &mut self.resolver);
        require_token(report, &table, &listen);
        let in_nats = matches!(spool.place, SpoolPlace::Nats(_));
        let default = if in_nats { BODY_BYTES_MAX_OF_NATS } else { 1024 * 1024 };
        let body_bytes_max = table.size(report, "max_body", MAX_BODY).unwrap_or(default);
        let idempotency_window =
            table.duration(report, "idempotency_window", IDEMPOTENCY_WINDOW).unwrap_or(IDEMPOTENCY_WINDOW_DEFAULT);
        let body_bytes_max = bytes(body_bytes_max);
        Ingest { listen, socket_mode, allow_uids, token, body_bytes_max, idempotency_window }
    }

    fn admin(&mut self, report: &mut Report) -> Admin {
        let table = self.section(report, "admin");
        let listen = listen(report, &table, "127.0.0.1:8461");
        let socket_mode = socket_mode(report, &table, &listen);
        let allow_uids = allow_uids(report, &table, &listen);
        let token = token(report, &table, &mut self.resolver);
        require_token(report, &table, &listen);
        Admin { listen, socket_mode, allow_uids, token }
    }

    fn log(&self, report: &mut Report) -> Log {
        let table = self.section(report, "log");
        let levels = [
            ("error", tracing::Level::ERROR),
            ("warn", tracing::Level::WARN),
            ("info", tracing::Level::INFO),
            ("debug", tracing::Level::DEBUG),
            ("trace", tracing::Level::TRACE),
        ];
        Log {
            json: table.choice(report, "format", &[("json", true), ("text", false)]).unwrap_or(true),
            level: table.choice(report, "level", &levels).unwrap_or(tracing::Level::INFO),
        }
    }

    fn defaults(&mut self, report: &mut Report) -> Defaults {
        let table = self.section(report, "defaults");
        Defaults {
            timeout: table.duration(report, "timeout", TIMEOUT).unwrap_or(Duration::from_secs(30)),
            body_bytes_max: table.size(report, "body_max", MAX_BODY).unwrap_or(1024 * 1024),
            retry: policy::retry(report, &table, &policy::default_policy()),
            limits: policy::limits(report, &table, policy::default_limits()),
            breaker: policy::breaker(report, &table, policy::default_breaker()),
            tls: tls::tls(report, &table, &mut self.resolver, &Arc::default(), true),
        }
    }

    /// Whether the file names certificates that every webhook trusts, be they there to be read or not.
    fn is_ca_named(&self) -> bool {
        let mut quiet = Report::default();
        let tls = self.section(&mut quiet, "defaults").table(&mut quiet, "tls");
        let tables = [Some(self.section(&mut quiet, "egress")), tls];
        tables.into_iter().flatten().any(|table| table.get("ca_file").is_some())
    }

    fn egress(&mut self, report: &mut Report) -> Egress {
        let table = self.section(report, "egress");
        let mut egress = Egress { allow_ports: vec![443], ..Egress::default() };
        for item in table.list(report, "allow_ports").unwrap_or_default() {
            let port = item.value.as_integer().and_then(|port| port.as_str().parse::<u16>().ok());
            match port.filter(|port| PORTS.contains(&u64::from(*port))) {
                Some(443) => {}
                Some(port) => egress.allow_ports.push(port),
                None => report.error(item.at, "this is no port", "write a number from 1 to 65535"),
            }
        }
        for text in table.texts(report, "allow_networks").unwrap_or_default() {
            match text.value.parse() {
                Ok(IpNet::V6(network)) if network.addr().to_ipv4_mapped().is_some() => {
                    let problem = "this is IPv4 in the form of IPv6, which counts as IPv4 alone";
                    report.error(text.at, problem, "write it as IPv4, such as \"10.0.0.0/8\"");
                }
                Ok(network) => egress.allow_networks.push(network),
                Err(_) => {
                    report.error(text.at, "this is no network", "write a CIDR such as \"10.0.0.0/8\" or \"fd00::/8\"");
                }
            }
        }
        for text in table.texts(report, "allowed_hosts").unwrap_or_default() {
            if text.value.is_empty() || text.value.contains(['/', ':', '@']) {
                report.error(
                    text.at,
                    "this is no host name",
                    "write a name such as \"*.example.com\", without scheme and port",
                );
            }
            egress.allowed_hosts.push(Glob::new(&text.value.to_lowercase()));
        }
        if let Some(text) = table.text(report, "ca_file") {
            egress.ca_pem = self.ca_file(report, &text);
        }
        egress
    }

    fn ca_file(&mut self, report: &mut Report, text: &Text<'_>) -> Option<String> {
        let problem = match self.resolver.authorities(Path::new(text.value)) {
            Ok(_) => {
                return self.resolver.read(Path::new(text.value)).as_ref().as_ref().ok().map(|(pem, _)| pem.clone());
            }
            Err(Unread::Absent(_)) if self.resolver.has_placeholders() => return None,
            Err(Unread::Absent(problem) | Unread::Bad(problem)) => problem,
        };
        let fix = "write the path of a PEM file of certificates (it is taken from the configuration folder)";
        report.error(text.at, format!("the file {problem}"), fix);
        None
    }
}

/// A bound that is far below what a pointer can count.
fn bytes(size: u64) -> usize {
    usize::try_from(size).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use crate::config::reference::{SIDECAR, names};

    #[test]
    fn every_section_is_in_the_reference() {
        let sections = [
            "ingest", "admin", "metrics", "spool", "egress", "defaults", "config", "history", "shutdown", "log",
            "traces", "kinds",
        ];
        assert_eq!(names(SIDECAR, ""), sections);
    }
}
