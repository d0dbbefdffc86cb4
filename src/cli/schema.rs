//! `outrigger schema`: what editors and people need to write a configuration: JSON Schema of its files and of events.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Map, Value, json};

use super::{Answer, FINE, Folder, NO, USAGE};
use crate::config::{ConfigFile, Source, load};
use crate::diagnostic::nearest;
use crate::kind::Kind;

/// Print the JSON Schema of the configuration files or of a kind of event
#[derive(Debug, Args)]
pub(super) struct Schema {
    #[command(subcommand)]
    of: Of,
}

#[derive(Debug, Subcommand)]
enum Of {
    Config(OfConfig),
    Event(OfEvent),
}

/// Print the JSON Schema of outrigger.toml and of webhooks/NAME.toml
///
/// Editors with a TOML language server check and complete a file whose first line names its schema:
/// `#:schema ../schema/webhook.json`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  outrigger schema config --write config/schema\n  \
                        outrigger schema config webhook | jq .properties.limits")]
struct OfConfig {
    /// One of the files; without it both, as one object by the names of their schemas
    #[arg(value_enum)]
    file: Option<File>,
    /// Write outrigger.json and webhook.json into this folder instead
    #[arg(long, value_name = "DIR", conflicts_with = "file")]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum File {
    /// outrigger.toml
    Outrigger,
    /// webhooks/NAME.toml
    Webhook,
}

/// Print what events of a kind look like: triggers, filter fields, JSON Schema and a sample
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  outrigger schema event --kind request\n  \
                        outrigger schema event --sample RequestGranted > granted.json\n  \
                        outrigger schema event --kind audit | jq .schema")]
struct OfEvent {
    /// A kind that is built in, or one that the configuration defines
    #[arg(long, default_value = "request")]
    kind: String,
    /// Print this sample event and nothing else; the kind's answer lists the names
    #[arg(long, value_name = "NAME")]
    sample: Option<String>,
    #[command(flatten)]
    config: Folder,
}

impl Schema {
    pub(super) fn run(&self) -> Answer {
        match &self.of {
            Of::Config(config) => config.run(),
            Of::Event(event) => event.run(),
        }
    }
}

impl OfConfig {
    fn run(&self) -> Answer {
        if let Some(folder) = &self.write {
            return write(folder);
        }
        match self.file {
            Some(File::Outrigger) => printed(&ConfigFile::Sidecar.schema()),
            Some(File::Webhook) => printed(&ConfigFile::Webhook.schema()),
            None => {
                let both = ConfigFile::ALL.map(|file| (file.schema_file().to_owned(), file.schema()));
                printed(&Value::Object(Map::from_iter(both)))
            }
        }
    }
}

/// Writes both schemas, each under its name.
fn write(folder: &Path) -> Answer {
    let mut answer = Answer::default();
    let made = std::fs::create_dir_all(folder);
    for file in ConfigFile::ALL {
        let path = folder.join(file.schema_file());
        let written = match &made {
            Ok(()) => std::fs::write(&path, text(&file.schema())).map_err(|error| error.kind()),
            Err(error) => Err(error.kind()),
        };
        match written {
            Ok(()) => {
                let _ = writeln!(answer.out, "wrote {}", path.display());
            }
            Err(kind) => {
                let path = path.display();
                let _ = writeln!(answer.err, "error: {path} cannot be written: {kind}; name a folder that can");
                answer.code = NO;
            }
        }
    }
    answer
}

impl OfEvent {
    fn run(&self) -> Answer {
        let kinds = Kind::builtin();
        if let Some(kind) = kinds.iter().find(|kind| *kind.name == *self.kind) {
            return self.answer(kind);
        }
        let source = Source { placeholders: true, masked: true, ..Source::new(&self.config.dir) };
        let Some(snapshot) = load(&source).snapshot else {
            let names: Vec<&str> = kinds.iter().map(|kind| &*kind.name).collect();
            let problem = format!(
                "the kind `{}` is not built in ({}), and the configuration in {} has faults: see outrigger check",
                self.kind,
                names.join(", "),
                self.config.dir.display(),
            );
            return refused(&problem);
        };
        if let Some(kind) = snapshot.kinds.get(&*self.kind) {
            return self.answer(kind);
        }
        let names: Vec<&str> = snapshot.kinds.keys().map(|name| &**name).collect();
        refused(&format!("there is no kind `{}`; {}", self.kind, meant(&self.kind, &names, "kinds")))
    }

    fn answer(&self, kind: &Kind) -> Answer {
        let names: Vec<&str> = kind.samples.iter().map(|sample| &*sample.name).collect();
        if let Some(name) = &self.sample {
            return match kind.sample(name) {
                Some(sample) => printed(&sample.payload),
                None => refused(&format!(
                    "the kind `{}` has no sample `{name}`; {}",
                    kind.name,
                    meant(name, &names, "samples")
                )),
            };
        }
        let fields = kind.fields.iter().map(|(name, path)| (name.to_string(), json!(path.text())));
        let fields: Map<String, Value> = fields.collect();
        printed(&json!({
            "kind": &*kind.name,
            "triggers": kind.triggers(),
            "fields": fields,
            "schema": kind.schema,
            "samples": names,
            "sample": kind.samples.first().map(|sample| &sample.payload),
        }))
    }
}

/// What was meant, or what there is.
fn meant(written: &str, names: &[&str], what: &str) -> String {
    match nearest(written, names.iter().copied()) {
        Some(name) => format!("did you mean `{name}`?"),
        None => format!("the {what} are {}", names.join(", ")),
    }
}

fn text(value: &Value) -> String {
    format!("{value:#}\n")
}

fn printed(value: &Value) -> Answer {
    Answer { out: text(value), code: FINE, ..Answer::default() }
}

fn refused(problem: &str) -> Answer {
    Answer { err: format!("error: {problem}\n"), code: USAGE, ..Answer::default() }
}
