# An editor that crashes is back by itself, page and terminals, and what the owner had
# started to outlive its terminal has not noticed.
{ modules }:
{
  name = "editor-comes-back";

  containers.workspace = import ../common/private-workspace.nix { inherit modules; };

  testScript = ''
    def process_of_editor():
        return workspace.succeed("systemctl show --property MainPID --value openvscode-server").strip()

    workspace.wait_for_unit("openvscode-server.service")
    workspace.wait_for_unit("nginx.service")
    workspace.succeed("terminal open")
    workspace.wait_until_succeeds("test -s /tmp/terminal", timeout=60)
    workspace.succeed("terminal type 'nohup sleep 86398 > /dev/null &'")
    workspace.wait_until_succeeds("pgrep --full --exact 'sleep 86398'", timeout=30)
    program = workspace.succeed("pgrep --full --exact 'sleep 86398'")

    # More often than systemd would put up with by default.
    for crash in range(7):
        with subtest(f"crash {crash + 1}"):
            before = process_of_editor()
            workspace.succeed(f"kill -9 {before}")
            workspace.wait_until_succeeds("curl --silent --show-error --fail --location http://localhost/edit/ | grep vscode-workbench-web-configuration", timeout=60)
            assert process_of_editor() not in [before, "0"]

    with subtest("a page opens a terminal again"):
        workspace.wait_until_fails("systemctl is-active terminal", timeout=30)
        workspace.succeed("rm /tmp/terminal", "terminal open")
        workspace.wait_until_succeeds("test -s /tmp/terminal", timeout=60)
        workspace.succeed("terminal type 'echo again $((1 + 1))'")
        workspace.wait_until_succeeds("grep 'again 2' /tmp/terminal", timeout=30)

    with subtest("what was started with nohup runs on"):
        assert workspace.succeed("pgrep --full --exact 'sleep 86398'") == program
  '';
}
