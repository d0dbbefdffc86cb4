//! The commands that need no network: they run over folders and are held against what people should read.

mod cases;
mod check;
mod completions;
mod faults;
mod healthcheck;
mod hostile;
mod lints;
mod load;
mod plan;
mod plan_git;
mod plan_secrets;
mod render;
mod schema;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// What a run of the program came to.
pub(crate) struct Run {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Run {
    /// Fails with everything that was said, unless the exit code is this one.
    pub(crate) fn expect_code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "--- stdout\n{}\n--- stderr\n{}", self.out, self.err);
        self
    }
}

/// Runs the program with these variables and no others.
pub(crate) fn outrigger(arguments: &[&str], variables: &[(String, String)], input: &str) -> Run {
    outrigger_in(Path::new(env!("CARGO_MANIFEST_DIR")), arguments, variables, input)
}

/// The same in another folder.
pub(crate) fn outrigger_in(dir: &Path, arguments: &[&str], variables: &[(String, String)], input: &str) -> Run {
    let mut child = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(arguments)
        .env_clear()
        .envs(variables.iter().cloned())
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its input closes it, which is no failure.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Run {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A folder with these files.
pub(crate) fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        std::fs::write(path, text).unwrap();
    }
    folder
}
