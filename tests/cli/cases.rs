//! `[[tests]]` with a response: what an answer comes to, judged as a delivery would be.

use std::fmt::Write as _;

use serde_json::Value;

use super::{Run, folder, outrigger};

/// A webhook with two validators and these tests: what follows the name of each.
fn check(head: &str, tests: &[&str]) -> Run {
    let mut hook = format!("url = \"https://hooks.example.com/in\"\n{head}\n");
    hook += "[[response_validators]]\nname = \"ok\"\npath = \"$.data.ok\"\nexpected = [\"true\"]\n\
             [[response_validators]]\nname = \"error\"\npath = \"$.data.error\"\nrejected = [\"fatal\", \"late\"]\non_failure = \"retry\"\n";
    for (number, test) in tests.iter().enumerate() {
        let _ = write!(hook, "[[tests]]\nname = \"test {number}\"\nevent = {{ sample = \"Granted\" }}\n{test}\n");
    }
    let folder = folder(&[("webhooks/hook.toml", &hook)]);
    outrigger(&["check", folder.path().to_str().unwrap()], &[], "")
}

#[test]
fn an_answer_comes_to_what_a_delivery_would_come_to() {
    let tests = [
        "response = { body = { ok = true } }\nexpect = { outcome = \"accepted\" }",
        "response = { status = 201, body = { ok = \"true\" } }\nexpect = { outcome = \"accepted\", validators = [] }",
        "response = { body = '{\"ok\": true}' }\nexpect = { outcome = \"accepted\" }",
        "response = { body = \"ok\" }\nexpect = { outcome = \"failed\", reason = \"validation_failed\", validators = [\"ok\"] }",
        "response = {}\nexpect = { reason = \"validation_failed\" }",
        "response = { body = { error = \"fatal\" } }\nexpect = { outcome = \"failed\", validators = [\"error\", \"ok\"] }",
        "response = { status = 429, headers = { Retry-After = \"7\" } }\nexpect = { reason = \"rate_limited\" }",
        "response = { status = 400 }\nexpect = { reason = \"client_error\" }",
        "response = { status = 404 }\nexpect = { reason = \"not_found\" }",
        "response = { status = 302 }\nexpect = { reason = \"redirect\" }",
        "response = { status = 599 }\nexpect = { outcome = \"failed\", reason = \"server_error\" }",
        "response = { body = { ok = true, more = \"1234567890123456789012345678901234567890\" } }\nexpect = { reason = \"response_too_large\" }",
    ];
    let run = check("limits = { response = 48 }", &tests).expect_code(0);
    assert_eq!(run.out, format!("1 webhook, {} tests passed, 0 failed\n", tests.len()));
}

#[test]
fn an_event_and_a_body_may_be_json_in_a_text_which_has_null_and_all_digits() {
    let hook = |id: &str, tail: &str| {
        format!(
            "url = 'https://a.example/'\nbody = '{{\"id\": {{{{data.id}}}}, \"none\": {{{{data.none}}}}, \"more\": 1}}'\n[[tests]]\nname = 'a'\n\
             event = '''\n{{\"event_type\": \"RequestGranted\", \"data\": {{\"id\": {id}, \"none\": null{tail}}}}}\n'''\n\
             expect = {{ body = '{{\"none\": null, \"id\": 12345678901234567890123}}' }}\n"
        )
    };
    let run = |hook: &str| {
        let folder = folder(&[("webhooks/hook.toml", hook)]);
        outrigger(&["check", folder.path().to_str().unwrap()], &[], "")
    };
    run(&hook("12345678901234567890123", "")).expect_code(0);
    let other = run(&hook("12345678901234567890124", "")).expect_code(1);
    let difference = "body.id: expected 12345678901234567890123, found 12345678901234567890124";
    assert!(other.out.contains(difference), "{}", other.out);
    let broken = run(&hook("1", ",")).expect_code(78);
    assert!(
        broken.out.contains("begins as JSON and is none") && broken.out.contains("hook.toml:5:9"),
        "{}",
        broken.out
    );
}

#[test]
fn what_json_has_not_is_refused_where_it_would_be_compared_with_nothing() {
    let tests = [
        "expect = { body = inf }",
        "expect = { body = { id = [nan] } }",
        "response = { body = { ok = 99999999999999999999 } }\nexpect = { outcome = \"accepted\" }",
        "response = { status = 204, body = { ok = true } }\nexpect = { outcome = \"accepted\" }",
    ];
    let run = check("", &tests).expect_code(78);
    for problem in [
        "error: `tests.expect.body` has a number that JSON cannot write\n  --> webhooks/hook.toml:15:19\n",
        "error: `tests.expect.body` has a number that JSON cannot write\n  --> webhooks/hook.toml:19:19\n",
        "error: `tests.response.body` has a number that JSON cannot write\n  --> webhooks/hook.toml:23:21\n",
        "error: an answer of 204 has no body\n  --> webhooks/hook.toml:28:28\n",
        "\n4 errors, 0 warnings\n",
    ] {
        assert!(run.out.contains(problem), "{problem}\n{}", run.out);
    }
}

#[test]
fn an_event_in_the_url_is_to_blame_for_a_404() {
    let hook = "url = \"https://hooks.example.com/{{data.id}}\"\n[[tests]]\nname = \"gone\"\nevent = { sample = \"Granted\" }\n\
                response = { status = 404 }\nexpect = { reason = \"client_error\" }\n";
    let folder = folder(&[("webhooks/hook.toml", hook)]);
    outrigger(&["check", folder.path().to_str().unwrap()], &[], "").expect_code(0);
}

#[test]
fn a_wrong_outcome_is_told_with_what_the_validators_found() {
    let run = check(
        "retry.statuses.retry = [409]",
        &[
            "response = { body = { ok = false } }\nexpect = { outcome = \"accepted\" }",
            "response = { body = { ok = true } }\nexpect = { reason = \"validation_failed\" }",
            "response = { body = { error = \"late\" } }\nexpect = { outcome = \"failed\", validators = [\"ok\"] }",
            "response = { status = 409 }\nexpect = { outcome = \"accepted\" }",
            "response = { status = 401 }\nexpect = { reason = \"client_error\" }",
            "expect = { reason = \"template_error\" }",
        ],
    )
    .expect_code(1);
    let said: Vec<&str> = run.out.lines().filter(|line| !line.is_empty()).collect();
    assert_eq!(
        said,
        [
            "failed: hook: test 0 (webhooks/hook.toml:14)",
            "  outcome: expected accepted, found failed with validation_failed: the response did not pass `ok`; a dead letter",
            "  validator `ok` fails: $.data.ok is false, expected \"true\"",
            "  validator `error` passes: $.data.error is nothing, rejected \"fatal\" or \"late\"",
            "failed: hook: test 1 (webhooks/hook.toml:19)",
            "  outcome: expected failed with validation_failed, found accepted",
            "  validator `ok` passes: $.data.ok is true, expected \"true\"",
            "  validator `error` passes: $.data.error is nothing, rejected \"fatal\" or \"late\"",
            "failed: hook: test 2 (webhooks/hook.toml:24)",
            "  validators: expected `ok` to fail, found `error`, `ok`",
            "  validator `ok` fails: $.data.ok is nothing, expected \"true\"",
            "  validator `error` fails: $.data.error is \"late\", rejected \"fatal\" or \"late\"",
            "failed: hook: test 3 (webhooks/hook.toml:29)",
            "  outcome: expected accepted, found failed with client_error: the receiver answered 409: no success; it is retried",
            "failed: hook: test 4 (webhooks/hook.toml:34)",
            "  outcome: expected failed with client_error, found failed with auth_error: the receiver answered 401: no success; the webhook pauses",
            "failed: hook: test 5 (webhooks/hook.toml:39)",
            "  expected template_error, but the request can be rendered",
            "1 webhook, 0 tests passed, 6 failed",
        ]
    );
}

#[test]
fn a_template_error_can_be_expected() {
    let hook = "strict = true\nurl = \"https://hooks.example.com/in\"\nbody = '{\"team\": \"{{data.custom_fields.no_such_field}}\"}'\n";
    let test = "[[tests]]\nname = \"no team\"\nevent = { sample = \"Granted\" }\nexpect = { outcome = \"failed\", reason = \"template_error\" }\n\
                [[tests]]\nname = \"a body\"\nevent = { sample = \"Granted\" }\nexpect = { body = {} }\n";
    let folder = folder(&[("webhooks/hook.toml", &format!("{hook}{test}"))]);
    let run = outrigger(&["check", folder.path().to_str().unwrap()], &[], "").expect_code(1);
    assert!(
        run.out.starts_with("failed: hook: a body (webhooks/hook.toml:10)\n  it cannot be rendered: body: "),
        "{}",
        run.out
    );
    assert!(run.out.ends_with("\n1 webhook, 1 test passed, 1 failed\n"), "{}", run.out);
}

#[test]
fn the_json_document_says_all_that_the_text_says() {
    let hook = "url = \"https://hook.example.com/x{{data.idd}}\"\nheaders.x-token = \"TOPSECRET\"\nbody = '{\"a\": 1}'\n\
                [[tests]]\nname = \"wrong\"\nevent = { sample = \"Granted\" }\nexpect = { body = { a = 2 } }\n\
                [[tests]]\nname = \"right\"\nevent = { sample = \"Granted\" }\nexpect = { body = { a = 1 } }\n";
    let folder = folder(&[("webhooks/hook.toml", hook)]);
    let dir = folder.path().to_str().unwrap();
    let run = outrigger(&["check", "--json", dir], &[], "").expect_code(1);
    assert!(!run.out.contains("TOPSECRET"), "{}", run.out);
    let found: Value = serde_json::from_str(&run.out).unwrap();
    let expected = serde_json::json!({
        "webhooks": 1,
        "diagnostics": [
            {
                "level": "warning", "lint": "unknown-path", "file": "webhooks/hook.toml", "line": 1, "column": 36, "end_column": 44,
                "problem": "the kind's schema has no `data.idd`", "fix": "did you mean `id`?"
            },
            {
                "level": "warning", "lint": "plain-secret", "file": "webhooks/hook.toml", "line": 2, "column": 19, "end_column": 30,
                "problem": "the secret `headers.x-token` is typed in clear",
                "fix": "write ${env:NAME} or ${file:PATH} instead, and replace the secret: whoever has read the file has it"
            }
        ],
        "tests": [
            {
                "webhook": "hook", "name": "wrong", "file": "webhooks/hook.toml", "line": 6, "passed": false,
                "differences": ["body.a: expected 2, found 1"]
            },
            {"webhook": "hook", "name": "right", "file": "webhooks/hook.toml", "line": 10, "passed": true, "differences": []}
        ],
        "passed": 1,
        "failed": 1,
        "ok": false
    });
    assert_eq!(found, expected, "{}", run.out);
    let strict = outrigger(&["check", "--json", "--strict", dir], &[], "").expect_code(1);
    let strict: Value = serde_json::from_str(&strict.out).unwrap();
    assert_eq!(strict["diagnostics"][0]["level"], "error");
}

#[test]
fn the_json_document_of_a_faulty_configuration_has_its_faults() {
    let folder =
        folder(&[("webhooks/hook.toml", "url = \"http://hooks.example.com/in\"\nauth.bearer.token = \"TOPSECRET\"\n")]);
    let run = outrigger(&["check", "--json", "--strict", folder.path().to_str().unwrap()], &[], "").expect_code(78);
    assert!(!run.out.contains("TOPSECRET"), "{}", run.out);
    let found: Value = serde_json::from_str(&run.out).unwrap();
    let expected = serde_json::json!({
        "webhooks": null,
        "diagnostics": [{
            "level": "error", "file": "webhooks/hook.toml", "line": 1, "column": 8, "end_column": 32,
            "problem": "the URL is http", "fix": "use https: webhooks are sent over TLS only"
        }],
        "tests": [], "passed": 0, "failed": 0, "ok": false
    });
    assert_eq!(found, expected, "{}", run.out);
}

#[test]
fn a_host_that_a_reference_gives_is_expected_as_it_is_or_masked() {
    let run = |url: &str, expected: &str, host: &str, more: &[&str]| {
        let hook = format!(
            "url = '{url}'\n[[tests]]\nname = 'a'\nevent = {{ sample = 'RequestGranted' }}\nexpect = {{ url = '{expected}' }}\n"
        );
        let folder = folder(&[("webhooks/hook.toml", &hook)]);
        let dir = folder.path().to_str().unwrap().to_owned();
        let env = [("T_HOST", host), ("T_KEY", "k")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        let args: Vec<&str> = ["check"].into_iter().chain(more.iter().copied()).chain([dir.as_str()]).collect();
        outrigger(&args, if more.is_empty() { &env } else { &[] }, "")
    };
    let url = "https://${env:T_HOST}/a/${env:T_KEY}";
    for expected in ["https://***/a/***", "https://one.example.com/a/***"] {
        run(url, expected, "one.example.com", &[]).expect_code(0);
    }
    run(url, "https://***/a/***", "two.example.com", &[]).expect_code(0);
    run(url, "https://***/a/***", "", &["--placeholders"]).expect_code(0);
    run("${env:T_HOST}", "https://***/***", "https://one.example.com/x?y=z", &[]).expect_code(0);
    for (url, expected) in [
        (url, "https://***/b/***"),
        (url, "https://***.example.com/a/***"),
        ("https://one.example.com/a/${env:T_KEY}", "https://***/a/***"),
    ] {
        let refused = run(url, expected, "one.example.com", &[]).expect_code(1);
        assert!(refused.out.contains(&format!("url: it differs from {expected} from character ")), "{}", refused.out);
    }
}
