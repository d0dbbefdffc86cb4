//! What holds for every event and every template.
#![allow(clippy::unwrap_used, clippy::format_collect, reason = "a test may fail, and need not be fast")]

use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::Format;
use super::helpers::text_of;
use super::tests::compile;

/// The event's fields, by which templates name values.
const FIELDS: [&str; 4] = ["a", "b", "c", "d"];

fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z ]{1,4}",
        Just("\"".to_owned()),
        Just("\\".to_owned()),
        Just("\n".to_owned()),
        Just("\u{1}\u{1f}\t".to_owned()),
        Just("{{a}}".to_owned()),
        Just("<&>".to_owned()),
        Just("😀\u{2028}é".to_owned()),
        Just("{\"x\":\"".to_owned()),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        text().prop_map(Value::String),
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        prop_oneof![Just("0"), Just("1.0"), Just("-12"), Just("1696263265.851898000"), Just("1e400")]
            .prop_map(|digits| serde_json::from_str(digits).unwrap()),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::Array),
            prop::collection::vec((text(), inner), 0..3)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn event() -> impl Strategy<Value = Value> {
    // The last field is now and then missing.
    (prop::collection::vec(value(), FIELDS.len()), prop::collection::vec(value(), 0..4), any::<bool>()).prop_map(
        |(values, list, lacks)| {
            let mut event: Map<_, _> = FIELDS.iter().map(|field| (*field).to_owned()).zip(values).collect();
            if lacks {
                event.shift_remove("d");
            }
            event.insert("list".to_owned(), Value::Array(list));
            Value::Object(event)
        },
    )
}

/// What stands before and behind each member of a list, so that there are commas between them.
const COMMAS: [(&str, &str); 4] = [
    ("", "{{#unless @last}},{{/unless}}"),
    ("{{#if @index}},{{/if}}", ""),
    ("", "{{#if (not @last)}},{{/if}}"),
    ("{{#if @first}}{{else}},{{/if}}", ""),
];

/// A template and what it must come to, as one thing.
#[derive(Clone, Debug)]
enum Shape {
    /// A field as a bare value.
    Bare(usize),
    /// A string of literal and printed parts.
    Text(Vec<Part>),
    /// A string that holds a document.
    Nested(Box<Shape>),
    /// An object with these members.
    Object(Vec<Shape>),
    /// A list with a member for each of the event's, written by the inner shape, with one of the commas.
    Each(usize, Box<Shape>),
    /// One value or the other.
    If(usize, Box<Shape>, Box<Shape>),
    /// The same, the other way round, with a scope around it.
    With(usize, Box<Shape>),
}

#[derive(Clone, Debug)]
enum Part {
    Literal(String),
    Field(usize),
    If(usize, String, usize),
    Each,
}

fn shape() -> impl Strategy<Value = Shape> {
    let field = 0..FIELDS.len();
    let part = prop_oneof![
        "[a-z\\[\\]:, ]{0,6}".prop_map(Part::Literal),
        text().prop_map(|text| Part::Literal(text.replace('{', "("))),
        field.clone().prop_map(Part::Field),
        (field.clone(), "[a-z ]{0,3}", field.clone()).prop_map(|(a, text, b)| Part::If(a, text, b)),
        Just(Part::Each),
    ];
    let leaf =
        prop_oneof![field.clone().prop_map(Shape::Bare), prop::collection::vec(part, 0..4).prop_map(Shape::Text),];
    leaf.prop_recursive(5, 24, 3, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Shape::Object),
            inner.clone().prop_map(|shape| Shape::Nested(Box::new(Shape::Object(vec![shape])))),
            (0..COMMAS.len(), inner.clone()).prop_map(|(comma, shape)| Shape::Each(comma, Box::new(shape))),
            (field.clone(), inner.clone(), inner.clone()).prop_map(|(field, a, b)| Shape::If(
                field,
                Box::new(a),
                Box::new(b)
            )),
            (field.clone(), inner).prop_map(|(field, shape)| Shape::With(field, Box::new(shape))),
        ]
    })
}

fn escaped(text: &str, times: usize) -> String {
    (0..times).fold(text.to_owned(), |text, _| {
        let quoted = Value::String(text).to_string();
        quoted[1..quoted.len() - 1].to_owned()
    })
}

fn get(event: &Value, field: usize) -> &Value {
    &event[FIELDS[field]]
}

fn truthy(value: &Value) -> bool {
    super::helpers::is_truthy(value, false)
}

fn strings_deep(shape: &Shape) -> usize {
    match shape {
        Shape::Bare(_) | Shape::Text(_) => 0,
        Shape::Nested(inner) => 1 + strings_deep(inner),
        Shape::Object(shapes) => shapes.iter().map(strings_deep).max().unwrap_or_default(),
        Shape::Each(_, inner) | Shape::With(_, inner) => strings_deep(inner),
        Shape::If(_, a, b) => strings_deep(a).max(strings_deep(b)),
    }
}

/// Writes the template of a shape, in so many strings, with so many scopes around.
fn source(shape: &Shape, strings: usize, up: usize) -> String {
    let quote = escaped("\"", strings);
    let field = |field: usize| format!("{}{}", "../".repeat(up), FIELDS[field]);
    match shape {
        Shape::Bare(index) => format!("{{{{{}}}}}", field(*index)),
        Shape::Text(parts) => {
            let parts = parts.iter().map(|part| match part {
                Part::Literal(text) => escaped(text, strings + 1),
                Part::Field(index) => format!("{{{{{}}}}}", field(*index)),
                Part::If(a, text, b) => {
                    format!("{{{{#if {}}}}}{text}{{{{else}}}}{{{{{}}}}}{{{{/if}}}}", field(*a), field(*b))
                }
                Part::Each => format!("{{{{#each {}list}}}}<{{{{this}}}}>{{{{/each}}}}", "../".repeat(up)),
            });
            format!("{quote}{}{quote}", parts.collect::<String>())
        }
        Shape::Nested(inner) => format!("{quote}{}{quote}", source(inner, strings + 1, up)),
        Shape::Object(shapes) => {
            let members = shapes
                .iter()
                .enumerate()
                .map(|(i, shape)| format!("{quote}k{i}{quote}:{}", source(shape, strings, up)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
        Shape::Each(comma, inner) => {
            let (before, behind) = COMMAS[*comma];
            let inner = source(inner, strings, up + 1);
            format!("[{{{{#each {}list}}}}{before}{inner}{behind}{{{{/each}}}}]", "../".repeat(up))
        }
        Shape::If(index, a, b) => format!(
            "{{{{#if {}}}}}{}{{{{else}}}}{}{{{{/if}}}}",
            field(*index),
            source(a, strings, up),
            source(b, strings, up)
        ),
        Shape::With(index, inner) => {
            format!("{{{{#with {}}}}}{}{{{{else}}}}0{{{{/with}}}}", field(*index), source(inner, strings, up + 1))
        }
    }
}

/// What the template of a shape must come to; documents in strings are opened up.
fn expected(shape: &Shape, event: &Value) -> Value {
    match shape {
        Shape::Bare(field) => get(event, *field).clone(),
        Shape::Text(parts) => Value::String(
            parts
                .iter()
                .map(|part| match part {
                    Part::Literal(text) => text.clone(),
                    Part::Field(field) => text_of(get(event, *field)).into_owned(),
                    Part::If(a, text, _) if truthy(get(event, *a)) => text.clone(),
                    Part::If(_, _, b) => text_of(get(event, *b)).into_owned(),
                    Part::Each => {
                        event["list"].as_array().unwrap().iter().map(|value| format!("<{}>", text_of(value))).collect()
                    }
                })
                .collect(),
        ),
        Shape::Nested(inner) => json!({ "opened": expected(inner, event) }),
        Shape::Object(shapes) => {
            shapes.iter().enumerate().map(|(i, shape)| (format!("k{i}"), expected(shape, event))).collect()
        }
        Shape::Each(_, inner) => event["list"].as_array().unwrap().iter().map(|_| expected(inner, event)).collect(),
        Shape::If(field, a, b) => expected(if truthy(get(event, *field)) { a } else { b }, event),
        Shape::With(field, inner) if truthy(get(event, *field)) => expected(inner, event),
        Shape::With(..) => json!(0),
    }
}

/// Opens the documents of a rendered body up, where the shape says that there are some; `Err` where one does not parse.
fn opened(shape: &Shape, rendered: Value, event: &Value) -> Result<Value, String> {
    match (shape, rendered) {
        (Shape::Nested(inner), Value::String(text)) => {
            let document = serde_json::from_str(&text).map_err(|error| format!("{error} in {text}"))?;
            Ok(json!({ "opened": opened(inner, document, event)? }))
        }
        (Shape::Object(shapes), Value::Object(members)) => {
            let pairs = shapes.iter().zip(members);
            pairs.map(|(shape, (key, value))| Ok((key, opened(shape, value, event)?))).collect()
        }
        (Shape::Each(_, inner), Value::Array(list)) => {
            list.into_iter().map(|value| opened(inner, value, event)).collect()
        }
        (Shape::If(field, a, b), rendered) => opened(if truthy(get(event, *field)) { a } else { b }, rendered, event),
        (Shape::With(field, inner), rendered) if truthy(get(event, *field)) => opened(inner, rendered, event),
        (_, rendered) => Ok(rendered),
    }
}

/// A template for the comparison with the crate's own renderer, from what both have.
fn plain_template() -> impl Strategy<Value = String> {
    let path = prop_oneof![
        Just("a"),
        Just("b"),
        Just("list.[0]"),
        Just("o.k"),
        Just("o.[x y]"),
        Just("no.thing"),
        Just("this.a"),
        Just("@root.a"),
        Just("../a"),
        Just("@index"),
        Just("@key"),
        Just("@first"),
        Just("v"),
        Just("./b"),
        Just("o.list.1"),
    ];
    let condition = prop_oneof![
        path.clone().prop_map(str::to_owned),
        path.clone().prop_map(|path| format!("(not {path})")),
        (path.clone(), path.clone()).prop_map(|(a, b)| format!("(and {a} {b})")),
        (path.clone(), path.clone()).prop_map(|(a, b)| format!("(or {a} {b})")),
        path.clone().prop_map(|path| format!("(eq {path} \"x\")")),
        path.clone().prop_map(|path| format!("{path} includeZero=true")),
    ];
    let tilde = prop_oneof![4 => Just(""), 1 => Just("~")];
    let space = prop_oneof![Just(""), Just(" "), Just("\n"), Just("  \n \t"), Just("\u{a0}x"), Just(" é\n"), Just("-")];
    let leaf = prop_oneof![
        space.clone().prop_map(str::to_owned),
        (tilde.clone(), path.clone(), tilde.clone()).prop_map(|(a, path, b)| format!("{{{{{a} {path} {b}}}}}")),
        path.clone().prop_map(|path| format!("{{{{{{{path}}}}}}}")),
        path.clone().prop_map(|path| format!("{{{{lookup o {path}}}}}")),
        Just("{{! note }}".to_owned()),
        Just("\\{{a}}".to_owned()),
        Just("\\\\{{b}}".to_owned()),
    ];
    let body = prop::collection::vec(leaf, 0..4).prop_map(|parts| parts.concat());
    body.prop_recursive(4, 32, 4, move |inner| {
        let (t, s) = (tilde.clone(), space.clone());
        prop_oneof![
            (condition.clone(), inner.clone(), t.clone(), s.clone())
                .prop_map(|(c, body, t, s)| format!("{s}{{{{#if {c}{t}}}}}{s}{body}{{{{{t}/if}}}}{s}")),
            (condition.clone(), condition.clone(), inner.clone(), inner.clone(), t.clone(), s.clone()).prop_map(
                |(c, d, a, b, t, s)| format!(
                    "{{{{#unless {c}}}}}{a}{{{{{t}else if {d}{t}}}}}{s}{b}{{{{else}}}}{s}z{{{{/unless}}}}"
                )
            ),
            (path.clone(), inner.clone(), inner.clone(), s.clone())
                .prop_map(|(p, a, b, s)| format!("{{{{#each {p} as |v|}}}}{s}{a}{s}{{{{else}}}}{b}{{{{/each}}}}")),
            (path.clone(), inner.clone()).prop_map(|(p, a)| format!("{{{{#each {p}}}}}{a}{{{{/each}}}}\n")),
            (path.clone(), inner.clone(), t, s)
                .prop_map(|(p, a, t, s)| format!("{s}{{{{{t}#with {p}{t}}}}}{s}{a}{{{{/with}}}}{s}")),
            (inner.clone(), inner).prop_map(|(a, b)| format!("{a}{b}")),
        ]
    })
}

fn plain_event() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!("x")),
        Just(json!("")),
        Just(json!(0)),
        Just(json!(7)),
        Just(json!(true)),
        Just(json!(null))
    ];
    (leaf.clone(), leaf.clone(), leaf.clone(), prop::collection::vec(leaf, 0..3)).prop_map(
        |(a, b, k, list)| json!({"a": a, "b": b, "list": list, "o": {"k": k, "x y": b, "list": list, "a": "o"}}),
    )
}

proptest! {
    #[test]
    fn every_value_arrives_in_its_place_as_itself(shape in shape(), event in event()) {
        prop_assume!(strings_deep(&shape) <= 3);
        let source = source(&shape, 0, 0);
        let template = compile(&source, Format::Json).map_err(|faults| TestCaseError::fail(format!("{source}: {faults:?}")))?;
        let text = template.render(&event, false, 1 << 24).unwrap().text;
        let body = serde_json::from_str(&text).map_err(|error| TestCaseError::fail(format!("{error}: {source} -> {text}")))?;
        let body = opened(&shape, body, &event).map_err(|error| TestCaseError::fail(format!("{error}: {source} -> {text}")))?;
        prop_assert_eq!(body, expected(&shape, &event), "{} -> {}", source, text);
    }

    #[test]
    fn text_is_what_the_handlebars_crate_prints(source in plain_template(), event in plain_event()) {
        let mut reference = handlebars::Handlebars::new();
        reference.register_escape_fn(handlebars::no_escape);
        let theirs = reference.render_template(&source, &event);
        let ours = compile(&source, Format::Text);
        if let (Ok(theirs), Ok(ours)) = (theirs, ours) {
            // Lists and objects print differently on purpose.
            prop_assume!(!theirs.contains("[object]") && !theirs.contains('['));
            prop_assert_eq!(ours.render(&event, false, 1 << 20).unwrap().text, theirs, "{}", source);
        }
    }

    #[test]
    fn nothing_that_is_written_makes_the_compiler_panic(
        pieces in prop::collection::vec(prop_oneof![
            "\\PC{0,3}",
            prop::sample::select(vec![
                "{{", "}}", "{{{", "}}}", "{{{{", "~", "#if ", "/if", "else", "^", "!--", "--", ">", "*", "\"", "'", "[", "]",
                "(", ")", "\\", "${", "}", "x", ".", "..", "/", "@", " as |x y|", "=", "\n", "{{#if x}}", "{{/if}}", "{{else}}", "&",
                "{{#each x}}", "{{/each}}", "{{else if y}}", "this", "1", "é", "{{x}}", "eq a b",
            ]).prop_map(str::to_owned),
        ], 0..16),
        json in any::<bool>(),
    ) {
        let source = pieces.concat();
        match compile(&source, if json { Format::Json } else { Format::Text }) {
            Ok(template) => drop(template.render(&json!({"x": [1, {"y": "z"}]}), false, 1 << 16)),
            Err(faults) => {
                prop_assert!(!faults.is_empty());
                for fault in faults {
                    prop_assert!(source.get(fault.at.clone()).is_some(), "{:?} in {:?}", fault, source);
                }
            }
        }
    }
}
