//! How a spool is found on the server: the connection, the version, and a stream that loses nothing.

use std::error::Error as _;
use std::io;
use std::time::Duration;

use async_nats::jetstream::context::{ContextBuilder, CreateStreamErrorKind, GetStreamErrorKind};
use async_nats::jetstream::stream::{Config, PersistenceMode, RetentionPolicy, StorageType};
use async_nats::jetstream::{Context, ErrorCode};
use async_nats::{Client, ConnectErrorKind, ConnectOptions, Event, HeaderMap, rustls};
use bytes::Bytes;
use tokio::time::Instant;

use super::Options;
use super::append::{MESSAGE_ROOM, Message, Refused, publish};
use super::lease::LEASED_MAX;
use super::names::Names;
use crate::config::{Login, Nats};

/// The oldest server that has atomic batches, scheduled messages and a time to live for each.
const VERSION_MIN: (u64, u64) = (2, 12);
/// The longest wait for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest wait for an answer.
pub(super) const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long servers that are starting are waited for.
pub(super) const START_PATIENCE: Duration = Duration::from_secs(15);
/// How often an answer may be missing before it is taken for a refusal.
const UNANSWERED_MAX: u32 = 2;
/// Between two looks at them.
pub(super) const START_INTERVAL: Duration = Duration::from_millis(200);
/// Records of one webhook.
const RECORDS_MAX: i64 = 100;
/// The part of the spool's limit that records may take.
const RECORDS_SHARE: u64 = 8;
/// How often the server is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(5);

/// Why a spool could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No server answers.
    #[error("the NATS servers {servers} (`spool.servers`) cannot be reached: {error}; start them, or name others")]
    Connect {
        /// Their addresses.
        servers: String,
        /// What went wrong.
        error: String,
    },
    /// They let nobody in who comes like this.
    #[error(
        "the NATS servers {servers} do not let us in: {error}; mend `spool.credentials_file`, `spool.nkey_file`, or `spool.user` and `spool.password`"
    )]
    Login {
        /// Their addresses.
        servers: String,
        /// What they say.
        error: String,
    },
    /// No TLS, or none that is trusted.
    #[error(
        "TLS with the NATS servers {servers} failed: {error}; `spool.ca_file` says whom to trust, `spool.client_cert_file` who we are; the URL of a server \
         without TLS begins with nats://"
    )]
    Tls {
        /// Their addresses.
        servers: String,
        /// What went wrong.
        error: String,
    },
    /// It lacks what is needed.
    #[error(
        "the NATS server has version {found}, and 2.12 or later is needed: it has atomic batches, scheduled messages and a time to live of each; \
         upgrade it, or use spool.kind = \"disk\""
    )]
    Old {
        /// Its version.
        found: String,
    },
    /// It has no streams.
    #[error(
        "the NATS server has no JetStream for this account ({error}): start it with `-js`, enable JetStream for the account, or mend `spool.domain`"
    )]
    NoJetStream {
        /// What it says.
        error: String,
    },
    /// Events may be larger than its messages.
    #[error(
        "`ingest.max_body` is {body} bytes, and a message of the NATS server holds {message}, {MESSAGE_ROOM} of them for its headers: write \
         ingest.max_body = {} or less, or raise the server's `max_payload`", message.saturating_sub(MESSAGE_ROOM)
    )]
    Small {
        /// The largest event.
        body: usize,
        /// The largest message.
        message: usize,
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
    #[error("the stream {name} cannot be made: {error}{}", made_fix(error))]
    Refused {
        /// The stream.
        name: String,
        /// What the server says.
        error: String,
    },
    /// It is there, and takes nothing from us.
    #[error(
        "the stream {name} takes nothing: {error}; let the user publish to `{name}.>`, `{name}-records.>`, `$JS.API.>` and `$JS.ACK.{name}.>`, \
         and see whether most of the servers are there"
    )]
    Unwritable {
        /// The stream.
        name: String,
        /// What the server says.
        error: String,
    },
    /// What is in it cannot be read.
    #[error(
        "the stream {name} cannot be read: {error}; let the user publish to `$JS.API.>` and subscribe to `_INBOX.>`"
    )]
    Unread {
        /// The stream.
        name: String,
        /// What the server says.
        error: String,
    },
}

fn made_fix(error: &str) -> &'static str {
    if error.contains("replicas") || error.contains("peers") {
        "; there are fewer servers than `spool.replicas` (with 1 what the spool holds is lost with that server)"
    } else {
        ""
    }
}

/// Connects, and makes or checks the stream. Servers that are just starting are waited for.
pub(super) async fn connect(options: &Options, names: &Names) -> Result<(Client, Context), OpenError> {
    let end = Instant::now() + options.start_patience;
    let mut told = false;
    let client = loop {
        match log_in(options).await {
            Err(error @ OpenError::Connect { .. }) if Instant::now() < end => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(%error, patience = ?options.start_patience, note = "NATS is waited for", "spool.awaited");
                }
                tokio::time::sleep(START_INTERVAL).await;
            }
            opened => break opened?,
        }
    };
    let info = client.server_info();
    if version(&info.version).is_none_or(|version| version < VERSION_MIN) {
        return Err(OpenError::Old { found: info.version });
    }
    let (body, message) = (options.event_bytes_max, info.max_payload);
    if body + MESSAGE_ROOM > message {
        return Err(OpenError::Small { body, message });
    }
    let context = ContextBuilder::new().timeout(ANSWER_TIMEOUT).ack_timeout(ANSWER_TIMEOUT);
    let context = match &options.nats.domain {
        Some(domain) => context.domain(domain).build(client.clone()),
        None => context.build(client.clone()),
    };
    loop {
        match streams(&context, options, names).await {
            Ok(()) => break,
            Err((error, passes)) if !passes || Instant::now() > end => return Err(error),
            Err(_) => tokio::time::sleep(START_INTERVAL).await,
        }
    }
    // Who may look but not write would take nothing, and say so to each sender alone.
    let (headers, payload) = (HeaderMap::new(), Bytes::new());
    let probe = Message { subject: names.claim("-", Some("probe")), headers, payload }.living(Duration::ZERO);
    let name = names.stream().to_owned();
    let mut unanswered = 0;
    loop {
        match publish(&client, probe.clone()).await {
            Ok(_) => return Ok((client, context)),
            // Nobody leads yet.
            Err(Refused::Away(_) | Refused::Busy) if Instant::now() < end => tokio::time::sleep(START_INTERVAL).await,
            // What a user may not do is passed over, and said beside it.
            Err(Refused::Unanswered(_)) if Instant::now() < end && unanswered < UNANSWERED_MAX => unanswered += 1,
            Err(error) => return Err(OpenError::Unwritable { name, error: error.to_string() }),
        }
    }
}

async fn log_in(options: &Options) -> Result<Client, OpenError> {
    let Nats { servers, login, tls_required, .. } = &options.nats;
    let named = || shown(servers);
    let connect = ConnectOptions::new()
        .name("outrigger")
        .connection_timeout(CONNECT_TIMEOUT)
        .ping_interval(PING_INTERVAL)
        .request_timeout(Some(ANSWER_TIMEOUT))
        .event_callback(|event| async move {
            if let Event::ServerError(error) = event {
                tracing::warn!(%error, note = "the NATS server refuses something", "spool.refused");
            }
        })
        .require_tls(*tls_required);
    let connect = match &options.tls {
        Some(tls) => connect.tls_client_config(tls.clone()),
        None => connect,
    };
    let connect = match login {
        Login::Nobody => connect,
        Login::Credentials(credentials) => connect.credentials(credentials.expose()).map_err(|_| {
            // What the library says may repeat a part of the file.
            OpenError::Login { servers: named(), error: "the credentials file holds no JWT and seed".to_owned() }
        })?,
        Login::Nkey(seed) => connect.nkey(seed.expose().trim().to_owned()),
        Login::Password(user, password) => connect.user_and_password(user.clone(), password.expose().to_owned()),
    };
    connect.connect(servers).await.map_err(|error| {
        let servers = named();
        let source = error.source();
        let said = source.map_or_else(|| error.kind().to_string(), |source| format!("{} ({source})", error.kind()));
        let within = source.and_then(|source| source.downcast_ref::<io::Error>()?.get_ref());
        match error.kind() {
            _ if within.and_then(|within| within.downcast_ref::<rustls::Error>()).is_some() => {
                OpenError::Tls { servers, error: said }
            }
            ConnectErrorKind::Authentication | ConnectErrorKind::AuthorizationViolation => {
                OpenError::Login { servers, error: error.kind().to_string() }
            }
            ConnectErrorKind::Tls => OpenError::Tls { servers, error: said },
            _ => OpenError::Connect { servers, error: said },
        }
    })
}

/// Makes or checks both streams; with an error, whether it may pass by itself.
async fn streams(context: &Context, options: &Options, names: &Names) -> Result<(), (OpenError, bool)> {
    let name = names.stream().to_owned();
    let found = match context.get_stream(&name).await {
        Ok(stream) => stream.cached_info().config.clone(),
        Err(error) if is_missing(&error.kind()) => {
            let made = context.create_stream(wanted(options, names)).await;
            let made = made
                .map_err(|error| (error.kind(), OpenError::Refused { name: name.clone(), error: error.to_string() }));
            made.map_err(|(kind, error)| (error, may_pass(&kind)))?.cached_info().config.clone()
        }
        Err(error) => {
            let passes = match error.kind() {
                GetStreamErrorKind::JetStream(error) => !is_disabled(error.error_code()),
                // Nobody hears of streams there, unless it is about to begin to.
                _ => context.client().server_info().jetstream,
            };
            return Err((OpenError::NoJetStream { error: error.to_string() }, passes));
        }
    };
    let faults = faults(&found, options, names);
    if !faults.is_empty() {
        return Err((OpenError::Stream { name, faults }, false));
    }
    let records = context.get_or_create_stream(records(options, names)).await;
    let refused = |error: String| OpenError::Refused { name: names.records(), error };
    records.map_err(|error| (refused(error.to_string()), may_pass(&error.kind())))?;
    Ok(())
}

/// Whether somebody who asks again may be answered otherwise: servers find to each other, and choose who leads.
fn may_pass(kind: &CreateStreamErrorKind) -> bool {
    match kind {
        CreateStreamErrorKind::TimedOut | CreateStreamErrorKind::JetStreamUnavailable => true,
        CreateStreamErrorKind::JetStream(error) => {
            error.code() == 503 || error.error_code() == ErrorCode::CLUSTER_NO_PEERS
        }
        _ => false,
    }
}

fn is_disabled(code: ErrorCode) -> bool {
    matches!(code, ErrorCode::JETSTREAM_NOT_ENABLED | ErrorCode::JETSTREAM_NOT_ENABLED_FOR_ACCOUNT)
}

/// The stream of records: what is old gives way, of each webhook by itself, and of all together.
fn records(options: &Options, names: &Names) -> Config {
    Config {
        name: names.records(),
        description: Some("Outrigger: failed invocations, for people".to_owned()),
        subjects: vec![names.records_of(None)],
        storage: StorageType::File,
        num_replicas: options.nats.replicas,
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
        num_replicas: options.nats.replicas,
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
        (found.num_replicas < options.nats.replicas).then(|| {
            let (has, wanted, name) = (found.num_replicas, options.nats.replicas, names.stream());
            format!("`num_replicas` is {has}, and `spool.replicas` is {wanted} (`nats stream edit {name} --replicas {wanted}`)")
        }),
        (found.max_messages_per_subject != 1).then(|| "`max_msgs_per_subject` is not 1".to_owned()),
        (!found.subjects.contains(&names.all())).then(|| format!("`subjects` has no `{}`", names.all())),
        limit(found.max_bytes > 0, "max_bytes"),
        limit(found.max_messages > 0, "max_msgs"),
        limit(!found.max_age.is_zero(), "max_age"),
        (found.max_message_size > 0).then(|| "`max_msg_size` is set".to_owned()),
        found.no_ack.then(|| "`no_ack` is on: nothing says that it is kept".to_owned()),
        limit(found.max_consumers > 0, "max_consumers")
            .map(|_| "`max_consumers` is set: each webhook has one".to_owned()),
        (found.mirror.is_some() || found.sources.as_ref().is_some_and(|sources| !sources.is_empty()))
            .then(|| "`mirror` or `sources` is set".to_owned()),
        found.subject_transform.is_some().then(|| "`subject_transform` is set".to_owned()),
        found
            .subject_delete_marker_ttl
            .is_some_and(|time| !time.is_zero())
            .then(|| "`subject_delete_marker_ttl` is set: its markers stand in the way of deliveries".to_owned()),
        found
            .consumer_limits
            .as_ref()
            .is_some_and(|limits| limits.max_ack_pending > 0 && limits.max_ack_pending < LEASED_MAX)
            .then(|| format!("`consumer_limits.max_ack_pending` is less than {LEASED_MAX}")),
        (found.persist_mode == Some(PersistenceMode::Async))
            .then(|| "`persist_mode` is `async`: the server says that it is kept before it is".to_owned()),
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
