//! What rendering costs: `cargo bench --bench render`.

use divan::{Bencher, black_box};
use outrigger::template::{Format, Template};
use serde_json::Value;

#[path = "parts/event.rs"]
mod event;
#[path = "parts/shapes.rs"]
mod shapes;

use shapes::{BYTES_MAX, Shape, compile, request};

fn main() {
    divan::main();
}

fn bench(bencher: Bencher<'_, '_>, template: &Template, payload: &Value) {
    bencher.bench(|| template.render(black_box(payload), false, BYTES_MAX));
}

#[divan::bench(args = &shapes::ALL)]
fn by_shape(bencher: Bencher<'_, '_>, shape: &Shape) {
    bench(bencher, &shape.compile(), &shape.payload());
}

#[divan::bench]
fn fields_of_64_kib(bencher: Bencher<'_, '_>) {
    bench(bencher, &compile(shapes::FIELDS, Format::Json), &request(64 * 1024));
}

#[divan::bench]
fn compiling_fields() -> Template {
    compile(black_box(shapes::FIELDS), Format::Json)
}

/// The slowest that was found: large values are looked at again and again, until the budget of the request is spent.
mod spending_the_whole_budget {
    use divan::Bencher;
    use outrigger::template::Format;
    use serde_json::json;

    use super::{bench, compile};

    fn bench_often(bencher: Bencher<'_, '_>, inner: &str) {
        let source = format!("{{{{#each i}}}}{{{{#each @root.i}}}}{inner}{{{{/each}}}}{{{{/each}}}}");
        let event = json!({
            "i": (0..1000).collect::<Vec<_>>(), "list": vec![0; 500_000], "ones": "1".repeat(1 << 20), "words": vec!["x"; 1 << 18],
        });
        bench(bencher, &compile(&source, Format::Json), &event);
    }

    #[divan::bench(sample_count = 5)]
    fn json(bencher: Bencher<'_, '_>) {
        bench_often(bencher, "{{#with (json @root.words)}}{{/with}}");
    }

    #[divan::bench(sample_count = 5)]
    fn replace(bencher: Bencher<'_, '_>) {
        bench_often(bencher, r#"{{#if (replace @root.ones "1" "")}}{{/if}}"#);
    }

    #[divan::bench(sample_count = 5)]
    fn eq(bencher: Bencher<'_, '_>) {
        bench_often(bencher, "{{#if (eq @root.list @root.list)}}{{/if}}");
    }

    #[divan::bench(sample_count = 5)]
    fn date(bencher: Bencher<'_, '_>) {
        bench_often(
            bencher,
            r#"{{#if (date "2024-02-29T12:00:00+02:00" "%c %c %c %c %c %c %c %c" "America/New_York")}}{{/if}}"#,
        );
    }
}
