//! The queue between those who record and the task that sends: bounded, and nobody waits at it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::collector::Collector;
use super::endpoint::Endpoint;
use super::{Span, message};
use crate::config::{SAMPLE_PARTS, Traces};
use crate::trace::TraceId;

/// Spans that wait to be sent.
const QUEUE_MAX: usize = 4096;
/// Spans of one request.
const BATCH_MAX: usize = 512;
/// How long spans are gathered for a request.
const GATHER: Duration = Duration::from_secs(1);
/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the end waits for what was recorded.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// The part of an event's id that is random: before it stand a time, and a counter that events of one moment share.
const RANDOM_BITS: u32 = 32;

/// Where spans wait.
pub(super) struct Queue {
    sender: Sender<Span>,
    sampled_parts: u32,
    /// Spans that were recorded, whatever became of them.
    recorded: AtomicU64,
    /// Spans that the collector took.
    taken: Arc<AtomicU64>,
    closing: CancellationToken,
    sending: Mutex<Option<JoinHandle<()>>>,
}

impl Queue {
    /// Begins to send, where a collector is named.
    pub(super) fn start(traces: &Traces, ca_pem: Option<&str>) -> Option<Arc<Self>> {
        let endpoint = Endpoint::read(traces, |name| std::env::var(name).ok());
        let collector = match endpoint.and_then(|named| named.map(|one| Collector::new(one, ca_pem)).transpose()) {
            Ok(collector) => collector?,
            Err(error) => {
                tracing::error!(error, note = "no spans are sent", "spans.off");
                return None;
            }
        };
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        let (taken, closing) = (Arc::default(), CancellationToken::new());
        let sending = tokio::spawn(send(queue, collector, Arc::clone(&taken), closing.clone()));
        Some(Arc::new(Self {
            sender,
            sampled_parts: traces.sampled_parts,
            recorded: AtomicU64::new(0),
            taken,
            closing,
            sending: Mutex::new(Some(sending)),
        }))
    }

    /// Whether a trace that begins here is recorded: by the part of its id that is random.
    pub(super) fn samples(&self, id: TraceId) -> bool {
        samples(id, self.sampled_parts)
    }

    pub(super) fn record(&self, span: Span) {
        self.recorded.fetch_add(1, Ordering::Relaxed);
        if self.sender.try_send(span).is_err() && !self.closing.is_cancelled() {
            tracing::warn!(
                note = "spans come faster than the collector takes them: this one is dropped",
                "spans.dropped"
            );
        }
    }

    /// Sends what waits, within a limit, or until `abort`.
    pub(super) async fn close(&self, abort: &CancellationToken) {
        self.closing.cancel();
        let sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut sending) = sending else { return };
        let sent = tokio::select! {
            sent = timeout(CLOSE_TIMEOUT, &mut sending) => sent.is_ok(),
            () = abort.cancelled() => false,
        };
        if !sent {
            sending.abort();
            // What it has just handed over counts.
            let _ = sending.await;
        }
        let count = self.lost();
        if count > 0 {
            tracing::warn!(count, note = "so many spans did not reach the collector", "spans.lost");
        }
    }

    /// How many were not taken by now, wherever they are: at the end these are lost.
    fn lost(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed).saturating_sub(self.taken.load(Ordering::Relaxed))
    }
}

fn samples(id: TraceId, parts: u32) -> bool {
    let random = u128::from_be_bytes(id.to_bytes()) & ((1 << RANDOM_BITS) - 1);
    random * u128::from(SAMPLE_PARTS) < u128::from(parts) << RANDOM_BITS
}

/// Gathers and sends until the end, and then what is left.
async fn send(mut queue: Receiver<Span>, collector: Collector, taken: Arc<AtomicU64>, closing: CancellationToken) {
    let mut batch = Vec::new();
    loop {
        tokio::select! {
            biased;
            () = closing.cancelled() => break,
            received = queue.recv_many(&mut batch, BATCH_MAX) => if received == 0 { return },
        }
        let gather = tokio::time::sleep(GATHER);
        tokio::pin!(gather);
        while batch.len() < BATCH_MAX {
            let room = BATCH_MAX - batch.len();
            tokio::select! {
                () = &mut gather => break,
                () = closing.cancelled() => break,
                received = queue.recv_many(&mut batch, room) => if received == 0 { break },
            }
        }
        post(&collector, std::mem::take(&mut batch), &taken).await;
    }
    queue.close();
    while queue.recv_many(&mut batch, BATCH_MAX).await > 0 {
        post(&collector, std::mem::take(&mut batch), &taken).await;
    }
}

/// One request. What it does not bring there is lost: spans are worth less than what they would hold up.
async fn post(collector: &Collector, batch: Vec<Span>, taken: &AtomicU64) {
    let count = u64::try_from(batch.len()).unwrap_or(u64::MAX);
    let body = message::request(collector.resource(), batch);
    let posted = timeout(REQUEST_TIMEOUT, collector.post(body)).await;
    let (count, error) = match posted.unwrap_or_else(|_| Err("no answer in time".to_owned())) {
        Ok(refused) => {
            let refused = refused.min(count);
            taken.fetch_add(count - refused, Ordering::Relaxed);
            if refused == 0 {
                return;
            }
            (refused, "the collector refuses some".to_owned())
        }
        Err(error) => (count, error),
    };
    tracing::warn!(count, error, note = "spans could not be sent and are dropped", "spans.unsent");
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use tokio::io::AsyncReadExt as _;
    use tokio::net::TcpListener;

    use super::*;
    use crate::spans::Kind;
    use crate::trace::{SpanId, Trace};

    /// A collector that takes a request and never answers.
    #[tokio::test]
    async fn what_waits_is_lost_with_what_is_on_its_way_and_counted() {
        const COUNT: usize = BATCH_MAX + 88;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let endpoint = Some(format!("http://{}", listener.local_addr().expect("it is bound")));
        let queue = Queue::start(&Traces { endpoint, ..Traces::default() }, None).expect("a collector is named");
        let span = SpanId::new(1);
        let trace = Arc::new(Trace::new(TraceId::of(&[1; 16]), span, true));
        let now = Timestamp::UNIX_EPOCH;
        for _ in 0..COUNT {
            queue.record(Span {
                name: "attempt",
                kind: Kind::Client,
                trace: Arc::clone(&trace),
                id: span,
                parent: None,
                begun: now,
                ended: now,
                attributes: Vec::new(),
                failed: false,
            });
        }
        let (mut stream, _) =
            timeout(REQUEST_TIMEOUT, listener.accept()).await.expect("in time").expect("a connection");
        let mut head = [0; 64];
        assert!(stream.read(&mut head).await.expect("a request") > 0);
        let at_once = CancellationToken::new();
        at_once.cancel();
        queue.close(&at_once).await;
        assert_eq!(queue.lost(), COUNT as u64);
    }

    #[test]
    fn as_many_traces_are_sampled_as_are_asked_for() {
        let ids: Vec<TraceId> = (0..4000).map(|_| TraceId::of(uuid::Uuid::now_v7().as_bytes())).collect();
        let sampled = |parts: u32| ids.iter().filter(|id| samples(**id, parts)).count();
        assert_eq!((sampled(0), sampled(SAMPLE_PARTS)), (0, 4000));
        let quarter = sampled(SAMPLE_PARTS / 4);
        assert!((600..1400).contains(&quarter), "{quarter}");
    }
}
