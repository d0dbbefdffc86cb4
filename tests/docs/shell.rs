//! As much of a shell's grammar as the guides use: which commands a script runs, with which words.

use std::iter::Peekable;
use std::str::Chars;

/// The commands of a script in their order, those in substitutions before the one around them. Assignments in front of a
/// command, redirections and the words of the shell's own grammar are no part of it.
pub(super) fn commands_of(script: &str) -> Vec<Vec<String>> {
    let mut reader =
        Reader { rest: script.chars().peekable(), commands: Vec::new(), words: Vec::new(), heredocs: Vec::new() };
    reader.read();
    reader.commands
}

struct Reader<'s> {
    rest: Peekable<Chars<'s>>,
    commands: Vec<Vec<String>>,
    words: Vec<String>,
    /// The ends of here-documents that begin with the next line.
    heredocs: Vec<String>,
}

impl Reader<'_> {
    fn read(&mut self) {
        while let Some(&next) = self.rest.peek() {
            match next {
                ' ' | '\t' => {
                    self.rest.next();
                }
                '#' => self.skip_line(),
                '\n' => {
                    self.rest.next();
                    self.end_command();
                    self.skip_heredocs();
                }
                ';' | '|' | '&' | ')' => {
                    self.rest.next();
                    self.end_command();
                }
                '<' | '>' => self.redirection(),
                '\\' if self.is_continued() => {}
                _ => {
                    let word = self.word();
                    self.words.push(word);
                }
            }
        }
        self.end_command();
    }

    /// Drops `\` and the line's end behind it.
    fn is_continued(&mut self) -> bool {
        let mut ahead = self.rest.clone();
        ahead.next();
        let continued = ahead.next() == Some('\n');
        if continued {
            self.rest = ahead;
        }
        continued
    }

    fn skip_line(&mut self) {
        while self.rest.next_if(|next| *next != '\n').is_some() {}
    }

    fn skip_heredocs(&mut self) {
        for end in std::mem::take(&mut self.heredocs) {
            loop {
                let mut line = String::new();
                while let Some(next) = self.rest.next_if(|next| *next != '\n') {
                    line.push(next);
                }
                if self.rest.next().is_none() || line.trim() == end {
                    break;
                }
            }
        }
    }

    fn redirection(&mut self) {
        let sign = self.rest.next();
        if self.rest.peek() == Some(&'(') {
            self.rest.next();
            self.substitution();
            self.words.push("/dev/fd/63".to_owned());
            return;
        }
        let doubled = self.rest.next_if(|next| "<>&".contains(*next)).is_some();
        let dash = self.rest.next_if_eq(&'-').is_some();
        while self.rest.next_if(|next| " \t".contains(*next)).is_some() {}
        let target =
            if dash && self.rest.peek().is_none_or(|next| next.is_whitespace()) { String::new() } else { self.word() };
        if sign == Some('<') && doubled {
            self.heredocs.push(target);
        }
        // `2>`: the number is no word of the command.
        if self.words.last().is_some_and(|word| word == "2") {
            self.words.pop();
        }
    }

    /// Behind `$(`, `<(`: up to the bracket that closes it.
    fn substitution(&mut self) {
        let (mut inside, mut deep) = (String::new(), 1);
        for next in self.rest.by_ref() {
            deep += i32::from(next == '(') - i32::from(next == ')');
            if deep == 0 {
                break;
            }
            inside.push(next);
        }
        self.commands.extend(commands_of(&inside));
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        while let Some(&next) = self.rest.peek() {
            match next {
                ' ' | '\t' | '\n' | ';' | '|' | '&' | ')' | '<' | '>' => break,
                '\'' => {
                    self.rest.next();
                    word.extend(self.rest.by_ref().take_while(|next| *next != '\''));
                }
                '"' => {
                    self.rest.next();
                    while let Some(next) = self.rest.next().filter(|next| *next != '"') {
                        match next {
                            '\\' => word.extend(self.rest.next()),
                            '$' if self.rest.next_if_eq(&'(').is_some() => self.inside(&mut word),
                            _ => word.push(next),
                        }
                    }
                }
                '\\' => {
                    if self.is_continued() {
                        continue;
                    }
                    self.rest.next();
                    word.extend(self.rest.next());
                }
                '$' => {
                    self.rest.next();
                    if self.rest.next_if_eq(&'(').is_some() {
                        self.inside(&mut word);
                    } else {
                        word.push('$');
                    }
                }
                _ => {
                    self.rest.next();
                    word.push(next);
                }
            }
        }
        word
    }

    /// A substitution in a word; what it prints is not known.
    fn inside(&mut self, word: &mut String) {
        self.substitution();
        word.push('x');
    }

    fn end_command(&mut self) {
        let words = std::mem::take(&mut self.words);
        let assigns = |word: &str| {
            word.split_once('=').is_some_and(|(name, _)| {
                !name.is_empty() && name.chars().all(|one| one == '_' || one.is_ascii_alphanumeric())
            })
        };
        let grammar = ["do", "then", "else", "if", "while", "until", "!", "{", "("];
        let command: Vec<String> =
            words.into_iter().skip_while(|word| grammar.contains(&&**word) || assigns(word)).collect();
        let closing = ["done", "fi", "}", "for"];
        if command.first().is_some_and(|first| !closing.contains(&&**first)) {
            self.commands.push(command);
        }
    }
}

#[test]
fn scripts_are_read_as_a_shell_reads_them() {
    for (script, commands) in [
        ("outrigger check --strict  # all of it\n", vec![vec!["outrigger", "check", "--strict"]]),
        ("A=1 B='x y' outrigger run\n\n# nothing\n", vec![vec!["outrigger", "run"]]),
        (
            "curl -s \\\n  'http://x/?a=b&c' | jq . > out 2>&1",
            vec![vec!["curl", "-s", "http://x/?a=b&c"], vec!["jq", "."]],
        ),
        ("a && b; c || d &", vec![vec!["a"], vec!["b"], vec!["c"], vec!["d"]]),
        ("echo \"$(outrigger schema config)\" b", vec![vec!["outrigger", "schema", "config"], vec!["echo", "x", "b"]]),
        ("a --events <(zcat old.gz) c < in", vec![vec!["zcat", "old.gz"], vec!["a", "--events", "/dev/fd/63", "c"]]),
        ("cat > f <<'EOF'\n{ outrigger nonsense\nEOF\nls", vec![vec!["cat"], vec!["ls"]]),
        ("while curl -f x; do sleep 1; done", vec![vec!["curl", "-f", "x"], vec!["sleep", "1"]]),
        ("a it\\'s 'b c'\"d\"", vec![vec!["a", "it's", "b cd"]]),
    ] {
        assert_eq!(commands_of(script), commands, "{script}");
    }
}
