//! Over HTTP/2 many exchanges share a connection: what is wrong with some of them must not touch the others.

use std::time::{Duration, Instant};

use outrigger::cli::demo::answer::Answer;
use outrigger::client::{Client, Response};
use outrigger::delivery::{Failure, Reason};
use tokio::task::JoinHandle;

use super::{AMPLE, RESPONSE_BYTES_MAX, SHORT, client, post};
use crate::support::frames;
use crate::support::raw::{Greeting, Raw, Step, well};
use crate::support::receiver::RUNTIME;
use crate::support::{PATIENCE, eventually, receiver};

/// Exchanges on one connection: their unread bodies would fill its window twice.
const SHARING: usize = 32;
/// A body that nearly fills the window of its stream, in frames of the largest size.
const FRAMES: [usize; 4] = [16 * 1024, 16 * 1024, 16 * 1024, 12 * 1024];

type Exchange = JoinHandle<Result<Response, Failure>>;

fn begin(client: &Client, url: String) -> Exchange {
    let client = client.clone();
    RUNTIME.spawn(async move { post(&client, &url, AMPLE).await })
}

fn end(exchange: Exchange) -> Result<Response, Failure> {
    RUNTIME.block_on(exchange).expect("no panic")
}

#[test]
fn bodies_that_are_cut_take_nothing_from_the_connection() {
    let target = receiver().start();
    let client = client();
    RUNTIME.block_on(post(&client, &target.url("/"), AMPLE)).expect("an answer");
    target.otherwise(Answer::endless());
    for _ in 0..3 {
        let endless: Vec<Exchange> = (0..SHARING).map(|_| begin(&client, target.url("/"))).collect();
        for exchange in endless {
            let response = end(exchange).expect("an answer");
            assert_eq!((response.body.len(), response.truncated), (RESPONSE_BYTES_MAX, true));
        }
    }
    target.otherwise(Answer::huge(RESPONSE_BYTES_MAX));
    let response = RUNTIME.block_on(post(&client, &target.url("/"), AMPLE)).expect("an answer");
    assert_eq!((response.body.len(), response.truncated), (RESPONSE_BYTES_MAX, false));
    let seen = target.recorded();
    assert_eq!(seen.len(), 3 * SHARING + 2);
    assert!(seen.iter().all(|seen| seen.http2 && seen.connection == 1), "all went over one connection");
}

#[test]
fn bodies_that_stall_take_nothing_from_the_connection() {
    let raw = Raw::start(Greeting::http2(), |seen| {
        let last = seen.number == SHARING + 2;
        if seen.number == 1 {
            return vec![well(seen)];
        }
        let head = frames::headers(seen.stream, 200, &[], false);
        let body = FRAMES.iter().enumerate().map(|(number, length)| {
            frames::data(seen.stream, &vec![b'x'; *length], last && number + 1 == FRAMES.len())
        });
        vec![Step::Write([vec![head], body.collect()].concat().concat())]
    });
    let client = client();
    RUNTIME.block_on(post(&client, &raw.url("/"), AMPLE)).expect("an answer");
    let stalled: Vec<Exchange> = (0..SHARING).map(|_| begin(&client, raw.url("/"))).collect();
    assert!(eventually(PATIENCE, || (raw.seen().len() > SHARING).then_some(())).is_some(), "they are under way");
    let response = RUNTIME.block_on(post(&client, &raw.url("/"), AMPLE)).expect("an answer");
    assert_eq!(response.body.len(), FRAMES.iter().sum::<usize>());
    assert!(stalled.iter().all(|exchange| !exchange.is_finished()), "the others wait on");
    assert_eq!(raw.connections(), 1);
    stalled.iter().for_each(JoinHandle::abort);
}

#[test]
fn an_exchange_that_ran_out_of_time_ends_no_other_and_the_next_gets_a_connection_of_its_own() {
    let slow = SHORT.timeout + Duration::from_millis(500);
    let target = receiver().start();
    target.respond_with(move |request| match request.target.as_str() {
        "/silent" => Answer::hang(),
        "/slow" => Answer::text("late").after(slow),
        _ => Answer::text("ok"),
    });
    let client = client();
    RUNTIME.block_on(post(&client, &target.url("/"), AMPLE)).expect("an answer");
    let begun = Instant::now();
    let patient = begin(&client, target.url("/slow"));
    let failure = RUNTIME.block_on(post(&client, &target.url("/silent"), SHORT)).expect_err("nothing is answered");
    assert_eq!(failure.reason, Reason::Timeout);
    RUNTIME.block_on(post(&client, &target.url("/"), AMPLE)).expect("an answer");
    assert_eq!(end(patient).map(|response| response.body), Ok("late".into()));
    assert!(begun.elapsed() >= slow);
    let connections: Vec<usize> = target.recorded().iter().map(|seen| seen.connection).collect();
    assert_eq!(connections, [1, 1, 1, 2]);
}
