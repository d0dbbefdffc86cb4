//! Attempts stay within the policy: their number, their age, and how fast they come.

use std::time::Duration;

use crate::oracle::history::{Reply, Request};
use crate::oracle::webhooks::{SPECS, TIMEOUT};

use super::{Case, Delivery, History, UNSETTLED_MAX, Violation};

/// How long after its greatest age a delivery may still be seen: what was begun before, on a busy machine.
const AGE_MARGIN: Duration = Duration::from_secs(1);

pub(super) fn judge(case: &mut Case<'_>) {
    let mut found = Vec::new();
    for delivery in case.deliveries.values() {
        let mut finds = |rule, detail| found.push(Violation { rule, delivery: Some(delivery.id.clone()), detail });
        if let Some(max) = SPECS[delivery.webhook].attempts_max {
            let made = attempts(case.history, delivery);
            if made > max as usize {
                finds("attempts", format!("{made} attempts were made of {max}"));
            }
        }
        if let (Some(max), Some(post)) = (SPECS[delivery.webhook].age_max, delivery.taken) {
            let replayed = case.history.replays.iter().any(|(id, _)| *id == delivery.id);
            let late = delivery.requests.iter().find(|request| request.at > post.ended + max + AGE_MARGIN);
            if let Some(late) = late.filter(|_| !replayed) {
                finds("age", format!("it was taken at {:?} and still sent at {:?}", post.ended, late.at));
            }
        }
    }
    case.extend(found);
}

/// Attempts that certainly counted: they failed, and their process lived on to write that down. A request that was closed
/// may have been sent again at once, which is no attempt of its own.
fn attempts(history: &History, delivery: &Delivery<'_>) -> usize {
    let counted = |request: &&&Request| {
        let written = request.at + if request.reply == Reply::Hang { TIMEOUT } else { Duration::ZERO };
        let killed = history.kill_after(request.at).is_some_and(|kill| kill <= written + UNSETTLED_MAX);
        matches!(request.reply, Reply::Status(_) | Reply::Hang | Reply::Invalid) && !killed
    };
    delivery.requests.iter().filter(counted).count()
}
