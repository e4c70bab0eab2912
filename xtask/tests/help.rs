//! `xtask --help` answers at once.

mod support;

use std::time::{Duration, Instant};

use support::xtask;

#[test]
fn help_takes_less_than_50_ms() {
    // The best of several, as the machine may be busy.
    let times = (0..20).map(|_| {
        let start = Instant::now();
        assert!(xtask().arg("--help").output().unwrap().status.success());
        start.elapsed()
    });
    let best = times.min().unwrap();
    assert!(best < Duration::from_millis(50), "{best:?}");
}
