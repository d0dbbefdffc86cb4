//! `outrigger test NAME`: sends one mock event to a webhook's real target and shows what came back. The Test button.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use bytes::Bytes;
use clap::Args;

use crate::attempt::Attempted;
use crate::cli::run::block_on;
use crate::cli::{BAD_CONFIG, Folder, NO, USAGE};
use crate::cli::{preview, render};
use crate::client::{Clients, Routes};
use crate::config::{Snapshot, Source, load};
use crate::delivery::{Failure, Outcome, Reason};
use crate::event::Event;
use crate::shown;
use crate::trace::SpanId;
use crate::trial::{self, Mock, mock_event};
use crate::webhook::Webhook;
use crate::webhook::request::{Request, WEBHOOK_ID};

/// How much of a body is printed, in characters.
const SHOWN_CHARS_MAX: usize = 4_000;

/// Send a mock event to a webhook's real target, and show what came back
#[derive(Debug, Args)]
#[command(
    after_help = "Needs no running sidecar; asks neither status nor triggers nor filters. The requester is named\n\
    \"Outrigger test\" and the header `outrigger-test: true` is sent.\n\n\
    Exits 0 for Test successful, 1 for Test failed."
)]
pub(super) struct Test {
    /// The webhook
    name: String,
    #[command(flatten)]
    folder: Folder,
    /// The sample to send, by event type; without it the webhook's first
    #[arg(long, value_name = "TYPE", conflicts_with = "event")]
    trigger: Option<String>,
    /// An event of your own: a file, or - for standard input
    #[arg(long, value_name = "FILE")]
    event: Option<PathBuf>,
}

impl Test {
    pub(super) fn run(&self) -> ExitCode {
        let mock = match &self.event {
            None => Mock::Trigger(self.trigger.clone()),
            Some(path) => match render::read_event(path) {
                Ok(text) => Mock::Event(Bytes::from(text)),
                Err(problem) => {
                    eprintln!("outrigger: {problem}");
                    return ExitCode::from(USAGE);
                }
            },
        };
        test(&Source::new(&self.folder.dir), &self.name, mock)
    }
}

/// Sends the mock event whatever the webhook's status, triggers and filters say, and needs no running sidecar.
fn test(source: &Source, name: &str, mock: Mock) -> ExitCode {
    let loaded = load(source);
    for diagnostic in &loaded.diagnostics {
        eprintln!("{diagnostic}");
    }
    let Some(snapshot) = loaded.snapshot else { return ExitCode::from(BAD_CONFIG) };
    let masked = preview::masked(source).snapshot;
    let Some((name, webhook)) = snapshot.webhooks.get_key_value(name) else {
        let known: Vec<&str> = snapshot.webhooks.keys().map(AsRef::as_ref).collect();
        eprintln!("outrigger: there is no webhook `{name}`; there are {}", known.join(", "));
        return ExitCode::from(USAGE);
    };
    let event = match mock_event(webhook, mock) {
        Ok(event) => event,
        Err(problem) => {
            eprintln!("outrigger: {problem}");
            return ExitCode::from(USAGE);
        }
    };
    let span = SpanId::new(fastrand::u64(..));
    // What is shown is rendered again from references that are masked; what is sent is never shown.
    if let Some(Ok(request)) =
        masked.as_ref().and_then(|masked| masked.webhooks.get(name)).map(|shown| trial::render(shown, &event, span))
    {
        show_request(webhook, &request);
    }
    let judged = block_on(send(&snapshot, webhook, &event, span));
    match judged {
        Ok(Ok(())) => {
            println!("\nTest successful");
            ExitCode::SUCCESS
        }
        Ok(Err(failure)) => {
            println!("\nTest failed: {}: {}", failure.reason, webhook.mask.apply(&failure.detail));
            ExitCode::from(NO)
        }
        Err(error) => {
            eprintln!("outrigger: no runtime: {error}");
            ExitCode::from(NO)
        }
    }
}

async fn send(snapshot: &Snapshot, webhook: &Arc<Webhook>, event: &Event, span: SpanId) -> Result<(), Failure> {
    let fault = |problem: String| Failure::new(Reason::TlsError, problem);
    let clients = Clients::new(&snapshot.settings.egress, Routes::default(), [webhook])
        .map_err(|error| fault(error.to_string()))?;
    let attempted = trial::send(clients.way(&webhook.name).map(AsRef::as_ref), webhook, event, span).await;
    show_response(webhook, &attempted);
    match attempted.outcome {
        Outcome::Accepted => Ok(()),
        Outcome::Failed(failure) => Err(failure),
    }
}

fn show_request(webhook: &Webhook, request: &Request) {
    let shown = shown::request(webhook, request);
    println!("{} {}", shown.method, shown.url);
    // The delivery's id is one that nobody knows.
    for (name, value) in shown.headers.iter().filter(|(name, _)| *name != WEBHOOK_ID.as_str()) {
        println!("{name}: {value}");
    }
    println!("\n{}", cut(shown::pretty(&shown.body)));
    if !shown.missing.is_empty() {
        println!("\nthe event has no {}", shown.missing.join(", "));
    }
}

/// What came back, without what is secret in it: receivers repeat what they were sent.
fn show_response(webhook: &Webhook, attempted: &Attempted) {
    let Some(response) = &attempted.response else { return };
    let mask = attempted.token.as_ref().map_or_else(|| webhook.mask.clone(), |token| webhook.mask.with(&token.secret));
    println!("\n{} after {} ms", response.status, attempted.duration.as_millis());
    for (name, value) in &response.headers {
        if name != http::header::SET_COOKIE {
            println!("{name}: {}", mask.apply(&String::from_utf8_lossy(value.as_bytes())));
        }
    }
    let body = shown::pretty(&shown::marked(&response.body, response.truncated));
    println!("\n{}", cut(mask.apply(&body).into_owned()));
    for (name, verdict) in &attempted.verdicts {
        let mark = if verdict.passed { "passed" } else { "failed" };
        println!("validator {name}: {mark}, found {}", mask.apply(verdict.found.as_deref().unwrap_or("nothing")));
    }
}

/// The beginning of a text. What is secret in it has been masked before: half a secret would not be known as one.
fn cut(mut text: String) -> String {
    if let Some((cut, _)) = text.char_indices().nth(SHOWN_CHARS_MAX) {
        text.truncate(cut);
        text.push('…');
    }
    text
}
