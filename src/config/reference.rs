//! Every key of every file in one list: unknown keys, the nearest known key, overrides and the README come from it.

use std::ops::RangeInclusive;

use super::tests::ANSWERED_NAMES;
use crate::diagnostic::Lint;

/// What a key's value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A text, taken as it is.
    Text,
    /// One of these words.
    Words(&'static [&'static str]),
    /// A duration such as `"30s"`, or a number of seconds.
    Duration,
    /// A size such as `"64KiB"`, or a number of bytes.
    Size,
    /// How many a second, minute or hour: `"10/s"`.
    Rate,
    /// `true` or `false`.
    Truth,
    /// A whole number within bounds.
    Whole(&'static RangeInclusive<u64>),
    /// Any number.
    Number,
    /// A list of whole numbers within bounds.
    Wholes(&'static RangeInclusive<u64>),
    /// A list of texts.
    Texts,
    /// A list of some of these words.
    ManyWords(&'static [&'static str]),
    /// A list of texts, numbers and truth values.
    Values,
    /// A table of texts by names that people choose.
    TextTable,
    /// A text, or a table.
    TextOrTable,
    /// Any value.
    Any,
}

/// One key of a file.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// The table it stands in, `""` for the file itself; `*` stands for any name.
    pub table: &'static str,
    /// Its name.
    pub key: &'static str,
    /// What its value is.
    pub shape: Shape,
    /// What it is where nothing is said, as it would be written; empty where there is no default.
    pub default: &'static str,
    /// One sentence.
    pub about: &'static str,
    /// Whether its table is at fault without it.
    pub required: bool,
}

impl Key {
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }
}

const fn key(table: &'static str, key: &'static str, shape: Shape, default: &'static str, about: &'static str) -> Key {
    Key { table, key, shape, default, about, required: false }
}

use Shape::{
    Any, Duration, ManyWords, Number, Rate, Size, Text, TextOrTable, TextTable, Texts, Truth, Values, Whole, Wholes,
    Words,
};

/// Bounds of `max_attempts`.
pub(super) const MAX_ATTEMPTS: RangeInclusive<u64> = 1..=10_000;
/// Bounds of `concurrency`.
pub(super) const CONCURRENCY: RangeInclusive<u64> = 1..=1_000;
/// Bounds of `burst`.
pub(super) const BURST: RangeInclusive<u64> = 1..=10_000;
/// Bounds of `breaker.failures`.
pub(super) const FAILURES: RangeInclusive<u64> = 1..=10_000;
/// Bounds of `history.per_webhook`.
pub(super) const HISTORY: RangeInclusive<u64> = 0..=100_000;
/// Bounds of `spool.replicas`, which are those of `JetStream`.
pub(super) const REPLICAS: RangeInclusive<u64> = 1..=5;
/// Bounds of `retry.statuses`: a 2xx is success and is left to validators.
pub(super) const STATUSES: RangeInclusive<u64> = 300..=599;
/// Bounds of `tests.response.status`: what is below is no answer.
pub(super) const TEST_STATUSES: RangeInclusive<u64> = 200..=599;
/// Bounds of a port.
pub(super) const PORTS: RangeInclusive<u64> = 1..=65_535;

/// Bounds of a user id; the one above means none (setuid(2)).
pub(super) const UIDS: RangeInclusive<u64> = 0..=4_294_967_294;

/// The keys of `outrigger.toml`.
pub const SIDECAR: &[Key] = &[
    key("ingest", "listen", Text, "\"127.0.0.1:8460\"", "Where events are taken in: `ADDRESS:PORT` or `unix:PATH`."),
    key(
        "ingest",
        "socket_mode",
        Text,
        "\"0660\"",
        "The mode of its `unix:` socket, in octal digits; who may not write to the socket may not connect.",
    ),
    key(
        "ingest",
        "allow_uids",
        Wholes(&UIDS),
        "[]",
        "The user ids that may connect to its `unix:` socket, and no others; `[]` means the sidecar's own and root.",
    ),
    key("ingest", "token", Text, "", "The bearer token that senders must show; required beyond loopback."),
    key(
        "ingest",
        "max_body",
        Size,
        "\"1MiB\"",
        "The largest request body; `\"960KiB\"` where nothing is said and the spool is in NATS, whose messages have at most 1 MiB.",
    ),
    key(
        "ingest",
        "idempotency_window",
        Duration,
        "\"24h\"",
        "How long a repeated `Idempotency-Key` is recognised; `0` is not at all.",
    ),
    key(
        "admin",
        "listen",
        Text,
        "\"127.0.0.1:8461\"",
        "Where people and scripts operate the sidecar: `ADDRESS:PORT` or `unix:PATH`.",
    ),
    key(
        "admin",
        "socket_mode",
        Text,
        "\"0660\"",
        "The mode of its `unix:` socket, in octal digits; who may not write to the socket may not connect.",
    ),
    key(
        "admin",
        "allow_uids",
        Wholes(&UIDS),
        "[]",
        "The user ids that may connect to its `unix:` socket, and no others; `[]` means the sidecar's own and root.",
    ),
    key("admin", "token", Text, "", "The bearer token of the admin listener; required beyond loopback."),
    key("metrics", "listen", Text, "\"0.0.0.0:9460\"", "Where Prometheus scrapes; read-only and without secrets."),
    key(
        "metrics",
        "per_webhook",
        Truth,
        "true",
        "`false`: all webhooks have one set of series, with `all` as their name.",
    ),
    key(
        "spool",
        "kind",
        Words(&["disk", "nats"]),
        "\"disk\"",
        "Where accepted events wait: on the `disk`, or in `nats` (JetStream), which outlives the pod and is shared by replicas.",
    ),
    key(
        "spool",
        "path",
        Text,
        "\"/var/lib/outrigger\"",
        "The disk spool's directory; its volume is what a 202 relies on.",
    ),
    key("spool", "max_bytes", Size, "\"1GiB\"", "The spool's limit; beyond it ingest answers 503."),
    key(
        "spool",
        "dead_letter_retention",
        Duration,
        "\"30d\"",
        "How long dead letters are kept, and failed invocations at most.",
    ),
    key(
        "spool",
        "servers",
        Texts,
        "",
        "The NATS servers, 2.12 or later with JetStream: `nats://HOST:4222`, or `tls://HOST:4222`, one of which asks for TLS from all; required with `nats`.",
    ),
    key(
        "spool",
        "stream",
        Text,
        "\"outrigger\"",
        "The name of the NATS stream, and the first part of its subjects; replicas that share the work have the same.",
    ),
    key(
        "spool",
        "replicas",
        Whole(&REPLICAS),
        "3",
        "On how many NATS servers it is kept; with 1 what it holds is lost with that server.",
    ),
    key("spool", "domain", Text, "", "The JetStream domain, where there is one."),
    key("spool", "credentials_file", Text, "", "A NATS credentials file: the user's JWT and seed."),
    key("spool", "nkey_file", Text, "", "A file that holds the seed of an NKey."),
    key("spool", "user", Text, "", "The user's name on the NATS servers."),
    key("spool", "password", Text, "", "The user's password."),
    key(
        "spool",
        "ca_file",
        Text,
        "",
        "Certificates that the NATS servers' are trusted by, beside the public ones; asks for TLS.",
    ),
    key(
        "spool",
        "client_cert_file",
        Text,
        "",
        "The client certificate for the NATS servers, with its chain behind it (PEM); asks for TLS.",
    ),
    key("spool", "client_key_file", Text, "", "The key of that certificate (PEM)."),
    key("egress", "allow_ports", Wholes(&PORTS), "[443]", "The ports that may be reached; 443 is always among them."),
    key(
        "egress",
        "allow_networks",
        Texts,
        "[]",
        "Networks that are not public and may be reached all the same, as CIDRs; a cloud's metadata address only by its own `/32` or `/128`.",
    ),
    key(
        "egress",
        "allowed_hosts",
        Texts,
        "[]",
        "Host names as `*` globs; when there are any, no other host may be reached.",
    ),
    key("egress", "ca_file", Text, "", "A PEM file of certificates that are trusted beside the public roots."),
    key("defaults", "timeout", Duration, "\"30s\"", "From a connection's start to the response's end."),
    key("defaults", "body_max", Size, "\"1MiB\"", "The largest rendered body."),
    key("defaults.retry", "max_age", Duration, "\"24h\"", "From an event's arrival to giving its delivery up."),
    key(
        "defaults.retry",
        "max_attempts",
        Whole(&MAX_ATTEMPTS),
        "",
        "Attempts in all, without probes; without it `max_age` is the only limit.",
    ),
    key("defaults.retry", "initial", Duration, "\"1s\"", "The upper bound of the first wait; each next one doubles."),
    key("defaults.retry", "max_interval", Duration, "\"10m\"", "The upper bound of every wait, also for probes."),
    key("defaults.retry.statuses", "retry", Wholes(&STATUSES), "[]", "Statuses that are always retried."),
    key("defaults.retry.statuses", "dead_letter", Wholes(&STATUSES), "[]", "Statuses that are never retried."),
    key("defaults.limits", "concurrency", Whole(&CONCURRENCY), "8", "Attempts of one webhook at the same time."),
    key("defaults.limits", "response", Size, "\"64KiB\"", "How much of a response is read."),
    key(
        "defaults.limits",
        "rate",
        Rate,
        "",
        "How many attempts of one webhook may begin a second, minute or hour: `10/s`.",
    ),
    key(
        "defaults.limits",
        "burst",
        Whole(&BURST),
        "",
        "How many may begin at once after a quiet time; without it as many as 20 ms of the rate are, and at least 1.",
    ),
    key("defaults.breaker", "failures", Whole(&FAILURES), "10", "Failures in a row after which a webhook pauses."),
    key(
        "defaults.breaker",
        "probe",
        Duration,
        "\"30s\"",
        "Before the first probe of a paused webhook; each next wait doubles, up to `max_interval`.",
    ),
    key(
        "defaults.tls",
        "ca_file",
        Text,
        "",
        "A PEM file: certificates trusted beside `egress.ca_file`, by webhooks that name none.",
    ),
    key("defaults.tls", "public_roots", Truth, "true", "`false`: trust `ca_file` and `egress.ca_file` alone."),
    key(
        "defaults.tls",
        "client_cert_file",
        Text,
        "",
        "A PEM file: the certificate that says who we are to receivers that ask, and its chain.",
    ),
    key("defaults.tls", "client_key_file", Text, "", "A PEM file: its private key."),
    key("defaults.tls", "min_version", Words(&["1.2", "1.3"]), "\"1.2\"", "The lowest version of TLS that is spoken."),
    key(
        "config",
        "on_invalid_webhook",
        Words(&["refuse", "quarantine"]),
        "\"refuse\"",
        "What a start does with a faulty webhook: `refuse` to start, or `quarantine` it and run the others.",
    ),
    key(
        "config",
        "poll",
        Duration,
        "\"10s\"",
        "How often the file system is asked for changes of these files that no event told of: ten times a second at most; `0` is never.",
    ),
    key(
        "config",
        "removal_grace",
        Duration,
        "\"10m\"",
        "Before a removed webhook's pending deliveries become dead letters.",
    ),
    key("config", "allow", ManyWords(&Lint::NAMES), "[]", "Lints of `check` that no file is warned about."),
    key(
        "history",
        "per_webhook",
        Whole(&HISTORY),
        "100",
        "How many invocations of each webhook are kept; `0` is none.",
    ),
    key(
        "history",
        "max_bytes",
        Size,
        "\"8MiB\"",
        "What all invocations may take of memory, events and responses included; webhooks share it evenly.",
    ),
    key("shutdown", "grace", Duration, "\"25s\"", "How long attempts in flight may take to end."),
    key("shutdown", "delay", Duration, "\"0s\"", "How long ingest goes on after the signal."),
    key("log", "format", Words(&["json", "text"]), "\"json\"", "`json` or `text`."),
    key(
        "log",
        "level",
        Words(&["error", "warn", "info", "debug", "trace"]),
        "\"info\"",
        "`error`, `warn`, `info`, `debug` or `trace`; an edit counts at once.",
    ),
    key(
        "traces",
        "endpoint",
        Text,
        "",
        "The collector: `http://HOST:4318`; spans are posted to `/v1/traces` there. Takes a restart.",
    ),
    key("traces", "headers", TextTable, "", "Headers for it, each with its value, which may be a reference."),
    key(
        "traces",
        "sample_ratio",
        Number,
        "1.0",
        "Of the traces that begin here, how many are recorded, from 0 to 1; others go by their flag.",
    ),
    key("traces", "service_name", Text, "\"outrigger\"", "Who the spans are from."),
    key("kinds.*", "type", Text, "", "JSONPath of the event type.").required(),
    key("kinds.*", "id", Text, "", "JSONPath of the id of what the event is about."),
    key("kinds.*", "time", Text, "", "JSONPath of the event's time."),
    key("kinds.*", "types", Texts, "[]", "The closed list of event types; without it any type is possible."),
    key("kinds.*", "fields", TextTable, "", "Named filter fields, each with its JSONPath."),
    key(
        "kinds.*",
        "sample",
        TextOrTable,
        "",
        "A sample event: a JSON file beside `outrigger.toml`, or an inline table.",
    ),
];

/// The keys of `webhooks/NAME.toml`.
pub const WEBHOOK: &[Key] = &[
    key("", "title", Text, "", "For people; the name is the file's stem."),
    key(
        "",
        "status",
        Words(&["active", "inactive", "shadow"]),
        "\"active\"",
        "`active`, `inactive` (takes nothing new), or `shadow` (matched, rendered, never sent).",
    ),
    key("", "kind", Text, "\"request\"", "The kind of its events."),
    key("", "triggers", Texts, "", "The event types that start it; without it every type of the kind."),
    key(
        "",
        "method",
        Words(&["POST", "PUT", "DELETE", "PATCH", "GET"]),
        "\"POST\"",
        "`POST`, `PUT`, `DELETE`, `PATCH` or `GET`.",
    ),
    key("", "url", Text, "", "The target: https, with templates only behind the host; references may stand anywhere, or be all of it.").required(),
    key("", "timeout", Duration, "`defaults.timeout`", "From a connection's start to the response's end."),
    key(
        "",
        "ordering",
        Words(&["per-request", "strict", "none"]),
        "\"per-request\" for kind `request`, else \"none\"",
        "`per-request` (by the kind's id), `strict` (one at a time), `none`, or a table with a `key`.",
    ),
    key("", "content_type", Text, "\"application/json\"", "Also `text/*` and `application/x-www-form-urlencoded`."),
    key(
        "",
        "format",
        Words(&["cloudevents"]),
        "",
        "`cloudevents`: the body goes out as the data of a CloudEvent; without it as it is.",
    ),
    key("", "strict", Truth, "false", "`true`: a field that the event lacks is a `template_error`."),
    key("", "body", Text, "", "The body's template; without it the event itself, and nothing for GET and DELETE."),
    key("", "body_file", Text, "", "A file beside this one that holds the body's template."),
    key("", "headers", TextTable, "", "Header names, each with its template."),
    key("", "allow", ManyWords(&Lint::NAMES), "[]", "Lints of `check` that this file is not warned about."),
    key("ordering", "key", Text, "", "JSONPath into the event: deliveries with the same value there go out in order.")
        .required(),
    key("ordering", "max_wait", Duration, "\"5m\"", "How long a delivery may fail before the next one goes out."),
    key(
        "cloudevents",
        "mode",
        Words(&["structured", "binary"]),
        "\"structured\"",
        "`structured`: attributes and data in one JSON body; `binary`: attributes in headers, the data as the body.",
    ),
    key("cloudevents", "source", Text, "the event's own, or `/outrigger/KIND`", "The template of the attribute `source`."),
    key("cloudevents", "type", Text, "the event's own, or its event type", "The template of the attribute `type`."),
    key("cloudevents", "subject", Text, "the event's own, or the kind's id", "The template of the attribute `subject`."),
    key(
        "cloudevents",
        "origin",
        Text,
        "",
        "The DNS name of the sending system: the target is asked by `OPTIONS` for its consent before the first delivery.",
    ),
    key("auth.bearer", "token", Text, "", "Sent as `Authorization: Bearer TOKEN`.").required(),
    key("auth.basic", "username", Text, "", "The user name of `Authorization: Basic`.").required(),
    key("auth.basic", "password", Text, "", "The password of `Authorization: Basic`.").required(),
    key("auth.api_key", "header", Text, "", "The header that carries the key.").required(),
    key("auth.api_key", "value", Text, "", "The key.").required(),
    key(
        "auth.oauth2",
        "token_url",
        Text,
        "",
        "The token endpoint of the authorization server, asked for client credentials (RFC 6749); https, under the same `[egress]`.",
    )
    .required(),
    key("auth.oauth2", "client_id", Text, "", "Who asks.").required(),
    key("auth.oauth2", "client_secret", Text, "", "Proves who asks; or `private_key_file` does."),
    key(
        "auth.oauth2",
        "client_auth",
        Words(&["basic", "post"]),
        "\"basic\"",
        "Where the secret goes: into the `Authorization` header, or with `post` into the form.",
    ),
    key(
        "auth.oauth2",
        "private_key_file",
        Text,
        "",
        "A PEM file, from the configuration folder: the key that signs an assertion of who asks (`private_key_jwt`; RSA for RS256, P-256 for ES256).",
    ),
    key("auth.oauth2", "key_id", Text, "", "The key's name at the server, `kid` of the assertion."),
    key("auth.oauth2", "assertion_audience", Text, "the token endpoint", "`aud` of the assertion."),
    key("auth.oauth2", "scopes", Texts, "[]", "What the token is to be good for."),
    key("auth.oauth2", "audience", Text, "", "Whom the token is for, where the server asks for the parameter `audience`."),
    key("auth.oauth2", "parameters", TextTable, "", "Further parameters of the request for a token."),
    key("filters", "field", Text, "", "A named field of the kind."),
    key("filters", "path", Text, "", "A JSONPath into the event; instead of `field`."),
    key("filters", "any_of", Texts, "", "Globs: one value matches one of them."),
    key("filters", "none_of", Texts, "", "Globs: no value matches any of them."),
    key("filters", "every_of", Texts, "", "Globs: every value matches one of them, and there is one."),
    key("filters", "matches", Text, "", "A regular expression that one value matches, unanchored."),
    key("filters", "exists", Truth, "", "`true`: there is a value that is not null; `false`: there is none."),
    key("filters", "min", Number, "", "One value is a number of at least this."),
    key("filters", "max", Number, "", "One value is a number of at most this."),
    key("response_validators", "name", Text, "the path", "Its label in metrics."),
    key("response_validators", "path", Text, "", "JSONPath into `{\"status\", \"headers\", \"data\"}`.").required(),
    key("response_validators", "expected", Values, "", "Some value at the path is one of these."),
    key("response_validators", "rejected", Values, "", "No value at the path is one of these; instead of `expected`."),
    key(
        "response_validators",
        "on_failure",
        Words(&["dead_letter", "retry"]),
        "\"dead_letter\"",
        "`dead_letter` or `retry`.",
    ),
    key("retry", "max_age", Duration, "`defaults.retry`", "From an event's arrival to giving its delivery up."),
    key("retry", "max_attempts", Whole(&MAX_ATTEMPTS), "`defaults.retry`", "Attempts in all, without probes."),
    key("retry", "initial", Duration, "`defaults.retry`", "The upper bound of the first wait; each next one doubles."),
    key("retry", "max_interval", Duration, "`defaults.retry`", "The upper bound of every wait, also for probes."),
    key("retry.statuses", "retry", Wholes(&STATUSES), "[]", "Statuses that are always retried."),
    key("retry.statuses", "dead_letter", Wholes(&STATUSES), "[]", "Statuses that are never retried."),
    key("limits", "concurrency", Whole(&CONCURRENCY), "`defaults.limits`", "Attempts at the same time."),
    key("limits", "response", Size, "`defaults.limits`", "How much of a response is read."),
    key("limits", "rate", Rate, "`defaults.limits`", "How many attempts may begin a second, minute or hour: `10/s`."),
    key(
        "limits",
        "burst",
        Whole(&BURST),
        "`defaults.limits`, without a `rate` here",
        "How many may begin at once after a quiet time.",
    ),
    key(
        "breaker",
        "failures",
        Whole(&FAILURES),
        "`defaults.breaker`",
        "Failures in a row after which the webhook pauses.",
    ),
    key(
        "breaker",
        "probe",
        Duration,
        "`defaults.breaker`",
        "Before the first probe of a pause; each next wait doubles, up to `max_interval`.",
    ),
    key(
        "signing.standard_webhooks",
        "secrets",
        Texts,
        "",
        "`whsec_…` secrets, one signature each (Standard Webhooks `v1`): the new one and the old one while receivers change.",
    )
    .required(),
    key("tls", "ca_file", Text, "`defaults.tls`", "A PEM file, from the configuration folder: certificates trusted beside others."),
    key("tls", "public_roots", Truth, "`defaults.tls`", "`false`: trust `ca_file` and `egress.ca_file` alone."),
    key("tls", "client_cert_file", Text, "`defaults.tls`", "A PEM file: the certificate that says who we are, and its chain."),
    key("tls", "client_key_file", Text, "`defaults.tls`", "A PEM file: its private key."),
    key("tls", "server_name", Text, "the URL's host", "The name that is asked for, and expected in the receiver's certificate."),
    key("tls", "min_version", Words(&["1.2", "1.3"]), "`defaults.tls`", "The lowest version of TLS that is spoken."),
    key("tests", "name", Text, "", "What the test shows.").required(),
    key(
        "tests",
        "event",
        TextOrTable,
        "",
        "A JSON file, as a path from the configuration folder, an inline table, JSON in a text, or `{ sample = \"NAME\" }`.",
    )
    .required(),
    key(
        "tests.response",
        "status",
        Whole(&TEST_STATUSES),
        "200",
        "The status of the answer that the request gets, 200 to 599.",
    ),
    key("tests.response", "headers", TextTable, "", "Its headers, such as `Retry-After`."),
    key("tests.response", "body", Any, "", "Its body: a text as it is, anything else as its JSON."),
    key("tests.expect", "delivered", Truth, "true", "Whether the webhook wants the event."),
    key(
        "tests.expect",
        "body",
        Any,
        "",
        "The body; of a table, or of JSON in a text, objects may have more members.",
    ),
    key("tests.expect", "url", Text, "", "The URL; a referenced value is written `***`, and a host that is referenced as it is or so."),
    key("tests.expect", "headers", TextTable, "", "Headers that must be there; a referenced value is written `***`."),
    key(
        "tests.expect",
        "outcome",
        Words(&["accepted", "failed"]),
        "",
        "What the `response` comes to: `accepted` or `failed`.",
    ),
    key("tests.expect", "reason", Words(&ANSWERED_NAMES), "", "The Reason of a failure, such as `validation_failed`."),
    key("tests.expect", "validators", Texts, "", "The names of the validators that fail, all of them."),
];

/// All files with their keys, in the order of the documentation.
#[must_use]
pub fn reference() -> Vec<(&'static str, &'static [Key])> {
    vec![("outrigger.toml", SIDECAR), ("webhooks/NAME.toml", WEBHOOK)]
}

/// Whether some key or table of the files has this name.
pub(super) fn has_name(name: &str) -> bool {
    let all = SIDECAR.iter().chain(WEBHOOK);
    all.into_iter().any(|key| key.key == name || key.table.split('.').any(|table| table == name))
}

/// The names that may stand in a table: its keys and its tables.
pub(super) fn names(keys: &[Key], table: &str) -> Vec<&'static str> {
    let mut names = Vec::new();
    for key in keys {
        let name = if key.table == table {
            Some(key.key)
        } else if table.is_empty() {
            key.table.split('.').next()
        } else {
            key.table
                .strip_prefix(table)
                .and_then(|rest| rest.strip_prefix('.'))
                .and_then(|rest| rest.split('.').next())
        };
        if let Some(name) = name
            && !names.contains(&name)
        {
            names.push(name);
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_listed_twice_and_each_has_its_sentence() {
        for (file, keys) in reference() {
            let mut seen = std::collections::BTreeSet::new();
            for key in keys {
                assert!(seen.insert((key.table, key.key)), "{file}: {}.{}", key.table, key.key);
                assert!(key.about.ends_with('.'), "{file}: {}.{}", key.table, key.key);
            }
        }
    }

    #[test]
    fn a_table_knows_its_keys_and_its_tables() {
        assert_eq!(names(SIDECAR, "defaults"), ["timeout", "body_max", "retry", "limits", "breaker", "tls"]);
        assert!(names(WEBHOOK, "").contains(&"response_validators"));
        assert_eq!(names(WEBHOOK, "auth"), ["bearer", "basic", "api_key", "oauth2"]);
    }
}
