//! What becomes of an upload, whatever happens on its way.

mod common;

use cloudsim::{Fault, Rule};
use common::{Lab, MIB, at, every_fault, noise, session_of, wait_until};
use google::{Crc32c, Kind, Upload};
use std::{os::unix::fs::PermissionsExt, process::Stdio, time::Duration};

const SESSION: &str = "/upload/storage/v1/b/*";

#[test]
fn an_object_that_has_the_bytes_already_is_left_as_it_is() {
    let lab = Lab::new();
    let file = lab.file("a", 3 * MIB + 17);
    let first = lab.upload(&file).unwrap();
    assert!(!session_of(&file).exists());
    lab.sim.clear_log();

    let second = lab.upload(&file).unwrap();

    assert_eq!(first.generation, second.generation);
    assert_eq!(lab.writes().len(), 0);
    lab.assert_only_object_is(&file);
}

#[test]
fn an_empty_file_becomes_an_empty_object() {
    let lab = Lab::new();
    let file = lab.file("a", 0);
    assert_eq!(lab.upload(&file).unwrap().size, 0);
    lab.assert_only_object_is(&file);
}

#[test]
fn a_cut_upload_sends_again_only_what_did_not_arrive() {
    let lab = Lab::new();
    let file = lab.file("a", 40 * MIB);
    lab.strike(Rule::nth(1, Fault::CutRequest { after: 25 << 20 }).of("PUT", SESSION));

    lab.upload(&file).unwrap();

    // What is kept ends at a multiple of 256 KiB.
    let sent = lab.bytes_sent();
    assert!(sent <= (40 << 20) + (256 << 10), "{sent}");
    lab.assert_only_object_is(&file);
}

#[test]
fn a_killed_upload_sends_again_only_what_did_not_arrive() {
    let lab = Lab::new();
    let file = lab.file("a", 16 * MIB);
    let slow = Fault::Slow {
        bytes_per_second: 16 << 20,
    };
    lab.strike(Rule::nth(1, slow).of("PUT", SESSION));
    let upload = || {
        let mut command = lab.google();
        command.args(["objects", "upload"]).arg(&file);
        command.arg(at("a.tar.gz").to_string());
        command.stdout(Stdio::null());
        command
    };
    let mut first = upload().spawn().unwrap();
    let arriving = || lab.client().object(&at("nothing")).is_ok() && session_of(&file).exists();
    wait_until("a session is kept", arriving);
    // A third of the second that the upload takes: the kill hits the middle of the body.
    std::thread::sleep(Duration::from_millis(350));
    assert!(first.try_wait().unwrap().is_none());
    first.kill().unwrap();
    first.wait().unwrap();
    let mode = session_of(&file).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    assert!(upload().status().unwrap().success());

    let sent = lab.bytes_sent();
    assert!(sent <= (16 << 20) + (256 << 10), "{sent}");
    lab.assert_only_object_is(&file);
    assert!(!session_of(&file).exists());
}

#[test]
fn every_fault_at_every_call_of_an_upload_ends_with_one_whole_object() {
    let calls = {
        let lab = Lab::new();
        lab.upload(&lab.file("a", MIB)).unwrap();
        lab.sim.log().len() as u64
    };
    assert_eq!(calls, 3);
    let each_call = |fault: Fault| {
        for call in 1..=calls {
            let lab = Lab::new();
            let file = lab.file("a", MIB);
            lab.strike(Rule::nth(call, fault.clone()));
            let case = format!("{fault:?} at call {call}");
            if let Err(error) = lab.upload(&file) {
                // What no second attempt mends: a token that cannot be renewed, a damaged question.
                assert!(matches!(error.status, Some(400 | 401)), "{case}: {error}");
                lab.upload(&file).unwrap_or_else(|e| panic!("{case}: {e}"));
            }
            lab.assert_only_object_is(&file);
            assert!(!session_of(&file).exists(), "{case}");
        }
    };
    std::thread::scope(|scope| {
        for fault in every_fault() {
            scope.spawn(|| each_call(fault));
        }
    });
}

#[test]
fn a_file_that_is_not_what_its_checksum_says_makes_no_object() {
    let lab = Lab::new();
    let file = lab.file("a", 9 * MIB);
    let known = Crc32c::of_file(&file).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[5 * MIB] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let upload = Upload::new(&file, at("a.tar.gz"), Some(known)).unwrap();

    let error = lab.client().upload(&upload, &mut |_, _| ()).unwrap_err();

    assert_eq!(error.kind, Kind::Failed);
    assert!(
        error.what.contains("does not hold what its CRC32C"),
        "{error}"
    );
    assert!(lab.client().objects(&at("")).unwrap().is_empty());
    assert!(!session_of(&file).exists());
}

#[test]
fn an_object_of_other_bytes_is_refused_unless_it_may_be_replaced() {
    let lab = Lab::new();
    let file = lab.file("a", MIB);
    lab.upload(&file).unwrap();
    std::fs::write(&file, noise(MIB, 2)).unwrap();
    lab.sim.clear_log();

    let error = lab.upload(&file).unwrap_err();
    assert_eq!(error.exit_status(), 4);
    assert_eq!(lab.writes().len(), 0);

    let upload = Upload::new(&file, at("a.tar.gz"), None).unwrap();
    let upload = upload.replacing(true);
    lab.client().upload(&upload, &mut |_, _| ()).unwrap();
    lab.assert_only_object_is(&file);
}

#[test]
fn a_session_of_other_bytes_is_not_gone_on_with() {
    let lab = Lab::new();
    let file = lab.file("a", 2 * MIB);
    // One attempt, then the process ends: patience of nothing.
    lab.strike(Rule::nth(1, Fault::CutRequest { after: 1 << 20 }).of("PUT", SESSION));
    let impatient = lab.client().with_patience(Duration::ZERO);
    let upload = Upload::new(&file, at("a.tar.gz"), None).unwrap();
    impatient.upload(&upload, &mut |_, _| ()).unwrap_err();
    assert!(session_of(&file).exists());

    std::fs::write(&file, noise(2 * MIB, 2)).unwrap();
    lab.upload(&file).unwrap();

    lab.assert_only_object_is(&file);
}

#[test]
fn a_session_that_is_gone_or_unreadable_begins_anew() {
    let lab = Lab::new();
    let file = lab.file("a", 2 * MIB);
    for spoil in [true, false] {
        lab.client().delete_object(&at("a.tar.gz"), None).unwrap();
        lab.strike(Rule::nth(1, Fault::CutRequest { after: 1 << 20 }).of("PUT", SESSION));
        let impatient = lab.client().with_patience(Duration::ZERO);
        let upload = Upload::new(&file, at("a.tar.gz"), None).unwrap();
        impatient.upload(&upload, &mut |_, _| ()).unwrap_err();
        let session = session_of(&file);
        if spoil {
            std::fs::write(&session, "{").unwrap();
        } else {
            let kept = std::fs::read_to_string(&session).unwrap();
            let gone = kept.replace("upload_id=", "upload_id=none");
            assert_ne!(kept, gone);
            std::fs::write(&session, gone).unwrap();
        }
        lab.upload(&file).unwrap();
        lab.assert_only_object_is(&file);
    }
}

#[test]
fn a_planted_session_leads_to_no_other_host() {
    let lab = Lab::new();
    let file = lab.file("a", MIB);
    lab.strike(Rule::nth(1, Fault::CutRequest { after: 0 }).of("PUT", SESSION));
    let impatient = lab.client().with_patience(Duration::ZERO);
    let upload = Upload::new(&file, at("a.tar.gz"), None).unwrap();
    impatient.upload(&upload, &mut |_, _| ()).unwrap_err();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let kept = std::fs::read_to_string(session_of(&file)).unwrap();
    let origin = format!("http://{}", other.local_addr().unwrap());
    let planted = kept.replace(&lab.sim.url(), &origin);
    assert_ne!(kept, planted);
    std::fs::write(session_of(&file), planted).unwrap();

    lab.upload(&file).unwrap();

    assert!(other.accept().is_err(), "nobody connected");
    lab.assert_only_object_is(&file);
}

#[test]
fn two_uploads_at_once_make_one_object_and_both_end_well() {
    let lab = Lab::new();
    let one = lab.file("one", 4 * MIB);
    let two = lab.file("two", 4 * MIB);
    // Thrice: the same file, then another of the same bytes.
    std::thread::scope(|scope| {
        let runs = [&one, &one, &two].map(|file| scope.spawn(|| lab.upload(file)));
        let objects = runs.map(|run| run.join().unwrap().unwrap());
        assert!(
            objects
                .iter()
                .all(|o| o.generation == objects[0].generation)
        );
    });
    lab.assert_only_object_is(&one);
}

#[test]
fn a_cloud_that_stays_away_is_given_up_and_the_next_run_goes_on() {
    let lab = Lab::new();
    let file = lab.file("a", MIB);
    let away = Fault::Status {
        status: 503,
        retry_after: None,
    };
    lab.strike(Rule::nth(1, away).times(1000));
    let output = lab
        .google()
        .args(["--patience", "1", "objects", "upload"])
        .arg(&file)
        .arg(at("a.tar.gz").to_string())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.starts_with("error: Cloud Storage failed"), "{said}");

    lab.sim.set_faults(cloudsim::Plan::default());
    lab.upload(&file).unwrap();
    lab.assert_only_object_is(&file);
}

#[test]
fn a_refusal_is_not_asked_for_twice() {
    let lab = Lab::new();
    let file = lab.file("a", MIB);
    let denied = Fault::Status {
        status: 403,
        retry_after: None,
    };
    lab.strike(Rule::nth(1, denied).times(1000));
    let error = lab.upload(&file).unwrap_err();
    assert_eq!((error.exit_status(), error.status), (4, Some(403)));
    assert_eq!(lab.sim.log().len(), 1);
}

#[test]
fn retry_after_is_waited_for() {
    let lab = Lab::new();
    let busy = Fault::Status {
        status: 429,
        retry_after: Some(2),
    };
    lab.strike(Rule::nth(1, busy));
    let start = std::time::Instant::now();
    lab.client().object(&at("none")).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2));
    // Longer than it is willing to wait: it says so at once.
    let busy = Fault::Status {
        status: 429,
        retry_after: Some(3600),
    };
    lab.strike(Rule::nth(1, busy));
    assert!(lab.client().object(&at("none")).is_err());
}
