//! `plain-secret`: a secret that is typed in clear, where git and everybody who reads it has it.

use std::ops::Range;

use crate::config::document::{At, Report, Text};
use crate::config::references::{Piece, pieces};
use crate::config::table::Table;
use crate::diagnostic::Lint;

/// What a header's name holds whose value is a secret.
const SECRET_HEADERS: [&str; 12] = [
    "authorization",
    "token",
    "secret",
    "password",
    "api-key",
    "apikey",
    "api_key",
    "access-key",
    "auth-key",
    "functions-key",
    "subscription-key",
    "cookie",
];

/// What such a header's name ends in where its value says something about a secret and is none.
const ABOUT_SECRETS: [&str; 9] =
    ["-type", "-kind", "-policy", "-version", "-format", "-name", "-id", "-ttl", "-expiry"];

/// The words before a credential that are none.
const SCHEMES: [&str; 5] = ["bearer", "basic", "splunk", "token", "geniekey"];

/// Values of such headers that are no secrets, though they are typed.
const NO_SECRETS: [&str; 8] = ["no-check", "nocheck", "fetch", "required", "true", "false", "none", "1"];

/// The names of query parameters whose values are secrets, in lower case.
const SECRET_PARAMETERS: [&str; 13] = [
    "token",
    "sig",
    "signature",
    "key",
    "secret",
    "password",
    "apikey",
    "api_key",
    "api-key",
    "accesstoken",
    "access_token",
    "clienttoken",
    "client_token",
];

/// URLs that are secrets as a whole: what stands behind this part of them is not for everybody.
const SECRET_URLS: [&str; 7] = [
    "hooks.slack.com/services/",
    "hooks.slack.com/triggers/",
    "hooks.slack.com/workflows/",
    "hooks.zapier.com/hooks/catch/",
    ".webhook.office.com/webhookb2/",
    "discord.com/api/webhooks/",
    "discordapp.com/api/webhooks/",
];

/// Where `[auth]` holds secrets.
const SECRET_FIELDS: [(&str, &str); 4] =
    [("bearer", "token"), ("basic", "password"), ("api_key", "value"), ("oauth2", "client_secret")];

/// What `[auth]` holds that is none.
const NO_SECRET_FIELDS: [&str; 4] = ["username", "header", "client_id", "token_url"];

/// Reports what is typed in `outrigger.toml`, and gives back where.
pub(super) fn of_sidecar(report: &mut Report, root: &Table<'_>) -> Vec<Range<usize>> {
    let mut secrets = Secrets { report, found: Vec::new() };
    for name in ["ingest", "admin"] {
        if let Some(table) = quiet(root, name) {
            secrets.field(&table, "token");
        }
    }
    secrets.found
}

/// Reports what is typed in a webhook's file, and gives back where.
pub(super) fn of_webhook(report: &mut Report, root: &Table<'_>) -> Vec<Range<usize>> {
    let mut secrets = Secrets { report, found: Vec::new() };
    if let Some(url) = text(root, "url") {
        secrets.url(&url);
    }
    secrets.misplaced(root, "auth");
    if let Some(auth) = quiet(root, "auth") {
        for (way, key) in SECRET_FIELDS {
            if let Some(table) = quiet(&auth, way) {
                secrets.field(&table, key);
            }
        }
    }
    if let Some(headers) = quiet(root, "headers") {
        for entry in &headers.entries {
            if is_secret_header(entry.name) {
                secrets.field(&headers, entry.name);
            }
        }
    }
    secrets.found
}

/// Whether a header's name says that its value is a secret.
#[must_use]
pub fn is_secret_header(name: &str) -> bool {
    let name = name.to_lowercase();
    let about = ABOUT_SECRETS.iter().any(|end| name.ends_with(end));
    !about && SECRET_HEADERS.iter().any(|part| name.contains(part))
}

/// Whether a value of such a header may be one: some are known to be none.
#[must_use]
pub fn may_be_secret(value: &str) -> bool {
    let word = value.trim();
    !word.is_empty() && !NO_SECRETS.contains(&&*word.to_lowercase())
}

/// A table under a table. What has another shape is a fault, which has been reported.
fn quiet<'t>(table: &Table<'t>, key: &str) -> Option<Table<'t>> {
    table.table(&mut Report::default(), key)
}

fn text<'t>(table: &Table<'t>, key: &str) -> Option<Text<'t>> {
    table.text(&mut Report::default(), key)
}

struct Secrets<'r> {
    report: &'r mut Report,
    found: Vec<Range<usize>>,
}

impl Secrets<'_> {
    fn found(&mut self, at: At<'_>, what: &str) {
        let problem = format!("{what} is typed in clear");
        let fix = "write ${env:NAME} or ${file:PATH} instead, and replace the secret: whoever has read the file has it";
        self.report.warning(Lint::PlainSecret, at, problem, fix);
        self.hide(at);
    }

    /// What is not shown, and is a fault already.
    fn hide(&mut self, at: At<'_>) {
        let range = at.start..at.end;
        if !self.found.contains(&range) {
            self.found.push(range);
        }
    }

    /// What stands in `[auth]` in places of its own: a credential is one below a misspelt key, or above the right one, too.
    fn misplaced(&mut self, table: &Table<'_>, key: &str) {
        if let Some(inner) = quiet(table, key) {
            for entry in &inner.entries {
                self.misplaced(&inner, entry.name);
            }
        } else if let Some(entry) = table.get(key)
            && !NO_SECRET_FIELDS.contains(&key)
            && text(table, key).is_none_or(|text| has_typed_part(text.value))
        {
            self.hide(entry.node.at);
        }
    }

    /// A key whose value is a secret.
    fn field(&mut self, table: &Table<'_>, key: &str) {
        let Some(value) = text(table, key) else {
            // A number without its quotes may be a credential all the same.
            return table.get(key).map(|entry| self.hide(entry.node.at)).unwrap_or_default();
        };
        if is_typed(value.value) && may_be_secret(value.value) {
            self.found(value.at, &format!("the secret `{}`", table.name(key)));
        } else if !is_typed(value.value) && has_typed_part(value.value) {
            self.hide(value.at);
        }
    }

    /// A URL that is a secret, or whose query holds one.
    fn url(&mut self, url: &Text<'_>) {
        let lower = url.value.to_ascii_lowercase();
        let authority = lower.split_once("://").map_or("", |(_, rest)| rest.split('/').next().unwrap_or_default());
        if let (Some((user, _)), Some(start)) = (authority.rsplit_once('@'), lower.find("://")) {
            self.hide(url.within(start + 3..start + 3 + user.len()));
        }
        let ends = SECRET_URLS.iter().filter_map(|part| lower.find(part).map(|at| at + part.len()));
        if let Some(start) = ends.min() {
            let (path, at) = (url.value.get(start..).unwrap_or_default(), url.within(start..url.value.len()));
            match (is_typed(path), has_typed_part(path)) {
                (true, _) => return self.found(at, "the URL's path, which is a secret,"),
                (false, true) => self.hide(at),
                (false, false) => {}
            }
        }
        let Some(query) = lower.find('?') else { return };
        let mut start = query + 1;
        for pair in url.value.get(start..).unwrap_or_default().split('&') {
            let end = start + pair.len();
            if let Some((name, value)) = pair.split_once('=')
                && SECRET_PARAMETERS.contains(&&*name.to_ascii_lowercase())
            {
                let at = url.within(end - value.len()..end);
                match (is_typed(value), has_typed_part(value)) {
                    (true, _) => self.found(at, &format!("the secret `{name}` of the URL's query")),
                    (false, true) => self.hide(at),
                    (false, false) => {}
                }
            }
            start = end + 1;
        }
    }
}

/// Whether all of a text stands in the file: no reference and no event has a part in it.
fn is_typed(text: &str) -> bool {
    let literal = |piece: Piece<'_>| matches!(piece, Piece::Literal(_) | Piece::Dollar(_));
    !text.is_empty() && !text.contains("{{") && pieces(text).into_iter().all(literal)
}

/// Whether a part of a text may be a secret that is typed, though not all of it is: without a reference there is more in it than
/// expressions and the scheme of a credential. What opens and is never closed is no expression.
fn has_typed_part(text: &str) -> bool {
    if pieces(text).iter().any(|piece| matches!(piece, Piece::Reference(..))) {
        return false;
    }
    let mut rest = text.to_owned();
    while let Some((start, length)) = rest.find("{{").and_then(|start| Some((start, rest.get(start..)?.find("}}")?))) {
        rest.replace_range(start..start + length + 2, "");
    }
    let mut words = rest.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    words.any(|word| !SCHEMES.contains(&&*word.to_lowercase()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use toml::de::DeTable;

    use crate::config::document::Document;

    use super::*;

    /// What is found in a webhook's file.
    fn found(text: &str) -> Vec<String> {
        let document = Document { name: "x".to_owned(), text: text.to_owned(), shown: true };
        let table = DeTable::parse(&document.text).unwrap();
        let root = Table::new(&document, String::new(), At::new(&document, 0..0), table.get_ref());
        let mut report = Report::default();
        let found = of_webhook(&mut report, &root).into_iter().map(|at| text[at].to_owned()).collect();
        assert!(report.diagnostics.iter().all(|one| one.lint == Some(Lint::PlainSecret)));
        found
    }

    #[test]
    fn what_is_typed_is_found_and_what_is_referred_to_is_not() {
        let cases: [(&str, &[&str]); 30] = [
            ("auth.bearer.token = 'abc'", &["'abc'"]),
            ("auth.bearer.token = '${env:T}'", &[]),
            ("auth.bearer.token = 'v1-${file:t}'", &[]),
            ("auth.bearer.token = '$${env:T}'", &["'$${env:T}'"]),
            ("auth.basic = { username = 'ana', password = 'p' }", &["'p'"]),
            ("auth.api_key = { header = 'x-k', value = \"v\" }", &["\"v\""]),
            ("headers.Authorization = 'Splunk 123'", &["'Splunk 123'"]),
            ("headers.X-Api-Key = 'k'\nheaders.x-auth-token = 't'", &["'k'", "'t'"]),
            ("headers.x-atlassian-token = 'no-check'\nheaders.x-csrf-token = 'fetch'", &[]),
            ("headers.x-request-token = '{{data.id}}'\nheaders.x-team = 'sre'\nheaders.x-secret = ''", &[]),
            ("url = 'https://hooks.slack.com/services/T0/B0/X0'", &["T0/B0/X0"]),
            ("url = 'https://hooks.slack.com/services/${env:S}'", &[]),
            ("url = 'https://HOOKS.slack.com/services/T0/${env:S}'", &[]),
            ("url = 'https://a.workflows.okta.com/api/flo/f/invoke?x=1&clientToken=abc&sig='", &["abc"]),
            ("url = 'https://a.example/?token=${env:T}&key={{data.id}}&monkey=1'", &[]),
            ("url = '${env:U}'", &[]),
            ("url = 'https://ana:pass@a.example/x@y'", &["ana:pass"]),
            ("url = 'https//:hooks.slack.com/services/T0'", &["T0"]),
            ("headers.x-api-key = 4711", &["4711"]),
            ("auth = 'a'", &["'a'"]),
            ("auth.bearer = 'a'", &["'a'"]),
            ("auth.token = 'Bearer a'\nauth.beaerr.token = ['b']", &["'Bearer a'", "['b']"]),
            ("auth.api_key = { header = 'x-k', vale = 'v' }\nauth.bearer.tokn = '${env:T}'", &["'v'"]),
            ("headers.x-token-type = 'Bearer'\nheaders.x-api-key-id = '7'\nheaders.x-password-policy = 'strict'", &[]),
            ("headers.Cookie = 'session=abc'\nheaders.x-functions-key = 'k'", &["'session=abc'", "'k'"]),
            ("url = 'https://hooks.zapier.com/hooks/catch/1/abc/'", &["1/abc/"]),
            (
                "headers.authorization = 'Bearer {{data.id}}'\nheaders.x-token = 'Bearer abc {{bad'",
                &["'Bearer abc {{bad'"],
            ),
            ("url = 'https://hooks.slack.com/services/T0/B0/X0{{bad'", &["T0/B0/X0{{bad"]),
            ("url = 'https://hooks.slack.com/services/{{data.id}}'", &[]),
            ("url = 'https://a.example/?token=abc{{bad'", &["abc{{bad"]),
        ];
        for (text, expected) in cases {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
