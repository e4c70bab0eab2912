//! Progress of a transfer on stderr: one line that is rewritten on a terminal, a plain line now and
//! then elsewhere.

use std::{
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

pub(crate) struct Meter {
    what: &'static str,
    terminal: bool,
    /// When the first bytes of this run were reported, and how many were there by then.
    began: Option<(Instant, u64)>,
    printed: Instant,
    dirty: bool,
}

impl Meter {
    pub(crate) fn new(what: &'static str) -> Self {
        Self {
            what,
            terminal: stderr().is_terminal(),
            began: None,
            printed: Instant::now(),
            dirty: false,
        }
    }

    /// Bytes done, bytes in all.
    pub(crate) fn update(&mut self, done: u64, total: u64) {
        let (since, from) = *self.began.get_or_insert_with(|| (Instant::now(), done));
        let interval = Duration::from_millis(if self.terminal { 200 } else { 5000 });
        if self.printed.elapsed() < interval {
            return;
        }
        self.printed = Instant::now();
        // What an earlier run sent counts for no rate.
        let rate = done.saturating_sub(from) as f64 / since.elapsed().as_secs_f64();
        let line = line(self.what, done, total, rate);
        if self.terminal {
            self.dirty = true;
            eprint!("\r\x1b[K{line}");
        } else {
            eprintln!("{line}");
        }
    }
}

impl Drop for Meter {
    fn drop(&mut self) {
        if self.dirty {
            eprint!("\r\x1b[K");
        }
    }
}

/// Says something beside a line of progress.
pub(crate) fn say(text: &str) {
    if stderr().is_terminal() {
        eprint!("\r\x1b[K");
    }
    eprintln!("{text}");
}

/// At most 80 columns; `rate` in bytes a second.
fn line(what: &str, done: u64, total: u64, rate: f64) -> String {
    const MIB: f64 = (1 << 20) as f64;
    const GIB: f64 = (1 << 30) as f64;
    let start = format!(
        "{what} {:.2} of {:.2} GiB",
        done as f64 / GIB,
        total as f64 / GIB
    );
    if rate < 1.0 {
        return start;
    }
    let left = ((total - done) as f64 / rate).ceil() as u64;
    format!(
        "{start}, {:.1} MiB/s, {}:{:02} left",
        rate / MIB,
        left / 60,
        left % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_names_bytes_rate_and_time_left_within_80_columns() {
        let line = line("uploading", 3 << 30, 12 << 30, 102.4 * f64::from(1 << 20));
        assert_eq!(line, "uploading 3.00 of 12.00 GiB, 102.4 MiB/s, 1:30 left");
        assert!(line.len() < 80);
    }
}
