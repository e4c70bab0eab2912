# Either editor serves its page and its terminal through the gateway, as the owner, with no
# token or password anywhere, and nobody else reaches its socket.
{ modules }:
let
  workspace = editor: {
    imports = [ (import ../common/private-workspace.nix { inherit modules; }) ];
    workspace.ide = { inherit editor; };
    users.users.mallory.isNormalUser = true;
  };
in
{
  name = "both-editors";

  containers.openvscode = workspace "openvscode-server";
  containers.coder = workspace "code-server";

  testScript = ''
    start_all()
    for machine, editor in [(openvscode, "openvscode-server"), (coder, "code-server")]:
        machine.wait_for_unit(f"{editor}.service")
        machine.wait_for_unit("nginx.service")
        socket = f"/run/workspace-servers/{editor}.sock"

        with subtest(f"{editor}: the page"):
            page = machine.succeed("curl --silent --show-error --fail --location http://localhost/edit/")
            assert "vscode-workbench-web-configuration" in page, page[:2000]

        with subtest(f"{editor}: a terminal, which is the owner's"):
            machine.succeed("terminal open")
            machine.wait_until_succeeds("test -s /tmp/terminal", timeout=60)
            machine.succeed("terminal type 'echo \"is $USER:$SHELL:$PWD:$((40 + 2))\"'")
            machine.wait_until_succeeds("grep 'is alice:/run/current-system/sw/bin/bash:/home/alice:42' /tmp/terminal", timeout=30)

        with subtest(f"{editor}: the programs of the system and of the owner"):
            machine.succeed("terminal type 'echo \"path $((1 + 1)):$PATH:\"'")
            machine.wait_until_succeeds("tr -d '\\r\\n' < /tmp/terminal | grep 'path 2:.*/etc/profiles/per-user/alice/bin:.*/run/current-system/sw/bin:'", timeout=30)

        with subtest(f"{editor}: no token or password"):
            unit = machine.succeed(f"systemctl cat {editor}")
            arguments = machine.succeed("ps -ww -u alice -o args")
            assert "--connection-token" not in unit + arguments, unit + arguments
            assert "PASSWORD=\"" not in unit.replace("HASHED_PASSWORD=\"\"", "").replace("HASHED_PASSWORD=", ""), unit
            machine.fail("find /home/alice -type f -print0 | xargs -0 grep --ignore-case '^password:'")

        with subtest(f"{editor}: telemetry is off"):
            assert "--telemetry-level=off" in unit or "--disable-telemetry" in unit, unit

        with subtest(f"{editor}: nobody else reaches it"):
            machine.succeed("test $(stat --format=%U:%G:%a /run/workspace-servers) = alice:nginx:2710")
            machine.fail(f"runuser -u mallory -- curl --silent --unix-socket {socket} http://localhost/")
            machine.succeed(f"runuser -u alice -- curl --silent --unix-socket {socket} http://localhost/")

        with subtest(f"{editor}: the terminals of a page that lost its connection are kept for two weeks"):
            machine.succeed(f"journalctl --unit {editor} | grep --fixed-strings {14 * 24 * 60 * 60}s")

        assert machine.succeed("systemctl --failed --no-legend") == ""
  '';
}
