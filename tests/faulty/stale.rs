//! A reused connection that the receiver had already closed costs no attempt; a fresh one that it closes does.

use outrigger::client::{Client, Limits, Response};
use outrigger::delivery::{Failure, Reason};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;

use super::{AMPLE, LONGER, SHORT, client, post};
use crate::support::frames::{self, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM};
use crate::support::raw::{Greeting, Raw, Seen, Step, well};

/// So often everything else that can go on does so.
const YIELDS: usize = 64;

/// A client on a thread of its own: when a call is over, its connection is back in the pool or gone.
pub(crate) struct Caller {
    runtime: Runtime,
    client: Client,
}

impl Caller {
    fn new() -> Self {
        Self::with(client())
    }

    pub(crate) fn with(client: Client) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime needs nothing");
        Self { runtime, client }
    }

    fn call(&self, raw: &Raw, limits: Limits) -> Result<Response, Failure> {
        self.call_url(&raw.url("/"), limits)
    }

    /// So many calls at the same time: the statuses that are answered.
    fn call_at_once(&self, raw: &Raw, number: usize) -> Vec<Result<u16, Failure>> {
        self.runtime.block_on(async {
            let calls: Vec<_> = (0..number)
                .map(|_| {
                    let (client, url) = (self.client.clone(), raw.url("/"));
                    tokio::spawn(async move { post(&client, &url, AMPLE).await.map(|answer| answer.status.as_u16()) })
                })
                .collect();
            let mut answered = Vec::new();
            for call in calls {
                answered.push(call.await.expect("no panic"));
            }
            answered
        })
    }

    pub(crate) fn call_url(&self, url: &str, limits: Limits) -> Result<Response, Failure> {
        self.runtime.block_on(async {
            let result = post(&self.client, url, limits).await;
            for _ in 0..YIELDS {
                yield_now().await;
            }
            result
        })
    }
}

/// What a receiver does with the request at hand.
type Trouble = fn(&Seen) -> Vec<Step>;

/// The ways in which a connection ends before there is an answer.
const ENDS: [(&str, bool, Trouble); 8] = [
    ("closed", false, |_| vec![Step::Close]),
    ("reset", false, |_| vec![Step::Reset]),
    ("closed over HTTP/2", true, |_| vec![Step::Close]),
    ("reset over HTTP/2", true, |_| vec![Step::Reset]),
    ("gone away", true, |seen| vec![Step::Write(frames::go_away(seen.stream - 1, NO_ERROR))]),
    ("gone away in error", true, |seen| {
        vec![Step::Write(frames::go_away(seen.stream - 1, INTERNAL_ERROR)), Step::Close]
    }),
    ("gone away and closed", true, |seen| vec![Step::Write(frames::go_away(seen.stream, NO_ERROR)), Step::Close]),
    ("refused", true, |seen| vec![Step::Write(frames::reset(seen.stream, REFUSED_STREAM))]),
];

fn greeting(http2: bool) -> Greeting {
    if http2 { Greeting::http2() } else { Greeting::http1() }
}

/// The connection and number of every request.
fn seen(raw: &Raw) -> Vec<(usize, usize)> {
    raw.seen().iter().map(|seen| (seen.connection, seen.number)).collect()
}

#[test]
fn a_reused_connection_that_ends_before_the_answer_is_replaced_by_a_fresh_one_at_once() {
    for (name, http2, trouble) in ENDS {
        let raw = Raw::start(greeting(http2), move |seen| {
            if (seen.connection, seen.number) == (1, 2) { trouble(seen) } else { vec![well(seen)] }
        });
        let caller = Caller::new();
        for _ in 0..3 {
            let response = caller.call(&raw, AMPLE);
            assert_eq!(response.map(|response| response.body), Ok("ok".into()), "{name}");
        }
        let seen = seen(&raw);
        assert_eq!(seen[..3], [(1, 1), (1, 2), (2, 1)], "{name}: the second was repeated on another connection");
        assert!(seen.len() == 4 && seen[3].0 > 1, "{name}: the connection that ended is not used again: {seen:?}");
    }
}

#[test]
fn a_fresh_connection_that_ends_before_the_answer_is_a_failure_and_nothing_is_repeated() {
    for (name, http2, trouble) in ENDS {
        let raw = Raw::start(greeting(http2), trouble);
        let failure = Caller::new().call(&raw, AMPLE).expect_err(name);
        assert_eq!(failure.reason, Reason::ConnectionReset, "{name}: {failure:?}");
        assert_eq!(seen(&raw), [(1, 1)], "{name}");
    }
}

#[test]
fn a_request_is_repeated_once_and_never_twice() {
    for (name, http2, trouble) in ENDS {
        let raw = Raw::start(greeting(http2), move |seen| {
            if (seen.connection, seen.number) == (1, 1) { vec![well(seen)] } else { trouble(seen) }
        });
        let caller = Caller::new();
        caller.call(&raw, AMPLE).expect(name);
        let failure = caller.call(&raw, AMPLE).expect_err(name);
        assert_eq!(failure.reason, Reason::ConnectionReset, "{name}: {failure:?}");
        assert_eq!(seen(&raw), [(1, 1), (1, 2), (2, 1)], "{name}");
    }
}

#[test]
fn what_has_begun_to_be_answered_was_processed_or_only_ran_out_of_time_is_not_repeated() {
    let cases: [(&str, bool, Trouble, Reason); 6] = [
        ("a head begun", false, |_| vec![Step::Write(b"HTTP/1.1 2".to_vec()), Step::Close], Reason::ConnectionReset),
        (
            "hints",
            false,
            |_| vec![Step::Write(b"HTTP/1.1 103 Early Hints\r\n\r\n".to_vec()), Step::Reset],
            Reason::ConnectionReset,
        ),
        ("no HTTP", false, |_| vec![Step::Write(b"nonsense\r\n\r\n".to_vec()), Step::Close], Reason::NetworkError),
        ("silence", false, |_| Vec::new(), Reason::Timeout),
        ("silence over HTTP/2", true, |_| Vec::new(), Reason::Timeout),
        (
            "given up over HTTP/2",
            true,
            |seen| vec![Step::Write(frames::reset(seen.stream, INTERNAL_ERROR))],
            Reason::ConnectionReset,
        ),
    ];
    for (name, http2, trouble, reason) in cases {
        let raw =
            Raw::start(greeting(http2), move |seen| if seen.number == 1 { vec![well(seen)] } else { trouble(seen) });
        let caller = Caller::new();
        caller.call(&raw, AMPLE).expect(name);
        let failure = caller.call(&raw, SHORT).expect_err(name);
        assert_eq!(failure.reason, reason, "{name}: {failure:?}");
        assert_eq!(seen(&raw), [(1, 1), (1, 2)], "{name}");
    }
}

#[test]
fn the_repetition_has_only_the_time_that_is_left() {
    for http2 in [false, true] {
        let raw = Raw::start(greeting(http2), |seen| match (seen.connection, seen.number) {
            (1, 1) => vec![well(seen)],
            (1, _) => vec![Step::Close],
            _ => Vec::new(),
        });
        let caller = Caller::new();
        caller.call(&raw, AMPLE).expect("an answer");
        let begun = std::time::Instant::now();
        let failure = caller.call(&raw, LONGER).expect_err("nothing is answered");
        assert_eq!(failure.reason, Reason::Timeout, "{failure:?}");
        assert!(begun.elapsed() < LONGER.timeout * 2, "{:?}", begun.elapsed());
        assert_eq!(seen(&raw), [(1, 1), (1, 2), (2, 1)]);
    }
}

#[test]
fn a_connection_that_was_closed_while_idle_is_not_noticed_at_all() {
    for http2 in [false, true] {
        // The answer and the end come together, so that the connection is already over or about to be when it is asked for again.
        let raw = Raw::start(greeting(http2), |seen| vec![well(seen), Step::Leave]);
        let caller = Caller::new();
        for number in 1..=20 {
            let response = caller.call(&raw, AMPLE);
            assert!(response.is_ok(), "number {number} over HTTP/2 ({http2}): {response:?}");
        }
        assert_eq!(raw.seen().len(), 20);
    }
}

#[test]
fn a_receiver_that_closes_after_each_answer_and_does_not_say_so_is_sent_everything_once() {
    const AT_ONCE: usize = 32;
    for (name, end) in [("as it should", Step::Leave), ("without a word", Step::Close)] {
        let raw = Raw::start(Greeting::http1(), move |seen| vec![well(seen), end.clone()]);
        let caller = Caller::new();
        for _ in 0..4 {
            assert_eq!(caller.call_at_once(&raw, AT_ONCE), vec![Ok(200); AT_ONCE], "{name}");
        }
        let seen = seen(&raw);
        assert_eq!(seen.len(), 4 * AT_ONCE, "{name}");
        assert!(seen.iter().all(|(_, number)| *number == 1), "{name}: {seen:?}");
    }
}

#[test]
fn all_that_shared_a_connection_are_repeated_when_it_ends() {
    const SHARING: usize = 12;
    let raw = Raw::start(Greeting::http2(), |seen| match (seen.connection, seen.number) {
        (1, 1) => vec![well(seen)],
        // The last of them ends the connection for all.
        (1, number) if number == SHARING + 1 => vec![Step::Write(frames::go_away(1, NO_ERROR)), Step::Close],
        (1, _) => Vec::new(),
        _ => vec![well(seen)],
    });
    let caller = Caller::new();
    caller.call(&raw, AMPLE).expect("an answer");
    let answered = caller.call_at_once(&raw, SHARING);
    assert_eq!(answered, vec![Ok(200); SHARING]);
    assert_eq!(seen(&raw).iter().filter(|(connection, _)| *connection > 1).count(), SHARING);
}
