//! What loading and reloading cost: `cargo bench --bench reload`, or with the numbers of webhooks: `-- 1000 10000`.
//!
//! Every webhook has a trigger, a filter, a validator, a header with a reference, and a JSON body of its own with eight expressions; a
//! quarter have a condition in it, a tenth have it in a file. Printed are a first load, and, publication included, a reload after
//! one file changed, after a secret that one webhook in ten shares changed, after the defaults changed, and one that finds nothing
//! changed: the time by the wall clock and of the processor. The last columns are of the real program: processor time for an edit,
//! from the file event to the last that follows from the publication, and the time from the edit until it is in force.
#![allow(clippy::print_stdout, clippy::cast_precision_loss, reason = "a bench prints rounded figures")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use outrigger::client::{Clients, Routes};
use outrigger::config::{Loader, Source};
use outrigger::live::Live;
use outrigger::metrics::Metrics;

/// How many webhooks, unless the command line says otherwise.
const WEBHOOKS: [usize; 4] = [10, 100, 1_000, 10_000];
/// For so long each thing is done again and again: processor time is counted in hundredths of a second.
const MEASURED: Duration = Duration::from_secs(2);
/// Edits of the real program.
const EDITS: u32 = 20;
/// Clock ticks a second in `/proc/PID/stat`, on every Linux there is.
const TICKS: f64 = 100.0;

fn main() {
    let given: Vec<usize> = std::env::args().filter_map(|argument| argument.parse().ok()).collect();
    let first_only = std::env::args().any(|argument| argument == "--first-only");
    println!("in ms: wall clock / processor");
    println!(
        "{:>8} {:>17} {:>17} {:>17} {:>17} {:>17} {:>10} {:>10}",
        "webhooks", "first load", "one changed", "secret of 10 %", "defaults", "unchanged", "an edit", "in force"
    );
    for count in if given.is_empty() { WEBHOOKS.to_vec() } else { given } {
        let folder = Folder::new(count);
        print!("{count:>8} {:>17}", measure(|_| drop(folder.loader().load())));
        if first_only {
            println!();
            continue;
        }
        let mut published = Published::new(folder.loader());
        let mut look = |edit: &dyn Fn(u32), expected: bool| {
            measure(|round| {
                edit(round);
                assert_eq!(published.look(), expected, "whether something is published");
            })
        };
        let one = look(&|round| folder.webhook(count / 2, round), true);
        let secret = look(&|round| folder.write("secret", &format!("s{round}")), true);
        let defaults = look(&|round| folder.defaults(round), true);
        let unchanged = look(&|_| {}, false);
        let (edit, in_force) = edits(&folder, count / 2);
        println!(" {one:>17} {secret:>17} {defaults:>17} {unchanged:>17} {edit:>10.2} {in_force:>10.0}");
    }
}

/// A configuration on disk.
struct Folder {
    folder: tempfile::TempDir,
}

impl Folder {
    fn new(count: usize) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir_all(folder.path().join("config/webhooks")).expect("a folder");
        let made = Self { folder };
        made.write("secret", "s");
        made.defaults(0);
        for number in 0..count {
            made.webhook(number, 0);
        }
        made
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("config")
    }

    fn loader(&self) -> Loader {
        let env = Arc::new(|name: &str| name.strip_prefix("TOKEN_").map(|number| format!("token-{number}")));
        Loader::new(Source { env, ..Source::new(self.path()) })
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path().join(name), text).expect("a file");
    }

    fn defaults(&self, round: u32) {
        let spool = self.folder.path().join("spool");
        let listen = "[ingest]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n[metrics]\nlisten = \"127.0.0.1:0\"\n";
        let text =
            format!("{listen}[spool]\npath = \"{}\"\n[defaults]\ntimeout = {}\n", spool.display(), 10 + round % 100);
        self.write("outrigger.toml", &text);
    }

    fn webhook(&self, number: usize, round: u32) {
        let flow = if number % 4 == 3 {
            "{{#if data.access_flow}}{{data.access_flow.name}}{{else}}none{{/if}}"
        } else {
            "{{data.access_flow.name}}"
        };
        let body = format!(
            r#"{{
  "text": "Request {number}.{round}: {{{{data.friendly_id}}}} of {{{{data.requester.email}}}}",
  "fields": {{
    "event type": "{{{{event_type}}}}",
    "event time": "{{{{event_time}}}}",
    "justification": "{{{{data.justification}}}}",
    "integration": "{{{{data.access_groups.[0].[integration].name}}}}",
    "resource type": "{{{{data.access_groups.[0].[resource_types].[0].name}}}}",
    "flow": "{flow}"
  }}
}}
"#
        );
        let trigger = ["RequestCreated", "RequestGranted", "RequestRejected"][number % 3];
        let mut text = format!(
            "title = \"Tickets of team {number}\"\ntriggers = [\"{trigger}\"]\n\
             url = \"https://team-{number}.example.com/api/events/{{{{data.id}}}}\"\n"
        );
        if number.is_multiple_of(10) {
            self.write(&format!("webhooks/team-{number}.json.hbs"), &body);
            let _ = writeln!(text, "body_file = \"team-{number}.json.hbs\"");
        } else {
            let _ = writeln!(text, "body = '''\n{body}'''");
        }
        let reference =
            if number.is_multiple_of(10) { "file:secret".to_owned() } else { format!("env:TOKEN_{number}") };
        let _ = writeln!(text, "\n[headers]\nx-api-client-token = \"${{{reference}}}\"");
        let _ = writeln!(text, "\n[[filters]]\nfield = \"integration\"\nany_of = [\"prod-{number}-*\", \"shared\"]");
        text.push_str("\n[[response_validators]]\nname = \"ok\"\npath = \"$.data.ok\"\nexpected = [\"true\"]\n");
        self.write(&format!("webhooks/team-{number}.toml"), &text);
    }
}

/// A configuration in force, as in the process, without its listeners.
struct Published {
    loader: Loader,
    metrics: Metrics,
    live: Arc<Live>,
}

impl Published {
    fn new(mut loader: Loader) -> Self {
        let loaded = loader.load();
        let snapshot =
            loaded.snapshot.unwrap_or_else(|| panic!("the configuration has faults: {:?}", loaded.diagnostics.first()));
        let metrics = Metrics::new(snapshot.kinds.keys().map(AsRef::as_ref)).expect("metrics");
        let clients = Clients::new(&snapshot.settings.egress, Routes::default(), snapshot.webhooks.values());
        let live = Arc::new(Live::new(snapshot, 1, clients.expect("clients"), &metrics));
        Self { loader, metrics, live }
    }

    /// One look at the files; whether it published.
    fn look(&mut self) -> bool {
        let snapshot = self.loader.load().snapshot.expect("a good configuration");
        if snapshot.is_same(&self.live.snapshot) {
            return false;
        }
        let clients = self.live.clients.next(&snapshot.settings.egress, snapshot.webhooks.values()).expect("clients");
        self.live = Arc::new(Live::new(snapshot, self.live.generation + 1, clients, &self.metrics));
        true
    }
}

/// The mean time of one round, by both clocks.
fn measure(mut work: impl FnMut(u32)) -> String {
    let (began, processor) = (Instant::now(), ticks("self"));
    let mut rounds = 0;
    while began.elapsed() < MEASURED {
        rounds += 1;
        work(rounds);
    }
    let wall = began.elapsed().as_secs_f64() * 1e3 / f64::from(rounds);
    format!("{wall:.2} / {:.2}", (ticks("self") - processor) * 1e3 / TICKS / f64::from(rounds))
}

/// Processor time of a process so far, user and system, in clock ticks.
fn ticks(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).expect("its state");
    let behind_name = stat.rsplit_once(") ").expect("a name in parentheses").1;
    behind_name.split(' ').skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()).sum()
}

/// Edits one file under the real program: processor time for each, and the time until it is in force, in milliseconds.
fn edits(folder: &Folder, number: usize) -> (f64, f64) {
    let mut sidecar = Sidecar::start(&folder.path());
    let (processor, mut in_force) = (sidecar.ticks(), Duration::ZERO);
    for round in 1..=EDITS {
        let began = Instant::now();
        folder.webhook(number, 1_000_000 + round);
        sidecar.wait_for("config.published");
        in_force += began.elapsed();
        // What the publication leads to belongs to its costs.
        thread::park_timeout(Duration::from_millis(200));
    }
    let processor = (sidecar.ticks() - processor) * 1e3 / TICKS / f64::from(EDITS);
    sidecar.process.kill().expect("it runs");
    sidecar.process.wait().expect("it ended");
    (processor, in_force.as_secs_f64() * 1e3 / f64::from(EDITS))
}

struct Sidecar {
    process: Child,
    log: Lines<BufReader<ChildStderr>>,
}

impl Sidecar {
    fn start(config: &Path) -> Self {
        let tokens =
            (0..WEBHOOKS[WEBHOOKS.len() - 1]).map(|number| (format!("TOKEN_{number}"), format!("token-{number}")));
        let mut process = Command::new(env!("CARGO_BIN_EXE_outrigger"))
            .args(["run", "--config"])
            .arg(config)
            .envs(tokens)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program");
        let log = BufReader::new(process.stderr.take().expect("its log")).lines();
        let mut sidecar = Self { process, log };
        sidecar.wait_for("\"ready\"");
        // The watches are set up behind the first line.
        thread::park_timeout(Duration::from_secs(1));
        sidecar
    }

    fn wait_for(&mut self, word: &str) {
        while !self.log.next().expect("it runs").expect("it is text").contains(word) {}
    }

    fn ticks(&self) -> f64 {
        ticks(&self.process.id().to_string())
    }
}
