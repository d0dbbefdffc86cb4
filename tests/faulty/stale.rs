//! A reused connection that the receiver had already closed costs no attempt; a fresh one that it closes does.

use outrigger::delivery::{Failure, Reason};

use super::{AMPLE, SHORT, client, post};
use crate::support::frames::{self, INTERNAL_ERROR, NO_ERROR, REFUSED_STREAM};
use crate::support::raw::{Greeting, Raw, Seen, Step};
use crate::support::receiver::RUNTIME;

const WELL: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// A good answer to a request, over HTTP/2 when it came so.
fn well(seen: &Seen) -> Vec<Step> {
    let bytes = match seen.stream {
        0 => WELL.to_vec(),
        stream => [frames::headers(stream, 200, &[], false), frames::data(stream, b"ok", true)].concat(),
    };
    vec![Step::Write(bytes)]
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
            if (seen.connection, seen.number) == (1, 2) { trouble(seen) } else { well(seen) }
        });
        let client = client();
        for _ in 0..3 {
            let response = RUNTIME.block_on(post(&client, &raw.url("/"), AMPLE));
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
        let failure = RUNTIME.block_on(post(&client(), &raw.url("/"), AMPLE)).expect_err(name);
        assert_eq!(failure.reason, Reason::ConnectionReset, "{name}: {failure:?}");
        assert_eq!(seen(&raw), [(1, 1)], "{name}");
    }
}

#[test]
fn a_request_is_repeated_once_and_never_twice() {
    for (name, http2, trouble) in ENDS {
        let raw = Raw::start(greeting(http2), move |seen| {
            if (seen.connection, seen.number) == (1, 1) { well(seen) } else { trouble(seen) }
        });
        let client = client();
        RUNTIME.block_on(post(&client, &raw.url("/"), AMPLE)).expect(name);
        let failure = RUNTIME.block_on(post(&client, &raw.url("/"), AMPLE)).expect_err(name);
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
        let raw = Raw::start(greeting(http2), move |seen| if seen.number == 1 { well(seen) } else { trouble(seen) });
        let client = client();
        RUNTIME.block_on(post(&client, &raw.url("/"), AMPLE)).expect(name);
        let failure = RUNTIME.block_on(post(&client, &raw.url("/"), SHORT)).expect_err(name);
        assert_eq!(failure.reason, reason, "{name}: {failure:?}");
        assert_eq!(seen(&raw), [(1, 1), (1, 2)], "{name}");
    }
}

#[test]
fn the_repetition_has_only_the_time_that_is_left() {
    for http2 in [false, true] {
        let raw = Raw::start(greeting(http2), |seen| match (seen.connection, seen.number) {
            (1, 1) => well(seen),
            (1, _) => vec![Step::Close],
            _ => Vec::new(),
        });
        let client = client();
        RUNTIME.block_on(post(&client, &raw.url("/"), AMPLE)).expect("an answer");
        let begun = std::time::Instant::now();
        let failure = RUNTIME.block_on(post(&client, &raw.url("/"), SHORT)).expect_err("nothing is answered");
        assert_eq!(failure.reason, Reason::Timeout, "{failure:?}");
        assert!(begun.elapsed() < SHORT.timeout * 2, "{:?}", begun.elapsed());
        assert_eq!(seen(&raw), [(1, 1), (1, 2), (2, 1)]);
    }
}

#[test]
fn a_connection_that_was_closed_while_idle_is_not_noticed_at_all() {
    for http2 in [false, true] {
        // The answer and the end come together, so that the connection is already over or about to be when it is asked for again.
        let raw = Raw::start(greeting(http2), |seen| [well(seen), vec![Step::Close]].concat());
        let client = client();
        for number in 1..=20 {
            let response = RUNTIME.block_on(post(&client, &raw.url("/"), AMPLE));
            assert!(response.is_ok(), "number {number} over HTTP/2 ({http2}): {response:?}");
        }
        assert_eq!(raw.seen().len(), 20);
    }
}

#[test]
fn all_that_shared_a_connection_are_repeated_when_it_ends() {
    const SHARING: usize = 12;
    let raw = Raw::start(Greeting::http2(), |seen| match (seen.connection, seen.number) {
        (1, 1) => well(seen),
        // The last of them ends the connection for all.
        (1, number) if number == SHARING + 1 => vec![Step::Write(frames::go_away(1, NO_ERROR)), Step::Close],
        (1, _) => Vec::new(),
        _ => well(seen),
    });
    let client = client();
    RUNTIME.block_on(post(&client, &raw.url("/"), AMPLE)).expect("an answer");
    let waiting: Vec<_> = (0..SHARING)
        .map(|_| {
            let (client, url) = (client.clone(), raw.url("/"));
            RUNTIME.spawn(async move { post(&client, &url, AMPLE).await })
        })
        .collect();
    let answered: Vec<Result<u16, Failure>> = waiting
        .into_iter()
        .map(|one| RUNTIME.block_on(one).expect("no panic").map(|response| response.status.as_u16()))
        .collect();
    assert_eq!(answered, vec![Ok(200); SHARING]);
    assert_eq!(seen(&raw).iter().filter(|(connection, _)| *connection > 1).count(), SHARING);
}
