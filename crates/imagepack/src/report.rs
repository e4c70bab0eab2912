//! Progress on stderr: one line that is rewritten on a terminal, a plain line now and then elsewhere.

use std::time::{Duration, Instant};

use imagepack::Progress;

/// Prints progress, at most once in its interval.
pub struct Report {
    terminal: bool,
    started: Instant,
    printed: Option<Instant>,
}

impl Report {
    /// A report to a terminal or to something else.
    pub fn new(terminal: bool) -> Self {
        Self {
            terminal,
            started: Instant::now(),
            printed: None,
        }
    }

    /// Prints `progress` unless that was done a moment ago.
    pub fn update(&mut self, progress: Progress) {
        let interval = Duration::from_millis(if self.terminal { 200 } else { 5000 });
        if self.printed.is_some_and(|at| at.elapsed() < interval) {
            return;
        }
        self.printed = Some(Instant::now());
        let line = line(progress, self.started.elapsed());
        if self.terminal {
            eprint!("\r\x1b[K{line}");
        } else {
            eprintln!("{line}");
        }
    }

    /// Clears the line on a terminal, for what comes after it.
    pub fn finish(&self) {
        if self.terminal && self.printed.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}

/// At most 80 columns.
fn line(progress: Progress, elapsed: Duration) -> String {
    let Progress {
        data_bytes,
        data_done,
        file_bytes,
    } = progress;
    let start = format!(
        "packing {} of {} GiB of data",
        gib(data_done),
        gib(data_bytes)
    );
    if data_done == 0 {
        return start;
    }
    let rate = data_done as f64 / elapsed.as_secs_f64();
    let left = ((data_bytes - data_done) as f64 / rate).ceil() as u64;
    format!(
        "{start} into {} GiB, {:.0} MiB/s, {}:{:02} left",
        gib(file_bytes),
        rate / f64::from(1 << 20),
        left / 60,
        left % 60
    )
}

fn gib(bytes: u64) -> String {
    format!("{:.2}", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_bytes_rate_and_time_left_within_80_columns() {
        let progress = Progress {
            data_bytes: 12 << 30,
            data_done: 3 << 30,
            file_bytes: 1 << 30,
        };
        let line = line(progress, Duration::from_secs(30));
        assert_eq!(
            line,
            "packing 3.00 of 12.00 GiB of data into 1.00 GiB, 102 MiB/s, 1:30 left"
        );
        assert!(line.len() < 80);
    }
}
