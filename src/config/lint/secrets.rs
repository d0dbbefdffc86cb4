//! `plain-secret`: a secret that is typed in clear, where git and everybody who reads it has it.

use std::ops::Range;

use toml::de::DeValue;

use crate::config::document::{At, Document, Report, Text};
use crate::config::load::SIDECAR_FILE;
use crate::config::reference::{WEBHOOK, names};
use crate::config::references::{Piece, pieces};
use crate::config::table::{Entry, Node, Table, as_text};
use crate::diagnostic::{Lint, nearest};

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
pub(in crate::config) const SCHEMES: [&str; 5] = ["bearer", "basic", "splunk", "token", "geniekey"];

/// Values of such headers that are no secrets, though they are typed.
const NO_SECRETS: [&str; 8] = ["no-check", "nocheck", "fetch", "required", "true", "false", "none", "1"];

/// The names of query parameters whose values are secrets, in lower case.
pub(in crate::config) const SECRET_PARAMETERS: [&str; 13] = [
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
pub(in crate::config) const SECRET_URLS: [&str; 7] = [
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

/// Keys of credentials that are none themselves.
const PUBLIC_FIELDS: [&str; 16] = [
    "username",
    "header",
    "token_url",
    "client_id",
    "client_auth",
    "private_key_file",
    "scopes",
    "audience",
    "assertion_audience",
    "key_id",
    "ca_file",
    "public_roots",
    "client_cert_file",
    "client_key_file",
    "server_name",
    "min_version",
];

/// How a key begins that is pasted where its file belongs.
pub const PASTED_KEY: &str = "-----BEGIN";

/// Tables of a webhook's file that hold secrets.
const SECRET_TABLES: [&str; 4] = ["auth", "headers", "signing", "tls"];

/// What a line speaks of that may hold a secret, beside the names of headers and parameters.
const SECRET_WORDS: [&str; 3] = ["auth", "value", "signing"];

/// Reports what is typed in a file, and gives back where. Of one that is no TOML (not `whole`) the table lacks a part, so its lines
/// are asked as well.
pub(super) fn typed(report: &mut Report, document: &Document, root: &Table<'_>, whole: bool) -> Vec<Range<usize>> {
    let mut secrets = Secrets { report, found: Vec::new() };
    if document.name == SIDECAR_FILE {
        secrets.sidecar(root);
    } else {
        secrets.webhook(root);
    }
    if !whole {
        secrets.lines(&document.text);
    }
    secrets.found
}

/// Whether a text is the seed of an `NKey`: base 32 of a prefix, 32 bytes and a checksum.
pub(in crate::config) fn is_seed(text: &str) -> bool {
    let base_32 = |byte: u8| byte.is_ascii_uppercase() || (b'2'..=b'7').contains(&byte);
    text.len() == 58 && text.starts_with('S') && text.bytes().all(base_32)
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

/// Whether there are words in a text beyond the scheme of a credential.
#[must_use]
pub fn says_more_than_scheme(text: &str) -> bool {
    let mut words = text.split(|character: char| !character.is_alphanumeric()).filter(|word| !word.is_empty());
    words.any(|word| !SCHEMES.contains(&&*word.to_lowercase()))
}

/// Whether a key of credentials is none itself.
pub(in crate::config) fn is_public_field(name: &str) -> bool {
    PUBLIC_FIELDS.contains(&name)
}

/// A table under a table, however large. What has another shape is a fault, which has been reported.
fn quiet<'t>(table: &Table<'t>, key: &str) -> Option<Table<'t>> {
    let entry = table.get(key)?;
    let DeValue::Table(below) = entry.node.value else { return None };
    Some(Table::new(entry.node.at.document, table.name(key), entry.node.at, below))
}

fn text<'t>(table: &Table<'t>, key: &str) -> Option<Text<'t>> {
    table.text(&mut Report::default(), key)
}

struct Secrets<'r> {
    report: &'r mut Report,
    found: Vec<Range<usize>>,
}

impl Secrets<'_> {
    fn sidecar(&mut self, root: &Table<'_>) {
        if let Some(tls) = quiet(root, "defaults").as_ref().and_then(|defaults| defaults.get("tls")) {
            self.below(tls);
        }
        for name in ["ingest", "admin"] {
            let Some(table) = quiet(root, name) else { continue };
            self.field(&table, table.get("token"));
            for entry in table.entries.iter().filter(|entry| nearest(entry.name, ["token"]).is_some()) {
                self.below(entry);
            }
        }
        if let Some(traces) = quiet(root, "traces") {
            for entry in &traces.entries {
                // A password in a URL, and a header that is no table.
                self.credentials(entry.node);
                if entry.name == "headers" && !matches!(entry.node.value, DeValue::Table(_)) {
                    self.below(entry);
                }
            }
            if let Some(headers) = quiet(&traces, "headers") {
                for entry in headers.entries.iter().filter(|entry| is_secret_header(entry.name)) {
                    self.field(&headers, Some(entry));
                }
            }
        }
        let Some(spool) = quiet(root, "spool") else { return };
        self.field(&spool, spool.get("password"));
        for entry in spool.entries.iter().filter(|entry| nearest(entry.name, ["password"]).is_some()) {
            self.below(entry);
        }
        // A seed where something else belongs, and a password in a URL, whatever their key is called.
        for entry in &spool.entries {
            self.credentials(entry.node);
        }
    }

    fn credentials(&mut self, node: Node<'_>) {
        match node.value {
            DeValue::Array(items) => {
                for item in items {
                    self.credentials(Node { value: item.get_ref(), at: At::new(node.at.document, item.span()) });
                }
            }
            DeValue::String(text) if is_seed(text.trim()) || text.contains("://") && text.contains('@') => {
                self.hide(node.at);
            }
            _ => {}
        }
    }

    fn webhook(&mut self, root: &Table<'_>) {
        if let Some(url) = text(root, "url") {
            self.url(&url);
        }
        if let Some(oauth2) = quiet(root, "auth").and_then(|auth| quiet(&auth, "oauth2")) {
            if let Some(url) = text(&oauth2, "token_url") {
                self.url(&url);
            }
            if let Some(parameters) = quiet(&oauth2, "parameters") {
                for entry in parameters.entries.iter().filter(|entry| is_secret_header(entry.name)) {
                    self.field(&parameters, Some(entry));
                }
            }
        }
        if let Some(auth) = quiet(root, "auth") {
            for (way, key) in SECRET_FIELDS {
                if let Some(table) = quiet(&auth, way) {
                    self.field(&table, table.get(key));
                }
            }
        }
        if let Some(standard) = quiet(root, "signing").and_then(|signing| quiet(&signing, "standard_webhooks")) {
            let items = standard.list(&mut Report::default(), "secrets").unwrap_or_default();
            for text in items.into_iter().filter_map(as_text).filter(|text| is_typed(text.value)) {
                self.found(text.at, "a secret that requests are signed with");
            }
        }
        if let Some(headers) = quiet(root, "headers") {
            for entry in &headers.entries {
                if is_secret_header(entry.name) {
                    self.field(&headers, Some(entry));
                }
            }
        }
        let known = names(WEBHOOK, "");
        // What is misspelt or has another shape is a fault; its line may hold a secret all the same.
        for entry in &root.entries {
            let misspelt = || !known.contains(&entry.name) && nearest(entry.name, SECRET_TABLES).is_some();
            let bare = entry.name == "headers" && !matches!(entry.node.value, DeValue::Table(_));
            let credentials = entry.name != "headers" && SECRET_TABLES.contains(&entry.name);
            let url =
                || entry.name != "url" && as_text(entry.node).is_some_and(|text| secret_url(text.value).is_some());
            if credentials || bare || misspelt() || url() {
                self.below(entry);
            }
        }
    }

    /// Hides every value at and below a key but references and what is public.
    fn below(&mut self, entry: &Entry<'_>) {
        self.value(entry.name, entry.node);
    }

    fn value(&mut self, name: &str, node: Node<'_>) {
        let document = node.at.document;
        match node.value {
            DeValue::Table(table) => {
                for entry in Table::new(document, String::new(), node.at, table).entries {
                    self.below(&entry);
                }
            }
            DeValue::Array(items) => {
                for item in items {
                    self.value(name, Node { value: item.get_ref(), at: At::new(document, item.span()) });
                }
            }
            DeValue::String(text) if text.contains(PASTED_KEY) => self.hide(node.at),
            _ if PUBLIC_FIELDS.contains(&name) => {}
            DeValue::String(text) if !text.is_empty() && !is_typed(text) && !has_typed_part(text) => {}
            _ => self.hide(node.at),
        }
    }

    /// Hides what stands behind the key of every line that speaks of secrets.
    fn lines(&mut self, text: &str) {
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            let lower = line.to_lowercase();
            let words = SECRET_HEADERS.iter().chain(&SECRET_PARAMETERS).chain(&SECRET_URLS).chain(&SECRET_WORDS);
            let key = line.trim_start();
            if !key.starts_with(['[', '#']) && words.into_iter().any(|word| lower.contains(word)) {
                let indent = line.len() - key.len();
                let key = line.find('=').or_else(|| Some(indent + key.find(char::is_whitespace)?));
                let value = key.and_then(|key| line.get(key + 1..)).unwrap_or_default().trim();
                let from = start + line.rfind(value).unwrap_or_default();
                self.found.push(from..from + value.len());
            }
            start += line.len();
        }
    }

    fn found(&mut self, at: At<'_>, what: &str) {
        let problem = format!("{what} is typed in clear");
        let fix = "write ${env:NAME} or ${file:PATH} instead, and replace the secret: whoever has read the file has it";
        self.report.warning(Lint::PlainSecret, at, problem, fix);
        self.hide(at);
    }

    /// What is not shown, and is a fault already.
    fn hide(&mut self, at: At<'_>) {
        self.found.push(at.start..at.end);
    }

    /// A key whose value is a secret.
    fn field(&mut self, table: &Table<'_>, entry: Option<&Entry<'_>>) {
        let Some(entry) = entry else { return };
        let Some(value) = as_text(entry.node) else {
            // A number without its quotes may be a credential all the same.
            return self.hide(entry.node.at);
        };
        if is_typed(value.value) && may_be_secret(value.value) {
            self.found(value.at, &format!("the secret `{}`", table.name(entry.name)));
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
        if let Some(start) = secret_url(url.value) {
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

/// Where the secret of a URL begins that is one as a whole.
fn secret_url(url: &str) -> Option<usize> {
    let lower = url.to_ascii_lowercase();
    SECRET_URLS.iter().filter_map(|part| lower.find(part).map(|at| at + part.len())).min()
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
    says_more_than_scheme(&rest)
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
        let (table, faults) = DeTable::parse_recoverable(&document.text);
        let root = Table::new(&document, String::new(), At::new(&document, 0..0), table.get_ref());
        let mut report = Report::default();
        let mut found: Vec<_> = typed(&mut report, &document, &root, faults.is_empty());
        found.sort_by_key(|at| at.start);
        found.dedup();
        let found = found.into_iter().map(|at| text[at].to_owned()).collect();
        assert!(report.diagnostics.iter().all(|one| one.lint == Some(Lint::PlainSecret)));
        found
    }

    #[test]
    fn what_is_typed_is_found_and_what_is_referred_to_is_not() {
        let cases: &[(&str, &[&str])] = &[
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
            ("auth.token = 'Bearer a'\nauth.beaerr.token = ['b']", &["'Bearer a'", "'b'"]),
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
            ("signing.standard_webhooks.secrets = ['whsec_a', '${env:S}']", &["'whsec_a'"]),
            ("signing.standard_webhooks.secrets = ['${env:S}']", &[]),
            ("auth.oauth2 = { client_id = 'us', client_secret = 's', private_key_file = 'k.pem' }", &["'s'"]),
            (
                "auth.oauth2 = { token_url = 'https://a.example/?token=abc', parameters = { x_password = 'p', resource = 'r' } }",
                &["abc", "'p'", "'r'"],
            ),
            ("auth.oauth2.private_key_file = '-----BEGIN PRIVATE KEY-----'", &["'-----BEGIN PRIVATE KEY-----'"]),
            ("tls = { ca_file = 'ca.pem', client_key_file = 'k.pem', min_version = '1.3' }", &[]),
            ("auth.bearer = 'abc'", &["'abc'"]),
            ("auth = { berer = { token = 'abc' }, bearer.tokn = '${env:T}' }", &["'abc'"]),
            ("auht.basic = { username = 'ana', pasword = 'p' }\nsigning.x = [1]\ntls.server_name = 'a'", &["'p'", "1"]),
            (
                "headers = 'authorization: abc'\nulr = 'https://hooks.slack.com/services/T0'",
                &["'authorization: abc'", "'https://hooks.slack.com/services/T0'"],
            ),
            ("auth.bearer.token 'abc'\ntitle = 'x'", &["'abc'"]),
            ("[auth.basic]\npassword = 'a'\npassword = 'b'", &["'a'", "'b'"]),
        ];
        for (text, expected) in cases {
            assert_eq!(found(text), *expected, "{text}");
        }
    }
}
