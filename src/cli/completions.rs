//! `outrigger completions`: what shells and `man` need to know of the command line.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory as _, ValueEnum};
use clap_complete::Shell;

use super::{Answer, Cli, NO};

/// What the program is called.
const NAME: &str = "outrigger";

/// Print completions for a shell, or the manual page
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  source <(outrigger completions bash)\n  \
                        outrigger completions zsh --write ~/.zfunc\n  outrigger completions man | man -l -\n  \
                        outrigger completions man --write /usr/local/share/man/man1")]
pub(super) struct Completions {
    /// For what
    #[arg(value_enum)]
    of: Of,
    /// Write it into this folder instead, under the name that is looked for there; of `man` a page for each command
    #[arg(long, value_name = "DIR")]
    write: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Of {
    Bash,
    Elvish,
    Fish,
    Man,
    Powershell,
    Zsh,
}

impl Of {
    const fn shell(self) -> Option<Shell> {
        match self {
            Self::Bash => Some(Shell::Bash),
            Self::Elvish => Some(Shell::Elvish),
            Self::Fish => Some(Shell::Fish),
            Self::Powershell => Some(Shell::PowerShell),
            Self::Zsh => Some(Shell::Zsh),
            Self::Man => None,
        }
    }
}

impl Completions {
    pub(super) fn run(&self) -> Answer {
        let made = match &self.write {
            None => self.printed(),
            Some(folder) => self.written(folder),
        };
        match made {
            Ok(out) => Answer { out, ..Answer::default() },
            Err((path, error)) => {
                let err =
                    format!("error: {} cannot be written: {}; name a folder that can\n", path.display(), error.kind());
                Answer { err, code: NO, ..Answer::default() }
            }
        }
    }

    fn printed(&self) -> Result<String, (PathBuf, io::Error)> {
        let mut text = Vec::new();
        if let Some(shell) = self.of.shell() {
            clap_complete::generate(shell, &mut Cli::command(), NAME, &mut text);
        } else {
            let page = clap_mangen::Man::new(Cli::command());
            page.render(&mut text).map_err(|error| (PathBuf::from("-"), error))?;
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn written(&self, folder: &Path) -> Result<String, (PathBuf, io::Error)> {
        let failed = |error| (folder.to_owned(), error);
        fs::create_dir_all(folder).map_err(failed)?;
        let mut out = String::new();
        if let Some(shell) = self.of.shell() {
            let path = clap_complete::generate_to(shell, &mut Cli::command(), NAME, folder).map_err(failed)?;
            let _ = writeln!(out, "wrote {}", path.display());
        } else {
            clap_mangen::generate_to(Cli::command(), folder).map_err(failed)?;
            let _ = writeln!(out, "wrote {} and a page for each command", folder.join("outrigger.1").display());
        }
        Ok(out)
    }
}
