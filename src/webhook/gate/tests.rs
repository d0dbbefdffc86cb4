//! Scenes of one gate, and a model that any gate is held against.

use proptest::prelude::*;

use super::*;

const WORKS: Verdict = Verdict { says: Says::Works, asked: None };
const FAILS: Verdict = Verdict { says: Says::Fails, asked: None };
const NOTHING: Verdict = Verdict { says: Says::Nothing, asked: None };

fn terms() -> Terms {
    let breaker = Breaker { failures: 3, probe: ms(1000) };
    Terms { breaker, probe_max: ms(8000), rate: None }
}

const fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn faulty(cause: Cause) -> Verdict {
    Verdict { says: Says::Faulty(cause), asked: None }
}

fn limited(asked_ms: u64) -> Verdict {
    Verdict { says: Says::Faulty(Cause::RateLimited), asked: Some(ms(asked_ms)) }
}

/// A gate, and the time at which it is looked at.
struct Scene {
    gate: Gate,
    now: Duration,
}

impl Scene {
    fn new(terms: Terms) -> Self {
        Self { gate: Gate::new(terms), now: Duration::ZERO }
    }

    fn begin(&mut self) -> Ticket {
        self.gate.begin(self.now).expect("an attempt may begin")
    }

    fn end(&mut self, ticket: Ticket, verdict: Verdict) -> Option<Change> {
        self.gate.ended(ticket, verdict, self.now, 0.0)
    }

    /// One attempt from its beginning to its end.
    fn attempt(&mut self, verdict: Verdict) -> Option<Change> {
        let ticket = self.begin();
        self.end(ticket, verdict)
    }

    fn poll(&self) -> Poll {
        self.gate.poll(self.now)
    }

    fn cause(&self) -> Option<Cause> {
        self.gate.pause().map(|pause| pause.cause)
    }

    /// Goes on to the next probe, which must be so far away.
    fn wait_for_probe(&mut self, wait: Duration) {
        assert_eq!(self.poll(), Poll::Until(self.now + wait));
        self.now += wait;
        assert_eq!(self.poll(), Poll::Probe);
    }
}

#[test]
fn failures_in_a_row_open_the_breaker_and_one_probe_closes_it() {
    let mut scene = Scene::new(terms());
    for verdict in [FAILS, FAILS, WORKS, FAILS, NOTHING, FAILS] {
        assert_eq!(scene.attempt(verdict), None, "a success or nothing known between: {verdict:?}");
    }
    let paused = Change::Paused { cause: Cause::Breaker, next_probe: Some(ms(1000)) };
    assert_eq!(scene.attempt(FAILS), Some(paused));
    scene.wait_for_probe(ms(1000));
    let probe = scene.begin();
    assert!(probe.is_probe());
    assert_eq!(scene.poll(), Poll::Held, "one at a time");
    assert!(scene.gate.begin(scene.now).is_none());
    let resumed = Change::Resumed { cause: Cause::Breaker, lasted: ms(1000) };
    assert_eq!(scene.end(probe, WORKS), Some(resumed));
    assert_eq!(scene.poll(), Poll::Open(usize::MAX));
    assert_eq!((scene.attempt(FAILS), scene.attempt(FAILS)), (None, None), "it counts from the start");
}

#[test]
fn probes_that_fail_wait_twice_as_long_each_time_up_to_the_longest_interval() {
    let mut scene = Scene::new(terms());
    scene.attempt(faulty(Cause::AuthError));
    for wait in [1000, 2000, 4000, 8000, 8000] {
        scene.wait_for_probe(ms(wait));
        assert_eq!(scene.attempt(faulty(Cause::AuthError)), None, "it is the same pause");
    }
    let asked = Verdict { says: Says::Fails, asked: Some(ms(20_000)) };
    scene.wait_for_probe(ms(8000));
    scene.attempt(asked);
    scene.wait_for_probe(ms(20_000));
    let mut short = Scene::new(Terms { probe_max: ms(10), ..terms() });
    short.attempt(faulty(Cause::Redirect));
    for _ in 0..3 {
        short.wait_for_probe(ms(1000));
        short.attempt(FAILS);
    }
}

#[test]
fn a_little_jitter_makes_waits_longer_and_never_shorter() {
    for (jitter, millis) in [(0.0, 1000), (0.5, 1050), (1.0, 1100), (7.0, 1100), (f64::NAN, 1100), (-1.0, 1000)] {
        let mut gate = Gate::new(terms());
        let ticket = gate.begin(ms(0)).expect("it is open");
        gate.ended(ticket, faulty(Cause::NotFound), ms(0), jitter);
        assert_eq!(gate.poll(ms(0)), Poll::Until(ms(millis)), "{jitter}");
    }
}

#[test]
fn several_failures_in_flight_open_one_pause_and_say_nothing_afterwards() {
    let mut scene = Scene::new(terms());
    let mut early: Vec<Ticket> = (0..8).map(|_| scene.begin()).collect();
    let mut end = |scene: &mut Scene, verdict| {
        let ticket = early.pop().expect("some are left");
        scene.end(ticket, verdict)
    };
    assert!(end(&mut scene, faulty(Cause::AuthError)).is_some());
    let before = *scene.gate.pause().expect("it is paused");
    scene.now = ms(500);
    for verdict in [faulty(Cause::AuthError), WORKS, FAILS, limited(10), faulty(Cause::Gone)] {
        assert_eq!(end(&mut scene, verdict), None, "{verdict:?}");
        assert_eq!(scene.gate.pause(), Some(&before), "{verdict:?}");
    }
    scene.now = ms(1000);
    scene.attempt(WORKS);
    assert_eq!(end(&mut scene, faulty(Cause::AuthError)), None, "and when the pause is over neither");
    assert_eq!(scene.poll(), Poll::Open(usize::MAX));
    assert!(end(&mut scene, limited(300)).is_some(), "but what the target asks for now counts");
    scene.wait_for_probe(ms(300));
}

#[test]
fn a_429_holds_all_for_as_long_as_it_says_and_then_one_goes_first() {
    let mut scene = Scene::new(terms());
    let [first, later, shorter] = [scene.begin(), scene.begin(), scene.begin()];
    assert!(scene.end(first, limited(3000)).is_some());
    scene.now = ms(100);
    assert_eq!(scene.end(later, limited(4000)), None);
    assert_eq!(scene.end(shorter, limited(10)), None);
    scene.wait_for_probe(ms(4000));
    assert!(matches!(scene.attempt(WORKS), Some(Change::Resumed { cause: Cause::RateLimited, .. })));
    assert_eq!(scene.poll(), Poll::Open(usize::MAX));
}

#[test]
fn what_is_asked_for_during_a_pause_is_kept_whatever_the_pause_is_for_and_though_a_probe_succeeds() {
    let mut scene = Scene::new(terms());
    let [first, second, third] = [scene.begin(), scene.begin(), scene.begin()];
    assert!(scene.end(first, faulty(Cause::AuthError)).is_some());
    scene.now = ms(500);
    assert_eq!(scene.end(second, Verdict { says: Says::Fails, asked: Some(ms(5000)) }), None);
    assert_eq!(scene.cause(), Some(Cause::AuthError));
    scene.wait_for_probe(ms(5000));
    let probe = scene.begin();
    scene.now = ms(5600);
    assert_eq!(scene.end(third, limited(3000)), None);
    assert_eq!(scene.poll(), Poll::Held, "the probe is under way");
    scene.now = ms(5700);
    let goes_on = Change::Paused { cause: Cause::RateLimited, next_probe: Some(ms(8600)) };
    assert_eq!(scene.end(probe, WORKS), Some(goes_on), "it was sent before the target asked for time");
    scene.wait_for_probe(ms(2900));
    assert_eq!(scene.attempt(WORKS), Some(Change::Resumed { cause: Cause::RateLimited, lasted: ms(8600) }));
}

#[test]
fn what_is_asked_for_is_held_whatever_the_answer_was() {
    let minute = Duration::from_mins(1);
    let asks = |says, millis: u64| Verdict { says, asked: Some(ms(millis)) };
    let cases = [
        (faulty(Cause::RateLimited), Some((Cause::RateLimited, minute))),
        (limited(0), Some((Cause::RateLimited, ms(0)))),
        (asks(Says::Fails, 700), Some((Cause::RateLimited, ms(700)))),
        (asks(Says::Works, 700), Some((Cause::RateLimited, ms(700)))),
        (asks(Says::Fails, 0), None),
        (asks(Says::Faulty(Cause::Redirect), 700), Some((Cause::Redirect, ms(1000)))),
        (asks(Says::Faulty(Cause::Redirect), 7000), Some((Cause::Redirect, ms(7000)))),
    ];
    for (verdict, expected) in cases {
        let mut scene = Scene::new(terms());
        scene.attempt(verdict);
        let pause = scene.gate.pause().map(|pause| (pause.cause, pause.next_probe.expect("it is probed")));
        assert_eq!(pause, expected, "{verdict:?}");
    }
}

#[test]
fn a_probe_that_is_told_to_wait_waits_and_a_minute_where_no_time_is_named() {
    let mut scene = Scene::new(terms());
    scene.attempt(limited(200));
    scene.wait_for_probe(ms(200));
    assert_eq!(scene.attempt(faulty(Cause::RateLimited)), None);
    scene.wait_for_probe(Duration::from_mins(1));
    assert_eq!(scene.attempt(FAILS), None);
    scene.wait_for_probe(ms(2000));
    assert_eq!(scene.attempt(Verdict { says: Says::Works, asked: Some(ms(30)) }), None, "it works and asks for time");
    scene.wait_for_probe(ms(30));
}

#[test]
fn a_target_that_is_gone_is_never_probed() {
    let mut scene = Scene::new(terms());
    assert_eq!(scene.attempt(faulty(Cause::Gone)), Some(Change::Paused { cause: Cause::Gone, next_probe: None }));
    scene.now = Duration::from_hours(10_000);
    assert_eq!(scene.poll(), Poll::Held);
    assert!(matches!(scene.gate.resume(scene.now), Some(Change::Resumed { cause: Cause::Gone, .. })));
    assert_eq!(scene.poll(), Poll::Open(usize::MAX));
    assert_eq!(scene.gate.resume(scene.now), None, "there is nothing to end");
}

#[test]
fn a_probe_may_find_another_cause_and_the_pause_is_as_old_as_it_was() {
    let mut scene = Scene::new(terms());
    for _ in 0..3 {
        scene.attempt(FAILS);
    }
    scene.wait_for_probe(ms(1000));
    assert!(matches!(scene.attempt(faulty(Cause::AuthError)), Some(Change::Paused { cause: Cause::AuthError, .. })));
    scene.wait_for_probe(ms(2000));
    assert!(matches!(
        scene.attempt(faulty(Cause::Gone)),
        Some(Change::Paused { cause: Cause::Gone, next_probe: None })
    ));
    assert_eq!(scene.gate.pause().map(|pause| pause.since), Some(ms(0)));
}

#[test]
fn a_probe_that_is_lost_or_says_nothing_makes_room_for_the_next() {
    let mut scene = Scene::new(terms());
    scene.attempt(faulty(Cause::AuthError));
    scene.wait_for_probe(ms(1000));
    let probe = scene.begin();
    scene.gate.lost(probe);
    assert_eq!(scene.poll(), Poll::Probe);
    assert_eq!(scene.attempt(NOTHING), None);
    assert_eq!((scene.poll(), scene.cause()), (Poll::Probe, Some(Cause::AuthError)));
}

#[test]
fn a_changed_definition_ends_a_pause_and_what_began_before_says_nothing() {
    let mut scene = Scene::new(terms());
    let early = [scene.begin(), scene.begin()];
    scene.attempt(faulty(Cause::AuthError));
    scene.now = ms(1000);
    let probe = scene.begin();
    assert_eq!(scene.gate.redefine(terms(), true, scene.now), None);
    assert_eq!(scene.cause(), Some(Cause::AuthError), "another webhook's edit is not this one's");
    assert!(matches!(scene.gate.redefine(terms(), false, scene.now), Some(Change::Resumed { .. })));
    let [one, other] = early;
    assert_eq!((scene.end(one, faulty(Cause::AuthError)), scene.end(other, limited(9000))), (None, None));
    assert_eq!(scene.end(probe, faulty(Cause::AuthError)), None);
    assert_eq!(scene.poll(), Poll::Open(usize::MAX));
    scene.attempt(FAILS);
    scene.attempt(FAILS);
    assert_eq!(scene.gate.redefine(terms(), false, scene.now), None);
    assert_eq!(scene.attempt(FAILS), None, "failures count from the edit on");
}

#[test]
fn a_rate_spaces_attempts_out_and_spends_nothing_on_what_does_not_begin() {
    let mut scene = Scene::new(Terms { rate: Some(Rate::new(ms(200), None)), ..terms() });
    for _ in 0..10 {
        assert_eq!(scene.poll(), Poll::Open(1));
        let _ticket = scene.begin();
        for _ in 0..5 {
            assert_eq!(scene.poll(), Poll::Until(scene.now + ms(200)));
            assert!(scene.gate.begin(scene.now).is_none());
        }
        scene.now += ms(200);
    }
    scene.now += ms(100_000);
    assert_eq!(scene.poll(), Poll::Open(1), "quiet times are not saved up");
    let mut burst = Scene::new(Terms { rate: Some(Rate::new(ms(200), Some(3))), ..terms() });
    assert_eq!(burst.poll(), Poll::Open(3));
    for left in [2, 1] {
        let _ticket = burst.begin();
        assert_eq!(burst.poll(), Poll::Open(left));
    }
    let _ticket = burst.begin();
    assert_eq!(burst.poll(), Poll::Until(ms(200)));
}

#[test]
fn the_burst_of_a_fast_rate_is_what_twenty_milliseconds_are_worth() {
    for (micros, burst) in [(1_000_000, 1), (20_000, 1), (10_000, 2), (1000, 20), (100, 200), (0, u32::MAX)] {
        let rate = Rate::new(Duration::from_micros(micros), None);
        let expected = if micros == 0 { 20_000_000 } else { burst };
        assert_eq!(rate.burst(), expected, "{micros} µs");
    }
    assert_eq!(Rate::new(ms(1), Some(0)).burst(), 1);
}

#[test]
fn a_changed_rate_keeps_what_was_spent_and_never_waits_for_the_old_one() {
    let slow = Terms { rate: Some(Rate::new(Duration::from_hours(1), Some(5))), ..terms() };
    let mut scene = Scene::new(slow);
    for _ in 0..5 {
        let _ticket = scene.begin();
    }
    assert_eq!(scene.poll(), Poll::Until(Duration::from_hours(1)));
    let fast = Terms { rate: Some(Rate::new(ms(100), None)), ..terms() };
    scene.gate.redefine(fast, true, scene.now);
    assert_eq!(scene.poll(), Poll::Until(ms(100)), "not at once");
    scene.gate.redefine(terms(), true, scene.now);
    assert_eq!(scene.poll(), Poll::Open(usize::MAX));
}

/// What may happen to a gate.
#[derive(Clone, Debug)]
enum Step {
    Wait(u64),
    WaitUntilItSays,
    Begin,
    End(usize, Verdict, f64),
    Lose(usize),
    Resume,
    Redefine(bool),
}

fn verdicts() -> impl Strategy<Value = Verdict> {
    let cause = proptest::sample::select(Cause::ALL.to_vec());
    let says = prop_oneof![
        3 => Just(Says::Works),
        1 => Just(Says::Nothing),
        3 => Just(Says::Fails),
        2 => cause.prop_map(Says::Faulty),
    ];
    (says, prop_oneof![4 => Just(None), 1 => (0_u64..20_000).prop_map(|asked| Some(ms(asked)))])
        .prop_map(|(says, asked)| Verdict { says, asked })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (0_u64..3000).prop_map(Step::Wait),
        4 => Just(Step::WaitUntilItSays),
        8 => Just(Step::Begin),
        8 => (any::<usize>(), verdicts(), 0.0..1.0).prop_map(|(which, verdict, jitter)| Step::End(which, verdict, jitter)),
        1 => any::<usize>().prop_map(Step::Lose),
        1 => Just(Step::Resume),
        1 => any::<bool>().prop_map(Step::Redefine),
    ];
    proptest::collection::vec(step, 1..120)
}

fn any_terms() -> impl Strategy<Value = Terms> {
    let rate = proptest::option::of((1_u64..2000, proptest::option::of(1_u32..5)));
    (1_u32..5, 1_u64..3000, 0_u64..10_000, rate).prop_map(|(failures, probe, probe_max, rate)| Terms {
        breaker: Breaker { failures, probe: ms(probe) },
        probe_max: ms(probe_max),
        rate: rate.map(|(interval, burst)| Rate::new(ms(interval), burst)),
    })
}

proptest! {
    #[test]
    fn whatever_happens_a_gate_keeps_its_rules(terms in any_terms(), steps in steps()) {
        let mut gate = Gate::new(terms);
        let mut now = Duration::ZERO;
        let mut out: Vec<Ticket> = Vec::new();
        // The probe that is under way in the pause in force, if any is.
        let mut probing = false;
        let mut begun: Vec<Duration> = Vec::new();
        for step in steps {
            let paused = gate.pause().copied();
            match step {
                Step::Wait(millis) => now += ms(millis),
                Step::WaitUntilItSays => if let Poll::Until(at) = gate.poll(now) { now = at },
                Step::Begin => {
                    let poll = gate.poll(now);
                    let ticket = gate.begin(now);
                    prop_assert_eq!(ticket.is_some(), matches!(poll, Poll::Open(_) | Poll::Probe));
                    if let Some(ticket) = ticket {
                        prop_assert_eq!(ticket.is_probe(), paused.is_some(), "never an ordinary one while paused");
                        prop_assert!(!ticket.is_probe() || !probing, "never two probes at once");
                        probing |= ticket.is_probe();
                        begun.push(now);
                        out.push(ticket);
                    }
                }
                Step::End(which, verdict, jitter) if !out.is_empty() => {
                    let ticket = out.swap_remove(which % out.len());
                    let ours = probing && gate.is_probe_of_this_pause(&ticket);
                    let change = gate.ended(ticket, verdict, now, jitter);
                    if ours {
                        probing = false;
                    } else if paused.is_some() {
                        prop_assert_eq!(change, None, "what began before a pause neither ends nor begins one");
                        prop_assert_eq!(gate.pause().map(|pause| pause.cause), paused.map(|pause| pause.cause));
                    }
                }
                Step::Lose(which) if !out.is_empty() => {
                    let ticket = out.swap_remove(which % out.len());
                    if gate.is_probe_of_this_pause(&ticket) {
                        probing = false;
                    }
                    gate.lost(ticket);
                }
                Step::End(..) | Step::Lose(_) => {}
                Step::Resume => {
                    gate.resume(now);
                    probing = false;
                }
                Step::Redefine(keep) => {
                    gate.redefine(terms, keep, now);
                    probing &= keep;
                }
            }
            match gate.poll(now) {
                Poll::Open(count) => prop_assert!(count > 0 && gate.pause().is_none()),
                Poll::Probe => prop_assert!(gate.pause().is_some() && !probing),
                Poll::Until(at) => prop_assert!(at > now, "a time to wait for lies ahead"),
                Poll::Held => {
                    let gone = gate.pause().is_some_and(|pause| pause.cause == Cause::Gone);
                    prop_assert!(gone || probing, "held for a reason");
                }
            }
            // Time alone leads on, in a step or two: the end of a hold, and the next token.
            let mut later = now;
            for _ in 0..3 {
                if let Poll::Until(at) = gate.poll(later) { later = at }
            }
            prop_assert!(!matches!(gate.poll(later), Poll::Until(_)));
        }
        if let Some(rate) = terms.rate {
            for (first, start) in begun.iter().enumerate() {
                for (last, end) in begun.iter().enumerate().skip(first) {
                    let window = end.saturating_sub(*start).as_nanos();
                    let most = window / rate.interval().as_nanos() + u128::from(rate.burst());
                    prop_assert!((last - first + 1) as u128 <= most, "{start:?} to {end:?}");
                }
            }
        }
    }
}
