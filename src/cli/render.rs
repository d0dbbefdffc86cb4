//! `outrigger render`: which webhooks want an event, and the requests that would be sent.

use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use serde::de::IgnoredAny;

use super::{Answer, Config, FINE, NO, USAGE, count, preview};
use crate::config::{Snapshot, read_text};
use crate::diagnostic::nearest;
use crate::event::Event;
use crate::kind::Kind;
use crate::plan::refusals;
use crate::secret::MASK;
use crate::shown;
use crate::webhook::{Status, Webhook};

/// The kind of an event where neither a flag nor a webhook says it.
const KIND_DEFAULT: &str = "request";

/// Why a webhook takes nothing, whatever the event.
const INACTIVE: &str = "it is inactive";

/// The largest event that is read, in bytes.
const EVENT_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Show which webhooks want an event and why not, and the request each would send
///
/// Nothing is sent. Referenced values, credentials and the URL behind its host are shown as ***.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  outrigger render --event events/granted.json\n  \
                        outrigger render okta-workflows --event - < event.json\n  \
                        outrigger render slack --event event.json --body-only | jq .")]
pub(super) struct Render {
    /// One webhook; without it all of the event's kind
    name: Option<String>,
    /// A file with one JSON object, or - for standard input
    #[arg(long, value_name = "FILE")]
    event: PathBuf,
    /// The event's kind [default: the webhook's, or else request]
    #[arg(long)]
    kind: Option<String>,
    /// Print the body and nothing else
    #[arg(long, requires = "name")]
    body_only: bool,
    #[command(flatten)]
    config: Config,
}

impl Render {
    pub(super) fn run(&self) -> Answer {
        let loaded = preview::masked(&self.config.source());
        let Some(snapshot) = loaded.snapshot else { return Answer::bad_config(&loaded.diagnostics) };
        self.answer(&snapshot).unwrap_or_else(|problem| Answer {
            err: format!("error: {problem}\n"),
            code: USAGE,
            ..Answer::default()
        })
    }

    /// The answer; the error is what is wrong with the question.
    fn answer(&self, snapshot: &Snapshot) -> Result<Answer, String> {
        let webhook = self.name.as_deref().map(|name| named(snapshot, name)).transpose()?;
        let kind = self.kind(snapshot, webhook)?;
        let raw = read_event(&self.event)?;
        let event = preview::event(kind, raw).map_err(|error| {
            let hint = if error.place.is_none() { "; is it of another --kind?" } else { "" };
            format!("the event: {error}{hint}")
        })?;
        let question = Question(&event);
        if let Some(webhook) = webhook {
            return Ok(if self.body_only { question.body(webhook) } else { question.request(webhook) });
        }
        Ok(question.all(snapshot))
    }

    fn kind<'s>(&self, snapshot: &'s Snapshot, webhook: Option<&'s Webhook>) -> Result<&'s Arc<Kind>, String> {
        let name = match (&self.kind, webhook) {
            (None, Some(webhook)) => return Ok(&webhook.kind),
            (Some(name), _) => name.as_str(),
            (None, None) => KIND_DEFAULT,
        };
        snapshot.kinds.get(name).ok_or_else(|| {
            let names: Vec<&str> = snapshot.kinds.keys().map(|name| &**name).collect();
            format!("there is no kind `{name}`; the kinds are {}", names.join(", "))
        })
    }
}

fn named<'s>(snapshot: &'s Snapshot, name: &str) -> Result<&'s Webhook, String> {
    snapshot.webhooks.get(name).map(|webhook| &**webhook).ok_or_else(|| {
        let near = nearest(name, snapshot.webhooks.keys().map(|name| &**name));
        let hint = near.map_or(String::new(), |near| format!("; did you mean `{near}`?"));
        format!("there is no webhook `{name}`{hint}")
    })
}

/// Reads one event, from a file or from standard input for `-`. The error is a sentence.
pub(super) fn read_event(path: &Path) -> Result<String, String> {
    let text = read(path)?;
    if is_several(&text) {
        let place = if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() };
        return Err(format!(
            "{place} holds several events, and one is wanted; give one of them, as `sed -n 3p FILE | outrigger … --event -` does, \
             or ask `outrigger plan` about all"
        ));
    }
    Ok(text)
}

/// Whether a text is more than one JSON value.
fn is_several(text: &str) -> bool {
    let values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    values.take(2).flatten().count() == 2
}

fn read(path: &Path) -> Result<String, String> {
    if path != Path::new("-") {
        return read_text(path, EVENT_BYTES_MAX).map_err(|problem| format!("the file {} {problem}", path.display()));
    }
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(EVENT_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| format!("standard input cannot be read: {error}"))?;
    if bytes.len() as u64 > EVENT_BYTES_MAX {
        return Err(format!("the event is larger than {EVENT_BYTES_MAX} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "the event is not UTF-8".to_owned())
}

/// An event that webhooks are asked about.
struct Question<'q>(&'q Event);

impl Question<'_> {
    /// All webhooks: those that want the event with their requests, then why the others do not.
    fn all(&self, snapshot: &Snapshot) -> Answer {
        let mut all = Answer { code: FINE, ..Answer::default() };
        let (wanting, others): (Vec<_>, Vec<_>) =
            snapshot.webhooks.values().partition(|webhook| self.refusals(webhook).is_empty());
        for webhook in &wanting {
            let one = self.request(webhook);
            let _ = writeln!(all.out, "{}", one.out);
            all.code = all.code.max(one.code);
        }
        for webhook in &others {
            all.out.push_str(&self.request(webhook).out);
        }
        if !others.is_empty() {
            all.out.push('\n');
        }
        let number = count(snapshot.webhooks.len(), "webhook");
        let verb = if wanting.len() == 1 { "wants" } else { "want" };
        let _ = writeln!(all.out, "{} of {number} {verb} the event ({})", wanting.len(), self.0.event_type);
        all
    }

    /// All that keeps the event from the webhook: its status, trigger and filters.
    fn refusals(&self, webhook: &Webhook) -> Vec<String> {
        let status = (webhook.status == Status::Inactive).then(|| INACTIVE.to_owned());
        status.into_iter().chain(refusals(webhook, &self.0.tree())).collect()
    }

    /// Whether the webhook wants the event, and the request.
    fn request(&self, webhook: &Webhook) -> Answer {
        let name = &webhook.name;
        let refusals = self.refusals(webhook);
        let head = match &*refusals {
            [] if webhook.status == Status::Shadow => {
                format!("{name}: wanted ({}, shadow: never sent)", self.0.event_type)
            }
            [] => format!("{name}: wanted ({})", self.0.event_type),
            // Nothing but its status keeps it from sending: what it will send is what people want to see before.
            [only] if only == INACTIVE => format!("{name}: not wanted: {INACTIVE}; active, it would send"),
            [only] => return Answer { out: format!("{name}: not wanted: {only}\n"), code: FINE, ..Answer::default() },
            several => {
                let out = format!("{name}: not wanted:\n  - {}\n", several.join("\n  - "));
                return Answer { out, code: FINE, ..Answer::default() };
            }
        };
        let request = match preview::preview(webhook, self.0) {
            Ok(request) => request,
            Err(problem) if refusals.is_empty() => {
                return Answer { out: format!("{name}: wanted, but {problem}\n"), code: NO, ..Answer::default() };
            }
            Err(problem) => {
                return Answer { out: format!("{name}: not wanted: {INACTIVE}, and {problem}\n"), ..Answer::default() };
            }
        };
        let mut out = format!("{head}\n");
        let _ = writeln!(out, "{} {}", webhook.method, shown::url(webhook));
        for (name, value) in &request.headers {
            let value = if shown::is_typed_secret(webhook, name, value) { MASK } else { value };
            let _ = writeln!(out, "{name}: {value}");
        }
        if !request.body.is_empty() {
            let _ = writeln!(out, "\n{}", shown::pretty(request.body.trim_end()));
        }
        if !request.missing.is_empty() {
            let _ = writeln!(out, "\nmissing in the event: {}", request.missing.join(", "));
        }
        Answer { out, code: FINE, ..Answer::default() }
    }

    /// The body alone.
    fn body(&self, webhook: &Webhook) -> Answer {
        let refusals = self.refusals(webhook);
        let problem = if refusals.is_empty() {
            match preview::preview(webhook, self.0) {
                Ok(request) => {
                    return Answer { out: format!("{}\n", request.body.trim_end()), code: FINE, ..Answer::default() };
                }
                Err(problem) => problem,
            }
        } else {
            format!("not wanted: {}", refusals.join("; "))
        };
        Answer { err: format!("{}: {problem}\n", webhook.name), code: NO, ..Answer::default() }
    }
}
