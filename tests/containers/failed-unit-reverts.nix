# A system with a unit that fails is left for the old one, and the operators read which unit it was.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "failed-unit-reverts";

  next.bad = {
    environment.etc.patched.text = "yes";
    systemd.services.broken = {
      wantedBy = [ "multi-user.target" ];
      serviceConfig.Type = "oneshot";
      script = "exit 1";
    };
  };

  testScript = ''
    upload("bad")
    want("bad")
    wait_for_state("reverted")

    with subtest("the old system runs and boots"):
        assert running() == booting() == NOW
        workspace.fail("test -e /etc/patched")
        assert workspace.succeed("systemctl --failed --no-legend") == ""

    with subtest("the reason says which unit"):
        assert "broken.service" in attribute("reason"), attribute("reason")
        assert attribute("system") == NOW
        assert "broken.service" in workspace.succeed("workspace why")

    with subtest("nothing is left to go back to"):
        assert SYSTEMS["bad"] not in workspace.succeed("workspace history")

    with subtest("it is not tried again by itself, also after a restart of the agent"):
        switches = "journalctl --unit workspace-switch --output cat | grep --count '^switching to system configuration'"
        before = workspace.succeed(switches)
        workspace.succeed("systemctl restart workspace-agent")
        workspace.wait_until_succeeds("journalctl --unit workspace-agent --output cat | grep --count 'is the binary cache' | grep --invert-match '^[01]$'")
        google.succeed("rm /run/cloud/attributes/state")
        workspace.succeed("systemctl restart workspace-agent")
        wait_for_state("reverted")
        assert workspace.succeed(switches) == before
  '';
}
