# When Google takes a Spot machine back, the owner reads it on the page and in open and new
# terminals, and what people work in stays up for the time to save. At any other shutdown nothing
# is said, and nothing waits. Google is played.
{ modules }:
{
  name = "preemption-is-told";

  containers.google =
    { pkgs, ... }:
    {
      networking.firewall.allowedTCPPorts = [ 80 ];
      systemd.services.cloud = {
        wantedBy = [ "multi-user.target" ];
        serviceConfig = {
          # Started is that its folder is there.
          Type = "exec";
          RuntimeDirectory = "cloud";
          ExecStart = "${pkgs.python3}/bin/python3 ${../common/cloud.py} /run/cloud";
        };
      };
      environment.systemPackages = [ pkgs.curl ];
    };

  containers.workspace = { pkgs, ... }: {
    environment.systemPackages = [
      (pkgs.writeShellApplication {
        name = "open-terminal";
        runtimeInputs = [
          pkgs.coreutils
          pkgs.python3
        ];
        text = "python3 -c 'import pty; pty.spawn([\"sleep\", \"infinity\"])'";
      })
    ];
    imports = [
      (modules.gce + "/preemption.nix")
      modules.gateway
      (import ../common/asks-google.nix "workspace-preemption")
    ];
    workspace = {
      name = "alice";
      owner = "alice@acme.example";
      exposure = "private";
      gce.spot = true;
      routes."/edit/".socket = "/run/nothing-listens";
    };
    # Not only Google's tunnel, which is another test's.
    networking.firewall.allowedTCPPorts = [ 80 ];
  };

  testScript = ''
    from time import monotonic

    NEWS = "Google takes this machine back: it stops within 30 seconds."

    # By the name at the owner's end of Google's tunnel, the only one that is answered.
    CURL = "curl --silent --show-error --max-time 5 --header 'Host: localhost' http://workspace/edit/"

    def page():
        return google.succeed(CURL)

    def new_terminal():
        return workspace.succeed("runuser -u alice -- bash -l -i -c true 2>&1 >/dev/null")

    def open_terminal():
        # Nobody's session, as the editor's terminals are none.
        workspace.succeed("systemd-run --quiet --collect --unit=terminal --uid=alice --property=StandardOutput=truncate:/tmp/terminal $(command -v open-terminal)")
        workspace.wait_until_succeeds("pgrep --full 'sleep infinity'", timeout=60)

    def taken_back(word):
        google.succeed(f"echo {word} > /run/cloud/preempted")

    start_all()
    google.wait_for_unit("cloud.service")
    google.wait_for_open_port(80)
    workspace.wait_for_unit("multi-user.target")
    google.wait_until_succeeds(CURL, timeout=60)
    # As machines have it, and containers do not.
    workspace.succeed("mount -o remount,mode=620,gid=$(getent group tty | cut -d: -f3) /dev/pts")
    open_terminal()

    with subtest("while the machine is left alone nothing is said, also when the unit is stopped"):
        workspace.wait_for_unit("workspace-preemption.service")
        begun = monotonic()
        workspace.succeed("systemctl restart workspace-preemption")
        assert monotonic() - begun < 5, "a stop like any other is held up"
        assert NEWS not in page() + new_terminal()

    with subtest("when it is taken back that is on the page, and in terminals, open and new ones"):
        taken_back("TRUE")
        workspace.wait_until_succeeds(f"grep --quiet '{NEWS}' /tmp/terminal", timeout=60)
        assert NEWS in page(), page()
        assert "files in your home stay" in page(), page()
        assert "cargo xtask" not in page(), "strangers read of the fleet"
        assert NEWS in new_terminal() and "cargo xtask move workspace" in new_terminal(), new_terminal()

    with subtest("what is unheard is asked again"):
        google.succeed("systemctl stop cloud")
        workspace.succeed("systemctl stop workspace-preemption", "rm -r /run/workspace/notice*", "systemctl start workspace-preemption")
        workspace.succeed("systemctl is-active workspace-preemption")
        google.succeed("systemctl start cloud")
        taken_back("TRUE")
        workspace.wait_until_succeeds("test -e /run/workspace/notices/preempted.html", timeout=60)

    with subtest("what people work in stays up for a while when the machine shuts down"):
        workspace.wait_until_succeeds("systemctl show --property=ActiveState workspace-preemption | grep inactive", timeout=60)
        taken_back("FALSE")
        workspace.succeed("rm -r /run/workspace/notice*", "systemctl start workspace-preemption")
        # Now it hears of it no earlier than by the shutdown itself.
        workspace.succeed("systemctl kill --signal=STOP --kill-whom=main workspace-preemption")
        taken_back("TRUE")
        assert NEWS not in page()
        workspace.succeed("systemd-run --quiet --on-active=0 systemctl poweroff")
        google.wait_until_succeeds(f"{CURL} | grep '{NEWS}'", timeout=10)
        # And goes for all that.
        google.wait_until_fails(CURL, timeout=60)
  '';
}
