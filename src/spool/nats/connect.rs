//! How a spool is found on the server: the connection, the version, and a stream that loses nothing.

use std::time::Duration;

use async_nats::jetstream::Context;
use async_nats::jetstream::context::{ContextBuilder, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, RetentionPolicy, StorageType};
use async_nats::{Client, ConnectOptions};

use super::Options;
use super::names::Names;

/// The oldest server that has atomic batches, scheduled messages and a time to live for each.
const VERSION_MIN: (u64, u64) = (2, 12);
/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for an answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// Records of one webhook.
const RECORDS_MAX: i64 = 100;
/// The part of the spool's limit that records may take.
const RECORDS_SHARE: u64 = 8;
/// How often the server is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Why a spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No server answers, or none lets this program in.
    #[error("the NATS servers {servers} cannot be reached: {error}")]
    Connect {
        /// Their addresses.
        servers: String,
        /// What went wrong.
        error: String,
    },
    /// It lacks what is needed.
    #[error(
        "the NATS server has version {found}, and 2.12 or later is needed: it has atomic batches, scheduled messages and a time to live of each"
    )]
    Old {
        /// Its version.
        found: String,
    },
    /// It has no streams.
    #[error(
        "the NATS server has no JetStream for this account ({error}): start it with `-js`, or enable JetStream for the account"
    )]
    NoJetStream {
        /// What it says.
        error: String,
    },
    /// Somebody made the stream otherwise.
    #[error("the stream {name} would lose deliveries: {}; mend it, or give this spool another `spool.stream`", faults.join("; "))]
    Stream {
        /// The stream.
        name: String,
        /// What is wrong with it.
        faults: Vec<String>,
    },
    /// The stream cannot be made.
    #[error("the stream {name} cannot be made: {error}")]
    Refused {
        /// The stream.
        name: String,
        /// What the server says.
        error: String,
    },
}

/// Connects, and makes or checks the stream.
pub(super) async fn connect(options: &Options, names: &Names) -> Result<(Client, Context), OpenError> {
    let servers = options.servers.join(",");
    let connect = ConnectOptions::new()
        .name("outrigger")
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(ANSWER_TIMEOUT));
    let client = connect
        .connect(&servers)
        .await
        .map_err(|error| OpenError::Connect { servers: shown(&options.servers), error: error.to_string() })?;
    let found = client.server_info().version;
    if version(&found).is_none_or(|version| version < VERSION_MIN) {
        return Err(OpenError::Old { found });
    }
    let context = ContextBuilder::new().timeout(ANSWER_TIMEOUT).ack_timeout(ANSWER_TIMEOUT).build(client.clone());
    let name = names.stream().to_owned();
    match context.get_stream(&name).await {
        Ok(stream) => {
            let faults = faults(&stream.cached_info().config, options, names);
            if !faults.is_empty() {
                return Err(OpenError::Stream { name, faults });
            }
        }
        Err(error) if is_missing(&error.kind()) => {
            let made = context.create_stream(wanted(options, names)).await;
            made.map_err(|error| OpenError::Refused { name, error: error.to_string() })?;
        }
        Err(error) => return Err(OpenError::NoJetStream { error: error.to_string() }),
    }
    let records = context.get_or_create_stream(records(options, names)).await;
    records.map_err(|error| OpenError::Refused { name: names.records(), error: error.to_string() })?;
    Ok((client, context))
}

/// The stream of records: what is old gives way, of each webhook by itself, and of all together.
fn records(options: &Options, names: &Names) -> Config {
    Config {
        name: names.records(),
        description: Some("Outrigger: failed invocations, for people".to_owned()),
        subjects: vec![names.records_of(None)],
        storage: StorageType::File,
        num_replicas: options.replicas,
        max_messages_per_subject: RECORDS_MAX,
        max_bytes: i64::try_from(options.bytes_max / RECORDS_SHARE).unwrap_or(i64::MAX),
        max_age: options.dead_letter_retention,
        allow_direct: true,
        ..Config::default()
    }
}

/// Servers without the names and passwords that their URLs may have.
fn shown(servers: &[String]) -> String {
    let host = |url: &String| url.trim_end_matches('/').rsplit(['@', '/']).next().unwrap_or_default().to_owned();
    servers.iter().map(host).collect::<Vec<_>>().join(", ")
}

fn is_missing(kind: &GetStreamErrorKind) -> bool {
    matches!(kind, GetStreamErrorKind::JetStream(error) if error.error_code() == async_nats::jetstream::ErrorCode::STREAM_NOT_FOUND)
}

/// `2.15.1` as far as it counts.
fn version(text: &str) -> Option<(u64, u64)> {
    let mut parts = text.split('.');
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

/// The stream as it is made. The server lets no stream with schedules refuse what is new when it is full, and what it would do instead is to
/// forget what is old: so it has no limit but the disk, and `spool.max_bytes` is held here.
fn wanted(options: &Options, names: &Names) -> Config {
    Config {
        name: names.stream().to_owned(),
        description: Some("Outrigger: deliveries that are owed, and dead letters".to_owned()),
        subjects: vec![names.all()],
        retention: RetentionPolicy::WorkQueue,
        storage: StorageType::File,
        num_replicas: options.replicas,
        max_messages_per_subject: 1,
        allow_atomic_publish: true,
        allow_message_schedules: true,
        allow_message_ttl: true,
        allow_direct: true,
        ..Config::default()
    }
}

/// What is wrong with a stream that is there, all at once.
fn faults(found: &Config, options: &Options, names: &Names) -> Vec<String> {
    let limit = |set: bool, key: &str| set.then(|| format!("`{key}` is set, by which the server forgets what is old"));
    let lacks = |has: bool, key: &str| (!has).then(|| format!("`{key}` is off"));
    [
        (found.retention != RetentionPolicy::WorkQueue).then(|| "`retention` is not `workqueue`".to_owned()),
        (found.storage != StorageType::File).then(|| "`storage` is not `file`: it is lost with its servers".to_owned()),
        (found.num_replicas < options.replicas)
            .then(|| format!("`num_replicas` is {}, and `spool.replicas` is {}", found.num_replicas, options.replicas)),
        (found.max_messages_per_subject != 1).then(|| "`max_msgs_per_subject` is not 1".to_owned()),
        (!found.subjects.contains(&names.all())).then(|| format!("`subjects` has no `{}`", names.all())),
        limit(found.max_bytes > 0, "max_bytes"),
        limit(found.max_messages > 0, "max_msgs"),
        limit(!found.max_age.is_zero(), "max_age"),
        (found.max_message_size > 0).then(|| "`max_msg_size` is set".to_owned()),
        found.no_ack.then(|| "`no_ack` is on: nothing says that it is kept".to_owned()),
        found.sealed.then(|| "it is sealed".to_owned()),
        lacks(found.allow_atomic_publish, "allow_atomic"),
        lacks(found.allow_message_schedules, "allow_msg_schedules"),
        lacks(found.allow_message_ttl, "allow_msg_ttl"),
        lacks(found.allow_direct, "allow_direct"),
    ]
    .into_iter()
    .flatten()
    .collect()
}
