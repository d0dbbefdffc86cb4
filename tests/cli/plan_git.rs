//! `outrigger plan` with revisions of a real git repository, and its golden text.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

use super::{Run, outrigger_in};
use crate::support::{PATIENCE, eventually};

/// A repository with the shipped configuration on its branch `main`, and a folder for temporary files that must stay empty.
struct Repository {
    folder: TempDir,
    temporary: TempDir,
}

impl Repository {
    fn new() -> Self {
        let repository = Self { folder: tempfile::tempdir().unwrap(), temporary: tempfile::tempdir().unwrap() };
        repository.git(&["init", "--quiet", "--initial-branch", "main"]);
        copy(&root().join("config"), &repository.path("config"));
        repository.commit();
        repository
    }

    fn path(&self, inner: &str) -> PathBuf {
        self.folder.path().join(inner)
    }

    fn git(&self, arguments: &[&str]) {
        self.object(arguments, "");
    }

    /// Runs git with an input, and gives what it prints: mostly an object's hash.
    fn object(&self, arguments: &[&str], input: &str) -> String {
        let mut child = Command::new("git")
            .args(["-c", "user.name=Outrigger test", "-c", "user.email=test@example.com", "-c", "commit.gpgsign=false"])
            .args(arguments)
            .current_dir(self.folder.path())
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // A command that reads nothing closes its input, which is no failure.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "git {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    fn commit(&self) {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--message", "A state"]);
    }

    /// Replaces a text in a webhook's file; it must be there.
    fn edit(&self, webhook: &str, from: &str, to: &str) {
        let path = self.path(&format!("config/webhooks/{webhook}.toml"));
        let text = fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{webhook} has no {from}");
        fs::write(path, text.replace(from, to)).unwrap();
    }

    fn variables(&self) -> Vec<(String, String)> {
        let temporary = self.temporary.path().to_str().unwrap();
        let path = std::env::var("PATH").unwrap();
        [("PATH", &*path), ("TMPDIR", temporary), ("GIT_CONFIG_GLOBAL", "/dev/null")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    /// Runs plan in the repository, and sees to it that it leaves nothing behind.
    fn plan(&self, arguments: &[&str], more: &[(&str, &str)]) -> Run {
        let mut variables = self.variables();
        variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let run = outrigger_in(self.folder.path(), &[&["plan"], arguments].concat(), &variables, "");
        assert_eq!(fs::read_dir(self.temporary.path()).unwrap().count(), 0, "something was left behind");
        run
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() { copy(&entry.path(), &to) } else { fs::copy(entry.path(), to).map(drop).unwrap() }
    }
}

/// The text without what a commit's hash makes different each time.
fn without_hash(text: &str) -> String {
    let (before, rest) = text.split_once("git:main (").unwrap_or_else(|| panic!("no revision in {text}"));
    let (hash, after) = rest.split_once(')').unwrap();
    assert!(hash.len() == 7 && hash.bytes().all(|byte| byte.is_ascii_hexdigit()), "{hash} is no hash");
    format!("{before}git:main (4f0c2a9){after}")
}

/// Another filter, another body and another limit.
fn edited() -> Repository {
    let repository = Repository::new();
    repository.edit("tickets", "any_of = [\"prod-*\"]", "any_of = [\"prod-*\", \"staging-*\"]");
    repository.edit(
        "slack",
        "\"text\": \"{{slack data.friendly_id}}: {{slack event_type}} for {{slack data.requester.name}}\"",
        "\"text\": \"{{slack data.requester.name}}: {{slack event_type}} ({{slack data.friendly_id}})\"",
    );
    repository.edit("slack", "burst = 5", "burst = 3");
    fs::copy(root().join("tests/plan/events.ndjson"), repository.path("recorded.ndjson")).unwrap();
    repository
}

#[test]
fn the_effect_of_an_edit_reads_as_it_should() {
    let repository = edited();
    let run = repository.plan(&["git:main", "--events", "recorded.ndjson"], &[]).expect_code(1);
    let found = without_hash(&run.out);
    let golden = root().join("tests/plan/expected.txt");
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&golden, &found).unwrap();
    }
    let expected = fs::read_to_string(&golden).unwrap();
    assert!(found == expected, "--- expected\n{expected}--- found\n{found}");
    assert!(found.ends_with("deliveries 151 → 156: 5 appear, 0 vanish, 100 change, 51 the same\n"), "{found}");
}

#[test]
fn the_other_way_round_what_appeared_vanishes() {
    let repository = edited();
    let run = repository.plan(&["config", "git:main", "--events", "recorded.ndjson"], &[]).expect_code(1);
    assert!(run.out.contains("is not sent: integration is \"staging-"), "{}", run.out);
    assert!(run.out.contains("deliveries 156 → 151: 0 appear, 5 vanish, 100 change, 51 the same\n"), "{}", run.out);
}

#[test]
fn a_revision_is_read_from_wherever_the_folder_lies() {
    let repository = Repository::new();
    let nothing = "no difference\n";
    assert!(repository.plan(&["git:main"], &[]).expect_code(0).out.ends_with(nothing));
    assert!(repository.plan(&["git:main", "git:HEAD"], &[]).expect_code(0).out.ends_with(nothing));
    fs::rename(repository.path("config"), repository.path("elsewhere")).unwrap();
    assert!(repository.plan(&["git:main:config", "elsewhere"], &[]).expect_code(0).out.ends_with(nothing));
    // The folder of --config is gone from the tree, and is in the revision all the same.
    assert!(repository.plan(&["git:main", "elsewhere"], &[]).expect_code(0).out.ends_with(nothing));
    let run = outrigger_in(
        &repository.path("elsewhere"),
        &["plan", "git:main:config", "--config", "."],
        &repository.variables(),
        "",
    );
    assert!(run.expect_code(0).out.ends_with(nothing));
    // As a hook of git the program is told of a repository, by a path from another folder.
    let hook = [("GIT_DIR", ".git"), ("GIT_INDEX_FILE", ".git/index"), ("GIT_PREFIX", "")];
    assert!(repository.plan(&["git:main:config/", "elsewhere"], &hook).expect_code(0).out.ends_with(nothing));
}

#[test]
fn links_of_a_revision_are_links_and_files_of_webhooks_are_found() {
    let repository = Repository::new();
    fs::remove_dir_all(repository.path("config")).unwrap();
    let webhooks = repository.path("config/webhooks");
    fs::create_dir_all(repository.path("config/shared")).unwrap();
    fs::create_dir_all(&webhooks).unwrap();
    let text = "url = \"https://hooks.example.com/in\"\nbody_file = \"../shared/body.hbs\"\n";
    fs::write(repository.path("config/shared/hook.toml"), text).unwrap();
    fs::write(repository.path("config/shared/body.hbs"), "{\"id\": \"{{data.id}}\"}").unwrap();
    symlink("../shared/hook.toml", webhooks.join("hook.toml")).unwrap();
    symlink("/nowhere/at all", webhooks.join("dangling")).unwrap();
    repository.commit();
    assert!(repository.plan(&["git:main"], &[]).expect_code(0).out.contains("no difference"));
    fs::write(repository.path("config/shared/body.hbs"), "{\"id\": \"{{data.friendly_id}}\"}").unwrap();
    let run = repository.plan(&["git:main"], &[]).expect_code(1);
    assert!(run.out.contains("-   \"id\": \"7f3d9a52"), "{}", run.out);
    assert!(!run.out.contains("also changed"), "{}", run.out);
}

#[test]
fn the_root_of_a_repository_is_a_configuration_folder_too() {
    let repository = Repository::new();
    copy(&repository.path("config"), repository.folder.path());
    repository.commit();
    for revision in ["git:main", "git:main:.", "git:main:"] {
        let run = repository.plan(&[revision, "--config", "."], &[]).expect_code(0);
        assert!(run.out.ends_with("no difference\n"), "{revision}: {}", run.out);
    }
}

#[test]
fn a_link_that_leads_out_of_a_revision_leads_nowhere() {
    let repository = Repository::new();
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret");
    fs::write(&secret, "TOPSECRET = {{").unwrap();
    let hook = repository.path("config/webhooks/hook.toml");
    fs::write(&hook, "url = \"https://hooks.example.com/in\"\ncontent_type = \"text/plain\"\nbody_file = \"body\"\n")
        .unwrap();
    let body = repository.path("config/webhooks/body");
    symlink(&secret, &body).unwrap();
    repository.commit();
    let run = repository.plan(&["git:main", "git:main"], &[]).expect_code(78);
    assert!(run.err.contains("the file does not exist") && !run.err.contains("TOPSECRET"), "{}", run.err);
    fs::remove_file(&body).unwrap();
    fs::remove_file(&hook).unwrap();
    symlink(&secret, &hook).unwrap();
    repository.commit();
    let run = repository.plan(&["git:main", "git:main"], &[]).expect_code(78);
    assert!(run.err.contains("webhooks/hook.toml") && !run.err.contains("TOPSECRET"), "{}", run.err);
    assert_eq!(fs::read(&secret).unwrap(), b"TOPSECRET = {{");
}

#[test]
fn of_a_partial_clone_nothing_is_fetched() {
    let repository = Repository::new();
    repository.edit("slack", "burst = 5", "burst = 4");
    repository.commit();
    repository.git(&["config", "uploadpack.allowFilter", "true"]);
    let clone = Repository { folder: tempfile::tempdir().unwrap(), temporary: tempfile::tempdir().unwrap() };
    let from = format!("file://{}", repository.folder.path().display());
    clone.git(&["clone", "--quiet", "--filter=blob:none", &from, "."]);
    let run = clone.plan(&["git:HEAD~1"], &[]).expect_code(2);
    assert!(run.err.contains("fetch them with `git fetch --refetch --no-filter`"), "{}", run.err);
    clone.git(&["fetch", "--quiet", "--refetch", "--no-filter", "origin"]);
    let run = clone.plan(&["git:HEAD~1"], &[]).expect_code(1);
    assert!(run.out.contains("also changed: limits.burst 5 → 4"), "{}", run.out);
}

#[test]
fn a_forged_revision_writes_nothing_outside_of_its_folder() {
    let repository = Repository::new();
    let outside = tempfile::tempdir().unwrap();
    let link = repository.object(&["hash-object", "-w", "--stdin"], outside.path().to_str().unwrap());
    let file = repository.object(&["hash-object", "-w", "--stdin"], "x");
    let inner = repository.object(&["mktree"], &format!("100644 blob {file}\tescaped\n"));
    // A link to the outside and a folder of the same name: a file of the folder would be written through the link.
    let tree =
        repository.object(&["mktree"], &format!("120000 blob {link}\twebhooks\n040000 tree {inner}\twebhooks\n"));
    let climbing = repository.object(&["mktree", "--missing"], &format!("040000 tree {inner}\t..\n"));
    for (tree, expected) in [(tree, "the revision cannot be written to "), (climbing, "which leaves its folder")] {
        let commit = repository.object(&["commit-tree", &tree, "-m", "forged"], "");
        let run = repository.plan(&[&format!("git:{commit}:")], &[]).expect_code(2);
        assert!(run.err.contains(expected), "{}", run.err);
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 0);
    }
}

#[test]
fn a_revision_that_cannot_be_read_is_told_with_its_fix() {
    let repository = Repository::new();
    let outside = tempfile::tempdir().unwrap();
    let outside = outside.path().to_str().unwrap();
    for (arguments, expected) in [
        (
            &["git:nope"][..],
            "OLD, git:nope: the repository has no revision `nope`; correct the name, or fetch it first",
        ),
        (&["config", "git:nope"], "NEW, git:nope: "),
        (&["git:"], "`` is no revision; write a branch, a tag or a commit, as in git:main"),
        (&["git:--output=x"], "`--output=x` is no revision"),
        (&["git:main:nope"], "the revision `main` has no folder `nope`; say where it is, as in git:main:PATH"),
        (&["git:main:config/outrigger.toml"], "`config/outrigger.toml` is no folder in the revision `main`"),
        (&["git:main:../config"], "`../config` is no path from the repository's root"),
        (&["git:main:/config"], "`/config` is no path from the repository's root"),
        (
            &["git:main", "config", "--config", outside],
            "lies in no git repository that can be read (not a git repository",
        ),
    ] {
        let run = repository.plan(arguments, &[]).expect_code(2);
        assert!(run.err.contains(expected), "{arguments:?}: {}", run.err);
        assert_eq!(run.out, "");
    }
    let run = repository.plan(&["git:main"], &[("PATH", outside)]).expect_code(2);
    assert!(run.err.contains("the program `git` is not there; install git, or give a folder instead"), "{}", run.err);
    let run = repository.plan(&["git:main"], &[("TMPDIR", "/nowhere")]).expect_code(2);
    assert!(run.err.contains("no folder can be made in /nowhere: "), "{}", run.err);
}

#[test]
fn a_faulty_revision_is_named_with_its_faults() {
    let repository = Repository::new();
    repository.edit("slack", "triggers", "trigers");
    repository.commit();
    repository.edit("slack", "trigers", "triggers");
    let run = repository.plan(&["git:main"], &[]).expect_code(78);
    assert!(run.err.starts_with("OLD, git:main, is faulty:\nerror: unknown key `trigers`"), "{}", run.err);
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    let repository = Repository::new();
    let programs = tempfile::tempdir().unwrap();
    let fake = programs.path().join("git");
    let (ready, own) = (programs.path().join("ready"), repository.temporary.path());
    // A git that says who it is and then never answers.
    fs::write(
        &fake,
        format!("#!/bin/sh\necho $$ > {0}.part && mv {0}.part {0}\nexec tail -f /dev/null\n", ready.display()),
    )
    .unwrap();
    fs::set_permissions(&fake, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", programs.path().display(), std::env::var("PATH").unwrap());
    let mut child = Command::new(env!("CARGO_BIN_EXE_outrigger"))
        .args(["plan", "git:main"])
        .env_clear()
        .envs(repository.variables())
        .env("PATH", path)
        .current_dir(repository.folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let git = eventually(PATIENCE, || fs::read_to_string(&ready).ok()).expect("git was not run");
    let there = fs::read_dir(own).unwrap().count();
    let signalled = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    let ended = eventually(PATIENCE, || child.try_wait().unwrap());
    let _ = child.kill();
    let _ = Command::new("kill").arg(git.trim()).status();
    assert!(signalled.success() && there == 1, "{there} folders were there");
    assert_eq!(ended.and_then(|status| status.code()), Some(130));
    assert_eq!(fs::read_dir(own).unwrap().count(), 0, "something was left behind");
}
