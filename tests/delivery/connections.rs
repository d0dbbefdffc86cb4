//! Which connections deliveries open, and which they use again.

use std::collections::BTreeSet;
use std::time::Duration;

use outrigger::cli::demo::answer::Answer;

use super::{created, hook};
use crate::support::{receiver, sidecar};

#[test]
fn webhooks_that_share_a_host_over_http1_use_their_connections_again() {
    const WEBHOOKS: usize = 3;
    const AT_ONCE: usize = 64;
    // Long enough for all to be under way before the first is answered.
    let target = receiver().http1().otherwise(Answer::status(200).after(Duration::from_millis(300))).start();
    let names: Vec<String> = (0..WEBHOOKS).map(|number| format!("hook{number}")).collect();
    let limits = format!("ordering = \"none\"\nlimits.concurrency = {AT_ONCE}");
    let builder = names
        .iter()
        .fold(sidecar().reaching(&target), |builder, name| builder.webhook(name, &hook(&target.url("/"), &limits)));
    let sidecar = builder.start();
    let mut opened = Vec::new();
    for wave in 1..=4 {
        let lines: Vec<String> = (0..AT_ONCE).map(|number| created(&format!("{wave}-{number}"))).collect();
        let ndjson = [("content-type", "application/x-ndjson")];
        assert_eq!(sidecar.post_with("/v1/events", &ndjson, lines.join("\n").as_bytes()).status, 202);
        let seen = target.wait(wave * AT_ONCE * WEBHOOKS);
        for name in &names {
            sidecar.wait_metric("outrigger_pending_deliveries", &[("webhook", name)], 0.0);
        }
        opened.push(seen.iter().map(|seen| seen.connection).collect::<BTreeSet<_>>().len());
    }
    assert!(opened[0] > 128, "many were under way at once: {opened:?}");
    // As many as attempts may be under way at once, however often they are.
    assert!(opened[3] <= WEBHOOKS * AT_ONCE, "{opened:?}");
}
