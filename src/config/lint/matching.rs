//! `never-matches`: triggers and filters that no event can pass.
//!
//! Nothing is guessed: what is reported follows from the filters alone, or from a list of possible values that the kind's
//! schema or its event types give.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Subject;
use crate::config::document::{At, Report};
use crate::config::table::{Table, list};
use crate::diagnostic::{Lint, nearest};
use crate::kind::{Kind, MANUAL, Path};
use crate::webhook::Triggers;
use crate::webhook::filter::{Filter, Glob, Test};

/// How many possible values a message lists.
const LISTED_MAX: usize = 12;

/// How many globs all filters on one path may have for them to be held against each other.
const COMPARED_MAX: usize = 1000;

/// One filter as it is compiled and as it is written.
struct Asked<'s> {
    filter: &'s Filter,
    table: &'s Table<'s>,
}

impl<'s> Asked<'s> {
    /// What the filter asks, where it is written.
    fn at(&self) -> At<'s> {
        let test = self.table.entries.iter().find(|entry| !matches!(entry.name, "field" | "path"));
        test.map_or(self.table.at, |entry| entry.node.at)
    }
}

/// Looks at a webhook's triggers and filters.
pub(super) fn lint(report: &mut Report, subject: &Subject<'_>) {
    let webhook = subject.webhook;
    let tables = subject.root.tables(&mut Report::default(), "filters");
    let all: Vec<Asked<'_>> =
        webhook.filters.iter().zip(&tables).map(|(filter, table)| Asked { filter, table }).collect();
    let Some(first) = all.first() else { return };
    if webhook.triggers.are_manual() {
        let problem =
            "the filters are never asked: `Manual` is the only trigger, and whoever invokes a webhook means it";
        report.warning(Lint::NeverMatches, first.table.at, problem, "remove the filters, or add a trigger");
        return;
    }
    let mut paths: BTreeMap<&str, Vec<Asked<'_>>> = BTreeMap::new();
    for asked in all {
        paths.entry(asked.filter.path.text()).or_default().push(asked);
    }
    for group in paths.into_values() {
        let Some(path) = group.first().map(|asked| &asked.filter.path) else { continue };
        if group.iter().map(|asked| asked.filter.values()).sum::<usize>() > COMPARED_MAX {
            continue;
        }
        let found = impossible(&webhook.kind, path, &group)
            .or_else(|| contradiction(&webhook.kind, path, &group))
            .or_else(|| no_trigger(&webhook.kind, &webhook.triggers, path, &group));
        if let Some((at, problem, fix)) = found {
            report.warning(Lint::NeverMatches, at, problem, fix);
        }
    }
}

/// Place, problem and fix.
type Found<'s> = Option<(At<'s>, String, String)>;

/// A filter that none of the possible values passes, or all filters of a path together where it has one value.
fn impossible<'s>(kind: &Kind, path: &Path, group: &[Asked<'s>]) -> Found<'s> {
    let schema = kind.look_up(path).ok()??;
    let values = values(schema)?;
    let label = |asked: &Asked<'_>| asked.filter.label.clone();
    if let Some(asked) = group.iter().find(|asked| !some_passes(&values, true, &[asked])) {
        let problem = format!("no event passes this filter: {}", possible(&label(asked), &values));
        return Some((asked.at(), problem, fix(asked.filter, &values)));
    }
    let all: Vec<&Asked<'_>> = group.iter().collect();
    if is_one(path, Some(schema)) && !some_passes(&values, true, &all) {
        let last = all.last()?;
        let problem = format!("no event passes all filters on `{}`: {}", label(last), possible(&label(last), &values));
        return Some((last.at(), problem, "remove or correct one of them: all of them must hold".to_owned()));
    }
    None
}

/// Filters on one path that exclude each other.
fn contradiction<'s>(kind: &Kind, path: &Path, group: &[Asked<'s>]) -> Found<'s> {
    let schema = kind.look_up(path).ok().flatten();
    let found = |asked: &Asked<'s>, why: &str| {
        let problem = format!("no event passes all filters on `{}`: {why}", asked.filter.label);
        Some((asked.at(), problem, "remove or correct one of them: all of them must hold".to_owned()))
    };
    let absent = group.iter().find(|asked| matches!(asked.filter.test, Test::Exists(false)));
    let wants = |asked: &&Asked<'_>| !matches!(asked.filter.test, Test::Exists(false) | Test::NoneOf(_));
    if let (Some(absent), Some(_)) = (absent, group.iter().find(wants)) {
        return found(absent, "this one wants no value there, and another one wants some");
    }
    for none in group {
        let Test::NoneOf(unwanted) = &none.filter.test else { continue };
        let excluded = |wanted: &[Glob]| wanted.iter().all(|wanted| unwanted.iter().any(|glob| covers(glob, wanted)));
        let some = |asked: &&Asked<'_>| match &asked.filter.test {
            Test::AnyOf(wanted) | Test::EveryOf(wanted) => excluded(wanted),
            _ => false,
        };
        if group.iter().any(|asked| some(&asked)) {
            return found(none, "this one excludes everything that another one wants");
        }
    }
    // Beyond the schema a path of names is taken for one value: a list would be written with `[*]`.
    if path.is_singular() && schema.is_none_or(|schema| is_one(path, Some(schema))) {
        let bounds = group.iter().flat_map(|low| group.iter().map(move |high| (low, high)));
        for (low, high) in bounds {
            if let (Test::Min(least), Test::Max(most)) = (&low.filter.test, &high.filter.test)
                && least > most
            {
                return found(low, &format!("no number is at least {least} and at most {most}"));
            }
        }
    }
    if is_one(path, schema) {
        let exact = group.iter().find_map(|asked| match &asked.filter.test {
            Test::AnyOf(globs) | Test::EveryOf(globs) => exact(globs),
            _ => None,
        })?;
        let all: Vec<&Asked<'_>> = group.iter().collect();
        if !some_passes(&exact, false, &all) {
            return found(all.last()?, "nothing that one of them wants passes the others");
        }
    }
    None
}

/// Filters on the event type that exclude every trigger.
fn no_trigger<'s>(kind: &Kind, triggers: &Triggers, path: &Path, group: &[Asked<'s>]) -> Found<'s> {
    if path.members().is_none() || path.members() != kind.type_path.members() {
        return None;
    }
    let types: Vec<&str> = match triggers {
        Triggers::All => kind.types.iter().map(|name| &**name).collect(),
        Triggers::Only(types) => types.iter().map(|name| &**name).filter(|name| *name != MANUAL).collect(),
    };
    let spelt: Vec<Value> = types.iter().flat_map(|name| kind.spellings(name)).map(Value::from).collect();
    let all: Vec<&Asked<'_>> = group.iter().collect();
    if spelt.is_empty() || some_passes(&spelt, false, &all) {
        return None;
    }
    let problem = format!("the filters exclude every trigger: {}", list(&types));
    Some((all.last()?.at(), problem, "remove the filter: `triggers` is for event types".to_owned()))
}

/// Whether an event with one of these values, or with none, passes all of the filters, which look at one path.
fn some_passes(values: &[Value], or_none: bool, group: &[&Asked<'_>]) -> bool {
    let Ok(path) = Path::parse("$.value") else { return true };
    let filters: Vec<Filter> = group
        .iter()
        .map(|asked| Filter { label: String::new(), path: path.clone(), test: asked.filter.test.clone() })
        .collect();
    let passes = |event: &Value| filters.iter().all(|filter| filter.holds(event));
    (or_none && passes(&json!({}))) || values.iter().any(|value| passes(&json!({ "value": value })))
}

/// The values that a schema allows, where they can be listed.
fn values(schema: &Value) -> Option<Vec<Value>> {
    if let Some(items) = schema.get("items") {
        return values(items);
    }
    if let Some(Value::Array(listed)) = schema.get("enum") {
        return Some(listed.iter().filter(|value| !value.is_null()).cloned().collect());
    }
    match *types(schema).as_slice() {
        ["boolean"] => Some(vec![true.into(), false.into()]),
        // It has no text that could match, yet it is there.
        ["object"] => Some(vec![json!({})]),
        _ => None,
    }
}

/// The types of a value that is not null, where the schema says them.
fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).filter(|name| *name != "null").collect(),
        name => name.and_then(Value::as_str).into_iter().collect(),
    }
}

/// Whether a path leads to one value at most. A list at its end is many.
fn is_one(path: &Path, schema: Option<&Value>) -> bool {
    let one = |types: Vec<&str>| !types.is_empty() && !types.contains(&"array");
    path.is_singular() && schema.is_some_and(|schema| one(types(schema)))
}

/// Whether everything that the other glob matches is matched: a star of the other is taken by a star only.
fn covers(glob: &Glob, other: &Glob) -> bool {
    glob.matches(&other.to_string().replace('*', "\u{0}"))
}

/// The texts of globs without stars; `None` when one has a star.
fn exact(globs: &[Glob]) -> Option<Vec<Value>> {
    let texts = globs.iter().map(ToString::to_string);
    texts.map(|text| (!text.contains('*')).then(|| Value::from(text))).collect()
}

fn possible(label: &str, values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(text).collect();
    match texts.as_slice() {
        [only] if only == "{}" => format!("`{label}` is an object, which has no text"),
        texts => {
            let shown: Vec<&str> = texts.iter().take(LISTED_MAX).map(String::as_str).collect();
            format!("`{label}` is one of {}", list(&shown))
        }
    }
}

/// The nearest possible value to one that is asked for.
fn fix(filter: &Filter, values: &[Value]) -> String {
    let texts: Vec<String> = values.iter().map(text).collect();
    if let Test::AnyOf(globs) | Test::EveryOf(globs) = &filter.test {
        let near = |glob: &Glob| nearest(&glob.to_string(), texts.iter().map(String::as_str)).map(str::to_owned);
        if let Some(near) = globs.iter().find_map(near) {
            return format!("did you mean \"{near}\"?");
        }
    }
    if values.iter().any(Value::is_object) {
        return "ask one of its members".to_owned();
    }
    "ask for one of these, or remove the filter".to_owned()
}

/// A possible value as a filter would name it.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "unwrap is for tests")]
mod tests {
    use std::sync::Arc;

    use crate::config::document::Document;

    use super::*;

    /// Every question that is asked below.
    fn questions() -> Vec<Test> {
        let globs = |patterns: &[&str]| patterns.iter().map(|pattern| Glob::new(pattern)).collect::<Vec<_>>();
        let lists: [&[&str]; 9] = [
            &["Error"],
            &["error"],
            &["E*"],
            &["*r"],
            &["Error", "Active"],
            &["*"],
            &["7"],
            &["7", "12"],
            &["1*", "a"],
        ];
        let mut questions = vec![Test::Exists(true), Test::Exists(false)];
        for list in lists {
            questions.extend([Test::AnyOf(globs(list)), Test::NoneOf(globs(list)), Test::EveryOf(globs(list))]);
        }
        questions.extend(["^E", "r$", "^7$", "z"].map(|pattern| Test::matches(pattern).unwrap()));
        questions.extend([1.0, 8.0, 20.0].into_iter().flat_map(|bound| [Test::Min(bound), Test::Max(bound)]));
        questions
    }

    /// Events whose values at the path are these lists, or that have nothing there.
    fn events(at: &dyn Fn(&[&str]) -> Value, values: &[&str], many: bool) -> Vec<Value> {
        let mut events = vec![json!({})];
        for one in values {
            events.push(at(&[one]));
            events.extend(values.iter().filter(|_| many).map(|other| at(&[one, other])));
        }
        events
    }

    #[test]
    fn what_is_said_to_match_never_never_matches() {
        let kinds = Kind::builtin();
        let kind = |name: &str| Arc::clone(kinds.iter().find(|kind| &*kind.name == name).unwrap());
        let words = ["Error", "Active", "error", "7", "12", "a", "", "razor"];
        let statuses = ["Initializing", "Refreshing", "Active", "Error", "Warning", "Disabled"];
        let groups = |names: &[&str]| {
            let groups: Vec<Value> = names.iter().map(|name| json!({"integration": {"name": name}})).collect();
            json!({"data": {"access_groups": groups}})
        };
        let one = |member: &'static str| move |values: &[&str]| json!({"data": {member: values.first()}});
        let requester = |values: &[&str]| json!({"data": {"requester": {"email": values.first()}}});
        let cases: [(&str, &str, Vec<Value>, usize); 4] = [
            ("integration", "$.data.status", events(&one("status"), &statuses, false), 500),
            ("request", "$.data.requester.email", events(&requester, &words, false), 200),
            ("request", "$.data.access_groups[*].integration.name", events(&groups, &words, true), 100),
            ("anomaly", "$.data.custom", events(&one("custom"), &words, false), 100),
        ];
        let document = Document { name: String::new(), text: String::new(), shown: true };
        let table = Table::empty("filters", At::new(&document, 0..0));
        let questions = questions();
        for (name, path, events, least) in cases {
            let kind = kind(name);
            let path = Path::parse(path).unwrap();
            let filters: Vec<Filter> = questions
                .iter()
                .map(|test| Filter { label: String::new(), path: path.clone(), test: test.clone() })
                .collect();
            let mut said = 0;
            for (first, second) in filters.iter().flat_map(|first| filters.iter().map(move |second| (first, second))) {
                let group = [first, second].map(|filter| Asked { filter, table: &table });
                let found = impossible(&kind, &path, &group).or_else(|| contradiction(&kind, &path, &group));
                if let Some((_, problem, _)) = found {
                    let passes = events.iter().find(|event| first.holds(event) && second.holds(event));
                    assert_eq!(passes, None, "{path:?} {:?} {:?}: {problem}", first.test, second.test);
                    said += 1;
                }
            }
            assert!(said >= least, "{path:?}: only {said} pairs were found");
        }
    }

    #[test]
    fn a_glob_covers_what_it_matches_whatever_the_other_is_filled_with() {
        for (glob, other, expected) in [
            ("*", "a*", true),
            ("a*", "a*b", true),
            ("a*", "ab", true),
            ("a*b", "a*", false),
            ("ab", "a*", false),
            ("*a*", "*b*a", true),
            ("a", "b", false),
        ] {
            assert_eq!(covers(&Glob::new(glob), &Glob::new(other)), expected, "{glob} {other}");
        }
    }
}
