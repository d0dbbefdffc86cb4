//! `outrigger dead-letters`: what was given up on, and what to do with it.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::repair::Repair;
use super::{Ask, LIMIT_DEFAULT, Refused, Sidecar, Way, encoded, limit, show, time};
use crate::admin::filter::{parse_id, parse_reason};
use crate::admin::repair::Action;
use crate::cli::run::block_on;
use crate::cli::{Answer, NO, USAGE};
use crate::delivery::Reason;

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
    Exits 0 when all is done, 1 when nothing matched, an id is unknown or the sidecar refused, 2 for usage, 78 when no sidecar listens and \
    its spool cannot be found because outrigger.toml has faults.")]
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
    #[arg(long, value_name = "TIME|DURATION", value_parser = time)]
    since: Option<Timestamp>,
    /// Those given up on before a time, or longer ago than a time
    #[arg(long, value_name = "TIME|DURATION", value_parser = time)]
    until: Option<Timestamp>,
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
        let filtered = self.webhook.is_some() || self.reason.is_some() || self.since.is_some() || self.until.is_some();
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
                return Some("say which: by IDs, or by --webhook, --reason, --since, --until or --all".to_owned());
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
        let filter: Vec<String> = self
            .filter()
            .into_iter()
            .map(|(name, value)| format!("{name}={}", encoded(value.as_str().unwrap_or_default())))
            .collect();
        let (mut letters, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let mut query = filter.clone();
            query.push(format!("limit={}", limit.saturating_sub(letters.len()).min(PAGE_MAX)));
            query.extend(cursor.as_deref().map(|cursor| format!("cursor={}", encoded(cursor))));
            let mut page = way.ask(&Ask::List(query.join("&"))).await?;
            if let Value::Array(page) = page["dead_letters"].take() {
                letters.extend(page);
            }
            let next = page["cursor"].as_str().map(str::to_owned);
            let ended = next.is_none() || letters.len() >= limit || next == cursor;
            cursor = next;
            if ended {
                break;
            }
        }
        let more = cursor.is_some();
        let after = if more {
            format!("there may be more than these {}: --limit COUNT\n", letters.len())
        } else {
            String::new()
        };
        let out = if self.json {
            show::json(&json!({ "dead_letters": letters, "more": more }))
        } else {
            show::list(&letters, !filter.is_empty())
        };
        Ok(Answer { out, after, ..Answer::default() })
    }

    async fn show(&self, way: &Way) -> Result<Answer, Refused> {
        let letter = way.ask(&Ask::Show(self.ids.first().cloned().unwrap_or_default())).await?;
        let out = if self.json { show::json(&letter) } else { show::one(&letter) };
        Ok(Answer { out, ..Answer::default() })
    }

    async fn repair(&self, way: &Way, action: Action) -> Result<Answer, Refused> {
        // An id that came twice would be told as missing by the step that finds it done.
        let mut seen = BTreeSet::new();
        let ids = self.ids.iter().map(String::as_str).filter(|id| seen.insert(*id)).collect();
        let Self { yes: sure, dry_run, json, .. } = *self;
        Repair { action, ids, filter: self.filter(), dry_run, sure, json }.run(way).await
    }

    /// The filter's parts by name.
    fn filter(&self) -> Map<String, Value> {
        let parts = [
            ("webhook", self.webhook.clone()),
            ("reason", self.reason.map(|reason| reason.to_string())),
            ("since", self.since.map(|since| since.to_string())),
            ("until", self.until.map(|until| until.to_string())),
        ];
        parts.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into()))).collect()
    }
}
