# A system that makes the machine stand still, its agent too, is left once the machine has been
# reset, as `deploy` does with one that says nothing: the old system boots, tries the new one once
# more in case it was the power, and after the second reset stays, and says why.
{ modules }:
import ../common/fleet-of-one.nix {
  inherit modules;
  name = "hang-reverts-on-reset";
  boots = true;

  next.standstill.systemd.services.standstill = {
    wantedBy = [ "multi-user.target" ];
    serviceConfig.Type = "oneshot";
    # Stops every process but systemd's first, and itself.
    script = ''
      echo "the machine stands still" > /dev/kmsg
      kill -STOP -- -1
    '';
  };

  testScript = ''
    upload("standstill")
    want("standstill")

    for reset in range(2):
        with subtest("the machine stands still"):
            retry(lambda _: "the machine stands still" in workspace.get_console_log(), timeout_seconds=900)
            assert attribute("state") == "testing"

        with subtest("after a reset the old system runs"):
            workspace.crash()
            boot()
            assert booted() == NOW, booted()

    with subtest("in the end it stays, and the reason is said"):
        wait_for_state("reverted")
        assert running() == booting() == NOW
        assert attribute("system") == NOW
        assert "the machine restarted 2 times while it was on trial" in attribute("reason"), attribute("reason")
        assert "restarted 2 times" in workspace.succeed("workspace why")
        assert SYSTEMS["standstill"] not in workspace.succeed("workspace history")
        assert workspace.succeed("systemctl --failed --no-legend") == ""
  '';
}
