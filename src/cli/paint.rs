//! Colours, where they are wanted, and nothing in a text that a terminal would obey.

use std::io::IsTerminal;

use clap::ValueEnum;

/// When output is coloured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum When {
    /// On a terminal, unless `NO_COLOR` is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

impl When {
    /// Whether standard output is coloured.
    pub(super) fn colours(self) -> bool {
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
                std::io::stdout().is_terminal() && !refused
            }
        }
    }
}

/// How a text is painted.
#[derive(Clone, Copy, Debug)]
pub(super) enum Colour {
    Bold,
    Dim,
    Red,
    Green,
    Yellow,
    /// The part of a line that differs.
    RedReversed,
    GreenReversed,
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Self::Bold => "1",
            Self::Dim => "2",
            Self::Red => "31",
            Self::Green => "32",
            Self::Yellow => "33",
            Self::RedReversed => "7;31",
            Self::GreenReversed => "7;32",
        }
    }
}

/// Paints texts, or leaves them as they are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paint(pub(super) bool);

impl Paint {
    /// A text in a colour; control characters are made visible.
    pub(super) fn text(self, colour: Colour, text: &str) -> String {
        let text = visible(text);
        if self.0 && !text.is_empty() { format!("\x1b[{}m{text}\x1b[0m", colour.code()) } else { text }
    }
}

/// A text with what a terminal would obey made visible. Events are written by others.
pub(super) fn visible(text: &str) -> String {
    if !text.contains(is_obeyed) {
        return text.to_owned();
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if is_obeyed(character) { shown.extend(character.escape_unicode()) } else { shown.push(character) }
    }
    shown
}

/// Whether a terminal would do something else than show it. What turns the direction of writing makes a line read as another.
pub(super) fn is_obeyed(character: char) -> bool {
    let turns = matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (character.is_control() && character != '\t')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_a_terminal_obeys_is_left_in_a_text() {
        assert_eq!(visible("a\tü\u{1b}[31m\u{9b}"), "a\tü\\u{1b}[31m\\u{9b}");
        assert_eq!(visible("a\u{202e}b\u{2066}"), "a\\u{202e}b\\u{2066}");
        assert_eq!(Paint(true).text(Colour::Red, "a"), "\x1b[31ma\x1b[0m");
        assert_eq!(Paint(false).text(Colour::Red, "a"), "a");
    }
}
