//! The contract, held against a real server: `OUTRIGGER_TEST_NATS` names its program.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::*;
use crate::config::Login;
use crate::delivery::Reason;
use crate::event::Event;
use crate::spool::Owed;
use crate::spool::contract::{
    batch, counters_become, deferred, event, lease, lease_all, name, nothing_is_due, number, outcome,
};
use crate::spool::suite::Backend;

/// A server of one node with what it stores.
pub(in crate::spool) struct Server {
    process: Child,
    port: u16,
    directory: TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let port = free_port();
        let process = Self::spawn(&directory, port);
        Self { process, port, directory }
    }

    fn spawn(directory: &TempDir, port: u16) -> Child {
        let program = std::env::var_os("OUTRIGGER_TEST_NATS").expect("OUTRIGGER_TEST_NATS names a nats-server");
        let mut command = Command::new(program);
        command.args(["-js", "-a", "127.0.0.1", "-p", &port.to_string(), "-sd"]).arg(directory.path());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    fn options(&self) -> Options {
        let nats = nats(vec![format!("nats://127.0.0.1:{}", self.port)]);
        Options { ack_wait: Duration::from_secs(3), ..Options::new(nats) }
    }

    /// A spool on it, once it answers.
    async fn connect(&self) -> NatsSpool {
        self.open_with(self.options()).await
    }

    async fn open_with(&self, options: Options) -> NatsSpool {
        let opened = async {
            loop {
                match NatsSpool::open(options.clone()).await {
                    Ok(spool) => return spool,
                    Err(OpenError::Connect { .. } | OpenError::NoJetStream { .. }) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(20), opened).await.expect("the server comes up")
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    fn restart(&mut self) {
        self.process = Self::spawn(&self.directory, self.port);
    }
}

impl Backend for Server {
    const ORDERED: bool = false;

    fn fresh() -> Self {
        Self::start()
    }

    async fn open(&self) -> Arc<dyn Spool> {
        Arc::new(self.connect().await)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that nobody has at the moment, below those that the system gives out by itself: a server comes back on its own.
fn free_port() -> u16 {
    let bind = || std::net::TcpListener::bind(("127.0.0.1", fastrand::u16(10_000..32_000))).ok();
    std::iter::repeat_with(bind).flatten().next().unwrap().local_addr().unwrap().port()
}

fn nats(servers: Vec<String>) -> Nats {
    let (stream, login, tls) = ("outrigger".to_owned(), Login::Nobody, Arc::default());
    Nats { servers, stream, replicas: 1, domain: None, login, tls, tls_required: false }
}

fn buried(attempts: u32) -> Settlement {
    let reason = Reason::ClientError;
    Settlement::Bury { reason, last: Some(outcome(reason, 400)), attempts, at: Timestamp::now(), record: None }
}

/// Waits until the server has every settlement.
async fn written(spool: &NatsSpool) {
    spool.settling.close();
    spool.settling.wait().await;
    spool.settling.reopen();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn a_lease_is_nobody_elses_and_comes_back_when_it_is_dropped_or_its_holder_dies() {
    let server = Server::start();
    let (one, other) = (server.connect().await, server.connect().await);
    one.append(batch(1..=3, &["a"])).await.unwrap();
    let held = lease_all(&one, "a", 3).await;
    nothing_is_due(&other, "a").await;
    drop(held);
    let held = lease_all(&other, "a", 3).await;
    assert_eq!(held.len(), 3);
    // Longer than it would be kept without a word.
    tokio::time::sleep(Duration::from_secs(1)).await;
    nothing_is_due(&one, "a").await;
    // What its holder forgets comes to another.
    std::mem::forget(held);
    other.shared.closed.cancel();
    let again = lease_all(&one, "a", 3).await;
    assert_eq!(again.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn of_two_who_hold_a_delivery_one_settlement_counts() {
    let server = Server::start();
    let (one, other) = (server.connect().await, server.connect().await);
    one.append(batch([1], &["a"])).await.unwrap();
    let first = lease(&one, "a", 1).await.pop().unwrap();
    // It says nothing any more, and is taken for dead.
    let message = one.shared.held.take(first.claim.seq).unwrap();
    let second = lease(&other, "a", 1).await.pop().unwrap();
    assert_eq!(number(&second), 1);
    other.settle(second, Settlement::Delivered).await;
    counters_become(&other, "a", (0, 0)).await;
    one.shared.held.put(first.claim.seq, message);
    one.settle(first, deferred(Duration::from_secs(1), 1)).await;
    written(&one).await;
    counts::count(&one.shared).await.unwrap();
    assert_eq!(one.backlog()[0].pending, 0, "it is delivered, and stays so");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn a_key_keeps_its_batch_once_and_all_of_it_or_nothing() {
    let server = Server::start();
    let spool = server.connect().await;
    let key = |content: u8| Key {
        id: [7; 16],
        content: [content; 16],
        receipt: Bytes::from_static(b"receipt"),
        window: Duration::from_mins(1),
    };
    let keyed = |numbers: std::ops::RangeInclusive<u64>, content| Batch {
        key: Some(key(content)),
        ..batch(numbers, &["a", "b"])
    };
    let (one, other) = tokio::join!(spool.append(keyed(1..=3, 1)), spool.append(keyed(1..=3, 1)));
    let mut said = [one.unwrap(), other.unwrap()];
    said.sort_by_key(|said| *said != Appended::New);
    assert_eq!(said, [Appended::New, Appended::Repeat(Bytes::from_static(b"receipt"))]);
    assert_eq!(spool.append(keyed(4..=5, 2)).await, Ok(Appended::Conflict));
    counters_become(&spool, "a", (3, 0)).await;
    counters_become(&spool, "b", (3, 0)).await;
    let many = Batch { key: None, ..batch(1..=600, &["a", "b"]) };
    assert!(spool.append(many).await.is_err_and(|error| error.to_string().contains("send fewer")));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn while_the_server_is_away_nothing_is_taken_and_after_it_all_goes_on() {
    let mut server = Server::start();
    let spool = server.connect().await;
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    let held = lease_all(&spool, "a", 2).await;
    server.kill();
    assert!(matches!(spool.append(batch([4], &["a"])).await, Err(SpoolError::Nats(_))));
    for lease in held {
        spool.settle(lease, Settlement::Delivered).await;
    }
    server.restart();
    let again = async {
        while spool.append(batch([5], &["a"])).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), again).await.expect("it goes on");
    let mut seen: Vec<u64> = Vec::new();
    while !(seen.contains(&3) && seen.contains(&5)) {
        for lease in lease(&spool, "a", 5).await {
            seen.push(number(&lease));
            spool.settle(lease, Settlement::Delivered).await;
        }
    }
    counters_become(&spool, "a", (0, 0)).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn a_stream_that_would_lose_something_is_refused_with_all_its_faults() {
    let server = Server::start();
    let spool = server.connect().await;
    let config = async_nats::jetstream::stream::Config {
        name: "other".to_owned(),
        subjects: vec!["other.>".to_owned()],
        max_bytes: 1000,
        max_age: Duration::from_mins(1),
        ..Default::default()
    };
    spool.shared.context.create_stream(config).await.unwrap();
    let mut options = server.options();
    options.nats.stream = "other".to_owned();
    let Err(OpenError::Stream { faults, .. }) = NatsSpool::open(options).await else { panic!("it is taken") };
    let all = faults.join("; ");
    for fault in ["`retention`", "`max_bytes`", "`max_age`", "`allow_atomic`", "`max_msgs_per_subject`"] {
        assert!(all.contains(fault), "{fault}: {all}");
    }
    let nobody = Options {
        start_patience: Duration::ZERO,
        ..Options::new(nats(vec!["nats://user:canary@127.0.0.1:1/".to_owned()]))
    };
    let Err(error @ OpenError::Connect { .. }) = NatsSpool::open(nobody).await else { panic!("nobody listens there") };
    assert!(error.to_string().contains("127.0.0.1:1 (`spool.servers`) cannot be reached"), "{error}");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn what_was_appended_outlives_the_server() {
    let mut server = Server::start();
    let spool = server.connect().await;
    spool.append(batch(1..=5, &["a", "b"])).await.unwrap();
    let later = lease(&spool, "b", 1).await.pop().unwrap();
    spool.settle(later, deferred(Duration::from_secs(1), 1)).await;
    written(&spool).await;
    server.kill();
    server.restart();
    drop(spool);
    let spool = server.connect().await;
    counters_become(&spool, "a", (5, 0)).await;
    assert_eq!(lease_all(&spool, "a", 5).await.len(), 5);
    assert_eq!(lease_all(&spool, "b", 5).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn events_are_found_by_what_stands_in_them() {
    let server = Server::start();
    let spool = server.connect().await;
    spool.append(batch(1..=5, &["a", "b"])).await.unwrap();
    let found = spool.find(Sought::Text("exact".to_owned())).await.unwrap();
    assert!(found.complete && found.events.len() == 5 && found.events.iter().all(|kept| kept.webhooks.len() == 2));
    assert!(found.events.iter().all(|kept| kept.event.raw.starts_with(b"{")));
    assert!(spool.find(Sought::Text("exac".to_owned())).await.unwrap().events.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn of_two_settlements_of_one_message_the_first_counts() {
    let server = Server::start();
    let (one, other) = (server.connect().await, server.connect().await);
    one.append(batch([1], &["a"])).await.unwrap();
    let first = lease(&one, "a", 1).await.pop().unwrap();
    let message = one.shared.held.take(first.claim.seq).unwrap();
    let second = lease(&other, "a", 1).await.pop().unwrap();
    // Both settle before either says that it has.
    one.shared.held.put(first.claim.seq, message);
    tokio::join!(
        settle::settle(Arc::clone(&one.shared), first, deferred(Duration::from_secs(2), 1)),
        settle::settle(Arc::clone(&other.shared), second, buried(1)),
    );
    let counted = async |spool: &NatsSpool| {
        counts::count(&spool.shared).await.unwrap();
        let backlog = spool.backlog();
        (backlog[0].pending, backlog[0].dead)
    };
    let (pending, dead) = counted(&one).await;
    assert_eq!(pending + dead, 1);
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(counted(&one).await, (pending, dead));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn what_another_process_holds_is_not_buried_and_what_it_had_is_there_at_once_when_it_closes() {
    let server = Server::start();
    let options = Options { ack_wait: Duration::from_secs(30), ..server.options() };
    let (one, other) = (server.open_with(options.clone()).await, server.open_with(options).await);
    one.append(batch(1..=5, &["a"])).await.unwrap();
    let held = lease_all(&other, "a", 2).await;
    assert_eq!(one.bury(&name("a"), Reason::WebhookRemoved, None).await, Ok(3));
    counters_become(&one, "a", (2, 3)).await;
    let started = std::time::Instant::now();
    other.close().await;
    assert_eq!(lease_all(&one, "a", 2).await.len(), 2);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    drop(held);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn dead_letters_are_listed_however_large_they_are() {
    let server = Server::start();
    let spool = server.connect().await;
    let large = Bytes::from(format!("\"{}\"", "x".repeat(960 * 1024)));
    for n in 1..=80_u64 {
        let event = Event::new(event(n).id, "k".into(), "t".into(), Timestamp::now(), large.clone());
        let owed = vec![Owed { webhook: name("a"), lane: None }];
        spool.append(Batch { events: vec![(Arc::new(event), owed)], key: None }).await.unwrap();
    }
    let mut left = 80;
    while left > 0 {
        for lease in lease(&spool, "a", 20).await {
            spool.settle(lease, buried(1)).await;
            left -= 1;
        }
    }
    counters_become(&spool, "a", (0, 80)).await;
    for oldest_first in [true, false] {
        let query = DeadLetterQuery { oldest_first, ..DeadLetterQuery::default() };
        let page = spool.dead_letters(query).await.unwrap();
        assert_eq!((page.letters.len(), page.next), (80, None));
    }
    let letters = spool.dead_letters(DeadLetterQuery::default()).await.unwrap().letters;
    let numbers = letters.iter().map(|letter| letter.number).collect();
    assert_eq!(spool.replay(numbers).await, Ok(80));
    counters_become(&spool, "a", (80, 0)).await;
    let larger = Bytes::from(format!("\"{}\"", "x".repeat(1024 * 1024)));
    let event = Event::new(event(99).id, "k".into(), "t".into(), Timestamp::now(), larger);
    let owed = vec![Owed { webhook: name("a"), lane: None }];
    let refused = spool.append(Batch { events: vec![(Arc::new(event), owed)], key: None }).await;
    assert!(matches!(&refused, Err(SpoolError::TooLarge(text)) if text.contains("max_payload")), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn a_webhook_is_claimed_by_the_others_that_have_it() {
    let server = Server::start();
    let (one, other) = (server.connect().await, server.connect().await);
    one.claim([name("a"), name("b")].into());
    other.claim([name("b")].into());
    let told = async {
        while !(other.is_claimed("a").await && one.is_claimed("b").await) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), told).await.expect("they hear of each other");
    assert!(!one.is_claimed("a").await, "its own claim is nobody else's");
    assert!(!other.is_claimed("c").await);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn a_list_of_records_ends_and_passes_over_none_however_many_there_were() {
    let server = Server::start();
    let spool = server.connect().await;
    let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap();
    let keep = async |webhook: &str, numbers: std::ops::Range<u64>| {
        for n in numbers {
            let record = crate::spool::Record {
                number: now + n,
                reason: Reason::Timeout,
                request: None,
                text: "{}".into(),
                keep: 100,
            };
            append::publish(&spool.shared.client, records::message(&spool.shared.names, event(n).id, webhook, &record))
                .await
                .unwrap();
        }
    };
    keep("b", 0..5).await;
    keep("a", 5..1500).await;
    for (webhook, reason, count) in
        [(Some("b"), None, 5), (Some("a"), None, 100), (None, None, 105), (None, Some(Reason::Gone), 0)]
    {
        let mut query = InvocationQuery { limit: 7, webhook: webhook.map(name), reason, ..InvocationQuery::default() };
        let (mut found, mut pages) = (0, 0);
        loop {
            let page = spool.invocations(query.clone()).await.unwrap();
            (found, pages) = (found + page.invocations.len(), pages + 1);
            assert!(pages < 40, "it does not end");
            let Some(next) = page.next else { break };
            query.behind = Some(next);
        }
        assert_eq!(found, count, "{webhook:?} {reason:?}");
    }
}
