//! `outrigger schema`.

use serde_json::Value;

use super::{folder, outrigger};

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

#[test]
fn the_schemas_of_both_files_are_printed_alone_or_together_or_written_to_a_folder() {
    let both = json(&outrigger(&["schema", "config"], &[], "").expect_code(0).out);
    for (file, name) in [("outrigger", "outrigger.json"), ("webhook", "webhook.json")] {
        let alone = outrigger(&["schema", "config", file], &[], "").expect_code(0).out;
        assert_eq!(both[name], json(&alone));
        assert_eq!(both[name]["$schema"], "http://json-schema.org/draft-07/schema#");
    }
    let made = folder(&[]);
    let into = made.path().join("a/schema");
    let said = outrigger(&["schema", "config", "--write", into.to_str().unwrap()], &[], "").expect_code(0).out;
    assert_eq!(said.lines().count(), 2, "{said}");
    assert_eq!(json(&std::fs::read_to_string(into.join("webhook.json")).unwrap()), both["webhook.json"]);
    let file = folder(&[("schema", "")]);
    let refused = outrigger(&["schema", "config", "--write", file.path().join("schema").to_str().unwrap()], &[], "");
    assert!(refused.expect_code(1).err.contains("webhook.json cannot be written"));
}

#[test]
fn a_kind_is_shown_with_its_triggers_fields_schema_and_a_sample() {
    let kind = json(&outrigger(&["schema", "event", "--kind", "request"], &[], "").expect_code(0).out);
    assert_eq!(kind["kind"], "request");
    assert_eq!(kind["triggers"][0], "RequestCreated");
    assert_eq!(kind["fields"]["requester"], "$.data.requester.email");
    assert_eq!(kind["schema"]["properties"]["data"]["type"], "object");
    assert!(kind["samples"].as_array().unwrap().contains(&"RequestGranted".into()));
    assert_eq!(kind["sample"]["event_type"], "AccessRequestCreated");
}

#[test]
fn a_sample_alone_is_an_event_that_render_takes() {
    let sample = outrigger(&["schema", "event", "--sample", "RequestRejected"], &[], "").expect_code(0).out;
    let variables = [("SLACK_WEBHOOK_URL".to_owned(), "https://hooks.slack.com/services/x".to_owned())];
    let arguments = ["render", "slack", "--placeholders", "--event", "-"];
    let rendered = outrigger(&arguments, &variables, &sample).expect_code(0).out;
    assert!(rendered.starts_with("slack: wanted (RequestRejected)"), "{rendered}");
}

#[test]
fn a_kind_of_ones_own_is_found_in_the_configuration_and_what_is_misspelt_is_offered() {
    let sidecar = "[kinds.deployment]\ntype = \"$.type\"\nsample = { type = \"done\", service = \"shop\" }\n";
    let files =
        [("outrigger.toml", sidecar), ("webhooks/a.toml", "kind = \"deployment\"\nurl = \"https://a.example\"\n")];
    let made = folder(&files);
    let dir = made.path().to_str().unwrap();
    let shown = outrigger(&["schema", "event", "--kind", "deployment", "--config", dir], &[], "").expect_code(0).out;
    assert_eq!(json(&shown)["sample"]["service"], "shop");
    let refused = outrigger(&["schema", "event", "--kind", "deploymen", "--config", dir], &[], "").expect_code(2).err;
    assert_eq!(refused, "error: there is no kind `deploymen`; did you mean `deployment`?\n");
    let refused = outrigger(&["schema", "event", "--kind", "audit", "--sample", "x"], &[], "").expect_code(2).err;
    assert!(refused.starts_with("error: the kind `audit` has no sample `x`; the samples are "), "{refused}");
    let refused = outrigger(&["schema", "event", "--kind", "nothing", "--config", "/nonexistent"], &[], "");
    assert!(refused.expect_code(2).err.contains("the configuration in /nonexistent has faults"));
}
