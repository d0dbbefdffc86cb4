//! Every delivery that was promised came to an end that its history explains, and to no more ends than that explains.

use crate::oracle::history::{Burial, End, Moment, Posted, Reply, Status, Told};
use crate::oracle::webhooks::{Event, REMOVAL_GRACE, SPECS};

use super::{Case, DATE_MARGIN, Delivery, History, TRANSIT_MAX, UNSETTLED_MAX, Violation};

pub(super) fn judge(case: &mut Case<'_>) {
    let mut found = Vec::new();
    for delivery in case.deliveries.values() {
        let mut finds = |rule, detail| found.push(Violation { rule, delivery: Some(delivery.id.clone()), detail });
        let accepted = delivery.requests.iter().any(|request| request.accepted());
        if delivery.taken.is_some() && !accepted && delivery.burials.is_empty() {
            finds("lost", "it was answered 202 and neither accepted nor buried".to_owned());
        }
        for burial in &delivery.burials {
            if let Err(why) = explain(case.history, delivery, burial) {
                finds("unexplained death", format!("it is dead of {}: {why}", burial.reason));
            }
        }
        if let Some(why) = duplicate(case, delivery) {
            finds("duplicate", why);
        }
    }
    found.extend(told(case));
    found.extend(replayed(case));
    case.extend(found);
}

/// Why a delivery may have died as it did.
fn explain(history: &History, delivery: &Delivery<'_>, burial: &Burial) -> Result<(), String> {
    let spec = &SPECS[delivery.webhook];
    let answered = |wanted: &dyn Fn(Reply) -> bool| {
        delivery.requests.iter().any(|request| wanted(request.reply) && request.at <= burial.at + DATE_MARGIN)
    };
    let explained = match burial.reason.as_str() {
        "client_error" => answered(&|reply| matches!(reply, Reply::Status(400 | 422))),
        "validation_failed" => spec.validated == Some("dead_letter") && answered(&|reply| reply == Reply::Invalid),
        "template_error" => spec.needs && delivery.number.is_some_and(|number| !Event::of(history.seed, number).needed),
        "attempts_exhausted" => spec.attempts_max == Some(burial.attempts),
        "expired" => spec.age_max.is_some(),
        "webhook_removed" => history.states.iter().any(|state| {
            state.webhooks[delivery.webhook].status == Status::Absent
                && state.at + REMOVAL_GRACE <= burial.at + DATE_MARGIN
        }),
        _ => return Err("nothing dies of that".to_owned()),
    };
    if explained { Ok(()) } else { Err("nothing in its history explains that".to_owned()) }
}

/// Why a delivery was sent again after it was accepted, where nothing explains it.
fn duplicate(case: &Case<'_>, delivery: &Delivery<'_>) -> Option<String> {
    let history = case.history;
    for pair in delivery.requests.windows(2) {
        let [earlier, later] = pair else { continue };
        if !earlier.accepted() {
            continue;
        }
        // Its process was killed while the request or the answer was on its way, or before the settlement was committed.
        let unsettled = history
            .lives
            .get(earlier.life)
            .is_some_and(|life| life.end == End::Killed && life.ended <= earlier.answered() + UNSETTLED_MAX);
        let replayed = history.replays.iter().any(|(id, at)| *id == delivery.id && *at <= later.at);
        let timed_out = case.attempts.get(delivery.id.as_str()).into_iter().flatten().any(|attempt| {
            attempt.timed_out && attempt.begun <= earlier.at + DATE_MARGIN && earlier.at <= attempt.ended + TRANSIT_MAX
        });
        if !unsettled && !replayed && !timed_out && !history.may_be_lost(delivery.webhook, earlier.answered()) {
            return Some(format!("it was accepted at {:?} and sent again at {:?}", earlier.at, later.at));
        }
    }
    None
}

/// What a waiting sender was told has to be so.
fn told(case: &Case<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for post in &case.history.posts {
        let Posted::Taken(receipts) = &post.result else { continue };
        for (event, name, told) in receipts.iter().flat_map(|receipt| {
            receipt.owed.iter().filter_map(|(name, told)| Some((&receipt.event, name, told.as_ref()?)))
        }) {
            let id = format!("{event}_{name}");
            let Some(delivery) = case.deliveries.get(id.as_str()) else { continue };
            let so = match told {
                Told::Delivered => {
                    delivery.requests.iter().any(|request| request.accepted() && request.at <= post.ended)
                }
                // Killed before it was committed, it may have had another end.
                Told::Dead(reason) => {
                    delivery.burials.iter().any(|burial| burial.reason == *reason)
                        || case.history.kill_after(post.begun).is_some_and(|kill| kill <= post.ended + UNSETTLED_MAX)
                }
            };
            if !so {
                found.push(Violation {
                    rule: "told",
                    delivery: Some(id),
                    detail: format!("at {:?} the sender was told: {told:?}", post.ended),
                });
            }
        }
    }
    found
}

/// What was replayed comes to an end once more.
fn replayed(case: &Case<'_>) -> Vec<Violation> {
    let ended = |id: &str, at: Moment| {
        case.deliveries.get(id).is_some_and(|delivery| {
            delivery.requests.iter().any(|request| request.accepted() && request.at >= at)
                || delivery.burials.iter().any(|burial| burial.at >= at)
        })
    };
    let lost = case.history.replays.iter().filter(|(id, at)| !ended(id, *at));
    lost.map(|(id, at)| Violation {
        rule: "lost",
        delivery: Some(id.clone()),
        detail: format!("it was replayed at {at:?} and neither accepted nor buried since"),
    })
    .collect()
}
