//! The place of every expression: the literal text is read as JSON, in order, through strings and what is in them.
//!
//! The rule is told at the top of [`super`]. Here a [`Lexer`] follows the text; where a string opens, the text ahead is
//! read once for each filling, which decides whether the string is text or a document.

use std::ops::Range;

use serde::de::IgnoredAny;

use crate::diagnostic::Fault;

use super::Format;
use super::expression::{Expression, LocalKind};
use super::helpers::Helper;
use super::lexer::{Fed, Lexer};
use super::parse::{BlockKind, Flat, Item};
use super::scan::FAULTS_MAX;
use super::write::{STRINGS_DEEP_MAX, Style};

/// How many choices of a branch one filling makes when blocks of the same depth share theirs; deeper ones share the last.
const DEPTHS_MAX: usize = 4;
/// How many choices of a branch one filling makes when each block has its own; further ones share the last.
const BLOCKS_MAX: usize = 6;
/// The most characters that are looked at to judge all strings of a template.
const STEPS_MAX: usize = 32 * 1024 * 1024;

/// The style for each item; items that write no value have any.
pub(super) fn places(source: &str, flat: &Flat, format: Format) -> Result<Vec<Style>, Vec<Fault>> {
    let (style, whole) = match format {
        Format::Text => return Ok(vec![Style::Plain; flat.items.len()]),
        Format::Form => (Style::Form, "a form"),
        Format::Url => (Style::Url, "a URL"),
        Format::Header => (Style::Header, "a header"),
        Format::Json => return Reader::new(source, flat).read(),
    };
    // Nothing is parsed behind these that would notice a value which is more than its place.
    let raw = flat.items.iter().filter_map(|item| match item {
        Item::Print(print) if print.raw => Some(print.at.clone()),
        _ => None,
    });
    let problem = format!("as a raw value, what an event holds could leave its place in {whole}");
    let fix = "write `{{…}}` with two braces: it is then written for its place";
    let faults: Vec<_> = raw.map(|at| Fault::new(at, problem.clone(), fix)).collect();
    if faults.is_empty() { Ok(vec![style; flat.items.len()]) } else { Err(faults) }
}

struct Reader<'s> {
    source: &'s str,
    flat: &'s Flat,
    styles: Vec<Style>,
    faults: Vec<Fault>,
    lexer: Lexer,
    /// Where the outermost open string begins.
    opened: usize,
    /// Where each open block began.
    begun: Vec<Lexer>,
    /// For each block, how many before it leave their branch to a choice.
    open_before: Vec<usize>,
    steps: usize,
}

/// Which blocks make one choice of a branch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Choosing {
    /// All that are nested equally deep.
    ByDepth,
    /// Each alone.
    OneByOne,
}

impl Choosing {
    fn choices_max(self) -> usize {
        match self {
            Self::ByDepth => DEPTHS_MAX,
            Self::OneByOne => BLOCKS_MAX,
        }
    }
}

impl<'s> Reader<'s> {
    fn new(source: &'s str, flat: &'s Flat) -> Self {
        let mut count = 0;
        let open_before = flat.blocks.iter().map(|block| {
            let before = count;
            count += usize::from(always(&block.kind).is_none());
            before
        });
        Self {
            open_before: open_before.collect(),
            source,
            flat,
            styles: Vec::with_capacity(flat.items.len()),
            faults: Vec::new(),
            lexer: Lexer::default(),
            opened: 0,
            begun: Vec::new(),
            steps: 0,
        }
    }

    fn read(mut self) -> Result<Vec<Style>, Vec<Fault>> {
        for (index, item) in self.flat.items.iter().enumerate() {
            let mut style = Style::Plain;
            match item {
                Item::Text(at) => self.text(index, at.clone()),
                Item::Reference(at, _) => style = self.style(at, "reference"),
                Item::Print(print) => {
                    style = self.style(&print.at, "expression");
                    if print.raw {
                        style = if matches!(style, Style::Json(_)) { Style::RawJson } else { Style::Plain };
                    }
                }
                Item::Open(block) => {
                    self.unescaped(&self.at(*block), "block");
                    self.begun.push(self.lexer.clone());
                }
                Item::Else(block) | Item::Close(block) => self.branch_ends(*block, matches!(item, Item::Close(_))),
            }
            self.styles.push(style);
            if self.faults.len() >= FAULTS_MAX {
                return Err(self.faults);
            }
            if self.steps > STEPS_MAX {
                let fix = "make it shorter, or its blocks inside strings simpler";
                return Err(vec![Fault::new(0..self.source.len(), "the template is too intricate", fix)]);
            }
        }
        // After another fault the place at the end is unsure.
        if self.faults.is_empty() && self.lexer.is_in_string() {
            let at = self.opened..self.opened + 1;
            self.faults.push(Fault::new(at, "this string is not closed", "close it with `\"`"));
        }
        if self.faults.is_empty() { Ok(self.styles) } else { Err(self.faults) }
    }

    /// The opening tag of a block.
    fn at(&self, block: usize) -> Range<usize> {
        self.flat.blocks.get(block).map_or(0..0, |block| block.at.clone())
    }

    fn text(&mut self, index: usize, at: Range<usize>) {
        let text = self.source.get(at.clone()).unwrap_or_default();
        for (offset, c) in text.char_indices() {
            let here = at.start + offset;
            if self.faults.len() >= FAULTS_MAX {
                return;
            }
            match self.lexer.feed(c) {
                Fed::Opened(level) => {
                    if level == 0 {
                        self.opened = here;
                    }
                    if self.is_document(index, here + 1, level) {
                        self.lexer.read_as_document();
                    }
                }
                Fed::Closed { whole: false, .. } => {
                    let problem = "a string of the document in this string is still open here";
                    let at = here..here + 1;
                    self.faults.push(Fault::new(at, problem, "close it with an escaped quote"));
                }
                Fed::Closed { .. } | Fed::Text(_) | Fed::Nothing => {}
            }
        }
    }

    fn style(&mut self, at: &Range<usize>, what: &str) -> Style {
        self.unescaped(at, what);
        let (documents, quoted) = self.lexer.place();
        let strings = documents + usize::from(quoted);
        // A value outside the innermost string may itself be a string, which is one more.
        if documents + 1 > STRINGS_DEEP_MAX {
            let problem = format!("this stands in more than {} strings, one in the other", STRINGS_DEEP_MAX - 1);
            self.faults.push(Fault::new(at.clone(), problem, "nest the documents less deep"));
            return Style::Plain;
        }
        if quoted { Style::Quoted(strings) } else { Style::Json(strings) }
    }

    fn unescaped(&mut self, at: &Range<usize>, what: &str) {
        if self.lexer.is_in_escape() {
            self.lexer.end_escape();
            let problem = format!("the {what} stands in the middle of an escape: the backslash before it is open");
            self.faults.push(Fault::new(at.clone(), problem, "write the backslash twice as often"));
        }
    }

    fn branch_ends(&mut self, block: usize, closes: bool) {
        let Some(begun) = self.begun.last() else { return };
        if *begun != self.lexer {
            let problem = "a branch of this block ends in another place than it began: inside or outside of a string";
            let fix = "let every branch close the strings that it opens, and a block without `else` leave none open";
            let at = self.at(block);
            self.lexer = begun.clone();
            self.faults.push(Fault::new(at, problem, fix));
        }
        if closes {
            self.begun.pop();
        }
    }

    /// Whether the string that has just opened holds a document.
    fn is_document(&mut self, index: usize, from: usize, level: usize) -> bool {
        for choosing in [Choosing::ByDepth, Choosing::OneByOne] {
            let mut choices = 1;
            let mut choice = 0;
            while choice < choices {
                let filling = self.fill(index, from, level, (choosing, choice));
                if filling.is_document() {
                    return true;
                }
                if self.steps > STEPS_MAX {
                    return false;
                }
                // A branch that was passed over may have hidden blocks: what one filling met is not all there is.
                choices = choices.max(1 << filling.choices.min(choosing.choices_max()));
                choice += 1;
            }
        }
        false
    }

    /// Reads ahead to the end of the string. Bit `n` of `choice` says that the blocks of the `n`th choice take their `else`.
    fn fill(&mut self, index: usize, from: usize, level: usize, (choosing, choice): (Choosing, usize)) -> Filling {
        let mut filling = Filling::default();
        let mut lexer = self.lexer.clone();
        let mut depth = 0_usize;
        let mut first = None;
        let mut at = index;
        while let Some(item) = self.flat.items.get(at) {
            at += 1;
            match item {
                Item::Text(range) => {
                    let start = if at == index + 1 { from } else { range.start };
                    for c in self.source.get(start..range.end).unwrap_or_default().chars() {
                        self.steps += 1;
                        match lexer.feed(c) {
                            Fed::Text(c) => filling.push(c),
                            Fed::Closed { level: closed, .. } if closed == level => return filling.closed(),
                            Fed::Closed { .. } => return filling,
                            Fed::Opened(_) | Fed::Nothing => {}
                        }
                    }
                }
                Item::Reference(..) => filling.value(false),
                Item::Print(print) => filling.value(print.raw),
                Item::Open(block) => {
                    let before = self.open_before.get(*block).copied().unwrap_or_default();
                    let first = *first.get_or_insert(before);
                    let Some(block) = self.flat.blocks.get(*block) else { return filling };
                    let otherwise = if let Some(first_branch) = always(&block.kind) {
                        !first_branch
                    } else {
                        let bit = match choosing {
                            Choosing::ByDepth => depth,
                            Choosing::OneByOne => before - first,
                        };
                        filling.choices = filling.choices.max(bit + 1);
                        (choice >> bit.min(choosing.choices_max() - 1)) & 1 == 1
                    };
                    depth += 1;
                    if otherwise {
                        at = block.otherwise.map_or(block.close, |otherwise| otherwise + 1);
                    }
                }
                // The end of a first branch: the other one is passed over.
                Item::Else(block) => at = self.flat.blocks.get(*block).map_or(at, |block| block.close),
                Item::Close(_) => depth = depth.saturating_sub(1),
            }
        }
        filling
    }
}

/// Which branch a block takes in a list of one, where that alone decides: `Some(true)` for the first.
fn always(kind: &BlockKind) -> Option<bool> {
    match kind {
        BlockKind::If { condition, include_zero: None, negate } => {
            in_a_list_of_one(condition).map(|holds| holds != *negate)
        }
        _ => None,
    }
}

/// Whether a condition on the turn of an `each` holds in a list of one.
fn in_a_list_of_one(condition: &Expression) -> Option<bool> {
    match condition {
        Expression::Local(local) => match local.kind {
            LocalKind::First | LocalKind::Last => Some(true),
            LocalKind::Index => Some(false),
            LocalKind::Key | LocalKind::KeyOrIndex => None,
        },
        Expression::Call(call) if call.helper == Helper::Not => {
            call.arguments.first().and_then(in_a_list_of_one).map(|holds| !holds)
        }
        _ => None,
    }
}

/// A string's content with its placeholders filled in.
#[derive(Default)]
struct Filling {
    /// With `1` for a raw expression.
    text: String,
    /// With nothing for it; kept from the first one on.
    without_raw: Option<String>,
    /// Whether the literal text had a quote in it.
    quote: bool,
    /// Whether the string ended.
    ended: bool,
    /// How many choices its blocks leave.
    choices: usize,
}

impl Filling {
    fn push(&mut self, c: char) {
        self.quote |= c == '"';
        self.text.push(c);
        if let Some(text) = &mut self.without_raw {
            text.push(c);
        }
    }

    fn value(&mut self, raw: bool) {
        if raw {
            self.without_raw.get_or_insert_with(|| self.text.clone());
        } else if let Some(text) = &mut self.without_raw {
            text.push('1');
        }
        // Behind an open backslash a letter that completes it: so the string is a document, and the place a fault.
        let backslashes = self.text.bytes().rev().take_while(|byte| *byte == b'\\').count();
        self.text.push(if backslashes % 2 == 1 { 'n' } else { '1' });
    }

    fn closed(mut self) -> Self {
        self.ended = true;
        self
    }

    fn is_document(&self) -> bool {
        let parses =
            |text: &str| text.trim_start().starts_with(['{', '[']) && serde_json::from_str::<IgnoredAny>(text).is_ok();
        self.ended && self.quote && (parses(&self.text) || self.without_raw.as_deref().is_some_and(parses))
    }
}
