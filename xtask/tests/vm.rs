//! `vm`: with a made-up nix, whose machine answers, or does not.

mod support;

use std::{
    fs,
    io::{BufRead, BufReader, Lines, Write},
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{ChildStderr, Command},
    thread,
    time::{Duration, Instant},
};

use support::{World, stderr, stdout};

fn signal(process: u32, name: &str) {
    let status = Command::new("/bin/kill")
        .args([format!("-{name}"), process.to_string()])
        .status();
    assert!(status.unwrap().success());
}

/// A nix whose machine runs until something comes on its monitor, and notes what.
fn world() -> World {
    let world = World::new();
    let monitor = world.path("monitor");
    let script = format!(
        "case $1 in shell) read -r word; echo \"$word\" > '{}' ;; esac",
        monitor.display()
    );
    world.program("nix", &script);
    world
}

/// Reads what xtask says until it has said this.
fn hear(errors: &mut Lines<BufReader<ChildStderr>>, what: &str) {
    assert!(errors.any(|line| line.unwrap().contains(what)), "{what}");
}

fn wait_for(path: &Path) {
    let start = Instant::now();
    while !path.exists() {
        assert!(start.elapsed() < Duration::from_secs(30), "{path:?}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn its_commands_are_printed_and_none_is_run() {
    let world = world();
    let done = world.xtask(&["vm", "alice", "--port", "9000", "--dry-run"]);
    assert!(done.status.success(), "{}", stderr(&done));
    let folder = world.path("repo/target/vm/alice");
    let nix = "--extra-experimental-features 'nix-command flakes'";
    let machine = ".#nixosConfigurations.alice.config.system.build.vm";
    let expected = format!(
        "nix build {nix} --no-link {machine}\n\
         nix shell {nix} {machine} --command env NIX_DISK_IMAGE={folder}/boot.qcow2 \
         QEMU_NET_OPTS=hostfwd=tcp:127.0.0.1:9000-:443 run-alice-vm \
         -drive if=none,id=home,format=raw,discard=unmap,file={folder}/home.raw \
         -device virtio-blk-pci,drive=home,serial=home -serial file:{folder}/console.log -monitor stdio \
         -fw_cfg name=opt/io.systemd.credentials/workspace.password,file={folder}/password\n",
        folder = folder.display(),
    );
    assert_eq!(stdout(&done), expected);
    assert!(world.calls().is_empty());
    assert!(!folder.exists());
}

#[test]
fn it_prints_link_and_password_when_it_answers_and_ctrl_c_shuts_it_down() {
    let world = world();
    // What qemu would forward: nginx, which tells whoever speaks HTTP to it that it wants HTTPS.
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let mut command = world.command(&["vm", "alice", "--port", &port.to_string()]);
    let mut child = world.spawn(&mut command);
    let folder = world.path("repo/target/vm/alice");
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    hear(&mut errors, "Ctrl-C shuts it down");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let nginx = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .unwrap();
    });
    assert_eq!(
        output.next().unwrap().unwrap(),
        format!("link      https://localhost:{port}/")
    );
    let password = output.next().unwrap().unwrap();
    let password = password.strip_prefix("password  ").unwrap();
    nginx.join().unwrap();

    // In a file that nobody else reads, and in no argument.
    let file = folder.join("password");
    assert_eq!(fs::read_to_string(&file).unwrap(), password);
    assert_eq!(
        fs::metadata(&file).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(!world.calls().join("\n").contains(password));
    assert_eq!(
        fs::metadata(folder.join("home.raw")).unwrap().len(),
        100 << 30
    );

    // One at a time.
    let second = world.xtask(&["vm", "alice"]);
    assert_eq!(second.status.code(), Some(1));
    assert!(stderr(&second).contains("runs on this machine already"));

    signal(child.id(), "INT");
    hear(&mut errors, "its disks stay in");
    assert!(child.wait().unwrap().success());
    let asked = fs::read_to_string(world.path("monitor")).unwrap();
    assert_eq!(asked, "system_powerdown\n");

    // The next time the password is the same.
    let mut child = world.spawn(&mut world.command(&["vm", "alice"]));
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    hear(&mut errors, "Ctrl-C shuts it down");
    signal(child.id(), "TERM");
    assert!(child.wait().unwrap().success());
    assert_eq!(fs::read_to_string(&file).unwrap(), password);
}

#[test]
fn a_machine_that_hears_nothing_is_switched_off_by_a_second_ctrl_c() {
    let world = World::new();
    let pid = world.path("pid");
    let script = format!(
        "case $1 in shell) echo $$ > '{}'; exec /bin/sleep 600 ;; esac",
        pid.display()
    );
    world.program("nix", &script);
    let mut child = world.spawn(&mut world.command(&["vm", "alice"]));
    wait_for(&pid);
    let mut errors = BufReader::new(child.stderr.take().unwrap()).lines();
    hear(&mut errors, "Ctrl-C shuts it down");
    signal(child.id(), "INT");
    hear(&mut errors, "Ctrl-C again");
    signal(child.id(), "INT");
    hear(&mut errors, "switched off");
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_machine_that_does_not_start_is_a_failure() {
    let world = World::new();
    world.program("nix", "case $1 in shell) exit 5 ;; esac");
    let done = world.xtask(&["vm", "alice"]);
    assert_eq!(done.status.code(), Some(1), "{}", stderr(&done));
    assert!(stderr(&done).contains("the machine ended with exit status: 5"));
}

#[test]
fn without_nix_nothing_is_begun() {
    let world = World::new();
    let done = world.xtask(&["vm", "alice"]);
    assert_eq!(done.status.code(), Some(3), "{}", stderr(&done));
    assert!(stderr(&done).contains("nixos.org/nix/install"));
    assert!(!world.path("repo/target").exists());
}

#[test]
fn only_workspaces_of_the_fleet_run_and_on_a_port_that_is_free() {
    let world = world();
    let done = world.xtask(&["vm", "alise"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(
        stderr(&done).contains("Did you mean alice?"),
        "{}",
        stderr(&done)
    );

    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let done = world.xtask(&["vm", "alice", "--port", &port]);
    assert_eq!(done.status.code(), Some(1), "{}", stderr(&done));
    assert!(stderr(&done).contains("cannot be had"));
}
