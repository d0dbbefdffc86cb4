//! The commands of people on call: they speak to a running sidecar's admin listener, or open a stopped one's spool.

mod ask;
mod dead_letters;
mod invocations;
mod repair;
mod resume;
mod show;

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::Method;
use jiff::Timestamp;
use serde_json::Value;

use crate::admin::filter::{Store, parse_since};
use crate::admin::invocations as attempts;
use crate::admin::letters;
use crate::admin::repair::{Action, repair};
use crate::cli::healthcheck::reachable;
use crate::cli::{BAD_CONFIG, Folder, NO};
use crate::config::{Listen, PLACEHOLDER, Settings, Source, SpoolPlace, load_settings, load_variables};
use crate::history::History;
use crate::spool::{DiskSpool, OpenError, Options, Spool as _, is_spool};

use ask::{Address, AskError, Server, parse_address};

pub(super) use dead_letters::DeadLetters;
pub(super) use invocations::Invocations;
pub(super) use resume::Resume;

/// Where the admin listener is unless the configuration says otherwise.
const DEFAULT_ADDRESS: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8461);

/// What a list shows unless `--limit` says otherwise.
const LIMIT_DEFAULT: usize = 50;
/// And at most: a list is for reading.
const LIMIT_MAX: usize = 10_000;

/// Which sidecar is meant.
#[derive(Debug, Args)]
struct Sidecar {
    #[command(flatten)]
    folder: Folder,
    /// The admin listener: http://ADDRESS:PORT or unix:PATH; without it, the configuration's admin.listen
    #[arg(long, value_name = "URL", value_parser = parse_address)]
    admin: Option<Address>,
}

/// Why a command could not do its work.
#[derive(Debug)]
struct Refused {
    /// What is said, which includes how to go on.
    text: String,
    /// The exit code.
    code: u8,
}

impl Refused {
    fn no(text: impl Into<String>) -> Self {
        Self { text: text.into(), code: NO }
    }
}

/// The way to what a sidecar keeps.
enum Way {
    /// It runs, and answers.
    Running(Server),
    /// It does not run: this is its spool, and these are the webhooks that its files define.
    Stopped(Box<DiskSpool>, BTreeSet<Arc<str>>),
}

/// What can be asked either way.
enum Ask {
    /// Dead letters, for the query of a URL.
    List(String),
    /// One by its id.
    Show(String),
    /// Invocations, for the query of a URL.
    Invocations(String),
    /// One by its id.
    Invocation(String),
    /// A step of a repair, for the body of a request.
    Repair(Action, Value),
}

impl Sidecar {
    /// The admin listener that the flag or the configuration names, and its token.
    fn server(&self, settings: Option<&Settings>) -> Server {
        // A faulty outrigger.toml says nothing, while the sidecar goes on with what was in force before.
        let alone = if settings.is_none() { load_variables(&self.source()) } else { None };
        let admin = settings.or(alone.as_ref()).map(|settings| &settings.admin);
        let address = self.admin.clone().unwrap_or_else(|| match admin.map(|admin| &admin.listen) {
            Some(Listen::Tcp(address)) => Address::Tcp(reachable(*address).to_string()),
            Some(Listen::Unix(path)) => Address::Unix(path.clone()),
            None => Address::Tcp(DEFAULT_ADDRESS.to_string()),
        });
        // A reference without a value is no token: the sidecar's answer says what is missing.
        let token = admin.and_then(|admin| admin.token.clone());
        Server { address, token: token.filter(|token| !token.expose().contains(PLACEHOLDER)) }
    }

    /// `outrigger.toml`, as far as it can be known here: a reference of it may have its value where the sidecar runs alone.
    fn settings(&self) -> Option<Settings> {
        load_settings(&self.source())
    }

    fn source(&self) -> Source {
        Source { placeholders: true, ..Source::new(&self.folder.dir) }
    }

    /// The way to what it keeps, and a sentence about it for standard error.
    async fn way(&self) -> Result<(Way, String), Refused> {
        let settings = self.settings();
        let server = self.server(settings.as_ref());
        let nobody = match server.knock().await {
            Ok(()) => return Ok((Way::Running(server), String::new())),
            Err(AskError::Nobody(error)) => error,
            Err(error) => return Err(Refused::no(error.to_string())),
        };
        let address = &server.address;
        if self.admin.is_some() {
            return Err(Refused::no(format!(
                "nothing listens on {address}: {nobody}; without --admin a stopped sidecar's spool is opened"
            )));
        }
        let Some(settings) = settings else {
            let text = format!(
                "nothing listens on {address}, and outrigger.toml has faults, so that its spool cannot be found: \
                 `outrigger check {}` says where",
                self.folder.dir.display()
            );
            return Err(Refused { text, code: BAD_CONFIG });
        };
        let path = match &settings.spool.place {
            SpoolPlace::Disk(path) => path,
            SpoolPlace::Nats(_) => {
                return Err(Refused::no(format!(
                    "nothing listens on {address}, and the spool is in NATS: ask any sidecar that runs and shares it, with \
                     --admin URL"
                )));
            }
        };
        if !is_spool(path) {
            return Err(Refused::no(format!(
                "nothing listens on {address}, and there is no spool in {}: say --config DIR for the sidecar's \
                 configuration, or --admin URL for where it listens",
                path.display()
            )));
        }
        // Who looks deletes nothing: what is too old goes when the sidecar starts.
        let options =
            Options { bytes_max: settings.spool.bytes_max, dead_letter_retention: Duration::MAX, ..Options::new(path) };
        let spool = DiskSpool::open(options).map_err(|error| match error {
            OpenError::Locked { path, pid } => {
                let holder = pid.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"));
                Refused::no(format!(
                    "nothing listens on {address}, but the spool in {} is in use by {holder}: say --admin URL with the \
                     address that it printed at its start (`admin listens on …`)",
                    path.display()
                ))
            }
            error => Refused::no(error.to_string()),
        })?;
        let note = format!("no sidecar listens on {address}: this is its spool in {}\n", path.display());
        Ok((Way::Stopped(Box::new(spool), defined(&self.folder.dir)), note))
    }
}

/// A value of `--since` or `--until`.
fn time(text: &str) -> Result<Timestamp, String> {
    parse_since(text, Timestamp::now())
}

/// A value of `--limit`.
fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| (1..=LIMIT_MAX).contains(limit));
    limit.ok_or_else(|| format!("write a number from 1 to {LIMIT_MAX}"))
}

/// A value as it stands in a query.
fn encoded(text: &str) -> String {
    percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string()
}

/// The names of the webhooks' files, be they faulty: what a running sidecar takes for configured.
fn defined(dir: &Path) -> BTreeSet<Arc<str>> {
    let entries = std::fs::read_dir(dir.join("webhooks")).into_iter().flatten().filter_map(Result::ok);
    let names = entries.filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_suffix(".toml").filter(|name| !name.starts_with('.')).map(Arc::from)
    });
    names.collect()
}

impl Way {
    /// Asks; both ways answer alike.
    async fn ask(&self, ask: &Ask) -> Result<Value, Refused> {
        let (spool, configured) = match self {
            Self::Running(server) => {
                return server.ask_for(ask).await.map_err(|error| server.refused(error));
            }
            Self::Stopped(spool, configured) => (spool, configured),
        };
        let store = Store { spool: spool.as_ref(), configured: configured.clone(), now: Timestamp::now() };
        let answer = match ask {
            Ask::List(query) => letters::list(&store, query).await,
            Ask::Show(id) => letters::show(&store, id).await,
            // What a process remembers went with it.
            Ask::Invocations(query) => attempts::list(&store, &History::new(store.now, 0), query).await,
            Ask::Invocation(id) => attempts::show(&store, &History::new(store.now, 0), id).await,
            Ask::Repair(action, body) => repair(&store, *action, body.to_string().as_bytes()).await,
        };
        answer.map_err(|problem| Refused::no(problem.detail()))
    }

    /// Commits what was done.
    async fn close(self) {
        if let Self::Stopped(spool, _) = self {
            spool.close().await;
        }
    }
}

impl Server {
    /// The error of a sidecar that has answered before.
    fn refused(&self, error: AskError) -> Refused {
        match error {
            AskError::Nobody(error) => Refused::no(format!("nothing listens on {} any more: {error}", self.address)),
            error => Refused::no(error.to_string()),
        }
    }

    async fn ask_for(&self, ask: &Ask) -> Result<Value, AskError> {
        match ask {
            Ask::List(query) => self.ask(Method::GET, &format!("/api/v1/dead-letters?{query}"), None).await,
            Ask::Show(id) => self.ask(Method::GET, &format!("/api/v1/dead-letters/{id}"), None).await,
            Ask::Invocations(query) => self.ask(Method::GET, &format!("/api/v1/invocations?{query}"), None).await,
            Ask::Invocation(id) => self.ask(Method::GET, &format!("/api/v1/invocations/{id}"), None).await,
            Ask::Repair(Action::Replay, body) => {
                self.ask(Method::POST, "/api/v1/dead-letters/replay", Some(body)).await
            }
            Ask::Repair(Action::Drop, body) => self.ask(Method::POST, "/api/v1/dead-letters/drop", Some(body)).await,
        }
    }
}
