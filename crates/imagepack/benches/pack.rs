//! Packs a disk of real files with `tar -Sc | gzip -6` and with `imagepack`, in turn, and prints the
//! medians over the rounds of the ratios of their speeds, CPU times and sizes.
//!
//! `cargo bench -p imagepack` makes a sparse disk of 4 GiB from `/usr`; the variable `DISK` names
//! another one. `ROUNDS` (3) and `LEVELS` (the default level; `1,2,3` compares some) can be set too.

use std::{
    env,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

use imagepack::Options;

const MIB: u64 = 1 << 20;

fn main() -> io::Result<()> {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let disk = match env::var_os("DISK") {
        Some(disk) => fs::canonicalize(disk)?,
        None => sample_disk(dir.path())?,
    };
    let rounds: usize = setting("ROUNDS", 3);
    let levels: Vec<u32> = env::var("LEVELS")
        .unwrap_or_else(|_| Options::DEFAULT_LEVEL.to_string())
        .split(',')
        .map(|level| level.parse().expect("LEVELS holds numbers"))
        .collect();

    let metadata = disk.metadata()?;
    let data = metadata.blocks() * 512;
    println!(
        "{}: {} MiB, {} MiB of them allocated",
        disk.display(),
        metadata.len() / MIB,
        data / MIB
    );
    warm_up(&disk)?;

    let packed = dir.path().join("packed.tar.gz");
    let mut ratios = vec![Vec::new(); levels.len()];
    for _ in 0..rounds {
        let gzip = measure(&mut tar_gzip(&disk, &packed), &packed)?;
        show("tar -Sc | gzip -6", data, &gzip);
        for (level, ratios) in levels.iter().zip(&mut ratios) {
            let mut command = Command::new(env!("CARGO_BIN_EXE_imagepack"));
            command.arg("pack").arg(&disk).arg("-o").arg(&packed);
            command.args(["--level", &level.to_string(), "--json"]);
            let ours = measure(&mut command, &packed)?;
            show(&format!("imagepack --level {level}"), data, &ours);
            ratios.push([
                gzip.seconds / ours.seconds,
                gzip.cpu_ticks / ours.cpu_ticks,
                ours.bytes as f64 / gzip.bytes as f64,
            ]);
        }
    }

    for (level, ratios) in levels.iter().zip(ratios) {
        let median = |index: usize| {
            let mut values: Vec<f64> = ratios.iter().map(|ratio| ratio[index]).collect();
            values.sort_by(f64::total_cmp);
            values[values.len() / 2]
        };
        println!(
            "level {level}: {:.2} times as fast as tar -Sc | gzip -6 with 1/{:.2} of its CPU time, {:.3} times its size",
            median(0),
            median(1),
            median(2)
        );
    }
    Ok(())
}

fn setting(name: &str, default: usize) -> usize {
    env::var(name).map_or(default, |value| value.parse().expect("a number"))
}

/// A disk like an image's: extents of real files with holes between them, 1.25 GiB of 4.
fn sample_disk(dir: &Path) -> io::Result<PathBuf> {
    let path = dir.join("disk.raw");
    let mut disk = File::create(&path)?;
    disk.set_len(4 << 30)?;
    let mut tar = Command::new("tar")
        .args(["-C", "/", "-c", "usr"])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let mut files = tar.stdout.take().expect("piped");
    for extent in 0..20 {
        disk.seek(SeekFrom::Start(extent * 200 * MIB))?;
        io::copy(&mut files.by_ref().take(64 * MIB), &mut disk)?;
    }
    tar.kill()?;
    tar.wait()?;
    disk.sync_all()?;
    Ok(path)
}

/// Neither contender should pay for the first read.
fn warm_up(disk: &Path) -> io::Result<()> {
    let status = Command::new("tar")
        .arg("-C")
        .arg(disk.parent().expect("a file has a directory"))
        .args(["-Scf", "-"])
        .arg(disk.file_name().expect("a file has a name"))
        .stdout(Stdio::piped())
        .spawn()
        .and_then(|mut tar| {
            io::copy(&mut tar.stdout.take().expect("piped"), &mut io::sink())?;
            tar.wait()
        })?;
    assert!(status.success());
    Ok(())
}

fn tar_gzip(disk: &Path, packed: &Path) -> Command {
    let mut shell = Command::new("sh");
    shell.args([
        "-c",
        r#"tar -C "$1" --format=oldgnu -Sc "$2" | gzip -6 > "$3""#,
    ]);
    shell.arg("sh").arg(disk.parent().unwrap());
    shell.arg(disk.file_name().unwrap()).arg(packed);
    shell
}

struct Run {
    seconds: f64,
    /// Says more than the wall time where others use the cores as well.
    cpu_ticks: f64,
    bytes: u64,
}

fn measure(command: &mut Command, packed: &Path) -> io::Result<Run> {
    let ticks = children_ticks()?;
    let started = Instant::now();
    let output = command.output()?;
    let seconds = started.elapsed().as_secs_f64();
    assert!(output.status.success(), "{output:?}");
    Ok(Run {
        seconds,
        cpu_ticks: children_ticks()? - ticks,
        bytes: packed.metadata()?.len(),
    })
}

/// User and system time of the children so far, in the kernel's ticks: proc_pid_stat(5).
fn children_ticks() -> io::Result<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let (_, fields) = stat.rsplit_once(')').expect("the name is in parentheses");
    // The first field here is the third of the manual page; these are its 16th and 17th.
    let times = fields.split_whitespace().skip(13).take(2);
    Ok(times
        .map(|time| time.parse::<f64>().expect("a number"))
        .sum())
}

fn show(name: &str, data: u64, run: &Run) {
    println!(
        "  {name:22} {:7.2} s {:7.1} MiB/s of data {:7} MiB",
        run.seconds,
        data as f64 / MIB as f64 / run.seconds,
        run.bytes / MIB
    );
}
