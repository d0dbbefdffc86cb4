//! What became of an event at one webhook, in a word and a sentence.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::admin::letters;
use crate::delivery::delivery_id;
use crate::event::Tree;
use crate::gates::Gates;
use crate::kind::MANUAL;
use crate::live::Live;
use crate::plan::refusals;
use crate::spool::KeptFor;
use crate::webhook::{Status, Webhook};

/// The event, and what is asked about it.
pub(super) struct Of<'a> {
    pub(super) live: &'a Live,
    pub(super) gates: &'a Gates,
    pub(super) tree: &'a Tree<'a>,
    /// The webhooks that wanted it when it came in; `None` where nobody remembers.
    pub(super) wanted: Option<&'a [Arc<str>]>,
    /// Whether any webhook is known that had to do with it.
    pub(super) is_known: bool,
    /// Whether that was for a test alone.
    pub(super) only_tested: bool,
}

impl Of<'_> {
    /// What became of it at one webhook, by what is kept of the delivery, and its attempts, the oldest first.
    pub(super) fn ended(&self, name: &Arc<str>, kept: Option<KeptFor>, attempts: &[Value]) -> Value {
        let (pending, dead) = kept.map_or((None, None), |kept| (kept.pending, kept.dead));
        let said = |one: &Value| {
            let said = one["detail"].as_str().or(one["reason"].as_str()).unwrap_or_default();
            format!("attempt {} failed: {said}", one["attempt"])
        };
        let real = |one: &&Value| one["test"] != json!(true);
        let last = attempts.iter().rfind(real);
        let delivered = attempts.iter().filter(real).any(|one| one["then"] == json!("delivered"));
        let (verdict, why) = if let Some(pending) = &pending {
            let mut why = match (last.filter(|one| one["outcome"] == json!("failed")), &pending.last) {
                (Some(last), _) => said(last),
                (None, Some(last)) => format!("the last attempt failed: {}", last.detail),
                (None, None) => "it has not been attempted yet".to_owned(),
            };
            if let Some(paused) = self.gates.paused(name) {
                why = format!("{why}; the webhook is paused ({})", paused.cause);
            }
            ("pending", why)
        } else if let Some(dead) = &dead {
            let detail = dead.last.as_ref().map_or_else(|| dead.reason.to_string(), |last| last.detail.clone());
            let plural = if dead.attempts == 1 { "" } else { "s" };
            ("dead", format!("given up on after {} attempt{plural} ({}): {detail}", dead.attempts, dead.reason))
        } else if delivered {
            ("delivered", "an attempt was accepted".to_owned())
        } else {
            self.unkept(name, last.map(said), !attempts.is_empty())
        };
        let pending = pending.map(|pending| {
            json!({
                "attempts": pending.attempts,
                "due": pending.due.map(|due| due.to_string()),
                "last": pending.last.as_ref().map(letters::last),
            })
        });
        let dead = dead.map(|dead| {
            json!({
                "id": delivery_id(self.tree.event().id, name),
                "reason": dead.reason.as_str(),
                "died_at": dead.died_at.to_string(),
            })
        });
        json!({
            "webhook": &**name,
            "verdict": verdict,
            "why": why,
            "dead_letter": dead,
            "pending": pending,
            "invocations": attempts,
        })
    }

    /// Of what is neither pending nor dead, and has no attempt that was accepted.
    fn unkept(&self, name: &Arc<str>, failed: Option<String>, tested: bool) -> (&'static str, String) {
        if let Some(failed) = failed {
            return ("unknown", format!("{failed}; it is no dead letter any more"));
        }
        if self.wanted.is_some_and(|wanted| wanted.contains(name)) {
            return ("unknown", "it is neither pending nor dead; what became of it is not kept any more".to_owned());
        }
        let event = self.tree.event();
        if self.only_tested {
            return if tested {
                ("unknown", "it was a test, which is no delivery".to_owned())
            } else {
                ("unwanted", "it was a test of another webhook".to_owned())
            };
        }
        if *event.event_type == *MANUAL {
            return if self.is_known || self.wanted.is_some() {
                ("unwanted", "the webhook that was invoked by its name is another one, or in shadow".to_owned())
            } else {
                ("unknown", "a webhook was invoked by its name; which one is not kept any more".to_owned())
            };
        }
        let Some(webhook) = self.live.snapshot.webhooks.get(name) else {
            return ("unknown", "no file defines this webhook".to_owned());
        };
        if event.raw.is_empty() {
            return ("unknown", "its payload is not kept any more, so that nothing can be asked of it".to_owned());
        }
        let mut why = unwanted(webhook, self.tree);
        if !why.is_empty() {
            return ("unwanted", why.join("; "));
        }
        if self.wanted.is_some() {
            why.push("the configuration in force wants it, that of its time did not".to_owned());
            return ("unwanted", why.concat());
        }
        ("unknown", "the configuration in force wants it; what became of it is not kept any more".to_owned())
    }
}

/// All that keeps an event from a webhook, its status included.
fn unwanted(webhook: &Webhook, tree: &Tree<'_>) -> Vec<String> {
    let status = match webhook.status {
        Status::Active => None,
        Status::Inactive => Some("it is inactive".to_owned()),
        Status::Shadow => Some("it is in shadow: rendered, never sent".to_owned()),
    };
    let refusals = refusals(webhook, tree).into_iter().map(|cause| webhook.mask.apply(&cause).into_owned());
    status.into_iter().chain(refusals).collect()
}
