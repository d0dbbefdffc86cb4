//! `auth.oauth2`: client credentials.

use std::sync::Arc;

use http::Uri;
use serde_json::Value;

use super::auth::{constant, required};
use super::tls::file;
use super::url;
use crate::config::document::{Report, Text};
use crate::config::reference::WEBHOOK;
use crate::config::references::{PLACEHOLDER, Resolver};
use crate::config::snapshot::Egress;
use crate::config::table::{Table, list};
use crate::secret::Secret;
use crate::webhook::grant::{Grant, OWN_PARAMETERS, Proof};
use crate::webhook::tls::Tls;

/// The longest path of a token endpoint, in bytes.
const PATH_BYTES_MAX: usize = 8 * 1024;

/// What else decides how a token endpoint is spoken to.
pub(super) struct Beside<'b> {
    /// What URLs are held against; `None` when it is unknown.
    pub(super) egress: Option<&'b Egress>,
    /// The webhook's own TLS settings.
    pub(super) tls: &'b Arc<Tls>,
}

/// Compiles `auth.oauth2`. The credentials themselves go to `secrets`.
pub(super) fn oauth2(
    report: &mut Report,
    table: &Table<'_>,
    resolver: &mut Resolver<'_, '_>,
    beside: &Beside<'_>,
    secrets: &mut Vec<Secret>,
) -> Option<Arc<Grant>> {
    table.refuse_unknown(report, WEBHOOK, "auth.oauth2");
    let uri = token_url(report, table, resolver, beside.egress);
    let client_id = filled(report, table, "client_id", resolver);
    let proof = proof(report, table, resolver);
    let mut scopes = Vec::new();
    for text in table.texts(report, "scopes").unwrap_or_default() {
        let Some(scope) = constant(report, &text, resolver) else { continue };
        if scope.expose().is_empty() || !scope.expose().bytes().all(|byte| byte.is_ascii_graphic()) {
            let problem = "a scope is empty, or holds a blank or characters beyond ASCII";
            report.error(text.at, problem, "write one scope a text: [\"read\", \"write\"]");
        }
        scopes.push(scope.expose().to_owned());
    }
    let audience = table.text(report, "audience").and_then(|text| plain(report, &text, resolver));
    let parameters = parameters(report, table, resolver);
    let (uri, client_id, (proof, key)) = (uri?, client_id?, proof?);
    let tls = if beside.tls.server_name.is_some() { Arc::new(beside.tls.elsewhere()) } else { Arc::clone(beside.tls) };

    let endpoint = Secret::new(uri.to_string());
    let tls_identity = format!("{:?}", tls.identity());
    let joined = scopes.join(" ");
    let mut parts = vec![endpoint.expose(), client_id.expose(), key.expose(), &*joined, &*tls_identity];
    let assertion = match &proof {
        Proof::Basic(_) => ("basic", "", ""),
        Proof::Post(_) => ("post", "", ""),
        Proof::PrivateKey { key_id, audience, .. } => {
            ("key", key_id.as_deref().unwrap_or_default(), audience.as_deref().unwrap_or_default())
        }
    };
    parts.extend([assertion.0, assertion.1, assertion.2, audience.as_deref().unwrap_or_default()]);
    for (name, value) in &parameters {
        parts.extend([name.as_str(), value.expose()]);
    }
    let identity = Grant::name(&parts);
    let grant = Grant { uri, client_id, proof, scopes, audience, parameters, tls, identity };
    secrets.extend(grant.secrets().cloned());
    Some(Arc::new(grant))
}

/// The token endpoint, held against the same rules as a webhook's URL; no event is part of it.
fn token_url(
    report: &mut Report,
    table: &Table<'_>,
    resolver: &mut Resolver<'_, '_>,
    egress: Option<&Egress>,
) -> Option<Uri> {
    if table.get("token_url").is_none() {
        report.error(table.at, "`auth.oauth2` has no `token_url`", "add token_url = \"https://…\"");
        return None;
    }
    let text = table.text(report, "token_url")?;
    let url = url::url(report, &text, resolver, egress)?;
    if url.templated {
        let fix = "write it in full; what differs by webhook can be a reference";
        report.error(text.at, "the token endpoint cannot be a template", fix);
        return None;
    }
    let path = url.path.render(&Value::Null, false, PATH_BYTES_MAX).ok()?.text;
    let authority = if url.port == 443 { url.host } else { format!("{}:{}", url.host, url.port) };
    let uri = Uri::builder().scheme("https").authority(authority).path_and_query(path).build();
    if uri.is_err() {
        report.error(text.at, "the token endpoint is no URL", "write https:// and then host and path");
    }
    uri.ok()
}

/// How the client proves who it is, and the text that decides it.
fn proof(report: &mut Report, table: &Table<'_>, resolver: &mut Resolver<'_, '_>) -> Option<(Proof, Secret)> {
    let (secret, key) = (table.get("client_secret"), table.get("private_key_file"));
    let way = table.choice(report, "client_auth", &[("basic", false), ("post", true)]);
    // Read whatever else is missing, so that their faults are told with the others.
    let key_id = table.text(report, "key_id").and_then(|text| plain(report, &text, resolver));
    let audience = table.text(report, "assertion_audience").and_then(|text| plain(report, &text, resolver));
    let needs_key = |report: &mut Report, name: &str| {
        if let Some(entry) = table.get(name) {
            let problem = format!("`{}` is of no use without a private key", table.name(name));
            report.error(entry.key_at, problem, "remove it, or write private_key_file in place of client_secret");
        }
    };
    match (secret, key) {
        (None, None) => {
            let problem = "`auth.oauth2` has neither `client_secret` nor `private_key_file`";
            report.error(table.at, problem, "add client_secret = \"${env:NAME}\", or private_key_file = \"PATH\"");
            None
        }
        (Some(_), Some(entry)) => {
            let problem = "`auth.oauth2` has both `client_secret` and `private_key_file`";
            report.error(entry.key_at, problem, "leave the one that the authorization server takes");
            None
        }
        (Some(_), None) => {
            needs_key(report, "key_id");
            needs_key(report, "assertion_audience");
            let secret = filled(report, table, "client_secret", resolver)?;
            let proof = if way == Some(true) { Proof::Post(secret.clone()) } else { Proof::Basic(secret.clone()) };
            Some((proof, secret))
        }
        (None, Some(_)) => {
            if let Some(entry) = table.get("client_auth") {
                let problem = "`auth.oauth2.client_auth` is of no use with a private key";
                report.error(entry.key_at, problem, "remove it: the client proves who it is by a signed assertion");
            }
            let text = table.text(report, "private_key_file")?;
            let pem = file(report, &text, resolver)?;
            let key = if resolver.has_placeholders() && pem.expose() == PLACEHOLDER {
                None
            } else {
                match resolver.assertion_key(text.value, &pem) {
                    Ok(key) => Some(key),
                    Err(error) => {
                        let fix = "name the PEM file of the key whose public half the authorization server has";
                        report.error(text.at, format!("the file {error}"), fix);
                        return None;
                    }
                }
            };
            Some((Proof::PrivateKey { key, key_id, audience }, pem))
        }
    }
}

/// A field that must be there and hold something.
fn filled(report: &mut Report, table: &Table<'_>, key: &str, resolver: &mut Resolver<'_, '_>) -> Option<Secret> {
    let (text, value) = required(report, table, key, resolver)?;
    if value.expose().is_empty() {
        report.error(text.at, format!("`{}` is empty", table.name(key)), "give it by a reference such as ${env:NAME}");
        return None;
    }
    Some(value)
}

/// A text that is no secret and may be a reference all the same.
fn plain(report: &mut Report, text: &Text<'_>, resolver: &mut Resolver<'_, '_>) -> Option<String> {
    let value = constant(report, text, resolver)?;
    if value.expose().is_empty() {
        report.error(text.at, "this is empty", "write it, or remove the key");
        return None;
    }
    Some(value.expose().to_owned())
}

/// `parameters`: what else the server wants to know.
fn parameters(report: &mut Report, table: &Table<'_>, resolver: &mut Resolver<'_, '_>) -> Vec<(String, Secret)> {
    let by_key = table.get("private_key_file").is_some();
    let Some(table) = table.table(report, "parameters") else { return Vec::new() };
    let mut parameters = Vec::with_capacity(table.entries.len());
    for entry in &table.entries {
        // Beside an assertion the client's id is left out, as its issuer says it; some servers want it all the same.
        let wanted = entry.name == "client_id" && by_key;
        if OWN_PARAMETERS.contains(&entry.name) && !wanted {
            let problem = format!("the parameter `{}` is set by the other keys", entry.name);
            report.error(entry.key_at, problem, format!("remove it; these are: {}", list(&OWN_PARAMETERS)));
            continue;
        }
        let value = table.text(report, entry.name).and_then(|text| constant(report, &text, resolver));
        parameters.extend(value.map(|value| (entry.name.to_owned(), value)));
    }
    parameters
}
