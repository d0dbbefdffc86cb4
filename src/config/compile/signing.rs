//! `[signing]`: what requests are signed with.

use crate::config::document::Report;
use crate::config::reference::WEBHOOK;
use crate::config::references::Resolver;
use crate::config::table::{Table, as_text};
use crate::secret::Secret;
use crate::webhook::signing::{Signing, SigningKey};

use super::auth::constant;

/// How many secrets there may be: the one in use, and those that are on their way in or out.
const SECRETS_MAX: usize = 5;

/// Compiles `[signing]`. The secrets themselves go to `secrets`.
pub(super) fn signing(
    report: &mut Report,
    root: &Table<'_>,
    resolver: &mut Resolver<'_, '_>,
    secrets: &mut Vec<Secret>,
) -> Option<Signing> {
    let table = root.table(report, "signing")?;
    table.refuse_unknown(report, WEBHOOK, "signing");
    let Some(standard) = table.table(report, "standard_webhooks") else {
        if table.get("standard_webhooks").is_none() {
            let fix = "add standard_webhooks = { secrets = [\"${env:NAME}\"] }, or remove the table";
            report.error(table.at, "`[signing]` says nothing to sign with", fix);
        }
        return None;
    };
    standard.refuse_unknown(report, WEBHOOK, "signing.standard_webhooks");
    let items = standard.list(report, "secrets");
    let at = standard.get("secrets").map_or(standard.at, |entry| entry.node.at);
    let items = items.unwrap_or_default();
    if items.is_empty() || items.len() > SECRETS_MAX {
        let problem =
            format!("`signing.standard_webhooks` has {} secrets, and it needs 1 to {SECRETS_MAX}", items.len());
        report.error(
            at,
            problem,
            "write secrets = [\"${env:NEW}\", \"${env:OLD}\"]: requests carry a signature of each",
        );
        return None;
    }
    let mut keys = Vec::with_capacity(items.len());
    for item in items {
        let Some(text) = as_text(item) else {
            report.error(item.at, "a secret is a text", "write it in quotes, as \"${env:NAME}\"");
            continue;
        };
        let Some(secret) = constant(report, &text, resolver) else { continue };
        match SigningKey::parse(secret.expose()) {
            Ok(key) => keys.push(key),
            // What stands for a secret has nothing to be judged by; no request goes out with it.
            Err(_) if text.value.contains("${") && (resolver.has_placeholders() || resolver.masks()) => {}
            Err(error) => {
                let fix = "a secret is `whsec_` and 24 to 64 bytes in base64: openssl rand -base64 32";
                report.error(text.at, format!("the secret {error}"), fix);
            }
        }
        secrets.push(secret);
    }
    Some(Signing::new(keys))
}
