//! What is known of receivers: `plain-text-receiver`, `okta-put`, `slack-no-rate`; and `never-passes`, which goes for all.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::Subject;
use crate::config::document::{At, Report};
use crate::config::table::Table;
use crate::diagnostic::Lint;
use crate::webhook::Webhook;
use crate::webhook::validator::Validator;

/// Receivers whose answers are no JSON documents: the hosts, what the path begins with, and what they answer.
const PLAIN_TEXT: [(&[&str], &str, &str); 2] = [
    (&["hooks.slack.com"], "/services/", "a Slack incoming webhook answers the text `ok`"),
    (
        &["discord.com", "discordapp.com", "canary.discord.com", "ptb.discord.com"],
        "/api/webhooks/",
        "a Discord webhook answers 204 without a body",
    ),
];

/// Where the API endpoints of Okta Workflows live.
const OKTA_HOSTS: [&str; 3] = [".workflows.okta.com", ".workflows.oktapreview.com", ".workflows.okta-emea.com"];

/// How much of a URL's path is looked at, in bytes.
const PATH_BYTES_MAX: usize = 8 * 1024;

/// Looks at what a webhook sends to whom.
pub(super) fn lint(report: &mut Report, subject: &Subject<'_>) {
    let (webhook, root) = (subject.webhook, subject.root);
    // The path may be a secret: it is held against what is known, and never shown.
    let path = webhook.url.path.render(&Value::Null, false, PATH_BYTES_MAX).unwrap_or_default().text;
    let tables = root.tables(&mut Report::default(), "response_validators");
    for (table, validator) in tables.iter().zip(&webhook.validators) {
        status(report, table, validator);
        plain_text(report, table, validator, webhook, &path);
    }
    let place = |key: &str| root.get(key).map_or(root.at, |entry| entry.node.at);
    let okta = OKTA_HOSTS.iter().any(|host| webhook.url.host.ends_with(host)) && path.starts_with("/api/flo/");
    if okta && webhook.method != Method::POST && webhook.method != Method::GET {
        let problem = format!("an API endpoint of Okta Workflows does not take {}", webhook.method);
        report.warning(Lint::OktaPut, place("method"), problem, "it takes POST, and GET; remove `method` for POST");
    }
    if webhook.url.host == "hooks.slack.com" && path.starts_with("/services/") && webhook.rate.is_none() {
        let problem = "a Slack incoming webhook takes one message a second, and there is no rate";
        let fix = "add limits = { rate = \"1/s\", burst = 5 }: then a burst of events waits instead of failing";
        report.warning(Lint::SlackNoRate, place("url"), problem, fix);
    }
}

fn at<'t>(table: &Table<'t>) -> At<'t> {
    table.get("path").map_or(table.at, |entry| entry.node.at)
}

/// Validators are asked about a 2xx only: one that wants another status refuses every answer.
fn status(report: &mut Report, table: &Table<'_>, validator: &Validator) {
    let passes = |status: u16| validator.judge(&json!({ "status": status })).passed;
    let mut successes = (200..300).filter(|status| StatusCode::from_u16(*status).is_ok());
    if validator.path.only_member() == Some("status") && !successes.any(passes) {
        let problem = "no answer passes this validator: it is asked about a 2xx only, and accepts none";
        let fix = "remove it: every other status is a failure without it; retry.statuses says what happens then";
        report.warning(Lint::NeverPasses, at(table), problem, fix);
    }
}

fn plain_text(report: &mut Report, table: &Table<'_>, validator: &Validator, webhook: &Webhook, path: &str) {
    let host = &*webhook.url.host;
    let known = PLAIN_TEXT.iter().find(|(hosts, prefix, _)| hosts.contains(&host) && path.starts_with(prefix));
    // With this parameter Discord answers the message.
    let Some((.., answers)) = known.filter(|_| !path.contains("wait=true")) else { return };
    if validator.path.root_member() == Some("data") && validator.path.only_member() != Some("data") {
        let problem = format!("{answers}, in which this path finds nothing");
        let fix = "remove the validator: a status other than 2xx is a failure without it";
        report.warning(Lint::PlainTextReceiver, at(table), problem, fix);
    }
}
