//! What becomes of an upload, whatever happens on its way.

mod common;

use cloudsim::{Fault, Rule};
use common::{MIB, World, at, every_fault, noise, session_of, wait_until};
use google::{Crc32c, Kind, Upload};
use std::{os::unix::fs::PermissionsExt, process::Stdio, time::Duration};

const SESSION: &str = "/upload/storage/v1/b/*";

#[test]
fn an_object_that_has_the_bytes_already_is_left_as_it_is() {
    let world = World::new();
    let file = world.file("a", 3 * MIB + 17);
    let first = world.upload(&file).unwrap();
    assert!(!session_of(&file).exists());
    world.sim.clear_log();

    let second = world.upload(&file).unwrap();

    assert_eq!(first.generation, second.generation);
    assert_eq!(world.writes().len(), 0);
    world.assert_only_object_is(&file);
}

#[test]
fn an_empty_file_becomes_an_empty_object() {
    let world = World::new();
    let file = world.file("a", 0);
    assert_eq!(world.upload(&file).unwrap().size, 0);
    world.assert_only_object_is(&file);
}

#[test]
fn a_cut_upload_sends_again_only_what_did_not_arrive() {
    let world = World::new();
    let file = world.file("a", 40 * MIB);
    world.strike(Rule::nth(1, Fault::CutRequest { after: 25 << 20 }).of("PUT", SESSION));

    world.upload(&file).unwrap();

    // What is kept ends at a multiple of 256 KiB.
    let sent = world.bytes_sent();
    assert!(sent <= (40 << 20) + (256 << 10), "{sent}");
    world.assert_only_object_is(&file);
}

#[test]
fn a_killed_upload_sends_again_only_what_did_not_arrive() {
    let world = World::new();
    let file = world.file("a", 16 * MIB);
    let slow = Fault::Slow {
        bytes_per_second: 16 << 20,
    };
    world.strike(Rule::nth(1, slow).of("PUT", SESSION));
    let upload = || {
        let mut command = world.google();
        command.args(["objects", "upload"]).arg(&file);
        command.arg(at("a.tar.gz").to_string());
        command.stdout(Stdio::null());
        command
    };
    let mut first = upload().spawn().unwrap();
    let arriving = || world.client().object(&at("nothing")).is_ok() && session_of(&file).exists();
    wait_until("a session is kept", arriving);
    // A third of the second that the upload takes: the kill hits the middle of the body.
    std::thread::sleep(Duration::from_millis(350));
    assert!(first.try_wait().unwrap().is_none());
    first.kill().unwrap();
    first.wait().unwrap();
    let mode = session_of(&file).metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    assert!(upload().status().unwrap().success());

    let sent = world.bytes_sent();
    assert!(sent <= (16 << 20) + (256 << 10), "{sent}");
    world.assert_only_object_is(&file);
    assert!(!session_of(&file).exists());
}

#[test]
fn every_fault_at_every_call_of_an_upload_ends_with_one_whole_object() {
    let calls = {
        let world = World::new();
        world.upload(&world.file("a", MIB)).unwrap();
        world.sim.log().len() as u64
    };
    assert_eq!(calls, 3);
    let each_call = |fault: Fault| {
        for call in 1..=calls {
            let world = World::new();
            let file = world.file("a", MIB);
            world.strike(Rule::nth(call, fault.clone()));
            let case = format!("{fault:?} at call {call}");
            if let Err(error) = world.upload(&file) {
                // What no second attempt mends: a token that cannot be renewed, a damaged question.
                assert!(matches!(error.status, Some(400 | 401)), "{case}: {error}");
                world
                    .upload(&file)
                    .unwrap_or_else(|e| panic!("{case}: {e}"));
            }
            world.assert_only_object_is(&file);
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
    let world = World::new();
    let file = world.file("a", 9 * MIB);
    let known = Crc32c::of_file(&file).unwrap();
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[5 * MIB] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let upload = Upload::new(&file, at("a.tar.gz"), Some(known)).unwrap();

    let error = world.client().upload(&upload, &mut |_, _| ()).unwrap_err();

    assert_eq!(error.kind, Kind::Failed);
    assert!(
        error.what.contains("does not hold what its CRC32C"),
        "{error}"
    );
    assert!(world.client().objects(&at("")).unwrap().is_empty());
    assert!(!session_of(&file).exists());
}

#[test]
fn an_object_of_other_bytes_is_refused_unless_it_may_be_replaced() {
    let world = World::new();
    let file = world.file("a", MIB);
    world.upload(&file).unwrap();
    std::fs::write(&file, noise(MIB, 2)).unwrap();
    world.sim.clear_log();

    let error = world.upload(&file).unwrap_err();
    assert_eq!(error.exit_status(), 4);
    assert_eq!(world.writes().len(), 0);

    let upload = Upload::new(&file, at("a.tar.gz"), None).unwrap();
    let upload = upload.replacing(true);
    world.client().upload(&upload, &mut |_, _| ()).unwrap();
    world.assert_only_object_is(&file);
}

#[test]
fn a_session_of_other_bytes_is_not_gone_on_with() {
    let world = World::new();
    let file = world.file("a", 2 * MIB);
    // One attempt, then the process ends: patience of nothing.
    world.strike(Rule::nth(1, Fault::CutRequest { after: 1 << 20 }).of("PUT", SESSION));
    let impatient = world.client().with_patience(Duration::ZERO);
    let upload = Upload::new(&file, at("a.tar.gz"), None).unwrap();
    impatient.upload(&upload, &mut |_, _| ()).unwrap_err();
    assert!(session_of(&file).exists());

    std::fs::write(&file, noise(2 * MIB, 2)).unwrap();
    world.upload(&file).unwrap();

    world.assert_only_object_is(&file);
}

#[test]
fn a_session_that_is_gone_or_unreadable_begins_anew() {
    let world = World::new();
    let file = world.file("a", 2 * MIB);
    for spoil in [true, false] {
        world.client().delete_object(&at("a.tar.gz"), None).unwrap();
        world.strike(Rule::nth(1, Fault::CutRequest { after: 1 << 20 }).of("PUT", SESSION));
        let impatient = world.client().with_patience(Duration::ZERO);
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
        world.upload(&file).unwrap();
        world.assert_only_object_is(&file);
    }
}

#[test]
fn a_planted_session_leads_to_no_other_host() {
    let world = World::new();
    let file = world.file("a", MIB);
    world.strike(Rule::nth(1, Fault::CutRequest { after: 0 }).of("PUT", SESSION));
    let impatient = world.client().with_patience(Duration::ZERO);
    let upload = Upload::new(&file, at("a.tar.gz"), None).unwrap();
    impatient.upload(&upload, &mut |_, _| ()).unwrap_err();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    other.set_nonblocking(true).unwrap();
    let kept = std::fs::read_to_string(session_of(&file)).unwrap();
    let origin = format!("http://{}", other.local_addr().unwrap());
    let planted = kept.replace(&world.sim.url(), &origin);
    assert_ne!(kept, planted);
    std::fs::write(session_of(&file), planted).unwrap();

    world.upload(&file).unwrap();

    assert!(other.accept().is_err(), "nobody connected");
    world.assert_only_object_is(&file);
}

#[test]
fn two_uploads_at_once_make_one_object_and_both_end_well() {
    let world = World::new();
    let one = world.file("one", 4 * MIB);
    let two = world.file("two", 4 * MIB);
    // Thrice: the same file, then another of the same bytes.
    std::thread::scope(|scope| {
        let runs = [&one, &one, &two].map(|file| scope.spawn(|| world.upload(file)));
        let objects = runs.map(|run| run.join().unwrap().unwrap());
        assert!(
            objects
                .iter()
                .all(|o| o.generation == objects[0].generation)
        );
    });
    world.assert_only_object_is(&one);
}

#[test]
fn a_cloud_that_stays_away_is_given_up_and_the_next_run_goes_on() {
    let world = World::new();
    let file = world.file("a", MIB);
    let away = Fault::Status {
        status: 503,
        retry_after: None,
    };
    world.strike(Rule::nth(1, away).times(1000));
    let output = world
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

    world.sim.set_faults(cloudsim::Plan::default());
    world.upload(&file).unwrap();
    world.assert_only_object_is(&file);
}

#[test]
fn a_refusal_is_not_asked_for_twice() {
    let world = World::new();
    let file = world.file("a", MIB);
    let denied = Fault::Status {
        status: 403,
        retry_after: None,
    };
    world.strike(Rule::nth(1, denied).times(1000));
    let error = world.upload(&file).unwrap_err();
    assert_eq!((error.exit_status(), error.status), (4, Some(403)));
    assert_eq!(world.sim.log().len(), 1);
}

#[test]
fn retry_after_is_waited_for() {
    let world = World::new();
    let busy = Fault::Status {
        status: 429,
        retry_after: Some(2),
    };
    world.strike(Rule::nth(1, busy));
    let start = std::time::Instant::now();
    world.client().object(&at("none")).unwrap();
    assert!(start.elapsed() >= Duration::from_secs(2));
    // Longer than it is willing to wait: it says so at once.
    let busy = Fault::Status {
        status: 429,
        retry_after: Some(3600),
    };
    world.strike(Rule::nth(1, busy));
    assert!(world.client().object(&at("none")).is_err());
}
