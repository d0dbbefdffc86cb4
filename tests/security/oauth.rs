//! OAuth 2.0 client credentials, from the webhook's file to the token on the wire.

use std::time::{Duration, Instant};

use jsonwebtoken::{Algorithm, DecodingKey};
use outrigger::cli::demo::answer::Answer;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_RSA_SHA256};
use serde_json::{Value, json};

use super::authorization::{Authorization, CLIENT_ID, CLIENT_SECRET, Method, SCOPE};
use super::{created, hook};
use crate::support::sidecar::{Builder, Sidecar};
use crate::support::{PATIENCE, eventually, sidecar};

/// Far longer than a test.
const LONG: Duration = Duration::from_hours(1);
const KEY_ID: &str = "key-2026";

/// A server that verifies assertions, and the private key that signs them.
fn with_key(algorithm: Algorithm, lifetime: Duration) -> (Authorization, String) {
    let made = if algorithm == Algorithm::RS256 { &PKCS_RSA_SHA256 } else { &PKCS_ECDSA_P256_SHA256 };
    let pair = KeyPair::generate_for(made).expect("a key");
    let public = pair.public_key_pem();
    let public = match algorithm {
        Algorithm::RS256 => DecodingKey::from_rsa_pem(public.as_bytes()),
        _ => DecodingKey::from_ec_pem(public.as_bytes()),
    };
    let method = Method::PrivateKey(algorithm, public.expect("a public key"), KEY_ID);
    (Authorization::start(method, lifetime), pair.serialize_pem())
}

/// `[auth]` that shows a signed assertion. The key's file is beside the configuration.
fn by_key(server: &Authorization) -> String {
    format!(
        "[auth.oauth2]\ntoken_url = {:?}\nclient_id = \"{CLIENT_ID}\"\nprivate_key_file = \"key.pem\"\nkey_id = \"{KEY_ID}\"\nscopes = [\"{SCOPE}\"]\n",
        server.target.url("/token")
    )
}

/// `[auth]` that shows a secret.
fn by_secret(server: &Authorization, more: &str) -> String {
    format!(
        "[auth.oauth2]\ntoken_url = {:?}\nclient_id = \"{CLIENT_ID}\"\nclient_secret = \"${{env:CLIENT_SECRET}}\"\nscopes = [\"{SCOPE}\"]\n{more}\n",
        server.target.url("/token")
    )
}

/// A sidecar that may reach the server, and knows its secret.
fn beside(server: &Authorization) -> Builder {
    sidecar().reaching(&server.target).env("CLIENT_SECRET", CLIENT_SECRET)
}

/// The same with a private key in its folder.
fn beside_with_key(server: &Authorization, pem: &str) -> Builder {
    let builder = beside(server);
    std::fs::create_dir_all(builder.dir().join("config")).expect("a folder");
    std::fs::write(builder.dir().join("config/key.pem"), pem).expect("a file");
    builder
}

/// Posts an event and gives what came of its one delivery.
fn settle(sidecar: &Sidecar, id: &str) -> Value {
    let answer = sidecar.post("/v1/events?wait=15s", &created(id));
    assert_eq!(answer.status, 200, "{answer:?}\n{}", sidecar.log());
    answer.json()["events"][0]["deliveries"][0].clone()
}

/// Posts so many events in one request.
fn post_many(sidecar: &Sidecar, count: usize) {
    let lines: Vec<String> = (0..count).map(|number| created(&format!("r-{number}"))).collect();
    let lines = lines.join("\n");
    let answer = sidecar.post_with("/v1/events", &[("content-type", "application/x-ndjson")], lines.as_bytes());
    assert_eq!(answer.status, 202, "{answer:?}");
}

#[test]
fn a_signed_assertion_gets_a_token_that_the_target_takes() {
    for algorithm in [Algorithm::RS256, Algorithm::ES256] {
        let (server, pem) = with_key(algorithm, LONG);
        let file = hook(&server.target.url("/in"), &by_key(&server));
        let sidecar = beside_with_key(&server, &pem).webhook("okta", &file).start();
        assert_eq!(settle(&sidecar, "r-1")["outcome"], "delivered", "{:?}\n{}", server.refusals(), sidecar.log());
        assert_eq!((server.given(), server.uses()), (1, (1, 0)), "{algorithm:?}");
        let labels = |outcome| [("webhook", "okta"), ("outcome", outcome)];
        sidecar.wait_metric("outrigger_oauth_token_requests_total", &labels("issued"), 1.0);
        sidecar.wait_metric("outrigger_oauth_token_requests_total", &labels("failed"), 0.0);
    }
}

#[test]
fn a_secret_is_shown_in_the_header_or_in_the_form() {
    for (method, more) in
        [(Method::Basic, ""), (Method::Basic, "client_auth = \"basic\""), (Method::Post, "client_auth = \"post\"")]
    {
        let server = Authorization::start(method, LONG);
        let more = format!("{more}\naudience = \"https://api.example.com/\"\nparameters = {{ resource = \"a&b c\" }}");
        let file = hook(&server.target.url("/in"), &by_secret(&server, &more));
        let sidecar = beside(&server).webhook("hook", &file).start();
        assert_eq!(settle(&sidecar, "r-1")["outcome"], "delivered", "{:?}", server.refusals());
        let form = String::from_utf8_lossy(&server.target.recorded()[0].body).into_owned();
        assert!(
            form.contains("audience=https%3A%2F%2Fapi.example.com%2F") && form.contains("resource=a%26b%20c"),
            "{form}"
        );
    }
}

#[test]
fn a_thousand_deliveries_at_the_same_time_ask_for_one_token() {
    let (server, pem) = with_key(Algorithm::RS256, LONG);
    let file = |path: &str| hook(&server.target.url(path), &format!("limits.concurrency = 1000\n{}", by_key(&server)));
    // Two webhooks with the same grant share its token.
    let sidecar = beside_with_key(&server, &pem).webhook("one", &file("/one")).webhook("two", &file("/two")).start();
    post_many(&sidecar, 500);
    let all = |webhook: &str| {
        sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", webhook), ("outcome", "delivered")], 500.0);
    };
    all("one");
    all("two");
    assert_eq!((server.given(), server.uses()), (1, (1000, 0)));
}

#[test]
fn a_short_token_is_fetched_once_in_its_life_and_never_sent_after_it() {
    const LIFE: Duration = Duration::from_secs(12);
    let (server, pem) = with_key(Algorithm::ES256, LIFE);
    let file = hook(&server.target.url("/in"), &format!("limits.concurrency = 1000\n{}", by_key(&server)));
    let sidecar = beside_with_key(&server, &pem).webhook("hook", &file).start();
    let begun = Instant::now();
    let mut posted = 0_u32;
    while server.given() < 2 {
        assert!(begun.elapsed() < 3 * LIFE, "{} tokens in {:?}", server.given(), begun.elapsed());
        post_many(&sidecar, 1000);
        posted += 1000;
        let delivered = f64::from(posted);
        sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "hook"), ("outcome", "delivered")], delivered);
    }
    let times = server.times();
    for pair in times.windows(2) {
        // Three quarters of the life, less what the answer took on its way.
        assert!(pair[1] - pair[0] > LIFE * 3 / 5, "a token was fetched {:?} after the one before", pair[1] - pair[0]);
    }
    let (good, late) = server.uses();
    assert!(u32::try_from(good).is_ok_and(|good| good >= posted), "{good} of {posted}");
    // On a machine that stands still a request may arrive after its token's end: it is sent again with a new one.
    assert!(late <= good / 20, "{late} requests came with a token that had expired");
}

#[test]
fn a_token_that_is_taken_back_is_replaced_once_and_costs_no_attempt() {
    let server = Authorization::start(Method::Basic, LONG);
    let file = hook(&server.target.url("/in"), &by_secret(&server, "")) + "[limits]\nconcurrency = 100\n";
    let sidecar = beside(&server).webhook("hook", &file).start();
    assert_eq!(settle(&sidecar, "r-0")["attempts"], 1);
    server.revoke();
    post_many(&sidecar, 100);
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "hook"), ("outcome", "delivered")], 101.0);
    assert_eq!(server.given(), 2, "one for all who were refused");
    sidecar.wait_metric("outrigger_attempts_total", &[("webhook", "hook"), ("outcome", "failed")], 0.0);
}

#[test]
fn a_target_that_takes_no_token_pauses_its_webhook_after_one_refresh() {
    let server = Authorization::start(Method::Basic, LONG);
    let deaf = crate::support::receiver().otherwise(401).start();
    let file = hook(&deaf.url("/in"), &by_secret(&server, "")) + "[breaker]\nprobe = \"1h\"\n";
    let sidecar = beside(&server).reaching(&deaf).webhook("hook", &file).start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    sidecar.wait_metric("outrigger_webhook_paused", &[("webhook", "hook"), ("cause", "auth_error")], 1.0);
    assert_eq!((deaf.count(), server.given()), (2, 2), "once with the first token, once with the second");
    assert_eq!(
        sidecar
            .written()
            .run(&["resume", "hook", "--admin", &format!("http://{}", sidecar.address("admin"))])
            .status
            .code(),
        Some(0)
    );
    deaf.wait(3);
    sidecar.wait_metric("outrigger_webhook_paused", &[("webhook", "hook"), ("cause", "auth_error")], 1.0);
    assert_eq!((deaf.count(), server.given()), (3, 2), "a target that refuses them all is not asked twice each time");
}

#[test]
fn an_authorization_server_that_refuses_pauses_and_one_that_is_down_is_asked_again() {
    let server = Authorization::start(Method::Basic, LONG);
    server.fail(Some(Answer::status(503).header("retry-after", "0")));
    let file =
        hook(&server.target.url("/in"), &by_secret(&server, "")) + "[breaker]\nfailures = 1000\nprobe = \"1h\"\n";
    let sidecar = beside(&server).webhook("hook", &file).start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    let failures = |reason| [("webhook", "hook"), ("reason", reason)];
    sidecar.wait_metric_from("outrigger_attempt_failures_total", &failures("token_unavailable"), 2.0);
    server.fail(None);
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "hook"), ("outcome", "delivered")], 1.0);
    sidecar.wait_metric_from(
        "outrigger_oauth_token_requests_total",
        &[("webhook", "hook"), ("outcome", "failed")],
        2.0,
    );

    server.revoke();
    server
        .fail(Some(Answer::status(401).body(json!({ "error": "invalid_client", "hint": CLIENT_SECRET }).to_string())));
    assert_eq!(sidecar.post("/v1/events", &created("r-2")).status, 202);
    sidecar.wait_metric("outrigger_webhook_paused", &[("webhook", "hook"), ("cause", "token_refused")], 1.0);
    let line = sidecar.wait_log("token_refused");
    assert!(line.contains("answered 401 invalid_client"), "{line}");
    assert!(!sidecar.log().contains(CLIENT_SECRET), "the server repeats the secret, and the log must not");
    server.fail(None);
    assert_eq!(
        sidecar
            .written()
            .run(&["resume", "hook", "--admin", &format!("http://{}", sidecar.address("admin"))])
            .status
            .code(),
        Some(0)
    );
    sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "hook"), ("outcome", "delivered")], 2.0);
}

#[test]
fn a_server_that_is_away_takes_nothing_from_those_whose_token_lives() {
    let server = Authorization::start(Method::Basic, Duration::from_secs(4));
    let file = hook(&server.target.url("/in"), &by_secret(&server, ""));
    let sidecar = beside(&server).webhook("hook", &file).start();
    assert_eq!(settle(&sidecar, "r-0")["outcome"], "delivered");
    let issued = server.times()[0];
    server.fail(Some(Answer::status(503)));
    let mut number = 0;
    // From three quarters of its life on a renewal is tried, and fails.
    while issued.elapsed() < Duration::from_millis(3500) {
        number += 1;
        assert_eq!(settle(&sidecar, &format!("r-{number}"))["outcome"], "delivered", "{:?}", issued.elapsed());
    }
    sidecar.wait_metric("outrigger_oauth_token_requests_total", &[("webhook", "hook"), ("outcome", "failed")], 1.0);
    let asked = server.target.recorded().iter().filter(|seen| seen.target == "/token").count();
    assert_eq!(asked, 2, "the first, and one try to renew it");
}

#[test]
fn what_a_fetch_comes_to_is_everybodys_who_waits_also_a_failure() {
    let server = Authorization::start(Method::Basic, LONG);
    server.fail(Some(Answer::status(503).after(Duration::from_millis(500))));
    let file = hook(&server.target.url("/in"), &by_secret(&server, ""))
        + "[limits]\nconcurrency = 100\n[breaker]\nfailures = 10000\n";
    let sidecar = beside(&server).webhook("hook", &file).start();
    post_many(&sidecar, 100);
    let reason = [("webhook", "hook"), ("reason", "token_unavailable")];
    sidecar.wait_metric_from("outrigger_attempt_failures_total", &reason, 200.0);
    let asked = server.target.recorded().iter().filter(|seen| seen.target == "/token").count();
    assert!((2..=20).contains(&asked), "the server was asked {asked} times for 200 failures");
}

#[test]
fn a_token_outlives_reloads_and_another_secret_asks_for_another() {
    let server = Authorization::start(Method::Post, LONG);
    let file =
        |rest: &str| hook(&server.target.url("/in"), &by_secret(&server, &format!("client_auth = \"post\"\n{rest}")));
    let sidecar = beside(&server).webhook("hook", &file("")).start();
    assert_eq!(settle(&sidecar, "r-1")["outcome"], "delivered");
    sidecar.written().write_webhook("hook", &format!("title = \"edited\"\n{}", file("")));
    sidecar.wait_metric("outrigger_config_reloads_total", &[("result", "published")], 2.0);
    assert_eq!(settle(&sidecar, "r-2")["outcome"], "delivered");
    assert_eq!(server.given(), 1, "an edit that is not of the grant keeps its token");
    sidecar.written().write_webhook("hook", &file("audience = \"another\""));
    let asked = eventually(PATIENCE, || {
        assert_eq!(settle(&sidecar, "r-3")["outcome"], "delivered");
        (server.given() == 2).then_some(())
    });
    assert!(asked.is_some(), "another audience is another token");
}

#[test]
fn the_token_endpoint_is_under_the_same_guard() {
    let server = Authorization::start(Method::Basic, LONG);
    let port = server.target.port();
    let auth = by_secret(&server, "").replace("127.0.0.1", "127.0.0.2");
    let file = hook(&server.target.url("/in"), &auth) + "[breaker]\nprobe = \"1h\"\n";
    let sidecar = beside(&server).setting("egress.allow_networks = [\"127.0.0.1/32\"]").webhook("hook", &file).start();
    assert_eq!(sidecar.post("/v1/events", &created("r-1")).status, 202);
    sidecar.wait_metric("outrigger_webhook_paused", &[("webhook", "hook"), ("cause", "blocked_address")], 1.0);
    let line = sidecar.wait_log("egress.allow_networks");
    assert!(line.contains("127.0.0.2") && server.target.count() == 0, "{line}");

    let written = beside(&server)
        .setting("egress.allow_ports = [443]")
        .webhook("hook", &hook("https://hooks.example.com/in", &by_secret(&server, "")))
        .write();
    let ended = written.run(&["check"]);
    assert_eq!(ended.status.code(), Some(78));
    assert!(ended.stdout.contains(&format!("the URL names port {port}")), "{}", ended.stdout);
}

#[test]
fn the_test_command_gets_a_token_too_and_shows_none() {
    let server = Authorization::start(Method::Basic, LONG);
    let file = hook(&server.target.url("/in"), &by_secret(&server, ""));
    let written = beside(&server).webhook("hook", &file).write();
    let ended = written.run(&["test", "hook"]);
    assert_eq!(ended.status.code(), Some(0), "{}{}", ended.stdout, ended.stderr);
    assert!(
        ended.stdout.contains("authorization: ***") && ended.stdout.contains("Test successful"),
        "{}",
        ended.stdout
    );
    server.target.respond_with(|seen| {
        if seen.target == "/token" {
            return Answer::json(r#"{"access_token":"canary-token","expires_in":60}"#);
        }
        Answer::status(400)
            .header("x-seen", seen.header("authorization").to_owned())
            .body(format!("{{\"you sent\":\"{}\"}}", seen.header("authorization")))
    });
    let ended = written.run(&["test", "hook"]);
    assert_eq!(ended.status.code(), Some(1), "{}{}", ended.stdout, ended.stderr);
    assert!(ended.stdout.contains("\"you sent\": \"Bearer ***\""), "{}", ended.stdout);
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("canary-token"), "{}", ended.stdout);
}
