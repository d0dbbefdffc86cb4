//! Webhooks whose files go: what they owe, and what others keep meanwhile.

use std::fs;
use std::time::Duration;

use outrigger::cli::demo::answer::Answer;

use crate::support::{receiver, sidecar};

use super::{EVENT, definition, delivers, reloads, wait_gone, wait_reload};

#[test]
fn a_webhook_removed_with_an_attempt_in_flight_goes_when_that_is_delivered() {
    let target = receiver().respond(Answer::json("{}").after(Duration::from_secs(1))).start();
    let manual = format!("triggers = ['Manual']\n{}", definition(&target, "leaving"));
    let stays = definition(&target, "stays");
    let sidecar = sidecar().reaching(&target).webhook("stays", &stays).webhook("leaving", &manual).start();
    assert_eq!(sidecar.post("/v1/webhooks/leaving/invoke", "{}").status, 202);
    target.wait(1);
    fs::remove_file(sidecar.written().config().join("webhooks/leaving.toml")).expect("a removal");
    sidecar.wait_metric("outrigger_config_webhooks", &[("status", "active")], 1.0);
    // It is `removal_grace` (10 minutes) that ends first where a delivery is still owed.
    sidecar.wait_log(r#""outcome":"accepted""#);
    wait_gone(&sidecar, "leaving");
    assert_eq!(target.count(), 1);
}

#[test]
fn what_a_removed_webhook_owes_is_a_dead_letter_after_its_grace_and_is_there_when_it_comes_back() {
    let target = receiver().otherwise(503).start();
    let owing = format!("{}[retry]\ninitial = '1m'\n", definition(&target, "owing"));
    let sidecar = sidecar()
        .reaching(&target)
        .setting("config.removal_grace = '300ms'")
        .webhook("stays", &format!("triggers = ['Manual']\n{}", definition(&target, "stays")))
        .webhook("owing", &owing)
        .start();
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    sidecar.wait_metric("outrigger_attempts_total", &[("webhook", "owing"), ("outcome", "failed")], 1.0);
    fs::remove_file(sidecar.written().config().join("webhooks/owing.toml")).expect("a removal");
    let line = sidecar.wait_log("deliveries of a removed webhook are dead letters");
    assert!(line.contains(r#""count":1"#) && line.contains("webhook_removed"), "{line}");
    wait_gone(&sidecar, "owing");
    sidecar.written().write_webhook("owing", &owing);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "owing")], 1.0);
    sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", "owing")], 0.0);
}

#[test]
fn a_renamed_webhook_is_a_new_one_and_what_the_old_one_owes_is_kept_for_its_grace() {
    let target = receiver().respond(503).start();
    let text = format!("{}[retry]\ninitial = '1m'\nmax_interval = '1m'\n", definition(&target, "x"));
    let sidecar = sidecar().reaching(&target).webhook("old", &text).start();
    let webhooks = sidecar.written().config().join("webhooks");
    let pending = |webhook: &str, count: f64| {
        sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", webhook)], count);
    };
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    sidecar.wait_metric("outrigger_attempts_total", &[("webhook", "old"), ("outcome", "failed")], 1.0);
    fs::rename(webhooks.join("old.toml"), webhooks.join("new.toml")).expect("a rename");
    let line = sidecar.wait_log("config.published");
    assert!(line.contains(r#"added":"[\"new\"]"#) && line.contains(r#"removed":"[\"old\"]"#), "{line}");
    delivers(&sidecar, &target, "x");
    pending("old", 1.0);
    pending("new", 0.0);
    // Renamed back within the grace, it goes on where it was.
    fs::rename(webhooks.join("new.toml"), webhooks.join("old.toml")).expect("a rename");
    wait_reload(&sidecar, "published", 2.0);
    pending("old", 1.0);
    sidecar.wait_metric("outrigger_dead_letters", &[("webhook", "old")], 0.0);
}

#[test]
fn what_a_quarantined_webhook_owes_is_held_until_it_is_mended() {
    let target = receiver().respond(Answer::hang()).then(Answer::hang()).start();
    let mut sidecar = sidecar()
        .reaching(&target)
        .setting("config.on_invalid_webhook = 'quarantine'")
        .setting("config.removal_grace = '100ms'")
        .webhook("faulty", &definition(&target, "faulty"))
        .webhook("removed", &definition(&target, "removed"))
        .webhook("stays", &format!("triggers = ['Manual']\n{}", definition(&target, "stays")))
        .start();
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    target.wait(2);
    sidecar.kill9();
    sidecar.written().write_webhook("faulty", "url = 'http://'\n");
    fs::remove_file(sidecar.written().config().join("webhooks/removed.toml")).expect("a removal");
    sidecar.restart();
    assert!(sidecar.wait_log("faulty webhooks are left out").contains("faulty"));
    let invoked = sidecar.post("/v1/webhooks/faulty/invoke", EVENT);
    assert_eq!((invoked.status, invoked.body.contains("outrigger check")), (409, true), "{invoked:?}");
    let line = sidecar.wait_log("deliveries of a removed webhook are dead letters");
    assert!(line.contains(r#""webhook":"removed""#), "{line}");
    sidecar.written().write_webhook("faulty", &definition(&target, "mended"));
    let recorded = target.wait(3);
    assert!(String::from_utf8_lossy(&recorded[2].body).contains("mended"), "{recorded:?}");
}

#[test]
fn what_a_quarantined_webhook_owes_is_given_up_after_its_grace_when_its_file_goes() {
    let target = receiver().respond(Answer::hang()).start();
    let mut sidecar = sidecar()
        .reaching(&target)
        .setting("config.on_invalid_webhook = 'quarantine'")
        .setting("config.removal_grace = '100ms'")
        .webhook("faulty", &definition(&target, "faulty"))
        .webhook("stays", &format!("triggers = ['Manual']\n{}", definition(&target, "stays")))
        .start();
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    target.wait(1);
    sidecar.kill9();
    sidecar.written().write_webhook("faulty", "url = 'http://'\n");
    sidecar.restart();
    sidecar.wait_log("faulty webhooks are left out");
    fs::remove_file(sidecar.written().config().join("webhooks/faulty.toml")).expect("a removal");
    let line = sidecar.wait_log("deliveries of a removed webhook are dead letters");
    assert!(line.contains(r#""webhook":"faulty""#), "{line}");
}

#[test]
fn an_edit_of_one_webhook_leaves_the_pause_and_the_waiting_task_of_others_alone() {
    let (gone, good) = (receiver().otherwise(410).start(), receiver().start());
    let sidecar = sidecar()
        .reaching(&gone)
        .reaching(&good)
        .webhook("gone", &definition(&gone, "gone"))
        .webhook("good", &definition(&good, "good0."))
        .webhook("waits", &format!("triggers = ['Manual']\n{}", definition(&good, "waits")))
        .start();
    assert_eq!(sidecar.post("/v1/events", EVENT).status, 202);
    let paused = [("webhook", "gone"), ("cause", "gone")];
    sidecar.wait_metric("outrigger_webhook_paused", &paused, 1.0);
    good.wait(1);
    for edit in 1..4 {
        let published = reloads(&sidecar, "published");
        let marker = format!("good{edit}.");
        sidecar.written().write_webhook("good", &definition(&good, &marker));
        wait_reload(&sidecar, "published", published);
        delivers(&sidecar, &good, &marker);
        // One that has waited since the start takes what comes after any number of publications.
        let before = good.count();
        assert_eq!(sidecar.post("/v1/webhooks/waits/invoke", "{}").status, 202);
        good.wait(before + 1);
    }
    assert_eq!(sidecar.metric("outrigger_webhook_paused", &paused), Some(1.0));
    assert_eq!(gone.count(), 1, "no edit of another webhook has ended the pause");
    assert!(!sidecar.log().contains("webhook.resumed"), "{}", sidecar.log());
}
