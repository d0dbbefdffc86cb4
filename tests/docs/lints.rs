//! The guide to lints: each has an example that it finds, and its mend.

use outrigger::diagnostic::Lint;

use crate::cli::{folder, outrigger};

use super::generated::hold_generated;
use super::{LINTS, blocks, json};

/// What `check --strict` finds in a piece of the guide to lints: their names.
fn lints_of(lint: Lint, piece: &str) -> Vec<String> {
    let hook = "url = \"https://hooks.example.com/hook\"\n";
    let folder = match lint {
        Lint::NoEffect => folder(&[("outrigger.toml", piece), ("webhooks/hook.toml", hook)]),
        Lint::EqualWebhooks => {
            let first = piece.replace("allow", "# allow");
            folder(&[("webhooks/first.toml", &first), ("webhooks/second.toml", piece)])
        }
        _ => folder(&[("webhooks/hook.toml", piece)]),
    };
    let flags: &[&str] = if lint == Lint::UnsetReference { &[] } else { &["--placeholders"] };
    let arguments = [&["check", "--strict", "--json"], flags, &[folder.path().to_str().unwrap()]].concat();
    let found = json(&outrigger(&arguments, &[], "").out);
    assert!(found["webhooks"].is_u64(), "{found}");
    found["diagnostics"].as_array().unwrap().iter().map(|one| one["lint"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_lint_is_in_the_guide_with_an_example_and_its_mend() {
    let sections: Vec<(&str, &str)> =
        LINTS.split("\n## `").skip(1).map(|section| section.split_once("`\n").unwrap()).collect();
    let named: Vec<&str> = sections.iter().map(|(name, _)| *name).collect();
    assert_eq!(named, Lint::NAMES);
    for (lint, (_, section)) in Lint::ALL.into_iter().zip(sections) {
        let [wrong, right] = blocks(section, "```toml")[..] else { panic!("{lint} has not two examples") };
        assert_eq!(lints_of(lint, wrong), [lint.as_str()], "{wrong}");
        assert_eq!(lints_of(lint, right), Vec::<String>::new(), "{right}");
    }
}

#[test]
fn the_picture_of_a_warning_is_what_is_printed() {
    let (_, section) = LINTS.split_once("\n## `unknown-path`\n").unwrap();
    let folder = folder(&[("webhooks/slack.toml", blocks(section, "```toml")[0])]);
    let ended = outrigger(&["check", "--placeholders", folder.path().to_str().unwrap()], &[], "").expect_code(0);
    let printed = ended.out.replace(&format!("{}/", folder.path().display()), "");
    hold_generated("docs/lints.md", "warning", &format!("```text\n{}\n```\n", printed.trim_end()));
}
