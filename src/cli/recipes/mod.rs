//! `outrigger recipes`: complete webhooks for tools that people use, to be copied into a configuration.

mod book;

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use clap::{Args, Subcommand};

use super::{Answer, Folder, NO, USAGE};
use crate::config::is_webhook_name;
use crate::diagnostic::nearest;
use book::RECIPES;
pub use book::{Recipe, recipes};

/// List complete webhooks for known tools, show one, or add one to the configuration
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  outrigger recipes\n  outrigger recipes show slack\n  \
                        outrigger recipes add slack\n  outrigger recipes add splunk --as audit-to-splunk")]
pub(super) struct Recipes {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    Show(Show),
    Add(Add),
}

/// Print a recipe: a webhook's file with the receiver's rules and its tests
#[derive(Debug, Args)]
struct Show {
    /// Its name, as `outrigger recipes` lists it
    name: String,
}

/// Write a recipe into the configuration's webhooks/, and say which variables it needs
///
/// The webhook is inactive until the line that says so is removed, so that a sidecar that runs takes it without its secrets.
#[derive(Debug, Args)]
struct Add {
    /// Its name, as `outrigger recipes` lists it
    name: String,
    /// What the webhook is called here; without it as the recipe
    #[arg(long = "as", value_name = "WEBHOOK")]
    webhook: Option<String>,
    #[command(flatten)]
    folder: Folder,
}

impl Recipes {
    pub(super) fn run(&self) -> Answer {
        match &self.what {
            None => list(),
            Some(What::Show(show)) => match find(&show.name) {
                Ok(recipe) => Answer { out: recipe.text.to_owned(), ..Answer::default() },
                Err(refusal) => refusal,
            },
            Some(What::Add(add)) => add.run(),
        }
    }
}

fn list() -> Answer {
    let mut answer = Answer::default();
    let width = RECIPES.iter().map(|recipe| recipe.name.len()).max().unwrap_or_default();
    for recipe in RECIPES {
        let _ = writeln!(answer.out, "{:width$}  {}", recipe.name, recipe.summary());
    }
    answer
}

fn find(name: &str) -> Result<&'static Recipe, Answer> {
    RECIPES.iter().find(|recipe| recipe.name == name).ok_or_else(|| {
        let fix = match nearest(name, RECIPES.iter().map(|recipe| recipe.name)) {
            Some(near) => format!("did you mean `{near}`?"),
            None => "`outrigger recipes` lists them".to_owned(),
        };
        Answer { err: format!("error: there is no recipe `{name}`; {fix}\n"), code: USAGE, ..Answer::default() }
    })
}

impl Add {
    fn run(&self) -> Answer {
        let recipe = match find(&self.name) {
            Ok(recipe) => recipe,
            Err(refusal) => return refusal,
        };
        let name = self.webhook.as_deref().unwrap_or(recipe.name);
        if !is_webhook_name(name) {
            let err = format!("error: `{name}` is no name of a webhook: letters, digits, `-` and `_`, 64 at most\n");
            return Answer { err, code: USAGE, ..Answer::default() };
        }
        let dir = &self.folder.dir;
        if let Some(other) = taken(dir, name) {
            let err = format!(
                "error: there is a webhook `{other}`, and names differ in more than upper and lower case; name another by --as\n"
            );
            return Answer { err, code: NO, ..Answer::default() };
        }
        let path = dir.join("webhooks").join(format!("{name}.toml"));
        let has_schema = dir.join("schema/webhook.json").is_file();
        if let Err(error) = write(&path, &recipe.added(has_schema)) {
            let path = path.display();
            let err = if error == ErrorKind::AlreadyExists {
                format!("error: {path} is there already; `--as NAME` writes another webhook beside it\n")
            } else {
                format!("error: {path} cannot be written: {error}; name a folder that can by --config\n")
            };
            return Answer { err, code: NO, ..Answer::default() };
        }
        Answer { out: added(recipe, name, &path, dir), ..Answer::default() }
    }
}

/// Writes a file that is not there yet, and the folders above it. Who reads the folder sees all of it or nothing.
fn write(path: &Path, text: &str) -> Result<(), ErrorKind> {
    // No webhook's file begins so.
    let made = path.with_file_name(format!(".recipe-{}.new", std::process::id()));
    let make = || {
        path.parent().map(fs::create_dir_all).transpose()?;
        let mut file = OpenOptions::new().write(true).create_new(true).open(&made)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::hard_link(&made, path)
    };
    let written = make().map_err(|error: std::io::Error| error.kind());
    let _ = fs::remove_file(&made);
    written
}

/// The name of a webhook of this folder that is the same but for upper and lower case.
fn taken(dir: &Path, name: &str) -> Option<String> {
    let files = fs::read_dir(dir.join("webhooks")).into_iter().flatten().flatten();
    let mut stems = files.filter_map(|file| Some(file.file_name().to_str()?.strip_suffix(".toml")?.to_owned()));
    stems.find(|stem| stem != name && stem.eq_ignore_ascii_case(name))
}

/// What was done, and what there is to do.
fn added(recipe: &Recipe, name: &str, path: &Path, dir: &Path) -> String {
    let mut out = format!("wrote {}\n", path.display());
    let set = recipe.set();
    if !set.is_empty() {
        out.push_str("\nSet, where the sidecar runs:\n");
        for line in set {
            out.extend([line, "\n"]);
        }
    }
    let (check, test) = if dir == Path::new("config") {
        ("outrigger check".to_owned(), format!("outrigger test {name}"))
    } else {
        (format!("outrigger check {}", dir.display()), format!("outrigger test {name} --config {}", dir.display()))
    };
    let width = check.len().max(test.len());
    let _ = write!(
        out,
        "\nThen remove the line `status = \"inactive\"` from the file: until then nothing is delivered.\n  \
         {check:width$}   says what is still missing, and runs the file's tests\n  \
         {test:width$}   sends a mock event\n",
    );
    out
}
