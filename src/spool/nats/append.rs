//! Appending: what belongs together is kept together, or not at all.
//!
//! One message by itself is published, and thousands of them are on their way at once. More of them are an atomic batch, which costs the
//! server milliseconds however large it is, so that all who wait meanwhile go into the next one together.
//!
//! While servers choose a new leader, or the connection moves to another one, an append waits and tries again. Where an answer was lost the
//! message may be there: it is tried again on the condition that it is not.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::connection::State as Connection;
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use crate::spool::SpoolError;

/// The most that the server takes in one batch.
pub(super) const BATCH_MAX: usize = 1000;
/// What of a message is left for its headers: the event's kind and type, how it was last answered, and when it is due.
pub(super) const MESSAGE_ROOM: usize = 16 * 1024;
/// What those who wait put into one batch together, in bytes of payloads.
const GROUP_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Appends that wait for their batch.
const WAITING_MAX: usize = 1024;
/// How long one answer is waited for.
const TRY_TIMEOUT: Duration = Duration::from_secs(2);
/// How long all of a batch may take.
const BATCH_TIMEOUT: Duration = Duration::from_secs(10);
/// How long servers that are away are waited for before a sender is told to come again.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two tries.
const AGAIN: Duration = Duration::from_millis(50);
/// `JetStream`'s code for what was not expected on a subject.
const WRONG_LAST_SEQUENCE: u64 = 10_071;
/// And where that cannot be said yet: something is on its way to that subject that may be kept or not.
const IN_FLIGHT: u64 = 10_164;
/// And for what passes by itself: a cluster that is choosing its leader, a batch whose beginning went elsewhere, too many batches that have
/// only begun.
const UNAVAILABLE: [u64; 6] = [10_008, 10_009, 10_163, 10_176, 10_210, 10_211];

/// A message to be kept.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

/// Why nothing was kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// What the messages expect of the stream is not so.
    #[error("somebody else was there first")]
    Unexpected,
    /// Whether it is so is not known yet: it is not kept.
    #[error("something is on its way there")]
    Busy,
    /// Nobody was there to take it: it is not kept.
    #[error("{0}")]
    Away(String),
    /// The answer was lost: it may be kept.
    #[error("{0}")]
    Unanswered(String),
    /// Anything else: it is not kept.
    #[error("{0}")]
    Failed(String),
}

impl From<Refused> for SpoolError {
    fn from(refused: Refused) -> Self {
        Self::Nats(refused.to_string())
    }
}

/// What the server says to a message or a batch.
#[derive(serde::Deserialize)]
struct Said {
    #[serde(default)]
    seq: u64,
    error: Option<Fault>,
}

#[derive(serde::Deserialize)]
struct Fault {
    err_code: u64,
    description: String,
}

impl Message {
    /// The same on the condition that a subject's last message is this one; 0 is none.
    pub(super) fn expecting(mut self, subject: &str, seq: u64) -> Self {
        self.headers.insert("Nats-Expected-Last-Subject-Sequence", seq.to_string().as_str());
        self.headers.insert("Nats-Expected-Last-Subject-Sequence-Subject", subject);
        self
    }

    /// Whether it is kept on a condition.
    pub(super) fn expects(&self) -> bool {
        self.headers.get("Nats-Expected-Last-Subject-Sequence").is_some()
    }

    /// The same for so long alone, at least a second.
    pub(super) fn living(mut self, time: Duration) -> Self {
        self.headers.insert("Nats-TTL", format!("{}s", time.as_secs().max(1)).as_str());
        self
    }
}

/// Publishes one message; its number once it is kept.
pub(super) async fn publish(client: &Client, message: Message) -> Result<u64, Refused> {
    if client.connection_state() != Connection::Connected {
        // What is published now would go out some time later.
        return Err(Refused::Away("not connected".to_owned()));
    }
    let Message { subject, headers, payload } = message;
    let answer = tokio::time::timeout(TRY_TIMEOUT, client.request_with_headers(subject, headers, payload)).await;
    let answer = answer.map_err(|_| Refused::Unanswered("no answer in time".to_owned()))?;
    let answer = answer.map_err(|error| match error.kind() {
        RequestErrorKind::NoResponders => Refused::Away("no server leads the stream".to_owned()),
        RequestErrorKind::TimedOut | RequestErrorKind::Other => Refused::Unanswered(error.to_string()),
        _ => Refused::Failed(error.to_string()),
    })?;
    read(&answer.payload)
}

/// Publishes some, all or none.
pub(super) async fn publish_all(client: &Client, messages: Vec<Message>) -> Result<(), Refused> {
    // Where the connection is slow it takes as long as it takes to write them, and a commit that was not written is none.
    let sent = tokio::time::timeout(BATCH_TIMEOUT, publish_batch(client, messages)).await;
    sent.unwrap_or_else(|_| Err(Refused::Unanswered("no answer in time".to_owned())))
}

async fn publish_batch(client: &Client, messages: Vec<Message>) -> Result<(), Refused> {
    let (id, last) = (Uuid::now_v7().simple().to_string(), messages.len());
    for (at, mut message) in (1..).zip(messages) {
        if client.connection_state() != Connection::Connected {
            return Err(Refused::Away("not connected".to_owned()));
        }
        message.headers.insert("Nats-Batch-Id", id.as_str());
        message.headers.insert("Nats-Batch-Sequence", at.to_string().as_str());
        if at == last {
            message.headers.insert("Nats-Batch-Commit", "1");
            return publish(client, message).await.map(drop);
        }
        let Message { subject, headers, payload } = message;
        let sent = client.publish_with_headers(subject, headers, payload).await;
        sent.map_err(|error| Refused::Failed(error.to_string()))?;
    }
    Ok(())
}

fn read(answer: &[u8]) -> Result<u64, Refused> {
    let said: Said = serde_json::from_slice(answer).map_err(|error| Refused::Failed(error.to_string()))?;
    match said.error {
        None => Ok(said.seq),
        Some(fault) if fault.err_code == WRONG_LAST_SEQUENCE => Err(Refused::Unexpected),
        Some(fault) if fault.err_code == IN_FLIGHT => Err(Refused::Busy),
        Some(fault) if UNAVAILABLE.contains(&fault.err_code) => Err(Refused::Away(fault.description)),
        Some(fault) => Err(Refused::Failed(fault.description)),
    }
}

/// What waits for its batch.
struct Waiting {
    messages: Vec<Message>,
    reply: oneshot::Sender<Result<(), Refused>>,
}

impl Waiting {
    fn bytes(&self) -> usize {
        self.messages.iter().map(|message| message.payload.len()).sum()
    }
}

/// Takes what is appended together into batches.
pub(super) struct Batches(mpsc::Sender<Waiting>);

impl Batches {
    /// Begins; it ends when the last one who appends has gone.
    pub(super) fn start(client: Client) -> Self {
        let (sender, mut waiting) = mpsc::channel::<Waiting>(WAITING_MAX);
        tokio::spawn(async move {
            let mut left: Option<Waiting> = None;
            loop {
                let first = match left.take() {
                    Some(first) => first,
                    None => match waiting.recv().await {
                        Some(first) => first,
                        None => break,
                    },
                };
                let (mut count, mut bytes) = (first.messages.len(), first.bytes());
                let mut group = vec![first];
                while let Ok(next) = waiting.try_recv() {
                    if count + next.messages.len() > BATCH_MAX || bytes + next.bytes() > GROUP_BYTES_MAX {
                        left = Some(next);
                        break;
                    }
                    count += next.messages.len();
                    bytes += next.bytes();
                    group.push(next);
                }
                commit(&client, group).await;
            }
        });
        Self(sender)
    }

    /// Keeps all of them or none.
    async fn commit(&self, messages: Vec<Message>, end: Instant) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        let gone = || Refused::Failed("the spool is closing".to_owned());
        let sent = tokio::time::timeout_at(end, self.0.send(Waiting { messages, reply })).await;
        sent.map_err(|_| Refused::Away("too much waits to be kept".to_owned()))?.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }

    /// Keeps all of them or none; servers that are away are waited for.
    pub(super) async fn append(&self, client: &Client, messages: Vec<Message>) -> Result<(), Refused> {
        let end = Instant::now() + PATIENCE;
        let expects = messages.iter().any(Message::expects);
        let mut perhaps = false;
        loop {
            let mut messages = messages.clone();
            if perhaps
                && !expects
                && let Some(first) = messages.first_mut()
            {
                // Wherever it has come to meanwhile.
                let anywhere = first.subject.replacen(".d.", ".*.", 1);
                *first = first.clone().expecting(&anywhere, 0);
            }
            let alone = messages.len() == 1 && !expects;
            let said = match messages.pop() {
                Some(message) if alone => publish(client, message).await.map(drop),
                Some(message) => {
                    messages.push(message);
                    self.commit(messages, end).await
                }
                None => return Ok(()),
            };
            match said {
                Err(Refused::Unexpected) if perhaps && !expects => return Ok(()),
                Err(Refused::Unanswered(_)) if Instant::now() < end => perhaps = true,
                Err(Refused::Away(_) | Refused::Busy) if Instant::now() < end => {}
                said => return said,
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// Commits a group, or each of it by itself where one of them is refused.
async fn commit(client: &Client, group: Vec<Waiting>) {
    let all: Vec<Message> = group.iter().flat_map(|waiting| waiting.messages.iter().cloned()).collect();
    let alone = group.len() == 1;
    let said = publish_all(client, all).await;
    if matches!(said, Err(Refused::Unexpected | Refused::Busy | Refused::Failed(_))) && !alone {
        let mut away = None;
        for Waiting { messages, reply } in group {
            let said = match &away {
                None => publish_all(client, messages).await,
                // Those who wait behind them would wait for each of them.
                Some(error) => Err(Refused::Away(String::clone(error))),
            };
            if let Err(Refused::Away(error) | Refused::Unanswered(error)) = &said {
                away.get_or_insert_with(|| error.clone());
            }
            let _ = reply.send(said);
        }
        return;
    }
    for waiting in group {
        // Who has gone needs no answer.
        let _ = waiting.reply.send(said.clone());
    }
}
