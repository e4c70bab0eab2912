//! What goes to stdout: tables, sizes, plans.

use std::{
    io,
    time::{Duration, UNIX_EPOCH},
};

use serde_json::json;
use terminal_size::{Height, Width, terminal_size_of};

use crate::{
    cli::Cli,
    process::{self, Argv},
};

/// Prints the commands of `--dry-run`.
pub fn plan(cli: &Cli, commands: &[Argv]) {
    if cli.json {
        let words = |argv: &Argv| -> Vec<_> {
            argv.iter()
                .map(|word| word.to_string_lossy().into_owned())
                .collect()
        };
        let commands: Vec<_> = commands.iter().map(words).collect();
        println!("{}", json!({ "commands": commands }));
    } else {
        for command in commands {
            println!("{}", process::display(command));
        }
    }
}

/// Rows in columns of their widest cell, two spaces apart; the last column is not padded.
pub fn table<const N: usize>(rows: &[[String; N]]) -> String {
    table_within(rows, None, &[]).0
}

/// The same, of rows that lack some columns.
fn columns_of<const N: usize>(rows: &[[Option<String>; N]]) -> String {
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            let length = cell.as_ref().map_or(0, |cell| cell.chars().count());
            *width = (*width).max(length);
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .filter_map(|(cell, w)| Some(format!("{:w$}", cell.as_ref()?)))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// Columns and lines of the terminal that stdout is; none where it is none.
pub fn terminal() -> Option<(usize, usize)> {
    let (Width(columns), Height(lines)) = terminal_size_of(io::stdout())?;
    Some((columns.into(), lines.into()))
}

/// As [`table`], in so many columns: of the table's own those that are `spared`, by number, are left out one after the
/// other until it fits. Also gives the heads of these.
pub fn table_within<const N: usize>(
    rows: &[[String; N]],
    columns: Option<usize>,
    spared: &[usize],
) -> (String, Vec<String>) {
    let mut rows: Vec<[Option<String>; N]> = rows.iter().map(|row| row.clone().map(Some)).collect();
    let mut spared = spared.iter();
    let mut left_out = Vec::new();
    loop {
        let text = columns_of(&rows);
        let width = text.lines().map(|line| line.chars().count()).max();
        let fits = columns.is_none_or(|columns| width.unwrap_or(0) <= columns);
        let Some(next) = spared.next().filter(|_| !fits) else {
            return (text, left_out);
        };
        left_out.extend(rows.first().and_then(|head| head[*next].clone()));
        for row in &mut rows {
            row[*next] = None;
        }
    }
}

/// As [`table`]; what its last column has too much for so many columns goes on below.
pub fn table_wrapped<const N: usize>(rows: &[[String; N]], columns: Option<usize>) -> String {
    let text = table(rows);
    let Some(columns) = columns else { return text };
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max();
    let indent = (0..N.saturating_sub(1))
        .filter_map(width)
        .map(|width| width + 2)
        .sum();
    let lines = text
        .lines()
        .map(|line| wrapped(line, columns, indent) + "\n");
    lines.collect()
}

/// A number of things, in words: `1 machine`, `2 machines`.
pub fn count(number: usize, thing: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{s}")
}

/// Words in lines of so many columns, all but the first one behind so many spaces.
fn wrapped(text: &str, columns: usize, indent: usize) -> String {
    let mut lines = String::new();
    let mut column = 0;
    for word in text.split_inclusive(' ') {
        let length = word.trim_end().chars().count();
        if column > indent && column + length > columns {
            lines.truncate(lines.trim_end().len());
            lines.push('\n');
            lines.push_str(&" ".repeat(indent));
            column = indent;
        }
        lines.push_str(word);
        column += word.chars().count();
    }
    lines
}

/// A moment, given in seconds since 1970, as date and time of day in UTC.
pub fn utc(seconds: i64) -> String {
    let since = Duration::from_secs(seconds.try_into().unwrap_or_default());
    let moment = humantime::format_rfc3339_seconds(UNIX_EPOCH + since).to_string();
    format!("{} UTC", moment[..16].replace('T', " "))
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    let mut size = count as f64;
    for unit in ["B", "KiB", "MiB"] {
        if size < 1024.0 {
            let digits = usize::from(unit != "B");
            return format!("{size:.digits$} {unit}");
        }
        size /= 1024.0;
    }
    format!("{size:.1} GiB")
}

/// A time for people.
pub fn seconds(time: Duration) -> String {
    let tenths = time.as_secs_f64();
    if tenths < 60.0 {
        return format!("{tenths:.1} s");
    }
    let whole = time.as_secs();
    format!("{} min {:02} s", whole / 60, whole % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_line_up_and_lines_do_not_end_in_spaces() {
        let rows = [["a", "bb", ""], ["ccc", "d", "e"]].map(|row| row.map(String::from));
        assert_eq!(table(&rows), "a    bb\nccc  d   e\n");
    }

    #[test]
    fn a_table_that_is_too_wide_lacks_its_least_columns_and_says_which() {
        let rows = [["A", "BB", "C"], ["aaaa", "b", "cccc"]].map(|row| row.map(String::from));
        let within = |columns| table_within(&rows, columns, &[2, 1]);
        let whole = (table(&rows), Vec::new());
        assert_eq!(within(None), whole);
        assert_eq!(within(Some(14)), whole);
        assert_eq!(within(Some(13)).0, "A     BB\naaaa  b\n");
        let left_out = ["C", "BB"].map(String::from).to_vec();
        // The last column stays, however wide it is.
        assert_eq!(within(Some(3)), ("A\naaaa\n".to_owned(), left_out));
    }

    #[test]
    fn long_text_goes_on_below_itself() {
        assert_eq!(wrapped("ab  cd ef gh", 9, 4), "ab  cd ef\n    gh");
        assert_eq!(
            wrapped("ab  cdefghijklm no", 9, 4),
            "ab  cdefghijklm\n    no"
        );
    }

    #[test]
    fn a_last_column_that_is_too_long_goes_on_below_itself() {
        let rows = [["a", "one two three"], ["bbb", "four"]].map(|row| row.map(String::from));
        assert_eq!(table_wrapped(&rows, None), table(&rows));
        assert_eq!(
            table_wrapped(&rows, Some(12)),
            "a    one two\n     three\nbbb  four\n"
        );
    }

    #[test]
    fn a_moment_has_the_date_that_a_calendar_has() {
        assert_eq!(utc(0), "1970-01-01 00:00 UTC");
        assert_eq!(utc(951_826_260), "2000-02-29 12:11 UTC");
        assert_eq!(utc(1_795_957_200), "2026-11-29 13:00 UTC");
        assert_eq!(utc(4_107_542_399), "2100-02-28 23:59 UTC");
        assert_eq!(utc(4_107_542_400), "2100-03-01 00:00 UTC");
    }

    #[test]
    fn sizes_and_times_are_short() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1_572_864), "1.5 MiB");
        assert_eq!(bytes(5 << 40), "5120.0 GiB");
        assert_eq!(seconds(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
