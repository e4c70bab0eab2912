//! Whatever goes wrong, the output is what it was before and nothing else is left.

mod common;

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::{fs::FileExt, process::ExitStatusExt},
    path::Path,
    process::{Child, Stdio},
    time::SystemTime,
};

use common::{GIB, MIB, Random, disk, imagepack, names, stderr};
use imagepack::{Error, Options, pack};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::tempdir;

#[test]
fn what_cannot_be_packed_is_refused_with_what_to_do() {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    disk(dir.path(), GIB, &[(0, b"precious".to_vec())]);
    File::create(at("empty")).unwrap();
    File::create(at("odd")).unwrap().set_len(GIB + 512).unwrap();
    fs::create_dir(at("folder")).unwrap();
    fs::hard_link(at("disk.raw"), at("twin")).unwrap();
    fs::hard_link(at("disk.raw"), at(".x.partial")).unwrap();
    std::os::unix::fs::symlink("empty", at("link")).unwrap();
    let before = names(dir.path());

    for (disk, output, what, mend) in [
        (
            "absent",
            "out",
            "absent does not exist",
            "Name the raw disk",
        ),
        ("empty", "out", "empty is empty", "Name the raw disk"),
        (
            "odd",
            "out",
            "holds 1073742336 bytes",
            "truncate -s %1G odd",
        ),
        ("folder", "out", "not a regular file", "Name a file"),
        ("/dev/null", "out", "not a regular file", "Name a file"),
        ("disk.raw", "folder", "is a directory", "Name a file in it"),
        ("disk.raw", "no/out", "no is no directory", "Make it first"),
        ("disk.raw", "link", "would be replaced", "another output"),
        (
            "disk.raw",
            "disk.raw",
            "is the disk itself",
            "another output",
        ),
        ("disk.raw", "twin", "is the disk itself", "another output"),
        ("disk.raw", "x", "would overwrite it", "another output"),
    ] {
        let output = imagepack(dir.path(), &[disk, "-o", output])
            .output()
            .unwrap();
        let message = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{message}");
        assert!(
            message.contains(what) && message.contains(mend),
            "{message}"
        );
        assert_eq!(names(dir.path()), before, "{message}");
    }
    let mut start = [0; 8];
    let disk = File::open(at("disk.raw")).unwrap();
    disk.read_exact_at(&mut start, 0).unwrap();
    assert_eq!(&start, b"precious");
    assert_eq!(disk.metadata().unwrap().len(), GIB);
}

#[test]
fn a_disk_that_changes_while_it_is_read_is_refused() {
    type Change = fn(&File);
    let changes: [(&str, Change); 3] = [
        ("grown", |disk| disk.set_len(2 * GIB).unwrap()),
        ("cut", |disk| disk.set_len(MIB).unwrap()),
        ("overwritten", |disk| disk.write_all_at(b"new", 0).unwrap()),
    ];
    for (name, change) in changes {
        let dir = tempdir().unwrap();
        let input = disk(dir.path(), GIB, &[(GIB - MIB, vec![1; 1 << 20])]);
        let output = dir.path().join("out");
        fs::write(&output, "old").unwrap();
        let file = File::options().write(true).open(&input).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH).unwrap();

        let mut changed = false;
        let result = pack(&input, &output, &Options::default(), |_| {
            if !changed {
                change(&file);
                changed = true;
            }
        });
        assert!(
            matches!(result, Err(Error::Changed { .. })),
            "{name}: {result:?}"
        );
        assert_eq!(fs::read_to_string(&output).unwrap(), "old", "{name}");
        assert_eq!(names(dir.path()), ["disk.raw", "out"], "{name}");
    }
}

#[test]
fn a_run_does_not_touch_the_partial_file_of_another() {
    let dir = tempdir().unwrap();
    let input = disk(dir.path(), GIB, &[]);
    let partial = dir.path().join(".out.partial");
    let mut other = File::create(&partial).unwrap();
    other.lock().unwrap();
    other.write_all(b"half").unwrap();

    let result = pack(&input, &dir.path().join("out"), &Options::default(), |_| {});
    assert!(matches!(result, Err(Error::Busy { .. })), "{result:?}");
    assert_eq!(fs::read_to_string(&partial).unwrap(), "half");
}

/// A run that is under way: 128 MiB take long at this level on one thread.
fn slow_run(dir: &Path) -> Child {
    disk(dir, GIB, &[(0, b"0123456789abcdef".repeat(8 << 20))]);
    fs::write(dir.join("out"), "old").unwrap();
    let args = ["disk.raw", "-o", "out", "--level", "9", "--threads", "1"];
    let mut run = imagepack(dir, &args)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(run.stderr.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    assert!(line.starts_with("packing"), "{line}");
    run
}

#[test]
fn a_signal_ends_it_and_leaves_nothing() {
    for signal in [Signal::INT, Signal::TERM] {
        let dir = tempdir().unwrap();
        let mut run = slow_run(dir.path());
        kill_process(Pid::from_child(&run), signal).unwrap();
        assert_eq!(run.wait().unwrap().signal(), Some(signal.as_raw()));
        assert_eq!(names(dir.path()), ["disk.raw", "out"]);
        assert_eq!(fs::read_to_string(dir.path().join("out")).unwrap(), "old");
    }
}

#[test]
fn the_run_after_a_killed_one_takes_over_what_it_left() {
    let dir = tempdir().unwrap();
    let mut run = slow_run(dir.path());
    run.kill().unwrap();
    run.wait().unwrap();
    assert_eq!(names(dir.path()), [".out.partial", "disk.raw", "out"]);
    assert_eq!(fs::read_to_string(dir.path().join("out")).unwrap(), "old");

    // Longer than what the next run writes: its end must not remain.
    disk(dir.path(), GIB, &[]);
    let partial = File::options()
        .write(true)
        .open(dir.path().join(".out.partial"))
        .unwrap();
    partial.write_all_at(&Random(4).bytes(4 * MIB), 0).unwrap();
    let output = imagepack(dir.path(), &["disk.raw", "-o", "out"])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(names(dir.path()), ["disk.raw", "out"]);
    common::sh(dir.path(), "gzip -t < out");
}

#[test]
fn nothing_but_the_result_is_on_stdout_and_no_escape_codes_in_a_pipe() {
    let dir = tempdir().unwrap();
    disk(dir.path(), GIB, &[(0, vec![1; 1 << 20])]);
    let output = imagepack(dir.path(), &["disk.raw", "-o", "out", "--json"])
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!(stdout.lines().count(), 1);
    assert!(stdout.starts_with('{'));
    assert_eq!(stderr(&output), "packing 0.00 of 0.00 GiB of data\n");
}
