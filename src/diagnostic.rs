//! Faults in what people wrote: where, what, and how to mend it.

mod lint;

use std::fmt;
use std::ops::Range;

pub use lint::Lint;

/// A fault inside one text (a template, a path, a URL), before the file around that text is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Byte offsets into the text.
    pub at: Range<usize>,
    /// What is wrong, in one sentence without a full stop.
    pub problem: String,
    /// What to do about it, in one sentence without a full stop.
    pub fix: Option<String>,
}

impl Fault {
    /// A fault at these bytes, with its fix.
    pub fn new(at: Range<usize>, problem: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { at, problem: problem.into(), fix: Some(fix.into()) }
    }
}

/// How much a diagnostic weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// The configuration works, yet somebody should look.
    Warning,
    /// The configuration cannot be used.
    Error,
}

/// A place in a file, for people: counted from one, with the line as it stands there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Line number, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// The line's text, or of a long line the part around the place.
    pub text: String,
    /// Where in `text` the column is, from 1.
    pub text_column: usize,
    /// How many characters the carets underline, at least 1.
    pub width: usize,
}

impl Place {
    /// The place of a byte range in a file's text. Ranges that run over the line's end are cut there.
    #[must_use]
    pub fn locate(text: &str, at: Range<usize>) -> Self {
        let start = floor(text, at.start);
        let end = floor(text, at.end.max(at.start));
        let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
        let line = text[line_start..line_end].trim_end_matches('\r');
        let mut place = Self {
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start.min(line_start + line.len())].chars().count() + 1,
            text: String::new(),
            text_column: 1,
            width: text[start..end.min(line_end).max(start)].chars().count().max(1),
        };
        place.show(line);
        place
    }

    /// The line as it is printed.
    #[must_use]
    pub fn source(&self) -> String {
        self.text.replace('\t', " ")
    }

    /// What stands under it: blanks, and carets under the place.
    #[must_use]
    pub fn caret(&self) -> String {
        let carets = "^".repeat(self.width.min(LINE_CHARS_MAX));
        format!("{}{carets}", " ".repeat(self.text_column - 1))
    }

    /// Shows the line as it is given here: secrets may be masked in it.
    pub fn show(&mut self, line: &str) {
        (self.text, self.text_column) = cut(line, self.column);
    }
}

/// The nearest character boundary at or before `offset`.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

/// A fault in a file: place, problem, fix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub level: Level,
    /// Which lint it is of; `None` for a fault, which nobody can allow.
    pub lint: Option<Lint>,
    /// The file, as a path from the configuration folder.
    pub file: String,
    /// Where in the file; `None` when the file as a whole is meant.
    pub place: Option<Place>,
    /// What is wrong, in one sentence without a full stop.
    pub problem: String,
    /// What to do about it.
    pub fix: Option<String>,
}

impl Level {
    /// How it is printed.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Diagnostic {
    /// What it begins with: `error`, or with its lint `warning[unknown-path]`.
    #[must_use]
    pub fn heading(&self) -> String {
        let lint = self.lint.map(|lint| format!("[{lint}]")).unwrap_or_default();
        format!("{}{lint}", self.level.as_str())
    }

    /// All on one line and without the file's own text, in which a secret may stand: for logs.
    #[must_use]
    pub fn for_log(&self) -> String {
        let level = self.heading();
        let place = self.place.as_ref().map(|place| format!(":{}:{}", place.line, place.column)).unwrap_or_default();
        let fix = self.fix.as_ref().map(|fix| format!("; fix: {fix}")).unwrap_or_default();
        format!("{level}: {}{place}: {}{fix}", self.file, self.problem)
    }
}

/// The longest part of a source line that is kept and printed, in characters; around the caret where the line is longer.
const LINE_CHARS_MAX: usize = 160;

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.heading(), self.problem)?;
        let Some(place) = &self.place else {
            writeln!(f, "  --> {}", self.file)?;
            if let Some(fix) = &self.fix {
                writeln!(f, "   = fix: {fix}")?;
            }
            return Ok(());
        };
        let margin = " ".repeat(place.line.to_string().len());
        writeln!(f, "{margin}--> {}:{}:{}", self.file, place.line, place.column)?;
        writeln!(f, "{margin} |")?;
        writeln!(f, "{} | {}", place.line, place.source())?;
        writeln!(f, "{margin} | {}", place.caret())?;
        if let Some(fix) = &self.fix {
            writeln!(f, "{margin} = fix: {fix}")?;
        }
        Ok(())
    }
}

/// The part of a long line around its caret, and the caret's column in that part.
fn cut(line: &str, column: usize) -> (String, usize) {
    if line.chars().count() <= LINE_CHARS_MAX {
        return (line.to_owned(), column);
    }
    let skipped = column.saturating_sub(LINE_CHARS_MAX / 2);
    let mut text: String = line.chars().skip(skipped).take(LINE_CHARS_MAX).collect();
    if skipped == 0 {
        text.push('…');
        return (text, column);
    }
    text.insert(0, '…');
    (text, column - skipped + 1)
}

/// The longest word that another one is near to, in characters.
const NEAR_CHARS_MAX: usize = 64;

/// The nearest of the known words, where one is near enough to be meant.
#[must_use]
pub fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let chars = word.chars().take(NEAR_CHARS_MAX + 1).count();
    if chars > NEAR_CHARS_MAX {
        return None;
    }
    let lower = word.to_lowercase();
    let near = |candidate: &'a str| {
        let length = candidate.chars().take(NEAR_CHARS_MAX + 1).count();
        let distance_max = 1 + length / 4;
        // A distance is at least what the lengths differ by.
        if length > NEAR_CHARS_MAX || chars.abs_diff(length) > distance_max {
            return None;
        }
        let distance = strsim::damerau_levenshtein(&lower, &candidate.to_lowercase());
        (distance <= distance_max).then_some((distance, candidate))
    };
    known.into_iter().filter_map(near).min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_counts_lines_and_characters_from_one() {
        let text = "a = 1\nü = \"x\"\n";
        let place = Place::locate(text, 11..14);
        assert_eq!((place.line, place.column, place.width), (2, 5, 3));
        assert_eq!(place.text, "ü = \"x\"");
    }

    #[test]
    fn a_place_outside_the_text_is_its_end() {
        let place = Place::locate("abc", 90..95);
        assert_eq!((place.line, place.column, place.width), (1, 4, 1));
    }

    #[test]
    fn a_place_in_a_long_line_keeps_what_is_around_it() {
        let text = format!("a\n{}ü{}\nb", "x".repeat(1_000_000), "y".repeat(1_000_000));
        let mut place = Place::locate(&text, 1_000_002..1_000_004);
        assert_eq!((place.line, place.column, place.width), (2, 1_000_001, 1));
        assert_eq!(place.text.chars().nth(place.text_column - 1), Some('ü'));
        assert!(place.text.chars().count() <= LINE_CHARS_MAX + 1);
        place.show(&"*".repeat(2_000_001));
        assert!(place.text.ends_with("***") && place.text.chars().count() <= LINE_CHARS_MAX + 1);
    }

    #[test]
    fn a_diagnostic_shows_place_line_caret_and_fix() {
        let text = "url = 'x'\ntrigers = []\n";
        let mut diagnostic = Diagnostic {
            level: Level::Error,
            lint: None,
            file: "webhooks/slack.toml".to_owned(),
            place: Some(Place::locate(text, 10..17)),
            problem: "unknown key `trigers`".to_owned(),
            fix: Some("did you mean `triggers`?".to_owned()),
        };
        assert_eq!(
            diagnostic.to_string(),
            "error: unknown key `trigers`\n --> webhooks/slack.toml:2:1\n  |\n2 | trigers = []\n  | ^^^^^^^\n  = fix: did you mean `triggers`?\n"
        );
        assert_eq!(
            diagnostic.for_log(),
            "error: webhooks/slack.toml:2:1: unknown key `trigers`; fix: did you mean `triggers`?"
        );
        (diagnostic.level, diagnostic.lint) = (Level::Warning, Some(Lint::UnknownPath));
        assert!(diagnostic.to_string().starts_with("warning[unknown-path]: unknown key"), "{diagnostic}");
        assert!(diagnostic.for_log().starts_with("warning[unknown-path]: webhooks/slack.toml:2:1: "));
    }

    #[test]
    fn only_a_near_word_is_offered() {
        assert_eq!(nearest("trigers", ["triggers", "title"]), Some("triggers"));
        assert_eq!(nearest("URL", ["url"]), Some("url"));
        assert_eq!(nearest("zebra", ["url", "title"]), None);
        assert_eq!(nearest("ab", ["a"]), Some("a"));
        let long = "x".repeat(NEAR_CHARS_MAX);
        assert_eq!(nearest(&long, [&*long]), Some(&*long));
        assert_eq!(nearest(&format!("{long}x"), [&*format!("{long}x")]), None);
    }

    #[test]
    fn a_long_line_is_cut_around_its_caret() {
        let line = "x".repeat(1000);
        let (text, column) = cut(&line, 500);
        assert!(text.chars().count() <= LINE_CHARS_MAX + 1);
        assert_eq!(text.chars().nth(column - 1), Some('x'));
    }
}
