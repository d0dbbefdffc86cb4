//! What paths find: held against the crate's own evaluation, and against RFC 9535 where the two differ.
#![allow(clippy::unwrap_used, reason = "unwrap is for tests")]

use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::kind::Path;

fn document() -> Value {
    serde_json::from_str(
        r#"{"a": {"b": [{"c": 1}, {"c": [2, 3]}, {"d": null}, 7]}, "detail-type": "X", "": 4, "x": [],
            "it's": 5, "ü": {"n": "ö"}, "list": [[1, 2], [3], {}], "n": null, "t": true}"#,
    )
    .unwrap()
}

/// What the crate itself finds.
fn by_the_crate<'v>(text: &str, document: &'v Value) -> Vec<&'v Value> {
    let query = parse_json_path(text).unwrap();
    js_path_process(&query, document).unwrap().into_iter().map(|found| found.val).collect()
}

#[test]
fn paths_find_what_the_crate_finds() {
    let documents = [document(), json!([[1, 2], {"a": [3]}]), json!("text"), Value::Null];
    let paths = [
        "$",
        "$.a",
        "$.a.b",
        "$.a.b[0]",
        "$.a.b[0].c",
        "$.a.b[-1]",
        "$.a.b[-4].c",
        "$.a.b[-5]",
        "$.a.b[9]",
        "$.a.b[*]",
        "$.a.b[*].c",
        "$.a.b[*].c[*]",
        "$.*",
        "$[*]",
        "$.*.*",
        "$[*][*]",
        "$[*][*][*]",
        "$['detail-type']",
        "$[\"detail-type\"]",
        "$['']",
        "$['it\\'s']",
        "$.ü.n",
        "$['\\u00fc']['n']",
        "$.list[*][0]",
        "$.list[*][-1]",
        "$.x[*]",
        "$.n",
        "$.n.m",
        "$.t[0]",
        "$.missing",
        "$.a[0]",
        "$.a.b.c",
        "$[0]",
        "$[1].a[0]",
        "$[-1]",
        "$ .a [ 'b' ] [0]",
        "$.list.*.*",
        "$..c",
        "$..*",
        "$..[0]",
        "$.a.b[0:2].c",
        "$['t','detail-type']",
        "$.a.b[?@.c == 1]",
        "$.a.b[?@.c == 1.0].c",
        "$.a.b[?@.nope]",
        "$.a.b[::2]",
        "$.a.b[::-1]",
        "$.a.b[3:0:-2]",
        "$.a.b[-2:]",
        "$.a.b[:-9]",
        "$.a.b[::0]",
        "$..[?@.c]",
        "$.*[?@ == 'ö']",
    ];
    let mut found = 0;
    for text in paths {
        let path = Path::parse(text).unwrap();
        for document in &documents {
            let theirs = by_the_crate(text, document);
            assert_eq!(path.all(document), theirs, "{text} over {document}");
            assert_eq!(path.first(document), theirs.first().copied(), "{text} over {document}");
            found += theirs.len();
        }
    }
    assert!(found > 120, "the paths found only {found} values");
}

/// Where the crate is of another opinion than RFC 9535, or ours, each with what is found.
#[test]
fn filters_judge_as_the_standard_says() {
    let document = json!({"l": [
        {"s": "prod-a", "n": 1, "k": [1, 2], "o": {"x": null}},
        {"s": "prod-ab", "n": 2.50, "k": [], "b": true},
        {"s": "stage", "n": "2", "z": null},
        {"s": "a\rb"},
    ], "most": 2.5, "one": ["x"]});
    let cases = [
        ("$.l[?@.n > 1].n", "[2.5]"),
        ("$.l[?@.n >= $.most].n", "[2.5]"),
        ("$.l[?@.n == 2.5].s", r#"["prod-ab"]"#),
        ("$.l[?@.n < 'a'].n", r#"["2"]"#),
        ("$.l[?@.z == null].s", r#"["stage"]"#),
        ("$.l[?@.nope == @.neither].n", r#"[1,2.5,"2"]"#),
        ("$.l[?@.nope <= @.neither].n", r#"[1,2.5,"2"]"#),
        ("$.l[?@.nope < 1].n", "[]"),
        ("$.l[?@.o == $.l[0].o].n", "[1]"),
        ("$.l[?@.k == $.l[1].k].n", "[2.5]"),
        ("$.l[?!@.n].s", r#"["a\rb"]"#),
        ("$.l[?@.b && @.n || @.z == null].n", r#"[2.5,"2"]"#),
        ("$.l[?!(@.b || @.o)].n", r#"["2"]"#),
        ("$.l[?length(@.s) == 5].s", r#"["stage"]"#),
        ("$.l[?length(@.k) == 2].n", "[1]"),
        ("$.l[?length(@.n) > 0].n", r#"["2"]"#),
        ("$.l[?count(@.k[*]) == 0].n", r#"[2.5,"2"]"#),
        ("$.l[?count(@.*) > 3].n", "[1,2.5]"),
        ("$.l[?value(@.k[0:1]) == 1].n", "[1]"),
        ("$.l[?value(@.k[*]) == 1].n", "[]"),
        ("$.l[?match(@.s, 'prod-.')].n", "[1]"),
        ("$.l[?search(@.s, 'a')].n", r#"[1,2.5,"2"]"#),
        ("$.l[?match(@.s, 'a.b')].s", "[]"),
        ("$.l[?search(@.s, 'a.b')].s", "[]"),
        ("$.l[?match(@.n, '1')].n", "[]"),
        ("$.l[?@.k[?@ == 2]].n", "[1]"),
        ("$.one[0,-1]", r#"["x"]"#),
        ("$.l[0]['n','s']", r#"[1,"prod-a"]"#),
        ("$.l[0,1]['n','s']", r#"[1,"prod-a",2.5,"prod-ab"]"#),
        ("$..['n','b']", r#"[1,2.5,true,"2"]"#),
    ];
    for (text, expected) in cases {
        let found = serde_json::to_value(Path::parse(text).unwrap().all(&document)).unwrap();
        let expected: Value = serde_json::from_str(expected).unwrap();
        assert!(equal(&found, &expected), "{text} found {found}");
    }
}

/// Counts how often values are looked at: what a path may cost is bounded by its parts.
#[test]
fn no_path_finds_a_value_twice() {
    let deep = (0..100).fold(json!([0, 1]), |inner, _| json!([inner]));
    let wide = json!({"l": vec![json!({"a": [1, 2, 3]}); 50]});
    for text in ["$..*", "$..[0,-1]", "$..[0,1,-1,-2]", "$[*][*][*]", "$..[?@[0]]", "$..['l','a'].*", "$..[::-1]"] {
        let path = Path::parse(text).unwrap();
        for document in [&deep, &wide] {
            let mut found: Vec<*const Value> = path.all(document).into_iter().map(std::ptr::from_ref).collect();
            let all = found.len();
            found.sort_unstable();
            found.dedup();
            assert_eq!(found.len(), all, "{text}");
        }
    }
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        Just(json!(true)),
        (-3..4_i64).prop_map(Value::from),
        "[ab]{0,2}".prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec(("[abc]", inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

fn filter() -> impl Strategy<Value = String> {
    let query = prop::sample::select(vec!["@", "@.a", "@.b", "@[0]", "@.a.b", "$.a", "$.a[0]"]);
    let side = prop_oneof![
        query.clone().prop_map(str::to_owned),
        prop::sample::select(vec!["1", "-2", "'a'", "null", "true", "''"]).prop_map(str::to_owned),
        query
            .clone()
            .prop_filter("`@` alone", |query| query.starts_with('@'))
            .prop_map(|query| format!("length({query})")),
    ];
    let how = prop::sample::select(vec!["==", "!=", "<", "<=", ">", ">="]);
    let atom = prop_oneof![
        (side.clone(), how, side)
            .prop_filter("two values of `$`", |(left, _, right)| !left.starts_with('$') || !right.starts_with('$'))
            .prop_map(|(left, how, right)| format!("{left} {how} {right}")),
        query.prop_map(str::to_owned),
        Just("@.*".to_owned()),
        Just("search(@.a, 'a')".to_owned()),
        Just("match(@, 'a|ab')".to_owned()),
    ];
    atom.prop_recursive(2, 4, 2, |inner| {
        prop_oneof![
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("({left}) && ({right})")),
            (inner.clone(), inner.clone()).prop_map(|(left, right)| format!("{left} || {right}")),
            inner.prop_map(|inner| format!("!({inner})")),
        ]
    })
}

fn path() -> impl Strategy<Value = String> {
    let bound = || prop::option::of(-4..5_i64).prop_map(|bound| bound.map_or(String::new(), |bound| bound.to_string()));
    let inside = prop_oneof![
        3 => "'[abc]'",
        2 => (-3..4_i64).prop_map(|index| index.to_string()),
        2 => Just("*".to_owned()),
        1 => (bound(), bound(), bound()).prop_map(|(start, end, step)| format!("{start}:{end}:{step}")),
        2 => filter().prop_map(|filter| format!("?{filter}")),
    ];
    (prop::collection::vec(inside, 0..4), prop::option::of(0..3_usize)).prop_map(|(parts, descends)| {
        let part =
            |(index, part): (usize, &String)| format!("{}[{part}]", if descends == Some(index) { ".." } else { "" });
        format!("${}", parts.iter().enumerate().map(part).collect::<Vec<_>>().concat())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, ..ProptestConfig::default() })]

    #[test]
    fn any_path_finds_what_the_crate_finds(text in path(), document in tree()) {
        let path = Path::parse(&text).map_err(|fault| TestCaseError::fail(format!("{text}: {fault:?}")))?;
        prop_assert_eq!(path.all(&document), by_the_crate(&text, &document), "{} over {}", text, document);
    }

    #[test]
    fn nothing_that_is_written_makes_a_path_panic(
        pieces in prop::collection::vec(prop_oneof![
            "\\PC{0,2}",
            prop::sample::select(vec![
                "$", "@", ".", "..", "[", "]", "*", "?", "(", ")", "!", "'", "\"", "\\", ":", ",", "-", "0", "1", "-1", "a",
                "9007199254740991", "-9007199254740991", "1e400", "==", "<", "&&", "||", "length(", "count(", "value(",
                "match(", "search(", "in(", "@.a", "$.a", "'a'", "[0]", "[?", "[*]", "\\ud800", "\\u0061", " ", "null",
            ]).prop_map(str::to_owned),
        ], 0..14),
        document in tree(),
    ) {
        let text = format!("${}", pieces.concat());
        match Path::parse(&text) {
            Ok(path) => drop(path.all(&document)),
            Err(fault) => prop_assert!(text.get(fault.at.clone()).is_some(), "{:?} in {:?}", fault, text),
        }
    }
}
