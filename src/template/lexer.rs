//! Reads JSON character by character, only to know what is a string, and what is a string in a document in a string.

/// Where the reading has come to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Lexer {
    state: State,
    escape: Escape,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum State {
    /// Outside any string.
    #[default]
    Outside,
    /// In a string that is text.
    Text,
    /// In a string that is a document, which is read in turn.
    Document(Box<Lexer>),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Escape {
    #[default]
    None,
    Backslash,
    /// Behind `\u`: how many digits were read, and their value.
    Unicode(u8, u32),
}

/// What a character has done. Levels count strings: 0 is the text itself, 1 a document in a string of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fed {
    /// Nothing to speak of.
    Nothing,
    /// It opened a string; the string is read as text unless [`Lexer::read_as_document`] is called.
    Opened(usize),
    /// It ended a string.
    Closed {
        /// The level of the string.
        level: usize,
        /// Whether nothing was open in it.
        whole: bool,
    },
    /// It completed a character of the innermost string.
    Text(char),
}

impl Lexer {
    /// Takes one character.
    pub(super) fn feed(&mut self, c: char) -> Fed {
        self.feed_at(c, 0)
    }

    fn feed_at(&mut self, c: char, level: usize) -> Fed {
        if self.state == State::Outside {
            if c != '"' {
                return Fed::Nothing;
            }
            self.state = State::Text;
            return Fed::Opened(level);
        }
        if c == '"' && self.escape == Escape::None {
            let whole = match &self.state {
                State::Document(inner) => !inner.is_in_string(),
                State::Outside | State::Text => true,
            };
            self.state = State::Outside;
            return Fed::Closed { level, whole };
        }
        let Some(c) = self.unescape(c) else { return Fed::Nothing };
        match &mut self.state {
            State::Document(inner) => inner.feed_at(c, level + 1),
            State::Outside | State::Text => Fed::Text(c),
        }
    }

    /// The character that is meant, once it is complete.
    fn unescape(&mut self, c: char) -> Option<char> {
        match self.escape {
            Escape::None if c == '\\' => {
                self.escape = Escape::Backslash;
                None
            }
            Escape::None => Some(c),
            Escape::Backslash if c == 'u' => {
                self.escape = Escape::Unicode(0, 0);
                None
            }
            Escape::Backslash => {
                self.escape = Escape::None;
                Some(match c {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'b' => '\u{8}',
                    'f' => '\u{c}',
                    other => other,
                })
            }
            Escape::Unicode(digits, value) => {
                let value = value * 16 + c.to_digit(16).unwrap_or_default();
                if digits < 3 {
                    self.escape = Escape::Unicode(digits + 1, value);
                    return None;
                }
                self.escape = Escape::None;
                // Halves of a pair mean nothing here, and any other character does in their place.
                Some(char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER))
            }
        }
    }

    /// Says that the string which has just opened holds a document.
    pub(super) fn read_as_document(&mut self) {
        match &mut self.state {
            State::Document(inner) => inner.read_as_document(),
            state => *state = State::Document(Box::default()),
        }
    }

    /// How many documents are around, and whether this is a string of the innermost.
    pub(super) fn place(&self) -> (usize, bool) {
        match &self.state {
            State::Outside => (0, false),
            State::Text => (0, true),
            State::Document(inner) => {
                let (documents, quoted) = inner.place();
                (documents + 1, quoted)
            }
        }
    }

    /// Whether a string of the outermost text is open.
    pub(super) fn is_in_string(&self) -> bool {
        self.state != State::Outside
    }

    /// Ends what escape is open, so that the reading can go on behind a fault.
    pub(super) fn end_escape(&mut self) {
        self.escape = Escape::None;
        if let State::Document(inner) = &mut self.state {
            inner.end_escape();
        }
    }

    /// Whether an escape is open, at any level.
    pub(super) fn is_in_escape(&self) -> bool {
        let inner = match &self.state {
            State::Document(inner) => inner.is_in_escape(),
            State::Outside | State::Text => false,
        };
        inner || self.escape != Escape::None
    }
}
