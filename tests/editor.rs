//! The shipped JSON Schemas, as an editor with a TOML language server sees them.
//!
//! `UPDATE_GOLDEN=1` rewrites the shipped schemas.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use outrigger::config::{ConfigFile, Key, SIDECAR, Shape, Source, WEBHOOK, load};
use outrigger::diagnostic::Level;
use serde_json::{Value, json};

/// The folder whose `node_modules` has the language server.
const FOLDER: &str = "OUTRIGGER_TEST_TAPLO";
/// How long the server may take for one answer.
const PATIENCE: Duration = Duration::from_mins(1);

fn config() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config")
}

/// The shipped files with the schema that each has to name.
fn examples() -> Vec<(PathBuf, &'static str)> {
    let mut examples = vec![(config().join("outrigger.toml"), "#:schema schema/outrigger.json")];
    let webhooks = fs::read_dir(config().join("webhooks")).unwrap().map(|entry| entry.unwrap().path());
    let webhooks = webhooks.filter(|path| path.extension().is_some_and(|extension| extension == "toml"));
    examples.extend(webhooks.map(|path| (path, "#:schema ../schema/webhook.json")));
    assert!(examples.len() > 4, "{examples:?}");
    examples
}

#[test]
fn the_shipped_schemas_are_what_the_program_prints_and_every_example_names_its_own() {
    for file in ConfigFile::ALL {
        let path = config().join("schema").join(file.schema_file());
        let made = format!("{:#}\n", file.schema());
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&path, &made).unwrap();
        }
        assert!(fs::read_to_string(&path).unwrap() == made, "{path:?} is out of date: UPDATE_GOLDEN=1 rewrites it");
    }
    for (path, line) in examples() {
        assert_eq!(fs::read_to_string(&path).unwrap().lines().next(), Some(line), "{path:?}");
    }
}

/// A language server that has been introduced to a folder.
struct Server {
    child: Child,
    input: ChildStdin,
    output: Receiver<Value>,
    root: PathBuf,
    requests: u64,
}

impl Server {
    fn start(root: &Path) -> Self {
        let folder = std::env::var_os(FOLDER).unwrap_or_else(|| panic!("{FOLDER} is not set: run tests/all"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/editor/language_server.mjs");
        let mut child = Command::new("node")
            .arg(script)
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("node runs the language server");
        let (sender, output) = channel();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let _ = sender.send(serde_json::from_str(&line).expect("a message"));
            }
        });
        let input = child.stdin.take().unwrap();
        let mut server = Self { child, input, output, root: root.to_owned(), requests: 0 };
        let uri = server.uri("");
        let folders = json!([{ "uri": uri, "name": "config" }]);
        let known = json!({ "processId": null, "rootUri": uri, "capabilities": {}, "workspaceFolders": folders });
        server.request("initialize", &known);
        server.notify("initialized", &json!({}));
        server
    }

    fn uri(&self, path: &str) -> String {
        format!("file://{}", self.root.join(path).display())
    }

    fn send(&mut self, message: &Value) {
        writeln!(self.input, "{message}").expect("the server reads");
    }

    fn notify(&mut self, method: &str, params: &Value) {
        self.send(&json!({ "jsonrpc": "2.0", "method": method, "params": params }));
    }

    fn request(&mut self, method: &str, params: &Value) -> Value {
        self.requests += 1;
        let id = self.requests;
        self.send(&json!({ "jsonrpc": "2.0", "id": id, "method": method, "params": params }));
        self.wait(|message| message["method"].is_null() && message["id"] == json!(id))["result"].clone()
    }

    /// The first message that is wanted; questions of the server are answered meanwhile.
    fn wait(&mut self, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let message = self.output.recv_timeout(PATIENCE).expect("the server answers");
            if wanted(&message) {
                return message;
            }
            if message["method"] == "workspace/configuration" {
                let asked = message["params"]["items"].as_array().map_or(1, Vec::len);
                let result: Vec<Value> = (0..asked).map(|_| json!({ "schema": { "enabled": true } })).collect();
                self.send(&json!({ "jsonrpc": "2.0", "id": message["id"], "result": result }));
            }
        }
    }

    fn open(&mut self, name: &str, text: &str) {
        let document = json!({ "uri": self.uri(name), "languageId": "toml", "version": 1, "text": text });
        self.notify("textDocument/didOpen", &json!({ "textDocument": document }));
    }

    /// Opens a text that is TOML under a name in the folder, and gives what the server says about it.
    fn diagnose(&mut self, name: &str, text: &str) -> Vec<String> {
        self.open(name, text);
        let uri = self.uri(name);
        let mut found = Value::Null;
        for _stage in ["syntax", "structure", "schema"] {
            let published = |message: &Value| {
                message["method"] == "textDocument/publishDiagnostics" && message["params"]["uri"] == json!(uri)
            };
            found = self.wait(published)["params"]["diagnostics"].take();
        }
        let mut messages: Vec<String> = found
            .as_array()
            .unwrap()
            .iter()
            .map(|one| format!("{}: {}", one["range"]["start"]["line"], one["message"].as_str().unwrap_or_default()))
            .collect();
        messages.sort();
        messages.dedup();
        messages
    }

    /// Which schema the server uses for an open document.
    fn schema_of(&mut self, name: &str) -> String {
        let question = json!({ "documentUri": self.uri(name) });
        let answer = self.request("taplo/associatedSchema", &question);
        answer["schema"]["url"].as_str().unwrap_or_default().to_owned()
    }

    /// What the server offers at a place of an open document.
    fn complete(&mut self, name: &str, line: u64, character: u64) -> Vec<String> {
        let place = json!({ "line": line, "character": character });
        let question = json!({ "textDocument": { "uri": self.uri(name) }, "position": place });
        let answer = self.request("textDocument/completion", &question);
        answer.as_array().unwrap().iter().map(|item| item["label"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A folder with the shipped schemas where `config/` has them.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for name in ["schema", "webhooks"] {
        fs::create_dir(folder.path().join(name)).unwrap();
    }
    for file in ConfigFile::ALL {
        let name = Path::new("schema").join(file.schema_file());
        fs::copy(config().join(&name), folder.path().join(&name)).unwrap();
    }
    folder
}

#[test]
#[ignore = "needs node and @taplo/lsp, which tests/all installs"]
fn an_editor_finds_no_fault_in_the_examples_and_underlines_a_misspelt_key() {
    let mut server = Server::start(&config());
    for (path, _) in examples() {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(config()).unwrap().to_str().unwrap().to_owned();
        assert_eq!(server.diagnose(&name, &text), Vec::<String>::new(), "{name}");
        assert!(server.schema_of(&name).starts_with("file://"), "{name} has no schema");
    }
    for (name, right, wrong, line) in [
        ("webhooks/slack.toml", "\ntriggers = [", "\ntrigers = [", "trigers"),
        ("webhooks/tickets.toml", "\nany_of = [\"user\"]", "\nanyof = [\"user\"]", "anyof"),
        ("outrigger.toml", "\nmax_body =", "\nmaxbody =", "maxbody"),
    ] {
        let text = fs::read_to_string(config().join(name)).unwrap();
        assert!(text.contains(right), "{name}");
        let found = server.diagnose(&name.replace(".toml", "-misspelt.toml"), &text.replacen(right, wrong, 1));
        let expected = format!("('{line}' was unexpected)");
        assert!(found.iter().any(|message| message.contains(&expected)), "{name}: {found:?}");
    }
}

#[test]
#[ignore = "needs node and @taplo/lsp, which tests/all installs"]
fn an_editor_completes_keys_and_words() {
    let mut server = Server::start(&config());
    let text = "#:schema ../schema/webhook.json\nti\nstatus = \"\"\n[retry]\nma\n";
    server.open("webhooks/new.toml", text);
    for (line, character, wanted) in [(1, 2, "timeout"), (2, 10, "\"shadow\""), (4, 2, "max_age")] {
        let offered = server.complete("webhooks/new.toml", line, character);
        assert!(offered.iter().any(|label| label == wanted), "{wanted} is not in {offered:?}");
    }
}

/// A file that sets one key, and nothing else but what must be there for `check` to look at it.
fn file_with(list: &[Key], key: &Key, value: &str) -> String {
    let table = key.table.replace('*', "mine");
    let (lists, before) = match table.split_once('.') {
        Some(("tests", rest)) => (true, format!("[[tests]]\nname = \"x\"\nevent = {{}}\n[tests.{rest}]\n")),
        _ => (["filters", "response_validators", "tests"].contains(&&*table), String::new()),
    };
    let header = match &*table {
        "" => String::new(),
        _ if !before.is_empty() => before,
        table if lists => format!("[[{table}]]\n"),
        table => format!("[{table}]\n"),
    };
    let schema = if std::ptr::eq(list, SIDECAR) { "schema/outrigger.json" } else { "../schema/webhook.json" };
    format!("#:schema {schema}\n{header}{} = {value}\n", key.key)
}

/// A value that no key of this shape takes; `None` where any value will do.
fn misfit(shape: Shape) -> Option<&'static str> {
    Some(match shape {
        Shape::Text | Shape::TextTable | Shape::TextOrTable | Shape::Rate => "[true]",
        Shape::Words(_) => "\"zebra\"",
        Shape::Duration | Shape::Size | Shape::Truth | Shape::Whole(_) | Shape::Number => "\"a while\"",
        Shape::Wholes(_) | Shape::Texts | Shape::ManyWords(_) => "[false]",
        Shape::Values => "[[1]]",
        Shape::Any => return None,
    })
}

/// The faults that `check` finds at the line of the key.
fn faults(sidecar: Option<&str>, webhook: &str) -> Vec<String> {
    let folder = folder();
    if let Some(text) = sidecar {
        fs::write(folder.path().join("outrigger.toml"), text).unwrap();
    }
    fs::write(folder.path().join("webhooks/mine.toml"), webhook).unwrap();
    let loaded = load(&Source { placeholders: true, ..Source::new(folder.path()) });
    let text = sidecar.unwrap_or(webhook);
    let diagnostics = loaded.diagnostics.into_iter().chain(loaded.test_diagnostics);
    diagnostics
        .filter(|one| one.level == Level::Error)
        .filter(|one| one.place.as_ref().is_some_and(|place| place.line == text.lines().count()))
        .map(|one| one.problem)
        .collect()
}

#[test]
#[ignore = "needs node and @taplo/lsp, which tests/all installs"]
fn an_editor_and_check_agree_about_the_shape_of_every_key() {
    let folder = folder();
    let mut server = Server::start(folder.path());
    let mut judged = 0;
    for (list, place) in [(SIDECAR, ""), (WEBHOOK, "webhooks/")] {
        for (number, key) in list.iter().enumerate() {
            let name = |what: &str| format!("{place}{what}{number}.toml");
            let path = format!("{}.{}", key.table, key.key);
            if let Some(value) = misfit(key.shape) {
                let text = file_with(list, key, value);
                let underlined = server.diagnose(&name("misfit"), &text);
                let line = format!("{}: ", text.lines().count() - 1);
                assert!(underlined.iter().any(|one| one.starts_with(&line)), "{path}: an editor takes {value}: {text}");
                let sidecar = place.is_empty().then_some(&*text);
                let webhook = if place.is_empty() { "url = \"https://a.example\"\n" } else { &text };
                assert!(!faults(sidecar, webhook).is_empty(), "{path}: check takes {value}: {text}");
                judged += 1;
            }
            if let Shape::Words(words) = key.shape {
                for (index, word) in words.iter().enumerate() {
                    let text = file_with(list, key, &format!("\"{word}\""));
                    let line = format!("{}: ", text.lines().count() - 1);
                    let underlined = server.diagnose(&name(&format!("word{index}-")), &text);
                    let here: Vec<_> = underlined.iter().filter(|one| one.starts_with(&line)).collect();
                    let missing = here.iter().all(|one| one.contains("is a required property"));
                    assert!(missing, "{path}: an editor refuses {word}: {here:?}");
                    let sidecar = place.is_empty().then_some(&*text);
                    let webhook = if place.is_empty() { "url = \"https://a.example\"\n" } else { &text };
                    let faults = faults(sidecar, webhook);
                    assert!(
                        faults.iter().all(|fault| !fault.contains(word)),
                        "{path}: check refuses {word}: {faults:?}"
                    );
                }
            }
        }
    }
    assert!(judged > 80, "{judged}");
}
