//! Templates and events that mean harm: what they may cost is bounded, and none of them makes anything panic.
#![allow(clippy::unwrap_used, clippy::format_collect, reason = "a test may fail, and need not be fast")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::budget::{Budget, MADE_BYTES_MAX, STEPS_MAX, WORK_BYTES_MAX};
use super::scan::{BLOCK_DEPTH_MAX, FAULTS_MAX, SOURCE_BYTES_MAX, TAG_BRACKETS_MAX, TAG_BYTES_MAX, TAGS_MAX};
use super::tests::compile;
use super::{Format, Payload, RenderError, Rendered};

/// How large the values of an event are below.
const LARGE: usize = 10_000;

/// An event with something large of every kind.
fn event() -> Value {
    let number = |digits: String| serde_json::from_str::<Value>(&digits).unwrap();
    let object = |count: usize| (0..count).map(|n| (format!("k{n}"), json!(n))).collect::<Map<_, _>>();
    json!({
        "turns": (0..1000).collect::<Vec<_>>(),
        "text": "<".repeat(LARGE),
        "digits": "1".repeat(LARGE),
        "zeros": "0".repeat(LARGE),
        "number": number("1".repeat(LARGE)),
        "fraction": number(format!("0.{}", "1".repeat(LARGE))),
        "list": vec![json!(null); LARGE / 10],
        "object": object(LARGE / 10),
        "key": {"x".repeat(LARGE): 1},
        "x": "x",
    })
}

fn within(source: &str, event: &Value, budget: &mut Budget) -> Result<Rendered, RenderError> {
    let template = compile(source, Format::Text).unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
    template.render_within(Payload::Tree(event), false, 1 << 20, budget)
}

/// Something a thousand times, without any output.
fn often(condition: &str) -> String {
    format!("{{{{#each turns}}}}{{{{#if {condition}}}}}{{{{/if}}}}{{{{/each}}}}")
}

#[test]
fn whatever_looks_at_a_large_value_again_and_again_is_stopped() {
    let event = event();
    let long = "a".repeat(TAG_BYTES_MAX - 20);
    let mut stopped = 0;
    for condition in [
        "@root.number",
        "(json @root.list)",
        "(json @root.text)",
        "(upper @root.text)",
        "(upper @root.object)",
        "(lower @root.text)",
        "(trim @root.text)",
        "(truncate @root.text 9999)",
        "(truncate @root.x @root.zeros)",
        "(join @root.list)",
        "(join @root.list \"\")",
        "(join @root.text)",
        "(replace @root.text \"a\" \"b\")",
        "(replace @root.text \"<\" \"\")",
        "(replace @root.x @root.text \"\")",
        "(replace @root.x \"a\" @root.text)",
        "(slack @root.text)",
        "(urlencode @root.text)",
        "(base64 @root.text)",
        "(len @root.text)",
        "(eq @root.text @root.text)",
        "(eq @root.list @root.list)",
        "(ne @root.object @root.object)",
        "(eq @root.key @root.key)",
        "(eq @root.number @root.number)",
        "(eq @root.fraction 1)",
        "(gt @root.number @root.digits)",
        "(lte @root.text @root.digits)",
        "(lookup @root.list @root.number)",
        "(lookup @root.key @root.digits)",
        "(and @root.number @root.number)",
        "(not @root.number)",
        "(default @root.nobody (upper @root.text))",
        &long,
    ] {
        let error = within(&often(condition), &event, &mut Budget::of(1_000_000, 1_000_000, 100_000)).unwrap_err();
        assert!(error.0.contains("read and make more than 1000000 bytes"), "{condition}: {error}");
        // Once is fine.
        let once = format!("{{{{#if {condition}}}}}{{{{/if}}}}");
        assert!(within(&once, &event, &mut Budget::of(10, 1_000_000, 100_000)).is_ok(), "{condition}");
        stopped += 1;
    }
    assert!(stopped > 30);
    let source = "{{#each turns}}{{#each @root.key}}{{#if @key}}{{/if}}{{/each}}{{/each}}";
    assert!(within(source, &event, &mut Budget::of(1_000_000, 1_000_000, 100_000)).is_err());
    // What each of them costs without anything large.
    let dates = often("(date 1)");
    assert!(within(&dates, &event, &mut Budget::of(1_000_000, 200_000, 100)).is_err());
    assert!(within(&dates, &event, &mut Budget::of(1_000_000, 400_000, 100)).is_ok());
}

#[test]
fn no_helper_makes_a_text_without_end() {
    let event = event();
    let nested = |before: &str, count: usize, behind: &str| {
        format!("{{{{#if {}x{}}}}}{{{{/if}}}}", format!("({before} ").repeat(count), format!("{behind})").repeat(count))
    };
    for source in [
        nested("replace", 20, " \"x\" \"xx\""),
        nested("base64", 31, "").replace(" x)", " text)"),
        "{{#if (replace digits \"1\" digits)}}{{/if}}".to_owned(),
        "{{#if (join list digits)}}{{/if}}".to_owned(),
        "{{#if (urlencode (urlencode (urlencode (urlencode (urlencode text)))))}}{{/if}}".to_owned(),
        "{{#if (slack (slack text))}}{{/if}}".to_owned(),
        "{{#if (json (json (json (json (json (json object))))))}}{{/if}}".to_owned(),
    ] {
        let error = within(&source, &event, &mut Budget::of(1_000, usize::MAX, 50_000)).unwrap_err();
        assert!(error.0.contains("makes a text of more than 50000 bytes"), "{source}: {error}");
        // Where less is left to spend than may be made, that is what is said.
        let error = within(&source, &event, &mut Budget::of(1_000, 50_000, 100_000)).unwrap_err();
        assert!(error.0.contains("read and make more than 50000 bytes"), "{source}: {error}");
    }
    let error = within(&nested("replace", 30, " \"x\" \"xx\""), &event, &mut Budget::new(1 << 20)).unwrap_err();
    assert!(error.0.contains(&MADE_BYTES_MAX.to_string()), "{error}");
}

#[test]
fn the_slowest_that_was_found_ends_with_a_sentence() {
    let event = json!({
        "i": (0..1000).collect::<Vec<_>>(),
        "list": vec![0; 200_000],
        "text": "x".repeat(200_000),
        "ones": "1".repeat(200_000),
    });
    let often = |inner: &str| format!("{{{{#each i}}}}{{{{#each ../i}}}}{inner}{{{{/each}}}}{{{{/each}}}}");
    let work = WORK_BYTES_MAX.to_string();
    let steps = STEPS_MAX.to_string();
    for (inner, says) in [
        ("{{#with (json @root.list)}}{{/with}}", &work),
        ("{{#if (replace @root.ones \"1\" \"\")}}{{/if}}", &work),
        ("{{missing}}{{lookup @root \"missing\"}}", &steps),
    ] {
        let error = within(&often(inner), &event, &mut Budget::new(1 << 20)).unwrap_err();
        assert!(error.0.contains(says), "{inner}: {error}");
    }
    // A webhook whose bodies may be larger may work more.
    let once = "{{#if (upper text)}}{{/if}}".repeat(200);
    assert!(within(&once, &event, &mut Budget::new(1 << 20)).is_err());
    assert!(within(&once, &event, &mut Budget::new(64 << 20)).is_ok());
}

#[test]
fn the_templates_of_one_request_share_a_budget() {
    let event = event();
    let template = compile("{{len text}}", Format::Text).unwrap();
    let mut budget = Budget::of(1_000, LARGE + 1_000, LARGE);
    assert!(template.render_within(Payload::Tree(&event), false, 100, &mut budget).is_ok());
    assert!(template.render_within(Payload::Tree(&event), false, 100, &mut budget).is_err());
}

/// On a thread with the stack of the runtime's.
#[test]
fn the_deepest_that_may_be_is_rendered() {
    let deep = (0..126).fold(json!({"x": "end"}), |inner, _| json!({ "a": inner }));
    let path = format!("{}x", "a.".repeat(126 - BLOCK_DEPTH_MAX));
    let calls = TAG_BRACKETS_MAX;
    let source = format!(
        "{}{{{{upper {}{path}{}}}}}{{{{json @root}}}}{{{{#if (eq @root @root)}}}}{{{{@root}}}}{{{{/if}}}}{}",
        "{{#with a}}".repeat(BLOCK_DEPTH_MAX - 1),
        "(lower ".repeat(calls),
        ")".repeat(calls),
        "{{/with}}".repeat(BLOCK_DEPTH_MAX - 1)
    );
    let rendered = within(&source.replace(&path, &format!("a.{path}")), &deep, &mut Budget::new(1 << 20)).unwrap();
    assert!(rendered.text.starts_with("END{\"a\":{"), "{}", rendered.text);
    assert_eq!(rendered.text.matches("\"x\":\"end\"").count(), 2);
    let json = format!("{{\"a\": {}}}", "[".repeat(100_000));
    assert!(compile(&json, Format::Json).is_ok(), "a literal text may nest as it likes: nothing recurses over it");
}

#[test]
fn a_source_beyond_its_limits_is_refused_and_at_its_limits_works() {
    let blocks = |count: usize| "{{#if x}}".repeat(count) + &"{{/if}}".repeat(count);
    let chain = |count: usize| format!("{{{{#if x}}}}{}{{{{/if}}}}", "{{else if y}}".repeat(count));
    let calls = |count: usize| format!("{{{{upper {}x{}}}}}", "(upper ".repeat(count), ")".repeat(count));
    let lists = |count: usize| format!("{{{{json {}{}}}}}", "[".repeat(count), "]".repeat(count));
    let tags = |count: usize| "{{x}}".repeat(count);
    let tag = |count: usize| format!("{{{{upper \"{}\"}}}}", "x".repeat(count - 12));
    let path = |count: usize| format!("{{{{{}}}}}", "a.".repeat((count - 4) / 2 - 1) + "aa");
    let bytes = |count: usize| " ".repeat(count);
    for (name, at, over) in [
        ("blocks", blocks(BLOCK_DEPTH_MAX), blocks(BLOCK_DEPTH_MAX + 1)),
        ("chain", chain(BLOCK_DEPTH_MAX - 1), chain(BLOCK_DEPTH_MAX)),
        ("calls", calls(TAG_BRACKETS_MAX), calls(TAG_BRACKETS_MAX + 1)),
        ("lists", lists(TAG_BRACKETS_MAX), lists(TAG_BRACKETS_MAX + 1)),
        ("tags", tags(TAGS_MAX), tags(TAGS_MAX + 1)),
        ("tag", tag(TAG_BYTES_MAX), tag(TAG_BYTES_MAX + 1)),
        ("path", path(TAG_BYTES_MAX), path(TAG_BYTES_MAX + 2)),
        ("bytes", bytes(SOURCE_BYTES_MAX), bytes(SOURCE_BYTES_MAX + 1)),
    ] {
        assert!(compile(&at, Format::Text).is_ok(), "{name}: {:?}", compile(&at, Format::Text));
        assert!(compile(&over, Format::Text).is_err(), "{name}");
    }
    let comment = format!("{{{{! {} }}}}", "x".repeat(2 * TAG_BYTES_MAX));
    assert!(compile(&comment, Format::Text).is_ok(), "a comment may be long");
    assert!(compile(&blocks(100_000 / 9), Format::Text).is_err());
    assert!(compile(&"{{#if x}}".repeat(20_000), Format::Text).is_err());
}

#[test]
fn a_source_with_faults_without_end_is_told_some_of_them() {
    let arguments = |count: usize| (0..count).map(|n| format!("a{n}=b ")).collect::<String>();
    for source in [
        format!("{{{{default {}}}}}", arguments(400)).repeat(60),
        "{{uper x}}".repeat(1_000),
        "{{x y..}}".repeat(1_000),
        "{{> x}}".repeat(10_000),
        "${x}".repeat(10_000),
        "{{".repeat(10_000),
        "{{/if}}".repeat(1_000),
    ] {
        let faults = compile(&source, Format::Json).map(|_| ()).expect_err(&source);
        // A tag's faults are told together.
        assert!((1..=FAULTS_MAX + 500).contains(&faults.len()), "{} in {}", faults.len(), &source[..40]);
    }
}

#[test]
fn a_date_takes_what_is_one_and_nothing_long() {
    let event = json!({
        "least": "-377705023201", "most": "253402207200.999999999", "beyond": "9223372036854775807", "under": "-9223372036854775808",
        "long": format!("1{}", "0".repeat(LARGE)), "format": "%255Y".repeat(1_000), "zone": "x".repeat(LARGE), "list": [1],
    });
    for zone in ["Pacific/Kiritimati", "Pacific/Niue", "America/New_York", "UTC"] {
        for time in ["least", "most"] {
            let rendered =
                within(&format!("{{{{date {time} \"%Y %c %s %f\" \"{zone}\"}}}}"), &event, &mut Budget::new(99));
            assert!(rendered.is_ok(), "{time} {zone}: {rendered:?}");
        }
    }
    for source in [
        "{{date beyond}}",
        "{{date under}}",
        "{{date long}}",
        "{{date 1 format}}",
        "{{date 1 \"%Y\" zone}}",
        "{{date list}}",
    ] {
        assert!(within(source, &event, &mut Budget::new(99)).unwrap_err().0.starts_with("`date` got"), "{source}");
    }
    assert!(compile(&format!("{{{{date x \"{}\"}}}}", "%Y".repeat(129)), Format::Text).is_err());
}

/// What an event may hold that a helper may stumble over.
fn odd() -> impl Strategy<Value = Value> {
    let number = prop::sample::select(vec![
        "0",
        "-0",
        "1e999999999",
        "-1e-999999999",
        "9223372036854775807",
        "-9223372036854775808",
        "18446744073709551616",
        "1e99999999999999999999",
        "0.000000000000000000001",
        "253402207200",
        "-377705023201",
        "1.999999999999",
    ]);
    let text = prop_oneof![
        "\\PC{0,4}",
        prop::sample::select(vec![
            "ß",
            "İ",
            "ΐ",
            "e\u{301}",
            "😀x",
            "\u{0}",
            "\u{10ffff}",
            "%",
            "%é",
            "-",
            "-.",
            "1.",
            "1.2.3",
            "2024-02-30T00:00:00Z",
            "9999-12-31T23:59:60Z",
            "2024-01-01T00:00:00+25:59",
            "1e5",
            "Europe/Berlin",
            "../../etc/passwd",
            "18446744073709551616",
        ])
        .prop_map(str::to_owned),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        number.prop_map(|digits| serde_json::from_str(digits).unwrap()),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec(("[ab]", inner), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Helpers in helpers, with as many arguments as they take.
fn call() -> impl Strategy<Value = String> {
    let leaf = prop::sample::select(vec![
        "a",
        "b",
        "c",
        "@root",
        "a.[0]",
        "c.a",
        "\"\"",
        "\"ü\"",
        "\"%Y %c %N %9f %:z\"",
        "\"Asia/Tokyo\"",
        "0",
        "-1",
        "1E5",
        "2.5",
        "true",
        "null",
        "[1,\"x\"]",
        "@index",
    ]);
    leaf.prop_map(str::to_owned).prop_recursive(4, 12, 3, |inner| {
        let one = prop::sample::select(vec![
            "json",
            "upper",
            "lower",
            "trim",
            "slack",
            "urlencode",
            "base64",
            "len",
            "not",
            "date",
        ]);
        let two = prop::sample::select(vec![
            "truncate", "join", "lookup", "eq", "ne", "gt", "gte", "lt", "lte", "and", "or", "default", "date",
        ]);
        let three = prop::sample::select(vec!["replace", "date", "default", "and", "or"]);
        prop_oneof![
            (one, inner.clone()).prop_map(|(name, a)| format!("({name} {a})")),
            (two, inner.clone(), inner.clone()).prop_map(|(name, a, b)| format!("({name} {a} {b})")),
            (three, inner.clone(), inner.clone(), inner).prop_map(|(name, a, b, c)| format!("({name} {a} {b} {c})")),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn no_value_makes_a_helper_panic(call in call(), a in odd(), b in odd(), c in odd(), small in any::<bool>()) {
        let event = json!({"a": a, "b": b, "c": c});
        let source = format!("{{{{#each c}}}}{{{{#if {call}}}}}{{{{json {call}}}}}{{{{/if}}}}{{{{/each}}}}{{{{default {call} \"-\"}}}}");
        // What is written in the template is checked when it is compiled.
        if let Ok(template) = compile(&source, Format::Text) {
            let mut budget = if small { Budget::of(20, 500, 60) } else { Budget::new(1 << 16) };
            match template.render_within(Payload::Tree(&event), false, 1 << 16, &mut budget) {
                Ok(rendered) => prop_assert!(rendered.text.len() <= 1 << 16),
                Err(error) => prop_assert!(!error.0.is_empty()),
            }
        }
    }
}
