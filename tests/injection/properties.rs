//! Whatever an event holds, the request that is made of it is the file's.

use std::cell::Cell;

use http::Uri;
use http::uri::Authority;
use outrigger::delivery::Reason;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};

use super::{HEADER_NAMES, assert_target, climbs, data, decoded, event, snapshot, text};

/// How many events are tried.
const CASES: u32 = 4_000;

/// Whether there is a reason to refuse these values.
fn is_refusable(data: &Value) -> bool {
    let texts: Vec<String> = ["a", "b", "c", "d"].iter().map(|name| text(&data[*name])).collect();
    let list = data["list"].as_array().expect("a list");
    // In `c` they are escaped as in JSON.
    let controls = |text: &str| text.chars().any(|c| c.is_ascii_control() && c != '\t');
    let headers = [&texts[0], &texts[1], &texts[3]].iter().any(|text| controls(text))
        || list.iter().any(|item| controls(&text(item)))
        || texts[2].contains('\u{7f}');
    let dots = |text: &str| text.contains('.') || text.contains('%');
    headers || texts[0].is_empty() || dots(&texts[0]) || dots(&texts[1])
}

#[test]
fn no_value_changes_anything_but_its_place() {
    let snapshot = snapshot();
    let hook = &snapshot.webhooks["hook"];
    let (made, refused) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    let outcome = runner.run(&data(), |data| {
        let request = match hook.render(&event(&data)) {
            Ok(request) => request,
            Err(failure) => {
                assert_eq!(failure.reason, Reason::TemplateError);
                assert!(is_refusable(&data), "{failure:?} without a reason");
                refused.set(refused.get() + 1);
                return Ok(());
            }
        };
        made.set(made.get() + 1);
        assert_eq!(request.method, "PUT");
        // As whoever gets it reads it.
        let uri: Uri = request.uri.to_string().parse().expect("it is one");
        assert_eq!((uri.scheme_str(), uri.host(), uri.port_u16()), (Some("https"), Some("hooks.example"), Some(8443)));
        assert_eq!(uri.authority().map(Authority::as_str), Some("hooks.example:8443"));
        assert_target(uri.path_and_query().expect("it has both").as_str(), &data);

        let mut names: Vec<&str> = request.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        assert_eq!(names, HEADER_NAMES);
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(request.headers["webhook-id"], "evt_01a206047c4a75a3b804c9ba06761969_hook");
        for value in request.headers.values() {
            let value = value.to_str().expect("ASCII");
            assert!(value.bytes().all(|byte| byte == b'\t' || (b' '..=b'~').contains(&byte)), "{value:?}");
            assert_eq!(value.trim_matches([' ', '\t']), value);
        }
        let a = request.headers["x-a"].to_str().expect("ASCII");
        let plain = text(&data["a"]);
        if !plain.contains('%') {
            assert_eq!(decoded(a), plain.trim_matches([' ', '\t']), "{a}");
        }

        let body = std::str::from_utf8(&request.body).expect("ASCII");
        let fields: Vec<(String, String)> = body
            .split('&')
            .map(|field| field.split_once('=').unwrap_or_else(|| panic!("{body}")))
            .map(|(name, value)| (name.to_owned(), decoded(&value.replace('+', " "))))
            .collect();
        let list = data["list"].as_array().expect("a list").iter().map(|item| format!("{}.", text(item)));
        let expected = [
            ("a", text(&data["a"])),
            ("b", data["b"].to_string()),
            ("list", list.collect()),
            ("fixed", "1".to_owned()),
        ];
        assert_eq!(fields, expected.map(|(name, value)| (name.to_owned(), value)));
        Ok(())
    });
    outcome.unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(made.get() + refused.get(), CASES);
    assert!(made.get() > CASES / 20 && refused.get() > CASES / 20, "{made:?} requests, {refused:?} refusals");
}

#[test]
fn what_would_climb_out_add_a_line_or_leave_a_segment_empty_is_refused_and_says_where() {
    let snapshot = snapshot();
    let hook = &snapshot.webhooks["hook"];
    let good = json!({ "a": "a", "b": "b", "c": "c", "d": "d", "list": ["l"] });
    assert!(hook.render(&event(&good)).is_ok());
    let dots = "url: a value makes a path segment `.` or `..`, in itself or once it is decoded";
    let empty = "url: a path segment is empty";
    let line = "holds a line break or another control character";
    let mut tried = 0;
    for (field, values, says) in [
        (
            "a",
            &[
                "..",
                ".",
                "../x",
                "x/..",
                "%2e%2e",
                "%2E.",
                "..%2fx",
                "%252e%252e%252f",
                "..\\x",
                "x/./y",
                "..;a=b",
                "..\0",
                ". .",
                "%25252e%25252e",
            ][..],
            dots,
        ),
        ("b", &["/../x", "\\..\\", "/%2e./"], dots),
        ("a", &[""][..], empty),
        ("a", &["\r\nx-evil: 1", "a\nb", "a\rb", "a\0b", "\u{1}", "\u{7f}", "\u{1b}[0m"], line),
        ("b", &["\r\nx-evil: 1", "a\nb", "\0"], line),
        ("d", &["\r\nx-evil: 1", "a\nb", "\0", "\u{8}"], line),
        ("list", &["\r\nx-evil: 1", "\n"], line),
    ] {
        for value in values {
            let mut data = good.clone();
            data[field] = if field == "list" { json!([value]) } else { json!(value) };
            let failure = hook.render(&event(&data)).map(|request| request.uri).expect_err(value);
            assert_eq!(failure.reason, Reason::TemplateError, "{field} {value:?}");
            assert!(failure.detail.contains(says), "{field} {value:?}: {}", failure.detail);
            // The detail reaches logs: it tells nothing of a value.
            assert!(!failure.detail.contains("evil"), "{}", failure.detail);
            tried += 1;
        }
    }
    assert!(tried > 30, "only {tried}");
    for value in [json!(null), json!([]), json!({ "x": "/../" })] {
        let mut data = good.clone();
        data["a"] = value.clone();
        let refused = value.is_null() || value.is_object();
        assert_eq!(hook.render(&event(&data)).is_err(), refused, "{value}");
    }
}

#[test]
fn the_judge_of_these_tests_sees_what_climbs() {
    assert!(["..", "%2e%2e", "a%2F..", "%252e.%255cx", "."].iter().all(|segment| climbs(segment)));
    assert!(["...", "a..b", "%2e%2e%2e", "..a", "%"].iter().all(|segment| !climbs(segment)));
}
