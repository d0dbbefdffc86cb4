//! `outrigger completions`: what shells and `man` take.

use std::fs;
use std::process::Command;

/// What the program prints for these arguments.
fn printed(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_outrigger")).args(args).output().expect("the program starts");
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("a text")
}

/// The commands, as the help lists them.
fn commands() -> Vec<String> {
    let help = printed(&["--help"]);
    let listed = help.split("Commands:\n").nth(1).expect("a list").split("\n\n").next().unwrap_or_default();
    let names = listed.lines().filter(|line| line.starts_with("  ") && !line.starts_with("   "));
    names.filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_their_options() {
    let complete = |words: &str, current: &str| {
        let count = words.split(' ').count() - 1;
        let script = format!(
            "source <({program} completions bash); COMP_WORDS=({words}); COMP_CWORD={count}; _outrigger outrigger '{current}' ''; echo \"${{COMPREPLY[@]}}\"",
            program = env!("CARGO_BIN_EXE_outrigger"),
        );
        let output = Command::new("bash").args(["-c", &script]).output().expect("bash starts");
        String::from_utf8(output.stdout).expect("a text")
    };
    assert_eq!(complete("outrigger che", "che"), "check\n");
    assert_eq!(complete("outrigger dead", "dead"), "dead-letters\n");
    assert!(complete("outrigger check --st", "--st").contains("--strict"));
}

#[test]
fn every_shell_and_the_manual_know_every_command() {
    let commands = commands();
    assert!(commands.len() >= 13 && commands.contains(&"dead-letters".to_owned()), "{commands:?}");
    for of in ["bash", "elvish", "fish", "powershell", "zsh", "man"] {
        let text = printed(&["completions", of]).replace("\\-", "-");
        for command in &commands {
            assert!(text.contains(command), "{of} lacks {command}");
        }
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().to_str().expect("a text");
    for (of, file) in
        [("bash", "outrigger.bash"), ("zsh", "_outrigger"), ("fish", "outrigger.fish"), ("man", "outrigger.1")]
    {
        assert!(printed(&["completions", of, "--write", path]).contains(file), "{of}");
        assert!(folder.path().join(file).is_file(), "{of}");
    }
    for command in &commands {
        let page =
            fs::read_to_string(folder.path().join(format!("outrigger-{command}.1"))).expect("a page for each command");
        assert!(page.contains(".SH SYNOPSIS"), "{command}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("file");
    fs::write(&file, "").expect("a file in it");
    for of in ["man", "bash"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_outrigger"));
        let output = command.args(["completions", of, "--write"]).arg(&file).output().expect("the program starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && said.contains("cannot be written"), "{said}");
    }
}
