//! What is wrong with a file, and where.

use std::{fmt::Write, ops::Range};

/// One thing that is wrong.
#[derive(Debug)]
pub struct Problem {
    /// The key path, empty for the file as a whole.
    pub key: String,
    /// Where it is, in bytes.
    pub span: Range<usize>,
    /// What is wrong, as the rest of a sentence that begins with the key.
    pub what: String,
    /// What to do, as a sentence.
    pub mend: String,
}

/// The text for people: each problem with file, line, column, the line itself and the mend, in the file's order.
pub fn render(file: &str, source: &str, mut problems: Vec<Problem>) -> String {
    problems.sort_by_key(|problem| problem.span.start);
    let mut text = String::new();
    for problem in &problems {
        if !text.is_empty() {
            text.push('\n');
        }
        let start = problem.span.start.min(source.len());
        let line_start = source[..start].rfind('\n').map_or(0, |i| i + 1);
        let line_end = source[start..]
            .find('\n')
            .map_or(source.len(), |i| start + i);
        let line_number = source[..line_start].matches('\n').count() + 1;
        let column = source[line_start..start].chars().count() + 1;
        // A value of several lines is underlined on its first one.
        let marked = source[start..problem.span.end.clamp(start, line_end)].trim_end();
        let width = marked.chars().count().max(1);
        // What a terminal would take for a command must not reach it.
        let line: String = source[line_start..line_end]
            .trim_end_matches('\r')
            .chars()
            .map(|c| match c {
                '\t' => ' ',
                c if c.is_control() => char::REPLACEMENT_CHARACTER,
                c => c,
            })
            .collect();
        let colon = if problem.key.is_empty() { "" } else { ": " };
        let gutter = " ".repeat(line_number.to_string().len());
        write!(
            text,
            "{file}:{line_number}:{column}: {}{colon}{}\n\
             {gutter} |\n\
             {line_number} | {line}\n\
             {gutter} | {}{}\n\
             {gutter} = {}",
            problem.key,
            problem.what,
            " ".repeat(column - 1),
            "^".repeat(width),
            problem.mend,
        )
        .expect("writing to a string");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_show_position_line_and_mend_in_the_files_order() {
        let problem = |key: &str, span, what: &str, mend: &str| Problem {
            key: key.into(),
            span,
            what: what.into(),
            mend: mend.into(),
        };
        let text = render(
            "fleet.toml",
            "a = 1\nbä = \"x\"\n",
            vec![
                problem("bä", 12..15, "is bad", "Write y."),
                problem("", 0..0, "the file is odd", "Start again."),
            ],
        );
        assert_eq!(
            text,
            "fleet.toml:1:1: the file is odd\n  |\n1 | a = 1\n  | ^\n  = Start again.\n\
             fleet.toml:2:6: bä: is bad\n  |\n2 | bä = \"x\"\n  |      ^^^\n  = Write y."
        );
    }

    #[test]
    fn control_characters_of_the_file_do_not_reach_the_terminal() {
        let problem = Problem {
            key: String::new(),
            span: 0..1,
            what: "x".into(),
            mend: "y".into(),
        };
        assert!(!render("f", "a\x1b[2J\n", vec![problem]).contains('\x1b'));
    }
}
