//! The contract, held against a real server: `OUTRIGGER_TEST_NATS` names its program.

use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use super::*;
use crate::delivery::Reason;
use crate::spool::contract::{
    batch, counters_become, deferred, event, lease, lease_all, name, nothing_is_due, number, outcome,
};

/// A server of one node with what it stores.
struct Server {
    process: Child,
    port: u16,
    directory: TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = TempDir::new().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
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
        Options { ack_wait: Duration::from_secs(3), ..Options::new(vec![format!("nats://127.0.0.1:{}", self.port)]) }
    }

    /// A spool on it, once it answers.
    async fn open(&self) -> NatsSpool {
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

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
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
async fn what_was_appended_comes_in_order_and_outlives_server_and_process() {
    let mut server = Server::start();
    let spool = server.open().await;
    spool.append(batch(1..=5, &["a", "b"])).await.unwrap();
    let held = lease_all(&spool, "a", 2).await;
    assert_eq!(held.iter().map(number).collect::<Vec<_>>(), [1, 2]);
    drop(held);
    spool.close().await;
    drop(spool);
    server.kill();
    server.restart();
    let spool = server.open().await;
    counters_become(&spool, "b", (5, 0)).await;
    for webhook in ["a", "b"] {
        let leases = lease_all(&spool, webhook, 5).await;
        let mut numbers: Vec<u64> = leases.iter().map(number).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [1, 2, 3, 4, 5]);
        let first = leases.iter().find(|lease| number(lease) == 1).unwrap();
        assert_eq!((first.event.id, &*first.event.kind, first.attempts), (event(1).id, "request", 0));
        assert_eq!(first.event.received_at, event(1).received_at);
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn a_lease_is_nobody_elses_and_comes_back_when_it_is_dropped_or_its_holder_dies() {
    let server = Server::start();
    let (one, other) = (server.open().await, server.open().await);
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
async fn every_settlement_does_what_it_says() {
    let server = Server::start();
    let spool = server.open().await;
    spool.append(batch(1..=4, &["a"])).await.unwrap();
    let mut leases = lease_all(&spool, "a", 4).await;
    leases.sort_by_key(|lease| std::cmp::Reverse(number(lease)));
    spool.settle(leases.pop().unwrap(), Settlement::Delivered).await;
    spool.settle(leases.pop().unwrap(), buried(3)).await;
    let started = std::time::Instant::now();
    spool.settle(leases.pop().unwrap(), deferred(Duration::from_secs(2), 7)).await;
    spool.settle(leases.pop().unwrap(), deferred(Duration::ZERO, 1)).await;
    let now = lease(&spool, "a", 1).await.pop().unwrap();
    assert_eq!((number(&now), now.attempts), (4, 1));
    spool.settle(now, Settlement::Delivered).await;
    counters_become(&spool, "a", (1, 1)).await;
    let later = lease(&spool, "a", 5).await.pop().unwrap();
    assert_eq!((number(&later), later.attempts), (3, 7));
    assert!(started.elapsed() >= Duration::from_secs(1), "{:?}", started.elapsed());
    spool.settle(later, Settlement::Delivered).await;
    counters_become(&spool, "a", (0, 1)).await;

    let page = spool.dead_letters(DeadLetterQuery::default()).await.unwrap();
    let [letter] = &page.letters[..] else { panic!("{page:?}") };
    assert_eq!((letter.event, letter.attempts, letter.reason), (event(2).id, 3, Reason::ClientError));
    assert_eq!(letter.last, Some(outcome(Reason::ClientError, 400)));
    let (shown, payload) = spool.dead_letter(event(2).id, "a").await.unwrap().unwrap();
    assert_eq!((&shown, payload), (letter, event(2).raw.clone()));
    let kept = spool.find(Sought::Event(event(2).id)).await.unwrap();
    assert!(kept.complete && kept.events[0].webhooks[0].dead.as_ref() == Some(letter));
    assert_eq!(spool.replay(vec![letter.number]).await, Ok(1));
    assert_eq!(spool.replay(vec![letter.number]).await, Ok(0));
    let again = lease(&spool, "a", 1).await.pop().unwrap();
    assert_eq!((number(&again), again.attempts), (2, 0));
    assert!(again.since > event(2).received_at);
    spool.settle(again, buried(1)).await;
    written(&spool).await;
    let number = spool.dead_letters(DeadLetterQuery::default()).await.unwrap().letters[0].number;
    assert_eq!(spool.drop_dead_letters(vec![number]).await, Ok(1));
    counters_become(&spool, "a", (0, 0)).await;
    assert!(spool.dead_letters(DeadLetterQuery::default()).await.unwrap().letters.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn records_are_kept_with_their_settlements_and_events_are_found_by_what_stands_in_them() {
    let server = Server::start();
    let spool = server.open().await;
    spool.append(batch(1..=5, &["a", "b"])).await.unwrap();
    let now = u64::try_from(Timestamp::now().as_microsecond()).unwrap();
    for webhook in ["a", "b"] {
        for lease in lease_all(&spool, webhook, 5).await {
            let (number, text) = (now + number(&lease), format!("of {webhook}").into());
            let record = super::super::Record {
                number: if webhook == "a" { number } else { number + 10 },
                reason: Reason::ClientError,
                request: Some(format!("AR-{webhook}")),
                text,
                keep: 100,
            };
            spool.settle(lease, buried(1).with_record(record)).await;
        }
    }
    written(&spool).await;
    let numbers = async |query| {
        let page = spool.invocations(query).await.unwrap();
        (page.invocations.iter().map(|one| one.number - now).collect::<Vec<_>>(), page.next.map(|next| next - now))
    };
    assert_eq!(numbers(InvocationQuery { limit: 4, ..Default::default() }).await, (vec![15, 14, 13, 12], Some(12)));
    let behind = InvocationQuery { limit: 4, behind: Some(now + 12), ..Default::default() };
    assert_eq!(numbers(behind).await, (vec![11, 5, 4, 3], Some(3)));
    let of = InvocationQuery { webhook: Some(name("a")), after: Some(now + 3), ..Default::default() };
    assert_eq!(numbers(of).await, (vec![5, 4], None));
    let of = InvocationQuery { request: Some("AR-b".to_owned()), event: Some(event(2).id), ..Default::default() };
    assert_eq!(numbers(of).await, (vec![12], None));
    let one = spool.invocation(now + 13).await.unwrap().unwrap();
    assert_eq!((&*one.webhook, one.event, &*one.text), ("b", event(3).id, "of b"));
    assert_eq!(spool.invocation(now + 9).await.unwrap(), None);
    assert_eq!(server.open().await.last_invocation(), now + 15);

    let found = spool.find(Sought::Text("exact".to_owned())).await.unwrap();
    assert!(found.complete && found.events.len() == 5 && found.events.iter().all(|kept| kept.webhooks.len() == 2));
    assert!(spool.find(Sought::Text("exac".to_owned())).await.unwrap().events.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn of_two_who_hold_a_delivery_one_settlement_counts() {
    let server = Server::start();
    let (one, other) = (server.open().await, server.open().await);
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
    counts::count(&one.shared).await;
    assert_eq!(one.backlog()[0].pending, 0, "it is delivered, and stays so");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn a_key_keeps_its_batch_once_and_all_of_it_or_nothing() {
    let server = Server::start();
    let spool = server.open().await;
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
    let spool = server.open().await;
    spool.append(batch(1..=3, &["a"])).await.unwrap();
    let held = lease_all(&spool, "a", 2).await;
    server.kill();
    assert!(matches!(spool.append(batch([4], &["a"])).await, Err(SpoolError::Unavailable(_))));
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
async fn a_removed_webhooks_deliveries_are_buried_and_dead_letters_are_paged_both_ways() {
    let server = Server::start();
    let spool = server.open().await;
    spool.append(batch(1..=30, &["a"])).await.unwrap();
    let later = lease(&spool, "a", 1).await.pop().unwrap();
    spool.settle(later, deferred(Duration::from_hours(5), 2)).await;
    written(&spool).await;
    assert_eq!(spool.bury(&name("a"), Reason::WebhookRemoved, None).await, Ok(30));
    counters_become(&spool, "a", (0, 30)).await;
    nothing_is_due(&spool, "a").await;
    for oldest_first in [true, false] {
        let (mut query, mut numbers) =
            (DeadLetterQuery { limit: 7, oldest_first, ..DeadLetterQuery::default() }, Vec::new());
        loop {
            let page = spool.dead_letters(query.clone()).await.unwrap();
            numbers.extend(page.letters.iter().map(|letter| letter.number));
            query.behind = page.next;
            if page.next.is_none() {
                break;
            }
        }
        assert_eq!(numbers.len(), 30);
        let sorted = if oldest_first { numbers.is_sorted() } else { numbers.is_sorted_by(|one, next| one > next) };
        assert!(sorted, "{numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a nats-server: tests/all"]
async fn a_stream_that_would_lose_something_is_refused_with_all_its_faults() {
    let server = Server::start();
    let spool = server.open().await;
    let config = async_nats::jetstream::stream::Config {
        name: "other".to_owned(),
        subjects: vec!["other.>".to_owned()],
        max_bytes: 1000,
        max_age: Duration::from_mins(1),
        ..Default::default()
    };
    spool.shared.context.create_stream(config).await.unwrap();
    let options = Options { stream: "other".to_owned(), ..server.options() };
    let Err(OpenError::Stream { faults, .. }) = NatsSpool::open(options).await else { panic!("it is taken") };
    let all = faults.join("; ");
    for fault in ["`retention`", "`max_bytes`", "`max_age`", "`allow_atomic`", "`max_msgs_per_subject`"] {
        assert!(all.contains(fault), "{fault}: {all}");
    }
    let nobody = Options::new(vec!["nats://user:canary@127.0.0.1:1/".to_owned()]);
    let Err(error @ OpenError::Connect { .. }) = NatsSpool::open(nobody).await else { panic!("nobody listens there") };
    assert!(error.to_string().contains("127.0.0.1:1 cannot be reached"), "{error}");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
}
