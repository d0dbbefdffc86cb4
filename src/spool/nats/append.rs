//! Appending: what belongs together is kept together, or not at all.
//!
//! One message by itself is published, and thousands of them are on their way at once. More of them are an atomic batch, which costs the
//! server milliseconds however large it is, so that all who wait meanwhile go into the next one together.

use std::time::Duration;

use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// The most that the server takes in one batch.
pub(super) const BATCH_MAX: usize = 1000;
/// Appends that wait for their batch.
const WAITING_MAX: usize = 1024;
/// `JetStream`'s codes for what was not expected on a subject: of one message, and of one while a batch is being taken.
const WRONG_LAST_SEQUENCE: [u64; 2] = [10_071, 10_164];

/// A message to be kept.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) subject: String,
    pub(super) headers: HeaderMap,
    pub(super) payload: Bytes,
}

/// Why nothing was kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// What the messages expect of the stream is not so.
    Unexpected,
    /// Anything else.
    Failed(String),
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

    /// The same for so long alone, at least a second.
    pub(super) fn living(mut self, time: Duration) -> Self {
        self.headers.insert("Nats-TTL", format!("{}s", time.as_secs().max(1)).as_str());
        self
    }
}

/// Publishes one message; its number once it is kept.
pub(super) async fn publish(client: &Client, message: Message) -> Result<u64, Refused> {
    let Message { subject, headers, payload } = message;
    let answer = client.request_with_headers(subject, headers, payload).await;
    read(&answer.map_err(|error| Refused::Failed(error.to_string()))?.payload)
}

/// Publishes some, all or none.
pub(super) async fn publish_all(client: &Client, messages: Vec<Message>) -> Result<(), Refused> {
    let (id, last) = (Uuid::now_v7().simple().to_string(), messages.len());
    for (at, mut message) in (1..).zip(messages) {
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
        Some(fault) if WRONG_LAST_SEQUENCE.contains(&fault.err_code) => Err(Refused::Unexpected),
        Some(fault) => Err(Refused::Failed(fault.description)),
    }
}

/// What waits for its batch.
struct Waiting {
    messages: Vec<Message>,
    reply: oneshot::Sender<Result<(), Refused>>,
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
                let mut group = vec![first];
                let mut count = group[0].messages.len();
                while let Ok(next) = waiting.try_recv() {
                    if count + next.messages.len() > BATCH_MAX {
                        left = Some(next);
                        break;
                    }
                    count += next.messages.len();
                    group.push(next);
                }
                commit(&client, group).await;
            }
        });
        Self(sender)
    }

    /// Keeps all of them or none.
    pub(super) async fn append(&self, messages: Vec<Message>) -> Result<(), Refused> {
        let (reply, answer) = oneshot::channel();
        let gone = || Refused::Failed("the spool is closing".to_owned());
        self.0.send(Waiting { messages, reply }).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

/// Commits a group, or each of it by itself where one of them is refused.
async fn commit(client: &Client, group: Vec<Waiting>) {
    let all: Vec<Message> = group.iter().flat_map(|waiting| waiting.messages.iter().cloned()).collect();
    let alone = group.len() == 1;
    let said = publish_all(client, all).await;
    if said == Err(Refused::Unexpected) && !alone {
        for Waiting { messages, reply } in group {
            let _ = reply.send(publish_all(client, messages).await);
        }
        return;
    }
    for waiting in group {
        // Who has gone needs no answer.
        let _ = waiting.reply.send(said.clone());
    }
}
