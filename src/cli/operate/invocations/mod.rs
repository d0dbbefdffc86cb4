//! `outrigger invocations`: what happened, attempt by attempt.

mod as_test;
mod follow;
mod line;
mod query;
mod whole;

use clap::{Args, ValueEnum};
use http::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::ask::Server;
use super::{Ask, LIMIT_DEFAULT, Refused, Sidecar, Way, limit, show, time};
use crate::admin::filter::parse_reason;
use crate::cli::paint::{Paint, When};
use crate::cli::run::block_on;
use crate::cli::{Answer, USAGE};
use crate::delivery::{Reason, parse_delivery_id};
use crate::event::EventId;
use crate::history::InvocationId;

use line::Columns;
use query::{Listed, Query};

/// Invocations that are shown before a tail begins.
const LIMIT_DEFAULT_FOLLOWING: usize = 10;
/// What is said where nothing can be listed.
const NONE_KEPT: &str = "history.per_webhook is 0: no invocations are kept";

/// List, show, follow or resend what was attempted
#[derive(Debug, Args)]
#[command(
    after_help = "Asks the running sidecar by its admin listener, which keeps the last attempts of each webhook \
    (`history.per_webhook`); where none listens, its spool, which keeps failed ones.\n\n\
    Examples:\n  outrigger invocations\n  outrigger invocations --webhook slack --outcome failed --since 2h\n  \
    outrigger invocations --event evt_01a206047c4a75a3b804c9ba06761969 --json\n  \
    outrigger invocations --follow\n  \
    outrigger invocations show inv_000644abcdef0123\n  \
    outrigger invocations show inv_000644abcdef0123 --as-test >> config/webhooks/slack.toml\n  \
    outrigger invocations resend inv_000644abcdef0123\n\n\
    What is resent keeps its delivery's id and is rendered with the definition in force. Secrets are `***` everywhere.\n\
    Exits 0 when all is done, 1 when an id is unknown or the sidecar refused, 2 for usage, 78 when no sidecar listens and its spool cannot \
    be found because outrigger.toml has faults. --follow ends with Ctrl-C, and 0."
)]
#[allow(clippy::struct_excessive_bools, reason = "each is a flag of the command line")]
pub(in crate::cli) struct Invocations {
    /// What to do
    #[arg(value_enum, value_name = "ACTION", default_value = "list", hide_default_value = true)]
    verb: Verb,
    /// Which one, for show and resend
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// Those of this webhook
    #[arg(long, value_name = "NAME")]
    webhook: Option<String>,
    /// Those that ended so
    #[arg(long, value_enum, value_name = "OUTCOME")]
    outcome: Option<Ended>,
    /// Those that failed for this reason, such as `client_error`
    #[arg(long, value_name = "REASON", value_parser = parse_reason)]
    reason: Option<Reason>,
    /// Those of this event, by its id or that of a delivery
    #[arg(long, value_name = "ID", value_parser = event)]
    event: Option<EventId>,
    /// Those that ended since a time (2026-11-22T10:00:00Z), or in a time until now (2h)
    #[arg(long, value_name = "TIME|DURATION", value_parser = time)]
    since: Option<Timestamp>,
    /// Those that ended before a time, or longer ago than a time
    #[arg(long, value_name = "TIME|DURATION", value_parser = time)]
    until: Option<Timestamp>,
    /// How many to list, the latest first [default: 50; 10 before --follow]
    #[arg(long, value_name = "COUNT", value_parser = limit, conflicts_with = "all")]
    limit: Option<usize>,
    /// List all that the sidecar keeps
    #[arg(long)]
    all: bool,
    /// Go on with what comes, until Ctrl-C; it waits for a sidecar that is restarted
    #[arg(long, short, conflicts_with_all = ["all", "until"])]
    follow: bool,
    /// Print the shown one as a [[tests]] block for its webhook's file
    #[arg(long, conflicts_with = "json")]
    as_test: bool,
    /// Print JSON; one object a line with --follow
    #[arg(long)]
    json: bool,
    /// When to colour
    #[arg(long, value_enum, value_name = "WHEN", default_value = "auto")]
    color: When,
    #[command(flatten)]
    sidecar: Sidecar,
}

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Verb {
    /// The latest of them
    List,
    /// One of them: request, response, verdicts, timings
    Show,
    /// Make the delivery of one pending again
    Resend,
}

/// What an attempt came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Ended {
    Accepted,
    Failed,
}

fn event(text: &str) -> Result<EventId, String> {
    let id = EventId::parse(text).or_else(|| parse_delivery_id(text).map(|(event, _)| event));
    id.ok_or_else(|| {
        "an event's id is `evt_` and 32 hexadecimal digits, as in the answer to its post, in the list and in `webhook-id`".to_owned()
    })
}

impl Invocations {
    pub(in crate::cli) fn run(&self) -> Answer {
        if let Some(misuse) = self.misuse() {
            let err = format!("outrigger: {misuse}; `outrigger invocations --help` has examples\n");
            return Answer { err, code: USAGE, ..Answer::default() };
        }
        let answer = block_on(self.answer()).unwrap_or_else(|error| Err(Refused::no(format!("no runtime: {error}"))));
        answer.unwrap_or_else(|Refused { text, code }| Answer {
            err: format!("outrigger: {text}\n"),
            code,
            ..Answer::default()
        })
    }

    /// What is wrong with the words of the command line.
    fn misuse(&self) -> Option<String> {
        let lists = self.verb == Verb::List;
        if !lists && (self.limit.is_some() || self.all || self.follow || !self.query().0.is_empty()) {
            return Some("filters, --limit, --all and --follow are for the list".to_owned());
        }
        if self.as_test && self.verb != Verb::Show {
            return Some("--as-test is for show".to_owned());
        }
        match (&self.id, self.verb) {
            (Some(_), Verb::List) => Some("the list takes no ID: `show ID` shows one".to_owned()),
            (None, Verb::Show) => Some("say which: `show ID`".to_owned()),
            (None, Verb::Resend) => Some("say which: `resend ID`".to_owned()),
            (Some(id), _) if InvocationId::parse(id).is_none() => {
                Some(format!("`{id}` is no ID: an invocation's is `inv_` and 16 hexadecimal digits, as in the list"))
            }
            _ => None,
        }
    }

    async fn answer(&self) -> Result<Answer, Refused> {
        let (way, note) = self.sidecar.way().await?;
        let id = self.id.as_deref().unwrap_or_default();
        let answer = match (self.verb, &way) {
            (Verb::List, Way::Running(server)) if self.follow => self.follow(server).await,
            (Verb::Resend, Way::Running(server)) => self.resend(server, id).await,
            (Verb::List, Way::Stopped(..)) if self.follow => Err(Refused::no("nothing comes until it runs")),
            (Verb::Resend, Way::Stopped(..)) => Err(Refused::no(
                "start it to resend; what it gave up on is made pending by `outrigger dead-letters replay`",
            )),
            (Verb::List, _) => self.list(&way).await,
            (Verb::Show, _) => self.show(&way, id).await,
        };
        let stopped = matches!(way, Way::Stopped(..));
        way.close().await;
        if !stopped {
            return answer;
        }
        let note = format!("{note}it keeps failed attempts\n");
        match answer {
            Ok(answer) => Ok(Answer { err: note, ..answer }),
            Err(Refused { text, code }) => Err(Refused { text: format!("{note}{text}"), code }),
        }
    }

    async fn list(&self, way: &Way) -> Result<Answer, Refused> {
        let limit = if self.all { usize::MAX } else { self.limit.unwrap_or(LIMIT_DEFAULT) };
        let query = self.query();
        let Listed { rows, more, per_webhook, .. } =
            query.ask(limit, async |query| way.ask(&Ask::Invocations(query)).await).await?;
        let after = if more {
            format!("there are more than these {}: --limit COUNT or --all\n", rows.len())
        } else {
            String::new()
        };
        let err = if per_webhook == Some(0) { format!("{NONE_KEPT}\n") } else { String::new() };
        let out = if self.json {
            show::json(&json!({ "invocations": rows, "more": more }))
        } else if rows.is_empty() {
            let none = if query.0.is_empty() { "no invocations" } else { "no invocation matches" };
            format!("{none}\n")
        } else {
            let paint = Paint(self.color.colours());
            let mut columns = Columns::default();
            columns.fit(&rows);
            let lines = rows.iter().map(|row| columns.line(row, paint));
            std::iter::once(columns.heading()).chain(lines).collect()
        };
        Ok(Answer { out, err, after, ..Answer::default() })
    }

    async fn show(&self, way: &Way, id: &str) -> Result<Answer, Refused> {
        let one = way.ask(&Ask::Invocation(id.to_owned())).await?;
        if self.as_test {
            let event = event_of(way, &one).await?;
            let out = as_test::block(&one, &event).map_err(Refused::no)?;
            return Ok(Answer { out, ..Answer::default() });
        }
        let out = if self.json { show::json(&one) } else { whole::text(&one, Paint(self.color.colours())) };
        Ok(Answer { out, ..Answer::default() })
    }

    async fn resend(&self, server: &Server, id: &str) -> Result<Answer, Refused> {
        let path = format!("/api/v1/invocations/{id}/resend");
        let answer = server.ask(Method::POST, &path, None).await.map_err(|error| server.refused(error))?;
        let delivery = answer["delivery_id"].as_str().unwrap_or_default();
        let out = if self.json { show::json(&answer) } else { format!("resent {delivery}\n") };
        Ok(Answer { out, ..Answer::default() })
    }

    async fn follow(&self, server: &Server) -> Result<Answer, Refused> {
        let (limit, paint) = (self.limit.unwrap_or(LIMIT_DEFAULT_FOLLOWING), Paint(self.color.colours()));
        let mut lines = follow::Lines::new(self.json, paint);
        follow::follow(server, &self.query(), limit, &mut lines).await.map_err(|error| server.refused(error))?;
        Ok(Answer::default())
    }

    fn query(&self) -> Query {
        let outcome = self.outcome.map(|outcome| match outcome {
            Ended::Accepted => "accepted".to_owned(),
            Ended::Failed => "failed".to_owned(),
        });
        let parts = [
            ("webhook", self.webhook.clone()),
            ("outcome", outcome),
            ("reason", self.reason.map(|reason| reason.to_string())),
            ("event", self.event.map(|event| event.to_string())),
            ("since", self.since.map(|since| since.to_string())),
            ("until", self.until.map(|until| until.to_string())),
        ];
        Query(parts.into_iter().filter_map(|(name, value)| Some((name, value?))).collect())
    }
}

/// The event of an invocation: that of its dead letter where it is not kept beside it.
async fn event_of(way: &Way, one: &Value) -> Result<Value, Refused> {
    if !one["event"].is_null() {
        return Ok(one["event"].clone());
    }
    let delivery = one["delivery_id"].as_str().unwrap_or_default();
    let letter = way.ask(&Ask::Show(delivery.to_owned())).await;
    let mut letter = letter.map_err(|Refused { text, code }| Refused {
        text: format!("its event is not kept beside it, and a test needs one: {text}"),
        code,
    })?;
    Ok(letter["payload"].take())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::cli::{Cli, Command};

    fn invocations(words: &[&str]) -> Invocations {
        match Cli::try_parse_from([&["outrigger", "invocations"], words].concat()).unwrap().command {
            Command::Invocations(invocations) => invocations,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn words_that_do_not_go_together_are_told() {
        let id = "inv_000644abcdef0123";
        for words in
            [&[][..], &["--follow"], &["list", "--all"], &["show", id, "--as-test"], &["resend", id], &["show", id]]
        {
            assert_eq!(invocations(words).misuse(), None, "{words:?}");
        }
        for (words, told) in [
            (&["show"][..], "`show ID`"),
            (&["resend"], "`resend ID`"),
            (&["list", id], "takes no ID"),
            (&["show", "inv_1"], "16 hexadecimal digits"),
            (&["show", id, "--webhook", "a"], "for the list"),
            (&["resend", id, "--follow"], "for the list"),
            (&["--as-test"], "for show"),
            (&["resend", id, "--as-test"], "for show"),
        ] {
            let misuse = invocations(words).misuse().unwrap_or_default();
            assert!(misuse.contains(told), "{words:?}: {misuse}");
        }
    }
}
