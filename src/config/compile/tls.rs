//! `[tls]` of a webhook, and `[defaults.tls]`.

use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::ServerName;

use crate::config::document::{Report, Text};
use crate::config::inputs::Unread;
use crate::config::lint::PASTED_KEY;
use crate::config::reference::{SIDECAR, WEBHOOK};
use crate::config::references::{PLACEHOLDER, Resolver};
use crate::config::table::Table;
use crate::secret::Secret;
use crate::webhook::tls::{Authorities, ClientCertificate, Tls, TlsVersion};

/// Compiles `[tls]` under a table, above a base. `ca_named` says whether some `ca_file` stands above it, be it there to be read or not.
pub(super) fn tls(
    report: &mut Report,
    parent: &Table<'_>,
    resolver: &mut Resolver<'_, '_>,
    base: &Arc<Tls>,
    ca_named: bool,
) -> Arc<Tls> {
    let defaults = parent.path == "defaults";
    let Some(table) = parent.table(report, "tls") else {
        if !defaults {
            require_trust(report, parent, base, ca_named);
        }
        return Arc::clone(base);
    };
    table.refuse_unknown(report, if defaults { SIDECAR } else { WEBHOOK }, &table.path);
    let mut tls = Tls::clone(base);
    if let Some(public_roots) = table.boolean(report, "public_roots") {
        tls.public_roots = public_roots;
    }
    if let Some(text) = table.text(report, "ca_file") {
        tls.authorities = authorities(report, &text, resolver).or(tls.authorities);
    }
    if table.get("client_cert_file").is_some() || table.get("client_key_file").is_some() {
        tls.client = client(report, &table, resolver);
    }
    if let Some(text) = table.text(report, "server_name") {
        if let Ok(name) = ServerName::try_from(text.value.to_owned()) {
            tls.server_name = Some(name);
        } else {
            let fix = "write the name, or the address, that stands in the receiver's certificate";
            report.error(text.at, "this is no name that a certificate can have", fix);
        }
    }
    let versions = [("1.2", TlsVersion::V1_2), ("1.3", TlsVersion::V1_3)];
    tls.min_version = table.choice(report, "min_version", &versions).unwrap_or(tls.min_version);
    if !defaults {
        require_trust(report, &table, &tls, ca_named || table.get("ca_file").is_some());
    }
    Arc::new(tls)
}

/// Somebody has to be trusted.
fn require_trust(report: &mut Report, table: &Table<'_>, tls: &Tls, ca_named: bool) {
    if !tls.public_roots && !ca_named {
        let at = table.get("public_roots").map_or(table.at, |entry| entry.key_at);
        let problem = "without the public roots nobody is trusted: there is no `ca_file`";
        report.error(at, problem, "add ca_file to [tls] or [egress], or remove public_roots = false");
    }
}

/// The certificates of a file that others are trusted by.
pub(super) fn authorities(
    report: &mut Report,
    text: &Text<'_>,
    resolver: &mut Resolver<'_, '_>,
) -> Option<Arc<Authorities>> {
    if is_no_path(report, text) {
        return None;
    }
    let problem = match resolver.authorities(Path::new(text.value)) {
        Ok(authorities) => return Some(authorities),
        Err(Unread::Absent(problem)) if resolver.has_placeholders() => {
            resolver.pass_over(text.value, format!("the file `{}` {problem}", text.value), "create it");
            return None;
        }
        Err(Unread::Absent(problem) | Unread::Bad(problem)) => problem,
    };
    let fix = "write the path of a PEM file of certificates (it is taken from the configuration folder)";
    report.error(text.at, format!("the file {problem}"), fix);
    None
}

/// `client_cert_file` and `client_key_file`, which belong together.
pub(super) fn client(
    report: &mut Report,
    table: &Table<'_>,
    resolver: &mut Resolver<'_, '_>,
) -> Option<Arc<ClientCertificate>> {
    for (missing, there) in [("client_cert_file", "client_key_file"), ("client_key_file", "client_cert_file")] {
        if let (None, Some(entry)) = (table.get(missing), table.get(there)) {
            let problem = format!("`{}` needs `{missing}` beside it", table.name(there));
            report.error(entry.key_at, problem, format!("add {missing} = \"PATH\""));
        }
    }
    let (certificate, key) = (table.text(report, "client_cert_file")?, table.text(report, "client_key_file")?);
    let (chain, key_pem) = (file(report, &certificate, resolver), file(report, &key, resolver));
    let (chain, key_pem) = (chain?, key_pem?);
    if resolver.has_placeholders() && [&chain, &key_pem].iter().any(|pem| pem.expose() == PLACEHOLDER) {
        return None;
    }
    match resolver.client_certificate((certificate.value, &chain), (key.value, &key_pem)) {
        Ok(client) => Some(client),
        Err(error) => {
            let text = if error.is_of_certificate() { certificate } else { key };
            let fix = "name the PEM files of one certificate (with its chain behind it) and of its key";
            report.error(text.at, format!("the file {error}"), fix);
            None
        }
    }
}

/// What stands in a file that holds a secret, or may stand where secrets do.
pub(super) fn file(report: &mut Report, text: &Text<'_>, resolver: &mut Resolver<'_, '_>) -> Option<Secret> {
    if is_no_path(report, text) {
        return None;
    }
    match resolver.resolve_file(text.value) {
        Ok(secret) => Some(secret),
        Err((problem, fix)) => {
            report.error(text.at, problem, fix);
            None
        }
    }
}

/// Reports what stands where a path is wanted and is none. It may be the key itself, so it is not repeated.
fn is_no_path(report: &mut Report, text: &Text<'_>) -> bool {
    let (problem, fix) = if text.value.contains(PASTED_KEY) || text.value.chars().any(char::is_control) {
        let fix = "put it into a file, and write the file's path; replace a private key that stood here";
        ("this key names a file, and what stands here is no path", fix)
    } else if text.value.contains("${") {
        ("this key names a file, and takes no reference", "write the file's path alone")
    } else {
        return false;
    };
    report.error(text.at, problem, fix);
    true
}
