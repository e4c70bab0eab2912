//! What goes to stdout: tables, sizes, plans.

use std::time::Duration;

use serde_json::json;

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
    let mut widths = [0; N];
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in rows {
        let cells: Vec<_> = row
            .iter()
            .zip(widths)
            .map(|(cell, w)| format!("{cell:w$}"))
            .collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
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
    fn sizes_and_times_are_short() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1_572_864), "1.5 MiB");
        assert_eq!(bytes(5 << 40), "5120.0 GiB");
        assert_eq!(seconds(Duration::from_millis(1250)), "1.2 s");
        assert_eq!(seconds(Duration::from_secs(125)), "2 min 05 s");
    }
}
