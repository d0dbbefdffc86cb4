//! Every line that the log can have: its name, its fields and what it means. `docs/logs.md` and the JSON Schema of a line are made from
//! this table, and a test holds it against the source.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A kind of line.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The stable name, which is the line's `message`.
    pub name: &'static str,
    /// The levels that it can have, the most severe first.
    pub levels: &'static [&'static str],
    /// Its fields by their names; a `?` behind one says that it is there where there is something to say.
    pub fields: &'static [&'static str],
    /// What it means.
    pub about: &'static str,
    /// Whether repetitions are collapsed into one `log.repeated`.
    pub collapses: bool,
}

/// A field; it has one type and one meaning wherever it stands.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Its name.
    pub name: &'static str,
    /// Its type in JSON.
    pub of: &'static str,
    /// What it says.
    pub about: &'static str,
}

const ERROR: &[&str] = &["ERROR"];
const WARN: &[&str] = &["WARN"];
const INFO: &[&str] = &["INFO"];
const DEBUG: &[&str] = &["DEBUG"];

/// A line that says of something that happened: each is told.
const fn each(
    name: &'static str,
    levels: &'static [&'static str],
    fields: &'static [&'static str],
    about: &'static str,
) -> Entry {
    Entry { name, levels, fields, about, collapses: false }
}

/// A line that says of something that goes on.
const fn goes_on(
    name: &'static str,
    levels: &'static [&'static str],
    fields: &'static [&'static str],
    about: &'static str,
) -> Entry {
    Entry { name, levels, fields, about, collapses: true }
}

/// All lines, in the order of their names.
pub const EVENTS: &[Entry] = &[
    each("config.fault", ERROR, &["file", "detail"], "One fault of a configuration that is refused."),
    goes_on("config.look_ended", ERROR, &["note"], "Nothing looks for edits any more."),
    goes_on("config.look_slow", WARN, &["after_s", "note"], "A look at the files takes long."),
    each(
        "config.published",
        INFO,
        &["generation", "hash", "added", "changed", "removed", "warnings", "took_ms"],
        "Another configuration is in force.",
    ),
    each("config.quarantined", WARN, &["quarantined", "note"], "Webhooks with faulty files are left out of the start."),
    each(
        "config.refused",
        ERROR,
        &["faults", "unlisted", "generation"],
        "A configuration has faults: the one before stays in force.",
    ),
    each("config.restart_needed", WARN, &["settings", "note"], "An edit of these keys waits for a restart."),
    each("config.unwatched", ERROR, &["fault", "note"], "Edits are found by the poll alone."),
    each("config.warning", WARN, &["file", "detail"], "One warning of a look at the files."),
    each("config.watched", INFO, &["note"], "Files are watched again."),
    each(
        "consent.rate",
        WARN,
        &["webhook", "per_minute", "note"],
        "A target consents to fewer requests than `limits.rate` allows.",
    ),
    each("dead_letters.dropped", INFO, &["count"], "Somebody had dead letters forgotten."),
    each("dead_letters.expired", INFO, &["count", "note"], "The retention of dead letters was over."),
    each("dead_letters.replayed", INFO, &["count"], "Somebody made dead letters pending again."),
    goes_on("dead_letters.undropped", WARN, &["error", "note"], "Old dead letters stay for now."),
    each(
        "deliveries.expired",
        WARN,
        &["webhook", "count", "reason", "note"],
        "Deliveries that waited are dead letters: `retry.max_age` is over.",
    ),
    each(
        "deliveries.orphaned",
        WARN,
        &["webhook", "count", "reason", "note"],
        "Deliveries are dead letters: their webhook is gone.",
    ),
    goes_on(
        "deliveries.unburied",
        ERROR,
        &["webhook", "error", "note"],
        "Deliveries that should be dead letters stay pending for now.",
    ),
    each(
        "delivery.attempted",
        &["WARN", "INFO"],
        &[
            "event_id",
            "delivery_id",
            "webhook",
            "attempt",
            "outcome",
            "reason?",
            "detail?",
            "status?",
            "duration_ms",
            "retry_in_ms?",
            "held?",
            "dead?",
            "probe?",
            "validator?",
            "host",
            "trace_id?",
        ],
        "One attempt, accepted (`INFO`) or failed (`WARN`).",
    ),
    each(
        "delivery.buried",
        WARN,
        &["event_id", "delivery_id", "webhook", "attempts", "reason"],
        "A delivery is a dead letter without another attempt.",
    ),
    each("delivery.resent", INFO, &["invocation", "delivery_id?"], "Somebody had a delivery made once more."),
    each(
        "delivery.shadowed",
        &["WARN", "INFO"],
        &["event_id", "webhook", "method?", "host?", "body_bytes?", "missing?", "reason?", "detail?"],
        "What a webhook in shadow would have sent, or why it could not.",
    ),
    each("log.level_changed", INFO, &["from", "to", "by"], "The log has another level."),
    each(
        "log.repeated",
        &["ERROR", "WARN"],
        &["of", "count", "webhook?", "error?", "listener?"],
        "A line that was the same, and how often it was left out.",
    ),
    goes_on("server.accept_failed", WARN, &["listener", "error", "note"], "The system gives no connection."),
    each("server.connection_ended", DEBUG, &["error"], "A client went, or broke the protocol."),
    goes_on("server.crowded", WARN, &["listener", "connections", "note"], "A listener has all the connections it may."),
    each("server.listening", INFO, &["listener", "address"], "A listener is bound."),
    goes_on(
        "server.peer_refused",
        WARN,
        &["listener", "uid", "setting", "note"],
        "A user may not connect to a socket.",
    ),
    goes_on("server.peer_unknown", WARN, &["listener", "error", "note"], "Nobody can say who is behind a socket."),
    each("shutdown.asked", INFO, &[], "`POST /-/quit` came."),
    each("shutdown.begun", INFO, &["delay", "grace"], "No new events are taken after `delay`."),
    each("shutdown.ended", INFO, &[], "The last line of a whole end."),
    each("shutdown.undrained", WARN, &["note"], "Attempts took longer than `shutdown.grace`."),
    each("shutdown.unserved", WARN, &["note"], "Clients took longer than the end."),
    each("sidecar.panicked", ERROR, &["note"], "A fault of Outrigger."),
    each("sidecar.ready", INFO, &["version", "webhooks"], "All is started."),
    goes_on("spans.dropped", WARN, &["note"], "Spans come faster than the collector takes them."),
    each("spans.lost", WARN, &["count", "note"], "At the end: how many spans the collector did not get."),
    each("spans.off", ERROR, &["error", "note"], "A variable of OpenTelemetry or the authorities are at fault."),
    goes_on(
        "spans.unsent",
        WARN,
        &["count", "error", "note"],
        "The collector is away or refuses; these spans are dropped.",
    ),
    each("spool.awaited", WARN, &["error", "patience", "note"], "The start waits for NATS."),
    each("spool.away", &["WARN", "DEBUG"], &["error", "webhook?"], "NATS cannot be reached, or not written to."),
    each("spool.back", INFO, &[], "NATS is there again."),
    each(
        "spool.database_outlived",
        ERROR,
        &["count", "note"],
        "The database is older than the journal beside it: what was written between is lost; how many events the journal holds.",
    ),
    each("spool.event_lost", ERROR, &["webhook", "seq", "note"], "Damage of the disk took an event from its delivery."),
    goes_on(
        "spool.journal_unwritten",
        WARN,
        &["error", "note"],
        "Events go to the database at once, which costs more.",
    ),
    goes_on("spool.keys_undropped", WARN, &["error", "note"], "Old idempotency keys stay for now."),
    goes_on("spool.keys_unread", WARN, &["error", "note"], "The disk gives no idempotency keys."),
    goes_on("spool.log_unwritten", WARN, &["error", "note"], "A full spool makes no room in its log."),
    goes_on(
        "spool.message_unread",
        ERROR,
        &["subject", "seq", "note"],
        "Others write into the stream, or it is damaged.",
    ),
    goes_on("spool.oldest_unread", WARN, &["error", "note"], "The age of a backlog is unknown for now."),
    each(
        "spool.opened",
        INFO,
        &["stream?", "pending", "dead_letters", "dead_letters_dropped?"],
        "What was in store at the start.",
    ),
    each("spool.panicked", ERROR, &["note"], "A fault of Outrigger: the process ends and comes back."),
    goes_on("spool.records_undropped", WARN, &["error", "note"], "Old records of invocations stay for now."),
    goes_on("spool.records_unkept", WARN, &["error", "note"], "Failed invocations are in memory alone."),
    each(
        "spool.recovered",
        WARN,
        &["pending", "dead_letters", "pending_lost?", "dead_letters_lost?", "damaged_file"],
        "What `--recover` saved.",
    ),
    goes_on("spool.refused", WARN, &["error", "note"], "NATS refuses something."),
    goes_on("spool.settlement_refused", WARN, &["webhook", "error", "note"], "NATS takes no settlement for now."),
    each("spool.settlements_unwritten", ERROR, &["count", "note"], "Deliveries that were made may be made once more."),
    each("spool.sound", INFO, &["note"], "`--recover` had nothing to do."),
    goes_on("spool.unread", WARN, &["error", "webhook", "note"], "The disk gives no pending deliveries."),
    each("spool.unstarted", ERROR, &["error", "note"], "The database is not usable."),
    goes_on("spool.untidied", WARN, &["error", "note"], "The disk has no room for tidying up."),
    each(
        "spool.unwritable",
        ERROR,
        &["error", "note"],
        "The database takes nothing: senders get 503 for what the journal cannot take.",
    ),
    each("spool.writable", INFO, &["note"], "It takes events again."),
    each(
        "supervisor.absent",
        WARN,
        &["error", "note"],
        "Who started the process does not hear how it goes: `NOTIFY_SOCKET` is no socket.",
    ),
    goes_on("supervisor.unheard", WARN, &["error", "note"], "Who started the process takes no message for now."),
    each("webhook.paused", WARN, &["webhook", "cause", "next_probe_in_ms?", "detail?"], "A webhook waits, and why."),
    each("webhook.resumed", INFO, &["webhook", "cause", "paused_ms", "by"], "It does not wait any more."),
    each("webhook.tested", INFO, &["webhook", "successful"], "Somebody sent a mock event."),
];

const fn field(name: &'static str, of: &'static str, about: &'static str) -> Field {
    Field { name, of, about }
}

/// All fields, in the order of their names.
pub const FIELDS: &[Field] = &[
    field("added", "string", "Webhooks that are new, 20 at most and how many more."),
    field("address", "string", "Where it listens."),
    field("after_s", "integer", "How long it has taken so far, in seconds."),
    field("attempt", "integer", "Its number, from 1, among those that count."),
    field("attempts", "integer", "How many were made."),
    field("body_bytes", "integer", "The length of the body."),
    field("by", "string", "Who did it: `attempt`, `edit` or `person`; `admin` or `file` for the level."),
    field("cause", "string", "Why the webhook waits: a cause as in `outrigger_webhook_paused`."),
    field("changed", "string", "Webhooks that are different, 20 at most and how many more."),
    field("connections", "integer", "How many there are."),
    field("count", "integer", "How many."),
    field("damaged_file", "string", "Where what was damaged is kept."),
    field("dead", "boolean", "Whether the delivery is a dead letter now."),
    field("dead_letters", "integer", "How many there are."),
    field("dead_letters_dropped", "integer", "How many were too old."),
    field("dead_letters_lost", "integer", "How many could not be saved, where that is known."),
    field("delay", "string", "`shutdown.delay`."),
    field("delivery_id", "string", "The id that the receiver sees as `webhook-id`."),
    field("detail", "string", "What exactly was the matter, with secrets masked."),
    field("duration_ms", "integer", "From rendering to the verdict."),
    field("error", "string", "What the system or the server says."),
    field("event_id", "string", "The event."),
    field("fault", "string", "What the system says."),
    field("faults", "integer", "How many there are."),
    field("file", "string", "The file that it is about."),
    field("from", "string", "The level before."),
    field("generation", "integer", "The number of the publication in force."),
    field("grace", "string", "`shutdown.grace`."),
    field("hash", "string", "The configuration: the 12 digits that `outrigger_config_hash` has as a number."),
    field("held", "boolean", "`true` where the delivery waits for the webhook's pause to end."),
    field("host", "string", "The host of the webhook's URL, of which nothing more is ever said."),
    field("invocation", "string", "The id of the attempt."),
    field("listener", "string", "`ingest`, `admin` or `metrics`, or its address."),
    field("method", "string", "The method of the request."),
    field("missing", "integer", "How many fields the templates did not find."),
    field("next_probe_in_ms", "integer", "When the target is tried, where that is by itself."),
    field("note", "string", "The same for people, in a sentence. Do not go by it: it may be worded better one day."),
    field("of", "string", "The name of the line that was repeated."),
    field("outcome", "string", "`accepted` or `failed`."),
    field("patience", "string", "How long the start waits."),
    field("paused_ms", "integer", "How long it waited."),
    field("pending", "integer", "How many deliveries wait."),
    field("pending_lost", "integer", "How many could not be saved, where that is known."),
    field("per_minute", "integer", "How many requests a minute it expects."),
    field("probe", "boolean", "`true` where the attempt was to find out whether a pause is over."),
    field("quarantined", "string", "The webhooks."),
    field("reason", "string", "Why: a reason as in `outrigger_attempt_failures_total`."),
    field("removed", "string", "Webhooks that are gone, 20 at most and how many more."),
    field("retry_in_ms", "integer", "When the next attempt comes, where one does."),
    field("seq", "integer", "A number of the spool's own."),
    field("setting", "string", "The key to edit."),
    field("settings", "string", "The keys."),
    field("status", "integer", "The status of the response, where one came."),
    field("stream", "string", "The stream in NATS."),
    field("subject", "string", "The message's subject in NATS."),
    field("successful", "boolean", "Whether the target accepted it."),
    field("to", "string", "The level now."),
    field("took_ms", "integer", "From the first file read to the publication."),
    field(
        "trace_id",
        "string",
        "The trace that the event came with, or that began with its request where spans are sent.",
    ),
    field("uid", "integer", "The user."),
    field("unlisted", "integer", "How many faults and warnings have no line of their own."),
    field("validator", "string", "The first that was not content."),
    field("version", "string", "The version of Outrigger."),
    field("warnings", "integer", "How many there are."),
    field("webhook", "string", "The name of the webhook."),
    field("webhooks", "integer", "How many are in force."),
];

/// Whether repetitions of a line are left out. What the table does not know may repeat as well.
pub(super) fn collapses(name: &str) -> bool {
    EVENTS
        .binary_search_by(|entry| entry.name.cmp(name))
        .ok()
        .and_then(|at| EVENTS.get(at))
        .is_none_or(|entry| entry.collapses)
}

/// The JSON Schema of a line in the format `json`.
#[must_use]
pub fn schema() -> Value {
    let of: BTreeMap<&str, &Field> = FIELDS.iter().map(|field| (field.name, field)).collect();
    let line = |entry: &Entry| {
        let mut properties = Map::new();
        let mut required = vec!["timestamp", "level", "message"];
        properties.insert("timestamp".to_owned(), json!({ "$ref": "#/$defs/timestamp" }));
        properties.insert("level".to_owned(), json!({ "enum": entry.levels }));
        properties.insert("message".to_owned(), json!({ "const": entry.name, "description": entry.about }));
        for name in entry.fields {
            let plain = name.trim_end_matches('?');
            if plain == *name {
                required.push(plain);
            }
            if let Some(field) = of.get(plain) {
                properties.insert(plain.to_owned(), json!({ "type": field.of, "description": field.about }));
            }
        }
        json!({ "properties": properties, "required": required, "additionalProperties": false })
    };
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of Outrigger's log in the format json",
        "type": "object",
        "oneOf": EVENTS.iter().map(line).collect::<Vec<_>>(),
        "$defs": { "timestamp": { "type": "string", "format": "date-time", "description": "When, in UTC." } },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_tables_are_in_order_and_each_field_is_of_a_line() {
        assert!(EVENTS.is_sorted_by(|one, next| one.name < next.name), "a name is looked up by halves");
        assert!(FIELDS.is_sorted_by(|one, next| one.name < next.name));
        let used: BTreeSet<&str> =
            EVENTS.iter().flat_map(|entry| entry.fields).map(|name| name.trim_end_matches('?')).collect();
        assert_eq!(used, FIELDS.iter().map(|field| field.name).collect());
        assert!(collapses("spool.unread") && !collapses("webhook.paused") && collapses("of somebody else"));
    }
}
