//! The lines in which two texts differ, with what stands around them.

use std::ops::Range;

/// How many lines are shown around those that differ.
const CONTEXT_LINES: usize = 2;

/// Between what two texts begin and end with alike, this many lines of each are held against each other; beyond it all of them
/// count as replaced.
const COMPARED_LINES_MAX: usize = 1_000;

/// One line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line<'t> {
    /// It stands in both.
    Kept(&'t str),
    /// It stands in the old text alone. The bytes are those that differ from the line that took its place.
    Removed(&'t str, Range<usize>),
    /// It stands in the new text alone.
    Added(&'t str, Range<usize>),
    /// So many lines that stand in both.
    Skipped(usize),
}

/// The lines in which the new text differs from the old one; empty when it does not.
pub(super) fn diff<'t>(old: &'t str, new: &'t str) -> Vec<Line<'t>> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let mut lines = Vec::new();
    let mut gap: Vec<&str> = Vec::new();
    for step in steps(&old, &new) {
        match step {
            Step::Keep(line) => gap.push(line),
            Step::Replace(removed, added) => {
                close(&mut lines, &gap, true);
                gap.clear();
                replace(&mut lines, removed, added);
            }
        }
    }
    if lines.is_empty() {
        return lines;
    }
    close(&mut lines, &gap, false);
    lines
}

/// Writes the lines between two differences, or before the first and behind the last one.
fn close<'t>(lines: &mut Vec<Line<'t>>, gap: &[&'t str], more: bool) {
    let behind = if lines.is_empty() { 0 } else { CONTEXT_LINES };
    let before = if more { CONTEXT_LINES } else { 0 };
    let skipped = gap.len().saturating_sub(behind + before);
    // A mark in place of one line would save nothing.
    if skipped <= 1 {
        lines.extend(gap.iter().map(|line| Line::Kept(line)));
        return;
    }
    lines.extend(gap.iter().take(behind).map(|line| Line::Kept(line)));
    lines.push(Line::Skipped(skipped));
    lines.extend(gap.iter().skip(behind + skipped).map(|line| Line::Kept(line)));
}

/// Lines that took the place of others. Where they are as many, each is held against the one whose place it took.
fn replace<'t>(lines: &mut Vec<Line<'t>>, removed: &[&'t str], added: &[&'t str]) {
    let paired = removed.len() == added.len();
    let parts: Vec<_> = removed.iter().zip(added).map(|(old, new)| differing(old, new)).collect();
    let part = |index: usize, of_old: bool| match parts.get(index).filter(|_| paired) {
        Some((old, new)) => (if of_old { old } else { new }).clone(),
        None => 0..0,
    };
    lines.extend(removed.iter().enumerate().map(|(index, line)| Line::Removed(line, part(index, true))));
    lines.extend(added.iter().enumerate().map(|(index, line)| Line::Added(line, part(index, false))));
}

/// The bytes of two lines between what they begin and end with alike, at character boundaries.
fn differing(old: &str, new: &str) -> (Range<usize>, Range<usize>) {
    let start: usize =
        old.chars().zip(new.chars()).take_while(|(one, other)| one == other).map(|(one, _)| one.len_utf8()).sum();
    let rest = |line: &str| line.get(start..).unwrap_or_default().to_owned();
    let end: usize = rest(old)
        .chars()
        .rev()
        .zip(rest(new).chars().rev())
        .take_while(|(one, other)| one == other)
        .map(|(one, _)| one.len_utf8())
        .sum();
    (start..old.len() - end, start..new.len() - end)
}

/// A step from the old lines to the new ones.
enum Step<'l, 't> {
    Keep(&'t str),
    Replace(&'l [&'t str], &'l [&'t str]),
}

/// The way from the old lines to the new ones that keeps the most.
fn steps<'l, 't>(old: &'l [&'t str], new: &'l [&'t str]) -> Vec<Step<'l, 't>> {
    let start = old.iter().zip(new).take_while(|(one, other)| one == other).count();
    let (old_rest, new_rest) = (old.get(start..).unwrap_or_default(), new.get(start..).unwrap_or_default());
    let end = old_rest.iter().rev().zip(new_rest.iter().rev()).take_while(|(one, other)| one == other).count();
    let (old_middle, old_end) = old_rest.split_at(old_rest.len() - end);
    let (new_middle, _) = new_rest.split_at(new_rest.len() - end);

    let mut steps: Vec<Step<'l, 't>> = old.iter().take(start).map(|line| Step::Keep(line)).collect();
    let (mut at_old, mut at_new) = (0, 0);
    for (in_old, in_new) in common(old_middle, new_middle) {
        push_replaced(&mut steps, old_middle.get(at_old..in_old), new_middle.get(at_new..in_new));
        steps.extend(old_middle.get(in_old).map(|line| Step::Keep(line)));
        (at_old, at_new) = (in_old + 1, in_new + 1);
    }
    push_replaced(&mut steps, old_middle.get(at_old..), new_middle.get(at_new..));
    steps.extend(old_end.iter().map(|line| Step::Keep(line)));
    steps
}

fn push_replaced<'l, 't>(steps: &mut Vec<Step<'l, 't>>, old: Option<&'l [&'t str]>, new: Option<&'l [&'t str]>) {
    let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
    if !old.is_empty() || !new.is_empty() {
        steps.push(Step::Replace(old, new));
    }
}

/// The longest common subsequence: pairs of indexes into both.
fn common(old: &[&str], new: &[&str]) -> Vec<(usize, usize)> {
    if old.len() > COMPARED_LINES_MAX || new.len() > COMPARED_LINES_MAX {
        return Vec::new();
    }
    // lengths[i][j]: how long it is from old line i and new line j on.
    let mut lengths = vec![vec![0_u16; new.len() + 1]; old.len() + 1];
    let length =
        |lengths: &[Vec<u16>], i: usize, j: usize| lengths.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
    for (i, one) in old.iter().enumerate().rev() {
        for (j, other) in new.iter().enumerate().rev() {
            let longest = if one == other {
                length(&lengths, i + 1, j + 1) + 1
            } else {
                length(&lengths, i + 1, j).max(length(&lengths, i, j + 1))
            };
            if let Some(cell) = lengths.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = longest;
            }
        }
    }
    let mut pairs = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let (Some(one), Some(other)) = (old.get(i), new.get(j)) {
        if one == other {
            pairs.push((i, j));
            (i, j) = (i + 1, j + 1);
        } else if length(&lengths, i + 1, j) >= length(&lengths, i, j + 1) {
            i += 1;
        } else {
            j += 1;
        }
    }
    pairs
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(old: &str, new: &str) -> String {
        let show = |line: &Line<'_>| match line {
            Line::Kept(line) => format!(" {line}"),
            Line::Removed(line, _) => format!("-{line}"),
            Line::Added(line, _) => format!("+{line}"),
            Line::Skipped(count) => format!("~{count}"),
        };
        diff(old, new).iter().map(show).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn what_differs_is_shown_with_two_lines_around_it() {
        assert_eq!(shown("a\nb\nc", "a\nb\nc"), "");
        assert_eq!(shown("a\nb\nc", "a\nx\nc"), " a|-b|+x| c");
        assert_eq!(shown("1\n2\n3\n4\n5\n6\n7\n8\n9", "1\n2\n3\n4\nx\n6\n7\n8\n9"), "~2| 3| 4|-5|+x| 6| 7|~2");
        assert_eq!(shown("1\n2\n3\n4\n5", "1\n2\n3\nx\n5"), " 1| 2| 3|-4|+x| 5");
        assert_eq!(shown("a\nb", "a\nnew\nb"), " a|+new| b");
        assert_eq!(shown("", "a"), "+a");
        assert_eq!(shown("a\nb\nc\nd", "b\nx\nd"), "-a| b|-c|+x| d");
    }

    #[test]
    fn the_part_of_a_line_that_differs_is_known() {
        let lines = diff("the löng red line", "the löng green line");
        let Some(Line::Removed(old, range)) = lines.first() else { panic!("{lines:?}") };
        assert_eq!(&old[range.clone()], "red");
        let Some(Line::Added(new, range)) = lines.get(1) else { panic!("{lines:?}") };
        assert_eq!((*new, &new[range.clone()]), ("the löng green line", "green"));
    }

    #[test]
    fn texts_of_very_many_lines_are_compared_in_bounded_time() {
        let old: Vec<String> = (0..20_000).map(|line| format!("{line}")).collect();
        let new: Vec<String> = (0..20_000).map(|line| format!("{}", line * 2)).collect();
        let (old, new) = (old.join("\n"), new.join("\n"));
        assert!(diff(&old, &new).len() > 30_000);
    }

    proptest! {
        #[test]
        fn removing_and_adding_the_lines_makes_the_new_text(old in "[abc\n]{0,40}", new in "[abc\n]{0,40}") {
            let (before, after): (Vec<_>, Vec<_>) = (old.lines().collect(), new.lines().collect());
            let (mut removed, mut added) = (Vec::new(), Vec::new());
            for step in steps(&before, &after) {
                match step {
                    Step::Keep(line) => {
                        removed.push(line);
                        added.push(line);
                    }
                    Step::Replace(old, new) => {
                        removed.extend(old);
                        added.extend(new);
                    }
                }
            }
            prop_assert_eq!(removed, before.clone());
            prop_assert_eq!(added, after.clone());
            prop_assert_eq!(diff(&old, &new).is_empty(), before == after);
        }
    }
}
