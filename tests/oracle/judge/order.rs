//! Within a lane a delivery goes out after the one before has come to its end.

use std::collections::BTreeMap;

use crate::oracle::webhooks::{Event, SERIALS, SPECS};

use super::{Case, DATE_MARGIN, Delivery, Violation};

pub(super) fn judge(case: &mut Case<'_>) {
    let mut lanes: BTreeMap<(usize, String), BTreeMap<u64, &Delivery<'_>>> = BTreeMap::new();
    for delivery in case.deliveries.values() {
        let Some(number) = delivery.number else { continue };
        if let Some(lane) = SPECS[delivery.webhook].lane(&Event::of(case.history.seed, number)) {
            // One producer posts its numbers in their order, each after the answer to the one before.
            let producer = number / SERIALS;
            lanes.entry((delivery.webhook, format!("{producer}/{lane}"))).or_default().insert(number, delivery);
        }
    }
    let mut found = Vec::new();
    for ((_, lane), deliveries) in &lanes {
        // The one whose end is the latest, of those before.
        let mut before: Option<(&Delivery<'_>, std::time::Duration)> = None;
        for delivery in deliveries.values() {
            let Some(first) = delivery.requests.first() else { continue };
            if let Some((earlier, end)) = before
                && first.at < end
            {
                found.push(Violation {
                    rule: "order",
                    delivery: Some(delivery.id.clone()),
                    detail: format!(
                        "in lane {lane} it went out at {:?}, before the end of {} at {end:?}",
                        first.at, earlier.id
                    ),
                });
            }
            let end = end(delivery);
            if before.is_none_or(|(_, latest)| end > latest) {
                before = Some((delivery, end));
            }
        }
    }
    case.extend(found);
}

/// The earliest time at which a delivery may have come to its end.
fn end(delivery: &Delivery<'_>) -> std::time::Duration {
    let accepted = delivery.requests.iter().filter(|request| request.accepted()).map(|request| request.answered());
    // What died is dated by the sidecar's clock, after its last request.
    let buried = delivery.burials.iter().map(|burial| burial.at.saturating_sub(DATE_MARGIN));
    accepted.chain(buried).min().unwrap_or_default()
}
