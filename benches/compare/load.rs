//! The sender: so many connections that are kept, each of which posts one event after the other.
//!
//! In a closed loop each posts again when it was answered. At a fixed rate an event is sent when it is due, by whichever connection is
//! free; one that is sent late counts from when it was due, so that a stall is seen in all that it delayed.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::event::Shape;
use super::ledger::{Ledger, now};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_mins(1);
/// After a failure, before the next event.
const AFTER_FAILURE: Duration = Duration::from_millis(20);
/// What a timer may be late without anybody's fault.
const GRAIN: Duration = Duration::from_millis(2);

/// How events are sent.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    pub(crate) shape: Shape,
    pub(crate) connections: usize,
    /// Events a second; a closed loop without it.
    pub(crate) rate: Option<u32>,
    /// No event is begun after this time.
    pub(crate) time_max: Duration,
}

struct Sending {
    load: Load,
    address: String,
    path: &'static str,
    ledger: Arc<Ledger>,
    next: AtomicUsize,
    unanswered: AtomicU64,
    began: Instant,
    began_at: u64,
}

/// Sends all events of a ledger and waits for their answers; how many of them were no 2xx.
pub(crate) fn send(load: &Load, address: &str, path: &'static str, ledger: &Arc<Ledger>) -> u64 {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let sending = Arc::new(Sending {
            load: load.clone(),
            address: address.to_owned(),
            path,
            ledger: Arc::clone(ledger),
            next: AtomicUsize::new(0),
            unanswered: AtomicU64::new(0),
            began: Instant::now(),
            began_at: now(),
        });
        let mut connections: JoinSet<()> = (0..load.connections).map(|_| post(Arc::clone(&sending))).collect();
        while let Some(ended) = connections.join_next().await {
            ended.expect("a sender does not panic");
        }
        sending.unanswered.load(Relaxed)
    })
}

async fn post(sending: Arc<Sending>) {
    let mut kept: Option<SendRequest<Full<Bytes>>> = None;
    loop {
        let number = sending.next.fetch_add(1, Relaxed);
        if number >= sending.ledger.events() || sending.began.elapsed() > sending.load.time_max {
            return;
        }
        let due = sending.due(number).await;
        // The server closes connections to make room for others.
        if kept.as_ref().is_none_or(SendRequest::is_closed) {
            kept = connect(&sending.address).await;
        }
        sending.ledger.sent(number, due.unwrap_or_else(now));
        let accepted = match kept.as_mut() {
            Some(connection) => timeout(PATIENCE, sending.exchange(connection, number)).await.ok().and_then(Result::ok),
            None => None,
        };
        if accepted == Some(true) {
            sending.ledger.acknowledged(number, now());
        } else {
            sending.unanswered.fetch_add(1, Relaxed);
            kept = kept.filter(|_| accepted.is_some());
            sleep(AFTER_FAILURE).await;
        }
    }
}

impl Sending {
    /// Waits for the time of an event; that time, where it has passed by more than a timer's grain.
    async fn due(&self, number: usize) -> Option<u64> {
        let after = Duration::from_secs(number as u64) / self.load.rate?;
        sleep_until(self.began + after).await;
        let late = self.began.elapsed() > after + GRAIN;
        late.then(|| self.began_at + u64::try_from(after.as_micros()).unwrap_or(u64::MAX))
    }

    /// Whether the answer was a 2xx.
    async fn exchange(&self, connection: &mut SendRequest<Full<Bytes>>, number: usize) -> Result<bool, hyper::Error> {
        let event = self.load.shape.event(self.ledger.run, number);
        let request = Request::post(self.path).header("host", &self.address).header("content-type", "application/json");
        let request = request.body(Full::new(Bytes::from(event))).expect("a request");
        connection.ready().await?;
        let response = connection.send_request(request).await?;
        let accepted = response.status().is_success();
        response.into_body().collect().await?;
        Ok(accepted)
    }
}

async fn connect(address: &str) -> Option<SendRequest<Full<Bytes>>> {
    let stream = TcpStream::connect(address).await.ok()?;
    let _ = stream.set_nodelay(true);
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
    tokio::spawn(connection);
    Some(sender)
}
