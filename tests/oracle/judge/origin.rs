//! Nothing is invented: every delivery comes from a post, carries what was posted, and goes to those who wanted it then.

use std::collections::BTreeSet;

use crate::oracle::history::{Post, Posted, Status};
use crate::oracle::webhooks::{Event, SPECS};

use super::{Case, EVENT_CHARS, History, Violation};

pub(super) fn judge(case: &mut Case<'_>) {
    let mut found = sources(case);
    found.extend(repeats(case));
    found.extend(case.history.posts.iter().flat_map(|post| match &post.result {
        Posted::Taken(_) => receipt(case.history, post),
        Posted::Lost(_) => all_or_none(case, post),
        Posted::Refused { .. } => Vec::new(),
    }));
    found.extend(payloads(case));
    case.extend(found);
}

/// Every delivery was promised, or belongs to a post whose answer was lost.
fn sources(case: &Case<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for delivery in case.deliveries.values().filter(|delivery| delivery.taken.is_none()) {
        let mut finds = |detail: String| {
            found.push(Violation { rule: "invented", delivery: Some(delivery.id.clone()), detail });
        };
        let Some(number) = delivery.number else {
            finds("nobody knows its event".to_owned());
            continue;
        };
        let posts = case.posts.get(&number).map(Vec::as_slice).unwrap_or_default();
        let taken = posts.iter().any(|post| matches!(post.result, Posted::Taken(_)));
        let lost = posts.iter().any(|post| matches!(post.result, Posted::Lost(_)));
        if taken {
            finds(format!("the receipt for event {number} does not name it"));
        } else if !lost {
            finds(format!("event {number} was refused, or never posted: {posts:?}"));
        }
    }
    found
}

/// One event has one id, however often it was posted under its key, and every answer to a key is the same receipt.
fn repeats(case: &Case<'_>) -> Vec<Violation> {
    let twice = case.ids.iter().filter(|(_, ids)| ids.len() > 1).map(|(number, ids)| Violation {
        rule: "twice",
        delivery: None,
        detail: format!("event {number} was taken more than once, as {ids:?}; its posts: {:?}", case.posts.get(number)),
    });
    let mut found: Vec<Violation> = twice.collect();
    for (number, posts) in &case.posts {
        let receipts = posts.iter().filter_map(|post| match &post.result {
            Posted::Taken(receipts) => {
                let mut owed: Vec<_> = receipts
                    .iter()
                    .map(|receipt| {
                        let names: BTreeSet<&str> = receipt.owed.iter().map(|(name, _)| name.as_str()).collect();
                        (receipt.event.as_str(), names)
                    })
                    .collect();
                owed.sort();
                Some(owed)
            }
            _ => None,
        });
        let receipts: BTreeSet<_> = receipts.collect();
        if receipts.len() > 1 {
            let detail = format!("event {number} has more than one receipt: {receipts:?}");
            found.push(Violation { rule: "repeat", delivery: None, detail });
        }
    }
    found
}

/// Whether a webhook may have been, and has to have been, among those that a post is for.
fn wanting(history: &History, post: &Post, number: u64, webhook: usize) -> (bool, bool) {
    let wants = match post.invoked {
        Some(invoked) => invoked == webhook,
        None => SPECS[webhook].wants(&Event::of(history.seed, number)),
    };
    let active = |status: Status| status == Status::Active;
    let may = history.in_force(post.begun, post.ended).any(|state| active(state.webhooks[webhook].status));
    let must = history.always(webhook, post.begun, post.ended, |state| active(state.webhooks[webhook].status));
    (wants && may, wants && must)
}

/// A receipt names those who wanted the event, and nobody else. A repeat's receipt is the first one's.
fn receipt(history: &History, post: &Post) -> Vec<Violation> {
    let Posted::Taken(receipts) = &post.result else { return Vec::new() };
    let mut found = Vec::new();
    if receipts.len() != post.events.len() {
        let detail = format!("{} receipts for {} events", receipts.len(), post.events.len());
        found.push(Violation { rule: "receipt", delivery: None, detail });
    }
    let first = history
        .posts
        .iter()
        .filter(|other| other.key.is_some() && other.key == post.key)
        .min_by_key(|other| other.begun)
        .unwrap_or(post);
    let window = Post { begun: first.begun, ..post.clone() };
    for (number, receipt) in post.events.iter().zip(receipts) {
        for (webhook, spec) in SPECS.iter().enumerate() {
            let (may, must) = wanting(history, &window, *number, webhook);
            let named = receipt.owed.iter().filter(|(name, _)| name == spec.name).count();
            if (named == 0 && must) || (named == 1 && !may) || named > 1 {
                let detail = format!("{} is {named} times in the receipt of event {number}: {receipt:?}", spec.name);
                found.push(Violation {
                    rule: "receipt",
                    delivery: Some(format!("{}_{}", receipt.event, spec.name)),
                    detail,
                });
            }
        }
    }
    found
}

/// What is known of a post without an answer is all of it, or nothing.
fn all_or_none(case: &Case<'_>, post: &Post) -> Vec<Violation> {
    let seen = |number: u64, webhook: usize| {
        let ids = case.ids.get(&number);
        ids.into_iter().flatten().any(|event| {
            let id = format!("{event}_{}", SPECS[webhook].name);
            case.deliveries.get(id.as_str()).is_some_and(|delivery| {
                !delivery.burials.is_empty() || delivery.requests.iter().any(|request| request.accepted())
            })
        })
    };
    let known = post.events.iter().any(|number| case.ids.contains_key(number));
    let taken = post.events.iter().filter_map(|number| case.posts.get(number)).flatten();
    if !known || taken.into_iter().any(|post| matches!(post.result, Posted::Taken(_))) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for number in &post.events {
        for (webhook, spec) in SPECS.iter().enumerate() {
            let (_, must) = wanting(case.history, post, *number, webhook);
            if must && !seen(*number, webhook) {
                let detail = format!(
                    "a part of the post of {:?} at {:?} was delivered, but not event {number} for {}",
                    post.events, post.begun, spec.name
                );
                found.push(Violation { rule: "all or none", delivery: None, detail });
            }
        }
    }
    found
}

/// Every request carries what was posted, rendered by a definition that was in force.
fn payloads(case: &Case<'_>) -> Vec<Violation> {
    let mut found = Vec::new();
    for request in &case.history.requests {
        let mut finds = |detail: String| {
            found.push(Violation { rule: "payload", delivery: Some(request.id.clone()), detail });
        };
        let (number, version) = match &request.payload {
            Ok(read) => *read,
            Err(wrong) => {
                finds(wrong.clone());
                continue;
            }
        };
        let ids = case.ids.get(&number);
        if !request.id.get(..EVENT_CHARS).is_some_and(|event| ids.is_some_and(|ids| ids.contains(event))) {
            finds(format!("it carries event {number}"));
        }
        let right = case.history.in_force(request.at, request.at).any(|state| {
            let defined = state.webhooks[request.webhook];
            defined.version == version && defined.status == Status::Active
        });
        if !right {
            finds(format!("at {:?} it went out by version {version}, which was not in force", request.at));
        }
    }
    found
}
