//! What judging a response costs: `cargo bench --bench judge`.

use divan::{Bencher, black_box};
use jiff::Timestamp;
use outrigger::webhook::judge::judge;

#[path = "parts/answers.rs"]
mod answers;
#[path = "parts/webhooks.rs"]
mod webhooks;

use answers::Answer;

fn main() {
    divan::main();
}

#[divan::bench(args = &answers::ALL)]
fn by_validators(bencher: Bencher<'_, '_>, answer: &Answer) {
    let (webhook, headers) = (answer.webhook(), answers::headers());
    bencher.bench(|| judge(&webhook, black_box(answer.parts(&headers)), Timestamp::UNIX_EPOCH));
}
