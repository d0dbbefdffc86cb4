//! A child process whose output is kept, whose end is waited for within a limit, and which never outlives its test.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use super::{PATIENCE, eventually};

/// Output beyond this is forgotten, oldest lines first.
const LINES_MAX: usize = 100_000;

/// A running (or ended) process.
pub(crate) struct Process {
    child: Child,
    stdout: Output,
    stderr: Output,
}

/// What a process left behind.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The lines of one stream, and the thread that reads them.
struct Output {
    lines: Arc<Mutex<Vec<String>>>,
    reader: Option<JoinHandle<()>>,
}

impl Process {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
        let stdout = Output::collect(child.stdout.take().expect("it is piped"));
        let stderr = Output::collect(child.stderr.take().expect("it is piped"));
        Self { child, stdout, stderr }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it printed so far, on both streams.
    pub(crate) fn lines(&self) -> Vec<String> {
        [self.stdout.lines(), self.stderr.lines()].concat()
    }

    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Sends a signal by its name (`TERM`, `HUP`, `INT`). The shell's own `kill` needs no package.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", self.child.id())).status();
        assert!(sent.is_ok_and(|status| status.success()), "SIG{name} could not be sent");
    }

    /// Waits for its end.
    #[track_caller]
    pub(crate) fn wait(&mut self, within: Duration) -> ExitStatus {
        let ended = eventually(within, || self.has_ended());
        ended.unwrap_or_else(|| {
            panic!("the process has not ended within {within:?}; it printed\n{}", self.lines().join("\n"))
        })
    }

    /// Waits for its end and for the last of what it printed.
    #[track_caller]
    pub(crate) fn finish(mut self, within: Duration) -> Ended {
        let status = self.wait(within);
        Ended { status, stdout: self.stdout.finish(), stderr: self.stderr.finish() }
    }

    /// SIGKILL, and until it is gone.
    pub(crate) fn kill9(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        self.wait(PATIENCE);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Output {
    fn collect(stream: impl Read + Send + 'static) -> Self {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&lines);
        let reader = std::thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                let mut lines = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if lines.len() == LINES_MAX {
                    lines.remove(0);
                }
                lines.push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Self { lines, reader: Some(reader) }
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// All of the stream, once the process has closed it.
    fn finish(&mut self) -> String {
        if let Some(reader) = self.reader.take() {
            reader.join().expect("reading lines does not panic");
        }
        self.lines().join("\n")
    }
}

#[test]
fn a_process_is_signalled_waited_for_and_heard() {
    let process = Process::spawn(
        Command::new("sh").arg("-c").arg("trap 'echo bye >&2; exit 3' TERM; echo hi; while :; do :; done"),
    );
    assert!(eventually(PATIENCE, || process.lines().contains(&"hi".to_owned()).then_some(())).is_some());
    process.signal("TERM");
    let ended = process.finish(PATIENCE);
    assert_eq!((ended.status.code(), ended.stdout.as_str(), ended.stderr.as_str()), (Some(3), "hi", "bye"));
}
