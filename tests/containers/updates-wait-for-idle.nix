# An updated editor is restarted when nobody is connected and nothing runs in it, and not
# before.
{ modules }:
{
  name = "updates-wait-for-idle";

  containers.workspace =
    { extendModules, lib, ... }:
    let
      system = changes: (extendModules { modules = [ changes ]; }).config.system.build.toplevel;
    in
    {
      imports = [ (import ../common/private-workspace.nix { inherit modules; }) ];
      # When the test says so, and not in the midst of a switch.
      systemd.timers.workspace-restart-when-idle.timerConfig.OnCalendar = lib.mkForce "2100-01-01";
      system.switch.enable = true;
      system.build = {
        changed = system { workspace.ide.graceHours = 1; };
        otherEditor = system { workspace.ide.editor = "code-server"; };
      };
    };

  testScript =
    { containers, ... }:
    let
      inherit (containers.workspace.system) build;
    in
    ''
      def process_of(unit):
          return workspace.succeed(f"systemctl show --property MainPID --value {unit}").strip()

      def restart_when_idle():
          workspace.succeed("systemctl start workspace-restart-when-idle || { journalctl --lines 60 >&2; false; }")
          return workspace.succeed("journalctl --unit workspace-restart-when-idle --output cat --boot")

      workspace.wait_for_unit("openvscode-server.service")
      workspace.wait_for_unit("nginx.service")
      workspace.succeed("terminal open")
      workspace.wait_until_succeeds("test -s /tmp/terminal", timeout=60)
      first = process_of("openvscode-server")

      with subtest("what has not changed is left alone"):
          workspace.succeed("systemctl stop terminal", "pkill -KILL -u alice bash")
          assert "openvscode-server" not in restart_when_idle()
          assert process_of("openvscode-server") == first

      with subtest("an update waits while a page is open"):
          workspace.succeed("rm /tmp/terminal", "terminal open")
          workspace.wait_until_succeeds("test -s /tmp/terminal", timeout=60)
          workspace.succeed("terminal type 'sleep 86397 &'")
          workspace.wait_until_succeeds("pgrep --full --exact 'sleep 86397'", timeout=30)
          workspace.succeed("${build.changed}/bin/switch-to-configuration test >&2")
          assert "openvscode-server waits for its restart: somebody is connected." in restart_when_idle()
          assert process_of("openvscode-server") == first

      with subtest("and while a terminal of a closed one is"):
          workspace.succeed("systemctl stop terminal")
          workspace.wait_until_fails("ss --no-header --unix | grep /run/workspace-servers/", timeout=90)
          assert "openvscode-server waits for its restart: at work is" in restart_when_idle()
          assert process_of("openvscode-server") == first

      with subtest("and is in force when both have ended"):
          workspace.succeed("pkill -KILL -u alice --full --exact 'sleep 86397'", "pkill -KILL -u alice bash")
          assert "openvscode-server is restarted" in restart_when_idle()
          second = process_of("openvscode-server")
          assert second not in [first, "0"]
          workspace.succeed(f"tr '\\0' ' ' < /proc/{second}/cmdline | grep -- '--reconnection-grace-time=3600 '")
          restart_when_idle()
          assert process_of("openvscode-server") == second

      with subtest("an editor that has another in its place ends in the same way"):
          workspace.succeed("${build.otherEditor}/bin/switch-to-configuration test >&2")
          assert process_of("openvscode-server") == second
          other = process_of("code-server")
          assert "openvscode-server is stopped" in restart_when_idle()
          workspace.fail("systemctl is-active openvscode-server")
          assert process_of("code-server") == other != "0"

      with subtest("it is looked after by itself"):
          workspace.succeed("systemctl is-active workspace-restart-when-idle.timer")
    '';
}
