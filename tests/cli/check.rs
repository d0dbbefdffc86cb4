//! `outrigger check`.

use super::{folder, outrigger};

const URL: &str = "url = \"https://hooks.example.com/in\"\n";

#[test]
fn the_shipped_configuration_is_good_and_its_tests_pass() {
    let run = outrigger(&["check", "--placeholders", "config"], &[], "").expect_code(0);
    let summary: Vec<&str> = run.out.lines().collect();
    let [line] = summary.as_slice() else { panic!("more than a summary:\n{}", run.out) };
    assert!(line.starts_with("4 webhooks, ") && line.ends_with(" tests passed, 0 failed"), "{line}");
    let passed: usize = line.split(' ').nth(2).unwrap().parse().unwrap();
    assert!(passed >= 8, "{line}");
}

#[test]
fn without_its_variables_the_shipped_configuration_is_refused() {
    let run = outrigger(&["check"], &[], "").expect_code(78);
    for name in ["OKTA_FLOW", "OKTA_CLIENT_TOKEN", "SLACK_WEBHOOK_URL", "TICKETS_TOKEN", "OORT_CLIENT_TOKEN"] {
        assert!(run.out.contains(&format!("the environment variable `{name}` is not set")), "{}", run.out);
    }
}

#[test]
fn a_failed_test_shows_what_was_expected_and_what_was_found() {
    let hook = format!(
        "{URL}body = '{{\"id\": \"{{{{data.id}}}}\", \"n\": 1}}'\n[headers]\nx-a = \"1\"\n[[tests]]\nname = \"wrong\"\n\
         event = {{ event_type = \"RequestGranted\", data = {{ id = \"7\" }} }}\n\
         expect = {{ body = {{ id = \"8\", n = 1.0, m = 2 }}, url = \"https://hooks.example.com/out\", headers = {{ x-a = \"2\", x-b = \"1\" }} }}\n\
         [[tests]]\nname = \"right\"\nevent = {{ sample = \"Granted\" }}\nexpect = {{ delivered = true }}\n\
         [[tests]]\nname = \"unwanted\"\nevent = {{ sample = \"Granted\" }}\nexpect = {{ delivered = false }}\n"
    );
    let folder = folder(&[("webhooks/hook.toml", &hook)]);
    let run = outrigger(&["check", folder.path().to_str().unwrap()], &[], "").expect_code(1);
    assert_eq!(
        run.out,
        "failed: hook: wrong (webhooks/hook.toml:7)\n  url: it differs from https://hooks.example.com/out from character 27 on\n  \
         headers.x-a: expected \"2\", found \"1\"\n  headers.x-b: expected \"1\", found no such header\n  \
         body.id: expected \"8\", found \"7\"\n  body.m: expected 2, found nothing\n\n\
         failed: hook: unwanted (webhooks/hook.toml:15)\n  expected it not to be delivered, but trigger and filters want it\n\n\
         1 webhook, 1 test passed, 2 failed\n"
    );
}

#[test]
fn an_inactive_webhook_may_lack_its_secrets() {
    let hook = format!("{URL}status = \"inactive\"\n[auth]\nbearer = {{ token = \"${{env:LATER}}\" }}\n");
    let folder = folder(&[("webhooks/hook.toml", &hook)]);
    let run = outrigger(&["check", folder.path().to_str().unwrap()], &[], "").expect_code(0);
    assert!(
        run.out.starts_with(
            "warning[unset-reference]: the environment variable `LATER` is not set\n --> webhooks/hook.toml:4:21\n"
        ),
        "{}",
        run.out
    );
    assert!(run.out.ends_with("\n1 webhook, 0 tests passed, 0 failed, 1 warning\n"), "{}", run.out);
}

#[test]
fn keys_without_effect_are_warned_about() {
    let sidecar = "[ingest]\nsocket_mode = \"0600\"\n";
    let folder = folder(&[("webhooks/hook.toml", URL), ("outrigger.toml", sidecar)]);
    let run = outrigger(&["check", folder.path().to_str().unwrap()], &[], "").expect_code(0);
    assert!(run.out.contains("warning[no-effect]: `ingest.socket_mode` has no effect"), "{}", run.out);
}

#[test]
fn a_path_that_no_event_has_is_a_warning_with_the_nearest() {
    let hook = "url = \"https://hooks.example.com/{{data.idd}}\"\nbody = '{\"who\": \"{{data.requester.mail}}\"}'\n\
                headers.x-status = \"{{data.approvals.status}}\"\n";
    let folder = folder(&[("webhooks/hook.toml", hook)]);
    let run = outrigger(&["check", folder.path().to_str().unwrap()], &[], "").expect_code(0);
    for expected in [
        " --> webhooks/hook.toml:1:36\n",
        "warning[unknown-path]: the kind's schema has no `data.requester.mail`\n --> webhooks/hook.toml:2:20\n",
        "  = fix: did you mean `email`?\n",
        "  = fix: it is a list there: write `.[0].status` for its first, or go through it with `each`\n",
        "1 webhook, 0 tests passed, 0 failed, 3 warnings\n",
    ] {
        assert!(run.out.contains(expected), "{expected}: {}", run.out);
    }
}

#[test]
fn kubernetes_own_entries_are_no_webhooks() {
    let folder =
        folder(&[("webhooks/..data/hook.toml", URL), ("webhooks/.hook.toml", "nonsense"), ("webhooks/hook.toml", URL)]);
    let run = outrigger(&["check", "--config", folder.path().to_str().unwrap()], &[], "").expect_code(0);
    assert_eq!(run.out, "1 webhook, 0 tests passed, 0 failed\n");
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let run = outrigger(&["chek"], &[], "").expect_code(2);
    assert!(run.err.contains("'check'"), "{}", run.err);
    assert!(outrigger(&["check", "--help"], &[], "").expect_code(0).out.contains("Examples:"));
}
