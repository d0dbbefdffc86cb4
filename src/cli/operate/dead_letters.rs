//! `outrigger dead-letters`: what was given up on, and what to do with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{BufRead as _, IsTerminal as _, Write as _};

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{Ask, Refused, Sidecar, Way, show};
use crate::admin::filter::{parse_id, parse_reason, parse_since};
use crate::admin::repair::{Action, IDS_MAX};
use crate::cli::run::block_on;
use crate::cli::{Answer, FINE, NO, USAGE, count};
use crate::delivery::Reason;

/// Dead letters that a list shows unless `--limit` says otherwise.
const LIMIT_DEFAULT: usize = 50;
/// And at most: a list is for reading.
const LIMIT_MAX: usize = 10_000;
/// Dead letters that are asked for at once.
const PAGE_MAX: usize = 500;

/// List, show, replay or drop what was given up on
#[derive(Debug, Args)]
#[command(after_help = "Asks the running sidecar by its admin listener; where none listens, opens its spool.\n\n\
    Examples:\n  outrigger dead-letters\n  outrigger dead-letters --webhook slack --since 2h\n  \
    outrigger dead-letters show evt_01a206047c4a75a3b804c9ba06761969_slack\n  \
    outrigger dead-letters replay --webhook slack --reason client_error --dry-run\n  \
    outrigger dead-letters replay --webhook slack --reason client_error\n  \
    outrigger dead-letters drop --since 2026-11-22T10:00:00Z --yes\n\n\
    A replayed delivery keeps its id and is rendered with the definition in force.\n\
    Exits 0 when all is done, 1 when nothing matched, an id is unknown or the sidecar refused, 2 for usage.")]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(in crate::cli) struct DeadLetters {
    /// What to do
    #[arg(value_enum, value_name = "ACTION", default_value = "list", hide_default_value = true)]
    verb: Verb,
    /// Which, by the ids of their deliveries (`webhook-id` at the receiver)
    #[arg(value_name = "ID")]
    ids: Vec<String>,
    /// Those of this webhook
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,
    /// Those given up on for this reason, such as `client_error`
    #[arg(long, value_name = "REASON", value_parser = parse_reason)]
    reason: Option<Reason>,
    /// Those given up on since a time (2026-11-22T10:00:00Z), or in a time until now (2h)
    #[arg(long, value_name = "TIME|DURATION", value_parser = since)]
    since: Option<Timestamp>,
    /// All of them
    #[arg(long)]
    all: bool,
    /// Say how many it would be, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Drop more than one without asking
    #[arg(long)]
    yes: bool,
    /// How many to list, the latest first [default: 50]
    #[arg(long, value_name = "COUNT", value_parser = limit)]
    limit: Option<usize>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    sidecar: Sidecar,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Verb {
    /// The latest of them
    List,
    /// One of them with its event
    Show,
    /// Make pending deliveries of them
    Replay,
    /// Forget them
    Drop,
}

fn since(text: &str) -> Result<Timestamp, String> {
    parse_since(text, Timestamp::now())
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| format!("write a number from 1 to {LIMIT_MAX}"))
}

/// What a repair came to, over all of its steps.
#[derive(Debug, Default)]
struct Totals {
    matched: u64,
    done: u64,
    skipped: BTreeMap<String, u64>,
    missing: Vec<String>,
}

impl DeadLetters {
    pub(in crate::cli) fn run(&self) -> Answer {
        if let Some(misuse) = self.misuse() {
            let err = format!("outrigger: {misuse}; `outrigger dead-letters --help` has examples\n");
            return Answer { err, code: USAGE, ..Answer::default() };
        }
        block_on(self.answer()).unwrap_or_else(|error| {
            let err = format!("outrigger: no runtime: {error}\n");
            Answer { err, code: NO, ..Answer::default() }
        })
    }

    /// What is wrong with the words of the command line.
    fn misuse(&self) -> Option<String> {
        let filtered = self.webhook.is_some() || self.reason.is_some() || self.since.is_some();
        let repairs = matches!(self.verb, Verb::Replay | Verb::Drop);
        if self.verb != Verb::List && self.limit.is_some() {
            return Some("--limit is for the list".to_owned());
        }
        if !repairs && (self.all || self.dry_run) {
            return Some("--all and --dry-run are for replay and drop".to_owned());
        }
        if self.verb != Verb::Drop && self.yes {
            return Some("--yes is for drop".to_owned());
        }
        match self.verb {
            Verb::List if !self.ids.is_empty() => return Some("the list takes no ids: `show ID` shows one".to_owned()),
            Verb::Show if self.ids.len() != 1 || filtered => return Some("show takes one ID and no filter".to_owned()),
            Verb::Replay | Verb::Drop if self.ids.is_empty() == (!filtered && !self.all) => {
                return Some("say which: by IDs, or by --webhook, --reason, --since or --all".to_owned());
            }
            _ => {}
        }
        self.ids.iter().find_map(|id| Some(format!("`{id}` is no ID: {}", parse_id(id).err()?)))
    }

    async fn answer(&self) -> Answer {
        let (way, note) = match self.sidecar.way().await {
            Ok(found) => found,
            Err(Refused { text, code }) => {
                return Answer { err: format!("outrigger: {text}\n"), code, ..Answer::default() };
            }
        };
        let mut answer = match self.verb {
            Verb::List => self.list(&way).await,
            Verb::Show => self.show(&way).await,
            Verb::Replay => self.repair(&way, Action::Replay).await,
            Verb::Drop => self.repair(&way, Action::Drop).await,
        }
        .unwrap_or_else(|Refused { text, code }| Answer {
            err: format!("outrigger: {text}\n"),
            code,
            ..Answer::default()
        });
        way.close().await;
        answer.err.insert_str(0, &note);
        answer
    }

    async fn list(&self, way: &Way) -> Result<Answer, Refused> {
        let limit = self.limit.unwrap_or(LIMIT_DEFAULT);
        let filter: Vec<String> =
            self.filter().into_iter().map(|(name, value)| format!("{name}={}", plain(&value))).collect();
        let (mut letters, mut cursor) = (Vec::new(), None);
        loop {
            let mut query = filter.clone();
            query.push(format!("limit={}", limit.saturating_sub(letters.len()).min(PAGE_MAX)));
            query.extend(cursor.as_ref().map(|cursor| format!("cursor={}", plain(cursor))));
            let mut page = way.ask(&Ask::List(query.join("&"))).await?;
            if let Value::Array(page) = page["dead_letters"].take() {
                letters.extend(page);
            }
            let next = page["cursor"].take();
            if next.is_null() || letters.len() >= limit || cursor.as_ref() == Some(&next) {
                cursor = Some(next);
                break;
            }
            cursor = Some(next);
        }
        let more = cursor.is_some_and(|cursor| !cursor.is_null());
        if self.json {
            let out = format!("{:#}\n", json!({ "dead_letters": letters }));
            return Ok(Answer { out, ..Answer::default() });
        }
        let err = if more {
            format!("there may be more than these {}: --limit COUNT\n", letters.len())
        } else {
            String::new()
        };
        Ok(Answer { out: show::list(&letters), err, code: FINE })
    }

    async fn show(&self, way: &Way) -> Result<Answer, Refused> {
        let letter = way.ask(&Ask::Show(self.ids.first().cloned().unwrap_or_default())).await?;
        let out = if self.json { format!("{letter:#}\n") } else { show::one(&letter) };
        Ok(Answer { out, ..Answer::default() })
    }

    async fn repair(&self, way: &Way, action: Action) -> Result<Answer, Refused> {
        let mut totals = Totals::default();
        if action == Action::Drop && !self.dry_run && !self.yes && self.ids.len() != 1 {
            self.steps(way, action, true, &mut totals).await?;
            if totals.matched > 1 && !confirmed(totals.matched) {
                let found = count_letters(totals.matched);
                return Err(Refused::no(format!("this would drop {found}: say --yes, or look first with --dry-run")));
            }
            totals = Totals::default();
        }
        if let Err(Refused { text, code }) = self.steps(way, action, self.dry_run, &mut totals).await {
            let done = action.done();
            let before = if totals.done > 0 {
                format!("; {} {done} before that, and the same command goes on", are(totals.done))
            } else {
                String::new()
            };
            return Err(Refused { text: format!("{text}{before}"), code });
        }
        let mut answer = self.told(action, &totals);
        if action == Action::Replay && totals.done > 0 && matches!(way, Way::Stopped(..)) {
            answer.err.push_str("what was replayed goes out when the sidecar starts\n");
        }
        Ok(answer)
    }

    /// Goes on until there is nothing more to do.
    async fn steps(&self, way: &Way, action: Action, dry_run: bool, totals: &mut Totals) -> Result<(), Refused> {
        let mut progress = Progress::new();
        if !self.ids.is_empty() {
            for ids in self.ids.chunks(IDS_MAX) {
                let body = json!({ "ids": ids, "dry_run": dry_run });
                totals.add(action, &way.ask(&Ask::Repair(action, body)).await?);
                progress.show(totals, self.ids.len() > IDS_MAX);
            }
            return Ok(());
        }
        let mut body = self.filter();
        body.insert("all".to_owned(), true.into());
        body.insert("dry_run".to_owned(), dry_run.into());
        loop {
            let answer = way.ask(&Ask::Repair(action, Value::Object(body.clone()))).await?;
            totals.add(action, &answer);
            let cursor = &answer["cursor"];
            progress.show(totals, !cursor.is_null());
            if cursor.is_null() {
                return Ok(());
            }
            if body.insert("cursor".to_owned(), cursor.clone()).as_ref() == Some(cursor) {
                return Err(Refused::no("the sidecar answers the same again and again: look at its log"));
            }
        }
    }

    /// The filter's parts by name.
    fn filter(&self) -> Map<String, Value> {
        let parts = [
            ("webhook", self.webhook.clone()),
            ("reason", self.reason.map(|reason| reason.to_string())),
            ("since", self.since.map(|since| since.to_string())),
        ];
        parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
    }

    /// The final count.
    fn told(&self, action: Action, totals: &Totals) -> Answer {
        let Totals { matched, done, skipped, missing } = totals;
        let skipped_count: u64 = skipped.values().sum();
        let would = if self.dry_run { matched.saturating_sub(skipped_count) } else { *done };
        let code = if would == 0 || !missing.is_empty() { NO } else { FINE };
        let mut err = String::new();
        for id in missing {
            let _ = writeln!(err, "`{id}` is no dead letter: it was delivered, is pending, or was replayed or dropped");
        }
        if self.json {
            let out = json!({
                "dry_run": self.dry_run, "matched": matched, (action.done()): done, "skipped": skipped, "missing": missing,
            });
            return Answer { out: format!("{out:#}\n"), err, code };
        }
        if *matched == 0 && missing.is_empty() {
            err.push_str("no dead letter matches: `outrigger dead-letters` lists them\n");
        }
        let verb = match (action, self.dry_run) {
            (Action::Replay, true) => "would replay",
            (Action::Drop, true) => "would drop",
            (_, false) => action.done(),
        };
        let mut out = format!("{verb} {}", count_letters(would));
        for (webhook, count) in skipped {
            let _ = write!(out, "; {count} skipped: webhook `{webhook}` is not configured");
        }
        out.push('\n');
        Answer { out, err, code }
    }
}

impl Totals {
    fn add(&mut self, action: Action, answer: &Value) {
        self.matched += answer["matched"].as_u64().unwrap_or_default();
        self.done += answer[action.done()].as_u64().unwrap_or_default();
        for (webhook, count) in answer["skipped"].as_object().into_iter().flatten() {
            *self.skipped.entry(webhook.clone()).or_default() += count.as_u64().unwrap_or_default();
        }
        let missing = answer["missing"].as_array().into_iter().flatten();
        self.missing.extend(missing.filter_map(|id| id.as_str().map(str::to_owned)));
    }
}

/// A count of what was gone through, on a terminal.
struct Progress {
    seen: bool,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        Self { seen: std::io::stderr().is_terminal(), shown: false }
    }

    fn show(&mut self, totals: &Totals, more: bool) {
        if self.seen && (more || self.shown) {
            self.shown = true;
            // A terminal that is gone needs no count.
            let _ = write!(std::io::stderr(), "\r{} so far", count_letters(totals.matched));
            let _ = std::io::stderr().write_all(if more { b"" } else { b"\n" });
        }
    }
}

/// Asks on the terminal; without one the answer is no.
fn confirmed(letters: u64) -> bool {
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return false;
    }
    let _ = write!(std::io::stderr(), "drop {} for good? [y/N] ", count_letters(letters));
    let mut line = String::new();
    let read = std::io::stdin().lock().read_line(&mut line);
    read.is_ok() && matches!(line.trim(), "y" | "Y" | "yes")
}

fn count_letters(number: u64) -> String {
    count(usize::try_from(number).unwrap_or(usize::MAX), "dead letter")
}

fn are(number: u64) -> String {
    if number == 1 { "1 was".to_owned() } else { format!("{number} were") }
}

/// A value as it stands in a query.
fn plain(value: &Value) -> String {
    let text = value.as_str().unwrap_or_default();
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}
