//! `[spool]`: on the disk, or in NATS.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;

use super::tls;
use crate::config::document::{At, Report, Text};
use crate::config::lint::is_seed;
use crate::config::reference::REPLICAS;
use crate::config::references::Resolver;
use crate::config::snapshot::{Login, Nats, Spool, SpoolPlace};
use crate::config::table::{Entry, Table, as_text};
use crate::diagnostic::Lint;
use crate::webhook::tls::Tls;

const SPOOL_BYTES: RangeInclusive<u64> = 1024 * 1024..=16 * 1024 * 1024 * 1024 * 1024;
const RETENTION: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_hours(366 * 24);
const REPLICAS_DEFAULT: u64 = 3;
/// A stream's name stands in every subject.
const NAME_CHARS_MAX: usize = 64;
/// Servers of one cluster that are named; the others are heard of from these.
const SERVERS_MAX: usize = 16;

/// Keys that are of one kind of spool alone.
const OF_DISK: &[&str] = &["path"];
const OF_NATS: &[&str] = &[
    "servers",
    "stream",
    "replicas",
    "domain",
    "credentials_file",
    "nkey_file",
    "user",
    "password",
    "ca_file",
    "client_cert_file",
    "client_key_file",
];

/// What the words of `spool.kind` stand for.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Disk,
    Nats,
}

/// Compiles it.
pub(super) fn spool(report: &mut Report, table: &Table<'_>, resolver: &mut Resolver<'_, '_>) -> Spool {
    let kind = table.choice(report, "kind", &[("disk", Kind::Disk), ("nats", Kind::Nats)]).unwrap_or(Kind::Disk);
    let (word, others) = if kind == Kind::Disk { ("disk", OF_NATS) } else { ("nats", OF_DISK) };
    // A flag or a variable that says another kind means none of the keys that the file has for its own.
    let said_in = |entry: &Entry<'_>| entry.key_at.document.name.clone();
    let said = table.get("kind").map(said_in);
    let beside = |entry: &&Entry<'_>| said.as_ref().is_none_or(|said| *said == said_in(entry));
    for entry in others.iter().filter_map(|key| table.get(key)).filter(beside) {
        let problem = format!("`{}` has no effect with spool.kind = \"{word}\"", table.name(entry.name));
        report.warning(Lint::NoEffect, entry.key_at, problem, "remove it, or write the other kind");
    }
    let place = match kind {
        Kind::Disk => {
            // What has no effect has a shape all the same.
            table.texts(report, "servers");
            table.integer(report, "replicas", REPLICAS);
            for key in OF_NATS.iter().filter(|key| !matches!(**key, "servers" | "replicas")) {
                table.text(report, key);
            }
            SpoolPlace::Disk(path(report, table))
        }
        Kind::Nats => {
            table.text(report, "path");
            SpoolPlace::Nats(Box::new(nats(report, table, resolver)))
        }
    };
    Spool {
        place,
        bytes_max: table.size(report, "max_bytes", SPOOL_BYTES).unwrap_or(1024 * 1024 * 1024),
        dead_letter_retention: table
            .duration(report, "dead_letter_retention", RETENTION)
            .unwrap_or(Duration::from_hours(30 * 24)),
    }
}

fn path(report: &mut Report, table: &Table<'_>) -> PathBuf {
    let path = table.text(report, "path").map_or("/var/lib/outrigger", |text| {
        if text.value.is_empty() {
            report.error(text.at, "`spool.path` is empty", "write a directory");
        }
        text.value
    });
    PathBuf::from(path)
}

fn nats(report: &mut Report, table: &Table<'_>, resolver: &mut Resolver<'_, '_>) -> Nats {
    let kind_at = table.get("kind").map_or(table.at, |entry| entry.node.at);
    if !cfg!(feature = "nats") {
        let problem = "this program was built without the spool in NATS";
        report.error(kind_at, problem, "build it with the feature `nats`, which is there by default, or use \"disk\"");
    }
    let servers = servers(report, table, kind_at);
    let mut tls = Tls::default();
    if let Some(text) = table.text(report, "ca_file") {
        tls.authorities = tls::authorities(report, &text, resolver);
    }
    let shows = table.get("client_cert_file").is_some() || table.get("client_key_file").is_some();
    if shows {
        tls.client = tls::client(report, table, resolver);
    }
    let replicas = table.integer(report, "replicas", REPLICAS).unwrap_or(REPLICAS_DEFAULT);
    Nats {
        tls_required: shows || table.get("ca_file").is_some() || servers.iter().any(|url| url.starts_with("tls:")),
        servers,
        stream: name(report, table, "stream").unwrap_or_else(|| "outrigger".to_owned()),
        replicas: usize::try_from(replicas).unwrap_or(1),
        domain: name(report, table, "domain"),
        login: login(report, table, resolver),
        tls: Arc::new(tls),
    }
}

fn servers(report: &mut Report, table: &Table<'_>, kind_at: At<'_>) -> Vec<String> {
    if let Some(entry) = table.get("servers").filter(|entry| as_text(entry.node).is_some()) {
        // A password may stand in it: it is not repeated.
        let fix = "write servers = [\"nats://HOST:4222\"]";
        report.error(entry.node.at, "`spool.servers` is a text, and takes a list of them", fix);
        return Vec::new();
    }
    let Some(texts) = table.texts(report, "servers") else {
        if table.get("servers").is_none() {
            let fix = "add servers = [\"nats://HOST:4222\"] to [spool]";
            report.error(kind_at, "`spool.servers` is missing: where NATS is", fix);
        }
        return Vec::new();
    };
    if let (Some(entry), true) = (table.get("servers"), texts.is_empty() || texts.len() > SERVERS_MAX) {
        let problem = format!("`spool.servers` names {} servers, and takes 1 to {SERVERS_MAX}", texts.len());
        report.error(entry.node.at, problem, "name some of the cluster: the others are heard of from them");
    }
    for text in &texts {
        if let Err((problem, fix)) = check_server(text.value) {
            report.error(text.at, problem, fix);
        }
    }
    texts.iter().map(|text| text.value.to_owned()).collect()
}

/// What is wrong with a server's URL. It is not repeated: a password may stand in it.
fn check_server(url: &str) -> Result<(), (&'static str, &'static str)> {
    const FIX: &str = "write nats://HOST:4222, or tls://HOST:4222";
    let uri: Uri = url.parse().map_err(|_| ("this is no URL of a NATS server", FIX))?;
    if !matches!(uri.scheme_str(), Some("nats" | "tls")) {
        return Err(("this is no URL of a NATS server: it begins neither with nats:// nor with tls://", FIX));
    }
    let authority = uri.authority().map_or("", |authority| authority.as_str());
    if authority.contains('@') {
        let fix = "take them out, and write spool.user and spool.password, which may be a reference to a secret";
        return Err(("a name or a password stands in this URL", fix));
    }
    let port_is_known = uri.port().is_some() || !authority.ends_with(':');
    if uri.host().is_none_or(str::is_empty) || !port_is_known || uri.path().len() > 1 || uri.query().is_some() {
        return Err(("the URL of a NATS server is a host and a port, and nothing more", FIX));
    }
    Ok(())
}

/// A name that stands in subjects.
fn name(report: &mut Report, table: &Table<'_>, key: &str) -> Option<String> {
    let text = table.text(report, key)?;
    let fits = |char: char| char.is_ascii_alphanumeric() || matches!(char, '_' | '-');
    if text.value.is_empty() || text.value.len() > NAME_CHARS_MAX || !text.value.chars().all(fits) {
        let problem = format!("`{}` cannot be a part of a subject of NATS", table.name(key));
        report.error(text.at, problem, format!("write 1 to {NAME_CHARS_MAX} letters, digits, `_` and `-`"));
        return None;
    }
    Some(text.value.to_owned())
}

fn login(report: &mut Report, table: &Table<'_>, resolver: &mut Resolver<'_, '_>) -> Login {
    let ways: Vec<_> = ["credentials_file", "nkey_file", "user"].iter().filter_map(|key| table.get(key)).collect();
    if let [_, second, ..] = &ways[..] {
        let problem = format!("`{}` is a second way to log in", table.name(second.name));
        report.error(second.key_at, problem, "write one of credentials_file, nkey_file, or user with password");
    }
    for (missing, there) in [("password", "user"), ("user", "password")] {
        if let (None, Some(entry)) = (table.get(missing), table.get(there)) {
            let problem = format!("`{}` needs `{missing}` beside it", table.name(there));
            report.error(entry.key_at, problem, format!("add {missing} to [spool]"));
        }
    }
    let file = |report: &mut Report, resolver: &mut Resolver<'_, '_>, text: Text<'_>| {
        if is_seed(text.value.trim()) {
            let fix = "put it into a file, and write the file's path; replace a seed that stood here";
            report.error(text.at, "this key names a file, and what stands here is a seed", fix);
            return None;
        }
        tls::file(report, &text, resolver)
    };
    if let Some(text) = table.text(report, "credentials_file") {
        return file(report, resolver, text).map_or(Login::Nobody, Login::Credentials);
    }
    if let Some(text) = table.text(report, "nkey_file") {
        return file(report, resolver, text).map_or(Login::Nobody, Login::Nkey);
    }
    let (Some(user), Some(password)) = (table.text(report, "user"), table.text(report, "password")) else {
        return Login::Nobody;
    };
    let password = resolver.expand(report, &password);
    password.map_or(Login::Nobody, |password| Login::Password(user.value.to_owned(), password))
}
