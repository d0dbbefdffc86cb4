//! Ten webhooks that want each event, alone and among 1,000 that are started by events of another type.

use serde_json::Value;

use super::pair::{Way, compare};
use super::sidecar::{SLOTS, text, webhooks};
use super::stage::Stage;

const WANTED: u32 = 10;
const ALL: usize = 1000;

pub(crate) fn run(stage: &Stage) -> Value {
    let port = stage.receiver.port;
    let start = |all: usize| {
        move || {
            let mut files = webhooks(port, WANTED as usize);
            let others = files.len()..all;
            files.extend(
                others.map(|number| (format!("other-{number}"), text(port, "hook/0", "AccessRequestCreated", SLOTS))),
            );
            stage.start_sidecar(&files, None)
        }
    };
    let few = Way { name: "10 webhooks", wanted: WANTED, start: Box::new(start(0)) };
    let many = Way { name: "10 of 1,000 webhooks", wanted: WANTED, start: Box::new(start(ALL)) };
    compare(stage, &[few, many])
}
