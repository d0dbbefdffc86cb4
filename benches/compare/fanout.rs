//! Ten webhooks that want each event, and one: what they share is paid once.

use serde_json::Value;

use super::pair::{Way, compare};
use super::sidecar::webhooks;
use super::stage::Stage;

const WEBHOOKS: u32 = 10;

pub(crate) fn run(stage: &Stage) -> Value {
    let with = |count: u32| move || stage.start_sidecar(&webhooks(stage.receiver.port, count as usize), None);
    let one = Way { name: "1 webhook", wanted: 1, start: Box::new(with(1)) };
    let ten = Way { name: "10 webhooks", wanted: WEBHOOKS, start: Box::new(with(WEBHOOKS)) };
    compare(stage, &[one, ten])
}
