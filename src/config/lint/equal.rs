//! `equal-webhooks`: a file that was copied, and now every event is delivered twice.

use std::collections::HashMap;
use std::fmt::Write as _;

use super::Subject;
use crate::config::document::Report;
use crate::config::table::as_json;
use crate::diagnostic::Lint;
use crate::webhook::Status;

/// What decides which requests are sent for which events, beside kind, triggers and method.
const KEYS: [&str; 8] = ["url", "headers", "auth", "content_type", "strict", "body", "body_file", "filters"];

/// The first webhook of each meaning. Looking one up costs the same however many there are.
#[derive(Default)]
pub(super) struct Copies(HashMap<String, String>);

impl Copies {
    /// Reports a webhook that means the same as an earlier one.
    pub(super) fn lint(&mut self, report: &mut Report, subject: &Subject<'_>) {
        let (webhook, root) = (subject.webhook, subject.root);
        // What is invoked by name is invoked once, however many are alike.
        if webhook.status != Status::Active || webhook.triggers.are_manual() {
            return;
        }
        let mut meaning = format!("{} {} {}", webhook.kind.name, webhook.triggers, webhook.method);
        for key in KEYS {
            // The words as they are written: what two references come to is nobody's business here.
            let mut value = root.get(key).and_then(|entry| as_json(entry.node.value)).unwrap_or_default();
            value.sort_all_objects();
            let _ = write!(meaning, "\n{key} {value}");
        }
        let Some(first) = self.0.get(&meaning) else {
            self.0.insert(meaning, webhook.name.to_string());
            return;
        };
        let at = root.get("url").map_or(root.at, |entry| entry.node.at);
        let problem = format!("the webhook sends what `{first}` sends: every event is delivered twice");
        let fix = "remove one of the files, correct the copy, or make it status = \"inactive\"";
        report.warning(Lint::EqualWebhooks, at, problem, fix);
    }
}
