use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::config::{Source, load};
use crate::delivery::{Failure, Outcome, Reason};
use crate::event::{Event, EventId};
use crate::webhook::Webhook;

const AMPLE: Limits = Limits { per_webhook: 100, bytes_max: 8 * 1024 * 1024 };

fn webhooks(names: &[String]) -> Vec<Arc<Webhook>> {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("webhooks")).unwrap();
    for name in names {
        let file = dir.path().join(format!("webhooks/{name}.toml"));
        std::fs::write(file, "url = \"https://hooks.example.com/in\"\n").unwrap();
    }
    let snapshot = load(&Source { env: Arc::new(|_| None), ..Source::new(dir.path()) }).snapshot.unwrap();
    snapshot.webhooks.values().cloned().collect()
}

fn webhook() -> Arc<Webhook> {
    webhooks(&["hook".to_owned()]).remove(0)
}

fn at(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(1_800_000_000_000 + ms).unwrap()
}

/// Keeps one that ended at a time.
fn keep(history: &History, webhook: &Arc<Webhook>, ms: i64, payload_bytes: usize, limits: Limits) -> InvocationId {
    history.keep(Invocation { at: at(ms), ..invocation(webhook, payload_bytes) }, limits).id
}

fn event(payload_bytes: usize) -> Event {
    let raw = Bytes::from(format!("{{\"x\":\"{}\"}}", "y".repeat(payload_bytes)));
    Event::new(EventId::from_bytes([1; 16]), "request".into(), "RequestCreated".into(), at(0), raw)
}

fn invocation(webhook: &Arc<Webhook>, payload_bytes: usize) -> Invocation {
    Invocation {
        id: InvocationId::default(),
        at: at(0),
        webhook: Arc::clone(webhook),
        event: event(payload_bytes),
        payload_dropped: false,
        known_by: Vec::new(),
        omitted: false,
        generation: 1,
        attempt: 1,
        probe: false,
        test: false,
        span: crate::trace::SpanId::new(1),
        outcome: Outcome::Accepted,
        then: Then::Delivered,
        response: None,
        verdicts: Vec::new(),
        missing: Vec::new(),
        timings: Timings { total: Duration::from_millis(7), ..Timings::default() },
        token: None,
    }
}

#[test]
fn ids_ascend_whatever_the_clock_does_and_over_restarts() {
    let (history, hook) = (History::new(at(0), 0), webhook());
    assert_eq!(history.last(), None);
    let ids: Vec<_> = [5, 5, -5, 6].map(|ms| keep(&history, &hook, ms, 1, AMPLE)).into();
    assert!(ids.is_sorted_by(|one, next| one < next), "{ids:?}");
    assert_eq!(history.last(), ids.last().copied());
    assert_eq!(keep(&History::new(at(0), u64::MAX - 1), &hook, 5, 1, AMPLE), InvocationId(u64::MAX));
    assert!(keep(&History::new(at(0), ids[3].0), &hook, 0, 1, AMPLE) > ids[3]);
}

#[test]
fn the_latest_of_each_webhook_are_kept_and_found() {
    let hooks = webhooks(&["a".to_owned(), "b".to_owned()]);
    let (history, limits) = (History::new(at(0), 0), Limits { per_webhook: 3, ..AMPLE });
    let mut ids = Vec::new();
    for number in 0..10 {
        ids.push(keep(&history, &hooks[number % 2], 0, 10, limits));
    }
    let of = |webhook| history.latest(webhook, 100, |_| true).iter().map(|one| one.id).collect::<Vec<_>>();
    assert_eq!(of(Some("a")), [ids[8], ids[6], ids[4]]);
    assert_eq!(of(None), [ids[9], ids[8], ids[7], ids[6], ids[5], ids[4]]);
    assert_eq!(history.latest(None, 2, |one| one.id < ids[8]).len(), 2);
    assert_eq!(history.last(), Some(ids[9]));
    assert_eq!((history.forgotten(None), history.forgotten(Some("a"))), (Some(ids[3]), Some(ids[2])));
    assert!(history.find(ids[5]).is_some() && history.find(ids[3]).is_none());
    assert_eq!(history.figures("a", at(0)).map(|figures| figures.accepted), Some(5));
    history.remove("a");
    assert!(of(Some("a")).is_empty() && history.figures("a", at(0)).is_none());
}

#[test]
fn none_is_kept_where_none_is_asked_for_and_all_are_counted() {
    let (history, hook) = (History::new(at(0), 0), webhook());
    let none = Limits { per_webhook: 0, ..AMPLE };
    keep(&history, &hook, 0, 10, none);
    history.took(Taken { event: event(10), wanted: Arc::default() }, none);
    assert!(history.latest(None, 9, |_| true).is_empty() && history.events(9, |_| true).is_empty());
    assert!(!history.may_store(&hook.name, at(0), none));
    assert_eq!(history.figures("hook", at(0)).map(|figures| figures.accepted), Some(1));
}

#[test]
fn a_test_is_kept_and_not_counted_and_the_last_failure_is_told() {
    let (history, hook) = (History::new(at(0), 0), webhook());
    history.keep(Invocation { test: true, then: Then::Nothing, ..invocation(&hook, 1) }, AMPLE);
    assert_eq!(history.latest(None, 9, |_| true).len(), 1);
    assert_eq!(history.figures("hook", at(0)).map(|figures| figures.accepted + figures.failed), Some(0));
    let outcome = Outcome::Failed(Failure::new(Reason::Timeout, "late"));
    let id = history.keep(Invocation { outcome, then: Then::Held, ..invocation(&hook, 1) }, AMPLE).id;
    let figures = history.figures("hook", at(0)).unwrap();
    assert_eq!((figures.failing, figures.last_failure), (true, Some((at(0), id, Reason::Timeout))));
}

#[test]
fn webhooks_share_the_memory_evenly_however_many_there_are() {
    let names: Vec<String> = (0..40).map(|number| format!("hook-{number:02}")).collect();
    let hooks = webhooks(&names);
    let (history, limits) = (History::new(at(0), 0), Limits { per_webhook: 1000, bytes_max: 400_000 });
    let bytes = || history.latest(None, usize::MAX, |_| true).iter().map(|one| one.bytes()).sum::<usize>();
    for hook in &hooks {
        for _ in 0..200 {
            keep(&history, hook, 0, 1000, limits);
        }
        assert!(bytes() <= 300_000, "{}", bytes());
    }
    assert!(hooks.iter().all(|hook| history.latest(Some(&hook.name), 1, |_| true).len() == 1));
    assert!(bytes() > 150_000, "{}", bytes());
    for _ in 0..1000 {
        history.took(Taken { event: event(1000), wanted: Arc::default() }, limits);
    }
    let kept = history.events(usize::MAX, |_| true).len();
    assert!((50..100).contains(&kept), "{kept}");
}

#[test]
fn what_is_too_large_by_itself_is_kept_without_its_payload() {
    let (history, hook) = (History::new(at(0), 0), webhook());
    let limits = Limits { per_webhook: 10, bytes_max: 100_000 };
    keep(&history, &hook, 0, 200_000, limits);
    let kept = history.latest(None, 1, |_| true).remove(0);
    assert!(kept.payload_dropped && kept.event.raw.is_empty() && kept.bytes() < 1000);
    history.took(Taken { event: event(10), wanted: Arc::default() }, limits);
    history.took(Taken { event: event(200_000), wanted: Arc::default() }, limits);
    assert_eq!(history.events(9, |_| true).len(), 1, "it drives nothing out");
}

#[test]
fn what_is_kept_without_its_payload_is_known_by_its_name_and_small_whatever_it_held() {
    let (history, hook) = (History::new(at(0), 0), webhook());
    let limits = Limits { per_webhook: 10, bytes_max: 100_000 };
    let mut event = event(0);
    event.raw = Bytes::from_static(b"{\"data\":{\"friendly_id\":\"AR-1\",\"id\":\"17\"}}");
    let missing: Vec<String> = (0..2000).map(|number| format!("data.a_rather_long_name.{number}")).collect();
    let kept = history.keep(Invocation { event, missing, ..invocation(&hook, 0) }, limits);
    assert!(kept.missing.is_empty() && kept.bytes() < 1000 && kept.is_about("AR-1") && kept.is_about("17"));
    assert!(!kept.is_about("AR-2") && kept.omitted && view::full(&kept)["omitted"] == true);
    assert_eq!(view::summary(&kept)["request_id"], "AR-1");
}

#[test]
fn definitions_that_are_not_in_force_any_more_take_their_part() {
    let history = History::new(at(0), 0);
    let limits = Limits { per_webhook: 1000, bytes_max: 1024 * 1024 };
    let edited: Vec<_> = (0..200).map(|_| webhook()).collect();
    for hook in &edited {
        keep(&history, hook, 0, 10, limits);
        keep(&history, hook, 0, 10, limits);
    }
    let held = edited.iter().filter(|hook| Arc::strong_count(hook) > 1).count();
    assert!((10..100).contains(&held), "{held}");
    let last = edited.last().unwrap();
    for _ in 0..1000 {
        keep(&history, last, 0, 10, limits);
    }
    assert!(edited[..199].iter().all(|hook| Arc::strong_count(hook) == 1));
    let bytes: usize = history.latest(None, usize::MAX, |_| true).iter().map(|one| one.bytes()).sum();
    assert!(bytes < 200_000 && bytes > 100_000, "{bytes}: what they took is there again");
}

#[test]
fn narrower_limits_count_at_once() {
    let (history, hook) = (History::new(at(0), 0), webhook());
    for _ in 0..50 {
        keep(&history, &hook, 0, 1000, AMPLE);
        history.took(Taken { event: event(1000), wanted: Arc::default() }, AMPLE);
    }
    let count = || (history.latest(None, 99, |_| true).len(), history.events(99, |_| true).len());
    history.trim(Limits { per_webhook: 10, bytes_max: 40_000 });
    let (invocations, events) = count();
    assert!((1..10).contains(&invocations) && (1..10).contains(&events), "{invocations} {events}");
    history.trim(Limits { per_webhook: 0, ..AMPLE });
    assert_eq!(count(), (0, 0));
}

#[test]
fn the_line_of_a_stored_record_is_that_of_the_invocation() {
    let (history, hook) = (History::new(at(0), 0), webhook());
    let outcome = Outcome::Failed(Failure::new(Reason::Timeout, "late"));
    let kept = history.keep(Invocation { outcome, ..invocation(&hook, 10) }, AMPLE);
    let stored = view::stored(&kept, 1 << 20);
    assert_eq!(view::stored_summary(&stored), Some(view::summary(&kept)));
    let event = view::stored_event(&stored).unwrap();
    assert_eq!((event.id, event.kind, event.received_at), (kept.event.id, Arc::clone(&kept.event.kind), at(0)));
    let small = view::stored(&kept, 100);
    assert!(small.contains("\"omitted\":true") && view::stored_summary(&small) == Some(view::summary(&kept)));
    assert!(view::stored_summary("{}").is_none() && view::stored_event("{}").is_none());
}

#[test]
fn so_many_failures_are_written_down_in_a_second_and_no_more() {
    let (history, hook) = (History::new(at(0), 0), webhook());
    let stored = (0..100).filter(|_| history.may_store(&hook.name, at(0), AMPLE)).count();
    assert_eq!(stored, 20);
    assert!(history.may_store(&hook.name, at(1000), AMPLE));
}
