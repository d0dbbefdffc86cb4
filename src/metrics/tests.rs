use super::*;

fn page(metrics: &Metrics) -> String {
    String::from_utf8(metrics.encode().expect("a page")).expect("text")
}

#[test]
fn a_webhooks_series_start_at_zero_and_go_with_it() {
    let metrics = Metrics::new(["request"]).expect("metrics");
    let (name, validator): (Arc<str>, Arc<str>) = ("slack".into(), "ok".into());
    let handles = metrics.webhook(&name, [&validator]);
    let before = page(&metrics);
    assert!(before.contains("outrigger_attempts_total{outcome=\"accepted\",webhook=\"slack\"} 0"), "{before}");
    assert!(before.contains("outrigger_validator_failures_total{validator=\"ok\",webhook=\"slack\"} 0"));
    for reason in Reason::ALL {
        assert!(
            before.contains(&format!("outrigger_attempt_failures_total{{reason=\"{reason}\",webhook=\"slack\"}} 0"))
        );
    }
    let paused =
        |cause: Cause, value| format!("outrigger_webhook_paused{{cause=\"{cause}\",webhook=\"slack\"}} {value}");
    assert!(Cause::ALL.iter().all(|cause| before.contains(&paused(*cause, 0))));
    handles.set_paused(Some(Cause::Gone));
    assert!(page(&metrics).contains(&paused(Cause::Gone, 1)) && page(&metrics).contains(&paused(Cause::Breaker, 0)));
    assert!(
        !before.contains("certificate_expiry_timestamp_seconds{") && !before.contains("oauth_token_requests_total{")
    );
    handles.count_tokens(true);
    handles.tokens(2, 0);
    handles.set_target_certificate(Timestamp::UNIX_EPOCH + Duration::from_secs(7));
    handles.set_client_certificate(Some(Timestamp::UNIX_EPOCH));
    for line in [
        "outrigger_oauth_token_requests_total{outcome=\"issued\",webhook=\"slack\"} 2",
        "outrigger_oauth_token_requests_total{outcome=\"failed\",webhook=\"slack\"} 0",
        "outrigger_target_certificate_expiry_timestamp_seconds{webhook=\"slack\"} 7",
        "outrigger_client_certificate_expiry_timestamp_seconds{webhook=\"slack\"} 0",
    ] {
        assert!(page(&metrics).contains(line), "{line}");
    }
    handles.set_client_certificate(None);
    handles.count_tokens(false);
    handles.set_target(Some("other.example"));
    let after = page(&metrics);
    assert!(
        !after.contains("target_certificate_expiry_timestamp_seconds{")
            && !after.contains("oauth_token_requests_total{")
    );
    assert!(!page(&metrics).contains("outrigger_client_certificate_expiry_timestamp_seconds{"));
    handles.failed(Reason::Timeout, Duration::from_secs(1));
    assert!(page(&metrics).contains("outrigger_attempt_failures_total{reason=\"timeout\",webhook=\"slack\"} 1"));
    assert!(!metrics.remove_webhook("slack"), "they are in use");
    handles.failed(Reason::Timeout, Duration::from_secs(1));
    assert!(page(&metrics).contains("outrigger_attempt_failures_total{reason=\"timeout\",webhook=\"slack\"} 2"));
    drop(handles);
    assert!(metrics.remove_webhook("slack"));
    assert!(!page(&metrics).contains("slack"));
}

#[test]
fn a_changed_webhook_keeps_its_counts_and_changes_its_validators() {
    let metrics = Metrics::new(["request"]).expect("metrics");
    let (name, old, new): (Arc<str>, Arc<str>, Arc<str>) = ("slack".into(), "old".into(), "new".into());
    metrics.webhook(&name, [&old]).failed(Reason::Timeout, Duration::ZERO);
    metrics.webhook(&name, [&new]).validator_failed("new");
    let page = page(&metrics);
    assert!(page.contains("outrigger_attempt_failures_total{reason=\"timeout\",webhook=\"slack\"} 1"));
    assert!(page.contains("validator=\"new\",webhook=\"slack\"} 1"));
    assert!(!page.contains("validator=\"old\""));
}

#[test]
fn what_a_webhook_without_a_definition_owes_is_told_and_what_is_buried_of_it_stays_counted() {
    for (metrics, label) in [(Metrics::new([]), "slack"), (Metrics::told([], false), "all")] {
        let metrics = metrics.expect("metrics");
        let name: Arc<str> = "slack".into();
        metrics.set_backlog(&name, 3, 1, None);
        assert!(!page(&metrics).contains("pending_deliveries{"), "nobody has asked for series");
        drop(metrics.undefined_webhook(&name).expect("there is room"));
        metrics.set_backlog(&name, 3, 1, None);
        assert!(page(&metrics).contains(&format!("outrigger_pending_deliveries{{webhook=\"{label}\"}} 3")));
        metrics.buried_removed(&name, 3);
        let dead = format!("outrigger_dead_letters_total{{reason=\"webhook_removed\",webhook=\"{label}\"}} 3");
        assert!(page(&metrics).contains(&dead));
        assert!(metrics.remove_webhook(&name));
        assert_eq!(page(&metrics).contains(&dead), label == "all");
        assert!(page(&metrics).contains("outrigger_removed_dead_letters_total 3"));
    }
}

#[test]
fn webhooks_that_are_told_as_one_have_one_set_of_series_and_what_was_counted_stays() {
    let metrics = Metrics::told(["request"], false).expect("metrics");
    let at = |second| Timestamp::UNIX_EPOCH + Duration::from_secs(second);
    // A webhook may be called as all of them are.
    let names: [Arc<str>; 3] = ["all".into(), "slack".into(), "tickets".into()];
    let hooks = names.each_ref().map(|name| metrics.webhook(name, [&Arc::clone(name)]));
    for (hook, second) in hooks.iter().zip(10..) {
        hook.failed(Reason::Timeout, Duration::from_secs(1));
        hook.accepted(Duration::ZERO, Duration::ZERO, at(second));
        hook.validator_failed(&hook.name);
        hook.set_paused(Some(Cause::Breaker));
        hook.set_target_certificate(at(second + 100));
        hook.set_client_certificate(Some(at(second + 200)));
        hook.count_tokens(true);
        hook.tokens(0, 2);
        metrics.set_backlog(&hook.name, 3, second, Some(Duration::from_secs(second)));
    }
    let told = |count: u64, dead: u64, oldest: u64, certificate: u64| {
        [
            "attempts_total{outcome=\"failed\",webhook=\"all\"} 3".to_owned(),
            "attempt_failures_total{reason=\"timeout\",webhook=\"all\"} 3".to_owned(),
            "attempt_duration_seconds_count{webhook=\"all\"} 6".to_owned(),
            "validator_failures_total{validator=\"all\",webhook=\"all\"} 3".to_owned(),
            "oauth_token_requests_total{outcome=\"failed\",webhook=\"all\"} 6".to_owned(),
            format!("webhook_paused{{cause=\"breaker\",webhook=\"all\"}} {count}"),
            "webhook_paused{cause=\"gone\",webhook=\"all\"} 0".to_owned(),
            format!("pending_deliveries{{webhook=\"all\"}} {}", 3 * count),
            format!("dead_letters{{webhook=\"all\"}} {dead}"),
            format!("oldest_pending_seconds{{webhook=\"all\"}} {oldest}"),
            format!("last_success_timestamp_seconds{{webhook=\"all\"}} {oldest}"),
            format!("target_certificate_expiry_timestamp_seconds{{webhook=\"all\"}} {}", certificate + 100),
            format!("client_certificate_expiry_timestamp_seconds{{webhook=\"all\"}} {}", certificate + 200),
        ]
    };
    let hold = |lines: &[String]| {
        let page = page(&metrics);
        for line in lines {
            assert!(page.lines().any(|shown| shown.ends_with(line.as_str())), "{line}\n{page}");
        }
    };
    hold(&told(3, 33, 12, 10));
    let series = || page(&metrics).lines().filter(|line| line.contains("webhook=")).count();
    let before = series();
    let more = metrics.webhook(&"more".into(), [&"other".into()]);
    assert_eq!(series(), before);
    drop(more);
    for name in ["more", "all"] {
        assert_eq!(metrics.remove_webhook(name), name == "more", "{name} is held");
    }
    let [first, ..] = hooks;
    first.count_tokens(false);
    drop(first);
    assert!(metrics.remove_webhook("all"));
    hold(&told(2, 23, 12, 11));
    assert_eq!(series(), before);
}

#[test]
fn every_described_family_is_on_the_page() {
    let metrics = Metrics::new(["request"]).expect("metrics");
    let webhook = metrics.webhook(&"slack".into(), [&"ok".into()]);
    webhook.count_tokens(true);
    webhook.set_target_certificate(Timestamp::MAX);
    webhook.set_client_certificate(Some(Timestamp::MAX));
    metrics.set_config_webhooks(1, 0, 0);
    metrics.set_spool_max("disk", 1);
    let page = page(&metrics);
    for family in FAMILIES {
        assert!(page.contains(&format!("# TYPE {} {}", family.name, family.kind)), "{} is not there", family.name);
    }
}
