# A project's environment is there in a terminal of the editor once its folder is entered.
{ modules }:
{
  name = "direnv-loads-in-terminals";

  containers.workspace = {
    imports = [ (import ../common/private-workspace.nix { inherit modules; }) ];
    programs.direnv.enable = true;
  };

  testScript = ''
    workspace.wait_for_unit("openvscode-server.service")
    workspace.wait_for_unit("nginx.service")
    workspace.succeed(
        "runuser -u alice -- mkdir /home/alice/project",
        "runuser -u alice -- sh -c 'echo \"export GREETING=hello\" > /home/alice/project/.envrc'",
        "terminal open",
    )
    workspace.wait_until_succeeds("test -s /tmp/terminal", timeout=60)

    with subtest("not before the owner has allowed it"):
        workspace.succeed("terminal type 'cd project'")
        workspace.wait_until_succeeds("grep 'direnv allow' /tmp/terminal", timeout=30)
        workspace.succeed("terminal type 'echo \"$((1 + 1)) <$GREETING>\"'")
        workspace.wait_until_succeeds("grep '2 <>' /tmp/terminal", timeout=30)

    with subtest("in the folder"):
        workspace.succeed("terminal type 'direnv allow'")
        workspace.wait_until_succeeds("grep 'direnv: export' /tmp/terminal", timeout=30)
        workspace.succeed("terminal type 'echo \"$((2 + 2)) <$GREETING>\"'")
        workspace.wait_until_succeeds("grep '4 <hello>' /tmp/terminal", timeout=30)

    with subtest("and not outside of it"):
        workspace.succeed("terminal type 'cd ..; echo one'")
        workspace.wait_until_succeeds("grep 'direnv: unloading' /tmp/terminal", timeout=30)
        workspace.succeed("terminal type 'echo \"$((3 + 3)) <$GREETING>\"'")
        workspace.wait_until_succeeds("grep '6 <>' /tmp/terminal", timeout=30)
  '';
}
