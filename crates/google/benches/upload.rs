//! Uploads against one plain `curl` PUT, in the same run: `cargo bench -p google -- [MIB [ROUNDS]]`.
//!
//! Both send the same file to the simulated cloud, in turns. What else the machine does only ever adds to a time,
//! so that the ratio is that of the best rounds; the medians and the middle half of the rounds say how
//! much was added. Also prints the most memory that `google` had.

use cloudsim::{Options, Sim};
use google::{Client, Crc32c, Endpoints, Location};
use std::{
    fs::File,
    io::Write,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

const BUCKET: &str = "bench";

fn main() {
    let numbers: Vec<u64> = std::env::args().filter_map(|a| a.parse().ok()).collect();
    let mib = numbers.first().copied().unwrap_or(128);
    let rounds = numbers.get(1).copied().unwrap_or(61);
    assert!(rounds > 0, "at least one round");
    let sim = Sim::start(Options::default()).expect("a free port");
    let cloud = Client::new(Endpoints::at(&sim.url())).with_token("deployer");
    cloud
        .ensure_bucket("bench", BUCKET, "europe-west4")
        .expect("a bucket");
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("file");
    write_noise(&file, mib);
    let crc32c = Crc32c::of_file(&file).expect("readable");

    let (mut curl, mut ours, mut peak_kib) = (Vec::new(), Vec::new(), 0);
    for round in 0..rounds {
        for is_curl in [round % 2 == 0, round % 2 == 1] {
            let start = Instant::now();
            if is_curl {
                put_by_curl(&sim.url(), &file);
                curl.push(start.elapsed());
            } else {
                peak_kib = peak_kib.max(upload(&sim.url(), &file, crc32c));
                ours.push(start.elapsed());
            }
            let at = Location {
                bucket: BUCKET.to_owned(),
                name: "file".to_owned(),
            };
            let object = cloud.object(&at).expect("an answer").expect("an object");
            assert_eq!(object.crc32c, crc32c);
            cloud.delete_object(&at, None).expect("deleted");
        }
    }
    curl.sort();
    ours.sort();
    // Rates of the best round, and of those below which lie 3, 2 and 1 of 4 rounds.
    let rates = |times: &[Duration]| -> [f64; 4] {
        [0, 1, 2, 3].map(|quarter| {
            let time = times[(times.len() - 1) * quarter / 4];
            mib as f64 / time.as_secs_f64()
        })
    };
    let (curl, ours) = (rates(&curl), rates(&ours));
    println!("MiB/s             best   median   middle half of {rounds} rounds");
    for (what, [best, upper, median, lower]) in [("curl PUT", curl), ("google", ours)] {
        println!("{what:13} {best:8.0} {median:8.0}   {lower:.0} to {upper:.0}");
    }
    println!(
        "ratio         {:8.2} {:8.2}",
        ours[0] / curl[0],
        ours[2] / curl[2]
    );
    println!(
        "peak memory   {:8.1} MiB of `google`",
        peak_kib as f64 / 1024.0
    );
}

fn write_noise(path: &Path, mib: u64) {
    let mut file = File::create(path).expect("a file");
    let mut state = 1_u64;
    let mut block = Vec::with_capacity(1 << 20);
    for _ in 0..mib {
        block.clear();
        while block.len() < 1 << 20 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            block.extend(state.to_le_bytes());
        }
        file.write_all(&block).expect("room on the disk");
    }
}

/// One PUT of the whole file to a session, as few calls as an upload can be.
fn put_by_curl(origin: &str, file: &Path) {
    let begin = Command::new("curl")
        .args(["-sS", "-D", "-", "-o", "/dev/null", "-X", "POST"])
        .args([
            "-H",
            "Authorization: Bearer deployer",
            "-H",
            "Content-Length: 0",
        ])
        .arg(format!(
            "{origin}/upload/storage/v1/b/{BUCKET}/o?uploadType=resumable&name=file"
        ))
        .output()
        .expect("curl");
    let headers = String::from_utf8_lossy(&begin.stdout).into_owned();
    let session = headers
        .lines()
        .find_map(|line| {
            line.split_once(": ")
                .filter(|(name, _)| name.eq_ignore_ascii_case("location"))
        })
        .map(|(_, uri)| uri.trim().to_owned())
        .expect("a session");
    let put = Command::new("curl")
        .args(["-sS", "-f", "-o", "/dev/null", "-H", "Expect:", "-T"])
        .arg(file)
        .arg(session)
        .status()
        .expect("curl");
    assert!(put.success());
}

/// The most memory that it had, in KiB.
fn upload(origin: &str, file: &Path, crc32c: Crc32c) -> u64 {
    let mut child = Command::new(env!("CARGO_BIN_EXE_google"))
        .args(["objects", "upload"])
        .arg(file)
        .arg(format!("gs://{BUCKET}/file"))
        .args(["--crc32c", &crc32c.to_string()])
        .env(
            "GOOGLE_STORAGE_CUSTOM_ENDPOINT",
            format!("{origin}/storage/v1/"),
        )
        .env("GOOGLE_OAUTH_ACCESS_TOKEN", "deployer")
        .stdout(Stdio::null())
        .spawn()
        .expect("google");
    let status = format!("/proc/{}/status", child.id());
    // Beside the wait, which ends when the child does and not when somebody looks again.
    let peak = std::thread::spawn(move || {
        let mut peak = 0;
        // An ended process has no such line.
        while let Some(kib) = peak_of(&status) {
            peak = kib;
            std::thread::sleep(Duration::from_millis(20));
        }
        peak
    });
    assert!(child.wait().expect("a child").success());
    peak.join().expect("no panic")
}

fn peak_of(status: &str) -> Option<u64> {
    let text = std::fs::read_to_string(status).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}
