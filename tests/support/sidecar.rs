//! The real binary with a configuration of its own in a temporary directory.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use tempfile::TempDir;

use super::http::{self, HttpAnswer};
use super::process::{Ended, Process};
use super::receiver::{AUTHORITY, Target};
use super::{PATIENCE, eventually};

/// A sidecar to be configured. It listens on free ports of 127.0.0.1 and keeps its spool beside its configuration.
pub(crate) fn sidecar() -> Builder {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let ca_file = dir.path().join("ca.pem");
    fs::write(&ca_file, AUTHORITY.ca_pem()).expect("a file in it");
    let builder = Builder { dir, settings: BTreeMap::new(), webhooks: Vec::new(), env: Vec::new(), ports: Vec::new() };
    let spool = builder.dir.path().join("spool");
    builder
        .setting(r#"ingest.listen = "127.0.0.1:0""#)
        .setting(r#"admin.listen = "127.0.0.1:0""#)
        .setting(r#"metrics.listen = "127.0.0.1:0""#)
        .setting(&format!("spool.path = '{}'", spool.display()))
        .setting(r#"egress.allow_networks = ["127.0.0.0/8"]"#)
        .setting(&format!("egress.ca_file = '{}'", ca_file.display()))
}

pub(crate) struct Builder {
    dir: TempDir,
    settings: BTreeMap<String, String>,
    webhooks: Vec<(String, String)>,
    env: Vec<(String, String)>,
    ports: Vec<u16>,
}

impl Builder {
    /// The directory that the configuration and the spool will be in.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// One key of outrigger.toml with its whole path (`limits.x = 1`); the last one given counts.
    #[track_caller]
    pub(crate) fn setting(mut self, line: &str) -> Self {
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("`{line}` is no `key = value`"));
        self.settings.insert(key.trim().to_owned(), value.trim().to_owned());
        self
    }

    /// The same without a key.
    pub(crate) fn without(mut self, key: &str) -> Self {
        self.settings.remove(key);
        self
    }

    /// Lets its webhooks name this receiver's port.
    pub(crate) fn reaching(mut self, target: &Target) -> Self {
        self.ports.push(target.port());
        self
    }

    /// One webhook file.
    pub(crate) fn webhook(mut self, name: &str, toml: &str) -> Self {
        self.webhooks.push((name.to_owned(), toml.to_owned()));
        self
    }

    /// An environment variable.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes the configuration and nothing more.
    pub(crate) fn write(self) -> Written {
        let config = self.dir.path().join("config");
        fs::create_dir_all(config.join("webhooks")).expect("a directory in a temporary one");
        let mut settings = self.settings;
        settings.entry("egress.allow_ports".to_owned()).or_insert_with(|| format!("{:?}", self.ports));
        let lines: Vec<String> = settings.iter().map(|(key, value)| format!("{key} = {value}")).collect();
        fs::write(config.join("outrigger.toml"), lines.join("\n")).expect("a file in a temporary directory");
        let written = Written { dir: self.dir, env: self.env };
        for (name, toml) in &self.webhooks {
            written.write_webhook(name, toml);
        }
        written
    }

    /// Starts it and waits until every listener is bound.
    #[track_caller]
    pub(crate) fn start(self) -> Sidecar {
        self.start_by(&[])
    }

    /// The same by a program that is given the command to run, and becomes it.
    #[track_caller]
    pub(crate) fn start_by(self, program: &[&str]) -> Sidecar {
        let written = self.write();
        let mut command = written.command(&["run"]);
        if let [first, rest @ ..] = program {
            let mut outer = Command::new(first);
            outer.args(rest).arg(command.get_program()).args(command.get_args()).current_dir(written.dir());
            outer.envs(written.env.iter().map(|(name, value)| (name, value)));
            command = outer;
        }
        let process = Process::spawn(&mut command);
        let mut sidecar = Sidecar { written, process, bound: BTreeMap::new() };
        sidecar.await_listeners();
        sidecar
    }
}

/// A configuration on the disk.
pub(crate) struct Written {
    dir: TempDir,
    env: Vec<(String, String)>,
}

impl Written {
    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("config")
    }

    /// The directory around the configuration, which also holds the spool.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The file of a webhook, replaced by a rename as editors do.
    pub(crate) fn write_webhook(&self, name: &str, toml: &str) {
        self.replace(&format!("webhooks/{name}.toml"), toml);
    }

    /// A file of the configuration's directory, replaced by a rename.
    pub(crate) fn replace(&self, path: &str, text: &str) {
        let fresh = self.dir.path().join("fresh");
        fs::write(&fresh, text).expect("a file in a temporary directory");
        fs::rename(&fresh, self.config().join(path)).expect("a rename in a temporary directory");
    }

    /// The command with these arguments and this configuration, and nothing of the caller's own settings.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("OUTRIGGER_")) {
            command.env_remove(name);
        }
        command.args(arguments).arg("--config").arg(self.config()).current_dir(self.dir.path());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        Process::spawn(&mut self.command(arguments)).finish(PATIENCE)
    }
}

/// A running sidecar; dropping it kills it.
pub(crate) struct Sidecar {
    written: Written,
    process: Process,
    bound: BTreeMap<String, String>,
}

impl Sidecar {
    pub(crate) fn written(&self) -> &Written {
        &self.written
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where the listener of this name (`ingest`, `admin`, `metrics`) is bound.
    #[track_caller]
    pub(crate) fn address(&self, listener: &str) -> SocketAddr {
        let address = self.bound.get(listener).and_then(|address| address.strip_prefix("http://")?.parse().ok());
        address.unwrap_or_else(|| panic!("{listener} has no address: {:?}\n{}", self.bound, self.log()))
    }

    /// The socket of the listener of this name, which was told to listen on one.
    #[track_caller]
    pub(crate) fn socket(&self, listener: &str) -> PathBuf {
        let path = self.bound.get(listener).and_then(|address| address.strip_prefix("unix:"));
        let Some(path) = path else { panic!("{listener} has no socket: {:?}\n{}", self.bound, self.log()) };
        PathBuf::from(path)
    }

    /// Posts JSON to the ingest listener.
    #[track_caller]
    pub(crate) fn post(&self, path: &str, body: &str) -> HttpAnswer {
        self.post_with(path, &[("content-type", "application/json")], body.as_bytes())
    }

    /// The same with headers of one's own.
    #[track_caller]
    pub(crate) fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> HttpAnswer {
        http::exchange(self.address("ingest"), "POST", path, headers, body)
            .unwrap_or_else(|error| panic!("POST {path}: {error}\n{}", self.log()))
    }

    /// Gets a path of the listener of this name.
    #[track_caller]
    pub(crate) fn get(&self, listener: &str, path: &str) -> HttpAnswer {
        http::exchange(self.address(listener), "GET", path, &[], b"")
            .unwrap_or_else(|error| panic!("GET {path}: {error}\n{}", self.log()))
    }

    /// The text of `/metrics`.
    #[track_caller]
    pub(crate) fn metrics(&self) -> String {
        self.get("metrics", "/metrics").body
    }

    /// One sample by its name and labels (those that matter); `None` when it is not there.
    #[track_caller]
    pub(crate) fn metric(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        sample(&self.metrics(), name, labels)
    }

    /// Waits until a sample has this value.
    #[track_caller]
    pub(crate) fn wait_metric(&self, name: &str, labels: &[(&str, &str)], value: f64) {
        let mut last = None;
        let seen = eventually(PATIENCE, || {
            last = self.metric(name, labels);
            last.filter(|seen| (seen - value).abs() < f64::EPSILON)
        });
        assert!(seen.is_some(), "{name}{labels:?} is {last:?}, not {value}; the log:\n{}", self.log());
    }

    /// Waits until a sample has at least this value.
    #[track_caller]
    pub(crate) fn wait_metric_from(&self, name: &str, labels: &[(&str, &str)], minimum: f64) {
        let mut last = None;
        let seen = eventually(PATIENCE, || {
            last = self.metric(name, labels);
            last.filter(|seen| *seen >= minimum)
        });
        assert!(seen.is_some(), "{name}{labels:?} is {last:?}, below {minimum}; the log:\n{}", self.log());
    }

    /// Waits until a line of the output holds this text, and gives the line.
    #[track_caller]
    pub(crate) fn wait_log(&self, text: &str) -> String {
        eventually(PATIENCE, || self.process.lines().into_iter().find(|line| line.contains(text)))
            .unwrap_or_else(|| panic!("`{text}` is not in the log:\n{}", self.log()))
    }

    /// All that it printed since it was last started.
    pub(crate) fn log(&self) -> String {
        self.process.lines().join("\n")
    }

    pub(crate) fn signal(&self, name: &str) {
        self.process.signal(name);
    }

    /// Whether it has ended, for whatever reason.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.process.has_ended().is_some()
    }

    /// SIGKILL.
    pub(crate) fn kill9(&mut self) {
        self.process.kill9();
    }

    /// Starts it again on the same configuration and spool; it is killed first if it still runs.
    #[track_caller]
    pub(crate) fn restart(&mut self) {
        self.process.kill9();
        self.process = Process::spawn(&mut self.written.command(&["run"]));
        self.await_listeners();
    }

    /// Kills it and starts it again without waiting until it listens.
    pub(crate) fn restart_unheard(&mut self) {
        self.process.kill9();
        self.process = Process::spawn(&mut self.written.command(&["run"]));
    }

    /// An environment variable for the next start.
    pub(crate) fn set_env(&mut self, name: &str, value: &str) {
        self.written.env.retain(|(known, _)| known != name);
        self.written.env.push((name.to_owned(), value.to_owned()));
    }

    /// SIGTERM, and its end.
    #[track_caller]
    pub(crate) fn terminate(&mut self) -> ExitStatus {
        self.process.signal("TERM");
        self.process.wait(PATIENCE)
    }

    /// Waits for its end, for whatever reason.
    #[track_caller]
    pub(crate) fn wait_end(&mut self, within: Duration) -> ExitStatus {
        self.process.wait(within)
    }

    #[track_caller]
    fn await_listeners(&mut self) {
        let bound = eventually(PATIENCE, || {
            let ended = self.process.has_ended();
            let bound: BTreeMap<_, _> = self.process.lines().iter().filter_map(|line| listening(line)).collect();
            let all = ["ingest", "admin", "metrics"].iter().all(|listener| bound.contains_key(*listener));
            if all { Some(Some(bound)) } else { ended.map(|_| None) }
        });
        let Some(bound) = bound.flatten() else { panic!("the sidecar did not start:\n{}", self.log()) };
        self.bound = bound;
    }
}

/// The listener and address that a line of standard output tells of.
fn listening(line: &str) -> Option<(String, String)> {
    let (listener, address) = line.split_once(" listens on ")?;
    let told = ["http://", "unix:"].iter().any(|scheme| address.starts_with(scheme));
    (told && listener.bytes().all(|byte| byte.is_ascii_lowercase())).then(|| (listener.to_owned(), address.to_owned()))
}

/// The value of the first sample with this name and these labels in an exposition.
fn sample(exposition: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    exposition.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (given, value) = match rest.strip_prefix('{') {
            Some(rest) => rest.rsplit_once("} ")?,
            None => ("", rest.strip_prefix(' ')?),
        };
        let given = format!(",{given},");
        let all = labels.iter().all(|(label, value)| given.contains(&format!(",{label}=\"{value}\",")));
        if all { value.parse().ok() } else { None }
    })
}

#[test]
fn a_line_of_the_output_tells_which_listener_is_where() {
    for address in ["http://127.0.0.1:4711", "unix:/run/ingest.sock"] {
        assert_eq!(listening(&format!("ingest listens on {address}")), Some(("ingest".to_owned(), address.to_owned())));
    }
    for line in ["", "listening on 127.0.0.1:4711", "ingest listens on", r#"{"message":"x listens on http://a"}"#] {
        assert_eq!(listening(line), None, "{line}");
    }
}

#[test]
fn a_sample_is_found_by_its_whole_name_and_its_labels() {
    let text = "# HELP a_total x\na_total_more 9\na_total{webhook=\"one\",outcome=\"dead\"} 3\na_total{webhook=\"two\"} 4\nplain 1.5\n";
    assert_eq!(sample(text, "a_total", &[("outcome", "dead")]), Some(3.0));
    assert_eq!(sample(text, "a_total", &[("webhook", "two")]), Some(4.0));
    assert_eq!(sample(text, "a_total", &[("webhook", "three")]), None);
    assert_eq!(sample(text, "plain", &[]), Some(1.5));
}

#[test]
fn a_configuration_is_toml_whose_last_setting_counts() {
    let written = sidecar()
        .setting("ingest.max_body = \"1MiB\"")
        .setting("ingest.max_body = \"2KiB\"")
        .webhook("hook", "url = 'x'")
        .write();
    let text = fs::read_to_string(written.config().join("outrigger.toml")).expect("it is written");
    let settings: toml::Table = toml::from_str(&text).expect("it is TOML");
    assert_eq!(settings["ingest"]["max_body"].as_str(), Some("2KiB"));
    assert_eq!(settings["egress"]["allow_ports"].as_array().map(Vec::len), Some(0));
    assert_eq!(fs::read_to_string(written.config().join("webhooks/hook.toml")).expect("it is written"), "url = 'x'");
}
