//! The language of the integration tests: receivers that follow a script, and the real binary beside them.
//!
//! ```ignore
//! let target = receiver().respond(500).then(200).start();
//! let sidecar = sidecar().reaching(&target).webhook("hook", &format!("url = {:?}\nbody = '{{}}'", target.url("/x"))).start();
//! assert_eq!(sidecar.post("/v1/events", r#"{"event_type":"RequestCreated"}"#).status, 202);
//! target.wait(2);
//! sidecar.wait_metric("outrigger_deliveries_total", &[("webhook", "hook"), ("outcome", "delivered")], 1.0);
//! ```
#![allow(dead_code, reason = "a language is there before all of its sentences are")]

pub(crate) mod certificates;
pub(crate) mod frames;
pub(crate) mod http;
pub(crate) mod nats;
pub(crate) mod process;
pub(crate) mod raw;
pub(crate) mod receiver;
pub(crate) mod relay;
pub(crate) mod sidecar;
pub(crate) mod spool;
pub(crate) mod volume;

use std::time::{Duration, Instant};

pub(crate) use receiver::receiver;
pub(crate) use sidecar::sidecar;

/// How long a test waits for anything: far more than it takes, so that only a fault runs into it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
/// How long it waits between two looks.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// Looks again and again until there is something to see; `None` when the time is over.
pub(crate) fn eventually<T>(within: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let begun = Instant::now();
    loop {
        if let Some(seen) = look() {
            return Some(seen);
        }
        if begun.elapsed() >= within {
            return None;
        }
        std::thread::park_timeout(LOOK_INTERVAL);
    }
}

#[test]
fn what_never_comes_is_not_waited_for_longer_than_said() {
    let mut looks = 0;
    let seen: Option<()> = eventually(Duration::from_millis(30), || {
        looks += 1;
        None
    });
    assert!(seen.is_none() && looks > 1);
    assert_eq!(eventually(PATIENCE, || Some(7)), Some(7));
}
