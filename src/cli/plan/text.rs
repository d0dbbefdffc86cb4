//! A plan for people.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;
use std::ops::Range;

use toml::Value;

use super::Plan;
use super::definition::{Changed, How};
use super::effect::{Effect, Look};
use super::events::{Occurrence, Origin};
use super::lines::{Line, diff};
use super::report::{Report, Webhook, in_full};
use super::shown::{Body, Does, Request, Shown};
use crate::cli::count;
use crate::cli::paint::{Colour, Paint, visible};
use crate::kind::value::cut;
use crate::secret::MASK;

/// How many lines of one body, or of the difference of two, are shown.
const BODY_LINES_MAX: usize = 60;
/// How much of a line is shown, in characters.
const LINE_CHARS_MAX: usize = 160;
/// How much of a long line is shown before the part that differs, in characters.
const LINE_CHARS_BEFORE: usize = 40;
/// How many other places are named after the one that is shown.
const PLACES_MAX: usize = 10;
/// How many groups of effects of one sort are shown of a webhook.
const LOOKS_MAX: usize = 10;
/// How much of a key's value is shown, in characters.
const VALUE_CHARS_MAX: usize = 100;

/// Writes a plan.
pub(super) fn write(report: &Report<'_>, plan: &Plan, paint: Paint) -> String {
    let mut text = Text { out: String::new(), paint, plan, report, shown: 0 };
    if report.differs || report.webhooks.iter().any(|webhook| !webhook.effects.is_empty()) {
        text.line(0, &paint.text(Colour::Bold, &format!("{} → {}", report.old.label, report.new.label)));
        text.out.push('\n');
    }
    if !report.sidecar.is_empty() {
        text.line(0, &paint.text(Colour::Bold, "outrigger.toml"));
        for changed in &report.sidecar {
            text.changed(changed);
        }
        text.out.push('\n');
    }
    for webhook in &report.webhooks {
        text.webhook(webhook);
        text.out.push('\n');
    }
    text.summary();
    text.out
}

struct Text<'t> {
    out: String,
    paint: Paint,
    plan: &'t Plan,
    report: &'t Report<'t>,
    /// How many effects were shown in full.
    shown: usize,
}

/// What stands before a line of one side.
#[derive(Clone, Copy)]
enum Mark {
    Removed,
    Added,
    None,
}

impl Text<'_> {
    fn line(&mut self, indent: usize, text: &str) {
        let _ = writeln!(self.out, "{}{text}", if text.is_empty() { String::new() } else { " ".repeat(indent) });
    }

    fn webhook(&mut self, webhook: &Webhook<'_>) {
        let note = match (webhook.old, webhook.new) {
            (false, true) => " (new)",
            (true, false) => " (removed)",
            _ => "",
        };
        self.line(0, &self.paint.text(Colour::Bold, &format!("{}{note}", webhook.name)));
        for sort in webhook.effects.chunk_by(|(one, _), (next, _)| same_sort(one, next)) {
            let Some((first, _)) = sort.first() else { continue };
            self.line(2, &heading(first, deliveries_of(sort), self.paint));
            let looks = if self.plan.all { sort.len() } else { sort.len().min(LOOKS_MAX) };
            let (shown, others) = sort.split_at(looks);
            for (look, events) in shown {
                self.group(webhook, look, events);
            }
            if !others.is_empty() {
                let number = deliveries_of(others);
                self.line(
                    4,
                    &format!("and {number} more in {}: --all shows every one", count(others.len(), "other way")),
                );
            }
        }
        if webhook.effects.is_empty() {
            self.line(2, "no effect on these events");
        }
        for changed in &webhook.changed {
            self.changed(changed);
        }
    }

    /// One effect in full, and where the others are that look alike; or every one.
    fn group(&mut self, webhook: &Webhook<'_>, look: &Look, events: &[usize]) {
        let full = in_full(events, self.plan.all, self.shown);
        for index in full {
            if let Some(occurrence) = self.report.events.all.get(*index) {
                self.shown += 1;
                self.effect(webhook, look, occurrence);
            }
        }
        let rest = events.get(full.len()..).unwrap_or_default();
        if rest.is_empty() {
            return;
        }
        let text = format!("and {} more like it: {}", rest.len(), self.places(rest));
        self.line(4, &self.paint.text(Colour::Dim, &text));
    }

    /// Where events are, in a few words.
    fn places(&self, events: &[usize]) -> String {
        let occurrences = || events.iter().filter_map(|index| self.report.events.all.get(*index));
        let (what, mut places) = if self.report.events.files == 1 {
            let line = |occurrence: &Occurrence| match &occurrence.origin {
                Origin::Line(_, line) => Some(*line),
                Origin::Sample(_) => None,
            };
            let lines: Vec<usize> = occurrences().filter_map(line).collect();
            (if lines.len() == 1 { "line " } else { "lines " }, runs(&lines))
        } else {
            ("", occurrences().take(PLACES_MAX + 1).map(|one| self.place(one, true)).collect())
        };
        if places.len() > PLACES_MAX {
            places.truncate(PLACES_MAX);
            places.push("…".to_owned());
        }
        format!("{what}{}", places.join(", "))
    }

    /// Where an event is; the shorter text is for lists.
    fn place(&self, occurrence: &Occurrence, short: bool) -> String {
        match &occurrence.origin {
            Origin::Line(_, line) if self.report.events.files == 1 => format!("line {line}"),
            Origin::Sample(name) if short => name.to_string(),
            origin => origin.to_string(),
        }
    }

    fn effect(&mut self, webhook: &Webhook<'_>, look: &Look, occurrence: &Occurrence) {
        let mut head = self.place(occurrence, false);
        if let Some(event) = occurrence.event() {
            if matches!(occurrence.origin, Origin::Line(..)) {
                let _ = write!(head, ", {}", event.event_type);
            }
            if let Some(id) = self.report.id(event) {
                let _ = write!(head, ", {id}");
            }
        }
        self.line(4, &self.paint.text(Colour::Dim, &head));
        let shown = self.report.shown(webhook.name, occurrence, look.effect, self.plan.show_urls);
        self.sides(&shown);
    }

    fn sides(&mut self, shown: &Shown) {
        match (&shown.old, &shown.new) {
            (Does::Sends(old), Does::Sends(new)) => self.both(old, new, shown.hidden_path_differs),
            (Does::Nothing(causes), Does::Sends(request)) => {
                self.causes("was not sent", causes);
                self.request(request, Mark::Added);
            }
            (Does::Sends(request), Does::Nothing(causes)) => {
                self.causes("is not sent", causes);
                self.request(request, Mark::Removed);
            }
            (Does::Sends(request), Does::Fails(problem)) => {
                self.fails("cannot be rendered", problem);
                self.request(request, Mark::Removed);
            }
            (Does::Fails(problem), Does::Sends(request)) => {
                self.fails("could not be rendered", problem);
                self.request(request, Mark::Added);
            }
            (old, new) => {
                self.unsent(("was not sent", "could not be rendered"), old);
                self.unsent(("is not sent", "cannot be rendered"), new);
            }
        }
    }

    /// A side beside another that sends nothing either.
    fn unsent(&mut self, (nothing, fails): (&str, &str), does: &Does) {
        match does {
            Does::Sends(_) => {}
            Does::Fails(problem) => self.fails(fails, problem),
            Does::Nothing(causes) => self.causes(nothing, causes),
        }
    }

    fn fails(&mut self, what: &str, problem: &str) {
        self.line(6, &format!("{what}: {}", self.paint.text(Colour::Yellow, problem)));
    }

    fn causes(&mut self, what: &str, causes: &[String]) {
        self.line(6, &format!("{what}: {}", self.paint.text(Colour::Yellow, &causes.join("; "))));
    }

    fn request(&mut self, request: &Request, mark: Mark) {
        self.marked(mark, &format!("{} {}", request.method, request.url));
        for (name, value) in &request.headers {
            self.marked(mark, &format!("{name}: {value}"));
        }
        let body = request.body.lines();
        if !body.is_empty() {
            self.marked(mark, "");
        }
        for line in body.lines().take(BODY_LINES_MAX) {
            self.marked(mark, line);
        }
        self.cut_off(body.lines().count());
    }

    fn cut_off(&mut self, lines: usize) {
        if lines > BODY_LINES_MAX {
            let text = format!("… {} more", count(lines - BODY_LINES_MAX, "line"));
            self.line(8, &self.paint.text(Colour::Dim, &text));
        }
    }

    /// Both requests as one, with marks where they differ.
    fn both(&mut self, old: &Request, new: &Request, hidden_path_differs: bool) {
        let head = self.out.len();
        let first = |request: &Request| format!("{} {}", request.method, request.url);
        if hidden_path_differs || first(old) != first(new) {
            let note = if hidden_path_differs { "  (another path: --show-urls shows it)" } else { "" };
            self.marked(Mark::Removed, &first(old));
            self.marked(Mark::Added, &format!("{}{note}", first(new)));
        }
        let names: BTreeSet<&String> = old.headers.iter().chain(&new.headers).map(|(name, _)| name).collect();
        for name in names {
            let value = |request: &Request| {
                request.headers.iter().find(|(header, _)| header == name).map(|(_, value)| value.clone())
            };
            let (old, new) = (value(old), value(new));
            if old != new {
                for (mark, value) in [(Mark::Removed, old), (Mark::Added, new)] {
                    if let Some(value) = value {
                        self.marked(mark, &format!("{name}: {value}"));
                    }
                }
            }
        }
        self.bodies(&old.body, &new.body, self.out.len() > head);
        if self.out.len() == head {
            self.line(6, "the bodies differ in how their lines end, or in blanks behind the last one");
        }
    }

    fn bodies(&mut self, old: &Body, new: &Body, behind_others: bool) {
        let (old, new) = (old.lines(), new.lines());
        let lines = diff(&old, &new);
        if behind_others && !lines.is_empty() {
            self.out.push('\n');
        }
        for line in lines.iter().take(BODY_LINES_MAX) {
            match line {
                Line::Kept(text) => self.marked(Mark::None, text),
                Line::Removed(text, part) => self.marked_part(Mark::Removed, text, part),
                Line::Added(text, part) => self.marked_part(Mark::Added, text, part),
                Line::Skipped(number) => {
                    let text = format!("… {}", count(*number, "line"));
                    self.line(8, &self.paint.text(Colour::Dim, &text));
                }
            }
        }
        self.cut_off(lines.len());
    }

    fn marked(&mut self, mark: Mark, text: &str) {
        self.marked_part(mark, text, &(0..0));
    }

    /// A line with its mark, in its colour; the part that differs stands out.
    fn marked_part(&mut self, mark: Mark, text: &str, part: &Range<usize>) {
        let (text, part) = window(text, part);
        let (sign, colour, reversed) = match mark {
            Mark::Removed => ("-", Colour::Red, Colour::RedReversed),
            Mark::Added => ("+", Colour::Green, Colour::GreenReversed),
            Mark::None => {
                let text = visible(&text);
                return self.line(8, &text);
            }
        };
        let piece = |range: Range<usize>| text.get(range).unwrap_or_default();
        let line = format!(
            "{}{}{}",
            self.paint.text(colour, &format!("{sign} {}", piece(0..part.start))),
            self.paint.text(reversed, piece(part.clone())),
            self.paint.text(colour, piece(part.end..text.len()))
        );
        self.line(6, line.trim_end());
    }

    /// A key that differs.
    fn changed(&mut self, changed: &Changed) {
        let text = match &changed.how {
            How::Values(old, new) => format!("{} {}", changed.key, values(old.as_ref(), new.as_ref())),
            How::Masked => format!("{} {MASK}, written differently", changed.key),
            How::Text => format!("{}, which makes no difference to these events", changed.key),
            How::Content => format!("{}, whose file differs", changed.key),
        };
        self.line(2, &format!("also changed: {}", visible(&text)));
    }

    fn summary(&mut self) {
        let tally = self.report.tally;
        let what = if self.report.events.files == 0 { "sample event" } else { "event" };
        let events = count(self.report.events.all.len(), what);
        let same = !self.report.differs;
        let mut parts = Vec::new();
        for (effect, word) in [
            (Effect::Appear, "appear"),
            (Effect::Vanish, "vanish"),
            (Effect::Change, "change"),
            (Effect::Break, "become dead letters"),
            (Effect::Mend, "can be rendered again"),
            (Effect::Stuck, "cannot be rendered as before"),
        ] {
            let number = self.report.count(effect);
            // The first three are always told: that none vanishes is news as well.
            if number > 0 || (effect <= Effect::Change && !same) {
                parts.push(format!("{number} {word}"));
            }
        }
        let text = if same && parts.is_empty() {
            format!("{events}, {}: no difference", deliveries(tally.before))
        } else {
            parts.push(format!("{} the same", tally.same));
            format!("{events}, deliveries {} → {}: {}", tally.before, tally.after, parts.join(", "))
        };
        self.line(0, &self.paint.text(Colour::Bold, &text));
    }
}

fn deliveries(number: usize) -> String {
    if number == 1 { "1 delivery".to_owned() } else { format!("{number} deliveries") }
}

/// Whether two groups of effects stand under one heading.
fn same_sort(one: &Look, other: &Look) -> bool {
    (one.effect, one.shadow) == (other.effect, other.shadow)
}

/// How many deliveries the groups are on.
fn deliveries_of(groups: &[(Look, Vec<usize>)]) -> usize {
    groups.iter().map(|(_, events)| events.len()).sum()
}

/// What stands above the effects of one sort.
fn heading(look: &Look, number: usize, paint: Paint) -> String {
    let one = number == 1;
    let what = if look.shadow { count(number, "shadow request") } else { deliveries(number) };
    let s = if one { "s" } else { "" };
    let (colour, does) = match look.effect {
        Effect::Appear => (Colour::Green, format!("appear{s}")),
        Effect::Vanish => (Colour::Red, format!("vanish{}", if one { "es" } else { "" })),
        Effect::Change => (Colour::Yellow, format!("change{s}")),
        Effect::Break => (Colour::Red, "cannot be rendered any more: template_error".to_owned()),
        Effect::Mend => (Colour::Green, "can be rendered again".to_owned()),
        Effect::Stuck => (Colour::Yellow, "cannot be rendered, as before".to_owned()),
    };
    paint.text(colour, &format!("{what} {does}"))
}

/// Two values of a key: both, or of long lists what one has and the other has not.
fn values(old: Option<&Value>, new: Option<&Value>) -> String {
    let text = |value: Option<&Value>| value.map_or_else(|| "unset".to_owned(), Value::to_string);
    let (before, after) = (text(old), text(new));
    let is_long = [&before, &after].iter().any(|text| text.chars().count() > VALUE_CHARS_MAX);
    if let (Some(Value::Array(old)), Some(Value::Array(new)), true) = (old, new, is_long) {
        let texts = |list: &[Value]| -> Vec<String> { list.iter().map(Value::to_string).collect() };
        let (old, new) = (texts(old), texts(new));
        let only = |sign: char, these: &[String], others: &[String]| -> Vec<String> {
            let others: HashSet<&String> = others.iter().collect();
            these.iter().filter(|text| !others.contains(text)).map(|text| format!("{sign} {text}")).collect()
        };
        let differing = [only('-', &old, &new), only('+', &new, &old)].concat();
        if !differing.is_empty() {
            return cut(&differing.join(", "), VALUE_CHARS_MAX);
        }
    }
    format!("{} → {}", cut(&before, VALUE_CHARS_MAX), cut(&after, VALUE_CHARS_MAX))
}

/// Numbers in ascending order, those in a row as `3-7`.
fn runs(numbers: &[usize]) -> Vec<String> {
    let row = numbers.chunk_by(|one, next| one + 1 == *next);
    let shown = row.flat_map(|row| match row {
        [first, .., last] if row.len() > 2 => vec![format!("{first}-{last}")],
        row => row.iter().map(usize::to_string).collect(),
    });
    shown.collect()
}

/// What is shown of a line: all of it, or of a long one what stands around the part that differs.
fn window(text: &str, part: &Range<usize>) -> (String, Range<usize>) {
    if text.chars().count() <= LINE_CHARS_MAX {
        return (text.to_owned(), part.clone());
    }
    let before = text.get(..part.start).unwrap_or_default();
    let skipped = before.chars().count().saturating_sub(LINE_CHARS_BEFORE);
    let skipped_bytes: usize = text.chars().take(skipped).map(char::len_utf8).sum();
    let lead = if skipped > 0 { "…" } else { "" };
    let shown = format!("{lead}{}", cut(text.get(skipped_bytes..).unwrap_or_default(), LINE_CHARS_MAX));
    let at = |byte: usize| (byte + lead.len()).saturating_sub(skipped_bytes).min(shown.len());
    let mut range = at(part.start)..at(part.end);
    while !shown.is_char_boundary(range.end) {
        range.end -= 1;
    }
    (shown, range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_a_row_are_one_range() {
        assert_eq!(runs(&[1, 3, 4, 6, 7, 8, 9, 12]).join(", "), "1, 3, 4, 6-9, 12");
        assert_eq!(runs(&[]), Vec::<String>::new());
    }

    #[test]
    fn of_long_lists_what_differs_is_told() {
        let list = |from: usize, to: usize| {
            Value::from((from..to).map(|number| format!("name-{number:03}")).collect::<Vec<_>>())
        };
        assert_eq!(values(Some(&list(0, 2)), None), "[\"name-000\", \"name-001\"] → unset");
        assert_eq!(values(Some(&list(0, 50)), Some(&list(1, 51))), "- \"name-000\", + \"name-050\"");
        assert!(values(Some(&list(0, 50)), Some(&list(50, 100))).chars().count() <= VALUE_CHARS_MAX + 1);
        // Each held against each would take minutes.
        assert!(values(Some(&list(0, 60_000)), Some(&list(30_000, 90_000))).starts_with("- \"name-000\", "));
    }

    #[test]
    fn of_a_long_line_the_part_that_differs_is_shown() {
        let text = format!("{}NEW{}", "ä".repeat(300), "ö".repeat(300));
        let (shown, part) = window(&text, &(600..603));
        assert_eq!(shown.get(part), Some("NEW"), "{shown}");
        assert_eq!(shown.chars().count(), LINE_CHARS_MAX + 2);
        assert!(shown.starts_with('…') && shown.ends_with('…'));
        assert_eq!(window("short", &(1..2)), ("short".to_owned(), 1..2));
    }
}
