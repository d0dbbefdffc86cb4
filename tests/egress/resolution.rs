//! A name that answers otherwise each time: what was judged is what is dialled.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use outrigger::client::Names;
use outrigger::delivery::Reason;

use super::{NAME, PUBLIC, client, ip, named, public, socket, trap};
use crate::faulty::AMPLE;
use crate::faulty::stale::Caller;
use crate::support::raw::{Raw, Step, well};

/// Where requests go.
const URL: &str = "https://public.example/hidden";
/// What a name turns to, and what the tests dial in its place: a trap.
const PRIVATE: [&str; 4] = ["10.0.0.1", "::1", "169.254.169.254", "::ffff:127.0.0.1"];

/// A name that answers with these lists in turn, the last one for ever, and how often it was asked.
fn turning(lists: &[&[&str]]) -> (Arc<Names>, Arc<AtomicUsize>) {
    let lists: Vec<Vec<IpAddr>> = lists.iter().map(|list| list.iter().map(|address| ip(address)).collect()).collect();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let names = move |name: &str| {
        assert_eq!(name, NAME);
        lists[count.fetch_add(1, Ordering::SeqCst).min(lists.len() - 1)].clone()
    };
    (Arc::new(names), asked)
}

/// A caller whose public address is one receiver and whose private ones are another.
fn caller(names: Arc<Names>, public: &Raw, trap: &Raw) -> Caller {
    let private = PRIVATE.iter().map(|address| (ip(address).to_canonical(), socket(trap)));
    let addresses: BTreeMap<_, _> = private.chain([(ip(PUBLIC), socket(public))]).collect();
    Caller::with(client(names, addresses))
}

#[test]
fn a_name_that_turns_private_is_never_followed_there() {
    for private in PRIVATE {
        let (public, trap) = (public(), trap());
        let (names, asked) = turning(&[&[PUBLIC], &[private]]);
        let caller = caller(names, &public, &trap);
        // However often the name would turn, a connection asks once and dials what it was told.
        for _ in 0..3 {
            assert_eq!(caller.call_url(URL, AMPLE).map(|response| response.status.as_u16()), Ok(200));
        }
        assert_eq!((asked.load(Ordering::SeqCst), public.connections()), (1, 1));

        let (names, asked) = turning(&[&[private], &[PUBLIC]]);
        let caller = self::caller(names, &public, &trap);
        let failure = caller.call_url(URL, AMPLE).expect_err("it is private");
        assert_eq!(failure.reason, Reason::BlockedAddress, "{failure:?}");
        assert!(failure.detail.starts_with("public.example is ") && !failure.detail.contains("hidden"), "{failure:?}");
        assert_eq!(asked.load(Ordering::SeqCst), 1, "a refusal is not a reason to ask again");
        assert_eq!(trap.connections(), 0, "{private}");
    }
}

#[test]
fn of_mixed_answers_only_the_public_ones_are_dialled() {
    let mixed = [PRIVATE[0], PUBLIC, PRIVATE[1], PRIVATE[2], PRIVATE[3]];
    let (public, trap) = (public(), trap());
    let caller = caller(turning(&[&mixed]).0, &public, &trap);
    assert_eq!(caller.call_url(URL, AMPLE).map(|response| response.status.as_u16()), Ok(200));
    assert_eq!((public.connections(), trap.connections()), (1, 0));

    // Nor when the public one does not answer.
    let gone = socket(&public);
    drop(public);
    let private = PRIVATE.iter().map(|address| (ip(address).to_canonical(), socket(&trap)));
    let addresses = private.chain([(ip(PUBLIC), gone)]).collect();
    let failure =
        Caller::with(client(turning(&[&mixed]).0, addresses)).call_url(URL, AMPLE).expect_err("nobody listens");
    assert_ne!(failure.reason, Reason::BlockedAddress, "one of them may be dialled: {failure:?}");
    assert_eq!(trap.connections(), 0);
}

#[test]
fn the_repetition_on_a_fresh_connection_asks_and_judges_anew() {
    let public = Raw::start(named(), |seen| match seen.number {
        1 => vec![well(seen)],
        _ => vec![Step::Close],
    });
    let trap = trap();
    for private in PRIVATE {
        let before = public.seen().len();
        let (names, asked) = turning(&[&[PUBLIC], &[private]]);
        let caller = caller(names, &public, &trap);
        assert_eq!(caller.call_url(URL, AMPLE).map(|response| response.status.as_u16()), Ok(200));
        let failure = caller.call_url(URL, AMPLE).expect_err("the name has turned");
        assert_eq!(public.seen().len() - before, 2, "the second was lost on the first one's connection");
        assert_eq!(failure.reason, Reason::BlockedAddress, "{private}: {failure:?}");
        assert_eq!((asked.load(Ordering::SeqCst), trap.connections()), (2, 0), "{private}");
    }
}

#[test]
fn a_name_without_an_address_is_a_dns_error() {
    let (public, trap) = (public(), trap());
    let failure = caller(turning(&[&[]]).0, &public, &trap).call_url(URL, AMPLE).expect_err("there is none");
    assert_eq!((failure.reason, failure.detail.as_str()), (Reason::DnsError, "public.example has no address"));
}
