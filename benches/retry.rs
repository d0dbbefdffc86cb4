//! What deciding after an attempt costs: `cargo bench --bench retry`.

use divan::{Bencher, black_box};

#[path = "parts/ends.rs"]
mod ends;

use ends::End;

fn main() {
    divan::main();
}

#[divan::bench(args = &ends::ALL)]
fn by_decision(bencher: Bencher<'_, '_>, end: &End) {
    let question = end.question();
    bencher.bench(|| black_box(&question).decide());
}
