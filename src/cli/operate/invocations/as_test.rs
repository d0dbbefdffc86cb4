//! An invocation as a `[[tests]]` block: pasted into its webhook's file, `outrigger check` makes the same request of the same event
//! and comes to the same verdict.

use std::fmt::Write as _;

use serde_json::Value;

use crate::cli::operate::show::{self, seconds};
use crate::cli::paint::{is_obeyed, visible};
use crate::config::is_answered;
use crate::delivery::Reason;
use crate::kind::MANUAL;
use crate::secret::MASK;

/// The statuses that a test can give.
const STATUSES: std::ops::RangeInclusive<u64> = 200..=599;
/// Headers of a response that decide something although no validator looks at them, or that say how to read it.
const HEADERS: [&str; 3] = ["content-type", "location", "retry-after"];

/// The block of an invocation and its event, or why there is none.
pub(super) fn block(one: &Value, event: &Value) -> Result<String, String> {
    if !event.is_object() {
        return Err("its event is no JSON object, and a test needs one".to_owned());
    }
    let text = |member: &str| one[member].as_str().unwrap_or("-");
    if text("event_type") == MANUAL {
        return Err("its webhook was invoked by name, which no test does: a test's event comes as any other and has to pass triggers \
            and filters"
            .to_owned());
    }
    let reason = one["reason"].as_str();
    let about = one["request_id"].as_str().map_or_else(String::new, |id| format!(" of {id}"));
    let name = format!("{}{about}: {} at {}", text("event_type"), reason.unwrap_or("accepted"), seconds(text("at")));
    let mut out = String::from("\n[[tests]]\n");
    let mut note = |words: &str| {
        let _ = writeln!(out, "# {words}");
    };
    let answer = match answer(one) {
        Ok(answer) => answer,
        Err(why) => {
            note(&why);
            None
        }
    };
    if one["test"] == true {
        note("It was sent by the Test button, which asks neither triggers nor filters.");
    }
    let request = &one["request"];
    let rendered = reason != Some(Reason::TemplateError.as_str());
    if rendered && request["truncated"] == true {
        note("The request's body is longer than what is shown of it, so that none is expected.");
    } else if rendered && request.is_null() {
        note("The request is not kept, so that none is expected.");
    }
    let _ = writeln!(out, "name = {}", quoted(&name));
    let _ = writeln!(out, "event = {}", json_text(event));
    let mut expect = Vec::new();
    if let Some(Answer { response, expected }) = answer {
        out.push_str(&response);
        expect.extend(expected);
    }
    if rendered
        && request["truncated"] != true
        && let Some(body) = request["body"].as_str()
    {
        expect.push(format!("body = {}", body_text(body)));
    }
    if expect.is_empty() {
        expect.push("delivered = true".to_owned());
    }
    let _ = writeln!(out, "[tests.expect]\n{}", expect.join("\n"));
    Ok(out)
}

/// What came back, and what it came to.
struct Answer {
    /// The table of the response, where there is one.
    response: String,
    /// The lines of the expectation.
    expected: Vec<String>,
}

/// The answer as far as a test can give it; the error says why it cannot.
fn answer(one: &Value) -> Result<Option<Answer>, String> {
    let reason = one["reason"].as_str();
    if reason == Some(Reason::TemplateError.as_str()) {
        let expected = vec![format!("reason = {}", quoted(Reason::TemplateError.as_str()))];
        return Ok(Some(Answer { response: String::new(), expected }));
    }
    if let Some(reason) = reason.filter(|reason| !Reason::parse(reason).is_some_and(is_answered)) {
        let reason = visible(reason);
        return Err(format!("It failed with {reason}, which no response comes to: the request alone is expected."));
    }
    let response = &one["response"];
    let Some(status) = response["status"].as_u64().filter(|status| STATUSES.contains(status)) else {
        return Err("No response is kept: the request alone is expected.".to_owned());
    };
    let validators = one["validators"].as_array().map(Vec::as_slice).unwrap_or_default();
    let truncated = response["truncated"] == true;
    if truncated && (!validators.is_empty() || reason == Some(Reason::ResponseTooLarge.as_str())) {
        return Err(
            "Not all of the response is kept, and validators look into it: the request alone is expected.".to_owned()
        );
    }
    if one["omitted"] == true {
        return Err("The verdicts on the response are not kept: the request alone is expected.".to_owned());
    }
    let paths = || validators.iter().filter_map(|validator| validator["path"].as_str());
    // A second `$` may be a filter that looks at the other part.
    let alone = |path: &str, part: &str| path.starts_with(part) && path.matches('$').count() == 1;
    let into_body = paths().any(|path| !alone(path, "$.status"));
    let into_headers = paths().any(|path| !alone(path, "$.status") && !alone(path, "$.data"));
    let masked = |text: &Value| text.as_str().is_some_and(|text| text.contains(MASK));
    let masked_header = response["headers"].as_array().into_iter().flatten().any(|header| masked(&header[1]));
    if (into_body && masked(&response["body"])) || (into_headers && masked_header) {
        return Err(
            "The response has secrets, which are masked, and validators look into it: the request alone is expected."
                .to_owned(),
        );
    }
    if into_headers && response["headers_truncated"] == true {
        return Err(
            "Not all headers of the response are kept, and validators look at them: the request alone is expected."
                .to_owned(),
        );
    }
    let mut table = format!("[tests.response]\nstatus = {status}\n");
    let headers = headers(response, into_headers);
    if !headers.is_empty() {
        let headers: Vec<String> =
            headers.iter().map(|(name, value)| format!("{} = {}", quoted(name), quoted(value))).collect();
        let _ = writeln!(table, "headers = {{ {} }}", headers.join(", "));
    }
    let body = response["body"].as_str().unwrap_or_default();
    if !body.is_empty() && !truncated && status != 204 {
        let _ = writeln!(table, "body = {}", literal(body));
    }
    let mut expected = vec![format!("outcome = {}", quoted(one["outcome"].as_str().unwrap_or_default()))];
    if let Some(reason) = reason {
        expected.push(format!("reason = {}", quoted(reason)));
        let failed = validators.iter().filter(|validator| validator["passed"] != true);
        let failed: Vec<String> = failed.filter_map(|validator| validator["name"].as_str()).map(quoted).collect();
        if !validators.is_empty() {
            expected.push(format!("validators = [{}]", failed.join(", ")));
        }
    }
    Ok(Some(Answer { response: table, expected }))
}

/// The headers that may matter, each name once: several of one name are judged as one list.
fn headers(response: &Value, all: bool) -> Vec<(String, String)> {
    let mut kept: Vec<(String, String)> = Vec::new();
    for header in response["headers"].as_array().into_iter().flatten() {
        let (Some(name), Some(value)) = (header[0].as_str(), header[1].as_str()) else { continue };
        let name = name.to_ascii_lowercase();
        let plain = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        if !plain || !(all || HEADERS.contains(&&*name)) {
            continue;
        }
        match kept.iter_mut().find(|(known, _)| *known == name) {
            Some((_, list)) => {
                let _ = write!(list, ", {value}");
            }
            None => kept.push((name, value.to_owned())),
        }
    }
    kept
}

/// A body that is expected. JSON is indented: it is compared by what it says.
fn body_text(body: &str) -> String {
    match serde_json::from_str::<Value>(body) {
        Ok(value @ (Value::Object(_) | Value::Array(_))) => json_text(&value),
        _ => literal(body),
    }
}

/// Indented JSON as a text, so that numbers keep their digits and null is there, which TOML has not.
fn json_text(value: &Value) -> String {
    // Both stand in its strings alone.
    literal(&show::json(value).replace("'''", "''\\u0027"))
}

/// A text of several lines as it is, where TOML can write it so, and else in one line with escapes.
fn literal(text: &str) -> String {
    let odd = |character: char| is_obeyed(character) && character != '\n';
    if !text.contains('\n') || text.contains("'''") || text.ends_with('\'') || text.contains(odd) {
        return quoted(text);
    }
    // TOML leaves the first line break out.
    format!("'''\n{text}'''")
}

/// A text in quotes.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            character if is_obeyed(character) => {
                let _ = write!(out, "\\u{:04X}", u32::from(character));
            }
            character => out.push(character),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::needless_pass_by_value, reason = "tests read better so")]
mod tests {
    use clap::Parser as _;
    use serde_json::json;

    use super::*;
    use crate::cli::{Cli, Command};

    const HOOK: &str = "\
url = 'https://hooks.example.com/in/${env:PATH_OF_HOOK}'
limits = { response = '1KiB' }
body = '''{\"id\": \"{{data.id}}\", \"none\": {{data.none}}, \"many\": {{data.many}}, \"secret\": \"${env:SECRET}\"}'''
[[response_validators]]
name = 'ok'
path = '$.data.ok'
expected = ['true']
[[response_validators]]
name = 'gate'
path = \"$.headers['x-gate']\"
rejected = ['closed']
";

    /// What `check` says of the file with the block behind it.
    fn checked(hook: &str, block: &str) -> (u8, String) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("webhooks")).unwrap();
        std::fs::write(dir.path().join("webhooks/hook.toml"), format!("{hook}{block}")).unwrap();
        let words = ["outrigger", "check", "--placeholders", dir.path().to_str().unwrap()];
        let Command::Check(check) = Cli::try_parse_from(words).unwrap().command else { panic!("it is check") };
        let answer = check.run();
        (answer.code, answer.out)
    }

    fn event() -> Value {
        let text = r#"{"event_type": "RequestGranted", "data": {"id": "it's '''odd'''\r\n\u202e\u007f\\ \"q\"", "none": null,
            "many": [12345678901234567890123, 1.10, {"a": []}]}}"#;
        serde_json::from_str(text).unwrap()
    }

    /// What the API says of an attempt with this event.
    fn invocation(outcome: &str, reason: Option<&str>, response: Value, validators: Value) -> Value {
        let body = r#"{"id": "it's '''odd'''\r\n\u202e\u007f\\ \"q\"", "none": null, "many": [12345678901234567890123, 1.10, {"a": []}], "secret": "***"}"#;
        json!({
            "id": "inv_000644abcdef0123", "at": "2026-11-22T10:00:01.5Z", "webhook": "hook", "event_type": "RequestGranted",
            "request_id": "AR-\"1\"", "outcome": outcome, "reason": reason, "test": false,
            "request": { "method": "POST", "url": "https://hooks.example.com/***", "headers": [], "body": body, "body_bytes": 1,
                "truncated": false },
            "response": response, "validators": validators,
        })
    }

    fn response(status: u16, headers: Value, body: &str) -> Value {
        json!({ "status": status, "headers": headers, "body": body, "body_bytes": body.len(), "truncated": false })
    }

    fn verdicts(ok: bool, gate: bool) -> Value {
        json!([{ "name": "ok", "path": "$.data.ok", "passed": ok }, { "name": "gate", "path": "$.headers.x-gate", "passed": gate }])
    }

    #[test]
    fn a_block_passes_on_the_definition_that_it_came_from_and_fails_on_another() {
        let fine = "{\"ok\": true,\n\"x\": \"'''\"}";
        let fine = response(200, json!([["content-type", "application/json"], ["x-gate", "open"]]), fine);
        let closed = response(200, json!([["X-Gate", "closed"]]), "{\"ok\":\n\"no\"}\n");
        let doubled = response(200, json!([["x-gate", "open"], ["x-gate", "closed"]]), "{\"ok\": true}");
        let late = response(429, json!([["retry-after", "7"], ["server", "x"]]), "slow down");
        let cases = [
            ("accepted", None, fine, verdicts(true, true)),
            ("failed", Some("validation_failed"), closed, verdicts(false, false)),
            ("accepted", None, doubled, verdicts(true, true)),
            ("failed", Some("rate_limited"), late, json!([])),
            ("failed", Some("not_found"), response(404, json!([]), ""), json!([])),
            ("failed", Some("timeout"), Value::Null, json!([])),
        ];
        for (outcome, reason, response, validators) in cases {
            let block = block(&invocation(outcome, reason, response, validators), &event()).unwrap();
            assert!(!block.contains('\u{202e}'), "{block}");
            let (code, out) = checked(HOOK, &block);
            assert_eq!((code, out.contains("1 test passed, 0 failed")), (0, true), "{block}\n{out}");
            let (code, out) = checked(&HOOK.replace("1KiB", "2KiB").replace("{{data.id}}", "id {{data.id}}"), &block);
            assert!(code == 1 && out.contains("body.id: "), "{block}\n{out}");
        }
    }

    #[test]
    fn what_cannot_be_expected_is_left_out_and_told() {
        let mut cut = response(200, json!([]), "{\"ok\": tr…");
        cut["truncated"] = json!(true);
        let mut one = invocation("accepted", None, cut, verdicts(true, true));
        one["request"]["truncated"] = json!(true);
        one["test"] = json!(true);
        let block = block(&one, &event()).unwrap();
        for note in
            ["# Not all of the response is kept", "# It was sent by the Test button", "# The request's body is longer"]
        {
            assert!(block.contains(note), "{note}: {block}");
        }
        assert!(!block.contains("[tests.response]") && block.contains("delivered = true"), "{block}");
        let (code, out) = checked(HOOK, &block);
        assert_eq!(code, 0, "{block}\n{out}");
        assert!(super::block(&one, &json!(null)).unwrap_err().contains("no JSON object"));

        // What is masked is no response that validators could be asked about.
        let masked = response(200, json!([["x-gate", "***"]]), "{\"ok\": true}");
        let hidden = response(200, json!([["x-gate", "open"]]), "{\"ok\": true, \"token\": \"***\"}");
        let mut cut = response(200, json!([["x-gate", "open"]]), "{\"ok\": true}");
        cut["headers_truncated"] = json!(true);
        for response in [masked, hidden, cut] {
            let block = super::block(&invocation("accepted", None, response, verdicts(true, true)), &event()).unwrap();
            assert!(block.contains("the request alone is expected") && !block.contains("[tests.response]"), "{block}");
            assert_eq!(checked(HOOK, &block).0, 0, "{block}");
        }
        let mut unjudged = invocation("failed", Some("validation_failed"), response(200, json!([]), ""), json!([]));
        unjudged["omitted"] = json!(true);
        let block = super::block(&unjudged, &event()).unwrap();
        assert!(block.contains("# The verdicts") && checked(HOOK, &block).0 == 0, "{block}");
        let beside = "$.data[?$.headers['x-gate'] == 'open']";
        let hook = HOOK.replace("'$.data.ok'", &format!("{beside:?}"));
        let open = response(200, json!([["x-gate", "open"]]), "[true]");
        let mut verdicts = verdicts(true, true);
        verdicts[0]["path"] = json!(beside);
        verdicts.as_array_mut().unwrap().truncate(1);
        let block = super::block(&invocation("accepted", None, open, verdicts), &event()).unwrap();
        assert_eq!(checked(&hook, &block).0, 0, "{block}");
        one["request"] = Value::Null;
        assert!(super::block(&one, &event()).unwrap().contains("# The request is not kept"));
        one["event_type"] = json!("Manual");
        assert!(super::block(&one, &event()).unwrap_err().contains("invoked by name"));
    }

    #[test]
    fn a_template_that_cannot_be_rendered_is_expected_to_fail() {
        let mut one = invocation("failed", Some("template_error"), Value::Null, json!([]));
        one["request"] = Value::Null;
        let block = block(&one, &event()).unwrap();
        let strict = HOOK.replacen("limits", "strict = true\nlimits", 1).replace("data.id", "data.idd");
        assert_eq!(checked(&strict, &block).0, 0, "{block}");
        assert_eq!(checked(HOOK, &block).0, 1, "{block}");
    }
}
