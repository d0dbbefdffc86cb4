//! Made-up histories: the judge finds nothing where all is well, and each rule what breaks it.

use std::time::Duration;

use crate::oracle::history::{
    Attempt, Burial, Cut, Defined, End, History, Life, Moment, Outage, Post, Posted, Receipt, Reply, Request, State,
    Status, Told,
};
use crate::oracle::webhooks::{COUNT, Event, LEAVING, SERIALS, SPECS};

use super::{EDIT_LAG, judge};

const SEED: u64 = 7;
const ORDERED: usize = 0;
const PACED: usize = 4;
const LIMITED: usize = 5;
const LACKING: usize = 6;
const AGING: usize = 9;

fn at(ms: u64) -> Moment {
    Duration::from_millis(ms)
}

/// The id of the event of this number.
fn event_id(number: u64) -> String {
    format!("evt_{number:032}")
}

fn id(number: u64, webhook: usize) -> String {
    format!("{}_{}", event_id(number), SPECS[webhook].name)
}

/// The first events of a producer that a webhook wants and that are in the lane of the first of them.
fn wanted(webhook: usize, count: usize) -> Vec<u64> {
    let spec = &SPECS[webhook];
    let first = Event::wanted_by(spec, SEED, 0);
    let same = |event: &Event| spec.wants(event) && event.needed && spec.lane(event) == spec.lane(&first);
    (0..SERIALS).map(|number| Event::of(SEED, number)).filter(same).map(|event| event.number).take(count).collect()
}

fn request(number: u64, webhook: usize, ms: u64, reply: Reply) -> Request {
    Request { webhook, id: id(number, webhook), payload: Ok((number, 1)), life: 0, at: at(ms), reply }
}

fn burial(number: u64, webhook: usize, ms: u64, reason: &str, attempts: u32) -> Burial {
    Burial { id: id(number, webhook), number: Some(number), reason: reason.to_owned(), attempts, at: at(ms) }
}

/// The attempt that a request was made in.
fn attempt(request: &Request, begun: u64, ended: u64, timed_out: bool) -> Attempt {
    Attempt { id: request.id.clone(), begun: at(begun), ended: at(ended), failed: timed_out, timed_out }
}

/// Posted at a time with a receipt that names all who want it, or one webhook.
fn post(number: u64, invoked: Option<usize>, ms: u64) -> Post {
    let event = Event::of(SEED, number);
    let owed = |webhook: usize| invoked.map_or_else(|| SPECS[webhook].wants(&event), |named| named == webhook);
    let owed = (0..COUNT).filter(|webhook| owed(*webhook)).map(|webhook| (SPECS[webhook].name.to_owned(), None));
    let receipt = Receipt { event: event_id(number), owed: owed.collect() };
    let result = Posted::Taken(vec![receipt]);
    Post { events: vec![number], invoked, key: None, begun: at(ms), ended: at(ms + 1), result }
}

/// One webhook in use, with nothing posted; edits and lives as they are at rest.
fn quiet() -> History {
    let webhooks = [Defined { status: Status::Active, version: 1 }; COUNT];
    History {
        seed: SEED,
        states: vec![State { at: at(0), good: true, webhooks }],
        lives: vec![Life { begun: at(0), asked: at(60_000), ended: at(61_000), end: End::Drained }],
        ..History::default()
    }
}

/// Events for one webhook alone, each posted, sent and accepted one after the other.
fn well(webhook: usize, count: usize) -> History {
    let mut history = quiet();
    for (place, number) in wanted(webhook, count).into_iter().enumerate() {
        let ms = 1000 + 100 * place as u64;
        history.posts.push(post(number, Some(webhook), ms));
        history.requests.push(request(number, webhook, ms + 10, Reply::Accept));
    }
    history
}

fn rules(history: &History) -> Vec<&'static str> {
    let mut rules: Vec<_> = judge(history).into_iter().map(|violation| violation.rule).collect();
    rules.dedup();
    rules
}

/// Changes a well history and holds what is found against what is expected.
#[track_caller]
fn check(what: &str, mut history: History, change: impl FnOnce(&mut History), expected: &[&str]) {
    change(&mut history);
    assert_eq!(rules(&history), expected, "{what}: {:#?}", judge(&history));
}

#[test]
fn a_history_without_fault_is_let_pass() {
    for (webhook, spec) in SPECS.iter().enumerate() {
        check(spec.name, well(webhook, 4), |_| {}, &[]);
    }
}

#[test]
fn what_is_lost_or_dies_unexplained_is_found() {
    let [first, ..] = wanted(ORDERED, 1)[..] else { panic!("it wants something") };
    check("lost", well(ORDERED, 1), |history| history.requests.clear(), &["lost"]);
    let failed = |history: &mut History, reply| history.requests[0].reply = reply;
    check("never accepted", well(ORDERED, 1), |history| failed(history, Reply::Status(500)), &["lost"]);
    let dies = |webhook: usize, reply, reason: &'static str, attempts, expected: &[&str]| {
        let number = wanted(webhook, 1)[0];
        let change = |history: &mut History| {
            failed(history, reply);
            history.burials.push(burial(number, webhook, 1100, reason, attempts));
        };
        check(reason, well(webhook, 1), change, expected);
    };
    dies(ORDERED, Reply::Status(400), "client_error", 1, &[]);
    dies(ORDERED, Reply::Status(500), "client_error", 1, &["unexplained death"]);
    dies(ORDERED, Reply::Status(401), "auth_error", 1, &["unexplained death"]);
    dies(ORDERED, Reply::Status(500), "expired", 1, &["unexplained death"]);
    dies(ORDERED, Reply::Invalid, "validation_failed", 1, &["unexplained death"]);
    dies(AGING, Reply::Status(500), "expired", 1, &[]);
    dies(LIMITED, Reply::Status(500), "attempts_exhausted", 4, &[]);
    dies(LIMITED, Reply::Status(500), "attempts_exhausted", 3, &["unexplained death"]);
    dies(LACKING, Reply::Status(500), "template_error", 0, &["unexplained death"]);
    dies(LEAVING, Reply::Status(500), "webhook_removed", 1, &["unexplained death"]);
    let told = |told| {
        move |history: &mut History| {
            let Posted::Taken(receipts) = &mut history.posts[0].result else { return };
            receipts[0].owed[0].1 = Some(told);
            history.posts[0].ended = at(1050);
        }
    };
    check("told so", well(ORDERED, 1), told(Told::Delivered), &[]);
    check("told wrong", well(ORDERED, 1), told(Told::Dead("expired".to_owned())), &["told"]);
    let unknown = burial(first + SERIALS, ORDERED, 1100, "client_error", 1);
    let finds = &["unexplained death", "invented"];
    check("a dead letter of nothing", well(ORDERED, 1), |history| history.burials.push(unknown), finds);
}

#[test]
fn what_is_sent_again_without_a_cause_is_found() {
    let again = |history: &mut History, ms, life| {
        let number = history.posts[0].events[0];
        history.requests.push(Request { life, ..request(number, ORDERED, ms, Reply::Accept) });
    };
    check("again", well(ORDERED, 1), |history| again(history, 3000, 0), &["duplicate"]);
    let killed = |kill| {
        move |history: &mut History| {
            history.lives.insert(0, Life { begun: at(0), asked: at(kill), ended: at(kill), end: End::Killed });
            again(history, 20_000, 1);
        }
    };
    check("a kill at once", well(ORDERED, 1), killed(1500), &[]);
    check("a kill much later", well(ORDERED, 1), killed(15_000), &["duplicate"]);
    let cut = |history: &mut History| {
        history.cuts.push(Cut { receiver: SPECS[ORDERED].receiver, from: at(1011), to: at(1011) });
        again(history, 3000, 0);
    };
    check("the answer was cut off", well(ORDERED, 1), cut, &[]);
    let elsewhere = |history: &mut History| {
        history.cuts.push(Cut { receiver: SPECS[ORDERED].receiver + 1, from: at(1011), to: at(1011) });
        again(history, 3000, 0);
    };
    check("another one's was", well(ORDERED, 1), elsewhere, &["duplicate"]);
    let failed = |history: &mut History| {
        history.requests[0].reply = Reply::Hang;
        again(history, 3000, 0);
    };
    check("it was not accepted", well(ORDERED, 1), failed, &[]);
    let replayed = |history: &mut History| {
        let number = history.posts[0].events[0];
        history.burials.push(burial(number, ORDERED, 2000, "client_error", 1));
        history.requests.insert(0, request(number, ORDERED, 1005, Reply::Status(400)));
        history.replays.push((id(number, ORDERED), at(2500)));
        again(history, 3000, 0);
    };
    check("it was replayed", well(ORDERED, 1), replayed, &[]);
    let stuck = |history: &mut History| {
        let number = history.posts[0].events[0];
        history.requests[0].reply = Reply::Status(400);
        history.burials.push(burial(number, ORDERED, 2000, "client_error", 1));
        history.replays.push((id(number, ORDERED), at(2500)));
    };
    check("it was replayed and forgotten", well(ORDERED, 1), stuck, &["lost"]);
    let late = |history: &mut History| {
        history.attempts.push(attempt(&history.requests[0], 990, 2490, true));
        again(history, 3000, 0);
    };
    check("its answer came too late", well(ORDERED, 1), late, &[]);
}

#[test]
fn what_nobody_posted_is_found() {
    let spare = Event::wanted_by(&SPECS[ORDERED], SEED, 5 * SERIALS).number;
    let sent = |history: &mut History| history.requests.push(request(spare, ORDERED, 2000, Reply::Accept));
    check("invented", well(ORDERED, 1), sent, &["invented"]);
    let posted = |result: Posted| {
        move |history: &mut History| {
            sent(history);
            history.posts.push(Post { result, ..post(spare, Some(ORDERED), 1900) });
        }
    };
    let refused = Posted::Refused { status: 503, retry_after: true };
    check("refused and sent", well(ORDERED, 1), posted(refused), &["invented"]);
    let lost = || Posted::Lost("reset".to_owned());
    let ends = |history: &mut History| {
        history.lives.insert(0, Life { begun: at(0), asked: at(1901), ended: at(1902), end: End::Killed });
        posted(lost())(history);
    };
    check("its answer was lost", well(ORDERED, 1), ends, &[]);
    check("a living process did not answer", well(ORDERED, 1), posted(lost()), &["ingest"]);
    let unnamed = |history: &mut History| {
        let number = history.posts[0].events[0];
        history.requests.push(request(number, 1, 2000, Reply::Accept));
    };
    check("the receipt names another webhook", well(ORDERED, 1), unnamed, &["invented"]);
    let twice = |history: &mut History| {
        let mut again = history.requests[0].clone();
        again.id = id(99, ORDERED);
        history.requests.push(again);
    };
    check("one event under two ids", well(ORDERED, 1), twice, &["invented", "twice"]);
}

#[test]
fn a_part_of_a_post_is_found() {
    let numbers = wanted(ORDERED, 2);
    let lost = |history: &mut History| {
        history.posts = vec![Post {
            events: numbers.clone(),
            result: Posted::Lost("reset".to_owned()),
            ended: at(1200),
            ..post(numbers[0], Some(ORDERED), 1000)
        }];
        history.lives.insert(0, Life { begun: at(0), asked: at(1200), ended: at(1200), end: End::Killed });
    };
    check("all", well(ORDERED, 2), lost, &[]);
    let part = |history: &mut History| {
        lost(history);
        history.requests.pop();
    };
    check("a part", well(ORDERED, 2), part, &["all or none"]);
    let none = |history: &mut History| {
        lost(history);
        history.requests.clear();
    };
    check("none", well(ORDERED, 2), none, &[]);
}

#[test]
fn a_receipt_or_a_repeat_that_differs_is_found() {
    let named = |history: &mut History, names: &[&str]| {
        let Posted::Taken(receipts) = &mut history.posts[0].result else { return };
        receipts[0].owed = names.iter().map(|name| ((*name).to_owned(), None)).collect();
    };
    check("nobody", well(ORDERED, 1), |history| named(history, &[]), &["invented", "receipt"]);
    check("twice", well(ORDERED, 1), |history| named(history, &["ordered", "ordered"]), &["receipt"]);
    check("a stranger", well(ORDERED, 1), |history| named(history, &["ordered", "x"]), &["receipt"]);
    let inactive = |history: &mut History| history.states[0].webhooks[ORDERED].status = Status::Inactive;
    check("inactive", well(ORDERED, 1), inactive, &["receipt", "payload"]);
    let repeated = |event: u64| {
        move |history: &mut History| {
            history.posts[0].key = Some("k".to_owned());
            let mut again = Post { begun: at(5000), ended: at(5001), ..history.posts[0].clone() };
            let Posted::Taken(receipts) = &mut again.result else { return };
            receipts[0].event = event_id(event);
            history.posts.push(again);
        }
    };
    let first = wanted(ORDERED, 1)[0];
    check("the same again", well(ORDERED, 1), repeated(first), &[]);
    check("another one", well(ORDERED, 1), repeated(99), &["lost", "twice", "repeat"]);
}

#[test]
fn a_payload_that_was_not_posted_or_not_so_is_found() {
    let payload = |payload: Result<(u64, u32), String>| |history: &mut History| history.requests[0].payload = payload;
    let [first, second] = wanted(ORDERED, 2)[..] else { panic!("two come") };
    check("broken", well(ORDERED, 1), payload(Err("x".to_owned())), &["payload"]);
    check("another's", well(ORDERED, 2), payload(Ok((second, 1))), &["payload"]);
    check("a later version", well(ORDERED, 1), payload(Ok((first, 2))), &["payload"]);
    let edited = |since: u64, version: u32| {
        move |history: &mut History| {
            let mut state = history.states[0].clone();
            state.at = at(since);
            state.webhooks[ORDERED].version = 2;
            history.states.push(state);
            history.requests[0].at = at(10_000);
            history.requests[0].payload = Ok((first, version));
        }
    };
    let lag = u64::try_from(EDIT_LAG.as_millis()).expect("it is short");
    check("the new version", well(ORDERED, 1), edited(2000, 2), &[]);
    check("the old one for a moment", well(ORDERED, 1), edited(10_001 - lag, 1), &[]);
    check("the old one for long", well(ORDERED, 1), edited(9_999 - lag, 1), &["payload"]);
    let faulty = |history: &mut History| {
        edited(2000, 2)(history);
        history.states[1].good = false;
    };
    check("a faulty version", well(ORDERED, 1), faulty, &["payload"]);
}

#[test]
fn what_overtakes_in_its_lane_is_found() {
    let swapped = |history: &mut History| history.requests[0].at = at(1115);
    check("overtaken", well(ORDERED, 2), swapped, &["order"]);
    let failing = |history: &mut History| {
        let number = history.posts[0].events[0];
        history.requests[0].reply = Reply::Status(500);
        history.requests.push(request(number, ORDERED, 2000, Reply::Accept));
    };
    check("overtaken while it failed", well(ORDERED, 3), failing, &["order"]);
    let dead = |ms: u64| {
        move |history: &mut History| {
            let number = history.posts[0].events[0];
            history.requests[0].reply = Reply::Status(400);
            history.burials.push(burial(number, ORDERED, ms, "client_error", 1));
        }
    };
    check("dead before", well(ORDERED, 2), dead(1050), &[]);
    check("dead after", well(ORDERED, 2), dead(1500), &["order"]);
    let slow = |history: &mut History| history.requests[0].reply = Reply::AcceptAfter(300);
    check("before the answer", well(ORDERED, 2), slow, &["order"]);
}

#[test]
fn attempts_beyond_the_policy_are_found() {
    let many = |count: u64| {
        move |history: &mut History| {
            let number = history.posts[0].events[0];
            for attempt in 0..count {
                history.requests.insert(0, request(number, LIMITED, 1005 + attempt, Reply::Status(500)));
            }
        }
    };
    check("as many", well(LIMITED, 1), many(4), &[]);
    check("one more", well(LIMITED, 1), many(5), &["attempts"]);
    let old = |begun: Option<u64>, ms: u64| {
        move |history: &mut History| {
            history.requests[0].at = at(1000 + ms);
            if let Some(begun) = begun {
                history.attempts.push(attempt(&history.requests[0], 1000 + begun, 1001 + ms, false));
            }
        }
    };
    check("in time", well(AGING, 1), old(None, 2000), &[]);
    check("begun in time", well(AGING, 1), old(Some(1900), 3500), &[]);
    check("begun too late", well(AGING, 1), old(Some(3400), 3500), &["age"]);
    check("too old for any attempt", well(AGING, 1), old(None, 9000), &["age"]);
}

#[test]
fn haste_is_found() {
    let asked = |history: &mut History| history.requests[0].reply = Reply::RetryAfter(429, 1);
    let obeyed = |begun: u64, ms: u64| {
        move |history: &mut History| {
            asked(history);
            history.attempts.push(attempt(&history.requests[0], 1005, 1015, true));
            let again = request(history.posts[0].events[0], PACED, ms, Reply::Accept);
            history.attempts.push(attempt(&again, begun, ms + 5, false));
            history.requests.push(again);
        }
    };
    check("Retry-After is obeyed", well(PACED, 1), obeyed(2010, 2011), &[]);
    check("Retry-After is not", well(PACED, 1), obeyed(1490, 1500), &["retry-after"]);
    check("it was on its way", well(PACED, 1), obeyed(1100, 1500), &[]);
    let killed = |history: &mut History| {
        obeyed(1490, 1500)(history);
        // What is told is an attempt before it.
        history.attempts[0] = attempt(&history.requests[0], 700, 900, true);
    };
    check("its attempt died with its process", well(PACED, 1), killed, &[]);
    let crowd = |gap: u64| {
        move |history: &mut History| {
            for (place, request) in history.requests.iter_mut().enumerate() {
                request.at = at(5000 + gap * place as u64);
            }
        }
    };
    check("at its rate", well(PACED, 40), crowd(50), &[]);
    check("at twice its rate", well(PACED, 40), crowd(25), &["rate"]);
    let down = |gap: u64| {
        move |history: &mut History| {
            history.outages.push(Outage { webhook: ORDERED, from: at(5000), to: at(7000) });
            let number = history.posts[0].events[0];
            let failed = (0..2000 / gap).map(|place| request(number, ORDERED, 5001 + gap * place, Reply::Status(500)));
            history.requests.splice(0..0, failed);
            history.requests.sort_by_key(|request| request.at);
            history.requests[0].reply = Reply::Status(500);
            history.requests.push(request(number, ORDERED, 8000, Reply::Accept));
        }
    };
    check("probes", well(ORDERED, 1), down(200), &[]);
    check("no pause", well(ORDERED, 1), down(50), &["probes"]);
}

#[test]
fn wrong_answers_and_wrong_ends_are_found() {
    let refused = |status: u16, retry_after: bool| {
        move |history: &mut History| {
            let number = Event::wanted_by(&SPECS[ORDERED], SEED, 5 * SERIALS).number;
            let result = Posted::Refused { status, retry_after };
            history.posts.push(Post { result, ..post(number, None, 5000) });
        }
    };
    for (status, retry_after, expected) in [
        (503, true, &[][..]),
        (400, false, &[]),
        (503, false, &["ingest"]),
        (429, false, &["ingest"]),
        (500, true, &["ingest"]),
    ] {
        check("an answer", well(ORDERED, 1), refused(status, retry_after), expected);
    }
    check("its own end", well(ORDERED, 1), |history| history.lives[0].end = End::Wrong, &["process"]);
    check("a long end", well(ORDERED, 1), |history| history.lives[0].ended = at(75_000), &["process"]);
    for (line, expected) in [
        (r#"{"level":"ERROR","faults":1,"message":"config.refused"}"#, &[][..]),
        (r#"{"level":"ERROR","file":"webhooks/x.toml","message":"no"}"#, &[]),
        (r#"{"level":"ERROR","message":"dropped a delivery whose event is lost"}"#, &["log"]),
        ("thread 'main' panicked at src/app.rs: \"config.refused\"", &["log"]),
    ] {
        check(line, well(ORDERED, 1), |history| history.complaints.push((0, line.to_owned())), expected);
    }
}
