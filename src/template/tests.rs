//! What templates print and what is refused, by tables.
#![allow(clippy::unwrap_used, clippy::format_collect, reason = "a test may fail, and need not be fast")]

use serde_json::{Value, json};

use super::{Format, Payload, Rendered, Template};
use crate::diagnostic::Fault;
use crate::kind::reads::Reads;
use crate::secret::Secret;

const BYTES_MAX: usize = 1 << 20;

pub(super) fn compile(source: &str, format: Format) -> Result<Template, Vec<Fault>> {
    Template::compile(source, format, &mut |name| match name {
        "env:TOKEN" => Ok(Secret::new("t\"o{{data.id}}".to_owned())),
        _ => Err((format!("`{name}` is not set"), "set it".to_owned())),
    })
}

impl Template {
    /// Sees to it that a rendering reads of an event what it says that it reads.
    pub(super) fn assert_reads<R: PartialEq + std::fmt::Debug>(
        &self,
        payload: &Value,
        rendered: &R,
        again: impl Fn(Payload<'_>) -> R,
    ) {
        let mut reads = Reads::default();
        self.add_reads(&mut reads);
        // What nests deeper than a parser goes is in no event.
        if let Some(picked) = reads.pick(payload.to_string().as_bytes()) {
            assert_eq!(&again(Payload::Picked(&picked)), rendered, "of {payload} it read {picked:?}");
        }
    }
}

fn rendered(source: &str, format: Format, event: &Value) -> Rendered {
    let template = compile(source, format).unwrap_or_else(|faults| panic!("{source}: {faults:?}"));
    template.render(event, false, BYTES_MAX).unwrap_or_else(|error| panic!("{source}: {error}"))
}

#[track_caller]
fn check(format: Format, event: &Value, cases: &[(&str, &str)]) {
    for (source, expected) in cases {
        assert_eq!(rendered(source, format, event).text, *expected, "{source}");
    }
}

fn event() -> Value {
    serde_json::from_str(
        r#"{"s":"a\"b\\c\nd","n":1696263265.851898000,"one":1.0,"t":true,"f":false,"z":null,"o":{"k":"v\"","x y":1},
            "l":["p","q"],"e":[],"ll":[{"a":1},{"a":2}],"detail-type":"d","name":"Ana","amp":"<a&b>","ts":"1696263265.5","raw":"\\\"b\\\":1,"}"#,
    )
    .unwrap()
}

#[test]
fn a_value_is_written_for_its_place_in_json() {
    check(
        Format::Json,
        &event(),
        &[
            (
                r#"{"a":{{s}},"b":{{n}},"c":{{z}},"d":{{no}},"e":{{o}}}"#,
                r#"{"a":"a\"b\\c\nd","b":1696263265.851898000,"c":null,"d":null,"e":{"k":"v\"","x y":1}}"#,
            ),
            (
                r#"{"a":"{{s}}","b":"{{n}}","c":"{{z}}{{no}}","d":"{{o}}"}"#,
                r#"{"a":"a\"b\\c\nd","b":"1696263265.851898000","c":"","d":"{\"k\":\"v\\\"\",\"x y\":1}"}"#,
            ),
            (r#"{"{{name}}":1}"#, r#"{"Ana":1}"#),
            (
                r#"{"m":"{\"s\":\"{{s}}\",\"o\":{{o}},\"j\":{{s}}}"}"#,
                r#"{"m":"{\"s\":\"a\\\"b\\\\c\\nd\",\"o\":{\"k\":\"v\\\"\",\"x y\":1},\"j\":\"a\\\"b\\\\c\\nd\"}"}"#,
            ),
            (r#"{"a":{{t}},"b":"{{t}}"}"#, r#"{"a":true,"b":"true"}"#),
            (r#"{"x":{{{o}}}}"#, r#"{"x":{"k":"v\"","x y":1}}"#),
            (r#"{"x":{"y":{{n}}}}"#, r#"{"x":{"y":1696263265.851898000}}"#),
            (r#"{"x":"{{{amp}}}{{&name}}"}"#, r#"{"x":"<a&b>Ana"}"#),
        ],
    );
}

#[test]
fn text_that_merely_looks_like_a_document_is_text() {
    check(
        Format::Json,
        &event(),
        &[
            (r#"{"a":"[{{s}}] approved"}"#, r#"{"a":"[a\"b\\c\nd] approved"}"#),
            (r#"{"a":"[PROD] {{s}}"}"#, r#"{"a":"[PROD] a\"b\\c\nd"}"#),
            (r#"{"a":"He said \"{{s}}\""}"#, r#"{"a":"He said \"a\"b\\c\nd\""}"#),
            (r#"{"a":"[1,{{s}}]"}"#, r#"{"a":"[1,a\"b\\c\nd]"}"#),
            (r#"{"a":"\"{{s}}\""}"#, r#"{"a":"\"a\"b\\c\nd\""}"#),
        ],
    );
}

#[test]
fn documents_in_strings_may_hold_blocks() {
    check(
        Format::Json,
        &event(),
        &[
            (
                r#"{"m":"{\"l\":[{{#each l}}\"{{this}}\"{{#unless @last}},{{/unless}}{{/each}}]}"}"#,
                r#"{"m":"{\"l\":[\"p\",\"q\"]}"}"#,
            ),
            (
                r#"{"m":"[{{#each ll}}{{#if @first}}{{else}},{{/if}}{\"a\":\"{{../s}}\",\"b\":{{#if no}}1{{else}}2{{/if}}}{{/each}}]"}"#,
                r#"{"m":"[{\"a\":\"a\\\"b\\\\c\\nd\",\"b\":2},{\"a\":\"a\\\"b\\\\c\\nd\",\"b\":2}]"}"#,
            ),
            (
                r#"{{#if t}}{"m":"{\"s\":\"{{s}}\"}"}{{else}}{"m":"[{{s}}]"}{{/if}}"#,
                r#"{"m":"{\"s\":\"a\\\"b\\\\c\\nd\"}"}"#,
            ),
            (r#"{"a":"x{{#if t}}","b":"{{/if}}{{s}}"}"#, r#"{"a":"x","b":"a\"b\\c\nd"}"#),
            (r#"{"m":"{ {{{raw}}} \"a\":{{no}} }"}"#, r#"{"m":"{ \"b\":1, \"a\":null }"}"#),
        ],
    );
}

/// Where only some branches go together, the string is a document all the same: it must not be taken for text, in which
/// a value could leave its place.
#[test]
fn documents_are_found_by_every_choice_of_branches() {
    let quoted = |text: &str| format!(r#"{{"m":"{}"}}"#, text.replace('\\', r"\\").replace('"', "\\\""));
    let list = r#"["a\"b","c"]"#;
    let one = r#"["a\"b"]"#;
    for (document, expected) in [
        (r#"[{{#each l}}{{#if @index}},{{/if}}"{{this}}"{{/each}}]"#, list),
        (r#"[{{#each l}}{{#gt @index 0}},{{/gt}}"{{this}}"{{/each}}]"#, list),
        (r#"[{{#each l}}"{{this}}"{{#if (not @last)}},{{/if}}{{/each}}]"#, list),
        (r#"[{{#if s}}"{{s}}"{{/if}}{{#unless s}}"{{no}}"{{/unless}}]"#, one),
        (r#"[{{#eq t 1}}"{{s}}"{{/eq}}{{#eq t 2}}"x"{{/eq}}{{#eq t 3}}"y"{{/eq}}]"#, one),
        (r#"[{{#if no}}{{#if s}}0{{/if}}{{else}}{{#if s}}"{{s}}"{{/if}}{{#if no}}1{{/if}}{{/if}}]"#, one),
    ] {
        let event = json!({"l": ["a\"b", "c"], "s": "a\"b", "t": 1});
        check(Format::Json, &event, &[(&quoted(document), &quoted(expected))]);
    }
}

#[test]
fn backslashes_before_braces_are_those_of_the_format() {
    let event = json!({"user": "x"});
    check(
        Format::Json,
        &event,
        &[
            (r#"{"a":"CORP\\{{user}}"}"#, r#"{"a":"CORP\\x"}"#),
            (r#"{"m":"{\"a\":\"CORP\\\\{{user}}\"}"}"#, r#"{"m":"{\"a\":\"CORP\\\\x\"}"}"#),
            (r#"{"a":"\{{user}} \\\{{user}}"}"#, r#"{"a":"{{user}} \\{{user}}"}"#),
        ],
    );
    check(
        Format::Text,
        &event,
        &[(r"\{{user}} \\{{user}} \\\{{user}}", r"{{user}} \x \\x"), (r"\{{{{user}}}} {{user}}", "{{{{user}}}} x")],
    );
}

#[test]
fn a_value_cannot_leave_its_place_in_text_forms_and_urls() {
    let event = json!({"v": "a&b=c d/ü\"", "l": [1, "x"]});
    check(Format::Text, &event, &[("{{v}} {{l}}", "a&b=c d/ü\" [1,\"x\"]")]);
    check(Format::Form, &event, &[("x={{v}}&y={{l}}", "x=a%26b%3Dc+d%2F%C3%BC%22&y=%5B1%2C%22x%22%5D")]);
    check(Format::Url, &event, &[("/a/{{v}}?q={{l}}", "/a/a%26b%3Dc%20d%2F%C3%BC%22?q=%5B1%2C%22x%22%5D")]);
    check(
        Format::Header,
        &event,
        &[("für {{v}} {{l}} {{json v}}", "f%C3%BCr a&b=c d/%C3%BC\" [1,\"x\"] \"a&b=c d/\\u00fc\\\"\"")],
    );
}

#[test]
fn references_are_values_of_their_place_and_never_templates() {
    let source = r#"{"a":"${env:TOKEN}","b":${env:TOKEN},"m":"{\"x\":\"${env:TOKEN}\"}","c":"$${env:X} ${{n}}"}"#;
    let expected = concat!(
        r#"{"a":"t\"o{{data.id}}","b":"t\"o{{data.id}}","m":"{\"x\":\"t\\\"o{{data.id}}\"}","#,
        r#""c":"${env:X} $5"}"#
    );
    check(Format::Json, &json!({"n": 5}), &[(source, expected)]);
    check(Format::Url, &Value::Null, &[("/${env:TOKEN}", "/t%22o%7B%7Bdata.id%7D%7D")]);
    let template = compile(source, Format::Json).unwrap();
    assert!(!format!("{template:?}").contains("data.id"));
    assert!(compile("Bearer ${env:TOKEN}", Format::Text).unwrap().is_fixed());
    assert!(!template.is_fixed());
}

#[test]
fn paths_reach_what_they_name_and_are_missing_otherwise() {
    check(
        Format::Text,
        &event(),
        &[
            ("{{detail-type}} {{[detail-type]}} {{o.[x y]}} {{l.[0]}} {{l.1}} {{ll.[1].[a]}}", "d d 1 p q 2"),
            ("[{{l.name}}{{l.[7]}}{{z.a.b}}{{no.a}}{{s.x}}]", "[]"),
            ("{{#each l}}{{.}}{{this}}{{@index}}{{@root.name}}{{../name}} {{/each}}", "pp0AnaAna qq1AnaAna "),
            ("{{#each o as |v k|}}{{@key}}={{v}}/{{k}}{{#unless @last}};{{/unless}}{{/each}}", "k=v\"/k;x y=1/x y"),
            ("{{#with o}}{{k}}{{../name}}{{else}}none{{/with}}{{#with z}}x{{else}}none{{/with}}", "v\"Ananone"),
            ("{{#each e}}x{{else}}empty{{/each}}{{#each no}}x{{/each}}", "empty"),
            ("{{#if f}}1{{else if z}}2{{else if t}}3{{else}}4{{/if}}{{#unless t}}5{{else}}6{{/unless}}", "36"),
            ("{{#if 0}}1{{/if}}{{#if 0 includeZero=true}}2{{/if}}", "2"),
            ("{{#each ll}}{{#each ../l}}{{@../index}}{{@index}}{{../a}} {{/each}}{{/each}}", "001 011 102 112 "),
            ("{{lookup l 1}}{{lookup o (lower \"K\")}}{{#with (lookup ll 0)}}{{a}}{{/with}}", "qv\"1"),
            ("a {{~name~}} b{{name}}{{! note }}{{!-- }} --}}\n{{#if t}}\n  x\n{{/if}}\n", "aAnabAna\n  x\n"),
            ("{{@root.name}} {{#each l}}{{#if @first}}{{@root.name}}{{/if}}{{/each}} {{len}}", "Ana Ana "),
            ("{{#eq name \"Ana\"}}y{{else}}n{{/eq}}{{#if (and t (not f))}}y{{/if}}", "yy"),
        ],
    );
}

#[test]
fn helpers_do_what_their_names_say() {
    check(
        Format::Text,
        &event(),
        &[
            ("{{upper name}}{{lower name}}{{trim \"  x \"}}{{truncate \"äöü\" 2}}", "ANAanaxäö"),
            ("{{join l \"-\"}} {{join l}} {{replace name \"n\" \"m\"}}", "p-q p, q Ama"),
            ("{{json name}} {{json no}} {{json o}}", "\"Ana\" null {\"k\":\"v\\\"\",\"x y\":1}"),
            (
                "{{default no z \"-\"}}{{default name \"-\"}}{{default f \"-\"}}{{default (upper no) \"+\"}}",
                "-Anafalse+",
            ),
            ("{{slack amp}} {{urlencode amp}} {{base64 name}}", "&lt;a&amp;b&gt; %3Ca%26b%3E QW5h"),
            ("{{len l}}{{len name}}{{len no}}", "230"),
            ("[{{date z}}{{date z \"%Y\" \"Asia/Tokyo\"}}{{upper z}}{{join z}}{{slack z}}]", "[]"),
            (
                "{{eq one 1}}{{ne one 1}}{{gt 2 one}}{{gte 1 one}}{{lt \"a\" \"b\"}}{{lte 3 2}}",
                "truefalsetruetruetruefalse",
            ),
            ("{{and t name}}{{or f z}}{{not f}}", "truefalsetrue"),
            ("{{date n}} {{date ts}}", "2023-10-02T16:14:25.851898Z 2023-10-02T16:14:25.5Z"),
            (
                "{{date n \"%Y-%m-%d %H:%M\" \"Europe/Berlin\"}} {{date ts tz=\"Asia/Tokyo\"}}",
                "2023-10-02 18:14 2023-10-03T01:14:25.5+09:00",
            ),
            (
                "{{date \"2024-02-29T12:00:00+02:00\" format=\"%d.%m.%Y %H\"}}{{date -1.5}}",
                "29.02.2024 101969-12-31T23:59:58.5Z",
            ),
        ],
    );
    check(
        Format::Json,
        &event(),
        &[(
            r#"[{{json name}},"{{json name}}",{{len l}},{{upper name}},{{eq 1 one}},{{json no}},{{date z}},"{{date z}}"]"#,
            r#"["Ana","\"Ana\"",2,"ANA",true,null,null,""]"#,
        )],
    );
}

#[test]
fn what_was_missing_is_told_once_and_as_written() {
    let source =
        "{{no.x}}{{no.x}}{{z}}{{l.a}}{{upper nope}}{{#if u}}{{/if}}{{default v \"\"}}{{default v w}}{{eq q 1}}";
    assert_eq!(rendered(source, Format::Text, &event()).missing, ["no.x", "l.a", "nope", "w"]);
    let many: String = (0..300).map(|i| format!("{{{{p{i}}}}}")).collect();
    assert_eq!(rendered(&many, Format::Text, &event()).missing.len(), super::eval::MISSING_MAX);
}

#[test]
fn a_strict_template_names_what_is_missing() {
    let strict = |source: &str| compile(source, Format::Text).unwrap().render(&event(), true, BYTES_MAX);
    for source in ["{{no.x}}", "{{upper no.x}}", "{{default z no.x}}", "{{json no.x}}"] {
        assert!(strict(source).unwrap_err().0.contains("`no.x`"), "{source}");
    }
    for source in
        ["{{z}}", "{{#if no}}{{/if}}{{#each no}}{{/each}}{{#with no}}{{/with}}", "{{default no 1}}{{eq no 1}}"]
    {
        assert!(strict(source).is_ok(), "{source}");
    }
}

/// What is said of a rendering can reach a log, and events are nobody's business there.
#[test]
fn what_is_said_of_a_rendering_repeats_nothing_of_the_event() {
    let event = json!({"secret": "s3cret", "bad": "s3cret%", "o": {}, "n": 0});
    for source in [
        "{{lookup o secret}}",
        "{{date secret}}",
        "{{date n \"%Y\" secret}}",
        "{{date n @root.bad}}",
        "{{truncate n secret}}",
    ] {
        let error = compile(source, Format::Text).unwrap().render(&event, true, BYTES_MAX).unwrap_err();
        assert!(!error.0.contains("s3cret"), "{source}: {error}");
    }
    assert_eq!(rendered("{{lookup o secret}}", Format::Text, &event).missing, ["lookup o secret"]);
}

#[test]
fn a_rendering_has_limits() {
    let render = |source: &str, event: &Value, bytes_max| {
        compile(source, Format::Json).unwrap().render(event, false, bytes_max).map_err(|error| error.0)
    };
    assert!(render("\"{{s}}\"", &json!({"s": "\n".repeat(50)}), 102).is_ok());
    assert!(render("\"{{s}}\"", &json!({"s": "\n".repeat(50)}), 101).unwrap_err().contains("101 bytes"));
    let list = json!({"l": vec![0; 200]});
    let error = render("{{#each l}}{{#each ../l}}{{#each ../../l}}{{/each}}{{/each}}{{/each}}", &list, 10).unwrap_err();
    assert!(error.contains("steps"), "{error}");
    assert!(render("{{date l}}", &list, 99).unwrap_err().contains("`date`"));
}

/// Each source with the text that its faults underline, and a word of the problem or the fix.
#[test]
fn faults_stand_where_they_are_and_say_what_to_do() {
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("a {{data.}} b {{x y}}{{", &[("{{", "not closed")]),
        ("a {{data.}} b {{#if}}{{/if}} {{ok}}", &[("{{data.}}", "cannot be read")]),
        ("{{uper x}} {{nonsense x}}", &[("uper", "did you mean `upper`?"), ("nonsense", "path is written without")]),
        ("{{upper x y}}", &[("upper", "{{upper text}}")]),
        ("{{truncate x \"a\"}}", &[("truncate", "whole number")]),
        ("{{date x \"%Q%\"}}{{date x tz=\"Mars/X\"}}", &[("date", "strftime"), ("date", "IANA")]),
        ("{{date x zone=\"UTC\"}}", &[("zone", "no argument")]),
        (
            "{{> part}}{{* deco}}{{#> b}}{{/b}}",
            &[
                ("{{> part}}", "partials"),
                ("{{* deco}}", "decorators"),
                ("{{#> b}}", "partial blocks"),
                ("{{/b}}", "not open"),
            ],
        ),
        ("{{#*inline \"x\"}}", &[("{{#*inline \"x\"}}", "inline partials")]),
        ("{{{{raw}}}}", &[("{{{{", "raw blocks")]),
        ("{{#if x}}\"a\"", &[("{{#if x}}", "{{/if}}")]),
        ("{{#if x}}{{/each}}", &[("{{/each}}", "write `{{/if}}`")]),
        ("{{else}}", &[("{{else}}", "outside any block")]),
        ("{{elsewhere}}", &[("{{elsewhere}}", "write `[elsewhere]`")]),
        ("{{#if x}}{{~else-id.x}}{{/if}}", &[("{{~else-id.x}}", "write `[else-id]`")]),
        ("{{#iff x}}{{/iff}}", &[("iff", "did you mean `if`?")]),
        ("{{#data.l}}{{/data.l}}", &[("{{#data.l}}", "read")]),
        ("{{#if x y}}{{/if}}", &[("if", "one argument")]),
        ("{{../x}}", &[("../x", "above the event")]),
        ("{{@inde}}", &[("@inde", "did you mean `@index`?")]),
        ("{{:}}", &[(":", "no path")]),
        ("{\"a\":{{#if x}}\"b{{/if}}\"}", &[("{{#if x}}", "another place")]),
        ("{\"a\":\"{{#if x}}\"{{else}}{{/if}}}", &[("{{#if x}}", "another place")]),
        ("{\"a\":\"b}", &[("\"", "not closed")]),
        ("{\"a\":\"\\u00{{x}}\"}", &[("{{x}}", "middle of an escape")]),
        ("{\"m\":\"{\\\"a\\\":\\\"c\\\\{{x}}\\\"}\"}", &[("{{x}}", "middle of an escape")]),
        ("é ${nope} ${env:NO} $${ok}", &[("${nope}", "$${"), ("${env:NO}", "not set")]),
        ("x ${env:A", &[("${", "$${")]),
        ("{\"a\":{{{x}},\"b\":1}", &[("{{", "space")]),
    ];
    for (source, expected) in cases {
        let faults = compile(source, Format::Json).expect_err(source);
        let shown: Vec<_> = faults.iter().map(|fault| &source[fault.at.clone()]).collect();
        assert_eq!(shown, expected.iter().map(|(at, _)| *at).collect::<Vec<_>>(), "{source}: {faults:?}");
        for (fault, (_, says)) in faults.iter().zip(*expected) {
            let text = format!("{} / {}", fault.problem, fault.fix.as_deref().unwrap_or_default());
            assert!(text.contains(says), "{source}: {text}");
        }
    }
}

/// Each path with what is said to do about it; a path without is one that the schema has, or may have.
#[test]
fn paths_that_a_schema_does_not_have_are_found() {
    let schema = json!({
        "additionalProperties": false,
        "properties": {
            "id": {"type": ["string", "null"]},
            "open": {"type": "object"},
            "more": {"properties": {"a": {}}},
            "list": {"type": "array", "items": {
                "additionalProperties": false,
                "properties": {"name": {"type": "string"}, "any": {}},
            }},
        },
    });
    for (source, expected) in [
        ("{{id}}{{open.x.y}}{{more.b}}{{list.[0].name}}{{list.[9].any.x}}{{@root.id}}{{@root}}", None),
        ("{{#each list}}{{name}}{{this.any}}{{@index}}{{../id}}{{@root.open.z}}{{/each}}{{lookup open id}}", None),
        ("{{#each list as |one|}}{{one.name}}{{/each}}{{#with list.[0]}}{{name}}{{else}}{{id}}{{/with}}", None),
        ("{{#with (lookup list 0)}}{{whatever}}{{/with}}", None),
        ("{{idd}}", Some(("idd", "did you mean `id`?"))),
        ("{{something}}", Some(("something", "`id`, `open`, `more`, `list`"))),
        ("{{id.x}}", Some(("id.x", "one value"))),
        ("{{list.name}}", Some(("list.name", "`.[0].name`"))),
        ("{{list.[0].nam}}", Some(("list.[0].nam", "did you mean `name`?"))),
        ("{{upper (default idd \"\")}}", Some(("idd", "`id`"))),
        ("{{#if idd}}{{/if}}", Some(("idd", "`id`"))),
        ("{{#each list as |one|}}{{one.nam}}{{else}}{{id}}{{/each}}", Some(("one.nam", "`name`"))),
        ("{{#each list}}{{id}}{{else}}{{id}}{{/each}}", Some(("id", "`name`"))),
        ("{{#each list}}{{#with any}}{{../nam}}{{x}}{{/with}}{{/each}}", Some(("../nam", "`name`"))),
        ("{{@root.idd}}{{@root.idd}}", Some(("@root.idd", "`id`"))),
    ] {
        let found = compile(source, Format::Text).unwrap().survey(&schema);
        let shown: Vec<_> = found.iter().map(|fault| (&source[fault.at.clone()], fault.fix.as_deref())).collect();
        assert_eq!(shown.len(), usize::from(expected.is_some()), "{source}: {found:?}");
        if let (Some((at, says)), [(shown, Some(fix))]) = (expected, &*shown) {
            assert_eq!(*shown, at, "{source}");
            assert!(fix.contains(says), "{source}: {fix}");
        }
    }
}

#[test]
fn raw_values_are_refused_where_nothing_would_notice_that_they_left_their_place() {
    for format in [Format::Url, Format::Form, Format::Header] {
        for raw in ["{{{x}}}", "{{&x}}", "{{{upper x}}}"] {
            let source = format!("a {{{{x}}}} {raw}{{{{#if x}}}}{raw}{{{{/if}}}}");
            let faults = compile(&source, format).expect_err(&source);
            let shown: Vec<_> = faults.iter().map(|fault| &source[fault.at.clone()]).collect();
            assert_eq!(shown, [raw, raw], "{source} as {format:?}: {faults:?}");
        }
        assert!(compile("a {{x}} {{json x}}", format).is_ok());
    }
    for format in [Format::Json, Format::Text] {
        assert!(compile("{{{x}}}", format).is_ok());
    }
}

#[test]
fn json_in_a_header_is_json_in_ascii() {
    let event = json!({ "x": "Łódź 🎈\n%" });
    assert_eq!(
        rendered("{{json x}} {{x}}", Format::Header, &event).text.split(' ').next(),
        Some("\"\\u0141\\u00f3d\\u017a")
    );
    let text = rendered("{{json x}}", Format::Header, &event).text;
    assert!(text.is_ascii());
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), event["x"]);
}

#[test]
fn where_a_value_of_a_url_wrote_nothing_is_told() {
    let event = json!({ "empty": "", "null": null, "list": ["", "", ""], "x": "y" });
    let blanks = |source: &str, format: Format| rendered(source, format, &event).blanks;
    assert_eq!(blanks("/{{empty}}/{{null}}/{{no}}/{{x}}/{{trim \"  \"}}", Format::Url), [1, 2, 3, 6]);
    assert_eq!(blanks("/{{#each list}}{{this}}{{/each}}{{x}}", Format::Url), [1]);
    assert_eq!(blanks("/{{empty}}", Format::Text), [0; 0]);
    assert_eq!(blanks("/{{#with no}}{{id}}{{/with}}/{{#each no}}x{{/each}}/{{#if no}}x{{/if}}", Format::Url), [1, 2]);
}
