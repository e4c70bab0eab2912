//! `password`, `open`, `ssh`, and what `up` would run: with made-up programs.

mod support;

use std::fs;

use support::{World, stderr, stdout};

const MACHINES: &str = r#"[{"name":"alice","zone":"europe-west4-b","status":"RUNNING","machineType":"n2-standard-8","labels":{"workspace":"alice"}}]"#;

/// A google that has one machine and one password, and notes what comes on its stdin.
fn world() -> World {
    let world = World::new();
    let stdin = world.path("stdin");
    world.program(
        "google",
        &format!(
            "case \"$*\" in\n\
             'instances list'*) echo '{MACHINES}' ;;\n\
             'secrets access'*) echo '{{\"text\": \"kept-secret\"}}' ;;\n\
             'secrets replace'*) read -r secret; echo \"$secret\" > '{}' ;;\n\
             esac",
            stdin.display()
        ),
    );
    world.program("gcloud", "");
    world
}

fn make_private(world: &World) {
    let file = world.path("repo/fleet.toml");
    let text = fs::read_to_string(&file).unwrap();
    let kept = text
        .lines()
        .filter(|line| !line.starts_with("login") && !line.starts_with("acme_email"));
    let text: Vec<_> = kept
        .map(|line| line.replace("= \"public\"", "= \"private\""))
        .collect();
    fs::write(file, text.join("\n")).unwrap();
}

#[test]
fn a_new_password_is_on_stdout_and_on_a_pipe_and_in_no_argument_or_message() {
    let world = world();
    let done = world.xtask(&["password", "alice", "--rotate"]);
    assert!(done.status.success(), "{}", stderr(&done));
    let password = stdout(&done).trim().to_owned();
    assert_eq!(password.len(), 29);
    assert_eq!(
        fs::read_to_string(world.path("stdin")).unwrap().trim(),
        password
    );
    assert!(!stderr(&done).contains(&password));
    let calls = world.calls();
    assert_eq!(
        calls,
        ["google secrets replace workspace-alice-password --project acme-data-science"]
    );

    let done = world.xtask(&["password", "alice"]);
    assert_eq!(stdout(&done), "kept-secret\n");
    assert!(!stderr(&done).contains("kept-secret"));
}

#[test]
fn a_private_fleet_has_no_passwords_and_opens_through_a_tunnel() {
    let world = world();
    make_private(&world);
    let refused = world.xtask(&["password", "alice"]);
    assert_eq!(refused.status.code(), Some(2), "{}", stderr(&refused));
    assert!(world.calls().is_empty());

    let done = world.xtask(&["open", "alice", "--port", "9000"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(stdout(&done), "http://localhost:9000/\n");
    assert_eq!(
        world.calls()[1],
        "gcloud compute start-iap-tunnel alice 80 --local-host-port=localhost:9000 --zone=europe-west4-b \
         --project=acme-data-science"
    );
}

#[test]
fn ssh_goes_through_iap_and_hands_the_command_over() {
    let world = world();
    let done = world.xtask(&["ssh", "alice", "--", "uname", "-a"]);
    assert!(done.status.success(), "{}", stderr(&done));
    assert_eq!(
        world.calls()[1],
        "gcloud compute ssh alice --tunnel-through-iap --zone=europe-west4-b --project=acme-data-science -- uname -a"
    );
}

#[test]
fn a_public_workspace_is_opened_by_its_link_which_is_printed_where_there_is_no_browser() {
    let done = world().xtask(&["open", "alice"]);
    assert_eq!(
        stdout(&done),
        "https://alice.endpoints.acme-data-science.cloud.goog/\n"
    );
}

#[test]
fn a_dry_run_of_up_prints_all_commands_in_their_order_and_runs_none() {
    let world = world();
    fs::create_dir_all(world.path("repo/terraform/foundation")).unwrap();
    let done = world.xtask(&["up", "--no-build", "--dry-run"]);
    assert!(done.status.success(), "{}", stderr(&done));
    let text = stdout(&done);
    let folder = world.path("repo/target/terraform").display().to_string();
    let lines: Vec<_> = text
        .lines()
        .map(|line| {
            let line = line.replace(&format!("-chdir={folder}/"), "");
            line.split(' ').take(3).collect::<Vec<_>>().join(" ")
        })
        .collect();
    assert_eq!(
        lines,
        [
            "google buckets ensure",
            "terraform foundation init",
            "terraform foundation plan",
            "terraform foundation show",
            "terraform foundation apply",
            "google images list",
            "google disks list",
            "terraform homes init",
            "terraform homes plan",
            "terraform homes show",
            "terraform homes apply",
            "terraform fleet init",
            "terraform fleet plan",
            "terraform fleet show",
            "terraform fleet apply",
            "google secrets ensure",
            "google secrets ensure",
            "google instances list",
            "google reach --within",
        ]
    );
    let built = stdout(&world.xtask(&["up", "--dry-run"]));
    let at = |what: &str| built.lines().position(|line| line.contains(what)).unwrap();
    assert!(at("foundation apply") < at("images insert base-HASH"));
    assert!(at("images insert cuda-HASH") < at("cache push"));
    // An image accepts what is signed by the key that the repository has when it is built.
    assert!(at("generate-secret") < at("image-base"));
    assert!(at("cache push") < at("homes init"));
    assert!(world.calls().is_empty());
}
