//! Signatures of Standard Webhooks, on the bytes that arrive, checked by a verifier that was made elsewhere.

use std::io::Write as _;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use outrigger::cli::demo::receiver::Recorded;
use serde_json::json;

use super::{created, hook};
use crate::support::sidecar::Sidecar;
use crate::support::{receiver, sidecar};

/// A Python with the package `standardwebhooks`; `tests/all` sets it.
const PYTHON: &str = "OUTRIGGER_TEST_PYTHON";

const NEW: &str = "whsec_MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
const OLD: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
const OTHER: &str = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// One delivery as it arrives, of a webhook with this body that signs with two secrets.
fn signed(body: &str) -> (Recorded, Sidecar) {
    let target = receiver().respond(500).start();
    let signing = "[signing]\nstandard_webhooks = { secrets = [\"${env:NEW}\", \"${env:OLD}\"] }\n";
    let file = hook(&target.url("/in"), &format!("{body}\n{signing}"));
    let sidecar = sidecar().reaching(&target).env("NEW", NEW).env("OLD", OLD).webhook("hook", &file).start();
    assert_eq!(sidecar.post("/v1/events", &created("r-\u{fc}\u{2028}\u{1f600}")).status, 202);
    let seen = target.wait(2);
    assert_eq!(seen[0].header("webhook-id"), seen[1].header("webhook-id"));
    (seen[1].clone(), sidecar)
}

#[test]
fn every_attempt_is_signed_with_every_secret_over_the_bytes_that_arrive() {
    for body in ["", "body = '{ \"id\":   \"{{data.id}}\" }'", "body = 'id={{data.id}}'\ncontent_type = \"text/plain\""]
    {
        let (seen, sidecar) = signed(body);
        let timestamp: i64 = seen.header("webhook-timestamp").parse().expect("seconds");
        assert!((jiff::Timestamp::now().as_second() - timestamp).abs() < 60, "{timestamp}");
        let content =
            [seen.header("webhook-id").as_bytes(), b".", timestamp.to_string().as_bytes(), b".", &seen.body].concat();
        let expected = [NEW, OLD].map(|secret| {
            let key = STANDARD.decode(&secret["whsec_".len()..]).expect("base64");
            let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, &key);
            format!("v1,{}", STANDARD.encode(aws_lc_rs::hmac::sign(&key, &content)))
        });
        assert_eq!(seen.header("webhook-signature"), expected.join(" "), "{body}\n{}", sidecar.log());
    }
}

#[test]
fn who_does_not_sign_sends_no_signature() {
    let target = receiver().start();
    let sidecar = sidecar().reaching(&target).webhook("hook", &hook(&target.url("/in"), "")).start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    let seen = &target.wait(1)[0];
    assert_eq!((seen.header("webhook-timestamp"), seen.header("webhook-signature")), ("", ""));
}

/// Whether the verifier made elsewhere takes a request.
fn verified(secret: &str, seen: &Recorded, body: &[u8]) -> bool {
    const PROGRAM: &str = "
import json, sys
from standardwebhooks.webhooks import Webhook, WebhookVerificationError
asked = json.loads(sys.stdin.buffer.readline())
body = sys.stdin.buffer.read()
try:
    Webhook(asked['secret']).verify(body, asked['headers'])
except WebhookVerificationError as error:
    print('refused:', error)
else:
    print('verified')
";
    let python = std::env::var(PYTHON).unwrap_or_else(|_| panic!("{PYTHON} names no Python; tests/all installs one"));
    let headers = ["webhook-id", "webhook-timestamp", "webhook-signature"].map(|name| (name, seen.header(name)));
    let headers: std::collections::BTreeMap<_, _> = headers.into_iter().collect();
    let mut child = Command::new(python)
        .args(["-c", PROGRAM])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("Python starts");
    let mut input = child.stdin.take().expect("it is piped");
    writeln!(input, "{}", json!({ "secret": secret, "headers": headers })).expect("it reads");
    input.write_all(body).expect("it reads");
    drop(input);
    let output = child.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && (said.starts_with("verified") || said.starts_with("refused")), "{said}");
    said.starts_with("verified")
}

#[test]
#[ignore = "needs a Python with the package standardwebhooks: tests/all runs it"]
fn a_verifier_made_elsewhere_takes_our_requests_by_either_secret_and_no_others() {
    let (seen, _sidecar) = signed("body = '{ \"id\":   \"{{data.id}}\" }'");
    assert!(verified(NEW, &seen, &seen.body), "by the new secret");
    assert!(verified(OLD, &seen, &seen.body), "by the old secret");
    assert!(!verified(OTHER, &seen, &seen.body), "by another secret");
    assert!(!verified(NEW, &seen, b"{ \"id\":   \"r-2\" }"), "another body");
}
