//! The judge: rules over what was written down.

use std::collections::{BTreeMap, BTreeSet};

use super::{History, WEBHOOKS, rendered};

/// What was broken, and figures for people.
pub(super) fn judge(seed: u64, history: &History) -> (Vec<String>, String) {
    let mut found = Vec::new();
    let mut accepted: BTreeMap<&str, u32> = BTreeMap::new();
    let mut refused: BTreeMap<&str, BTreeMap<u16, u64>> = BTreeMap::new();
    let mut ids: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
    let posts = posts_of(history);
    for seen in &history.requests {
        if seen.answered == 200 {
            *accepted.entry(&seen.id).or_default() += 1;
        } else {
            *refused.entry(&seen.id).or_default().entry(seen.answered).or_default() += 1;
        }
        let body: Option<serde_json::Value> = serde_json::from_str(&seen.body).ok();
        let number = body.as_ref().and_then(|body| body["number"].as_u64());
        let Some(number) = number.filter(|number| posts.contains_key(number)) else {
            found.push(format!("invented: {} to {} at {:?}: {}", seen.id, seen.webhook, seen.at, seen.body));
            continue;
        };
        if body != Some(rendered(seed, number)) {
            found.push(format!("payload: {} is not event {number}: {}", seen.id, seen.body));
        }
        match seen.id.strip_suffix(&format!("_{}", seen.webhook)) {
            Some(event) => {
                ids.entry(number).or_default().insert(event);
            }
            None => found.push(format!("id: {} at {}", seen.id, seen.webhook)),
        }
    }
    let letters: BTreeMap<&str, _> = history.letters.iter().map(|letter| (letter.id.as_str(), letter)).collect();
    let (mut owed, mut taken) = (0, 0);
    for post in history.posts.iter().filter(|post| post.status == 202) {
        taken += 1;
        if post.receipts.len() != post.numbers.len() {
            found.push(format!("receipt: {:?} has {} events", post.numbers, post.receipts.len()));
        }
        for (event, webhooks) in &post.receipts {
            for webhook in webhooks {
                owed += 1;
                let id = format!("{event}_{webhook}");
                if !accepted.contains_key(id.as_str()) && !letters.contains_key(id.as_str()) {
                    found.push(format!("lost: {id} of events {:?}", post.numbers));
                }
            }
        }
    }
    for (number, ids) in &ids {
        // An event may be there once for each post of it: those without a key that were not answered among them.
        let (keyed, count) = posts[number];
        if keyed && ids.len() > 1 || ids.len() > count {
            found.push(format!("doubled: event {number} was posted {count} times and is {ids:?}"));
        }
    }
    for letter in &history.letters {
        let answers = refused.get(letter.id.as_str()).cloned().unwrap_or_default();
        let shown = match letter.reason.as_str() {
            "client_error" => answers.contains_key(&422),
            "attempts_exhausted" => {
                letter.webhook == "limited" && letter.attempts == 3 && answers.values().sum::<u64>() >= 3
            }
            _ => false,
        };
        if !shown {
            found.push(format!(
                "buried: {} for {} after {} attempts: {answers:?}",
                letter.id, letter.reason, letter.attempts
            ));
        }
    }
    let twice = accepted.values().filter(|count| **count > 1).count();
    let statuses = history.posts.iter().fold(BTreeMap::new(), |mut all: BTreeMap<u16, u32>, post| {
        *all.entry(post.status).or_default() += 1;
        all
    });
    let figures = format!(
        "{taken} posts taken, {owed} deliveries owed by {} webhooks, {} requests, {} accepted more than once, {} dead letters, \
         answers {statuses:?}",
        WEBHOOKS.len(),
        history.requests.len(),
        twice,
        history.letters.len()
    );
    if taken < 50 {
        found.push(format!("hardly anything was taken: {figures}"));
    }
    (found, figures)
}

/// By number, whether it was posted with a key, and how often it was posted.
fn posts_of(history: &History) -> BTreeMap<u64, (bool, usize)> {
    let mut posts: BTreeMap<u64, (bool, usize)> = BTreeMap::new();
    for post in &history.posts {
        for number in &post.numbers {
            let entry = posts.entry(*number).or_insert((post.key.is_some(), 0));
            entry.1 += 1;
        }
    }
    posts
}
