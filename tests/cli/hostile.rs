//! Files that mean harm, given to the real program: each is refused with a sentence, with bounded memory and without a crash.
#![allow(clippy::format_collect, reason = "a test need not be fast")]

use outrigger::config::{Source, load};

use super::{Run, folder, outrigger_in};

const URL: &str = "url = \"https://hooks.example.com/in\"\n";
/// The largest TOML file.
const FILE_BYTES: usize = 256 * 1024;
/// How much address space the program may take, in KiB: far more than it needs, far less than what harms.
const ADDRESSES_KIB: usize = 1_500_000;

/// Runs the program in a folder, with little memory.
fn confined(files: &[(&str, &str)], arguments: &str) -> Run {
    let folder = folder(files);
    let program = env!("CARGO_BIN_EXE_outrigger");
    let command = format!("export MALLOC_ARENA_MAX=2 && ulimit -v {ADDRESSES_KIB} && exec {program} {arguments}");
    let shell = std::process::Command::new("sh")
        .args(["-c", &command])
        .env_clear()
        .current_dir(folder.path())
        .output()
        .unwrap();
    Run {
        code: shell.status.code(),
        out: String::from_utf8(shell.stdout).unwrap(),
        err: String::from_utf8(shell.stderr).unwrap(),
    }
}

/// So many lines or values, as many as a file holds.
fn many(one: impl Fn(usize) -> String) -> String {
    let mut text = String::with_capacity(FILE_BYTES);
    for number in 0.. {
        let next = one(number);
        if text.len() + next.len() > FILE_BYTES - 200 {
            break;
        }
        text.push_str(&next);
    }
    text
}

#[test]
fn a_file_of_nothing_but_faults_is_refused_with_some_of_them() {
    let list = |key: &str| format!("{URL}{key} = [{}]\n", many(|number| format!("'v{number}',")));
    let cases: Vec<(&str, String, &str)> = vec![
        ("unknown keys", format!("{URL}{}", many(|number| format!("k{number} = 1\n"))), "keys and tables at its top"),
        ("unknown tables", format!("{URL}{}", many(|number| format!("[k{number}]\n"))), "keys and tables at its top"),
        ("headers", format!("{URL}[headers]\n{}", many(|number| format!("x-h{number} = 'v'\n"))), "256 are the limit"),
        (
            "secrets",
            format!("{URL}[headers]\n{}", many(|number| format!("x-token{number} = 'v'\n"))),
            "256 are the limit",
        ),
        (
            "ways to authenticate",
            format!("{URL}auth = {{{}}}\n", many(|number| format!("b{number}='x',")).trim_end_matches(',')),
            "256 are the limit",
        ),
        ("triggers", list("triggers"), "1000 are the limit"),
        ("lints", list("allow"), "1000 are the limit"),
        ("statuses", format!("{URL}retry.statuses.retry = [{}]\n", many(|_| "500,".to_owned())), "1000 are the limit"),
        ("filters", format!("{URL}{}", many(|_| "[[filters]]\na = 1\n".to_owned())), "1000 are the limit"),
        (
            "a few filters",
            format!("{URL}{}", "[[filters]]\npath = '$.a'\nexists = true\n".repeat(101)),
            "more than 100 `filters`",
        ),
        (
            "values of filters",
            format!("{URL}{}", format!("[[filters]]\npath = '$.a'\nany_of = [{}]\n", "'a',".repeat(999)).repeat(6)),
            "more than 5000 values together",
        ),
        ("tests", format!("{URL}{}", many(|_| "[[tests]]\nnme = 'a'\n".to_owned())), "1000 are the limit"),
        ("faulty tests", format!("{URL}{}", "[[tests]]\nnme = 'a'\n".repeat(900)), "like the 100 of this file"),
        (
            "words in tests",
            format!(
                "{URL}[[tests]]\nname = 'a'\nevent = {{ sample = 'RequestGranted' }}\nresponse = {{ status = 200 }}\nexpect = {{ validators = [{}] }}\n",
                many(|number| format!("'v{number}',"))
            ),
            "1000 are the limit",
        ),
        ("a long key", format!("{URL}{} = 1\n", "a".repeat(FILE_BYTES - 100)), "unknown key"),
        ("a long number", format!("{URL}timeout = {}\n", "9".repeat(FILE_BYTES - 100)), "`timeout` is 999"),
        (
            "a long line",
            format!("{URL}x = {{{}}}\n", many(|number| format!("k{number} = 1,")).trim_end_matches(',')),
            "unknown key",
        ),
        ("a long line of values", format!("{URL}triggers = [{}]\n", "'x',".repeat(1000)), "like the 100 of this file"),
        ("syntax", format!("{URL}{}", "= 1\n".repeat(60_000)), "no TOML"),
        (
            "a template's arguments",
            format!("{URL}body = '''{{{{default {}}}}}'''\n", many(|number| format!("a{number}=b "))),
            "4096 are allowed",
        ),
        ("a template's expressions", format!("{URL}body = '''{}'''\n", "{{x y}}".repeat(1000)), "unknown helper `x`"),
        ("too large a file", format!("{URL}{}", "#\n".repeat(FILE_BYTES / 2)), "is larger than 262144 bytes"),
    ];
    for (what, text, says) in &cases {
        let run = confined(&[("webhooks/hook.toml", text)], "check .").expect_code(78);
        assert!(run.out.contains(says), "{what}: {}", run.out.chars().take(2000).collect::<String>());
        assert!(run.out.len() < 100_000, "{what} is answered with {} bytes", run.out.len());
        assert_eq!(run.err, "", "{what}");
    }
}

#[test]
fn secrets_in_a_table_that_is_too_large_are_masked() {
    let headers: String = (0..300).map(|number| format!("x-token{number} = 'hunter2', ")).collect();
    let run =
        confined(&[("webhooks/hook.toml", &format!("{URL}headers = {{ {headers} }}\n"))], "check .").expect_code(78);
    assert!(run.out.contains("300 keys") && !run.out.contains("hunter2"), "{}", run.out);
}

/// Texts of 100,000 levels, wherever somebody reads JSON or TOML.
#[test]
fn json_and_toml_without_bottom_are_refused_or_handled_wherever_they_stand() {
    let arrays = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let objects = format!("{}1{}", "{\"a\":".repeat(100_000), "}".repeat(100_000));
    let tables = |count: usize| format!("{}1{}", "{a=".repeat(count), "}".repeat(count));
    let event = |data: &str| format!("{{\"event_type\":\"RequestCreated\",\"data\":{data}}}");
    let test = "[[tests]]\nname = 'x'\nexpect = { delivered = true }\n";

    for (what, hook, says) in [
        ("arrays", format!("{URL}title = {arrays}\n"), "recur"),
        ("open arrays", format!("{URL}title = {}\n", "[".repeat(200_000)), "recur"),
        ("inline tables", format!("{URL}title = {}\n", tables(60_000)), "recur"),
        ("open inline tables", format!("{URL}title = {}\n", "{a=".repeat(60_000)), "recur"),
        ("dotted keys", format!("{URL}a{} = 1\n", ".a".repeat(120_000)), "recur"),
        ("a dotted table", format!("{URL}[a{}]\n", ".a".repeat(120_000)), "recur"),
        ("a dotted list of tables", format!("{URL}[[a{}]]\n", ".a".repeat(120_000)), "recur"),
        ("a test's event", format!("{URL}{test}event = {{ a = {} }}\n", tables(60_000)), "recur"),
        ("an event of a test by dots", format!("{URL}{test}[tests.event]\na{} = 1\n", ".a".repeat(100_000)), "recur"),
        ("a file of a test", format!("{URL}{test}event = 'deep.json'\n"), "recursion limit exceeded"),
    ] {
        for deep in [&arrays, &objects] {
            let run =
                confined(&[("webhooks/hook.toml", &hook), ("deep.json", &event(deep))], "check .").expect_code(78);
            assert!(run.out.contains(says), "{what}: {}", run.out.chars().take(1000).collect::<String>());
        }
    }
    for deep in [&arrays, &objects] {
        let kinds = "[kinds.deployment]\ntype = '$.t'\nsample = 'deep.json'\n";
        let files = [("webhooks/hook.toml", URL), ("outrigger.toml", kinds), ("deep.json", &event(deep))];
        let run = confined(&files, "check .").expect_code(78);
        assert!(run.out.contains("recursion limit exceeded"), "{}", run.out);

        // A body may be as deep as it likes: it is only read along. A response that no tree can be made of is text.
        let ok = "[[response_validators]]\npath = '$.data'\nexpected = ['x']\n";
        let answered = "event = { sample = 'RequestGranted' }\nresponse = { status = 200, body = '";
        let hook = format!(
            "{URL}body_file = 'deep.hbs'\n{ok}[[tests]]\nname = 'x'\n{answered}{}' }}\nexpect = {{ outcome = 'failed' }}\n",
            &deep[..100_000]
        );
        confined(&[("webhooks/hook.toml", &hook), ("webhooks/deep.hbs", &arrays)], "check .").expect_code(0);

        let files = [("webhooks/hook.toml", URL), ("deep.json", &event(deep)), ("fine.json", &event("{}"))];
        for command in [
            "render --config . --event deep.json",
            "render hook --config . --event deep.json",
            "test hook --config . --event deep.json",
        ] {
            let run = confined(&files, command).expect_code(2);
            assert!(run.err.contains("100 levels"), "{command}: {}", run.err);
        }
        confined(&files, "render hook --config . --event fine.json").expect_code(0);

        let lines = format!("{}\n{}\n{}\n", event("{}"), event(deep), event("1"));
        let old = format!("{URL}title = 'old'\n");
        let files = [("new/webhooks/hook.toml", URL), ("old/webhooks/hook.toml", &old), ("events.ndjson", &lines)];
        let run = confined(&files, "plan old new --events events.ndjson");
        assert!(run.err.contains("100 levels"), "{:?}: {}\n{}", run.code, run.out, run.err);
    }
}

/// A look at the configuration has a thread of its own, whose stack is smaller than the program's.
#[test]
fn the_deepest_file_that_can_be_read_is_loaded_on_a_small_stack() {
    let test = "[[tests]]\nname = 'x'\nexpect = { delivered = false }\n";
    let mut read = 0;
    for levels in (10..140).step_by(3) {
        let arrays = format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let tables = format!("{}1{}", "{a=".repeat(levels), "}".repeat(levels));
        for deep in [
            format!("event = {{ a = {arrays} }}"),
            format!("event = {tables}"),
            format!("event{} = 1", ".a".repeat(levels)),
        ] {
            let folder = folder(&[("webhooks/hook.toml", &format!("{URL}{test}{deep}\n"))]);
            let source = Source::new(folder.path());
            let load = move || load(&source).tests.len();
            let loaded = std::thread::Builder::new().stack_size(1024 * 1024).spawn(load).unwrap().join().unwrap();
            read += loaded;
        }
    }
    assert!(read > 40, "only {read} files could be read");
}

/// What is legal and as costly as it may be ends as well.
#[test]
fn the_most_that_a_file_may_ask_is_checked() {
    let regexes: String =
        (0..4).map(|n| format!("[[filters]]\npath = '$.data.x'\nmatches = '[01]*1[01]{{49{n}}}x|^.'\n")).collect();
    let globs: String = (0..2)
        .map(|n| format!("[[filters]]\npath = '$.data.x'\nnone_of = [{}]\n", format!("'*1*01*{n}x',").repeat(1000)))
        .collect();
    let large =
        format!("{{\"event_type\":\"RequestCreated\",\"data\":{{\"x\":\"{}\"}}}}", "0110100110010110".repeat(1_000));
    let test = "[[tests]]\nname = 'x'\nevent = 'large.json'\nexpect = { delivered = true }\n";
    let hook = format!("{URL}{regexes}{globs}{test}");
    let folder = folder(&[("webhooks/hook.toml", &hook), ("large.json", &large)]);
    outrigger_in(folder.path(), &["check", "."], &[], "").expect_code(0);
}
