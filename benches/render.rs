//! What rendering costs: `cargo bench --bench render`.

use divan::{Bencher, black_box};
use outrigger::template::{Format, Template};
use serde_json::{Value, json};

/// The limit that a body has by default.
const BYTES_MAX: usize = 1 << 20;

fn main() {
    divan::main();
}

fn compile(source: &str) -> Template {
    let unset = &mut |_: &str| Err((String::new(), String::new()));
    Template::compile(source, Format::Json, unset).expect("the source is written here and has no fault")
}

/// An access request of about 1 KB, with its justification as long as asked for.
fn event(justification_bytes: usize) -> Value {
    let person = json!({"id": "u-1", "name": "Ana García", "email": "ana@example.com"});
    let group = json!({
        "integration": {"id": "i-1", "type": "postgresql", "name": "prod-postgres"},
        "resource_types": [{"id": "r-1", "name": "table", "display_path": "Table"}],
        "access_units": [{"resource": {"id": "t-1", "name": "orders", "path": "db/public/orders"}, "permission": {"id": "p-1", "name": "read"}}],
    });
    json!({
        "event_type": "AccessRequestGranted",
        "event_time": 1_696_263_265,
        "data": {
            "id": "f1d2", "friendly_id": "AR-77", "justification": "a \"quoted\" word\n".repeat(justification_bytes / 16),
            "requester": person, "grantee": person, "creation_date": 1_696_263_265, "revocation_date": null,
            "access_flow": {"id": "f-1", "name": "on call"}, "access_bundle": null,
            "access_groups": [group], "approvals": [{"name": "manager", "status": "Approved", "approver": person}],
        },
    })
}

fn bench(bencher: Bencher<'_, '_>, source: &str, event: &Value) {
    let template = compile(source);
    bencher.bench(|| template.render(black_box(event), false, BYTES_MAX));
}

const OKTA: &str = r#"{ "fields": {
    "event type": "{{event_type}}",
    "event time": "{{event_time}}",
    "request": "{{data.friendly_id}}",
    "requestor email": "{{data.requester.email}}",
    "justification": "{{data.justification}}",
    "integration name": "{{data.access_groups.[0].[integration].name}}",
    "resource type": "{{data.access_groups.[0].resource_types.[0].name}}",
    "access unit": "{{data.access_groups.[0].access_units.[0].resource.name}}" } }"#;

#[divan::bench]
fn okta_example_of_1_kb(bencher: Bencher<'_, '_>) {
    bench(bencher, OKTA, &event(32));
}

#[divan::bench]
fn okta_example_of_64_kib(bencher: Bencher<'_, '_>) {
    bench(bencher, OKTA, &event(64 * 1024));
}

#[divan::bench]
fn a_document_in_a_string(bencher: Bencher<'_, '_>) {
    let source =
        r#"{"message": "{\"id\": \"{{data.id}}\", \"why\": \"{{data.justification}}\", \"who\": {{data.requester}}}"}"#;
    bench(bencher, source, &event(32));
}

#[divan::bench]
fn an_each_block_of_100_members(bencher: Bencher<'_, '_>) {
    let list: Vec<_> = (0..100).map(|i| json!({"name": format!("unit {i}"), "id": i})).collect();
    let source = r#"{"l": [{{#each l}}{"name": "{{name}}", "id": {{id}}}{{#unless @last}},{{/unless}}{{/each}}]}"#;
    bench(bencher, source, &json!({ "l": list }));
}

#[divan::bench]
fn compiling_the_okta_example() -> Template {
    compile(black_box(OKTA))
}

/// The slowest that was found: large values are looked at again and again, until the budget of the request is spent.
mod spending_the_whole_budget {
    use divan::Bencher;
    use serde_json::json;

    use super::bench;

    fn bench_often(bencher: Bencher<'_, '_>, inner: &str) {
        let source = format!("{{{{#each i}}}}{{{{#each @root.i}}}}{inner}{{{{/each}}}}{{{{/each}}}}");
        let event = json!({
            "i": (0..1000).collect::<Vec<_>>(), "list": vec![0; 500_000], "ones": "1".repeat(1 << 20), "words": vec!["x"; 1 << 18],
        });
        bench(bencher, &source, &event);
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
