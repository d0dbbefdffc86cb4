//! `outrigger plan` and what nobody may see.

use super::plan::{granted, hook, lines, plan};
use super::{folder, outrigger};

const SECRETIVE: &str = r#"
url = "https://hooks.example.com/services/TOPSECRET/${env:S1}/{{data.id}}"
body = '{"a": "${file:secret.txt}", "id": "{{data.id}}", "v": 1}'
[headers]
x-a = "key ${env:S1}"
[auth]
api_key = { header = "x-key", value = "TOPSECRET" }
"#;

#[test]
fn no_secret_is_shown_and_that_one_is_written_differently_is_told() {
    let (old, new) = (
        SECRETIVE.to_owned(),
        SECRETIVE
            .replace("services/TOPSECRET", "services/TOPSECRET2")
            .replace("value = \"TOPSECRET\"", "value = \"TOPSECRET3\"")
            .replace("key ${env:S1}", "key ${env:S2}")
            .replace("\"v\": 1", "\"v\": 2"),
    );
    let sides = [old, new].map(|text| folder(&[("webhooks/hook.toml", &text), ("secret.txt", "TOPSECRET")]));
    let [old, new] = sides.each_ref().map(|side| side.path().to_str().unwrap());
    let variables = ["S1", "S2", "OUTRIGGER_LOG_LEVEL"].map(|name| (name.to_owned(), "TOPSECRET".to_owned()));
    let events = lines(&[granted("a"), granted("b")]);
    for format in [&["--all"][..], &["--json", "--all"], &["--color", "always"], &[]] {
        let arguments = [&["plan", old, new, "--events", "-"], format].concat();
        let run = outrigger(&arguments, &variables, &events).expect_code(1);
        assert!(!run.out.contains("TOPSECRET") && !run.err.contains("TOPSECRET"), "{}{}", run.out, run.err);
    }
    let run = outrigger(&["plan", old, new, "--events", "-"], &variables, &events).expect_code(1);
    for told in [
        "      - POST https://hooks.example.com/***\n      + POST https://hooks.example.com/***  (another path: --show-urls shows it)\n\n",
        "      -   \"v\": 1\n      +   \"v\": 2\n",
        "  also changed: auth.api_key.value ***, written differently\n",
        "  also changed: headers.x-a ***, written differently\n",
    ] {
        assert!(run.out.contains(told), "{told}{}", run.out);
    }
    let run = outrigger(&["plan", old, new, "--events", "-", "--show-urls"], &variables, &events).expect_code(1);
    assert!(run.out.contains("+ POST https://hooks.example.com/services/TOPSECRET2/***/id%20of%20a\n"), "{}", run.out);
}

#[test]
fn no_reference_is_looked_up_so_that_a_host_is_masked_too() {
    let real = "https://real.example.com/TOPSECRET";
    for reference in ["${env:WHOLE}", "${file:url.txt}"] {
        let text = format!("url = \"{reference}\"\nbody = '{{\"a\": 1}}'\n");
        let filtered = format!("{text}[[filters]]\nfield = \"integration\"\nany_of = [\"x\"]\n");
        let sides = [&text, &filtered].map(|text| folder(&[("webhooks/hook.toml", text), ("url.txt", real)]));
        let [old, new] = sides.each_ref().map(|side| side.path().to_str().unwrap());
        let variables =
            [("WHOLE".to_owned(), real.to_owned()), ("OUTRIGGER_LOG_LEVEL".to_owned(), "nonsense".to_owned())];
        let run = outrigger(&["plan", old, new, "--events", "-", "--show-urls"], &variables, &lines(&[granted("a")]));
        let run = run.expect_code(1);
        assert!(run.out.contains("      - POST https://***/***\n"), "{}", run.out);
    }
}

/// A webhook with secrets that are typed in clear; `#` is what tells two of them apart.
const TYPED: &str = r#"
url = "https://hooks.slack.com/services/TOPSECRET#"
body = '{"a": 1}'
[headers]
X-Api-Key = "TOPSECRET#"
x-team = "team #"
x-csrf-token = "no-check"
x-request-token = "{{data.id}}"
[auth]
basic = { username = "ana", password = "TOPSECRET#" }
"#;

#[test]
fn headers_that_are_typed_secrets_are_masked_and_that_they_differ_is_told() {
    let typed = |with: &str| TYPED.replace('#', with);
    let (old, new) = (hook(&typed("1")), hook(&typed("2")));
    let events = lines(&[granted("a")]);
    for format in [&["--all"][..], &["--json", "--all"], &["--color", "always"]] {
        let run = plan(&old, &new, format, &events).expect_code(1);
        assert!(!run.out.contains("TOPSECRET") && !run.err.contains("TOPSECRET"), "{}{}", run.out, run.err);
    }
    let run = plan(&old, &new, &[], &events).expect_code(1);
    for told in [
        "\n      - x-team: team 1\n      + x-team: team 2\n",
        "\n  also changed: headers.X-Api-Key ***, written differently\n",
        "\n  also changed: auth.basic.password ***, written differently\n",
    ] {
        assert!(run.out.contains(told), "{told}{}", run.out);
    }
    // A secret that is not typed any more makes no other request, as far as anybody can know.
    let referenced = typed("1").replace("\"TOPSECRET1\"\nx-team", "\"${env:KEY}\"\nx-team");
    let run = plan(&old, &hook(&referenced), &[], &events).expect_code(1);
    let told = "\nhook\n  no effect on these events\n  also changed: headers.X-Api-Key ***, written differently\n";
    assert!(run.out.contains(told), "{}", run.out);
    // One that comes is told with its mask.
    let without = typed("1").replace("X-Api-Key = \"TOPSECRET1\"\n", "");
    let run = plan(&hook(&without), &old, &[], &events).expect_code(1);
    assert!(run.out.contains("\n      + x-api-key: ***\n") && !run.out.contains("also changed"), "{}", run.out);
    let gone = plan(&old, &hook("url = \"https://a.example\"\nstatus = \"inactive\"\n"), &[], &events).expect_code(1);
    for shown in ["x-api-key: ***", "x-csrf-token: no-check", "x-request-token: id of a", "authorization: ***"] {
        assert!(gone.out.contains(&format!("\n      - {shown}\n")), "{shown}{}", gone.out);
    }
}

#[test]
fn a_faulty_file_is_shown_without_the_secrets_that_are_typed_in_it() {
    let faulty = TYPED.replace('#', "").replace("TOPSECRET\"\nbody", "TOPSECRET#x\"\nbody");
    let faulty = faulty.replace("password = ", "pasword = 1, password = ");
    let folder = folder(&[
        ("webhooks/hook.toml", &faulty),
        ("outrigger.toml", "[admin]\ntoken = \"TOPSECRET\" # ?\nlisten = \"127.0.0.1:0\"\nnope = 1\n"),
    ]);
    let (dir, good) = (folder.path().to_str().unwrap(), hook("url = \"https://a.example\"\n"));
    let good = good.path().to_str().unwrap();
    for arguments in [
        &["plan", good, dir][..],
        &["plan", dir, good],
        &["render", "--config", dir, "--event", "-"],
        &["test", "hook", "--config", dir],
        &["demo", "--config", dir],
    ] {
        let run = outrigger(arguments, &[], "{}").expect_code(78);
        assert!(
            !run.out.contains("TOPSECRET") && !run.err.contains("TOPSECRET"),
            "{arguments:?}{}{}",
            run.out,
            run.err
        );
        for shown in ["https://hooks.slack.com/services/***", "pasword = *, password = ***", "unknown key `admin.nope`"]
        {
            assert!(run.err.contains(shown), "{arguments:?}{shown}{}", run.err);
        }
    }
}
